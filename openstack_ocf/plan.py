"""A description as Pacemaker's XML: the one model, which crm and pcs are made from."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import haproxy, reasons
from .cib import LRM
from .description import Description, Service
from .elements import comment, element, operation, pairs, primitive
from .names import Name, names
from .openrc import Credentials
from .vips import Place, Vip, places

META = {"migration-threshold": "3", "failure-timeout": "180s"}


@dataclass(frozen=True)
class Plan:
    """cib: an otherwise empty CIB with the resources.

    secrets, files: what is to be done beside it, in lines: by cibsecret, and on each node.
    proxy: haproxy.cfg; empty without a haproxy.
    """

    cib: ET.Element
    secrets: tuple[str, ...]
    files: tuple[str, ...]
    proxy: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be done beside it."""
        return (*self.secrets, *self.files)


def plan(description: Description, credentials: Credentials, *, numbers: bool = True) -> Plan:
    """The plan of a description that validation has passed; numbers: their reasons, too."""
    return _Planner(description, credentials, numbers=numbers).plan()


class _Planner:
    """Elements on their way to a CIB; explained are those kinds whose reasons have been given."""

    def __init__(self, description: Description, credentials: Credentials, *,
                 numbers: bool) -> None:
        self._numbers = numbers
        self._description = description
        self._credentials = credentials
        self._resources = ET.Element("resources")
        self._constraints = ET.Element("constraints")
        self._secrets: list[tuple[str, str]] = []
        self._files: list[Name] = []
        self._explained: dict[object, str] = {}

    def plan(self) -> Plan:
        for place in places(self._description):
            self._place(place)
        for service in self._description.services:
            if not service.agent.api:
                self._worker(service)
        for service in self._description.services:
            for first in self._description.services:
                if first.agent.name in service.agent.first:
                    self._after(service, first)
        cib = ET.Element("cib", {
            "validate-with": "pacemaker-3.0", "admin_epoch": "0", "epoch": "1", "num_updates": "0"})
        configuration = ET.SubElement(cib, "configuration")
        for name in ("crm_config", "nodes"):
            ET.SubElement(configuration, name)
        configuration.extend((self._resources, self._constraints))
        ET.SubElement(cib, "status")
        ET.indent(cib)
        return Plan(cib, tuple(self._secret_notes()), tuple(self._file_notes()),
                    haproxy.configuration(self._description))

    def _secret_notes(self) -> Iterable[str]:
        passwords = [name for name, what in self._secrets if what == "os_password"]
        if passwords:
            yield (f"The password, on one node, when the resources are there; it asks for the "
                   f"value of OS_PASSWORD in {self._credentials.path}:")
            for name in passwords:
                yield f"cibsecret set {name} os_password"
        credentials = [name for name, what in self._secrets if what == "maas_credentials"]
        if credentials:
            yield "MAAS's API key, on one node, when the resources are there; it asks for it:"
            for name in credentials:
                yield f"cibsecret set {name} maas_credentials"
        if self._secrets:
            yield "Before that a start may fail. Afterwards: crm_resource --cleanup"

    def _file_notes(self) -> Iterable[str]:
        if self._files:
            yield "The address that a name leads to, on each node:"
            for one in self._files:
                own = {node: str(address) for node, address in one.addresses.items()}
                for node, address in (own or {"each node": "ITS-ADDRESS"}).items():
                    yield f"on {node}: echo {address} > /etc/maas_dns/{one.id}"
        for proxy in (one for one in self._description.services if one.agent.balances):
            if proxy.agent.bundled:
                yield f"haproxy runs in the bundle {proxy.id}, which stays as it is."
                yield ("See that its configuration has the ports of these services at the virtual "
                       "IPs, and the nodes' own addresses behind them.")
                continue
            yield ("On each node, haproxy's configuration, unless it has these ports at the "
                   "virtual IPs already; and nothing but Pacemaker may start it:")
            yield f"openstack-ocf plan --as haproxy > {proxy.config}"
            # Its unit may be what Pacemaker runs now; another process has the ports.
            yield f"systemctl disable{' --now' if proxy.agent.defaults else ''} haproxy"

    # --- APIs -------------------------------------------------------------------------------

    def _place(self, place: Place) -> None:
        cloned = [one for one in place.services if one.active_active]
        alone = [one for one in place.services if not one.active_active]
        given = next((one.group for one in place.services if one.group), "")
        # haproxy first: it is started at once, and Keystone is asked through it.
        if not place.proxy:
            self._clones(cloned, place)
        if alone and not cloned and place.vips and (given or len(alone) == 1):
            self._group(place, alone, given)
        else:
            self._apart(place, alone, cloned, given)
        if place.proxy:
            self._clones(cloned, place)
        for service in place.services:
            self._named(service)

    def _clones(self, services: Sequence[Service], place: Place) -> None:
        for service in services:
            self._clone(self._service(service, place), service.clone)

    def _group(self, place: Place, services: Sequence[Service], given: str) -> None:
        """The virtual IPs and those behind them as one unit."""
        group = element(self._resources, "group", id=given or f"g_{services[0].agent.name}")
        comment(group, self._once("group", reasons.GROUP if len(services) == 1
                                  else reasons.TOGETHER))
        group.extend([self._vip(vip, place.giver) for vip in place.vips])
        group.extend([self._service(service, place) for service in services])

    def _apart(self, place: Place, alone: Sequence[Service], cloned: Sequence[Service],
               given: str) -> None:
        """The virtual IPs, and each service tied to them by itself, or without any."""
        addresses = "".join(one.id for one in place.vips)
        parent = self._resources
        # Where haproxy is on all nodes each address may be on another one.
        each = place.everywhere and not given and alone == [place.proxy]
        if (len(place.vips) > 1 and not each) or (place.vips and given):
            addresses = given or f"g_ip_{place.name}"
            parent = element(self._resources, "group", id=addresses)
        parent.extend([self._vip(vip, place.giver) for vip in place.vips])
        for service in alone:
            if service is place.proxy and place.everywhere:
                if not service.agent.bundled:
                    self._clone(self._service(service, place), service.clone)
                for what in [one.id for one in place.vips] if each else [addresses]:
                    self._follow(what.removeprefix("p_"), what, service.clone)
                continue
            if not names(self._description, service):
                self._resources.append(self._service(service, place))
            if addresses:
                self._tie(f"{service.agent.name}", service.id, addresses, reasons.TIED, "tied")
        for service in cloned if addresses and not place.proxy else ():
            self._follow(f"ip_{service.agent.name}", addresses, service.clone)

    def _follow(self, name: str, address: str, clone: str) -> None:
        """An address where one of a clone runs."""
        constraint = element(
            self._constraints, "rsc_colocation", id=f"c_{name}", score="INFINITY", rsc=address,
            **{"with-rsc": clone})
        comment(constraint, self._once("active", reasons.ACTIVE))

    def _tie(self, name: str, what: str, to: str, why: Sequence[str], kind: str) -> None:
        """A resource where another one is, and after it."""
        colocation = element(
            self._constraints, "rsc_colocation", id=f"c_{name}", score="INFINITY", rsc=what,
            **{"with-rsc": to})
        comment(colocation, self._once(kind, why))
        element(self._constraints, "rsc_order", id=f"o_{name}", kind="Mandatory", first=to,
                then=what)

    def _vip(self, vip: Vip, service: Service) -> ET.Element:
        parameters = {"ip": str(vip.address)}
        if service.iface:
            parameters["nic"] = service.iface
        if service.cidr:
            parameters["cidr_netmask"] = service.cidr
        if vip.address.version == 6:
            parameters["preferred_lft"] = "0"
        found = primitive(vip.id, ("ocf", "heartbeat", "IPaddr2"), parameters)
        left = not service.iface and not service.cidr
        why = reasons.vip(vip.address.version, found=left)
        comment(found, self._once(("vip", vip.address.version, left), why, vip.id))
        operations = element(found, "operations")
        for name in ("start", "stop"):
            operation(operations, vip.id, name, 0, 20)
        operation(operations, vip.id, "monitor", 10, 20)
        return found

    # --- names ------------------------------------------------------------------------------

    def _named(self, service: Service) -> None:
        """The names of dns_ha, after the service: a name moves only to a node that serves."""
        found = names(self._description, service)
        if not found:
            return
        if service.active_active:
            for name in found:
                self._resources.append(self._name(name))
                self._tie(name.id.removeprefix("p_"), name.id, service.clone, reasons.NAME_TIED,
                          "name")
            return
        group = element(self._resources, "group", id=service.group or f"g_{service.agent.name}")
        comment(group, self._once("named", reasons.NAMED))
        group.append(self._service(service, None))
        group.extend([self._name(name) for name in found])

    def _name(self, name: Name) -> ET.Element:
        dns = self._description.dns
        maas = dns.get("agent") == "maas"
        if maas:
            found = primitive(name.id, ("ocf", "maas", "dns"), {
                "fqdn": name.hostname, "maas_url": dns.get("maas_url", ""),
                "maas_credentials": LRM})
            self._secrets.append((name.id, "maas_credentials"))
            self._files.append(name)
        else:
            found = primitive(name.id, ("ocf", "heartbeat", "dnsupdate"), {
                "hostname": name.hostname, "server": dns.get("server", ""),
                "keyfile": dns.get("keyfile", ""), "ttl": dns.get("ttl", "")})
            for node, address in name.addresses.items():
                pairs(found, "instance_attributes", {"ip": str(address)}, on=node)
        comment(found, self._once("dns", reasons.name(dns, maas=maas), name.id))
        pairs(found, "meta_attributes", META)
        operations = element(found, "operations")
        # MAAS's agent tries three times, 10 s and more apart.
        for action in ("start", "stop"):
            operation(operations, name.id, action, 0, 60 if maas else 30)
        operation(operations, name.id, "monitor", 30, 30, **{"on-fail": "ignore"})
        return found

    # --- services ---------------------------------------------------------------------------

    def _cloned(self, service: Service) -> bool:
        if service.agent.api:
            return service.active_active
        return service.agent.nodes != "one" and self._description.ha

    def _after(self, service: Service, first: Service) -> None:
        """Where both are to start at once, the other one is first."""
        names = [one.clone if self._cloned(one) else one.id for one in (first, service)]
        order = element(
            self._constraints, "rsc_order", id=f"o_{service.agent.name}_{first.agent.name}",
            kind="Optional", symmetrical="false", first=names[0], then=names[1])
        comment(order, self._once("first", reasons.FIRST))

    def _worker(self, service: Service) -> None:
        found = self._service(service, None)
        if not self._cloned(service):
            comment(found, reasons.ONE if service.agent.nodes == "one" else (), last=True)
            self._resources.append(found)
        else:
            self._clone(found, service.clone)

    def _clone(self, member: ET.Element, name: str) -> None:
        clone = element(self._resources, "clone", id=name)
        comment(clone, self._once("clone", reasons.CLONE))
        pairs(clone, "meta_attributes", {"interleave": "true"})
        clone.append(member)

    def _service(self, service: Service, place: Place | None) -> ET.Element:
        agent = service.agent
        config = service.parameter("config")
        bind = self._bind(service, place)
        found = primitive(service.id, agent.spec, {
            **({"config": config} if config else {}), **bind,
            **(haproxy.parameters(service, place) if place and agent.balances
               else service.parameters),
            **self._user(service)})
        own = haproxy.bindings(service, place) if place else {}
        for node, where in own.items():
            pairs(found, "instance_attributes", {"bind": where}, on=node)
        if own:
            comment(found, self._once("own", reasons.OWN))
        elif agent.api and not agent.kind and "bind" not in service.parameters and not bind:
            comment(found, reasons.listening(
                agent, config, [str(vip.address) for vip in place.vips] if place else (),
                everywhere=service.active_active, named=service.dns_ha,
                balanced=place is not None and service in place.balanced))
        everywhere = place is not None and place.everywhere
        comment(found, self._once(("service", agent.api, agent.kind), reasons.service(
            agent, everywhere=everywhere), service.id), last=True)
        pairs(found, "meta_attributes", META)
        operations = element(found, "operations")
        for one in agent.operations:
            if one.name in ("start", "stop", "monitor"):
                operation(operations, service.id, one.name, one.interval, one.timeout, one.depth)
        return found

    def _bind(self, service: Service, place: Place | None) -> dict[str, str]:
        """Address and port for uWSGI, where no configuration of the service says them."""
        vips = place.vips if place else ()
        if len(vips) == 1 and "ip" in service.agent.defaults:
            return {"ip": str(vips[0].address)}
        if place and service in place.balanced:
            return {}
        if (not (vips or service.dns_ha) or "bind" in service.parameters
                or service.agent.listen or service.parameter("server") != "uwsgi"):
            return {}
        if len(vips) == 1 and not service.active_active:
            host = str(vips[0].address)
        else:
            six = any(vip.address.version == 6 for vip in vips)
            host = "::" if six else "0.0.0.0"  # noqa: S104 - several addresses
        return {"bind": f"[{host}]:{service.port}" if ":" in host else f"{host}:{service.port}"}

    def _user(self, service: Service) -> dict[str, str]:
        """The monitor's user; the password is in a file of each node, which lrm:// stands for."""
        agent = service.agent
        if not self._credentials.parameters or "os_auth_url" not in agent.defaults:
            return {}
        self._secrets.append((service.id, "os_password"))
        found = {}
        for parameter, value in self._credentials.parameters.items():
            if value != agent.defaults.get(parameter, value + "\0"):
                found[parameter] = value
            if parameter == "os_username":
                found["os_password"] = LRM
        return found

    def _once(self, kind: object, lines: Sequence[str], at: str = "") -> Sequence[str]:
        """Reasons where they are given first; later, where that is; at: whose numbers they are."""
        if at and not self._numbers:
            return ()
        if kind not in self._explained:
            self._explained[kind] = at
            return lines
        first = self._explained[kind]
        return (f"The reasons of the numbers: {first}.",) if first else ()
