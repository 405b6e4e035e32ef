"""The switch that connects the nodes of a cluster: a bridge in a network namespace of its own.

Called by `lab.node` to plug a node in, and by `lab.cluster`. The namespace has an address in the
nodes' network: a client there sees the cluster from outside.
"""

from __future__ import annotations

import json
import time
from typing import Any

from lab import netns
from lab.errors import LabError

NUMBER = 254
BRIDGE = "br0"
MAC = "02:00:0a:63:00:fe"
DEVICE = "eth0"  # the node's end of its cable
FORWARDING = "forwarding"
CARRIER = 120.0  # seconds; a loaded machine is slow to bring a device up
STATES = {"disabled": "0", FORWARDING: "3"}


def address(number: int) -> str:
    """The IPv4 address of a node, or of the switch."""
    return f"10.99.0.{number}"


def addresses(number: int) -> list[str]:
    """All addresses of a node or of the switch, with the lengths of their prefixes."""
    return [f"{address(number)}/24", f"fd00:99::{number}/64"]


def create(name: str) -> None:
    """Make the switch. A complete one stays; an incomplete one is made anew."""
    bridge = _link(name, BRIDGE)
    if "UP" in bridge.get("flags", []):
        return
    netns.remove(name)
    netns.create(name)
    # Otherwise its MAC is that of one of its ports, and changes when a node comes or goes: for
    # some seconds the others would send to a MAC that is no longer there.
    netns.ip("-n", name, "link", "add", BRIDGE, "address", MAC, "type", "bridge")
    for own in addresses(NUMBER):
        _add(own, BRIDGE, "-n", name)
    netns.ip("-n", name, "link", "set", BRIDGE, "up")


def plug(name: str, port: str, pid: int) -> None:
    """Run a cable from a port to the namespace of a process, which finds it as eth0."""
    there = ("name", DEVICE, "netns", str(pid))
    netns.ip("-n", name, "link", "add", port, "type", "veth", "peer", *there)
    netns.ip("-n", name, "link", "set", port, "master", BRIDGE, "up")


def await_carrier(name: str, port: str) -> None:
    """Wait until the node at the other end of the cable has brought its device up."""
    deadline = time.monotonic() + CARRIER
    while state(name, port) != FORWARDING:
        if time.monotonic() > deadline:
            raise LabError(f"no carrier at {port} after {CARRIER:.0f} s")
        time.sleep(0.01)


def unplug(name: str, port: str) -> None:
    """Remove the cable with both its ends, unless it has gone with its node."""
    if _link(name, port):
        try:
            netns.ip("-n", name, "link", "delete", port)
        except LabError:
            if _link(name, port):
                raise


def plugged(name: str, port: str) -> bool:
    """Whether a cable runs from the port."""
    return port in ports(name)


def cut(name: str, port: str) -> None:
    """Drop every frame of the port; the node still sees a carrier."""
    _set(name, port, "disabled")


def heal(name: str, port: str) -> None:
    """Undo `cut`."""
    if state(name, port) != FORWARDING:
        _set(name, port, FORWARDING)


def state(name: str, port: str) -> str:
    """The state of a port: `forwarding`, `disabled` when it is cut, or another of the bridge's."""
    return ports(name).get(port, "unplugged")


def ports(name: str) -> dict[str, str]:
    """The ports that have a cable, and their states, by one call of ip: it is called often."""
    if not netns.exists(name):
        return {}
    try:
        text = netns.ip("-n", name, "-json", "-details", "link", "show", "master", BRIDGE)
    except LabError:  # it has no bridge yet
        return {}
    return {
        one["ifname"]: str(one.get("linkinfo", {}).get("info_slave_data", {}).get("state", ""))
        for one in json.loads(text or "[]")
    }


def configure_device(number: int) -> None:
    """Give eth0 the node's addresses: called in the node itself, by `lab.inside`."""
    netns.ip("link", "set", "lo", "up")
    for own in addresses(number):
        _add(own, DEVICE)
    netns.ip("link", "set", DEVICE, "up")


def _add(prefix: str, device: str, *where: str) -> None:
    if ":" not in prefix:
        netns.ip(*where, "address", "add", prefix, "broadcast", "+", "dev", device)
        return
    try:
        # Without duplicate address detection the address can be used at once.
        netns.ip(*where, "address", "add", prefix, "dev", device, "nodad")
    except LabError:
        if _has_ipv6():
            raise


def _has_ipv6() -> bool:
    try:
        with open("/proc/net/if_inet6") as table:
            return bool(table.read())
    except FileNotFoundError:
        return False


def _set(name: str, port: str, wanted: str) -> None:
    # ip accepts `bridge_slave state` without an error, but does nothing.
    netns.bridge("-n", name, "link", "set", "dev", port, "state", STATES[wanted])


def _link(name: str, device: str) -> dict[str, Any]:
    """ip's data on a device of the switch; empty if there is no such device."""
    if not netns.exists(name):
        return {}
    try:
        text = netns.ip("-n", name, "-json", "-details", "link", "show", "dev", device)
    except LabError:
        return {}
    found: list[dict[str, Any]] = json.loads(text or "[]")
    return found[0] if found else {}
