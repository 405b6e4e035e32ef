"""Outages for the services of test_further.py: RabbitMQ, database, Keystone and processes fail
and come back. It takes minutes, and is part of `make check-nightly`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from harness import eventually
from lab import process
from lab.openstack import ControlPlane
from real import further, promises
from real.fleet import Fleet, NeedPackages, await_all, codes, expect_all
from real.further import APIS, READING, STANDALONE, further_plane, have_served
from real.kit import PATIENCE, SHORT

pytestmark = pytest.mark.real

KINDS = further.KINDS

LATE = 30
"""Seconds for a monitor that must have time to ask other services, too."""


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab in which only the services run that all of them need."""
    with further_plane(need_packages) as plane:
        yield plane


test_rabbitmq_killed = promises.rabbitmq_killed
test_database_away = promises.database_away
test_stopped_process = promises.stopped_process
test_stop_and_start_without_rabbitmq = promises.stop_and_start_without_rabbitmq


def test_database_away_from_the_apis(apis: Fleet, workers: Fleet, plane: ControlPlane) -> None:
    """Without its database an API does not serve: 1; an API that asks a worker is 190."""
    workers.serve("magnum-conductor")
    have_served(apis)
    before = apis.masters()
    with plane.without_database("db"):
        expect_all(apis.monitor(*READING, timeout=LATE), 1)
        # Its own server has a new process for each request, which asks Keystone, too.
        expect_all(apis.monitor("magnum-api", timeout=LATE), 190, "magnum-api answers; ")
    eventually(lambda: codes(apis.monitor()) == {0}, PATIENCE)

    assert before == apis.masters()


def test_rabbitmq_and_keystone_away_from_the_apis(
    apis: Fleet, workers: Fleet, plane: ControlPlane
) -> None:
    """An API that only reads is well without RabbitMQ; without Keystone it is not at fault: 190."""
    workers.serve("magnum-conductor")
    have_served(apis)
    before = apis.masters()
    plane.down("rabbit")
    try:
        expect_all(apis.monitor(*READING), 0)
    finally:
        plane.up("rabbit")
    for name in APIS:
        apis[name].forget_token()
    plane.down("keystone")
    try:
        expect_all(apis.monitor(), 190, "Keystone", "cannot be reached")
    finally:
        plane.up("keystone")
    eventually(lambda: codes(apis.monitor()) == {0}, PATIENCE)

    assert before == apis.masters()


def test_hung_conductor(apis: Fleet, workers: Fleet) -> None:
    """An API whose worker hangs is not at fault: 190, and the worker is named."""
    workers.serve("magnum-conductor")
    apis.serve("magnum-api")
    before = apis.masters("magnum-api")
    hung = workers["magnum-conductor"].family()
    process.freeze(hung)
    try:
        result = apis.monitor("magnum-api", timeout=LATE)
        expect_all(result, 190, "magnum-api answers; ", "is magnum-conductor well?")
    finally:
        for member in hung:
            member.send(signal.SIGCONT)
    eventually(lambda: codes(apis.monitor("magnum-api")) == {0}, PATIENCE)

    assert before == apis.masters("magnum-api")


def test_stopped_processes_of_the_apis(apis: Fleet) -> None:
    """An API whose processes all hang does not answer: 1; stop ends it all the same."""
    apis.serve()
    for name in APIS:
        process.freeze(apis[name].family())

    await_all(lambda: apis.monitor(timeout=SHORT), 1, "does not answer in time")
    expect_all(apis.act("stop", timeout=60), 0)
    assert {} == apis.left()
    expect_all(apis.act("monitor"), 7)


def test_under_uwsgi(apis: Fleet, workers: Fleet) -> None:
    """uWSGI also serves APIs that have their own server; without a master they are 1 or 7."""
    workers.serve("magnum-conductor")
    expect_all(apis.act("stop", *STANDALONE, timeout=120), 0)
    for name in STANDALONE:
        apis[name].resource.parameters["server"] = "uwsgi"
    try:
        have_served(apis)
        assert {"uwsgi-core"} == set().union(*(apis[name].running() for name in APIS))
        for name in APIS:
            apis[name].kill_master()
        assert codes(apis.act("monitor")) <= {1, 7}
        expect_all(apis.act("stop", timeout=120), 0)
    finally:
        for name in STANDALONE:
            del apis[name].resource.parameters["server"]
    assert {} == apis.left()


test_master_killed = promises.master_killed
