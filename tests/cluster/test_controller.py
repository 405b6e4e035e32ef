"""A whole controller under Pacemaker, with database and RabbitMQ, from one description.

The nodes are for this file alone. Tests look at the answers to a client at the switch, at
Pacemaker's status, and at the processes of the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException

import pytest

from cluster.kit import blamed, masters, members
from harness import eventually
from lab import controller as room
from lab import netns
from lab.cib import Status
from lab.controller import Controller

pytestmark = pytest.mark.real

Processes = dict[str, dict[str, str]]
"""The first process of each resource, by node and resource."""

PATIENCE = 600.0
"""Seconds that a test waits: on a busy machine all daemons of a node have to start."""
AGAIN = 60.0
"""Seconds after which the request for a volume is repeated."""
CONTENT = b"what was acknowledged"


KINDS = (*((layout, 2) for layout in room.LAYOUTS), (room.PASSIVE, 3))
"""Layouts and numbers of nodes."""


@pytest.fixture(scope="module", params=KINDS, ids=[f"{layout}-{nodes}" for layout, nodes in KINDS])
def controller(
    prerequisites: None, need_packages: Callable[[Iterable[str], str], None],
    request: pytest.FixtureRequest,
) -> Iterator[Controller]:
    """Nodes that run all resources of the description, in each of the layouts."""
    need_packages(room.packages(), "python3 -m lab.controller install")
    layout, nodes = request.param
    with Controller.temporary(nodes=nodes, layout=layout) as controller:
        controller.apply()
        controller.await_served()
        yield controller


def store(controller: Controller, token: str, content: bytes) -> str:
    """Upload an image, until Glance has acknowledged it; return its id."""
    about = {"name": "kept", "disk_format": "raw", "container_format": "bare"}
    made = controller.ask("glance-api", "/v2/images", token=token, method="POST", body=about)
    assert 201 == made.status
    name = str(made.json()["id"])
    server = controller.server("glance-api")
    connection = HTTPConnection(server.address, server.port, timeout=PATIENCE)
    with netns.inside(server.namespace):
        connection.connect()
    with closing(connection):
        headers = {"X-Auth-Token": token, "Content-Type": "application/octet-stream"}
        connection.request("PUT", f"/v2/images/{name}/file", content, headers)
        assert 204 == connection.getresponse().status
    return name


def stored(controller: Controller, token: str, name: str) -> bytes:
    """The data of an image, from Glance."""
    return controller.ask("glance-api", f"/v2/images/{name}/file", token=token).body


def make_volume(controller: Controller, token: str) -> str:
    """Have Cinder make a volume, and wait until it is available; return its id.

    A request that Cinder accepts before its scheduler is connected to RabbitMQ again is lost with
    the old queue, and is repeated; so is one without an answer while Cinder itself connects.
    """
    return eventually(partial(made_volume, controller, token), PATIENCE)


def made_volume(controller: Controller, token: str) -> str:
    """Request a volume once, and wait for it; its id, or "" if it is not available in time."""
    body = {"volume": {"name": "kept", "size": 1}}
    try:
        made = controller.ask(
            "cinder-api", "/v3/{project}/volumes", token=token, method="POST", body=body,
            timeout=AGAIN,
        )
    except (OSError, HTTPException):
        return ""
    if made.status != 202:
        return ""
    name = str(made.json()["volume"]["id"])
    try:
        eventually(partial(available, controller, token, name), AGAIN)
    except AssertionError:
        return ""
    return name


def available(controller: Controller, token: str, name: str) -> bool:
    """Whether a volume is available."""
    return volume(controller, token, name) == "available"


def volume(controller: Controller, token: str, name: str) -> str:
    """The status of a volume."""
    where = f"/v3/{{project}}/volumes/{name}"
    answer = controller.ask("cinder-api", where, token=token, timeout=PATIENCE)
    return str(answer.json()["volume"]["status"])


def gather(controller: Controller) -> str:
    """Have one node run all resources that are no clones; return that node."""
    node = controller.node("p_ip_controller")
    others = [name for name in controller.nodes if name != node]
    for other in others:
        controller.cluster.crm("node", "standby", other)
    controller.cluster.until(
        lambda status: all(status.where(name) == node for name in controller.once),
        timeout=PATIENCE,
    )
    for other in others:
        controller.cluster.crm("node", "online", other)
    controller.cluster.wait(PATIENCE)
    return node


def test_description(controller: Controller) -> None:
    """All that is described runs where it should, and answers; a second apply changes nothing."""
    controller.cluster.wait(PATIENCE)
    status = controller.status()
    running = [masters(controller, node) for node in controller.nodes]
    for resource in controller.resources:
        there = status.resources[resource]
        assert "Started" == there.role
        assert {*there.nodes} == {
            node for node, found in zip(controller.nodes, running) if resource in found
        }
        assert len(there.nodes) == (1 if resource in controller.once else len(controller.nodes))
    assert {200} == {*controller.answers(controller.token(), PATIENCE).values()}
    assert [] == controller.cluster.fenced
    assert "Nothing to do" in controller.apply()


def test_node_lost(controller: Controller) -> None:
    """When the node that runs all is lost, it is fenced; the others serve all, with the data.

    Daemons that ran on the others run on; when the lost node is back, no single resource moves.
    """
    cluster, lost = controller.cluster, gather(controller)
    left = [name for name in controller.nodes if name != lost]
    before, token = cluster.fenced, controller.token()
    image, disk = store(controller, token, CONTENT), make_volume(controller, token)
    family, ran = members(cluster, lost), {name: masters(controller, name) for name in left}

    cluster.kill(lost)

    cluster.until(
        lambda status: all(status.where(name) in left for name in controller.once),
        timeout=PATIENCE,
        node=left[0],
    )
    assert [*before, lost] == cluster.fenced
    assert [] == [member for member in family if member.alive()]
    controller.await_served()
    token = controller.token()
    assert CONTENT == stored(controller, token, image)
    assert "available" == volume(controller, token, disk)
    make_volume(controller, token)
    cluster.wait(PATIENCE)
    status = controller.status()
    chosen = {name: status.where(name) for name in controller.once}
    calm = {name: masters(controller, name) for name in left}
    everywhere = {*controller.resources} - {*controller.once}
    for node in left:
        here = {name for name, other in chosen.items() if other == node}
        assert everywhere | here == {*calm[node]}
    assert_spared(ran, calm, status)

    cluster.start(lost)
    cluster.wait(PATIENCE)

    status = controller.status()
    assert chosen == {name: status.where(name) for name in controller.once}
    assert everywhere == {*masters(controller, lost)}
    assert_spared(calm, {name: masters(controller, name) for name in left}, status)
    assert {200} == {*controller.answers(token, PATIENCE).values()}
    assert [*before, lost] == cluster.fenced


def assert_spared(ran: Processes, run: Processes, status: Status) -> None:
    """Assert that on each node all resources but failed ones have the same processes."""
    for node, found in ran.items():
        spared = {*found} - blamed(status)
        assert {name: found[name] for name in spared} == {
            name: run[node].get(name) for name in spared
        }
