"""Check level 20: what is made by way of an API is found again, and is gone afterwards.

Each row goes through the records of the agents whose faults differ: data that go by themselves and
inside the record, nothing behind the API, others behind it, and others who take their time. With
the real daemons: tests/real/test_round_trip.py, test_plane.py, test_further.py.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agentlib import roundtrip
from agentlib.check import TAG, Record
from agentlib.deadline import Deadline
from agentlib.keystone import Token
from agentlib.roundtrip import MOST, PACKED_SIZE, SIZE, RoundTrip, head
from agentlib.target import Target
from harness import EVERY_AGENT
from lookalike.records import Store, declared

RECORDS: dict[str, Record] = {
    agent.name: record for agent in EVERY_AGENT if (record := declared(agent))
}
PROJECT = "42"
INSTANCE = "some-api:p_some-api"
OWN = head(INSTANCE)
ELSEWHERE = head("some-api:p_other")
NOW = int(time.time())

LOCAL, PLAIN, BEHIND, SLOW, PACKED = (
    "glance-api", "nova-api", "neutron-server", "cinder-api", "barbican-api",
)  # fmt: skip
KINDS = (LOCAL, PLAIN, BEHIND, SLOW, PACKED)

each = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two looks are short."""
    monkeypatch.setattr(roundtrip, "PAUSE", 0.01)


@pytest.fixture
def store(name: str) -> Iterator[Store]:
    """The API of an agent."""
    with Store(RECORDS[name], PROJECT) as store:
        yield store


def travel(store: Store, seconds: float = 120.0) -> tuple[int, str]:
    """The verdict; its reason is empty where all is well."""
    target = Target("some-api", f"{store.url}/v2/things?limit=1", public=b"", local=True)
    outcome = RoundTrip(target, store.record, Token("a-token", time.time() + 1000, PROJECT),
                        instance=INSTANCE, user="monitor", deadline=Deadline(seconds)).verdict()
    return int(outcome.code), outcome.reason


def steps(record: Record) -> list[str]:
    """What a round trip does, each once."""
    put = ["PUT data"] if record.data and not record.packed else []
    got = ["GET data"] if record.data else []
    return ["GET list", "POST list", *put, "GET item", *got, "DELETE item"]


# ---- what is well


@pytest.mark.parametrize("name", RECORDS)
def test_well(store: Store) -> None:
    """What every agent makes is found again, data and all, and nothing is left."""
    store.looks = 2
    assert (0, "") == travel(store)
    assert {} == store.records
    assert {*steps(store.record)} == {*store.steps}
    assert 1 == store.steps.count("POST list")
    sizes = [PACKED_SIZE if store.record.packed else SIZE] if store.record.data else []
    assert sizes == [len(data) for data in store.data.values()]


@pytest.mark.parametrize("name", RECORDS)
def test_names(store: Store) -> None:
    """A name begins with the tag, says node and resource, and every API takes it."""
    store.keeps = True
    travel(store, 1.0)
    made = [str(one[store.record.named]) for one in store.records.values()]
    for one in made:
        assert one.startswith(f"{TAG}-{socket.gethostname()}-some-api-p_some-api-")
        assert one.replace("-", "").replace("_", "").isalnum()
        assert len(one) < 255
    assert len(made) == len({*made})


@each
def test_a_database_that_is_behind(store: Store) -> None:
    """What is wrong at the first look and right at the second is no fault."""
    store.hides, store.times = True, 3
    assert (0, "") == travel(store)


# ---- what was left behind


@each
def test_sweeps(store: Store) -> None:
    """What a killed monitor of this resource has left is deleted, and what is old; no other."""
    store.left(f"{OWN}-{NOW}-abcd")
    store.left(f"{ELSEWHERE}-{NOW - 90000}-abcd")
    kept = {store.left(name) for name in (
        f"{ELSEWHERE}-{NOW}-abcd", "mine", f"{TAG}-yesterday-abcd", f"{TAG}-{'9' * 30}-abcd",
        f"another-{NOW - 90000}-abcd")}
    kept |= {store.left(f"{OWN}-{NOW}-abcd", project_id="another"),
             store.left(f"{OWN}-{NOW}-abcd", owner="another")}

    assert (0, "") == travel(store)
    assert kept == set(store.records)


