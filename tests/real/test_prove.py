"""`openstack-ocf prove` with a real Keystone and a real Glance.

Pacemaker has a stand-in, crm_resource: Glance stays where it is, and what another node would have
of its images is what the stand-in leaves in the folder of the store.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import eventually
from lab import identity
from lab.openstack import ControlPlane
from tool.kit import ROOT, argv

pytestmark = pytest.mark.real

VIP = "127.0.0.12"
CIB = """<cib><configuration><crm_config/><nodes/><resources><group id="g_glance-api">
<primitive id="p_glance-api" class="ocf" provider="openstack" type="glance-api"/></group>
</resources><constraints/></configuration><status/></cib>"""
# MOVE: what happens to the store when the group moves.
CRM_RESOURCE = """#!/bin/sh
cd {folder} || exit 1
case "$*" in
*--locate*) echo "resource g_glance-api is running on: $(cat node)" ;;
*--move*) echo node2 >node; touch moving; {move} ;;
*--clear*) touch cleared ;;
esac
"""


@dataclass
class Glance:
    """The lab's Glance as an administrator sees it, and the command."""

    cloud: ControlPlane
    folder: Path

    def begin(self, *words: str) -> subprocess.Popen[str]:
        # Whoever runs the tests in the background has SIGINT ignored, and what they start as well.
        run = ["env", "--default-signal=INT", *argv(
            "prove", "--cib", self.folder / "cib.xml", "--credentials",
            self.cloud.directory / "openrc", "--description", self.folder / "d.conf", *words)]
        return subprocess.Popen(
            self.cloud.argv(run), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={"PATH": f"{self.folder}/bin:{os.environ['PATH']}"})

    def run(self, *words: str) -> tuple[int, str, str]:
        with self.begin(*words) as process:
            output, said = process.communicate()
        assert "Traceback" not in said
        assert not any(one in output + said for one in self.cloud.settings.passwords.values())
        return process.returncode, output, said

    def moves(self, how: str) -> None:
        """What the store has after a move."""
        path = self.folder / "bin" / "crm_resource"
        path.write_text(CRM_RESOURCE.format(folder=self.folder, move=how))
        path.chmod(0o755)
        (self.folder / "node").write_text("node1\n")

    def call(self, method: str, path: str, body: object = None) -> Any:
        admin = self.cloud.admin
        token = identity.token(self.cloud.server("keystone"), admin.username, admin.password,
                               admin.project_name)
        answer = self.cloud.server("glance").request(
            method, path, body=body, token=token, timeout=60.0)
        return answer.json() if answer.body else answer.status

    def images(self) -> list[str]:
        return [one["name"] for one in self.call("GET", "/v2/images")["images"]]


@pytest.fixture
def glance(glance_cloud: ControlPlane, tmp_path: Path) -> Glance:
    """Glance, a description of it, and a cluster that moves it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "d.conf").write_text(f"[glance]\nvip = {VIP}\n")
    (tmp_path / "cib.xml").write_text(CIB)
    found = Glance(glance_cloud, tmp_path)
    found.moves(":")
    assert [] == found.images()
    return found


def test_round_trip(glance: Glance) -> None:
    """Random bytes come back as they were, and nothing is left; what a run that is over has left is
    swept, and another image of that tag is not."""
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


def test_shared_storage(glance: Glance) -> None:
    """The other node reads the same bytes: nothing to say, and no constraint stays."""
    code, output, said = glance.run("--move", "--yes")

    assert 0 == code, said
    assert "the API does not answer meanwhile" in said
    assert "moved: g_glance-api from node1 to node2\nread back: the same bytes" in output
    assert (glance.folder / "cleared").exists()
    assert [] == glance.images()


@pytest.mark.parametrize(("how", "seen"), [
    ("rm -f {store}/*", "the data cannot be read back"),
    ("for one in {store}/*; do head -c 1048576 /dev/zero >$one; done", "other bytes"),
])
def test_local_storage(glance: Glance, how: str, seen: str) -> None:
    """R2: the other node has not the file, or another one; nothing is left, no constraint stays."""
    glance.moves(how.format(store=glance.cloud.settings.home("glance") / "images"))
    code, output, _ = glance.run("--move", "--yes", "--format", "json")

    assert 1 == code
    [found] = json.loads(output)
    assert "R2" == found["id"]
    assert seen in found["seen"]
    assert (glance.folder / "cleared").exists()
    assert [] == glance.images()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_interrupted(glance: Glance, number: signal.Signals) -> None:
    """Whoever ends it in the middle of a move finds no image afterwards, and no constraint; what a
    KILL leaves, the next run sweeps."""
    glance.moves(f"while [ ! -e {glance.folder}/go ]; do sleep 0.1; done")
    process = glance.begin("--move", "--yes")
    eventually((glance.folder / "moving").exists, 180)
    assert 1 == len(glance.images())
    pid = int(glance.images()[0].split()[2])
    os.kill(pid, number)
    (glance.folder / "go").touch()
    process.communicate()

    assert process.returncode != 0
    if number == signal.SIGKILL:
        assert 1 == len(glance.images())
        assert "swept: " in glance.run()[1]
    else:
        assert (glance.folder / "cleared").exists()
    assert [] == glance.images()


def test_nobody_to_ask(glance: Glance) -> None:
    """Without --yes, and without a terminal, nothing is moved."""
    code, _, said = glance.run("--move")

    assert 2 == code
    assert "say --yes" in said
    assert "node1\n" == (glance.folder / "node").read_text()


def test_nothing_answers(glance: Glance) -> None:
    """A virtual IP at which nothing answers: 3, and it is named."""
    (glance.folder / "d.conf").write_text(f"[glance]\nvip = {VIP}\nport = 9299\n")
    code, output, said = glance.run()

    assert (3, "") == (code, output)
    assert f"http://{VIP}:9299 does not answer" in said
