"""One invocation of an action: the parameters' values, the time there is, and the log.

Made by `agent` for what it manages (`service.Service`, `gone.Gone`).
"""
from __future__ import annotations

from .deadline import Deadline
from .parameters import Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .environment import Environment
    from .log import Log
    from .metadata import Action
    from .parameters import Parameter

MARGIN, MARGIN_SHARE = 2.0, 0.3
"""Seconds before Pacemaker's timeout at which an action ends by itself; at most this part of
a short timeout. At the timeout itself Pacemaker kills the agent, and no reason is given."""

PROCESS, SERVES, ROUND_TRIP = 0, 10, 20
"""Check levels (OCF 1.1, "Check levels"): is it there; does it serve; does it keep what it gets."""


class Call:
    """One invocation.

    name: of the agent. age: seconds that the invocation has taken so far.
    began: when (time.monotonic) it began. levels: the check levels that there are.
    """

    __slots__ = ("_levels", "began", "deadline", "environment", "log", "name", "values")

    def __init__(
        self, name: str, parameters: Iterable[Parameter], actions: Iterable[Action],
        environment: Environment, log: Log, age: float = 0.0,
        levels: Iterable[int] = (PROCESS, SERVES),
    ) -> None:
        self._levels = levels
        self.name = name
        self.environment = environment
        self.log = log
        self.deadline = Deadline(seconds(environment, actions, age))
        self.began = self.deadline.moment - seconds(environment, actions)
        self.values = Values(parameters, environment.parameters)

    @property
    def tag(self) -> str:
        """The name of the instance's files, and in its processes' environment: `agent:instance`."""
        return f"{self.name}:{self.environment.instance}"

    @property
    def level(self) -> int:
        """The check level: what is asked for, or the next lower one that there is; or SERVES."""
        asked = self.environment.check_level
        if asked is None:
            return SERVES
        return max(level for level in self._levels if level <= asked)


def seconds(environment: Environment, actions: Iterable[Action], age: float = 0.0) -> float:
    """Time left for the action: Pacemaker's timeout less a margin.

    Pacemaker counts from the start of the process, age seconds ago: a node that is short of
    memory takes seconds to come here. (A process older than the timeout was a shell before.)
    """
    timeout = environment.timeout or max(
        (action.timeout for action in actions if action.name == environment.action), default=20)
    return timeout - min(MARGIN, timeout * MARGIN_SHARE) - (age if age < timeout else 0.0)
