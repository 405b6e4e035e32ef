"""Every snippet of crm/, loaded by crmsh, has the same effect as its pcs commands in docs/pcs.md.

Both are loaded into a real cluster, and checked by its Pacemaker.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from cluster.docs_cib import meaning
from cluster.docs_page import DOCS, ROOT, Block, blocks
from cluster.kit import PATIENCE, TOKEN, VIPS, timely
from harness import eventually
from lab.cluster import Cluster
from lab.openstack import ControlPlane

pytestmark = pytest.mark.real

CRM = ROOT / "crm"
SNIPPETS = sorted(path.name for path in CRM.glob("*.crm"))
# Pacemaker rightly calls a configuration wrong that enables fencing without a device.
FENCE = 'primitive p_fence stonith:null params hostlist="node1 node2"'

HINTS = (
    "Warning: Defaults do not apply to resources which override them",
    # From 0.12 on, pcs has the agents validate their parameters by default.
    "Warning: Validating resource options using the resource agent itself",
    "Warning: Validation result from agent:",
)
# IPaddr2 is right: the addresses are the page's, not the lab's.
NO_SUCH_NETWORK = ("ERROR: Unable to find nic or netmask.", "ocf-exit-reason:[findif] failed")


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two nodes with the recheck interval of 15 min, Pacemaker's default."""
    seldom = {"cluster-recheck-interval": "15min"}
    with Cluster.temporary(properties=seldom, token=TOKEN) as cluster:
        yield cluster


@pytest.fixture
def cluster(pair: Cluster) -> Iterator[Cluster]:
    """The same with an empty configuration, which is restored afterwards."""
    before = pair.exec("node1", ["cibadmin", "--query", "--scope=configuration"], check=True)
    yield pair
    pair.clear()
    replace = ["cibadmin", "--replace", "--scope=configuration", f"--xml-text={before.stdout}"]
    pair.exec("node1", replace, check=True)


@pytest.fixture
def stopped(cluster: Cluster) -> Cluster:
    """The same, but Pacemaker starts nothing: the addresses of the snippets are not the lab's."""
    cluster.crm("configure", "property", "stop-all-resources=true")
    return cluster


def query(cluster: Cluster) -> Element:
    """The CIB, without the property that nothing is to be started."""
    cib = cluster.exec("node1", ["cibadmin", "--query"], check=True).stdout
    root = ElementTree.fromstring(cib)
    properties = root.find("configuration/crm_config/cluster_property_set")
    assert properties is not None
    for pair in list(properties):
        if pair.get("name") == "stop-all-resources":
            properties.remove(pair)
    return root


def load(cluster: Cluster, file: Path) -> str:
    """Load a snippet as an operator does; return crmsh's output, without warnings of the lab."""
    done = cluster.crm("configure", "load", "update", str(file))
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if "Blind faith" not in line)


def verify(cluster: Cluster, cib: Element) -> None:
    """Assert that Pacemaker finds no error in a CIB, and warns only of the lab's fencing."""
    text = ElementTree.tostring(cib, encoding="unicode")
    done = cluster.exec("node1", ["crm_verify", "--verbose", f"--xml-text={text}"])
    said = [line for line in done.stderr.splitlines() if "Blind faith" not in line]
    assert (0, []) == (done.code, said)


def twins() -> dict[str, Block]:
    """The pcs blocks of docs/pcs.md that repeat a snippet, by the snippet."""
    page = blocks(DOCS / "pcs.md")
    return {block.argument: block for block in page if block.kind == "twin"}


def test_every_snippet_has_a_twin() -> None:
    """docs/pcs.md has a block for each snippet, and no other."""
    assert SNIPPETS == sorted(twins())


@pytest.mark.parametrize("name", SNIPPETS)
def test_snippet_and_twin(stopped: Cluster, name: str, folder: Path) -> None:
    """A snippet by crmsh makes the same CIB as its twin by pcs, without warnings; comments stay."""
    if name == "properties.crm":
        stopped.configure(FENCE)
    saved = stopped.exec("node1", ["pcs", "cluster", "cib"], check=True).stdout
    (folder / "cib.xml").write_text(saved)

    assert not load(stopped, CRM / name)
    script = f"cd {folder} && set -e\n{twins()[name].text}"
    # A command of pcs takes a second, and a controller has many.
    done = stopped.exec("node1", ["sh", "-c", script], check=True, timeout=600)

    warned = [line for line in done.stderr.splitlines() if not line.startswith((*HINTS, "Adding "))]
    assert [] == [line for line in warned if not line.endswith(NO_SUCH_NETWORK)]
    shown = stopped.crm("configure", "show").stdout.splitlines()
    comments = [line for line in (CRM / name).read_text().splitlines() if line[:2] == "# "]
    assert comments
    if name != "properties.crm":  # crmsh cannot store them in a set that exists already
        assert [] == [line for line in comments if line not in shown]
    by_crmsh, by_pcs = query(stopped), ElementTree.parse(folder / "cib.xml").getroot()
    assert meaning(by_crmsh)["properties"] == {
        key: value
        for key, value in meaning(by_pcs)["properties"].items()
        if key != "stop-all-resources"
    }
    assert {**meaning(by_crmsh), "properties": {}} == {**meaning(by_pcs), "properties": {}}
    for cib in (by_crmsh, by_pcs):
        verify(stopped, cib)
    # Only the configuration: after crmsh's load the cluster's CIB is newer than the file.
    push = f"cd {folder} && pcs cluster cib-push cib.xml --config"
    stopped.exec("node1", ["sh", "-c", push], check=True)


