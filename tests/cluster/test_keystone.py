"""Keystone is in trouble, and the service is not at fault: no restart, no move, and a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.kit import PATIENCE, Group, unharmed
from harness import eventually
from lab.cib import Failure

pytestmark = pytest.mark.real

ROOT = "/"
"""The monitor's path without a token: the public version document."""


@pytest.fixture
def watched(glance: Group) -> Iterator[Group]:
    """The Image API; after the test the same processes run, and a cleanup leaves no failure."""
    calm = unharmed(glance)
    yield glance
    glance.cloud.up("keystone")
    glance.await_monitor(0)
    calm()
    glance.cleanup()
    glance.cluster.wait()
    glance.await_monitor(0)
    assert [] == glance.failures()
    calm()


def degraded(group: Group, node: str, *words: str) -> None:
    """Assert that crm_mon shows 190 on a node, with these words, and that nothing is restarted."""

    def shown() -> list[Failure]:
        return [
            failure
            for failure in group.status().failed(group.name)
            if failure.node == node and all(word in failure.reason for word in words)
        ]

    (failure,) = eventually(shown, PATIENCE)
    assert ("monitor", 190) == (failure.operation, failure.code)
    assert node == group.node()
    calm = unharmed(group)
    group.await_monitors(2, ROOT)
    calm()
    assert [failure] == shown()
    resource = group.status().resources[group.name]
    assert ("Started", False, False) == (resource.role, resource.failed, resource.blocked)
    assert [190] == group.codes("monitor", group.node())
    assert 300 == group.get(ROOT, token="")


def test_keystone_down(watched: Group) -> None:
    """While Keystone is down the monitor is 0 with a known token; without a token it is 190.

    When Keystone is back it is 0 again. crm_mon shows the last failure until a cleanup.
    """
    calm = unharmed(watched)
    watched.introduce()
    watched.cloud.down("keystone")

    watched.await_monitors(3)
    assert [0] == watched.codes("monitor", watched.node())
    assert [] == watched.failures()
    calm()

    watched.forget()
    node = watched.node()
    degraded(watched, node, "glance-api answers; Keystone at http://", "cannot be reached")

    watched.cloud.up("keystone")
    watched.await_monitor(0)
    calm()
    assert 200 == watched.get()
    assert [190] == [failure.code for failure in watched.failures()]


def test_keystone_hangs(watched: Group) -> None:
    """While Keystone accepts connections and never answers, the monitor is 190, and in time."""
    with watched.cloud.frozen("keystone"):
        watched.forget()
        node = watched.node()
        degraded(watched, node, "glance-api answers; Keystone at http://", "in time")


def test_keystone_down_at_start(glance: Group) -> None:
    """A service is started and moved without Keystone: 190 from its first monitor on, then 0."""
    other = glance.other(glance.node())
    glance.cloud.down("keystone")
    try:
        glance.cluster.crm("resource", "move", glance.group, other, "force")
        degraded(glance, other, "glance-api answers; Keystone at http://", "cannot be reached")
        assert [0] == glance.codes("start", other)
        # A monitor on the first node may have failed in the same way.
        assert {190} == {failure.code for failure in glance.failures()}
    finally:
        glance.cloud.up("keystone")
    calm = unharmed(glance)
    glance.await_monitor(0)
    glance.await_served()
    calm()


def test_wrong_password(glance_afresh: Group) -> None:
    """With a wrong monitoring password the API serves on; with the right one crm_mon is clean."""
    watched = glance_afresh
    calm = unharmed(watched)
    try:
        watched.set("os_password", "not-the-password")
        degraded(watched, watched.node(), "glance-api answers; Keystone refuses user monitor")
        assert 200 == watched.get()
    finally:
        watched.set("os_password", watched.cloud.credentials.password)

    watched.cluster.wait()
    watched.await_monitor(0)
    assert [] == watched.failures()
    calm()
