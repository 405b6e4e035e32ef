"""haproxy before clones as other clusters have it, on real Pacemaker: its init script, a clone.

What is the same as in test_balanced is tested there. The unit of systemd cannot run in the lab.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from cluster.kit import PATIENCE
from harness import eventually
from lab import balanced, cluster, playground, seed
from lab.controller import ACTIVE, COMMAND, Controller, haproxy

pytestmark = pytest.mark.real

CONFIG = "/etc/haproxy/haproxy.cfg"
"""What the init script reads."""
KINDS: Mapping[str, Mapping[str, str]] = {
    "init script": {"agent": "lsb", "config": CONFIG},
    "clone": {"clone": "haproxy-clone"},
}
PIDFILES = {"init script": "/run/haproxy.pid", "clone": "/run/anything_p_haproxy.pid"}


class Balanced:
    """A small controller with one of these haproxies."""

    def __init__(self, controller: Controller, kind: str) -> None:
        self.controller = controller
        self.cluster = controller.cluster
        self.kind = kind

    def put(self, node: str) -> None:
        """On a node that has just been started: haproxy's configuration where it is read."""
        if self.kind == "init script":
            there = str(haproxy(self.controller.cloud))
            self.cluster.exec(node, ["mount", "--bind", there, CONFIG], check=True)

    def place(self) -> tuple[str, str]:
        """The node that has the virtual IP, and the other one."""
        node = self.controller.node("p_ip_controller")
        return node, next(name for name in self.controller.nodes if name != node)

    def where(self) -> set[str]:
        """The nodes that haproxy is started on."""
        return {*self.controller.status().resources["p_haproxy"].nodes}

    def settled(self) -> None:
        self.cluster.wait(PATIENCE)
        self.controller.await_served()


@pytest.fixture(scope="module", params=KINDS)
def made(
    request: pytest.FixtureRequest, need_packages: Callable[[Iterable[str], str], None]
) -> Iterator[Balanced]:
    """Two nodes that run both APIs, and haproxy of one kind."""
    need_packages(
        [*playground.PACKAGES, *cluster.PACKAGES, *seed.packages("sqlite"), *balanced.PACKAGES],
        "python3 -m lab.controller install",
    )
    with Controller.temporary(layout=ACTIVE, small=True, proxy=KINDS[request.param]) as controller:
        found = Balanced(controller, request.param)
        file: Path = haproxy(controller.cloud)
        file.touch(0o644)
        for node in controller.nodes:
            found.put(node)
        controller.apply()
        yield found


@pytest.fixture(autouse=True)
def calm(made: Balanced) -> None:
    """All is started, and answers."""
    made.settled()


def test_where_it_runs(made: Balanced) -> None:
    """One by the init script is where the virtual IP is; a clone is on both nodes.

    Another apply has nothing to do, and init finds the description again.
    """
    node, other = made.place()

    assert made.where() == ({node, other} if made.kind == "clone" else {node})
    assert "Nothing to do" in made.controller.apply()
    found = made.cluster.exec(node, [*COMMAND, "init", "--elsewhere"], check=True).stdout
    section = found[found.index("[haproxy]\n"):found.index("[keystone]\n")]
    for key, value in KINDS[made.kind].items():
        assert value == CONFIG or f"\n{key} = {value}\n" in section
    assert "\naddresses = node1=" in section


def test_node_lost(made: Balanced) -> None:
    """The node with the virtual IP is lost: clients are served by the other one, and stay there."""
    node, other = made.place()
    fenced = made.cluster.fenced

    made.cluster.kill(node)
    eventually(lambda: made.cluster.fenced != fenced, PATIENCE)
    made.cluster.until(
        lambda status: {other} == {status.where(one) for one in ("p_ip_controller", "p_haproxy")},
        timeout=PATIENCE, node=other,
    )
    made.controller.await_served()

    made.cluster.start(node)
    made.put(node)
    made.settled()
    assert made.place() == (other, node)
    assert made.where() == ({node, other} if made.kind == "clone" else {other})


def test_it_dies(made: Balanced) -> None:
    """haproxy is killed: Pacemaker finds out, starts it again, and clients are served."""
    node, _ = made.place()
    command = f"kill -{signal.SIGKILL.value} $(cat {PIDFILES[made.kind]})"

    made.cluster.exec(node, ["sh", "-c", command], check=True)
    made.cluster.until(
        lambda status: [one for one in status.failures
                        if one.resource.partition(":")[0] == "p_haproxy"] != [],
        timeout=PATIENCE,
    )
    made.settled()

    assert made.place()[0] in made.where()
    made.cluster.crm("resource", "cleanup", "p_haproxy")
