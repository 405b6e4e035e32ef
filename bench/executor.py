"""Run recurring operations as Pacemaker's executor does, and measure each run.

Called by `bench.scale` and `bench.controller`.
"""

from __future__ import annotations

import heapq
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.measure import spawn
from lab.errors import LabError


@dataclass(frozen=True)
class Operation:
    """A recurring operation. environment: the whole of it. interval, timeout: seconds."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    interval: float
    timeout: float


@dataclass(frozen=True)
class Ran:
    """One run. name: of the operation. seconds: from when it was due until it had ended.
    cpu: seconds, its children's included."""

    name: str
    seconds: float
    cpu: float
    code: int


class Executor:
    """The part of pacemaker-execd that runs recurring operations.

    Each has a timer of its own, which is set again for a whole interval when the operation has
    ended. One thread starts them, each in a process group of its own; there is no limit to how
    many run at once; an operation that exceeds its timeout is killed with its group.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._due: list[tuple[float, int]] = []
        self._running: dict[int, tuple[float, int]] = {}

    def run(self, first: Sequence[float], seconds: float) -> list[Ran]:
        """Run the operations for so many seconds. first: seconds until the first run of each."""
        begin = time.monotonic()
        self._due = [(begin + wait, number) for number, wait in enumerate(first)]
        heapq.heapify(self._due)
        ran: list[Ran] = []
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            while self._running or time.monotonic() < begin + seconds:
                if time.monotonic() > begin + seconds:
                    self._due.clear()
                ran += self._reap()
                self._kill_late()
                while self._due and self._due[0][0] <= time.monotonic():
                    self._start(*heapq.heappop(self._due))
                wait = self._due[0][0] - time.monotonic() if self._due else 1.0
                signal.sigtimedwait({signal.SIGCHLD}, max(0.0, min(1.0, wait)))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return ran

    def _start(self, due: float, number: int) -> None:
        one = self._operations[number]
        pid = spawn(one.command, one.environment, setpgroup=0, setsigmask=())
        self._running[pid] = due, number

    def _reap(self) -> Iterator[Ran]:
        while self._running:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            if pid not in self._running:
                raise LabError(f"pid {pid} has ended, a daemon of the lab: see the lab's logs")
            due, number = self._running.pop(pid)
            one, now = self._operations[number], time.monotonic()
            heapq.heappush(self._due, (now + one.interval, number))
            cpu = usage.ru_utime + usage.ru_stime
            yield Ran(one.name, now - due, cpu, os.waitstatus_to_exitcode(status))

    def _kill_late(self) -> None:
        for pid, (due, number) in self._running.items():
            if time.monotonic() > due + self._operations[number].timeout:
                os.killpg(pid, signal.SIGKILL)
