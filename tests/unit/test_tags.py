"""The tag by which every process of an instance is known."""

from __future__ import annotations

import os

import pytest

from agentlib import tags
from agentlib.process import Process, find
from agentlib.tags import TAG, carries, claim, environments
from unit.kit import Zoo


def seen(pid: int) -> Process:
    found = find(pid)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("env", "tagged"),
    [
        ({TAG: "glance-api:p"}, True),
        ({"A": "1", TAG: "glance-api:p", "Z": "2"}, True),
        ({TAG: "glance-api:p2"}, False),
        ({TAG: "xglance-api:p"}, False),
        ({"X" + TAG: "glance-api:p"}, False),
        ({"X": f"{TAG}=glance-api:p"}, False),
        ({TAG: ""}, False),
        ({"BIG": "x" * 100_000, TAG: "glance-api:p"}, True),
        ({}, False),
    ],
    ids=["alone", "among others", "longer", "prefix", "other name", "inside a value", "empty",
         "after much", "none"],
)
def test_tagged(env: dict[str, str], tagged: bool, zoo: Zoo) -> None:
    """A process carries a tag if its environment has exactly that."""
    assert tagged is carries(seen(zoo.sleeper(env=env).pid).environment(), "glance-api:p")


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, ""),
        ({TAG: "glance-api:p"}, "glance-api:p"),
        ({"OCF_RESOURCE_INSTANCE": "p"}, "p"),
        ({"OCF_RESOURCE_INSTANCE": "q", TAG: "glance-api:p"}, "glance-api:p"),
        ({"OCF_RESOURCE_INSTANCE": "q", TAG: ""}, "q"),
        ({"OCF_RESOURCE_INSTANCE": "a=b"}, "a=b"),
    ],
    ids=["none", "tag", "shell agent", "both", "empty tag", "equals sign"],
)
def test_claimed_by(env: dict[str, str], name: str, zoo: Zoo) -> None:
    """A process's instance is known by our tag, else by the variable that shell agents leave."""
    assert name == claim(seen(zoo.sleeper(env=env).pid).environment())


def test_environment_that_blocks(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of an environment that blocks is given up; the others are read all the same."""
    children = [seen(zoo.sleeper(env={TAG: f"a:{n}"}).pid) for n in range(3)]
    fifo = zoo.place / "fifo"
    os.mkfifo(fifo)
    real = os.open

    def instead(path: str, flags: int, *more: int) -> int:
        stuck = path == f"/proc/{children[1].pid}/environ"
        return real(fifo if stuck else path, flags, *more)

    monkeypatch.setattr(tags, "READING", 0.3)
    monkeypatch.setattr(os, "open", instead)
    try:
        known, unknown = environments(children)
    finally:
        os.close(real(fifo, os.O_RDWR))  # the thread goes on, and ends
    assert {children[0].pid, children[2].pid} == set(known)
    assert {children[1].pid: tags.UNREADABLE} == unknown
