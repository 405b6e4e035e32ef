"""The look-alike worker and its broker, which tests of workers need, behave as README.md says."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from lookalike.broker import MODES, Broker
from lookalike.worker import WORKER, WorkerConfig, unread
from looks import PATIENCE, eventually


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker that answers."""
    with Broker() as broker:
        yield broker


def greeted(broker: Broker) -> bytes:
    """The first byte that a client gets after its greeting."""
    with socket.create_connection((broker.host, broker.port), PATIENCE) as client:
        client.sendall(b"AMQP\0\0\x09\x01")
        return client.recv(1)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_broker(host: str) -> None:
    """The broker answers, sends heartbeats, refuses, listens again, and counts connections."""
    with Broker(host) as broker:
        assert greeted(broker) == b"\x01"
        with socket.create_connection((broker.host, broker.port), PATIENCE) as client:
            client.sendall(b"AMQP\0\0\x09\x01")
            eventually(lambda: broker.greeted() == 1)
            received = 0
            while received < 100:
                received += len(client.recv(100))
        eventually(lambda: not broker.connections())
        assert 2 == broker.asked()
        broker.mode = "refuses"
        with pytest.raises(ConnectionRefusedError):
            greeted(broker)
        broker.mode = "fine"
        assert greeted(broker)


def test_broker_modes(broker: Broker) -> None:
    """The broker can be silent, and close connections at once; an unknown mode is refused."""
    broker.mode = "silent"
    with socket.create_connection((broker.host, broker.port), PATIENCE) as client:
        client.sendall(b"AMQP\0\0\x09\x01")
        eventually(broker.connections)
        client.settimeout(0.3)
        with pytest.raises((TimeoutError, socket.timeout)):
            client.recv(1)
    broker.mode = "closes"
    try:
        assert b"" == greeted(broker)
    except ConnectionError:
        pass  # closed before the greeting was read
    with pytest.raises(ValueError, match="no such mode"):
        broker.mode = "fien"


def test_worker(broker: Broker, tmp_path: Path) -> None:
    """The worker keeps and renews connections; as told it leaves the broker, or does not read."""
    with WorkerConfig(tmp_path, connect=broker.address, processes=2, connections=3) as config:
        master = subprocess.Popen([WORKER, "--config-file", config.path])
        eventually(lambda: broker.connections() == 6)
        broker.drop()
        eventually(lambda: broker.connections() == 6)
        config.set(connect=None)
        eventually(lambda: not broker.connections())
        config.set(connect=broker.address, deaf="all")
        eventually(lambda: broker.connections() == 6)
        children = [pid for pid in config.pids() if pid != master.pid]
        eventually(lambda: all(map(unread, children)))
        master.terminate()
        assert 0 == master.wait(PATIENCE)
        assert not config.pids()


def test_worker_refuses_unknown_options(tmp_path: Path) -> None:
    """An option that does not exist is an error of the test."""
    with WorkerConfig(tmp_path, conect="127.0.0.1:1") as config:
        done = subprocess.run([WORKER, "--config-file", config.path], stderr=subprocess.PIPE)
    assert 64 == done.returncode
    assert b"no such option: conect" in done.stderr


def test_readme() -> None:
    """README.md leaves out no option of the worker and no mode of the broker."""
    loader = SourceFileLoader("lookalike_worker", str(WORKER))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    exec(compile(WORKER.read_text("utf-8"), str(WORKER), "exec"), module.__dict__)
    readme = (WORKER.parent / "README.md").read_text(encoding="utf-8")
    assert [] == sorted(name for name in [*module.OPTIONS, *MODES] if f"`{name}`" not in readme)
