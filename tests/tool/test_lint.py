"""Lint is silent on our own snippets, and finds every row of its table."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from openstack_ocf.lint import lint
from tool.kit import EMPTY, ROOT, command, crm, loaded, primitive, there

CRM = ROOT / "crm"
SNIPPETS = sorted(path.name for path in CRM.glob("*.crm"))

# The HA guide's cluster: its included files, and its properties.
OS = 'os_password="secretsecret" os_username="admin" os_tenant_name="admin"'
URL = 'os_auth_url="http://192.168.42.103:5000/v2.0/"'
OP = 'op monitor interval="30s" timeout="30s"'
GUIDE = f"""\
primitive p_api-ip ocf:heartbeat:IPaddr2 params ip="192.168.42.103" cidr_netmask="24" \
  op monitor interval="30s"
primitive p_keystone ocf:openstack:keystone params config="/etc/keystone/keystone.conf" {OS} {URL} \
  {OP}
primitive p_glance-api ocf:openstack:glance-api params config="/etc/glance/glance-api.conf" \
  {OS} {URL} {OP}
primitive p_cinder-api ocf:openstack:cinder-api params config="/etc/cinder/cinder.conf" {OS} \
  keystone_get_token_url="http://192.168.42.103:5000/v2.0/tokens" {OP}
primitive p_glance-registry ocf:openstack:glance-registry \
  params config="/etc/glance/glance-registry.conf" {OP}
primitive p_ceilometer-agent-central ocf:openstack:ceilometer-agent-central \
  params config="/etc/ceilometer/ceilometer.conf" {OP}
group g_services_api p_api-ip p_keystone p_glance-api p_cinder-api p_glance-registry \
  p_ceilometer-agent-central
property no-quorum-policy="ignore" pe-warn-series-max="1000" pe-input-series-max="1000" \
  pe-error-series-max="1000" cluster-recheck-interval="5min"
"""

OPS = ('op start timeout="60s" interval="0" op stop timeout="60s" interval="0" '
       'op monitor interval="30s" timeout="30s" OCF_CHECK_LEVEL="10" '
       'op monitor interval="10s" timeout="30s" OCF_CHECK_LEVEL="0"')
META = 'meta migration-threshold="3" failure-timeout="180s"'
VIP = ('primitive p_ip ocf:heartbeat:IPaddr2 params ip="10.0.0.12" '
       'op monitor interval="10s" timeout="20s"')
GLANCE = f"primitive p_glance-api ocf:openstack:glance-api {META} {OPS}"
HEAT = f"primitive p_heat ocf:openstack:heat-engine {META} {OPS}"
GROUP = "group g p_ip p_glance-api"
SOUND = ("property stonith-enabled=true no-quorum-policy=stop start-failure-is-fatal=false")


def findings(folder: Path, text: str) -> list[tuple[str, str]]:
    """Ids and places of lint's findings in a CIB that crmsh makes."""
    return [(one.id, one.where) for one in lint(loaded(folder, text))]


@pytest.mark.parametrize("name", SNIPPETS)
def test_silent_on_our_own(tmp_path: Path, name: str) -> None:
    """A snippet of crm/ with the cluster's properties has no finding."""
    root = crm(tmp_path / "cib.xml", CRM / "properties.crm", CRM / name)

    assert [] == lint(root)
    assert root.find("configuration/crm_config//nvpair") is not None
    assert name == "properties.crm" or root.find("configuration/resources//primitive") is not None


def test_the_guides_cluster(tmp_path: Path) -> None:
    """In a cluster like the HA guide's operations, thresholds, users and properties are found."""
    found = findings(tmp_path, GUIDE)
    apis = ("p_keystone", "p_glance-api", "p_cinder-api")

    assert ("L15", "p_glance-registry") in found
    for name in (*apis, "p_ceilometer-agent-central"):
        # start and stop; no threshold, no failure-timeout
        assert [2, 1, 2] == [found.count((row, name)) for row in ("L1", "L2", "L3")]
    for name in apis:
        assert {("L4", name), ("L5", name)} <= set(found)
    assert ("L11", "g_services_api") in found
    assert {("L12", "no-quorum-policy"), ("L12", "pe-warn-series-max"),
            ("L12", "pe-input-series-max"), ("L12", "pe-error-series-max"),
            ("L3", "start-failure-is-fatal")} <= set(found)
    assert not [place for _, place in found if place == "p_api-ip"]