def test_ipv6_differs_in_addresses_only() -> None:
    """The IPv6 snippet of a service differs from the IPv4 snippet in addresses only."""
    for service in VIPS:
        four = (CRM / f"{service}-api.crm").read_text().splitlines()
        six = (CRM / f"{service}-api-ipv6.crm").read_text().splitlines()
        known = ("params ip=", "os_auth_url=", "preferred_lft 0:", "Load it:", "# Made from ",
                 "is the virtual IP, ")
        for line in set(four) ^ set(six):
            assert any(word in line for word in known), line


def lab_snippet(cloud: ControlPlane, name: str, shorter: dict[str, str]) -> str:
    """A snippet with the lab's addresses and password, and shorter times."""
    text = (CRM / name).read_text()
    known = {
        "10.0.0.11": cloud.server("keystone").address,
        "[2001:db8::11]": cloud.server("keystone").address,
        "10.0.0.12": VIPS["glance"],
        "10.0.0.13": VIPS["cinder"],
        "2001:db8::12": "fd00:99::101",
        "2001:db8::13": "fd00:99::102",
        "/etc/glance/glance-api.conf": str(cloud.config("glance")),
        "/etc/cinder/cinder.conf": str(cloud.config("cinder")),
        "SECRET": cloud.credentials.password,
        **shorter,
    }
    for old, new in known.items():
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def cloud(pair: Cluster) -> Iterator[ControlPlane]:
    """A database and Keystone at the switch."""
    bind = {"keystone": pair.address, **VIPS}
    with ControlPlane.temporary(netns=pair.outside, bind=bind) as cloud:
        cloud.up("keystone")
        yield cloud


# Monitors run more often. The timeouts are those of the snippet: a shorter one would make a start
# fail on a busy machine, where Glance needs 15 s, on one node after the other.
OFTENER = {
    'op monitor interval="30s"': 'op monitor interval="3s"',
    'op monitor interval="10s" timeout="30s"': 'op monitor interval="1s" timeout="30s"',
}
# As in the snippet, the timeout is longer than the time between two failures, and no longer than
# three starts.
TENTH = {**OFTENER, 'failure-timeout="180s"': 'failure-timeout="36s"'}


def test_database_outage_heals_by_itself(cluster: Cluster, cloud: ControlPlane) -> None:
    """Both services lose their databases and fail on both nodes; with the databases they return.

    The times of the snippets are shorter here. No operator does anything: no cleanup, no recheck.
    """
    text = "\n".join(lab_snippet(cloud, f"{name}-api.crm", TENTH) for name in VIPS)
    cluster.configure(text + "\nproperty start-failure-is-fatal=false")
    names = [f"p_{name}-api" for name in VIPS]
    cluster.until(lambda status: all(map(status.where, names)), timeout=PATIENCE)
    with cloud.without_database("glance"), cloud.without_database("cinder"):
        # On a busy machine a failure may expire before the next one: a start takes that long.
        for name in names:
            eventually(partial(failed_again, cluster, name, set()), PATIENCE)

    status = cluster.until(
        lambda status: all(map(status.where, names)) and not status.fail_counts, timeout=PATIENCE
    )

    assert not any(found.blocked for found in status.resources.values())


def failed_again(cluster: Cluster, name: str, seen: set[tuple[str, int]]) -> bool:
    """Whether more than one operation has failed, on any node; seen collects them."""
    seen.update((done.node, done.call) for done in cluster.history(name) if done.code == 1)
    return len(seen) > 1


def test_ipv6_address_serves(cluster: Cluster, cloud: ControlPlane) -> None:
    """The IPv6 snippet starts a service that answers at its IPv6 address, and is monitored."""
    before = cloud.config("glance").read_text()
    cloud.set("glance", "DEFAULT", "bind_host", "fd00:99::101")
    try:
        cluster.configure(lab_snippet(cloud, "glance-api-ipv6.crm", OFTENER))
        monitored = ("monitor", 3.0, 0)
        status = cluster.until(
            lambda status: status.where("p_glance-api") and monitored
            in [(o.operation, o.interval, o.code) for o in cluster.history("p_glance-api")],
            timeout=PATIENCE,
        )
        assert [] == timely(status.failures)
        answer = cloud.server("glance").get("/v2/images?limit=1", token=cloud.token())
        assert 200 == answer.status
    finally:
        cluster.clear()
        cloud.config("glance").write_text(before)
