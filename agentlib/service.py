"""The declaration of a service: a daemon and its checks, and the actions as they are advertised.

A Service is what most agents manage. The actions themselves are in `actions` and `start`.
"""
from __future__ import annotations

from .call import PROCESS, SERVES
from .metadata import Action, actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .call import Call
    from .check import Check
    from .daemon import Daemon
    from .outcome import Outcome
    from .parameters import Parameter


class Service:
    """A daemon and the checks that tell whether it serves, of which the worst result counts.

    start, stop: advertised timeouts in seconds.
    one: why it has to run on one node at a time; empty for a service that may run on all.
    each: why there must not be two of it on a node.
    """

    __slots__ = ("_each", "_one", "actions", "checks", "daemon", "parameters")

    def __init__(
        self, daemon: Daemon, *checks: Check, start: int = 60, stop: int = 60, one: str = "",
        each: str = "",
    ) -> None:
        self.daemon = daemon
        self.checks = checks
        self._one = one
        self._each = each
        self.parameters: tuple[Parameter, ...] = (
            *daemon.parameters,
            *(parameter for check in checks for parameter in check.parameters(daemon.port)))
        # start: Glance waits 30 s for a port to become free, and a control plane that boots cold is
        # slow. stop: requests under way may take most of it; what is left then is killed.
        self.actions = actions(
            start, stop, Action("monitor", 30, interval=30, depth=10),
            Action("monitor", 30, interval=10, depth=0))

    @property
    def levels(self) -> tuple[int, ...]:
        """The check levels that there are."""
        return PROCESS, SERVES, *(check.level for check in self.checks if check.level > SERVES)

    @property
    def text(self) -> str:
        """What it does, for the meta-data."""
        return (
            "It starts the server and waits until it "
            f"{', and '.join(check.text for check in self.checks)}, and stops it with all its "
            "workers. Parameters have the names that the agents of the OpenStack High "
            f"Availability Guide gave them. {self._where}{self._further}")

    @property
    def _further(self) -> str:
        """What is not among the actions: pcs would configure it for everybody."""
        return "".join(f" {check.further}" for check in self.checks if check.further)

    @property
    def _where(self) -> str:
        """On how many nodes it may run."""
        if self._one:
            return f"It must run on one node at a time: {self._one}."
        if self._each:
            return f"It may run on all nodes, but once on each: {self._each}."
        return "It may run on all nodes at once, as a clone."

    def act(self, call: Call) -> Outcome:
        """Do the action that the call names; AgentError where it fails."""
        from .actions import FUNCTIONS
        from .resource import Resource

        return FUNCTIONS[call.environment.action](Resource(call, self.daemon, self.checks))
