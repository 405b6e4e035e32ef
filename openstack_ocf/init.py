"""A description of what is there: from a CIB and the services' configuration.

What a description cannot say is said in comments. Called by the verb init; a Juju bundle is read by
`bundle`. No secret is in what is written: a CIB's passwords are never taken.
"""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from . import agents, behind, configs, names, vips
from . import cib as cibs
from .agents import Agent
from .description import OF_THE_PLAN, Service
from .draft import Draft, Section
from .errors import CannotLookError
from .keys import FACES, SECRETS
from .survey import TRIPLEO, Address, Found, Survey
from .words import shown


def draft(root: ET.Element, source: str, *, here: bool) -> Draft:
    """The description of a CIB; CannotLookError where nothing in it is known.

    here: this machine is a node of it, so that its configuration files say more.
    """
    return _Maker(root, source, here=here).draft()


def section_name(agent: Agent) -> str:
    """What its section is called: the project, for the project's API."""
    project = agent.name.partition("-")[0]
    named = agents.named(project)
    return project if named and named.name == agent.name else agent.name


_UNMANAGED = ("The service itself is not in the CIB, as Juju's charms and TripleO have it: it runs "
              "on all nodes. The plan has it as a clone; its own unit must be disabled then.")


class _Maker:
    def __init__(self, root: ET.Element, source: str, *, here: bool) -> None:
        self._survey = Survey(root)
        self._here = here
        self._draft = Draft(source)
        self._root = root
        self._front: behind.Front | None = None

    def draft(self) -> Draft:
        survey, made = self._survey, self._draft
        if self._here:
            self._by_configuration()
        self._others()
        if not survey.services and not survey.addresses:
            raise CannotLookError(
                f"nothing in {made.source} is known: no service of OpenStack, and no virtual IP")
        if survey.nodes:
            made.default.values["nodes"] = " ".join(survey.nodes)
        self._credentials()
        shared: dict[tuple[str, ...], list[Found]] = {}
        for found in survey.services:
            key = tuple(one.id for one in found.addresses) or (f"\0{found.agent.name}",)
            shared.setdefault(key, []).append(found)
        for found in survey.services:
            if sum(1 for one in survey.services if one.agent == found.agent) > 1:
                made.left.append(f"{found.id}: there are several of {found.agent.name}, and a "
                                 "description has one of each. The first is described.")
            if found.agent.name in [one.agent.name for one in survey.services[
                    :survey.services.index(found)]]:
                continue
            key = tuple(one.id for one in found.addresses) or (f"\0{found.agent.name}",)
            self._service(found, shared[key])
        self._dns()
        self._left()
        return made

    # --- one service ------------------------------------------------------------------------

    def _service(self, found: Found, sharing: Sequence[Found]) -> None:
        section = self._draft.section(section_name(found.agent))
        values = section.values
        if found.agent.api:
            self._addresses(found, sharing, section)
        if found.agent.balances:
            self._haproxy(found, section)
            return
        if self._front and found in self._front.behind:
            values["mode"] = "active-active"
            section.remarks += [] if found.id else [_UNMANAGED]
            if behind.port(found):
                values["port"] = behind.port(found)
        elif found.agent.api and not found.agent.kind:
            self._placed(found, section)
        elif found.group and not found.agent.api:
            section.remarks.append(f"It is in the group {found.group}; the plan has a worker by "
                                   "itself.")
        if not found.agent.api and not found.clone and found.agent.nodes != "one":
            section.remarks.append("It runs on one node at a time; the plan has a clone of it on "
                                   "all nodes.")
        if found.id and found.id != f"p_{found.agent.name}":
            values["id"] = found.id
        if found.clone and found.clone != f"cl_{(found.id).removeprefix('p_')}":
            values["clone"] = found.clone
        if found.primitive is not None:
            self._parameters(found, section)
        if found.agent.name == "glance-api":
            self._storage(section)

    def _addresses(self, found: Found, sharing: Sequence[Found], section: Section) -> None:
        mine, values = found.addresses, section.values
        usual = f"p_ip_{found.agent.name}"
        if len(sharing) > 1:
            name = self._survey.address_group(sharing[0]) or mine[0].id
            name = re.sub("^(g_ip_|p_ip_|p_)", "", name)
            values["shared_vip_group"], usual = name, f"p_ip_{name}"
        if not mine or found is not sharing[0]:
            return
        values["vip"] = " ".join(one.address for one in mine)
        if [one.id for one in mine] != self._usual_ids(found, mine, usual):
            values["vip_id"] = " ".join(one.id for one in mine)
        for key, given in (("vip_iface", [one.iface for one in mine]),
                           ("vip_cidr", [one.prefix for one in mine])):
            if len(set(given)) == 1 and given[0]:
                values[key] = given[0]
            elif any(given):
                section.remarks.append(f"The addresses differ in {key}: {', '.join(given)}.")
        section.remarks += [f"{one.id} is of IPv6addr; the plan has IPaddr2, and to change that "
                            "restarts it." for one in mine if one.agent == "IPv6addr"]

    def _usual_ids(self, found: Found, mine: Sequence[Address], usual: str) -> list[str]:
        bare = Service("", found.agent, vips=tuple(one.address for one in mine))
        return [one.id for one in vips.ids(bare, usual.removeprefix("p_ip_"))]

    def _placed(self, found: Found, section: Section) -> None:
        """Its group, whether it is a clone, and what stands in front of it."""
        values = section.values
        name = found.agent.name
        if found.primitive is None:
            values["mode"] = "active-active"
            section.remarks.append(_UNMANAGED)
            for proxy in self._survey.haproxy:
                if not proxy.startswith("cl_") or f"_{section.name}_" in proxy:
                    section.remarks.append(f"In front of it is {proxy}, which the plan leaves "
                                           "alone; see that the ports stay apart.")
        elif found.clone:
            values["mode"] = "active-active"
        members = self._survey.address_group(found) if found.addresses else ""
        if found.group and (found.group != f"g_{name}" or found.companions) and found.addresses:
            values["group"] = found.group
        elif members and (found.clone or found.primitive is None) and (
                members != f"g_ip_{values.get('shared_vip_group', name)}"
                or len(found.addresses) < 2):
            values["group"] = members
        if not found.addresses and not found.names:
            section.remarks.append("No virtual IP and no name is tied to it: set vip, or dns_ha.")

    def _parameters(self, found: Found, section: Section) -> None:
        assert found.primitive is not None  # noqa: S101 - asked by the caller
        for name, value in cibs.parameters(found.primitive).items():
            if name in OF_THE_PLAN or name in SECRETS:
                continue
            if name not in found.agent.defaults and found.agent.kind:
                section.remarks.append(f"{shown(name)} has no place here; what the CIB has of it "
                                       "stays.")
            elif name not in found.agent.defaults:
                section.remarks.append(f"The agent has no parameter {shown(name)}; it is left out.")
            elif not value.isprintable():
                section.remarks.append(f"{name} has invisible characters; it is left out.")
            elif value != found.agent.defaults[name] and not self._follows(found, name, value):
                section.values[name] = value

    def _follows(self, found: Found, name: str, value: str) -> bool:
        """Whether the plan says it by itself: where uWSGI listens, and RabbitMQ."""
        if name == "ip" and found.agent.kind:
            return value in [one.address for one in found.addresses]
        if name != "bind" or found.agent.listen or len(found.addresses) != 1 or found.clone:
            return False
        address = found.addresses[0].address
        host = f"[{address}]" if ":" in address else address
        return value == f"{host}:{found.agent.port}"

    def _config(self, found: Found) -> str:
        given = cibs.parameters(found.primitive) if found.primitive is not None else {}
        return given.get("config") or found.agent.defaults.get("config", "")

    def _storage(self, section: Section) -> None:
        found = next(one for one in self._survey.services if one.agent.name == "glance-api")
        kind, remark = configs.storage(self._config(found)) if self._here else ("", "")
        if kind:
            section.values["storage"] = kind
        section.remarks += [remark] if remark else []

    # --- what the configuration says --------------------------------------------------------

    def _by_configuration(self) -> None:
        """Free addresses that a service listens on, or haproxy on the port of one."""
        survey = self._survey
        for found in survey.services:
            if found.agent.api and not found.addresses and not found.names:
                host = configs.listens(found.agent, self._config(found)).strip("[]")
                for one in survey.free:
                    if _same(host, one.address):
                        survey.take(found, one)
        free = survey.free
        paths = [path for proxy in survey.foreign if proxy.agent.balances
                 for path in behind.paths_of(proxy)]
        for address, port in configs.behind_haproxy(dict.fromkeys((*paths, *configs.HAPROXY))):
            held = next((one for one in free if _same(address, one.address)), None)
            agent = _by_port(port)
            if held and agent:
                found = survey.of(agent)
                if held not in found.addresses:
                    survey.take(found, held)

    # --- what others' agents run ------------------------------------------------------------

    def _others(self) -> None:
        """MariaDB and RabbitMQ at a virtual IP, and a haproxy with services behind it."""
        survey = self._survey
        for one in survey.foreign:
            if not one.agent.balances and not one.clone and one.addresses:
                survey.include(one)
        self._front = found = behind.front(survey, here=self._here)
        if found:
            for one in (*found.behind, *found.beside):
                one.addresses = list(found.proxy.addresses)
            survey.include(found.proxy, (*found.behind, *found.beside))

    def _haproxy(self, found: Found, section: Section) -> None:
        assert self._front is not None  # noqa: S101 - it is what is found
        values = section.values
        members = self._survey.address_group(found) or found.group
        if members and (members != f"g_ip_{values['shared_vip_group']}"
                        or len(found.addresses) < 2):
            values["group"] = members
        if found.id != "p_haproxy":
            values["id"] = found.id
        given, remarks = behind.section(self._front)
        values.update(given)
        section.remarks += remarks

    # --- the rest ---------------------------------------------------------------------------

    def _credentials(self) -> None:
        users, default = [], self._draft.default
        for found in self._survey.services:
            given = cibs.parameters(found.primitive) if found.primitive is not None else {}
            if given.get("os_username"):
                project = given.get("os_project_name") or given.get("os_tenant_name", "")
                users.append((given["os_username"], project, given.get("os_auth_url", "")
                              or given.get("keystone_get_token_url", "").removesuffix("/tokens")))
            if given.get("os_region_name"):
                default.values.setdefault("region", given["os_region_name"])
        if not users:
            return
        name, project, url = users[0]
        if url and url.isprintable():
            default.values["auth_url"] = url
        default.remarks.append(
            f"The monitors ask as {shown(name)} in the project {shown(project)}. Write an openrc "
            "file with this user, which root alone can read, and name it here: credentials = "
            "/root/monitor.openrc. The password in the CIB is not taken.")
        if len({user[:2] for user in users}) > 1:
            default.remarks.append("Not all of them: " + ", ".join(
                sorted({shown(user[0]) for user in users})) + ".")

    def _dns(self) -> None:
        values = self._draft.dns.values
        for found in self._survey.services:
            section = self._draft.section(section_name(found.agent))
            for name in found.names:
                section.values["dns_ha"] = "true"
                section.values[f"os_{name.face}_hostname"] = name.hostname
                if name.agent == "ocf:maas:dns":
                    values.update(agent="maas", maas_url=name.parameters.get("maas_url", ""))
                else:
                    values.update({key: name.parameters[key] for key in
                                   ("server", "keyfile", "ttl") if name.parameters.get(key)})
                words = values.get("addresses", "").split()
                words += [f"{node}={address}" for node, address in name.by_node.items()]
                if words:
                    values["addresses"] = " ".join(dict.fromkeys(words))
                if found.primitive is None:
                    section.values["mode"] = "active-active"
            self._networks(found, section)

    def _networks(self, found: Found, section: Section) -> None:
        """Which of a node's addresses a name leads to, where it is not the first."""
        words = self._draft.dns.values.get("addresses", "").split()
        everything = [(word.partition("=")[0], word.partition("=")[2]) for word in words]
        first = dict(reversed(everything))
        for name in found.names:
            if all(first.get(node) == own for node, own in name.by_node.items()):
                continue
            mine = set(name.by_node.values())
            network = names.narrowest(mine, {own for _, own in everything} - mine)
            if network and name.face in FACES:
                section.values[f"os_{name.face}_network"] = network
                section.remarks.append(f"os_{name.face}_network is as narrow as its addresses; "
                                       "write the one that it is.")
            else:
                section.remarks.append(
                    f"{shown(name.hostname)} leads to addresses of another network: set "
                    "os_internal_network, os_public_network, os_admin_network.")

    def _left(self) -> None:
        survey, left = self._survey, self._draft.left
        free = survey.free
        for proxy in [one for one in survey.foreign if one.agent.balances]:
            mine = [one for one in free if one in proxy.addresses]
            free = [one for one in free if one not in mine]
            if mine:
                left.append(_unbalanced(proxy, mine))
        for one in free:
            whose = ", as TripleO names them" if TRIPLEO.match(one.id) else ""
            left.append(f"{one.id} ({one.address}): a virtual IP that no service here is tied to"
                        f"{whose}. To describe it, in the section of its service: vip = "
                        f"{one.address}, and vip_id = {one.id}.")
        if survey.others:
            left.append(f"Not described, and left alone: {', '.join(survey.others)}.")


def _unbalanced(proxy: Found, mine: Sequence[Address]) -> str:
    """A haproxy with virtual IPs and no service of ours behind it, and how it is described."""
    whose = ", as TripleO names them" if any(TRIPLEO.match(one.id) for one in mine) else ""
    kind = f", agent = {proxy.agent.kind}" if proxy.agent.bundled else ""
    several = "virtual IPs" if len(mine) > 1 else "a virtual IP"
    return (f"{', '.join(f'{one.id} ({one.address})' for one in mine)}: {several} of {proxy.id}, a "
            f"haproxy with no service here behind it{whose}. With such services, which run on all "
            f"nodes, it is [haproxy] with vip = {' '.join(one.address for one in mine)}, vip_id = "
            f"{' '.join(one.id for one in mine)}{kind} and id = {proxy.id}; then shared_vip_group "
            "there and in each service.")


def _same(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def _by_port(port: int) -> Agent | None:
    """The API whose own port it is, if there is one alone."""
    found = [one for one in map(agents.get, agents.names())
             if one and one.port == port and not one.gone]
    return found[0] if len(found) == 1 else None
