"""Facts of the services that test_plane.py and test_workers.py do not have.

Read by test_further.py, a short walk that is part of every check, and test_further_outages.py, the
long one: Barbican, Aodh, Octavia, Ironic, Magnum, Gnocchi, Masakari, and some of Cinder's, Manila's
and Designate's daemons, in a lab of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness import eventually
from lab.openstack import ControlPlane
from real.fleet import START, Fleet, NeedPackages, codes, expect_all, plane_of
from real.kit import PATIENCE
from real.promises import Kinds

PROJECTS = (
    "barbican", "aodh", "octavia", "ironic", "magnum", "gnocchi", "masakari", "cinder", "manila",
    "designate",
)  # fmt: skip

KINDS = Kinds(
    broker=(
        "aodh-listener", "aodh-notifier", "barbican-worker", "cinder-backup", "designate-central",
        "designate-mdns", "designate-producer", "designate-sink", "designate-worker",
        "ironic-conductor", "magnum-conductor", "manila-data", "manila-share", "masakari-engine",
        "octavia-worker",
    ),
    database=(
        "aodh-evaluator", "aodh-listener", "barbican-worker", "cinder-backup", "designate-central",
        "designate-mdns", "designate-worker", "gnocchi-metricd", "ironic-conductor",
        "magnum-conductor", "manila-data", "manila-share", "masakari-engine",
        "octavia-health-manager", "octavia-housekeeping", "octavia-worker",
    ),
)  # fmt: skip

FORBIDDEN = ("barbican-api", "octavia-api")
"""APIs that need a role of their own beside "reader"."""

READING = (*FORBIDDEN, "aodh-api", "gnocchi-api", "ironic-api", "masakari-api")
"""APIs that read their database by themselves."""

APIS = (*READING, "magnum-api")
"""And magnum-api, for which its conductor reads it."""

STANDALONE = ("octavia-api", "ironic-api", "magnum-api", "masakari-api")
"""Those of them that have a server of their own, and may be served by uWSGI as well."""


@contextmanager
def further_plane(need_packages: NeedPackages) -> Iterator[ControlPlane]:
    """A lab in which only the services run that all of them need."""
    with plane_of(PROJECTS, need_packages, "db", "rabbit", "keystone") as plane:
        yield plane


def have_served(apis: Fleet) -> None:
    """Start APIs that do not run, and wait until all are well.

    Each asks Keystone for a token of its own at the same time: on a busy machine it is late.
    """
    expect_all(apis.act("start", timeout=START), 0)
    eventually(lambda: codes(apis.monitor()) == {0}, PATIENCE)
