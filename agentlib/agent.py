"""Agent: the declaration, and the actions as plain functions.

`runtime` calls an action with a Call (what there is to work with) and gets an Outcome, or one
of the errors of `errors`. Nothing here exits, prints or reads the environment.
"""
from __future__ import annotations

import os
import time

from . import process, sockets
from .daemon import keep_bounded
from .deadline import Deadline
from .errors import (
    AgentError,
    ArgumentError,
    ConfigurationError,
    PermissionDeniedError,
    StateError,
)
from .exitcode import ExitCode
from .instance import Instance, remembered
from .metadata import Action, document
from .parameters import Values
from .reason import Reason, Spare
from .state import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import ApiCheck
    from .daemon import Daemon
    from .environment import Environment
    from .log import Log
    from .process import Process
    from .sockets import Listener
    from .state import Lock, State

VERSION = "0.1.0"

ACTIONS = (
    # Glance waits 30 s for a port to become free, and a control plane that boots cold is slow.
    Action("start", 60),
    # Requests under way may take most of it; what is left then is killed.
    Action("stop", 60),
    Action("monitor", 30, interval=30, depth=10),
    Action("monitor", 30, interval=10, depth=0),
    Action("status", 30),
    Action("reload-agent", 20),
    Action("validate-all", 20),
    Action("meta-data", 10),
)

MARGIN, MARGIN_SHARE = 2.0, 0.3
"""Seconds before Pacemaker's timeout at which an action ends by itself; at most this part of
a short timeout. By the timeout itself Pacemaker kills the agent, and nobody says why."""

READY_PAUSE = 0.05
LAST_LOOK = 0.5
"""Seconds that must be left to ask once more: a question without time tells nothing."""

PROCESS, API = 0, 10
"""Check levels (OCF 1.1, "Check levels"): is it there; does it serve."""


class Agent:
    """A resource agent: a daemon and a check, each with the parameters that it brings.

    name: the resource type, and the name of the executable.
    title: what it manages, for the meta-data.
    """

    __slots__ = ("check", "daemon", "name", "title")

    def __init__(self, *, name: str, title: str, daemon: Daemon, check: ApiCheck) -> None:
        self.name = name
        self.title = title
        self.daemon = daemon
        self.check = check

    def metadata(self) -> str:
        """The meta-data, as XML."""
        return document(
            self.name, VERSION, f"Manages the {self.title}",
            f"Resource agent for the {self.title}. It starts the server and waits until it "
            "serves, checks it by an authenticated request that reads its database, tells a "
            "fault of the server from one of Keystone, and stops it with all its workers. The "
            "parameters are those of the agents in the OpenStack High Availability Guide, and "
            "some more.",
            (*self.daemon.parameters, *self.check.parameters), ACTIONS)

    def usage(self) -> str:
        """How to call the agent by hand."""
        names = "|".join(dict.fromkeys((*(action.name for action in ACTIONS), "usage")))
        return (
            f"usage: {self.name} ({names})\n\n"
            f"Manages the {self.title} for Pacemaker. Parameters come in the environment:\n"
            f"  OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=p_{self.name} \\\n"
            f"  OCF_RESKEY_config={self.daemon.parameters[1].default} {self.name} monitor\n")


class Call:
    """One invocation of an action: the agent, its parameters' values, and the time there is.

    age: seconds that the invocation has taken so far.
    """

    __slots__ = ("agent", "deadline", "environment", "instance", "log", "store", "values")

    def __init__(
        self, agent: Agent, environment: Environment, log: Log, age: float = 0.0,
    ) -> None:
        daemon = agent.daemon
        tag = f"{agent.name}:{environment.instance}"
        self.agent = agent
        self.environment = environment
        self.log = log
        self.deadline = Deadline(seconds(environment, age))
        self.values = Values((*daemon.parameters, *agent.check.parameters),
                             environment.parameters)
        # Whether it is a path is asked by who validates; to stop, no parameter can be wrong.
        self.store = Store(
            environment.rsctmp, tag, environment.instance, self.values.text("pid"))
        self.instance = Instance(
            tag, self.store, lambda: daemon.owner(self.values), daemon.resembles(self.values), log)


