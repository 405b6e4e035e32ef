"""A description of what exists: from various CIBs, configurations, and Juju bundles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cluster.docs_cib import meaning
from openstack_ocf import cib as cibs
from openstack_ocf import configs, names
from tool.kit import EMPTY, ROOT, Ended, command, loaded
from tool.test_plan import DESCRIPTIONS, OPENRC

CRM = ROOT / "crm"
SNIPPETS = sorted(path.name for path in CRM.glob("*.crm") if path.name != "properties.crm")

VIP = "op monitor interval=10s timeout=20s"
CHARM = f"""\
primitive res_glance_8534040_vip ocf:heartbeat:IPaddr2 params ip=10.0.0.12 {VIP}
primitive res_glance_eth1_vip ocf:heartbeat:IPv6addr params ipv6addr=2001:db8::12 {VIP}
primitive res_ks_1234567_vip ocf:heartbeat:IPaddr2 params ip=10.0.0.11 {VIP}
primitive res_glance_haproxy lsb:haproxy op monitor interval=5s
group grp_glance_vips res_glance_8534040_vip res_glance_eth1_vip
group grp_ks_vips res_ks_1234567_vip
clone cl_glance_haproxy res_glance_haproxy
"""
CHARM_DNS = """\
primitive res_glance_public_hostname ocf:maas:dns params fqdn=images.example.org \
  maas_url="http://10.0.0.3/MAAS" maas_credentials="key:of:maas"
primitive res_glance_int_hostname ocf:maas:dns params fqdn=images.internal.example.org \
  maas_url="http://10.0.0.3/MAAS" maas_credentials="key:of:maas"
group grp_glance_hostnames res_glance_public_hostname res_glance_int_hostname
"""
GUIDE = f"""\
primitive p_api-ip ocf:heartbeat:IPaddr2 params ip=192.168.42.103 cidr_netmask=24 {VIP}
primitive p_ip_mysql ocf:heartbeat:IPaddr2 params ip=192.168.42.101 cidr_netmask=24 {VIP}
primitive p_keystone ocf:openstack:keystone params config=/etc/keystone/keystone.conf \
  os_username=admin os_password=hunter2 os_tenant_name=admin \
  os_auth_url="http://192.168.42.103:5000/v2.0/" op monitor interval=30s timeout=30s
primitive p_glance-api ocf:openstack:glance-api params config=/etc/glance/other.conf \
  os_username=admin os_password=hunter2 os_tenant_name=admin \
  os_auth_url="http://192.168.42.103:5000/v2.0/" op monitor interval=30s timeout=30s
primitive p_ceilometer-agent-central ocf:openstack:ceilometer-agent-central \
  op monitor interval=30s timeout=30s
group g_services_api p_api-ip p_keystone p_glance-api p_ceilometer-agent-central
"""
TRIPLEO = f"""\
primitive ip-172.16.2.5 ocf:heartbeat:IPaddr2 params ip=172.16.2.5 cidr_netmask=32 {VIP}
primitive openstack-cinder-volume systemd:openstack-cinder-volume op monitor interval=60s
"""
NAMED = """\
primitive p_glance-api ocf:openstack:glance-api op monitor interval=30s timeout=30s
primitive p_dns_public_glance-api ocf:heartbeat:dnsupdate params hostname=images.example.org \
  server=10.0.0.2 keyfile=/etc/bind/monitor.key ttl=60 \
  params rule 0: #uname eq node1 ip=10.0.0.21 params rule 0: #uname eq node2 ip=10.0.0.22
group g_glance-api p_glance-api p_dns_public_glance-api
"""


API = "op monitor interval=30s timeout=30s"
SERVED = f"""\
primitive keystone ocf:openstack:keystone {API}
primitive glance ocf:openstack:glance-api {API}
clone keystone-clone keystone meta interleave=true
clone glance-clone glance meta interleave=true
"""
ONE_VIP = f"{SERVED}primitive vip ocf:heartbeat:IPaddr2 params ip=10.0.0.12 {VIP}\n"
BALANCED = {
    # As Red Hat's guides for controllers have it, and TripleO had.
    "everywhere": f"""{SERVED}
