"""The real APIs of a control plane under their agents, with the monitoring user's reader role.

Heat's and Designate's answers come from workers, which may hang; Keystone is checked by its own
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from harness import OCF, eventually, expect
from lab import process, specs
from lab.openstack import ControlPlane
from lookalike.records import declared
from real.fleet import (
    START,
    Fleet,
    NeedPackages,
    Results,
    await_all,
    codes,
    expect_all,
    whole_plane,
)  # fmt: skip
from real.kit import PATIENCE, SHORT, one_with

pytestmark = pytest.mark.real

BEHIND = {"heat-api": "heat-engine", "designate-api": "designate-central"}
"""APIs whose answers come from a worker."""

LATE = 30
"""Seconds for a monitor that must have time to ask other services, too."""

CHECKED = ("placement-api", "nova-api", "neutron-server", "manila-api", *BEHIND)
"""APIs that an authenticated request checks."""

UNCHECKED = ("heat-api-cfn", "nova-api-metadata")
"""APIs of which any answer will do: these take no token."""

MAKERS = ("nova-api", "neutron-server", "manila-api", "heat-api", "cinder-api")
"""APIs at which a monitor of level 20 makes something."""

QUOTAS = {
    "nova-api": ("/v2.1/os-quota-sets", "quota_set", "server_groups"),
    "neutron-server": ("/v2.0/quotas", "quota", "network"),
    "manila-api": ("/v2/os-quota-sets", "quota_set", "share_networks"),
    "cinder-api": ("/v3/os-quota-sets", "quota_set", "volumes"),
}
"""Of each: the path of the quotas of projects, the word for them, and that for what is made."""

RULES = {
    "nova-api": "os_compute_api:os-server-groups:create",
    "neutron-server": "create_network",
    "manila-api": "share_network:create",
    "heat-api": "stacks:create",
    "cinder-api": "volume:create",
}
"""Of each of MAKERS: the rule of its policy that allows to make something."""

APIS = (*CHECKED, *UNCHECKED, "keystone", "cinder-api")

STANDALONE = tuple(name for name in CHECKED if name != "placement-api")
"""APIs that have a server of their own, and may be served by uWSGI as well."""

Travel = Callable[..., Results]


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with all projects, in which only the services run that the APIs need."""
    with whole_plane(need_packages, "db", "rabbit", "keystone", *BEHIND.values()) as plane:
        yield plane


def test_reader_role_is_enough(apis: Fleet) -> None:
    """A monitoring user with only the reader role gets 0 from each API."""
    expect_all(apis.act("monitor"), 7)
    apis.serve(*CHECKED, *UNCHECKED)

    assert all(apis[name].state()["checks"]["api"]["token"] for name in CHECKED)
    wrong = {"os_password": "not-it"}
    await_all(lambda: apis.monitor(*CHECKED, parameters=wrong), 190, "Keystone refuses")


def test_hung_workers_behind_the_apis(apis: Fleet, plane: ControlPlane) -> None:
    """An API whose worker hangs is not at fault: 190, and the worker is named."""
    apis.serve(*BEHIND)
    before = apis.masters(*BEHIND)
    with ExitStack() as stack:
        for worker in BEHIND.values():
            stack.enter_context(plane.frozen(worker))
        results = apis.monitor(*BEHIND, timeout=LATE)
    for name, worker in BEHIND.items():
        expect(results[name], 190, f"{name} answers; ", f"is {worker} well?")
    eventually(lambda: codes(apis.monitor(*BEHIND)) == {0}, PATIENCE)

    assert before == apis.masters(*BEHIND)


def test_stopped_workers_of_the_apis(apis: Fleet) -> None:
    """An API whose processes all hang does not answer: 1; stop ends it all the same."""
    apis.serve("placement-api", "manila-api")
    for name in ("placement-api", "manila-api"):
        process.freeze(apis[name].family())

    hung = "placement-api", "manila-api"
    await_all(lambda: apis.monitor(*hung, timeout=SHORT), 1, "does not answer in time")
    expect_all(apis.act("stop", "placement-api", "manila-api", timeout=60), 0)
    assert {} == apis.left("placement-api", "manila-api")


def test_under_uwsgi(apis: Fleet) -> None:
    """APIs with a server of their own are served by uWSGI as well, and stopped."""
    apis.serve(*CHECKED)
    expect_all(apis.act("stop", timeout=120), 0)
    assert {} == apis.left(*CHECKED, *UNCHECKED)
    expect_all(apis.act("monitor", *UNCHECKED), 7)

    for name in STANDALONE:
        apis[name].resource.parameters["server"] = "uwsgi"
    try:
        apis.serve(*STANDALONE)
        assert {"uwsgi-core"} == set().union(*(apis[name].running() for name in STANDALONE))
        expect_all(apis.act("stop", timeout=120), 0)
    finally:
        for name in STANDALONE:
            del apis[name].resource.parameters["server"]
    assert {} == apis.left(*CHECKED)


