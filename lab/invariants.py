"""What must hold whatever happens to a cluster, seen from outside of it.

Called by `lab.chaos` after each fault. Each function checks one promise, and returns violations of
it, a line each: nothing runs twice; each start and stop is explained; clients of services that were
not touched are refused nothing; nothing is left where it must not be.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lab.client import Outage, Watch
from lab.cluster import Cluster
from lab.ground import Change, Ground, resource
from lab.journal import Event
from lab.machine import busy
from lab.node import nodes_of
from lab.process import Process

LOOK = 1.0  # seconds between two looks of the guard
CHANGES = ("start", "stop")
STATE = "/run/resource-agents"


# Processes


def families(ground: Ground, name: str) -> dict[str, list[Process]]:
    """The processes of a resource by the node that they are in, the master first.

    They are found by their command lines, whatever started them.
    """
    return everything(ground)[name]


def everything(ground: Ground) -> dict[str, dict[str, list[Process]]]:
    """The same for all resources that run on one node at a time, by their names."""
    homes = _homes(ground.cluster)
    found: dict[str, dict[str, list[Process]]] = {name: {} for name in ground.marks}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        for name, marks in ground.marks.items():
            if line and all(mark in line for mark in marks):
                member, node = Process.at(int(entry)), homes.get(_network(int(entry)))
                if member and node:
                    found[name].setdefault(node, []).append(member)
    for family in [each for there in found.values() for each in there.values()]:
        family.sort(key=partial(_rank, {member.pid for member in family}))
    return found


def _rank(pids: Collection[int], member: Process) -> tuple[bool, int, int]:
    """A master comes before its workers."""
    return member.parent in pids, member.birth, member.pid


def _homes(cluster: Cluster) -> dict[str, str]:
    """The nodes that run, by their network namespaces."""
    nodes = nodes_of(cluster.directory, cluster.outside, cluster.settings.nodes)
    firsts = {node.name: node.process() for node in nodes}
    return {_network(first.pid): name for name, first in firsts.items() if first}


def _network(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return "none"


class Guard:
    """Checks all the time whether a service runs twice, and how busy the machine is."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._ended = threading.Event()
        self._found: set[str] = set()
        self._most = 1.0
        self._looks = 0
        self._looked = threading.Condition()

    @contextmanager
    def watching(self) -> Iterator[Guard]:
        """Look in the background for a while."""
        looker = threading.Thread(target=self._look)
        looker.start()
        try:
            yield self
        finally:
            self._ended.set()
            looker.join()

    def await_look(self) -> None:
        """Wait until everything that exists now was looked at."""
        with self._looked:
            wanted = self._looks + 2  # one look may be under way
            self._looked.wait_for(lambda: self._looks >= wanted)

    def twice(self) -> list[str]:
        """What ran twice since the last call."""
        found, self._found = self._found, set()
        return sorted(found)

    def slack(self) -> float:
        """How much longer things may take than on a quiet machine: the most since the last call."""
        most, self._most = max(self._most, busy()), 1.0
        return most

    def _look(self) -> None:
        while not self._ended.wait(LOOK):
            self._most = max(self._most, busy())
            for name, found in everything(self._ground).items():
                self._found.update(_twice(name, found))
            with self._looked:
                self._looks += 1
                self._looked.notify_all()


def _twice(name: str, found: Mapping[str, Sequence[Process]]) -> Iterator[str]:
    # The processes were not read in one moment: those still alive were there all the time.
    alive = {node: [one for one in family if one.alive()] for node, family in found.items()}
    nodes = sorted(node for node, family in alive.items() if family)
    if len(nodes) > 1:
        shown = "; ".join(f"{node}: {', '.join(str(p.pid) for p in alive[node])}" for node in nodes)
        yield f"{name} runs on {' and '.join(nodes)} at once (pids of the machine: {shown})"


# Starts and stops


def unexplained(
    events: Collection[Event], changes: Collection[Change], free: Collection[str], failing: bool
) -> list[str]:
    """Each start and stop that is not one of the changes, or comes twice, or fails.

    free: resources that may be started and stopped at any time. failing: one of the changes may
    fail. Fence devices are not looked at.
    """
    known = {*changes}
    found = []
    begun: Counter[Change] = Counter()
    for event in events:
        if event.what not in CHANGES or event.resource.startswith("fence_"):
            continue
        if event.resource in free:
            continue
        change = (event.what, event.resource, event.node)
        done = {"start": "started", "stop": "stopped"}[event.what]
        if event.result == "":
            begun[change] += 1
            told = f"{event.resource} was {done} on {event.node}"
            if change not in known:
                found.append(f"{told}, and nothing explains it")
            elif begun[change] > 1:
                found.append(f"{told} {begun[change]} times")
        elif event.result != "ok" and not failing:
            said = f"{event.result} ({event.reason})" if event.reason else event.result
            found.append(f"{event.what} of {event.resource} on {event.node} came to: {said}")
    return found


