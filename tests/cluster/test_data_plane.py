"""Whatever Pacemaker does to Neutron's agents and nova-compute, the data plane stays.

Open vSwitch runs on one node of the cluster, and forwards in its own process. The machines are
network namespaces of that node (dataplane.py). What the agents work for is at the switch. Left for
make check-nightly.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.docs_page import ROOT
from cluster.kit import PATIENCE, TOKEN, await_end, members
from dataplane import FORWARDING, LEASES, DataPlane, Machine, active, boot
from harness import eventually
from lab import agents, network, playground, process, specs
from lab.cib import Failure, Status
from lab.cluster import Cluster
from lab.compute import discover_hosts
from lab.openstack import ControlPlane
from lab.packages import every
from lab.process import Process
from lab.settings import OVS

pytestmark = pytest.mark.real

SNIPPET = ROOT / "crm/worker-clone.crm"
NODE, OTHER = "node1", "node2"
"""The node with the data plane, and the one that is there because a cluster has two."""

SERVED = ("db", "rabbit", "keystone", "neutron-rpc-server", "neutron-server")
"""What Neutron's agents work for."""

ENDED = (1, 7)
"""Codes of the monitor that finds a dead master: 1 while children of it are left."""


@dataclass(frozen=True)
class Site:
    """The cluster, the control plane at its switch, and the data plane of NODE."""

    cluster: Cluster
    cloud: ControlPlane
    data: DataPlane

    def configure(self, names: Sequence[str]) -> None:
        """Load the snippet of each of these agents, and wait until their monitors are 0."""
        self.cluster.configure("\n".join(snippet(self.cloud, name) for name in names))
        self.await_started(names, {})

    def stop(self, names: Sequence[str]) -> None:
        """Have Pacemaker stop them, as an operator does, and wait until nothing of them is left.

        privsep's helpers, which are root's, end by themselves.
        """
        masters = self.masters(names)
        self.cluster.crm("resource", "stop", *(f"cl_{name}" for name in names))
        self.cluster.until(
            lambda status: {status.resources[f"p_{name}"].role for name in names} == {"Stopped"},
            timeout=PATIENCE,
        )
        eventually(lambda: not families(masters), PATIENCE)

    def start(self, names: Sequence[str]) -> None:
        """Have Pacemaker start them, and wait until their monitors are 0."""
        before = self.pids(names)
        self.cluster.crm("resource", "start", *(f"cl_{name}" for name in names))
        self.await_started(names, before)

    def kill(self, names: Sequence[str]) -> None:
        """Kill the master process of each."""
        masters = [*self.masters(names).values()]
        for master in masters:
            master.send(signal.SIGKILL)
        await_end(masters)

    def masters(self, names: Sequence[str]) -> dict[str, Process]:
        """The master process of each agent, by the agent's name."""
        known = {pid_in_node(one): one for one in members(self.cluster, NODE)}
        return {name: known[pid] for name, pid in self.pids(names).items()}

    def pids(self, names: Sequence[str]) -> dict[str, int]:
        """The pid in the pidfile of each agent that has one, by the agent's name."""
        found = {}
        for name in names:
            with suppress(FileNotFoundError, ValueError):  # it is written just now
                file = f"/proc/{self.data.node.pid}/root/run/resource-agents/p_{name}.pid"
                found[name] = int(Path(file).read_text())
        return found

    def await_started(self, names: Sequence[str], before: Mapping[str, int]) -> None:
        """Wait until each is started, with another pid than before, and all its monitors are 0."""
        def well(status: Status) -> bool:
            return all(status.where(f"p_{name}") == NODE for name in names) and all(
                self.monitored(name) for name in names)

        def replaced() -> bool:
            return {*names} == {name for name, pid in self.pids(names).items()
                                if pid != before.get(name)}

        eventually(replaced, PATIENCE)
        self.cluster.until(well, timeout=PATIENCE)

    def monitored(self, name: str) -> bool:
        """Whether both of its monitors were 0 since it was last started on NODE."""
        done = [one for one in self.cluster.history(f"p_{name}") if one.node == NODE]
        start = max((one.call for one in done if one.operation == "start"), default=0)
        return [0, 0] == [one.code for one in done if one.interval and one.call > start]

    def failures(self, names: Sequence[str]) -> dict[str, Failure]:
        """The failure of each agent that has one, by the agent's name."""
        found = self.cluster.status().failures
        return {name: one for name in names for one in found if one.resource == f"p_{name}"}

    def forget(self) -> None:
        """Clean all failures up, as an operator does, and wait until Pacemaker is idle again."""
        self.cluster.exec(NODE, ["crm_resource", "--cleanup"], check=True)
        self.cluster.wait(PATIENCE)


def snippet(cloud: ControlPlane, name: str) -> str:
    """The snippet of a worker for this agent, with the lab's configuration, on NODE alone.

    Some timeouts are longer: all daemons start at once. Failures are kept, and may be many: on a
    busy machine both monitors, each more than once, find the same death before Pacemaker acts.
    """
    given = agents.parameters(cloud, name, f"p_{name}").items()
    params = " ".join(f'{key}="{value}"' for key, value in given)
    text, found = re.subn(r'params config="[^"]*"', f"params {params}", SNIPPET.read_text())
    assert found == 1
    text = re.sub(r'(?m)^  op start timeout="\d+s"', r'  op start timeout="300s"', text)
    text = re.sub(r'(?m)^  op monitor (\S+) timeout="\d+s"', r'  op monitor \1 timeout="60s"', text)
    for key, value in {"failure-timeout": "1h", "migration-threshold": "100"}.items():
        text = playground.assigned(text, key, value)
    text = text.replace("heat-engine", name)
    return f"{text}\nlocation l_{name} cl_{name} -inf: {OTHER}"


