"""What every file here may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lookalike.case import Together


@pytest.fixture(scope="module")
def together() -> Iterator[Together]:
    """Where the slow cases of a file are begun at once."""
    with Together() as together:
        yield together
