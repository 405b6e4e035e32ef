"""A plan has the same meaning as XML, as crm and as pcs, and shows no secret."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from cluster.docs_cib import meaning
from openstack_ocf.lint import lint
from tool.kit import GOLDEN, ROOT, command, crm, loaded, pcs, primitive, there

OPENRC = """\
# of the monitor
export OS_USERNAME=monitor
export OS_PASSWORD='hunter2 $HOME'
export OS_PROJECT_NAME="service"
export OS_AUTH_URL=http://10.0.0.11:5000/v3
OS_USER_DOMAIN_NAME=Default
export OS_REGION_NAME=RegionOne
"""
DESCRIPTIONS = {
    "two-apis": """\
[glance]
vip = 10.0.0.12
storage = rbd
[cinder]
vip = 10.0.0.13
""",
    "faces": """\
[glance]
vip = 10.0.0.12 192.0.2.12 2001:db8::12
os_public_network = 192.0.2.0/24
[nova]
mode = active-active
vip = 10.0.0.15
vip_iface = eth0
vip_cidr = 24
""",
    "controller": """\
[keystone]
shared_vip_group = controller
vip = 10.0.0.12
[placement]
shared_vip_group = controller
[glance]
shared_vip_group = controller
[heat-engine]
[cinder-volume]
[neutron-l3-agent]
plugin_config = /etc/neutron/l3 agent.ini
""",
    "foundations": """\
[mariadb]
vip = 10.0.0.14
datadir = /srv/mysql
group = dba
[rabbitmq]
vip = 10.0.0.15
mnesia_base = /srv/rabbitmq
[glance]
vip = 10.0.0.12
storage = rbd
[heat-engine]
""",
    "balanced": """\
mode = active-active
nodes = node1 node2
[haproxy]
vip = 10.0.0.12 2001:db8::12
shared_vip_group = controller
addresses = node1=10.0.0.21 node2=10.0.0.22
[keystone]
shared_vip_group = controller
[glance]
shared_vip_group = controller
storage = rbd
[nova]
shared_vip_group = controller
mode = active-passive
[heat-engine]
""",
    "by-systemd": """\
[haproxy]
vip = 10.0.0.12
vip_iface = eth0
shared_vip_group = controller
agent = systemd
addresses = node1=2001:db8::21 node2=2001:db8::22
[placement]
shared_vip_group = controller
mode = active-active
""",
    "everywhere": """\
mode = active-active
[haproxy]
vip = 10.0.0.12 192.0.2.12
clone = haproxy-clone
id = haproxy
config = /etc/openstack/haproxy.cfg
addresses = node1=10.0.0.21 node2=10.0.0.22
shared_vip_group = api
[keystone]
shared_vip_group = api
port = 5001
[cinder]
shared_vip_group = api
""",
    "names": """\
[glance]
dns_ha = true
os_internal_hostname = images.internal.example.org
os_public_hostname = images.example.org
os_public_network = 192.0.2.0/24
[cinder]
mode = active-active
dns_ha = true
os_public_hostname = volumes.example.org
[placement]
dns_ha = true
os_internal_hostname = placement.example.org
[dns]
server = 10.0.0.2
keyfile = /etc/bind/monitor.key
addresses = node1=10.0.0.21 node1=192.0.2.21 node2=10.0.0.22 node2=192.0.2.22
""",
    "known-ids": """\
[glance]
shared_vip_group = api
vip = 10.0.0.12
vip_id = p_api-ip
group = g_services_api
id = glance_api
[cinder]
shared_vip_group = api
[nova]
mode = active-active
vip = 10.0.0.13
vip_id = res_nova_vip
group = grp_nova_vips
clone = clone-nova
[heat-engine]
id = heat
clone = heat-clone
""",
}
NAMES = sorted(DESCRIPTIONS)


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """The folder of the descriptions, with their credentials."""
    openrc = tmp_path / "monitor.openrc"
    openrc.write_text(OPENRC)
    for name, text in DESCRIPTIONS.items():
        (tmp_path / f"{name}.conf").write_text(f"[DEFAULT]\ncredentials = {openrc}\n{text}")
    return tmp_path


def planned(folder: Path, name: str, form: str) -> str:
    """A plan in one form, with the test's folder replaced."""
    return said(folder, name, "--as", form)