primitive vip-keystone ocf:heartbeat:IPaddr2 params ip=10.0.0.11 {VIP}
primitive vip-glance ocf:heartbeat:IPaddr2 params ip=10.0.0.12 {VIP}
primitive haproxy systemd:haproxy op monitor interval=60s
clone haproxy-clone haproxy meta interleave=true
order a Optional: vip-keystone haproxy-clone
colocation b inf: vip-keystone haproxy-clone
colocation c inf: vip-glance haproxy-clone
""",
    "in a group": f"""{ONE_VIP}
primitive haproxy lsb:haproxy op monitor interval=10s
group g_haproxy vip haproxy
""",
    "beside it": f"""{ONE_VIP}
primitive haproxy ocf:heartbeat:anything params binfile=/usr/local/sbin/haproxy \
  cmdline_options="-db -f /etc/h.cfg" op monitor interval=10s
primitive p_nova-api ocf:openstack:nova-api {API}
colocation a inf: haproxy vip
order b inf: vip haproxy
colocation c inf: p_nova-api vip
order d inf: vip p_nova-api
""",
    "of another": f"""{ONE_VIP}
primitive haproxy ocf:heartbeat:haproxy params conffile=/etc/h.cfg op monitor interval=10s
clone haproxy-clone haproxy meta interleave=true
colocation with-haproxy inf: haproxy-clone vip
""",
}
FOUND = {
    "everywhere": ("vip = 10.0.0.11 10.0.0.12\nvip_id = vip-keystone vip-glance\nid = haproxy\n"
                   "agent = systemd\nclone = haproxy-clone\n"),
    "in a group": ("vip = 10.0.0.12\nvip_id = vip\ngroup = g_haproxy\nid = haproxy\n"
                   "agent = lsb\n"),
    "beside it": ("vip = 10.0.0.12\nvip_id = vip\nid = haproxy\nconfig = /etc/h.cfg\n"
                  "binfile = /usr/local/sbin/haproxy\ncmdline_options = -db -f /etc/h.cfg\n"),
    "of another": ("vip = 10.0.0.12\nvip_id = vip\nid = haproxy\nconfig = /etc/h.cfg\n"
                   "clone = haproxy-clone\n"),
}
REMARKS = {
    "everywhere": "All of its virtual IPs are taken for addresses of all these services.",
    "in a group": "Each node's own address, where the services behind it listen, is not known",
    "beside it": "Its monitor sees a pid alone. The plan adds monitor_hook",
    "of another": "The constraint with-haproxy keeps haproxy-clone where its address is.",
}


def described(folder: Path, text: str) -> tuple[Path, str]:
    """The CIB that crmsh makes of a text, and the description that init makes of that."""
    loaded(folder, text)
    cib = folder / "cib.xml"
    done = command("init", "--elsewhere", "--cib", cib)
    assert (0, "") == (done.code, done.said)
    return cib, done.output


def difference(folder: Path, cib: Path, text: str) -> list[str]:
    """The changes that the plan of a description would make in a CIB."""
    (folder / "new.conf").write_text(text)
    done = command("plan", "--elsewhere", "--description", folder / "new.conf", "--diff", cib)
    assert 0 == done.code, done.said
    return done.output.splitlines()


@pytest.mark.parametrize("name", SNIPPETS)
def test_there_and_back(tmp_path: Path, name: str) -> None:
    """The description of a snippet's CIB changes nothing in that CIB."""
    cib, text = described(tmp_path, (CRM / name).read_text())

    assert [] == difference(tmp_path, cib, text)
    assert "SECRET" not in text


