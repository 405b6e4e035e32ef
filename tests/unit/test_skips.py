"""The rule of tests/conftest.py that nothing is skipped, held by a run of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unit.kit import ROOT

SKIPPED = {
    "in the test": "def test_it() -> None:\n    pytest.skip('the reason')\n",
    "in a fixture": "@pytest.fixture(autouse=True)\ndef gone() -> None:\n"
                    "    pytest.skip('the reason')\n\ndef test_it() -> None:\n    pass\n",
    "by a mark": "@pytest.mark.skip('the reason')\ndef test_it() -> None:\n    pass\n",
    "by a condition": "@pytest.mark.skipif(True, reason='the reason')\n"
                      "def test_it() -> None:\n    pass\n",
    "the whole file": "pytest.skip('the reason', allow_module_level=True)\n",
    "for a module": "pytest.importorskip('unit_no_such', reason='the reason')\n",
    "for want of cases": "@pytest.mark.parametrize('reason', [])\n"
                         "def test_it(reason: str) -> None:\n    pass\n",
}


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What our pytest makes of a file of tests."""
    (folder / "test_case.py").write_text("import pytest\n\n" + text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "setup.cfg"), "--rootdir", str(folder),
         "-p", "no:cacheprovider", "-p", "conftest", str(folder)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "tests"),
             "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", SKIPPED.values(), ids=SKIPPED)
def test_skipped_is_failed(tmp_path: Path, text: str) -> None:
    """However a test is skipped, the run has failed, and says why."""
    done = run(tmp_path, text)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "no test may be skipped: " in done.stdout
    assert "the reason" in done.stdout or "empty parameter set" in done.stdout
    assert " skipped" not in done.stdout.splitlines()[-1]


def test_expected_failure_is_none(tmp_path: Path) -> None:
    """What is expected to fail, and does, is no skipped test."""
    done = run(tmp_path, "@pytest.mark.xfail\ndef test_it() -> None:\n    assert False\n")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "1 xfailed" in done.stdout