class Outcome:
    """What an action came to, and why, where the code is neither 0 nor 7."""

    __slots__ = ("code", "reason")

    def __init__(self, code: ExitCode, reason: str = "") -> None:
        self.code = code
        self.reason = reason


def seconds(environment: Environment, age: float = 0.0) -> float:
    """Time left for the action to come to its end: Pacemaker's timeout less a margin.

    Pacemaker counts from the birth of the process, age seconds ago: a node that is short of
    memory takes seconds to come here. (Who is older than the timeout was a shell before.)
    """
    timeout = environment.timeout or max(
        (action.timeout for action in ACTIONS if action.name == environment.action), default=20)
    return timeout - min(MARGIN, timeout * MARGIN_SHARE) - (age if age < timeout else 0.0)


# --- validate-all, reload-agent -----------------------------------------------------------


def validate_all(call: Call) -> Outcome:
    """Are the parameters right; with check level 10 (the default) also on this host?"""
    validate(call)
    if level(call.environment) >= API:
        validate_host(call)
        for part in (call.agent.daemon, call.agent.check):
            for remark in part.remarks(call.values):
                call.log.warning(remark)
    return Outcome(ExitCode.SUCCESS)


def validate(call: Call) -> None:
    """Raise ConfigurationError if a parameter is wrong whatever the node."""
    call.agent.daemon.validate(call.values)
    call.agent.check.validate(call.values)


def validate_host(call: Call) -> None:
    """Raise NotInstalledError or ArgumentError if this node cannot run the daemon."""
    call.agent.daemon.validate_host(call.values)
    if call.values.given("pid") and (trouble := call.store.pidfile_trouble()):
        raise ArgumentError(trouble)
    call.agent.check.validate_host(call.values)


def reload_agent(call: Call) -> Outcome:
    """Parameters of the monitor have changed: nothing to do but to look at them.

    The service goes on even if they are wrong. Pacemaker files the result of a reload as that
    of a start, and takes anything but 0 for a failed one: a slip of the pen would end the
    service. The monitor that follows says 190, with the reason, until it is mended.
    """
    presence = call.instance.look()
    if presence.orphans:
        return _orphaned(call, presence.orphans)
    if presence.master is None:
        return Outcome(ExitCode.NOT_RUNNING)
    try:
        validate(call)
    except ConfigurationError as error:
        call.log.warning(str(error))
    return Outcome(ExitCode.SUCCESS)


# --- monitor ------------------------------------------------------------------------------


def monitor(call: Call) -> Outcome:
    """Is it there, and (check level 10, the default; not in a probe) does it serve?"""
    presence = call.instance.look()
    if presence.orphans:
        return _orphaned(call, presence.orphans)
    if presence.master is None:
        if call.environment.probe:
            # Without the binary this node need not be tried. The rest, a configuration on
            # shared storage say, may come before start does.
            call.agent.daemon.executable(call.values)
        return Outcome(ExitCode.NOT_RUNNING)
    if presence.state.log:
        keep_bounded(presence.state.log)
    if call.environment.probe or level(call.environment) < API:
        return Outcome(ExitCode.SUCCESS)
    return _check_api(call, presence.state, presence.master)


def _orphaned(call: Call, orphans: list[Process]) -> Outcome:
    return Outcome(
        ExitCode.ERR_GENERIC,
        Reason(
            f"{call.agent.name}: the master process is gone, {len(orphans)} of its processes hold "
            "on", Spare(f" ({orphans[0]!r})"), "; stop ends them"))


def _check_api(call: Call, state: State, master: Process) -> Outcome:
    before = _learned(state)
    try:
        outcome = _learn_address(call, state, master)
    except PermissionDeniedError as error:
        # 4 would move away a service of which nothing bad is known.
        return Outcome(ExitCode.DEGRADED, f"{call.agent.name} runs; not checked: {error}")
    if not outcome:
        verdict = call.agent.check.verdict(call.agent.name, call.values, state, call.deadline)
        outcome = Outcome(verdict.code, verdict.reason)
    if outcome.code == ExitCode.ERR_GENERIC:
        # What has died under the question does not run; that is another thing than not to serve.
        presence = call.instance.look()
        if presence.orphans:
            return _orphaned(call, presence.orphans)
        if presence.master is None:
            return Outcome(ExitCode.NOT_RUNNING)
    if _learned(state) != before:
        _remember(call, state)
    if outcome.reason and outcome.code == ExitCode.SUCCESS:
        call.log.warning(outcome.reason)  # keystone_failure=ignore
        return Outcome(outcome.code)
    return outcome