def test_the_sound_cluster_of_this_module(tmp_path: Path) -> None:
    """The cluster into which the rows below each put a mistake has no finding."""
    text = f"{VIP}\n{GLANCE}\n{GROUP}\n{HEAT}\nclone cl p_heat meta interleave=true\n{SOUND}\n"

    assert [] == findings(tmp_path, text)


def test_the_level_of_a_monitor_that_says_none(tmp_path: Path) -> None:
    """A monitor without a level has level 10, as for the agents: that of level 0 is missing."""
    one = GLANCE.replace(OPS, f'{OPS.partition("op monitor")[0]} {OP}')
    root = loaded(tmp_path, f"{VIP}\n{one}\n{GROUP}\n{SOUND}\n")

    assert [("L2", "no monitor of level 0")] == [(found.id, found.seen) for found in lint(root)]


REST = "os_project_name=service os_auth_url=http://10.0.0.11:5000"
ROWS = [
    ("L1", "p_glance-api", GLANCE.replace('start timeout="60s"', 'start timeout="20s"')),
    ("L2", "p_glance-api", GLANCE.replace('OCF_CHECK_LEVEL="10"', 'OCF_CHECK_LEVEL="0"')),
    ("L2", "p_glance-api", GLANCE.replace('OCF_CHECK_LEVEL="0"', "")),
    ("L3", "p_glance-api", GLANCE.replace('migration-threshold="3"', "")),
    ("L3", "p_glance-api", GLANCE.replace('failure-timeout="180s"', "")),
    ("L4", "p_glance-api",
     GLANCE.replace("meta", f"params os_username=admin os_password=SECRET {REST} meta")),
    ("L5", "p_glance-api",
     GLANCE.replace("meta", f"params os_username=monitor os_password=hunter2 {REST} meta")),
    ("L14", "p_glance-api", f"{GLANCE}\nprimitive p_two ocf:openstack:glance-api {META} {OPS}\n"
                     "group g2 p_ip2 p_two\n" + VIP.replace("p_ip", "p_ip2").replace(".12", ".13")),
    ("L17", "p_glance-api", GLANCE.replace("meta", "params os_usernam=monitor meta")),
    # A check of a service that does not answer asks Keystone, too: there must be time for both.
    ("L1", "p_glance-api", GLANCE.replace('interval="30s" timeout="30s"',
                                          'interval="30s" timeout="5s"')),
    *(("L23", "p_glance-api", GLANCE.replace(f'op {action}', f'op {action} on-fail="ignore"', 1))
      for action in ("start", "stop", "monitor")),
]


@pytest.mark.parametrize(("row", "where", "text"), ROWS, ids=[f"{i}{r[0]}" for i, r in
                                                              enumerate(ROWS)])
def test_row(tmp_path: Path, row: str, where: str, text: str) -> None:
    """A mistake in a primitive is the only finding."""
    assert [(row, where)] == findings(tmp_path, f"{VIP}\n{text}\n{GROUP}\n{SOUND}\n")


