"""The cluster on which failovers are measured, and one service at a time on it.

Used by `bench.failover`. Two nodes with fencing; MariaDB, RabbitMQ and Keystone outside of them.
The nodes have the one service that is measured and nothing else: a lost node takes nothing else
with it that the client's answer needs, and the other node has the processors for this service.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field

from bench import targets
from bench.outcome import Split
from bench.targets import ACTIVE, CLONE, HUNG, KILLED, LOST, MOVED, ONE, VIPS, Target
from bench.volumes import Volumes
from lab import config, playground
from lab.cib import Status, device
from lab.client import CROWD, PATIENCE, Watch
from lab.cluster import SWITCH, Cluster
from lab.errors import LabError
from lab.journal import Event, Follower
from lab.openstack import ControlPlane
from lab.playground import DATABASE, SHARED, Playground
from lab.settings import USUAL_HASH_ROUNDS

PAUSE = 0.1
TIMEOUT = 10  # seconds, of the monitor of an API
WORKERS_TIMEOUT = 30  # to find that a worker hangs takes 10 s
LIMIT = 150.0
POLL = 0.05
TOKEN = 1200.0  # seconds for which a token is used
FEW = 3  # runs, where a fault lasts as long as we let it
BLIND = 30.0  # seconds that we wait for a monitor that is expected to find nothing
TICKS = os.sysconf("SC_CLK_TCK")
BORN = 'read pid <"$1" && cat "/proc/$pid/stat"'
CRM = "crm_resource"


class NotSeenError(LabError):
    """An awaited event has not happened."""


@dataclass
class Testbed:
    """The cluster and the control plane that serve all rows."""

    here: Playground
    follower: Follower
    token: str = ""
    project: str = ""
    _authorized: float = 0.0

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[Testbed]:
        """A testbed without resources; nothing of it is left at the end."""
        with Cluster.temporary() as nodes:
            bind = {**VIPS, "keystone": nodes.address}
            with ControlPlane.temporary(
                db=DATABASE, netns=nodes.outside, bind=bind, projects=targets.PROJECTS,
                hash_rounds=USUAL_HASH_ROUNDS,
            ) as cloud:
                # A console's proxy is on each node.
                config.amend(cloud.config("nova-novnc"), {"vnc": {"novncproxy_host": targets.ALL}})
                cloud.up(*SHARED)
                nodes.configure(playground.properties())
                yield cls(Playground(nodes, cloud), Follower(nodes))

    @contextmanager
    def serving(self, target: Target, interval: int, level: int) -> Iterator[Course]:
        """Make the nodes run a service, and nothing else, with this monitor."""
        try:
            self._up(target)
            course = Course(self, target)
            course.monitor(interval, level)
            course.await_started()
            with course.asking():
                yield course
            course.restore()
        except LabError:
            self._leave(target)
            raise
        self._leave(target)  # if the benchmark itself is ended, all is taken down at once

    def _leave(self, target: Target) -> None:
        """Make the nodes run nothing again."""
        for node in self.here.cluster.nodes:
            if node not in self.here.cluster.running:
                self.here.cluster.start(node)
        self.here.cluster.clear()
        self._down(target)

    def _up(self, target: Target) -> None:
        """Start what runs beside a service; an API among it gets its address."""
        without_delay(self.here.cluster)  # Clearing the nodes puts it back.
        for address in self._addresses(target):
            add = ["ip", "address", "add", address, "dev", "lo"]
            self.here.cluster.exec(SWITCH, add, check=True)
        if target.beside:
            self.here.cloud.up(*target.beside)

    def _down(self, target: Target) -> None:
        if target.beside:
            self.here.cloud.down(*target.beside)
        for address in self._addresses(target):
            self.here.cluster.exec(SWITCH, ["ip", "address", "delete", address, "dev", "lo"])

    def _addresses(self, target: Target) -> list[str]:
        projects = [name.partition("-api")[0] for name in target.beside]  # a worker has no address
        return [f"{VIPS[name]}/32" for name in projects if name in VIPS]

    def authorize(self) -> None:
        """Fetch a token of the administrator when it is time; it would be valid for an hour."""
        if self.token and time.monotonic() - self._authorized < TOKEN:
            return
        self._authorized = time.monotonic()
        self.token = self.here.cloud.admin_token()
        asked = self.here.cloud.server("keystone").request(
            "GET", "/v3/auth/tokens", token=self.token, headers={"X-Subject-Token": self.token})
        self.project = asked.json()["token"]["project"]["id"]


@dataclass
class Course:
    """One service on the testbed, with its client, and how it is monitored at the moment."""

    testbed: Testbed
    target: Target
    interval: int = 0
    level: int = 0
    watch: Watch | None = None
    _plan: str = field(default="", repr=False)
    _hit: str = ""

    @property
    def nodes(self) -> Cluster:
        """The cluster."""
        return self.testbed.here.cluster

    @property
    def node(self) -> str:
        """The node that gets the fault: where the client is served."""
        status = self.nodes.status()
        if self.target.kind == ACTIVE:
            return status.where(self.target.address)
        return status.where(self.target.resource)

    # How it is configured, and watched

    def monitor(self, interval: int, level: int) -> None:
        """Configure this monitor of the service, and no other."""
        if (self.interval, self.level) == (interval, level):
            return
        cloud, name = self.testbed.here.cloud, self.target.resource
        self._plan = self._plan or planned(self.target.described(cloud), cloud)
        timeout = TIMEOUT if self.target.path else WORKERS_TIMEOUT
        kind = targets.monitors(interval, level, timeout)
        self.nodes.configure(
            playground.edited(self._plan, {name: self.target.secrets(cloud)}, kind))
        self.interval, self.level = interval, level

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Run the client of an API, which sends requests all the time."""
        self.testbed.authorize()
        if not self.target.api:
            yield
            return
        name = self.target.name
        path = self.target.path.replace("{project}", self.testbed.project)
        # With two servers the next answer may come at once: no request waits for another.
        crowd = int(PATIENCE / PAUSE) if self.target.kind == ACTIVE else CROWD
        watch = Watch({name: self.target.server(self.nodes.outside)}, self.testbed.token, PAUSE,
                      paths={name: path}, crowd=crowd)
        with watch.running():
            self.watch = watch
            try:
                yield
            finally:
                self.watch = None

    def volumes(self) -> Volumes:
        """The client of cinder-volume."""
        cinder = self.testbed.here.cloud.server("cinder")
        return Volumes(cinder, self.testbed.token, self.testbed.project)

    # What is waited for

    def events(self, since: float) -> list[Event]:
        """What Pacemaker has done since then."""
        return self.testbed.follower.events(since)

    def settle(self) -> None:
        """Wait until all is well, and Pacemaker has no failures of the service."""
        self.await_started()
        if self.nodes.status().failures:
            self.nodes.exec(self.nodes.asked, [CRM, "--cleanup"], check=True)
            self.await_started()
        self.testbed.authorize()
        if self.watch:
            self.watch.token = self.testbed.token
            self.watch.await_served(self.target.name, time.time(), LIMIT)

    def await_started(self) -> None:
        """Wait until the service runs wherever it should, and Pacemaker has nothing left to do."""
        count = len(self.nodes.nodes) if self.target.kind in (ACTIVE, CLONE) else 1

        def started(status: Status) -> bool:
            found = status.resources.get(self.target.resource)
            there = not self.target.address or status.where(self.target.address)
            return bool(there and found and len(found.nodes) == count)

        try:
            self.nodes.until(started, LIMIT)
        except LabError:
            why = "; ".join(sorted({f"{failure.operation}: {failure.reason}" for failure in
                                    self.nodes.status().failed(self.target.resource)}))
            raise NotSeenError(f"{self.target.resource} is not started, as it should be, after "
                               f"{LIMIT:.0f} s ({why or 'nothing has failed'})") from None
        self.nodes.wait(LIMIT)

    def await_phase(self, phase: float) -> None:
        """Wait until this part of the interval has passed since a monitor.

        Otherwise every fault would come right after a monitor: the last failover ends with one.
        """
        done = [event.at for event in self.events(0)
                if (event.what, event.resource) == ("monitor", self.target.resource)]
        since = (time.time() - max(done, default=0.0)) / self.interval
        time.sleep((phase - since) % 1 * self.interval)

    def await_event(
        self, what: str, result: str, since: float, resources: Sequence[str] = (),
        seconds: float = LIMIT,
    ) -> Event:
        """Wait for an operation of the service with a result; "" is any that is not ok."""
        names = resources or (self.target.resource,)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for event in self.events(since):
                wrong = event.result not in ("", "ok")
                seen = event.result == result if result else wrong
                if seen and event.what == what and event.resource in names:
                    return event
            time.sleep(POLL)
        wanted = result or "a result that is not ok"
        raise NotSeenError(
            f"{what} of {' or '.join(names)} has not come to {wanted} in {seconds:.0f} s")

    # What is measured

    def run(self, fault: str, phase: float) -> Split:
        """One run: a fault at this part of the interval after a monitor, and its end."""
        if fault == LOST:
            self.power()
        self.settle()
        bring = self.prepared(fault)
        self.await_phase(phase)
        around: AbstractContextManager[Volumes | None] = nullcontext()
        if self.target.kind == ONE:
            around = self.volumes().asking()
        before, begin = self.nodes.fenced, time.time()
        bring()
        with around as made:
            split = self._measure(fault, begin, made)
        wanted = [self._hit] if fault == LOST else []
        if (fenced := self.nodes.fenced[len(before):]) != wanted:
            raise LabError(f"fenced: {' '.join(fenced) or 'no node'}, which was not expected")
        return split

    def _measure(self, fault: str, begin: float, volumes: Volumes | None) -> Split:
        names = (self.target.address, self.target.resource)
        wanted = names if self.target.kind == ACTIVE else names[1:]
        started = self.await_event("start", "ok", begin, wanted)
        served = self._answered(started, volumes)
        acts = [event for event in self.events(begin)
                if not event.result and event.what in ("start", "stop") and event.resource in names]
        found = acts[0].at
        start = next(event.at for event in acts if event.what == "start")
        if fault == LOST:
            # Pacemaker may have begun the first start when it says that the node is fenced.
            known = {event.what: event.at for event in reversed(self.events(begin))}
            found, start = known.get("lost", found), min(known.get("fenced", start), start)
        ready = min(started.at, served)
        born = 0.0
        if started.resource == self.target.resource:
            born = self._born(started.node)
        end = served if self.watch else started.at
        return Split(
            detection=found - begin,
            stop=max(0.0, start - found),
            start=ready - start,
            answer=served - ready,
            total=served - begin,
            lost=self.watch.lost(self.target.name, begin) if self.watch else served - begin,
            daemon=end - born if born else 0.0,
        )

    def _answered(self, started: Event, volumes: Volumes | None) -> float:
        """When the client is served again, or the first monitor says so where there is none."""
        if self.watch:
            began = started.at - started.seconds
            return self.watch.await_served(self.target.name, began, LIMIT)
        if volumes:
            # What was asked for before that may be with the dead one, until RabbitMQ notices it.
            return volumes.await_made(started.at, LIMIT)
        return self.await_event("monitor", "ok", started.at).at

    def _born(self, node: str) -> float:
        """When the master process was started, in seconds of the epoch, to 10 ms."""
        pidfile = f"/run/resource-agents/{self.target.resource}.pid"
        said = self.nodes.exec(node, ["sh", "-c", BORN, "sh", pidfile], check=True).stdout
        ticks = int(said.rpartition(")")[2].split()[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / TICKS

    def finds(self, since: float, seconds: float = BLIND) -> float | None:
        """After how many seconds a monitor says that something is wrong; None if it does not."""
        try:
            return self.await_event("monitor", "", since, seconds=seconds).at - since
        except NotSeenError:
            return None

    def unserved(
        self, around: Callable[[Course], AbstractContextManager[object]], phase: float
    ) -> float | None:
        """After how many seconds a lasting fault is found; None if it is not found."""
        self.settle()
        self.await_phase(phase)
        with around(self):
            begin = time.time()
            found = self.finds(begin)
            asked = self.watch.asked(self.target.name, begin + 1.0) if self.watch else []
            if any(one.served for one in asked):
                raise LabError("the client is served, though it should not be")
        self.settle()
        return found

    # The faults

    def prepared(self, fault: str) -> Callable[[], object]:
        """Prepare a fault; the function that makes it."""
        node = self._hit = self.node
        if not node:
            raise LabError(f"{self.target.resource} is not started")
        if fault == LOST:
            return lambda: self.nodes.kill(node)
        if fault == MOVED:
            other = next(name for name in self.nodes.nodes if name != node)
            self._clear()
            command = [CRM, "--move", f"--resource={self.target.moved}", f"--node={other}"]
            return lambda: self.nodes.exec(node, command, check=True)
        pids = self.testbed.here.pids(self.target.agent, node)
        if not pids:
            raise LabError(f"{self.target.resource} has no processes on {node}")
        signal = {KILLED: "KILL", HUNG: "STOP"}[fault]
        return lambda: self.testbed.here.send(signal, node, pids)

    def power(self) -> None:
        """Turn on all nodes that are off."""
        for node in self.nodes.nodes:
            if node not in self.nodes.running:
                self.nodes.start(node)

    def restore(self) -> None:
        """Turn nodes on, clear the constraint of a move, wake processes; wait until all is well."""
        self.power()
        self._clear()
        for node in self.nodes.running:
            with suppress(LabError):
                self.wake(node)
        self.settle()

    def wake(self, node: str) -> None:
        """Continue the stopped processes of the service."""
        if pids := self.testbed.here.pids(self.target.agent, node):
            self.nodes.exec(node, ["kill", "-CONT", *map(str, pids)])

    def _clear(self) -> None:
        if self.target.api:
            moved = f"--resource={self.target.moved}"
            self.nodes.exec(self.nodes.asked, [CRM, "--clear", moved])


def without_delay(nodes: Cluster) -> None:
    """Have every node fenced at once.

    The delay of one device decides which of two nodes goes on when they do not hear each other.
    Here one of them is off, and the delay would be counted, with every second lost node.
    """
    for node in nodes.nodes:
        nodes.exec(nodes.asked, [CRM, f"--resource={device(node)}",
                                 "--delete-parameter=pcmk_delay_base"], check=True)
    nodes.wait()


@contextmanager
def hung(course: Course) -> Iterator[None]:
    """The daemon with all its workers is stopped for a while."""
    node = course.node
    course.prepared(HUNG)()
    try:
        yield
    finally:
        course.wake(node)


def without_database(course: Course) -> AbstractContextManager[None]:
    """The database of all services, Keystone's too, is down for a while."""
    return course.testbed.here.cloud.without_database("glance")


WAYS: Mapping[str, Callable[[Course], AbstractContextManager[object]]] = {
    HUNG: hung,
    "database gone": without_database,
}
"""Faults by which a service runs, but does not serve."""


def planned(description: str, cloud: ControlPlane) -> str:
    """What openstack-ocf plans for a description, in the syntax of crm."""
    file = cloud.directory / playground.DESCRIPTION
    file.write_text(description)
    return playground.planned(file)


def phases(runs: int, of: str) -> list[float]:
    """Times evenly spread over the interval of a monitor, in an order that only `of` decides."""
    chance = random.Random(of)  # noqa: S311 - no secret
    return chance.sample([(number + 0.5) / runs for number in range(runs)], runs)
