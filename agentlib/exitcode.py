"""Exit codes of a resource agent; everything above this module speaks in them."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class ExitCode(int):
    """What an action tells Pacemaker (OCF 1.1, "Exit Status Codes").

    190 and 191: the resource works and stays where it is, and the operator is told that
    something is not right. 8, 9 and 191 are for resources with roles, which ours have not.
    (Not an IntEnum: to import enum would be a tenth of what a probe costs.)
    """

    SUCCESS: ClassVar[ExitCode]
    ERR_GENERIC: ClassVar[ExitCode]
    ERR_ARGS: ClassVar[ExitCode]
    ERR_UNIMPLEMENTED: ClassVar[ExitCode]
    ERR_PERM: ClassVar[ExitCode]
    ERR_INSTALLED: ClassVar[ExitCode]
    ERR_CONFIGURED: ClassVar[ExitCode]
    NOT_RUNNING: ClassVar[ExitCode]
    RUNNING_PROMOTED: ClassVar[ExitCode]
    FAILED_PROMOTED: ClassVar[ExitCode]
    DEGRADED: ClassVar[ExitCode]
    DEGRADED_PROMOTED: ClassVar[ExitCode]

    @property
    def name(self) -> str:
        """The name in the standard, without OCF_."""
        return NAMES[int(self)]

    def __repr__(self) -> str:
        return f"{self.name} ({int(self)})"


NAMES = {
    0: "SUCCESS", 1: "ERR_GENERIC", 2: "ERR_ARGS", 3: "ERR_UNIMPLEMENTED", 4: "ERR_PERM",
    5: "ERR_INSTALLED", 6: "ERR_CONFIGURED", 7: "NOT_RUNNING", 8: "RUNNING_PROMOTED",
    9: "FAILED_PROMOTED", 190: "DEGRADED", 191: "DEGRADED_PROMOTED",
}

for _number, _name in NAMES.items():
    setattr(ExitCode, _name, ExitCode(_number))
