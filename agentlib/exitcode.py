"""Exit codes of a resource agent; everything above this module speaks in them."""
from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What an action tells Pacemaker (OCF 1.1, "Exit Status Codes").

    190 and 191: the resource works and stays where it is, and the operator is told that
    something is not right. 8, 9 and 191 are for resources with roles, which ours have not.
    """

    SUCCESS = 0
    ERR_GENERIC = 1
    ERR_ARGS = 2
    ERR_UNIMPLEMENTED = 3
    ERR_PERM = 4
    ERR_INSTALLED = 5
    ERR_CONFIGURED = 6
    NOT_RUNNING = 7
    RUNNING_PROMOTED = 8
    FAILED_PROMOTED = 9
    DEGRADED = 190
    DEGRADED_PROMOTED = 191
