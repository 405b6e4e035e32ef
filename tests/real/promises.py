"""The promises for every worker, as tests: outages of RabbitMQ, database and processes.

They are tests of the modules that assign them (test_workers.py, test_further.py), and use
fixtures from there: `plane`, a lab; `workers`, a fleet in it, stopped at first; `kinds`, what its
members depend on. All are started and monitored together; each test leaves them as it found
them.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import partial

from harness import eventually, expect
from lab import process
from lab.openstack import ControlPlane
from lab.process import Process
from lab.services import connected, running
from real.fleet import START, Fleet, Member, codes, expect_all
from real.kit import PATIENCE


@dataclass(frozen=True)
class Kinds:
    """The members of a fleet, by their checks.

    broker: workers that need RabbitMQ. database: workers with a database of their own. alone:
    workers with neither.
    """

    broker: tuple[str, ...]
    database: tuple[str, ...]
    alone: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.broker, *self.database, *self.alone)))

    def besides(self, some: tuple[str, ...]) -> tuple[str, ...]:
        """All members but these."""
        return tuple(name for name in self.all if name not in some)


def no_configuration(workers: Fleet) -> None:
    """A missing configuration is named by its path; monitor and stop do not need it."""
    missing = {"config": "/etc/no-such-file.conf"}
    expect_all(workers.act("stop", timeout=120), 0)

    expect_all(workers.act("start", parameters=missing), 5, "config=/etc/no-such-file.conf")
    expect_all(workers.act("monitor", parameters=missing), 7)
    expect_all(workers.act("stop", parameters=missing), 0)


def start_and_monitor(workers: Fleet, kinds: Kinds) -> None:
    """Start ends when a worker is connected; then a second start and the monitors are 0."""
    workers.serve()

    def seen() -> set[str]:
        return {name for name in workers.members if connected(workers[name].family())}

    # On a busy machine RabbitMQ may have missed a heartbeat, and a worker connects again.
    eventually(lambda: seen() >= {*kinds.broker}, PATIENCE)
    assert {*kinds.broker} == seen()
    before = workers.masters()
    expect_all(workers.act("start"), 0)
    expect_all(workers.act("monitor"), 0)
    assert before == workers.masters()


def rabbitmq_killed(workers: Fleet, plane: ControlPlane, kinds: Kinds) -> None:
    """Without RabbitMQ no worker is at fault: 190; it connects again by itself, and is well."""
    workers.serve()
    before = workers.masters()
    for member in running(plane.settings, "rabbit"):
        member.send(signal.SIGKILL)
    plane.down("rabbit")
    try:
        down = ("RabbitMQ at 127.0.0.1:5672", "refuses")
        expect_all(workers.monitor(*kinds.broker), 190, *down)
        expect_all(workers.monitor(*kinds.besides(kinds.broker)), 0)
    finally:
        plane.up("rabbit")
    eventually(lambda: codes(workers.monitor()) == {0}, PATIENCE)

    assert before == workers.masters()


def database_away(workers: Fleet, plane: ControlPlane, kinds: Kinds) -> None:
    """Without its database a worker is not at fault: 190; later it is well again."""
    workers.serve()
    before = workers.masters()
    with plane.without_database("db"):
        expect_all(workers.monitor(*kinds.database), 190, "database")
        expect_all(workers.monitor(*kinds.besides(kinds.database)), 0)
    eventually(lambda: codes(workers.monitor()) == {0}, PATIENCE)

    assert before == workers.masters()


def reading(worker: Member) -> list[Process]:
    """The processes of a worker that have a connection to RabbitMQ."""
    return [member for member in worker.family() if connected([member])]


def stopped_process(workers: Fleet, kinds: Kinds) -> None:
    """A process that does not read what RabbitMQ sends is found, and named: 1."""
    workers.serve()
    stopped = {}
    for name in kinds.broker:
        look = partial(reading, workers[name])
        stopped[name] = eventually(look, PATIENCE)[-1]
    try:
        process.freeze([*stopped.values()])
        left = set(kinds.broker)

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
    eventually(lambda: codes(workers.monitor(*kinds.broker)) == {0}, PATIENCE)


def stop(workers: Fleet) -> None:
    """Stop leaves no process of a worker, and monitor is 7."""
    workers.serve()
    expect_all(workers.act("stop", timeout=120), 0)
    assert {} == workers.left()
    expect_all(workers.act("monitor"), 7)


def stop_and_start_without_rabbitmq(
    workers: Fleet, plane: ControlPlane, kinds: Kinds
) -> None:
    """Stop leaves nothing; a start without RabbitMQ succeeds, and the worker connects later."""
    stop(workers)

    plane.down("rabbit")
    try:
        expect_all(workers.act("start", *kinds.broker, timeout=START), 0)
        expect_all(workers.monitor(*kinds.broker), 190, "RabbitMQ")
    finally:
        plane.up("rabbit")

    eventually(lambda: codes(workers.monitor(*kinds.broker)) == {0}, PATIENCE)


def master_killed(workers: Fleet) -> None:
    """Without its master a worker is 1 while processes live, then 7; stop ends all of them."""
    workers.serve()
    for name in workers.members:
        workers[name].kill_master()

    results = workers.act("monitor")
    assert codes(results) <= {1, 7}
    gone = [name for name, result in results.items() if result.code == 7]
    assert {} == (workers.left(*gone) if gone else {}), "7 is only for what is certain"
    expect_all(workers.act("stop", timeout=120), 0)
    assert {} == workers.left()
    expect_all(workers.act("monitor"), 7)
