"""Looks at processes, by /proc alone: one process, lists of processes, and how to end them.

    eventually(lambda: not lives(pid))
    pids = having("NAME=VALUE")         # what was started with this in its environment

For every kit, and for the harness: nothing here uses agentlib, which is tested with it, or
knows agents.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from lab.process import rest

PATIENCE = 30.0
"""Seconds that a test waits for what must come; only a busy machine needs them."""

T = TypeVar("T")


def eventually(look: Callable[[], T], patience: float = PATIENCE) -> T:
    """Call look() until its result is true, and return that."""
    until = time.monotonic() + patience
    while True:
        since = time.monotonic()
        if seen := look():
            return seen
        if time.monotonic() > until:
            raise AssertionError(f"waited {patience} s in vain")
        rest(since, least=0.02)


# ---- one process


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return fields_of(pid)[:1] not in ([], ["Z"], ["X"])


def words_of(pid: int) -> list[str]:
    """A process's command line; empty for zombies and the gone."""
    words = _read(pid, "cmdline")
    return [os.fsdecode(word) for word in words.removesuffix(b"\0").split(b"\0")] if words else []


def environ_of(pid: int) -> list[bytes]:
    """The environment that a process was started with; empty for zombies and the gone."""
    return _read(pid, "environ").split(b"\0")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def fields_of(pid: int) -> list[str]:
    """What follows the name in /proc/PID/stat, the state first; empty for the gone."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status, of a process or of one thread; empty for the gone."""
    lines = _read(pid, "status").decode("utf-8", "replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def parent_of(pid: int) -> int:
    """The pid of a process's parent, 0 if it is gone."""
    fields = fields_of(pid)
    return int(fields[1]) if fields else 0


def start_of(pid: int) -> int:
    """When a process was started, in clock ticks since boot."""
    return int(fields_of(pid)[19])


def children_of(pid: int) -> list[int]:
    """The children of a process's first thread; none of the gone."""
    try:
        children = Path("/proc", str(pid), "task", str(pid), "children").read_text("ascii")
    except OSError:
        return []
    return [int(child) for child in children.split()]


# ---- lists of processes


def every_pid() -> list[int]:
    """All processes that this process can see, itself included."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def having(*marks: str) -> list[int]:
    """Living processes that were started with one of these NAME=VALUE in their environment."""
    wanted = {os.fsencode(mark) for mark in marks}
    return [
        pid for pid in every_pid() if pid != os.getpid() and not wanted.isdisjoint(environ_of(pid))
    ]


def masters(pids: Sequence[int]) -> list[int]:
    """Those of the processes whose parent is not among them."""
    return [pid for pid in pids if parent_of(pid) not in pids]


# ---- how to end processes


def kill(pid: int, *marks: str) -> int:
    """KILL a process if it still carries one of the marks; return its pid."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return pid
    try:
        # the descriptor refers to the process that has the pid now: is that the right one?
        if {os.fsencode(mark) for mark in marks} & set(environ_of(pid)):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return pid


def signal_all(pids: Iterable[int], signum: int) -> None:
    """Signal those that are still there."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass


def end_all(look: Callable[[], Sequence[int]]) -> None:
    """KILL what look() finds until it finds nothing: a master may start a worker meanwhile."""

    def none_left() -> bool:
        pids = look()
        signal_all(pids, signal.SIGKILL)
        return not pids

    eventually(none_left)


def killed(*pids: int) -> None:
    """KILL processes that are there, and see them gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(map(lives, pids)))
