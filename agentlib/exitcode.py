"""Exit codes of a resource agent; everything above this module speaks in them."""
from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What an action tells Pacemaker (OCF 1.1, "Exit status codes").

    190 and 191 are Pacemaker's extension ("Pacemaker Explained", OCF return codes): the
    resource works and stays where it is, and the operator is told that something is not right.
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