@pytest.mark.parametrize("name", sorted(DESCRIPTIONS))
def test_the_same_plan_again(tmp_path: Path, name: str) -> None:
    """What init makes of a plan leads to the same plan, whatever the layout: all of it is found."""
    openrc, path, cib = (tmp_path / one for one in ("openrc", "d.conf", "cib.xml"))
    openrc.write_text(OPENRC)
    head = f"[DEFAULT]\ncredentials = {openrc}\n"

    def planned(text: str) -> str:
        path.write_text(text)
        done = command("plan", "--elsewhere", "--as", "xml", "--description", path)
        assert (0, "") == (done.code, done.said)
        cib.write_text(done.output)
        found = cibs.load(str(cib))
        return str([meaning(found), cibs.canonical(found, "constraints", comments=False)])

    before = planned(head + DESCRIPTIONS[name])
    done = command("init", "--elsewhere", "--cib", cib)
    assert (0, "") == (done.code, done.said)

    assert before == planned(done.output.replace("[DEFAULT]\n", head))


def test_there_and_back_with_names(tmp_path: Path) -> None:
    """DNS names are described with their server, and each node's address; no value changes."""
    cib, text = described(tmp_path, NAMED)

    assert "dns_ha = true\nos_public_hostname = images.example.org\n" in text
    assert "addresses = node1=10.0.0.21 node2=10.0.0.22\n" in text
    assert [] == [line for line in difference(tmp_path, cib, text)
                  if not line.startswith(("~ p_glance-api op", "~ p_glance-api meta",
                                          "~ p_dns_public_glance-api op",
                                          "~ p_dns_public_glance-api meta"))]


def test_the_guide(tmp_path: Path) -> None:
    """In the guide's group of all services, APIs keep ids, group and address; no password is shown.

    What a description cannot say (a worker in the group, addresses of others) is a comment.
    """
    cib, text = described(tmp_path, GUIDE)

    assert ("[keystone]\nshared_vip_group = api-ip\nvip = 192.168.42.103\n"
            "vip_id = p_api-ip\nvip_cidr = 24\ngroup = g_services_api\n") in text
    assert "[glance]\nshared_vip_group = api-ip\ngroup = g_services_api\n" in text
    assert "config = /etc/glance/other.conf" in text
    assert "hunter2" not in text
    assert "auth_url = http://192.168.42.103:5000/v2.0/" in text
    assert "# It is in the group g_services_api; the plan has a worker by itself." in text
    assert "# p_ip_mysql (192.168.42.101): a virtual IP that no service here is tied to." in text
    lines = difference(tmp_path, cib, text)
    assert not [line for line in lines if line.startswith("+")]
    # The guide's keystone was its own server.
    assert ["~ p_keystone param bind: none -> 192.168.42.103:5000"] == [
        line for line in lines if "param" in line]


def test_a_charm(tmp_path: Path) -> None:
    """The charm's addresses are recognised by their names, old and new; none gets another id."""
    cib, text = described(tmp_path, CHARM)

    assert ("[glance]\nvip = 10.0.0.12 2001:db8::12\n"
            "vip_id = res_glance_8534040_vip res_glance_eth1_vip\n"
            "mode = active-active\ngroup = grp_glance_vips\n") in text
    assert "# In front of it is cl_glance_haproxy, which the plan leaves alone" in text
    assert "# res_glance_eth1_vip is of IPv6addr; the plan has IPaddr2" in text
    assert "[keystone]\nvip = 10.0.0.11\nvip_id = res_ks_1234567_vip\n" in text
    lines = difference(tmp_path, cib, text)
    assert {"+ cl_glance-api (clone)", "+ cl_keystone (clone)"} <= set(lines)
    assert not [line for line in lines if line.startswith("+ res_") or "members" in line]


def test_a_charm_with_dns_ha(tmp_path: Path) -> None:
    """The charm's names are recognised with their interfaces; MAAS's key is not shown."""
    _, text = described(tmp_path, CHARM_DNS)

    assert "os_public_hostname = images.example.org\n" in text
    assert "os_internal_hostname = images.internal.example.org\n" in text
    assert "[dns]\nagent = maas\nmaas_url = http://10.0.0.3/MAAS\n" in text
    assert "key:of:maas" not in text


