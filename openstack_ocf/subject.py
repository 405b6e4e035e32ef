"""What a check of the node looks at: the services of the description, the CIB, or the node."""

from __future__ import annotations

import os
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentlib.errors import AgentError
from agentlib.parameters import Values

from . import agents, cib, configuration
from .agents import Agent
from .configuration import Configuration
from .description import Address, Description
from .survey import Survey
from .vips import Place, address, places
from .words import shown

BINARIES = ("/usr/bin", "/usr/sbin", "/usr/local/bin")


@dataclass(frozen=True)
class Subject:
    """A service of this node, with its configuration.

    vips: the virtual IPs by which clients reach it.
    mounted: folders that a Filesystem resource mounts before it starts.
    proxy: the configuration of the haproxy that has its port at the virtual IPs; empty without.
    contained: whether that haproxy runs in a container.
    """

    agent: Agent
    parameters: Mapping[str, str]
    config: Configuration
    vips: tuple[Address, ...] = ()
    port: int = 0
    active_active: bool = False
    ha: bool = True
    mounted: tuple[str, ...] = ()
    proxy: str = ""
    contained: bool = False

    @property
    def project(self) -> str:
        """As its options and packages are called."""
        return project(self.agent)

    def parameter(self, name: str) -> str:
        """A parameter of the agent: the given value, else the default."""
        return self.parameters.get(name) or self.agent.defaults.get(name, "")


@dataclass(frozen=True)
class Surroundings:
    """What is known of the cluster.

    nodes: names of its nodes, and this one's. virtual: the virtual IPs of all resources and of
    the description. own: this node's name, and its addresses but these. keystone: hosts at which
    Keystone is highly available. live: whether the cluster has answered.
    """

    nodes: frozenset[str]
    virtual: frozenset[str]
    own: frozenset[str]
    keystone: frozenset[str] = field(default_factory=frozenset)
    live: bool = False


def project(agent: Agent) -> str:
    """The project that an agent's daemon is of, by the folder of its configuration."""
    found = re.match(r"/etc/([\w-]+)/", agent.defaults.get("config", ""))
    return found[1] if found else agent.name.partition("-")[0]


def described(description: Description, root: ET.Element | None, *, own: bool) -> list[Subject]:
    """The services of a description; the CIB adds what is mounted before each."""
    found = []
    place_of: dict[str, Place] = {one.agent.name: place for place in places(description)
                                  for one in place.services}
    mounted = {} if root is None else dict(_mounts(root))
    for service in (one for one in description.services if not one.agent.kind):
        place = place_of.get(service.agent.name)
        found.append(Subject(
            service.agent, service.parameters,
            _configuration(service.agent, service.parameters, own),
            vips=tuple(vip.address for vip in place.vips) if place else (),
            port=service.port, active_active=service.active_active, ha=description.ha,
            mounted=tuple(mounted.get(service.agent.name, ())),
            proxy=place.proxy.config if place and place.proxy and service in place.balanced
            else "",
            contained=bool(place and place.proxy and place.proxy.agent.bundled)))
    return found


def clustered(root: ET.Element, *, own: bool) -> list[Subject]:
    """The services that the CIB has, each with the virtual IPs that it is tied to."""
    mounted = dict(_mounts(root))
    found = []
    for one in Survey(root).services:
        if one.primitive is None:
            continue
        parameters = cib.parameters(one.primitive)
        vips = [vip for held in one.addresses if (vip := address(held.address))]
        found.append(Subject(
            one.agent, parameters, _configuration(one.agent, parameters, own), vips=tuple(vips),
            port=one.agent.port, active_active=bool(one.clone),
            mounted=tuple(mounted.get(one.agent.name, ()))))
    return found


def installed(*, own: bool) -> list[Subject]:
    """The services whose daemon and configuration are on this node."""
    found = []
    for agent in filter(None, map(agents.get, agents.names())):
        config = agent.defaults.get("config", "")
        binary = agent.defaults.get("binary", "")
        if not agent.gone and config and os.path.isfile(config) and any(
                os.path.isfile(os.path.join(folder, binary)) for folder in BINARIES):
            found.append(Subject(agent, {},
                                 _configuration(agent, {"config": config}, own), port=agent.port))
    return found


def _configuration(agent: Agent, parameters: Mapping[str, str], own: bool) -> Configuration:
    """What the daemon is started with, as the agent does it."""
    daemon = agents.declaration(agent.name).manages.daemon
    values = Values(daemon.parameters, {name: text for name, text in parameters.items() if text})
    try:
        files = daemon.files(values)
    except AgentError as error:
        path = shown(values.text("config"))
        return Configuration(project(agent), (path,), {}, {path: str(error)})
    folders: list[str] = []
    try:
        words = shlex.split(values.text("additional_parameters"))
    except ValueError:
        words = []
    for word, following in zip(words, [*words[1:], ""]):
        option, equals, value = word.partition("=")
        value = value if equals else following
        if option == "--config-file":
            files.append(value)
        elif option == "--config-dir":
            folders.append(value)
    return configuration.read(project(agent), files, folders, own=own,
                              program=values.text("binary"))


def _mounts(root: ET.Element) -> Sequence[tuple[str, list[str]]]:
    """Types of our primitives in groups, with the folders that are mounted before each."""
    found = []
    for group in root.iter("group"):
        folders: list[str] = []
        for primitive in group.iter("primitive"):
            if primitive.get("type") == "Filesystem":
                folders.append(cib.parameters(primitive).get("directory", ""))
            elif primitive.get("provider") == "openstack":
                found.append((primitive.get("type", ""), list(folders)))
    return found
