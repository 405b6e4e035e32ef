"""The network of a lab with Neutron: an Open vSwitch, and a place for Neutron's agents beside it.

Called by `lab.services` for the service `ovs`, and by tests. Neutron's agents make network
namespaces with names of their own choice, and remove those that they do not know: they must not
see /run/netns of the machine. So Open vSwitch is started in a mount namespace with an empty
/run/netns, and whatever belongs to the node enters it (`argv`). In a cluster it is started in the
mount namespace of one of the nodes (`command_on_node`). It forwards in its own process
(`datapath_type=netdev`): the kernel needs no module for it.

What the agents start goes on without them, as it should (dnsmasq, haproxy, radvd). These processes
are found by their mount at /run/netns, and end with `ovs` (`members`).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import process
from lab.errors import LabError
from lab.process import Process
from lab.settings import OVS, Settings

AGENTS = (
    "neutron-ovs-agent",
    "neutron-dhcp-agent",
    "neutron-l3-agent",
    "neutron-metadata-agent",
)
"""The agents whose daemons run in this mount namespace."""

BRIDGE = "br-int"
"""The bridge that ports are plugged into; neutron-openvswitch-agent makes it."""

NAMES = "/run/netns"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PORT = 6640
"""The port of Open vSwitch's database, where the agents look for it."""


def command(settings: Settings) -> list[str]:
    """The command line of Open vSwitch in a mount namespace of its own."""
    return ["unshare", "--mount", "--propagation=private", "--", *command_on_node(settings)]


def command_on_node(settings: Settings) -> list[str]:
    """The command line of Open vSwitch, with its database in the background.

    It covers /run/netns where it is run: in the mount namespace of a node.
    """
    home = settings.home(OVS)
    database, socket = shlex.quote(f"{home}/conf.db"), shlex.quote(str(_socket(settings)))
    script = f"""
        # A namespace that stays mounted here would exist for as long as Open vSwitch.
        umount --recursive --lazy --quiet {NAMES}
        mkdir -p {NAMES}
        mount -t tmpfs -o mode=755,size=16m {shlex.quote(_mark(settings))} {NAMES} || exit
        rm -f {database} && ovsdb-tool create {database} {SCHEMA} || exit
        ovsdb-server {database} --remote=punix:{socket} --remote=ptcp:{PORT}:127.0.0.1 &
        exec ovs-vswitchd --pidfile unix:{socket}
    """
    return ["sh", "-c", script]


def environment(settings: Settings) -> dict[str, str]:
    """Where Open vSwitch has its files, instead of /run/openvswitch."""
    return {name: str(settings.home(OVS)) for name in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR")}


def serves(settings: Settings) -> bool:
    """Whether Open vSwitch takes a change of its database; the first one fills the database."""
    return _vsctl(settings, "set", "Open_vSwitch", ".", "external_ids:lab=up").returncode == 0


def argv(
    master: Process, command: Sequence[str], user: str = "root", *, child: bool = False
) -> list[str]:
    """The command line that runs a command on the node. master: of `ovs`.

    child: as a child of nsenter, with a pid of the node, which has a /proc of its own: for what
    uses /proc/self.
    """
    enter = ["nsenter", f"--target={master.pid}", "--mount", "--net", "--wd"]
    enter += ["--pid"] if child else []
    if user != "root":
        account = process.as_user(user)
        enter += [f"--setuid={account['user']}", f"--setgid={account['group']}"]
    return [*enter, "--", *command]


def members(settings: Settings) -> list[Process]:
    """The processes on the node, whatever started them.

    `ip netns exec` makes further mount namespaces. All of them have the mounts of the first.
    """
    known: dict[str, bool] = {}
    mark = _mark(settings).encode()
    return [found for found in process.every() if _is_on_it(found, mark, known)]


def plug(settings: Settings, device: str, port: str, mac: str) -> None:
    """Plug a device into the integration bridge, as Nova does it. port, mac: of Neutron.

    The device is made, without an address; it may be moved into a network namespace.
    """
    done = _vsctl(
        settings,
        *("--may-exist", "add-port", BRIDGE, device),
        *("--", "set", "Interface", device, "type=internal"),
        f"external_ids:iface-id={port}",
        f'external_ids:attached-mac="{mac}"',
        "external_ids:iface-status=active",
    )
    if done.returncode != 0:
        raise LabError(f"ovs: {device} is not plugged in: {done.stderr.strip()}")


def _vsctl(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ovs-vsctl", f"--db=unix:{_socket(settings)}", "--timeout=30", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _socket(settings: Settings) -> Path:
    return settings.home(OVS) / "db.sock"


def _mark(settings: Settings) -> str:
    """The source of the mount at NAMES, in mountinfo: the lab's own folder, so it is unique."""
    return str(settings.home(OVS))


def _is_on_it(found: Process, mark: bytes, known: dict[str, bool]) -> bool:
    """Whether a process has the node's /run/netns. known: the answers, by mount namespace."""
    try:
        there = os.readlink(f"/proc/{found.pid}/ns/mnt")
        if there not in known:
            rows = Path(f"/proc/{found.pid}/mountinfo").read_bytes().splitlines()
            known[there] = any(row.split()[-2] == mark for row in rows)
        return known[there]
    except OSError:  # it has ended meanwhile
        return False
