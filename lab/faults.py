"""What `make chaos` does to a cluster: each fault, what it explains, and its bound.

Called by `lab.chaos`, which chooses. A fault is applied and undone; it declares which starts and
stops it explains, and the clients of which services may be refused something. Any other start,
stop or refusal is a violation.

The bound of a fault says for how many seconds a client may be without the service, counted from the
fault (or from its end, where it lasts as long as we let it): about three times what it takes on a
quiet machine. On a busy machine it is longer (`lab.invariants.Guard.slack`).
"""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from lab import mishaps
from lab.errors import LabError
from lab.ground import CLONES, FOUNDATIONS, SMALL, STAGES, WHOLE, moved, resource, restarted
from lab.invariants import families
from lab.scene import PATIENCE, Explained, Fault, Scene

VERSION = 2
"""Raise it when a fault is changed in what it does; `signature` contains the names already."""
FAILS_TO_STOP = """#!/bin/sh
if [ "$1" = stop ]; then
    echo "ocf-exit-reason:a fault of make chaos: this stop fails" >&2
    exit 1
fi
exec {agent} "$@"
"""
KILL = 'kill -KILL "-$(cat "$1")"'
"""A session, by its leader in a file; dash takes no `--`."""
PIDS = "/run/resource-agents"
ALL = ("-",)


# The daemon


def signalled(signum: int, what: str, chosen: slice) -> Callable[[Scene, str], Explained]:
    """A signal to some processes of a daemon; the first is its master process."""

    def play(scene: Scene, name: str) -> Explained:
        own = resource(name)
        node = scene.node(own)
        victims = families(scene.here, own).get(node, [])[chosen]
        if not victims:
            raise LabError(f"there is no process of {name} on {node}")
        for victim in victims:
            victim.send(signum)
        scene.await_started([own])
        free = scene.here.free([own])
        return Explained(
            f"{node}: {what} ({len(victims)} processes)", changes=restarted(own, node),
            out=scene.here.out([own]), free=free, failing=bool(free))

    return play


def worker_killed(scene: Scene, name: str) -> Explained:
    """All processes of a worker are killed, on one of the nodes that it runs on."""
    own = resource(name)
    node = scene.node(own)
    scene.run(node, KILL, f"{PIDS}/{own}.pid")
    scene.await_started([own])
    return Explained(f"{node}: all of it was killed", changes=restarted(own, node),
                     out=scene.here.out([own]))


def maintenance(scene: Scene, name: str) -> Explained:
    """A daemon dies in maintenance mode: Pacemaker does nothing before the mode ends."""
    own, broken = resource(name), []
    node = scene.node(own)
    scene.crm("configure", "property", "maintenance-mode=true")
    try:
        scene.settle()
        killed = time.time()
        for victim in families(scene.here, own).get(node, []):
            victim.send(signal.SIGKILL)
        time.sleep(2 * scene.here.interval)  # nothing is to happen
        broken = [
            f"{event.what} of {event.resource} on {event.node} in maintenance mode"
            for event in scene.events(killed)
            if event.what in ("start", "stop") and event.result == ""]
    finally:
        ended = time.time()
        scene.crm("configure", "property", "maintenance-mode=false")
    scene.await_started([own])
    return Explained(f"{node}: killed in maintenance mode", ended, restarted(own, node),
                     scene.here.out([own]), broken=broken)


# The node


def node_killed(scene: Scene, name: str) -> Explained:
    """Power loss, and power again when the other node serves."""
    node = scene.node(resource(name))
    explained = scene.leaving(node, lost=True)
    scene.here.cluster.kill(node)
    scene.await_started(elsewhere(explained, node))
    scene.patiently(partial(scene.here.cluster.start, node))
    return replace(explained, what=f"{node} has lost its power")


