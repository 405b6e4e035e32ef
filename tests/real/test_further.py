"""The services that test_plane.py and test_workers.py do not have: Barbican, Aodh, Octavia, Ironic,
Magnum, Gnocchi, Masakari, and some of Cinder's, Manila's and Designate's. All of them start, are
well, and stop.

Their outages are in test_further_outages.py, which `make check-nightly` runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import eventually
from lab import identity
from lab.openstack import ControlPlane
from real import further, promises
from real.fleet import START, Fleet, NeedPackages, await_all, codes, expect_all
from real.further import APIS, FORBIDDEN, further_plane, have_served
from real.kit import PATIENCE, one_with

pytestmark = pytest.mark.real

KINDS = further.KINDS


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab in which only the services run that all of them need."""
    with further_plane(need_packages) as plane:
        yield plane


test_no_configuration = promises.no_configuration
test_start_and_monitor = promises.start_and_monitor


def test_role_of_its_own(apis: Fleet, workers: Fleet, plane: ControlPlane) -> None:
    """A user who may only read gets 0 from each API; two APIs need a role of their own: 190."""
    workers.serve("magnum-conductor")
    expect_all(apis.act("monitor"), 7)
    have_served(apis)
    assert all(apis[name].state()["checks"]["api"]["token"] for name in APIS)
    admin = identity.Administrator(plane.server("keystone"), plane.admin.password)
    user = admin.create("user", name="bare", domain_id="default", password="bare")
    (project,) = admin.call("GET", "/projects?name=service")["projects"]
    (role,) = admin.call("GET", "/roles?name=reader")["roles"]
    admin.call("PUT", f"/projects/{project['id']}/users/{user}/roles/{role['id']}")

    bare = {"os_username": "bare", "os_password": "bare"}

    others = [name for name in APIS if name not in FORBIDDEN]
    await_all(lambda: apis.monitor(*others, parameters=bare), 0)
    forbidden = "forbids bare to read", "(403)"
    await_all(lambda: apis.monitor(*FORBIDDEN, parameters=bare), 190, *forbidden)
    wrong = {"os_password": "not-it"}
    await_all(lambda: apis.monitor(parameters=wrong), 190, "Keystone refuses")
    eventually(lambda: codes(apis.monitor()) == {0}, PATIENCE)


def test_record(apis: Fleet, plane: ControlPlane) -> None:
    """A secret is made, read, found and gone, of who may do so; who may not is told: 190.

    So is that the quota is full.
    """
    expect_all(apis.act("start", "barbican-api", timeout=START), 0)
    creator = one_with(plane, "creator")
    await_all(lambda: apis.monitor("barbican-api", level=20, parameters=creator), 0)
    found = plane.server("barbican-api").get("/v1/secrets", token=plane.token()).json()
    assert [] == found["secrets"]
    await_all(lambda: apis.monitor("barbican-api", level=20), 190, "(role creator, quota)?")

    boss = one_with(plane, "key-manager:service-admin")
    token = identity.token(plane.server("keystone"), str(boss["os_username"]),
                           str(boss["os_password"]), plane.credentials.project_name)
    admin = identity.Administrator(plane.server("keystone"), plane.admin.password)
    (project,) = admin.call("GET", f"/projects?name={plane.credentials.project_name}")["projects"]
    path = f"/v1/project-quotas/{project['id']}"
    server = plane.server("barbican-api")
    none = {"project_quotas": {"secrets": 0}}
    assert 204 == server.request("PUT", path, body=none, token=token).status
    await_all(lambda: apis.monitor("barbican-api", level=20, parameters=creator), 190,
              "403 to POST", "may user creator make secrets", "quota)?")
    await_all(lambda: apis.monitor("barbican-api", parameters=creator), 0)
    assert 204 == server.request("DELETE", path, token=token).status


def test_stop_of_the_apis(apis: Fleet) -> None:
    """Stop leaves no process of an API, and monitor is 7."""
    expect_all(apis.act("start", timeout=START), 0)
    expect_all(apis.act("stop", timeout=120), 0)
    assert {} == apis.left()
    expect_all(apis.act("monitor"), 7)


test_stop = promises.stop
