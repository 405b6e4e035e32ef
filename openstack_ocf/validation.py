"""What is wrong with a description, before anything is made of it.

D: the choice between virtual IP and DNS name. V: virtual IPs. S: storage. O: ports. A function for
each row; docs/openstack-ocf.md has the table. node is None where it is not to be looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from .configs import listens
from .description import Address, Description, Service
from .finding import ERROR, UNKNOWN, WARNING, Finding
from .idle import idle
from .keys import FACES
from .names import addresses
from .node import Node, missing_for
from .vips import Place, address, places
from .words import shown

Held = Callable[[], "Sequence[str] | None"]
"""Asks the cluster for the addresses that resources of it hold; None if it does not answer."""


def validate(description: Description, node: Node | None, held: Held) -> list[Finding]:
    """All findings, in the order of the description."""
    return list(_all(description, node, held))


def _all(description: Description, node: Node | None, held: Held) -> Iterator[Finding]:
    for place in places(description):
        for service in place.services:
            where = partial(description.where, service.section)
            yield from _names(description, service, where)
            yield from _led_to(description, service)
            if service not in place.balanced:
                yield from _family(service, place, where)
            if description.ha and service.storage == "local":
                yield Finding(
                    "S1", ERROR, where("storage"),
                    "what one node stores locally, no other node has after a failover",
                    "Store it in rbd, swift, s3, cinder, or in a folder that all nodes share "
                    "(shared-file).")
        yield from _choice(description, place)
        yield from _addresses(description, place)
        yield from _balanced(description, place, node)
        yield from idle(description, place)
        if node:
            yield from _on_this_node(description, place, node, held)
    if node:
        yield from _name_server(description, node)
    yield from _shared(description)
    yield from _ports(description)


Where = Callable[..., str]


def _choice(description: Description, place: Place) -> Iterator[Finding]:
    """D1, D2: a virtual IP or a DNS name, not neither and not both."""
    where = partial(description.where, place.giver.section)
    dns = [one for one in place.services if one.dns_ha]
    if description.ha and not place.giver.vips and len(dns) < len(place.services):
        if all(one.active_active for one in place.services):
            yield Finding(
                "D1", WARNING, where(), "active-active without vip: clients have no one address",
                "Set vip, or have a load balancer of your own in front of all nodes.")
        else:
            yield Finding(
                "D1", ERROR, where(), "neither vip nor dns_ha is set, though ha is true",
                "Set vip to an address that no node has, or dns_ha = true; or ha = false in "
                "[DEFAULT].")
    for service in dns if place.giver.vips else ():
        yield Finding(
            "D2", ERROR, description.where(service.section, "dns_ha"),
            "both vip and dns_ha are set; a service has one or the other",
            "Remove vip, or dns_ha.")


def _names(description: Description, service: Service, where: Where) -> Iterator[Finding]:
    """D3, D4, D5: the names of dns_ha, and the user who is to change them."""
    if not service.dns_ha:
        return
    names = {face: name for face, name in service.hostnames.items() if face in FACES}
    if not names:
        yield Finding(
            "D3", ERROR, where("dns_ha"),
            "dns_ha is true and no name is set; an empty one counts as none",
            "Set os_public_hostname, os_internal_hostname or os_admin_hostname.")
    for face, name in service.hostnames.items():
        if "." not in name.strip("."):
            seen = f"{shown(name)} has no domain"
        elif address(name):
            seen = f"{shown(name)} is an address, not a name"
        elif name.rstrip(".").lower() in {one.lower() for one in description.nodes}:
            seen = f"{shown(name)} is the name of a node"
        else:
            continue
        yield Finding("D4", ERROR, where(f"os_{face}_hostname"), seen,
                      "Take a full name of its own, as images.example.org.")
    agent = description.dns.get("agent", "")
    wanted = {"dnsupdate": ("server", "keyfile"), "maas": ("maas_url",)}.get(agent, ())
    missing = [key for key in wanted if not description.dns.get(key)]
    if not agent:
        yield Finding("D5", ERROR, where("dns_ha"),
                      "dns_ha is true and there is no section [dns] that says who changes names",
                      "Add [dns] with server and keyfile, or agent = maas with maas_url.")
    elif missing:
        yield Finding("D5", ERROR, description.where("dns"),
                      f"agent = {agent} needs {' and '.join(missing)}", "Set what is missing.")


def _led_to(description: Description, service: Service) -> Iterator[Finding]:
    """D6: the address that a name leads to on each node."""
    if not service.dns_ha or not description.dns:
        return
    where = description.where("dns", "addresses")
    maas = description.dns.get("agent") == "maas"
    if not description.addresses:
        if description.dns.get("server") and description.dns.get("keyfile") and not maas:
            yield Finding("D6", ERROR, where, "it is not said which address each node has",
                          "Set addresses = NODE=ADDRESS NODE=ADDRESS, all nodes of the cluster.")
        return
    nodes = description.nodes or tuple(description.addresses)
    for face in [face for face, name in service.hostnames.items() if name]:
        there = addresses(description, service, face)
        network = service.networks.get(face, "")
        family = "" if maas else "IPv4 "
        for node in nodes:
            if node not in there:
                inside = f" in {network}, os_{face}_network" if network else ""
                yield Finding("D6", ERROR, where, f"{node} has no {family}address{inside}, for the "
                              f"{face} name of [{service.section}]",
                              f"Add {node}=ADDRESS, one that the node always has.")


def _name_server(description: Description, node: Node) -> Iterator[Finding]:
    """D6, D7: this node beside [dns]: its own address, and the agent that changes a name."""
    if not any(one.dns_ha for one in description.services) or not description.dns:
        return
    for one in description.addresses.get(node.name, ()):
        if not node.holds(one):
            yield Finding("D6", ERROR, description.where("dns", "addresses"),
                          f"{one} is not an address of this node, {node.name}",
                          "Give the one that this node always has.")
    for what, remedy in missing_for(description.dns.get("agent", "")):
        yield Finding("D7", ERROR, description.where("dns", "agent"),
                      f"{what} is not on this node", remedy)


def _balanced(
    description: Description, place: Place, node: Node | None
) -> Iterator[Finding]:
    """D8: each node's own address, where the clones behind a haproxy listen. D9: no such clone."""
    if place.proxy is None:
        return
    where = partial(description.where, place.proxy.section)
    if not place.balanced:
        yield Finding("D9", ERROR, where(), "no service is behind this haproxy",
                      "Set the same shared_vip_group here and in each service, and mode = "
                      "active-active in those.")
        return
    given = [name for name, _ in place.proxy.addresses]
    for name in dict.fromkeys(name for name in given if given.count(name) > 1):
        yield Finding("D8", ERROR, where("addresses"), f"{shown(name)} stands there twice",
                      "Leave the address that its services listen on.")
    missing = [name for name in description.nodes if name not in given]
    if missing or not given:
        seen = f"{', '.join(missing)} has no address" if missing else "no node has an address"
        yield Finding("D8", ERROR, where("addresses"), seen,
                      "Add NODE=ADDRESS for each node of the cluster, one that it always has.")
    virtual = {vip.address for other in places(description) for vip in other.vips}
    for name, own in place.proxy.addresses:
        if own in virtual:
            yield Finding("D8", ERROR, where("addresses"), f"{own} is a virtual IP",
                          f"Give the address that {shown(name)} always has.")
        elif node and name == node.name and not node.holds(own):
            yield Finding("D8", ERROR, where("addresses"),
                          f"{own} is not an address of this node, {node.name}",
                          "Give the one that this node always has.")


