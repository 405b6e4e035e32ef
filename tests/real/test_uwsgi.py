"""Tests for a real Glance or Cinder that uWSGI serves."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import eventually, expect
from lab import declared, netns, specs
from lab.openstack import ControlPlane
from real.kit import PATIENCE, MakeReal

pytestmark = pytest.mark.real

PIECES, PIECE = 40, os.urandom(1 << 16)


@pytest.mark.parametrize(
    ("which", "address", "parameters", "url"),
    [
        pytest.param("cinder-uwsgi", "127.0.0.2", {}, "http://127.0.0.2:8776", id="address"),
        pytest.param("glance-debian", "::1", {}, "http://[::1]:9292", id="IPv6"),
        pytest.param(
            "glance-uwsgi", "", {"bind": "127.0.0.3:9999"}, "http://127.0.0.3:9292", id="bind"
        ),
    ],
)
def test_address(
    make: MakeReal, cloud: ControlPlane, which: str, address: str, parameters: dict[str, str],
    url: str,
) -> None:
    """uWSGI listens at the address in the service's configuration; bind gives what is not there."""
    real = make(which)
    option = declared.daemon(real.resource.agent.name).uwsgi.listen[0]
    twin = cloud.twin(real.service, which, **{option: address})
    real.resource.parameters.update({**parameters, "config": twin})

    real.start()

    assert url == real.state()["checks"]["address"]["url"]
    assert {specs.port(real.service)} == real.listeners()
    assert real.refused(), "it listens on another address as well"
    expect(real.resource.monitor(), 0)
    expect(real.resource.stop(), 0)
    expect(real.resource.probe(), 7)


def test_tls(make: MakeReal, folder: Path, certificate: Path) -> None:
    """A uWSGI with TLS is monitored by an https url, and its certificate is verified."""
    glance = make("glance-uwsgi")
    ini = folder / "uwsgi.ini"
    where = f"127.0.0.1:{specs.port('glance')}"
    ini.write_text(f"[uwsgi]\nhttps-socket = {where},{certificate},{certificate}\nlazy-apps = 1\n")
    url = {"url": f"https://{where}", "os_cacert": certificate}
    glance.resource.parameters.update({"uwsgi_ini": ini, **url})

    glance.start()

    expect(glance.resource.monitor(), 0)
    expect(glance.resource.monitor(parameters={"os_cacert": ""}), 1, "certificate")
    expect(glance.resource.stop(), 0)


@pytest.mark.parametrize("which", ["glance-uwsgi", "glance-debian"])
def test_image_is_uploaded_in_chunks(make: MakeReal, cloud: ControlPlane, which: str) -> None:
    """An image of unknown length is stored, and read as it was."""
    make(which).start()
    admin = cloud.admin_token()
    described = {"name": which, "disk_format": "raw", "container_format": "bare"}
    server = cloud.server("glance")
    made = server.request("POST", "/v2/images", body=described, token=admin, timeout=PATIENCE)
    assert 201 == made.status
    path = f"/v2/images/{made.json()['id']}"

    def pieces() -> Iterator[bytes]:
        for _ in range(PIECES):
            yield PIECE

    connection = http.client.HTTPConnection(server.address, server.port, timeout=PATIENCE)
    with netns.inside(cloud.namespace):
        connection.connect()
    connection.request(
        "PUT", f"{path}/file", pieces(), encode_chunked=True,
        headers={
            "X-Auth-Token": admin, "Content-Type": "application/octet-stream",
            "Transfer-Encoding": "chunked",
        },
    )  # fmt: skip
    assert 204 == connection.getresponse().status
    connection.close()

    image = server.get(path, token=admin, timeout=PATIENCE).json()
    assert ("active", PIECES * len(PIECE)) == (image["status"], image["size"])
    assert PIECES * PIECE == server.get(f"{path}/file", token=admin, timeout=PATIENCE).body
    assert 204 == server.request("DELETE", path, token=admin, timeout=PATIENCE).status


def test_stop_before_all_have_loaded(make: MakeReal) -> None:
    """A uWSGI that is stopped while some of its workers still load ends by itself, not by KILL."""
    glance = make("glance-uwsgi")
    glance.resource.parameters["processes"] = 4
    glance.start()

    # As long as uWSGI itself would wait; a busy machine loads them slowly.
    expect(glance.resource.stop(timeout=60), 0)

    assert [] == glance.pids()
    log = Path(str(glance.resource.parameters["log_file"]))
    assert "goodbye to uWSGI" in log.read_text(), "it was killed"


def test_stop_while_it_loads(make: MakeReal) -> None:
    """A start that is killed leaves a uWSGI that loads, and does not handle TERM: stop ends it."""
    cinder = make("cinder-uwsgi")
    starting = cinder.resource.begin("start", timeout=60)
    eventually(lambda: len(cinder.pids()) > 1, PATIENCE)
    starting.kill()
    assert starting.wait().code == -9

    expect(cinder.resource.stop(timeout=20), 0)

    assert [] == cinder.pids()
    assert cinder.refused()
    expect(cinder.resource.monitor(), 7)
