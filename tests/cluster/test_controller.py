"""A whole controller under Pacemaker, database and RabbitMQ with it, from one description.

The nodes are those of this file alone. What is asserted is seen by a client at the switch, by
Pacemaker, and in the processes of the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from lab import controller as room
from lab.controller import Controller

pytestmark = pytest.mark.real

PATIENCE = 600.0
"""Seconds that a test waits for what must come: all daemons of a node start, on a busy machine."""
MASTERS = """
for resource; do
    case $resource in
    p_mariadb) file=/run/mysqld/mysqld.pid ;;
    p_rabbitmq) file=/run/rabbitmq/pid ;;
    *) file=/run/resource-agents/$resource.pid ;;
    esac
    if pid=$(cat $file 2>/dev/null) && stat=$(cat /proc/$pid/stat 2>/dev/null); then
        set -- ${stat##*)}
        echo $resource $pid ${20}
    fi
done
"""


@pytest.fixture(scope="module")
def controller(
    prerequisites: None, need_packages: Callable[[Iterable[str], str], None]
) -> Iterator[Controller]:
    """Two nodes that run all that the description has."""
    need_packages(room.packages(), "python3 -m lab.controller install")
    with Controller.temporary() as controller:
        controller.apply()
        controller.await_served()
        yield controller


def masters(controller: Controller, node: str) -> dict[str, str]:
    """The first process of each resource in a node, by the resource: its pid and its birth."""
    said = controller.cluster.exec(node, ["sh", "-c", MASTERS, "sh", *controller.resources])
    rows = [line.split() for line in said.stdout.splitlines()]
    return {row[0]: f"{row[1]}, {row[2]}" for row in rows if len(row) == 3}


def test_description(controller: Controller) -> None:
    """All that is described runs, where it should, and answers at its address; once is enough."""
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
