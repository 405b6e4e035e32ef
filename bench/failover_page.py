"""docs/failover.md, made of what `bench.failover` has measured.

Called by `bench.failover`. It reads nothing from the machine: a file of an earlier day, or of
another machine, makes the same page.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.course import BLIND, FEW, PAUSE, TIMEOUT, WORKERS_TIMEOUT
from bench.outcome import Blind, Outcome, Own, Row, Split
from bench.report import table
from bench.targets import ACTIVE, CLONE, KILLED, LOST, TARGETS, Target
from lab import corosync

AIM = 0.15  # seconds, of the agent's own share
QUICK = 1.0
SHORT = 2  # seconds, the interval of a monitor
OVERHEAD = 0.3
WORDS = ("fault", "monitor", "goal")
COLUMNS = ("detection", "stop", "start", "answer", "total", "lost", "daemon")


@dataclass(frozen=True)
class Goal:
    """A goal. excess: the part of a run that has a limit; in seconds, as the limit is."""

    limit: float
    excess: Callable[[Split], float]

    def told(self, splits: Sequence[Split]) -> str:
        """Median and worst beside the limit, and whether it is met by each run, or by most."""
        found = [round(self.excess(split), 2) for split in splits]
        verdict = "**not met**"
        if max(found) <= self.limit:
            verdict = "met"
        elif statistics.median(found) <= self.limit:
            verdict = "met in the median"
        return f"at most {self.limit:.1f}: {cell(found, 2)}, {verdict}"


WITH_START = Goal(1.0, lambda split: split.total - split.detection)
BESIDE_START = Goal(OVERHEAD, lambda split: WITH_START.excess(split) - split.daemon)
FOUND = Goal(float(SHORT), lambda split: split.total - split.daemon)


def goal(row: Row) -> Goal | None:
    """The goal of a row; None where there is none."""
    if row.fault == KILLED and (row.interval, row.level) == (SHORT, 10):
        return FOUND
    if row.fault == LOST:
        quick = statistics.median(row.seconds("daemon")) < QUICK
        return WITH_START if quick else BESIDE_START
    return None


def page(outcome: Outcome) -> str:
    """The whole page."""
    rows = [row for row in outcome.rows if row.splits]
    short = [row for row in rows if (row.interval, row.level) == (SHORT, 10)]
    parts = [
        origin(outcome),
        apis([row for row in short if _target(row).api]),
        workers([row for row in short if not _target(row).api]),
        monitors([row for row in rows if row not in short]),
        blindness([row for row in outcome.blind if row.found]),
        shares(outcome.own),
        failures(outcome.rows),
    ]
    return "\n".join("\n".join([*part, ""]) for part in parts if part)


def how() -> list[str]:
    """What is measured, and how; docs/failover.md has this text with any numbers."""
    return f"""`make bench-failover` (as root, on a quiet machine) measures each service of the
[control plane](controller.md), and with `ARGS=--write` makes this page of it. Two nodes with
[fencing](fencing.md) run on one machine; corosync's token is {corosync.TOKEN} ms. All rows are of
the same cluster, which has one service at a time and nothing else. With all of them a lost node
would take the database, RabbitMQ and Keystone with it, and thirty daemons would start at once; that
would be the time of all of them. MariaDB, RabbitMQ and Keystone (but where it is measured itself)
run outside of the nodes. So do heat-engine beside heat-api, Cinder's API and scheduler beside
cinder-volume, and placement-api beside nova-conductor and nova-scheduler.

Each service is configured as `openstack-ocf plan` has it, with its virtual IP, but with one monitor
operation of level 10 in the place of its own: every {SHORT} s, timeout {TIMEOUT} s
({WORKERS_TIMEOUT} s of a worker). glance-api is active/passive, and active/active as well: a clone,
whose address alone moves. Faults are spread evenly over the interval of the monitor:

- killed: SIGKILL to all of its processes at once
- hung: SIGSTOP to all of them
- node lost: the power of its node is off (APIs; cinder-volume, which runs on one node at a time)
- moved by hand: `crm_resource --move` (APIs)

For glance-api there are also monitors every 10 s, monitors of processes alone, and what those do
not find; for glance-api and cinder-api what the agent itself adds to the daemon's start and end.

`ARGS='--services keystone nova-api --faults killed --runs 3'` measures some of it. Each run is kept
in build/failover.json as soon as it is done; `ARGS=--resume` goes on where a run was ended, or
makes the page again. Where the load average stays above 1 it refuses to begin; with `--busy` it
begins, and the page says so.

All numbers are seconds, median / worst.""".splitlines()


def origin(outcome: Outcome) -> list[str]:
    """When and where it was measured."""
    lines = ["# How long a fault lasts", "", *how()]
    told: list[str] = []  # what is as in the sitting before is not told again
    for sitting in outcome.sittings:
        lines += ["", f"Measured by `{sitting.command}` on {sitting.date}.", ""]
        if not sitting.quiet:
            lines.append(
                f"- **the machine was busy: load average {sitting.before:.2f} at the beginning. "
                "These are upper bounds, not the machine's numbers.**")
        lines.append(f"- load average before {sitting.before:.2f}, after {sitting.after:.2f}")
        same = [
            f"- machine: {sitting.machine}",
            f"- runs of each row: {sitting.runs}, but where it says otherwise",
            f"- {', '.join(sitting.versions)}"]
        lines += [line for line in same if line not in told]
        told = same
    if len(outcome.sittings) > 1:
        lines += ["", "Each of these added what the ones before had not measured."]
    return lines


def apis(rows: Sequence[Row]) -> list[str]:
    """Each API at its virtual IP."""
    if not rows:
        return []
    return [*f"""## APIs: from the fault to the next answer

