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

from lab.agents import SERVICES
from lab.client import Outage, Watch
from lab.cluster import Cluster
from lab.journal import Event
from lab.machine import busy
from lab.node import nodes_of
from lab.playground import VIPS, Playground, address, resource
from lab.process import Process

Change = tuple[str, str, str]
"""(start or stop, resource, node)."""

LOOK = 1.0  # seconds between two looks of the guard
CHANGES = ("start", "stop")
STATE = "/run/resource-agents"


# Processes


def families(here: Playground, service: str) -> dict[str, list[Process]]:
    """The processes of a service by the node that they are in, the master first.

    They are found by the configuration file in their command line, whatever started them.
    """
    return everything(here)[service]


def everything(here: Playground) -> dict[str, dict[str, list[Process]]]:
    """The same for all services, by their names."""
    homes = _homes(here.cluster)
    configs = {service: str(here.cloud.config(service)).encode() for service in SERVICES}
    found: dict[str, dict[str, list[Process]]] = {service: {} for service in SERVICES}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        for service, config in configs.items():
            if config in line:
                member, node = Process.at(int(entry)), homes.get(_network(int(entry)))
                if member and node:
                    found[service].setdefault(node, []).append(member)
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

    def __init__(self, here: Playground) -> None:
        self._here = here
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
            for service, found in everything(self._here).items():
                self._found.update(_twice(service, found))
            with self._looked:
                self._looks += 1
                self._looked.notify_all()


def _twice(service: str, found: Mapping[str, Sequence[Process]]) -> Iterator[str]:
    # The processes were not read in one moment: those still alive were there all the time.
    alive = {node: [one for one in family if one.alive()] for node, family in found.items()}
    nodes = sorted(node for node, family in alive.items() if family)
    if len(nodes) > 1:
        shown = "; ".join(f"{node}: {', '.join(str(p.pid) for p in alive[node])}" for node in nodes)
        yield f"{service}-api runs on {' and '.join(nodes)} at once (pids of the machine: {shown})"


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
    before: Mapping[str, Mapping[str, Sequence[Process]]], here: Playground, calm: Collection[str]
) -> list[str]:
    """The services that had to be left alone, but have other processes than before."""
    now = everything(here)
    return [
        f"the processes of {service}-api are others than before"
        for service in calm
        if before[service] != now[service]
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


def left(here: Playground) -> list[str]:
    """What is wrong after all faults are undone and Pacemaker has nothing left to do."""
    status = here.cluster.status()
    found = [
        f"{node.name} is not a member as it was: {node}"
        for node in status.nodes.values()
        if not node.online or node.pending or node.standby or node.maintenance or node.unclean]
    for service in SERVICES:
        where = status.where(resource(service))
        there = status.resources.get(resource(service))
        if not where or not there or there.blocked or not there.managed:
            found.append(f"{resource(service)} is not started, blocked or not managed: {there}")
        elif where != status.where(address(service)):
            found.append(f"{resource(service)} is on {where}, and its address is not")
        else:
            found += _beside(here, service, where)
    constraints = ["cibadmin", "--query", "--scope=constraints"]
    if "cli-" in here.cluster.exec(here.cluster.asked, constraints).stdout:
        found.append("a constraint of crm resource move is left")
    return found


def _beside(here: Playground, service: str, where: str) -> Iterator[str]:
    """What exists of a service on other nodes than its own, or twice on its own."""
    there = families(here, service)
    for node in there.keys() - {where}:
        pids = ", ".join(str(member.pid) for member in there[node])
        yield f"processes of {service}-api are left on {node} (pids of the machine: {pids})"
    sessions = {member.session for member in there.get(where, [])}
    if len(sessions) != 1:
        yield f"{service}-api runs {len(sessions)} times on {where}"
    for node in here.cluster.running:
        shown = here.cluster.exec(node, ["ip", "-4", "-json", "address"], check=True).stdout
        local = {each["local"] for device in json.loads(shown) for each in device["addr_info"]}
        if (VIPS[service] in local) != (node == where):
            yield f"{VIPS[service]} is {'' if VIPS[service] in local else 'not '}on {node}"
        if node != where:
            name = resource(service)
            files = (f"{STATE}/{name}.pid", f"{STATE}/openstack/{service}-api:{name}.json")
            said = here.cluster.exec(node, ["ls", *files]).stdout.split()
            for file in said:
                yield f"{file} is left on {node}, where {name} is not"
