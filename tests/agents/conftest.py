"""What every file here may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lookalike.strangers import Strangers


@pytest.fixture
def stranger() -> Iterator[Strangers]:
    """Starts processes that are none of the agents' business; at the end all must be alive."""
    strangers = Strangers()
    yield strangers
    strangers.close()
