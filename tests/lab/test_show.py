"""The lab's output to the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEAK = "import sys; from lab import show; [show.line('x') for _ in range(3)]; sys.exit(7)"


def test_nobody_reads() -> None:
    """A lab command whose output is closed, as by `| head`, runs on to its end."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-c", SPEAK], cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE
        )
    assert (7, b"") == (done.returncode, done.stderr)
