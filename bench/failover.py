"""How long a fault of a control plane's services lasts, as their clients see it.

Run by `make bench-failover` (python3 -m bench.failover, as root), on a quiet machine. Each service
in its turn is under real Pacemaker, on two nodes with fencing (`bench.course`): its processes are
killed, or hang, its node loses its power, it is moved by hand. The time from the fault to the first
answer is split by the nodes' logs. Further: what monitoring of processes alone finds, and what the
agent itself adds to the daemon's own start and end (`bench.share`).

Each run is kept as soon as it is done; --resume goes on where a run was ended. Progress is printed
on standard error, and the page on standard output.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from bench import failover_page, outcome, share
from bench.course import FEW, WAYS, Course, Testbed, phases
from bench.outcome import Outcome, Row, Sitting
from bench.report import PYTHON, processor, tell
from bench.targets import FAULTS, HUNG, KILLED, PASSIVE, TARGETS, Target
from lab import apt, controller, machine, show
from lab.agents import SERVICES
from lab.command import exit_code
from lab.errors import LabError

RUNS = 10
TRIES = 3  # of a run that fails
LOAD = 1.0  # at most, at the beginning
QUIET = 300.0  # seconds that we wait for the load of earlier work to go
LOOK = 5.0
BRIEF = 200  # characters of an error that the page has
MEMORY = 2.0  # GiB that all of it takes
FIRST = (2, 10)  # the monitor of all rows: its interval in seconds, and its check level
# Of one API, for comparison.
COMPARED = "glance-api"
OTHERS = ((KILLED, 10, 10), (HUNG, 10, 10), (KILLED, 10, 0), (KILLED, 2, 0))
BLIND = ((HUNG, 2, 0), ("database gone", 2, 0), ("database gone", 10, 10))
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "failover.md"
RESULTS = ROOT / "build" / "failover.json"
CLUSTER = ("pacemaker", "corosync", "crmsh", "keystone", "mariadb-server-core", "rabbitmq-server")
WORDS = {fault.replace(" by hand", "").replace(" ", "-"): fault for fault in FAULTS[PASSIVE]}
"""The faults by their names in --faults."""


class GivenUpError(LabError):
    """A measurement has failed in all its tries."""


class Benchmark:
    """One run of the benchmark, with what was chosen."""

    def __init__(self, found: Outcome, services: Sequence[str], faults: Sequence[str], runs: int):
        self.found = found
        self.targets = [TARGETS[name] for name in services]
        self.faults = faults
        self.everything = list(faults) == list(WORDS.values())
        self.runs = runs

    @property
    def complete(self) -> bool:
        """Whether the file has all that is to be measured."""
        return not self._unshared() and not any(map(self._left, self.targets))

    def measure(self) -> None:
        """Measure all that is not in the file yet."""
        self._shares()
        left = [target for target in self.targets if self._left(target)]
        if not left:
            return
        text = "two nodes with Pacemaker; MariaDB, RabbitMQ and Keystone beside them"
        with told(text) as said, Testbed.temporary() as testbed:
            said()
            for target in left:
                self._service(testbed, target)

    def _plan(self, target: Target) -> list[Row]:
        """The rows of a service."""
        chosen = [(fault, *FIRST) for fault in FAULTS[target.kind] if fault in self.faults]
        if self._compared(target):
            chosen += OTHERS
        return [self.found.row(target.name, *each) for each in chosen]

    def _compared(self, target: Target) -> bool:
        return target.name == COMPARED and self.everything

    def _runs(self, row: Row) -> int:
        """The number of runs of a row. A worker that hangs is found late: a few have to do."""
        slow = row.fault == HUNG and not TARGETS[row.service].api
        return min(self.runs, FEW) if slow else self.runs

    def _left(self, target: Target) -> bool:
        rows = any(len(row.splits) < self._runs(row) for row in self._plan(target))
        return rows or (self._compared(target) and any(
            not self.found.blindness(*each).found for each in BLIND))

    def _service(self, testbed: Testbed, target: Target) -> None:
        """Measure all rows of a service. An error in one leaves the others alone."""
        try:
            with told(f"{target.name} is up") as said, testbed.serving(target, *FIRST) as course:
                said()
                for row in self._plan(target):
                    try:
                        self._row(course, row)
                    except GivenUpError as error:
                        say(error.message)
                if self._compared(target):
                    self._blindness(course)
        except LabError as error:  # as a rule, the last of several
            say(f"{target.name} is given up: {error}")
            for row in self._plan(target):
                if not row.splits and not row.failed:
                    row.failed.append(brief(error))
            self.found.keep()

    def _row(self, course: Course, row: Row) -> None:
        runs = self._runs(row)
        left = phases(runs, f"{row.service} {row.fault}")[len(row.splits):]
        if not left:
            return
        course.monitor(row.interval, row.level)
        for phase in left:
            begin = time.monotonic()
            self._run(course, row, phase)
            say(f"{row.service}, {row.fault}, "
                f"{failover_page.monitored(row.interval, row.level)}: "
                f"{len(row.splits)} of {runs}, {row.splits[-1].total:.1f} s", begin)
        course.restore()

    def _run(self, course: Course, row: Row, phase: float) -> None:
        """Measure one run, which is tried again if it fails."""
        for _ in range(TRIES):
            try:
                row.splits.append(course.run(row.fault, phase))
                self.found.keep()
                return
            except LabError as error:
                say(f"{row.service}, {row.fault}: {error}")
                row.failed.append(brief(error))
                self.found.keep()
                course.restore()
        raise GivenUpError(f"{row.service}, {row.fault}: given up after {TRIES} runs")

    def _blindness(self, course: Course) -> None:
        """Measure what monitors of each level find of a service that runs and does not serve."""
        for fault, interval, level in BLIND:
            row = self.found.blindness(fault, interval, level)
            if row.found:
                continue
            tries = min(self.runs, FEW) if level else 1
            course.monitor(interval, level)
            with told(f"{course.target.name}, {fault}, "
                      f"{failover_page.monitored(interval, level)}: {tries}"):
                row.found += [course.unserved(WAYS[fault], phase)
                              for phase in phases(tries, fault)]
            self.found.keep()

    def _shares(self) -> None:
        """Measure the agent's own share."""
        if wanted := self._unshared():
            with told(f"start and stop by themselves: {', '.join(wanted)}"):
                for one in share.shares(wanted):
                    self.found.own.append(one)
                    self.found.keep()

    def _unshared(self) -> list[str]:
        """The services whose own share is wanted, but not measured yet."""
        if not self.everything:
            return []
        names = {target.name for target in self.targets} - {
            one.what.rpartition(" ")[2] for one in self.found.own}
        return [service for service in SERVICES if f"{service}-api" in names]