@each
def test_sweeps_some(store: Store) -> None:
    """Of many that were left each monitor deletes some."""
    for number in range(MOST + 3):
        store.left(f"{OWN}-{NOW}-{number}")
    assert (0, "") == travel(store)
    assert 3 == len(store.records)


@each
def test_another_ones_stay(store: Store) -> None:
    """What another node has left, and cannot be deleted, is no trouble of this one."""
    store.left(f"{ELSEWHERE}-{NOW - 90000}-abcd")
    store.how["DELETE item"] = "409"
    travel(store)
    assert "POST list" in store.steps


@pytest.mark.parametrize("name", [SLOW])
def test_no_more_than_one_stays(store: Store) -> None:
    """While what was left cannot be deleted nothing more is made, and it is told: 190."""
    store.stuck = "creating"
    for _ in range(3):
        code, reason = travel(store, 2.0)
        assert (190, True) == (code, "look at cinder-scheduler, cinder-volume" in reason)
    assert 1 == store.steps.count("POST list") == len(store.records)


@pytest.mark.parametrize("name", [SLOW])
def test_what_was_left_goes_slowly(store: Store) -> None:
    """What was left, and is not deleted in time, is told as well: 190."""
    store.left(f"{OWN}-{NOW}-abcd")
    store.keeps = True
    code, reason = travel(store, 3.0)
    assert (190, True) == (code, "was to be deleted, and is deleting" in reason)
    assert "POST list" not in store.steps


# ---- whose fault is it?


@each
@pytest.mark.parametrize("how", ["401", "403", "413", "409", "400", "404", "302"])
def test_refused(store: Store, how: str) -> None:
    """Policy, quota, and what else it does not take, are told, and not blamed on the service."""
    store.how["POST list"] = how
    code, reason = travel(store)
    words = f"may user monitor make {store.record.word}s (role {store.record.role}, quota)?"
    assert (190, True) == (code, words in reason)
    assert f"answers {how} to POST {store.record.path}" in reason
    assert {} == store.records


@each
@pytest.mark.parametrize(("how", "words"), [
    ("403", "answers 403"), ("503", "look at "), ("500", "answers 500"),
    ("close", "cuts the connection"), ("nonsense", "does not speak HTTP")])
def test_answers(store: Store, how: str, words: str) -> None:
    """What answers no request is to blame, but where others have a part in the answer."""
    shared = how in ("403", "503") or (how == "500" and store.record.behind)
    for step in steps(store.record):
        store.how = {step: how}
        code, reason = travel(store)
        assert ((190 if shared else 1), True) == (code, words in reason), step
        assert reason.startswith("some-api ")
        assert step.partition(" ")[0] in reason
        if step != "DELETE item":
            assert not store.staying()


@each
def test_gone_too_early(store: Store) -> None:
    """What is not there right after it was made is the service's fault: 1."""
    store.how["GET item"] = "404"
    code, reason = travel(store)
    assert (1, True) == (code, "answers 404 to GET" in reason)
    assert not store.staying()


@pytest.mark.parametrize("name", [LOCAL, SLOW])
@pytest.mark.parametrize("step", ["GET list", "POST list", "GET item", "DELETE item"])
def test_late(store: Store, step: str) -> None:
    """What does not come in time is told, and not blamed on the service."""
    store.how[step] = "hang"
    code, reason = travel(store, 2.0)
    assert (190, True) == (code, f"does not answer in time to {step.split()[0]}" in reason)
    assert f"look at {store.record.needs}" in reason


@each
def test_not_listed(store: Store) -> None:
    """What is not listed, though it is there, is the service's fault, and is deleted."""
    store.hides = True
    code, reason = travel(store)
    assert (1, True) == (code, f"does not list {store.record.text} that it has" in reason)
    assert "DELETE item" in store.steps


@pytest.mark.parametrize("name", [PLAIN])
def test_a_long_list(store: Store) -> None:
    """What is not in a list that may be cut off is no fault."""
    for number in range(100):
        store.left(f"another-{number}")
    before = store._shown
    store._shown = lambda id_: before(id_) if "left" in id_ or store.steps[-1] != "GET list" else (  # type: ignore[method-assign]
        None)
    assert (0, "") == travel(store)


@each
def test_another_name(store: Store) -> None:
    """A record of another name than it was given is the service's fault."""
    store.changes = {store.record.named: "another"}
    code, reason = travel(store)
    assert (1, True) == (code, "of another name" in reason)