def _addresses(description: Description, place: Place) -> Iterator[Finding]:
    """V1: what is no address, or stands there twice. V5, V6: a length without its family.

    V8: a network without a virtual IP. V9: ids.
    """
    giver = place.giver
    where = partial(description.where, giver.section)
    for text in giver.vips:
        found = address(text)
        if found is None:
            yield Finding("V1", ERROR, where("vip"), f"{shown(text)} is no IP address",
                          "Write addresses, without a prefix length, separated by spaces.")
        elif found.is_unspecified or found.is_loopback or found.is_multicast or (
                found.is_link_local):
            yield Finding("V1", ERROR, where("vip"), f"{found} is no address that clients reach",
                          "Take a free address of the nodes' network.")
    valid = [one for one in map(address, giver.vips) if one]
    for one in dict.fromkeys(one for one in valid if valid.count(one) > 1):
        yield Finding("V1", ERROR, where("vip"), f"{one} stands there twice", "Remove one.")
    if giver.vip_ids and len(giver.vip_ids) != len(giver.vips):
        yield Finding("V9", ERROR, where("vip_id"), f"{len(giver.vip_ids)} ids, and "
                      f"{len(giver.vips)} addresses in vip", "Give one for each, or none.")
    for other in place.services:
        if other is not giver and other.vips and sorted(other.vips) != sorted(giver.vips):
            yield Finding(
                "V1", ERROR, description.where(other.section, "vip"),
                f"not the same as in [{giver.section}], which is in {place.name}, too",
                "Set vip in one section of a shared_vip_group.")
    for face, text in giver.networks.items():
        network = ipaddress.ip_network(text)
        if giver.vips and not any(one in network for one in valid):
            yield Finding(
                "V8", ERROR, where(f"os_{face}_network"), f"no virtual IP is in {network}",
                f"Add an address of it to vip; it becomes that of the {face} endpoint.")
    if giver.cidr and any(int(giver.cidr) > one.max_prefixlen for one in valid):
        yield Finding("V5", ERROR, where("vip_cidr"), f"{giver.cidr} is too long for IPv4",
                      "Remove vip_cidr: IPaddr2 finds it by itself.")


def _family(service: Service, place: Place, where: Where) -> Iterator[Finding]:
    """V7: the server listens on an address of the other family."""
    host, seen_in = _bind(service)
    bound = address(host.strip("[]"))
    if bound is None:
        return
    for vip in place.vips:
        one = vip.address
        dual = bound.version == 6 and bound.is_unspecified
        if one.version != bound.version and not dual:
            yield Finding(
                "V7", ERROR, where("vip"),
                f"{one} is IPv{one.version}, and {seen_in} is {bound}",
                "Let the server listen on the virtual IP, or on :: for both families.")


