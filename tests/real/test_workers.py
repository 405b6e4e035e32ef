"""The real workers under their agents, with outages of RabbitMQ, database and processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.openstack import ControlPlane
from real import promises
from real.fleet import NeedPackages, whole_plane

pytestmark = pytest.mark.real

DATABASE = (
    "cinder-scheduler", "cinder-volume", "designate-central", "heat-engine", "manila-scheduler",
    "neutron-rpc-server", "nova-conductor", "nova-scheduler",
)  # fmt: skip
"""Workers with a database of their own."""

KINDS = promises.Kinds(
    broker=(*DATABASE, "ceilometer-agent-notification", "nova-compute"),
    database=DATABASE,
    alone=("ceilometer-agent-central", "nova-novnc", "nova-serialproxy"),
)


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with many projects, in which only the services run that the workers need."""
    with whole_plane(need_packages, "db", "rabbit", "keystone", "placement-api") as plane:
        yield plane


test_no_configuration = promises.no_configuration
test_start_and_monitor = promises.start_and_monitor
test_rabbitmq_killed = promises.rabbitmq_killed
test_database_away = promises.database_away
test_stopped_process = promises.stopped_process
test_stop_and_start_without_rabbitmq = promises.stop_and_start_without_rabbitmq
test_master_killed = promises.master_killed
