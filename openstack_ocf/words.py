"""Words for a message: the nearest known name, and text that a terminal can show."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like it; empty if none is."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, 0.6)), "")


def shown(text: str) -> str:
    """A text of somebody else's as a message can carry it: one short line, nothing invisible."""
    return text[:80] if text.isprintable() else ascii(text)[1:81]


def path(text: str) -> str:
    """The path of a file: whole, since it stands in commands as well; nothing invisible."""
    return text if text.isprintable() else ascii(text)[1:-1]
