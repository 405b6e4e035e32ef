"""The pages that are made from the agents' meta-data."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentlib.exitcode import ExitCode

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference.py"
AGENTS = sorted(path.name for path in runpy.run_path(str(REFERENCE))["agents"]())


def made(form: str, folder: Path) -> dict[str, str]:
    """What the generator makes now, by file name."""
    command = [sys.executable, "-B", str(REFERENCE), form, str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_pages_are_up_to_date(tmp_path: Path) -> None:
    """docs/AGENT.md says what the agent says; if not: make docs."""
    pages = made("markdown", tmp_path)
    there = {name: (ROOT / "docs" / name).read_text() for name in pages}

    assert [f"{agent}.md" for agent in AGENTS] == sorted(pages)
    assert pages == there


def test_exit_codes_have_their_names() -> None:
    """The exit codes of the pages are those of agentlib."""
    codes = runpy.run_path(str(REFERENCE))["EXIT_CODES"]

    assert [f"OCF_{ExitCode(code).name}" for code, _, _ in codes] == [name for _, name, _ in codes]


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff (groff-base)")
def test_man_pages_are_sound(tmp_path: Path) -> None:
    """Groff has nothing to say against the man pages, and they show every parameter."""
    made("man", tmp_path)
    for agent in AGENTS:
        page = subprocess.run(
            ["groff", "-man", "-Tascii", "-P-cbou", "-ww", f"ocf_openstack_{agent}.7"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

        assert not page.stderr
        for name in ("NAME", "additional_parameters", "keystone_failure", "OCF_DEGRADED"):
            assert name in page.stdout
