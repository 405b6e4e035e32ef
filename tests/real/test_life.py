"""The life cycle of a real daemon: start, monitor, stop, and actions of an operator."""

from __future__ import annotations

import os
import pwd
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness import INTERPRETERS, eventually, expect
from lab import config, netns, specs
from lab.openstack import ControlPlane
from real.kit import PATIENCE, MakeReal, Real, also

pytestmark = pytest.mark.real


@pytest.mark.parametrize("service", ["glance", "cinder"])
@pytest.mark.parametrize(
    ("server", "interpreter"),
    [*(("standalone", name) for name in INTERPRETERS), ("uwsgi", "debian"), ("debian", "debian")],
)
def test_from_stopped_to_stopped(
    make: MakeReal, cloud: ControlPlane, service: str, server: str, interpreter: str
) -> None:
    """Stopped, started twice, monitored, stopped twice: each code is right, on either Python."""
    real = make(f"{service}-{server}", interpreter=interpreter)
    resource = real.resource

    expect(resource.probe(), 7)
    expect(resource.start(), 0)
    assert {specs.port(service)} == real.listeners()
    assert ("uwsgi-core" in real.running()) == (server != "standalone")
    assert 300 == real.get().status
    before = real.pids()
    expect(resource.start(), 0)
    expect(resource.probe(), 0)
    expect(resource.monitor(), 0)
    expect(resource.monitor(level=0), 0)
    expect(resource.monitor(parameters={"os_password": "not-it"}), 190, "Keystone refuses")
    with cloud.without_database(service):
        expect(resource.monitor(), 1, "500")
    expect(resource.monitor(), 0)
    assert before == real.pids()
    expect(resource.stop(), 0)
    assert real.refused()
    assert [] == resource.processes()
    expect(resource.stop(), 0)
    expect(resource.monitor(), 7)


@also("glance-uwsgi", "cinder-uwsgi")
def test_output_goes_to_the_log_file_and_no_secret_anywhere(real: Real) -> None:
    """The log file is the daemon's user's; no password is in it, in the state or a process."""
    log = Path(str(real.resource.parameters["log_file"]))
    real.start()
    expect(real.resource.monitor(), 0)

    assert pwd.getpwnam(real.cloud.settings.users[real.service]).pw_uid == log.stat().st_uid
    assert 0o640 == log.stat().st_mode & 0o777
    output = {os.readlink(f"/proc/{real.master().pid}/fd/{number}") for number in (1, 2)}
    assert {str(log)} == output
    secret = str(real.resource.parameters["os_password"]).encode()
    places = [path for path in real.resource.rsctmp.rglob("*") if path.is_file()]
    for pid in real.pids():
        places += [Path(f"/proc/{pid}/environ"), Path(f"/proc/{pid}/cmdline")]
    places += [log, real.resource.log]
    assert real.resource.state_file in places
    assert [] == [path for path in places if secret in path.read_bytes()]


@pytest.mark.parametrize("which", ["glance", "glance-uwsgi", "cinder-debian"])
def test_hup_is_no_failure(make: MakeReal, which: str) -> None:
    """After HUP there are new workers under the same master, and the monitor finds it serving.

    Debian's configuration of uWSGI would end the master.
    """
    real = make(which)
    real.have_loaded().start()
    master, workers = real.master(), set(real.pids()[1:])

    real.signal_master(signal.SIGHUP)
    eventually(lambda: len(pids := real.pids()) > 1 and not workers & {*pids}, PATIENCE)

    # New workers of uWSGI have the socket, but load the service for longer than a monitor waits.
    eventually(real.serves, PATIENCE)
    expect(real.resource.monitor(), 0)
    assert master == real.master()


