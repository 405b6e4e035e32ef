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
from lab.settings import CACHE, USERS, Settings

OPEN = ("neutron",)  # dnsmasq reads its hosts there, as nobody
MEASURES = ("gnocchi",)  # projects with files beside their tables
GLANCE_FOLDERS = ("images", "staging", "tasks", "lock")


def prepare(settings: Settings) -> None:
    """Make the folders of a new lab."""
    settings.directory.chmod(0o755)
    for name in ("etc", "run", "db", "log", "lib"):
        (settings.directory / name).mkdir()
    for service in settings.users:
        settings.log(service).parent.mkdir()
        settings.home(service).mkdir()
    for service in (*USERS, *_measures(settings)):
        _database(settings, service).mkdir()
    for name in settings.projects:
        (settings.home(name) / "lock").mkdir(exist_ok=True)
    for name in GLANCE_FOLDERS:
        (settings.home("glance") / name).mkdir()
    (settings.home("cinder") / "lock").mkdir(exist_ok=True)
    # MariaDB makes its socket here.
    shutil.chown(settings.database_files, USERS["db"])
    own(settings)


def own(settings: Settings) -> None:
    """Give each service's user the folders that the service writes to, with all that is in."""
    for service, user in settings.users.items():
        trees = [settings.home(service), settings.log(service).parent]
        if service in (*USERS, *_measures(settings)):
            trees += [_database(settings, service)]
        for tree in trees:
            _give(tree, user)
            tree.chmod(0o755 if service in OPEN else 0o750)


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


def sweep(prefix: str, take_down: Callable[[Path], None]) -> None:
    """Take down the temporary folders whose owners were killed before they could do it.

    prefix: of their names; the owner's pid and start time follow. Only one process sweeps at a
    time: of two that take down the same folder, each would miss what the other has just removed.
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


def _database(settings: Settings, service: str) -> Path:
    return settings.database_files / ("mysql" if service == "db" else service)


def _measures(settings: Settings) -> list[str]:
    return [name for name in MEASURES if name in settings.projects]


def _give(tree: Path, user: str) -> None:
    owner = process.as_user(user)
    for folder, _, names in os.walk(tree):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.chown(path, owner["user"], owner["group"], follow_symlinks=False)
