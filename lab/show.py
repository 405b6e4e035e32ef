"""The output for a person at the terminal: a line for each step, with the seconds it took.

Called by everything that takes long, and by the demo.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

SIGN_OF_LIFE = 5.0  # seconds
BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"

COLOUR = re.compile(r"\033\[[\d;]*m")

_silent: ContextVar[bool] = ContextVar("_silent", default=False)
_lines: ContextVar[list[str] | None] = ContextVar("_lines", default=None)


def line(text: str) -> None:
    """Print text at once, also when the output is a pipe; a closed pipe is no error."""
    lines = _lines.get()
    if lines is not None:
        lines += COLOUR.sub("", text).split("\n")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The work goes on, above all the cleaning up.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what was done, after it was done. A failed step is reported by its exception."""
    begin = time.monotonic()
    yield
    took(begin, text)


def took(begin: float, text: str) -> None:
    """Print what was done since then, for a step that is not a `with` block."""
    if not _silent.get():
        line(f"{time.monotonic() - begin:7.2f} s  {text}")


def watch(child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a slow program, and print the last line of its log now and then."""
    begin = time.monotonic()
    while True:
        try:
            child.wait(timeout=SIGN_OF_LIFE)
            return
        except subprocess.TimeoutExpired:
            said = log.read_text(errors="replace").split("\n")
            latest = next((text for text in reversed(said) if text.strip()), "")
            line(f"{time.monotonic() - begin:7.0f} s  ... {latest[:80]}")
        except BaseException:
            # If we ended before apt-get, dpkg's lock and our policy-rc.d would be left behind.
            child.send_signal(signal.SIGINT)
            child.wait()
            raise


@contextmanager
def silence() -> Iterator[None]:
    """Print no steps for a while: the caller prints something else."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collect what is printed for a while, line by line and without colours."""
    lines: list[str] = []
    before = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(before)


def coloured(text: str, *styles: str) -> str:
    """The text in colour on a terminal, unless NO_COLOR is set; unchanged elsewhere."""
    if not styles or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    if os.environ.get("TERM", "dumb") == "dumb":
        return text
    return f"\033[{';'.join(styles)}m{text}\033[0m"
