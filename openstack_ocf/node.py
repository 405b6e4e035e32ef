"""The addresses of this node, as `ip -json` says them."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Union

from .errors import CannotLookError
from .run import last_words, run
from .vips import Address

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclass(frozen=True)
class Interface:
    """A network interface with its addresses, each with its network."""

    name: str
    up: bool
    addresses: tuple[tuple[Address, Network], ...]


@dataclass(frozen=True)
class Node:
    """The interfaces of a node but loopback ones, and its gateways."""

    interfaces: tuple[Interface, ...]
    gateways: tuple[Address, ...]

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
    return node(_json("addr"), routes)


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
