"""What the agents say, called directly, with a real Keystone, Glance and Cinder; about a minute.

Run by `make demo-agents` (python3 -m lab.demo_agents, as root). The chapters below are a table:
what happens to the control plane, which actions Pacemaker would run then, and the right exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import agents, apt, netns, process, seed, show
from lab.agents import Resource, Result
from lab.command import exit_code
from lab.errors import LabError
from lab.openstack import ControlPlane, strangers
from lab.process import Process

PACKAGES = ("make", "python3-keystoneauth1", "python3-requests")
HANGS = 10.0  # seconds; where something hangs, a monitor takes nearly all of its timeout
PATIENCE = 180.0  # for what takes a second on an idle machine
COLOURS = {0: show.GREEN, 190: show.YELLOW, 1: show.RED}


@dataclass(frozen=True)
class Step:
    """One action on each resource, and the exit code it should have.

    before: called with the resource first. after: looks at it afterwards; what is wrong, or "".
    only: the one service that has this step; empty: all.
    """

    text: str
    action: str
    expected: int
    before: Callable[[Resource], None] | None = None
    after: Callable[[Resource], str] | None = None
    timeout: float = 0.0
    interval: float | None = None
    level: int | None = None
    only: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def undisturbed(cloud: ControlPlane) -> AbstractContextManager[object]:
    """Nothing happens to the control plane."""
    return nullcontext(cloud)


@dataclass(frozen=True)
class Chapter:
    """Steps under one heading, while something is going on with the control plane."""

    heading: str
    steps: tuple[Step, ...]
    around: Callable[[ControlPlane], AbstractContextManager[object]] = undisturbed


# What can happen


@contextmanager
def keystone_down(cloud: ControlPlane) -> Iterator[None]:
    """Keystone is not running."""
    cloud.down("keystone")
    try:
        yield
    finally:
        cloud.up("keystone")


def keystone_hung(cloud: ControlPlane) -> AbstractContextManager[object]:
    """Keystone takes connections and never answers."""
    return cloud.frozen("keystone")


@contextmanager
def databases_gone(cloud: ControlPlane) -> Iterator[None]:
    """Glance and Cinder have lost their databases."""
    with ExitStack() as stack:
        for service in agents.SERVICES:
            stack.enter_context(cloud.without_database(service))
        yield


def each_worker(resource: Resource) -> None:
    """Make each worker validate the token that the agent remembers."""
    agents.each_worker(resource.processes(), lambda: resource.run("monitor"))


def new_workers(resource: Resource) -> None:
    """Kill the workers; the master starts others, which have never seen a token.

    Wait until they serve: their start must not count into the time of a monitor.
    """
    old = resource.processes()
    for worker in old[1:]:
        worker.send(signal.SIGKILL)
    gone = {worker.pid for worker in old[1:]}
    eventually(lambda: len(pids := resource.pids()) == len(old) and not gone & {*pids})
    new = resource.processes()
    agents.each_worker(new, lambda: eventually(lambda: serves(resource)))


def serves(resource: Resource) -> bool:
    """Whether the daemon answers a request without a token."""
    try:
        return resource.cloud.server(resource.service).get("/").status == 300
    except (OSError, HTTPException):
        return False


def hang(resource: Resource) -> None:
    """Stop every process of the daemon: the socket stays open, and no process answers."""
    process.freeze(resource.processes())


def kill_master(resource: Resource) -> None:
    """Kill the master process and nothing else."""
    master = resource.processes()[0]
    master.send(signal.SIGKILL)
    eventually(lambda: not master.alive())


def kill_master_await_workers(resource: Resource) -> None:
    """Kill the master process, and wait until its workers have ended as well."""
    family = resource.processes()
    kill_master(resource)
    eventually(lambda: not any(member.alive() for member in family))


def nothing_left(resource: Resource) -> str:
    """What is left of the daemon, a process or a listener on its port; "" for nothing."""
    name = resource.agent.name.encode()
    left = [str(found.pid) for found in strangers(resource.cloud) if name in command_line(found)]
    if left:
        return f"still there: {' '.join(left)}"
    listens = agents.listens(resource.cloud, resource.service)
    return "a process still listens on its port" if listens else ""


def command_line(found: Process) -> bytes:
    """The command line of a process; empty if it has gone since it was found."""
    try:
        return Path(f"/proc/{found.pid}/cmdline").read_bytes()
    except OSError:
        return b""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition; LabError if it does not come true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise LabError("the daemon does not do what this demo is about to show")
        time.sleep(process.POLL)


# The table

START = Step("start; back when the daemon serves", "start", 0)

CHAPTERS = (
    Chapter(
        "A day without trouble",
        (
            Step("probe: is it running?", "monitor", 7, interval=0.0),
            START,
            Step("monitor, the first one: fetches a token", "monitor", 0),
            Step("monitor with the token that is remembered", "monitor", 0, each_worker),
        ),
    ),
    Chapter(
        "Keystone is down: the services are not to blame, and stay",
        (
            Step("monitor, the workers know the token", "monitor", 0),
            Step("monitor, the workers do not know it", "monitor", 190, new_workers),
        ),
        keystone_down,
    ),
    Chapter("Keystone is back", (Step("monitor", "monitor", 0),)),
    Chapter(
        f"Keystone hangs (monitors with a timeout of {HANGS:.0f} s)",
        (Step("monitor, new workers", "monitor", 190, new_workers, timeout=HANGS),),
        keystone_hung,
    ),
    Chapter(
        "The monitoring user's password is wrong, then right again",
        (
            Step("monitor", "monitor", 190, parameters={"os_password": "not-the-password"}),
            Step("monitor", "monitor", 0),
        ),
    ),
    Chapter(
        "The databases are gone: the processes run, but cannot serve",
        (
            Step("monitor", "monitor", 1),
            Step("monitor, level 0: sees nothing but processes", "monitor", 0, level=0),
        ),
        databases_gone,
    ),
    Chapter("The databases are back", (Step("monitor", "monitor", 0),)),
    Chapter(
        f"The daemon hangs: all its processes stopped (timeout {HANGS:.0f} s)",
        (
            Step("monitor finds it", "monitor", 1, hang, timeout=HANGS),
            Step("stop: the hung processes too", "stop", 0, after=nothing_left),
            START,
        ),
    ),
    Chapter(
        "The master process is killed",
        (
            Step("monitor: workers hold on, and answer", "monitor", 1, kill_master, only="glance"),
            Step(
                "monitor: its workers have ended with it",
                "monitor",
                7,
                kill_master_await_workers,
                only="cinder",
            ),
            Step("stop", "stop", 0, after=nothing_left),
            Step("stop, though nothing runs", "stop", 0),
            Step("monitor", "monitor", 7),
        ),
    ),
)


def play(cloud: ControlPlane, resources: Sequence[Resource]) -> tuple[int, int]:
    """Show all chapters; how many codes were as expected, and how many were not."""
    right = wrong = 0
    for chapter in CHAPTERS:
        show.line("\n" + show.coloured(chapter.heading, show.BOLD))
        with chapter.around(cloud):
            for step in chapter.steps:
                for resource in resources:
                    if step.only in ("", resource.service):
                        good = perform(step, resource)
                        right, wrong = right + good, wrong + (not good)
    return right, wrong


def perform(step: Step, resource: Resource) -> bool:
    """Do one step with one resource, and show it; whether the result was as expected."""
    if step.before:
        step.before(resource)
    result = resource.run(
        step.action,
        timeout=step.timeout,
        interval=step.interval,
        level=step.level,
        parameters=step.parameters,
    )
    trouble = step.after(resource) if step.after else ""
    if result.code != step.expected:
        trouble = f"expected {step.expected}"
    show.line(row(step, resource, result, trouble))
    if result.reason:
        show.line(f"{'':14}{show.coloured(result.reason, show.DIM)}")
    return not trouble


def row(step: Step, resource: Resource, result: Result, trouble: str) -> str:
    """One line of the table."""
    colour = COLOURS.get(result.code)
    code = show.coloured(f"{result.code:>3} {result.name:<16}", *([colour] if colour else []))
    text = step.text
    if step.after and not trouble:
        text += "; nothing is left"
    mark = show.coloured(f"WRONG: {trouble}", show.BOLD, show.RED) if trouble else "ok"
    return f"  {resource.agent.name:<10}  {text:<48} {code} {result.seconds:6.2f} s  {mark}"


def prepare() -> None:
    """Install what is missing, and say so."""
    if os.geteuid() != 0:
        raise LabError("this needs root: it installs packages and starts daemons as other users")
    with show.step("all packages are there"):
        apt.install((*seed.packages("sqlite"), *PACKAGES))


def demonstrate() -> int:
    """The whole demo; its exit code."""
    begin = time.monotonic()
    prepare()
    with TemporaryDirectory(prefix="openstack-ocf-demo-") as folder, agents.installed() as home:
        show.line(f"{'':11}the agents are installed in {home}")
        with ControlPlane.temporary() as cloud:
            show.line(f"{'':11}the lab is in {cloud.directory} and namespace {cloud.namespace}")
            cloud.up("keystone")
            resources = [
                agents.resource(cloud, home, service, Path(folder)) for service in agents.SERVICES
            ]
            with show.silence():
                right, wrong = play(cloud, resources)
                cloud.destroy()
    left = cloud.directory.exists() or bool(cloud.namespace and netns.exists(cloud.namespace))
    seconds = time.monotonic() - begin
    summary = f"{right} of {right + wrong} exit codes as expected, in {seconds:.0f} s; "
    summary += "SOMETHING IS LEFT BEHIND" if left else "nothing left behind"
    colour = show.RED if wrong or left else show.GREEN
    show.line("\n" + show.coloured(summary, show.BOLD, colour))
    return 1 if wrong or left else 0


def main() -> int:
    """Show the demo; an error of the lab is printed in a line or two."""
    return exit_code("demo", demonstrate)


if __name__ == "__main__":
    sys.exit(main())
