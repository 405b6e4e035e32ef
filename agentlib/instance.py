"""What is there of one resource instance on this node, and the end of all of it.

Called by the actions in `agent`. Neither a lost pidfile nor a lost state makes a daemon invisible,
and no worker is left behind, since there are several signs. Each is enough by itself:

| sign    | a process is ours                     | provided that |
| ------- | ------------------------------------- | ------------- |
| master  | with the remembered pid and its start | - |
| parent  | that descends from one of ours        | - |
| session | in the session that the master leads  | user, not older than the master |
| session | in the session that it was in         | the same, and the number is not reused; and  |
|         |                                       | likeness, or it led the session and one there |
|         |                                       | has the tag, or a title over its environment |
| tag     | whose environment names this instance | user, PID namespace |
| pidfile | that the pidfile names                | user, PID namespace, likeness, and that its |
|         |                                       | environment names no other instance |

user: of the parameter, or as remembered. likeness: the command line is that of this daemon. A
stranger that has the master's old pid has none of these. With one_session (neutron's agents)
parent and tag count only within the session of the master, or of a process with likeness.

The signs are looked at in this order: the first three are free for all to see, and cannot block.
The environment and the command line can, as long as their process likes; so of other users'
processes they are not looked at, and for our user's there is a limit. What remains unknown then is
a doubt: where nothing else is found the answer is an error, neither "not running" nor "stopped".
"""
from __future__ import annotations

import os
import time

from . import process, tags
from .deadline import Deadline
from .errors import AgentError, StateError
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .log import Log
    from .process import Process
    from .state import Store

    Resembles = Callable[[Process], bool]
    Users = tuple[int | None, set[int]]
    """The user id of the parameter, None if there is no such account; and all that may be ours."""

PATIENCE = 0.05
"""Seconds between two looks at processes that are to end."""

LOOKS, QUIET = 50, 2
"""Listings of /proc at most; after so many with nothing new the search ends before that."""

DOUBT = 2.0
"""Seconds for which looks are repeated while it cannot be told whether a process is ours."""


class DoubtError(AgentError):
    """There may be processes of the instance: 1."""


