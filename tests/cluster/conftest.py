"""Two real nodes and a real control plane, which the tests of this folder share.

Each test finds its service running and clean, and may leave it in any state: the next test
repairs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from cluster.kit import TOKEN, VIPS, Group, addresses, mend
from lab import seed
from lab.cluster import PACKAGES, Cluster
from lab.openstack import ControlPlane


@pytest.fixture(scope="session")
def prerequisites(need_packages: Callable[[Iterable[str], str], None]) -> None:
    """The packages of a cluster with a control plane."""
    need_packages(
        [*PACKAGES, *seed.packages("sqlite"), "python3-keystoneauth1"],
        "python3 -m lab.cluster install, python3 -m lab.openstack install",
    )


@pytest.fixture(scope="session")
def shared_pair(prerequisites: None) -> Iterator[Cluster]:
    """The two nodes, for the whole run."""
    with Cluster.temporary(nodes=2, token=TOKEN) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pair(shared_pair: Cluster) -> Iterator[Cluster]:
    """The two nodes; nothing runs in them when a module is done."""
    yield shared_pair
    mend(shared_pair)
    shared_pair.clear()
    left = {node: addresses(shared_pair, node) for node in shared_pair.nodes}
    assert not any({*VIPS.values()} & {*there} for there in left.values()), left


@pytest.fixture(scope="session")
def cloud(shared_pair: Cluster) -> Iterator[ControlPlane]:
    """The control plane: Keystone at the switch, the APIs' databases within reach of each node."""
    bind = {"keystone": shared_pair.address, **VIPS}
    with ControlPlane.temporary(netns=shared_pair.outside, bind=bind) as cloud:
        cloud.up("keystone")
        yield cloud


@pytest.fixture(scope="session")
def groups(shared_pair: Cluster, cloud: ControlPlane) -> dict[str, Group]:
    """Both services, with their virtual IPs; nothing is configured yet."""
    token = cloud.admin_token()
    return {service: Group(shared_pair, cloud, service, token) for service in VIPS}


@pytest.fixture
def glance(pair: Cluster, groups: dict[str, Group]) -> Group:
    """The Image API, serving."""
    groups["glance"].ready()
    return groups["glance"]


@pytest.fixture
def glance_afresh(pair: Cluster, groups: dict[str, Group]) -> Group:
    """The Image API, serving, with a history that begins with its start."""
    groups["glance"].ready(afresh=True)
    return groups["glance"]


@pytest.fixture
def cinder(pair: Cluster, groups: dict[str, Group]) -> Group:
    """The Block Storage API, serving."""
    groups["cinder"].ready()
    return groups["cinder"]


@pytest.fixture(params=sorted(VIPS))
def api(request: pytest.FixtureRequest, pair: Cluster, groups: dict[str, Group]) -> Group:
    """Each service, serving."""
    group = groups[request.param]
    group.ready()
    return group
