"""How long a check takes while the node is short of CPU and of memory for cached files.

Called by `bench.__main__`. More loops than cores, and before each run the page cache is dropped: so
the interpreter and all modules come from the disk, for the servers too.
"""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Candidate, percentile, run, spawn

LOOPS = 8
LOOP = ("/bin/sh", "-c", "while :; do :; done")
EVERY = 4  # the slow ones run once, while the first runs so many times
DROP = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Late:
    """Seconds of many runs. dropped: whether the page cache could be dropped before each."""

    median: float
    percentile: float  # the 99th
    worst: float
    runs: int
    dropped: bool


def pressure(first: Candidate, others: Sequence[Candidate], runs: int) -> Mapping[str, Late]:
    """The first runs so many times, the others more rarely; all under the same pressure."""
    seconds: dict[str, list[float]] = {one.name: [] for one in (first, *others)}
    dropped = True
    with loops(LOOPS):
        for number in range(runs):
            for candidate in (first, *(others if number % EVERY == 0 else ())):
                dropped = drop() and dropped
                seconds[candidate.name].append(run(candidate)[0])
    return {name: _late(values, dropped) for name, values in seconds.items()}


def _late(values: Sequence[float], dropped: bool) -> Late:
    return Late(
        statistics.median(values), percentile(values), max(values), len(values), dropped)


def drop() -> bool:
    """Drop the page cache; whether that can be done here (in a container it may not)."""
    os.sync()
    try:
        DROP.write_text("3\n")
    except OSError:
        return False
    return True


@contextmanager
def loops(number: int) -> Iterator[None]:
    """Keep the cores busy with so many loops."""
    pids = [spawn(LOOP, {}) for _ in range(number)]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
