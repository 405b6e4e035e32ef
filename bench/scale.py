"""Many resources on one node, monitored as Pacemaker's executor does it; a probe among many
processes.

Called by `bench.__main__` for --scale. The daemons and Keystone are the look-alikes of the tests:
what is measured here is the agents.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import report
from bench.candidates import HERE, PYTHON
from bench.executor import Executor, Operation, Ran
from bench.measure import Candidate, Numbers, measure, percentile
from bench.report import Aim, table
from lab import agents, show
from lab.errors import LabError

sys.path.insert(0, str(agents.ROOT / "tests"))

from harness import Resource
from lookalike.config import DAEMON, DaemonConfig
from lookalike.keystone import Keystone

RESOURCES, SECONDS = 200, 180
INTERVAL, TIMEOUT = 10.0, 30.0
BURST = 3  # intervals
USER, OTHER = "daemon", "nobody"
PROCESSES = (0, 500, 2000)
ROUNDS = 15

PROBE, SCAN, SCAN_MORE = "probe", "scan of stat", "scan of stat and environ"


@dataclass(frozen=True)
class Period:
    """A while of monitoring. busy: the part of all cores that was busy, with any work."""

    name: str
    ran: Sequence[Ran]
    seconds: float
    busy: float


def operation(resource: Resource) -> Operation:
    """The monitor of a resource, of the default depth."""
    command = [str(resource.agent), "monitor"]
    return Operation(resource.name, command, variables(resource), INTERVAL, TIMEOUT)


def variables(resource: Resource, interval: float | None = INTERVAL) -> dict[str, str]:
    """The environment that Pacemaker would set."""
    said = resource._environment("monitor", TIMEOUT, interval, None)
    given = {f"OCF_RESKEY_{name}": value for name, value in resource.parameters.items()}
    return {name: str(value) for name, value in {**said, **given}.items()}


@contextmanager
def node(number: int) -> Iterator[list[Resource]]:
    """So many resources that run, each with a daemon of two processes, and a token remembered."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="openstack-ocf-bench-")))
        folder.chmod(0o755)
        agent = stack.enter_context(agents.installed()) / "glance-api"
        keystone = stack.enter_context(Keystone(users={"monitor": "secret"}))
        binary = folder / agent.name
        shutil.copyfile(DAEMON, binary)
        binary.chmod(0o755)
        resources = []
        for index in range(number):
            place = folder / str(index)
            place.mkdir()
            config = stack.enter_context(
                DaemonConfig(place, workers=1, report=None, request_log=None)
            )
            parameters = {
                "binary": binary,
                "config": config.path,
                "user": USER,
                "log_file": place / "log",
                "os_username": "monitor",
                "os_password": "secret",
                "os_project_name": "service",
                "os_auth_url": keystone.url,
            }
            shutil.chown(place, USER)
            resources.append(Resource(agent, folder, parameters, name=f"p_{os.getpid()}-{index}"))
        try:
            with show.step(f"{number} resources run"):
                _all(_begin, resources)
            if len(keystone.tokens_issued) != number:
                raise LabError(f"{number} resources asked for {len(keystone.tokens_issued)} tokens")
            yield resources
        finally:
            _all(Resource.stop, resources)


