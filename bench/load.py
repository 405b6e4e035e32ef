"""The load of monitoring on Keystone and on its database.

Called by `bench.__main__`. The cost of one monitor is measured; that of many is computed from it,
and the page says so.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from agentlib.keystone import MARGIN
from bench import candidates as of
from bench.candidates import Bench
from bench.measure import Candidate, run
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.web import Server

RUNS = 10
RESOURCES, INTERVAL, DURATION = 30, 10, 600  # seconds
TOKEN_LIFE = 3600  # Keystone's default, and the lab's
CACHE_LIFE = 300  # seconds for which a worker of a service caches a valid token
WORKERS = 2
REQUEST = re.compile(rb"\] ([A-Z]+) (/\S*) => generated")
SETTLED = 0.2  # seconds
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """Of one monitor, or of many. requests, tokens: those that Keystone answers, and of these the
    token requests, each with a password hash. keystone, database: seconds of CPU."""

    requests: float
    tokens: float
    keystone: float
    database: float

    def __mul__(self, times: float) -> Load:
        return Load(self.requests * times, self.tokens * times,
                    self.keystone * times, self.database * times)

    def __add__(self, other: Load) -> Load:
        return Load(self.requests + other.requests, self.tokens + other.tokens,
                    self.keystone + other.keystone, self.database + other.database)


@dataclass(frozen=True)
class Loads:
    """one: of a monitor, by candidate. many: of all RESOURCES in DURATION. rule: token requests
    of a resource that had no token at first, and in how many monitors."""

    one: Mapping[str, Load]
    many: Mapping[str, Load]
    rule: tuple[int, int]


def load(bench: Bench) -> Loads:
    """Measure, and compute."""
    cloud = bench.glance.cloud
    known = {candidate.name: candidate for candidate in bench.candidates}
    names = (of.FETCHED, of.SESSION, of.TWO_CURLS, of.GLANCE, of.CINDER)
    one = {name: _of(cloud, known[name]) for name in names}
    server, token = cloud.server("keystone"), cloud.token()
    validation = _measured(cloud, RUNS, lambda: _validate(server, token))
    times = RESOURCES * DURATION / INTERVAL
    fetches = RESOURCES * DURATION / (TOKEN_LIFE * (1 - MARGIN))
    validations = RESOURCES * WORKERS * DURATION / CACHE_LIFE
    many = {of.REMEMBERED: one[of.FETCHED] * fetches + validation * validations}
    many.update({name: one[name] * times for name in names[1:]})
    return Loads({"validation of a token": validation, **one}, many, _rule(cloud, known))


def _of(cloud: ControlPlane, candidate: Candidate) -> Load:
    run(candidate)  # to warm up
    return _measured(cloud, RUNS, lambda: run(candidate))


def _rule(cloud: ControlPlane, known: Mapping[str, Candidate]) -> tuple[int, int]:
    """Token requests in a number of monitors that begin with nothing remembered."""
    first = known[of.FETCHED]
    follow = Candidate(first.name, first.command, first.environment)
    monitors = [first, *[follow] * (RUNS - 1)]
    return round(_measured(cloud, 1, lambda: [run(one) for one in monitors]).tokens), RUNS


def _validate(server: Server, token: str) -> None:
    """Validate a token as the services do when it is new, or their cache of it has expired."""
    connection = HTTPConnection(server.address, server.port, timeout=30)
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    connection.request("GET", "/v3/auth/tokens", headers=headers)
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise LabError(f"{server} answers {status} when it is asked about a token")


def _measured(cloud: ControlPlane, runs: int, work: Callable[[], object]) -> Load:
    requests, keystone, database = _seen(cloud), _cpu(cloud, "keystone"), _cpu(cloud, "db")
    for _ in range(runs):
        work()
    new = _seen(cloud)[len(requests):]
    tokens = sum(method == b"POST" for method, _ in new)
    return Load(len(new), tokens, _cpu(cloud, "keystone") - keystone,
                _cpu(cloud, "db") - database) * (1 / runs)


def _seen(cloud: ControlPlane) -> Sequence[tuple[bytes, bytes]]:
    """The requests in Keystone's log; Keystone logs them a little after it has answered."""
    log, size = cloud.log("keystone"), -1
    while size != log.stat().st_size:
        size = log.stat().st_size
        time.sleep(SETTLED)
    return REQUEST.findall(log.read_bytes())


def _cpu(cloud: ControlPlane, service: str) -> float:
    return sum(_ticks(pid) for pid in cloud.pids(service)) / TICK


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
