"""Fencing: a failed stop, a node that is cut off, a partition, a power switch that fails.

What docs/fencing.md says, row by row. The two nodes are for this file alone, because it counts
which nodes were fenced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.kit import PATIENCE, VIPS, Group, unharmed
from harness import eventually
from lab import switch
from lab.cib import Status
from lab.cluster import Cluster
from lab.openstack import ControlPlane

pytestmark = pytest.mark.real

AGENT = "/usr/lib/ocf/resource.d/openstack/glance-api"
FAILS_TO_STOP = """#!/bin/sh
if [ "$1" = stop ]; then
    echo "ocf-exit-reason:glance-api: process 4711 survives SIGKILL" >&2
    exit 1
fi
exec {agent} "$@"
"""
"""Takes the agent's place: stop fails and the daemon runs on, as if it waited for a disk."""


@pytest.fixture(scope="module")
def service(prerequisites: None) -> Iterator[Group]:
    """The Image API on two nodes with fencing."""
    with Cluster.temporary(nodes=2, fencing=True) as cluster:
        bind = {"keystone": cluster.address, **VIPS}
        with ControlPlane.temporary(netns=cluster.outside, bind=bind) as cloud:
            cloud.up("keystone")
            yield Group(cluster, cloud, "glance", cloud.admin_token())


@pytest.fixture
def glance(service: Group) -> Group:
    """The same, serving."""
    service.ready()
    return service


def keep_from_stopping(group: Group, node: str) -> None:
    """Make each stop on a node fail, until the node boots: the mount is gone then."""
    place = "/run/fails-to-stop"
    text = FAILS_TO_STOP.format(agent=group.cluster.agents / Path(AGENT).name)
    script = 'printf %s "$1" >"$2" && chmod 755 "$2" && mount --bind "$2" "$3"'
    group.cluster.exec(node, ["sh", "-c", script, "sh", text, place, AGENT], check=True)


def await_takeover(group: Group, lost: str, left: str) -> None:
    """Wait until the other node has taken over; assert that the old processes have ended."""
    family = group.family(lost)
    assert family
    group.cluster.until(
        lambda status: group.started(status) == left, timeout=PATIENCE, node=left
    )
    assert [] == [member for member in family if member.alive()]
    assert left == group.await_settled()


def await_return(group: Group, lost: str) -> None:
    """Wait until the fenced node is back; assert that nothing has moved to it."""
    calm = unharmed(group)
    left = group.node()
    group.cluster.await_member(lost)
    group.cluster.wait()
    calm()
    assert [7] == group.codes("probe", lost)
    assert left == group.await_settled()
    group.await_monitor(0)
    assert [] == group.failures()


@contextmanager
def without_fencing(cluster: Cluster) -> Iterator[None]:
    """Disable fencing for a while."""
    cluster.crm("configure", "property", "stonith-enabled=false")
    try:
        yield
    finally:
        cluster.crm("configure", "property", "stonith-enabled=true")


def idle(cluster: Cluster, status: Status) -> bool:
    """Whether Pacemaker is idle. (`Cluster.wait` also waits until no transition is left.)"""
    command = ["crmadmin", "--quiet", f"--status={status.dc}"]
    return "S_IDLE" in cluster.exec(cluster.asked, command).stdout


def crm_mon(group: Group, node: str) -> str:
    """The output of crm_mon, as an operator sees it."""
    said = group.cluster.exec(node, ["crm_mon", "--one-shot", "--inactive"], check=True)
    return " ".join(said.stdout.split())


def await_failed_fencing(group: Group, lost: str, left: str) -> None:
    """Wait until crm_mon shows the failed fencing, and Pacemaker has tried again."""
    said = re.compile(rf"Failed Fencing Actions: \* reboot of {lost} .*failed at")
    eventually(lambda: said.search(crm_mon(group, left)), PATIENCE)
    log = group.cluster.path(left, "/var/log/pacemaker/pacemaker.log")
    failure = f"fence_lab: reboot {lost}: the power switch is broken"
    tried = log.read_text().count(failure)
    eventually(lambda: log.read_text().count(failure) > tried, PATIENCE)


def test_failed_stop(glance: Group) -> None:
    """A node on which a stop fails is fenced, and the other node serves; nothing moves back."""
    cluster, lost = glance.cluster, glance.node()
    left, before = glance.other(lost), glance.cluster.fenced
    keep_from_stopping(glance, lost)

    cluster.crm("resource", "move", glance.group, left, "force")

    await_takeover(glance, lost, left)
    assert [*before, lost] == cluster.fenced
    cluster.crm("resource", "clear", glance.group)
    await_return(glance, lost)
    assert [*before, lost] == cluster.fenced


def test_failed_stop_after_a_fault(glance: Group) -> None:
    """A node is also fenced if a daemon on it has to be restarted, and its stop fails."""
    cluster, lost = glance.cluster, glance.node()
    left, before = glance.other(lost), glance.cluster.fenced
    keep_from_stopping(glance, lost)

    glance.kill(glance.family()[:1])

    cluster.until(lambda status: glance.started(status) == left, timeout=PATIENCE, node=left)
    assert left == glance.await_settled()
    assert [*before, lost] == cluster.fenced
    await_return(glance, lost)


