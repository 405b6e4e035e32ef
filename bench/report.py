"""Numbers as a Markdown page: where they come from, tables, and whether the aims are met.

Called by `bench.__main__`, `bench.scale`, `bench.failover` and `bench.failover_page`.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import apt, show

PYTHON = Path("/usr/bin/python3")  # its package has another name in each Debian


@dataclass(frozen=True)
class Aim:
    """An aim in words, the value that was measured, and the limit."""

    text: str
    value: float
    limit: float

    def __str__(self) -> str:
        verdict = "met" if self.value <= self.limit else "**missed**"
        return f"- {self.text}: {self.value:.2f}, {verdict}"


def origin(command: str, load: float, packages: Sequence[str]) -> list[str]:
    """Where the numbers come from, and with which Python. load: of the machine before the run."""
    installed = apt.versions((apt.owner(PYTHON), *packages))
    versions = [f"{name} {version}" for name, version in installed.items()]
    processes = sum(name.isdigit() for name in os.listdir("/proc"))
    return f"""Measured by `{command}` on {time.strftime("%F")}.

- machine: {processor()}, {os.cpu_count()} cores, Linux {platform.release()}
- load average before {load:.2f}, after {os.getloadavg()[0]:.2f}; {processes} processes
- {", ".join(versions)}""".splitlines()


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[str] = ()
) -> list[str]:
    """A Markdown table; all columns but the first one and those of words are numbers."""
    lines = ["---" if name in (columns[0], *words) else "---:" for name in columns]
    return [
        f"| {' | '.join(columns)} |",
        f"| {' | '.join(lines)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def tell(text: str, page: Path, write: bool) -> int:
    """Print a page, and write its file if that is wanted; the exit code."""
    show.line("\n" + text)
    if write:
        page.write_text(text)
        show.line(f"written: {page.parent.name}/{page.name}")
    return 0
