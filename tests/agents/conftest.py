"""What every file here may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lookalike.case import Together
from lookalike.strangers import Strangers


@pytest.fixture
def stranger() -> Iterator[Strangers]:
    """Starts processes that are none of the agents' business; at the end all must be alive."""
    strangers = Strangers()
    yield strangers
    strangers.close()


@pytest.fixture(scope="module")
def together() -> Iterator[Together]:
    """Where the slow cases of a file are begun at once."""
    with Together() as together:
        yield together
