"""How long a fault of the Image API lasts, as a client at its virtual IP sees it.

Run by `make bench-failover` (python3 -m bench.failover, as root). Two real Pacemaker nodes and a
client that asks ten times a second. From the fault to the first answer the time is split by what
the nodes wrote down. Beside it: what monitoring of processes alone finds, and what the agent
itself adds to the daemon's own start and end. A minute and a half for each run, and three more.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.report import processor, tell
from lab import agents, apt, corosync, journal, playground, process, show
from lab.agents import Resource
from lab.client import PATHS, Watch
from lab.command import exit_code
from lab.errors import LabError
from lab.journal import Event
from lab.openstack import ControlPlane
from lab.playground import Monitors, Playground
from lab.process import Process
from lab.web import Server

RUNS = 10
SERVICE = "glance"
API, ADDRESS, GROUP = "p_glance-api", "p_ip_glance-api", "g_glance-api"
TIMEOUT = 10  # seconds, of the monitor
PAUSE = 0.1
BLIND = 30.0  # seconds: for so long we wait for what is not going to be found
LIMIT = 90.0
POLL = 0.1
FINE = 0.002
FEW = 3  # runs, where a fault lasts as long as we let it
AIM = 0.15
SHARE_RUNS = 10  # quick ones
PAGE = Path(__file__).parents[1] / "docs" / "failover.md"
PACKAGES = ("pacemaker", "corosync", "crmsh", "glance-api", "keystone", "mariadb-server-core")


class NotSeenError(LabError):
    """What was waited for has not happened."""


@dataclass(frozen=True)
class Split:
    """One failover, in seconds.

    detection: from the fault until Pacemaker acts. stop: until the first start begins. start:
    until the service is started. answer: until the client is served. total: all of it. lost: what
    the client had to do without.
    """

    detection: float
    stop: float
    start: float
    answer: float
    total: float
    lost: float


@dataclass(frozen=True)
class Row:
    """A row of the table: what happened, how it was monitored, and what came of it.

    note: what there is to say instead of numbers.
    """

    fault: str
    monitor: str
    splits: Sequence[Split] = ()
    note: str = ""


@dataclass(frozen=True)
class Own:
    """Seconds of an action of the agent, and what of them the daemon itself needed."""

    what: str
    action: Sequence[float]
    daemon: Sequence[float]

    @property
    def shares(self) -> list[float]:
        """What the agent added, in each run."""
        return [action - daemon for action, daemon in zip(self.action, self.daemon)]


@dataclass
class Course:
    """The playground with its client, and how the service is monitored at the moment."""

    here: Playground
    watch: Watch
    interval: float = 0.0

    def monitor(self, interval: int, level: int) -> None:
        """Have the service monitored like this, and in no other way."""
        self.here.configure(SERVICE, monitors=monitors(interval, level))
        self.interval = interval

    def events(self, since: float) -> list[Event]:
        """What Pacemaker has done since then."""
        return journal.read(self.here.cluster, since)

    def settle(self) -> None:
        """Wait until all is well, and nothing is held against the service."""
        nodes = self.here.cluster
        nodes.wait()
        if nodes.status().failures:
            nodes.crm("resource", "cleanup", API)
            nodes.wait()
        self.watch.await_served(SERVICE, time.time())

    def await_phase(self, phase: float) -> None:
        """Wait until this part of the interval has gone by since a monitor.

        Otherwise every fault would come right after one, since the last failover ends with it.
        """
        done = [event.at for event in self.events(0) if event.what == "monitor"]
        since = (time.time() - max(done, default=0.0)) / self.interval
        time.sleep((phase - since) % 1 * self.interval)

    def measure(self, fault: Callable[[], None]) -> Split:
        """Bring a fault about, and see how it ends."""
        begin = time.time()
        fault()
        started = self.await_event(("start", "ok"), begin, LIMIT)
        began = started.at - started.seconds
        served = self.watch.await_served(SERVICE, began, LIMIT)
        acts = [e for e in self.events(begin) if not e.result and e.what in ("start", "stop")]
        first = acts[0].at
        start = next(event.at for event in acts if event.what == "start")
        ready = min(started.at, served)
        return Split(
            detection=first - begin,
            stop=start - first,
            start=ready - start,
            answer=served - ready,
            total=served - begin,
            lost=self.watch.lost(SERVICE, begin),
        )

    def await_event(self, wanted: tuple[str, str], since: float, seconds: float) -> Event:
        """Wait for an operation of the service with a result; "" is any that is not ok."""
        what, result = wanted
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for event in self.events(since):
                wrong = event.result not in ("", "ok")
                seen = event.result == result if result else wrong
                if seen and (event.what, event.resource) == (what, API):
                    return event
            time.sleep(POLL)
        raise NotSeenError(f"Pacemaker has not done in {seconds:.0f} s what was to be measured")

    def finds(self, since: float, seconds: float) -> float | None:
        """After how many seconds a monitor says that something is wrong; None if it does not."""
        try:
            return self.await_event(("monitor", ""), since, seconds).at - since
        except NotSeenError:
            return None


def monitors(interval: int, level: int) -> Monitors:
    """One monitor operation of this kind in the place of all that the snippet has."""

    def one(resource: str, operation: str) -> str:
        if resource == ADDRESS:
            return operation
        if playground.processes_only(operation):
            return ""
        return f"op monitor interval={interval}s timeout={TIMEOUT}s OCF_CHECK_LEVEL={level}"

    return one


# The faults: each makes ready, and returns what brings it about


def kill(course: Course) -> Callable[[], None]:
    """Kill the daemon with all its workers."""
    return _signal(course, "KILL")


def hang(course: Course) -> Callable[[], None]:
    """Stop the daemon with all its workers: it takes connections, and never answers."""
    return _signal(course, "STOP")


def lose_node(course: Course) -> Callable[[], None]:
    """Power loss of the service's node."""
    nodes = course.here.cluster
    for node in nodes.nodes:
        if node not in nodes.running:
            nodes.start(node)  # that of the run before
    course.settle()
    node = course.here.node(SERVICE)
    return lambda: nodes.kill(node)


