"""What the agent itself adds to its daemon's start and end, measured without Pacemaker.

Called by `bench.failover`; `bench.candidates` uses `first_answer` and `last_breath` alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.outcome import Own
from lab import agents, process
from lab.agents import Resource
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.process import Process
from lab.settings import USUAL_HASH_ROUNDS
from lab.web import Server

RUNS = 10  # quick ones
LIMIT = 90.0
FINE = 0.002


def shares(services: Sequence[str], runs: int = RUNS) -> Iterator[Own]:
    """What start and stop take, and how much of it the daemon needs in the same run.

    services: of lab.agents.SERVICES.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="openstack-ocf-bench-"))
        home = stack.enter_context(agents.installed())
        cloud = stack.enter_context(ControlPlane.temporary(hash_rounds=USUAL_HASH_ROUNDS))
        cloud.up("keystone")
        for service in services:
            resource = agents.resource(cloud, home, service, Path(folder))
            pairs = [(start(resource), stop(resource)) for _ in range(runs)]
            for number, action in enumerate(("start", "stop")):
                seconds, needed = zip(*(pair[number] for pair in pairs))
                yield Own(f"{action} of {service}-api", seconds, needed)


def start(resource: Resource) -> tuple[float, float]:
    """Seconds of the agent's start, and from the start of the daemon to its first answer."""
    server = resource.cloud.server(resource.service)
    with ThreadPoolExecutor(1) as beside:
        answered = beside.submit(first_answer, server)
        seconds = act(resource, "start")
        born = resource.processes()[0].birth / os.sysconf("SC_CLK_TCK")
        return seconds, answered.result() - born


def stop(resource: Resource) -> tuple[float, float]:
    """Seconds of the agent's stop, and from its TERM until nothing of the daemon is left.

    The master process is stopped (SIGSTOP) before: the agent sends CONT just before TERM, and that
    shows the moment.
    """
    family = resource.processes()
    process.freeze(family[:1])
    with ThreadPoolExecutor(1) as beside:
        end = beside.submit(last_breath, family)
        seconds = act(resource, "stop")
        return seconds, end.result()


def act(resource: Resource, action: str) -> float:
    """Run an action, LabError if it fails; the seconds it took."""
    result = resource.run(action)
    if result.code != 0:
        raise LabError(f"{action} gives {result.code}: {result.reason}")
    return result.seconds


def first_answer(server: Server) -> float:
    """When a server first answers a request that needs no token, in seconds since boot."""
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
    """Seconds from when a stopped master process is continued to the end of all its family."""
    deadline = time.monotonic() + LIMIT
    while family[0].frozen() and time.monotonic() < deadline:
        time.sleep(FINE)
    awake = time.monotonic()
    while any(member.alive() for member in family) and time.monotonic() < deadline:
        time.sleep(FINE)
    return time.monotonic() - awake
