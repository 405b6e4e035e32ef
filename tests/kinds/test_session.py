"""An agent of Networking (neutron-agent-dhcp): processes of other sessions outlive its daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import EVERY_AGENT, declaration, expect, stops
from kinds.kit import agent_of, program, running, tagged
from lookalike.worker import MakeWorker, Worker
from looks import eventually, killed, lives

DHCP = agent_of("neutron-agent-dhcp")
HEAT = agent_of("heat-engine")

WAYS = {"tagged": None, "forgotten": "yes"}
"""A child that has inherited the tag; and a child without it, which has lost its parent, too."""


@pytest.fixture
def dnsmasq(folder: Path) -> Iterator[Path]:
    """A program of that name; its processes are ended after the test."""
    path = program(folder, "dnsmasq")
    yield path
    for pid in running(path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def worker(make_worker: MakeWorker, dnsmasq: Path, way: str) -> Worker:
    """A neutron-dhcp-agent with a dnsmasq, running."""
    worker = make_worker(DHCP, dnsmasq=dnsmasq, dnsmasq_forgets=WAYS[way])
    expect(worker.start(), 0)
    eventually(lambda: len(running(dnsmasq)) == 1 and len(worker.pids()) == 3)
    assert tagged(running(dnsmasq)[0], worker) == (way == "tagged")
    return worker


@pytest.mark.parametrize("way", WAYS)
def test_stop(worker: Worker, dnsmasq: Path) -> None:
    """dnsmasq goes on when the agent is stopped, is no part of it, and does not hinder a start."""
    (before,) = running(dnsmasq)
    expect(worker.monitor(), 0)
    expect(worker.stop(), 0)
    assert not worker.pids()
    assert [before] == running(dnsmasq)
    expect(worker.probe(), 7)
    expect(worker.monitor(), 7)
    worker.config.set(dnsmasq=None)
    expect(worker.start(), 0)
    expect(worker.monitor(), 0)
    expect(worker.stop(), 0)
    assert [before] == running(dnsmasq)


@pytest.mark.parametrize("way", WAYS)
def test_master_killed(worker: Worker, dnsmasq: Path) -> None:
    """When the master is killed dnsmasq is no orphan; stop ends the orphans, and not dnsmasq."""
    (before,) = running(dnsmasq)
    killed(worker.master())
    expect(worker.monitor(), 1, "2 of its processes hold on")
    expect(worker.probe(), 1, "2 of its processes hold on")
    expect(worker.stop(), 0)
    assert not worker.pids()
    assert [before] == running(dnsmasq)
    expect(worker.probe(), 7)


@pytest.mark.parametrize("way", WAYS)
def test_all_killed(worker: Worker, dnsmasq: Path) -> None:
    """When all of the agent is killed it is 7, although dnsmasq lives; and it starts again."""
    (before,) = running(dnsmasq)
    killed(*worker.pids())
    expect(worker.monitor(), 7)
    expect(worker.probe(), 7)
    worker.config.set(dnsmasq=None)
    expect(worker.start(), 0)
    expect(worker.monitor(), 0)
    expect(worker.stop(), 0)
    assert [before] == running(dnsmasq)


@pytest.mark.parametrize("way", ["tagged"])
def test_state_is_lost(worker: Worker, dnsmasq: Path) -> None:
    """Without state and pidfile the agent is found again, and dnsmasq is not taken for it."""
    worker.state_file.unlink()
    worker.pidfile.unlink()
    expect(worker.probe(), 0)
    expect(worker.monitor(), 0)
    worker.state_file.unlink()
    worker.pidfile.unlink()
    expect(worker.stop(), 0)
    assert not worker.pids()
    assert 1 == len(running(dnsmasq))
    expect(worker.probe(), 7)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_same_session(make_worker: MakeWorker, folder: Path, how: str) -> None:
    """A child in the master's own session is part of the agent: an orphan, which stop ends."""
    helper = program(folder, "helper")
    worker = make_worker(DHCP, helper=helper)
    expect(worker.start(), 0)
    (pid,) = eventually(lambda: running(helper))
    if how == "killed":
        killed(*worker.pids())
        assert lives(pid)
        expect(worker.monitor(), 1, "1 of its processes hold on")
    expect(worker.stop(), 0)
    assert not running(helper)
    stops(worker)


@pytest.mark.parametrize("way", ["tagged"])
def test_other_agents(make_worker: MakeWorker, dnsmasq: Path, way: str) -> None:
    """If no process is to outlive the daemon, stop ends a child in a session of its own, too."""
    worker = make_worker(HEAT, dnsmasq=dnsmasq)
    expect(worker.start(), 0)
    eventually(lambda: running(dnsmasq))
    stops(worker)
    assert not running(dnsmasq)


def test_which_agents() -> None:
    """Children of other sessions outlive the agents of Networking and nova-compute, no others."""
    said = {}
    for agent in EVERY_AGENT:
        manages = declaration(agent).manages
        daemon = manages.daemon
        said[agent.name] = daemon.one_session
    assert {True} == {said[name] for name in said if name.startswith("neutron-agent-")}
    others = {name for name in said if said[name] and not name.startswith("neutron-")}
    assert {"nova-compute"} == others
