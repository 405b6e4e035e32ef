"""A daemon with nothing to ask (ceilometer-agent-central): only its life can be checked."""

from __future__ import annotations

import json
import os
import signal

import pytest

from harness import expect, stops
from kinds.kit import agent_of, tagged
from lookalike.worker import MakeWorker, Worker
from looks import killed

CENTRAL = agent_of("ceilometer-agent-central")


@pytest.fixture
def worker(make_worker: MakeWorker) -> Worker:
    """A ceilometer-agent-central without connections, stopped."""
    return make_worker(CENTRAL, broker=None)


def test_life_cycle(worker: Worker) -> None:
    """start is 0 when the daemon has lived for some seconds; monitor while it lives, even hung."""
    expect(worker.call("validate-all"), 0)
    expect(worker.start(), 0)
    before = worker.master()
    expect(worker.start(), 0)
    assert before == worker.master()
    expect(worker.probe(), 0)
    expect(worker.monitor(), 0)
    for pid in worker.pids():
        os.kill(pid, signal.SIGSTOP)
    expect(worker.monitor(), 0)
    stops(worker)
    assert not worker.pids()


def test_dies_early(worker: Worker) -> None:
    """A daemon that ends within those seconds fails at start, with its last words."""
    worker.config.set(last_words="no such pipeline", exit_after=0.2, exit_code=3)
    expect(worker.start(), 1, "ceilometer-agent-central ended", "no such pipeline")
    assert not worker.pids()
    expect(worker.probe(), 7)


def test_too_little_time(worker: Worker) -> None:
    """A start with less time than those seconds fails, and says what it has waited for."""
    expect(worker.start(timeout=4), 1, "did not get ready", "has not lived for 5 s")
    assert not worker.pids()


def test_two_instances(make_worker: MakeWorker) -> None:
    """Two instances on one node each know their own processes, with the same fixed arguments.

    Both have one configuration and one binary: nothing but the instance tells them apart.
    """
    first = make_worker(CENTRAL, broker=None)
    second = make_worker(CENTRAL, broker=None)
    second.parameters.update(first.parameters)
    first.config.set(report=None)
    starting = [one.begin("start", timeout=60) for one in (first, second)]
    for start in starting:
        expect(start.wait(), 0)
    assert 6 == len(first.pids())
    ours, theirs = first.processes(), second.processes()
    assert not {*ours} & {*theirs}
    assert all(tagged(pid, first) for pid in ours)
    killed(*theirs)
    expect(second.monitor(), 7)
    expect(first.monitor(), 0)
    expect(second.stop(), 0)
    expect(first.probe(), 0)
    assert ours == first.pids()
    stops(first)


def test_arguments(worker: Worker) -> None:
    """The fixed arguments come after the configuration file, and before those of the operator."""
    worker.parameters["additional_parameters"] = "--debug"
    expect(worker.start(), 0)
    report = json.loads(worker.config.report_path.read_text(encoding="utf-8"))
    assert [
        "--config-file", str(worker.config.path), "--polling-namespaces", "central", "--debug",
    ] == report["argv"][1:]  # fmt: skip