def move(course: Course) -> Callable[[], None]:
    """Move the service to the other node by hand."""
    nodes = course.here.cluster
    node = course.here.node(SERVICE)
    other = next(name for name in nodes.nodes if name != node)
    nodes.exec(node, ["crm_resource", "--clear", f"--resource={GROUP}"], check=True)
    command = ["crm_resource", "--move", f"--resource={GROUP}", f"--node={other}"]

    def command_it() -> None:
        nodes.exec(node, command, check=True)

    return command_it


def _signal(course: Course, name: str) -> Callable[[], None]:
    node = course.here.node(SERVICE)
    pids = course.here.pids(SERVICE, node)
    return lambda: course.here.send(name, node, pids)


FAULTS = {
    "killed": kill,
    "hung": hang,
    "node lost": lose_node,
    "moved by hand": move,
}

# fault, interval of the monitor, check level
PLAN = (
    ("killed", 10, 10),
    ("hung", 10, 10),
    ("node lost", 10, 10),
    ("moved by hand", 10, 10),
    ("killed", 2, 10),
    ("killed", 10, 0),
    ("killed", 2, 0),
)


def failovers(course: Course, runs: int) -> Iterator[Row]:
    """The rows of the first table."""
    for fault, interval, level in PLAN:
        with told(f"{fault}, {monitored(interval, level)}: {runs} runs"):
            course.monitor(interval, level)
            splits = [once(course, FAULTS[fault], phase) for phase in phases(runs)]
            restore(course)
        yield Row(fault, monitored(interval, level), splits)


def once(course: Course, prepare: Callable[[Course], Callable[[], None]], phase: float) -> Split:
    """One run: at this part of the interval after a monitor."""
    course.settle()
    fault = prepare(course)
    course.await_phase(phase)
    return course.measure(fault)


def restore(course: Course) -> None:
    """All nodes on, no constraint left of a move, and the service well."""
    nodes = course.here.cluster
    for node in nodes.nodes:
        if node not in nodes.running:
            nodes.start(node)
    nodes.exec(nodes.asked, ["crm_resource", "--clear", f"--resource={GROUP}"])
    course.settle()


def blindness(course: Course, runs: int) -> Iterator[Row]:
    """What monitors of each level find of a service that runs and does not serve."""
    for interval, level in ((2, 0), (10, 10)):
        course.monitor(interval, level)
        for fault, around in (("hung", hung), ("database gone", without_database)):
            if (fault, level) == ("hung", 10):
                continue  # in the first table
            tries = 1 if level == 0 else min(runs, FEW)
            with told(f"{fault}, {monitored(interval, level)}: {tries} runs"):
                found = [unserved(course, around, phase) for phase in phases(tries)]
            yield Row(fault, monitored(interval, level), note=findings(found))