def changes(folder: Path, name: str, cib: Path) -> list[str]:
    """What a plan would change in a CIB."""
    return said(folder, name, "--diff", str(cib)).splitlines()


def said(folder: Path, name: str, *more: str) -> str:
    done = command("plan", "--elsewhere", "--description", folder / f"{name}.conf", *more)
    assert (0, "") == (done.code, done.said)
    return done.output.replace(str(folder), "/root")


def unfenced(folder: Path, name: str) -> Path:
    """A CIB with a plan, of a cluster without fencing."""
    root = ElementTree.fromstring(planned(folder, name, "xml"))
    section = root.find("configuration/crm_config")
    assert section is not None
    properties = ElementTree.SubElement(section, "cluster_property_set", id="all")
    for property_, value in (("stonith-enabled", "false"), ("start-failure-is-fatal", "false")):
        ElementTree.SubElement(
            properties, "nvpair", id=f"all-{property_}", name=property_, value=value)
    path = folder / "cib.xml"
    path.write_bytes(ElementTree.tostring(root))
    return path


def simulated(cib: Path, *more: str) -> tuple[set[str], dict[str, set[str]]]:
    """What Pacemaker would start and stop, as `start p_keystone`, and what waits for what of it."""
    graph = cib.with_name("graph")
    subprocess.run(
        ["/usr/sbin/crm_simulate", "--simulate", "--xml-file", cib, "--save-dotfile", graph, *more],
        capture_output=True, check=True)
    text = re.sub(r'"(\S+?)(?::\d+)?_(start|stop)_0( \w+)?"', r"<\2 \1>", graph.read_text())
    waits: dict[str, set[str]] = {}
    for first, then in re.findall(r"<(.+?)> -> <(.+?)>", text):
        waits.setdefault(then, set()).add(first)
    return set(re.findall(r"<(.+?)>", text)), waits


def same(first: Element, second: Element) -> None:
    """Assert that two CIBs mean the same, except ids of constraints and order of attributes."""
    one, other = meaning(first), meaning(second)
    for side in (one, other):
        side["constraints"] = sorted(
            sorted((key, value) for key, value in constraint.items() if not key.endswith("-action"))
            for constraint in side["constraints"])
    assert one == other
    assert clones(first) == clones(second)


def clones(root: Element) -> list[tuple[str, str, str]]:
    """Each clone with its member and its interleave."""
    return sorted(
        (clone.get("id", ""), primitive.get("id", ""), pair.get("value", ""))
        for clone in root.iter("clone") for primitive in clone.iterfind("primitive")
        for pair in clone.iterfind("meta_attributes/nvpair[@name='interleave']"))


@pytest.mark.parametrize("name", NAMES)
def test_golden(described: Path, name: str) -> None:
    """The XML of a plan has not changed; RECORD_PLANS=1 records it anew."""
    text = planned(described, name, "xml")
    golden = GOLDEN / f"{name}.xml"
    if os.environ.get("RECORD_PLANS"):
        golden.write_text(text)

    assert golden.read_text() == text


@pytest.mark.parametrize("name", NAMES)
def test_pacemaker_takes_it(described: Path, name: str) -> None:
    """crm_verify accepts a plan, in a cluster without fencing; lint finds only that lack."""
    path = unfenced(described, name)
    done = subprocess.run(
        ["/usr/sbin/crm_verify", "-V", "-x", path], capture_output=True, text=True)

    said = [line for line in done.stderr.splitlines() if "Blind faith" not in line]
    assert (0, []) == (done.returncode, said)
    assert ["stonith-enabled"] == [one.where for one in lint(ElementTree.parse(path).getroot())]


@pytest.mark.parametrize("name", NAMES)
def test_crm_says_the_same(described: Path, name: str) -> None:
    """The output of --as crm makes the same CIB when crmsh loads it."""
    text = planned(described, name, "crm")

    same(ElementTree.fromstring(planned(described, name, "xml")), loaded(described, text))
    assert "# failure-timeout 180 s: longer than from one failure to the next" in text


