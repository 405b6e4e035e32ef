"""What Pacemaker did, with times to the millisecond: read from the nodes' logs.

Called by the demo to print it in plain words, by the benchmark to split the time of a failover, and
by `make chaos`, which looks for what nothing explains.
The CIB has whole seconds, and only the last operation of each kind; the log of a node that has lost
its power can still be read from outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from lab.cluster import Cluster

LOG = "/var/log/pacemaker/pacemaker.log"
DEGRADED = "OCF_DEGRADED"
"""Pacemaker's name of exit code 190."""

# Nov 20 06:59:52.603 node1 pacemaker-controld  [59] (log_executor_event) notice: ...
LINE = re.compile(
    r"^(\w{3} [ \d]\d [\d:]{8}\.\d+) (\S+) +pacemaker-(?:controld|execd) +\[\d+\] "
    r"\((?:log_execute|log_executor_event|update_peer_state_iter|handle_fence_notification)\)"
    r"\s+\w+: (.*)"
)
BEGUN = re.compile(r"executing - rsc:(\S+) action:(\S+) call_id:\d+")
DONE = re.compile(
    r"Result of (\S+) operation for (\S+) on \S+: (.+?) \| .*key=\S+_(\d+)(?: rc=(\d+))?"
)
LOST = re.compile(r"Node (\S+) state is now lost")
FENCED = re.compile(r"Peer (\S+) was terminated \(")

# Pacemaker 3 uses other words than Pacemaker 2; the codes are the same. A result without a code,
# such as a timeout, is in Pacemaker's own words.
RESULTS = {
    0: "ok",
    1: "error",
    2: "invalid parameter",
    3: "unimplemented feature",
    4: "insufficient privileges",
    5: "not installed",
    6: "not configured",
    7: "not running",
    190: DEGRADED,
}


@dataclass(frozen=True)
class Event:
    """Something that a node logged.

    at: seconds of the epoch. what: start, stop, monitor or probe; or lost and fenced, with another
    node's name as the resource. result: "" when it begins, then one of RESULTS, Cancelled, ...; a
    monitor's is logged only when it changes. seconds: what a start or stop took.
    interval: of a monitor, in seconds.
    """

    at: float
    node: str
    what: str
    resource: str
    result: str = ""
    reason: str = ""
    seconds: float = 0.0
    interval: float = 0.0


def read(cluster: Cluster, since: float) -> list[Event]:
    """What all nodes logged since then, in the order of time."""
    found: list[Event] = []
    for node in cluster.nodes:
        file = cluster.path(node, LOG)
        if file.exists():
            found += events(file.read_text(errors="replace"), since)
    return sorted(found, key=lambda event: event.at)


class Follower:
    """The same for repeated calls: what was read once is not read again."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._read: dict[str, int] = {}
        self._begun: dict[str, dict[tuple[str, str], float]] = {}
        self._found: list[Event] = []

    def events(self, since: float) -> list[Event]:
        """What all nodes logged since then, in the order of time."""
        for node in self._cluster.nodes:
            file = self._cluster.path(node, LOG)
            if not file.exists():
                continue
            with file.open("rb") as log:
                log.seek(self._read.get(node, 0))
                text = log.read()
            text = text[: text.rfind(b"\n") + 1]  # the last line may be incomplete
            self._read[node] = self._read.get(node, 0) + len(text)
            begun = self._begun.setdefault(node, {})
            self._found += events(text.decode(errors="replace"), 0, begun)
        return sorted((one for one in self._found if one.at >= since), key=lambda one: one.at)


def events(
    text: str, since: float, begun: dict[tuple[str, str], float] | None = None
) -> Iterator[Event]:
    """The events in the log of one node, without cancelled monitors.

    begun: start times of the operations that had not ended in the text that was read before.
    """
    begun = {} if begun is None else begun
    for line in text.splitlines():
        match = LINE.match(line)
        event = _event(match[1], match[2], match[3], begun) if match else None
        if event and event.at >= since and event.result != "Cancelled":
            yield event


def _event(stamp: str, node: str, said: str, begun: dict[tuple[str, str], float]) -> Event | None:
    """The event in one line. begun: start times of the operations that have not ended."""
    at = datetime.strptime(f"{datetime.now().year} {stamp}", "%Y %b %d %H:%M:%S.%f").timestamp()
    if found := BEGUN.match(said):
        resource, what = found.groups()
        begun[resource, what] = at
        return Event(at, node, what, resource)
    if found := DONE.match(said):
        what, resource, outcome, interval, code = found.groups()
        words, _, reason = outcome.partition(" (")
        result = RESULTS.get(int(code), words) if code else words
        seconds = at - begun.pop((resource, what), at)
        reason = reason.removesuffix(")")
        return Event(at, node, what, resource, result, reason, seconds, int(interval) / 1000)
    if found := LOST.match(said):
        return Event(at, node, "lost", found[1])
    if found := FENCED.match(said):
        return Event(at, node, "fenced", found[1])
    return None
