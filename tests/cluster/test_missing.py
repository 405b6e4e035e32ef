"""A service whose files or parameters are missing: stop works, and no resource is blocked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.kit import FOREVER, PATIENCE, Group, gone, unharmed
from harness import eventually
from lab.cluster import Cluster

pytestmark = pytest.mark.real


def program(group: Group) -> Path:
    return Path(f"/usr/bin/{group.service}-api")


def test_gone_where_it_runs(glance: Group) -> None:
    """A service without its files runs on, and can be moved; a start there fails: it goes back."""
    node = glance.node()
    other = glance.other(node)
    calm = unharmed(glance)

    with gone(glance.cluster, node, program(glance), glance.config.parent):
        glance.await_monitors(2)
        calm()
        assert [] == glance.failures()

        glance.move(other)
        assert other == glance.await_settled()
        assert [0] == glance.codes("stop", node)
        assert [] == glance.failures()

        glance.cluster.crm("resource", "move", glance.group, node, "force")
        failure = glance.await_failure("start", 5)
        # The constraint would keep the address there, and the service with it.
        glance.cluster.crm("resource", "clear", glance.group)
        assert node == failure.node
        assert "binary=glance-api is not an executable on this node" in failure.reason
        assert other == glance.await_settled()
        assert {node: FOREVER} == glance.fail_counts()

    glance.cleanup()
    glance.move(node)
    assert node == glance.await_settled()
    assert [] == glance.failures()


def test_password_gone(glance_afresh: Group) -> None:
    """With half of its credentials the service runs on, degraded; stop works, start does not.

    It serves again as soon as the password is back.
    """
    glance = glance_afresh
    calm = unharmed(glance)
    node = glance.node()
    try:
        glance.cluster.crm("resource", "param", glance.name, "delete", "os_password")
        failure = glance.await_failure("monitor", 190)
        assert "glance-api answers; not checked: " in failure.reason
        assert "os_password" in failure.reason
        glance.await_monitors(2, "/")
        calm()

        glance.cluster.crm("resource", "move", glance.group, glance.other(node), "force")
        failure = glance.await_failure("start", 6)
        assert "os_password" in failure.reason
        glance.cluster.wait()
        resource = glance.status().resources[glance.name]
        assert ("Stopped", False) == (resource.role, resource.blocked)
        assert [0] == glance.codes("stop", node)
        assert [] == glance.nodes_with_daemon()
    finally:
        glance.set("os_password", glance.cloud.credentials.password)

    glance.await_on(*glance.cluster.nodes)
    glance.await_settled()
    assert [] == glance.failures()


def test_probe_without_the_software(pair: Cluster, groups: dict[str, Group]) -> None:
    """A probe on a node without the software is 5, and the service runs on the other node.

    This is so for a new resource and for one that runs; with the software the probe is 7.
    """
    glance = groups["glance"]
    glance.ready()
    node = glance.node()
    bare = glance.other(node)
    calm = unharmed(glance)

    with gone(pair, bare, program(glance)):
        pair.crm("resource", "refresh", glance.name)
        eventually(lambda: [5] == glance.codes("probe", bare), PATIENCE)
        (probe,) = glance.history("probe", bare)
        assert "binary=glance-api is not an executable on this node" in probe.reason
        pair.wait()
        calm()
        assert [] == glance.failures(), "Pacemaker does not show it among the failures"
        assert not glance.status().resources[glance.name].blocked

        pair.clear()
        pair.configure(glance.text())
        pair.until(glance.started, timeout=PATIENCE)
        assert node == glance.await_settled()
        assert [5] == glance.codes("probe", bare)
        assert [] == glance.history("start", bare)
        assert [] == glance.failures()
        calm = unharmed(glance)

    pair.crm("resource", "refresh", glance.name)
    pair.wait()
    assert [] == glance.failures()
    assert [7] == glance.codes("probe", bare)
    calm()
