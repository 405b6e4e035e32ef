"""Words for a message: the nearest known name, and text that a terminal, and anybody, may see."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], alike: float = 0.6) -> str:
    """The known name that is most like it; empty if none is so much alike (1: the same)."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, alike)), "")


def shown(text: str) -> str:
    """A text from outside, made fit for a message: one short line, nothing invisible."""
    return text[:80] if text.isprintable() else ascii(text)[1:81]


def path(text: str) -> str:
    """The path of a file: whole, since it stands in commands as well; nothing invisible."""
    return text if text.isprintable() else ascii(text)[1:-1]


def hidden(text: str) -> str:
    """A value as a message can carry it: no login in a URL, and no password behind an option."""
    from agentlib.secrets import scrubbed

    return re.sub(r"(?i)([\w-]*(?:passwd|password|secret|token)(?:=|\s+))[^\s&]+", r"\1***",
                  scrubbed(text))
