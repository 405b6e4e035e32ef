"""`lint --takeover`: its forecast for older clusters, and what real agents then do."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import expect
from lookalike.service import MakeService
from lookalike.strangers import start_by_shell
from openstack_ocf import agents, pacemaker
from openstack_ocf.takeover import (
    ENDS,
    OLDER,
    OURS_ALONE,
    RESTARTS,
    STARTED_WITH,
    STAYS,
    TAKEN,
    takeover,
)
from tool.kit import EMPTY, ROOT, command, loaded, primitive, there
from tool.test_init import CHARM, CHARM_DNS, TRIPLEO
from tool.test_lint import GUIDE, SNIPPETS

PEERS = json.loads((ROOT / "tests" / "declaration" / "peers.json").read_text())
LEADING = set("MO")
"""The shell agents, and their successors at OpenStack, as in tests/declaration."""
URL = "os_auth_url=http://10.0.0.11:5000/v2.0"


def becomes(folder: Path, text: str) -> dict[str, tuple[str, bool]]:
    """For each resource of a cluster, its forecast, and whether it maps unchanged."""
    return {one.resource: (one.becomes, one.unchanged) for one in takeover(loaded(folder, text))}


def test_the_guides_cluster(tmp_path: Path) -> None:
    """In the HA guide's cluster APIs run on; services that have another server today restart."""
    assert {
        "p_api-ip": (STAYS, True),
        "p_keystone": (RESTARTS, False),
        "p_glance-api": (TAKEN, True),
        "p_cinder-api": (TAKEN, True),
        "p_glance-registry": (ENDS, True),
        "p_ceilometer-agent-central": (RESTARTS, False),
    } == becomes(tmp_path, GUIDE)


def test_what_is_not_ours(tmp_path: Path) -> None:
    """A charm's cluster, and TripleO's units and containers, stay as they are."""
    assert {(STAYS, True)} == {*becomes(tmp_path, CHARM + CHARM_DNS).values()}
    bundle = there(f'<bundle id="b"><docker image="x"/>'
                   f'{primitive("in", "ocf:openstack:glance-api")}</bundle>')
    [contained] = takeover(bundle)
    assert (STAYS, ["It runs in a container, of b, which has no agent of ours."]) == (
        contained.becomes, contained.why)

    *_, unit = takeover(loaded(tmp_path, TRIPLEO))
    assert (STAYS, 1) == (unit.becomes, len(unit.why))
    assert "ocf:openstack:cinder-volume instead of systemd restarts it" in unit.why[0]


def test_a_unit_restarts_as_foretold() -> None:
    """Pacemaker restarts a service whose unit is replaced by an agent of ours under the same id."""
    past = ('<node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" '
            'expected="member"><lrm id="1"><lrm_resources><lrm_resource id="p" class="systemd" '
            'type="openstack-glance-api"><lrm_rsc_op id="p_last_0" operation_key="p_start_0" '
            'operation="start" crm_feature_set="3.6.0" call-id="5" rc-code="0" op-status="0" '
            'interval="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8" '
            'transition-key="1:1:0:d4c997d4-94d7-4517-b472-eed1f544dba1" '
            'transition-magic="0:0;1:1:0:d4c997d4-94d7-4517-b472-eed1f544dba1" on_node="n1"/>'
            "</lrm_resource></lrm_resources></lrm></node_state>")
    text = EMPTY.replace("<nodes/>", '<nodes><node id="1" uname="n1"/></nodes>').replace(
        "<cib ", '<cib have-quorum="1" dc-uuid="1" ').replace(
        "<crm_config/>", '<crm_config><cluster_property_set id="o"><nvpair id="s" '
        'name="stonith-enabled" value="false"/></cluster_property_set></crm_config>').replace(
        "<status/>", f"<status>{past}</status>")
    actions = {}
    for attributes in ('class="systemd" type="openstack-glance-api"',
                       'class="ocf" provider="openstack" type="glance-api"'):
        root = ElementTree.fromstring(text.replace(
            "<resources/>", f'<resources><primitive id="p" {attributes}/></resources>'))
        actions[attributes.split('"')[1]] = [
            (one.what, one.resource) for one in pacemaker.simulate(root).actions]

    assert {"systemd": [], "ocf": [("restart", "p")]} == actions


@pytest.mark.parametrize("name", SNIPPETS)
def test_our_own(tmp_path: Path, name: str) -> None:
    """Resources of our own snippets are taken over without a restart, with all parameters."""
    kept = becomes(tmp_path, (ROOT / "crm" / name).read_text())

    assert {*kept.values()} <= {(TAKEN, True), (STAYS, True)}


