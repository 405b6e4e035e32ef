"""`make mistakes`: each mistake is found by its id, and a sound configuration has no finding."""

from __future__ import annotations

import subprocess
import sys

from mistakes import CIB, FILE, LEFT, PAGE, SOUND, mistakes
from tool.kit import ROOT


def test_there_are_thirty() -> None:
    """There are thirty mistakes or more with an id, in a CIB and in a configuration file."""
    found = [one for one in mistakes() if one.id not in ("", LEFT)]

    assert len(found) >= 30
    assert {CIB, FILE} == {one.where for one in found}
    assert len(found) == len({(one.id, one.words) for one in found})


def test_the_page_is_of_this_table() -> None:
    """docs/mistakes-by-tool.md has the table's mistakes, and ours finds each that has an id."""
    kept = [[cell.strip() for cell in line.split("|")[1:-1]]
            for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [row for row in kept if row[0] not in ("id", "---")]

    assert [[one.id, one.words] for one in mistakes() if one.id] == [
        row[:2] for row in rows], "run: make mistakes ARGS=--write"
    assert [row[0] == LEFT for row in rows] == [row[-1] == "no" for row in rows]


def test_the_table() -> None:
    """The table has a line for each mistake and a column for each tool; ours finds exactly it."""
    done = subprocess.run(
        [sys.executable, "-B", ROOT / "tests" / "mistakes.py", "L13", "P1"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    head, *lines, last = done.stdout.splitlines()

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert ["crmsh", "pcs", "Pacemaker", "oslo", "openstack-ocf"] == head.split()[2:]
    assert [SOUND[:4], "L13", SOUND[:4], "P1"] == [line.strip()[:4].strip() for line in lines]
    assert ["no", "no", "no", "-", "no"] == lines[0].split()[-5:], "all tools call it sound"
    assert ["-", "-", "-", "no", "no"] == lines[2].split()[-5:]
    assert last.startswith("2 mistakes; ours is wrong about 0 rows.")
