"""A daemon that serves a UNIX socket (neutron-metadata-agent): its own, at the configured path."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from harness import SHORT, expect, stops
from kinds.kit import LONG, agent_of
from lookalike.broker import Broker
from lookalike.worker import MakeWorker, TakesPath, Worker
from looks import eventually

METADATA = agent_of("neutron-metadata-agent")


@pytest.fixture
def path(folder: Path) -> Path:
    """The path of the socket, in a folder that every user may write."""
    place = folder / "run"
    place.mkdir()
    place.chmod(0o777)
    return place / "metadata_proxy"


@pytest.fixture
def worker(make_worker: MakeWorker, path: Path) -> Worker:
    """A neutron-metadata-agent, stopped."""
    worker = make_worker(METADATA, unix=path)
    worker.config.say("DEFAULT", metadata_proxy_socket=path)
    return worker


@pytest.fixture
def running(worker: Worker) -> Worker:
    """A neutron-metadata-agent that serves."""
    expect(worker.start(), 0)
    return worker


def test_life_cycle(worker: Worker) -> None:
    """start is 0 when the socket answers, and 0 again when the daemon runs; stop ends all of it."""
    expect(worker.call("validate-all"), 0)
    expect(worker.start(), 0)
    expect(worker.start(), 0)
    expect(worker.probe(), 0)
    expect(worker.monitor(), 0)
    stops(worker)
    assert not worker.pids()


def test_no_socket(worker: Worker, path: Path) -> None:
    """A start without a socket fails, whatever else is well."""
    worker.config.set(unix=None)
    expect(worker.start(timeout=SHORT), 1, "did not get ready", f"does not listen at {path}")
    assert not worker.pids()


def test_path_is_taken(running: Worker, path: Path) -> None:
    """Another process that has taken the path gets all requests: 1, whatever it answers."""
    for how in (None, "hang"):
        with TakesPath(path, how):
            expect(running.monitor(), 1, f"neutron-metadata-agent does not listen at {path}")
            expect(running.probe(), 0)
    expect(running.stop(), 0)
    expect(running.start(), 0)
    expect(running.monitor(), 0)


def test_path_is_gone(running: Worker, path: Path) -> None:
    """A socket whose path is gone cannot be reached: 1."""
    path.unlink()
    expect(running.monitor(), 1, "neutron-metadata-agent does not answer", f"at {path}")


def test_hung(running: Worker, path: Path) -> None:
    """A daemon that does not answer in time does not serve: 1, whether it hangs or is stopped."""
    trouble = f"neutron-metadata-agent does not answer in time at {path}"
    running.config.set(unix_answer="hang")
    expect(running.monitor(timeout=SHORT), 1, trouble)
    running.config.set(unix_answer=None)
    expect(running.monitor(), 0)
    running.config.set(unix_answer="nonsense")
    expect(running.monitor(), 1, f"neutron-metadata-agent does not speak HTTP at {path}")
    for pid in running.pids():
        os.kill(pid, signal.SIGSTOP)
    expect(running.monitor(timeout=SHORT), 1, "neutron-metadata-agent")
    stops(running)


def test_state_path(worker: Worker, path: Path) -> None:
    """Without metadata_proxy_socket, or with $state_path in it, the path is in state_path."""
    for said in (None, "$state_path/metadata_proxy"):
        worker.config.say("DEFAULT", metadata_proxy_socket=said, state_path=path.parent)
        expect(worker.start(), 0)
        expect(worker.monitor(), 0)
        worker.config.say("DEFAULT", state_path="/nonexistent")
        expect(worker.monitor(), 1, "does not listen at /nonexistent/metadata_proxy")
        expect(worker.stop(), 0)


def test_further_file(worker: Worker, path: Path) -> None:
    """The path is taken from the file of agent_config, which counts more than config."""
    worker.config.say("DEFAULT", metadata_proxy_socket="/nonexistent/socket")
    further = Path(str(worker.parameters["agent_config"]))
    further.write_text(f"[DEFAULT]\nmetadata_proxy_socket = {path}\n", encoding="utf-8")
    expect(worker.start(), 0)
    expect(worker.monitor(), 0)


def test_no_configuration(running: Worker) -> None:
    """When the configuration cannot be read, the daemon is not checked: 190."""
    running.config.path.unlink()
    expect(running.monitor(), 190, "not checked: conf")


def test_broker_is_down(running: Worker, broker: Broker) -> None:
    """A broker that does not answer is 190, as long as the socket answers."""
    running.config.set(connect=None)
    broker.mode = "refuses"
    expect(running.monitor(), 190, "RabbitMQ at ", "refuses connections")
    running.config.set(unix_answer="nonsense")
    expect(running.monitor(), 1, "does not speak HTTP")


def test_time_for_both(running: Worker, broker: Broker) -> None:
    """A check that waits to the end leaves the other check enough time: 190, and no false 1."""
    running.config.set(connect=None)
    broker.drop()
    for timeout in (4, SHORT):
        expect(running.monitor(timeout=timeout), 190, "is not connected to RabbitMQ")
    running.config.set(connect=broker.address)
    eventually(lambda: broker.connections() == 2)
    expect(running.monitor(timeout=LONG), 0)