def test_tripleo(tmp_path: Path) -> None:
    """TripleO's address is shown, with how to describe it, if its services cannot be seen."""
    _, text = described(tmp_path, TRIPLEO)

    assert "# ip-172.16.2.5 (172.16.2.5): a virtual IP" in text
    assert "as TripleO names them" in text
    assert "vip_id = ip-172.16.2.5" in text
    assert "# Not described, and left alone: openstack-cinder-volume (systemd:" in text


@pytest.mark.parametrize("layout", BALANCED)
def test_haproxy_before_clones(tmp_path: Path, layout: str) -> None:
    """A haproxy at virtual IPs, with APIs on all nodes, is described as it runs: nothing moves.

    What init cannot know, or the plan has otherwise, is a comment.
    """
    cib, text = described(tmp_path, BALANCED[layout])

    section = text[text.index("[haproxy]\n"):]
    assert FOUND[layout] in section
    assert section.count("mode = active-active\n") == 2
    assert text.count("\nshared_vip_group = ") == (4 if layout == "beside it" else 3)
    assert REMARKS[layout] in " ".join(text.replace("\n# ", " ").split())
    added = "[haproxy]\naddresses = node1=10.0.0.21 node2=10.0.0.22\n"
    lines = difference(tmp_path, cib, text.replace("[haproxy]\n", added))
    assert [] == [line for line in lines if line[0] in "+-" and layout != "of another"]
    assert [] == [line for line in lines if " in: " in line or "members" in line]
    assert [] == [line for line in lines if line.startswith("~ haproxy param")
                  and "monitor_hook" not in line and layout != "of another"]


def test_a_haproxy_with_nothing_behind_it(tmp_path: Path) -> None:
    """A haproxy before services that are not of ours is left alone; how to describe it is told."""
    _, text = described(tmp_path, TRIPLEO + """
primitive haproxy systemd:haproxy op monitor interval=60s
clone haproxy-clone haproxy meta interleave=true
colocation b inf: ip-172.16.2.5 haproxy-clone
""")

    said = " ".join(text.replace("\n# ", " ").split())
    assert "ip-172.16.2.5 (172.16.2.5): a virtual IP of haproxy, a haproxy with no service" in said
    assert "\n[haproxy]" not in text


def test_the_nodes_behind_haproxy(tmp_path: Path) -> None:
    """On a node its haproxy.cfg says each node's own address, and what is behind it."""
    config = tmp_path / "haproxy.cfg"
    config.write_text("listen keystone\n  bind 10.0.0.12:5000 transparent\n"
                      "  server node1.internal.example.org 10.0.0.21:5000 check\n"
                      "  server node2 10.0.0.22:5000\n  server other 10.0.0.23:5000\n")
    loaded(tmp_path, BALANCED["beside it"].replace("/etc/h.cfg", str(config)))
    cib = tmp_path / "cib.xml"
    cib.write_text(cib.read_text().replace("<nodes/>", "<nodes>" + "".join(
        f'<node id="{number}" uname="node{number}"/>' for number in (1, 2)) + "</nodes>"))
    done = command("init", "--cib", cib)

    assert (0, "") == (done.code, done.said)
    assert "addresses = node1=10.0.0.21 node2=10.0.0.22\n" in done.output
    # haproxy does not have Glance's port.
    assert "[glance]\nmode = active-active\n" in done.output
    assert "[keystone]\nshared_vip_group = vip\n" in done.output


@pytest.mark.parametrize(("addresses", "others", "network"), [
    (["192.0.2.21", "192.0.2.22"], ["10.0.0.21"], "192.0.2.20/30"),
    (["10.0.0.21", "10.0.0.23"], ["10.0.0.22"], ""),
    (["10.0.0.21", "2001:db8::1"], [], ""),
    (["nonsense"], [], ""),
    ([], [], ""),
])
def test_the_network_of_a_name(addresses: list[str], others: list[str], network: str) -> None:
    """The narrowest network that has the addresses of one name, and none of the others."""
    assert network == names.narrowest(addresses, others)