ROWS = [
    ("client_binary=glance", True, "Accepted and not used: client_binary."),
    ("os_usernam=monitor", False, "has no effect; the nearest is os_username."),
    (f"os_username=monitor {URL}", False, "(exit code 6), and its monitor may be degraded (190): "
     "os_password, os_project_name missing"),
    ("config=glance.conf", False, "config=glance.conf is not an absolute path"),
    ("pid=/run/other.pid binary=/opt/glance/bin/glance-api", True, ""),
]


@pytest.mark.parametrize(("parameters", "unchanged", "said"), ROWS,
                         ids=["unused", "unknown", "half", "refused", "own"])
def test_parameters(parameters: str, unchanged: bool, said: str) -> None:
    """Each parameter that has another effect now is named, with that effect."""
    [one] = takeover(there(primitive("p", "ocf:openstack:glance-api", parameters)))

    assert (TAKEN, unchanged) == (one.becomes, unchanged)
    assert one.unchanged == unchanged
    assert said in " ".join(one.why)
    assert bool(said) == bool(one.why)


def test_types_and_templates() -> None:
    """A type without an agent of ours keeps its agent; the type of a template counts."""
    root = there(primitive("p", "ocf:openstack:glance-apy")
                 + '<template id="t" class="ocf" provider="openstack" type="manila-api"/>'
                 '<primitive id="q" template="t"/>')
    strange, lent = takeover(root)

    assert (STAYS, "of ours; its own goes on. The nearest is glance-api.") == (
        strange.becomes, strange.why[0].partition("glance-apy ")[2])
    assert RESTARTS == lent.becomes
    assert "$HA_RSCTMP/manila.pid" in lent.why[0]


def test_the_older_defaults() -> None:
    """Older agents' defaults that differ from ours are as in the record of these agents."""
    differing = {}
    for name, parameters in PEERS.items():
        agent = agents.get(name)
        assert agent
        ours = {**agent.defaults, "pid": "$HA_RSCTMP/$OCF_RESOURCE_INSTANCE.pid"}
        found = {one: default for one, (default, peers) in parameters.items()
                 if one in STARTED_WITH and LEADING & set(peers) and default != ours[one]}
        if found:
            differing[name] = found

    assert dict(OLDER) == differing
    assert not set(OURS_ALONE) & {one for parameters in PEERS.values() for one in parameters}


def test_json_and_exit_codes(tmp_path: Path) -> None:
    """As JSON, each resource is an object; exit code 1 means that some would not run on."""
    loaded(tmp_path, GUIDE)
    done = command("lint", tmp_path / "cib.xml", "--takeover", "--format", "json")
    found = {one["resource"]: one for one in json.loads(done.output)}

    assert (1, "") == (done.code, done.said)
    assert (TAKEN, True, []) == tuple(found["p_cinder-api"][key] for key in (
        "becomes", "unchanged", "why"))
    assert "secretsecret" not in done.output

    (tmp_path / "cib.xml").write_text(EMPTY)
    assert (0, "") == (command("lint", tmp_path / "cib.xml", "--takeover").code, "")
    assert 2 == command("lint", tmp_path / "cib.xml", "--takeover", "--other", "x").code


# --- what agents do -----------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "client_binary=glance", f"os_username=monitor {URL}"],
                         ids=["whole", "unused", "half"])
def test_taken_over(make_service: MakeService, more: str) -> None:
    """A service that the forecast calls taken over runs on under our agent, with its parameters."""
    service = make_service()
    service.parameters.update(dict(one.split("=") for one in more.split()))
    pid = start_by_shell(service)
    given = " ".join(f"{name}={value}" for name, value in service.parameters.items())
    [one] = takeover(there(primitive(service.name, f"ocf:openstack:{service.agent.name}", given)))

    assert TAKEN == one.becomes
    refused = bool(one.why) and "exit code 6" in one.why[-1]
    expect(service.monitor(), 190 if refused else 0, *(["os_password"] if refused else []))
    assert pid == service.master()
    expect(service.call("validate-all"), 6 if refused else 0,
           *(["os_password"] if refused else []))


def test_not_recognised(make_service: MakeService) -> None:
    """A service that the forecast calls restarted is not recognised by our agent: 7."""
    service = make_service()
    start_by_shell(service)
    service.parameters["binary"] = "/usr/bin/another"

    expect(service.monitor(), 7)
