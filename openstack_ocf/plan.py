"""A description as Pacemaker's XML: the one model, which crm and pcs are made from.

Comments begin with `#`, as crmsh writes them, so that it shows them again.
"""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import cib as cibs
from . import reasons
from .agents import Agent
from .description import Description, Service
from .openrc import Credentials
from .vips import Place, Vip, places

Comments = Iterable[str]
META = {"migration-threshold": "3", "failure-timeout": "180s"}


@dataclass(frozen=True)
class Plan:
    """cib: an otherwise empty CIB with the resources. notes: what is to be done beside it."""

    cib: ET.Element
    notes: tuple[str, ...]


def plan(description: Description, credentials: Credentials) -> Plan:
    """The plan of a description that validation has passed."""
    return _Planner(description, credentials).plan()


class _Planner:
    """Elements on their way to a CIB; explained are those kinds whose reasons have been given."""

    def __init__(self, description: Description, credentials: Credentials) -> None:
        self._description = description
        self._credentials = credentials
        self._resources = ET.Element("resources")
        self._constraints = ET.Element("constraints")
        self._secrets: list[str] = []
        self._explained: dict[object, str] = {}

    def plan(self) -> Plan:
        for place in places(self._description):
            self._place(place)
        for service in self._description.services:
            if not service.agent.api:
                self._worker(service)
        cib = ET.Element("cib", {
            "validate-with": "pacemaker-3.0", "admin_epoch": "0", "epoch": "1", "num_updates": "0"})
        configuration = ET.SubElement(cib, "configuration")
        for name in ("crm_config", "nodes"):
            ET.SubElement(configuration, name)
        configuration.extend((self._resources, self._constraints))
        ET.SubElement(cib, "status")
        ET.indent(cib)
        return Plan(cib, tuple(self._notes()))

    def _notes(self) -> Iterable[str]:
        if self._secrets:
            yield (f"The password, on one node, when the resources are there; it asks for the "
                   f"value of OS_PASSWORD in {self._credentials.path}:")
            for name in self._secrets:
                yield f"cibsecret set {name} os_password"
            yield "Before that a start may fail. Afterwards: crm_resource --cleanup"

    # --- APIs -------------------------------------------------------------------------------

    def _place(self, place: Place) -> None:
        cloned = [one for one in place.services if one.active_active]
        alone = [one for one in place.services if not one.active_active]
        for service in cloned:
            self._clone(self._service(service, place), self._resources)
        grouped = len(alone) == 1 and not cloned and bool(place.vips)
        if grouped:
            service = alone[0]
            group = _element(self._resources, "group", id=f"g_{service.agent.name}")
            _comment(group, self._once("group", reasons.GROUP))
            self._vips(place, group)
            group.append(self._service(service, place))
            return
        several = len(place.vips) > 1
        parent = self._resources
        if several:
            parent = _element(self._resources, "group", id=f"g_ip_{place.name}")
        self._vips(place, parent)
        addresses = f"g_ip_{place.name}" if several else "".join(one.id for one in place.vips)
        for service in alone:
            self._resources.append(self._service(service, place))
            if addresses:
                self._tie(service, addresses)
        for service in cloned if addresses else ():
            name = service.agent.name
            constraint = _element(
                self._constraints, "rsc_colocation", id=f"c_ip_{name}", score="INFINITY",
                rsc=addresses, **{"with-rsc": f"cl_{name}"})
            _comment(constraint, self._once("active", reasons.ACTIVE))

    def _tie(self, service: Service, addresses: str) -> None:
        name = service.agent.name
        colocation = _element(
            self._constraints, "rsc_colocation", id=f"c_{name}", score="INFINITY",
            rsc=f"p_{name}", **{"with-rsc": addresses})
        _comment(colocation, self._once("tied", reasons.TIED))
        _element(self._constraints, "rsc_order", id=f"o_{name}", kind="Mandatory",
                 first=addresses, then=f"p_{name}")

    def _vips(self, place: Place, parent: ET.Element) -> None:
        for vip in place.vips:
            parent.append(self._vip(vip, place.giver))

    def _vip(self, vip: Vip, service: Service) -> ET.Element:
        parameters = {"ip": str(vip.address)}
        if service.iface:
            parameters["nic"] = service.iface
        if service.cidr:
            parameters["cidr_netmask"] = service.cidr
        if vip.address.version == 6:
            parameters["preferred_lft"] = "0"
        primitive = _primitive(vip.id, ("ocf", "heartbeat", "IPaddr2"), parameters)
        found = not service.iface and not service.cidr
        why = reasons.vip(vip.address.version, found=found)
        _comment(primitive, self._once(("vip", vip.address.version, found), why, vip.id))
        operations = _element(primitive, "operations")
        for name in ("start", "stop"):
            _operation(operations, vip.id, name, 0, 20)
        _operation(operations, vip.id, "monitor", 10, 20)
        return primitive

    # --- services ---------------------------------------------------------------------------

    def _worker(self, service: Service) -> None:
        primitive = self._service(service, None)
        if service.agent.nodes == "one" or not self._description.ha:
            _comment(primitive, reasons.ONE if service.agent.nodes == "one" else (), last=True)
            self._resources.append(primitive)
        else:
            self._clone(primitive, self._resources)

    def _clone(self, primitive: ET.Element, parent: ET.Element) -> None:
        name = primitive.get("id", "").replace("p_", "cl_", 1)
        clone = _element(parent, "clone", id=name)
        _comment(clone, self._once("clone", reasons.CLONE))
        _pairs(clone, "meta_attributes", {"interleave": "true"})
        clone.append(primitive)

    def _service(self, service: Service, place: Place | None) -> ET.Element:
        agent = service.agent
        name = f"p_{agent.name}"
        config = service.parameter("config")
        primitive = _primitive(name, ("ocf", "openstack", agent.name), {
            "config": config, **self._bind(service, place), **service.parameters,
            **self._user(agent, name)})
        if place and "bind" not in service.parameters and not self._bind(service, place):
            _comment(primitive, reasons.listening(
                agent, config, place, everywhere=service.active_active))
        _comment(primitive, self._once(("service", agent.api), reasons.service(agent), name),
                 last=True)
        _pairs(primitive, "meta_attributes", META)
        operations = _element(primitive, "operations")
        for one in agent.operations:
            if one.name in ("start", "stop", "monitor"):
                _operation(operations, name, one.name, one.interval, one.timeout, one.depth)
        return primitive

    def _bind(self, service: Service, place: Place | None) -> dict[str, str]:
        """Address and port for uWSGI, where no configuration of the service says them."""
        if (place is None or not place.vips or "bind" in service.parameters
                or service.agent.listen or service.parameter("server") != "uwsgi"):
            return {}
        versions = {vip.address.version for vip in place.vips}
        if len(place.vips) == 1 and not service.active_active:
            host = str(place.vips[0].address)
        else:
            host = "::" if 6 in versions else "0.0.0.0"  # noqa: S104 - several addresses
        return {"bind": f"[{host}]:{service.port}" if ":" in host else f"{host}:{service.port}"}

    def _user(self, agent: Agent, name: str) -> dict[str, str]:
        """The monitor's user; the password is in a file of each node, which lrm:// stands for."""
        if not self._credentials.parameters or "os_auth_url" not in agent.defaults:
            return {}
        self._secrets.append(name)
        found = {}
        for parameter, value in self._credentials.parameters.items():
            if value != agent.defaults.get(parameter, value + "\0"):
                found[parameter] = value
            if parameter == "os_username":
                found["os_password"] = "lrm://"  # noqa: S105 - it says that it is elsewhere
        return found

    def _once(self, kind: object, lines: Sequence[str], at: str = "") -> Sequence[str]:
        """Reasons where they are given first; later, where that is."""
        if kind not in self._explained:
            self._explained[kind] = at
            return lines
        first = self._explained[kind]
        return (f"The reasons of the numbers: {first}.",) if first else ()


