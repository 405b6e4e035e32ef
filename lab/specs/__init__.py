"""What a lab knows of each project of OpenStack: one Spec each, in a module for each group.

Read by `lab.settings`, and through it by all that makes or runs a lab. The APIs of Keystone, Glance
and Cinder are in every lab; a lab has the further projects that it is initialised with, and with
any of them a RabbitMQ. What the agents declare of the daemons (names, ports, files) is read from
there (`lab.declared`), and their packages are in `lab.packages`.

A service of a lab is one process with its children. It has the name of its agent; those that are in
every lab have the name of their project: keystone, glance, cinder.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab import declared
from lab.packages import MACHINE, OPENVSWITCH, PACKAGES, RABBITMQ
from lab.specs import base, compute, network, orchestration, storage, telemetry
from lab.specs.spec import Spec

BASE = tuple(base.SPECS)
"""The projects that are in every lab, in the order of their start."""
SPECS: dict[str, Spec] = {
    **base.SPECS,
    **compute.SPECS,
    **network.SPECS,
    **storage.SPECS,
    **orchestration.SPECS,
    **telemetry.SPECS,
}
"""The Spec of each project."""
FURTHER = tuple(name for name, spec in SPECS.items() if spec.daemons)
"""The projects that a lab has on request. Of Cinder these are its workers."""
USUAL = (
    "placement", "nova", "neutron", "heat", "cinder", "ceilometer", "manila", "designate",
)  # fmt: skip
"""Those of most labs that have further ones: their databases are made once, and copied."""
WSGI_ONLY = tuple(agent for spec in SPECS.values() for agent in spec.wsgi_only)
"""The agents whose daemon Debian has as a WSGI script alone."""


def agent(service: str) -> str:
    """The agent of a service."""
    return SPECS[service].api if service in BASE else service


def service(agent: str) -> str:
    """The service of an agent."""
    return next((name for name in BASE if SPECS[name].api == agent), agent)


def project(service: str) -> str:
    """The project of a service, or of a project."""
    if service in SPECS:
        return service
    return next(name for name, spec in SPECS.items() if service in spec.daemons)


def port(service: str) -> int:
    """The port that a service has by default; 0 for one without a port."""
    return int(declared.daemon(agent(service)).port)


def packages(projects: Sequence[str] = ()) -> tuple[str, ...]:
    """The Debian packages of what is in every lab, and of some further projects."""
    always = [PACKAGES[SPECS[name].api] for name in BASE]
    if not projects:
        return tuple(always)
    found = {PACKAGES[daemon] for name in projects for daemon in SPECS[name].daemons}
    if "neutron" in projects:
        found |= {OPENVSWITCH, *MACHINE}
    return (*always, RABBITMQ, "uwsgi-plugin-python3", *sorted(found))
