"""An exit reason that is too long loses its spare parts first, and never its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.reason import LENGTH, Reason, Spare, fitting


def test_as_it_is() -> None:
    """A reason that fits is said whole."""
    reason = Reason("glance-api answers; Keystone", Spare(" at http://[::1]:5000"), " is down")
    said = "glance-api answers; Keystone at http://[::1]:5000 is down"
    assert said == str(reason) == fitting(reason)


def test_spare_parts_go_first() -> None:
    """Of spare parts the last goes first, and no more than is needed."""
    parts = ("a" * 60, Spare("b" * 20), "c" * 30, Spare("d" * 20))
    assert "a" * 60 + "b" * 20 + "c" * 30 == fitting(Reason(*parts))
    assert "a" * 60 + "c" * 30 + "e" * 20 == fitting(Reason(*parts, "e" * 20))


def test_reason_in_a_reason() -> None:
    """A reason that becomes a part of another keeps its spare parts."""
    inner = Reason("Keystone", Spare(" at " + "u" * 100), " is down")
    assert "glance-api answers; Keystone is down" == fitting(Reason("glance-api answers; ", inner))


@given(st.lists(st.builds(str, st.text()) | st.builds(Spare, st.text(max_size=80))))
def test_any_parts(parts: list[str]) -> None:
    """Whatever the parts, they make a line of at most 119 printable characters."""
    line = fitting(Reason(*parts))
    assert len(line) <= LENGTH
    assert line.isascii() and (line.isprintable() or not line)


@pytest.mark.parametrize("length", [LENGTH, LENGTH + 1, 500])
def test_the_end_is_kept(length: int) -> None:
    """A reason without spare parts is cut in the middle."""
    line = fitting("glance-api: " + "x" * (length - 38) + " Address already in use ...")
    assert line.startswith("glance-api: x")
    assert line.endswith("x Address already in use ...")
