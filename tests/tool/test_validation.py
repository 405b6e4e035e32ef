"""Each row of the validation finds its mistake, and only that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tool.kit import a_node, command, found

GOOD = """\
[DEFAULT]
nodes = node1 node2
[glance]
vip = 10.0.0.12 2001:db8::12
vip_cidr =
storage = rbd
[cinder]
vip = 10.0.0.13
"""
UPDATED = "[dns]\nserver = 10.0.0.2\nkeyfile = /etc/key\n"
DNS = f"{UPDATED}addresses = n1.example.org=10.0.0.21 n2=10.0.0.22 n2=2001:db8::22\n"
BALANCED = ("[glance]\nshared_vip_group=a\nmode=active-active\n"
            "[haproxy]\nvip=10.0.0.12\nshared_vip_group=a\n")
NAMED = "[glance]\ndns_ha=true\nos_public_hostname=a.example.org\n"


@pytest.mark.parametrize(("text", "keys"), [
    ("[glance]\nvip=10.0.0.12 192.0.2.12\nshared_vip_group=a\n[cinder]\nshared_vip_group=a\n"
     "vip=192.0.2.12 10.0.0.12\nvip_iface=eth0\nvip_cidr=24\nvip_id=a b\n"
     "allow_unroutable_vip=yes\nos_public_network=192.0.2.0/24\n",
     ["vip_iface", "vip_cidr", "allow_unroutable_vip", "vip_id", "os_public_network"]),
    ("[cinder]\nvip=10.0.0.12\nclone=cl_a\n", ["clone"]),
    ("[cinder]\nvip=10.0.0.12\nclone=cl_a\nmode=active-active\n[heat-engine]\nclone=cl_b\n", []),
], ids=["shared", "a clone", "clones"])
def test_a_key_without_effect(tmp_path: Path, text: str, keys: list[str]) -> None:
    """V10: what counts only beside vip, in another section, and an id for no clone are told."""
    path = tmp_path / "d.conf"

    assert [("V10", "warning", f"{path}:cinder/{key}") for key in keys] == [
        (one.id, one.severity, one.where) for one in found(path, text)]


def test_a_good_description_has_no_findings(tmp_path: Path) -> None:
    """Free addresses of a local network, one for each service, have no finding."""
    assert [] == found(tmp_path / "d.conf", GOOD, a_node())


DESCRIPTIONS = [
    ("D1", "glance", "neither vip nor dns_ha", "[glance]\n"),
    ("D2", "glance/dns_ha", "both vip and dns_ha",
     f"[glance]\nvip=10.0.0.12\ndns_ha=true\nos_public_hostname=a.example.org\n{DNS}"),
    ("D3", "glance/dns_ha", "no name is set", f"[glance]\ndns_ha=true\n{DNS}"),
    ("D3", "glance/dns_ha", "an empty one counts as none",
     f"[glance]\ndns_ha=true\nos_public_hostname=\n{DNS}"),
    ("D3", "glance/dns_ha", "no name is set",
     f"[glance]\ndns_ha=true\nos_access_hostname=a.example.org\n{DNS}"),
    ("D4", "glance/os_public_hostname", "images has no domain",
     f"[glance]\ndns_ha=true\nos_public_hostname=images\n{DNS}"),
    ("D4", "glance/os_admin_hostname", "N1.example.org is the name of a node",
     "[DEFAULT]\nnodes = n1.example.org\n[glance]\ndns_ha=true\n"
     f"os_admin_hostname=N1.example.org\n{DNS}"),
    ("D4", "glance/os_public_hostname", "10.0.0.1 is an address",
     f"[glance]\ndns_ha=true\nos_public_hostname=10.0.0.1\n{DNS}"),
    ("D5", "glance/dns_ha", "no section [dns]",
     "[glance]\ndns_ha=true\nos_public_hostname=a.example.org\n"),
    ("D5", "dns", "agent = dnsupdate needs keyfile",
     "[glance]\ndns_ha=true\nos_public_hostname=a.example.org\n[dns]\nserver=10.0.0.2\n"),
    ("D6", "dns/addresses", "it is not said which address each node has", f"{NAMED}{UPDATED}"),
    ("D6", "dns/addresses", "n3 has no IPv4 address, for the public name of [glance]",
     f"[DEFAULT]\nnodes=n1.example.org n3\n{NAMED}{DNS}"),
    ("D6", "dns/addresses", "n4 has no IPv4 address",
     f"{NAMED}{UPDATED}addresses = n2=10.0.0.22 n4=2001:db8::24\n"),
    ("D6", "dns/addresses", "n2 has no IPv4 address in 10.0.0.0/28, os_public_network",
     f"{NAMED}os_public_network=10.0.0.0/28\n{UPDATED}addresses = n1=10.0.0.3 n2=10.0.0.22\n"),
    ("V9", "glance/vip_id", "1 ids, and 2 addresses in vip",
     "[glance]\nvip=10.0.0.12 10.0.0.13\nvip_id=p_api-ip\n"),
    ("D5", "dns", "agent = maas needs maas_url",
     "[glance]\ndns_ha=true\nos_public_hostname=a.example.org\n[dns]\nagent=maas\n"),
    ("V1", "glance/vip", "api.example.org is no IP address",
     "[glance]\nvip=10.0.0.12 api.example.org\n"),
    ("V1", "glance/vip", "10.0.0.12/24 is no IP address", "[glance]\nvip=10.0.0.12/24 10.0.0.13\n"),
    ("V1", "glance/vip", "fd00::1%eth0 is no IP address", "[glance]\nvip=fd00::1%eth0 fd00::2\n"),
    ("V1", "glance/vip", "127.0.0.1 is no address that clients reach", "[glance]\nvip=127.0.0.1\n"),
    ("V1", "glance/vip", "stands there twice", "[glance]\nvip=10.0.0.12 10.0.0.12\n"),
    ("V1", "cinder/vip", "the virtual IP of [glance], too",
     "[glance]\nvip=10.0.0.12\n[cinder]\nvip=10.0.0.12\n"),
    ("V1", "cinder/vip", "not the same as in [glance]",
     "[glance]\nvip=10.0.0.12\nshared_vip_group=a\n[cinder]\nvip=10.0.0.13\nshared_vip_group=a\n"),
    ("V5", "glance/vip_cidr", "64 is too long for IPv4", "[glance]\nvip=10.0.0.12\nvip_cidr=64\n"),
    ("V7", "glance/vip", "2001:db8::12 is IPv6, and bind is 0.0.0.0",
     "[glance]\nvip=2001:db8::12\nserver=uwsgi\nbind=0.0.0.0:9292\n"),
    ("V8", "glance/os_public_network", "no virtual IP is in 192.0.2.0/24",
     "[glance]\nvip=10.0.0.12\nos_public_network=192.0.2.0/24\n"),
    ("S1", "glance/storage", "no other node has after a failover",
     "[glance]\nvip=10.0.0.12\nstorage=local\n"),
    ("O1", "cinder/port", "[glance] listens on port 9292, too",
     "[glance]\nvip=10.0.0.12\nshared_vip_group=a\n[cinder]\nport=9292\nshared_vip_group=a\n"),
    ("O1", "cinder/port", "[glance] listens on port 9292, too",
     "[glance]\nvip=10.0.0.12 10.0.0.14\n[cinder]\nvip=10.0.0.13\nport=9292\n"),
    ("D8", "haproxy/addresses", "no node has an address", f"{BALANCED}"),
    ("D8", "haproxy/addresses", "n2, n3 has no address",
     f"[DEFAULT]\nnodes=n1 n2 n3\n{BALANCED}addresses=n1=10.0.0.21\n"),
    ("D8", "haproxy/addresses", "n1 stands there twice",
     f"{BALANCED}addresses=n1=10.0.0.21 n1=2001:db8::21\n"),
    ("D8", "haproxy/addresses", "10.0.0.12 is a virtual IP",
     f"{BALANCED}addresses=n1=10.0.0.12 n2=10.0.0.22\n"),
    ("D9", "haproxy", "no service is behind this haproxy",
     "[haproxy]\nvip=10.0.0.12\n[glance]\nvip=10.0.0.13\nmode=active-active\n"),
    ("O1", "glance/port", "[cinder] listens on port 9292, too",
     f"[cinder]\nvip=10.0.0.13\nport=9292\nmode=active-active\n{BALANCED}"
     "addresses=n1=10.0.0.21\n"),
]


@pytest.mark.parametrize(("row", "where", "seen", "text"), DESCRIPTIONS,
                         ids=[f"{one[0]}: {one[2]}" for one in DESCRIPTIONS])
def test_description(tmp_path: Path, row: str, where: str, seen: str, text: str) -> None:
    """A mistake that the description alone shows is found, once, with its place."""
    path = tmp_path / "d.conf"
    findings = found(path, text)

    assert [(row, "error", f"{path}:{where}")] == [
        (one.id, one.severity, one.where) for one in findings]
    assert seen in findings[0].seen
    assert findings[0].remedy.endswith((".", "org"))


NODES = [
    ("V2", "vip", "198.51.100.5 is in no network of this node", "vip=198.51.100.5"),
    ("V3", "vip", "10.0.0.0 is the address of the network", "vip=10.0.0.0"),
    ("V3", "vip", "10.0.0.255 is the broadcast address", "vip=10.0.0.255"),
    ("V3", "vip", "10.0.0.1 is a gateway", "vip=10.0.0.1"),
    ("V3", "vip", "10.0.0.21 is the address of this node's eth0", "vip=10.0.0.21"),
    ("V3", "vip", "2001:db8::21 is the address of this node's eth0", "vip=2001:db8::21"),
    ("V5", "vip_cidr", "16 is not the length of 10.0.0.0/24", "vip=10.0.0.12\nvip_cidr=16"),
    ("V6", "vip_iface", "no interface eth7", "vip=10.0.0.12\nvip_iface=eth7"),
    ("V6", "vip_iface", "eth1 is down", "vip=192.0.2.12\nvip_iface=eth1"),
    ("V6", "vip_iface", "in no network of eth0", "vip=192.0.2.12\nvip_iface=eth0"),
]


@pytest.mark.parametrize(("row", "key", "seen", "lines"), NODES,
                         ids=[f"{one[0]}: {one[2]}" for one in NODES])
def test_node(tmp_path: Path, row: str, key: str, seen: str, lines: str) -> None:
    """A mistake that this node's addresses show is found, once, and only on this node."""
    path = tmp_path / "d.conf"
    text = f"[glance]\n{lines}\n"
    findings = found(path, text, a_node())

    assert [(row, "error", f"{path}:glance/{key}")] == [
        (one.id, one.severity, one.where) for one in findings]
    assert seen in findings[0].seen
    assert [] == found(path, text)


