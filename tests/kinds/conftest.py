"""Fixtures for all files here: a broker, and workers that are gone at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lookalike.broker import Broker
from lookalike.worker import MakeWorker, Worker


@pytest.fixture(autouse=True, scope="session")
def _root() -> None:
    if os.geteuid() != 0:
        pytest.fail("the agents need root, and so do their tests", pytrace=False)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A look-alike RabbitMQ that answers."""
    with Broker() as broker:
        yield broker


@pytest.fixture
def make_worker(folder: Path, broker: Broker) -> Iterator[MakeWorker]:
    """Makes look-alike workers under an agent; the options are Worker's."""
    with ExitStack() as stack:

        def make(agent: Path, broker: Broker | None = broker, **options: Any) -> Worker:
            place = folder / str(len(os.listdir(folder)))
            place.mkdir()
            return stack.enter_context(Worker(agent, place, broker, **options))

        yield make
