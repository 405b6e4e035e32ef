"""Check level 20 of agents as processes: what they make at an API is found again, and is gone.

Every fault of every step is in tests/unit/test_roundtrip.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlib.roundtrip import head
from harness import EVERY_AGENT, declaration, defaults, expect
from kinds.kit import agent_of
from lookalike.records import Store, declared
from lookalike.service import MakeService, Service
from looks import eventually

PROJECT = b"service".hex()
"""The id of the look-alike Keystone's project."""

TIMEOUT, TIMELY = 60, 12
"""Seconds; the latter where all of them are spent."""


def own_server(agent: Path) -> bool:
    """Whether an agent's daemon has a server of its own, as the look-alike has."""
    uwsgi = getattr(declaration(agent).manages, "daemon").uwsgi  # noqa: B009 - of a Service
    return not (uwsgi and uwsgi.only)


MAKERS = [agent for agent in EVERY_AGENT if declared(agent) and own_server(agent)]


@pytest.fixture(params=MAKERS, ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> Path:
    """Each agent that has level 20 and a server of its own."""
    path: Path = request.param
    return path


@pytest.fixture
def store(agent: Path) -> Iterator[Store]:
    """What keeps the records that the agent makes."""
    record = declared(agent)
    assert record
    with Store(record, PROJECT) as store:
        yield store


@pytest.fixture
def service(make_service: MakeService, store: Store) -> Service:
    """A daemon that serves; its API is the store."""
    service = make_service(credentials=True)
    service.parameters["url"] = store.url
    if "plugin_config" in defaults(service.agent):
        service.parameters["plugin_config"] = plugin = service.folder / "plugin.ini"
        plugin.touch()
    expect(service.start(), 0)
    return service


def test_records(service: Service, store: Store) -> None:
    """Level 20 makes and deletes a record; level 10 makes none; what is forbidden is 190."""
    expect(service.monitor(timeout=TIMEOUT), 0)
    assert [] == store.steps
    expect(service.monitor(level=20, timeout=TIMEOUT), 0)
    assert "DELETE item" in store.steps
    assert {} == store.records

    store.how["POST list"] = "403"
    expect(service.monitor(level=20, timeout=TIMEOUT), 190, "403 to POST", "may user monitor make")
    expect(service.monitor(timeout=TIMEOUT), 0)


@pytest.mark.parametrize("agent", [agent_of("heat-api")], indirect=True, ids=["heat-api"])
def test_killed(service: Service, store: Store) -> None:
    """What a monitor that was killed has left is deleted by the next one."""
    store.how["GET item"] = "hang"
    running = service.begin("monitor", level=20, timeout=TIMEOUT, interval=30)
    eventually(lambda: store.records)
    running.kill()
    running.wait()
    (left,) = store.records
    assert store.records[left][store.record.named].startswith(head(service.tag))

    del store.how["GET item"]
    expect(service.monitor(level=20, timeout=TIMEOUT), 0)
    assert {} == store.records


@pytest.mark.parametrize("agent", [agent_of("nova-api")], indirect=True, ids=["nova-api"])
def test_at_fault(service: Service, store: Store) -> None:
    """What is not there as it was made is the API's fault: 1; what is late or full is not: 190."""
    store.hides = True
    expect(service.monitor(level=20, timeout=TIMEOUT), 1, "does not list a server group that it")
    store.hides, store.keeps = False, True
    expect(service.monitor(level=20, timeout=TIMEOUT), 1, "lists a server group that it has del")
    store.records.clear()
    store.keeps = False
    store.how["POST list"] = "503"
    expect(service.monitor(level=20, timeout=TIMEOUT), 190, "look at its database")
    store.how["POST list"] = "500"
    expect(service.monitor(level=20, timeout=TIMEOUT), 1, "answers 500 to POST")


@pytest.mark.parametrize("agent", [agent_of("cinder-api")], indirect=True, ids=["cinder-api"])
def test_others_at_fault(service: Service, store: Store) -> None:
    """What workers do not get done is told, and no more of it is made; the API goes on: 190."""
    who = "look at cinder-scheduler, cinder-volume"
    store.stuck = "error"
    expect(service.monitor(level=20, timeout=TIMEOUT), 190, "its volume of level 20 is error", who)
    store.records.clear()
    store.stuck = "creating"
    expect(service.monitor(level=20, timeout=TIMELY), 190, "volume of level 20 is creating", who)
    expect(service.monitor(level=20, timeout=TIMELY), 190, "cannot be deleted", who)
    assert 1 == len(store.records)
