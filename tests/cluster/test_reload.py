"""Credentials are changed in the CIB, or kept out of it: the service runs on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.kit import PATIENCE, Group, unharmed
from harness import eventually
from lab.errors import LabError

pytestmark = pytest.mark.real

SECRETS = "/var/lib/pacemaker/lrm/secrets"
IN_SECRET = "lrm://"


def reloads(group: Group) -> int:
    """How often Pacemaker called reload-agent, by its own log; the CIB lists it as a start."""
    line = f"Requesting local execution of reload-agent operation for {group.name} on "
    log = group.cluster.path(group.node(), "/var/log/pacemaker/pacemaker.log")
    return log.read_text().count(line)


def secret_files(group: Group, node: str, parameter: str) -> list[Path]:
    folder = group.cluster.path(node, f"{SECRETS}/{group.name}")
    return [folder / parameter, folder / f"{parameter}.sign"]


def write_secret(group: Group, parameter: str, value: str) -> None:
    """Put a CIB secret on every node, as `cibsecret` does it."""
    sign = hashlib.md5(value.encode()).hexdigest()
    for node in group.cluster.nodes:
        for path, text in zip(secret_files(group, node, parameter), (value, sign)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
            path.chmod(0o600)


def remove_secret(group: Group, parameter: str) -> None:
    for node in group.cluster.nodes:
        for path in secret_files(group, node, parameter):
            path.unlink(missing_ok=True)


@contextmanager
def without_monitors(group: Group) -> Iterator[None]:
    """Keep Pacemaker from monitoring during several changes: it sees all of them at once.

    A monitor between the first and the last change would fail.
    """
    group.cluster.crm("configure", "property", "maintenance-mode=true")
    group.cluster.wait()
    yield
    group.cluster.crm("configure", "property", "maintenance-mode=false")


def test_new_password(glance_afresh: Group) -> None:
    """A password that changes in Keystone and in the CIB is reloaded; the same processes run on."""
    glance = glance_afresh
    calm = unharmed(glance)
    before = reloads(glance)
    with glance.cloud.password_of_monitor("another-password"):
        with pytest.raises(LabError, match="gives no token to monitor: 401"):
            glance.cloud.token()

        glance.set("os_password", "another-password")

        eventually(lambda: reloads(glance) > before, PATIENCE)
        glance.cluster.wait()
        glance.await_monitor(0)
        glance.await_monitors(2)
        glance.await_monitor(0)
        assert [0] == glance.codes("start", glance.node()), "so the CIB calls a reload"
        assert 200 == glance.get()
        calm()
    before = reloads(glance)
    glance.set("os_password", glance.cloud.credentials.password)
    eventually(lambda: reloads(glance) > before, PATIENCE)
    glance.cluster.wait()
    glance.await_monitor(0)
    assert [] == glance.failures()
    calm()


def test_new_password_after_a_refresh(glance: Group) -> None:
    """If the history begins with a probe, maintenance mode and a refresh avoid the restart.

    Pacemaker 2.1.5 keeps such a probe as the last failure, without the data that it needs for a
    reload. It is so after a refresh, a cleanup, a restart of Pacemaker, and a takeover.
    """
    node = glance.node()
    glance.cluster.crm("resource", "refresh", glance.name)
    glance.cluster.wait()
    assert [] == glance.history("start", node)
    calm = unharmed(glance)
    with glance.cloud.password_of_monitor("another-password"):
        glance.cluster.crm("configure", "property", "maintenance-mode=true")
        glance.set("os_password", "another-password")
        glance.cluster.crm("resource", "refresh", glance.name)
        glance.cluster.wait()
        glance.cluster.crm("configure", "property", "maintenance-mode=false")
        glance.cluster.wait()

        glance.await_monitor(0)
        assert [] == glance.failures()
        calm()
        glance.cluster.clear()  # with the password that is only valid here


def test_secret(glance_afresh: Group) -> None:
    """A password that is kept out of the CIB works; when it is missing, stop still works."""
    glance = glance_afresh
    calm = unharmed(glance)
    node = glance.node()
    password = glance.cloud.credentials.password
    write_secret(glance, "os_password", password)
    try:
        glance.set("os_password", IN_SECRET)
        glance.cluster.wait()
        glance.forget()  # the token, which came from the same password
        glance.await_monitors(2)
        glance.await_monitor(0)
        assert [] == glance.failures()
        calm()
        shown = glance.cluster.crm("configure", "show", glance.name).stdout
        assert f'os_password="{IN_SECRET}"' in shown
        assert password not in glance.cluster.exec(node, ["cibadmin", "--query"]).stdout

        with without_monitors(glance):
            remove_secret(glance, "os_password")
            glance.cluster.crm("resource", "stop", glance.group)
        glance.cluster.until(
            lambda status: status.resources[glance.name].role == "Stopped", timeout=PATIENCE
        )
        glance.cluster.wait()
        assert [0] == glance.codes("stop", node)
        assert [] == glance.nodes_with_daemon()
        assert [] == glance.failures()
        assert not glance.status().resources[glance.name].blocked

        write_secret(glance, "os_password", password)
        glance.cluster.crm("resource", "start", glance.group)
        glance.await_on(*glance.cluster.nodes)
        glance.await_settled()
        assert [] == glance.failures()
    finally:
        glance.set("os_password", password)
        remove_secret(glance, "os_password")
    glance.cluster.wait()


def test_secret_lost_while_it_runs(glance_afresh: Group) -> None:
    """A secret that is lost below a running service fails what needs it, and blocks nothing.

    Pacemaker itself fails the start; with the secret back on the nodes, cleaning up is enough.
    """
    glance = glance_afresh
    node = glance.node()
    password = glance.cloud.credentials.password
    write_secret(glance, "os_password", password)
    try:
        glance.set("os_password", IN_SECRET)
        glance.cluster.wait()
        with without_monitors(glance):
            remove_secret(glance, "os_password")
            place = f"location l_{glance.group} {glance.group} inf: {glance.other(node)}"
            glance.cluster.configure(place)  # for once not `move`, which fails in maintenance mode
        glance.await_failure("start", 2)
        glance.cluster.wait()
        failed = {(failure.operation, failure.code) for failure in glance.failures()}
        assert {("start", 2)} == failed
        assert glance.other(node) in {failure.node for failure in glance.failures()}
        assert [0] == glance.codes("stop", node)
        resource = glance.status().resources[glance.name]
        assert ("Stopped", False) == (resource.role, resource.blocked)

        write_secret(glance, "os_password", password)
        glance.cleanup()
        assert glance.other(node) == glance.await_on(glance.other(node))
        assert glance.other(node) == glance.await_settled()
    finally:
        glance.set("os_password", password)
        remove_secret(glance, "os_password")
    glance.cluster.wait()
