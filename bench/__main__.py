"""Measure what an action costs, against real daemons; print a Markdown page.

Run by `make bench-actions` (python3 -m bench, as root).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from agentlib.keystone import MARGIN
from bench import candidates as of
from bench import controller, load, pressure, report, scale
from bench.candidates import Bench
from bench.load import Loads
from bench.measure import WARM_UP, Numbers, measure
from bench.pressure import LOOPS, Late
from bench.report import Aim, table
from bench.trace import Counts, count
from lab import agents, apt, netns, seed, show
from lab.command import exit_code
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.settings import USUAL_HASH_ROUNDS
from lab.specs import FURTHER

PACKAGES = (
    "make", "curl", "strace", "time", "resource-agents", "python3-openstackclient",
    "python3-glanceclient", "python3-keystoneauth1", "python3-requests",
)  # fmt: skip
VERSIONS = (
    "python3-keystoneauth1", "python3-requests", "python3-glanceclient",
    "python3-openstackclient", "curl", "resource-agents", "keystone", "glance-api", "cinder-api",
    "mariadb-server-core",
)  # fmt: skip
LOOKS = ("make", "curl", "net-tools", "resource-agents", "python3-keystoneauth1")
LOOKED_AT = ("curl", "net-tools", "resource-agents", "keystone", "mariadb-server-core",
             "rabbitmq-server")  # fmt: skip
"""For --controller: packages beside the lab's, and those whose version is on the page."""
ROUNDS, PRESSED, COUNTED = 30, 100, 3
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
SCALE = "## Many resources on one node"
CONTROLLER = "## A whole controller"
PARTS = (SCALE, CONTROLLER)
"""The parts of the page that separate runs write, by their headings; in order."""


@dataclass(frozen=True)
class Run:
    """All results of one run."""

    numbers: Mapping[str, Numbers]
    counts: Mapping[str, Counts]
    loads: Loads
    late: Mapping[str, Late]


def benchmark(rounds: int, pressed: int) -> Run:
    """A control plane with a Glance and a Cinder under our agents, and all candidates."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="openstack-ocf-bench-")))
        home = stack.enter_context(agents.installed())
        cloud = stack.enter_context(ControlPlane.temporary(
            db="mysql", hash_rounds=USUAL_HASH_ROUNDS))
        cloud.up("db", "keystone")
        stack.enter_context(netns.inside(cloud.namespace))
        bench = Bench(*(agents.resource(cloud, home, name, folder) for name in agents.SERVICES))
        with show.step(f"{rounds} rounds of {len(bench.candidates)} candidates"):
            numbers = measure(bench.candidates, rounds)
        with show.step("files, bytes, processes and memory"):
            counts = count(bench.candidates, COUNTED)
        with show.step("the load on Keystone"):
            loads = load.load(bench)
        with show.step(f"{pressed} runs under pressure"):
            known = {candidate.name: candidate for candidate in bench.candidates}
            late = pressure.pressure(known[of.REMEMBERED], [known[of.GLANCE]], pressed)
        return Run(numbers, counts, loads, late)


def page(run: Run, command: str, rounds: int, before: float) -> str:
    """The whole page."""
    return "\n".join([
        "# What an action costs", "",
        *report.origin(command, before, VERSIONS), "",
        *costs(run, rounds), "",
        *keystone(run.loads), "",
        *under_pressure(run.late), "",
        "## Aims", "", *map(str, aims(run)), "",
    ])  # fmt: skip


def costs(run: Run, rounds: int) -> list[str]:
    """A row for each candidate."""
    bare, get = (run.numbers[name].wall.median for name in (of.BARE, of.GET))
    rows = []
    for name, n in run.numbers.items():
        c = run.counts[name]
        rows.append([
            name, f"{n.wall.median:.1f}", f"{n.wall.low:.1f} - {n.wall.high:.1f}",
            f"{n.cpu.median:.1f}", f"{n.cpu.low:.1f} - {n.cpu.high:.1f}",
            f"{n.wall.median / bare:.2f}", f"{n.wall.median / get:.2f}",
            f"{c.memory / 1024:.1f}", f"{c.files:.0f}", f"{c.read / 1000:.0f}",
            f"{c.processes:.0f}",
        ])  # fmt: skip
    columns = ("", "wall, ms", "quartiles", "CPU, ms", "quartiles", "× bare Python",
               "× http.client", "memory, MB", "files", "read, kB", "processes")
    return [
        *f"""## One action

