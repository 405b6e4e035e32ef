"""A daemon with a port and no API (nova-novnc): any HTTP answer from its own socket is enough."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from harness import EVERY_AGENT, SHORT, expect, installed, stops
from kinds.kit import LONG, agent_of, checks_of
from lookalike.service import MakeService, Service
from lookalike.strangers import Strangers, sister_daemon
from looks import eventually, killed

NOVNC = agent_of("nova-novnc")
PROXIES = [agent for agent in EVERY_AGENT if checks_of(agent) == ["Port"]]


@pytest.fixture
def agent() -> Path:
    """The agent of make_service."""
    return NOVNC


@pytest.fixture
def running(service: Service) -> Service:
    """A nova-novncproxy that serves."""
    expect(service.start(), 0)
    return service


@pytest.mark.parametrize("agent", PROXIES, ids=lambda one: one.name)
def test_life_cycle(service: Service, agent: Path) -> None:
    """start is 0 when the daemon serves, and 0 again when it runs; stop ends all of it."""
    expect(service.call("validate-all"), 0)
    expect(service.probe(), 7)
    expect(service.start(), 0)
    before = service.master()
    expect(service.start(), 0)
    assert before == service.master()
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    stops(service)
    assert not service.pids()


def test_what_is_asked(running: Service) -> None:
    """The monitor asks for a page of the proxy, without any token."""
    before = len(running.config.requests())
    expect(running.monitor(), 0)
    assert [("GET", "/vnc_lite.html", "token:-")] == running.config.requests()[before:]


@pytest.mark.parametrize("status", [200, 301, 401, 404, 405, 500, 503])
def test_any_answer(running: Service, status: int) -> None:
    """Any HTTP answer, whatever its status, is 0."""
    running.config.set(public=status)
    expect(running.monitor(), 0)


@pytest.mark.parametrize("how", ["nonsense", "reset", "close"])
def test_no_http(running: Service, how: str) -> None:
    """A daemon that does not answer in HTTP does not serve: 1."""
    running.config.set(public=how)
    expect(running.monitor(), 1, "nova-novnc")
    running.config.set(public=None)
    expect(running.monitor(), 0)


def test_one_connection_hangs(running: Service) -> None:
    """A proxy that never answers one connection, and answers the next one, is well: 0."""
    before = len(running.config.requests())
    running.config.set(public="hang")
    monitor = running.begin("monitor", interval=30, timeout=LONG)
    eventually(lambda: len(running.config.requests()) > before)
    running.config.set(public=None)
    expect(monitor.wait(), 0)
    assert before + 2 == len(running.config.requests())


def test_hung(running: Service) -> None:
    """A daemon that does not answer in time does not serve: 1, whether it hangs or is stopped."""
    trouble = ("nova-novnc", "does not answer in time")
    running.config.set(public="hang")
    expect(running.monitor(timeout=SHORT), 1, *trouble)
    running.config.set(public=None)
    expect(running.monitor(), 0)
    for pid in running.pids():
        os.kill(pid, signal.SIGSTOP)
    expect(running.monitor(timeout=SHORT), 1, *trouble)
    stops(running)


def test_port_is_taken(make_service: MakeService, stranger: Strangers, folder: Path) -> None:
    """A start fails if another process has the port, and names that process."""
    other = sister_daemon(folder)
    pid = stranger(*other.command)
    eventually(lambda: len(other.pids()) == 3)  # then it listens on the port
    service = make_service(port_retry=30)
    service.agent = usual_port(service.agent, folder, other.port)
    service.config.default["bind_port"] = other.port
    service.config.set()
    trouble = f"did not get ready: listens on no TCP port, {other.port} is held by pid {pid}"
    # To look for the pid takes a busy machine more than SHORT leaves for it.
    expect(service.start(timeout=20), 1, trouble)
    assert not service.pids()
    expect(service.probe(), 7)


def usual_port(agent: Path, folder: Path, port: int) -> Path:
    """A copy of the agent whose daemon listens at another port by default."""
    copy = installed(agent, folder)
    text = copy.read_text(encoding="utf-8")
    assert 1 == text.count("port=6080,")
    copy.write_text(text.replace("port=6080,", f"port={port},"), encoding="utf-8")
    return copy


def test_ended(running: Service) -> None:
    """A daemon without its master is 1, and 7 when all of its processes are gone."""
    killed(running.master())
    expect(running.monitor(), 1, "master process is gone")
    killed(*running.pids())
    expect(running.monitor(), 7)
    expect(running.probe(), 7)


def test_web(running: Service) -> None:
    """The parameter web becomes --web, as one word; without the parameter there is no --web."""
    assert not [word for word in running.config.report()["argv"] if "--web" in word]
    expect(running.stop(), 0)
    running.parameters["web"] = "/usr/share/no vnc"
    running.parameters["additional_parameters"] = "--debug"
    running.config.report_path.unlink()
    expect(running.start(), 0)
    words = running.config.report()["argv"]
    assert ["--web=/usr/share/no vnc", "--debug"] == words[-2:]
    expect(running.monitor(), 0)
