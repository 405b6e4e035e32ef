"""`openstack-ocf explain RESOURCE`: layer by layer what the agent sees on this node.

It changes nothing: no state, no pidfile, no token. Where something is asked (`--ask`), it is what a
monitor of level 10 asks, and its verdict stays here.
"""

from __future__ import annotations

import os
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agentlib import actions, process
from agentlib.call import PROCESS, SERVES
from agentlib.errors import AgentError
from agentlib.exitcode import NAMES
from agentlib.instance import Status
from agentlib.reason import fitting
from agentlib.resource import Resource
from agentlib.state import State

from . import agents, cib, daemons, finding, looking, peers
from .cib import LRM, TRUE
from .configured import Configured, configured, node_name
from .errors import CannotLookError, UsageError
from .line import OK, UNKNOWN, WARNING, WRONG, Line, as_json, as_text, code, unchanged
from .lint import lint
from .records import LEVELS, Verdict, verdicts
from .seconds import seconds
from .words import shown

RESOURCE, VERDICT, CLUSTER = "resource", "what monitors say", "what the cluster has"

GOOD, DEGRADED, NOT_RUNNING = 0, 190, 7

MEANING = {
    GOOD: "runs and serves",
    1: "runs and does not serve, or nothing is certain: Pacemaker restarts it",
    2: "cannot run on this node: Pacemaker tries another",
    3: "the agent does not know the action, or the version of the OCF API",
    4: "the agent was not run by root",
    5: "software, a file or an account is missing on this node: Pacemaker tries another",
    6: "wrong on every node: Pacemaker starts it nowhere",
    NOT_RUNNING: "nothing of it runs on this node, and that is certain",
    DEGRADED: "runs and answers; what it depends on is in trouble, and nothing is restarted",
}

SEVERITIES = {finding.ERROR: WRONG, finding.WARNING: WARNING, finding.UNKNOWN: UNKNOWN}


@dataclass(frozen=True)
class Wanted:
    """What is to be explained.

    name: of the resource. source: a CIB file, or `live`. agent: its type, where there is no CIB;
    parameters: its parameters then. ask: whether the service is asked, as a monitor does.
    """

    name: str
    source: str = cib.LIVE
    agent: str = ""
    parameters: Sequence[str] = ()
    ask: bool = False


def explain(wanted: Wanted, *, form: str, watch: float | None) -> int:
    """Print it; again at each change where watch is a number of seconds. The exit code."""
    if os.geteuid():
        raise CannotLookError("explain must be run as root: it looks at the processes of others, "
                              "and at files that only root can read")
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    colour = sys.stdout.isatty() and not plain
    before: list[Line] | None = None
    while True:
        head, lines = look(wanted)
        if before is None or not unchanged(before, lines):
            if form == "json":
                text = as_json(head, lines, one_line=watch is not None)
            else:
                at = f"\n{time.strftime('%H:%M:%S')}\n" if before is not None else ""
                text = at + as_text(lines, colour=colour)
            sys.stdout.write(text)
            sys.stdout.flush()
        before = lines
        if watch is None:
            return code(lines)
        time.sleep(watch)


def look(wanted: Wanted) -> tuple[dict[str, str], list[Line]]:
    """One look: what it is about, and the lines."""
    node = node_name()
    root = None
    if wanted.agent:
        given = _by_hand(wanted)
    else:
        root = _load(wanted.source)
        given = configured(root, wanted.name, node)
    if given.agent not in agents.names():
        near = agents.like(given.agent)
        raise UsageError(f"there is no agent {shown(given.agent)} here"
                         + (f"; the nearest is {near}" if near else ""))
    head = {"resource": given.instance, "agent": given.agent, "node": node}
    return head, list(_Look(agents.declaration(given.agent), given, root, node).lines(wanted.ask))


def _load(source: str) -> ET.Element:
    try:
        return cib.load(source)
    except CannotLookError as error:
        if source != cib.LIVE:
            raise
        raise CannotLookError(f"{error}; without a cluster say --cib FILE, or --agent NAME and its "
                              "parameters with --param NAME=VALUE") from error


def _by_hand(wanted: Wanted) -> Configured:
    """A resource whose parameters were given with the command."""
    given = Configured(wanted.name.partition(":")[0], wanted.name, wanted.agent)
    for text in wanted.parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--param {shown(name)}: say NAME=VALUE")
        if "password" in name and value and not value.startswith(LRM):
            raise UsageError(f"--param {shown(name)}: every user sees it in the list of processes; "
                             f"export OCF_RESKEY_{shown(name)} instead")
        given.parameters[name] = value
    for name, value in os.environ.items():
        if name.startswith("OCF_RESKEY_") and value:
            given.parameters.setdefault(name[len("OCF_RESKEY_"):], value)
    return given


