"""`clients`: the printed sections have no finding, and each mistake in a file is found."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tool.kit import command
from tool.test_catalogue import keystone, openrc, say

DESCRIPTION = """\
[DEFAULT]
region = RegionOne
[glance]
vip = 10.0.0.12 192.0.2.12
[cinder]
vip = 10.0.0.13
"""
FILES = {"nova.conf": ("glance", "cinder"), "cinder.conf": ("DEFAULT",),
         "glance-api.conf": ("NAME_OF_THE_STORE",)}


@pytest.fixture
def description(tmp_path: Path) -> Path:
    """A description with both services, Glance with a public address."""
    path = tmp_path / "d.conf"
    path.write_text(DESCRIPTION)
    return path


def printed(description: Path, *words: str) -> dict[str, str]:
    """The printed sections, by file."""
    done = command("clients", "--description", description, *words)
    assert (0, "") == (done.code, done.said)
    parts = done.output.split("\n# ")
    files: dict[str, str] = {}
    for line in "\n# ".join(parts).splitlines():
        name = line.removeprefix("# ").split(",")[0]
        if line.startswith("# ") and name in FILES:
            files[name] = ""
        elif files:
            files[next(reversed(files))] += f"{line}\n"
    return files


def found(description: Path, path: Path, *words: str) -> list[tuple[str, str, str]]:
    """Id, severity and place of each finding in a file."""
    done = command("clients", "--description", description, "--format", "json", path, *words)
    assert "geheim" not in done.output + done.said
    return [(one["id"], one["severity"], one["where"].rpartition(":")[2])
            for one in json.loads(done.output)]


@pytest.mark.parametrize("interface", ["internal", "public"])
def test_what_is_printed_is_sound(description: Path, tmp_path: Path, interface: str) -> None:
    """The printed sections have no finding, for the interface that was asked for."""
    files = printed(description, "--interface", interface)

    assert [*FILES] == [*files]
    for name, text in files.items():
        path = tmp_path / name
        path.write_text(text.replace("[NAME_OF_THE_STORE]", "[DEFAULT]\nenabled_backends = "
                                     "vol:cinder\n[vol]"))
        assert all(f"[{section}]" in text for section in FILES[name])
        assert [] == found(description, path, "--interface", interface)
    assert "region_name = RegionOne" in files["nova.conf"]
    assert "os_region_name = RegionOne" in files["nova.conf"]


def test_addresses_instead_of_the_catalogue(description: Path, tmp_path: Path) -> None:
    """The printed lines that avoid the catalogue have no finding, either."""
    files = printed(description)
    nova = files["nova.conf"].replace("# without the catalogue: ", "").replace(
        "valid_interfaces", "#").replace("catalog_info", "#")
    assert "endpoint_override = http://10.0.0.12:9292\n" in nova
    cinder = files["cinder.conf"].replace("# glance_api_servers", "glance_api_servers").replace(
        "glance_catalog_info", "#")

    for name, text in (("nova.conf", nova), ("cinder.conf", cinder)):
        (tmp_path / name).write_text(text)
        assert [] == found(description, tmp_path / name)


MISTAKES = [
    ("C1", "error", "nova.conf", "[glance]\napi_servers = 10.0.0.11\n", "glance/api_servers"),
    ("C1", "error", "nova.conf", "[glance]\napi_servers = http://10.0.0.12\n",
     "glance/api_servers"),
    ("C1", "error", "nova.conf", "[glance]\napi_servers = u:geheim@10.0.0.12\n",
     "glance/api_servers"),
    ("C2", "error", "nova.conf", "[glance]\nendpoint_override = http://u:geheim@10.0.0.9:9292\n",
     "glance/endpoint_override"),
    ("C3", "warning", "nova.conf", "[glance]\nendpoint_override = http://192.0.2.12:9292\n",
     "glance/endpoint_override"),
    ("C3", "warning", "nova.conf", "", "glance/valid_interfaces"),
    ("C3", "warning", "nova.conf", "[glance]\nvalid_interfaces = public\n",
     "glance/valid_interfaces"),
    ("C2", "error", "cinder.conf", "[DEFAULT]\nglance_api_servers = http://10.0.0.9:9292\n",
     "DEFAULT/glance_api_servers"),
    ("C4", "warning", "cinder.conf", "", "DEFAULT/glance_catalog_info"),
    ("C4", "warning", "cinder.conf", "[DEFAULT]\nglance_catalog_info = image:glance:publicURL\n",
     "DEFAULT/glance_catalog_info"),
    ("C5", "error", "cinder.conf", "[DEFAULT]\nglance_catalog_info = images:glance:internalURL\n",
     "DEFAULT/glance_catalog_info"),
    ("A3", "warning", "cinder.conf", "[DEFAULT]\nglance_catalog_info = image:glance:internalURL\n"
     "[keystone_authtoken]\nadmin_user = cinder\n", "keystone_authtoken/admin_user"),
    ("F1", "warning", "cinder.conf", "[DEFAULT]\nglance_host = 10.0.0.12\n"
     "glance_catalog_info = image:glance:internalURL\n", "DEFAULT/glance_host"),
    ("C3", "warning", "glance-api.conf", "[DEFAULT]\nenabled_backends = v:cinder\n",
     "v/cinder_catalog_info"),
    ("F3", "error", "glance-api.conf", "geheim = 1\n", "glance-api.conf"),
]


@pytest.mark.parametrize(("row", "severity", "name", "text", "where"), MISTAKES,
                         ids=[f"{one[0]}: {one[2]} {one[3]!r}" for one in MISTAKES])
def test_mistake(description: Path, tmp_path: Path, row: str, severity: str, name: str, text: str,
                 where: str) -> None:
    """A mistake in a client's file is found once, with its place."""
    path = tmp_path / name
    path.write_text(text + ("[cinder]\ncatalog_info = volumev3::internalURL\n"
                            if name == "nova.conf" else ""))
    [one] = found(description, path)

    assert (row, severity) == one[:2]
    assert one[2].endswith(where)


