"""The newest Glance and Cinder, in the virtual environment that all labs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lab import release, seed
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.settings import NEWEST, NEWEST_ENVIRONMENT

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _prerequisites(need_packages: Callable[[Iterable[str], str], None]) -> None:
    need_packages(
        seed.packages("sqlite", NEWEST),
        "python3 -m lab.openstack install --release newest",
    )


def test_newest_services_serve_with_debians_keystone() -> None:
    """A lab of the newest release has its services from the environment, and Debian's Keystone."""
    with ControlPlane.temporary(release=NEWEST) as cloud:
        cloud.up()
        token = cloud.token()

        assert 200 == cloud.server("glance").get("/v2/images?limit=1", token=token).status
        assert 200 == cloud.server("cinder").get("/v3/volumes?limit=1", token=token).status
        assert 401 == cloud.server("glance").get("/v2/images?limit=1", token="wrong").status
        for service in ("keystone", "glance", "cinder"):
            command = Path(f"/proc/{cloud.pids(service)[0]}/cmdline").read_text()
            assert (service != "keystone") == (f"--virtualenv={NEWEST_ENVIRONMENT}" in command)
        again = ControlPlane(cloud.directory)
        assert NEWEST == again.settings.release, "it is not remembered"
        assert [] != again.pids("glance")


def test_environment_is_made_once() -> None:
    """An environment that exists is used as it is."""
    known = release.find()
    made = NEWEST_ENVIRONMENT.stat().st_mtime_ns

    assert known == release.find()
    assert {"glance", "cinder"} == {*known}
    assert made == NEWEST_ENVIRONMENT.stat().st_mtime_ns


def test_what_is_missing_is_added(tmp_path: Path) -> None:
    """An environment that lacks what is asked for gets it, and keeps what it has."""
    environment = tmp_path / "newest"
    assert {"pip"} == {*release.find(environment, ("pip",))}
    (environment / "kept").touch()

    assert {"pip", "setuptools"} == {*release.find(environment, ("pip", "setuptools>=1"))}
    assert {"pip"} == {*release.find(environment, ("pip",))}
    assert (environment / "kept").exists()


def test_pip_that_fails(tmp_path: Path) -> None:
    """A failure of pip is reported with its last words; the environment is not complete then."""
    for _ in range(2):
        with pytest.raises(LabError, match="-m pip .* failed with 1") as failed:
            release.find(tmp_path / "newest", ("not a name",))
        assert "not a name" in str(failed.value)


def test_unknown_release() -> None:
    """An unknown release is refused before anything is done."""
    with pytest.raises(LabError, match="no such release: train"):
        ControlPlane("/nowhere", release="train")