def test_addresses_and_ports_of_haproxy(tmp_path: Path) -> None:
    """haproxy's addresses are read from its configuration, IPv6 and several on a line too."""
    file = tmp_path / "haproxy.cfg"
    file.write_text("listen glance_api\n  bind 172.16.2.5:9292 transparent ssl crt /etc/a.pem\n"
                    "  bind [fd00::5]:8776,10.0.0.5:8776\n  bind /run/haproxy.sock\n")

    assert [("172.16.2.5", 9292), ("fd00::5", 8776), ("10.0.0.5", 8776)] == (
        configs.behind_haproxy((str(file), str(tmp_path / "none"))))


@pytest.mark.parametrize(("text", "found"), [
    ("[DEFAULT]\nenabled_backends = fast:rbd\n", "rbd"),
    ("[glance_store]\ndefault_store = swift\n", "swift"),
    ("[DEFAULT]\nenabled_backends = a:rbd,b:file\n", ""),
    ("", ""),
], ids=["backends", "old", "files, too", "nothing"])
def test_storage(tmp_path: Path, text: str, found: str) -> None:
    """Glance's storage is taken from its configuration, if all nodes share it."""
    config = tmp_path / "glance-api.conf"
    config.write_text(text)
    kind, remark = configs.storage(str(config))

    assert (found, "file" in text) == (kind, "storage = shared-file" in remark)


def test_an_address_by_the_configuration(tmp_path: Path) -> None:
    """An address without a service is given to the one whose own configuration listens on it."""
    config = tmp_path / "heat.conf"
    config.write_text("[heat_api]\nbind_host = 10.0.0.14\n")
    loaded(tmp_path, f"primitive p_x ocf:heartbeat:IPaddr2 params ip=10.0.0.14 {VIP}\n"
           f"primitive p_heat-api ocf:openstack:heat-api params config={config} "
           "op monitor interval=30s timeout=30s\n")
    done = command("init", "--cib", tmp_path / "cib.xml")

    assert (0, "") == (done.code, done.said)
    assert "[heat]\nvip = 10.0.0.14\n" in done.output


def test_a_cib_with_nothing_known(tmp_path: Path) -> None:
    """A CIB with nothing recognisable gives exit code 3, and no description."""
    cib = tmp_path / "cib.xml"
    cib.write_text(EMPTY)
    done = command("init", "--cib", cib)

    assert (3, "") == (done.code, done.output)
    assert "no service of OpenStack, and no virtual IP" in done.said


def test_line_breaks_make_no_lines(tmp_path: Path) -> None:
    """Line breaks and escapes in ids and values of a CIB make no line, and no colour."""
    cib = tmp_path / "cib.xml"
    break_ = "a&#10;[x]&#10;credentials = /etc/shadow&#10;&#155;31m"
    cib.write_text(EMPTY.replace("<resources/>", (
        f'<resources><group id="{break_}"><primitive id="{break_}1" class="ocf" '
        'provider="heartbeat" type="IPaddr2"><instance_attributes id="i"><nvpair id="n" '
        f'name="ip" value="{break_}"/>'
        '</instance_attributes></primitive><primitive id="p_glance-api" class="ocf" '
        'provider="openstack" type="glance-api"><instance_attributes id="j"><nvpair id="m" '
        f'name="config" value="{break_}"/><nvpair id="o" name="{break_}" value="1"/>'
        f'</instance_attributes></primitive></group><primitive id="{break_}2" class="ocf" '
        'provider="heartbeat" type="Dummy"/></resources>')))
    done = command("init", "--elsewhere", "--cib", cib)

    assert (0, "") == (done.code, done.said)
    lines = done.output.splitlines()
    assert ["[glance]"] == [line for line in lines if line[:1] not in ("#", "")]
    assert "\x9b" not in done.output


# --- bundles ----------------------------------------------------------------------------------

