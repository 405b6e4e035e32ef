"""What a fault of `make chaos` works with: the cluster, its client, and what it has to wait for.

Called by `lab.faults` and `lab.mishaps`, which make faults and declare what these explain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from http.client import HTTPException

from lab import upgrade
from lab.client import Watch
from lab.errors import LabError
from lab.ground import Change, Ground, moved, resource
from lab.journal import Event, Follower
from lab.playground import SKEW, STATE

PATIENCE = 600.0  # seconds, for what takes ten on an idle machine
POLL = 0.2
MONITORS = 2  # so many are awaited, where Pacemaker must do nothing


@dataclass(frozen=True)
class Explained:
    """What a fault explains.

    what: what was done, in words. at: from when the bound counts, in seconds of the epoch; 0 for
    the beginning. changes: what Pacemaker may start and stop, each once. out: services whose
    clients may be refused something. free: resources that may be started and stopped at any time.
    failing: a start or a stop may fail. broken: what the fault itself has found to be wrong.
    """

    what: str
    at: float = 0.0
    changes: Collection[Change] = ()
    out: Collection[str] = ()
    free: Collection[str] = ()
    failing: bool = False
    broken: Sequence[str] = ()


@dataclass
class Scene:
    """What is under Pacemaker, with its client.

    since: when the fault began, in seconds of the epoch. follower: reads the logs of the nodes.
    """

    here: Ground
    watch: Watch
    follower: Follower
    since: float = 0.0

    @cached_property
    def packages(self) -> upgrade.Packages:
        """The packages of the agents; they are removed with the cluster."""
        return upgrade.Packages(self.here.cluster.directory)

    def events(self, after: float = 0.0) -> list[Event]:
        """What Pacemaker has done since the fault, or after a given time."""
        return self.follower.events(after or self.since)

    def node(self, name: str) -> str:
        """The node that a resource is started on."""
        node = self.here.node(name)
        if not node:
            raise LabError(f"{name} is not started")
        return node

    def other(self, node: str) -> str:
        """The other one of the two nodes."""
        return next(name for name in self.here.cluster.nodes if name != node)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition that has to come true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(f"this has not happened after {PATIENCE:.0f} s: {what}")
            time.sleep(POLL)

    def await_started(self, resources: Collection[str]) -> None:
        """Wait until these have been started since the fault, and all services serve."""
        for name in resources:
            self.until(partial(self._came, "start", name, "ok", self.since),
                       f"{name} is started again")
        self.await_served()

    def await_served(self) -> None:
        """Wait until all services serve."""
        for name in self.here.services:
            self.watch.await_served(name, time.time(), PATIENCE)

    def await_said(self, result: str, after: float) -> None:
        """Wait until a monitor of each service has had this new result."""
        for name in self.here.services:
            self.until(partial(self._came, "monitor", resource(name), result, after),
                       f"a monitor of {resource(name)} says {result}")

    def _came(self, what: str, name: str, result: str, after: float) -> bool:
        wanted = (what, name, result)
        return wanted in [(event.what, event.resource, event.result)
                          for event in self.events(after)]

    def await_monitors(self, count: int = MONITORS) -> None:
        """Wait until monitors of all services have written so many further verdicts."""
        seen: dict[str, set[str]] = {name: set() for name in self.here.services}

        def often() -> bool:
            status = self.here.status()
            for name, said in seen.items():
                file = f"{STATE}/{name}:{resource(name)}.10.last"
                # After a refresh Pacemaker knows for a moment of nothing that is started.
                if (node := status.where(resource(name))) and len(said) <= count:
                    command = ["stat", "--format=%y %i", file]
                    said.add(self.here.cluster.exec(node, command).stdout)
            return all(len(said) > count for said in seen.values())

        self.until(often, f"{count} monitors of each service")

    def skew(self, until: int) -> None:
        """Make the tokens that the agents remember valid until then, in seconds of the epoch."""
        for node in self.here.cluster.running:
            self.here.cluster.exec(node, ["sh", "-c", SKEW.format(until=until)])

    def leaving(self, node: str, *, lost: bool = False, booting: bool = False) -> Explained:
        """What it explains that all of a node leaves it, and what is everywhere comes back to it.

        what: still to be said. lost, booting: as in `moved`.
        """
        there = self.here.there(node)
        changes = moved(there, node, self.other(node), lost=lost, booting=booting,
                        clones=self.here.clones)
        free = self.here.free(there) - there
        return Explained("", changes=changes, out=self.here.out(there), free=free,
                         failing=bool(free))

    def patiently(self, act: Callable[[], object]) -> None:
        """Repeat an action that a busy machine may make fail by its timeout."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                act()
                return
            except (LabError, OSError, HTTPException):
                if time.monotonic() > deadline:
                    raise

    def settle(self) -> None:
        """Wait until Pacemaker has nothing left to do."""
        self.here.cluster.wait(PATIENCE)

    def crm(self, *arguments: str, node: str = "") -> None:
        """Run crm, as an operator does, in a node, or in any."""
        self.here.cluster.crm(*arguments, timeout=PATIENCE, node=node)

    def run(self, node: str, script: str, *arguments: str) -> None:
        """Run a script of sh in a node."""
        command = ["sh", "-ec", script, "sh", *arguments]
        self.here.cluster.exec(node, command, timeout=PATIENCE, check=True)


@dataclass(frozen=True)
class Fault:
    """A fault of a service, or of all.

    bound: in seconds, see `lab.faults`. play: applies it to the service or resource that is chosen,
    undoes it, and says what it explains. chosen: those that can have it; none for any service,
    "-" for all at once. only: SMALL or WHOLE, where the other one has nothing that could have it.
    """

    name: str
    text: str
    bound: float
    play: Callable[[Scene, str], Explained]
    chosen: tuple[str, ...] = ()
    only: str = ""
