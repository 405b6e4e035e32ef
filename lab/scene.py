"""What a fault of `make chaos` works with: the cluster, its client, and what it has to wait for.

Called by `lab.faults` and `lab.mishaps`, which make faults and declare what these explain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from lab.agents import SERVICES
from lab.client import Watch
from lab.errors import LabError
from lab.invariants import Change
from lab.journal import Event, Follower
from lab.playground import STATE, Playground, address, resource

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
    """The playground with its client; since: when the fault began, in seconds of the epoch.

    follower: reads the logs of the nodes.
    """

    here: Playground
    watch: Watch
    follower: Follower
    since: float = 0.0

    def events(self, after: float = 0.0) -> list[Event]:
        """What Pacemaker has done since the fault, or after a given time."""
        return self.follower.events(after or self.since)

    def node(self, service: str) -> str:
        """The node that a service is started on."""
        node = self.here.node(service)
        if not node:
            raise LabError(f"{resource(service)} is not started")
        return node

    def other(self, node: str) -> str:
        """The other one of the two nodes."""
        return next(name for name in self.here.cluster.nodes if name != node)

    def on(self, node: str) -> list[str]:
        """The services that are started on a node."""
        return [service for service in SERVICES if self.node(service) == node]

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition that has to come true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(f"this has not happened after {PATIENCE:.0f} s: {what}")
            time.sleep(POLL)

    def await_started(self, *services: str) -> None:
        """Wait until these services have been started since the fault, and serve."""
        for service in services:
            self.until(partial(self._came, "start", service, "ok", self.since),
                       f"{resource(service)} is started again")
            self.watch.await_served(service, time.time(), PATIENCE)

    def await_said(self, result: str, after: float, *services: str) -> None:
        """Wait until a monitor of each of these services has had this new result."""
        for service in services:
            self.until(partial(self._came, "monitor", service, result, after),
                       f"a monitor of {resource(service)} says {result}")

    def _came(self, what: str, service: str, result: str, after: float) -> bool:
        wanted = (what, resource(service), result)
        return wanted in [(event.what, event.resource, event.result)
                          for event in self.events(after)]

    def await_monitors(self, count: int = MONITORS) -> None:
        """Wait until monitors of all services have written so many further verdicts."""
        for service in SERVICES:
            seen: set[str] = set()

            def often(service: str = service, seen: set[str] = seen) -> bool:
                file = f"{STATE}/{service}-api:{resource(service)}.10.last"
                command = ["stat", "--format=%y %i", file]
                # After a refresh Pacemaker knows for a moment of nothing that is started.
                if node := self.here.node(service):
                    seen.add(self.here.cluster.exec(node, command).stdout)
                return len(seen) > count

            self.until(often, f"{count} monitors of {resource(service)}")

    def patiently(self, act: Callable[[], object]) -> None:
        """Repeat an action that a busy machine may make fail by its timeout."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                act()
                return
            except LabError:
                if time.monotonic() > deadline:
                    raise

    def settle(self) -> None:
        """Wait until Pacemaker has nothing left to do."""
        self.here.cluster.wait(PATIENCE)

    def crm(self, *arguments: str) -> None:
        """Run crm, as an operator does."""
        self.here.cluster.crm(*arguments, timeout=PATIENCE)

    def run(self, node: str, script: str, *arguments: str) -> None:
        """Run a script of sh in a node."""
        command = ["sh", "-ec", script, "sh", *arguments]
        self.here.cluster.exec(node, command, timeout=PATIENCE, check=True)


@dataclass(frozen=True)
class Fault:
    """A fault of a service, or of all.

    bound: in seconds, see `lab.faults`. play: applies it, undoes it, and says what it explains.
    service: the only one that can have it; "" for any, "-" for all at once.
    """

    name: str
    text: str
    bound: float
    play: Callable[[Scene, str], Explained]
    service: str = ""


def restarted(service: str, node: str) -> set[Change]:
    """The changes by which a service is recovered on its node."""
    return {(what, resource(service), node) for what in ("stop", "start")}


def moved(services: Collection[str], node: str, to: str, *, lost: bool = False) -> set[Change]:
    """The changes that move services to the other node. lost: they need no stop any more."""
    names = [name for service in services for name in (address(service), resource(service))]
    stopped = set() if lost else {("stop", name, node) for name in names}
    return stopped | {("start", name, to) for name in names}
