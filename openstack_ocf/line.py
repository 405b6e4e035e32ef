"""What `explain` says, line by line, each with its verdict; for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

OK, WARNING, WRONG, UNKNOWN = "ok", "warning", "wrong", "unknown"
"""Verdicts; unknown is what could not be looked at."""

_COLOURS = {OK: "32", WARNING: "33", WRONG: "31", UNKNOWN: "35"}


@dataclass(frozen=True)
class Line:
    """One thing that was seen.

    layer: what it is about, as `processes`. now: what is different at each look, as a time; it is
    shown, and no change for --watch.
    """

    layer: str
    verdict: str
    text: str
    now: str = ""


def code(lines: Iterable[Line]) -> int:
    """The exit code: 1 if something is wrong, 3 if something could not be looked at, else 0."""
    verdicts = {line.verdict for line in lines}
    if WRONG in verdicts:
        return 1
    return 3 if UNKNOWN in verdicts else 0


def unchanged(before: Sequence[Line], after: Sequence[Line]) -> bool:
    """Whether two looks saw the same, but for what is different at each."""
    return ([(one.layer, one.verdict, one.text) for one in before]
            == [(one.layer, one.verdict, one.text) for one in after])


def as_text(lines: Iterable[Line], *, colour: bool) -> str:
    """For people: the layers as headings, and a line for each of their lines."""
    text = []
    layer = ""
    for line in lines:
        if line.layer != layer:
            layer = line.layer
            text.append(f"{layer}\n")
        verdict = f"{line.verdict:8}"
        if colour:
            verdict = f"\033[{_COLOURS[line.verdict]}m{verdict}\033[0m"
        text.append(f"  {verdict} {_visible(line.text)}"
                    f"{f' ({_visible(line.now)})' if line.now else ''}\n")
    return "".join(text)


def as_json(head: Mapping[str, str], lines: Iterable[Line], *, one_line: bool) -> str:
    """For programs: an object with the lines as a list."""
    document = {**head, "lines": [asdict(line) for line in lines]}
    return json.dumps(document, indent=None if one_line else 2) + "\n"


def _visible(text: str) -> str:
    """What a terminal shows and does not obey."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