def test_hup_to_another_port(make: MakeReal, cloud: ControlPlane) -> None:
    """A Glance that moves to another port at HUP is asked there, and its old port is not asked.

    It closes its socket, and opens another. Any process may listen at the old port.
    """
    glance = make("glance").start()
    expect(glance.resource.monitor(), 0)
    left, workers = cloud.server("glance"), set(glance.pids()[1:])
    elsewhere = left.port + 1
    cloud.set("glance", "DEFAULT", "bind_port", str(elsewhere))
    try:
        glance.signal_master(signal.SIGHUP)
        eventually(lambda: not workers & {*glance.pids()} and glance.serves(), PATIENCE)
        with netns.inside(cloud.namespace):
            stranger = socket.create_server((left.address, left.port))
        with stranger:
            stranger.setblocking(False)

            expect(glance.resource.monitor(), 0)

            learned = glance.state()["checks"]["address"]["url"]
            assert f"http://{left.address}:{elsewhere}" == learned
            assert {elsewhere} == glance.listeners()
            with pytest.raises(BlockingIOError):  # no connection has come
                stranger.accept()
        expect(glance.resource.stop(), 0)
        assert glance.refused()
    finally:
        cloud.set("glance", "DEFAULT", "bind_port", str(left.port))


@also("glance-uwsgi")
def test_ended_by_somebody_else(real: Real) -> None:
    """A daemon that was ended by a TERM, not by the agent, is not running: 7, no failure."""
    real.have_loaded().start()

    real.signal_master(signal.SIGTERM)

    # A process that is just ending has no environment any more, but still exists.
    eventually(lambda: not real.pids() and real.resource.monitor().code == 7, PATIENCE)
    expect(real.resource.stop(), 0)
    expect(real.start().resource.monitor(), 0)


@also("cinder-debian")
def test_lost_state_and_pidfile(real: Real) -> None:
    """A daemon whose state and pidfile are lost is found, checked and stopped."""
    real.start()
    real.resource.state_file.unlink()
    real.resource.pidfile.unlink()

    expect(real.resource.monitor(), 0)
    assert real.master().pid == int(real.resource.pidfile.read_text())
    expect(real.resource.stop(), 0)
    assert real.refused()


def test_taken_over_from_the_shell_agent(real: Real) -> None:
    """A daemon that the HA guide's shell agent started runs on under ours, and ours stops it."""
    resource, user = real.resource, real.cloud.settings.users[real.service]
    daemon = f"{real.service}-api --config-file {resource.parameters['config']}"
    inner = shlex.quote(f"{daemon}  >> /dev/null 2>&1 & echo $!")
    subprocess.run(
        [*resource.prefix, "sh", "-c", f"su {user} -s /bin/sh -c {inner} > {resource.pidfile}"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OCF_RESOURCE_INSTANCE": resource.name},
        check=True,
    )
    pid = int(resource.pidfile.read_text())
    eventually(lambda: not real.refused(), PATIENCE)

    expect(resource.probe(), 0)
    expect(resource.start(), 0)
    expect(resource.monitor(), 0)
    assert pid == int(resource.pidfile.read_text()) == real.state()["pid"]
    assert Path(f"/proc/{pid}").exists()
    expect(resource.stop(), 0)
    assert real.refused()
    expect(resource.monitor(), 7)


def test_nobody_has_a_role(make: MakeReal, cloud: ControlPlane) -> None:
    """A Glance that does not authenticate users, but asks for roles, forbids all requests: 190.

    This is so without a flavor if policies ask for roles, the default of later releases.
    """
    glance = make("glance")
    # Debian 12's release needs all three; later releases do not have the last.
    file = cloud.variant("glance", "roles", enforce_secure_rbac="true")
    glance.resource.parameters["config"] = file
    config.change(file, "paste_deploy", "flavor", "")
    for option in ("enforce_new_defaults", "enforce_scope"):
        config.change(file, "oslo_policy", option, "true")

    glance.start()

    expect(glance.resource.monitor(), 190, "forbids", "403")
    expect(glance.resource.monitor(level=0), 0)


def test_spelling_of_the_guide(real: Real) -> None:
    """Parameters as in the HA guide, with /v2.0/, lead to Keystone v3."""
    parameters = real.resource.parameters
    root = str(parameters["os_auth_url"]).rpartition("/")[0]
    url = {"glance": "os_auth_url", "cinder": "keystone_get_token_url"}[real.service]
    del parameters["os_auth_url"]
    parameters[url] = root + {"glance": "/v2.0/", "cinder": "/v2.0/tokens"}[real.service]
    parameters["os_tenant_name"] = parameters.pop("os_project_name")

    expect(real.start().resource.monitor(), 0)

    assert real.state()["checks"]["api"]["token"]
