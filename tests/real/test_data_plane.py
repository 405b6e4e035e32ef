"""The data plane stays while agents of Neutron and nova-compute are stopped, killed and started.

The machines are network namespaces with ports of Neutron's (real.machine), on an Open vSwitch that
forwards in its own process; the router is highly available, so that keepalived runs, too.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from harness import eventually
from lab import netns, network, process
from lab.openstack import ControlPlane
from lab.process import Process
from lab.services import running
from lab.settings import OVS
from real.fleet import Fleet, NeedPackages, codes, expect_all, fleet, whole_plane
from real.kit import PATIENCE, as_admin
from real.machine import Machine

pytestmark = pytest.mark.real

FORWARDING = ("haproxy", "keepalived", "radvd")
"""Programs that Neutron's agents start, and that must go on serving, by their names in /proc."""

WIRED = 2 * PATIENCE
"""Seconds for the first lease. A busy machine needs 75, and 60 more if one of Neutron's agents
waits for an answer that does not come."""

LEASES = "dnsmasq"
"""The same, but the DHCP agent replaces it in its first synchronisation after a start."""


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with all projects, in which only Neutron's server and Open vSwitch run."""
    services = ("db", "rabbit", "keystone", "neutron-rpc-server", "neutron-server", OVS)
    with whole_plane(need_packages, *services) as plane:
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
        with telling_ports(plane, agents):
            eventually(lambda: all(machine.has_lease() for machine in machines), WIRED)
            leases = eventually(lambda: served(plane), PATIENCE)
            # A further subnet, for which the DHCP agent replaces dnsmasq in its network.
            slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
            attach(plane, router, one, ip_version=6, cidr="fd00:9::/64", **slaac)
            eventually(lambda: len(served(plane) - leases) == 1, PATIENCE)
            eventually(lambda: machines[0].reaches(machines[1].address), PATIENCE)
            eventually(lambda: forwards(plane), PATIENCE)
        yield machines


def test_agents_are_stopped_killed_and_started(
    plane: ControlPlane, agents: Fleet, machines: list[Machine]
) -> None:
    """While Neutron's agents are stopped, killed and started, leases are renewed and no ping is
    lost; programs that they have started live on, and stop ends all of the agents themselves."""
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
        leases = eventually(lambda: anew(leases, served(plane)), PATIENCE)
        all_is_there()

        for name in network.AGENTS:
            agents[name].kill_master()
        assert codes(agents.act("monitor")) <= {1, 7}
        all_is_there()
        expect_all(agents.act("stop", timeout=120), 0)
        eventually(lambda: not agents.left(), PATIENCE)  # root's helpers end by themselves
        all_is_there()

        agents.serve()
        leases = eventually(lambda: anew(leases, served(plane)), PATIENCE)
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
        file = f"--config-file={plane.config('nova-api')}"
        with netns.inside(plane.namespace):
            subprocess.run(
                ["nova-manage", file, "cell_v2", "discover_hosts"],
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                env=process.ENVIRONMENT,
                **process.as_user("nova"),
            )
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
    compute.serve()
    assert [server] == active(plane)


def boot(plane: ControlPlane) -> str:
    """Ask for the smallest possible instance; return its id."""
    image = as_admin(
        *(plane, "glance", "POST", "/v2/images"),
        {"name": "image", "disk_format": "raw", "container_format": "bare"},
    )
    path = f"/v2/images/{image['id']}/file"
    as_admin(plane, "glance", "PUT", path, "bytes", {"Content-Type": "application/octet-stream"})
    flavor = {"name": "flavor", "ram": 64, "vcpus": 1, "disk": 1}
    answer = as_admin(plane, "nova-api", "POST", "/v2.1/flavors", {"flavor": flavor})
    server = {
        "name": "server",
        "imageRef": image["id"],
        "flavorRef": answer["flavor"]["id"],
        "networks": "none",  # with microversion 2.37
    }
    answer = as_admin(
        *(plane, "nova-api", "POST", "/v2.1/servers", {"server": server}),
        {"OpenStack-API-Version": "compute 2.37"},
    )
    assert "server" in answer, answer
    return str(answer["server"]["id"])


def active(plane: ControlPlane) -> list[str]:
    """The ids of the instances that Nova calls active."""
    answer = as_admin(plane, "nova-api", "GET", "/v2.1/servers?status=ACTIVE")
    return [server["id"] for server in answer["servers"]]


# ---- Neutron's


def neutron(plane: ControlPlane, method: str, path: str, body: object = None) -> Any:
    return as_admin(plane, "neutron-server", method, f"/v2.0/{path}", body)


def create(plane: ControlPlane, kind: str, **values: object) -> dict[str, Any]:
    """Create an object in Neutron; return its description."""
    answer = neutron(plane, "POST", f"{kind}s", {kind: values})
    assert kind in answer, answer
    return dict(answer[kind])


def attach(
    plane: ControlPlane, router: dict[str, Any], one: dict[str, Any], **values: object
) -> None:
    """Create a subnet in a network, and connect the router to it."""
    subnet = create(plane, "subnet", network_id=one["id"], **values)
    path = f"routers/{router['id']}/add_router_interface"
    assert "port_id" in neutron(plane, "PUT", path, {"subnet_id": subnet["id"]})


@contextmanager
def telling_ports(plane: ControlPlane, agents: Fleet) -> Iterator[None]:
    """Add Neutron's ports and its agents' complaints to the message of a failure."""
    try:
        yield
    except AssertionError as error:
        keys = ("device_owner", "name", "status", "binding:vif_type", "fixed_ips")
        ports = neutron(plane, "GET", "ports")["ports"]
        told = [str([port[key] for key in keys]) for port in ports]
        complaints = agents[network.AGENTS[0]].last_words(saying=("WARNING", "ERROR"))
        raise AssertionError("\n".join([str(error), *told, complaints])) from None


def node(plane: ControlPlane) -> Process:
    """The first process on the node of Neutron's agents."""
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
    """The processes on the node that run programs of these names."""
    found = serving(plane)
    return {one for name in names for one in found.get(name, ())}


def steady(plane: ControlPlane, *names: str) -> set[tuple[int, int]]:
    """The processes that run programs of these names, if they are the same a second later.

    A program that daemonises is two processes for a moment, and then one with another pid.
    """
    before = pids(plane, *names)
    time.sleep(1)
    return before if before == pids(plane, *names) else set()


def served(plane: ControlPlane) -> set[tuple[int, int]]:
    """The processes that serve leases, one in each network's namespace; [] until there are both."""
    found = steady(plane, LEASES)
    with suppress(FileNotFoundError):
        if len(found) == len({os.readlink(f"/proc/{pid}/ns/net") for pid, _ in found}) == 2:
            return found
    return set()


def forwards(plane: ControlPlane) -> bool:
    """Whether all forwarding programs run, and start no more processes."""
    return {*FORWARDING} <= {*serving(plane)} and bool(steady(plane, *FORWARDING))


def anew(before: set[tuple[int, int]], now: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The processes now; none while a process of before is among them."""
    return set() if now & before else now