# pcs asks this machine's systemd for a unit.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "by-systemd"])
def test_pcs_says_the_same(described: Path, name: str) -> None:
    """The output of --as pcs makes the same CIB when it is run on an empty one."""
    same(ElementTree.fromstring(planned(described, name, "xml")),
         pcs(described / "cib.xml", planned(described, name, "pcs")))


@pytest.mark.parametrize("form", ["xml", "crm", "pcs"])
def test_no_secret_is_shown(described: Path, form: str) -> None:
    """The password is lrm:// in every form, with the cibsecret line; it is never shown."""
    text = planned(described, "two-apis", form)

    assert "hunter2" not in text
    assert text.count("lrm://") == 2
    for name in ("p_glance-api", "p_cinder-api"):
        assert f"# cibsecret set {name} os_password" in text


def test_ids_are_those_of_the_snippets(tmp_path: Path) -> None:
    """The plan of a snippet's service has the snippet's ids, agents, operations and meta."""
    path = tmp_path / "glance-api.conf"
    path.write_text("[glance]\nvip = 10.0.0.12\n")
    ours = meaning(ElementTree.fromstring(planned(tmp_path, "glance-api", "xml")))
    snippet = meaning(crm(tmp_path / "cib.xml", ROOT / "crm" / "glance-api.crm"))

    assert snippet["groups"] == ours["groups"]
    for name, theirs in snippet["primitives"].items():
        for part in ("agent", "operations", "meta"):
            assert theirs[part] == ours["primitives"][name][part]


@pytest.mark.parametrize(("lines", "code", "said"), [
    ("", 2, "does not set OS_USERNAME, OS_PROJECT_NAME, OS_AUTH_URL, OS_PASSWORD"),
    (OPENRC.replace("export OS_PASSWORD", "# "), 2, "does not set OS_PASSWORD"),
    ("export OS_USERNAME='a", 2, "is no openrc file"),
    (None, 3, "cannot be read: no such file"),
], ids=["empty", "no password", "broken", "missing"])
def test_credentials(tmp_path: Path, lines: str | None, code: int, said: str) -> None:
    """Unusable credentials end the plan, with what is missing."""
    openrc, path = tmp_path / "openrc", tmp_path / "d.conf"
    if lines is not None:
        openrc.write_text(lines)
    path.write_text(f"[DEFAULT]\ncredentials = {openrc}\n[glance]\nvip = 10.0.0.12\n")
    done = command("plan", "--elsewhere", "--description", path)

    assert (code, "") == (done.code, done.output)
    assert said in done.said


def test_no_plan_of_a_wrong_description(tmp_path: Path) -> None:
    """If validation finds an error there is no plan."""
    path = tmp_path / "d.conf"
    path.write_text("[glance]\n")
    done = command("plan", "--elsewhere", "--description", path)

    assert (1, "") == (done.code, done.output)
    assert "error D1 " in done.said


def test_a_name_goes_to_a_node_that_serves(described: Path) -> None:
    """With dns_ha the names come after their API in its group, with an address for each node."""
    root = ElementTree.fromstring(planned(described, "names", "xml"))
    found = meaning(root)

    assert ["p_glance-api", "p_dns_glance-api", "p_dns_public_glance-api"] == (
        found["groups"]["g_glance-api"])
    public = found["primitives"]["p_dns_public_glance-api"]
    assert {"node1": {"ip": "192.0.2.21"}, "node2": {"ip": "192.0.2.22"}} == public["by node"]
    assert "images.example.org" == public["parameters"]["hostname"]
    assert 30.0 == public["parameters"]["ttl"] * 1.0
    assert "0.0.0.0:8778" == found["primitives"]["p_placement-api"]["parameters"]["bind"]
    assert {("p_dns_public_cinder-api", "cl_cinder-api")} == {
        (one["rsc"], one["with-rsc"]) for one in found["constraints"] if "with-rsc" in one}


def test_maas(tmp_path: Path) -> None:
    """With MAAS's agent the key is not shown; the plan has the commands for it and each node."""
    path = tmp_path / "d.conf"
    path.write_text("[glance]\ndns_ha=true\nos_public_hostname=a.example.org\n[dns]\nagent=maas\n"
                    "maas_url=http://10.0.0.3:5240/MAAS\naddresses=n1=10.0.0.21\n")
    text = planned(tmp_path, "d", "crm")

    assert "primitive p_dns_public_glance-api ocf:maas:dns" in text
    assert 'maas_credentials="lrm://"' in text
    assert "# cibsecret set p_dns_public_glance-api maas_credentials" in text
    assert "# on n1: echo 10.0.0.21 > /etc/maas_dns/p_dns_public_glance-api" in text


