"""The rule of tests/conftest.py that nothing is skipped, held by a run of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys

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
EXPECTED = "@pytest.mark.xfail\ndef test_it() -> None:\n    assert False\n"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run of our pytest with files that are skipped, and one that is expected to fail."""
    folder = tmp_path_factory.mktemp("skips")
    for how, text in {**SKIPPED, "not at all": EXPECTED}.items():
        path = folder / f"test_{how.replace(' ', '_')}.py"
        path.write_text("import pytest\n\n" + text.replace("the reason", f"skipped {how}"))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "setup.cfg"), "--rootdir", str(folder),
         "-p", "no:cacheprovider", "-p", "conftest", "--continue-on-collection-errors",
         str(folder)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "tests"),
             "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", SKIPPED)
def test_skipped_is_failed(done: subprocess.CompletedProcess[str], how: str) -> None:
    """However a test is skipped, the run has failed, and says why."""
    assert done.returncode in (1, 2), done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if "no test may be skipped: " in line]
    reason = "empty parameter set" if how == "for want of cases" else f"skipped {how}"
    assert [line for line in told if reason in line], done.stdout
    assert " skipped" not in done.stdout.splitlines()[-1]


def test_expected_failure_is_none(done: subprocess.CompletedProcess[str]) -> None:
    """A test that is expected to fail, and does, does not count as skipped."""
    assert "1 xfailed" in done.stdout.splitlines()[-1]
    wrong = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert len(SKIPPED) == len(wrong)
    assert not [line for line in wrong if "not_at_all" in line]
