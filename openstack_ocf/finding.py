"""One finding: what is wrong, where, and what to do; and the findings of a command as text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from .words import path as plain

ERROR, WARNING, UNKNOWN = "error", "warning", "unknown"
"""Severities; unknown is what could not be looked at."""


@dataclass(frozen=True)
class Finding:
    """A finding.

    id: stable, as `V2`; docs/openstack-ocf.md and docs/findings.md list them.
    where: file:section/key, or the id of an element of the CIB.
    seen: what was seen there, in one sentence. remedy: what to do, in one sentence.
    """

    id: str
    severity: str
    where: str
    seen: str
    remedy: str


def code(findings: Iterable[Finding]) -> int:
    """The exit code: 1 for an error, 3 if something could not be looked at, else 0."""
    severities = {finding.severity for finding in findings}
    if ERROR in severities:
        return 1
    return 3 if UNKNOWN in severities else 0


def show(findings: Sequence[Finding], form: str) -> int:
    """Print them, as `text` or as `json`; the exit code."""
    sys.stdout.write(as_json(findings) if form == "json" else as_text(findings))
    return code(findings)


def as_text(findings: Sequence[Finding]) -> str:
    """For people: two lines each, whatever ids, values and paths have in them."""
    return "".join(f"{plain(f'{one.severity} {one.id} {one.where}: {one.seen}')}\n"
                   f"    {plain(one.remedy)}\n" for one in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """For programs: a list of objects."""
    return json.dumps([asdict(one) for one in findings], indent=2) + "\n"
