"""A daemon that dies, hangs, or loses its database is recovered on its node, with a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.kit import FOREVER, PATIENCE, Group, await_end
from harness import eventually
from lab import process

pytestmark = pytest.mark.real

FAILURE_TIMEOUT = 6
"""Seconds after which Pacemaker forgets a failure, in tests where it has to try again itself."""


@pytest.fixture
def forgiving(api: Group) -> Iterator[Group]:
    """Each service, with failures that Pacemaker forgets."""
    timeout = f"{FAILURE_TIMEOUT}s"
    api.cluster.crm("resource", "meta", api.name, "set", "failure-timeout", timeout)
    api.cluster.wait()
    yield api
    api.cluster.crm("resource", "meta", api.name, "delete", "failure-timeout")


def recovered(group: Group, node: str) -> None:
    """Assert that it serves again on the same node, and that its fail count is 1."""
    assert node == group.await_settled()
    assert {node: 1} == group.fail_counts()
    assert [0] == group.codes("start", node)
    group.await_monitor(0)
    assert [] == group.history("start", group.other(node))


def test_master_killed_workers_hold_on(glance: Group) -> None:
    """Glance's workers outlive their master and still answer: they are ended, all is started."""
    node = glance.node()
    family = glance.family()
    glance.await_monitors(1)

    glance.kill(family[:1])

    failure = glance.await_failure("monitor")
    assert node == failure.node
    assert "glance-api: the master process is gone, 2 of its processes hold on" in failure.reason
    recovered(glance, node)
    assert not any(old.alive() for old in family)


def test_master_killed_workers_end(cinder: Group) -> None:
    """Cinder's workers end with their master: the monitor is 7, and the service is started."""
    node = cinder.node()
    family = cinder.family()
    cinder.await_monitors(1)

    cinder.kill(family[:1])

    await_end(family)
    assert node == cinder.await_death().node
    recovered(cinder, node)


def test_all_killed(api: Group) -> None:
    """A daemon of which no process is left is found not running, and is started."""
    node = api.node()
    api.await_monitors(1)

    api.kill(api.family())

    assert node == api.await_death().node
    recovered(api, node)


def test_workers_hang(api: Group) -> None:
    """Workers that take connections and never answer are found by the check, and replaced."""
    node = api.node()
    family = api.family()

    process.freeze(family[1:])

    failure = api.await_failure("monitor")
    assert node == failure.node
    assert f"{api.service}-api at http://{api.vip}:" in failure.reason
    assert "does not answer in time" in failure.reason
    recovered(api, node)
    assert not any(old.alive() for old in family)


def test_migration_threshold(glance: Group) -> None:
    """A service that fails as often as migration-threshold goes to the other node."""
    glance.cluster.crm("resource", "meta", glance.name, "set", "migration-threshold", "2")
    try:
        node = glance.node()
        glance.kill(glance.family())
        glance.await_death()
        recovered(glance, node)

        glance.kill(glance.family())
        assert glance.other(node) == glance.await_on(glance.other(node))

        assert glance.other(node) == glance.await_settled()
        assert {node: 2} == glance.fail_counts()
        assert [0] == glance.codes("stop", node)
    finally:
        glance.cluster.crm("resource", "meta", glance.name, "delete", "migration-threshold")


@pytest.mark.parametrize("api", ["glance"], indirect=True)
def test_glance_without_database(forgiving: Group) -> None:
    """Glance without its database answers 500, is restarted there, and serves with the database.

    No cleanup is needed: the failures are forgotten.
    """
    glance = forgiving
    node = glance.node()

    with glance.cloud.without_database("glance"):
        failure = glance.await_failure("monitor")
        assert node == failure.node
        assert "glance-api answers 500 to GET /v2/images at http://" in failure.reason
        # It starts without its database, and the monitor after another start fails again.
        # Both need not be counted at the same time: Pacemaker may have forgotten the first.
        calls: set[int] = set()

        def found_out_again() -> bool:
            calls.update(done.call for done in glance.history("monitor", node) if done.code == 1)
            return len(calls) > 1

        eventually(found_out_again, PATIENCE)
        eventually(lambda: glance.get("/", token="") == 300, PATIENCE)
        eventually(lambda: glance.get() == 500, PATIENCE)

    glance.await_served()
    glance.cluster.until(glance.forgiven, timeout=PATIENCE)
    assert node == glance.await_settled()
    glance.await_monitor(0)


@pytest.mark.parametrize("api", ["cinder"], indirect=True)
def test_cinder_without_database(forgiving: Group) -> None:
    """Cinder without its database does not start, on either node, and is not blocked.

    It serves again when the database is back and the failed starts are forgotten.
    """
    cinder = forgiving
    node = cinder.node()

    with cinder.cloud.without_database("cinder"):
        failure = cinder.await_failure("monitor")
        assert node == failure.node
        assert "cinder-api answers 500 to GET /v3/volumes at http://" in failure.reason
        tried: dict[str, str] = {}

        def tried_everywhere() -> bool:
            for done in cinder.cluster.history(cinder.name):
                if (done.operation, done.code) == ("start", 1):
                    tried[done.node] = done.reason
            return tried.keys() == {*cinder.cluster.nodes}

        eventually(tried_everywhere, PATIENCE)
        for reason in tried.values():
            assert reason.startswith("cinder-api ended")
            assert "unable to open" in reason
        eventually(lambda: FOREVER in cinder.fail_counts().values(), PATIENCE)
        assert 0 == cinder.get()
        assert not cinder.status().resources[cinder.name].blocked

    cinder.await_served()
    cinder.cluster.until(cinder.forgiven, timeout=PATIENCE)
    cinder.await_settled()
    cinder.await_monitor(0)
