"""Run candidates in turn, many times, and measure their times.

Called by `bench.__main__`. All candidates run once in each round, in an order that changes with
the round: so other work of the machine affects all of them alike.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.errors import LabError

WARM_UP = 3  # rounds
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Candidate:
    """A command to be measured.

    before: prepares a run, outside the measured time.
    daemon: for an action that waits for a daemon. Called right before the action, to watch the
        daemon; it returns a function, which says afterwards how many seconds the daemon needed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    code: int = 0
    before: Callable[[], object] | None = None
    daemon: Callable[[], Callable[[], float]] | None = None

    def prepare(self) -> None:
        """Prepare a run."""
        if self.before:
            self.before()

    @property
    def variables(self) -> dict[str, str]:
        """The whole environment of the command."""
        return {"PATH": PATH, **self.environment}

    def check(self, status: int) -> None:
        """UnexpectedError if the command ended with another exit code than expected."""
        code = os.waitstatus_to_exitcode(status)
        if code != self.code:
            raise UnexpectedError(f"{self.name}: {' '.join(self.command)} ended with {code}")


@dataclass(frozen=True)
class Quartiles:
    """The quartiles of many runs."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Numbers:
    """The times of one candidate. wall, cpu: milliseconds."""

    wall: Quartiles
    cpu: Quartiles


class UnexpectedError(LabError):
    """A candidate did not do what was to be measured."""


def measure(candidates: Sequence[Candidate], rounds: int) -> dict[str, Numbers]:
    """The numbers of all candidates, by name."""
    wall: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    cpu: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    for number in range(-WARM_UP, rounds):
        for candidate in random.sample(candidates, len(candidates)):
            spent, used = run(candidate)
            if number >= 0:
                wall[candidate.name].append(spent * 1000)
                cpu[candidate.name].append(used * 1000)
    return {name: Numbers(quartiles(wall[name]), quartiles(cpu[name])) for name in wall}


def quartiles(values: Sequence[float]) -> Quartiles:
    """The quartiles of some values."""
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def percentile(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[-1]


def run(candidate: Candidate) -> tuple[float, float]:
    """Run a candidate once: seconds on the clock, and of CPU, its children's included."""
    candidate.prepare()
    needed = candidate.daemon() if candidate.daemon else None
    begin = time.perf_counter()
    pid = spawn(candidate.command, candidate.variables)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    candidate.check(status)
    if needed:
        seconds -= needed()
    return seconds, usage.ru_utime + usage.ru_stime


def spawn(command: Sequence[str], environment: Mapping[str, str], **options: object) -> int:
    """Start a command, with its input and output at /dev/null; its pid."""
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    return os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=quiet,
        **options,  # type: ignore[arg-type]
    )
