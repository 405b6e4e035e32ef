"""The fixtures that deb and rpm share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.root import Kept
from packages.kit import DAEMON, Root, base_root


@pytest.fixture(scope="session")
def base(request: pytest.FixtureRequest) -> Kept:
    """The root of this machine's Debian release, or of another (--suite)."""
    return base_root(request.config.getoption("suite"))


@pytest.fixture
def root(base: Kept, tmp_path: Path) -> Iterator[Root]:
    """A fresh root with a daemon that glance-api can run."""
    with Root(base, tmp_path) as root:
        daemon = root.path / "usr/local/bin/daemon"
        daemon.write_text(DAEMON)
        daemon.chmod(0o755)
        (root.path / "etc/daemon.conf").touch()
        (root.path / "var/log/glance").mkdir()
        yield root
