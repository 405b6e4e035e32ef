"""What every file here may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tool.kit import ROOT


@pytest.fixture
def agent() -> Path:
    """One agent: what is told of it, and what it leaves, is the same of all."""
    return ROOT / "ocf" / "glance-api"
