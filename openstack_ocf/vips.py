"""The virtual IPs of a description: which endpoint each is for, and its id in the CIB."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .description import Address, Description, Service
from .keys import FACES


@dataclass(frozen=True)
class Vip:
    """A virtual IP; face is that of the endpoint whose address it is."""

    address: Address
    face: str
    id: str


@dataclass(frozen=True)
class Place:
    """Virtual IPs, and the services behind them: one service, or all of a shared_vip_group.

    name: of the service's agent, or of the shared group. giver: the service whose section has vip.
    """

    name: str
    giver: Service
    services: tuple[Service, ...]
    vips: tuple[Vip, ...]

    @property
    def proxy(self) -> Service | None:
        """The haproxy that listens at the virtual IPs, if it is one of the services."""
        return next((one for one in self.services if one.agent.balances), None)

    @property
    def everywhere(self) -> bool:
        """Whether that haproxy runs with the virtual IP and without: as a clone, or in a bundle."""
        return self.proxy is not None and (
            bool(self.proxy.given_clone) or self.proxy.agent.bundled)

    @property
    def balanced(self) -> tuple[Service, ...]:
        """The services that a haproxy here hands requests to: those that run on all nodes."""
        return tuple(one for one in self.services if one.active_active) if self.proxy else ()


def address(text: str) -> Address | None:
    """An IP address, None if it is none."""
    if "%" in text:
        # The scope of an IPv6 address is an interface of one node.
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def places(description: Description) -> list[Place]:
    """All places, in the order of the description. What is no address is left to validation."""
    groups: dict[str, list[Service]] = {}
    for service in description.services:
        if service.agent.api:
            groups.setdefault(service.shared or f"\0{service.agent.name}", []).append(service)
    found = []
    for services in groups.values():
        giver = next((one for one in services if one.vips), services[0])
        name = giver.shared or giver.agent.name
        found.append(Place(name, giver, tuple(services), tuple(_vips(giver, name))))
    return found


def _vips(service: Service, name: str) -> list[Vip]:
    found = ids(service, name)
    if len(service.vip_ids) != len(found):
        # None, or an error that validation tells.
        return found
    return [replace(vip, id=given) for vip, given in zip(found, service.vip_ids)]


def ids(service: Service, name: str) -> list[Vip]:
    """The virtual IPs of a service with the ids that they have if none are given."""
    given: list[Address] = [one for one in map(address, service.vips) if one]
    addresses = list(dict.fromkeys(given))
    both = len({one.version for one in addresses}) == 2
    found = []
    for version in (4, 6):
        mine = [one for one in addresses if one.version == version]
        faces = _faces(service, mine)
        # Two families: the second one to be named has a 6 (or 4) in its ids.
        mark = str(version) if both and addresses[0].version != version else ""
        for one in mine:
            face = "" if faces[one] == FACES[0] else f"{faces[one]}_"
            found.append(Vip(one, faces[one], f"p_ip{mark}_{face}{name}"))
    return sorted(found, key=lambda vip: addresses.index(vip.address))


def _faces(service: Service, addresses: Sequence[Address]) -> dict[Address, str]:
    """Whose network has it, else in the order internal, public, admin, then by number."""
    found: dict[Address, str] = {}
    for face, text in service.networks.items():
        network = ipaddress.ip_network(text)
        for one in addresses:
            if one in network and one not in found and face not in found.values():
                found[one] = face
    for one in addresses:
        if one not in found:
            free = [face for face in FACES if face not in found.values()]
            found[one] = free[0] if free else str(len(found) + 1)
    return found
