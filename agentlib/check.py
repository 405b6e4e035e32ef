"""What every check has: parameters, and two questions: is it ready, and does it serve?

A check is part of a Service's declaration (`api.Api`, `broker.Broker`, `database.Database`,
`port.Port`, `alive.Alive`); the actions in `start` and `service` ask it. A check returns what it
found, and leaves what it has learned in its own part of the state.
"""
from __future__ import annotations

from .call import SERVES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .daemon import Daemon
    from .deadline import Deadline
    from .outcome import Outcome
    from .parameters import Parameter, Values
    from .process import Process
    from .state import State


class Check:
    """What a Service asks of each of its checks; a check defines what it has an answer to.

    text: what a start waits for and a monitor looks at, for the meta-data.
    """

    __slots__ = ()

    text = ""

    @property
    def level(self) -> int:
        """The highest check level that it has an answer to."""
        return SERVES

    def parameters(self, port: int) -> tuple[Parameter, ...]:
        """The parameters that it brings; port: where the daemon listens by default."""
        return ()

    def validate(self, values: Values) -> None:
        """Look at the parameters alone; ConfigurationError if one is wrong on every node."""

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError or ArgumentError if it lacks something."""

    def remarks(self, values: Values) -> Iterable[str]:
        """Warnings: what is allowed, but may surprise; validate-all logs them."""
        return ()

    def secrets(self, values: Values) -> Iterable[str]:
        """What must not be seen in a log or an exit reason."""
        return ()

    def explained(self, words: str) -> str:
        """What the last words of a daemon mean, where this check knows it; else empty."""
        return ""

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """None while it is not ready, which `waiting` explains.

        SUCCESS when it is ready; any other code where more waiting is of no use.
        """
        raise NotImplementedError

    def waiting(self, subject: Subject, deadline: Deadline) -> str:
        """Why the last `ready` was None."""
        return subject.waiting

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """The verdict of a recurring monitor."""
        raise NotImplementedError


class Subject:
    """What a check looks at: an instance whose master process runs.

    name: of the agent. master: its master process. state: what is remembered; a check may
    change its own part. family: gives the living processes of the instance.
    daemon: the declaration of what runs. level: the check level. tag: `agent:instance`.
    waiting: why it is not ready, as far as `ready` has found out.
    asked: when (time.monotonic) a check of a starting daemon last asked another service.
    seen: its connections at the last look of a start, with the times at which each was first seen.
    """

    __slots__ = ("asked", "daemon", "family", "level", "master", "name", "seen", "state", "tag",
                 "values", "waiting")

    def __init__(
        self, name: str, values: Values, daemon: Daemon, state: State, master: Process,
        family: Callable[[], list[Process]], *, level: int = SERVES, tag: str = "",
    ) -> None:
        self.level = level
        self.tag = tag
        self.name = name
        self.values = values
        self.daemon = daemon
        self.state = state
        self.master = master
        self.family = family
        self.waiting = ""
        self.asked = 0.0
        self.seen: dict[int, float] = {}

    def memory(self, check: str) -> dict[str, Any]:
        """What the check of this name remembers of the instance; to be changed in place."""
        memory: dict[str, Any] = self.state.checks.setdefault(check, {})
        return memory
