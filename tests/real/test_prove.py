"""`openstack-ocf prove` with a real Keystone, a real Glance and a real Cinder.

A script replaces Pacemaker's crm_resource: the daemons stay where they are, and the script, or a
test, changes images or volumes as another node would have them. With the real Pacemaker:
tests/cluster.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import eventually
from lab import specs
from lab.openstack import ControlPlane
from lab.playground import WORKERS
from lab.specs.spec import HOST
from tool.kit import ROOT, argv

pytestmark = pytest.mark.real

VIP = "127.0.0.12"
CIB = """<cib><configuration><crm_config/><nodes/><resources>
<group id="g_glance-api">
<primitive id="p_glance-api" class="ocf" provider="openstack" type="glance-api"/></group>
<primitive id="p_cinder-api" class="ocf" provider="openstack" type="cinder-api"/>
<primitive id="p_cinder-volume" class="ocf" provider="openstack" type="cinder-volume"/>
</resources><constraints/></configuration><status/></cib>"""
# MOVE: what happens when a resource, $2, moves.
CRM_RESOURCE = """#!/bin/sh
cd {folder} || exit 1
case "$*" in
*--locate*) echo "resource $2 is running on: $(cat "at.$2" || echo node1)" ;;
*--move*) echo node2 >"at.$2"; touch moving; {move} ;;
*--clear*) touch "cleared.$2" ;;
esac 2>/dev/null
"""


@dataclass
class Cloud:
    """The lab as an administrator sees it, and the command.

    service: the service whose API is asked, at `path`.
    """

    cloud: ControlPlane
    folder: Path
    service: str
    path: str

    def begin(self, *words: str) -> subprocess.Popen[str]:
        # If the tests run in the background SIGINT is ignored, and this is inherited.
        run = ["env", "--default-signal=INT", *argv(
            "prove", self.service, "--credentials", self.cloud.directory / "openrc",
            "--description", self.folder / "d.conf", *words,
            *(("--cib", self.folder / "cib.xml") if "--move" in words else ()))]
        return subprocess.Popen(
            self.cloud.argv(run), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={"PATH": f"{self.folder}/bin:{os.environ['PATH']}"})

    def run(self, *words: str) -> tuple[int, str, str]:
        return self.end(self.begin(*words))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        with process:
            output, said = process.communicate()
        assert "Traceback" not in said
        assert not any(one in output + said for one in self.cloud.settings.passwords.values())
        return process.returncode, output, said

    def moves(self, how: str) -> None:
        """Set a shell command that runs during a move."""
        path = self.folder / "bin" / "crm_resource"
        path.write_text(CRM_RESOURCE.format(folder=self.folder, move=how))
        path.chmod(0o755)

    def waits(self) -> None:
        """Let a move last until go() is called."""
        self.moves(f"while [ ! -e {self.folder}/go ]; do sleep 0.1; done")

    def go(self) -> None:
        (self.folder / "go").touch()

    def moved(self) -> None:
        """Wait until a move has begun."""
        eventually((self.folder / "moving").exists, 180)

    def cleared(self) -> set[str]:
        """The resources whose constraint of a move was removed."""
        return {path.name.partition(".")[2] for path in self.folder.glob("cleared.*")}

    def call(self, method: str, path: str, body: object = None) -> Any:
        return self.cloud.as_admin(self.service, method, path, body)

    def names(self) -> list[str]:
        """The names of all images, or volumes."""
        [records] = [value for key, value in self.call("GET", self.path).items()
                     if isinstance(value, list) and not key.endswith("links")]
        return [one["name"] for one in records]


def made(cloud: ControlPlane, folder: Path, service: str, path: str) -> Cloud:
    """The cloud, with a description of it, and a cluster that moves its resources."""
    (folder / "bin").mkdir()
    (folder / "d.conf").write_text(f"[{service}]\nvip = {VIP}\n")
    (folder / "cib.xml").write_text(CIB)
    found = Cloud(cloud, folder, service, path)
    found.moves(":")
    assert [] == found.names()
    return found


@pytest.fixture
def glance(glance_cloud: ControlPlane, tmp_path: Path) -> Cloud:
    """Glance without images."""
    return made(glance_cloud, tmp_path, "glance", "/v2/images")


@pytest.fixture(scope="module")
def cinder_cloud(need_packages: object, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with Keystone, RabbitMQ and all of Cinder, which listens on all addresses."""
    need_packages(specs.packages(["cinder"]), "make control-plane")  # type: ignore[operator]
    bind = {"keystone": "127.0.0.1", "glance": "127.0.0.1", "cinder": "0.0.0.0"}
    with ControlPlane.temporary(db="mysql", bind=bind, workers=1, projects=["cinder"]) as cloud:
        cloud.up("db", "rabbit", "keystone", "cinder", *WORKERS)
        yield cloud


@pytest.fixture
def cinder(cinder_cloud: ControlPlane, tmp_path: Path) -> Cloud:
    """Cinder without volumes."""
    return made(cinder_cloud, tmp_path, "cinder", "/v3/volumes")


def test_round_trip(glance: Cloud) -> None:
    """Random bytes are read back as they were, and nothing is left; images of a former run are
    swept, other images of that tag are not."""
    for name in (f"openstack-ocf-prove {socket.gethostname()} 4194305", "mine",
                 f"openstack-ocf-prove elsewhere {os.getpid()}"):
        glance.call("POST", "/v2/images", {"name": name, "tags": ["openstack-ocf-prove"],
                                           "disk_format": "raw", "container_format": "bare"})
    code, output, said = glance.run("--size", "2048")

    assert (0, "") == (code, said)
    lines = output.splitlines()
    assert ["swept", "uploaded", "read back", "deleted"] == [
        line.partition(":")[0] for line in lines]
    assert "2097152 bytes" in lines[1]
    left = glance.call("GET", "/v2/images")["images"]
    assert {"mine", f"openstack-ocf-prove elsewhere {os.getpid()}"} == {
        one["name"] for one in left}
    for one in left:
        glance.call("DELETE", f"/v2/images/{one['id']}")


