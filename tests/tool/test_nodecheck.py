"""`check` of a node's files: each row finds its mistake, and a sound node has none.

Programs that would look at this machine are replaced by scripts: systemctl and findmnt.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from openstack_ocf import outdated, rows
from openstack_ocf.servers import hosts
from tool.kit import ROOT, Ended, command, primitive

SECRET = "geheim"
GLANCE = """\
[DEFAULT]
bind_host = 10.0.0.12
enabled_backends = ceph:rbd
enabled_import_methods = [web-download]
transport_url = rabbit://openstack:geheim@10.0.0.22:5672,openstack:geheim@10.0.0.23:5672/
[database]
connection = mysql+pymysql://glance:geheim@10.0.0.20/glance
max_retries = -1
[oslo_messaging_notifications]
driver = messagingv2
[keystone_authtoken]
auth_type = password
auth_url = http://10.0.0.11:5000
www_authenticate_uri = http://10.0.0.11:5000
username = glance
password = geheim
project_name = service
user_domain_name = Default
project_domain_name = Default
[paste_deploy]
flavor = keystone
[glance_store]
default_backend = ceph
[ceph]
rbd_store_user = glance
rbd_store_ceph_conf = {folder}/ceph.conf
"""
CINDER = """\
[DEFAULT]
osapi_volume_listen = 10.0.0.13
auth_strategy = keystone
transport_url = rabbit://openstack:geheim@10.0.0.22:5672/
[database]
connection = mysql+pymysql://cinder:geheim@10.0.0.20/cinder
max_retries = -1
[oslo_messaging_notifications]
driver = noop
[keystone_authtoken]
auth_type = password
auth_url = http://10.0.0.11:5000
username = cinder
password = geheim
project_name = service
user_domain_name = Default
project_domain_name = Default
"""
DESCRIPTION = """\
[DEFAULT]
nodes = node1 node2
auth_url = http://10.0.0.11:5000
[glance]
vip = 10.0.0.12
storage = rbd
user = root
config = {folder}/glance-api.conf
[cinder]
vip = 10.0.0.13
user = root
config = {folder}/cinder.conf
"""
CIB = f"""\
<cib have-quorum="1"><configuration><crm_config><cluster_property_set id="a">
<nvpair id="b" name="stonith-enabled" value="true"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="node1"/><node id="2" uname="node2"/></nodes>
<resources><primitive id="f" class="stonith" type="fence_ipmilan"/>
{primitive("p_ip_mysql", "ocf:heartbeat:IPaddr2", "ip=10.0.0.20")}GROUP
</resources><constraints/></configuration><status/></cib>
"""


@dataclass
class Host:
    """A node's files in a folder, and the programs that are asked about it."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def program(self, name: str, says: str) -> None:
        path = self.write(f"bin/{name}", f"#!/bin/sh\n{says}\n")
        path.chmod(0o755)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def run(self, *words: str, prefix: Sequence[str] = ()) -> Ended:
        done = command(
            "check", *words, "--description", self.folder / "d.conf", "--cib",
            self.folder / "cib.xml", prefix=prefix,
            PATH=f"{self.folder}/bin:{os.environ['PATH']}")
        assert SECRET not in done.output + done.said
        return done

    def found(self) -> list[tuple[str, str, str, str]]:
        """Id, severity, place and words of each finding, without those about this machine."""
        done = self.run("--quick", "--format", "json")
        assert done.said == ""
        findings = json.loads(done.output)
        assert all(one["remedy"] for one in findings)
        # Addresses, the clock and the kernel are those of the machine.
        return [(one["id"], one["severity"], one["where"].replace(f"{self.folder}/", ""),
                 one["seen"]) for one in findings if one["id"] not in ("V2", "V3", "T1", "B3")]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A sound node: Glance in Ceph, Cinder, a cluster with fencing."""
    host = Host(tmp_path)
    (tmp_path / "bin").mkdir()
    host.program("systemctl", "echo disabled; exit 1")
    host.write("glance-api.conf", GLANCE.format(folder=tmp_path))
    host.write("cinder.conf", CINDER)
    host.write("ceph.conf", f"[client.glance]\nkeyring = {tmp_path}/keyring\n")
    host.write("keyring", "")
    host.write("d.conf", DESCRIPTION.format(folder=tmp_path))
    host.write("cib.xml", CIB.replace("GROUP", ""))
    return host


def test_a_sound_node(host: Host) -> None:
    """Configurations as the pages have them, with fencing, have no finding."""
    assert [] == host.found()


GLANCE_MISTAKES = [
    ("B1", "error", "DEFAULT/bind_host", "10.0.0.21, and the virtual IP is 10.0.0.12",
     "bind_host = 10.0.0.12", "bind_host = 10.0.0.21"),
    ("B1", "error", "DEFAULT/bind_host", "which is a name",
     "bind_host = 10.0.0.12", "bind_host = controller"),
    ("B1", "error", "DEFAULT/bind_port", "the port is 9191",
     "[DEFAULT]", "[DEFAULT]\nbind_port = 9191"),
    ("DB1", "error", "database/connection", "node1 is one node", "@10.0.0.20/", "@node1/"),
    ("DB1", "error", "database/connection", "localhost is this node", "@10.0.0.20/", "@localhost/"),
    ("DB1", "error", "database/connection", "a socket of this node",
     "@10.0.0.20/glance", "@localhost/glance?unix_socket=/run/mysqld/mysqld.sock"),
    ("DB1", "error", "database/connection", "SQLite",
     "mysql+pymysql://glance:geheim@10.0.0.20/glance", "sqlite:////var/lib/glance/glance.sqlite"),
    ("DB1", "error", "database/connection", "cannot be taken apart",
     "glance:geheim@", "glance:geheim/geheim@"),
    ("DB3", "warning", "database/max_retries", "max_retries is 10", "max_retries = -1\n", ""),
    ("MQ1", "error", "DEFAULT/transport_url", "127.0.0.1 is this node",
     "@10.0.0.22:5672", "@127.0.0.1:5672"),
    ("MQ1", "error", "DEFAULT/transport_url", "node2 is one node",
     "@10.0.0.22:5672,openstack:geheim@10.0.0.23:5672", "@node2:5672"),
    ("N1", "warning", "oslo_messaging_notifications/driver", "the driver is empty",
     "driver = messagingv2", ""),
    ("N2", "error", "DEFAULT/transport_url", "and no transport_url",
     "transport_url", "# transport_url"),
    ("A1", "error", "keystone_authtoken/auth_type", "not set", "auth_type = password\n", ""),
    ("A2", "error", "keystone_authtoken/password", "not set", "password = geheim\n", ""),
    ("A2", "error", "keystone_authtoken/user_domain_name", "not set",
     "user_domain_name = Default\n", ""),
    ("A3", "warning", "keystone_authtoken/identity_uri", "v2.0",
     "auth_type", "identity_uri = http://10.0.0.11:35357\nauth_type"),
    ("A3", "warning", "keystone_authtoken/admin_password", "v2.0",
     "auth_type", "admin_password = geheim\nauth_type"),
    ("A3", "warning", "keystone_authtoken/auth_url", "ends in /v2.0",
     "auth_url = http://10.0.0.11:5000", "auth_url = http://10.0.0.11:5000/v2.0/"),
    ("A3", "warning", "keystone_authtoken/auth_url", "35357",
     "auth_url = http://10.0.0.11:5000", "auth_url = http://10.0.0.11:35357"),
    ("A5", "error", "keystone_authtoken/auth_url", "node1 is one node",
     "auth_url = http://10.0.0.11:5000", "auth_url = http://node1:5000"),
    ("A5", "warning", "keystone_authtoken/auth_url", "10.0.0.99 is not Keystone's virtual IP",
     "auth_url = http://10.0.0.11:5000", "auth_url = http://10.0.0.99:5000"),
    ("P1", "error", "paste_deploy/flavor", "not set", "flavor = keystone", ""),
    ("P1", "error", "paste_deploy/flavor", "flavor is noauth",
     "flavor = keystone", "flavor = noauth"),
    ("K1", "error", "DEFAULT/image_cache_dir", "not set",
     "flavor = keystone", "flavor = keystone+caching"),
    ("K1", "error", "DEFAULT/image_cache_dir", "not on this node",
     "flavor = keystone", "flavor = keystone+caching\n[DEFAULT]\nimage_cache_dir = /nowhere"),
    ("S3", "error", "ceph/rbd_store_ceph_conf", "/nowhere/ceph.conf is not on this node",
     "{folder}/ceph.conf", "/nowhere/ceph.conf"),
    ("S3", "error", "s3/s3_store_bucket", "has no s3_store_bucket",
     "enabled_backends = ceph:rbd", "enabled_backends = ceph:rbd, s3:s3\n[s3]\n"
     "s3_store_host = http://s3\ns3_store_access_key = geheim\ns3_store_secret_key = geheim\n"
     "[DEFAULT]"),
    ("F1", "warning", "DEFAULT/registry_host", "no glance-registry any more",
     "[DEFAULT]", "[DEFAULT]\nregistry_host = 10.0.0.12"),
    ("F1", "warning", "DEFAULT/rabbit_password", "one URL has all",
     "[DEFAULT]", "[DEFAULT]\nrabbit_password = geheim"),
]


@pytest.mark.parametrize(("row", "severity", "where", "seen", "old", "new"), GLANCE_MISTAKES,
                         ids=[f"{one[0]}: {one[3]}" for one in GLANCE_MISTAKES])
def test_glance(host: Host, row: str, severity: str, where: str, seen: str, old: str,
                new: str) -> None:
    """A mistake in glance-api.conf is found once, with its place, and nothing else."""
    host.edit("glance-api.conf", old.format(folder=host.folder), new)

    [found] = host.found()
    assert (row, severity, f"glance-api.conf:{where}") == found[:3]
    assert seen in found[3]


CINDER_MISTAKES = [
    ("P2", "DEFAULT/auth_strategy", "noauth: everybody", "auth_strategy = keystone",
     "auth_strategy = noauth"),
    ("MQ1", "DEFAULT/transport_url", "sought on this node", "transport_url", "# transport_url"),
    ("B1", "DEFAULT/osapi_volume_listen", "127.0.0.1, and the virtual IP is 10.0.0.13",
     "osapi_volume_listen = 10.0.0.13", "osapi_volume_listen = 127.0.0.1"),
    ("F1", "DEFAULT/glance_host", "they are gone", "[DEFAULT]",
     "[DEFAULT]\nglance_host = 10.0.0.12"),
    ("F1", "DEFAULT/sql_connection", "older name",
     "[database]\nconnection = mysql+pymysql://cinder:geheim@10.0.0.20/cinder",
     "[DEFAULT]\nsql_connection = mysql+pymysql://cinder:geheim@10.0.0.20/cinder\n[database]"),
]


@pytest.mark.parametrize(("row", "where", "seen", "old", "new"), CINDER_MISTAKES,
                         ids=[f"{one[0]}: {one[2]}" for one in CINDER_MISTAKES])
def test_cinder(host: Host, row: str, where: str, seen: str, old: str, new: str) -> None:
    """A mistake in cinder.conf is found, with its place; an older name of an option counts."""
    host.edit("cinder.conf", old, new)

    [found] = host.found()
    assert (row, f"cinder.conf:{where}") == (found[0], found[2])
    assert seen in found[3]


@pytest.mark.parametrize(("text", "where", "seen"), [
    ("[DEFAULT]\nhost = controller1\n[api]\nhost = 10.0.0.14\nport = 9511\n", "", ""),
    ("[api]\nhost = 10.0.0.21\n", "api/host", "listens on 10.0.0.21"),
    ("[api]\nhost = 10.0.0.14\nport = 9512\n", "api/port", "the port is 9512"),
])
def test_the_section_that_says_where_it_listens(
    host: Host, text: str, where: str, seen: str,
) -> None:
    """B1: an API's address is read from the section that its agent declares."""
    host.write("magnum.conf", CINDER.replace("[DEFAULT]\n", f"{text}[DEFAULT]\n"))
    host.write("d.conf", DESCRIPTION.format(folder=host.folder) + "[magnum]\nvip = 10.0.0.14\n"
               f"user = root\nconfig = {host.folder}/magnum.conf\n")

    found = [(id_, where_.rpartition(":")[2]) for id_, _, where_, _ in host.found()]
    assert ([("B1", where)] if where else []) == found
    assert not seen or seen in host.run().output