WHOLE = [
    ("L6", "p_cinder", "primitive p_cinder ocf:openstack:cinder-api "
     f'params url="http://127.0.0.1:8776/v1/" {META} {OPS}\n{VIP}\ngroup g p_ip p_cinder'),
    ("L7", "g", f"{VIP}\n{GLANCE}\ngroup g p_glance-api p_ip"),
    ("L8", "p_glance-api", f"{VIP}\n{GLANCE}"),
    ("L8", "p_glance-api", f"{VIP}\n{GLANCE}\ncolocation c inf: p_glance-api p_ip"),
    ("L8", "p_glance-api", f"{VIP}\n{GLANCE}\ncolocation c -100: p_glance-api p_ip\n"
     "order o Mandatory: p_ip p_glance-api"),
    ("L9", "cl", f"{HEAT}\nclone cl p_heat"),
    ("L10", "cl", f"{VIP}\n{GLANCE.replace('meta', 'params bind=10.0.0.12:9292 meta')}\n"
     "clone cl p_glance-api meta interleave=true"),
    ("L11", "g", "\n".join(
        [VIP, GLANCE, f"primitive p_cinder ocf:openstack:cinder-api {META} {OPS}",
         f"primitive p_heat ocf:openstack:heat-api {META} {OPS}",
         "group g p_ip p_glance-api p_cinder p_heat"])),
    ("L12", "stonith-enabled", HEAT),
    ("L12", "stonith-enabled", f"node node1\n{HEAT}"),
    ("L12", "no-quorum-policy", HEAT),
    ("L23", "p_ip", f"{VIP.replace('timeout=', 'on-fail=ignore timeout=')}\n{GLANCE}\n{GROUP}"),
    ("L23", "op_defaults", f"{HEAT}\nop_defaults on-fail=ignore"),
    ("L13", "p_v6", "primitive p_v6 ocf:heartbeat:IPv6addr params ipv6addr=2001:db8::1 "
     "op monitor interval=10s"),
    ("L15", "p_x", f"primitive p_x ocf:openstack:glance-apy {META} {OPS}"),
    ("L15", "p_x", f"primitive p_x ocf:openstack:nova-cert {META} {OPS}"),
    ("L19", "p_ip2", f"{VIP}\n{VIP.replace('p_ip', 'p_ip2')}"),
    ("L2", "p_ip2", 'primitive p_ip2 ocf:heartbeat:IPaddr2 params ip="10.0.0.12"'),
    ("L20", "cl", f"primitive p_v ocf:openstack:cinder-volume {META} {OPS}\n"
     "clone cl p_v meta interleave=true"),
    ("L20", "cl", f"{HEAT}\nclone cl p_heat meta interleave=true clone-node-max=2"),
]


@pytest.mark.parametrize(("row", "where", "text"), WHOLE, ids=[f"{i}{r[0]}" for i, r in
                                                               enumerate(WHOLE)])
def test_row_of_a_cluster(tmp_path: Path, row: str, where: str, text: str) -> None:
    """A mistake in how resources belong together is the only finding."""
    properties = SOUND
    if where == "stonith-enabled" and "node node1" not in text:
        properties = SOUND.replace("stonith-enabled=true", "stonith-enabled=false")
    elif (row, where) == ("L12", "no-quorum-policy"):
        properties = SOUND.replace("no-quorum-policy=stop", "no-quorum-policy=ignore")

    assert [(row, where)] == findings(tmp_path, f"{properties}\n{text}\n")


PLACEMENT = f"{VIP}\nprimitive p_placement ocf:openstack:placement-api {META} {OPS}"
CONDUCTOR = f"primitive p_conductor ocf:openstack:nova-conductor {META} {OPS}"
UNORDERED = (f"{PLACEMENT}\n{CONDUCTOR}\ngroup g p_ip p_placement\n"
             "clone cl p_conductor meta interleave=true")


@pytest.mark.parametrize(("text", "found"), [
    ("group g p_ip p_placement\nclone cl p_conductor meta interleave=true", True),
    ("group g p_ip p_conductor p_placement", True),
    ("group g p_ip p_placement p_conductor", False),
    ("group g p_ip p_placement\norder o Mandatory: p_conductor p_placement", True),
    ("group g p_ip p_placement\norder o Mandatory: g p_conductor", False),
    ("group g p_ip p_placement\nclone cl p_conductor meta interleave=true\n"
     "order o Optional: p_placement cl symmetrical=false", False),
], ids=["none", "right", "left", "reverse", "group", "optional"])
def test_l26_started_before_what_it_ends_without(tmp_path: Path, text: str, found: bool) -> None:
    """L26: nova-conductor ends without Placement, so an order has that started first."""
    root = loaded(tmp_path, f"{PLACEMENT}\n{CONDUCTOR}\n{text}\n{SOUND}\n")

    assert [("L26", "p_conductor")] * found == [(one.id, one.where) for one in lint(root)]


