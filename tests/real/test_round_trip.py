"""A monitor of level 20 with a real Glance: an image goes in, comes back, and is deleted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agentlib.check import TAG
from agentlib.roundtrip import head
from harness import Result, expect
from lab.openstack import ControlPlane
from real.kit import MakeReal, Real

pytestmark = pytest.mark.real


def as_administrator(real: Real) -> Real:
    """The same, with an administrator as the monitor's user: who may make images."""
    admin = real.cloud.admin
    real.resource.parameters.update(
        os_username=admin.username, os_password=admin.password,
        os_project_name=admin.project_name)
    return real


@pytest.fixture
def real(make: MakeReal) -> Real:
    """Glance, serving; the monitor's user is the administrator."""
    return as_administrator(make("glance")).start()


def monitor(real: Real, **more: Any) -> Result:
    return real.resource.monitor(level=20, **more)


def call(cloud: ControlPlane, method: str, path: str, body: object = None) -> Any:
    return cloud.as_admin("glance", method, path, body)


def folder(real: Real) -> Path:
    return Path(real.cloud.settings.home("glance")) / "images"


def kept(real: Real) -> tuple[set[str], set[str]]:
    """The ids of all images, and the files in the store: the lab's other tests may have some."""
    found = call(real.cloud, "GET", "/v2/images?limit=1000")["images"]
    return {one["id"] for one in found}, {path.name for path in folder(real).iterdir()}


def test_round_trip(real: Real) -> None:
    """The monitor is 0, and leaves nothing; images of a killed monitor are swept."""
    before = kept(real)
    expect(monitor(real), 0)
    assert before == kept(real)

    name = f"{head(real.resource.tag)}-1-abcd"
    made = {}
    for one in (name, "mine"):
        made[one] = call(real.cloud, "POST", "/v2/images", {
            "name": one, "tags": [TAG], "disk_format": "raw", "container_format": "bare"})["id"]
    try:
        expect(monitor(real), 0)
        images, files = before
        assert ({*images, made["mine"]}, files) == kept(real)
    finally:
        call(real.cloud, "DELETE", f"/v2/images/{made['mine']}")


def test_quota_and_policy(make: MakeReal) -> None:
    """A full quota, and a policy that says no, are no fault of the API: 190; level 10 is 0."""
    real = as_administrator(make("glance"))
    cloud, user = real.cloud, real.cloud.credentials
    real.resource.parameters["config"] = cloud.variant("glance", "full", user_storage_quota="1KB")
    real.start()
    before = kept(real)
    expect(real.resource.monitor(), 0)
    expect(monitor(real), 190, "413 to PUT", f"may user {cloud.admin.username} make", "quota)?")
    assert before == kept(real)

    reader = {"os_username": user.username, "os_password": user.password,
              "os_project_name": user.project_name}
    policy = cloud.config("glance").with_name("policy.yaml")
    policy.write_text('"add_image": "role:member"\n')  # as newer releases have it
    try:
        expect(real.resource.monitor(parameters=reader), 0)
        expect(monitor(real, parameters=reader), 190, "403 to POST",
               f"may user {user.username} make images")
    finally:
        policy.unlink()


def test_no_credentials(real: Real) -> None:
    """Without credentials the reason says what is missing."""
    nothing = dict.fromkeys(("os_username", "os_password", "os_project_name", "os_auth_url"), "")
    expect(monitor(real, parameters=nothing), 190, "level 20 needs os_username")


def test_a_store_that_takes_nothing(real: Real) -> None:
    """A store that cannot be written to is no fault of the API: 190, while level 10 is well."""
    place = folder(real)
    before, images = place.stat(), kept(real)
    os.chown(place, 0, 0)
    place.chmod(0o555)
    try:
        expect(real.resource.monitor(), 0)
        result = monitor(real)
    finally:
        os.chown(place, before.st_uid, before.st_gid)
        place.chmod(before.st_mode & 0o7777)
    assert (190, True) == (result.code, "store" in result.stderr), result
    assert images == kept(real)
    expect(monitor(real), 0)
