"""What the unit tests share: folders, logs, little process trees, an HTTP server with a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from agentlib import state
from agentlib.environment import Environment
from agentlib.log import Log
from lookalike.keystone import Keystone
from unit.kit import PASSWORD, Service, Zoo

# A busy machine is no failure, and the same examples every time keep CI calm.
settings.register_profile(
    "unit", deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _logs(tmp_path: Path) -> Iterator[None]:
    """No daemon's log goes to /var/log."""
    # Not the test's own monkeypatch, which would then be undone after the test's other fixtures.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "LOGS", str(tmp_path / "logs"))
        yield


@pytest.fixture
def place(folder: Path) -> Path:
    """A folder that every user may enter; its path marks the test's processes."""
    return folder


@pytest.fixture
def zoo(place: Path) -> Iterator[Zoo]:
    """Processes of a test, all of which are gone afterwards."""
    keeper = Zoo(place)
    yield keeper
    keeper.close()


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """The HA_LOGFILE of the fixture log."""
    return tmp_path / "ha.log"


@pytest.fixture
def log(log_path: Path) -> Log:
    """A Log that writes to log_path."""
    return Log("unit-api", Environment("monitor", "unit", {"HA_LOGFILE": str(log_path)}))


@pytest.fixture
def service() -> Iterator[Service]:
    """An API server that answers as the test says."""
    server = Service()
    yield server
    server.close()


@pytest.fixture(scope="session")
def imported() -> None:
    """Modules that are slow to import are loaded before the first deadline runs."""
    __import__("keystoneauth1.identity.v3")
    __import__("requests")


@pytest.fixture
def keystone() -> Iterator[Keystone]:
    """A look-alike Keystone that knows the monitoring user."""
    with Keystone(users={"monitor": PASSWORD}) as server:
        yield server


@pytest.fixture
def secure(certificate: Path) -> Iterator[Keystone]:
    """A look-alike Keystone with https; it has a version document, as an API has."""
    with Keystone(users={"monitor": PASSWORD}, certfile=str(certificate)) as server:
        yield server


@pytest.fixture
def logged(log_path: Path) -> Callable[[], str]:
    """What the fixture log has written so far."""
    return lambda: log_path.read_text() if log_path.exists() else ""
