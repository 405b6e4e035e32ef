"""`make chaos ARGS=--whole`: a whole controller, with all its clients.

A few faults with a fixed seed; then its checks have to find what a test loses: a message, a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import pytest

from cluster.kit import PATIENCE
from harness import eventually
from lab import controller
from lab.chaos import PACKAGES, Chaos, cloud_and_clients, run, sequence
from lab.ground import WHOLE
from lab.scene import Explained, Fault, Scene

pytestmark = pytest.mark.real

SEED = 16
FEW = ("kill-all", "foundation-killed", "worker-killed", "node-killed")
LONGEST = 3600.0  # seconds, for what takes minutes on an idle machine


@pytest.fixture(scope="module")
def chaos(need_packages: Callable[[Sequence[str], str], None]) -> Iterator[Chaos]:
    """A controller that serves, with clients; for this file alone."""
    need_packages([*controller.packages(), *PACKAGES], "make control-plane cluster-packages")
    with cloud_and_clients(WHOLE) as chaos:
        yield chaos


def broken(chaos: Chaos, play: Callable[[Scene, str], Explained]) -> list[str]:
    """What the checks find in one step, in which `play` is done to Nova."""
    return chaos.step(Fault("a test", "", 600, play), "nova-api")[1]


def test_faults(chaos: Chaos) -> None:
    """All checks pass while an API, a foundation, a worker and a node die; every client writes."""
    steps = islice(sequence(SEED, FEW, WHOLE), len(FEW))

    assert [] == run(chaos, steps, time.monotonic() + LONGEST)
    for writer in chaos.ledger.writers:
        assert writer.told["acknowledged"] > 0, writer.kind


def test_message_lost(chaos: Chaos) -> None:
    """A confirmed message that is not in its queue any more is found."""
    messages = chaos.ledger.messages
    assert messages
    eventually(lambda: messages.kept, PATIENCE)
    lost: list[str] = []

    def play(scene: Scene, service: str) -> Explained:
        with messages.alone, messages._channel() as channel:
            lost.extend(messages.kept)
            channel.queue_purge("chaos")
        return Explained("a queue was purged")

    found = broken(chaos, play)

    assert lost
    assert [f"message {text} was confirmed, and is not in its queue" for text in lost] == [
        line for line in found if line.startswith("message ")
    ]


def test_server_lost(chaos: Chaos) -> None:
    """An acknowledged server that another client deletes is found."""
    servers = chaos.ledger.records["nova-api"]
    eventually(lambda: servers.kept, PATIENCE)
    ids: list[str] = []

    def play(scene: Scene, service: str) -> Explained:
        with servers.alone:
            ids.append([*servers.kept][-1])
            servers.ask("DELETE", f"{servers.path}/{ids[0]}")
            path = f"{servers.path}/{ids[0]}"
            eventually(lambda: servers.ask("GET", path).status == 404, PATIENCE)
        return Explained("a server is lost")

    found = broken(chaos, play)

    assert f"server {ids[0]} was acknowledged, and is not listed" in found
    servers.kept.pop(ids[0], "")
