"""An operator's work on a running service: takeover from a shell agent, refresh, restarts."""

from __future__ import annotations

import pytest

from cluster.kit import PATIENCE, Group, unharmed
from harness import eventually
from lab.cluster import Cluster

pytestmark = pytest.mark.real

SHELL_AGENT = """su "$1" -s /bin/sh -c "$2 --config-file $3"' >> /dev/null 2>&1 & echo $!' > "$4"
"""
"""The line by which the shell agents of the HA guide start a daemon."""


def test_daemon_of_a_shell_agent(pair: Cluster, groups: dict[str, Group]) -> None:
    """A daemon that a shell agent has started is taken over by its pidfile, and then stopped."""
    group = groups["glance"]
    pair.clear()
    pair.configure(group.address())
    started = pair.until(lambda status: status.where(group.ip), timeout=PATIENCE)
    node = started.where(group.ip)
    pidfile = f"/run/resource-agents/{group.name}.pid"
    pair.exec(
        node,
        [
            *("env", f"OCF_RESOURCE_INSTANCE={group.name}", "sh", "-c", SHELL_AGENT, "sh"),
            *("glance", "/usr/bin/glance-api", str(group.config), pidfile),
        ],
        check=True,
    )
    group.await_served()
    # The first worker may serve before the last one is started.
    eventually(lambda: len(group.family(node)) == 1 + group.cloud.settings.workers, PATIENCE)
    family = group.family(node)

    pair.configure(group.text())

    pair.until(group.started, timeout=PATIENCE)
    assert node == group.await_settled()
    assert family == group.family()
    assert [0] == group.codes("probe", node)
    assert [] == group.history("start", node)
    group.await_monitors(2)
    group.await_monitor(0)
    assert [] == group.failures()
    pair.crm("resource", "refresh", group.name)
    pair.wait()
    assert family == group.family()

    pair.crm("resource", "stop", group.group)
    pair.wait()
    assert [0] == group.codes("stop", node)
    assert not any(old.alive() for old in family)
    pair.crm("resource", "start", group.group)
    group.await_on(*pair.nodes)


def test_refresh(glance: Group) -> None:
    """After a refresh the probes find the service as it is, and it runs on."""
    calm = unharmed(glance)
    node = glance.node()
    (before,) = glance.history("monitor", node)

    glance.cluster.crm("resource", "refresh", glance.name)

    glance.cluster.wait()
    calm()
    assert [0] == glance.codes("probe", node)
    assert [7] == glance.codes("probe", glance.other(node))
    glance.await_monitor(0)
    (after,) = glance.history("monitor", node)
    assert after.call > before.call
    assert [] == glance.failures()
    assert 200 == glance.get()


def test_pacemaker_restarted(glance: Group, pair: Cluster) -> None:
    """When Pacemaker is restarted on a node, the service moves away first, and stays away."""
    first = glance.node()

    pair.restart_pacemaker(first)

    assert glance.other(first) == glance.await_settled()
    assert [] == glance.failures()
    assert [7] == glance.codes("probe", first)


def test_pacemaker_restarted_in_maintenance_mode(glance: Group, pair: Cluster) -> None:
    """In maintenance mode a service runs on while Pacemaker is restarted, and is found again."""
    calm = unharmed(glance)
    node = glance.node()
    pair.crm("configure", "property", "maintenance-mode=true")
    pair.wait()

    pair.restart_pacemaker(node)
    pair.until(lambda status: glance.started(status) == node, timeout=PATIENCE)
    calm()
    assert 200 == glance.get()
    pair.crm("configure", "property", "maintenance-mode=false")

    pair.until(lambda status: status.resources[glance.name].managed, timeout=PATIENCE)
    pair.wait()
    calm()
    glance.await_monitor(0)
    assert [0] == glance.codes("probe", node)
    assert [] == glance.history("start", node) + glance.history("stop", node)