def _learned(state: State) -> tuple[object, ...]:
    """What a monitor may learn."""
    return state.url, state.inode, state.token, state.anonymous


def _learn_address(call: Call, state: State, master: Process) -> Outcome | None:
    """See to it that the remembered address is the daemon's own, and nothing else's.

    None if it is; else what the monitor has to say of it.

    Each monitor looks, before it asks: the daemon may have moved to another port by a reload of
    its own, and what has the old one by now must not be sent a token, or answer in its place.
    PermissionDeniedError where sockets may not be looked at.
    """
    if state.url and call.values.given("url"):
        return None  # The operator says who is asked.
    if state.url and state.inode and sockets.holds(master.pid, state.descriptor, state.inode):
        host, _, port = state.url.partition("://")[2].rpartition(":")
        address = host.strip("[]").partition("%")[0]
        takers = [listener for listener in sockets.listeners(int(port))
                  if listener.rank(address)]
        if [listener.inode for listener in takers] == [state.inode]:
            return None
    found, strangers = _listening(call)
    if not found:
        return Outcome(
            ExitCode.ERR_GENERIC,
            f"{call.agent.name}: {master!r} and its workers listen on no TCP port")
    url = _serving(call, found)
    taker = next((other for other in strangers if other.port == found[url].port), None)
    if taker:
        return _beside(call, found[url], taker)
    _take_address(call, state, found[url])
    return None


def _beside(call: Call, own: Listener, taker: Listener) -> Outcome:
    """What is to be said of a daemon that serves while something else takes its requests.

    No token is sent where that may get it. The daemon is asked where the other does not listen,
    if there is such an address: one that does not answer is at fault. Else a restart mends
    nothing, and the one that came later may be about to be refused.
    """
    url = own.aside(taker)
    verdict = call.agent.check.serves(call.agent.name, call.values, url, call.deadline)
    if verdict.code != ExitCode.SUCCESS:
        return Outcome(verdict.code, verdict.reason)
    return Outcome(ExitCode.DEGRADED, _shared(call, own.url, taker))


def _serving(call: Call, found: dict[str, Listener]) -> str:
    """Of several sockets the one that answers as the API does: uWSGI has some for other uses."""
    if len(found) > 1:
        limit = call.deadline.share(0.3)
        for url in found:
            verdict = call.agent.check.serves(
                call.agent.name, call.values, url, limit.share(1 / len(found)))
            if verdict.code == ExitCode.SUCCESS:
                return url
    return next(iter(found))


def _take_address(call: Call, state: State, listener: Listener) -> None:
    """Remember where the daemon listens, and by what this is to be known again."""
    state.url = listener.url
    state.inode = state.descriptor = 0
    master = process.find(state.pid, state.start)
    holder = sockets.held([master]).get(listener.inode) if master else None
    if holder:
        state.inode, state.descriptor = listener.inode, holder[1]


def _remember(call: Call, state: State) -> None:
    """Write what the monitor has learned, unless a start or stop is changing it this moment."""
    try:
        with call.store.lock(Deadline(0)):
            if call.store.read().pid == state.pid:
                call.store.write(state)
    except StateError as error:
        call.log.warning(str(error))
    except AgentError:
        pass  # The lock is taken. The next monitor learns it again.


def _listening(call: Call) -> tuple[dict[str, Listener], list[Listener]]:
    """Where the daemon listens, by URL, the usual port first; and which strangers take its share.

    A worker that ends meanwhile takes its sockets with it, and one that is new is not in the
    family yet: it is a stranger's only if a second look says so, too.
    """
    everything = sockets.listeners()
    for last in (False, True):
        inodes = sockets.held(call.instance.family())
        found: dict[str, Listener] = {}
        for listener in sorted(everything, key=lambda one: one.port != call.agent.check.port):
            if listener.inode in inodes:
                found.setdefault(listener.url, listener)
        ports = {listener.port for listener in found.values()}
        mine = [listener for listener in everything if listener.inode in inodes]
        strangers = list(sockets.rivals(
            mine, (listener for listener in everything if listener.port in ports)))
        if not strangers or last:
            break
        everything = sockets.listeners()
    return found, strangers


