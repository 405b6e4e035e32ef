"""The newest Glance and Cinder, in a virtual environment under Debian's uWSGI, with Keystone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness import eventually, expect
from lab import specs
from lab.openstack import ControlPlane
from lab.settings import NEWEST, NEWEST_ENVIRONMENT
from real.kit import PATIENCE, MakeReal, ocf_tester

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def cloud(_prerequisites: None) -> Iterator[ControlPlane]:
    """A lab of the newest release, with Keystone and nothing else running."""
    with ControlPlane.temporary(release=NEWEST) as cloud:
        cloud.up("keystone")
        yield cloud


def program(name: str) -> str:
    return str(NEWEST_ENVIRONMENT / "bin" / name)


@pytest.mark.parametrize("which", ["glance-newest", "cinder-newest"])
def test_from_stopped_to_stopped(make: MakeReal, cloud: ControlPlane, which: str) -> None:
    """The newest release is started, monitored, also without database, and stopped like others."""
    real = make(which)
    resource = real.resource

    expect(resource.call("validate-all"), 0)
    expect(resource.probe(), 7)
    real.start()
    assert {specs.port(real.service)} == real.listeners()
    assert {"uwsgi-core"} == real.running()
    expect(resource.start(), 0)
    expect(resource.monitor(), 0)
    assert real.state()["checks"]["api"]["token"]
    expect(resource.monitor(parameters={"os_password": "not-it"}), 190, "Keystone refuses")
    with cloud.without_database(real.service):
        expect(resource.monitor(), 1, "500")
    eventually(lambda: resource.monitor().code == 0, PATIENCE)
    expect(resource.stop(), 0)
    assert [] == real.pids()
    assert real.refused()
    expect(resource.monitor(), 7)


def test_glance_has_no_standalone_server(make: MakeReal) -> None:
    """The newest Glance has no standalone server: 5, and the reason says what to set."""
    glance = make("glance")
    glance.resource.parameters["binary"] = program("glance-api")

    expect(glance.resource.start(), 5, "no standalone server", "set server=uwsgi")
    expect(glance.resource.monitor(), 7)
    expect(glance.resource.stop(), 0)


def test_cinder_has_a_standalone_server(make: MakeReal) -> None:
    """Standalone, the newest Cinder is started, monitored and stopped."""
    cinder = make("cinder")
    cinder.resource.parameters["binary"] = program("cinder-api")

    cinder.start()

    expect(cinder.resource.monitor(), 0)
    expect(cinder.resource.stop(), 0)
    expect(cinder.resource.monitor(), 7)


@pytest.mark.parametrize("which", ["glance-newest", "cinder-newest"])
def test_ocf_tester_passes(
    make: MakeReal, which: str, need: Callable[[str, str], str]
) -> None:
    """ocf-tester passes."""
    ocf_tester(make(which), need)
