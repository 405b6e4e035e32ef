"""A service with its virtual IP: start, move by hand, standby, maintenance mode."""

from __future__ import annotations

import pytest

from cluster.kit import PATIENCE, Group, unharmed
from lab.cluster import Cluster

pytestmark = pytest.mark.real


def test_group_starts(pair: Cluster, groups: dict[str, Group]) -> None:
    """Both groups start; each virtual IP answers with a valid token, and 401 with a wrong one."""
    pair.clear()

    for group in groups.values():
        pair.configure(group.text())

    for group in groups.values():
        node = group.await_settled()
        assert 401 == group.get(token="wrong")
        assert [] == group.failures()
        assert [0] == group.codes("start", node)
        group.await_monitor(0)
        assert [7] == group.codes("probe", group.other(node))
        assert [] == group.history("start", group.other(node))


def test_move_by_hand(glance: Group) -> None:
    """A group that is moved by hand is stopped on its node, and serves and stays on the other."""
    first = glance.node()
    before = glance.family()

    glance.cluster.crm("resource", "move", glance.group, glance.other(first), "force")

    glance.cluster.wait(timeout=PATIENCE)
    assert glance.other(first) == glance.await_settled()
    glance.cluster.crm("resource", "clear", glance.group)
    assert glance.other(first) == glance.await_settled()
    assert not any(old.alive() for old in before)
    assert [0] == glance.codes("stop", first)
    assert [] == glance.failures()


def test_standby(glance: Group, cinder: Group, pair: Cluster) -> None:
    """A node in standby gives up both services; when it is back, nothing moves."""
    first = glance.node()
    cinder.move(first)

    pair.crm("node", "standby", first)

    for group in (glance, cinder):
        assert group.other(first) == group.await_settled()
        assert [0] == group.codes("stop", first)
    calm = unharmed(glance), unharmed(cinder)
    pair.crm("node", "online", first)
    pair.wait()
    assert not pair.status().nodes[first].standby
    for ask in calm:
        ask()
    assert [] == glance.failures() + cinder.failures()


def test_maintenance_mode(glance: Group, pair: Cluster) -> None:
    """In maintenance mode nothing is done to a service, even if it dies; then it is started."""
    node = glance.node()
    calm = unharmed(glance)

    pair.crm("configure", "property", "maintenance-mode=true")
    pair.wait()
    calm()
    assert not pair.status().resources[glance.name].managed
    pair.crm("configure", "property", "maintenance-mode=false")
    pair.wait()
    calm()
    pair.until(lambda status: status.resources[glance.name].managed, timeout=PATIENCE)

    pair.crm("configure", "property", "maintenance-mode=true")
    pair.wait()
    glance.kill(glance.family())
    pair.wait()
    assert [] == glance.family(node)
    assert 0 == glance.get()
    pair.crm("configure", "property", "maintenance-mode=false")
    assert node == glance.await_death().node
    assert node == glance.await_settled()