@pytest.mark.parametrize("name", [LOCAL, PLAIN, BEHIND, PACKED])
def test_not_deleted(store: Store) -> None:
    """What is listed though it was deleted is the service's fault."""
    store.keeps = True
    code, reason = travel(store)
    assert (1, True) == (code, f"lists {store.record.text} that it has deleted" in reason)


@pytest.mark.parametrize("name", [LOCAL, PACKED])
def test_other_data(store: Store) -> None:
    """Other data than it was given are the service's fault."""
    store.spoils = True
    code, reason = travel(store)
    assert (1, True) == (code, "gives other bytes than it was given" in reason)
    assert {} == store.records


@pytest.mark.parametrize("name", [LOCAL])
def test_wrong_status(store: Store) -> None:
    """Where nothing is behind the API a wrong status is its fault."""
    store.changes = {"status": "queued"}
    code, reason = travel(store)
    assert (1, True) == (code, "has an image of 64 KiB whose status is not active" in reason)


@pytest.mark.parametrize("name", [SLOW, "heat-api"])
@pytest.mark.parametrize(("stuck", "words"), [
    ("error", "is error"), ("CREATE_FAILED", "is CREATE_FAILED"), ("\0\n" * 100, "is ")])
def test_made_by_others(store: Store, stuck: str, words: str) -> None:
    """What others make, and do not get done, is told, and not blamed on the API: 190."""
    store.stuck = stuck
    code, reason = travel(store, 5.0)
    assert (190, True) == (code, words in reason)
    assert reason.endswith(f"look at {store.record.behind}")


@pytest.mark.parametrize("name", [SLOW, "heat-api"])
@pytest.mark.parametrize("stuck", ["", "error_deleting"])
def test_deleted_by_others(store: Store, stuck: str) -> None:
    """What others do not delete is told, and not blamed on the API: 190."""
    store.keeps = True
    store.changes = {store.record.status[0]: stuck} if stuck else {}
    store.times = 0
    before = store._delete

    def deleted(id_: str) -> tuple[int, bytes]:
        store.times = 1 << 30
        return before(id_)

    store._delete = deleted  # type: ignore[method-assign]
    code, reason = travel(store, 5.0)
    assert (190, True) == (code, f"was to be deleted, and is {stuck or 'deleting'}" in reason)


@pytest.mark.parametrize(("name", "words"), [
    (SLOW, "was to be deleted, and is deleting"),
    ("heat-api", "was to be deleted, and is deleting"),
    (LOCAL, "does not answer in time to GET")])
def test_deleted_and_late(store: Store, words: str) -> None:
    """Where the last look comes too late, what was seen of others' work is told: 190."""
    store.keeps = True
    before = store._shown

    def shown(id_: str) -> dict[str, Any] | None:
        if "DELETE item" in store.steps:
            store.how["GET list"] = "hang"  # from the next look on
        return before(id_)

    store._shown = shown  # type: ignore[method-assign]
    code, reason = travel(store, 5.0)
    assert (190, True) == (code, words in reason)


@each
@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 100000, b'{"x": 1}', b"7"])
def test_nonsense(store: Store, body: bytes) -> None:
    """A list that is none is the service's fault."""
    store._answer = lambda *_: (200, body)  # type: ignore[method-assign]
    assert 1 == travel(store)[0]


@each
@pytest.mark.parametrize("strange", [None, 7, "", "../../v3/users", "a b", "ä", "x/"])
def test_strange_ids(store: Store, strange: object) -> None:
    """An id that cannot stand in a path is asked for nowhere."""
    if store.record.id.endswith("_ref") and strange == "../../v3/users":
        strange = "http://x/a b"
    store.changes = {store.record.id: strange}
    code, reason = travel(store)
    assert (1, True) == (code, "without an id" in reason)
    assert {"GET list", "POST list"} == {*store.steps}


@pytest.mark.parametrize("name", ["heat-api"])
def test_strange_names(store: Store) -> None:
    """A name that cannot stand in a path is asked for nowhere, though it begins as ours do."""
    kept = {store.left(f"{OWN}-{NOW}-a/../b"), store.left(f"{TAG}-../x-{NOW - 90000}-a")}
    assert (0, "") == travel(store)
    assert kept == set(store.records)