def test_ids_that_are_given_are_kept(described: Path) -> None:
    """The plan has the description's ids of resources, virtual IPs, groups and clones."""
    found = meaning(ElementTree.fromstring(planned(described, "known-ids", "xml")))

    assert {"g_services_api": ["p_api-ip", "glance_api", "p_cinder-api"],
            "grp_nova_vips": ["res_nova_vip"]} == found["groups"]
    assert {"clone-nova": "p_nova-api", "heat-clone": "heat"} == {
        name: members[0] for name, (members, _) in found["clones"].items()}


def test_what_crm_cannot_quote(tmp_path: Path) -> None:
    """A value that the crm shell cannot quote is refused, with what to use instead."""
    path = tmp_path / "d.conf"
    path.write_text("[glance]\nvip = 10.0.0.12\nconfig = /etc/a\"'b\n")
    done = command("plan", "--elsewhere", "--description", path)

    assert (3, "") == (done.code, done.output)
    assert "take --as xml" in done.said


# --- the difference ---------------------------------------------------------------------------


def test_no_difference_to_itself(described: Path) -> None:
    """A plan that is already in the CIB changes nothing, however its times are written."""
    cib = described / "cib.xml"
    cib.write_text(planned(described, "faces", "xml").replace('"180s"', '"3min"'))

    assert not changes(described, "faces", cib)


def test_difference(described: Path) -> None:
    """New resources and changed values are shown, no secret is; unplanned resources stay."""
    cib = described / "cib.xml"
    text = planned(described, "faces", "xml").replace('value="lrm://"', 'value="hunter2"')
    cib.write_text(text.replace('value="10.0.0.12"', 'value="10.0.0.99"'))
    lines = changes(described, "two-apis", cib)

    assert "~ p_ip_glance-api param ip: 10.0.0.99 -> 10.0.0.12" in lines
    assert "~ p_glance-api param os_password: (a secret) -> lrm://" in lines
    assert "+ p_cinder-api (ocf:openstack:cinder-api)" in lines
    assert "+ g_cinder-api (group)" in lines
    assert not [line for line in lines if "nova" in line]


def test_what_moves_into_a_group_is_told(described: Path) -> None:
    """A resource that the plan moves into another group is shown on a line of its own."""
    cib = described / "cib.xml"
    cib.write_text(planned(described, "controller", "xml"))
    lines = changes(described, "two-apis", cib)

    assert "~ p_glance-api in: none -> g_glance-api" in lines


def test_everything_keeps_its_id(described: Path) -> None:
    """Whatever ids a CIB has for planned resources, the plan takes them over."""
    cib = described / "cib.xml"
    for name in ("faces", "names"):
        text = planned(described, name, "xml")
        for old, new in (("p_glance-api", "images"), ("g_glance-api", "unit"), ("cl_", "clone-"),
                         ("p_dns_public_glance-api", "dns"), ("p_ip_glance-api", "vip"),
                         ('"c_', '"colocation-')):
            text = text.replace(old, new)
        cib.write_text(text)
        assert not changes(described, name, cib)


def test_a_virtual_ip_keeps_its_id(described: Path) -> None:
    """An address that is in the CIB under another id is planned under that id."""
    cib = described / "cib.xml"
    vip = primitive("res_glance_8534040_vip", "ocf:heartbeat:IPaddr2", "ip=10.0.0.12")
    cib.write_bytes(ElementTree.tostring(there(vip)))
    lines = changes(described, "two-apis", cib)

    assert not [line for line in lines if "p_ip_glance-api" in line]
    assert "~ res_glance_8534040_vip op monitor 10s timeout: none -> 20s" in lines


