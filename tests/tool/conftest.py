"""A fixture for all files here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tool.kit import ROOT


@pytest.fixture
def agent() -> Path:
    """One agent for all: what explain says of it, and what it stores, is the same of each."""
    return ROOT / "ocf" / "glance-api"
