"""What is there of one resource instance on this node, and the end of all of it.

Called by the actions in `agent`. A process belongs to the instance if it is the master that is
remembered, or carries the instance's tag, or is of the session that the master led, or descends
from any such: so neither a lost pidfile nor a lost state makes a daemon invisible, and no worker
is left behind. A stranger who has the master's old pid is none of these.
"""
from __future__ import annotations

import os
import time

from . import process
from .errors import StateError
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .deadline import Deadline
    from .log import Log
    from .process import Process
    from .state import Store

    Judge = Callable[[Process], bool]

PATIENCE = 0.05
"""Seconds between two looks at processes that are to end."""

LOOKS = 50
"""Listings of /proc until nobody is born between two; on some nodes somebody always is."""

NUDGE = 1.0
"""Seconds after which those are told again that may not have heard it."""


class Presence:
    """One look: the master, or workers that hold on without one, or nothing at all."""

    __slots__ = ("master", "orphans", "state")

    def __init__(self, state: State, master: Process | None, orphans: list[Process]) -> None:
        self.state = state
        self.master = master
        self.orphans = orphans


class Instance:
    """One resource instance.

    tag: by which its processes are known.
    store: its files.
    owner: user id that its daemon runs as, None where the account does not exist.
    resembles: tells whether a process without a tag looks like this instance's daemon.
    """

    __slots__ = ("_log", "_owner", "_resembles", "store", "tag")

    def __init__(
        self, tag: str, store: Store, owner: Callable[[], int | None], resembles: Judge, log: Log,
    ) -> None:
        self.tag = tag
        self.store = store
        self._owner = owner
        self._resembles = resembles
        self._log = log

    def look(self) -> Presence:
        """What is there. One small file and one of /proc when all is as remembered."""
        state = self.store.read()
        if state.pid:
            master = process.find(state.pid, state.start)
            if master:
                return Presence(state, master, [])
        pidfile = self.store.read_pidfile()
        family = self._family(state, pidfile)
        # Where nothing is remembered, the oldest leader of a session is what start has spawned.
        # Else the master is dead, and the leader a worker that has made a session of its own.
        known = state.pid or pidfile
        if not state.pid and process.find(known) and known not in {p.pid for p in family}:
            known = 0  # A pidfile that names a stranger tells nothing of ours.
        # (Unless all the others descend from it: then what is remembered is out of date.)
        leaders = [p for p in family if p.pid == p.session and (
            known in (0, p.pid) or 1 < len(family) == len(process.descendants(family, [p])))]
        master = min(leaders, key=lambda p: p.start, default=None) or self._from_pidfile(pidfile)
        if master is None:
            return Presence(state, None, family)
        return Presence(self._adopt(master), master, [])

    def family(self) -> list[Process]:
        """The living processes of the instance, looked for all over /proc; none if none is there.

        Who forks while we look may leave a child that is seen by the next look only.
        """
        return self._family(self.store.read(), self.store.read_pidfile())

    def _family(self, state: State, pidfile: int) -> list[Process]:
        seen: set[int] = set()
        everyone: list[Process] = []
        owners = {uid for uid in (self._owner(), state.uid) if uid is not None and uid >= 0}

        def ours(session: int) -> bool:
            # The number of a session whose members are all gone may be a stranger's by now.
            return any(p.session == session and p.tagged(self.tag) for p in everyone)

        def belongs(candidate: Process) -> bool:
            if candidate.pid == state.pid and candidate.start == state.start:
                return True
            # A worker may outlive the leader of its session; a process that has the leader's
            # pid and is not the leader proves that the number went to somebody else. In a
            # session that the master did not lead there may be others of the same user.
            if (state.pid and candidate.session == state.session and not reused
                    and candidate.start >= state.start and candidate.owned_by({state.uid})
                    and (self._resembles(candidate)
                         or (state.session == state.pid and ours(state.session)))):
                return True
            if candidate.pid == pidfile and self._adoptable(candidate):
                return True
            # Anybody may put the tag into the environment of his own processes.
            return candidate.owner in {0, *(owners or (candidate.owner,))} \
                and candidate.tagged(self.tag) and (not owners or candidate.owned_by(owners))

        found: list[Process] = []
        for _ in range(LOOKS):
            before = len(seen)
            born = process.everyone(seen)
            everyone += born
            reused = any(p.pid == state.pid and p.start != state.start for p in everyone)
            found = [p for p in born if belongs(p)]
            # One that was listed may have ended before it was looked at, and left a child that
            # was not. Nobody is there only when nobody was born while we looked.
            if found or len(seen) == before:
                break
        return process.descendants(everyone, found)

    def _from_pidfile(self, pid: int) -> Process | None:
        """The daemon that the pidfile names, if somebody else's agent has started it."""
        candidate = process.find(pid) if pid else None
        return candidate if candidate and self._adoptable(candidate) else None

    def _adoptable(self, candidate: Process) -> bool:
        owner = self._owner()
        return (candidate.pid != os.getpid() and owner in (None, candidate.real_owner())
                and candidate.claimed_by() in ("", self.tag, self.tag.partition(":")[2])
                and self._resembles(candidate))

    def _adopt(self, master: Process) -> State:
        """Remember a daemon that runs but is not remembered."""
        state = remembered(master)
        self._log.info(f"takes over the running daemon, pid {master.pid}")
        try:
            self.store.write(state)
            if self.store.read_pidfile() != master.pid:
                self.store.write_pidfile(master.pid)
        except StateError as error:
            self._log.warning(str(error))  # It runs all the same.
        return state

    def end(self, deadline: Deadline, grace: Deadline) -> list[Process]:
        """End every process of the instance; return those that are still there, if any.

        TERM to the master, or to all where there is none, and time until `grace` to finish
        what they do; then KILL to all. It is over when a look all over /proc finds nothing: a
        look by kinship alone would miss those that were born meanwhile, or lost their parents.
        """
        import signal

        family = self.family()
        for member in family:
            member.signal(signal.SIGCONT)  # The stopped do not hear TERM.
        told: set[tuple[int, int]] = set()
        nudge = time.monotonic() + NUDGE
        while family and grace.remaining():
            pids = {member.pid for member in family}
            if time.monotonic() > nudge:
                nudge += NUDGE
                # By HUP uWSGI's master has its workers end; but one that is still loading does
                # not hear it, and the master would wait a minute.
                for member in family:
                    if member.name.startswith("uwsgi") and member.parent in pids:
                        member.signal(signal.SIGHUP)
            for member in family:
                # Workers whose master has gone before them are told in their turn.
                if member.parent not in pids and (member.pid, member.start) not in told:
                    told.add((member.pid, member.start))
                    member.signal(signal.SIGTERM)
            time.sleep(PATIENCE)
            family = process.living(family) or self.family()
        while family:
            for member in family:
                member.signal(signal.SIGKILL)
            time.sleep(PATIENCE)
            family = self.family()
            if not deadline.remaining():
                break
        return family


def remembered(master: Process) -> State:
    """The state of a daemon with this master."""
    state = State()
    state.pid, state.start = master.pid, master.start
    state.session, state.uid = master.session, master.real_owner()
    return state