def _shared(call: Call, url: str, other: Listener) -> Reason:
    """The kernel gives it a part of the requests, or all of them.

    eventlet's servers allow it (SO_REUSEPORT), to all processes of the same user.
    """
    return Reason(
        f"{call.agent.name}: ", url, " is shared with ",
        sockets.holder(other, call.deadline.share(0.1)), Spare(", which is"),
        " not of this resource")


# --- start --------------------------------------------------------------------------------


def start(call: Call) -> Outcome:
    """Start the daemon; come back when it serves."""
    validate(call)
    with call.store.lock(call.deadline) as lock:
        presence = call.instance.look()
        if presence.master:
            return _await_ready(call, presence.state, None)
        validate_host(call)
        if presence.orphans:
            call.log.warning(f"ends {len(presence.orphans)} processes left of an earlier run")
            left = _end(call, call.deadline.share(0.5), grace=0.5)
            if left:
                return _undead(call, left)
        # Should we be killed before the new daemon is remembered, it must not be taken for a
        # worker of the one that is.
        call.store.forget()
        output, path = call.agent.daemon.open_log(
            call.values, call.environment.instance, call.store, call.log)
        if path == call.store.log:
            keep_bounded(path)
        return _spawn(call, output, path, lock)


class Birth:
    """A daemon that has just been spawned, and the means to tell what it says meanwhile."""

    __slots__ = ("_begin", "_instance", "_output", "_own_logs", "_secret", "child")

    def __init__(self, call: Call, output: int) -> None:
        from .lastwords import OwnLogs

        daemon, values = call.agent.daemon, call.values
        self._instance = call.instance
        self._output = output
        self._begin = os.lseek(output, 0, os.SEEK_END)
        self._own_logs = OwnLogs(daemon.account(values), daemon.log_folder, call.agent.name)
        self._secret = values.text("os_password")
        self.child = daemon.spawn(values, call.instance.tag, output)

    def words(self, *, complaint: bool = False) -> str:
        """The daemon's own last complaint, wherever it stands; without one its last words."""
        from .lastwords import last_words

        for complaining in (True,) if complaint else (True, False):
            words = (last_words(self._output, self._begin, self._secret, complaint=complaining)
                     or self._own_logs.last_words(
                         self.child.pid, self._instance.family, self._secret,
                         complaint=complaining))
            if words:
                return words
        return ""

    def obituary(self, call: Call) -> Outcome:
        """Why the daemon ended: its exit status and its own last words."""
        name = call.agent.name
        status = self.child.wait()
        words = self.words()
        advice = call.agent.daemon.advice(call.values, words)
        if advice:
            return Outcome(
                ExitCode.ERR_INSTALLED, Reason(f"{name}: {advice}", Spare(f" ({words})")))
        how = ((" ended", f" with {status}") if status >= 0 else
               (" was killed", f" by signal {-status}"))
        return Outcome(
            ExitCode.ERR_GENERIC,
            Reason(name, how[0], Spare(how[1]), " at start: ",
                   words or "it said nothing; see its own log"))


def _spawn(call: Call, output: int, path: str, lock: Lock) -> Outcome:
    birth = Birth(call, output)
    if not lock.valid():
        # Another start may be at work by now, under a lock of its own: what it has begun is its.
        birth.child.kill()
        birth.child.wait()
        return Outcome(ExitCode.ERR_GENERIC, "the lock of this resource was removed meanwhile")
    ready = False
    try:
        master = process.find(birth.child.pid)
        if not master:
            return birth.obituary(call)
        state = remembered(master)
        state.log = path if path == call.store.log else ""
        call.store.write(state)
        try:
            call.store.write_pidfile(master.pid)
        except StateError as error:
            call.log.warning(str(error))  # The state knows it, too.
        outcome = _await_ready(call, state, birth)
        ready = outcome.code == ExitCode.SUCCESS
        return outcome
    finally:
        if ready:
            call.log.info(f"started, pid {birth.child.pid}, log {path}")
        else:
            _end(call, call.deadline, grace=0.0)
            call.store.forget([birth.child.pid])


