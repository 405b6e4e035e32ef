"""Services under uWSGI in a real cluster fail over as others do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.kit import Group, await_end, mend
from lab.cluster import Cluster
from lab.openstack import ControlPlane
from lab.settings import NEWEST, NEWEST_ENVIRONMENT

pytestmark = pytest.mark.real

VIPS_OF_NEWEST = {"glance": "10.99.0.103", "cinder": "10.99.0.104"}
PROCESSES = {"processes": 2, "threads": 4}


def programs(group: Group) -> set[str]:
    """The names of the executables that its processes run."""
    return {Path(f"/proc/{each.pid}/exe").resolve().name for each in group.family()}


@pytest.fixture(scope="module")
def newest(
    pair: Cluster, cloud: ControlPlane, groups: dict[str, Group]
) -> Iterator[list[Group]]:
    """The newest releases, with the same Keystone as the others; nothing is configured yet."""
    bind = {"keystone": pair.address, **VIPS_OF_NEWEST}
    with ControlPlane.temporary(netns=pair.outside, bind=bind, release=NEWEST) as other:
        parameters = {
            "server": "uwsgi",
            "additional_parameters": f"--virtualenv={NEWEST_ENVIRONMENT}",
            "os_password": cloud.credentials.password,
            **PROCESSES,
        }
        for service in VIPS_OF_NEWEST:
            password = cloud.settings.passwords[service]
            other.set(service, "keystone_authtoken", "password", password)
        yield [
            replace(groups[service], cloud=other, label=f"newest-{service}", parameters=parameters)
            for service in VIPS_OF_NEWEST
        ]


@pytest.fixture
def every(
    pair: Cluster, groups: dict[str, Group], newest: list[Group]
) -> Iterator[list[Group]]:
    """Both services of Debian, with its configuration of uWSGI, and of the newest release."""
    every = [*newest]
    for service, usual in groups.items():
        ini = f"/etc/{service}/{service}-api-uwsgi.ini"
        parameters = {"server": "uwsgi", "uwsgi_ini": ini, **PROCESSES}
        label = f"{service}-uwsgi"
        every += [replace(usual, label=label, parameters=parameters)]
    pair.clear()
    for group in every:
        pair.configure(group.text())
    yield every
    mend(pair)
    pair.clear()


def test_failover(pair: Cluster, every: list[Group]) -> None:
    """After a start, a kill, a move and a node's loss all of them serve at their virtual IPs."""
    for group in every:
        group.await_on(*pair.nodes)
        assert {"uwsgi-core"} == programs(group)
        group.await_monitor(0)

    for group in every:
        family = group.family()
        group.kill(family[:1])
        await_end(family)
    for group in every:
        failure = group.await_death()
        assert failure.node == group.await_on(failure.node)

    first, left = pair.nodes
    for group in every:
        pair.crm("resource", "move", group.group, first, "force")
    for group in every:
        assert first == group.await_on(first)
    pair.wait()
    for group in every:
        pair.crm("resource", "clear", group.group)
    pair.kill(first)
    for group in every:
        assert left == group.await_on(left)
        group.await_monitor(0)
        assert 401 == group.get(token="wrong")


def test_from_one_server_to_the_other(glance_afresh: Group) -> None:
    """Changing the parameter `server` restarts the daemon on its node; the virtual IP is unchanged.

    The same is true for the change back.
    """
    glance = glance_afresh
    node = glance.node()
    address = glance.cluster.history(glance.ip)

    for change, uwsgi in (["set", "server", "uwsgi"], True), (["delete", "server"], False):
        before = glance.family()
        glance.cluster.crm("resource", "param", glance.name, *change)
        await_end(before)
        assert node == glance.await_settled()
        assert uwsgi == (programs(glance) == {"uwsgi-core"})
        glance.await_monitor(0)
        assert [] == glance.failures()
    assert address == glance.cluster.history(glance.ip), "the address was touched"