# Progress


def brief(error: LabError) -> str:
    """An error on one line, for the page."""
    return " ".join(error.message.split())[:BRIEF]


def say(text: str, begin: float | None = None) -> None:
    """One line for the person at the terminal."""
    seconds = "" if begin is None else f"{time.monotonic() - begin:.1f} s"
    print(f"{time.strftime('%T')} {seconds:>8}  {text}", file=sys.stderr, flush=True)


@contextmanager
def told(text: str) -> Iterator[Told]:
    """One step; its parts are not reported. It may be reported before the block ends."""
    step = Told(text)
    with show.silence(), redirect_stdout(sys.stderr):
        yield step
    step()


class Told:
    """A step that is reported once, with the seconds that it took."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begin = time.monotonic()
        self._done = False

    def __call__(self) -> None:
        """Report it now."""
        if not self._done:
            say(self._text, self._begin)
        self._done = True


# The command line


def sitting(command: str, runs: int, busy: bool) -> Sitting:
    """The machine as it is now. LabError where it stays busy; busy: it may be busy."""
    deadline = time.monotonic() + QUIET
    while (load := os.getloadavg()[0]) > LOAD and not busy:
        if time.monotonic() > deadline:
            raise LabError(
                f"the load average is {load:.2f}, and more than {LOAD}: other work would be "
                "measured as well; end it, or mark the page as one of a busy machine: --busy")
        say(f"load average {load:.2f}; waiting until it is {LOAD}")
        time.sleep(LOOK)
    installed = apt.versions((apt.owner(PYTHON), *CLUSTER, *controller.packages()))
    wanted = {apt.owner(PYTHON), *CLUSTER} | {
        name for name in installed if name.startswith(("glance", "nova-", "neutron-api", "cinder-",
                                                       "heat-", "placement"))}
    return Sitting(
        date=time.strftime("%F"),
        command=command,
        runs=runs,
        machine=f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        versions=[f"{name} {version}" for name, version in installed.items() if name in wanted],
        before=load,
        quiet=load <= LOAD,
    )


def benchmark(options: argparse.Namespace) -> int:
    """Measure, keep, and show the page; the exit code is 1 where something is missing in it."""
    found = outcome.read(options.results) if options.resume else Outcome(options.results)
    faults = [WORDS[word] for word in WORDS if word in options.faults]
    services = [name for name in TARGETS if name in options.services]
    bench = Benchmark(found, services, faults, options.runs)
    if not bench.complete:
        with redirect_stdout(sys.stderr):
            controller.prepare()
        if (free := machine.memory()) < MEMORY:
            raise LabError(
                f"{free:.1f} GiB of memory are free, and this takes {MEMORY}; end something")
        found.sittings.append(sitting(options.command, options.runs, options.busy))
        found.keep()
        begin = time.monotonic()
        bench.measure()
        say(f"all of it took {(time.monotonic() - begin) / 60:.0f} minutes")
        say(f"kept in {options.results}")
    tell(failover_page.page(found), PAGE, options.write)
    return 0 if bench.complete else 1


def count(text: str) -> int:
    """A number of runs, from the command line."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: a whole number above 0")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, and show its page; with --write also keep it."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.failover", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--services", nargs="+", choices=list(TARGETS), default=list(TARGETS),
                        metavar="SERVICE", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--faults", nargs="+", choices=list(WORDS), default=list(WORDS),
                        metavar="FAULT", help=f"default: all of {', '.join(WORDS)}; then also "
                        "other monitors, what they miss, and the agent's own share")
    parser.add_argument("--runs", type=count, default=RUNS, help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE",
                        help="where each run is kept as soon as it is done, as JSON "
                        "(default: build/failover.json)")
    parser.add_argument("--resume", action="store_true",
                        help="keep what that file has, and measure what is missing")
    parser.add_argument("--busy", action="store_true",
                        help=f"also where the load average is above {LOAD}; the page says so")
    parser.add_argument("--write", action="store_true", help="write docs/failover.md as well")
    options = parser.parse_args(given)
    options.command = shlex.join(["python3", "-m", "bench.failover", *given])
    return exit_code("bench", lambda: benchmark(options))


if __name__ == "__main__":
    sys.exit(main())
