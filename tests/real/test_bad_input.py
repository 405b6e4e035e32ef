"""Workers whose configuration is unsound, against the real RabbitMQ: a clear reason at start.

A start that fails is not tried again on the same node (Pacemaker's start-failure-is-fatal), so that
a mistake that start finds makes no loop of restarts.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import eventually, expect
from lab import config, netns, process
from lab.openstack import ControlPlane
from lab.services import connected, running
from lab.settings import RABBIT, RABBIT_PORT
from real.fleet import START, Fleet, NeedPackages, Results, expect_all, fleet, whole_plane
from real.kit import PATIENCE

pytestmark = pytest.mark.real

SECRET = "wr0ng-battery"
SERVER = f"127.0.0.1:{RABBIT_PORT}"
USER = "RabbitMQ refuses user or password of transport_url"
HOST = "RabbitMQ refuses the virtual host of transport_url"
REFUSED = {
    "cinder-scheduler": (f"rabbit://guest:{SECRET}@{SERVER}/", USER),
    "heat-engine": (f"rabbit://guest:guest@{SERVER}/no-such", HOST),
    "manila-scheduler": (f"rabbit://nobody:{SECRET}@{SERVER}/", USER),
}
"""A password, a virtual host and a user that RabbitMQ does not know, and words of the reasons."""

TLS_PORT = 5671
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Certificate authorities, none of which has signed the tests' certificate."""

UNUSUAL = {
    "cinder-scheduler": f"rabbit://guest:guest@127.0.0.1:3,guest:guest@{SERVER}/",
    "manila-scheduler": f"rabbit://guest:guest@$my_ip:{RABBIT_PORT}/",
    "heat-engine": f"rabbit://guest:guest@{SERVER}/?rabbit_retry_interval=1",
}
"""Several servers, the first of them dead; a reference; a query."""


@pytest.fixture(scope="module")
def plane(need_packages: NeedPackages, _prerequisites: None) -> Iterator[ControlPlane]:
    """A lab with all projects, in which only database and RabbitMQ run."""
    with whole_plane(need_packages, "db", "rabbit") as plane:
        yield plane


@pytest.fixture(scope="module")
def workers(
    plane: ControlPlane, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Some workers, stopped."""
    with fleet(plane, home, tmp_path_factory.mktemp("workers"), REFUSED) as workers:
        yield workers


def start(
    workers: Fleet, plane: ControlPlane, name: str, urls: Mapping[str, str]
) -> Results:
    """Start all workers, each with its own transport_url. name: of these configurations."""
    begun = {}
    for worker, url in urls.items():
        config = plane.variant(worker, f"{worker}-{name}", transport_url=url, my_ip="127.0.0.1")
        workers[worker].resource.parameters["config"] = config
        expect(workers[worker].resource.call("validate-all"), 0)
        begun[worker] = workers[worker].resource.begin("start", timeout=START)
    return Results(workers, {worker: action.wait() for worker, action in begun.items()})


def test_refused_by_rabbitmq(workers: Fleet, plane: ControlPlane) -> None:
    """A worker that RabbitMQ refuses does not start: 1, with the refused option; none is left."""
    urls = {worker: url for worker, (url, _) in REFUSED.items()}
    for worker, result in start(workers, plane, "refused", urls).items():
        expect(result, 1, f"{worker} ended", REFUSED[worker][1])
        assert SECRET not in result.stdout + result.stderr
        assert SECRET not in workers[worker].resource.log.read_text()
    assert {} == workers.left()
    expect_all(workers.act("monitor"), 7)


def test_unusual_urls(workers: Fleet, plane: ControlPlane) -> None:
    """With several servers, the first of them dead, a reference, or a query, a worker is well."""
    expect_all(start(workers, plane, "unusual", UNUSUAL), 0)
    expect_all(workers.monitor(), 0)
    assert all(connected(member.family()) for member in workers.members.values())
    expect_all(workers.act("stop", timeout=120), 0)


@pytest.fixture
def listening(plane: ControlPlane, certificate: Path) -> None:
    """RabbitMQ listens for TLS as well, from now on."""
    listen = (
        f"rabbit_networking:start_ssl_listener({TLS_PORT}, "
        f'[{{certfile,"{certificate}"}},{{keyfile,"{certificate}"}}], 1).'
    )
    environ = Path(f"/proc/{running(plane.settings, RABBIT)[0].pid}/environ").read_text()
    with netns.inside(plane.namespace):
        subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", "eval", listen],
            check=True,
            env=dict(word.split("=", 1) for word in environ.split("\0") if word),
            stdin=subprocess.DEVNULL,
            **process.as_user("rabbitmq"),
        )


def test_tls(workers: Fleet, plane: ControlPlane, certificate: Path, listening: None) -> None:
    """A worker that reaches RabbitMQ by TLS is well; if it does not trust the certificate, start is
    1, and says so."""
    name = "cinder-scheduler"
    scheduler = workers[name].resource
    url = f"rabbit://guest:guest@127.0.0.1:{TLS_PORT}/"
    scheduler.parameters["config"] = path = plane.variant(name, f"{name}-tls", transport_url=url)
    config.change(path, "oslo_messaging_rabbit", "ssl", "true")
    config.change(path, "oslo_messaging_rabbit", "ssl_ca_file", AUTHORITIES)
    expect(scheduler.start(timeout=90), 1, "certificate verify failed")
    assert {} == workers.left()
    config.change(path, "oslo_messaging_rabbit", "ssl_ca_file", str(certificate))
    expect(scheduler.start(timeout=START), 0)
    expect(scheduler.monitor(), 0)
    expect(scheduler.stop(timeout=120), 0)


def test_half_installed(workers: Fleet, plane: ControlPlane) -> None:
    """Without its program a worker is not installed: 5. Without a module of it, start is 1, and
    names the module."""
    engine = workers["heat-engine"].resource
    missing = {"binary": "/usr/bin/no-such-engine"}
    expect(engine.start(parameters=missing), 5, "binary=/usr/bin/no-such-engine")
    expect(engine.call("validate-all", parameters=missing), 5, "binary=/usr/bin/no-such-engine")

    half = Path("/usr/bin/heat-engine").read_text()
    assert "from heat.cmd.engine import" in half
    program = plane.settings.directory / "heat-engine"  # its users can look into it
    program.write_text(half.replace("heat.cmd.engine", "heat.cmd.no_such"))
    program.chmod(0o755)
    result = engine.start(parameters={"binary": program}, timeout=START)
    expect(result, 1, "ModuleNotFoundError: No module named 'heat.cmd.no_such'")
    assert {} == workers.left()


def test_two_of_one_host(
    plane: ControlPlane, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two resources with the same host each know their own process, and stop ends no other."""
    folder = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(fleet(plane, home, folder, ["cinder-volume"])) for _ in range(2)
        )
        one.serve()
        expect_all(other.act("monitor"), 7)
        other.serve()
        before = one.masters()
        assert before != other.masters()
        expect_all(other.act("stop", timeout=120), 0)
        eventually(lambda: not other.left(), PATIENCE)
        expect_all(one.monitor(), 0)
        assert before == one.masters()
