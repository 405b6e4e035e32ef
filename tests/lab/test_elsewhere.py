"""Commands in their own Debian root: what they see, and that nothing is left of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import eventually
from lab import elsewhere, root
from lab.errors import LabError
from lab.root import Kept, Root

PATIENCE = 180.0  # seconds; only a busy machine needs them
CHECKOUT = Path(__file__).resolve().parents[2]
KILLED = """
import subprocess
from lab import elsewhere, root
with elsewhere.run_folder() as folder, root.Root([root.release()], folder) as entered:
    print(folder, flush=True)
    subprocess.run(entered.command("sh", "-c", "echo begun; setsid sleep 987654 & wait"))
"""


@pytest.fixture(scope="module")
def debian() -> Kept:
    """The root of this machine's release, which tests/packages uses, too."""
    return root.release()


def said(entered: Root, *words: str) -> str:
    """The output of a command in the root, which must succeed."""
    command = entered.command(*words)
    return subprocess.run(command, env=root.ENVIRON, stdin=subprocess.DEVNULL, check=True,
                          stdout=subprocess.PIPE, text=True).stdout  # fmt: skip


def sleepers() -> list[str]:
    """The processes that KILLED has left."""
    paths = Path("/proc").glob("[0-9]*/cmdline")
    return [str(path) for path in paths if _read(path) == b"sleep\x00987654\x00"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_of_its_own(debian: Kept) -> None:
    """A command sees the root as /, only its own processes, and no network."""
    with elsewhere.run_folder() as folder, Root([debian], folder) as entered:
        pids = said(entered, "sh", "-c", "ls -d /proc/[0-9]*").split()
        assert len(pids) < 9
        assert 1 == len(said(entered, "cat", "/proc/net/route").splitlines())  # the heading
        mounts = said(entered, "cat", "/proc/self/mounts")
        assert str(folder / "merged") not in mounts
        assert not (entered.path / CHECKOUT.relative_to("/")).exists()


def test_what_is_written_is_gone(debian: Kept) -> None:
    """Files that one run writes are not seen by another, and not left on the machine."""
    with elsewhere.run_folder() as folder, Root([debian], folder) as entered:
        said(entered, "touch", "/etc/written", "/tmp/written")
    with elsewhere.run_folder() as other, Root([debian], other) as entered:
        assert "" == said(entered, "find", "/etc", "/tmp", "-name", "written")
    assert not folder.exists()
    assert not (debian.tree / "etc/written").exists()


def test_sources(debian: Kept) -> None:
    """The sources in it are those of this checkout as they are now, without built files."""
    with elsewhere.run_folder() as folder, Root([debian], folder) as entered:
        kept = entered.path / elsewhere.SOURCES[1:] / ".venv/kept"
        kept.parent.mkdir(parents=True)
        kept.touch()
        (kept.parents[1] / "stale").touch()
        elsewhere.bring(entered)

        there = {path.name for path in kept.parents[1].iterdir()}
        assert kept.exists()
        assert {"stale", "build", ".git"}.isdisjoint(there)
        assert {"Makefile", "ocf", "tests"} <= there
        assert (CHECKOUT / "Makefile").read_text() == (kept.parents[1] / "Makefile").read_text()


def test_killed() -> None:
    """After a SIGKILL all of a run's processes end; the next run removes its files."""
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=CHECKOUT, text=True,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout
        lines = iter(process.stdout.readline, "begun\n")
        folder = Path([line.strip() for line in lines][-1])
        eventually(lambda: sleepers() != [], PATIENCE)
        process.send_signal(signal.SIGKILL)

    eventually(lambda: sleepers() == [], PATIENCE)
    assert folder.exists()
    with elsewhere.run_folder() as other:
        assert not folder.exists()
        assert other.exists()


def test_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root is kept until another version is wanted; a failed one is not taken for complete."""
    monkeypatch.setattr(root, "FOLDER", tmp_path)
    made: list[str] = []

    def make(folder: Path) -> None:
        assert [] == [*folder.iterdir()]
        (folder / "upper").mkdir()
        made.append(folder.name)

    def fail(folder: Path) -> None:
        make(folder)
        raise LabError("no network")

    with pytest.raises(LabError, match="no network"):
        root.keep("x", "one", fail)
    first = root.keep("x", "one", make).made
    assert first == root.keep("x", "one", make).made
    assert first != root.keep("x", "two", make).made
    assert 3 == len(made)