A client outside of the nodes sends an authenticated GET that reads the service's database to the
virtual IP, {1 / PAUSE:.0f} times a second.

- detection: until Pacemaker stops or starts something; of a lost node, until Pacemaker knows that
  it is lost
- stop: from then until the first start begins; of a lost node, until Pacemaker knows that it is
  fenced
- start: until the service is started, with its address where it moves
- answer: until the client's next 200; the first request to a new worker has it fetch a token of its
  own, and ask Keystone about the client's
- not served: what the client had to do without
- daemon: what the new daemon itself needs, from its birth to the client's 200: most of start and
  answer. In active/active it runs already; the address alone moves.

Goals: after a node is known to be lost its service is served within {WITH_START.limit:.0f} s
where the daemon needs less than {QUICK:.0f} s for itself, else within what it needs plus
{OVERHEAD} s. The fencing is part of that, since before it nothing may be started: the lab's device
ends a node at once, but Pacemaker sometimes sleeps for a second before it asks for that: where its
controller has read the CIB while updates of its own were still under way, it does so, and reads it
again ("Re-asking for the CIB" in its debug log, of 2.1 and of 3.0). A device that turns off a real
machine takes its own time, and `pcmk_delay_base` is added to it. (In the lab's other clusters it is
2 s for one node; here there is none.) What was killed is served within
{SHORT} s plus what the daemon needs; a monitor begins {SHORT} s after the one before has ended, so
that the worst is the time of a monitor above that. A goal is met where every run meets it. The last
column has the limit, and what came of it, median / worst.""".splitlines(), "", *faults(rows)]


def workers(rows: Sequence[Row]) -> list[str]:
    """Each worker."""
    if not rows:
        return []
    return [*f"""## Workers

A clone has an instance on each node: that of one node is hit, and the other one goes on. The
numbers say how long the first is missing; *answer* is until the first monitor that says 0.
cinder-volume runs on one node at a time. Its client asks for a volume twice a second; *answer* is
until the first one is made. *Daemon*: from its birth until the agent says that it is started; what
the client of cinder-volume waits for after that is above its goal.

A hung worker is found by what it leaves unread, which takes its time ([verdicts](verdicts.md));
at most {FEW} runs.""".splitlines(), "", *faults(rows)]


def faults(rows: Iterable[Row]) -> list[str]:
    """A row for each service and fault."""
    head = ("service", "fault", "detection", "stop", "start", "answer", "**total**", "not served",
            "daemon", "goal")
    return table(head, [
        (_called(row), row.fault, *(cell(row.seconds(name)) for name in COLUMNS), _met(row))
        for row in rows], WORDS)


def monitors(rows: Sequence[Row]) -> list[str]:
    """One API under other monitors."""
    if not rows:
        return []
    head = ("service", "fault", "monitor", "detection", "stop", "start", "answer", "**total**",
            "not served", "daemon")
    return ["## Other monitors", "", *table(head, [
        (_called(row), row.fault, monitored(row.interval, row.level),
         *(cell(row.seconds(name)) for name in COLUMNS)) for row in rows], WORDS)]


def blindness(rows: Sequence[Blind]) -> list[str]:
    """What each kind of monitor finds."""
    if not rows:
        return []
    cells = [(row.fault, monitored(row.interval, row.level), findings(row.found)) for row in rows]
    return [*f"""## What runs, and does not serve

glance-api. A monitor of processes alone was given {BLIND:.0f} s, in one run; the client was served
in none of them. With the API check: at most {FEW} runs, median / worst.""".splitlines(), "",
            *table(("fault", "monitor", ""), cells, ("monitor", ""))]


def shares(rows: Sequence[Own]) -> list[str]:
    """What the agent adds, and whether the aim is met."""
    if not rows:
        return []
    cells = []
    for one in rows:
        verdict = "met" if statistics.median(one.shares) <= AIM else "**missed**"
        cells.append((one.what, *(cell(seconds, 2) for seconds in (
            one.action, one.daemon, one.shares)), verdict))
    return [*f"""## The agent's own share

The agent's whole action, and what of it the daemon itself needed in the same run: from its birth to
its first answer that needs no token, and from TERM until nothing of it is left. Without Pacemaker;
seconds, median / worst of {len(rows[0].action)} runs. The aim is a share of at most {AIM} s, in the
median.""".splitlines(), "",
            *table(("action", "seconds", "daemon", "the agent's share", "aim"), cells, ("aim",))]


def failures(rows: Iterable[Row]) -> list[str]:
    """Runs that failed: without them the numbers would look better than what was seen."""
    told = [f"- {_called(row)}, {row.fault}, {monitored(row.interval, row.level)}: {text}"
            for row in rows for text in row.failed]
    return told and ["## Runs that came to nothing", "", "They are in no number.", "", *told]


def findings(found: Sequence[float | None]) -> str:
    """The findings, in words."""
    seen = [seconds for seconds in found if seconds is not None]
    if not seen:
        return f"**not found** in {BLIND:.0f} s"
    lost = len(found) - len(seen)
    return f"found after {cell(seen)} s" + (f", {lost} times not" if lost else "")


def cell(seconds: Sequence[float], digits: int = 1) -> str:
    """Median and worst."""
    return f"{statistics.median(seconds):.{digits}f} / {max(seconds):.{digits}f}"


def monitored(interval: int, level: int) -> str:
    """How a service is monitored, in words."""
    return f"{'level 10' if level else 'process only'}, every {interval} s"


def _target(row: Row) -> Target:
    return TARGETS[row.service]


def _called(row: Row) -> str:
    target = _target(row)
    return f"{target.agent}, {target.kind}" if target.kind in (ACTIVE, CLONE) else target.agent


def _met(row: Row) -> str:
    aim = goal(row)
    return aim.told(row.splits) if aim else ""