GNOCCHI = CINDER.partition("[keystone_authtoken]")[2]
SOUND_GNOCCHI = f"""\
[api]
host = 10.0.0.14
auth_mode = keystone
[indexer]
url = mysql+pymysql://gnocchi:geheim@10.0.0.20/gnocchi
[keystone_authtoken]{GNOCCHI}"""


@pytest.mark.parametrize(("row", "where", "seen", "old", "new"), [
    ("", "", "", "", ""),
    ("P2", "api/auth_mode", "auth_mode is basic", "auth_mode = keystone\n", ""),
    ("DB1", "indexer/url", "no database is set",
     "url = mysql+pymysql://gnocchi:geheim@10.0.0.20/gnocchi\n", ""),
    ("DB1", "indexer/url", "127.0.0.1 is this node", "@10.0.0.20/", "@127.0.0.1/"),
    ("B1", "api/host", "listens on 10.0.0.21", "host = 10.0.0.14", "host = 10.0.0.21"),
])
def test_gnocchi(host: Host, row: str, where: str, seen: str, old: str, new: str) -> None:
    """P2, DB1, B1: Gnocchi believes any name unless it is told to ask Keystone; its database is
    called an index."""
    host.write("gnocchi.conf", SOUND_GNOCCHI.replace(old, new) if old else SOUND_GNOCCHI)
    host.write("d.conf", DESCRIPTION.format(folder=host.folder) + "[gnocchi]\nvip = 10.0.0.14\n"
               f"user = root\nconfig = {host.folder}/gnocchi.conf\n")

    found = [(id_, where_.rpartition(":")[2]) for id_, _, where_, _ in host.found()]
    assert ([(row, where)] if row else []) == found
    assert not seen or seen in host.run().output