def test_volume(cinder: Cloud) -> None:
    """A volume becomes available, is listed and deleted; on another node as well, if cinder-volume
    has the same host name there. Volumes of a former run are swept."""
    cinder.call("POST", "/v3/volumes", {"volume": {
        "name": f"openstack-ocf-prove {socket.gethostname()} 4194305", "size": 1,
        "metadata": {"openstack-ocf-prove": "yes"}}})
    code, output, said = cinder.run("--move", "--yes")

    assert (0, "p_cinder-api and p_cinder-volume: moved to another node; the API does not answer "
            "meanwhile.\n") == (code, said)
    assert ["swept", "made", "listed", "moved", "moved", "listed", "deleted"] == [
        line.partition(":")[0] for line in output.splitlines()]
    assert {"p_cinder-api", "p_cinder-volume"} == cinder.cleared()
    eventually(lambda: [] == cinder.names(), 180)


def test_volume_of_another_host(cinder: Cloud) -> None:
    """R4: if cinder-volume has another host name after a move the volume cannot be deleted.

    When it has the old name again, it deletes the volume.
    """
    def gone(host: str) -> None:
        cinder.cloud.down("cinder-volume")
        cinder.cloud.set("cinder", "DEFAULT", "host", host)

    cinder.waits()
    process = cinder.begin("--move", "--yes", "--wait", "40", "--format", "json")
    try:
        cinder.moved()
        gone("another")
        cinder.go()
        # A move on a busy machine has no time for that: it starts during the volume's deletion.
        cinder.cloud.up("cinder-volume")
        code, output, said = cinder.end(process)

        assert 1 == code, said
        [found] = json.loads(output)
        assert ("R4", "the volume cannot be deleted: its status is deleting") == (
            found["id"], found["seen"])
        assert "set host, or backend_host" in found["remedy"]
        assert 1 == len(cinder.names())
    finally:
        cinder.go()
        gone(HOST)
        cinder.cloud.up("cinder-volume")
        process.wait()
    assert eventually(lambda: not cinder.names(), 180)


def test_nobody_makes_volumes(cinder: Cloud) -> None:
    """R3: if a volume does not become available, as no scheduler runs, nothing is moved."""
    cinder.cloud.down("cinder-scheduler")
    try:
        code, output, _ = cinder.run("--move", "--yes", "--wait", "3", "--format", "json")
    finally:
        cinder.cloud.up("cinder-scheduler")

    assert 1 == code
    assert [("R3", "status is creating after at most 3 s, and is to be available")] == [
        (one["id"], one["seen"]) for one in json.loads(output)]
    assert set() == cinder.cleared()
    assert [] == cinder.names()


def test_shared_storage(glance: Cloud) -> None:
    """If the other node reads the same bytes there is no finding, and no constraint stays."""
    code, output, said = glance.run("--move", "--yes")

    assert 0 == code, said
    assert "the API does not answer meanwhile" in said
    assert "moved: g_glance-api from node1 to node2\nread back: the same bytes" in output
    assert {"g_glance-api"} == glance.cleared()
    assert [] == glance.names()


@pytest.mark.parametrize(("how", "seen"), [
    ("rm -f {store}/*", "the data cannot be read back"),
    ("for one in {store}/*; do head -c 1048576 /dev/zero >$one; done", "other bytes"),
])
def test_local_storage(glance: Cloud, how: str, seen: str) -> None:
    """R2: a file that is missing or other on the other node is found; nothing is left."""
    glance.moves(how.format(store=glance.cloud.settings.home("glance") / "images"))
    code, output, _ = glance.run("--move", "--yes", "--format", "json")

    assert 1 == code
    [found] = json.loads(output)
    assert "R2" == found["id"]
    assert seen in found["seen"]
    assert {"g_glance-api"} == glance.cleared()
    assert [] == glance.names()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_interrupted(glance: Cloud, number: signal.Signals) -> None:
    """A signal in the middle of a move leaves no image and no constraint; what a KILL leaves, the
    next run sweeps."""
    glance.waits()
    process = glance.begin("--move", "--yes")
    glance.moved()
    assert 1 == len(glance.names())
    pid = int(glance.names()[0].split()[2])
    os.kill(pid, number)
    glance.go()
    process.communicate()

    assert process.returncode != 0
    if number == signal.SIGKILL:
        assert 1 == len(glance.names())
        assert "swept: " in glance.run()[1]
    else:
        assert {"g_glance-api"} == glance.cleared()
    assert [] == glance.names()


def test_nobody_to_ask(glance: Cloud) -> None:
    """Without --yes, and without a terminal, nothing is moved."""
    code, _, said = glance.run("--move")

    assert 2 == code
    assert "say --yes" in said
    assert not (glance.folder / "moving").exists()


def test_nothing_answers(glance: Cloud) -> None:
    """If nothing answers at the virtual IP: 3, and the address is named."""
    (glance.folder / "d.conf").write_text(f"[glance]\nvip = {VIP}\nport = 9299\n")
    code, output, said = glance.run()

    assert (3, "") == (code, output)
    assert f"http://{VIP}:9299 does not answer" in said
