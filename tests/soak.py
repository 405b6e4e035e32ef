"""Search for what breaks the agents, for an hour (`make soak`): agents/search.py, seed by seed.

    .venv/bin/python tests/soak.py --minutes 10 --agent glance-api
    .venv/bin/python tests/soak.py --agent glance-api --replay "start; master killed; stop"

A line of progress a minute, and a report at the end; the exit code is 1 if a promise was broken.
A violation comes with the seed that led to it and with its shortest history, which --replay
repeats. Ctrl-C ends the search, with the report. Needs root.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path

if not __package__:
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from agents.search import Tally, World, search, shortened, steps
from harness import AGENTS, HISTORY

EXAMPLES, LENGTH = 50, 20
"""Histories to a seed, and steps to a history."""


class Over(KeyboardInterrupt):
    """The time is over: hypothesis lets it through, as it does Ctrl-C."""


class Soak:
    """A run: what was done so far, and what was found."""

    def __init__(self, minutes: float) -> None:
        self.tally = Tally()
        self.found: dict[str, str] = {}  # the options that repeat it: the promise that it breaks
        self.begin = time.monotonic()
        self.end = self.begin + minutes * 60
        self.told = self.begin
        self.tally.watch = self.watch

    def run(self, agents: list[Path], chance: int) -> None:
        """One seed after the other, until the time is over."""
        try:
            while time.monotonic() < self.end:  # a search that fails may not take a step
                self.batch(agents[chance % len(agents)], chance)
                chance += 1
        except Over:
            pass
        except KeyboardInterrupt:
            print("interrupted", flush=True)

    def batch(self, agent: Path, chance: int) -> None:
        """The histories of one seed."""
        before = len(self.tally.violations)
        try:
            search(agent, self.tally, chance, examples=EXAMPLES, length=LENGTH)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if len(self.tally.violations) == before:
                self.report_found(agent, chance, [], f"the search itself failed: {error!r}")
        # hypothesis repeats a violation, to see that it comes again
        known: list[list[str]] = []
        for history, story in self.tally.violations[before:]:
            if history not in known:
                known.append(history)
                short = shortened(agent, history)
                self.report_found(agent, chance, short, story)

    def report_found(self, agent: Path, chance: int, history: list[str], story: str) -> None:
        again = f'--agent {agent.name} --replay "{"; ".join(history)}"'
        if again not in self.found:
            self.found[again] = f"{agent.name}, seed {chance}: {story}\n  {again}"
            print(f"VIOLATION {self.found[again]}", flush=True)

    def watch(self) -> None:
        """Called before each step."""
        HISTORY.clear()
        now = time.monotonic()
        if now > self.told + 60:
            self.told = now
            self.progress()
        if now > self.end:
            raise Over

    def progress(self) -> None:
        tally = self.tally
        print(
            f"{(time.monotonic() - self.begin) / 60:5.1f} min: {tally.examples} histories, "
            f"{tally.steps} steps, {sum(tally.actions.values())} actions, "
            f"{sum(tally.faults.values())} faults ({len(tally.faults)} kinds); slowest "
            f"{tally.slowest[0]:.1f} s ({tally.slowest[1]}); violations: {len(self.found)}",
            flush=True,
        )

    def report(self) -> None:
        self.progress()
        for title, counter in (("actions", self.tally.actions), ("faults", self.tally.faults)):
            print(f"{title}: {_counted(counter)}")
        for one in self.found.values():
            print(f"VIOLATION {one}")
        print(f"{len(self.found)} violations", flush=True)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} x {count}" for name, count in sorted(counter.items()))


def replay(agents: list[Path], text: str) -> int:
    """Repeat one history, step by step, with every agent that was chosen."""
    broken = 0
    for agent in agents:
        with World(agent) as world:
            try:
                for step in steps(text):
                    world.take(step)
                    print(f"{agent.name}: {step}: {world.look()}", flush=True)
            except AssertionError as error:
                print(f"VIOLATION {agent.name}: {error}")
                broken += 1
    return int(bool(broken))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, help="begin with this one, and go on by one")
    parser.add_argument("--agent", help="only this one, by its name")
    parser.add_argument("--replay", metavar="STEPS", help="repeat one history")
    options = parser.parse_args()
    agents = [agent for agent in AGENTS if options.agent in (None, agent.name)]
    if not agents:
        parser.error(f"no such agent: {options.agent}")
    if os.geteuid() != 0:
        parser.error("the agents need root, and so does this")
    # each look-alike keeps its port by an open descriptor
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.replay is not None:
        return replay(agents, options.replay)
    chance = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"{', '.join(agent.name for agent in agents)}; seed {chance}", flush=True)
    soak = Soak(options.minutes)
    soak.run(agents, chance)
    soak.report()
    return int(bool(soak.found))


if __name__ == "__main__":
    sys.exit(main())
