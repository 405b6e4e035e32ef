"""`make mistakes`: each mistake is found by its id, and a sound configuration has no finding."""

from __future__ import annotations

import subprocess
import sys

from mistakes import SOUND, mistakes
from tool.kit import ROOT


def test_there_are_thirty() -> None:
    """Half of the mistakes are in a CIB, each with its own id, and half in a configuration."""
    rows = [row for row, _, _ in mistakes()]
    after = rows.index("", 1)

    assert (15, 15) == (len({*rows[1:after]}), len(rows[after + 1:]))


def test_the_table() -> None:
    """The table has a line for each mistake and a column for each tool; ours finds exactly it."""
    done = subprocess.run(
        [sys.executable, "-B", ROOT / "tests" / "mistakes.py", "L13", "P1"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    head, *lines, last = done.stdout.splitlines()

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert ["crmsh", "pcs", "Pacemaker", "oslo", "ours"] == head.split()[2:]
    assert [SOUND[:4], "L13", SOUND[:4], "P1"] == [line.strip()[:4].strip() for line in lines]
    assert last.startswith("2 mistakes; ours missed 0.")
