"""The DNS names of dns_ha: which endpoint each is for, its id, and its address on each node."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .description import Address, Description, Service
from .keys import FACES


@dataclass(frozen=True)
class Name:
    """A name that follows a service; face is that of its endpoint, addresses are by node."""

    hostname: str
    face: str
    id: str
    addresses: Mapping[str, Address]


def names(description: Description, service: Service) -> list[Name]:
    """All names of a service, each once, in the order internal, public, admin, access."""
    found: dict[str, Name] = {}
    for face in (*FACES, "access") if service.dns_ha else ():
        hostname = service.hostnames.get(face, "").rstrip(".")
        if hostname and hostname.lower() not in found:
            mark = "" if face == FACES[0] else f"{face}_"
            found[hostname.lower()] = Name(
                hostname, face, f"p_dns_{mark}{service.agent.name}",
                addresses(description, service, face))
    return list(found.values())


def addresses(description: Description, service: Service, face: str) -> dict[str, Address]:
    """The address that a face's name leads to, by node; nodes that have none are left out."""
    text = service.networks.get(face, "")
    network = ipaddress.ip_network(text) if text else None
    found = {}
    for node, given in description.addresses.items():
        # dnsupdate writes A records alone.
        usable = [one for one in given
                  if (one.version == 4 or description.dns.get("agent") == "maas")
                  and (network is None or one in network)]
        if usable:
            found[node] = usable[0]
    return found


def narrowest(addresses: Iterable[str], others: Iterable[str]) -> str:
    """The narrowest network with all of these addresses; empty where others are in it, too."""
    try:
        mine, rest = ([ipaddress.ip_address(one) for one in some] for some in (addresses, others))
        found = ipaddress.ip_network(mine[0])
        while found.prefixlen and not all(one in found for one in mine):
            found = found.supernet()
    except (ValueError, IndexError):
        return ""
    return "" if found.prefixlen == 0 or any(one in found for one in rest) else str(found)