def test_l26_its_remedy(tmp_path: Path) -> None:
    """The order that L26 asks for is one by which it is content."""
    text = f"{UNORDERED}\n{SOUND}\n"
    [one] = lint(loaded(tmp_path, text))

    assert ("Add: order o_nova-conductor_placement-api Optional: p_placement cl "
            "symmetrical=false" == one.remedy)
    assert [] == findings(tmp_path, f"{text}{one.remedy.removeprefix('Add: ')}\n")


@pytest.mark.parametrize(("name", "value", "found"), [
    ("stonith-enable", "true", True),
    ("no-quorum-polcy", "stop", True),
    ("maintenance-mode", "of", True),
    ("no-quorum-policy", "stopp", True),
    ("no_quorum_policy", "freeze", False),
    ("maintenance-mode", "Off", False),
    ("last-lrm-refresh", "1700000000", False),
    ("redis_replication", "1", False),
])
def test_l25_a_misspelt_property(tmp_path: Path, name: str, value: str, found: bool) -> None:
    """L25: a misspelt property or value is found; those of agents and tools are left alone."""
    root = loaded(tmp_path, f"{HEAT}\n{SOUND}\n")  # crmsh would take no misspelt one
    one = next(root.iterfind("configuration/crm_config//nvpair[@name='no-quorum-policy']"))
    one.attrib.update(name=name, value=value)

    assert [("L25", name)] * found == [(one.id, one.where) for one in lint(root)]


def test_fencing_that_is_there(tmp_path: Path) -> None:
    """L12: a cluster with nodes needs a fencing device, or a watchdog."""
    for fencing in ("primitive p_fence stonith:external/ipmi",
                    "property stonith-watchdog-timeout=10"):
        assert [] == findings(tmp_path, f"node node1\n{HEAT}\n{SOUND}\n{fencing}\n")


def test_a_name_whose_failure_is_ignored_is_sound(tmp_path: Path) -> None:
    """L23 is not for DNS names: while DNS does not answer, no service should be stopped."""
    text = ("primitive p_dns ocf:heartbeat:dnsupdate params hostname=a.example.org ip=10.0.0.21 "
            "op monitor interval=30s timeout=30s on-fail=ignore")

    assert [] == findings(tmp_path, f"{text}\n")


def test_l24_two_clusters_with_one_address(tmp_path: Path) -> None:
    """L24: an address or name of another cluster is found, however it is written."""
    six = VIP.replace("p_ip", "p_six").replace("10.0.0.12", "2001:db8::c")
    name = ("primitive p_dns ocf:heartbeat:dnsupdate params hostname=a.example.org ip=10.0.0.21 "
            "op monitor interval=30s timeout=30s")
    for folder, nodes, address in (
            ("one", "node one", "10.0.0.12"), ("two", "node two", "10.0.0.13"),
            ("three", "node three", "10.0.0.12")):
        (tmp_path / folder).mkdir()
        text = f"{nodes}\n{VIP.replace('10.0.0.12', address)}\n{six}\n{name}\n"
        if folder == "three":
            text = text.replace("::c", ":0::000C").replace("a.example", "A.Example")
        loaded(tmp_path / folder, text)
    one, two, three = (tmp_path / name / "cib.xml" for name in ("one", "two", "three"))
    done = command("lint", one, "--other", three, "--other", two, "--format", "json")

    assert (1, "") == (done.code, done.said)
    assert [("L24", "p_ip", str(three)), ("L24", "p_six", str(three)), ("L24", "p_dns", str(three)),
            ("L24", "p_six", str(two)), ("L24", "p_dns", str(two))] == [
        (row["id"], row["where"], row["seen"].split("the cluster of ")[1].split(",")[0])
        for row in json.loads(done.output)]


