"""Fixtures for all files here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lookalike.case import Together


@pytest.fixture(scope="module")
def together() -> Iterator[Together]:
    """Begins the slow cases of a file at the same time."""
    with Together() as together:
        yield together
