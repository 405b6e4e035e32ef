"""The testbed of `make bench-failover`: what its page says of the cluster is so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from bench import course, failover
from bench.targets import TARGETS
from lab import controller

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def testbed(need_packages: Callable[[Sequence[str], str], None]) -> Iterator[course.Testbed]:
    """Two nodes with what the services need; for this file alone."""
    need_packages([*controller.packages(), *failover.CLUSTER], "make control-plane")
    with course.Testbed.temporary() as testbed:
        yield testbed


def test_no_delay(testbed: course.Testbed) -> None:
    """A lost node is fenced without a delay, whichever service is measured, and in which turn."""
    nodes = testbed.here.cluster
    for name in ("placement-api", "keystone"):
        with testbed.serving(TARGETS[name], *failover.FIRST):
            cib = nodes.exec(nodes.asked, ["cibadmin", "--query"], check=True).stdout
        assert "fence_node1" in cib
        assert "pcmk_delay_base" not in cib, name


def test_no_quota(testbed: course.Testbed) -> None:
    """Volumes that are never made, since their requests were lost, keep none from being made."""
    target = TARGETS["cinder-volume"]
    with testbed.serving(target, *failover.FIRST) as served, served.volumes().asking():
        path = f"/v3/{testbed.project}/os-quota-sets/{testbed.project}"
        answer = testbed.here.cloud.server("cinder").request("GET", path, token=testbed.token)
    assert -1 == answer.json()["quota_set"]["volumes"]
