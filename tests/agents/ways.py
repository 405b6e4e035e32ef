"""Strange ways to call an agent: prefixes, and full queues.

service.start(prefix=sh("ulimit -n 20"))
service.stop(prefix=mounted("mount -t tmpfs none /proc"))
with listening_syslog(service.folder) as log:
    service.start(prefix=with_syslog(service.folder), environ={"HA_LOGFACILITY": "daemon"})
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def sh(script: str) -> tuple[str, ...]:
    """A shell runs the script, and then execs the agent."""
    return ("/bin/sh", "-ec", f'{script}\nexec "$@"', "sh")


def py(script: str) -> tuple[str, ...]:
    """Python runs the script, and then execs the agent."""
    become = "os.execv(sys.argv[1], sys.argv[1:])"
    return ("/usr/bin/python3", "-ISc", f"import os, sys\n{script}\n{become}")


def mounted(script: str) -> tuple[str, ...]:
    """A mount namespace of its own, in which a shell runs the script."""
    return ("/usr/bin/unshare", "--mount", *sh(f"PATH=/usr/sbin:/usr/bin:/sbin:/bin\n{script}"))


def with_devices(*names: str, log: str = "/nowhere") -> tuple[str, ...]:
    """A /dev that has these, and a link to the log."""
    return mounted(
        "mount -t tmpfs none /mnt\n"
        f"for name in {' '.join(names)}; do\n"
        "    touch /mnt/$name; mount --bind /dev/$name /mnt/$name\n"
        "done\n"
        f"ln -s {log} /mnt/log\n"
        "mount --move /mnt /dev\n"
    )


def with_syslog(folder: Path) -> tuple[str, ...]:
    """A /dev whose log is the socket of listening_syslog()."""
    return with_devices("null", "zero", "full", "random", "urandom", log=str(folder / "syslog"))


@contextmanager
def listening_syslog(folder: Path) -> Iterator[socket.socket]:
    """A syslog of the test's own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(folder / "syslog"))
        log.setblocking(False)
        yield log


def clog(log: socket.socket) -> None:
    """Fill its queue, as if its reader had stopped."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as noise:
        noise.setblocking(False)
        noise.connect(log.getsockname())
        until_full(lambda: noise.send(b"<30>noise"))


def clogged_fifo(path: Path) -> int:
    """Make a full fifo; return the descriptor that has it open, and does not read."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    until_full(lambda: os.write(descriptor, b"." * 4096))
    return descriptor


def until_full(write: Callable[[], object]) -> None:
    try:
        while True:
            write()
    except BlockingIOError:
        pass
