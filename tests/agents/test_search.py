"""The search for what breaks an agent (search.py): a short run, and its former findings.

Each finding is added to FOUND, as a line that `make soak` prints, so that it stays mended.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.search import FAULTS, Tally, Violation, World, search, shortened, steps, violation

FOUND = [
    # healthy daemons that were called orphaned, and replaced
    pytest.param(
        "start; state removed; pidfile of stranger; probe; monitor; start; stop",
        id="pidfile-of-a-stranger-state-lost",
    ),
    pytest.param(
        "start; state outdated; pidfile removed; probe; monitor; start; stop",
        id="state-outdated-pidfile-lost",
    ),
    # 7 while processes lived: 7 is only for instances that are certainly gone
    pytest.param("start; master killed; reload-agent; stop", id="reload-with-orphans"),
]

LIVES = [
    pytest.param(
        "probe; start; monitor; start; worker killed; monitor; log rotated; monitor; stop; probe",
        id="a-quiet-life",
    ),
    pytest.param(
        "start; master killed; probe; start; all frozen; probe; stop; start; all killed; monitor",
        id="a-rough-one",
    ),
    pytest.param(
        "start killed after 60; start & start; set ignore_term=both; stop & stop; start & stop",
        id="many-hands",
    ),
    pytest.param(
        "start; monitor; keystone dead; monitor; tokens revoked; monitor; keystone fine; monitor;"
        " password changed; tokens revoked; monitor; credentials taken away; monitor",
        id="without-keystone",
    ),
    pytest.param(
        "stranger takes the port; start; strangers leave; pidfile of stranger; state of stranger;"
        " probe; stop; start; rsctmp removed; monitor; stop blindly",
        id="among-strangers",
    ),
]


@pytest.mark.parametrize("history", FOUND)
@pytest.mark.own
@pytest.mark.shared
def test_found(agent: Path, history: str) -> None:
    """A violation that the search has found does not come back."""
    assert "" == violation(agent, steps(history))


@pytest.mark.parametrize("history", LIVES)
@pytest.mark.own
@pytest.mark.shared
def test_lives(agent: Path, history: str) -> None:
    """In a long history with many faults, every action keeps its promises."""
    assert "" == violation(agent, steps(history))


@pytest.mark.parametrize("chance", range(4))
@pytest.mark.own
@pytest.mark.shared
def test_search(agent: Path, chance: int) -> None:
    """Whatever the actions and faults, in whatever order, every promise is kept."""
    tally = Tally()
    search(agent, tally, chance, examples=3, length=12)
    assert not tally.violations
    assert 3 == tally.examples


# ---- the search itself: it notices an agent that breaks a promise


@dataclass
class Lie:
    """Shell commands that replace an action of an agent, and the history that shows it."""

    name: str
    action: str
    instead: str
    history: str
    found: str = "expected"


KILL = 'pid=$(cat "$pidfile"); kill -9 $pid; while grep -q . /proc/$pid/cmdline; do :; done'
REASON = "echo ocf-exit-reason:a lie >&2"

LIES = [
    Lie("start-nothing", "start", "exit 0", "start", "0, but"),
    Lie("start-fails", "start", f"{REASON}; exit 1", "start"),
    Lie("start-leaves", "start", f'"$real" "$@"; {REASON}; exit 1', "set listen_after=0.4; start"),
    Lie("stop-nothing", "stop", "exit 0", "start; stop", "0, but"),
    Lie("stop-fails", "stop", f"{REASON}; exit 1", "stop"),
    Lie("stop-stranger", "stop", KILL, "pidfile of stranger; stop", "a stranger was ended"),
    Lie("gone", "monitor", "exit 7", "start; probe"),
    Lie("still-there", "monitor", "exit 0", "probe"),
    Lie("not-orphaned", "monitor", "exit 0", "start; master killed; probe"),
    Lie("not-asked", "monitor", "exit 0", "start; monitor", "the API was not asked"),
    Lie("well", "monitor", "exit 0", "start; set api=500; monitor"),
    Lie("keystones-fault", "monitor", f"{REASON}; exit 1", "start; keystone dead; monitor"),
    Lie("degraded", "monitor", f"{REASON}; exit 190", "start; all frozen; monitor"),
    Lie("kills", "monitor", f"{KILL}; exit 0", "start; probe", "became"),
    Lie("no-reason", "validate-all", "exit 5", "binary removed; validate-all", "one exit reason"),
    Lie("tells", "validate-all", 'echo "$OCF_RESKEY_os_password"', "validate-all", "the password"),
]  # fmt: skip


def liar(agent: Path, folder: Path, lie: Lie) -> Path:
    """The agent, with one of its actions replaced."""
    path = folder / agent.name
    path.write_text(
        f'#!/bin/sh\nreal="{agent}" pidfile="$HA_RSCTMP/$OCF_RESOURCE_INSTANCE.pid"\n'
        f'if [ "$1" = {lie.action} ]; then\n{lie.instead}\nexit\nfi\nexec "$real" "$@"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
@pytest.mark.own
@pytest.mark.shared
def test_lies(agent: Path, folder: Path, lie: Lie) -> None:
    """An agent that breaks a promise is noticed at the last step of the history that shows it."""
    *before, last = steps(lie.history)
    with World(liar(agent, folder, lie)) as world:
        for step in before:
            world.take(step)
        with pytest.raises(Violation, match=lie.found) as caught:
            world.take(last)
    assert f'--replay "{lie.history}"' in str(caught.value)


@pytest.mark.own
@pytest.mark.shared
def test_shortened(agent: Path, folder: Path) -> None:
    """A history that breaks a promise is reduced to the steps that it needs."""
    lie = next(lie for lie in LIES if lie.name == "stop-nothing")
    long = steps("validate-all; start; tokens revoked; probe; password changed; stop")
    assert ["start", "stop"] == shortened(liar(agent, folder, lie), long)


@pytest.mark.own
@pytest.mark.shared
def test_every_fault(agent: Path) -> None:
    """Every fault can be applied to an instance that runs, and to one that does not."""
    with World(agent) as world:
        for step in FAULTS:
            if not step.startswith("keystone"):
                world.take(step)
        world.take("all mended")
        world.take("start")
        for step in FAULTS:
            world.take(step)
        strangers = [process.pid for process, _, _ in world.strangers]
        assert world.tally.faults.keys() == FAULTS.keys()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in strangers)
