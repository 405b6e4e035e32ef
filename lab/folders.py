"""The folders of a lab, each for the user that writes to it; and the one that all labs share.

Called by `lab.seed`, `lab.release` and `lab.openstack`, and by `lab.cluster` to sweep.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import process, show
from lab.process import Process
from lab.settings import CACHE, DB, Settings
from lab.specs import SPECS


def prepare(settings: Settings) -> None:
    """Make the folders of a new lab."""
    settings.directory.chmod(0o755)
    for name in ("etc", "run", "db", "log", "lib"):
        (settings.directory / name).mkdir()
    for name in settings.users:
        settings.log(name).parent.mkdir()
        settings.home(name).mkdir()
        inside = SPECS[name].folders if name in SPECS else ()
        of_home = [settings.home(name) / folder for folder in inside]
        for folder in (*of_home, *_of_database(settings, name)):
            folder.mkdir()
    # MariaDB makes its socket here.
    shutil.chown(settings.database_files, settings.users[DB])
    own(settings)


def own(settings: Settings) -> None:
    """Give each project's user the folders that its daemons write to, with all that is in."""
    for name, user in settings.users.items():
        shared = name in SPECS and SPECS[name].others_read
        home, logs = settings.home(name), settings.log(name).parent
        for tree in (home, logs, *_of_database(settings, name)):
            _give(tree, user)
            tree.chmod(0o755 if shared else 0o750)


@contextmanager
def alone(name: str, what: str) -> Iterator[None]:
    """Lock: one process makes something for all labs, and the others wait."""
    CACHE.mkdir(parents=True, exist_ok=True)
    CACHE.chmod(0o711)  # the services' users have to reach their own files
    with open(CACHE / f"{name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            show.line(f"another process {what}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def temporary(prefix: str) -> str:
    """A new folder, named after this process: `sweep` takes it down when this has been killed."""
    owner = Process.at(os.getpid())
    name = f"{owner.pid}.{owner.birth}" if owner else "unknown"
    return tempfile.mkdtemp(prefix=f"{prefix}{name}-")


def sweep(prefix: str, take_down: Callable[[Path], None]) -> None:
    """Take down the temporary folders whose owners were killed before they could do it.

    Only one process sweeps at a time: of two that take down the same folder, each would miss what
    the other has just removed.
    """
    if _orphans(prefix):
        with alone("sweep", "removes what killed labs have left"):
            for directory in _orphans(prefix):
                take_down(directory)
                shutil.rmtree(directory, ignore_errors=True)


def _orphans(prefix: str) -> list[Path]:
    found = []
    for directory in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        pid, _, birth = directory.name[len(prefix) :].rpartition("-")[0].partition(".")
        if pid.isdigit() and birth.isdigit():
            owner = Process.at(int(pid))
            if owner is None or owner.birth != int(birth):
                found.append(directory)
    return found


def _of_database(settings: Settings, name: str) -> list[Path]:
    """The folder of MariaDB's files, or of a project's files beside them; none for most."""
    if name == DB:
        return [settings.database_files / "mysql"]
    return [settings.database_files / name] if name in SPECS and SPECS[name].keeps_files else []


def _give(tree: Path, user: str) -> None:
    owner = process.as_user(user)
    for folder, _, names in os.walk(tree):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.chown(path, owner["user"], owner["group"], follow_symlinks=False)
