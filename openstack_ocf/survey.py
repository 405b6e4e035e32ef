"""What a CIB has of the services that a description knows, whatever tool wrote it.

Known are the shell agents' and our own resources (one type), the names of the HA guide, those of
Juju's charms (`res_glance_8534040_vip`, `grp_glance_vips`) and of TripleO (`ip-10.0.0.12`). Called
by `init`, `behind`, `held` and `subject`. No value of a secret is taken out of the CIB.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import agents, foreign
from . import cib as cibs
from .agents import Agent
from .ties import beside, ties

CHARM = re.compile(r"res_([a-z0-9-]+?)_(?:[0-9a-f]{7}|\S+?)_vip(?:_\w+)?$")
CHARM_NAME = re.compile(r"res_([a-z0-9-]+?)_(admin|int|public|access)_hostname$")
TRIPLEO = re.compile(r"ip-[0-9a-fA-F.:]+$")
_FACES = (("public", "public"), ("admin", "admin"), ("access", "access"))
_SHORT = {"ks": "keystone"}
"""What charms call a service in ids that would be too long."""


@dataclass
class Address:
    """A virtual IP of a CIB."""

    id: str
    address: str
    iface: str
    prefix: str
    agent: str


@dataclass
class Name:
    """A DNS name of a CIB."""

    id: str
    hostname: str
    face: str
    agent: str
    parameters: dict[str, str]
    by_node: dict[str, str]


@dataclass
class Found:
    """A service of a CIB; agent is ours, primitive is None where only its addresses are there.

    bundle: the <bundle> that it is, of containers.
    """

    agent: Agent
    primitive: ET.Element | None
    group: str = ""
    clone: str = ""
    companions: int = 0
    """Other services in its group."""
    addresses: list[Address] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    bundle: ET.Element | None = None

    @property
    def id(self) -> str:
        """The id of its resource; empty without one."""
        resource = self.primitive if self.bundle is None else self.bundle
        return resource.get("id", "") if resource is not None else ""


class Survey:
    """services, in the order of the CIB; what is not taken: free addresses, others' resources.

    foreign: MariaDB, RabbitMQ and haproxies, which count among the services when they are included.
    """

    def __init__(self, root: ET.Element) -> None:
        self._root = root
        self._parents = cibs.parents(root)
        self.addresses = {one.id: one for one in map(_address, cibs.resources(root))
                          if one.address}
        self.names = {one.id: one for one in map(_name, cibs.resources(root)) if one.hostname}
        self.services: list[Found] = []
        self.foreign: list[Found] = []
        self.haproxy = [name for name in self._ids() if "haproxy" in name]
        for primitive in cibs.resources(root):
            if self._parents[primitive].tag == "bundle":
                continue
            agent = (agents.get(primitive.get("type", ""))
                     if primitive.get("provider") == "openstack" else None)
            if agent and not agent.gone:
                self.services.append(self._service(primitive, agent))
            other = foreign.made_of(cibs.agent(primitive), cibs.parameters(primitive))
            if other:
                self.foreign.append(self._service(primitive, other))
        for bundle in root.iterfind("configuration/resources/bundle"):
            other = foreign.contained(bundle)
            if other:
                self.foreign.append(Found(other, None, bundle=bundle))
        for found in self.foreign:
            self._addresses(found)
        for found in self.services:
            found.companions = sum(
                1 for one in self.services if found.group and one.group == found.group) - 1
            if found.agent.api:
                self._addresses(found)
        self._charms()

    @property
    def free(self) -> list[Address]:
        """Virtual IPs that no service is tied to."""
        taken = {one.id for found in self.services for one in found.addresses}
        return [one for name, one in self.addresses.items() if name not in taken]

    @property
    def others(self) -> list[str]:
        """Resources that are none of these, with their agents; a bundle with what it has."""
        known = {found.id for found in self.services} | set(self.addresses) | {
            one.id for found in self.services for one in found.names}
        return [f"{one.get('id')} ({_what(one)})"
                for one in self._root.iterfind("configuration/resources//*")
                if one.tag in ("primitive", "bundle") and one.get("id", "") not in known
                and self._parents[one].tag != "bundle"]

    @property
    def nodes(self) -> list[str]:
        """The names of the cluster's nodes."""
        return [one.get("uname", "") for one in self._root.iterfind("configuration/nodes/node")
                if one.get("uname") and one.get("type", "member") == "member"]

    def take(self, found: Found, address: Address) -> None:
        """Give a free address to a service."""
        found.addresses.append(address)

    def include(self, found: Found, before: Sequence[Found] = ()) -> None:
        """Count one of others among the services: in the order of the CIB, and before these."""
        order = [one.get("id", "") for one in self._root.iterfind("configuration/resources//*")
                 if one.tag in ("primitive", "bundle")]
        places = [place for place, one in enumerate(self.services)
                  if one in before or one.id not in order
                  or order.index(one.id) > order.index(found.id)]
        self.services.insert(places[0] if places else len(self.services), found)

    def group(self, name: str) -> str:
        """The group that a resource is in; empty without one."""
        return next((one.get("id", "") for one in self._root.iter("group")
                     if name in [member.get("id") for member in one]), "")

    def proxy(self, address: Address) -> str:
        """The haproxy behind an address of a charm or of TripleO; empty if there is none."""
        mark = CHARM.match(address.id)
        wanted = f"cl_{mark[1]}_haproxy" if mark else ""
        if TRIPLEO.match(address.id):
            wanted = next((one for one in self.haproxy if not one.startswith("cl_")), "")
        return wanted if wanted in self.haproxy else ""

    # --- of our types -----------------------------------------------------------------------

    def _service(self, primitive: ET.Element, agent: Agent) -> Found:
        above = list(cibs.above(primitive, self._parents))
        group = next((one.get("id", "") for one in above if one.tag == "group"), "")
        clone = next((one.get("id", "") for one in above if one.tag != "group"), "")
        return Found(agent, primitive, group, clone)

    def _addresses(self, found: Found) -> None:
        """Those in its group, else those that it is placed with, or that are placed with it."""
        members = cibs.members(self._root, found.group)
        mine = [name for name in members if name in self.addresses]
        names = [name for name in members if name in self.names]
        own = {found.id, found.group, found.clone} - {""}
        ends = {name for one in self.foreign if not one.agent.balances and one is not found
                for name in (one.id, one.group, one.clone)}
        for there, chosen in ((self.addresses, mine), (self.names, names)):
            near = beside(self._root, own, there, ends)
            chosen += [name for name in there if name in near and name not in chosen]
        if not mine and not names:
            # Not tied at all, as the guide has it; but named after the service.
            mine = [name for name in self.addresses
                    if name in (f"p_ip_{found.agent.name}", f"p_ip_public_{found.agent.name}")]
        found.addresses = [self.addresses[name] for name in mine]
        found.names = [self.names[name] for name in names]

    def address_group(self, found: Found) -> str:
        """The group that its addresses are, if they are one without the service."""
        first = found.addresses[0].id if found.addresses else ""
        groups = [group.get("id", "") for group in self._root.iter("group")
                  if first in cibs.members(self._root, group.get("id", ""))]
        return groups[0] if groups and groups[0] != found.group else ""

    def follows(self, found: Found) -> str:
        """The constraint that keeps a clone where one of its addresses is; empty without one.

        So too a bundle.
        """
        addresses = {one.id for one in found.addresses} | {self.address_group(found)}
        return next((tie.by for tie in ties(self._root).together
                     if (found.clone or found.bundle is not None)
                     and tie.one in (found.clone, found.id)
                     and tie.other in addresses), "")

    # --- Juju's charms ----------------------------------------------------------------------

    def _charms(self) -> None:
        """Addresses and names that a charm has made: the API itself is not under Pacemaker."""
        for one in self.free:
            mark = CHARM.match(one.id)
            found = self._of_charm(mark[1]) if mark else None
            if found:
                found.addresses.append(one)
        for name in self.names.values():
            mark = CHARM_NAME.match(name.id)
            found = self._of_charm(mark[1]) if mark else None
            if found and name not in found.names:
                found.names.append(name)

    def _of_charm(self, name: str) -> Found | None:
        agent = agents.named(_SHORT.get(name, name))
        return None if agent is None or agent.gone else self.of(agent)

    def of(self, agent: Agent) -> Found:
        """The service of an agent, made where the CIB has only its addresses."""
        found = next((one for one in self.services if one.agent == agent), None)
        if found is None:
            found = Found(agent, None)
            self.services.append(found)
        return found

    # --- looking ----------------------------------------------------------------------------

    def _ids(self) -> list[str]:
        return [one.get("id", "") for one in self._root.iterfind("configuration/resources/*")]


def _what(resource: ET.Element) -> str:
    if resource.tag == "bundle":
        inside = resource.find("primitive")
        return "a bundle" + (f" with {inside.get('id')}, {_what(inside)}"
                             if inside is not None else "")
    return cibs.agent(resource) or "a template"


def _address(primitive: ET.Element) -> Address:
    given = cibs.parameters(primitive)
    held = primitive.get("type") in cibs.ADDRESSES
    return Address(primitive.get("id", ""),
                   (given.get("ip") or given.get("ipv6addr", "")) if held else "",
                   given.get("nic", ""), given.get("cidr_netmask", ""), primitive.get("type", ""))


def _name(primitive: ET.Element) -> Name:
    given = cibs.parameters(primitive)
    agent, name = cibs.agent(primitive), primitive.get("id", "")
    face = next((face for word, face in _FACES if f"_{word}_" in name), "internal")
    return Name(name, given.get(cibs.NAMERS.get(agent, ""), ""), face, agent, given,
                {node: values["ip"] for node, values in cibs.by_node(primitive).items()
                 if "ip" in values})