def test_several_virtual_ips(host: Host) -> None:
    """B2: with two virtual IPs a server on one of them is found; on the wildcard it is not."""
    host.edit("d.conf", "vip = 10.0.0.13", "vip = 10.0.0.13 10.0.0.14")
    [found] = host.found()
    host.edit("cinder.conf", "osapi_volume_listen = 10.0.0.13", "osapi_volume_listen = 0.0.0.0")

    assert ("B2", "error", "cinder.conf:DEFAULT/osapi_volume_listen") == found[:3]
    assert [] == host.found()


def test_active_active(host: Host) -> None:
    """B1: a clone that listens on the virtual IP is found; on its node's own address it is not."""
    host.edit("d.conf", "vip = 10.0.0.13", "vip = 10.0.0.13\nmode = active-active")
    [found] = host.found()
    host.edit("cinder.conf", "osapi_volume_listen = 10.0.0.13", "osapi_volume_listen = 10.0.0.21")

    assert "B1" == found[0]
    assert "10.0.0.13, which only one node has, and is to run on all" in found[3]
    assert [] == host.found()


def test_behind_haproxy(host: Host) -> None:
    """B1, B4: behind haproxy a clone on all addresses is found, and a port that haproxy lacks."""
    host.edit("d.conf", "vip = 10.0.0.13", "shared_vip_group = a\nmode = active-active")
    host.write("d.conf", (host.folder / "d.conf").read_text() + "[haproxy]\nvip = 10.0.0.13\n"
               "shared_vip_group = a\naddresses = node1=10.0.0.21 node2=10.0.0.22\n"
               f"config = {host.folder}/haproxy.cfg\n")
    host.edit("cinder.conf", "osapi_volume_listen = 10.0.0.13", "osapi_volume_listen = 0.0.0.0")
    bound, absent = host.found()
    host.edit("cinder.conf", "osapi_volume_listen = 0.0.0.0", "osapi_volume_listen = 10.0.0.21")
    planned = command("plan", "--elsewhere", "--as", "haproxy", "--description",
                      host.folder / "d.conf")
    host.write("haproxy.cfg", planned.output)

    assert ("B1", "error", "cinder.conf:DEFAULT/osapi_volume_listen") == bound[:3]
    assert "and haproxy is to have the port" in bound[3]
    assert ("B4", "error", "haproxy.cfg") == absent[:3]
    assert "no bind 10.0.0.13:8776, for cinder-api" in absent[3]
    assert [] == host.found()
    host.edit("haproxy.cfg", "bind 10.0.0.13:8776", "bind *:8776")
    assert ["B4"] == [one[0] for one in host.found()]


