"""`make chaos`: after random faults its checks pass; real errors are found.

Two minutes of it with a fixed seed; then its checks have to find errors that a test makes: a
healthy service that is restarted, a daemon that runs twice, an image and a volume that are lost.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import pytest

from cluster.kit import PATIENCE
from harness import eventually
from lab import playground
from lab.chaos import PACKAGES, Chaos, cloud_and_clients, run, sequence
from lab.faults import FAULTS
from lab.invariants import families
from lab.playground import VIPS
from lab.records import Records
from lab.scene import Explained, Fault, Scene

pytestmark = pytest.mark.real

SEED = 16
QUICK = ("kill-master", "kill-all", "terminate", "move", "refresh", "reinstall", "password",
         "images-full", "clock", "skew")  # fmt: skip
TWO_MINUTES = 120.0
DAEMON = "setsid --fork /usr/bin/glance-api --config-file $1 >/dev/null 2>&1 </dev/null"


@pytest.fixture(scope="module")
def prerequisites_of_chaos(need_packages: Callable[[Sequence[str], str], None]) -> None:
    """The packages of the playground."""
    need_packages([*playground.PACKAGES, *PACKAGES], "make cluster-packages openstack")


@pytest.fixture(scope="module")
def chaos(prerequisites_of_chaos: None) -> Iterator[Chaos]:
    """A cluster that serves, with clients; for this file alone."""
    with cloud_and_clients() as chaos:
        yield chaos


def broken(chaos: Chaos, play: Callable[[Scene, str], Explained], bound: float = 600) -> list[str]:
    """What the checks find in one step, in which `play` is done to Glance."""
    return chaos.step(Fault("a test", "", bound, play), "glance-api")[1]


def test_two_minutes(chaos: Chaos) -> None:
    """All checks pass while faults come at random, for two minutes or once each."""
    faults = islice(sequence(SEED, QUICK), len(QUICK))

    assert [] == run(chaos, faults, time.monotonic() + TWO_MINUTES)
    assert chaos.ledger.told("acknowledged") > 0


def test_healthy_service_restarted(chaos: Chaos) -> None:
    """A restart of a service without a fault is found: by the journal, and by its pids."""

    def play(scene: Scene, service: str) -> Explained:
        scene.here.cluster.exec(
            scene.node("p_glance-api"), ["crm_resource", "--restart", "--resource=p_glance-api"],
            timeout=PATIENCE, check=True)
        return Explained("restarted for no reason")

    found = broken(chaos, play)

    node = chaos.scene.node("p_glance-api")
    for what in ("started", "stopped"):
        assert f"p_glance-api was {what} on {node}, and nothing explains it" in found
    assert "the processes of p_glance-api are others than before" in found
    assert not [text for text in found if "cinder" in text]


def test_running_twice(chaos: Chaos) -> None:
    """A second daemon on the other node is found, with its address and the processes left there."""
    cloud = chaos.scene.here.cloud

    def play(scene: Scene, service: str) -> Explained:
        other = scene.other(scene.node("p_glance-api"))
        scene.run(other, "ip address add $1/32 dev lo", VIPS["glance"])
        scene.run(other, DAEMON, str(cloud.config("glance")))
        eventually(lambda: len(families(scene.here, "p_glance-api")) == 2, PATIENCE)
        chaos.guard.await_look()
        return Explained("started by hand")

    other = chaos.scene.other(chaos.scene.node("p_glance-api"))
    try:
        found = " ".join(broken(chaos, play))
    finally:
        for member in families(chaos.scene.here, "p_glance-api").get(other, []):
            member.send(signal.SIGKILL)
        chaos.scene.run(other, "ip address del $1/32 dev lo", VIPS["glance"])
    eventually(lambda: other not in families(chaos.scene.here, "p_glance-api"), PATIENCE)

    assert "p_glance-api runs on node1 and node2 at once" in found
    assert f"processes of p_glance-api are left on {other}" in found
    assert f"{VIPS['glance']} is on {other}" in found


def lost(
    chaos: Chaos, records: Records, lose: Callable[[Scene, str], object]
) -> tuple[str, list[str]]:
    """The id of an acknowledged record that is lost in one step, and what the checks find."""
    eventually(lambda: records.kept, PATIENCE)
    ids: list[str] = []

    def play(scene: Scene, service: str) -> Explained:
        with records.alone:
            ids.append([*records.kept][-1])
            lose(scene, ids[0])
        return Explained(f"{records.kind} {ids[0]} is lost")

    found = broken(chaos, play)
    records.kept.pop(ids[0], "")
    return ids[0], found


def test_image_lost(chaos: Chaos) -> None:
    """An acknowledged image without its data is found."""

    def lose(scene: Scene, id_: str) -> None:
        (scene.here.cloud.settings.home("glance") / "images" / id_).unlink()

    id_, found = lost(chaos, chaos.ledger.records["glance-api"], lose)

    assert f"image {id_} cannot be read back" in found


def test_volume_lost(chaos: Chaos) -> None:
    """An acknowledged volume that another client deletes is found."""
    volumes = chaos.ledger.records["cinder-api"]

    id_, found = lost(
        chaos, volumes, lambda scene, id_: volumes.ask("DELETE", f"{volumes.path}/{id_}"))

    assert f"volume {id_} was acknowledged, and is not listed" in found


def test_bound(chaos: Chaos) -> None:
    """An outage above the bound of its fault is found."""
    kill = next(fault.play for fault in FAULTS if fault.name == "kill-all")

    found = broken(chaos, kill, bound=0.001)

    assert re.search(r"glance-api was not served for [\d.]+ s, and the bound is ", " ".join(found))
