"""The data plane stays: agents of Neutron and nova-compute come and go, leases and machines do not.

The machines are network namespaces with ports of Neutron's (real.machine), on an Open vSwitch that
forwards in its own process; the router is a highly available one, so that keepalived runs, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness import eventually
from lab import network
from lab.openstack import ControlPlane
from lab.packages import every
from lab.process import Process
from lab.services import running
from lab.settings import DAEMONS, OVS
from real.fleet import Fleet, codes, expect_all, fleet
from real.kit import PATIENCE, as_admin
from real.machine import Machine

pytestmark = pytest.mark.real

FORWARDING = ("haproxy", "keepalived", "radvd")
"""What agents of Neutron start, and which has to serve on, as /proc calls it."""

LEASES = "dnsmasq"
"""The same, but the DHCP agent replaces it with its first synchronisation after a start."""


@pytest.fixture(scope="module")
def plane(need_packages: object, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with all projects, in which nothing runs but Neutron's server and Open vSwitch."""
    need_packages(every(), "make control-plane")  # type: ignore[operator]
    with ControlPlane.temporary(db="mysql", workers=1, projects=[*DAEMONS]) as plane:
        plane.up("db", "rabbit", "keystone", "neutron-rpc-server", "neutron-server", OVS)
        yield plane


@pytest.fixture(scope="module")
def agents(
    plane: ControlPlane, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Neutron's agents, running; each has reported to Neutron's server."""
    folder = tmp_path_factory.mktemp("agents")
    with fleet(plane, home, folder, network.AGENTS) as agents:
        for member in agents.members.values():
            member.resource.prefix = tuple(network.argv(node(plane), ()))
        agents.serve()
        eventually(lambda: len(neutron(plane, "GET", "agents")["agents"]) == 4, PATIENCE)
        yield agents


@pytest.fixture(scope="module")
def machines(
    plane: ControlPlane, agents: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Machine]]:
    """Two machines in two networks with a router between them, each with its lease."""
    folder = tmp_path_factory.mktemp("machines")
    router = create(plane, "router", ha=True)
    with ExitStack() as stack:
        machines = []
        for number in (1, 2):
            name = f"machine{number}"
            one = create(plane, "network")
            attach(plane, router, one, ip_version=4, cidr=f"10.9.{number}.0/24")
            port = create(
                *(plane, "port"),
                **{"name": name, "network_id": one["id"], "binding:host_id": "node"},
            )
            assert "ovs" == port["binding:vif_type"]
            machine = Machine(node(plane), port, folder)
            machines.append(stack.enter_context(machine.running(plane.settings)))
        slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
        attach(plane, router, one, ip_version=6, cidr="fd00:9::/64", **slaac)
        eventually(lambda: all(machine.has_lease() for machine in machines), PATIENCE)
        eventually(lambda: machines[0].reaches(machines[1].address), PATIENCE)
        eventually(lambda: {*FORWARDING, LEASES} <= {*serving(plane)}, PATIENCE)
        yield machines


def test_agents_are_stopped_killed_and_started(
    plane: ControlPlane, agents: Fleet, machines: list[Machine]
) -> None:
    """While Neutron's agents are stopped, killed and started, leases are renewed and no ping is
    lost; what they have started lives on, and stop leaves nothing of the agents themselves."""
    forwarding, leases = pids(plane, *FORWARDING), pids(plane, LEASES)

    def all_is_there() -> None:
        assert (forwarding, leases) == (pids(plane, *FORWARDING), pids(plane, LEASES))
        for machine in machines:
            machine.renew()

    with machines[0].pinging(machines[1].address), machines[1].pinging(machines[0].address):
        expect_all(agents.act("stop", timeout=120), 0)
        eventually(lambda: not agents.left(), PATIENCE)  # root's helpers end by themselves
        expect_all(agents.act("monitor"), 7)
        all_is_there()

        agents.serve()
        eventually(lambda: replaced(leases, pids(plane, LEASES)), PATIENCE)
        leases = pids(plane, LEASES)
        all_is_there()

        for name in network.AGENTS:
            agents[name].kill_master()
        assert codes(agents.act("monitor")) <= {1, 7}
        all_is_there()
        expect_all(agents.act("stop", timeout=120), 0)
        eventually(lambda: not agents.left(), PATIENCE)  # root's helpers end by themselves
        all_is_there()

        agents.serve()
        eventually(lambda: replaced(leases, pids(plane, LEASES)), PATIENCE)
        leases = pids(plane, LEASES)
        all_is_there()


# ---- what of it is Neutron's


def neutron(plane: ControlPlane, method: str, path: str, body: object = None) -> Any:
    return as_admin(plane, "neutron-server", method, f"/v2.0/{path}", body)


def create(plane: ControlPlane, kind: str, **values: object) -> dict[str, Any]:
    """One thing more in Neutron; what it says of it."""
    answer = neutron(plane, "POST", f"{kind}s", {kind: values})
    assert kind in answer, answer
    return dict(answer[kind])


def attach(
    plane: ControlPlane, router: dict[str, Any], one: dict[str, Any], **values: object
) -> None:
    """One more subnet in a network, with the router in it."""
    subnet = create(plane, "subnet", network_id=one["id"], **values)
    path = f"routers/{router['id']}/add_router_interface"
    assert "port_id" in neutron(plane, "PUT", path, {"subnet_id": subnet["id"]})


def node(plane: ControlPlane) -> Process:
    """What runs first on the node of Neutron's agents."""
    return running(plane.settings, OVS)[0]


def serving(plane: ControlPlane) -> dict[str, set[tuple[int, int]]]:
    """The processes on the node, by the names of their programs."""
    found: dict[str, set[tuple[int, int]]] = {}
    for one in network.members(plane.settings):
        try:
            name = Path(f"/proc/{one.pid}/comm").read_text().strip()
        except OSError:  # it has ended meanwhile
            continue
        found.setdefault(name, set()).add((one.pid, one.birth))
    return found


def pids(plane: ControlPlane, *names: str) -> set[tuple[int, int]]:
    """Those of them that run programs of these names."""
    found = serving(plane)
    return {process for name in names for process in found.get(name, ())}


def replaced(before: set[tuple[int, int]], now: set[tuple[int, int]]) -> bool:
    """Whether there are as many as before, and none of those."""
    return len(now) == len(before) and not now & before
