"""What a person at the terminal sees: a line for each step, with the seconds it took.

Called by whatever takes long enough to make a person wonder, and by the demo.
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
    """Say one thing now, also when the output is a pipe; whether or not anybody reads it."""
    lines = _lines.get()
    if lines is not None:
        lines += COLOUR.sub("", text).split("\n")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is under way goes on, above all what cleans up.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what was done, after it was done. A step that failed is told by its exception."""
    begin = time.monotonic()
    yield
    took(begin, text)


def took(begin: float, text: str) -> None:
    """Say what was done since then, for a step that is no block of its own."""
    if not _silent.get():
        line(f"{time.monotonic() - begin:7.2f} s  {text}")


def watch(child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a program that takes long, and say now and then what it said last."""
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
            # Whoever leaves before apt-get does leaves dpkg's lock, and the policy, to nobody.
            child.send_signal(signal.SIGINT)
            child.wait()
            raise


@contextmanager
def silence() -> Iterator[None]:
    """Steps are not told for a while: somebody else has something to show."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Keep what is said for a while, line by line and without colours, besides saying it."""
    lines: list[str] = []
    before = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(before)


def coloured(text: str, *styles: str) -> str:
    """The text in colour on a terminal, unless its owner has none of it; as it is elsewhere."""
    if not styles or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    if os.environ.get("TERM", "dumb") == "dumb":
        return text
    return f"\033[{';'.join(styles)}m{text}\033[0m"