def test_cut_off(glance: Group) -> None:
    """A node that is cut off is fenced before the other takes over; healed, it takes nothing.

    After its boot, while still cut off, it waits for the other node: it starts and fences nothing.
    """
    cluster, lost = glance.cluster, glance.node()
    left, before = glance.other(lost), glance.cluster.fenced

    cluster.cut(lost)

    await_takeover(glance, lost, left)
    assert [*before, lost] == cluster.fenced
    status = cluster.until(lambda status: status.dc == lost, timeout=PATIENCE, node=lost)
    assert not status.quorum
    assert [] == glance.family(lost)
    assert [left] == glance.nodes_with_address()
    cluster.heal(lost)
    await_return(glance, lost)
    assert [*before, lost] == cluster.fenced


def test_nodes_that_part(glance: Group) -> None:
    """Of two nodes that reach clients, but not each other, one is fenced, and the other serves."""
    cluster, before = glance.cluster, glance.cluster.fenced
    for number, node in enumerate(cluster.nodes, 1):
        away = switch.address(3 - number)
        cluster.exec(node, ["ip", "route", "add", "blackhole", away], check=True)

    eventually(lambda: cluster.fenced != before, PATIENCE)

    (lost,) = cluster.fenced[len(before) :]
    left = glance.other(lost)
    cluster.until(lambda status: glance.started(status) == left, timeout=PATIENCE, node=left)
    glance.await_served()
    assert [left] == glance.nodes_with_daemon()
    assert [left] == glance.nodes_with_address()
    cluster.exec(
        left,
        ["ip", "route", "delete", "blackhole", switch.address(int(lost[-1]))],
        check=True,
    )
    await_return(glance, lost)
    assert [*before, lost] == cluster.fenced


def test_fencing_fails(glance: Group) -> None:
    """Services of a lost node start nowhere until it is fenced, or an operator confirms it is off.

    crm_mon says why: the node is UNCLEAN, and fencing has failed.
    """
    cluster, lost = glance.cluster, glance.node()
    left, before = glance.other(lost), glance.cluster.fenced
    cluster.break_fencing()

    cluster.kill(lost)

    await_failed_fencing(glance, lost, left)
    assert f"Node {lost}: UNCLEAN (offline)" in crm_mon(glance, left)
    assert left != glance.node()
    assert [] == glance.nodes_with_daemon()
    assert [] == glance.nodes_with_address()
    assert before == cluster.fenced

    cluster.exec(left, ["stonith_admin", f"--confirm={lost}"], check=True)

    glance.await_on(left)
    assert left == glance.await_settled()
    cluster.mend_fencing()
    cluster.start(lost)
    await_return(glance, lost)


def test_fencing_fails_after_a_failed_stop(glance: Group) -> None:
    """Until the power switch works, the daemon that cannot be stopped remains the only one."""
    cluster, lost = glance.cluster, glance.node()
    left, before = glance.other(lost), glance.cluster.fenced
    family = glance.family()
    keep_from_stopping(glance, lost)
    cluster.break_fencing()

    cluster.crm("resource", "move", glance.group, left, "force")

    await_failed_fencing(glance, lost, left)
    assert f"Node {lost}: UNCLEAN (online)" in crm_mon(glance, left)
    assert family == glance.family(lost)
    assert [lost] == glance.nodes_with_daemon()
    assert [lost] == glance.nodes_with_address()
    assert before == cluster.fenced

    cluster.mend_fencing()

    await_takeover(glance, lost, left)
    cluster.crm("resource", "clear", glance.group)
    await_return(glance, lost)
    assert [*before, lost] == cluster.fenced


def test_failed_stop_without_fencing(glance: Group) -> None:
    """After a failed stop without fencing the service stays blocked, until there is fencing."""
    cluster, lost = glance.cluster, glance.node()
    left, before = glance.other(lost), glance.cluster.fenced
    family = glance.family()
    with without_fencing(cluster):
        keep_from_stopping(glance, lost)

        cluster.crm("resource", "move", glance.group, left, "force")

        cluster.until(lambda status: status.resources[glance.name].blocked, timeout=PATIENCE)
        cluster.until(lambda status: idle(cluster, status), timeout=PATIENCE)
        assert "(blocked)" in crm_mon(glance, lost)
        assert family == glance.family(lost)
        assert [lost] == glance.nodes_with_daemon()
        assert before == cluster.fenced

    await_takeover(glance, lost, left)
    cluster.crm("resource", "clear", glance.group)
    await_return(glance, lost)


def test_cut_off_without_fencing(glance: Group) -> None:
    """Until the nodes reach each other again each one has the service; then it runs once."""
    cluster, apart = glance.cluster, glance.node()
    left, before = glance.other(apart), glance.cluster.fenced
    family = glance.family()
    with without_fencing(cluster):
        cluster.cut(apart)

        cluster.until(
            lambda status: glance.started(status) == left, timeout=PATIENCE, node=left
        )
        glance.await_served()
        assert {apart, left} == {*glance.nodes_with_daemon()}
        assert family == glance.family(apart)
        assert before == cluster.fenced
        cluster.heal(apart)
        eventually(lambda: len(glance.nodes_with_daemon()) < 2, PATIENCE)
        node = glance.await_settled()
        glance.await_monitor(0)
        assert [node] == list(glance.status().resources[glance.name].nodes)
        assert {} == glance.fail_counts()
