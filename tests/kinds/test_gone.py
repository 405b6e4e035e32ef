"""A name whose daemon no longer exists (nova-consoleauth): nothing starts, an old one is ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import EVERY_AGENT, Resource, declaration, expect
from kinds.kit import agent_of
from lookalike.service import Service
from lookalike.strangers import start_by_shell
from looks import killed

CONSOLEAUTH = agent_of("nova-consoleauth")
GONE = [agent for agent in EVERY_AGENT if type(declaration(agent).manages).__name__ == "Gone"]
INSTEAD = "nova-consoleauth is gone since Train: the console proxies check tokens themselves"


@pytest.fixture
def agent() -> Path:
    """The agent of make_service."""
    return CONSOLEAUTH


@pytest.fixture
def nothing(folder: Path) -> Iterator[Resource]:
    """A resource on a node where nothing of the daemon is left."""
    with Resource(CONSOLEAUTH, folder, {"user": "nobody"}) as resource:
        yield resource


@pytest.mark.parametrize("agent", GONE, ids=lambda one: one.name)
def test_every_gone(agent: Path, folder: Path) -> None:
    """Each agent says what to use instead, as its meta-data does; stop is 0, since nothing runs."""
    document = subprocess.run([agent, "meta-data"], env={}, check=True, capture_output=True).stdout
    text = ElementTree.fromstring(document).findtext("longdesc") or ""
    resource = Resource(agent, folder)
    for action in ("start", "validate-all"):
        said = expect(resource.call(action), 5, f"{agent.name} is gone since ").reason
        assert said.partition(" is gone since ")[2].partition(":")[0] in text
    expect(resource.stop(), 0)


@pytest.mark.parametrize("action", ["start", "validate-all", "monitor"])
def test_cannot_be_started(nothing: Resource, action: str) -> None:
    """start, validate-all and a probe are 5, and say what has replaced the daemon."""
    expect(nothing.call(action), 5, INSTEAD)


def test_parameters_alone(nothing: Resource) -> None:
    """validate-all of level 0 looks at the parameters alone: 0, or 6."""
    expect(nothing.call("validate-all", level=0), 0)
    expect(nothing.call("validate-all", level=0, parameters={"pid": "x"}), 6, "pid=")


def test_nothing_runs(nothing: Resource) -> None:
    """A recurring monitor is 7 and stop is 0, since nothing runs."""
    expect(nothing.monitor(), 7)
    expect(nothing.call("reload-agent"), 7)
    expect(nothing.stop(), 0)


def test_old_daemon(service: Service) -> None:
    """A daemon that a shell agent has started is 0 for all monitors, and stop ends it.

    It cannot be started anew: start is 5, and does not touch the daemon.
    """
    start_by_shell(service)
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    before = service.pids()
    expect(service.start(), 5, INSTEAD)
    expect(service.call("reload-agent"), 0)
    assert before == service.pids()
    expect(service.stop(), 0)
    assert service.gone()
    expect(service.monitor(), 7)
    expect(service.probe(), 5, INSTEAD)


def test_old_daemon_without_master(service: Service) -> None:
    """An old daemon without its master is 1 for all monitors, and stop ends the other processes."""
    start_by_shell(service)
    expect(service.monitor(), 0)
    killed(service.master())
    assert service.pids()
    expect(service.monitor(), 1, "master process is gone")
    expect(service.probe(), 1, "master process is gone")
    expect(service.stop(), 0)
    assert service.gone()


def test_stranger_in_the_pidfile(nothing: Resource) -> None:
    """Another process that the pidfile names is not taken for the daemon, and is left alone."""
    nothing.pidfile.write_text(f"{os.getpid()}\n", encoding="utf-8")
    expect(nothing.monitor(), 7)
    expect(nothing.stop(), 0)
