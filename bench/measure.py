"""Run candidates in turn, many times, and tell what came of it in numbers.

Called by `bench.__main__`. All candidates run once in each round, in an order that changes with
the round: what else the machine does meanwhile then falls on all of them alike.
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


@dataclass(frozen=True)
class Candidate:
    """A command to be measured. before: makes things ready, outside the measured time."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    code: int = 0
    before: Callable[[], object] | None = None


@dataclass(frozen=True)
class Numbers:
    """Milliseconds of one candidate: the quartiles of its time, and the median of its CPU."""

    low: float
    median: float
    high: float
    cpu: float


class UnexpectedError(LabError):
    """A candidate did not do what was to be measured."""


def measure(candidates: Sequence[Candidate], rounds: int) -> dict[str, Numbers]:
    """The numbers of all candidates, by name."""
    wall: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    cpu: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    for number in range(-WARM_UP, rounds):
        for candidate in random.sample(candidates, len(candidates)):
            if candidate.before:
                candidate.before()
            spent, used = run(candidate)
            if number >= 0:
                wall[candidate.name].append(spent * 1000)
                cpu[candidate.name].append(used * 1000)
    return {name: numbers(wall[name], cpu[name]) for name in wall}


def numbers(wall: Sequence[float], cpu: Sequence[float]) -> Numbers:
    """What many runs of one candidate come to."""
    low, middle, high = statistics.quantiles(wall, n=4, method="inclusive")
    return Numbers(low, middle, high, statistics.median(cpu))


def run(candidate: Candidate) -> tuple[float, float]:
    """Run a candidate once: seconds on the clock, and of CPU, its children's included."""
    begin = time.perf_counter()
    pid = os.posix_spawn(
        candidate.command[0],
        list(candidate.command),
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **candidate.environment},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)
        ],
    )
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    code = os.waitstatus_to_exitcode(status)
    if code != candidate.code:
        command = " ".join(candidate.command)
        raise UnexpectedError(f"{candidate.name}: {command} ended with {code}")
    return seconds, usage.ru_utime + usage.ru_stime
