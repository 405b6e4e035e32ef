"""What went wrong in the lab, in words for the person at the terminal.

Raised by every part of the lab; `lab.openstack` shows it as `lab: ...` and exits with 1.
"""

from __future__ import annotations

from pathlib import Path

LINES = 5


class LabError(Exception):
    """One line that says what failed and what to do; below it, the last lines of the log."""

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.log = log
        # Read now: the lab, and its logs with it, may be gone when this is shown.
        self.last_words = _last_lines(log) if log else []

    def __str__(self) -> str:
        where = f" (see {self.log})" if self.log else ""
        return "\n    ".join([self.message + where, *self.last_words])


def _last_lines(log: Path) -> list[str]:
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return []
    return [line[:300] for line in text.splitlines() if line.strip()][-LINES:]