@pytest.mark.parametrize("mode", ["active-passive", "active-active"])
@pytest.mark.parametrize("worker", ["nova-conductor", "nova-scheduler"])
def test_what_does_not_wait_is_started_after_what_it_needs(
    tmp_path: Path, mode: str, worker: str,
) -> None:
    """Nova's conductor and scheduler start after Placement, and go on when it is restarted."""
    (tmp_path / "nova.conf").write_text(
        f"[DEFAULT]\nmode = {mode}\n[{worker}]\n[keystone]\nvip = 10.0.0.11\n"
        "[placement]\nvip = 10.0.0.12\n")
    cib, started = unfenced(tmp_path, "nova"), tmp_path / "started.xml"
    _, waits = simulated(cib, "--quorum=true", "--node-up=node1", f"--save-output={started}")

    before = {f"start p_{worker}"}
    for _ in range(len(waits)):
        before = before.union(*(waits.get(one, set()) for one in before))
    assert {"start p_keystone", "start p_placement-api"} <= before
    actions, _ = simulated(started, "--op-inject=p_placement-api_monitor_30000@node1=1")
    assert "stop p_placement-api" in actions
    assert worker not in str(actions)


def test_haproxy_has_the_ports_of_what_runs_on_all_nodes(described: Path) -> None:
    """haproxy balances each clone, and no other service, over the nodes, at all virtual IPs."""
    text = planned(described, "balanced", "haproxy")

    assert text[text.index("\nlisten "):] == """
listen keystone
    bind 10.0.0.12:5000
    bind [2001:db8::12]:5000
    server node1 10.0.0.21:5000
    server node2 10.0.0.22:5000

listen glance-api
    bind 10.0.0.12:9292
    bind [2001:db8::12]:9292
    server node1 10.0.0.21:9292
    server node2 10.0.0.22:9292
"""
    done = command("plan", "--elsewhere", "--as", "haproxy", "--description",
                   described / "controller.conf")
    assert (2, "") == (done.code, done.output)
    assert "the description has no section [haproxy]" in done.said


def test_haproxy_is_where_the_virtual_ip_is(described: Path) -> None:
    """haproxy is colocated with the virtual IPs; clones listen on their nodes' own addresses."""
    found = meaning(ElementTree.fromstring(planned(described, "balanced", "xml")))

    assert {("p_haproxy", "g_ip_controller"), ("p_nova-api", "g_ip_controller")} == {
        (one["rsc"], one["with-rsc"]) for one in found["constraints"] if "with-rsc" in one}
    assert {"node1": {"bind": "10.0.0.21:5000"}, "node2": {"bind": "10.0.0.22:5000"}} == (
        found["primitives"]["p_keystone"]["by node"])
    given = found["primitives"]["p_haproxy"]["parameters"]
    assert "-W -db -f /etc/haproxy/haproxy.cfg" == given["cmdline_options"]
    assert "ss -Hltn src 10.0.0.12:5000" in given["monitor_hook"]


def test_haproxy_on_all_nodes(described: Path) -> None:
    """As a clone it listens before an address is there; each address goes where one of it runs."""
    found = meaning(ElementTree.fromstring(planned(described, "everywhere", "xml")))

    assert {("p_ip_api", "haproxy-clone"), ("p_ip_public_api", "haproxy-clone")} == {
        (one["rsc"], one["with-rsc"]) for one in found["constraints"]}
    text = planned(described, "everywhere", "haproxy")
    assert "    bind 10.0.0.12:5001 transparent\n    bind 192.0.2.12:5001 transparent\n" in text
    config = described / "haproxy.cfg"
    config.write_text(text)
    done = subprocess.run(["/usr/sbin/haproxy", "-c", "-f", config], capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr


def test_a_haproxy_that_is_there_changes_its_agent(described: Path) -> None:
    """A haproxy under another agent is changed to that of the plan, and back."""
    before = described / "cib.xml"
    before.write_text(planned(described, "by-systemd", "xml"))
    text = (described / "by-systemd.conf").read_text()
    (described / "by-systemd.conf").write_text(text.replace("= systemd", "= anything"))
    there = changes(described, "by-systemd", before)
    before.write_text(planned(described, "by-systemd", "xml"))
    (described / "by-systemd.conf").write_text(text)
    back = changes(described, "by-systemd", before)

    assert "~ p_haproxy agent: systemd:haproxy -> ocf:heartbeat:anything" in there
    assert "~ p_haproxy agent: ocf:heartbeat:anything -> systemd:haproxy" in back