def node_cut(scene: Scene, name: str) -> Explained:
    """A node is cut off: it is fenced, and comes back when its cable is mended."""
    node, before = scene.node(resource(name)), scene.here.cluster.fenced
    explained = scene.leaving(node, lost=True)
    scene.here.cluster.cut(node)
    scene.await_started(elsewhere(explained, node))
    scene.patiently(partial(scene.here.cluster.heal, node))
    return _back(scene, node, before, replace(
        explained, what=f"{node} was cut off, and fenced"))


def elsewhere(explained: Explained, node: str) -> list[str]:
    """The resources that are to start on another node than this one."""
    return sorted(name for what, name, other in explained.changes
                  if what == "start" and other != node)


def _back(scene: Scene, node: str, before: list[str], explained: Explained) -> Explained:
    """Wait until a node is back, and check that this node was fenced, and no other."""
    fenced = scene.here.cluster.fenced[len(before) :]
    scene.patiently(partial(scene.here.cluster.await_member, node))
    if fenced == [node]:
        return explained
    return replace(explained, broken=[f"{node} was to be fenced, and these were: {fenced}"])


def corosync_killed(scene: Scene, name: str) -> Explained:
    """corosync dies, and Pacemaker with it: the node is fenced."""
    node, before = scene.node(resource(name)), scene.here.cluster.fenced
    explained = scene.leaving(node, lost=True, booting=True)
    scene.run(node, "kill -KILL $(pidof corosync)")
    scene.await_started(elsewhere(explained, node))
    return _back(scene, node, before, replace(
        explained, what=f"{node}: corosync was killed, and the node fenced"))


def stop_fails(scene: Scene, name: str) -> Explained:
    """A service has to move, but its stop fails: its node is fenced."""
    node, before = scene.node(resource(name)), scene.here.cluster.fenced
    other, way = scene.other(node), scene.here.services[name].moved
    explained = scene.leaving(node, lost=True, booting=True)
    text = FAILS_TO_STOP.format(agent=scene.here.cluster.agents / name)
    scene.run(node, mishaps.PLACE, text, "/run/fails-to-stop", f"{mishaps.AGENTS}/{name}")
    # On the other one: here crm would be killed with its node.
    scene.crm("resource", "move", way, other, "force", node=other)
    scene.await_started(elsewhere(explained, node))
    scene.crm("resource", "clear", way)
    return _back(scene, node, before, replace(
        explained, what=f"{node}: the stop fails, and the node was fenced", failing=True,
        changes=moved(scene.here.together(name), node, other) | {*explained.changes}))


def shut_down(scene: Scene, name: str) -> Explained:
    """A node is shut down cleanly, and started again."""
    return _leaves(scene, scene.node(resource(name)), "was shut down",
                   lambda node: scene.here.cluster.stop(node, PATIENCE),
                   scene.here.cluster.start)


def pacemaker_restarted(scene: Scene, name: str) -> Explained:
    """Pacemaker is restarted in a node that stays on, and soon back."""

    def restart(node: str) -> None:
        with suppress(LabError):  # `await_member` waits for it
            scene.here.cluster.restart_pacemaker(node)

    return _leaves(scene, scene.node(resource(name)), "Pacemaker was restarted",
                   restart, scene.here.cluster.await_member, booting=True)


def standby(scene: Scene, name: str) -> Explained:
    """A node is in standby, and online again."""
    return _leaves(scene, scene.node(resource(name)), "was in standby",
                   lambda node: scene.crm("node", "standby", node),
                   lambda node: scene.crm("node", "online", node))


def _leaves(scene: Scene, node: str, what: str, go: Callable[[str], object],
            back: Callable[[str], object], *, booting: bool = False) -> Explained:
    """All services leave a node, and stay away when the node is back.

    booting: as in `moved`.
    """
    explained = scene.leaving(node, booting=booting)
    try:
        go(node)
        scene.await_started(elsewhere(explained, node))
    finally:
        scene.patiently(partial(back, node))
    return replace(explained, what=f"{node} {what}")


