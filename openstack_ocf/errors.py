"""What ends a command early, each with its exit code. Raised anywhere, shown by `command`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .finding import Finding


class ToolError(Exception):
    """What went wrong, in one sentence for the operator."""

    code = 1


class UsageError(ToolError):
    """The command, or a file that it was given, is wrong."""

    code = 2


class DescriptionError(UsageError):
    """The description cannot be read; findings says why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("the description cannot be read")
        self.findings = tuple(findings)


class CannotLookError(ToolError):
    """Something could not be looked at: a program is missing, or a cluster does not answer."""

    code = 3


class RefusedError(ToolError):
    """What was asked for is not done, since something is in its way."""
