"""What this machine has: processors, memory, and how busy it is.

Called by `lab.chaos`, `lab.invariants` and `lab.controller`.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab.errors import LabError


def memory() -> float:
    """The memory that may be used, in GiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / (1 << 20)
    raise LabError("/proc/meminfo has no MemAvailable")


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def busy() -> float:
    """How much longer things take than on a quiet machine: by the load for each processor."""
    return max(1.0, os.getloadavg()[0] / cores())