def replaced(
    before: Mapping[str, Mapping[str, Sequence[Process]]], ground: Ground, calm: Collection[str]
) -> list[str]:
    """The resources that had to be left alone, but have other processes than before."""
    now = everything(ground)
    return [
        f"the processes of {name} are others than before"
        for name in calm
        if before[name] != now[name]
    ]


# Clients


def refused(watch: Watch, since: float, calm: Collection[str]) -> list[str]:
    """The services that had to serve all the time, but refused requests of their clients.

    An answer that is late is no refusal: the machine may be busy.
    """
    found = []
    for service in calm:
        failed = [one for one in watch.asked(service, since) if not (one.served or one.late)]
        if failed:
            at = time.strftime("%T", time.localtime(failed[0].sent))
            found.append(f"{service} refused its client {len(failed)} requests from {at} on")
    return found


def longest(outages: Sequence[Outage], at: float) -> float:
    """The longest time without service after a moment, in seconds."""
    return max((one.end - max(one.begin, at) for one in outages), default=0.0)


# What is left behind


def left(ground: Ground) -> list[str]:
    """What is wrong after all faults are undone and Pacemaker has nothing left to do."""
    status = ground.status()
    found = [
        f"{node.name} is not a member as it was: {node}"
        for node in status.nodes.values()
        if not node.online or node.pending or node.standby or node.maintenance or node.unclean]
    running, where = everything(ground), {}
    for name in (*ground.marks, *ground.addresses, *ground.clones):
        there = status.resources.get(name)
        if not there or there.role != "Started" or there.blocked or not there.managed:
            found.append(f"{name} is not started, blocked or not managed: {there}")
        elif name in ground.clones:
            if {*there.nodes} != {*ground.cluster.nodes}:
                found.append(f"{name} is on {' and '.join(there.nodes)}, and not on all nodes")
        else:
            where[name] = there.node
    for ip, names in ground.beside.items():
        found += [f"{name} is on {where[name]}, and its address is not"
                  for name in names if name in where and where[name] != where.get(ip)]
    for name in ground.marks.keys() & where.keys():
        found += _beside(running[name], name, where[name])
    for node in ground.cluster.running:
        found += _there(ground, node, where)
    constraints = ["cibadmin", "--query", "--scope=constraints"]
    if "cli-" in ground.cluster.exec(ground.cluster.asked, constraints).stdout:
        found.append("a constraint of crm resource move is left")
    return found


def _beside(
    there: Mapping[str, Sequence[Process]], name: str, where: str
) -> Iterator[str]:
    """What runs of a resource on other nodes than its own, or twice on its own."""
    for node in there.keys() - {where}:
        pids = ", ".join(str(member.pid) for member in there[node])
        yield f"processes of {name} are left on {node} (pids of the machine: {pids})"
    sessions = {member.session for member in there.get(where, [])}
    if len(sessions) != 1:
        yield f"{name} runs {len(sessions)} times on {where}"


def _there(ground: Ground, node: str, where: Mapping[str, str]) -> Iterator[str]:
    """The addresses that a node has and should not have, or the reverse; what is left of others."""
    shown = ground.cluster.exec(node, ["ip", "-4", "-json", "address"], check=True).stdout
    local = {each["local"] for device in json.loads(shown) for each in device["addr_info"]}
    for name, vip in ground.addresses.items():
        if name in where and (vip in local) != (node == where[name]):
            yield f"{vip} is {'' if vip in local else 'not '}on {node}"
    gone = {file: resource(name) for name in ground.services
            for file in (f"{STATE}/{resource(name)}.pid",
                         f"{STATE}/openstack/{name}:{resource(name)}.json")
            if where.get(resource(name), node) != node}
    for file in ground.cluster.exec(node, ["ls", *gone]).stdout.split() if gone else ():
        yield f"{file} is left on {node}, where {gone[file]} is not"