def test_file_store(host: Host) -> None:
    """S2, S4: a folder of this node is found; on storage that is shared, or mounted first, not."""
    images = host.folder / "images"
    host.edit("glance-api.conf", "enabled_backends = ceph:rbd",
              f"enabled_backends = fs:file\n[fs]\nfilesystem_store_datadir = {images}\n[DEFAULT]")
    host.program("findmnt", """echo '{"filesystems": [{"fstype": "xfs", "target": "/var"}]}'""")
    [found] = host.found()
    assert ("S2", "error", "glance-api.conf:fs/filesystem_store_datadir") == found[:3]
    assert "is on /var (xfs) of this node" in found[3]

    mounted = primitive("fs", "ocf:heartbeat:Filesystem", f"directory={host.folder}")
    ours = primitive("p", "ocf:openstack:glance-api")
    host.write("cib.xml", CIB.replace("GROUP", f'<group id="g">{mounted}{ours}</group>'))
    assert [] == host.found()

    host.write("cib.xml", CIB.replace("GROUP", ""))
    host.program("findmnt", """echo '{"filesystems": [{"fstype": "nfs4", "target": "/var"}]}'""")
    assert [] == host.found()

    host.program("findmnt", "exit 1")
    assert [("S2", "unknown")] == [one[:2] for one in host.found()]


def test_default_store_is_local(host: Host) -> None:
    """S2, S4: Debian's file sets no store: then store and staging are folders of this node."""
    host.edit("glance-api.conf", "enabled_backends = ceph:rbd\n"
              "enabled_import_methods = [web-download]\n", "")
    host.program("findmnt", """echo '{"filesystems": [{"fstype": "ext4", "target": "/"}]}'""")

    assert [("S2", "error"), ("S4", "warning")] == [one[:2] for one in host.found()]


def test_files(host: Host) -> None:
    """F2, F3: a file that the user cannot read, that is missing, or that has no options is found;
    the other service is checked all the same."""
    host.edit("d.conf", f"user = root\nconfig = {host.folder}/glance",
              f"user = nobody\nconfig = {host.folder}/glance")
    assert ("F2", "glance-api.conf", "the user nobody cannot read it") in [
        (one[0], one[2], one[3]) for one in host.found()]

    host.write("cinder.conf", "auth_strategy = geheim\n")
    assert ("F3", "cinder.conf", "it cannot be read: line 1 stands before the first [section]") in [
        (one[0], one[2], one[3]) for one in host.found()]

    (host.folder / "cinder.conf").unlink()
    assert ("F3", "cinder.conf", "it cannot be read: no such file or directory") in [
        (one[0], one[2], one[3]) for one in host.found()]


