"""A description is read as by oslo.config, and its mistakes are shown with their remedies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openstack_ocf import description
from openstack_ocf.errors import DescriptionError
from openstack_ocf.keys import DEFAULT, DNS, HAPROXY, SERVICE
from openstack_ocf.sample import sample
from tool.kit import command


def ids(path: Path, content: str | bytes) -> list[tuple[str, str, str]]:
    """Id, place and remedy of each mistake in a description."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DescriptionError) as caught:
        description.read(str(path))
    return [(one.id, one.where.removeprefix(str(path)), one.remedy)
            for one in caught.value.findings]


def test_a_section_is_an_agent_or_the_api_of_a_project(tmp_path: Path) -> None:
    """[glance] is glance-api, [neutron] neutron-server, and an agent's own name is itself."""
    path = tmp_path / "d.conf"
    path.write_text("[glance]\n[neutron]\n[keystone]\n[heat-engine]\n[cinder-api]\n")
    names = [one.agent.name for one in description.read(str(path)).services]

    assert ["glance-api", "neutron-server", "keystone", "heat-engine", "cinder-api"] == names


def test_database_and_broker_never_run_on_all_nodes(tmp_path: Path) -> None:
    """[mariadb] and [rabbitmq] are active/passive, whatever the mode of the services is."""
    path = tmp_path / "d.conf"
    path.write_text("[DEFAULT]\nmode = active-active\n[mariadb]\n[rabbitmq]\n[glance]\n")
    read = description.read(str(path))

    assert ["mariadb", "rabbitmq", "glance-api"] == [one.agent.name for one in read.services]
    assert [False, False, True] == [one.active_active for one in read.services]


def test_values_are_taken_as_oslo_config_takes_them(tmp_path: Path) -> None:
    """Quotes are removed, a list may have several lines, `:` is as `=`, comments are ignored."""
    path = tmp_path / "d.conf"
    path.write_text('; one\n[DEFAULT]\nha: "true"\n[glance]\nvip = 10.0.0.12,\n  10.0.0.13\n'
                    "config = /etc/glance/a b.conf\n# two\n")
    read = description.read(str(path))

    assert (True, ("10.0.0.12", "10.0.0.13")) == (read.ha, read.services[0].vips)
    assert {"config": "/etc/glance/a b.conf"} == read.services[0].parameters


@pytest.mark.parametrize(("content", "said"), [
    (b"\xff\xfe[", "byte 0 is no UTF-8"),
    (b"[glance]\n\0\n", "it is a binary file"),
    (b"# " + b"x" * (1 << 20), "it is larger than 1048576 bytes"),
    (b"vip = 10.0.0.12\n", "line 1 stands before the first [section]"),
    (b"[glance]\nvip\n", "line 2 is no `key = value`"),
    (b"[glance]\n[glance]\n", "section [glance] stands in it twice"),
    (b"[glance]\nvip=a\nvip=b\n", "glance/vip stands in it twice"),
    (b"[DEFAULT]\n[glance] # ours\nvip=a\n", "line 2 is no `key = value`"),
], ids=["encoding", "binary", "huge", "no section", "no value", "section twice", "key twice",
        "behind a section"])
def test_i1_what_is_no_description(tmp_path: Path, content: bytes, said: str) -> None:
    """I1: a file that is no description is refused, and the message says why."""
    path = tmp_path / "d.conf"
    assert [("I1", "")] == [one[:2] for one in ids(path, content)]

    done = command("check", "--description", path)

    assert (2, "") == (done.code, done.said)
    assert said in done.output


def test_ends_of_lines(tmp_path: Path) -> None:
    """A file with line ends of another system is read as well."""
    path = tmp_path / "d.conf"
    for end in (b"\r\n", b"\r"):
        path.write_bytes(b"[glance]\nvip = 10.0.0.12\n".replace(b"\n", end))
        assert ("10.0.0.12",) == description.read(str(path)).services[0].vips


def test_i1_no_file(tmp_path: Path) -> None:
    """I1: a missing file is named, with how to make one."""
    done = command("plan", "--description", tmp_path / "none.conf")

    assert (2, "") == (done.code, done.output)
    assert "none.conf: the description cannot be read: no such file" in done.said
    assert "openstack-ocf sample" in done.said


