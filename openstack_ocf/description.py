"""The description: which services are to be highly available, and how.

A file in oslo.config's syntax, read without oslo.config, which need not be on a node. What
cannot be read as the keys say is a finding with an id I1 to I5; all are told at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

from . import agents, foreign
from .agents import Agent
from .errors import DescriptionError
from .finding import ERROR, Finding
from .keys import DEFAULT, DNS, FACES, HAPROXY, OF_ALL, OF_OTHERS, SECRETS, SERVICE, Key
from .reading import content, parsed, reason, unquoted
from .words import hidden, nearest, shown

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
PATH = "/etc/openstack-ocf.conf"
LIMIT = 1 << 20
"""Bytes of a description; a larger file is none."""
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_NUMBERS = {"prefix": (0, 128), "port": (1, 65535), "seconds": (0, 86400)}
_KEYS = {"DEFAULT": DEFAULT, "dns": DNS}
OF_THE_PLAN = ("os_username", "os_project_name", "os_tenant_name", "os_auth_url",
                "keystone_get_token_url", "os_region_name", "os_user_domain_name",
                "os_project_domain_name", "os_domain", "os_cacert", "os_password", "os_token")
"""Parameters of an agent that do not stand in the description, since credentials says them."""


@dataclass(frozen=True)
class Service:
    """One section of a service. hostnames and networks are by face; parameters are the agent's.

    config, addresses: of haproxy, its configuration and each node's own address.
    """

    section: str
    agent: Agent
    vips: tuple[str, ...] = ()
    iface: str = ""
    cidr: str = ""
    unroutable: bool = False
    shared: str = ""
    active_active: bool = False
    dns_ha: bool = False
    hostnames: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""
    port: int = 0
    given_id: str = ""
    given_clone: str = ""
    vip_ids: tuple[str, ...] = ()
    group: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    addresses: tuple[tuple[str, Address], ...] = ()

    @property
    def id(self) -> str:
        """The id of its resource."""
        usual = f"{self.agent.name}-bundle" if self.agent.bundled else f"p_{self.agent.name}"
        return self.given_id or usual

    @property
    def clone(self) -> str:
        """The id of its clone; of a bundle its own."""
        if self.agent.bundled:
            return self.id
        return self.given_clone or f"cl_{self.id.removeprefix('p_')}"

    def parameter(self, name: str) -> str:
        """A parameter of the agent: the given value, else the default."""
        return self.parameters.get(name, self.agent.defaults.get(name, ""))


@dataclass(frozen=True)
class Description:
    """A description that could be read; dns is its section of that name, with its defaults."""

    path: str
    ha: bool
    nodes: tuple[str, ...]
    credentials: str
    auth_url: str
    region: str
    dns: Mapping[str, str]
    services: tuple[Service, ...]

    @property
    def addresses(self) -> Mapping[str, tuple[Address, ...]]:
        """Those of [dns] by node."""
        found: dict[str, tuple[Address, ...]] = {}
        for node, one in filter(None, map(_node_address, _list(self.dns.get("addresses", "")))):
            found[node] = (*found.get(node, ()), one)
        return found

    def where(self, section: str, key: str = "") -> str:
        """A place in it, for a finding."""
        return f"{self.path}:{section}/{key}" if key else f"{self.path}:{section}"


def read(path: str) -> Description:
    """Read a description; DescriptionError if it is none."""
    try:
        text = content(path, LIMIT)
        if b"\0" in text:
            raise ValueError("it is a binary file")
        sections = parsed(text, strict=True)
    except OSError as error:
        raise _unreadable(path, reason(error), "Name another with --description, or make one: "
                          "openstack-ocf sample.") from error
    except ValueError as error:
        raise _unreadable(path, str(error), "Write it as openstack-ocf sample does.") from error
    sections = {section: {key: unquoted(value) for key, value in options.items()}
                for section, options in sections.items()}
    return _Reader(path, sections).description()


def _unreadable(path: str, why: str, remedy: str) -> DescriptionError:
    return DescriptionError([Finding(
        "I1", ERROR, path, f"the description cannot be read: {why}", remedy)])


class _Reader:
    """The sections of one file on their way to a Description."""

    def __init__(self, path: str, sections: Mapping[str, Mapping[str, str]]) -> None:
        self._path = path
        self._sections = sections
        self._findings: list[Finding] = []

    def description(self) -> Description:
        default = self._values("DEFAULT", DEFAULT)
        dns = self._values("dns", DNS)
        services: list[Service] = []
        for section in self._sections:
            if section not in _KEYS:
                services += self._service(section, default)
        for service in services:
            if [one.agent for one in services].count(service.agent) > 1:
                self._found("I2", service.section, "",
                            f"two sections stand for the agent {service.agent.name}",
                            "Leave one of them.")
        if not services and not self._findings:
            self._found("I2", "", "", "no service is described",
                        "Add a section named after a service, as [glance].")
        if self._findings:
            raise DescriptionError(self._findings)
        return Description(
            self._path, ha=default["ha"].lower() in _TRUE,
            nodes=tuple(_list(default["nodes"])), credentials=default["credentials"],
            auth_url=default["auth_url"], region=default["region"],
            dns=dns if "dns" in self._sections else {}, services=tuple(services))

    def _service(self, section: str, default: Mapping[str, str]) -> Iterator[Service]:
        agent = agents.named(section) or foreign.get(
            section, self._sections[section].get("agent", ""))
        if agent is None:
            near = agents.like(section, foreign.names())
            self._found("I2", section, "", "no agent and no project has this name",
                        f"The nearest is [{near}]." if near else "docs/agents.md has them all.")
            return
        if agent.gone:
            self._found("I2", section, "", f"OpenStack has no such daemon since {agent.gone}",
                        "Remove the section.")
            return
        parameters = [name for name in agent.defaults if name not in OF_THE_PLAN]
        keys = [key for key in SERVICE if (key.name in OF_OTHERS if agent.kind else
                                           agent.api or key.name in OF_ALL)]
        if agent.balances:
            keys = [*(key for key in keys if key.name != "port"), *HAPROXY]
        values = self._values(section, keys, parameters, agent)
        known = {key.name for key in keys}
        yield Service(
            section, agent,
            vips=tuple(_list(values.get("vip", ""))), iface=values.get("vip_iface", ""),
            cidr=values.get("vip_cidr", ""),
            unroutable=values.get("allow_unroutable_vip", "").lower() in _TRUE,
            shared=values.get("shared_vip_group", ""),
            active_active=not agent.kind and (
                values.get("mode") or default["mode"]) == "active-active",
            dns_ha=values.get("dns_ha", "").lower() in _TRUE,
            hostnames=_given(values, "hostname"), networks=_given(values, "network"),
            storage=values.get("storage", ""), port=int(values.get("port") or agent.port),
            given_id=values.get("id", ""), given_clone=values.get("clone", ""),
            vip_ids=tuple(_list(values.get("vip_id", ""))), group=values.get("group", ""),
            parameters={name: value for name, value in self._sections[section].items()
                        if name in parameters and name not in known},
            config=values.get("config", ""),
            addresses=tuple(filter(None, map(_node_address, _list(values.get("addresses", ""))))))

    def _values(self, section: str, keys: Sequence[Key], parameters: Sequence[str] = (),
                agent: Agent | None = None) -> dict[str, str]:
        """The values of a section by key, each as its kind wants it; else there is a finding."""
        values = {key.name: key.default for key in keys}
        by_name = {key.name: key for key in keys}
        for name, value in self._sections.get(section, {}).items():
            if name in SECRETS:
                self._found("I5", section, name, "a secret stands in the description",
                            "Remove it; [DEFAULT] credentials names a file that has it.")
            elif not value.isprintable():
                self._found("I4", section, name, f"{shown(hidden(value))} has invisible characters",
                            "Write it anew.")
            elif hidden(value) != value:
                self._found("I5", section, name, f"a secret stands in the description: "
                            f"{shown(hidden(value))}", "Take it out: all who may read the CIB "
                            "would see it.")
            elif name in by_name:
                wrong = _wrong(by_name[name].kind, value) if value else ""
                if wrong:
                    self._found("I4", section, name, f"{shown(value)} is {wrong}",
                                f"As in: {name} = {by_name[name].example}")
                else:
                    values[name] = value or by_name[name].default
            elif name not in parameters:
                self._unknown(section, name, [*by_name, *parameters], agent)
        return values

    def _unknown(self, section: str, name: str, known: Sequence[str], agent: Agent | None) -> None:
        if agent and not agent.api and name in {key.name for key in SERVICE}:
            self._found("I3", section, name, f"{agent.name} is a worker, which has no address",
                        "Remove the key.")
            return
        if agent and agent.kind and name in {key.name for key in SERVICE}:
            why = ("has the ports of the services behind it" if name == "port" else
                   "runs on one node at a time, with a virtual IP")
            self._found("I3", section, name, f"{agent.name} {why}", "Remove the key.")
            return
        # Written as in the charm, with hyphens.
        near = nearest(name.replace("-", "_"), known)
        self._found("I3", section, name, "there is no such key",
                    f"The nearest is {near}." if near else "openstack-ocf sample shows them all.")

    def _found(self, kind: str, section: str, key: str, seen: str, remedy: str) -> None:
        where = f"{self._path}:{shown(section)}" if section else self._path
        self._findings.append(
            Finding(kind, ERROR, f"{where}/{shown(key)}" if key else where, seen, remedy))


def _list(text: str) -> list[str]:
    return re.split(r"[\s,]+", text.strip(" ,\t")) if text.strip(" ,\t") else []


def _given(values: Mapping[str, str], what: str) -> dict[str, str]:
    faces = (*FACES, "access")
    found = {face: values.get(f"os_{face}_{what}", "") for face in faces}
    return {face: value for face, value in found.items() if value}


def _wrong(kind: str, value: str) -> str:
    """What is wrong with a value of a kind; empty if nothing is."""
    if "|" in kind:
        return "" if value in kind.split("|") else f"none of {kind.replace('|', ', ')}"
    if kind == "boolean":
        return "" if value.lower() in (*_TRUE, *_FALSE) else "neither true nor false"
    if kind == "path":
        return "" if value.startswith("/") else "no absolute path"
    if kind in _NUMBERS:
        low, high = _NUMBERS[kind]
        good = value.isascii() and value.isdigit() and len(value) < 6 and low <= int(value) <= high
        return "" if good else f"no number from {low} to {high}"
    if kind == "network":
        try:
            ipaddress.ip_network(value)
        except ValueError:
            return "no network, such as 10.0.0.0/24"
    if kind in ("id", "ids"):
        words = _list(value) if kind == "ids" else [value]
        return "" if all(re.fullmatch(r"[A-Za-z_][\w.-]*", one) for one in words) else (
            "no id of a resource")
    if kind == "addresses":
        return next((f"no NODE=ADDRESS, in {shown(one)}" for one in _list(value)
                     if not _node_address(one)), "")
    return ""


def _node_address(word: str) -> tuple[str, Address] | None:
    node, equals, text = word.partition("=")
    try:
        return (node, ipaddress.ip_address(text)) if node and equals else None
    except ValueError:
        return None
