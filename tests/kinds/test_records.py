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

TIMEOUT = 60


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
