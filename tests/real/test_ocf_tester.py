"""The stock ocf-tester of resource-agents, with the real daemons."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from real.kit import Real, also, ocf_tester

pytestmark = pytest.mark.real


@also("glance-uwsgi", "cinder-debian")
def test_ocf_tester_passes(real: Real, need: Callable[[str, str], str]) -> None:
    """ocf-tester starts, monitors and stops the daemon, and passes."""
    ocf_tester(real, need)
