"""One resource as its agent sees it, for a look that changes nothing.

Called by `explain`. It is agentlib's own Resource, with its own look and checks; what it would
write is not written, and what it would log is not logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentlib.environment import Environment
from agentlib.errors import AgentError
from agentlib.log import Log
from agentlib.resource import Resource
from agentlib.state import State, Store

from .errors import UsageError
from .records import rsctmp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentlib.deadline import Deadline
    from agentlib.lock import Lock

TIMEOUT = 30.0
"""Seconds for a monitor, as the agents advertise."""


class _Reader(Store):
    """The files of an instance, to be read."""

    def read(self) -> State:
        state = super().read()
        # What is named here is emptied by a monitor when it has grown.
        state.log = ""
        return state

    def write(self, state: State) -> None:
        """Nothing is remembered."""

    def write_pidfile(self, pid: int) -> None:
        """Nothing is written."""

    def forget(self, pids: Iterable[int] = ()) -> str:
        """Nothing is removed."""
        return ""

    def lock(self, deadline: Deadline) -> Lock:
        """There is nothing to be locked for. What asks for it goes on without."""
        raise AgentError("a look takes no lock")


class _Silent(Log):
    """Takes what an action would log."""

    def _write(self, level: str, message: str) -> None:
        """Nothing is logged."""


def resource(
    agent: Any, instance: str, parameters: Mapping[str, str], timeout: float = TIMEOUT,
) -> Resource:
    """The resource of an instance. UsageError if the name is none.

    agent: its declaration (agentlib.agent.Agent). timeout: of its monitor, in seconds.
    """
    environment = Environment("monitor", agent.name, {
        **{f"OCF_RESKEY_{name}": value for name, value in parameters.items()},
        "OCF_RESOURCE_INSTANCE": instance,
        "OCF_RESKEY_CRM_meta_timeout": str(int(timeout * 1000)),
        "OCF_RESKEY_CRM_meta_interval": "30000",
        "OCF_CHECK_LEVEL": "10",
        "HA_RSCTMP": rsctmp(),
    })
    call = agent.call(environment, _Silent(agent.name, environment))
    try:
        made = Resource(call, agent.manages.daemon, getattr(agent.manages, "checks", ()))
        made.store = made.instance.store = _Reader(
            environment.rsctmp, call.tag, instance, call.values.text("pid"))
    except AgentError as error:
        raise UsageError(f"{instance!a} is no name of a resource: {error}") from error
    return made
