"""Files that are opened so that no other process can put another file in their place.

Called by `state` (pidfile, state, lock), `daemon` (the log file) and `lastwords` (logs of the
service). The agent is root; the folders that it works in may belong to others.
"""
from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pwd import struct_passwd

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def contents(path: str, limit: int, folder: int | None = None) -> bytes | None:
    """A small regular file's contents, empty if it is too large; None if it is no such thing."""
    try:
        descriptor = os.open(path, READ, dir_fd=folder)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = os.read(descriptor, limit + 1)
        return text if len(text) <= limit else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)


def sweep(folder: str, name: str) -> None:
    """Remove what agents that were killed had begun to write in the place of a file."""
    head = f".{name}."
    try:
        left = [entry for entry in os.listdir(folder)
                if entry.startswith(head) and entry[len(head):].isdigit()]
    except OSError:
        return
    for entry in left:
        try:
            os.unlink(os.path.join(folder, entry))
        except OSError:
            pass


def replace(path: str, text: str, mode: int, folder: int | None = None) -> None:
    """Write a file whole or not at all; what stood there is replaced, never followed."""
    head, tail = os.path.split(path)
    new = os.path.join(head, f".{tail}.{os.getpid()}")
    try:
        os.unlink(new, dir_fd=folder)  # of an agent that was killed, and had our pid
    except FileNotFoundError:
        pass
    descriptor = os.open(new, _CREATE, 0o600, dir_fd=folder)
    try:
        try:
            os.fchmod(descriptor, mode)
            if os.write(descriptor, text.encode()) < len(text.encode()):
                raise OSError(errno.ENOSPC, "no space left")
        finally:
            os.close(descriptor)
        try:
            os.rename(new, path, src_dir_fd=folder, dst_dir_fd=folder)
        except IsADirectoryError:
            if folder is None:
                raise
            # In our own folder, where it is junk of unknown origin.
            os.rename(path, f"{path}.junk.{os.getpid()}", src_dir_fd=folder, dst_dir_fd=folder)
            os.rename(new, path, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(new, dir_fd=folder)
        raise


def opened_as(
    account: struct_passwd, path: str, how: int = os.O_RDWR | os.O_APPEND | os.O_CREAT,
) -> int:
    """Open a regular file, or /dev/null, as this user, with no rights but that user's."""
    flags = how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    switch = os.geteuid() == 0 and account.pw_uid != 0
    if switch:
        groups = os.getgroups()
        os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
    umask = os.umask(0o027)
    try:
        descriptor = os.open(path, flags, 0o640)
    finally:
        os.umask(umask)
        if switch:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) and not (
            stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    os.set_blocking(descriptor, True)
    return descriptor
