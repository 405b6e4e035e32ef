"""`openstack-ocf endpoints` and `check` with a real Keystone and a real Glance.

A lab of the module's own: its catalogue is changed, and is put back before each test.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from lab.openstack import ControlPlane
from real.kit import Catalogue
from tool.kit import Ended, command

pytestmark = pytest.mark.real

OLD, VIP, PUBLIC = "127.0.0.9", "127.0.0.12", "127.0.0.14"
PROJECT = "%(project_id)s"


class Cloud(Catalogue):
    """The lab's catalogue, and the command beside it."""

    def __init__(self, cloud: ControlPlane, folder: Path) -> None:
        super().__init__(cloud)
        self.folder = folder
        self.describe(f"[glance]\nvip = {VIP} {PUBLIC}\n[cinder]\nvip = 127.0.0.13\n")

    def describe(self, text: str, user: str = "openrc") -> None:
        (self.folder / "d.conf").write_text(
            f"[DEFAULT]\ncredentials = {self.cloud.directory / user}\n{text}")

    def run(self, *words: str) -> Ended:
        done = command(*words, "--description", self.folder / "d.conf",
                       prefix=self.cloud.argv(()))
        assert not any(one in done.output + done.said
                       for one in self.cloud.settings.passwords.values())
        return done

    def show(self, *words: str) -> Ended:
        return self.run("endpoints", "show", "--format", "json", "--quick", *words)

    def shown(self, *words: str) -> list[str]:
        """The ids of the findings."""
        return ids(self.show(*words))

    def reset(self) -> None:
        """One service of each type at the old server, and nothing else."""
        for kind in ("image", "volumev3", "volumev2"):
            self.remove(kind)
        self.create("image", "glance", f"http://{OLD}:9292")
        self.create("volumev3", "cinderv3", f"http://{OLD}:8776/v3/{PROJECT}")


@pytest.fixture
def cloud(glance_cloud: ControlPlane, tmp_path: Path) -> Cloud:
    """The catalogue before `set` has changed it."""
    found = Cloud(glance_cloud, tmp_path)
    found.reset()
    return found


def ids(done: Ended) -> list[str]:
    """The ids of the findings, in their order."""
    return [one["id"] for one in json.loads(done.output)]


MOVED = [f"http://{PUBLIC}:9292", f"http://{VIP}:9292", f"http://{VIP}:9292"]


def test_set_and_back(cloud: Cloud) -> None:
    """set gives existing endpoints the virtual IPs; a second run changes nothing; the commands that
    it prints undo it; no service is made."""
    before, there = cloud.urls("image"), cloud.endpoints("image")
    assert ["E3"] * 6 == cloud.shown()

    done = cloud.run("endpoints", "set", "--yes")
    assert (0, "") == (done.code, done.said)
    assert MOVED == cloud.urls("image")
    assert [f"http://127.0.0.13:8776/v3/{PROJECT}"] * 3 == cloud.urls("volumev3")
    assert there == cloud.endpoints("image")
    assert [1, 1] == [len(cloud.services(kind)) for kind in ("image", "volumev3")]
    assert f"image public: http://{OLD}:9292 -> http://{PUBLIC}:9292" in done.output

    again = cloud.run("endpoints", "set", "--yes")
    assert (0, "nothing to change\n") == (again.code, again.output)
    shown = cloud.show()
    assert (0, []) == (shown.code, ids(shown))

    lines = [line.removeprefix("undo: ") for line in done.output.splitlines()
             if line.startswith("undo: ")]
    assert 6 == len(lines)
    assert lines[0] == (f"openstack endpoint set --url http://{OLD}:9292 {there['public']}")
    for line in lines:
        words = shlex.split(line)
        assert ["openstack", "endpoint", "set", "--url"] == words[:4]
        cloud.admin.call("PATCH", f"/endpoints/{words[5]}", {"endpoint": {"url": words[4]}})
    assert before == cloud.urls("image")
    assert [f"http://{OLD}:8776/v3/{PROJECT}"] * 3 == cloud.urls("volumev3")


