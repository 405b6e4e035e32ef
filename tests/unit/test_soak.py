"""The soak: it ends when its time is over, and reports what it found."""

from __future__ import annotations

from pathlib import Path

import pytest

import soak


def test_search_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search that fails by itself is reported, and the soak ends in time all the same."""

    def fails(*_: object, **__: object) -> None:
        raise OSError("no port")

    monkeypatch.setattr(soak, "search", fails)
    run = soak.Soak(minutes=0.001)
    run.run([Path("x-api")], 7)
    run.report()
    assert "x-api, seed 7: the search itself failed" in capsys.readouterr().out
