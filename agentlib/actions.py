"""The actions on a resource, but start: monitor, stop, reload-agent, validate-all.

Called by `service` and `gone`. Nothing here exits, prints or reads the environment: an action
returns an Outcome, or raises an error of `errors`.
"""
from __future__ import annotations

from .call import SERVES
from .deadline import Deadline
from .errors import AgentError, ConfigurationError, StateError
from .exitcode import ExitCode
from .outcome import Outcome, worst
from .state import keep_bounded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .process import Process
    from .resource import Resource
    from .state import State


# --- validate-all, reload-agent -----------------------------------------------------------


def validate_all(resource: Resource) -> Outcome:
    """Are the parameters right; with check level 10 (the default) also on this host?"""
    from .start import validate_host

    resource.validate()
    if resource.call.level >= SERVES:
        validate_host(resource)
        remarks = [*resource.daemon.remarks(resource.values)]
        for check in resource.checks:
            remarks += check.remarks(resource.values)
        for remark in remarks:
            resource.log.warning(remark)
    return Outcome(ExitCode.SUCCESS)


def reload_agent(resource: Resource) -> Outcome:
    """Parameters of the monitor have changed: they are checked, and nothing else is done.

    The service goes on even if they are wrong. Pacemaker takes the result of a reload for that
    of a start, and anything but 0 for a failed one: a typing error would end the
    service. The monitor that follows says 190, with the reason, until it is mended.
    """
    status = resource.instance.look()
    if status.orphans:
        return resource.orphaned(status.orphans)
    if status.master is None:
        return Outcome(ExitCode.NOT_RUNNING)
    try:
        resource.validate()
    except ConfigurationError as error:
        resource.log.warning(str(error))
    return Outcome(ExitCode.SUCCESS)


# --- monitor ------------------------------------------------------------------------------


def monitor(resource: Resource) -> Outcome:
    """Is it there, and (check level 10, the default; not in a probe) does it serve?

    What level 20 adds belongs to a check (`api`).
    """
    status = resource.instance.look()
    if status.orphans:
        return resource.orphaned(status.orphans)
    if status.master is None:
        if resource.environment.probe:
            # Without the binary this node need not be tried. The rest, as a configuration on
            # shared storage, may be there by the time of a start.
            resource.daemon.executable(resource.values)
        return Outcome(ExitCode.NOT_RUNNING)
    if status.state.log:
        keep_bounded(status.state.log)
    if resource.environment.probe or resource.call.level < SERVES:
        return Outcome(ExitCode.SUCCESS)
    return _check(resource, status.state, status.master)


def _check(resource: Resource, state: State, master: Process) -> Outcome:
    before = repr(state.checks)
    subject = resource.subject(state, master)
    outcome = worst([check.verdict(subject, resource.deadline) for check in resource.checks])
    if outcome.code == ExitCode.ERR_GENERIC:
        # A daemon that has ended during the check does not run; that is another answer than
        # that it does not serve.
        status = resource.instance.look()
        if status.orphans:
            return resource.orphaned(status.orphans)
        if status.master is None:
            return Outcome(ExitCode.NOT_RUNNING)
    if repr(state.checks) != before:
        _remember(resource, state)
    if outcome.reason and outcome.good:
        resource.log.warning(outcome.reason)  # keystone_failure=ignore
        return Outcome(outcome.code)
    return outcome


def _remember(resource: Resource, state: State) -> None:
    """Write what the checks have learned, unless a start or stop is changing it now."""
    try:
        with resource.store.lock(Deadline(0)):
            if resource.store.read().pid == state.pid:
                resource.store.write(state)
    except StateError as error:
        resource.log.warning(str(error))
    except AgentError:
        pass  # The lock is taken. The next monitor learns it again.


# --- stop, start --------------------------------------------------------------------------


def stop(resource: Resource) -> Outcome:
    """End all that belongs to the instance; 0 only when a second search finds nothing."""
    try:
        with resource.store.lock(resource.deadline):
            return resource.stop()
    except StateError as error:
        resource.log.warning(f"stops without a lock: {error}")
        return resource.stop()


def start(resource: Resource) -> Outcome:
    """Start the daemon; see the module of this name."""
    from .start import start as start_daemon

    return start_daemon(resource)


FUNCTIONS: dict[str, Callable[[Resource], Outcome]] = {
    "start": start,
    "stop": stop,
    "monitor": monitor,
    "reload-agent": reload_agent,
    "validate-all": validate_all,
}
