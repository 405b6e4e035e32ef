"""A node that is lost or shut down: the other node serves, and nothing runs twice.

For a node that is cut off see test_fencing.py.
"""

from __future__ import annotations

import pytest

from cluster.kit import PATIENCE, VIPS, Group, unharmed
from lab.cluster import Cluster
from lab.openstack import ControlPlane

pytestmark = pytest.mark.real


def test_power_loss(glance: Group, cinder: Group, pair: Cluster) -> None:
    """The other node takes over the lost node's services; when that is back, nothing moves."""
    lost = glance.node()
    left = glance.other(lost)
    cinder.move(lost)

    pair.kill(lost)

    for group in (glance, cinder):
        assert left == group.await_on(left)
        assert left == group.await_settled()
        assert [] == group.failures()
    calm = unharmed(glance), unharmed(cinder)
    pair.start(lost)
    pair.wait()
    for ask in calm:
        ask()
    for group in (glance, cinder):
        assert [7] == group.codes("probe", lost)
        assert left == group.await_settled()
        group.await_monitor(0)


def test_orderly_stop(glance: Group, pair: Cluster) -> None:
    """When a node is shut down the other takes its service over; this is no failure."""
    first = glance.node()
    left = glance.other(first)

    pair.stop(first)

    pair.until(lambda status: glance.started(status) == left, timeout=PATIENCE)
    assert left == glance.await_settled()
    assert [0] == glance.codes("stop", first)
    assert [] == glance.failures()
    assert not glance.status().nodes[first].unclean
    calm = unharmed(glance)
    pair.start(first)
    pair.wait()
    calm()


def test_quorum_lost(prerequisites: None) -> None:
    """The last of three nodes stops the service, without quorum; with a second node it is back."""
    with Cluster.temporary(nodes=3) as cluster:
        bind = {"keystone": cluster.address, **VIPS}
        with ControlPlane.temporary(netns=cluster.outside, bind=bind) as cloud:
            cloud.up("keystone")
            glance = Group(cluster, cloud, "glance", cloud.admin_token())
            cluster.configure(glance.text())
            left = glance.await_settled()
            lost = [name for name in cluster.nodes if name != left]

            cluster.kill(lost[0])
            cluster.until(lambda status: not status.online(lost[0]), timeout=PATIENCE)
            cluster.wait()
            assert left == glance.await_settled()
            cluster.kill(lost[1])
            status = cluster.until(lambda status: not status.where(glance.name), timeout=PATIENCE)
            assert not status.quorum
            cluster.wait()
            assert [] == glance.family(left)
            assert [] == glance.nodes_with_address()
            assert 0 == glance.get()
            assert [] == glance.failures()

            cluster.start(lost[0])
            node = glance.await_on(left, lost[0])
            assert glance.status().quorum
            assert node == glance.await_settled()
            assert [] == glance.failures()
