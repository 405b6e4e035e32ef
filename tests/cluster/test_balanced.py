"""Every API on all nodes, and haproxy at the virtual IP: a small controller, on real Pacemaker.

Keystone and Glance are enough for this. test_controller has all services.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Iterator

import pytest

from cluster.kit import PATIENCE, addresses, blamed, masters
from harness import eventually
from lab import balanced, cluster, playground, seed
from lab.controller import ACTIVE, VIP, Controller

pytestmark = pytest.mark.real

LOG = "/var/log/glance/glance.log"
APIS = {"p_keystone", "p_glance-api"}


@pytest.fixture(scope="module")
def controller(need_packages: Callable[[Iterable[str], str], None]) -> Iterator[Controller]:
    """Two nodes that run both APIs."""
    need_packages(
        [*playground.PACKAGES, *cluster.PACKAGES, *seed.packages("sqlite"), *balanced.PACKAGES],
        "python3 -m lab.controller install",
    )
    with Controller.temporary(layout=ACTIVE, small=True) as controller:
        controller.apply()
        controller.await_served()
        yield controller


@pytest.fixture(autouse=True)
def calm(controller: Controller) -> None:
    """Everything is started, and answers."""
    controller.cluster.wait(PATIENCE)
    controller.await_served()


def place(controller: Controller) -> tuple[str, str]:
    """The node that has the virtual IP, and the other node."""
    node = controller.node("p_ip_controller")
    return node, next(name for name in controller.nodes if name != node)


def requests(controller: Controller) -> list[int]:
    """For each node the requests through haproxy that are in the log of its Glance.

    Requests of the agents' monitors come from the node itself.
    """
    logs = [controller.cluster.path(name, LOG).read_text() for name in controller.nodes]
    through = re.compile(rf"{re.escape(controller.cluster.address)},\S+ .*GET /v2/images")
    return [len(through.findall(log)) for log in logs]


def test_every_node_serves(controller: Controller) -> None:
    """Requests to the virtual IP are answered by the APIs of both nodes, in turn."""
    node, other = place(controller)
    token = controller.token()

    assert APIS | {"p_haproxy"} == {*masters(controller, node)}
    assert APIS == {*masters(controller, other)}
    assert VIP in addresses(controller.cluster, node)
    before = requests(controller)

    def both() -> bool:
        """haproxy may not have seen yet that a server is up."""
        answer = controller.ask("glance-api", token=token, timeout=PATIENCE)
        assert 200 == answer.status
        return all(now > then for now, then in zip(requests(controller), before))

    eventually(both, PATIENCE)
    assert "Nothing to do" in controller.apply()


@pytest.mark.parametrize("which", ["with the address", "without it"])
def test_node_lost(controller: Controller, which: str) -> None:
    """When a node is lost the other one serves on, with the same daemons; also when it is back.

    haproxy moves with the virtual IP, and does not move back.
    """
    nodes = controller.cluster
    node, other = place(controller)
    lost, left = (node, other) if which == "with the address" else (other, node)
    fenced, before = nodes.fenced, masters(controller, left)

    nodes.kill(lost)
    eventually(lambda: nodes.fenced != fenced, PATIENCE)
    nodes.until(
        lambda status: {left} == {status.where(one) for one in ("p_ip_controller", "p_haproxy")},
        timeout=PATIENCE, node=left,
    )
    controller.await_served()

    assert [lost] == nodes.fenced[len(fenced):]
    spared = {*before} - blamed(controller.status())
    alone = masters(controller, left)
    assert {name: before[name] for name in spared} == {name: alone[name] for name in spared}

    nodes.start(lost)
    nodes.wait(PATIENCE)
    controller.await_served()

    assert {left} == {controller.node(one) for one in ("p_ip_controller", "p_haproxy")}
    assert APIS == {*masters(controller, lost)}
    spared = {*alone} - blamed(controller.status())
    now = masters(controller, left)
    assert {name: alone[name] for name in spared} == {name: now[name] for name in spared}


def test_haproxy_dies(controller: Controller) -> None:
    """haproxy is killed: Pacemaker finds out, starts it again, and clients are served."""
    node, _ = place(controller)
    before = masters(controller, node)
    pid = before["p_haproxy"].partition(",")[0]

    controller.cluster.exec(node, ["kill", f"-{signal.SIGKILL.value}", pid], check=True)
    controller.cluster.until(
        lambda status: [one for one in status.failures if one.resource == "p_haproxy"] != [],
        timeout=PATIENCE,
    )
    controller.cluster.wait(PATIENCE)
    controller.await_served()

    now = masters(controller, controller.node("p_haproxy"))
    assert before["p_haproxy"] != now["p_haproxy"]
    controller.cluster.crm("resource", "cleanup", "p_haproxy")
