"""Faults of what the services depend on, and of what the agents need: nothing may be restarted.

Called by `lab.faults`, which lists them. (But without a database services are restarted: Pacemaker
can do nothing else.)
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from lab import upgrade
from lab.errors import LabError
from lab.ground import resource
from lab.journal import DEGRADED
from lab.scene import MONITORS, Explained, Scene

AGENTS = upgrade.PLACE
PLACE = 'printf %s "$1" >"$2" && chmod 755 "$2" && mount --bind "$2" "$3"'
"""Put a script in the place of an agent, in one node."""
BOUNDARIES = (0, 9999999999)  # seconds of the epoch: far in the past, and far in the future

FULL = """
dd if=/dev/zero of=/run/full bs=64k 2>/dev/null || :
dd if=/dev/zero of=/run/rest bs=1k 2>/dev/null || :
[ "$(df --output=avail /run | tail -n 1)" -lt 4 ]
"""
# Reads come from the images' own folder; there is no room for anything that is written.
FULL_IMAGES = """
mkdir /run/store
mount -t tmpfs -o size=64k,nr_inodes=16 tmpfs /run/store
mkdir /run/store/upper /run/store/work
mount -t overlay -o lowerdir="$1",upperdir=/run/store/upper,workdir=/run/store/work overlay "$1"
chown --reference="$2" "$1"
! dd if=/dev/zero of=/run/store/full bs=4k 2>/dev/null
"""
SKEWED = """{interpreter}
import os, runpy, select, sys, time
if "FAKETIME" not in os.environ:
    os.environ.update(LD_PRELOAD="{library}", FAKETIME="{hours}h", NO_FAKE_STAT="1",
                      FAKETIME_DONT_FAKE_MONOTONIC="1")
    options = sys.orig_argv[1 : -len(sys.argv)]
    os.execv(sys.executable, [sys.executable, *options, "{place}", *sys.argv[1:]])
time.sleep = lambda seconds: select.select((), (), (), seconds) and None
sys.path[0] = "{folder}"
runpy.run_path("{folder}/{agent}", run_name="__main__")
"""
"""An agent whose clock is wrong; the kernel's clocks of a node are those of the machine.

It is for the agent's own interpreter, which may have begun to read the agent. libfaketime takes
a sleep until a monotonic time for one until a time of day, and then time.sleep fails.
"""
HOURS = ("+7", "-7")
FAKETIME = "libfaketime"
EMPTY_IMAGES = 'umount --lazy "$1" && umount --lazy /run/store && rmdir /run/store'


# What the services depend on


def keystone_down(scene: Scene, name: str) -> Explained:
    """Keystone is down, and no agent has a token any more."""
    cloud = scene.here.cloud
    cloud.down("keystone")
    try:
        scene.skew(BOUNDARIES[0])
        scene.await_said(DEGRADED, scene.since)
        scene.await_monitors()
    finally:
        scene.patiently(lambda: cloud.up("keystone"))
    back = time.time()
    scene.await_said("ok", back)
    return Explained("Keystone was down", back, out=tuple(scene.here.services))


def keystone_hangs(scene: Scene, name: str) -> Explained:
    """Keystone takes connections, and answers nothing."""
    with scene.here.cloud.frozen("keystone"):
        scene.skew(BOUNDARIES[0])
        scene.await_said(DEGRADED, scene.since)
    back = time.time()
    scene.await_said("ok", back)
    return Explained("Keystone hung", back, out=tuple(scene.here.services))


def database_down(scene: Scene, name: str) -> Explained:
    """The database is down: Pacemaker restarts the services, which does not help."""
    cloud = scene.here.cloud
    cloud.down("db")
    try:
        time.sleep(MONITORS * scene.here.interval)
    finally:
        scene.patiently(lambda: cloud.up("db"))
    back = time.time()
    free = (*scene.here.marks, *scene.here.addresses)
    return Explained("the database was down", back, out=tuple(scene.here.services), free=free,
                     failing=True)


def password(scene: Scene, name: str) -> Explained:
    """The monitoring user's password is changed in Keystone alone, and later changed back."""
    cloud = scene.here.cloud
    with cloud.password_of_monitor(uuid.uuid4().hex):
        # A worker caches a token for five minutes, whatever is changed.
        scene.skew(BOUNDARIES[0])
        scene.await_said(DEGRADED, scene.since)
    back = time.time()
    scene.await_said("ok", back)
    return Explained(f"Keystone refused {cloud.credentials.username}", back)


# What the agents need


def run_full(scene: Scene, name: str) -> Explained:
    """/run is full on the node: the agents cannot write their state."""
    node = scene.node(resource(name))
    scene.run(node, FULL)
    try:
        time.sleep((MONITORS + 1) * scene.here.interval)  # they cannot write their verdicts
    finally:
        scene.run(node, "rm -f /run/full /run/rest")
    scene.await_monitors()
    return Explained(f"{node}: /run was full")


def images_full(scene: Scene, name: str) -> Explained:
    """No room for images: no new one is acknowledged, and the acknowledged ones are there."""
    node, home = scene.node("p_glance-api"), scene.here.cloud.settings.home("glance")
    folder = str(home / "images")
    scene.run(node, FULL_IMAGES, folder, str(home))
    try:
        scene.await_monitors()
        time.sleep(scene.here.interval)
    finally:
        scene.run(node, EMPTY_IMAGES, folder)
    return Explained(f"{node}: no room for images")


def clock(scene: Scene, name: str) -> Explained:
    """The agents' tokens have wrong expiry times: far in the past, or far in the future."""
    for until in BOUNDARIES:
        scene.skew(until)
        scene.await_monitors()
    return Explained("tokens of another time")


def reinstall(scene: Scene, name: str) -> Explained:
    """The agents are replaced under running monitors, as a package manager does it."""
    seen = time.monotonic() + 2 * scene.here.interval
    times = 0
    while time.monotonic() < seen or times < MONITORS:
        times += 1
        upgrade.replace(scene.here.cluster.agents, f"{scene.since:.0f}.{times}")
    scene.await_monitors()
    return Explained(f"all agents were installed {times} times")


def upgraded(scene: Scene, name: str) -> Explained:
    """The package of the agents is upgraded by dpkg under running monitors, on one node."""
    node = scene.node(resource(name))
    versions = scene.packages.upgrade(scene.here.cluster, node)
    scene.await_monitors()
    return Explained(f"{node}: dpkg has installed {' and '.join(versions)}")


def skewed(scene: Scene, name: str) -> Explained:
    """The clock that the agents of a node read is wrong by hours: ahead, and then behind."""
    node = scene.node(resource(name))
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if not library:
        raise LabError(f"{FAKETIME} is not installed")
    agents = scene.here.services
    for hours in HOURS:
        for agent in agents:
            own = scene.here.cluster.agents / agent
            place = f"/run/skewed{hours}-{agent}"
            text = SKEWED.format(
                interpreter=own.read_text().partition("\n")[0], library=library, hours=hours,
                place=place, folder=own.parent, agent=agent)
            scene.run(node, PLACE, text, place, f"{AGENTS}/{agent}")
        try:
            scene.await_monitors()
        finally:
            for agent in agents:
                scene.run(node, 'umount --lazy "$1"', f"{AGENTS}/{agent}")
    return Explained(f"{node}: the agents' clock was {' and '.join(HOURS)} h off")


def refresh(scene: Scene, name: str) -> Explained:
    """Pacemaker is told to forget what it knows, and probes again."""
    scene.crm("resource", "refresh")
    scene.await_monitors()
    return Explained("refreshed")
