"""The numbers as a Markdown page: where they come from, a table, and whether the aims are met.

Called by `bench.__main__`; `tell` and `processor` also by `bench.failover`.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

from bench.candidates import BARE, GET, META_DATA, REMEMBERED
from bench.measure import WARM_UP, Numbers
from lab import apt, show

AIMS = (
    (META_DATA, BARE, 2.0),
    (REMEMBERED, GET, 2.0),
)
PACKAGES = (
    "python3.11",
    "python3-keystoneauth1",
    "python3-requests",
    "python3-psutil",
    "python3-glanceclient",
    "curl",
    "keystone",
    "glance-api",
)


def page(numbers: Mapping[str, Numbers], rounds: int, load: float) -> str:
    """The whole page."""
    return "\n".join([*head(rounds, load), "", *table(numbers), "", *aims(numbers), ""])


def head(rounds: int, load: float) -> list[str]:
    """What was measured, and on what. load: of the machine before the run."""
    versions = [f"{name} {version}" for name, version in apt.versions(PACKAGES).items()]
    processes = sum(name.isdigit() for name in os.listdir("/proc"))
    return f"""# What an action costs

Measured by `/usr/bin/python3 -m bench --rounds {rounds} --write` on {time.strftime("%F")}.

- machine: {processor()}, {os.cpu_count()} cores, Linux {platform.release()}
- load average before {load:.2f}, after {os.getloadavg()[0]:.2f}; {processes} processes
- {rounds} rounds after {WARM_UP} to warm up; in each, all candidates run once, in random order
- a real Glance (2 workers) and Keystone, SQLite, over the loopback of a namespace
- the agent as `make install` installs it, with Debian's Python and libraries
- {", ".join(versions)}

Whole processes, milliseconds. Spread: first and third quartile. CPU is the process's own and its
children's, not the servers'.""".splitlines()


def table(numbers: Mapping[str, Numbers]) -> list[str]:
    """A row for each candidate."""
    bare, get = numbers[BARE].median, numbers[GET].median
    rows = ["| | median | spread | CPU | × bare Python | × http.client GET |"]
    rows += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, n in numbers.items():
        rows.append(
            f"| {name} | {n.median:.1f} | {n.low:.1f} - {n.high:.1f} | {n.cpu:.1f} "
            f"| {n.median / bare:.2f} | {n.median / get:.2f} |"
        )
    return rows


def aims(numbers: Mapping[str, Numbers]) -> list[str]:
    """Each aim, and whether it is met."""
    lines = []
    for name, floor, limit in AIMS:
        ratio = numbers[name].median / numbers[floor].median
        verdict = "met" if ratio < limit else "**missed**"
        lines.append(f"- {name} under {limit:g} times {floor}: {ratio:.2f}, {verdict}")
    return lines


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def tell(text: str, page: Path, write: bool) -> int:
    """Show a page, and keep it if that is wanted; the exit code."""
    show.line("\n" + text)
    if write:
        page.write_text(text)
        show.line(f"written: {page.parent.name}/{page.name}")
    return 0
