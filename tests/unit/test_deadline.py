"""The time that an action has."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from agentlib.deadline import Deadline


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """An event that a function can wait for; set at the end, so that its thread ends."""
    event = threading.Event()
    yield event
    event.set()


def test_remaining() -> None:
    """The time left gets shorter, and is never more than the whole."""
    deadline = Deadline(1000)
    first = deadline.remaining()
    second = deadline.remaining()
    assert 0 < second <= first <= 1000


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
def test_never_below_zero(seconds: float) -> None:
    """A deadline that is over has 0 seconds left, never less."""
    assert 0.0 == Deadline(seconds).remaining()


@pytest.mark.parametrize(("part", "least", "most"), [(0.5, 400, 500), (0.0, 0, 0), (1, 900, 1000)])
def test_share(part: float, least: float, most: float) -> None:
    """A share is that part of the time left."""
    assert least <= Deadline(1000).share(part).remaining() <= most


def test_share_of_nothing() -> None:
    """A share of no time is no time."""
    assert 0.0 == Deadline(-5).share(0.5).remaining()


def test_result() -> None:
    """The result of a function that returns in time is handed on, None too."""
    assert (3, None) == (Deadline(60).within(divmod, 7, 2)[0], Deadline(60).within(lambda: None))


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(),
                                   TimeoutError("its own")], ids=lambda error: type(error).__name__)
def test_exception(error: BaseException) -> None:
    """An exception of the function is the caller's, whatever its kind."""
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        Deadline(60).within(fail)
    assert error is caught.value


@pytest.mark.parametrize("seconds", [0.05, 0.0, -1.0])
def test_hang(seconds: float, hang: threading.Event) -> None:
    """A function that hangs is abandoned when the time is over."""
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        Deadline(seconds).within(hang.wait, 300)
    assert time.monotonic() - begin < 100


def test_late_exception(hang: threading.Event) -> None:
    """A later exception of an abandoned function has no effect."""
    def fail_late() -> None:
        hang.wait(300)
        raise ValueError

    with pytest.raises(TimeoutError):
        Deadline(0.05).within(fail_late)
    hang.set()
    assert 7 == Deadline(60).within(lambda: 7)


def test_nested() -> None:
    """A function within a deadline may itself use one."""
    assert 7 == Deadline(60).within(lambda: Deadline(60).within(lambda: 7))
