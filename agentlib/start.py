"""The action start: spawn the daemon, wait until it is ready, report why it is not, if it fails.

Called by `service`. It is the longest action, and the only one that reads a daemon's last words.
"""
from __future__ import annotations

import os
import time

from . import process
from .deadline import Deadline
from .errors import ArgumentError, StateError
from .exitcode import ExitCode
from .instance import remembered
from .outcome import Outcome
from .reason import Reason, Spare
from .state import keep_bounded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .check import Subject
    from .lock import Lock
    from .process import Process
    from .resource import Resource
    from .state import State

READY_PAUSE = 0.05
"""Seconds between two looks at a daemon that is getting ready."""

LAST_LOOK = 0.5
"""Seconds that must be left to ask once more: a question without time tells nothing."""


def start(resource: Resource) -> Outcome:
    """Start the daemon; return when it is ready."""
    resource.validate()
    with resource.store.lock(resource.deadline) as lock:
        status = resource.instance.look()
        if status.master:
            return _await_ready(resource, status.state, status.master, None)
        validate_host(resource)
        if status.orphans:
            resource.log.warning(
                f"ends {len(status.orphans)} processes left of an earlier run")
            left = resource.end(resource.deadline.share(0.5), grace=0.5)
            if left:
                return resource.not_ended(left)
        # If the agent is killed before the new daemon is remembered, that must not be taken for
        # a worker of the one that is remembered.
        resource.store.forget()
        output, path = resource.daemon.open_log(
            resource.values, resource.environment.instance, resource.store, resource.log)
        if path == resource.store.log:
            keep_bounded(path)
        return _spawn(resource, output, path, lock)


def validate_host(resource: Resource) -> None:
    """Raise NotInstalledError or ArgumentError if this node cannot run the daemon."""
    resource.daemon.validate_host(resource.values)
    if resource.values.given("pid") and (trouble := resource.store.pidfile_trouble()):
        raise ArgumentError(trouble)
    for check in resource.checks:
        check.validate_host(resource.values)


class Spawned:
    """A daemon that has just been spawned, and what it has written since."""

    __slots__ = ("_begin", "_checks", "_instance", "_output", "_own_logs", "_secrets", "child")

    def __init__(self, resource: Resource, output: int) -> None:
        from .lastwords import OwnLogs

        daemon, values = resource.daemon, resource.values
        self._instance = resource.instance
        self._output = output
        self._begin = os.lseek(output, 0, os.SEEK_END)
        self._own_logs = OwnLogs(
            daemon.account(values), daemon.own_log_folder(values), resource.name)
        self._checks = resource.checks
        self._secrets = [secret for check in resource.checks for secret in check.secrets(values)]
        self.child = daemon.spawn(values, resource.call.tag, output)

    def last_words(self, *, complaint: bool = False) -> str:
        """The daemon's last complaint, wherever it stands; without one its last line."""
        from .lastwords import last_words

        for complaining in (True,) if complaint else (True, False):
            words = (last_words(self._output, self._begin, *self._secrets, complaint=complaining)
                     or self._own_logs.last_words(
                         self.child.pid, self._instance.family, *self._secrets,
                         complaint=complaining))
            if words:
                return next(filter(None, (c.explained(words) for c in self._checks)), words)
        return ""

    def ended(self, resource: Resource) -> Outcome:
        """Why the daemon ended: its exit status and its last words."""
        name = resource.name
        status = self.child.wait()
        words = self.last_words()
        advice = resource.daemon.advice(resource.values, words)
        if advice:
            return Outcome(
                ExitCode.ERR_INSTALLED, Reason(f"{name}: {advice}", Spare(f" ({words})")))
        how = ((" ended", f" with {status}") if status >= 0 else
               (" was killed", f" by signal {-status}"))
        return Outcome(
            ExitCode.ERR_GENERIC,
            Reason(name, how[0], Spare(how[1]), " at start: ",
                   words or "it said nothing; see its own log"))


def _spawn(resource: Resource, output: int, path: str, lock: Lock) -> Outcome:
    spawned = Spawned(resource, output)
    child = spawned.child
    if not lock.valid():
        # Another start may be running by now, under a lock of its own, and what is remembered
        # is of that.
        child.kill()
        child.wait()
        return Outcome(ExitCode.ERR_GENERIC, "the lock of this resource was removed meanwhile")
    ready = False
    try:
        master = process.find(child.pid)
        if not master:
            return spawned.ended(resource)
        state = remembered(master)
        state.log = path if path == resource.store.log else ""
        resource.store.write(state)
        try:
            resource.store.write_pidfile(master.pid)
        except StateError as error:
            resource.log.warning(str(error))  # The state has the pid, too.
        outcome = _await_ready(resource, state, master, spawned)
        ready = outcome.good
        return outcome
    finally:
        if ready:
            resource.log.info(f"started, pid {child.pid}, log {path}")
        else:
            resource.end(resource.deadline, grace=0.0)
            resource.store.forget([child.pid])


def _await_ready(
    resource: Resource, state: State, master: Process, spawned: Spawned | None,
) -> Outcome:
    """Wait until every check says that the daemon is ready.

    spawned: the daemon, if this start has spawned it.
    """
    # The time that is kept back is for ending a daemon that does not get ready.
    limit = Deadline(
        resource.deadline.remaining() - min(3.0, resource.deadline.remaining() * 0.2))
    subject = resource.subject(state, master)
    before = repr(state.checks)
    while True:
        ended = _ended(resource, master, spawned)
        if ended:
            return ended
        outcome = _ready(resource, subject, limit)
        if outcome:
            if outcome.good and repr(state.checks) != before:
                resource.store.write(state)
            # What serves may be workers of a master process that has ended meanwhile.
            return (outcome.good and _ended(resource, master, spawned)) or outcome
        if limit.remaining() < LAST_LOOK:
            break
        time.sleep(READY_PAUSE)
    name = resource.name
    seen = next(iter(_waiting(resource, subject)), "")
    words = spawned.last_words(complaint=True) if spawned else ""
    if not words:
        return Outcome(ExitCode.ERR_GENERIC, Reason(f"{name} did not get ready: ", seen))
    return Outcome(
        ExitCode.ERR_GENERIC,
        Reason(f"{name} did not get ready: ", Spare(f"{seen}; "), f"it says: {words}"))


def _ready(resource: Resource, subject: Subject, limit: Deadline) -> Outcome | None:
    """SUCCESS if all checks say so, None if one of them waits; else the failure."""
    for check in resource.checks:
        outcome = check.ready(subject, limit)
        if outcome is None or not outcome.good:
            return outcome
        if outcome.reason:
            resource.log.warning(outcome.reason)
    return Outcome(ExitCode.SUCCESS)


def _waiting(resource: Resource, subject: Subject) -> Iterable[str]:
    """What the checks that are not ready wait for."""
    for check in resource.checks:
        text = check.waiting(subject, resource.deadline)
        if text:
            yield text


def _ended(resource: Resource, master: Process, spawned: Spawned | None) -> Outcome | None:
    """The failure, if the master process has ended."""
    if spawned:
        return None if spawned.child.poll() is None else spawned.ended(resource)
    if process.find(master.pid, master.start):
        return None
    return Outcome(ExitCode.ERR_GENERIC, f"{resource.name} ended before it was ready")
