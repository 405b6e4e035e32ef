"""The fixture that deb and rpm share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from packages.kit import DAEMON, Root, base_root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A fresh root with a daemon that glance-api can run."""
    with Root(base_root(), tmp_path) as root:
        daemon = root.path / "usr/local/bin/daemon"
        daemon.write_text(DAEMON)
        daemon.chmod(0o755)
        (root.path / "etc/daemon.conf").touch()
        (root.path / "var/log/glance").mkdir()
        yield root
