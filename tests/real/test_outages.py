"""Outages of the services that a real daemon depends on: the right one is named."""

from __future__ import annotations

import re
import time

import pytest

from harness import eventually, expect
from lab.openstack import ControlPlane
from real.kit import PATIENCE, SHORT, MakeReal, Real

pytestmark = pytest.mark.real

def token_requests(cloud: ControlPlane) -> int:
    """How many tokens Keystone was asked for, by its own log."""
    return len(re.findall(r"POST /v3/auth/tokens\b", cloud.log("keystone").read_text()))


def test_one_token_for_many_monitors(unharmed: Real, cloud: ControlPlane) -> None:
    """Keystone is asked for one token, however many monitors there are."""
    unharmed.meet_workers()  # then they have got their own tokens
    unharmed.forget_token()
    before = token_requests(cloud)

    for _ in range(5):
        expect(unharmed.resource.monitor(), 0)

    eventually(lambda: token_requests(cloud) > before, PATIENCE)
    assert before + 1 == token_requests(cloud)


def test_keystone_down_and_no_token(unharmed: Real, cloud: ControlPlane) -> None:
    """Without Keystone and without a token the daemon is not at fault: 190."""
    unharmed.forget_token()
    cloud.down("keystone")
    try:
        expect(unharmed.resource.monitor(), 190, "Keystone", "cannot be reached")
        ignored = unharmed.resource.monitor(parameters={"keystone_failure": "ignore"})
        expect(ignored, 0)
        failed = unharmed.resource.monitor(parameters={"keystone_failure": "fail"})
        expect(failed, 1, "Keystone", "cannot be reached")
    finally:
        cloud.up("keystone")


def test_keystone_down_and_a_token_that_the_workers_know(
    unharmed: Real, cloud: ControlPlane
) -> None:
    """Without Keystone, a token that the workers know is still accepted: 0."""
    unharmed.meet_workers()
    cloud.down("keystone")
    try:
        expect(unharmed.resource.monitor(), 0)
    finally:
        cloud.up("keystone")


def test_keystone_down_and_a_token_that_the_workers_do_not_know(
    unharmed: Real, cloud: ControlPlane
) -> None:
    """Without Keystone, workers that cannot verify a token are not at fault: 190."""
    unharmed.new_token()
    cloud.down("keystone")
    try:
        expect(unharmed.resource.monitor(), 190, "Keystone", "cannot be reached")
    finally:
        cloud.up("keystone")


def test_keystone_hangs_and_no_token(unharmed: Real, cloud: ControlPlane) -> None:
    """If Keystone accepts connections and gives no token: 190, and in time."""
    unharmed.forget_token()
    with cloud.frozen("keystone"):
        expect(unharmed.resource.monitor(timeout=SHORT), 190, "Keystone", "in time")


def test_keystone_hangs_and_a_token_that_the_workers_do_not_know(
    unharmed: Real, cloud: ControlPlane
) -> None:
    """If the workers wait for Keystone, and so the monitor for them: 190, and in time."""
    unharmed.new_token()
    with cloud.frozen("keystone"):
        expect(unharmed.resource.monitor(timeout=SHORT), 190, "Keystone", "in time")


def test_wrong_password(unharmed: Real) -> None:
    """A wrong password of the monitoring user is not the daemon's fault: 190."""
    wrong = {"os_password": "not-the-password"}

    result = expect(unharmed.resource.monitor(parameters=wrong), 190, "refuses user monitor")

    assert "not-the-password" not in result.stderr
    assert "not-the-password" not in unharmed.resource.state_file.read_text()


def test_new_password(unharmed: Real, cloud: ControlPlane) -> None:
    """A new password invalidates all tokens of its second: the daemon that refuses them is well."""
    eventually(lambda: time.time() % 1 < 0.1, PATIENCE)
    with cloud.password_of_monitor("another-password"):
        expect(unharmed.resource.monitor(parameters={"os_password": "another-password"}), 0)


def test_database_gone(unharmed: Real, cloud: ControlPlane) -> None:
    """A daemon without its database does not serve: 1; and 0 as soon as the database is back."""
    with cloud.without_database(unharmed.service):
        expect(unharmed.resource.monitor(), 1, "500")
        expect(unharmed.resource.monitor(level=0), 0)

    expect(unharmed.resource.monitor(), 0)


def test_database_hangs(make: MakeReal, cloud: ControlPlane) -> None:
    """A Glance whose MariaDB hangs, while Keystone is well, does not serve: 1, and in time."""
    glance = make("glance")
    before = cloud.settings.connection("glance")
    with ControlPlane.temporary(db="mysql") as other:
        other.up("db")
        cloud.set("glance", "database", "connection", other.settings.connection("glance"))
        try:
            glance.start()
            expect(glance.resource.monitor(), 0)
            with other.frozen("db"):
                expect(glance.verdict(timeout=SHORT), 1, "does not answer in time")
            eventually(lambda: glance.resource.monitor().code == 0, PATIENCE)
            expect(glance.resource.stop(), 0)
        finally:
            cloud.set("glance", "database", "connection", before)
