"""Python packages that are missing on a node: what needs them says so, and nothing else does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import expect
from lookalike.service import Service

MakeService = Callable[..., Service]


@pytest.fixture
def bare(tmp_path: Path) -> tuple[str, str]:
    """An interpreter with the standard library and nothing else."""
    subprocess.run(
        ["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    return str(tmp_path / "bare/bin/python3"), "-Es"


def test_nothing_starts_without_psutil(service: Service, bare: tuple[str, str]) -> None:
    """start without psutil says what to install, before it has started anything."""
    expect(service.start(prefix=bare), 5, "psutil", "python3-psutil")
    assert service.pids() == []


def test_validate_without_packages(make_service: MakeService, bare: tuple[str, str]) -> None:
    """validate-all names the package that the credentials need."""
    service = make_service(credentials=True)
    expect(service.call("validate-all", prefix=bare, level=0), 0)
    expect(service.call("validate-all", prefix=bare), 5, "python3-")


def test_running_service_is_left_alone(make_service: MakeService, bare: tuple[str, str]) -> None:
    """A package that has gone is no fault of the service: 190, and the process level says 0."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(prefix=bare), 190, "python3-requests")
    service.state_file.unlink()
    expect(service.monitor(prefix=bare), 190, "python3-psutil")
    expect(service.monitor(prefix=bare, level=0), 0)
    expect(service.probe(prefix=bare), 0)


def test_stop_needs_no_package(service: Service, bare: tuple[str, str]) -> None:
    """stop ends all with the standard library alone."""
    expect(service.start(), 0)
    expect(service.stop(prefix=bare), 0)
    assert service.gone()
    expect(service.monitor(prefix=bare), 7)