def pid_in_node(one: Process) -> int:
    """The pid of a process in its own namespace; 0 if it has ended."""
    try:
        status = Path(f"/proc/{one.pid}/status").read_text()
    except OSError:
        return 0
    return int(re.findall(r"(?m)^NSpid:.*\t(\d+)$", status)[0])


def families(masters: Mapping[str, Process]) -> list[Process]:
    """All processes of the agents with these masters, which may have ended."""
    return [one for master in masters.values()
            for one in process.session(master.pid, master.birth)]


@pytest.fixture(scope="module")
def site(
    prerequisites: None, need_packages: Callable[[Iterable[str], str], None]
) -> Iterator[Site]:
    """Two nodes, one with Open vSwitch; at the switch Neutron's server, and what that needs."""
    need_packages(every(), "make control-plane")
    with Cluster.temporary(nodes=2, token=TOKEN) as cluster:
        bind = dict.fromkeys((*specs.BASE, "neutron", "nova", "placement"), cluster.address)
        with ControlPlane.temporary(
            db="mysql", workers=1, netns=cluster.outside, bind=bind, projects=specs.USUAL
        ) as cloud:
            cloud.up(*SERVED)
            first, settings = cluster._node(NODE).process(), cloud.settings
            assert first
            words = [f"{name}={value}" for name, value in network.environment(settings).items()]
            process.spawn(
                cluster.argv(NODE, ["env", *words, *network.command_on_node(settings)]),
                user="root", home=settings.home(OVS), log=settings.log(OVS), environment={},
            )
            eventually(lambda: network.serves(settings), PATIENCE)
            yield Site(cluster, cloud, DataPlane(cloud, first))


@pytest.fixture(scope="module")
def wired(site: Site) -> Site:
    """The same with Neutron's agents, started by Pacemaker; each has reported to the server."""
    site.configure(network.AGENTS)
    eventually(site.data.reported, PATIENCE)
    return site


@pytest.fixture(scope="module")
def machines(
    wired: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Machine]]:
    """Two machines in two networks with a router between them, each with its lease."""
    with wired.data.machines(tmp_path_factory.mktemp("machines")) as machines:
        yield machines


class Service:
    """What the machines have of the data plane: they ping each other, and renew their leases.

    forwarding: the processes that forward, which must stay. leases: those that serve leases, which
    stay until the DHCP agent is started.
    """

    def __init__(self, data: DataPlane, machines: list[Machine]) -> None:
        self.data = data
        self.machines = machines
        self.forwarding, self.leases = data.programs(*FORWARDING), data.programs(LEASES)

    @contextmanager
    def pinging(self) -> Iterator[None]:
        """Have both machines ping each other, and assert that no answer is missing."""
        one, other = self.machines
        with self.data.telling(), one.pinging(other.address), other.pinging(one.address):
            yield

    def goes_on(self) -> None:
        """Assert that all of it is there."""
        found = self.data.programs(*FORWARDING), self.data.programs(LEASES)
        assert (self.forwarding, self.leases) == found
        for machine in self.machines:
            machine.renew()

    def goes_on_anew(self) -> None:
        """Wait for the first synchronisation of the DHCP agent, and assert that all is there."""
        self.leases = self.data.leases_anew(self.leases)
        self.goes_on()


@pytest.fixture
def service(wired: Site, machines: list[Machine]) -> Service:
    """The service that the machines have while a test begins, and no failure of the agents."""
    wired.forget()
    return Service(wired.data, machines)


def test_stopped_and_started(wired: Site, service: Service) -> None:
    """While Pacemaker stops and starts Neutron's agents, leases are renewed and no ping is lost;
    programs that they have started live on, and stop ends all of the agents themselves."""
    names = network.AGENTS
    with service.pinging():
        wired.stop(names)
        service.goes_on()
        wired.start(names)
        service.goes_on_anew()
    assert {} == wired.failures(names)


def test_killed(wired: Site, service: Service) -> None:
    """So it is while Neutron's agents are killed, and Pacemaker starts them again."""
    names, before = network.AGENTS, wired.pids(network.AGENTS)
    with service.pinging():
        wired.kill(names)
        service.goes_on()
        wired.await_started(names, before)
        service.goes_on_anew()
    failures = wired.failures(names)
    assert {*names} == {*failures}
    assert {*ENDED} >= {failure.code for failure in failures.values()}


# ---- Nova's


@pytest.fixture(scope="module")
def compute(site: Site) -> Site:
    """The same with nova-compute and its fake driver, started by Pacemaker; Nova knows its host."""
    site.cloud.up("glance", "placement-api", "nova-conductor", "nova-scheduler", "nova-api")
    site.configure(["nova-compute"])
    discover_hosts(site.cloud).check_returncode()
    return site


def test_compute_is_stopped_started_and_recovered(compute: Site) -> None:
    """An instance stays active while Pacemaker stops and starts nova-compute, and starts it again
    when it is killed."""
    site, names = compute, ["nova-compute"]
    assert [] == active(site.cloud)
    server = boot(site.cloud)
    eventually(lambda: [server] == active(site.cloud), PATIENCE)

    site.stop(names)
    assert [server] == active(site.cloud)
    site.start(names)
    assert [server] == active(site.cloud)

    before = site.pids(names)
    site.kill(names)
    site.await_started(names, before)
    assert [server] == active(site.cloud)
    assert site.failures(names)["nova-compute"].code in ENDED
