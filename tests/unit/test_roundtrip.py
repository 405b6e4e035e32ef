"""Check level 20: an image sent to the Image API has to come back, and to be gone afterwards.

Steps of a round trip are named by method and end of the path. With a real Glance:
tests/real/test_round_trip.py.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agentlib.deadline import Deadline
from agentlib.keystone import Token
from agentlib.roundtrip import SIZE, TAG, RoundTrip
from agentlib.target import Target
from lookalike.server import Server, wire

FIELDS = {"status": "active", "size": SIZE}


class Store(Server):
    """An Image API that stores images, and answers otherwise where it is told to.

    how: by step (`PUT file`, `GET list`, ...) a status or a misbehaviour of the look-alikes.
    changes: what is wrong with an image's record. keeps: whether it deletes nothing, though its
    answer says so. hides: whether its lists are empty. spoils: whether it gives other bytes.
    """

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.data: dict[str, bytes] = {}
        self.how: dict[str, str] = {}
        self.changes: dict[str, object] = {}
        self.keeps = self.hides = self.spoils = False
        super().__init__()
        self.start()

    def left(self, name: str, created: str = "2020-01-01T00:00:00Z") -> str:
        """An image that is there; its id."""
        id_ = f"left-{len(self.images)}"
        self.images[id_] = {"id": id_, "name": name, "tags": [TAG], "created_at": created}
        return id_

    def answer(self, connection: socket.socket, request: Any, peer: str) -> None:
        path, _, query = request.path.partition("?")
        _, _, _, id_, part = [*path.split("/"), "", ""][:5]
        step = f"{request.method} {part or ('image' if id_ else 'list')}"
        if step in self.how:
            wire.misbehave(connection, request, self.how[step])
            return
        status, body = self._answer(step, id_, query, request.body)
        connection.sendall(wire.compose(request, status, body))

    def _answer(self, step: str, id_: str, query: str, body: bytes) -> tuple[int, bytes]:
        if step == "POST list":
            id_ = f"made-{len(self.images)}"
            self.images[id_] = {**json.loads(body), **FIELDS, **self.changes, "id": id_}
            return 201, json.dumps(self.images[id_]).encode()
        if step == "GET list":
            tag = query.partition("tag=")[2].partition("&")[0]
            found = [one for one in self.images.values() if tag in one["tags"] and not self.hides]
            return 200, json.dumps({"images": found}).encode()
        if id_ not in self.images:
            return 404, b"{}"
        if step == "PUT file":
            self.data[id_] = body
            return 204, b""
        if step == "GET file":
            return 200, self.data[id_][::-1] if self.spoils else self.data[id_]
        if step == "GET image":
            return 200, json.dumps(self.images[id_]).encode()
        if not self.keeps:
            del self.images[id_]
        return 204, b""


@pytest.fixture
def store() -> Iterator[Store]:
    """An Image API."""
    with Store() as server:
        yield server


def travel(store: Store, seconds: float = 120.0) -> tuple[int, str]:
    """The verdict; its reason is empty where all is well."""
    address = f"http://127.0.0.1:{store._address[1]}"
    target = Target("glance-api", f"{address}/v2/images?limit=1", public=b"", local=True)
    outcome = RoundTrip(target, "/v2/images", Token("a-token", time.time() + 1000),
                        instance="glance-api:p_glance-api", user="monitor",
                        deadline=Deadline(seconds)).verdict()
    return int(outcome.code), outcome.reason


def test_well(store: Store) -> None:
    """An image of 64 KiB comes back; nothing is left."""
    assert (0, "") == travel(store)
    assert {} == store.images
    assert [SIZE] == [len(data) for data in store.data.values()]


def test_sweeps(store: Store) -> None:
    """Images left by a killed monitor of this resource, and old ones, are deleted; no others."""
    here = f"{TAG} {socket.gethostname()} glance-api:p_glance-api"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    store.left(here, now)
    store.left(f"{TAG} elsewhere glance-api:p_glance-api")
    kept = {store.left(f"{TAG} elsewhere glance-api:p_glance-api", now), store.left("mine"),
            store.left(f"{TAG} elsewhere glance-api:p_glance-api", "yesterday")}

    assert (0, "") == travel(store)
    assert kept == set(store.images)


STEPS = ["GET list", "POST list", "PUT file", "GET image", "GET file", "DELETE image"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("how", "code", "words"), [
    ("403", 190, "may user monitor make images"), ("413", 190, "quota"), ("401", 190, "401"),
    ("503", 190, "is its store well?"), ("500", 1, "answers 500"), ("418", 1, "answers 418"),
    ("close", 1, "cuts the connection"), ("nonsense", 1, "does not speak HTTP"),
])
def test_answers(store: Store, step: str, how: str, code: int, words: str) -> None:
    """Policy, quota and an unavailable store are named, and are no failure of the service."""
    store.how[step] = how
    found, reason = travel(store)

    assert code == found
    assert words in reason
    assert reason.startswith("glance-api ")
    assert step.partition(" ")[0] in reason
    if step != "DELETE image":
        assert {} == store.images


@pytest.mark.parametrize("step", STEPS)
def test_late(store: Store, step: str) -> None:
    """A step that is not answered in time is named, and is no failure of the service."""
    store.how[step] = "hang"
    code, reason = travel(store, 2.0)

    assert (190, True) == (code, "does not answer in time" in reason)


@pytest.mark.parametrize(("wrong", "words"), [
    ({"spoils": True}, "gives other bytes than it was given"),
    ({"hides": True}, "does not list an image that it has"),
    ({"changes": {"status": "queued"}}, "has an image whose status is not active"),
    ({"changes": {"size": 1}}, "has an image whose size is not 65536"),
    ({"changes": {"size": "65536"}}, "has an image whose size is not 65536"),
    ({"keeps": True}, "lists an image that it has deleted"),
])
def test_wrong(store: Store, wrong: dict[str, object], words: str) -> None:
    """A wrong answer is the service's fault, and the image is deleted all the same."""
    for name, value in wrong.items():
        setattr(store, name, value)
    code, reason = travel(store)

    assert 1 == code
    assert words in reason
    assert store.keeps or {} == store.images


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{", b"[" * 100000, b'{"images": 1}', b'{"images": [1]}'])
def test_nonsense(store: Store, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """An invalid list is the service's fault."""
    monkeypatch.setattr(store, "_answer", lambda *_: (200, body))
    assert 1 == travel(store)[0]


@pytest.mark.parametrize("strange", [None, 7, "", "../../v3/users", "a b", "ä"])
def test_strange_ids(store: Store, strange: object) -> None:
    """An id that cannot be part of a path is never asked for."""
    real = store._answer

    def changed(step: str, id_: str, query: str, body: bytes) -> tuple[int, bytes]:
        assert step in ("GET list", "POST list")
        status, answer = real(step, id_, query, body)
        return status, answer if step == "GET list" else json.dumps({"id": strange}).encode()

    store._answer = changed  # type: ignore[method-assign]
    code, reason = travel(store)
    assert (1, True) == (code, "without an id" in reason)
