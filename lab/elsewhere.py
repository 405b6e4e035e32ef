"""This checkout on another release of Debian: `python3 -m lab.elsewhere SUITE COMMAND...`

Run by `make check-debian13`. The release's root, and what the project's Makefile installs in it,
are kept (`lab.root`); the command runs over them, in namespaces of its own and without a network,
in a copy of the files that git tracks. What it writes is removed, except labs' databases.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab import root, show
from lab.command import exit_code
from lab.errors import LabError
from lab.root import FOLDER, Kept, Root
from lab.settings import CACHE

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = "/root/openstack-ocf-agents"
"""The folder of the sources in the root. .venv, beside them, is kept."""
INSTALL, CONTENTS = "elsewhere-install", "elsewhere-contents"
"""The Makefile's targets that install all that needs the network, and that list it."""
RUNS = FOLDER / "runs"


def main() -> int:
    """Run the command of the arguments; its exit code."""
    if len(sys.argv) < 3:
        print("usage: python3 -m lab.elsewhere SUITE COMMAND...", file=sys.stderr)
        return 64
    suite, *words = sys.argv[1:]
    layers = installed(suite)
    seeds = layers[0].tree.parent / "seeds"  # databases that labs cache (`lab.seed`)
    seeds.mkdir(exist_ok=True)
    with run_folder() as folder, Root(layers, folder, binds={str(CACHE): seeds}) as entered:
        bring(entered)
        return run(entered, root.ENVIRON, "env", f"--chdir={SOURCES}", *words)


def installed(suite: str) -> list[Kept]:
    """The layers of the root: what the tests need, and below it the release."""
    release = root.release(suite)
    ask = ["make", "-s", "-C", str(CHECKOUT), CONTENTS]
    names = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout
    contents = f"over {release.made}: {names}"
    tests = root.keep(f"{suite}-tests", contents, lambda folder: _install(release, folder))
    return [tests, release]


def _install(release: Kept, folder: Path) -> None:
    with Root([release], folder, network=True) as entered:
        root.configure(entered.path)
        # If the machine fails in the middle, all of it is made anew.
        (entered.path / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        bring(entered)
        with show.step("make"):
            root.quietly(folder / "log", *entered.command("apt-get", "install", "--yes", "make"))
        with show.step("packages and .venv"):
            if code := run(entered, root.environment(), "make", "-C", SOURCES, INSTALL):
                raise LabError(f"make {INSTALL} failed with {code}; what it said is above")
        run(entered, root.ENVIRON, "apt-get", "clean")


def run(entered: Root, environ: Mapping[str, str], *words: str) -> int:
    """Run a command in a root, with its output here; its exit code."""
    command = entered.command(*words)
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, check=False).returncode


def bring(entered: Root) -> None:
    """Copy the files that git tracks into the root, in the place of those that are there."""
    place = entered.path / SOURCES[1:]
    place.mkdir(exist_ok=True)
    for path in place.iterdir():
        if path.name != ".venv":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        make = [sys.executable, "-EsB", str(CHECKOUT / "release/sources.py"), "dist", folder]
        made = subprocess.run(make, stdout=subprocess.PIPE, text=True, check=False)
        if made.returncode:
            raise LabError("the sources could not be packed; the reason is above")
        unpack = ["tar", "-xf", made.stdout.strip(), "-C", str(place), "--strip-components=1"]
        subprocess.run(unpack, check=True, umask=0o022)


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for one run; those of runs that were killed are removed."""
    RUNS.mkdir(exist_ok=True)
    with open(RUNS / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in RUNS.iterdir():
            if left.is_dir() and (held := _hold(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(held)
        folder = Path(tempfile.mkdtemp(dir=RUNS))
        held = _hold(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """Lock a folder until this process ends; None if another has locked it, or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its run has just ended
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


if __name__ == "__main__":
    sys.exit(exit_code("elsewhere", main))