def _await_ready(call: Call, state: State, birth: Birth | None) -> Outcome:
    """Wait until the daemon's own processes own the socket and the version document answers.

    birth: of the daemon; None where it was there before.
    """
    # What is left behind it is for the end of a daemon that does not get ready.
    limit = Deadline(call.deadline.remaining() - min(3.0, call.deadline.remaining() * 0.2))
    name, check = call.agent.name, call.agent.check
    while True:
        ended = _ended(call, state, birth)
        if ended:
            return ended
        seen = ""
        found, strangers = _listening(call)
        for url, listener in found.items():
            verdict = check.serves(name, call.values, url, limit.share(0.5 / len(found)))
            if verdict.code == ExitCode.SUCCESS:
                other = next((one for one in strangers if one.port == listener.port), None)
                if other:
                    return Outcome(ExitCode.ERR_GENERIC, _shared(call, url, other))
                if state.url != url or not state.inode:
                    _take_address(call, state, listener)
                    call.store.write(state)
                # What serves may be left of a master that has gone while we looked.
                return _ended(call, state, birth) or Outcome(ExitCode.SUCCESS)
            seen = verdict.reason
        if limit.remaining() < LAST_LOOK:
            break
        time.sleep(READY_PAUSE)
    if not seen:
        others = sockets.listeners(check.port)
        seen = "listens on no TCP port"
        if others:
            by = sockets.holder(others[0], call.deadline.share(0.1))
            seen = Reason(seen, f", {check.port} is held by ", by)
    words = birth.words(complaint=True) if birth else ""
    if not words:
        return Outcome(ExitCode.ERR_GENERIC, Reason(f"{name} did not get ready: ", seen))
    return Outcome(
        ExitCode.ERR_GENERIC,
        Reason(f"{name} did not get ready: ", Spare(f"{seen}; "), f"it says: {words}"))


def _ended(call: Call, state: State, birth: Birth | None) -> Outcome | None:
    """What is to be said of the master if it has ended."""
    if birth:
        return None if birth.child.poll() is None else birth.obituary(call)
    if process.find(state.pid, state.start):
        return None
    return Outcome(ExitCode.ERR_GENERIC, f"{call.agent.name} ended before it was ready")


# --- stop ---------------------------------------------------------------------------------


def stop(call: Call) -> Outcome:
    """End all that belongs to the instance; 0 only when a second look finds nothing."""
    try:
        with call.store.lock(call.deadline):
            return _stop(call)
    except StateError as error:
        call.log.warning(f"stops without a lock: {error}")
        return _stop(call)


def _stop(call: Call) -> Outcome:
    there = call.instance.family()
    if there:
        try:
            wanted = call.values.seconds("shutdown_timeout")
        except ConfigurationError as error:
            call.log.warning(str(error))
            wanted = None
        left = _end(call, call.deadline, grace=wanted)
        if left:
            return _undead(call, left)
        call.log.info(f"stopped, {len(there)} processes")
    remark = call.store.forget(member.pid for member in there)
    if remark:
        call.log.warning(remark)
    return Outcome(ExitCode.SUCCESS)


def _undead(call: Call, left: list[Process]) -> Outcome:
    return Outcome(
        ExitCode.ERR_GENERIC,
        f"{call.agent.name}: {len(left)} processes do not end, not even by KILL: {left[0]!r}")


def _end(call: Call, deadline: Deadline, *, grace: float | None) -> list[Process]:
    """End the family; grace: seconds for requests under way, None for as long as there is."""
    # What a KILL and the look afterwards may take must be left.
    most = deadline.remaining() - min(3.0, deadline.remaining() * 0.4)
    return call.instance.end(deadline, Deadline(most if grace is None else min(grace, most)))


# --- what there is ------------------------------------------------------------------------


def level(environment: Environment) -> int:
    """The check level: what is asked for, or the next lower one that there is."""
    asked = environment.check_level
    return API if asked is None or asked >= API else PROCESS


FUNCTIONS: dict[str, Callable[[Call], Outcome]] = {
    "start": start,
    "stop": stop,
    "monitor": monitor,
    "status": monitor,
    "reload-agent": reload_agent,
    "validate-all": validate_all,
}

NEEDS_ROOT = ("start", "stop", "monitor", "status", "reload-agent")


def act(call: Call) -> Outcome:
    """Do the action that the environment names; AgentError where it fails."""
    return FUNCTIONS[call.environment.action](call)
