"""Python packages that are missing or broken: actions that need them say so, no others fail."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness import expect
from lookalike.service import MakeService, Service

pytestmark = pytest.mark.shared


@pytest.fixture
def bare(tmp_path: Path) -> tuple[str, str]:
    """An interpreter with the standard library and nothing else."""
    subprocess.run(
        ["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    return str(tmp_path / "bare/bin/python3"), "-Es"


def test_starts_without_packages(service: Service, bare: tuple[str, str]) -> None:
    """start, stop, and a monitor without credentials need nothing but the standard library."""
    expect(service.start(prefix=bare), 0)
    expect(service.monitor(prefix=bare), 0)
    service.state_file.unlink()
    expect(service.monitor(prefix=bare), 0)
    expect(service.stop(prefix=bare), 0)
    assert service.gone()


def test_validate_without_packages(make_service: MakeService, bare: tuple[str, str]) -> None:
    """validate-all names the package that the credentials need."""
    service = make_service(credentials=True)
    expect(service.call("validate-all", prefix=bare, level=0), 0)
    expect(service.call("validate-all", prefix=bare), 5, "python3-")


def test_running_service_is_left_alone(make_service: MakeService, bare: tuple[str, str]) -> None:
    """A package that is gone is no fault of the service: 190, and 0 at check level 0."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(prefix=bare), 190, "python3-requests")
    fail = {"keystone_failure": "fail"}  # it is for Keystone's failures alone
    expect(service.monitor(prefix=bare, parameters=fail), 190, "python3-requests")
    expect(service.monitor(prefix=bare, level=0), 0)
    expect(service.probe(prefix=bare), 0)


def test_stop_needs_no_package(service: Service, bare: tuple[str, str]) -> None:
    """stop ends all with the standard library alone."""
    expect(service.start(), 0)
    expect(service.stop(prefix=bare), 0)
    assert service.gone()
    expect(service.monitor(prefix=bare), 7)


# ---- packages that are installed, but broken: half an upgrade, a library of another release

BREAKAGES = {
    "import-error": "import nothing_of_that_name",
    "library": "raise ImportError('libssl.so.9: cannot open shared object file')",
    "attribute": "import os; os.no_such_thing",
    "syntax": "def broken(:",
    "system": "raise SystemError('initialization failed without raising an exception')",
}


def broken(bare: tuple[str, str], package: str, breakage: str) -> tuple[str, str]:
    """The interpreter, with a package that is broken."""
    (site,) = Path(bare[0]).parent.parent.glob("lib/python3*/site-packages")
    for name in ("requests", "keystoneauth1", package):
        code = breakage if name == package else ""
        (site / f"{name}.py").write_text(code + "\n", encoding="utf-8")
    return bare


@pytest.mark.parametrize("kind", BREAKAGES)
def test_broken_keystoneauth(
    make_service: MakeService, bare: tuple[str, str], kind: str
) -> None:
    """A package of the check that cannot be imported is no fault of the service: 190."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    prefix = broken(bare, "requests", BREAKAGES[kind])
    expect(service.monitor(prefix=prefix), 190, "answers", "Python package")
    expect(service.monitor(prefix=prefix, level=0), 0)
    expect(service.stop(prefix=prefix), 0)


def test_import_that_hangs(make_service: MakeService, bare: tuple[str, str]) -> None:
    """A package on a file system that hangs makes the verdict 190, and no timeout."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    prefix = broken(bare, "requests", "import time; time.sleep(3600)")
    expect(service.monitor(prefix=prefix, timeout=6), 190, "answers", "in time")
    expect(service.stop(prefix=prefix), 0)