def test_v2_what_is_meant(tmp_path: Path) -> None:
    """V2: an address in no network is a warning if it is intended, and IPaddr2 can have it."""
    path, text = tmp_path / "d.conf", "[glance]\nvip=198.51.100.5\nallow_unroutable_vip=true\n"
    whole = f"{text}vip_iface=eth0\nvip_cidr=32\n"

    assert [("V2", "warning")] == [
        (one.id, one.severity) for one in found(path, whole, a_node())]
    [one] = found(path, text, a_node())
    assert ("V2", "error", "Set vip_iface and vip_cidr, too.") == (one.id, one.severity, one.remedy)


def test_v5_an_address_alone(tmp_path: Path) -> None:
    """V5: the length of an address alone is no mistake: TripleO gives it to its virtual IPs."""
    for address, length in (("10.0.0.12", 32), ("2001:db8::12", 128)):
        text = f"[glance]\nvip={address}\nvip_cidr={length}\n"
        assert [] == found(tmp_path / "d.conf", text, a_node())


def test_v3_what_the_cluster_holds(tmp_path: Path) -> None:
    """V3: an address that the cluster has put here is no mistake; without the cluster, unknown."""
    path, text = tmp_path / "d.conf", "[glance]\nvip=10.0.0.21\n"

    assert [] == found(path, text, a_node(), ["10.0.0.21"])
    assert [("V3", "unknown")] == [
        (one.id, one.severity) for one in found(path, text, a_node(), None)]


