"""A name whose daemon no longer exists: what an existing CIB says still has a meaning.

A Gone is what such an agent manages, as nova-consoleauth. Nothing can be started: start, a probe
and validate-all say what has replaced it. An old daemon that still runs is monitored by its
process, and stop ends it.
"""
from __future__ import annotations

from .call import PROCESS, SERVES
from .errors import NotInstalledError
from .exitcode import ExitCode
from .metadata import Action, actions
from .outcome import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .call import Call
    from .daemon import Daemon
    from .parameters import Parameter
    from .resource import Resource


class Gone:
    """A daemon that no release has any more.

    since: the release in which it was removed, as `Train`. instead: what to do, in one line.
    """

    levels = (PROCESS, SERVES)

    __slots__ = ("_instead", "_since", "actions", "daemon", "parameters")

    def __init__(self, daemon: Daemon, *, since: str, instead: str) -> None:
        self.daemon = daemon
        self._since = since
        self._instead = instead
        self.parameters: tuple[Parameter, ...] = daemon.parameters
        self.actions = actions(20, 60, Action("monitor", 20, interval=30, depth=0))

    @property
    def text(self) -> str:
        """What it does, for the meta-data."""
        return (
            f"OpenStack has had no such daemon since {self._since}: {self._instead}. A resource "
            "of this type cannot be started any more. A daemon of an older release that still "
            "runs is monitored by its process and can be stopped, so that the resource can be "
            "removed from the cluster.")

    def act(self, call: Call) -> Outcome:
        """Do the action that the call names; NotInstalledError where there is nothing to do."""
        from .actions import reload_agent, stop
        from .resource import Resource

        resource = Resource(call, self.daemon)
        action = call.environment.action
        if action == "stop":
            return stop(resource)
        if action == "monitor":
            return self._monitor(resource)
        if action == "reload-agent":
            return reload_agent(resource)
        if action == "validate-all":
            self.daemon.validate(call.values)
            if call.level < SERVES:
                return Outcome(ExitCode.SUCCESS)
        raise self.error(call.name)

    def _monitor(self, resource: Resource) -> Outcome:
        status = resource.instance.look()
        if status.orphans:
            return resource.orphaned(status.orphans)
        if status.master:
            return Outcome(ExitCode.SUCCESS)
        if resource.environment.probe:
            raise self.error(resource.name)
        return Outcome(ExitCode.NOT_RUNNING)

    def error(self, name: str) -> NotInstalledError:
        """What is said where there is nothing to do; name: of the agent."""
        return NotInstalledError(f"{name} is gone since {self._since}: {self._instead}")
