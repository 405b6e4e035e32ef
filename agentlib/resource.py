"""One resource instance as an action works with it: its daemon, its files, its processes.

Made for each invocation by what an Agent manages (`service.Service`, `gone.Gone`), and passed to
the actions in `start` and `service`.
"""
from __future__ import annotations

from .check import Subject
from .deadline import Deadline
from .errors import ConfigurationError
from .exitcode import ExitCode
from .instance import PATIENCE, Instance
from .outcome import Outcome
from .reason import Reason, Spare
from .state import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .call import Call
    from .check import Check
    from .daemon import Daemon
    from .environment import Environment
    from .log import Log
    from .parameters import Values
    from .process import Process
    from .state import State


class Resource:
    """A daemon and its checks, with the values, files and processes of one instance."""

    __slots__ = ("call", "checks", "daemon", "instance", "store")

    def __init__(self, call: Call, daemon: Daemon, checks: Sequence[Check] = ()) -> None:
        self.call = call
        self.daemon = daemon
        self.checks = tuple(checks)
        # Whether pid is a path is asked by validation; for stop, no parameter can be wrong.
        self.store = Store(
            call.environment.rsctmp, call.tag, call.environment.instance, call.values.text("pid"))
        self.instance = Instance(
            call.tag, self.store, lambda: daemon.owner(call.values),
            daemon.resembles(call.values), call.log, one_session=daemon.one_session)

    @property
    def name(self) -> str:
        """The name of the agent."""
        return self.call.name

    @property
    def values(self) -> Values:
        """The parameters' values."""
        return self.call.values

    @property
    def environment(self) -> Environment:
        """What Pacemaker said."""
        return self.call.environment

    @property
    def deadline(self) -> Deadline:
        """The time that the action has."""
        return self.call.deadline

    @property
    def log(self) -> Log:
        """Where the action writes what it did."""
        return self.call.log

    def subject(self, state: State, master: Process) -> Subject:
        """What the checks look at."""
        return Subject(self.name, self.values, self.daemon, state, master, self.instance.family,
                       level=self.call.level, tag=self.call.tag)

    def validate(self) -> None:
        """Raise ConfigurationError if a parameter is wrong on every node."""
        self.daemon.validate(self.values)
        for check in self.checks:
            check.validate(self.values)

    def end(self, deadline: Deadline, *, grace: float | None) -> list[Process]:
        """End all processes of the instance; return those that are left.

        grace: seconds for requests under way, None for as long as there is.
        """
        from .uwsgi import Nudge

        # What a KILL and the search afterwards may take must be left.
        most = deadline.remaining() - min(3.0, deadline.remaining() * 0.4)
        return self.instance.end(
            deadline, Deadline(most if grace is None else min(grace, most)), Nudge(PATIENCE))

    def stop(self) -> Outcome:
        """End all processes; SUCCESS only when a second search finds nothing."""
        there = self.instance.family()
        if there:
            try:
                wanted = self.values.seconds("shutdown_timeout")
            except ConfigurationError as error:
                self.log.warning(str(error))
                wanted = None
            left = self.end(self.deadline, grace=wanted)
            if left:
                return self.not_ended(left)
            self.log.info(f"stopped, {len(there)} processes")
        remark = self.store.forget(member.pid for member in there)
        if remark:
            self.log.warning(remark)
        return Outcome(ExitCode.SUCCESS)

    def orphaned(self, orphans: Sequence[Process]) -> Outcome:
        """Failure: workers without their master."""
        return Outcome(
            ExitCode.ERR_GENERIC,
            Reason(
                f"{self.name}: the master process is gone, {len(orphans)} of its processes hold "
                "on", Spare(f" ({orphans[0]!r})"), "; stop ends them"))

    def not_ended(self, left: Sequence[Process]) -> Outcome:
        """Failure: processes that even KILL does not end."""
        return Outcome(
            ExitCode.ERR_GENERIC,
            f"{self.name}: {len(left)} processes do not end, not even by KILL: {left[0]!r}")