Real daemons (Glance and Cinder with 2 workers each, Keystone under uwsgi, MariaDB), over the
loopback of a namespace; the agents as `make install` installs them; Debian's Python and libraries.

- wall and CPU: medians of {rounds} rounds after {WARM_UP} to warm up. In each round all candidates
  run once, in random order. CPU is user and system, of the process and
  its children, not of the servers
- memory: the peak of the largest process (GNU time). files: opened with success. read: from files
  and sockets, but for what is mapped (shared libraries). processes: with the first one. By
  strace, in runs of their own, medians of {COUNTED}
- own share of start and stop: cinder-api's. The time is the action's less what the daemon itself
  needed in the same run, from its birth to its first answer, and from TERM until nothing of it was
  left. What the daemon does is no part of the other columns. Until it serves, start looks at it
  every 50 ms: under strace, where the daemon takes longer, more often than usual
- depth 20: an image of 64 KiB goes in, comes back and is deleted; by an administrator
- the two agents in shell were written for this benchmark; the clients are the official ones
""".splitlines(), "",
        *table(columns, rows),
    ]  # fmt: skip


def keystone(loads: Loads) -> list[str]:
    """What one monitor costs Keystone, and what many do."""
    columns = ("", "requests", "of these for a token", "Keystone's CPU, s", "database's CPU, s")

    def rows(of_them: Mapping[str, load.Load], digits: int) -> list[list[str]]:
        return [
            [name, f"{one.requests:.1f}", f"{one.tokens:.1f}",
             f"{one.keystone:.{digits}f}", f"{one.database:.{digits}f}"]
            for name, one in of_them.items()
        ]  # fmt: skip

    return [
        "## The load on Keystone", "",
        f"Of one monitor, measured: means of {load.RUNS}, by Keystone's request log and the CPU of "
        "its and MariaDB's processes.",
        "What Glance or Cinder asks Keystone about a new token is part of it.", "",
        *table(columns, rows(loads.one, 3)), "",
        f"Of {load.RESOURCES} resources, each monitored every {load.INTERVAL} s, in "
        f"{load.DURATION // 60} minutes. Computed from the above. For ours: a token is",
        f"fetched anew after {1 - MARGIN:.0%} of its life, here an hour; each of "
        f"{load.WORKERS} workers has a known token validated every {load.CACHE_LIFE} s.", "",
        *table(columns, rows(loads.many, 1)),
    ]  # fmt: skip


def under_pressure(late: Mapping[str, Late]) -> list[str]:
    """How long each takes."""
    dropped = all(one.dropped for one in late.values())
    rows = [
        [name, f"{one.median:.2f}", f"{one.percentile:.2f}", f"{one.worst:.2f}", str(one.runs)]
        for name, one in late.items()
    ]
    return [
        "## Under pressure", "",
        f"{LOOPS} endless loops beside it, for the servers too, and "
        + ("the page cache dropped before each run." if dropped else
           "the page cache as it was: it could not be dropped on this machine."),
        "Seconds. The slow one had fewer runs.", "",
        *table(("", "median", "99th percentile", "worst", "runs"), rows),
    ]  # fmt: skip


def aims(run: Run) -> list[Aim]:
    """The aims, and what this run has reached of them."""

    def wall(name: str, floor: str) -> float:
        return run.numbers[name].wall.median / run.numbers[floor].wall.median

    def cpu(name: str, floor: str) -> float:
        return run.numbers[name].cpu.median / run.numbers[floor].cpu.median

    tokens, monitors = run.loads.rule
    memory = run.counts[of.REMEMBERED].memory / run.counts[of.BARE].memory
    late = run.late[of.REMEMBERED].percentile / run.late[of.GLANCE].percentile
    return [
        Aim(f"meta-data at most 1.6 times {of.BARE}", wall(of.META_DATA, of.BARE), 1.6),
        Aim(f"probe at most 2.2 times {of.BARE}", wall(of.PROBE, of.BARE), 2.2),
        Aim(f"{of.REMEMBERED}, at most 0.75 of the bare GET's CPU", cpu(of.REMEMBERED, of.GET),
            0.75),
        Aim(f"its peak memory at most 1.25 times that of {of.BARE}", memory, 1.25),
        Aim(f"token requests of {monitors} monitors that begin with none at most 1", tokens, 1),
        Aim("99th percentile under pressure at most a third of the client's", late, 1 / 3),
    ]


def with_part(page: str, heading: str, text: str) -> str:
    """The page with this text in the place of a part: one of PARTS, or "", all before them."""
    found: dict[str, str] = {}
    part = ""
    for line in page.splitlines(keepends=True):
        part = line.rstrip() if line.rstrip() in PARTS else part
        found[part] = found.get(part, "") + line
    found[heading] = text
    return "\n\n".join(found[one].rstrip() for one in ("", *PARTS) if one in found) + "\n"


def main() -> int:
    """Run the benchmark, and show its page; with --write also keep it."""
    parser = argparse.ArgumentParser(prog="python3 -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument(
        "--pressed", type=int, default=PRESSED, metavar="RUNS",
        help="runs under pressure (default: %(default)s)",
    )  # fmt: skip
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--scale", action="store_true", help="many resources on one node, instead")
    other.add_argument(
        "--controller", action="store_true", help="a whole controller's monitors, instead")
    parser.add_argument(
        "--resources", type=int, default=scale.RESOURCES, help="for --scale (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=int, default=scale.SECONDS, help="for --scale (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=int, default=controller.MINUTES,
        help="for --controller: how many of each kind (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--projects", type=lambda text: tuple(filter(None, text.split(","))),
        default=controller.PROJECTS, metavar="NAME,...",
        help=f"for --controller: these (default: {','.join(controller.PROJECTS)})",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md as well")
    options = parser.parse_args()
    if min(options.rounds, options.pressed // pressure.EVERY) < 2:
        parser.error("quartiles need at least 2 runs of each")
    if options.minutes < 1:
        parser.error("--minutes: at least 1")
    if unknown := set(options.projects) - {*FURTHER}:
        known = ", ".join(FURTHER)
        parser.error(f"--projects: no such project: {', '.join(unknown)} (there are {known})")

    def measured() -> int:
        if os.geteuid() != 0:
            raise LabError("this needs root: it starts daemons as other users")
        before = os.getloadavg()[0]
        if options.scale:
            heading, text = SCALE, many(options, before)
        elif options.controller:
            heading, text = CONTROLLER, whole(options, before)
        else:
            heading, text = "", actions(options, before)
        kept = PAGE.read_text() if PAGE.exists() else ""
        return report.tell(with_part(kept, heading, text), PAGE, options.write)

    return exit_code("bench", measured)


def actions(options: argparse.Namespace, before: float) -> str:
    """What an action costs: the first part of the page."""
    apt.install((*seed.packages("mysql"), *PACKAGES))
    numbers = f"--rounds {options.rounds} --pressed {options.pressed}"
    run = benchmark(options.rounds, options.pressed)
    return page(run, f"/usr/bin/python3 -m bench {numbers} --write", options.rounds, before)


def many(options: argparse.Namespace, before: float) -> str:
    """Many resources on one node."""
    apt.install(("python3-keystoneauth1", "python3-requests"))
    return scale.page(SCALE, options.resources, options.seconds, before)


def whole(options: argparse.Namespace, before: float) -> str:
    """A whole controller."""
    apt.install((*seed.packages("mysql", projects=options.projects), *LOOKS))
    names, found = controller.benchmark(options.minutes, options.projects)
    chosen = f"--minutes {options.minutes}"
    if options.projects != controller.PROJECTS:
        chosen += f" --projects {','.join(options.projects)}"
    command = f"/usr/bin/python3 -m bench --controller {chosen} --write"
    return controller.page(CONTROLLER, command, before, LOOKED_AT, names, found)


if __name__ == "__main__":
    sys.exit(main())