def unserved(
    course: Course,
    around: Callable[[Course], AbstractContextManager[object]],
    phase: float,
) -> float | None:
    """After how many seconds a fault is found that lasts until then."""
    course.settle()
    course.await_phase(phase)
    with around(course):
        begin = time.time()
        found = course.finds(begin, BLIND)
        if any(asked.served for asked in course.watch.asked(SERVICE, begin + 1.0)):
            raise LabError("the client is served, though it should not be")
    course.here.cluster.until(lambda status: status.where(API))
    course.watch.await_served(SERVICE, time.time(), LIMIT)
    return found


@contextmanager
def hung(course: Course) -> Iterator[None]:
    """The daemon with all its workers is stopped for a while."""
    node = course.here.node(SERVICE)
    pids = course.here.pids(SERVICE, node)
    course.here.send("STOP", node, pids)
    try:
        yield
    finally:
        course.here.cluster.exec(node, ["kill", "-CONT", *map(str, pids)])


def without_database(course: Course) -> AbstractContextManager[None]:
    """The database is down for a while."""
    return course.here.cloud.without_database(SERVICE)


def findings(found: Sequence[float | None]) -> str:
    """What came of it, in words."""
    seen = [seconds for seconds in found if seconds is not None]
    if not seen:
        return f"**not found** in {BLIND:.0f} s"
    lost = len(found) - len(seen)
    return f"found after {cell(seen)} s" + (f", {lost} times not" if lost else "")


# The agent's own share


def shares(runs: int) -> Iterator[Own]:
    """What start and stop take, and what of it the daemon needs in the very same run."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="openstack-ocf-bench-"))
        home = stack.enter_context(agents.installed())
        cloud = stack.enter_context(ControlPlane.temporary())
        cloud.up("keystone")
        for service in agents.SERVICES:
            resource = agents.resource(cloud, home, service, Path(folder))
            with told(f"start and stop of {service}-api: {runs} runs"):
                pairs = [(start(resource), stop(resource)) for _ in range(runs)]
            for number, action in enumerate(("start", "stop")):
                seconds, needed = zip(*(pair[number] for pair in pairs))
                yield Own(f"{action} of {service}-api", seconds, needed)


def start(resource: Resource) -> tuple[float, float]:
    """Seconds of the agent's start, and from the daemon's birth to its first answer."""
    server = resource.cloud.server(resource.service)
    with ThreadPoolExecutor(1) as beside:
        answered = beside.submit(first_answer, server)
        seconds = act(resource, "start")
        born = resource.processes()[0].birth / os.sysconf("SC_CLK_TCK")
        return seconds, answered.result() - born


def stop(resource: Resource) -> tuple[float, float]:
    """Seconds of the agent's stop, and from its TERM until nothing of the daemon is left.

    When TERM comes is seen by a master that is stopped: the agent wakes it up first.
    """
    family = resource.processes()
    process.freeze(family[:1])
    with ThreadPoolExecutor(1) as beside:
        end = beside.submit(last_breath, family)
        seconds = act(resource, "stop")
        return seconds, end.result()


def act(resource: Resource, action: str) -> float:
    """Run an action that has to work; the seconds it took."""
    result = resource.run(action)
    if result.code != 0:
        raise LabError(f"{action} gives {result.code}: {result.reason}")
    return result.seconds


def first_answer(server: Server) -> float:
    """When a server answers for the first time what needs no token, in seconds since boot."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            if server.get("/").status == 300:
                return time.clock_gettime(time.CLOCK_BOOTTIME)
        except (OSError, HTTPException):
            pass
        time.sleep(FINE)
    raise LabError(f"{server} does not answer after {LIMIT:.0f} s")


def last_breath(family: Sequence[Process]) -> float:
    """Seconds from the awakening of a master that is stopped to the end of all its family."""
    deadline = time.monotonic() + LIMIT
    while family[0].frozen() and time.monotonic() < deadline:
        time.sleep(FINE)
    awake = time.monotonic()
    while any(member.alive() for member in family) and time.monotonic() < deadline:
        time.sleep(FINE)
    return time.monotonic() - awake


# The page


def page(
    rows: Sequence[Row], blind: Sequence[Row], own: Sequence[Own], runs: int, load: float
) -> str:
    """The whole page."""
    tables = (splits_table(rows), blind_table(blind, runs), own_table(own))
    return "\n".join([*head(runs, load), *(line for table in tables for line in ("", *table))])


