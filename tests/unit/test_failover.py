"""The benchmark of failovers: what is measured, how it is kept, and the page that is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import failover, failover_page, outcome
from bench.course import phases
from bench.outcome import Outcome, Sitting, Split
from bench.targets import ACTIVE, FAULTS, PASSIVE, TARGETS, VIPS
from lab.controller import PARTS
from lab.errors import LabError

ROOT = Path(__file__).resolve().parents[2]
SAVED = ROOT / "tests" / "golden" / "failover.json"
"""Three runs of a few rows."""


def cells(page: str, *first: str) -> list[str]:
    """The cells of the row of a page that begins with these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in page.splitlines() if line.startswith("| ")]
    (found,) = [row for row in rows if row[: len(first)] == [*first]]
    return found[len(first) :]


@pytest.fixture
def page() -> str:
    return failover_page.page(outcome.read(SAVED))


def test_every_service_is_measured() -> None:
    """Each daemon of a whole controller is measured; the APIs with a virtual IP of their own."""
    assert {*PARTS} == {target.agent for target in TARGETS.values()}
    apis = [target for target in TARGETS.values() if target.kind == PASSIVE]
    assert len(apis) == len({VIPS[target.project] for target in apis})
    assert ["glance-api"] == [t.agent for t in TARGETS.values() if t.kind == ACTIVE]
    assert all(FAULTS[target.kind] for target in TARGETS.values())


def test_row(page: str) -> None:
    """A row has median and worst of its runs, part by part."""
    found = cells(page, "placement-api", "killed")
    assert ["1.1 / 1.7", "0.1 / 0.1", "0.8 / 0.8", "0.2 / 0.2"] == found[:4]
    assert ["2.2 / 2.8", "2.2 / 2.8", "0.9 / 0.9"] == found[4:7]


def test_goals(page: str) -> None:
    """A goal is met by every run, in the median, or not; a row without a goal has an empty cell."""
    assert "at most 2.0: 1.30 / 2.00, met" == cells(page, "placement-api", "killed")[-1]
    # A fast daemon has one goal for all of its time; another has 0.3 s beside its own start. The
    # fencing of the lost node counts.
    assert "at most 1.0: 0.80 / 0.90, met" == cells(page, "placement-api", "node lost")[-1]
    told = cells(page, "nova-api", "node lost")[-1]
    assert "at most 0.3: 0.30 / 0.80, met in the median" == told
    assert "" == cells(page, "nova-api", "moved by hand")[-1]
    # Of a service that runs on both nodes only the address moves.
    assert cells(page, "glance-api, active/active", "node lost")[-1].endswith("0.20 / 0.20, met")
    assert cells(page, "glance-api, active/active", "killed")[-1].endswith("**not met**")


def test_parts(page: str) -> None:
    """Workers, other monitors, and faults that those do not find, have tables of their own."""
    apis, workers = page.partition("## Workers")[::2]
    assert cells(workers, "cinder-volume", "killed")
    assert cells(workers, "nova-conductor, clone", "hung")
    assert "cinder-volume | " not in apis
    assert cells(page, "glance-api", "killed", "process only, every 10 s")
    assert ["**not found** in 30 s"] == cells(page, "hung", "process only, every 2 s")
    assert ["found after 6.0 / 7.1 s"] == cells(page, "database gone", "level 10, every 10 s")
    assert "met" == cells(page, "start of glance-api")[-1]


def test_what_came_to_nothing_is_told(page: str) -> None:
    """A run that gave no number is listed on the page all the same."""
    assert "- nova-api, node lost, level 10, every 2 s: fenced: node2, which was not" in page


def test_busy_machine_is_told(page: str) -> None:
    """Numbers of a machine that did other things as well are marked."""
    assert "the machine was busy" not in page
    found = outcome.read(SAVED)
    found.sittings[0] = replace(found.sittings[0], quiet=False, before=7.5)
    assert "the machine was busy: load average 7.50" in failover_page.page(found)


def test_kept(tmp_path: Path) -> None:
    """Results are read as they were written, and the folder has no other file."""
    found = outcome.read(SAVED)
    found.file = tmp_path / "new" / "failover.json"
    found.row("heat-api", "killed", 2, 10).splits.append(Split(1, 0, 2, 0.5, 3.5, 3.5, 2.2))
    found.keep()
    assert found == outcome.read(found.file)
    assert [found.file] == [*found.file.parent.iterdir()]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 0}', '{"format": 1}'])
def test_other_file(tmp_path: Path, text: str) -> None:
    """A file that is not ours is named, with what to do about it, and left as it is."""
    file = tmp_path / "results"
    file.write_text(text)
    with pytest.raises(LabError, match=f"{file} cannot be read: .*--results"):
        outcome.read(file)
    assert text == file.read_text()


def test_page_of_what_is_there(tmp_path: Path) -> None:
    """Results that a file has are not measured again: the page is made at once."""
    file = tmp_path / "failover.json"
    file.write_text(SAVED.read_text())
    command = [sys.executable, "-B", "-m", "bench.failover", "--resume", f"--results={file}",
               "--runs=3", "--services", "placement-api", "--faults", "killed", "node-lost"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)
    assert cells(done.stdout, "placement-api", "killed")
    assert json.loads(SAVED.read_text()) == json.loads(file.read_text())


def test_phases() -> None:
    """Faults are spread evenly over an interval, in an order that only the row's name decides."""
    assert [0.05, 0.15, 0.25, 0.35, 0.45] == sorted(round(each, 2) for each in phases(10, "a"))[:5]
    assert phases(10, "a") == phases(10, "a")
    assert phases(10, "a") != phases(10, "b")


def test_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the load stays high nothing is measured, unless that is asked for, and then marked."""
    monkeypatch.setattr(failover, "QUIET", 0.0)
    monkeypatch.setattr("os.getloadavg", lambda: (1.3, 0.0, 0.0))
    with pytest.raises(LabError, match=r"load average is 1\.30.*--busy"):
        failover.sitting("bench", 1, busy=False)
    marked: Sitting = failover.sitting("bench", 1, busy=True)
    assert not marked.quiet
    monkeypatch.setattr("os.getloadavg", lambda: (0.3, 0.0, 0.0))
    assert failover.sitting("bench", 1, busy=False).quiet


def test_page_says_how() -> None:
    """The page of the project says how it is measured, whatever numbers it has at the moment."""
    assert "\n".join(failover_page.how()) in (ROOT / "docs" / "failover.md").read_text()


def test_nothing_measured() -> None:
    """A page without results has no empty table."""
    assert "| " not in failover_page.page(Outcome(Path("none")))