def test_another_cluster_that_is_none(tmp_path: Path) -> None:
    """Two CIBs of one cluster are refused: they have all addresses in common."""
    loaded(tmp_path, f"node one\n{VIP}\n")
    done = command("lint", tmp_path / "cib.xml", "--other", tmp_path / "cib.xml")

    assert (2, "") == (done.code, done.output)
    assert "is of the same cluster: its nodes are one, too" in done.said


def test_l16_a_constraint_about_nothing() -> None:
    """L16: a constraint about a missing resource is found, with the nearest name."""
    [one] = lint(there(primitive("p_metadata-agent", "ocf:heartbeat:Dummy"),
                       '<rsc_order id="o" first="p_metadata_agent" then="p_metadata-agent"/>'))

    assert ("L16", "o", "The nearest is p_metadata-agent.") == (one.id, one.where, one.remedy)


def test_l18_two_monitors_of_one_interval() -> None:
    """L18: two monitors of one interval are found, however the interval is written."""
    operations = "".join(
        f'<op id="o{i}" name="monitor" interval="{every}" timeout="30s" OCF_CHECK_LEVEL="{level}"/>'
        for i, (every, level) in enumerate((("60s", 0), ("1min", 10))))
    root = there(primitive("p", "ocf:openstack:heat-engine",
                           more=f"<operations>{operations}</operations>"))

    assert [("L18", "p")] == [(one.id, one.where) for one in lint(root) if one.id == "L18"]


def test_a_monitor_that_is_off() -> None:
    """L2: a monitor that is not enabled does not count."""
    [one] = [one for one in lint(there(primitive(
        "p", "ocf:openstack:heat-engine", more='<operations><op id="o" name="monitor" '
        'interval="30s" timeout="30s" enabled="false"/></operations>'))) if one.id == "L2"]

    assert "no monitor: it is not noticed when it is dead" == one.seen


def test_an_id_with_quotes() -> None:
    """An id is only compared: quotes and brackets in it do no harm."""
    root = there('<primitive id="p" class="ocf" template="t\']" provider="openstack" '
                 'type="glance-api"/>', '<rsc_colocation id="c" rsc="p" with-rsc="\'"/>')

    assert ("L16", "c") in [(one.id, one.where) for one in lint(root)]


@pytest.mark.parametrize(("content", "code", "said"), [
    (b"", 2, "is no XML"),
    (b"\xff\xfe\0", 2, "is no XML"),
    (b"<html/>", 2, "is no CIB: it is <html>"),
    (b"<cib/>", 2, "is no CIB: it has no configuration"),
    (b"<!DOCTYPE x [<!ENTITY a 'b'>]><cib/>", 2, "it declares a document type"),
    ("<!DOCTYPE x [<!ENTITY a 'b'>]><cib/>".encode("utf-16"), 2, "it declares a document type"),
    (EMPTY.replace("<resources/>", f"<resources>{'<group>' * 9999}{'</group>' * 9999}</resources>"
                   ).encode(), 2, "it has more than 256 levels"),
    (EMPTY.replace("<status/>", '<status a="\xe4"/>').encode("latin-1"), 2, "not well-formed"),
    (b'<?xml version="1.0" encoding="klingon"?><cib/>', 2, "unknown encoding: klingon"),
    (None, 3, "cannot be read: no such file"),
], ids=["empty", "binary", "other", "no configuration", "entities", "hidden entities", "deep",
        "latin-1", "encoding", "missing"])
def test_what_is_no_cib(tmp_path: Path, content: bytes | None, code: int, said: str) -> None:
    """A file that is no CIB is refused in one line."""
    path = tmp_path / "cib.xml"
    if content is not None:
        path.write_bytes(content)
    done = command("lint", path)

    assert (code, "", 1) == (done.code, done.output, done.said.count("\n"))
    assert said in done.said


def test_no_cluster(tmp_path: Path) -> None:
    """Without a cluster `live` cannot be read, and the command says so."""
    done = command("lint", "live", CIB_file=str(tmp_path / "none.xml"))

    assert (3, "") == (done.code, done.output)
    assert "the cluster does not show its CIB" in done.said


