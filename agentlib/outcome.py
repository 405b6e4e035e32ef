"""The result of an action or a check: an exit code, and why.

Returned by the actions in `service` and `start` and by every check; `runtime` turns it into the
exit of the process.
"""
from __future__ import annotations

from .exitcode import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MILDER = (ExitCode.SUCCESS, ExitCode.DEGRADED)
"""Codes by which Pacemaker leaves the resource alone, the mildest first."""


class Outcome:
    """An exit code and its reason; no reason where all is well.

    A reason beside SUCCESS is a remark for the log.
    """

    __slots__ = ("code", "reason")

    def __init__(self, code: ExitCode, reason: str = "") -> None:
        self.code = code
        self.reason = reason

    @property
    def good(self) -> bool:
        """Whether it is SUCCESS."""
        return self.code == ExitCode.SUCCESS


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that counts: a failure before DEGRADED, and that before SUCCESS.

    Of several that are as bad the first counts; SUCCESS if there are none.
    """
    found = Outcome(ExitCode.SUCCESS)
    for outcome in outcomes:
        if _rank(outcome) > _rank(found):
            found = outcome
    return found


def _rank(outcome: Outcome) -> tuple[int, bool]:
    milder = outcome.code in _MILDER
    return _MILDER.index(outcome.code) if milder else len(_MILDER), bool(outcome.reason)