class _Look:
    def __init__(self, agent: Any, given: Configured, root: ET.Element | None, node: str) -> None:
        self._agent = agent
        self._given = given
        self._root = root
        self._node = node
        timeouts = [seconds(one.timeout) for one in given.operations
                    if one.name == "monitor" and seconds(one.interval)]
        self._timeout = max(filter(None, timeouts), default=looking.TIMEOUT)

    def _resource(self) -> Resource:
        return looking.resource(
            self._agent, self._given.instance, self._given.parameters, self._timeout)

    def lines(self, ask: bool) -> Iterator[Line]:
        given, resource = self._given, self._resource()
        known = agents.get(given.agent)
        gone = known.gone if known else ""
        yield Line(RESOURCE, OK, f"{given.instance}, ocf:openstack:{given.agent}, on node "
                   f"{self._node}")
        if gone:
            yield Line(RESOURCE, WRONG, str(self._agent.manages.error(given.agent)))
        yield from self._meta()
        yield from daemons.parameters(resource, self._agent.manages.parameters, given)
        yield from daemons.remembered(resource)
        before = resource.store.read()
        try:
            status = resource.instance.look()
        except AgentError as error:
            yield Line(daemons.PROCESSES, UNKNOWN, str(error))
            status = Status(State(), None, [])
        else:
            yield from daemons.processes(
                resource, status, known=before.pid == status.state.pid)
        yield from peers.served(resource, status, given, known)
        for level in LEVELS:
            yield from self._left(resource, status, level)
        if ask:
            yield from self._asked(gone)
        yield from self._operations()

    def _meta(self) -> Iterator[Line]:
        """What Pacemaker has been told not to do."""
        get = self._given.meta.get
        if get("target-role", "").lower() == "stopped":
            yield Line(RESOURCE, WARNING, "target-role=Stopped: Pacemaker keeps it stopped")
        unmanaged = get("is-managed", "true").lower() not in TRUE
        if unmanaged or get("maintenance", "").lower() in TRUE:
            yield Line(RESOURCE, WARNING, "Pacemaker is told to leave it alone (is-managed, "
                       "maintenance)")
        crm = self._root.find("configuration/crm_config") if self._root is not None else None
        properties = cib.pairs(crm, "cluster_property_set")
        for name in ("maintenance-mode", "stop-all-resources"):
            if properties.get(name, "").lower() in TRUE:
                yield Line(RESOURCE, WARNING, f"the cluster has {name}=true")

    # --- verdicts ---------------------------------------------------------------------------

    def _left(self, resource: Resource, status: Status, level: int) -> Iterator[Line]:
        """What the last monitor of a level has come to."""
        last = next((one for one in verdicts(resource.call.tag) if one.level == level), None)
        if last is None and level > SERVES:
            return  # Few clusters have such a monitor.
        if last is None:
            yield Line(VERDICT, OK, f"level {level}: no monitor has left a verdict here")
            return
        master = status.master
        begun = time.time() - process.age(master) if master else None
        old = begun is None or last.time < begun - 1
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.time))
        yield _verdict(f"level {level}", last,
                       f"at {when}, took {last.seconds:.2f} s", old=old)

    def _asked(self, gone: str) -> Iterator[Line]:
        """What a monitor of level 10 says now."""
        if gone:
            yield Line(VERDICT, OK, "there is nothing to ask of a daemon that is gone")
            return
        begin = time.monotonic()
        try:
            outcome = actions.monitor(self._resource())  # With the time that a monitor has.
            number, reason = int(outcome.code), outcome.reason
        except AgentError as error:
            number, reason = int(error.exit_code), str(error)
        took = time.monotonic() - begin
        yield _verdict("asked now", Verdict("", LEVELS[-1], number, fitting(reason), took, 0.0),
                       f"took {took:.2f} s", old=False)

    # --- the CIB ----------------------------------------------------------------------------

    def _operations(self) -> Iterator[Line]:
        if self._root is None:
            return
        for one in self._given.operations:
            every = f" every {one.interval}" if seconds(one.interval) else ""
            level = f", level {one.level or '10 (default)'}" if every else ""
            yield Line(CLUSTER, OK, f"{shown(one.name)}{shown(every)}: timeout {shown(one.timeout)}"
                       f"{shown(level)}")
        for found in lint(self._root):
            if found.where == self._given.id:
                yield Line(CLUSTER, SEVERITIES[found.severity],
                           f"{found.id}: {found.seen}. {found.remedy}")
        yield from self._failures()

    def _failures(self) -> Iterator[Line]:
        """What Pacemaker remembers of this node, if the CIB has a status."""
        root = self._root
        for state in root.iterfind("status/node_state") if root is not None else ():
            if state.get("uname") != self._node:
                continue
            for one in state.iterfind("lrm/lrm_resources/lrm_resource"):
                if one.get("id") not in (self._given.id, self._given.instance):
                    continue
                for done in one.iterfind("lrm_rsc_op"):
                    if "_last_failure_" in done.get("id", "") and done.get("rc-code") != "7":
                        yield Line(CLUSTER, WARNING, "Pacemaker remembers a failure here: "
                                   f"{shown(done.get('operation', ''))} was "
                                   f"{shown(done.get('rc-code', ''))}, "
                                   f"{shown(done.get('exit-reason') or 'without a reason')}")


def _verdict(what: str, verdict: Verdict, now: str, *, old: bool) -> Line:
    """old: it is of a daemon that has ended since."""
    good = {GOOD: OK, DEGRADED: WARNING}
    if old:
        good[NOT_RUNNING] = OK
    judged = good.get(verdict.code, WARNING if old else WRONG)
    reason = f": {verdict.reason}" if verdict.reason else ""
    meaning = MEANING.get(verdict.code, "")
    if verdict.code == GOOD and verdict.level == PROCESS:
        meaning = "the process is there; whether it serves is for level 10 to say"
    past = "; since then the daemon has ended" if old else ""
    text = f"{what}: {verdict.code} ({NAMES[verdict.code]}){reason}; {meaning}{past}"
    return Line(VERDICT, judged, text, now)
