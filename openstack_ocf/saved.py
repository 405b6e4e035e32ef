"""The CIBs before and after each change, kept for `undo`. Called by `change` and `apply`.

A change has a number, and two files: NUMBER-TIME-PID.before.xml and .after.xml. Both are complete
before the CIB is changed. After a command that was killed before that, the CIB is still the first.
They have the passwords that the CIB has: root's alone, in a folder that is root's alone.
"""

from __future__ import annotations

import os
import re
import stat
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import cib as cibs
from .errors import RefusedError, UsageError
from .reading import reason
from .words import path as path_

FOLDER = "/var/lib/openstack-ocf"
KEPT = 20
"""Changes that are kept; older ones are removed."""
LEFT = 3600.0
"""Seconds after which what is not complete was left by a command that was killed."""
_NAME = re.compile(r"\.?(\d{6,9}-\d{8}T\d{6}Z-\d+)\.(before|after)\.xml(\.part)?")


@dataclass(frozen=True)
class Change:
    """A saved change; when is its time, as `2026-11-27 23:00:00 UTC`."""

    number: int
    when: str
    before: ET.Element
    after: ET.Element


def save(folder: str, before: ET.Element, after: ET.Element) -> Path:
    """Keep both CIBs on disk; the file of the one before. RefusedError if they cannot be kept."""
    try:
        _make(folder)
        names = _names(folder)
        number = int(names[-1].split("-")[0]) + 1 if names else 1
        name = time.strftime(f"{number:06d}-%Y%m%dT%H%M%SZ-{os.getpid()}", time.gmtime())
        # A change counts when both are there: the one before is the last to appear.
        _write(folder, f"{name}.after.xml", cibs.text(after))
        _write(folder, f"{name}.before.xml", cibs.text(before))
        _forget(folder)
    except OSError as error:
        raise RefusedError(f"the CIB is as it was: it cannot be saved in {folder}: "
                           f"{reason(error)}") from error
    return Path(folder) / f"{name}.before.xml"


def changes(folder: str) -> Iterator[Change]:
    """The changes that are kept, the latest first."""
    try:
        _check(folder)
        names = _names(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RefusedError(f"{folder} cannot be read: {reason(error)}") from error
    for name in reversed(names):
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC",
                             time.strptime(name.split("-")[1], "%Y%m%dT%H%M%SZ"))
        files = [str(Path(folder) / f"{name}.{kind}.xml") for kind in ("before", "after")]
        before, after = (cibs.load(file, exact=True) for file in files)
        yield Change(int(name.split("-")[0]), when, before, after)


def _names(folder: str) -> list[str]:
    """Of those with both files, in the order of their numbers."""
    found: dict[str, int] = {}
    for one in os.listdir(folder):
        match = _NAME.fullmatch(one)
        if match and not one.startswith("."):
            found[match[1]] = found.get(match[1], 0) + 1
    return sorted((name for name, files in found.items() if files == 2),
                  key=lambda name: int(name.split("-")[0]))


def _make(folder: str) -> None:
    os.makedirs(os.path.dirname(folder) or "/", mode=0o755, exist_ok=True)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    _check(folder)


def _check(folder: str) -> None:
    """What others may write could be put in the place of a saved CIB."""
    there = os.lstat(folder)
    if not stat.S_ISDIR(there.st_mode):
        raise RefusedError(f"{path_(folder)} is no folder; name another by --saved")
    if os.geteuid() and not there.st_uid:
        raise UsageError(f"{path_(folder)} is root's alone; run it as root")
    if there.st_uid != os.geteuid() or there.st_mode & 0o077:
        raise RefusedError(f"{folder} is no folder of root's alone; run: chown root {folder}; "
                           f"chmod 700 {folder}")


def _write(folder: str, name: str, text: str) -> None:
    """A file that is whole and on the disk, or not there."""
    part = os.path.join(folder, f".{name}.part")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as writer:
        writer.write(text)
        writer.flush()
        os.fsync(writer.fileno())
    os.rename(part, os.path.join(folder, name))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget(folder: str) -> None:
    """Remove what is too old, and what a command that was killed has left."""
    names = _names(folder)
    for one in os.listdir(folder):
        match = _NAME.fullmatch(one)
        if not match or match[1] in names[-KEPT:]:
            continue
        path = os.path.join(folder, one)
        if match[1] in names or time.time() - os.lstat(path).st_mtime > LEFT:
            os.unlink(path)