def _bind(service: Service) -> tuple[str, str]:
    """The address that the server is told to listen on, and where that stands."""
    bind = service.parameters.get("bind", "")
    if bind:
        return bind.rpartition(":")[0], "bind"
    config = service.parameter("config")
    # It need not be on this node yet.
    return listens(service.agent, config), f"{service.agent.listen} in {config}"


def _on_this_node(
    description: Description, place: Place, node: Node, held: Held
) -> Iterator[Finding]:
    """V2, V3, V5, V6: the virtual IPs beside the addresses and networks of this node."""
    giver = place.giver
    where = partial(description.where, giver.section)
    interface = next((one for one in node.interfaces if one.name == giver.iface), None)
    if giver.iface and interface is None:
        yield Finding("V6", ERROR, where("vip_iface"),
                      f"this node has no interface {shown(giver.iface)}",
                      "Remove vip_iface: IPaddr2 finds the interface on each node.")
    elif interface and not interface.up:
        yield Finding("V6", ERROR, where("vip_iface"), f"{interface.name} is down on this node",
                      f"Set it up (ip link set {interface.name} up), or name another.")
    for vip in place.vips:
        one = vip.address
        network = node.network(one)
        if network is None:
            seen = f"{one} is in no network of this node"
            if not giver.unroutable:
                yield Finding(
                    "V2", ERROR, where("vip"), seen,
                    "Take a free address of a network that all nodes are in; with "
                    "allow_unroutable_vip = true it is taken as it is.")
            elif giver.iface and giver.cidr:
                yield Finding("V2", WARNING, where("vip"), seen,
                              "Have a router send what is for it to the node that has it.")
            else:
                yield Finding("V2", ERROR, where("vip"),
                              f"{seen}, so that IPaddr2 finds no interface for it",
                              "Set vip_iface and vip_cidr, too.")
            continue
        # An address alone is meant where it has the length of one, as TripleO's.
        if giver.cidr and int(giver.cidr) not in (network.prefixlen, one.max_prefixlen):
            yield Finding("V5", ERROR, where("vip_cidr"),
                          f"{giver.cidr} is not the length of {network}, where {one} is",
                          "Remove vip_cidr: IPaddr2 finds it by itself.")
        if interface and interface.addresses and not any(
                one in own for _, own in interface.addresses):
            yield Finding("V6", ERROR, where("vip_iface"),
                          f"{one} is in no network of {interface.name}",
                          "Remove vip_iface: IPaddr2 finds the interface on each node.")
        yield from _taken(where("vip"), one, node, held)


def _taken(where: str, one: Address, node: Node, held: Held) -> Iterator[Finding]:
    """V3: an address that is in use."""
    network, interface = node.network(one), node.holds(one)
    free = "Take a free address."
    if network and one.version == 4 and network.prefixlen < 31 and one == network[0]:
        yield Finding("V3", ERROR, where, f"{one} is the address of the network {network}", free)
    elif network and one.version == 4 and network.prefixlen < 31 and one == network[-1]:
        yield Finding("V3", ERROR, where, f"{one} is the broadcast address of {network}", free)
    elif one in node.gateways:
        yield Finding("V3", ERROR, where, f"{one} is a gateway of this node", free)
    elif interface:
        # One that the cluster holds is on a node, too.
        resources = held()
        if resources is None:
            yield Finding(
                "V3", UNKNOWN, where,
                f"{one} is on {interface} of this node, and the cluster does not say whether it "
                "holds it", "Look again on a node where the cluster runs.")
        elif str(one) not in resources:
            yield Finding(
                "V3", ERROR, where,
                f"{one} is the address of this node's {interface}; a stop of the resource would "
                "take it away", free)


def _shared(description: Description) -> Iterator[Finding]:
    """V1: one address in several sections that do not say that they share it."""
    owner: dict[Address, Place] = {}
    for place in places(description):
        for vip in place.vips:
            first = owner.setdefault(vip.address, place)
            if first is not place:
                yield Finding(
                    "V1", ERROR, description.where(place.giver.section, "vip"),
                    f"{vip.address} is the virtual IP of [{first.giver.section}], too",
                    "Take another, or set the same shared_vip_group in both.")


def _ports(description: Description) -> Iterator[Finding]:
    """O1: two servers on one port of one address, or of all addresses of a node."""
    found: list[tuple[Service, set[str]]] = []
    for place in places(description):
        addresses = {str(vip.address) for vip in place.vips}
        for service in (one for one in place.services if not one.agent.balances):
            # With several addresses, or as a clone, it listens on all of them; behind a haproxy on
            # the node's own, and haproxy on these.
            mine = {"*"} if len(addresses) != 1 or service.active_active else addresses
            if service in place.balanced:
                mine = {"the node's", *addresses}
            for other, others in found:
                if other.port == service.port and (mine & others or "*" in mine | others):
                    yield Finding(
                        "O1", ERROR, description.where(service.section, "port"),
                        f"[{other.section}] listens on port {other.port}, too",
                        "Give one of them another port, here and in its configuration.")
            found.append((service, mine))