@pytest.mark.parametrize(("text", "where", "remedy"), [
    ("[glanze]", ":glanze", "The nearest is [glance]."),
    ("[nova-consoleauth]", ":nova-consoleauth", "Remove the section."),
    ("[glance]\n[glance-api]", ":glance", "Leave one of them."),
    ("[DEFAULT]", "", "Add a section named after a service, as [glance]."),
], ids=["unknown", "gone", "twice", "none"])
def test_i2_sections(tmp_path: Path, text: str, where: str, remedy: str) -> None:
    """I2: each section is for one agent that exists, and there is at least one section."""
    assert ("I2", where, remedy) == ids(tmp_path / "d.conf", text)[0]


@pytest.mark.parametrize(("text", "where", "remedy"), [
    ("[glance]\nvipp = 10.0.0.12", ":glance/vipp", "The nearest is vip."),
    ("[glance]\ndns-ha = true", ":glance/dns-ha", "The nearest is dns_ha."),
    ("[DEFAULT]\nmod = x\n[glance]", ":DEFAULT/mod", "The nearest is mode."),
    ("[heat-engine]\nvip = 10.0.0.12", ":heat-engine/vip", "Remove the key."),
    ("[mariadb]\ndata_dir = /srv", ":mariadb/data_dir", "The nearest is datadir."),
    ("[rabbitmq]\nmode = active-active", ":rabbitmq/mode", "Remove the key."),
    ("[haproxy]\nmode = active-active", ":haproxy/mode", "Remove the key."),
    ("[haproxy]\nport = 80", ":haproxy/port", "Remove the key."),
    ("[haproxy]\nagent = systemd\nbinfile = /bin/h", ":haproxy/binfile",
     "openstack-ocf sample shows them all."),
], ids=["typo", "hyphen", "default", "worker", "database", "clone", "proxy", "port", "unit"])
def test_i3_keys(tmp_path: Path, text: str, where: str, remedy: str) -> None:
    """I3: an unknown key is refused with the nearest known one."""
    assert [("I3", where, remedy)] == ids(tmp_path / "d.conf", text)


@pytest.mark.parametrize("line", [
    "dns_ha = maybe", "mode = active", "vip_cidr = 129", "port = 0", "storage = disk",
    "os_public_network = 10.0.0.1/24",
])
def test_i4_values(tmp_path: Path, line: str) -> None:
    """I4: a value that its key cannot have is refused, with an example of one."""
    key = line.split(" ")[0]
    [(row, where, remedy)] = ids(tmp_path / "d.conf", f"[glance]\n{line}\n")

    assert ("I4", f":glance/{key}") == (row, where)
    assert remedy.startswith(f"As in: {key} = ")


def test_i4_what_cannot_be_seen(tmp_path: Path) -> None:
    """I4: a value with a control character is refused, and the remedy is to write it anew."""
    assert [("I4", ":glance/vip_iface", "Write it anew.")] == ids(
        tmp_path / "d.conf", "[glance]\nvip_iface = eth\x1b0\n")


def test_i5_secrets(tmp_path: Path) -> None:
    """I5: a secret in the description is refused, and not shown."""
    path = tmp_path / "d.conf"
    path.write_text("[glance]\nos_password = hunter2\n")
    done = command("check", "--description", path)

    assert done.code == 2
    assert f"error I5 {path}:glance/os_password: a secret stands in the description" in done.output
    assert "hunter2" not in done.output + done.said


def test_all_is_told_at_once(tmp_path: Path) -> None:
    """Every mistake of a description is shown, not only the first."""
    text = "[DEFAULT]\nha = 2\n[glanze]\n[cinder]\nvipp = 1\n"

    assert ["I4", "I2", "I3"] == [one[0] for one in ids(tmp_path / "d.conf", text)]


def test_the_sample_has_every_key(tmp_path: Path) -> None:
    """The sample names each key, and can be read with all comment signs removed."""
    text = sample()
    for key in (*DEFAULT, *SERVICE, *DNS, *HAPROXY):
        assert f"\n#{key.name} = {key.example}\n" in text

    path = tmp_path / "d.conf"
    path.write_text(re.sub(r"(?m)^#(\[|\w+ = )", r"\1", text))
    read = description.read(str(path))

    assert ["mariadb", "rabbitmq", "glance", "cinder", "heat-engine", "cinder-volume",
            "haproxy"] == [one.section for one in read.services]
    assert len(max(text.splitlines(), key=len)) <= 100


def test_the_sample_as_it_is_can_be_read(tmp_path: Path) -> None:
    """The sample can be read as it is printed; its missing values are findings."""
    path = tmp_path / "d.conf"
    path.write_text(command("sample").output)
    done = command("check", "--elsewhere", "--description", path)

    assert (1, "") == (done.code, done.said)
    assert done.output.startswith("error D1 ")
