"""The check of a daemon that takes no requests: its process lives, no more can be told.

An Alive is part of a Service's declaration, for daemons without a port and without connections
that they keep: ceilometer-agent-central, for one, has none while it is idle.
"""
from __future__ import annotations

from . import process
from .check import Check
from .exitcode import ExitCode
from .outcome import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .check import Subject
    from .deadline import Deadline

SETTLED = 5.0
"""Seconds that a daemon has to live to count as started: one that cannot read its configuration
ends within four (docs/verdicts.md)."""


class Alive(Check):
    """A daemon that counts as started when it has lived for some seconds."""

    __slots__ = ("_settled",)

    text = "has lived for a moment"

    def __init__(self, *, settled: float = SETTLED) -> None:
        self._settled = settled

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """SUCCESS when it has lived long enough."""
        if process.age(subject.master) >= self._settled:
            return Outcome(ExitCode.SUCCESS)
        subject.waiting = f"has not lived for {self._settled:.0f} s"
        return None

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """SUCCESS: the process lives, as the monitor has seen."""
        return Outcome(ExitCode.SUCCESS)