def head(runs: int, load: float) -> list[str]:
    """What was measured, and on what. load: of the machine before."""
    versions = [f"{name} {version}" for name, version in apt.versions(PACKAGES).items()]
    return f"""# How long a fault lasts

Measured by `/usr/bin/python3 -m bench.failover --runs {runs} --write` on {time.strftime("%F")}.

- machine: {processor()}, {os.cpu_count()} cores, Linux {platform.release()}
- load average before {load:.2f}, after {os.getloadavg()[0]:.2f}
- runs of each row: {runs}, but where it says otherwise
- two Pacemaker nodes on this one machine, corosync's token {corosync.TOKEN} ms; glance-api with 2
  workers and its virtual IP, as in crm/glance-api.crm, but with one monitor operation, of timeout
  {TIMEOUT} s; Keystone and MariaDB outside of the nodes; no fencing, so nobody waits for it
- {", ".join(versions)}

## From the fault to the next answer

A client outside of the nodes sends an authenticated GET of `{PATHS[SERVICE]}` to the virtual IP,
{1 / PAUSE:.0f} times a second. Seconds, median / worst.

- detection: from the fault until Pacemaker stops or starts something. Faults are spread evenly over
  the interval of the monitor.
- stop, start: of the service, and of the address where it moves
- answer: until the client's next 200; the first request to a new worker has it fetch a token of its
  own, and ask Keystone about the client's
- not served: what the client had to do without""".splitlines()


def splits_table(rows: Sequence[Row]) -> list[str]:
    """A row for each fault and monitor."""
    names = ("detection", "stop", "start", "answer", "total", "lost")
    lines = [
        "| fault | monitor | detection | stop | start | answer | **total** | not served |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [cell([getattr(split, name) for split in row.splits]) for name in names]
        lines.append(f"| {' | '.join((row.fault, row.monitor, *cells))} |")
    return lines


def blind_table(rows: Sequence[Row], runs: int) -> list[str]:
    """What each kind of monitor finds."""
    return [
        "## What runs, and does not serve",
        "",
        f"A monitor of processes alone was given {BLIND:.0f} s, in one run; the client was served "
        "in none of them.",
        f"With the API check: {min(runs, FEW)} runs, median / worst.",
        "",
        "| fault | monitor | |",
        "| --- | --- | --- |",
        *(f"| {row.fault} | {row.monitor} | {row.note} |" for row in rows),
    ]


def own_table(own: Sequence[Own]) -> list[str]:
    """What the agent adds, and whether the aim is met."""
    lines = [
        "## The agent's own share",
        "",
        "The agent's whole action, and what of it the daemon itself needed in the same run: from "
        "its birth to",
        "its first answer, and from TERM until nothing of it is left. Seconds, median / worst of "
        f"{SHARE_RUNS} runs. The",
        f"aim is a share of at most {AIM} s, in the median.",
        "",
        "| | action | daemon | the agent's share | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for one in own:
        verdict = "met" if statistics.median(one.shares) <= AIM else "**missed**"
        cells = [cell(seconds, 2) for seconds in (one.action, one.daemon, one.shares)]
        lines.append(f"| {' | '.join((one.what, *cells, verdict))} |")
    return [*lines, ""]


def cell(seconds: Sequence[float], digits: int = 1) -> str:
    """Median and worst."""
    return f"{statistics.median(seconds):.{digits}f} / {max(seconds):.{digits}f}"


def monitored(interval: int, level: int) -> str:
    """How a service is monitored, in words."""
    return f"{'API' if level else 'process only'}, every {interval} s"


def phases(runs: int) -> list[float]:
    """Evenly spread over the interval of a monitor, in random order."""
    return random.sample([(number + 0.5) / runs for number in range(runs)], runs)


@contextmanager
def told(text: str) -> Iterator[None]:
    """One step for the person at the terminal; what it is made of is not told."""
    with show.step(text), show.silence():
        yield


def benchmark(runs: int, load: float) -> str:
    """All of it; the page."""
    own = list(shares(SHARE_RUNS))
    with Playground.temporary(fencing=False) as here:  # its time is another matter
        server = {SERVICE: here.cloud.server(SERVICE)}
        with Watch(server, here.cloud.token(), PAUSE).running() as watch:
            course = Course(here, watch)
            rows = list(failovers(course, runs))
            blind = list(blindness(course, runs))
    return page(rows, blind, own, runs, load)


def main() -> int:
    """Run the benchmark, and show its page; with --write also keep it."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.failover", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="write docs/failover.md as well")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs: at least 1")

    def measured() -> int:
        playground.prepare()
        return tell(benchmark(options.runs, os.getloadavg()[0]), PAGE, options.write)

    return exit_code("bench", measured)


if __name__ == "__main__":
    sys.exit(main())