@pytest.mark.parametrize(("host", "vip", "wrong"), [
    ("0.0.0.0", "10.0.0.12", False), ("0.0.0.0", "2001:db8::12", True),
    ("::", "10.0.0.12", False), ("::", "2001:db8::12", False),
    ("2001:db8::12", "10.0.0.12", True), ("node1", "2001:db8::12", False),
])
def test_v7_the_servers_own_configuration(
    tmp_path: Path, host: str, vip: str, wrong: bool
) -> None:
    """V7: bind_host of the other address family is found if the service's file is there."""
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[DEFAULT]\nbind_host = {host}\n")
    findings = found(tmp_path / "d.conf", f"[glance]\nvip={vip}\nconfig={config}\n")

    assert (["V7"] if wrong else []) == [one.id for one in findings]


def test_v7_in_a_section_of_its_own(tmp_path: Path) -> None:
    """V7: bind_host is read from the agent's section, for heat-api from [heat_api]."""
    config = tmp_path / "heat.conf"
    config.write_text("[DEFAULT]\nbind_host = ::\n[heat_api]\nbind_host = 0.0.0.0\n")
    findings = found(tmp_path / "d.conf", f"[heat]\nvip=2001:db8::12\nconfig={config}\n")

    assert ["V7"] == [one.id for one in findings]