# --- elements -----------------------------------------------------------------------------------


def _element(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)


def _comment(element: ET.Element, lines: Comments, *, last: bool = False) -> None:
    """Comments before all else in an element; last: after those that are there."""
    there = len([child for child in element if cibs.comment(child)]) if last else 0
    # Two hyphens would end a comment of XML.
    wrapped = [part.replace("--", "- -") for line in lines
               for part in textwrap.wrap(line, 97, break_on_hyphens=False)]
    for offset, line in enumerate(wrapped):
        element.insert(there + offset, ET.Comment(f"# {line}"))


def _primitive(
    name: str, agent: tuple[str, str, str], parameters: Mapping[str, str]
) -> ET.Element:
    kind, provider, type_ = agent
    primitive = ET.Element("primitive", {
        "id": name, "class": kind, "provider": provider, "type": type_})
    _pairs(primitive, "instance_attributes", parameters)
    return primitive


def _pairs(element: ET.Element, section: str, values: Mapping[str, str]) -> None:
    name = f"{element.get('id')}-{section}"
    found = _element(element, section, id=name)
    for key, value in values.items():
        _element(found, "nvpair", id=f"{name}-{key}", name=key, value=value)


def _operation(
    parent: ET.Element, of: str, name: str, interval: int, timeout: int, depth: str = ""
) -> None:
    every = f"{interval}s" if interval else "0"
    operation = _element(parent, "op", id=f"{of}-{name}-{every}", name=name, interval=every,
                         timeout=f"{timeout}s")
    if depth:
        _pairs(operation, "instance_attributes", {"OCF_CHECK_LEVEL": depth})
