"""A data plane of Neutron's: machines with leases, a router between them, and what serves them.

    plane = DataPlane(cloud, node)     # Neutron's server runs, and its agents do
    with plane.machines(folder) as (one, other), one.pinging(other.address):
        one.renew()

To the network a machine is the same as a virtual machine: its port is plugged in as by Nova, its
address comes from a real DHCP client. The router is highly available, so that keepalived runs, too.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lab import network
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.process import Process
from lab.settings import Settings
from looks import eventually

PATIENCE = 300.0
"""Seconds that a test waits for what must come; only a busy machine needs them."""

WIRED = 2 * PATIENCE
"""Seconds for the first lease, and for new servers of leases. A busy machine needs 75, and 60 more
if one of Neutron's agents waits for an answer that does not come."""

FORWARDING = ("haproxy", "keepalived", "radvd")
"""Programs that Neutron's agents start, and that must go on serving, by their names in /proc."""

LEASES = "dnsmasq"
"""The same, but the DHCP agent replaces it in its first synchronisation after a start."""

Programs = set[tuple[int, int]]
"""Processes, by pid and start time."""

SCRIPT = """#!/bin/sh
# What udhcpc calls with an event, and with the lease in variables.
case $1 in
bound | renew)
    ip address replace "$ip/$mask" dev "$interface"
    ip route replace default via "${router%% *}"
    ;;
esac
echo "$1 $ip" >>"$EVENTS"
"""


class DataPlane:
    """The networks of a lab, and the node that has them.

    node: the master of the lab's `ovs`, or the first process of the node where that runs.
    """

    def __init__(self, cloud: ControlPlane, node: Process) -> None:
        self.cloud = cloud
        self.node = node

    # What Neutron says

    def neutron(self, method: str, path: str, body: object = None) -> Any:
        """Neutron's answer to the administrator."""
        return self.cloud.as_admin("neutron-server", method, f"/v2.0/{path}", body)

    def reported(self) -> bool:
        """Whether all agents have reported to Neutron's server."""
        return len(self.neutron("GET", "agents")["agents"]) == len(network.AGENTS)

    def create(self, kind: str, **values: object) -> dict[str, Any]:
        """Create an object in Neutron; return its description."""
        answer = self.neutron("POST", f"{kind}s", {kind: values})
        assert kind in answer, answer
        return dict(answer[kind])

    def attach(self, router: dict[str, Any], one: dict[str, Any], **values: object) -> None:
        """Create a subnet in a network, and connect the router to it."""
        subnet = self.create("subnet", network_id=one["id"], **values)
        path = f"routers/{router['id']}/add_router_interface"
        assert "port_id" in self.neutron("PUT", path, {"subnet_id": subnet["id"]})

    @contextmanager
    def machines(self, folder: Path) -> Iterator[list[Machine]]:
        """Two machines in two networks with a router between them, each with its lease."""
        router = self.create("router", ha=True)
        with ExitStack() as stack, self.telling():
            machines = []
            for number in (1, 2):
                name = f"machine{number}"
                one = self.create("network")
                self.attach(router, one, ip_version=4, cidr=f"10.9.{number}.0/24")
                given = {"name": name, "network_id": one["id"], "binding:host_id": "node"}
                port = self.create("port", **given)
                assert "ovs" == port["binding:vif_type"]
                machine = Machine(self.node, port, folder)
                machines.append(stack.enter_context(machine.running(self.cloud.settings)))
            eventually(lambda: all(machine.has_lease() for machine in machines), WIRED)
            leases = eventually(self.leases, PATIENCE)
            # A further subnet, for which the DHCP agent replaces dnsmasq in its network.
            slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
            self.attach(router, one, ip_version=6, cidr="fd00:9::/64", **slaac)
            eventually(lambda: len(self.leases() - leases) == 1, PATIENCE)
            eventually(lambda: machines[0].reaches(machines[1].address), PATIENCE)
            eventually(self.forwards, PATIENCE)
            yield machines

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Add Neutron's ports and the complaints in the logs to the message of a failure."""
        try:
            yield
        except (AssertionError, LabError) as error:
            keys = ("device_owner", "name", "status", "binding:vif_type", "fixed_ips")
            ports = self.neutron("GET", "ports")["ports"]
            told = [str([port[key] for key in keys]) for port in ports]
            raise AssertionError("\n".join([str(error), *told, *self.complaints()])) from None

    def complaints(self) -> list[str]:
        """The last warnings and errors in Neutron's logs, by their times."""
        logs = self.cloud.log("neutron").parent.glob("*.log")
        return sorted(f"{line[:200]} ({path.name})" for path in logs
                      for line in path.read_text(errors="replace").splitlines()
                      if " WARNING " in line or " ERROR " in line)[-30:]

    # What serves

    def programs(self, *names: str) -> Programs:
        """The processes on the node that run programs of these names."""
        found = self._running()
        return {one for name in names for one in found.get(name, ())}

    def leases(self) -> Programs:
        """The processes that serve leases, one in each network; none until there are both."""
        found = self._steady(LEASES)
        with suppress(FileNotFoundError):
            if len(found) == len({os.readlink(f"/proc/{pid}/ns/net") for pid, _ in found}) == 2:
                return found
        return set()

    def forwards(self) -> bool:
        """Whether all forwarding programs run, and start no more processes."""
        return {*FORWARDING} <= {*self._running()} and bool(self._steady(*FORWARDING))

    def leases_anew(self, before: Programs) -> Programs:
        """Wait until the DHCP agent has replaced all processes that serve leases; the new ones."""
        def anew() -> Programs:
            now = self.leases()
            return set() if now & before else now

        return eventually(anew, WIRED)

    def _running(self) -> dict[str, Programs]:
        found: dict[str, Programs] = {}
        for one in network.members(self.cloud.settings):
            try:
                name = Path(f"/proc/{one.pid}/comm").read_text().strip()
            except OSError:  # it has ended meanwhile
                continue
            found.setdefault(name, set()).add((one.pid, one.birth))
        return found

    def _steady(self, *names: str) -> Programs:
        """The processes that run programs of these names, if they are the same a second later.

        A program that daemonises is two processes for a moment, and then one with another pid.
        """
        before = self.programs(*names)
        time.sleep(1)
        return before if before == self.programs(*names) else set()


