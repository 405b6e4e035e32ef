"""Debian roots: a release in a folder, made once by debootstrap, entered by namespaces of its own.

    debian = root.release("trixie")       # made, or there already
    with Root([debian], folder) as entered:
        subprocess.run(entered.command("dpkg", "--install", package))
    # all processes in it have ended, and its mounts are gone with them

The trees are kept in `FOLDER` for all checkouts, for two weeks, and never changed: a Root is an
overlay over one or more of them, and changes are in a folder of its own. Called by `lab.elsewhere`
for make check-debian13, and by tests/packages.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab import show
from lab.errors import LabError
from lab.settings import CACHE

FOLDER = CACHE / "roots"
KEPT = 14 * 24 * 3600.0
"""Seconds after which a root is made anew: the distribution has changed by then."""
NEEDS = ("python3-keystoneauth1", "python3-requests")
"""Packages in a root beside the essential ones: those that our packages depend on."""
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PIP = ("/etc/pip.conf", "/root/.config/pip/pip.conf", "/root/.pip/pip.conf")
AUTHORITIES = "/usr/local/share/ca-certificates"
APT_SECRETS = ("/etc/apt/auth.conf", "/etc/apt/auth.conf.d")

# The first process, bash, reaps orphans. The mounts are seen in here, and not on the machine.
INIT = r"""
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/merged"
cd "$2/merged"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount --bind "$2/tmp" tmp
shift 2
while [ $# != 0 ]; do
    mkdir -p ".$1"
    mount --bind "$2" ".$1"
    shift 2
done
ip link set lo up
cd /
echo ready
sleep infinity; exit
"""
# pivot_root, not chroot: a process that joins the mount namespace later has the same root.
ENTER = 'cd "$1" && pivot_root . mnt && umount --lazy /mnt && cd / && shift && exec "$@"'


@dataclass(frozen=True)
class Kept:
    """A tree that was made once; while this object exists, its lock keeps the tree as it is."""

    tree: Path
    made: str
    lock: IO[str]


def release(suite: str | None = None) -> Kept:
    """The root of a Debian release; None: this machine's. Made by debootstrap if there is none."""
    suite = suite or _own_suite()
    return keep(suite, " ".join(NEEDS), lambda folder: _bootstrap(suite, folder))


def keep(name: str, contents: str, make: Callable[[Path], None]) -> Kept:
    """The tree made of these contents: the existing one if it is not too old, or else a new one.

    make: gets an empty folder, and makes the tree as its `upper`.
    """
    if os.geteuid() != 0:
        raise LabError("this needs root: it makes a Debian root, and mounts it")
    for folder in (CACHE, FOLDER):
        folder.mkdir(parents=True, exist_ok=True)
    CACHE.chmod(0o711)
    FOLDER.chmod(0o700)  # there may be passwords of a mirror in it
    folder = FOLDER / name
    stamp = folder / "contents"
    lock = open(FOLDER / f"{name}.lock", "w")  # noqa: SIM115 - held by what is returned
    while True:
        _lock(lock, fcntl.LOCK_SH, folder)
        if _current(stamp, contents):
            return Kept(folder / "upper", str(stamp.stat().st_mtime_ns), lock)
        _lock(lock, fcntl.LOCK_EX, folder)
        if not _current(stamp, contents):
            show.line(f"making {folder}, once for all that need it")
            shutil.rmtree(folder, ignore_errors=True)  # left by a killed process, or too old
            folder.mkdir()
            make(folder)
            part = folder / "contents.part"  # before that, no other process uses it
            part.write_text(contents)
            part.replace(stamp)


def _current(stamp: Path, contents: str) -> bool:
    try:
        return stamp.read_text() == contents and time.time() - stamp.stat().st_mtime < KEPT
    except FileNotFoundError:
        return False


def _lock(lock: IO[str], kind: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        show.line(f"another process makes or uses {folder}; waiting for it")
        fcntl.flock(lock, kind)


# --- making one -----------------------------------------------------------------------------


def _own_suite() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if "VERSION_CODENAME" not in values:
        raise LabError("/etc/os-release has no VERSION_CODENAME: this is no release of Debian")
    return values["VERSION_CODENAME"].strip('"')


def _mirror(suite: str) -> str:
    """The archive that apt has this suite from; or else the one of this machine's suite."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)",
         "Created-By: Packages"], capture_output=True, text=True, env=ENVIRON, check=True,
    )  # fmt: skip
    sources = [line.split() for line in listing.stdout.splitlines()]
    for wanted in (suite, _own_suite()):
        for source in sources:
            if source[1:] == [wanted, "main"]:
                return source[0]
    raise LabError(f"apt has no archive with main of {_own_suite()}: see /etc/apt/sources.list")


def _bootstrap(suite: str, folder: Path) -> None:
    if not shutil.which("debootstrap"):
        raise LabError("debootstrap is missing: run `make test-packages`")
    tree = folder / "upper"
    mirror = _mirror(suite)
    log = folder / "log"
    with show.step(f"debootstrap {suite}"):
        quietly(log, "debootstrap", "--variant=minbase", suite, tree, mirror)
        configure(tree)
        # Not --include: it configures packages in an order that fails where others provide them.
        quietly(log, "chroot", tree, "apt-get", "update")
        quietly(log, "chroot", tree, "apt-get", "install", "--yes", "--no-install-recommends",
                *NEEDS)  # fmt: skip
        quietly(log, "chroot", tree, "apt-get", "clean")
        if (tree / AUTHORITIES[1:]).is_dir():
            quietly(log, "chroot", tree, "update-ca-certificates")


def quietly(log: Path, *command: str | Path) -> None:
    """Run a command that takes long and may need the network; LabError if it fails."""
    words = [str(word) for word in command]
    environ = {**environment(), "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("ab") as output:
        child = subprocess.Popen(words, env=environ, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=output, umask=0o022)  # fmt: skip
        show.watch(child, log)
    if child.returncode:
        raise LabError(f"{' '.join(words[:4])} failed with {child.returncode}", log=log)


def environment() -> dict[str, str]:
    """The environment of commands that need the network: this machine's proxies, pip settings."""
    passed_on = {name: value for name, value in os.environ.items()
                 if name in PASSED_ON or name.startswith("PIP_")}  # fmt: skip
    return {**passed_on, **ENVIRON}


def configure(tree: Path) -> None:
    """Copy the settings of this machine's apt and pip into a tree; and its authorities, names."""
    settings = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True,
                              env=ENVIRON, check=True).stdout  # fmt: skip
    (tree / "etc/apt/apt.conf.d/00as-on-this-machine").write_text(settings)
    for name in (*PIP, *APT_SECRETS, AUTHORITIES, "/etc/resolv.conf", "/etc/hosts"):
        there, here = Path(name), tree / name[1:]
        if there.is_dir():
            shutil.copytree(there, here, dirs_exist_ok=True)
        elif there.is_file():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.unlink(missing_ok=True)
            shutil.copy(there, here)


# --- being in one ---------------------------------------------------------------------------


class Root:
    """An overlay over trees that are kept, in namespaces of its own: mounts, processes, network.

    folder: gets the changes, in `upper`. network: that of the machine, instead of none.
    binds: folders of the machine that are written to, by their path in the root.
    """

    def __init__(self, layers: Sequence[Kept], folder: Path, *, network: bool = False,
                 binds: Mapping[str, Path] | None = None) -> None:  # fmt: skip
        self.layers = layers  # the highest first
        for name in ("upper", "work", "merged", "tmp"):
            (folder / name).mkdir()
        (folder / "upper").chmod(0o755)  # it is the root's own mode
        (folder / "tmp").chmod(0o1777)
        self.namespaces = ["--mount", "--pid", *([] if network else ["--net"])]
        # However this process ends, the first one in the root ends, too, and all others with it.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "unshare", *self.namespaces, "--fork", "--kill-child",
             "--propagation", "private", "bash", "-c", INIT, "root",
             ":".join(str(layer.tree) for layer in layers), folder,
             *(word for bind in (binds or {}).items() for word in bind)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=ENVIRON, umask=0o022,
        )  # fmt: skip
        output = self.process.stdout
        if not output or output.readline() != "ready\n":
            self.process.kill()
            raise LabError(f"no root in {folder}: {self.process.communicate()[1].strip()}")
        pid = self.process.pid
        self.init = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        self.merged = folder / "merged"
        """The path of the root for commands in its mount namespace (`outside`)."""
        self.path = Path(f"/proc/{self.init}/root{self.merged}")
        """The path of the root for this process."""

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def command(self, *words: str | Path) -> list[str]:
        """The command line that runs a command in the root."""
        enter = ("unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh")
        return self.outside(*enter, self.merged, *words)

    def outside(self, *words: str | Path) -> list[str]:
        """The command line that runs a command of the machine on the root, as `rpm --root`."""
        return ["nsenter", f"--target={self.init}", *self.namespaces, *map(str, words)]
