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
from lab.invariants import families
from lab.playground import INTERVAL
from lab.scene import PATIENCE, Explained, Fault, Scene, moved, restarted

VERSION = 1
"""Raise it when a fault is changed in what it does; `signature` contains the names already."""
FAILS_TO_STOP = """#!/bin/sh
if [ "$1" = stop ]; then
    echo "ocf-exit-reason:a fault of make chaos: this stop fails" >&2
    exit 1
fi
exec {agent} "$@"
"""
AGENTS = "/usr/lib/ocf/resource.d/openstack"
PLACE = 'printf %s "$1" >"$2" && chmod 755 "$2" && mount --bind "$2" "$3"'


# The daemon


def signalled(signum: int, what: str, chosen: slice) -> Callable[[Scene, str], Explained]:
    """A signal to some processes of a daemon; the first is its master process."""

    def play(scene: Scene, service: str) -> Explained:
        node = scene.node(service)
        victims = families(scene.here, service).get(node, [])[chosen]
        if not victims:
            raise LabError(f"there is no process of {service}-api on {node}")
        for victim in victims:
            victim.send(signum)
        scene.await_started(service)
        return Explained(
            f"{node}: {what} ({len(victims)} processes)",
            changes=restarted(service, node), out=[service])

    return play


def maintenance(scene: Scene, service: str) -> Explained:
    """A daemon dies in maintenance mode: Pacemaker does nothing before the mode ends."""
    node, broken = scene.node(service), []
    scene.crm("configure", "property", "maintenance-mode=true")
    try:
        scene.settle()
        killed = time.time()
        for victim in families(scene.here, service).get(node, []):
            victim.send(signal.SIGKILL)
        time.sleep(2 * INTERVAL)  # nothing is to happen
        broken = [
            f"{event.what} of {event.resource} on {event.node} in maintenance mode"
            for event in scene.events(killed)
            if event.what in ("start", "stop") and event.result == ""]
    finally:
        ended = time.time()
        scene.crm("configure", "property", "maintenance-mode=false")
    scene.await_started(service)
    return Explained(f"{node}: killed in maintenance mode", ended, restarted(service, node),
                     [service], broken=broken)


# The node


def node_killed(scene: Scene, service: str) -> Explained:
    """Power loss, and power again when the other node serves."""
    node = scene.node(service)
    there, other = scene.on(node), scene.other(node)
    scene.here.cluster.kill(node)
    scene.await_started(*there)
    scene.patiently(partial(scene.here.cluster.start, node))
    return Explained(f"{node} has lost its power", changes=moved(there, node, other, lost=True),
                     out=there)


def node_cut(scene: Scene, service: str) -> Explained:
    """A node is cut off: it is fenced, and comes back when its cable is mended."""
    node = scene.node(service)
    there, other, before = scene.on(node), scene.other(node), scene.here.cluster.fenced
    scene.here.cluster.cut(node)
    scene.await_started(*there)
    scene.patiently(partial(scene.here.cluster.heal, node))
    return _back(scene, node, before, Explained(
        f"{node} was cut off, and fenced", changes=moved(there, node, other, lost=True),
        out=there))


def _back(scene: Scene, node: str, before: list[str], explained: Explained) -> Explained:
    """Wait until a node is back, and check that this node was fenced, and no other."""
    fenced = scene.here.cluster.fenced[len(before) :]
    scene.patiently(partial(scene.here.cluster.await_member, node))
    if fenced == [node]:
        return explained
    return replace(explained, broken=[f"{node} was to be fenced, and these were: {fenced}"])


def corosync_killed(scene: Scene, service: str) -> Explained:
    """corosync dies, and Pacemaker with it: the node is fenced."""
    node = scene.node(service)
    there, other, before = scene.on(node), scene.other(node), scene.here.cluster.fenced
    scene.run(node, "kill -KILL $(pidof corosync)")
    scene.await_started(*there)
    return _back(scene, node, before, Explained(
        f"{node}: corosync was killed, and the node fenced",
        changes=moved(there, node, other, lost=True), out=there))


