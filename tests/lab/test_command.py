"""The exit codes and error messages of the lab's commands, for every `main` of lab/ and bench/."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ended(work: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the lab with this code as its work; folder: for temporary files."""
    code = f"""if True:
        import sys
        from lab.command import exit_code
        from lab.errors import LabError
        def work():
            {work}
        sys.exit(exit_code("lab", work))
    """
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_lab_foresees(tmp_path: Path) -> None:
    """A LabError is printed as one line, and nothing else."""
    failed = ended('raise LabError("this needs root")', tmp_path)

    assert (1, "lab: this needs root\n") == (failed.returncode, failed.stderr)
    assert [] == [*tmp_path.iterdir()]


def test_what_the_lab_does_not_foresee(tmp_path: Path) -> None:
    """Any other error is one line as well, which names the file with the traceback."""
    for work, said in (
        ('open("/nowhere/tables.sql")', "FileNotFoundError: [Errno 2] No such file or directory: "
         "'/nowhere/tables.sql'"),
        ('raise ValueError("two\\nlines")', "ValueError: two lines"),
        ("assert False", "AssertionError"),
    ):  # fmt: skip
        failed = ended(work, tmp_path)

        (report,) = tmp_path.iterdir()
        assert 1 == failed.returncode
        assert f"lab: {said}; please report it, with {report}\n" == failed.stderr
        assert "Traceback" in report.read_text()
        report.unlink()


def test_exit_code_is_that_of_the_work(tmp_path: Path) -> None:
    """Without an error the exit code is the one that the work returns, or exits with."""
    assert 3 == ended("return 3", tmp_path).returncode
    assert 4 == ended("sys.exit(4)", tmp_path).returncode
