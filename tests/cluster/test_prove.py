"""`openstack-ocf prove --move` on a real cluster: whether an image survives a failover.

The operator is on a node, and uses the virtual IP. The two nodes share only the folder of the
images; a test may hide it.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.kit import PATIENCE, Group, gone, unharmed
from harness import eventually
from lab.agents import Result
from lab.controller import COMMAND

pytestmark = pytest.mark.real

AGENT = "/usr/lib/ocf/resource.d/openstack/glance-api"
HELD = "/run/starts-later"
STARTS_LATER = """#!/bin/sh
if [ "$1" = start ]; then
    while [ -e {held} ]; do sleep 0.1; done
fi
exec {agent} "$@"
"""


class Operator:
    """An operator on node1 with a description, who may make images."""

    def __init__(self, group: Group, folder: Path) -> None:
        self.group = group
        self.cluster = group.cluster
        self.path = folder / "d.conf"
        self.path.write_text(
            f"[glance]\nvip = {group.vip}\nconfig = {group.config}\nstorage = shared-file\n")

    def argv(self, *words: str) -> list[str]:
        # Tests that run in the background ignore SIGINT, and so do the commands that they start.
        openrc = self.group.cloud.directory / "openrc"
        return [
            "env", "--default-signal=INT", *COMMAND, "prove", "glance", f"--wait={PATIENCE:.0f}",
            f"--description={self.path}", f"--credentials={openrc}", *words]

    def run(self, *words: str) -> Result:
        done = self.cluster.exec("node1", self.argv(*words), timeout=3 * PATIENCE)
        assert "Traceback" not in done.stderr
        return done

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.cluster.argv("node1", self.argv(*words)), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def constraints(self) -> list[str]:
        """The ids of the constraints that a move has left."""
        query = ["crm_resource", "--resource", self.group.group, "--constraints"]
        said = self.cluster.exec(self.cluster.asked, query, check=True).stdout
        return [word for word in said.replace(",", " ").replace("=", " ").split()
                if word.startswith("cli-")]

    def images(self) -> list[str]:
        """The names of all images."""
        cloud = self.group.cloud
        answer = cloud.server("glance").get("/v2/images", token=cloud.admin_token(), timeout=60.0)
        listed: list[dict[str, Any]] = answer.json()["images"]
        return [one["name"] for one in listed]


@pytest.fixture
def operator(glance: Group, tmp_path: Path) -> Operator:
    """The operator of an Image API that serves."""
    return Operator(glance, tmp_path)


@contextmanager
def starts_later(group: Group, node: str) -> Iterator[None]:
    """Make each start of the Image API on a node wait until this context ends."""
    place = "/run/agent-that-waits"
    text = STARTS_LATER.format(agent=group.cluster.agents / Path(AGENT).name, held=HELD)
    script = 'touch "$4" && printf %s "$1" >"$2" && chmod 755 "$2" && mount --bind "$2" "$3"'
    group.cluster.exec(node, ["sh", "-c", script, "sh", text, place, AGENT, HELD], check=True)
    try:
        yield
    finally:
        group.cluster.exec(node, ["sh", "-c", f"rm {HELD}; umount --lazy {AGENT}"], check=True)


def test_shared_storage(operator: Operator) -> None:
    """After a move the image is the same on the other node; no constraint or image is left."""
    first = operator.group.node()
    other = operator.group.other(first)

    done = operator.run("--move", "--yes")

    assert 0 == done.code, done.stderr
    assert ["uploaded", "read back", "moved", "read back", "deleted"] == [
        line.partition(":")[0] for line in done.stdout.splitlines()]
    assert f"moved: g_glance-api from {first} to {other}\nread back: the same bytes" in done.stdout
    assert [] == operator.constraints()
    assert other == operator.group.await_settled()
    assert [] == operator.images()
    assert [] == operator.group.failures()


def test_local_storage(operator: Operator) -> None:
    """R2: if each node has a folder of its own, the image is missing on the other node."""
    group = operator.group
    images = group.cloud.settings.home("glance") / "images"
    with gone(group.cluster, "node1", images), gone(group.cluster, "node2", images):
        for node in group.cluster.nodes:
            group.cluster.exec(node, ["chown", "glance:", str(images)], check=True)

        done = operator.run("--move", "--yes", "--format", "json")

    assert 1 == done.code, done.stderr
    [found] = json.loads(done.stdout)
    assert "R2" == found["id"]
    assert "the data cannot be read back" in found["seen"]
    assert "S2" in found["remedy"]
    assert [] == operator.constraints()
    assert [] == operator.images()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted(operator: Operator, number: signal.Signals) -> None:
    """A signal during a move leaves neither image nor constraint, and the API serves; what a KILL
    leaves, the next run sweeps, and moves."""
    group = operator.group
    first = group.node()
    other = group.other(first)
    with starts_later(group, other):
        process = operator.begin("--move", "--yes")
        eventually(lambda: f"cli-ban-{group.group}-on-{first}" in operator.constraints(), PATIENCE)
        eventually(lambda: not group.nodes_with_daemon(), PATIENCE)
        script = "kill -$0 $(pgrep -f '[o]penstack_ocf prove')"
        group.cluster.exec("node1", ["sh", "-c", script, number.name[3:]], check=True)
    _, said = process.communicate()

    assert process.returncode != 0
    assert "Traceback" not in said
    group.await_served()
    if number == signal.SIGKILL:
        assert 1 == len(operator.images())
        assert other == group.await_settled()
        done = operator.run("--move", "--yes")
        assert 0 == done.code, done.stderr
        assert ["swept", "swept"] == [
            line.partition(":")[0] for line in done.stdout.splitlines()][:2]
        assert f"moved: g_glance-api from {other} to {first}" in done.stdout
    assert [] == operator.constraints()
    assert [] == operator.images()
    group.await_settled()


def test_moved_by_hand(operator: Operator) -> None:
    """With the constraint of an operator's own move it is 3, and nothing is changed."""
    group = operator.group
    group.cluster.crm("resource", "move", group.group, group.other(group.node()), "force")
    group.cluster.wait()
    standing = operator.constraints()
    calm = unharmed(group)

    done = operator.run("--move", "--yes")

    assert 3 == done.code
    assert f"crm_resource --resource {group.group} --clear" in done.stderr
    assert standing == operator.constraints() != []
    assert [] == operator.images()
    calm()