class Machine:
    """One machine.

    node: as of DataPlane. port: as Neutron describes it; its name is the machine's.
    """

    def __init__(self, node: Process, port: Mapping[str, Any], folder: Path) -> None:
        self._node = node
        self.name = port["name"]
        self.address = port["fixed_ips"][0]["ip_address"]
        self._port = port
        self._events = folder / f"{self.name}.events"
        self._script = folder / "udhcpc.script"
        self._client: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self, settings: Settings) -> Iterator[Machine]:
        """The machine, with its port plugged in and its DHCP client running."""
        self._on_node("ip", "netns", "add", self.name)
        network.plug(settings, self.name, self._port["id"], self._port["mac_address"])
        device = ("ip", "link", "set", self.name)
        self._on_node(*device, "address", self._port["mac_address"], "netns", self.name)
        self._on_node("ip", "-n", self.name, "link", "set", self.name, "up")
        self._script.write_text(SCRIPT)
        self._script.chmod(0o755)
        self._client = self.begin(
            *("busybox", "udhcpc", "-f", "-i", self.name, "-s", str(self._script), "-T", "1"),
            environment={"EVENTS": str(self._events)},
        )
        try:
            yield self
        finally:
            self._client.kill()
            self._client.wait()

    def begin(
        self, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in it."""
        return subprocess.Popen(
            network.argv(self._node, ["ip", "netns", "exec", self.name, *command]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **(environment or {})},
        )

    def events(self) -> list[str]:
        """The events of its DHCP client, each with an address."""
        return self._events.read_text().splitlines() if self._events.exists() else []

    def has_lease(self) -> bool:
        return f"bound {self.address}" in self.events()

    def renew(self) -> None:
        """Ask the server for the lease once more, and wait for its answer."""
        assert self._client
        before = len(self.events())
        os.kill(self._client.pid, signal.SIGUSR1)
        answer = eventually(lambda: self.events()[before:], PATIENCE)
        assert [f"renew {self.address}"] == answer

    @contextmanager
    def pinging(self, address: str) -> Iterator[None]:
        """Ping an address ten times a second, and assert that no answer is missing."""
        ping = self.begin("ping", "-n", "-i", "0.1", address)
        try:
            yield
        finally:
            ping.send_signal(signal.SIGINT)
            said = ping.communicate()[0].decode()
        answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl=", said)}
        assert answered, said
        # The last one may have had no time to be answered.
        assert {*range(1, max(answered) + 1)} - answered == set(), said

    def reaches(self, address: str) -> bool:
        return self.begin("ping", "-n", "-c", "1", "-W", "1", address).wait() == 0

    def _on_node(self, *command: str) -> None:
        argv = network.argv(self._node, command, child=True)
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


# ---- an instance of Nova's


def boot(cloud: ControlPlane) -> str:
    """Ask for the smallest possible instance; return its id."""
    image = cloud.as_admin(
        *("glance", "POST", "/v2/images"),
        {"name": "image", "disk_format": "raw", "container_format": "bare"},
    )
    kind = {"Content-Type": "application/octet-stream"}
    cloud.as_admin("glance", "PUT", f"/v2/images/{image['id']}/file", "bytes", kind)
    flavor = {"name": "flavor", "ram": 64, "vcpus": 1, "disk": 1}
    answer = cloud.as_admin("nova-api", "POST", "/v2.1/flavors", {"flavor": flavor})
    server = {
        "name": "server",
        "imageRef": image["id"],
        "flavorRef": answer["flavor"]["id"],
        "networks": "none",  # with microversion 2.37
    }
    answer = cloud.as_admin(
        *("nova-api", "POST", "/v2.1/servers", {"server": server}),
        {"OpenStack-API-Version": "compute 2.37"},
    )
    assert "server" in answer, answer
    return str(answer["server"]["id"])


def active(cloud: ControlPlane) -> list[str]:
    """The ids of the instances that Nova calls active."""
    answer = cloud.as_admin("nova-api", "GET", "/v2.1/servers?status=ACTIVE")
    return [server["id"] for server in answer["servers"]]