@pytest.mark.parametrize(("lines", "why"), [
    ("[a]\ngeheim\n", "line 2 is no `key = value`"),
    ("[a] # one\n", "line 1 has something behind a [section]"),
    ("[a]\nb = \xe4\n", "byte 8 is no UTF-8"),
    ("[a]\n = geheim\n", "line 2 is no `key = value`"),
], ids=["no value", "behind a section", "latin-1", "no key"])
def test_what_the_service_cannot_read(host: Host, lines: str, why: str) -> None:
    """F3: a file that oslo.config refuses is named with the line's number, not its text; the other
    service is checked all the same."""
    (host.folder / "more").mkdir()
    (host.folder / "more" / "some.conf").write_text(lines, encoding="latin-1")
    host.edit("d.conf", "storage = rbd",
              f"storage = rbd\nadditional_parameters = --config-dir={host.folder}/more")
    host.edit("cinder.conf", "osapi_volume_listen = 10.0.0.13", "osapi_volume_listen = 10.0.0.9")

    assert [("F3", "more/some.conf", f"it cannot be read: {why}"),
            ("B1", "cinder.conf:DEFAULT/osapi_volume_listen")] == [
        one[0:3:2] + one[3:] if one[0] == "F3" else one[0:3:2] for one in host.found()]


def test_what_stands_there_twice(host: Host) -> None:
    """If a section or an option is there twice the last one counts, as for the service."""
    text = host.folder.joinpath("cinder.conf").read_text()
    assert [] == host.found()
    host.write("cinder.conf", f"[DEFAULT]\nosapi_volume_listen = 10.0.0.9\n{text}")
    assert [] == host.found()

    host.write("cinder.conf", f"{text}\n[DEFAULT]\nosapi_volume_listen = 10.0.0.9\n")
    assert [("B1", "cinder.conf:DEFAULT/osapi_volume_listen")] == [
        one[0:3:2] for one in host.found()]


def test_secrets_in_odd_places(host: Host) -> None:
    """No word that may be a password is in the output of check, whatever option it is in."""
    host.write("cinder.conf", host.folder.joinpath("cinder.conf").read_text() + f"""
# {SECRET}
[database]
slave_connection = mysql+pymysql://a:b/{SECRET}@{SECRET}@10.0.0.6/c
[keystone_authtoken]
identity_uri = http://u:{SECRET}@10.0.0.11:35357
admin_token = {SECRET}
[backend]
volume_driver = cinder.volume.drivers.san.SAN
san_password = {SECRET}
san_pass = {SECRET}
storage_pwd: {SECRET}
passphrase = "{SECRET}
  {SECRET}"
san_api_token = {SECRET}
s3_store_secret_key = {SECRET}
management_url = https://u:{SECRET}@10.0.0.7/
""")
    assert {"A3"} <= {one[0] for one in host.found()}
    facts = host.run("--facts")
    assert '"backend/san_password": "(set)"' in facts.output
    assert '"backend/management_url": "https://***@10.0.0.7/"' in facts.output


def test_further_files(host: Host) -> None:
    """F3: a missing further file that is given is found, for each agent; a missing default file is
    not, as for the agent."""
    text = CINDER.replace("[DEFAULT]\nosapi_volume_listen = 10.0.0.13", "[DEFAULT]")
    host.write("some.conf", text)
    given = f"user = root\nconfig = {host.folder}/some.conf\n"
    host.write("d.conf", "[neutron-rpc-server]\n" + given + "[nova-compute]\n" + given)
    assert [] == [one for one in host.found() if one[0] == "F3"]

    host.write("d.conf", "[neutron-rpc-server]\n" + given + "[nova-compute]\n" + given
               + f"compute_config = {host.folder}/none.conf\n")
    assert ["none.conf"] == [one[2] for one in host.found() if one[0] == "F3"]

    host.edit("d.conf", f"config = {host.folder}/some.conf\n[nova", "config = some.conf\n[nova")
    assert [("some.conf", "it cannot be read: config=some.conf is not an absolute path")] == [
        (one[2], one[3]) for one in host.found() if one[0] == "F3"][:1]


def test_world_readable(folder: Path) -> None:
    """F2: a file with passwords that every user of the node can read is found."""
    host = Host(folder)
    (folder / "bin").mkdir()
    host.program("systemctl", "exit 1")
    host.write("cinder.conf", CINDER).chmod(0o644)
    host.write("cib.xml", CIB.replace("GROUP", ""))
    host.write("d.conf", "[cinder]\nvip = 10.0.0.13\nuser = root\n"
               f"config = {folder}/cinder.conf\n")

    assert [("F2", "error", "cinder.conf")] == [one[:3] for one in host.found()]
    (folder / "cinder.conf").chmod(0o640)
    assert [] == host.found()