def _all(do: Callable[[Resource], object], resources: Sequence[Resource]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as several:
        list(several.map(do, resources))


def _begin(resource: Resource) -> None:
    for result in (resource.start(), resource.monitor()):
        if result.code != 0:
            raise LabError(f"{result.action} gives {result.code}: {result.reason}")


def period(name: str, resources: Sequence[Resource], first: Sequence[float], seconds: float
           ) -> Period:
    """Monitor all resources for a while."""
    begin, (busy, every) = time.monotonic(), _jiffies()
    ran = Executor([operation(one) for one in resources]).run(first, seconds)
    busy, every = _jiffies()[0] - busy, _jiffies()[1] - every
    return Period(name, ran, time.monotonic() - begin, busy / every)


def _jiffies() -> tuple[int, int]:
    """Jiffies of all cores: those that were not idle, and all."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


# A probe among many processes


@contextmanager
def sleepers(number: int, user: str) -> Iterator[None]:
    """So many processes that do nothing."""
    sleeping = [subprocess.Popen(["/bin/sleep", "infinity"], user=user) for _ in range(number)]
    try:
        yield
    finally:
        for one in sleeping:
            one.kill()
        for one in sleeping:
            one.wait()


def probes() -> dict[tuple[str, int], dict[str, Numbers]]:
    """A probe with nothing there and a bare scan of /proc, by owner and number of sleepers."""
    found = {}
    with TemporaryDirectory(prefix="openstack-ocf-bench-") as folder, agents.installed() as home:
        absent = Resource(home / "glance-api", Path(folder), {"user": USER, "binary": "/bin/sh"})
        scan = [PYTHON, "-Es", str(HERE / "scan.py")]
        candidates = [
            Candidate(PROBE, [str(absent.agent), "monitor"], variables(absent, None), code=7),
            Candidate(SCAN, scan),
            Candidate(SCAN_MORE, [*scan, "environ"]),
        ]
        for owner in (OTHER, "root"):
            for number in PROCESSES:
                with sleepers(number, owner):
                    found[owner, number] = measure(candidates, ROUNDS)
    return found


def growth(found: dict[tuple[str, int], dict[str, Numbers]], owner: str, name: str) -> float:
    """Milliseconds of CPU that all the sleepers of an owner add."""
    first, last = (found[owner, number][name].cpu.median for number in (0, PROCESSES[-1]))
    return last - first


# The page


def page(heading: str, number: int, seconds: int, before: float) -> str:
    """Do all measurements; their part of the page."""
    with node(number) as resources:
        spread = [INTERVAL * index / number for index in range(number)]
        periods = [
            period("spread over the interval", resources, spread, seconds),
            period("all due at the same moment", resources, [0.0] * number, BURST * INTERVAL),
        ]
    with show.step("probes among many processes"):
        found = probes()
    command = f"/usr/bin/python3 -m bench --scale --resources {number} --seconds {seconds} --write"
    origin = report.origin(command, before, ())
    return "\n".join([heading, "", *origin, "", *monitored(periods, number), "", *probed(found)])


def monitored(periods: Sequence[Period], number: int) -> list[str]:
    """The results of the monitoring."""
    rows = []
    for one in periods:
        seconds = [ran.seconds for ran in one.ran]
        share = sum(ran.cpu for ran in one.ran) / one.seconds / (os.cpu_count() or 1)
        bad = sum(ran.code != 0 for ran in one.ran)
        rows.append([
            one.name, f"{one.seconds:.0f}", str(len(seconds)), str(bad),
            f"{statistics.median(seconds) * 1000:.0f}",
            f"{percentile(seconds) * 1000:.0f}",
            f"{max(seconds) * 1000:.0f}", f"{share:.0%}", f"{one.busy:.0%}",
        ])  # fmt: skip
    columns = ("first monitors", "seconds", "monitors", "not 0", "median, ms", "99th percentile",
               "worst", "CPU of the monitors", "all CPU")
    return [
        *f"""{number} resources (daemons that only look alike, of two processes each), each with a
monitor of depth 10 every {INTERVAL:.0f} s and a remembered token. They are run as Pacemaker's
executor runs recurring operations: each by a timer of its own, set again when the operation has
ended; as many at once as come about; each in a process group of its own, killed after its timeout
of {TIMEOUT:.0f} s. The time is from when it was due until it had ended. CPU: part of all cores.
""".splitlines(), "",
        *table(columns, rows),
    ]  # fmt: skip


def probed(found: dict[tuple[str, int], dict[str, Numbers]]) -> list[str]:
    """The results of the probes."""
    rows = [
        [str(number), owner, *(f"{numbers[name].cpu.median:.1f}"
                               for name in (PROBE, SCAN, SCAN_MORE))]
        for (owner, number), numbers in found.items()
    ]  # fmt: skip
    aims = [
        Aim(f"a probe grows with {PROCESSES[-1]} processes of {owner} by at most 1.5 times a "
            + scan, growth(found, owner, PROBE) / growth(found, owner, scan), 1.5)
        for owner, scan in ((OTHER, SCAN), ("root", SCAN_MORE))
    ]  # fmt: skip
    return [
        *f"""A probe with nothing there, beside a bare scan of /proc in Python, with so many more
processes that sleep. Of root's processes, and those of the daemon's user, the environment has to be
read as well: a daemon that has dropped its privileges shows root as its owner. Milliseconds of CPU,
medians of {ROUNDS} rounds.
""".splitlines(), "",
        *table(("more processes", "owner", PROBE, SCAN, SCAN_MORE), rows), "",
        *map(str, aims), "",
    ]  # fmt: skip
