"""The addresses of this node, as `ip -json` says them."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

from .description import Address
from .errors import CannotLookError
from .run import SBIN, last_words, run

OCF = Path("/usr/lib/ocf/resource.d")
HOLDER = 2.0
"""Seconds in which the holder of a port is looked for."""
_NEEDED = {
    "dnsupdate": ("heartbeat/dnsupdate", "Install the package resource-agents.",
                  ("dig", "nsupdate")),
    "maas": ("maas/dns", "Install it from Juju's hacluster charm (files/ocf/maas), on every node; "
             "or take agent = dnsupdate.", ("dig",)),
}
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclass(frozen=True)
class Interface:
    """A network interface with its addresses, each with its network."""

    name: str
    up: bool
    addresses: tuple[tuple[Address, Network], ...]


@dataclass(frozen=True)
class Node:
    """The interfaces of a node but loopback ones, and its gateways; name is what uname says."""

    interfaces: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    name: str = ""

    def network(self, address: Address) -> Network | None:
        """The network of an interface that an address is in."""
        found = [network for one in self.interfaces for _, network in one.addresses
                 if address in network and network.num_addresses > 1]
        return max(found, key=lambda network: network.prefixlen, default=None)

    def holds(self, address: Address) -> str:
        """The interface that has an address; empty if none has."""
        return next((one.name for one in self.interfaces
                     if address in [own for own, _ in one.addresses]), "")


def look() -> Node:
    """This node; CannotLookError if ip does not say."""
    routes = [*_json("-4", "route"), *_json("-6", "route")]
    return replace(node(_json("addr"), routes), name=os.uname().nodename)


def missing_for(agent: str) -> list[tuple[str, str]]:
    """What this node lacks for [dns] agent = dnsupdate or maas, each with its remedy."""
    type_, packages, programs = _NEEDED.get(agent, ("", "", ()))
    found = []
    if type_ and not (OCF / type_).is_file():
        found.append((f"ocf:{type_.replace('/', ':')}", packages))
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    found += [(program, "Install the package bind9-dnsutils.") for program in programs
              if not shutil.which(program, path=path)]
    return found


def node(links: Iterable[dict[str, Any]], routes: Iterable[dict[str, Any]]) -> Node:
    """A node, from what `ip -json addr` and `ip -json route` have said."""
    interfaces = tuple(
        Interface(link["ifname"], "UP" in link.get("flags", ()), tuple(
            (ipaddress.ip_address(one["local"]),
             ipaddress.ip_network(f"{one['local']}/{one['prefixlen']}", strict=False))
            for one in link.get("addr_info", ()) if "local" in one))
        for link in links if link.get("ifname") and "LOOPBACK" not in link.get("flags", ()))
    gateways = tuple(ipaddress.ip_address(one["gateway"]) for one in routes if "gateway" in one)
    return Node(interfaces, gateways)


def addresses() -> dict[Address, str]:
    """All addresses of this node, those of loopback interfaces too, each with its interface."""
    return {ipaddress.ip_address(one["local"]): link.get("ifname", "")
            for link in _json("addr") for one in link.get("addr_info", ()) if "local" in one}


def _json(*words: str) -> Sequence[dict[str, Any]]:
    done = run(["ip", "-json", *words], timeout=10)
    try:
        found = json.loads(done.output or "[]")
    except ValueError:
        found = None
    if done.code or not isinstance(found, list):
        raise CannotLookError(f"ip {' '.join(words)}: {last_words(done)}")
    return found
