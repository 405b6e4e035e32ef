"""The HA guide's own text: its primitives, pasted into `crm configure`, run with Keystone v3.

Only the VIP, the password and the paths of the files are the lab's. The guide's monitor has an
interval of 30 s; 5 s here, so that the test sees more than the first monitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.kit import PATIENCE, TOKEN, timely
from lab.cib import Operation, Status
from lab.cluster import Cluster
from lab.openstack import ControlPlane

pytestmark = pytest.mark.real

VIPS = {"glance": "10.99.0.101", "cinder": "10.99.0.102"}

# Word for word as in the guide, except for the words in capitals.
GUIDE = {
    "glance": """\
primitive p_glance-api ocf:openstack:glance-api \\
  params config="CONFIG" \\
  os_password="PASSWORD" \\
  os_username="USER" os_tenant_name="PROJECT" \\
  os_auth_url="http://VIP:5000/v2.0/" \\
  op monitor interval="30s" timeout="30s"
""",
    "cinder": """\
primitive p_cinder-api ocf:openstack:cinder-api \\
  params config="CONFIG" \\
  os_password="PASSWORD" \\
  os_username="USER" os_tenant_name="PROJECT" \\
  keystone_get_token_url="http://VIP:5000/v2.0/tokens" \\
  op monitor interval="30s" timeout="30s"
""",
}


@pytest.fixture(scope="module")
def guide_pair() -> Iterator[Cluster]:
    """Two nodes."""
    with Cluster.temporary(token=TOKEN) as cluster:
        # The guide has no timeout of a start, and Pacemaker's default is 20 s: not always enough on
        # a machine that is busy with other tests.
        cluster.crm("configure", "op_defaults", "timeout=90s")
        yield cluster


@pytest.fixture(scope="module")
def guide_cloud(guide_pair: Cluster) -> Iterator[ControlPlane]:
    """Keystone at the switch, whose address is the guide's VIP; the services listen everywhere."""
    bind = {"keystone": guide_pair.address, "glance": "0.0.0.0", "cinder": "0.0.0.0"}
    with ControlPlane.temporary(netns=guide_pair.outside, bind=bind) as cloud:
        cloud.up("keystone")
        yield cloud


@pytest.mark.parametrize("service", GUIDE)
def test_primitive_of_the_guide(
    guide_pair: Cluster, guide_cloud: ControlPlane, folder: Path, service: str
) -> None:
    """The guide's primitive is accepted, starts a real service, and its monitor gets a token."""
    user, name = guide_cloud.credentials, f"p_{service}-api"
    text = GUIDE[service].replace('interval="30s"', 'interval="5s"')
    for placeholder, value in {
        "CONFIG": str(guide_cloud.config(service)),
        "PASSWORD": user.password,
        "USER": user.username,
        "PROJECT": user.project_name,
        "VIP": guide_pair.address,
    }.items():
        text = text.replace(placeholder, value)
    (folder / "typed").write_text(f"{text}commit\n")
    try:
        typed = f"crm configure <{folder}/typed"
        done = guide_pair.exec("node1", ["sh", "-c", typed], check=True)
        assert "ERROR" not in done.stdout + done.stderr

        # On a busy machine the first monitor may find that Keystone is late.
        first = guide_pair.until(
            lambda s: s.where(name) and {0} == {done.code for done in _monitors(guide_pair, name)},
            timeout=PATIENCE,
        )
        node = first.where(name)

        assert node
        assert [] == timely(first.failures)
        # It checked more than the version document: it has asked Keystone, and kept the token.
        state = f"/run/resource-agents/openstack/{service}-api:{name}.json"
        kept = guide_pair.exec(node, ["cat", state], check=True).stdout
        assert '"token": "gAAAA' in kept
        # And it notices a password that Keystone refuses.
        guide_pair.crm("resource", "param", name, "set", "os_password", "wrong")
        status = guide_pair.until(lambda status: _degraded(status, name), timeout=PATIENCE)
        assert node == status.where(name)
    finally:
        guide_pair.clear()


def _monitors(cluster: Cluster, name: str) -> list[Operation]:
    found = [done for done in cluster.history(name) if done.interval]
    return [done for done in found if done.status >= 0]  # not one that is still running


def _degraded(status: Status, name: str) -> bool:
    found = timely(status.failed(name))
    return [190] == [one.code for one in found] and "Keystone refuses user" in found[0].reason
