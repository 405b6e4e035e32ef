"""A machine in a network of Neutron's: a network namespace with a port, a lease and a route.

To the network it is the same as a virtual machine. Its port is plugged in as by Nova, its address
comes from a real DHCP client.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import eventually
from lab import network
from lab.process import Process
from lab.settings import Settings
from real.kit import PATIENCE

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


class Machine:
    """One machine.

    node: the master of the lab's `ovs`. port: as Neutron describes it; its name is the machine's.
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
        subprocess.run(network.argv(self._node, command), check=True, stdin=subprocess.DEVNULL)