def test_live_and_json(tmp_path: Path) -> None:
    """The CIB that Pacemaker's tools see is linted, as JSON; a password in it is not shown."""
    secret = next(text for row, _, text in ROWS if row == "L5")
    loaded(tmp_path, f"{VIP}\n{secret}\n{GROUP}\n{SOUND}\n")
    done = command("lint", "live", "--format", "json", CIB_file=str(tmp_path / "cib.xml"))

    assert (0, "") == (done.code, done.said)
    assert ["L5"] == [one["id"] for one in json.loads(done.output)]
    assert "hunter2" not in done.output


CHARM = """\
primitive res_glance_8534040_vip ocf:heartbeat:IPaddr2 params ip=10.0.0.12 \
  op monitor interval=10s timeout=20s
primitive res_glance_haproxy lsb:haproxy op monitor interval=5s
group grp_glance_vips res_glance_8534040_vip
clone cl_glance_haproxy res_glance_haproxy
"""


def test_l21_an_address_without_its_haproxy(tmp_path: Path) -> None:
    """L21: the charm's address may be on a node without haproxy; a colocation makes it sound."""
    assert [("L21", "res_glance_8534040_vip")] == findings(tmp_path, CHARM)

    tied = "colocation c inf: grp_glance_vips cl_glance_haproxy\n"

    assert [] == findings(tmp_path, CHARM + tied)


def test_names_of_dns_ha(tmp_path: Path) -> None:
    """L2, L7: a name without a monitor, as in the charm, and a name before its API are found."""
    name = ("primitive p_dns_glance-api ocf:heartbeat:dnsupdate params hostname=a.example.org "
            "ip=10.0.0.21")
    monitored = f"{name} op monitor interval=30s timeout=30s"

    def of_the_name(text: str) -> list[tuple[str, str]]:
        return [one for one in findings(tmp_path, f"{GLANCE}\n{SOUND}\n{text}") if one[0] != "L12"]

    after = "group g p_glance-api p_dns_glance-api"
    assert [] == of_the_name(f"{monitored}\n{after}\n")
    assert [("L2", "p_dns_glance-api")] == of_the_name(f"{name}\n{after}\n")
    assert [("L7", "g")] == of_the_name(f"{monitored}\ngroup g p_dns_glance-api p_glance-api\n")


@pytest.mark.parametrize(("given", "missing"), [
    ("os_username=monitor", "os_password and os_project_name"),
    ("os_password=SECRET os_tenant_name=service os_auth_url=http://k:5000", "os_username"),
    ("os_auth_url=http://k:5000", "os_username and os_password and os_project_name"),
    ("os_username=monitor os_password=SECRET os_tenant_name=service os_auth_url=http://k:5000", ""),
    ("config=/etc/glance/glance-api.conf", ""),
], ids=["user", "no user", "url", "all", "none"])
def test_l22_half_of_the_credentials(tmp_path: Path, given: str, missing: str) -> None:
    """L22: incomplete credentials, which only the shell agents accept, are found."""
    root = loaded(tmp_path, f"{GLANCE.replace(' meta', f' params {given} meta', 1)}\n")
    found = [one.seen for one in lint(root) if one.id == "L22"]

    assert bool(missing) == bool(found)
    assert not missing or f"half of the credentials: {missing}" in found[0]


def test_l22_is_what_the_agent_says(tmp_path: Path) -> None:
    """L22: for the agent itself the same parameters are a wrong configuration: 6."""
    done = subprocess.run(
        ["/usr/bin/python3", "-ESsB", str(ROOT / "ocf" / "glance-api"), "validate-all"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OCF_ROOT": "/usr/lib/ocf",
             "OCF_RESOURCE_INSTANCE": "p_glance-api", "OCF_RESKEY_os_username": "monitor",
             "HA_RSCTMP": str(tmp_path)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True)

    assert 6 == done.returncode, done.stderr
    assert "os_password, os_project_name" in done.stderr