def stop_fails(scene: Scene, service: str) -> Explained:
    """A service has to move, but its stop fails: its node is fenced."""
    node = scene.node(service)
    there, other, before = scene.on(node), scene.other(node), scene.here.cluster.fenced
    agent = f"{service}-api"
    text = FAILS_TO_STOP.format(agent=scene.here.cluster.agents / agent)
    scene.run(node, PLACE, text, "/run/fails-to-stop", f"{AGENTS}/{agent}")
    scene.crm("resource", "move", f"g_{service}-api", other, "force")
    scene.await_started(*there)
    scene.crm("resource", "clear", f"g_{service}-api")
    return _back(scene, node, before, Explained(
        f"{node}: the stop fails, and the node was fenced",
        changes=moved([service], node, other) | moved(there, node, other, lost=True),
        out=there, failing=True))


def shut_down(scene: Scene, service: str) -> Explained:
    """A node is shut down cleanly, and started again."""
    return _leaves(scene, scene.node(service), "was shut down",
                   lambda node: scene.here.cluster.stop(node, PATIENCE),
                   scene.here.cluster.start)


def pacemaker_restarted(scene: Scene, service: str) -> Explained:
    """Pacemaker is restarted in a node that stays on."""

    def restart(node: str) -> None:
        with suppress(LabError):  # `await_member` waits for it
            scene.here.cluster.restart_pacemaker(node)

    return _leaves(scene, scene.node(service), "Pacemaker was restarted",
                   restart, scene.here.cluster.await_member)


def standby(scene: Scene, service: str) -> Explained:
    """A node is in standby, and online again."""
    return _leaves(scene, scene.node(service), "was in standby",
                   lambda node: scene.crm("node", "standby", node),
                   lambda node: scene.crm("node", "online", node))


def _leaves(scene: Scene, node: str, what: str, go: Callable[[str], object],
            back: Callable[[str], object]) -> Explained:
    """All services leave a node, and stay away when the node is back."""
    there, other = scene.on(node), scene.other(node)
    try:
        go(node)
        scene.await_started(*there)
    finally:
        scene.patiently(partial(back, node))
    return Explained(f"{node} {what}", changes=moved(there, node, other), out=there)


def move(scene: Scene, service: str) -> Explained:
    """A service is moved to the other node by hand, and the constraint is cleared."""
    node = scene.node(service)
    other, group = scene.other(node), f"g_{service}-api"
    scene.crm("resource", "move", group, other, "force")
    try:
        scene.await_started(service)
    finally:
        scene.crm("resource", "clear", group)
    return Explained(f"moved from {node} to {other}", changes=moved([service], node, other),
                     out=[service])


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
    Fault("keystone-down", "Keystone is down", 15, mishaps.keystone_down, "-"),
    Fault("keystone-hangs", "Keystone takes connections and never answers", 15,
          mishaps.keystone_hangs, "-"),
    Fault("database-down", "MariaDB is down", 240, mishaps.database_down, "-"),
    Fault("password", "the monitoring user's password is wrong for a while", 15,
          mishaps.password, "-"),
    Fault("run-full", "/run, where agents keep their state, is full", 15, mishaps.run_full),
    Fault("images-full", "no room for images", 15, mishaps.images_full, "glance"),
    Fault("clock", "the agents' tokens have wrong expiry times", 15, mishaps.clock, "-"),
    Fault("reinstall", "the agents are replaced under running monitors", 15,
          mishaps.reinstall, "-"),
    Fault("refresh", "crm resource refresh", 15, mishaps.refresh, "-"),
)


def signature() -> str:
    """A hash of the list of faults: with another one a seed means other faults."""
    text = "\n".join([str(VERSION), *(f"{fault.name} {fault.service}" for fault in FAULTS)])
    return hashlib.sha256(text.encode()).hexdigest()[:6]