VOLUMES = [
    ("volumev3::publicURL", [("C3", "warning")]), ("volumev3:cinder-ha:internalURL",
                                                   [("C5", "warning")]),
    ("volumev2::internalURL", [("C5", "error")]), ("volumev3", [("C5", "error")]),
    ("volume:cinder:publicURL", [("C5", "error"), ("C3", "warning"), ("C5", "warning")]),
]


@pytest.mark.parametrize(("info", "rows"), VOLUMES, ids=[one[0] for one in VOLUMES])
def test_catalog_info(description: Path, tmp_path: Path, info: str,
                      rows: list[tuple[str, str]]) -> None:
    """C3, C5: Nova's catalog_info for Cinder is checked: type, name, interface."""
    path = tmp_path / "nova.conf"
    path.write_text(f"[glance]\nvalid_interfaces = internal\n[cinder]\ncatalog_info = {info}\n")

    assert rows == [one[:2] for one in found(description, path)]


ENTRIES = [{"type": kind, "name": name, "id": name, "endpoints": []}
           for kind, name in (("volumev3", "cinderv3"), ("image", "glance"))]
ASKED: list[tuple[str, list[tuple[str, str]]]] = [
    ("volumev3::internalURL", []),
    ("volumev3:cinderv3:internalURL", []),
    ("volumev3:cinder-ha:internalURL", [("C5", "error")]),
    # keystoneauth1 accepts an alias of the type, but not another name.
    ("block-storage:cinderv3:internalURL", []),
    ("block-storage:cinder:internalURL", [("C5", "error")]),
]


@pytest.mark.parametrize(("info", "rows"), ASKED, ids=[one[0] for one in ASKED])
def test_the_catalogue_is_asked(description: Path, tmp_path: Path, info: str,
                                rows: list[tuple[str, str]]) -> None:
    """C5: with --ask the catalogue is searched for a service of this type and name."""
    path = tmp_path / "nova.conf"
    path.write_text(f"[glance]\nvalid_interfaces = internal\n[cinder]\ncatalog_info = {info}\n")
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        if handler.path.startswith("/v3/auth/catalog"):
            say(handler, json.dumps({"catalog": ENTRIES}).encode())
        else:
            say(handler, b"{}", 403)

    (tmp_path / "user").mkdir()
    with keystone(answer) as url:
        openrc(tmp_path / "user", url)
        said = found(description, path, "--credentials", str(tmp_path / "user" / "openrc"))

    assert rows == [one[:2] for one in said]
    assert [one for one in asked if one.startswith("/v3/auth/catalog")]


def test_a_catalogue_without_the_service(description: Path, tmp_path: Path) -> None:
    """C5: a service that is not in the catalogue is a finding in each file that names it."""
    (tmp_path / "user").mkdir()
    (tmp_path / "cinder.conf").write_text("[DEFAULT]\nglance_catalog_info = image:x:internalURL\n")
    with keystone(lambda handler: say(handler, b'{"catalog": []}', 200 if handler.path.endswith(
            "/auth/catalog") else 403)) as url:
        openrc(tmp_path / "user", url)
        said = found(description, tmp_path / "cinder.conf", "--credentials",
                     str(tmp_path / "user" / "openrc"))

    assert [("C5", "error")] == [one[:2] for one in said]


def test_ask_without_credentials(description: Path, tmp_path: Path) -> None:
    """--ask without a user is refused with what to give; an unreachable Keystone is exit code 3."""
    path = tmp_path / "nova.conf"
    path.write_text("")
    done = command("clients", "--description", description, "--ask", path)
    assert (2, "") == (done.code, done.output)
    assert "say --credentials FILE" in done.said

    for words in (["--ask"], ["--credentials", path]):
        done = command("clients", "--description", description, *words)
        assert (2, "") == (done.code, done.output)
        assert "--ask and --credentials are for files" in done.said

    (tmp_path / "user").mkdir()
    openrc(tmp_path / "user", "http://127.0.0.1:1")
    done = command("clients", "--description", description, "--credentials",
                   tmp_path / "user" / "openrc", path)
    assert (3, "") == (done.code, done.output)
    assert "geheim" not in done.said


def test_whose_file(description: Path, tmp_path: Path) -> None:
    """A file is refused if its name does not say which service's it is; the message says how."""
    path = tmp_path / "x.conf"
    path.write_text("")
    done = command("clients", "--description", description, path)

    assert (2, "") == (done.code, done.output)
    assert "must begin with one of nova, cinder, glance" in done.said


def test_nothing_to_say(tmp_path: Path) -> None:
    """A description of workers alone is refused: it has nothing that clients need."""
    path = tmp_path / "d.conf"
    path.write_text("[heat-engine]\n")
    done = command("clients", "--description", path)

    assert (2, "") == (done.code, done.output)
    assert "nothing that clients need" in done.said