def test_config_dir(host: Host) -> None:
    """A file in a --config-dir counts after the others, and is named as the place."""
    (host.folder / "more").mkdir()
    host.write("more/flavor.conf", "[paste_deploy]\nflavor = noauth\n")
    host.edit("d.conf", "storage = rbd",
              f"storage = rbd\nadditional_parameters = --config-dir={host.folder}/more")

    assert [("P1", "error", "more/flavor.conf:paste_deploy/flavor")] == [
        one[:3] for one in host.found()]


def test_the_init_system(host: Host) -> None:
    """U1: a service's unit that is enabled is found."""
    host.program("systemctl", 'case "$*" in *is-enabled\\ cinder*) echo enabled;; esac')

    assert [("U1", "error", "cinder-api.service")] == [one[:3] for one in host.found()]


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of another program, which is no API and has a secret in its arguments."""
    code = ("import signal, socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
            "print(server.getsockname()[1], flush=True)\nsignal.pause()")
    with subprocess.Popen([sys.executable, "-c", code, SECRET], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout
            yield int(other.stdout.readline())
        finally:
            other.kill()


def test_a_stranger_on_the_port(host: Host, listener: int) -> None:
    """U2: another program that listens on the port is found; its arguments are not shown."""
    host.edit("d.conf", "vip = 10.0.0.13", f"vip = 10.0.0.13\nport = {listener}")
    host.edit("cinder.conf", "[DEFAULT]", f"[DEFAULT]\nosapi_volume_listen_port = {listener}")

    [found] = host.found()
    assert ("U2", "error", f"port {listener}") == found[:3]
    assert found[3].endswith("listens there, which is not cinder-api")


CLUSTERS = [
    ("stonith-enabled", "fencing is off", 'value="true"', 'value="false"'),
    ("stonith-enabled", "no fencing device", 'class="stonith"', 'class="ocf"'),
    ("quorum", "no quorum", 'have-quorum="1"', 'have-quorum="0"'),
    ("no-quorum-policy", "all goes on", 'value="true"/>',
     'value="true"/><nvpair id="q" name="no-quorum-policy" value="ignore"/>'),
    ("maintenance-mode", "manages nothing", 'value="true"/>',
     'value="true"/><nvpair id="q" name="maintenance-mode" value="true"/>'),
]


@pytest.mark.parametrize(("where", "seen", "old", "new"), CLUSTERS, ids=[x[1] for x in CLUSTERS])
def test_the_cluster(host: Host, where: str, seen: str, old: str, new: str) -> None:
    """H1: a cluster that would not fail over, or would run a service twice, is found."""
    host.edit("cib.xml", old, new)

    [found] = host.found()
    assert ("H1", where) == (found[0], found[2])
    assert seen in found[3]


def undescribed(host: Host) -> subprocess.CompletedProcess[str]:
    """Check a node that has no description."""
    code = ("from openstack_ocf import description; description.PATH = '/nowhere/d.conf'\n"
            "import sys; from openstack_ocf.command import main; sys.exit(main(sys.argv[1:]))")
    return subprocess.run(
        [sys.executable, "-B", "-c", code, "check", "--quick", "--cib", host.folder / "cib.xml"],
        cwd=ROOT, capture_output=True, text=True,
        env={"PATH": f"{host.folder}/bin:{os.environ['PATH']}"})


def test_without_description(host: Host) -> None:
    """Without a description the services of the CIB are checked, with their addresses there."""
    vip = primitive("p_ip_cinder", "ocf:heartbeat:IPaddr2", "ip=10.0.0.99")
    ours = primitive("p", "ocf:openstack:cinder-api",
                     f"config={host.folder}/cinder.conf user=root")
    host.write("cib.xml", CIB.replace("GROUP", f'<group id="g">{vip}{ours}</group>'))
    done = undescribed(host)

    assert (1, "") == (done.returncode, done.stderr)
    assert "it listens on 10.0.0.13, and the virtual IP is 10.0.0.99" in done.stdout
    assert "/etc/" not in done.stdout


@pytest.mark.parametrize(("score", "tied"), [("INFINITY", True), ("500", True), ("-100", False),
                                             ("-INFINITY", False), ("0", False)])
def test_what_a_colocation_keeps_apart(host: Host, score: str, tied: bool) -> None:
    """B1: a colocation ties a virtual IP to a service only if its score is above zero."""
    vip = primitive("p_ip_other", "ocf:heartbeat:IPaddr2", "ip=10.0.0.99")
    ours = primitive("p", "ocf:openstack:cinder-api",
                     f"config={host.folder}/cinder.conf user=root")
    host.write("cib.xml", CIB.replace("GROUP", f"{vip}{ours}").replace(
        "<constraints/>", '<constraints><rsc_colocation id="x" rsc="p" with-rsc="p_ip_other" '
        f'score="{score}"/></constraints>'))
    done = undescribed(host)

    assert done.stderr == ""
    assert tied == ("it listens on 10.0.0.13, and the virtual IP is 10.0.0.99" in done.stdout)


def test_this_nodes_own_address(host: Host) -> None:
    """DB1: a database at an address of this node is found, unless it is a virtual IP."""
    script = ("ip link add eth9 type veth peer name eth8 && ip addr add $0/24 dev eth9 && "
              'ip link set eth9 up && exec "$@"')
    host.edit("cinder.conf", "@10.0.0.20/", "@10.0.0.30/")
    for address, wrong in (("10.0.0.30", True), ("10.0.0.20", False)):
        done = host.run("--quick", prefix=["unshare", "--net", "sh", "-c", script, address])
        seen = "the database's host 10.0.0.30 is an address of this node, and no virtual IP"
        assert wrong == (seen in done.output), done.output + done.said


URLS = [
    ("rabbit://a:b@h1:5672,a:b@h2:5672/v?x=1", ["h1", "h2"]),
    ("rabbit://h1", ["h1"]), ("rabbit://", []), ("rabbit://a:b@[fd00::1]:5672/", ["fd00::1"]),
    ("mysql+pymysql://a:b@10.0.0.1/d?unix_socket=/x", ["10.0.0.1"]),
    ("rabbit://a:p/w@h1/", None), ("rabbit://a:p@w@h1/", None), ("rabbit://a:p,w@h1/", None),
    ("a:p@h1", None), ("rabbit://a:pw", None), ("rabbit://a:p?w@h1", None),
]


@pytest.mark.parametrize(("url", "named"), URLS, ids=[one[0] for one in URLS])
def test_hosts_of_a_url(url: str, named: list[str] | None) -> None:
    """A URL's hosts are returned; a URL that is not encoded is refused: it may show a secret."""
    if named is None:
        with pytest.raises(ValueError, match="^no host$"):
            hosts(url)
    else:
        assert named == hosts(url)