def project(plane: ControlPlane) -> str:
    """The id of the monitoring user's project."""
    (found,) = plane.as_admin(
        "keystone", "GET", f"/v3/projects?name={plane.credentials.project_name}"
    )["projects"]
    id_: str = found["id"]
    return id_


def listed(plane: ControlPlane, *names: str) -> dict[str, list[str]]:
    """By API: the names of what the project of the monitoring user has there."""
    found = {}
    for name in names:
        record = declared(OCF / name)
        assert record
        path = record.path.replace("{project_id}", project(plane))
        answer = plane.server(specs.service(name)).get(path, token=plane.token()).json()
        found[name] = [str(one[record.named]) for one in answer[f"{record.what}s"]]
    return found


@pytest.fixture(scope="module")
def member(plane: ControlPlane) -> dict[str, object]:
    """A user who may make what a monitor of level 20 makes: its parameters."""
    return one_with(plane, "member")


@pytest.fixture
def travel(apis: Fleet, plane: ControlPlane, member: dict[str, object]) -> Travel:
    """Makes a monitor of level 20 as a member at each of these MAKERS, all of which serve."""
    plane.up("cinder-scheduler", "cinder-volume")
    apis.serve(*MAKERS)

    def travel(*names: str, timeout: float = 60) -> Results:
        return apis.monitor(*names, level=20, parameters=member, timeout=timeout)

    return travel


def test_records(travel: Travel, plane: ControlPlane) -> None:
    """What a monitor of level 20 makes as a member is found, and gone; who is at fault is told.

    Of a cinder-volume that hangs one volume stays, and is swept when it works again.
    """
    await_all(lambda: travel(*MAKERS), 0)
    assert {name: [] for name in MAKERS} == listed(plane, *MAKERS)

    with plane.frozen("cinder-volume"):
        for _ in range(2):
            expect(travel("cinder-api", timeout=20)["cinder-api"], 190, "its volume of level 20",
                   "look at cinder-scheduler, cinder-volume")
            assert 1 == len(listed(plane, "cinder-api")["cinder-api"])
    await_all(lambda: travel("cinder-api"), 0)
    assert [] == listed(plane, "cinder-api")["cinder-api"]


def test_quota_and_policy(apis: Fleet, travel: Travel, plane: ControlPlane) -> None:
    """A full quota, and a policy that says no, are no fault of an API: 190; level 10 is 0.

    When both allow it again the monitor of level 20 is 0, without a restart.
    """
    def allow(most: int) -> None:
        for name, (path, what, limit) in QUOTAS.items():
            body = {what: {limit: most}}
            found = plane.as_admin(specs.service(name), "PUT", f"{path}/{project(plane)}", body)
            assert most == found[what][limit], name

    before = apis.masters(*MAKERS)
    allow(0)
    await_all(lambda: travel(*QUOTAS), 190, " answers 4", "may user member make", "quota)?")
    await_all(lambda: apis.monitor(*MAKERS), 0)
    allow(10)

    policies = {name: plane.config(specs.service(name)).with_name("policy.yaml") for name in RULES}
    for name, rule in RULES.items():
        policies[name].write_text(f'"{rule}": "!"\n')
    await_all(lambda: travel(*MAKERS), 190, " answers 403 to POST", "may user member make")
    await_all(lambda: apis.monitor(*MAKERS), 0)
    for policy in policies.values():
        policy.write_text("{}\n")
    await_all(lambda: travel(*MAKERS), 0)

    assert {name: [] for name in MAKERS} == listed(plane, *MAKERS)
    assert before == apis.masters(*MAKERS)


def test_keystone(apis: Fleet, plane: ControlPlane) -> None:
    """Keystone is 0, with a refused password 190, without its database 1, and 0 again."""
    keystone = apis["keystone"]
    plane.down("keystone")
    try:
        apis.serve("keystone")
        expect(keystone.resource.monitor(parameters={"os_password": "not-it"}), 190, "refuses")
        with plane.without_database("keystone"):
            expect(keystone.resource.monitor(), 1)
        eventually(lambda: codes(apis.monitor("keystone")) == {0}, PATIENCE)
        keystone.kill_master()
        eventually(lambda: codes(apis.act("monitor", "keystone")) == {7}, PATIENCE)
        expect_all(apis.act("start", "keystone", timeout=START), 0)
    finally:
        expect(keystone.resource.stop(), 0)
        plane.up("keystone")
    assert [] == keystone.pids()
