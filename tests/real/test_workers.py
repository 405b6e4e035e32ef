"""The life of the real workers under their agents: RabbitMQ, database and processes come and go.

They are started together and looked at together; each test leaves them as it found them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import eventually, expect
from lab import process
from lab.openstack import ControlPlane
from lab.services import connected, running
from real.fleet import START, Fleet, NeedPackages, codes, expect_all, fleet, whole_plane
from real.kit import PATIENCE

pytestmark = pytest.mark.real

DATABASE = (
    "cinder-scheduler", "cinder-volume", "designate-central", "heat-engine", "manila-scheduler",
    "neutron-rpc-server", "nova-conductor", "nova-scheduler",
)  # fmt: skip
"""Workers with a database of their own."""

WORKERS = (*DATABASE, "ceilometer-agent-notification", "nova-compute")
"""Workers that live by RabbitMQ."""

OTHERS = ("ceilometer-agent-central", "nova-novnc")
"""Those that have no connection to RabbitMQ that could be watched."""


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with all projects, in which nothing runs but what the workers need."""
    with whole_plane(need_packages, "db", "rabbit", "keystone", "placement-api") as plane:
        yield plane


@pytest.fixture(scope="module")
def workers(
    plane: ControlPlane, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """All of them, stopped at first."""
    with fleet(plane, home, tmp_path_factory.mktemp("workers"), [*WORKERS, *OTHERS]) as workers:
        yield workers


def test_no_configuration(workers: Fleet) -> None:
    """A configuration that is missing is told by its path; probe and stop do without."""
    missing = {"config": "/etc/no-such-file.conf"}
    expect_all(workers.act("stop", timeout=120), 0)

    expect_all(workers.act("start", parameters=missing), 5, "config=/etc/no-such-file.conf")
    expect_all(workers.act("monitor", parameters=missing), 7)
    expect_all(workers.act("stop", parameters=missing), 0)


def test_start_and_monitor(workers: Fleet) -> None:
    """Start is over when a worker is connected; a second start and the monitors find it well."""
    workers.serve()

    assert {*WORKERS} == {name for name in workers.members if connected(workers[name].family())}
    before = workers.masters()
    expect_all(workers.act("start"), 0)
    expect_all(workers.act("monitor"), 0)
    assert before == workers.masters()


def test_rabbitmq_killed(workers: Fleet, plane: ControlPlane) -> None:
    """Without RabbitMQ no worker is to blame: 190; it connects again by itself, and is well."""
    workers.serve()
    before = workers.masters()
    for member in running(plane.settings, "rabbit"):
        member.send(signal.SIGKILL)
    plane.down("rabbit")
    try:
        expect_all(workers.monitor(*WORKERS), 190, "RabbitMQ at 127.0.0.1:5672", "refuses")
        expect_all(workers.monitor(*OTHERS), 0)
    finally:
        plane.up("rabbit")
    eventually(lambda: codes(workers.monitor()) == {0}, PATIENCE)

    assert before == workers.masters()


def test_database_away(workers: Fleet, plane: ControlPlane) -> None:
    """Without the database no worker is to blame: 190 where it has one; then it is well again."""
    workers.serve()
    before = workers.masters()
    with plane.without_database("db"):
        expect_all(workers.monitor(*DATABASE), 190, "database")
        expect_all(workers.monitor("ceilometer-agent-notification", "nova-compute", *OTHERS), 0)
    eventually(lambda: codes(workers.monitor()) == {0}, PATIENCE)

    assert before == workers.masters()


def test_stopped_process(workers: Fleet) -> None:
    """A process that does not read what RabbitMQ sends is found, and named: 1."""
    workers.serve()
    stopped = {}
    for name in WORKERS:
        reading = [member for member in workers[name].family() if connected([member])]
        stopped[name] = reading[-1]
    try:
        process.freeze([*stopped.values()])
        left = set(WORKERS)

        def found() -> bool:
            for name, result in workers.monitor(*left).items():
                if result.code:
                    expect(result, 1, f"pid {stopped[name].pid} does not read")
                    left.remove(name)
            return not left

        eventually(found, PATIENCE)
    finally:
        for member in stopped.values():
            member.send(signal.SIGCONT)
    eventually(lambda: codes(workers.monitor(*WORKERS)) == {0}, PATIENCE)


def test_stop_and_start_without_rabbitmq(workers: Fleet, plane: ControlPlane) -> None:
    """Stop leaves nothing; a start without RabbitMQ is none that fails, and connects later."""
    workers.serve()
    expect_all(workers.act("stop", timeout=120), 0)
    assert {} == workers.left()
    expect_all(workers.act("monitor"), 7)

    plane.down("rabbit")
    try:
        expect_all(workers.act("start", *WORKERS, timeout=START), 0)
        expect_all(workers.monitor(*WORKERS), 190, "RabbitMQ")
    finally:
        plane.up("rabbit")

    eventually(lambda: codes(workers.monitor(*WORKERS)) == {0}, PATIENCE)


def test_master_killed(workers: Fleet) -> None:
    """Without its master a worker is not well: 1 while processes hold on, 7 then; stop ends all."""
    workers.serve()
    for name in (*WORKERS, *OTHERS):
        workers[name].kill_master()

    results = workers.act("monitor")
    assert codes(results) <= {1, 7}
    gone = [name for name, result in results.items() if result.code == 7]
    assert {} == (workers.left(*gone) if gone else {}), "7 is only for what is certain"
    expect_all(workers.act("stop", timeout=120), 0)
    assert {} == workers.left()
    expect_all(workers.act("monitor"), 7)
