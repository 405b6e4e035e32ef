"""The outcome of an action or a check, and which of several counts."""

from __future__ import annotations

import itertools

import pytest

from agentlib.exitcode import NAMES, ExitCode
from agentlib.outcome import Outcome, worst

FINE = Outcome(ExitCode.SUCCESS)
REMARK = Outcome(ExitCode.SUCCESS, "a remark")
DEGRADED = Outcome(ExitCode.DEGRADED, "degraded")
FAILED = Outcome(ExitCode.ERR_GENERIC, "failed")


def test_no_reason() -> None:
    """An outcome without a reason has an empty one."""
    assert "" == Outcome(ExitCode.SUCCESS).reason


@pytest.mark.parametrize("code", [ExitCode(number) for number in NAMES])
def test_good(code: ExitCode) -> None:
    """Only SUCCESS is good, with a remark or without."""
    assert (code == 0) is Outcome(code).good is Outcome(code, "x").good


@pytest.mark.parametrize("outcomes", list(itertools.permutations([FINE, REMARK, DEGRADED, FAILED])))
def test_worst(outcomes: tuple[Outcome, ...]) -> None:
    """A failure counts before DEGRADED, DEGRADED before SUCCESS, a remark before none."""
    ranked = [FAILED, DEGRADED, REMARK, FINE]
    for index, expected in enumerate(ranked):
        among = [outcome for outcome in outcomes if outcome in ranked[index:]]
        found = worst(among)
        assert (expected.code, expected.reason) == (found.code, found.reason)


def test_worst_of_equals() -> None:
    """Of several that are equally bad the first counts; of no outcomes, all is well."""
    other = Outcome(ExitCode.ERR_GENERIC, "other")
    assert "failed" == worst([FINE, FAILED, other]).reason
    assert "other" == worst([other, FAILED]).reason
    assert (0, "") == (worst([]).code, worst([]).reason)
