"""The tag by which every process of an instance is known: it stands in their environment.

Called by `daemon`, which sets it, and by `instance`, which looks for it. The environments of
processes are read within limits: a process can hold up a reader of its memory.
"""
from __future__ import annotations

import os

from .deadline import Deadline
from .process import READING, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .process import Process

TAG = "OPENSTACK_OCF_INSTANCE"
"""Name of the variable; its value is `agent:instance`."""

READING_ALL = 2.0
"""Seconds in which the environments of all processes have to come."""

FORBIDDEN = "CAP_SYS_PTRACE is missing"
UNREADABLE = "its environment cannot be read"
"""Why an environment is not known."""

_TURN = 64
"""Processes that one thread reads."""


def environments(
    processes: Iterable[Process], *, limited: bool = False,
) -> tuple[dict[int, bytes], dict[int, str]]:
    """The environments of processes by their pids; and why others are not known.

    It costs a thread (see Deadline.within) where there is something to read, else nothing.
    limited: the caller has a limit of its own.
    """
    known: dict[int, bytes] = {}
    unknown: dict[int, str] = {}

    def read(some: list[Process]) -> None:
        for process in some:
            try:
                known[process.pid] = process.environment()
            except PermissionError:
                unknown[process.pid] = FORBIDDEN
            except TimeoutError:
                unknown[process.pid] = UNREADABLE

    rest = list(processes)
    if limited:
        read(rest)
        return known, unknown
    limit = Deadline(READING_ALL)
    while rest and limit.remaining():
        # A few at a time, so that the limit of one does not fall on one of many that are slow.
        some = rest[:_TURN]
        try:
            within(min(READING, limit.remaining()), read, some)
        except TimeoutError:
            for process in list(some):
                if process.pid not in known and process.pid not in unknown:
                    unknown[process.pid] = UNREADABLE
                    del some[some.index(process) + 1:]
                    break
        rest = rest[len(some):]
    unknown.update({process.pid: UNREADABLE for process in rest})
    # Copies: a thread that was stuck may go on, and write.
    return dict(known), dict(unknown)


def carries(environment: bytes, tag: str) -> bool:
    """Whether it has the tag, its own or inherited."""
    return f"\0{TAG}={tag}\0".encode() in b"\0" + environment + b"\0"


def overwritten(environment: bytes) -> bool:
    """Whether a title was written over it, as setproctitle does: zeros are all that is left.

    The tag is gone then, and the command line as well. (neutron's and ceilometer's workers.)
    """
    return environment.endswith(b"\0\0")


def claim(environment: bytes) -> str:
    """The instance that it names: our tag, else OCF_RESOURCE_INSTANCE.

    The HA guide's agents let their daemons inherit the latter.
    """
    fields = dict(field.partition(b"=")[::2] for field in environment.split(b"\0"))
    name = fields.get(TAG.encode()) or fields.get(b"OCF_RESOURCE_INSTANCE") or b""
    return os.fsdecode(name)