class Status:
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
    one_session: what the daemon has started in a session of its own is not ours: it is to go on
        when the daemon is stopped, as the dnsmasq of a neutron-dhcp-agent.
    """

    __slots__ = ("_log", "_one_session", "_owner", "_resembles", "store", "tag")

    def __init__(
        self, tag: str, store: Store, owner: Callable[[], int | None], resembles: Resembles,
        log: Log, *, one_session: bool = False,
    ) -> None:
        self._one_session = one_session
        self.tag = tag
        self.store = store
        self._owner = owner
        self._resembles = resembles
        self._log = log

    def look(self) -> Status:
        """What is there. One small file and one of /proc when all is as remembered."""
        state = self.store.read()
        if state.pid:
            master = process.find(state.pid, state.start)
            if master:
                return Status(state, master, [])
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
            if family:  # The family may have ended meanwhile, as orphans often do.
                family = process.living(family) or self._family(state, pidfile)
            return Status(state, None, family)
        return Status(self._adopt(master), master, [])

    def family(self) -> list[Process]:
        """The living processes of the instance, looked for all over /proc; none if none is there.

        A process that forks during the search may leave a child that the next one finds. DoubtError
        if nothing is found for certain, but something may be there.
        """
        return self._family(self.store.read(), self.store.read_pidfile())

    def _family(self, state: State, pidfile: int) -> list[Process]:
        limit = Deadline(DOUBT)
        while True:
            family, doubts = self._search(state, pidfile)
            # A process whose memory is missing or busy for a moment may soon be known.
            if family or not doubts:
                return family
            doubtful, why = doubts[0]
            if why == tags.FORBIDDEN or not limit.remaining():
                raise DoubtError(f"cannot tell whether {doubtful!r} is of this resource: {why}")
            time.sleep(PATIENCE)

    def _search(
        self, state: State, pidfile: int,
    ) -> tuple[list[Process], list[tuple[Process, str]]]:
        """The living processes of the instance; and those that may be, with the reason."""
        seen: set[int] = set()
        listed: list[Process] = []
        found: list[Process] = []
        doubts: list[tuple[Process, str]] = []
        owner = self._owner()
        users = owner, {uid for uid in (owner, state.uid) if uid is not None and uid >= 0}
        quiet = 0
        for _ in range(LOOKS):
            before = len(seen)
            if listed:
                # A new process may live for less time than a thread takes to begin: it is looked
                # at as soon as it is seen, in one thread for all new ones.
                known = set(seen)
                try:
                    found, doubtful = process.within(
                        process.READING, self._look_at_new, seen, listed, state, pidfile, users,
                        True)
                except TimeoutError:
                    seen = known
                    found, doubtful = self._look_at_new(
                        seen, listed, state, pidfile, users, False)
            else:
                found, doubtful = self._look_at_new(seen, listed, state, pidfile, users, False)
            doubts += doubtful
            # A listed process may have ended before it was looked at, and left a child that was
            # not listed. Nothing is there only when no process began meanwhile; and a listing is
            # not made at one moment: where pids begin anew, it can miss a process with a low one.
            quiet = quiet + 1 if len(seen) == before else 0
            if found or quiet == QUIET:
                break
        return self._with_descendants(listed, found), [
            (p, why) for p, why in doubts if process.find(p.pid, p.start)]

    def _with_descendants(self, listed: list[Process], found: list[Process]) -> list[Process]:
        sessions = {p.session for p in found}
        return [p for p in process.descendants(listed, found)
                if p.session in sessions or not self._one_session]

    def _look_at_new(
        self, seen: set[int], listed: list[Process], state: State, pidfile: int, users: Users,
        limited: bool,
    ) -> tuple[list[Process], list[tuple[Process, str]]]:
        """The processes with a sign, of those not seen before; and the doubtful ones."""
        born = process.every(seen)
        listed += born
        # A process that has the leader's pid and is not the leader proves that the number, of
        # the session as well, went to another.
        reused = any(p.pid == state.pid and p.start != state.start for p in listed)
        return self._with_a_sign(born, state, 0 if reused else state.session, pidfile, users,
                           limited)

    def _with_a_sign(
        self, born: list[Process], state: State, session: int, pidfile: int, users: Users,
        limited: bool,
    ) -> tuple[list[Process], list[tuple[Process, str]]]:
        """Those that have a sign of their own (see the module's table); and the doubtful.

        session: number of the session that is remembered, 0 if none, or if it has been reused.
        limited: whether the caller has a limit for what may block.
        """
        owner, ids = users
        led = state.session == state.pid

        def of_session(p: Process) -> bool:
            return bool(state.pid and session and p.session == session
                        and p.start >= state.start and p.owned_by({state.uid}))

        master = next((p for p in born if p.pid == state.pid and p.start == state.start), None)
        found = [master] if master else []
        if master and led:
            # While it lives only its own processes can be in its session.
            found += [p for p in born if p is not master and of_session(p)]
        kin = {p.pid for p in self._with_descendants(born, found)} if found else set()

        def candidate(p: Process) -> bool:
            if p.pid in kin or p.pid == 1:
                return False
            # Any user can put the tag into the environment of own processes. Where the account
            # is gone there is no user to compare with.
            if ids and not p.owned_by(ids) and not (owner is None and p.pid == pidfile):
                return False
            return p.local() or of_session(p)

        present = limited or not ids or owner is None or process.present(ids)
        candidates = [p for p in born if present and candidate(p)]
        known, unknown = tags.environments(candidates, limited=limited)
        tagged = [p for p in candidates
                  if tags.carries(known.get(p.pid, b""), self.tag) and p.local()]
        if self._one_session:
            # A child inherits the tag, too.
            sessions = {session or -1, *(p.session for p in tagged if self._resembles(p))}
            tagged = [p for p in tagged if p.session in sessions]
        # In a session that the master did not lead there may be others of the same user.
        sure = led and any(p.session == session for p in tagged)
        ours = {p.pid for p in tagged}
        ours.update(p.pid for p in candidates
                    if p.pid not in ours and of_session(p) and (
                        sure or (led and tags.overwritten(known.get(p.pid, b"")))
                        or self._resembles(p)))
        ours.update(p.pid for p in candidates
                    if p.pid not in ours and p.pid == pidfile and self._adoptable(
                        p, known.get(p.pid), unknown.get(p.pid)))
        # Where no user is known all are candidates, and a stranger's could be made unreadable.
        doubts = [(p, unknown[p.pid]) for p in candidates
                  if ids and p.pid in unknown and p.pid not in ours and p.start >= state.start]
        return found + [p for p in candidates if p.pid in ours], doubts

    def _from_pidfile(self, pid: int) -> Process | None:
        """The daemon that the pidfile names, if another agent has started it."""
        candidate = process.find(pid) if pid else None
        if not candidate or self._owner() not in (None, candidate.real_owner()):
            return None
        known, unknown = tags.environments([candidate])
        adoptable = self._adoptable(candidate, known.get(pid), unknown.get(pid))
        return candidate if adoptable else None

    def _adoptable(self, candidate: Process, environment: bytes | None, why: str | None) -> bool:
        """environment: None where it is not known, and why."""
        if environment is None:
            # Where it must not be read, the likeness and root's own pidfile have to do.
            if why != tags.FORBIDDEN:
                return False
            environment = b""
        return (candidate.pid != os.getpid() and candidate.local()
                and self._owner() in (None, candidate.real_owner())
                and tags.claim(environment) in ("", self.tag, self.tag.partition(":")[2])
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

    def end(
        self, deadline: Deadline, grace: Deadline,
        nudge: Callable[[list[Process]], None] = lambda family: None,
    ) -> list[Process]:
        """End every process of the instance; return those that are still there, if any.

        TERM to the master, or to all where there is none, and time until `grace` to finish
        requests; then KILL to all. What is stopped (SIGSTOP) does not handle TERM: it is
        continued, again and again, since sudo stops with its child. It is over when a search all
        over /proc finds nothing: a search by kinship alone would miss a process that was forked
        meanwhile, or lost its parent.
        nudge: called with the family at each look until `grace` is over.
        """
        import signal

        family = self.family()
        told: set[tuple[int, int]] = set()
        while family and grace.remaining():
            pids = {member.pid for member in family}
            nudge(family)
            for member in family:
                # Workers whose master has ended before them get TERM in their turn.
                if member.parent not in pids and (member.pid, member.start) not in told:
                    told.add((member.pid, member.start))
                    member.signal(signal.SIGTERM)
                if member.state == "T":
                    member.signal(signal.SIGCONT)
            time.sleep(PATIENCE)
            family = process.living(family) or self._left(deadline)
        while family:
            for member in family:
                member.signal(signal.SIGKILL)
            time.sleep(PATIENCE)
            family = self._left(deadline)
            if not deadline.remaining():
                break
        return family

    def _left(self, deadline: Deadline) -> list[Process]:
        """The family after the end of others; what is doubtful may be about to end with them."""
        limit = Deadline(min(DOUBT, deadline.remaining()))
        while True:
            try:
                return self.family()
            except DoubtError:
                if not limit.remaining():
                    raise
            time.sleep(PATIENCE)


def remembered(master: Process) -> State:
    """The state of a daemon with this master."""
    state = State()
    state.pid, state.start = master.pid, master.start
    state.session, state.uid = master.session, master.real_owner()
    return state

