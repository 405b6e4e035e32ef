"""A real daemon that hangs, has lost its master, or cannot start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness import eventually, expect
from lab import declared, netns, process, specs
from lab.openstack import ControlPlane
from real.kit import PATIENCE, SHORT, MakeReal, Real, also

pytestmark = pytest.mark.real

@contextmanager
def stranger(cloud: ControlPlane, port: int) -> Iterator[None]:
    """Listen on the daemon's port, and serve nothing."""
    with netns.inside(cloud.namespace):
        listener = socket.create_server(("127.0.0.1", port))
    with listener:
        yield


def test_orphaned_workers(make: MakeReal) -> None:
    """Workers that outlive Glance's master are a failure, and stop leaves none of them."""
    glance = make("glance").start()
    workers = glance.pids()[1:]

    glance.kill_master()

    assert 300 == glance.get().status, "the workers answer, as they always did"
    expect(glance.resource.monitor(), 1, "master process is gone")
    expect(glance.resource.probe(), 1, "master process is gone")
    assert workers == glance.pids()
    expect(glance.resource.stop(), 0)
    assert [] == glance.pids()
    assert glance.refused()
    expect(glance.resource.monitor(), 7)


def test_orphaned_workers_are_ended_by_start(make: MakeReal) -> None:
    """A start finds the port held by workers of an earlier run, ends them, and serves."""
    glance = make("glance").start()
    workers = set(glance.pids()[1:])
    glance.kill_master()

    expect(glance.resource.start(), 0)

    assert not workers & set(glance.pids())
    expect(glance.resource.monitor(), 0)


@pytest.mark.parametrize("which", ["cinder", "glance-uwsgi", "cinder-debian"])
def test_workers_that_end_with_their_master(make: MakeReal, which: str) -> None:
    """Workers of Cinder, and of every uWSGI, end with their master: then monitor is 7."""
    real = make(which).start()

    real.kill_master()

    # A process that is just ending has no environment any more, but still exists.
    eventually(lambda: not real.pids() and real.resource.monitor().code == 7, PATIENCE)
    expect(real.resource.stop(), 0)


@also("cinder-uwsgi")
def test_hung_workers(real: Real) -> None:
    """Workers that hang are found by the API check, and stop ends them within its time."""
    real.start()
    expect(real.resource.monitor(), 0)
    process.freeze(real.family()[1:])

    expect(real.verdict(timeout=SHORT), 1, "does not answer in time")
    expect(real.resource.monitor(level=0), 0)
    expect(real.resource.stop(timeout=20), 0)

    assert [] == real.pids()
    assert real.refused()


@also("glance-uwsgi")
def test_hung_master_and_workers(real: Real) -> None:
    """A daemon of which every process hangs is stopped within the time of stop."""
    real.start()
    process.freeze(real.family())

    expect(real.resource.stop(timeout=20), 0)

    assert [] == real.pids()
    assert real.refused()


def test_no_configuration(real: Real) -> None:
    """A missing configuration is named by its path; stop and probe do not need it."""
    real.resource.parameters["config"] = "/etc/no-such-file.conf"

    expect(real.resource.start(), 5, "config=/etc/no-such-file.conf does not exist")
    expect(real.resource.probe(), 7)
    expect(real.resource.stop(), 0)


@pytest.mark.parametrize("which", ["cinder", "cinder-uwsgi", "cinder-debian"])
def test_broken_configuration(make: MakeReal, cloud: ControlPlane, which: str) -> None:
    """A daemon that ends because of its configuration is reported at once, with its last words."""
    cinder = make(which)
    cinder.resource.parameters["config"] = cloud.variant(
        "cinder", "broken", log_file="", api_paste_config="/etc/nope.ini"
    )
    if which == "cinder-debian":  # whose log is shared by all daemons on this machine
        log = cinder.resource.parameters["log_file"]
        cinder.resource.parameters["additional_parameters"] = f"--logto={log}"

    result = cinder.resource.start()

    expect(result, 1, "cinder-api ended with", "nope.ini")
    assert [] == cinder.pids()


@also("cinder-uwsgi")
def test_port_taken(real: Real, cloud: ControlPlane) -> None:
    """If another process has the port, start fails and says so, and that process is left alone."""
    real.resource.parameters["config"] = cloud.variant(real.service, "taken", log_file="")
    port = specs.port(real.service)

    with stranger(cloud, port):
        if real.service == "glance":
            # Glance tries for 30 s before it logs anything: meanwhile this is true.
            # (On a busy machine the reason has only the process's user: its pid takes a search.)
            words = ["did not get ready: listens on no TCP port", f"{port} is held by "]
            expect(real.resource.start(timeout=20), 1, *words)
        else:
            # Cinder gives up as soon as it has loaded, which is slow on a busy machine.
            expect(real.resource.start(), 1, "ended with 1 at start", "Address already in use")
        assert [] == real.pids()
        assert not real.refused()
    expect(real.resource.monitor(), 7)


@also("cinder-uwsgi")
def test_port_shared(real: Real, make: MakeReal) -> None:
    """A second resource on one port does not start, although eventlet allows it: SO_REUSEPORT."""
    real.start()
    before = real.pids()

    second = make(f"{real.service}-{real.server}")
    words = ["is shared with pid", "not of this resource"]
    expect(
        second.resource.start(), 1,
        *(words if real.server == "standalone" else ["Address already in use"]),
    )  # fmt: skip

    assert [] == second.pids()
    assert before == real.pids()
    expect(real.resource.monitor(), 0)


@also("cinder-uwsgi")
def test_address_of_another_node(real: Real, cloud: ControlPlane) -> None:
    """If this node does not have the address to listen on, the daemon ends, and start says so."""
    option = declared.daemon(real.resource.agent.name).uwsgi.listen[0]
    real.resource.parameters["config"] = cloud.variant(
        real.service, "elsewhere", **{option: "192.0.2.1", "log_file": ""}
    )

    # On a busy machine a daemon has not even loaded after 30 s.
    result = real.resource.start(timeout=PATIENCE)

    expect(result, 1, "ended with", "annot assign requested address")
    assert [] == real.pids()