def test_behind_haproxy(tmp_path: Path) -> None:
    """D8: this node's own address is checked; behind haproxy the other address family is no V7."""
    path, config = tmp_path / "d.conf", tmp_path / "glance-api.conf"
    config.write_text("[DEFAULT]\nbind_host = 2001:db8::21\n")
    text = f"{BALANCED}addresses = n1=2001:db8::21 n2=10.0.0.22\n".replace(
        "[haproxy]", f"config={config}\n[cinder]\nvip=10.0.0.13\nport=9292\n[haproxy]")

    assert [] == found(path, text, replace(a_node(), name="n1"))
    [one] = found(path, text, replace(a_node(), name="n2"))
    assert ("D8", "error", f"{path}:haproxy/addresses") == (one.id, one.severity, one.where)
    assert "10.0.0.22 is not an address of this node, n2" == one.seen


def test_d1_where_it_does_not_hold(tmp_path: Path) -> None:
    """D1: workers, and APIs without ha, need no address; a clone without one is a warning."""
    path = tmp_path / "d.conf"

    assert [] == found(path, "[heat-engine]\n")
    assert [] == found(path, "[DEFAULT]\nha = false\n[glance]\nstorage = local\n")
    assert [("D1", "warning")] == [
        (one.id, one.severity) for one in found(path, "[glance]\nmode = active-active\n")]


def test_check_as_json(tmp_path: Path) -> None:
    """The command gives findings as JSON with all fields, and exit code 1 for an error."""
    path = tmp_path / "d.conf"
    path.write_text("[glance]\n")
    done = command("check", "--elsewhere", "--format", "json", "--description", path)

    assert (1, "") == (done.code, done.said)
    [one] = json.loads(done.output)
    assert ["id", "severity", "where", "seen", "remedy"] == list(one)
    assert ("D1", "error", f"{path}:glance") == (one["id"], one["severity"], one["where"])


def test_check_looks_at_the_real_node(tmp_path: Path) -> None:
    """In a network namespace with one interface the command's findings are about its addresses."""
    path = tmp_path / "d.conf"
    path.write_text("[glance]\nvip = 10.9.0.2\n[cinder]\nvip = 10.8.0.2\n[heat]\nvip = 10.9.0.7\n")
    script = ("ip link add eth9 type veth peer name eth8 && ip addr add 10.9.0.2/24 dev eth9 && "
              'ip link set eth9 up && exec "$@"')
    done = command("check", "--quick", "--description", path,
                   prefix=["unshare", "--net", "sh", "-c", script, "sh"])

    assert (1, "") == (done.code, done.said)
    firsts = [line for line in done.output.splitlines() if not line.startswith(" ")]
    assert [f"V3 {path}:glance/vip", f"V2 {path}:cinder/vip"] == [
        line.split(" ", 1)[1].split(": ")[0] for line in firsts if line.split()[1][0] == "V"]
