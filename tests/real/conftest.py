"""The agents, installed, with the real daemons against the real Keystone, in a lab of their own.

The lab is one for the whole run: a namespace with Keystone. Each test starts what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness import eventually, start_of
from lab import agents, netns, seed
from lab.openstack import ControlPlane
from real.fleet import Fleet, fleet
from real.kit import PATIENCE, MakeReal, Patient, Real, served_by
from real.promises import Kinds


@pytest.fixture(scope="session", autouse=True)
def _prerequisites(need_packages: Callable[[Iterable[str], str], None]) -> None:
    need_packages(
        [*seed.packages("mysql"), "python3-keystoneauth1"],
        "python3 -m lab.openstack install --db mysql",
    )


@pytest.fixture(scope="session")
def home(_prerequisites: None) -> Iterator[Path]:
    """The folder with the installed agents."""
    with agents.installed() as home:
        yield home


@pytest.fixture(scope="session")
def cloud(_prerequisites: None) -> Iterator[ControlPlane]:
    """The lab, with Keystone and nothing else running."""
    with ControlPlane.temporary() as cloud:
        cloud.up("keystone")
        yield cloud


@pytest.fixture(scope="module")
def glance_cloud(_prerequisites: None) -> Iterator[ControlPlane]:
    """A lab of the module's own: with Keystone and Glance, which listens on all addresses."""
    bind = {"keystone": "127.0.0.1", "glance": "0.0.0.0", "cinder": "127.0.0.1"}
    with ControlPlane.temporary(bind=bind, workers=1) as cloud:
        cloud.up("keystone", "glance")
        yield cloud


@pytest.fixture(scope="module")
def kinds(request: pytest.FixtureRequest) -> Kinds:
    """What the workers of a module depend on: its KINDS."""
    found: Kinds = request.module.KINDS
    return found


@pytest.fixture(scope="module")
def workers(
    plane: ControlPlane, kinds: Kinds, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """The workers of a module in its own lab, `plane`, stopped at first."""
    with fleet(plane, home, tmp_path_factory.mktemp("workers"), kinds.all) as workers:
        yield workers


@pytest.fixture(scope="module")
def apis(
    request: pytest.FixtureRequest, plane: ControlPlane, home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """The APIs of a module, its APIS, in its own lab, stopped at first."""
    with fleet(plane, home, tmp_path_factory.mktemp("apis"), request.module.APIS) as apis:
        yield apis


@pytest.fixture(scope="module")  # a module may have a lab of its own
def build(cloud: ControlPlane, home: Path) -> Callable[[str, Path], Real]:
    """Makes a resource with the monitoring user's credentials; starts nothing.

    Its argument is SERVICE or SERVICE-SERVER, as glance or glance-uwsgi.
    """

    def build(which: str, folder: Path, **options: Any) -> Real:
        service, _, server = which.partition("-")
        server = server or "standalone"
        user = cloud.credentials
        name = f"{service}-api"
        resource = Patient(home / name, folder, prefix=netns.argv(cloud.namespace, ()), **options)
        resource.parameters = {
            "config": cloud.config(service),
            "log_file": cloud.log(service).with_name(f"{resource.name}.log"),
            "os_auth_url": user.auth_url,
            "os_username": user.username,
            "os_password": user.password,
            "os_project_name": user.project_name,
            **served_by(server, service),
        }
        return Real(resource, cloud, service, server)

    return build


@pytest.fixture
def make(build: Callable[..., Real], folder: Path) -> Iterator[MakeReal]:
    """Makes resources, which are ended with the test; they share nothing."""
    with ExitStack() as stack:

        def make(which: str, **options: Any) -> Real:
            real = build(which, folder, **options)
            stack.enter_context(real.resource)
            return real

        yield make


@pytest.fixture(params=agents.SERVICES)
def real(request: pytest.FixtureRequest, make: MakeReal) -> Real:
    """Each agent, its daemon stopped; see also() for further servers."""
    return make(request.param)


# Cinder is the last, so that tests of a module that start a Glance of their own find its port free.
@pytest.fixture(params=["glance", "glance-uwsgi", "cinder"], scope="module")
def serving(
    request: pytest.FixtureRequest,
    build: Callable[..., Real],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Real]:
    """Each agent, its daemon serving: the same one for all tests of a module."""
    real = build(request.param, tmp_path_factory.mktemp("serving"))
    with real.resource:
        # A stopped worker of several may hold the lock under which all wait for requests.
        yield real.have_loaded().start()


@pytest.fixture
def unharmed(serving: Real) -> Iterator[Real]:
    """A daemon that must be the same after the test as before: it was not restarted."""
    eventually(lambda: serving.resource.monitor().code == 0, PATIENCE)
    master = serving.master()
    before = (master.pid, start_of(master.pid))
    yield serving
    # A Keystone that was just started may be late on a busy machine.
    eventually(lambda: serving.resource.monitor().code == 0, PATIENCE)
    assert before == (serving.master().pid, start_of(serving.master().pid))
