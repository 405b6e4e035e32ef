"""The services whose failovers are measured: how each is configured, and what its client asks.

Used by `bench.course`, `bench.failover` and `bench.failover_page`. The clients' requests are those
to a whole controller (`lab.controller`); Pacemaker's configuration is what `openstack-ocf plan`
makes of a description.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab import declared, playground
from lab.agents import SERVICES
from lab.controller import PARTS
from lab.openstack import ControlPlane
from lab.specs import FURTHER
from lab.web import Server

PASSIVE, ACTIVE, CLONE, ONE = "active/passive", "active/active", "clone", "on one node"
KILLED, HUNG, LOST, MOVED = "killed", "hung", "node lost", "moved by hand"
FAULTS = {
    PASSIVE: (KILLED, HUNG, LOST, MOVED),
    ACTIVE: (KILLED, HUNG, LOST, MOVED),
    CLONE: (KILLED, HUNG),  # the instance of one node; the others go on
    ONE: (KILLED, HUNG, LOST),
}
"""The faults of a service, by how it runs."""

VIPS = {
    "glance": "10.99.0.101",
    "cinder": "10.99.0.102",
    "keystone": "10.99.0.103",
    "placement": "10.99.0.104",
    "nova": "10.99.0.105",
    "neutron": "10.99.0.106",
    "heat": "10.99.0.107",
}
PROJECTS = tuple(name for name in FURTHER if name in VIPS)
ALL = "0.0.0.0"  # noqa: S104 - what a clone listens on


@dataclass(frozen=True)
class Target:
    """A service as it is measured.

    kind: how it runs. beside: what runs outside of the nodes, besides database, RabbitMQ and
    Keystone, because without it the service does not start, or does not serve its client.
    """

    name: str
    agent: str
    kind: str
    beside: tuple[str, ...] = ()

    @property
    def project(self) -> str:
        """Its project."""
        return PARTS[self.agent].project

    @property
    def resource(self) -> str:
        """The name of its resource."""
        return f"p_{self.agent}"

    @property
    def address(self) -> str:
        """The resource name of its virtual IP; "" where it has none."""
        return f"p_ip_{self.agent}" if self.api else ""

    @property
    def moved(self) -> str:
        """The resource that an operator moves."""
        return self.address if self.kind == ACTIVE else f"g_{self.agent}"

    @property
    def api(self) -> bool:
        """Whether it has a virtual IP, to which a client sends requests."""
        return self.kind in (PASSIVE, ACTIVE)

    @property
    def path(self) -> str:
        """The path that a client requests; {project} is the client's. "" for a worker."""
        return PARTS[self.agent].path

    def server(self, namespace: str) -> Server:
        """The address of an API for its client."""
        return Server(VIPS[self.project], declared.daemon(self.agent).port, namespace)

    def described(self, cloud: ControlPlane) -> str:
        """Its description, as an operator would write it."""
        values = {}
        if self.api:
            values["vip"] = VIPS[self.project]
        if self.kind == ACTIVE:
            values["mode"] = "active-active"
        if self.project == "glance":
            values["storage"] = "shared-file"
        values.update(self._files(cloud))
        lines = "".join(f"{key} = {value}\n" for key, value in values.items())
        return f"[DEFAULT]\ncredentials = {cloud.directory}/openrc-monitor\n[{self.agent}]\n{lines}"

    def secrets(self, cloud: ControlPlane) -> dict[str, str]:
        """The parameters of its resource that no description has."""
        known = "os_password" in declared.defaults(self.agent)
        return {"os_password": cloud.credentials.password} if known else {}

    def _files(self, cloud: ControlPlane) -> dict[str, str]:
        if self.kind == ACTIVE:
            changed = cloud.variant(self.project, f"{self.agent}-everywhere", bind_host=ALL)
            return {"config": str(changed)}
        return cloud.settings.parameters(self.agent)


def _targets() -> list[Target]:
    """All of them, in the order in which they are measured: APIs, then workers."""
    beside = {
        "heat-api": ("heat-engine",),
        # These two ask Placement for its versions before they begin.
        "nova-conductor": ("placement-api",),
        "nova-scheduler": ("placement-api",),
        "cinder-volume": ("cinder", "cinder-scheduler"),
    }
    found = []
    for agent, part in PARTS.items():
        if part.path and agent != "nova-novnc":  # a console is a clone without an address
            found.append(Target(agent, agent, PASSIVE, beside.get(agent, ())))
            if agent == f"{SERVICES[0]}-api":
                found.append(Target(f"{agent}-active", agent, ACTIVE))
    for agent in (name for name in PARTS if name not in {target.agent for target in found}):
        kind = ONE if declared.service(agent)._one else CLONE
        found.append(Target(agent, agent, kind, beside.get(agent, ())))
    return found


TARGETS = {target.name: target for target in _targets()}
"""The targets by their names in --services."""


def monitors(interval: int, level: int, timeout: int) -> playground.Monitors:
    """One monitor operation of this kind in the place of all that a plan has."""

    def one(resource: str, operation: str) -> str:
        if playground.processes_only(operation):
            return ""
        return f"op monitor interval={interval}s timeout={timeout}s OCF_CHECK_LEVEL={level}"

    return one
