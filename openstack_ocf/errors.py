"""What ends a command early, each with its exit code. Raised anywhere, shown by `command`."""

from __future__ import annotations


class ToolError(Exception):
    """What went wrong, in one sentence for the operator."""

    code = 1


class UsageError(ToolError):
    """The command, or a file that it was given, is wrong."""

    code = 2


class CannotLookError(ToolError):
    """Something could not be looked at: a program is missing, or a cluster does not answer."""

    code = 3


class RefusedError(ToolError):
    """What was asked for is not done, since something is in its way."""