def move(scene: Scene, name: str) -> Explained:
    """A service is moved to the other node by hand, and the constraint is cleared."""
    node, way = scene.node(resource(name)), scene.here.services[name].moved
    other, names = scene.other(node), scene.here.together(name)
    scene.crm("resource", "move", way, other, "force")
    try:
        scene.await_started(names)
    finally:
        scene.crm("resource", "clear", way)
    return Explained(f"moved from {node} to {other}", changes=moved(names, node, other),
                     out=scene.here.out(names))


FAULTS = (
    Fault("kill-master", "SIGKILL to the daemon's master alone", 20,
          signalled(signal.SIGKILL, "the master was killed", slice(1))),
    Fault("kill-all", "SIGKILL to all processes of a daemon", 20,
          signalled(signal.SIGKILL, "all was killed", slice(None))),
    Fault("freeze", "SIGSTOP to all processes of a daemon", 75,
          signalled(signal.SIGSTOP, "all was stopped", slice(None))),
    Fault("terminate", "SIGTERM to a daemon, not by its agent", 20,
          signalled(signal.SIGTERM, "the master was sent TERM", slice(1))),
    Fault("maintenance", "a daemon dies in maintenance mode", 20, maintenance),
    Fault("node-killed", "power loss of a node", 25, node_killed),
    Fault("node-cut", "a node is cut off, and fenced", 25, node_cut),
    Fault("corosync-killed", "SIGKILL to corosync", 25, corosync_killed),
    Fault("stop-fails", "a stop fails, and the node is fenced", 30, stop_fails),
    Fault("shut-down", "a node is shut down cleanly", 15, shut_down),
    Fault("pacemaker-restarted", "Pacemaker is restarted on a node", 15, pacemaker_restarted),
    Fault("standby", "a node is in standby, and online again", 15, standby),
    Fault("move", "a service is moved by hand", 15, move),
    Fault("keystone-down", "Keystone is down", 15, mishaps.keystone_down, ALL, SMALL),
    Fault("keystone-hangs", "Keystone takes connections and never answers", 15,
          mishaps.keystone_hangs, ALL, SMALL),
    Fault("database-down", "MariaDB is down", 240, mishaps.database_down, ALL, SMALL),
    Fault("password", "the monitoring user's password is wrong for a while", 15,
          mishaps.password, ALL),
    Fault("run-full", "/run, where agents keep their state, is full", 15, mishaps.run_full),
    Fault("images-full", "no room for images", 15, mishaps.images_full, ("glance-api",)),
    Fault("clock", "the agents' tokens have wrong expiry times", 15, mishaps.clock, ALL),
    Fault("reinstall", "the agents are replaced under running monitors", 15,
          mishaps.reinstall, ALL),
    Fault("upgrade", "dpkg upgrades the agents' package under running monitors", 15,
          mishaps.upgraded),
    Fault("skew", "the clock that a node's agents read is hours off", 15, mishaps.skewed),
    Fault("refresh", "crm resource refresh", 15, mishaps.refresh, ALL),
    Fault("foundation-killed", "SIGKILL to MariaDB or RabbitMQ", 60,
          signalled(signal.SIGKILL, "all was killed", slice(None)), FOUNDATIONS, WHOLE),
    Fault("worker-killed", "SIGKILL to all processes of a worker", 20, worker_killed,
          CLONES, WHOLE),
)


def faults(stage: str) -> list[Fault]:
    """The faults of a stage."""
    return [fault for fault in FAULTS if fault.only in ("", stage)]


def signature(stage: str) -> str:
    """A hash of the list of a stage's faults: with another one a seed means other faults."""
    lines = [f"{fault.name} {' '.join(fault.chosen or STAGES[stage])}" for fault in faults(stage)]
    text = "\n".join([str(VERSION), *lines])
    return hashlib.sha256(text.encode()).hexdigest()[:6]