def test_the_line_that_undoes_it(cloud: Cloud) -> None:
    """The undo line is a command that the openstack client accepts."""
    done = cloud.run("endpoints", "set", "--yes")
    line = next(one for one in done.output.splitlines() if "v3/" in one and "undo" in one)
    ran = subprocess.run(
        cloud.cloud.argv(["sh", "-c", line.removeprefix("undo: ")]), capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", **cloud.cloud.admin.environment()})

    assert (0, "") == (ran.returncode, ran.stderr)
    assert f"http://{OLD}:8776/v3/{PROJECT}" in cloud.urls("volumev3")


def test_an_interface_without_endpoint(cloud: Cloud) -> None:
    """E2: set makes a missing endpoint, of the same service, and says how to undo it."""
    cloud.run("endpoints", "set", "--yes")
    cloud.admin.call("DELETE", f"/endpoints/{cloud.endpoints('image')['admin']}")
    assert ["E2"] == cloud.shown()

    done = cloud.run("endpoints", "set", "--yes")
    assert 0 == done.code
    assert MOVED == cloud.urls("image")
    assert f"undo: openstack endpoint delete {cloud.endpoints('image')['admin']}" in done.output
    assert 1 == len(cloud.services("image"))


FACTS = [
    ("E3", "image", "internal", f"http://{PUBLIC}:9292"),
    ("E5", "image", "public", f"http://{PUBLIC}:9191"),
    ("E6", "image", "admin", f"http://{VIP}:9292/v2"),
    ("E7", "volumev3", "internal", f"http://127.0.0.13:8776/v1/{PROJECT}"),
    ("E6", "volumev3", "admin", "http://127.0.0.13:8776/v2/%(tenant_id)s"),
]


def test_findings(cloud: Cloud) -> None:
    """E3 to E7: a mistake in an endpoint is found with its place, and set corrects it."""
    cloud.run("endpoints", "set", "--yes")
    for _, kind, face, url in FACTS:
        cloud.put(kind, face, url)
    found = [(one["id"], one["where"]) for one in json.loads(cloud.show().output)]
    assert [(row, f"catalogue:{kind}/{cloud.region}/{face}") for row, kind, face, _ in FACTS
            ] == found
    cloud.run("endpoints", "set", "--yes")
    assert MOVED == cloud.urls("image")

    cloud.put("image", "public", f"http://{VIP}:9292")
    cloud.put("image", "internal", f"http://{PUBLIC}:9292")
    assert ["E4"] == cloud.shown()
    cloud.run("endpoints", "set", "--yes")
    assert MOVED == cloud.urls("image")


def test_paths_that_are_right_stay(cloud: Cloud) -> None:
    """Both forms of Cinder's path are accepted and kept; https stays https."""
    cloud.run("endpoints", "set", "--yes")
    cloud.put("volumev3", "public", "http://127.0.0.13:8776/v3")
    cloud.put("image", "public", f"https://{PUBLIC}:9292")
    assert [] == cloud.shown()
    cloud.put("volumev3", "public", f"https://{OLD}:8776/v3")
    cloud.run("endpoints", "set", "--yes")

    assert "https://127.0.0.13:8776/v3" == cloud.urls("volumev3")[0]
    assert f"https://{PUBLIC}:9292" == cloud.urls("image")[0]
    assert ["E5"] * 2 == cloud.shown("--scheme", "http")


def test_several_services(cloud: Cloud) -> None:
    """E1, E7: ten services of a type are found, and set changes nothing until one is named; for an
    obsolete service the command to delete it is shown."""
    for number in range(9):
        cloud.create("image", f"glance-{number}", f"http://{OLD}:9292")
    cloud.create("volumev2", "cinderv2", f"http://{OLD}:8776/v2/{PROJECT}")
    done = cloud.show()
    assert ["E1", "E7", "E3", "E3", "E3"] == ids(done)
    assert "there are 10 such services" in done.output
    assert "and 5 more" in done.output

    before = cloud.admin.call("GET", "/endpoints")
    done = cloud.run("endpoints", "set", "--yes")
    assert 2 == done.code
    assert "10 services of the type image" in done.said
    assert before == cloud.admin.call("GET", "/endpoints")


def test_no_service(cloud: Cloud) -> None:
    """E1: without a service set makes nothing; the command that makes it is shown."""
    cloud.remove("image")
    assert "E1" == cloud.shown()[0]

    done = cloud.run("endpoints", "set", "--yes")
    assert 2 == done.code
    assert "openstack service create --name glance image" in done.said
    assert [] == cloud.services("image")


def test_a_reader(cloud: Cloud) -> None:
    """A user with read access sees the catalogue; set changes nothing, and says why."""
    text = f"[glance]\nvip = {VIP} {PUBLIC}\n[cinder]\nvip = 127.0.0.13\n"
    cloud.describe(text, "openrc-monitor")
    assert ["E3"] * 6 == cloud.shown()
    done = cloud.run("endpoints", "set", "--yes")
    assert (3, "") == (done.code, done.output)
    assert "nothing was changed" in done.said
    assert "--credentials" in done.said
    assert [f"http://{OLD}:9292"] * 3 == cloud.urls("image")

    done = cloud.run("endpoints", "set", "--yes", "--credentials",
                     str(cloud.cloud.directory / "openrc"))
    assert 0 == done.code
    cloud.describe(text, "openrc-monitor")
    assert [] == cloud.shown()


def test_nobody_to_ask(cloud: Cloud) -> None:
    """Without --yes, and without a terminal, set shows what it would do, and does nothing."""
    done = cloud.run("endpoints", "set")

    assert 2 == done.code
    assert f"image public: http://{OLD}:9292 -> http://{PUBLIC}:9292" in done.output
    assert [f"http://{OLD}:9292"] * 3 == cloud.urls("image")


def test_what_answers(cloud: Cloud) -> None:
    """E8: Glance answers at its addresses and needs a token; nothing answers at Cinder's."""
    cloud.run("endpoints", "set", "--yes")
    done = cloud.run("endpoints", "show", "--format", "json")

    assert (1, ["E8"]) == (done.code, ids(done))
    assert "nothing answers at http://127.0.0.13:8776" in done.output
    listed = cloud.run("endpoints", "show", "--quick")
    assert f"  public    http://{PUBLIC}:9292\n" in listed.output


def test_refused(cloud: Cloud, tmp_path: Path) -> None:
    """With a wrong password, or without a Keystone: one sentence, exit code 3."""
    openrc = (cloud.cloud.directory / "openrc").read_text()
    wrong = tmp_path / "wrong"
    for old, new, says in (("OS_PASSWORD=", "OS_PASSWORD=x", "refuses the user admin"),
                           (":5000", ":5001", "cannot be reached")):
        wrong.write_text(openrc.replace(old, new))
        done = cloud.run("endpoints", "set", "--yes", "--credentials", str(wrong))
        assert (3, "") == (done.code, done.output)
        assert says in done.said


def test_a_regions_name(cloud: Cloud) -> None:
    """Another region's endpoints are not touched; there, all are missing."""
    done = cloud.run("endpoints", "show", "--format", "json", "--quick", "--region", "Elsewhere")

    assert ["E2"] * 6 == ids(done)
    assert [f"http://{OLD}:9292"] * 3 == cloud.urls("image")
