"""The data plane stays while agents of Neutron and nova-compute are stopped, killed and started.

The machines are network namespaces (dataplane.py), on an Open vSwitch that forwards in its own
process. The same under Pacemaker, which also recovers the agents: tests/cluster/test_data_plane.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane import FORWARDING, LEASES, DataPlane, Machine, active, boot
from harness import eventually
from lab import network
from lab.compute import discover_hosts
from lab.openstack import ControlPlane
from lab.services import running
from lab.settings import OVS
from real.fleet import Fleet, NeedPackages, codes, expect_all, fleet, whole_plane
from real.kit import PATIENCE

pytestmark = pytest.mark.real

KILLED = ("neutron-dhcp-agent", "neutron-l3-agent")
"""The agents that are killed before all are stopped; those that start what must go on."""


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with all projects, in which only Neutron's server and Open vSwitch run."""
    services = ("db", "rabbit", "keystone", "neutron-rpc-server", "neutron-server", OVS)
    with whole_plane(need_packages, *services) as plane:
        yield plane


@pytest.fixture(scope="module")
def data(plane: ControlPlane) -> DataPlane:
    """Its networks, none yet."""
    return DataPlane(plane, running(plane.settings, OVS)[0])


@pytest.fixture(scope="module")
def agents(
    data: DataPlane, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Neutron's agents, running; each has reported to Neutron's server."""
    with fleet(data.cloud, home, tmp_path_factory.mktemp("agents"), network.AGENTS) as agents:
        for member in agents.members.values():
            member.resource.prefix = tuple(network.argv(data.node, ()))
        agents.serve()
        eventually(data.reported, PATIENCE)
        yield agents


@pytest.fixture(scope="module")
def machines(
    data: DataPlane, agents: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Machine]]:
    """Two machines in two networks with a router between them, each with its lease."""
    with data.machines(tmp_path_factory.mktemp("machines")) as machines:
        yield machines


def test_agents_are_stopped_killed_and_started(
    data: DataPlane, agents: Fleet, machines: list[Machine]
) -> None:
    """While Neutron's agents are stopped, killed and started, leases are renewed and no ping is
    lost; programs that they have started live on, and stop ends all of the agents themselves."""
    forwarding, leases = data.programs(*FORWARDING), data.programs(LEASES)

    def all_is_there() -> None:
        assert (forwarding, leases) == (data.programs(*FORWARDING), data.programs(LEASES))
        for machine in machines:
            machine.renew()

    with data.telling(), machines[0].pinging(machines[1].address), \
            machines[1].pinging(machines[0].address):
        for name in KILLED:
            agents[name].kill_master()
        assert codes(agents.act("monitor", *KILLED)) <= {1, 7}
        all_is_there()
        expect_all(agents.act("stop", timeout=120), 0)
        eventually(lambda: not agents.left(), PATIENCE)  # root's helpers end by themselves
        expect_all(agents.act("monitor"), 7)
        all_is_there()

        agents.serve()
        leases = data.leases_anew(leases)
        all_is_there()


# ---- Nova's


@pytest.fixture(scope="module")
def compute(
    plane: ControlPlane, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """nova-compute with the fake driver, running; Nova knows its host."""
    plane.up("glance", "placement-api", "nova-conductor", "nova-scheduler", "nova-api")
    with fleet(plane, home, tmp_path_factory.mktemp("compute"), ["nova-compute"]) as compute:
        compute.serve()
        discover_hosts(plane).check_returncode()
        yield compute


def test_compute_is_stopped_killed_and_started(plane: ControlPlane, compute: Fleet) -> None:
    """An instance stays active while nova-compute is stopped, killed and started."""
    assert [] == active(plane)
    server = boot(plane)
    eventually(lambda: [server] == active(plane), PATIENCE)

    expect_all(compute.act("stop", timeout=120), 0)
    assert [server] == active(plane)
    compute.serve()
    assert [server] == active(plane)

    compute["nova-compute"].kill_master()
    expect_all(compute.act("monitor"), 7)
    assert [server] == active(plane)