BUNDLE = """\
series: jammy
applications:
  glance:
    charm: ch:amd64/jammy/glance-600
    num_units: 3
    options:
      vip: 10.0.0.12 192.0.2.12
      vip_cidr: 24
      os-public-network: 192.0.2.0/24
      region: RegionTwo
      admin-password: hunter2
    bindings:
      "": alpha
      internal: internal-space
      public: public-space
  ncc:
    charm: cs:~openstack/nova-cloud-controller
    options: {dns-ha: true, os-public-hostname: "{service_name}.example.org"}
  glance-hacluster:
    charm: hacluster
    options: {maas_url: "http://10.0.0.3/MAAS", maas_credentials: "key:of:maas"}
  ceph-mon: {charm: ceph-mon}
relations:
- [glance:ha, glance-hacluster:ha]
- - glance:ceph
  - ceph-mon:client
"""


def bundle(path: Path, content: str | bytes, *options: str) -> Ended:
    """Run init on a bundle, with the system's Python, which has PyYAML."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = subprocess.run(
        ["/usr/bin/python3", "-BEs", *options, ROOT / "bin" / "openstack-ocf", "init", "--bundle",
         path],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_a_bundle(tmp_path: Path) -> None:
    """A bundle's options become keys, its relation to Ceph the storage; no secret is shown."""
    done = bundle(tmp_path / "bundle.yaml", BUNDLE)

    assert (0, "") == (done.code, done.said)
    assert ("[glance]\nvip = 10.0.0.12 192.0.2.12\nos_public_network = 192.0.2.0/24\n"
            "mode = active-active\nstorage = rbd\n") in done.output
    assert "[DEFAULT]\nregion = RegionTwo\n" in done.output
    assert "[nova]\ndns_ha = true\nos_public_hostname = nova.example.org\n" in done.output
    assert "[dns]\nagent = maas\nmaas_url = http://10.0.0.3/MAAS\n" in done.output
    assert "internal is bound to the space internal-space" in done.output
    assert "public-space" not in done.output
    for secret in ("hunter2", "key:of:maas"):
        assert secret not in done.output


def test_a_bundle_is_a_description(tmp_path: Path) -> None:
    """The description that init makes of a bundle has no finding in check."""
    done = bundle(tmp_path / "bundle.yaml", BUNDLE)
    path = tmp_path / "new.conf"
    path.write_text(done.output)
    checked = command("check", "--elsewhere", "--description", path)

    assert (0, "", "") == (checked.code, checked.output, checked.said)


@pytest.mark.parametrize(("content", "code", "said"), [
    ("", 2, "is no Juju bundle"),
    ("- a\n", 2, "is no Juju bundle"),
    ("a: [b\n", 2, "is no YAML (line 2)"),
    (b"\xff\xfe\0", 2, "is no YAML"),
    ("applications: [a]\n", 2, "has no applications"),
    ("applications: {a: {charm: mysql}, b: 3}\n", 3, "no application"),
    ("applications: {a: {charm: glance, options: 3, bindings: 4}, b: {charm: }}\nrelations: 7\n",
     0, ""),
    ("[" * 5000, 2, "is no YAML"),
    ("a: !!python/object/apply:os.system [id]\n", 2, "is no YAML"),
], ids=["empty", "a list", "broken", "binary", "applications", "unknown", "odd", "deep", "code"])
def test_what_is_no_bundle(tmp_path: Path, content: str | bytes, code: int, said: str) -> None:
    """A file that is no bundle, or has no service of ours, is refused in one sentence."""
    done = bundle(tmp_path / "bundle.yaml", content)

    assert code == done.code, done.said
    assert said in done.said
    assert "Traceback" not in done.said
    assert done.said.count("\n") <= 1


def test_without_pyyaml(tmp_path: Path) -> None:
    """If PyYAML is missing, its package is named."""
    done = bundle(tmp_path / "bundle.yaml", BUNDLE, "-S")

    assert (3, "") == (done.code, done.output)
    assert "install the package python3-yaml" in done.said