def test_compare(host: Host) -> None:
    """X1, X2: differences between the facts of nodes are found, and facts have no secret."""
    one = host.run("--quick", "--facts")
    assert (0, "") == (one.code, one.said)
    host.write("one.json", one.output)
    facts = json.loads(one.output)
    assert {"cinder-api", "glance-api"} == {*facts["options"]}
    assert facts["options"]["cinder-api"]["database/connection"] == "(set)"
    assert command("check", "--compare", host.folder / "one.json",
                   host.folder / "one.json").output == ""

    facts["node"] = "node2"
    facts["options"]["cinder-api"]["DEFAULT/auth_strategy"] = "noauth"
    facts["packages"]["pacemaker"] = "1.0"
    facts["agents"] = "0" * 64
    del facts["options"]["glance-api"]
    host.write("two.json", json.dumps(facts))
    done = command("check", "--compare", host.folder / "one.json", host.folder / "two.json",
                   "--format", "json")
    found = [(each["id"], each["where"]) for each in json.loads(done.output)]
    assert [("X1", "cinder-api:DEFAULT/auth_strategy"), ("X1", "glance-api"),
            ("X2", "package pacemaker"), ("X2", "agents")] == found
    assert done.code == 1


@pytest.mark.parametrize(("text", "code"), [("{", 2), ("[]", 2), ('{"options": {}}', 2), (None, 3)])
def test_compare_with_what_has_no_facts(tmp_path: Path, text: str | None, code: int) -> None:
    """A file without facts is refused, with its name."""
    path = tmp_path / "facts.json"
    if text is not None:
        path.write_text(text)
    done = command("check", "--compare", path, path)

    assert (code, "") == (done.code, done.output)
    assert "facts.json" in done.said


def test_the_page_has_the_tables() -> None:
    """The page of the findings has the tables of the code."""
    page = (ROOT / "docs" / "findings.md").read_text()
    ids = {row.id for row in rows.ROWS}

    letters = dict.fromkeys(one.id.rstrip("0123456789") for one in rows.ROWS)
    lines = [line for line in rows.table(*letters).splitlines()[2:] if line not in page]
    assert [] == lines
    assert len(ids) == len(rows.ROWS)
    assert outdated.table() in page


def test_the_schema(host: Host) -> None:
    """DB2: the service's own tool says whether the schema is current; its output is not shown.

    The network namespace has no address, so that Keystone cannot be asked either.
    """
    host.write("d.conf", DESCRIPTION.format(folder=host.folder).partition("[cinder]")[0])
    for says, severity in (("exit 0", ""), ("echo geheim; exit 3", "error"),
                           ("echo OperationalError geheim >&2; exit 1", "unknown")):
        host.program("glance-manage", says)
        done = host.run("--format", "json", prefix=["unshare", "--net"])
        found = {one["id"]: one["severity"] for one in json.loads(done.output)}

        assert severity == found.get("DB2", "")
        assert "unknown" == found["A4"]


