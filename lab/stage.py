"""The playground with a client, for the chapters of the demo: prints what happens, and waits.

Called by `lab.demo`. No order of events is expected: a monitor may be under way as a daemon is
killed, and on a busy machine everything takes longer. Either case is accepted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from lab import client, journal, playground, show
from lab.agents import SERVICES
from lab.client import Watch
from lab.errors import LabError
from lab.journal import DEGRADED, Event
from lab.playground import Playground, resource

PATIENCE = 600.0  # seconds, for what takes ten on an idle machine
POLL = 0.2
COLOURS = {"ok": show.GREEN, DEGRADED: show.YELLOW}

# Run by sh with pids. The master is dead before its workers are killed: a monitor whose connection
# ends with a worker finds the master dead, too. (A signal takes effect later than it is sent.)
KILL = """
kill -KILL $1; while kill -0 $1; do sleep 0.01; done 2>/dev/null
[ $# = 1 ] || kill -KILL $* 2>/dev/null || :
"""
FREEZE = """
kill -STOP $*
for pid; do
    while grep -L '^State:.[TtZX]' /proc/$pid/task/*/status | grep -q .; do sleep 0.01; done
done 2>/dev/null
"""


@dataclass(frozen=True)
class Seen:
    """The result of a row: whether it is as the row says, and text to add to the row."""

    good: bool
    more: str = ""


@dataclass
class Stage:
    """The playground with its client, and what a chapter has printed since it began.

    A service is glance or cinder, which stand for their APIs, or one of Cinder's workers.
    """

    here: Playground
    watch: Watch
    since: float = 0.0
    told: set[Event] = field(default_factory=set)

    @cached_property
    def _journal(self) -> journal.Follower:
        return journal.Follower(self.here.cluster)

    def say(self, text: str, at: float = 0.0) -> None:
        """Print a line, with its time."""
        show.line(f"  {(at or time.time()) - self.since:+6.1f} s  {text}")

    def tell(self) -> None:
        """Print what Pacemaker has done since the last call."""
        for event in self.events():
            if event not in self.told and (text := worded(event)):
                self.say(text, event.at)
            self.told.add(event)

    def until(self, condition: Callable[[], object]) -> None:
        """Print what Pacemaker does until a condition is fulfilled."""
        self._wait(condition, self.tell)
        self.tell()

    def settle(self) -> None:
        """Wait until Pacemaker has nothing left to do."""
        self.here.cluster.wait(PATIENCE)

    def _wait(self, condition: Callable[[], object], meanwhile: Callable[[], None]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(
                    f"after {PATIENCE:.0f} s Pacemaker has not done what this demo is about to show"
                )
            meanwhile()
            time.sleep(POLL)

    # What Pacemaker has done in this chapter

    def events(self) -> list[Event]:
        """All events since the chapter began."""
        return self._journal.events(self.since)

    def says(self, service: str, result: str, after: float = 0.0) -> list[Event]:
        """The monitors of a service with this result."""
        asked = ("monitor", resource(service), result)
        return [
            event
            for event in self.events()
            if (event.what, event.resource, event.result) == asked and event.at >= after
        ]

    def verdicts(self, service: str) -> list[Event]:
        """The monitors of a service whose result was not ok, before it was started again."""
        starts = [event.at for event in self.changes(service) if event.what == "start"]
        return [
            event
            for event in self.events()
            if (event.what, event.resource) == ("monitor", resource(service))
            and event.result not in ("", "ok")
            and event.at < min(starts, default=time.time())
        ]

    def changes(self, *services: str) -> list[Event]:
        """The starts and stops of these services, with their addresses; or of all."""
        names = {resource(service) for service in services or playground.ALL}
        names |= {name.replace("p_", "p_ip_", 1) for name in names}
        return [
            event
            for event in self.events()
            if event.what in ("start", "stop") and event.resource in names
        ]

    def recovered(self, service: str, *nodes: str) -> bool:
        """Whether it was started in this chapter (on these nodes), monitored, and serves."""
        starts = [
            event
            for event in self.changes(service)
            if event.what == "start" and (event.resource, event.result) == (resource(service), "ok")
        ]
        for node in nodes or {event.node for event in starts} or {""}:
            last = max((event.at for event in starts if node == event.node), default=0.0)
            monitors = [
                event
                for event in self.says(service, "ok", last)
                if event.node == node and event.interval == playground.INTERVAL
            ]
            if not (last and monitors):
                return False
            if service in SERVICES and not self.served(service, last):
                return False
        return True

    # What the client has seen

    def served(self, service: str, after: float) -> bool:
        """Whether a request that the client sent after this was served."""
        return any(asked.served for asked in self.watch.asked(service, after))

    def undisturbed(self, *services: str, after: float = 0.0) -> Seen:
        """Whether the client was refused nothing, and is served; answers may have come late."""
        late = 0
        good = True
        for service in services:
            now = time.time()
            asked = self.watch.asked(service, after or self.since)
            late += sum(one.late for one in asked)
            good = good and all(one.served or one.late for one in asked)
            self.until(partial(self.served, service, now))
        return Seen(good, f"{late} of its requests took more than {client.PATIENCE:.0f} s"
                    if late else "")

    def alone(self, service: str, before: Sequence[int]) -> list[Seen]:
        """Whether a service was left alone, and still serves; before: its processes."""
        same = not self.changes(service) and before == self.here.pids(service)
        return [Seen(same), self.undisturbed(service)]

    # What runs

    def family(self) -> dict[tuple[str, str], list[int]]:
        """The processes of all services, by service and node."""
        return {
            (service, node): pids
            for service in playground.ALL
            for node in self.here.cluster.running
            if (pids := self.here.pids(service, node))
        }

    def left(self, node: str, pids: Sequence[int]) -> list[int]:
        """The processes, of these, that are still there."""
        command = ["ps", "-o", "pid=,stat=", "-p", ",".join(map(str, pids))]
        said = self.here.cluster.exec(node, command).stdout
        return [int(pid) for pid, state in map(str.split, said.splitlines()) if state[0] != "Z"]

    def kill(self, node: str, pids: Sequence[int]) -> None:
        """Kill processes of a node, a master first."""
        self._script(node, KILL, pids)

    def introduce(self, service: str, path: str, workers: Sequence[int]) -> None:
        """Make each worker validate the client's token: alone, while the others are stopped."""
        node = self.here.node(service)
        for worker in workers:
            others = [other for other in workers if other != worker]
            try:
                self._script(node, FREEZE, others)
                server = self.here.cloud.server(service)
                server.get(path, token=self.watch.token, timeout=PATIENCE)
            finally:
                self.here.send("CONT", node, others)

    def _script(self, node: str, text: str, pids: Sequence[int]) -> None:
        command = ["sh", "-c", text, "sh", *map(str, pids)]
        self.here.cluster.exec(node, command, timeout=PATIENCE, check=True)


def worded(event: Event) -> str:
    """An event in plain words; "" for one that is not shown."""
    where = f"{event.node}:"
    if event.what in ("lost", "fenced"):
        return show.coloured(f"{where} {event.resource} is {event.what}", show.RED)
    if event.resource.startswith("fence_"):
        return ""
    if event.what in ("start", "stop") and event.result == "ok":
        done = "started" if event.what == "start" else "stopped"
        return f"{where} {event.resource} {done}, in {event.seconds:.1f} s"
    address = event.resource.startswith("p_ip_") and event.result == "ok"
    if not event.result or event.what == "probe" or address:
        return ""
    result = show.coloured(event.result, COLOURS.get(event.result, show.RED))
    reason = f": {event.reason}" if event.reason else ""
    every = f" (every {event.interval:.0f} s)" if event.interval else ""
    return f"{where} {event.what} of {event.resource}{every} says {result}{reason}"


def orphaned(event: Event) -> bool:
    """Whether a monitor found workers without their master."""
    return event.result == "error" and "the master process is gone" in event.reason


def found_dead(stage: Stage, *services: str) -> Seen:
    """Whether monitors found daemons that were killed, whose processes end one after another."""
    none = some = other = False
    for service in services:
        verdicts = stage.verdicts(service)
        other = other or not verdicts
        for event in verdicts:
            none = none or event.result == "not running"
            some = some or orphaned(event)
            other = other or not (event.result == "not running" or orphaned(event))
    said = [
        *(["it does not run"] if none else []),
        *(["its master is gone, and not yet all workers"] if some else []),
        *(["something else"] if other else []),
    ]
    return Seen(not other, "; ".join(said))