@pytest.mark.parametrize(("text", "seen"), [(None, "is no file"), ("", "holds no certificate")])
def test_a_ca_file_that_is_none(host: Host, text: str | None, seen: str) -> None:
    """A4: a cafile that is missing, or without a certificate, is found beside all other rows."""
    host.write("d.conf", DESCRIPTION.format(folder=host.folder).partition("[cinder]")[0])
    host.edit("glance-api.conf", "auth_url = http://10.0.0.11:5000\n",
              f"auth_url = https://10.0.0.11:5000\ncafile = {host.folder}/ca.pem\n")
    host.edit("glance-api.conf", "max_retries = -1\n", "")
    host.program("glance-manage", "exit 0")
    if text is not None:
        host.write("ca.pem", text)
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-B", "-m", "openstack_ocf", "check", "--format",
         "json", "--description", host.folder / "d.conf", "--cib", host.folder / "cib.xml"],
        cwd=ROOT, capture_output=True, text=True,
        env={"PATH": f"{host.folder}/bin:{os.environ['PATH']}"})

    assert (1, "") == (done.returncode, done.stderr)
    found = {one["id"]: one for one in json.loads(done.stdout)}
    assert "DB3" in found
    assert ("error", f"cafile: {host.folder}/ca.pem {seen}") == (
        found["A4"]["severity"], found["A4"]["seen"])
    assert found["A4"]["where"].endswith(":keystone_authtoken/cafile")


DOMAINS = [
    ("password", "default_domain_name = Cloud\n", "", ("Cloud", "Cloud")),
    ("password", "default_domain_name = Cloud\nuser_domain_name = Users\n", "",
     ("Users", "Cloud")),
    ("password", "default_domain_id = default\n", "", ("Default", "Default")),
    ("password", "default_domain_id = 1234\n", "", None),
    ("v3password", "default_domain_name = Cloud\n", "A2", ("Default", "Default")),
]


@pytest.mark.parametrize(("kind", "lines", "row", "asked"), DOMAINS)
def test_one_domain_for_both(host: Host, kind: str, lines: str, row: str,
                             asked: tuple[str, str] | None) -> None:
    """A2, A4: default_domain_name is for user and project; auth_type = v3password has none."""
    host.write("d.conf", DESCRIPTION.format(folder=host.folder).partition("[cinder]")[0])
    host.edit("glance-api.conf", "user_domain_name = Default\nproject_domain_name = Default\n",
              lines)
    host.edit("glance-api.conf", "auth_type = password", f"auth_type = {kind}")
    host.edit("glance-api.conf", "auth_url = http://10.0.0.11:5000\n",
              "auth_url = http://127.0.0.1:5000\n")
    host.program("glance-manage", "exit 0")
    # A Keystone that refuses every user and prints the domains that it was asked for.
    code = """
import json, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
class Keystone(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
        user, project = body["identity"]["password"]["user"], body["scope"]["project"]
        sys.stderr.write(json.dumps([user["domain"]["name"], project["domain"]["name"]]))
        self.send_error(401)
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 5000), Keystone)
threading.Thread(target=server.serve_forever, daemon=True).start()
from openstack_ocf.command import main
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh", sys.executable,
         "-B", "-c", code, "check", "--format", "json", "--description", host.folder / "d.conf",
         "--cib", host.folder / "cib.xml"], cwd=ROOT, capture_output=True, text=True,
        env={"PATH": f"{host.folder}/bin:{os.environ['PATH']}"})

    rows = {one["id"] for one in json.loads(done.stdout)}
    assert (row == "A2") == ("A2" in rows)
    assert (asked is not None) == ("A4" in rows)
    assert (json.dumps(asked) if asked else "") == done.stderr


def test_installed_services(host: Host) -> None:
    """Without a description and without a cluster the services of this node are checked."""
    code = ("from pathlib import Path\nfrom openstack_ocf import agents, description, subject\n"
            "import dataclasses, sys\ndescription.PATH = '/nowhere/d.conf'\n"
            "folder = sys.argv.pop(1)\n"
            "one = agents.get('cinder-api')\n"
            "defaults = {**one.defaults, 'config': folder + '/cinder.conf', 'user': 'root',"
            " 'binary': 'systemctl'}\n"
            "mine = dataclasses.replace(one, defaults=defaults)\n"
            "agents.names = lambda: ('cinder-api',)\nagents.get = lambda name: mine\n"
            "subject.BINARIES = (folder + '/bin',)\n"
            "from openstack_ocf.command import main; sys.exit(main(sys.argv[1:]))")
    host.edit("cinder.conf", "@10.0.0.20/", "@localhost/")
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, host.folder, "check", "--quick", "--format", "json"],
        cwd=ROOT, capture_output=True, text=True,
        env={"PATH": f"{host.folder}/bin:{os.environ['PATH']}"})

    assert done.stderr == ""
    found = [(one["id"], one["where"].rpartition("/")[2]) for one in json.loads(done.stdout)]
    assert ("DB1", "connection") in found
