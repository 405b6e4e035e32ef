"""The agent killed: between any two system calls of start, stop and adoption, then called again.

strace kills it (`--inject`), at the entrance of each system call in turn that changes something;
the next action is told nothing of it. The promises: a probe tells what there is, a start makes
it one daemon that serves, a stop ends all of it, and no file of the killed is left for ever.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.kit import one_daemon, start_cut_short, tells_the_truth, truth
from harness import SHORT, expect, stops
from lookalike.service import MakeService, Service
from lookalike.strangers import start_by_shell
from looks import children_of, eventually, masters, signal_all, words_of

pytestmark = pytest.mark.shared

Need = Callable[[str, str], str]

CHANGES = (
    "write,pwrite64,rename,renameat,renameat2,link,linkat,symlink,unlink,unlinkat,mkdir,mkdirat,"
    "rmdir,flock,fcntl,chmod,fchmod,chown,fchown,ftruncate,truncate,setresuid,setresgid,"
    "fork,vfork,clone,clone3,kill,pidfd_send_signal,connect,sendto"
)
"""System calls that change a file or a process, or ask somebody to. Between two of them nothing
changes, so that to be killed there is to be killed before the second."""

Boundary = tuple[str, int]
"""The entrance of a system call: its name, and how many of this name it makes."""


@pytest.fixture
def strace(need: Need) -> str:
    """strace, on a machine where it may trace."""
    return need("strace", "strace")


def killing(strace: str, boundary: Boundary) -> list[str]:
    """A prefix by which a program dies at the boundary.

    Its first thread alone is traced, and never the daemon. strace ends as the program does.
    """
    call, number = boundary
    inject = f"--inject={call}:signal=SIGKILL:when={number}"
    return [strace, "-qq", "-o", "/dev/null", f"--trace={call}", inject]


def boundaries(strace: str, service: Service, action: str, **options: Any) -> list[Boundary]:
    """Let an action run, undisturbed, and return what calls it made, less those that failed."""
    trace = service.folder / "trace"
    prefix = [strace, "-qq", "-o", str(trace), f"--trace={CHANGES}"]
    expect(service.call(action, prefix=prefix, **options), 0)
    made: dict[str, int] = {}
    found = []
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        call = line.partition("(")[0]
        made[call] = made.get(call, 0) + 1
        if " = -1 " not in line:
            found.append((call, made[call]))
    return found


def files(service: Service) -> set[str]:
    """What there is in HA_RSCTMP, but the last verdicts of its monitors: these stay."""
    last = {f"openstack/{service.tag}.{level}.last" for level in (0, 10)}
    return {str(path.relative_to(service.rsctmp)) for path in service.rsctmp.rglob("*")} - last


# ---- what is interrupted


def nothing(service: Service) -> None:
    """The state before a first start."""


def running(service: Service) -> None:
    expect(service.start(), 0)
    eventually(lambda: len(service.pids()) == 3)


def orphaned(service: Service) -> None:
    running(service)
    os.kill(service.master(), signal.SIGKILL)
    eventually(lambda: len(service.pids()) == 2)


def adoptable(service: Service) -> None:
    start_by_shell(service)


@dataclass(frozen=True)
class Walk:
    """An action that is killed at every boundary, from the same state each time.

    parts: into which the boundaries are dealt, so that the agents can take turns.
    calls: those that matter, where other walks have the rest.
    """

    action: str
    before: Callable[[Service], None] = nothing
    parts: int = 2
    calls: str = CHANGES
    options: dict[str, Any] = field(default_factory=dict)
    behaviour: dict[str, object] = field(default_factory=dict)


DEAF: dict[str, object] = {"ignore_term": "both"}
LIVE: dict[str, object] = {"orphans": "live"}
WALKS = {
    "start": Walk("start", parts=4),
    "start-running": Walk("start", running, parts=1),
    "start-orphaned": Walk(
        "start", orphaned, calls="pidfd_send_signal,kill,unlink,fork,vfork,clone", behaviour=LIVE
    ),
    "stop": Walk("stop", running),
    "stop-deaf": Walk(
        "stop", running, calls="pidfd_send_signal,kill",
        options={"parameters": {"shutdown_timeout": 1}}, behaviour=DEAF,
    ),
    "stop-orphaned": Walk("stop", orphaned, behaviour=LIVE),
    "stop-adopted": Walk("stop", adoptable),
    "probe-adopting": Walk("monitor", adoptable),
    "monitor-adopting": Walk("monitor", adoptable, options={"interval": 30}),
}


def _cases() -> list[Any]:
    return [
        pytest.param(walk, part, id=f"{name}-{part + 1}of{walk.parts}")
        for name, walk in WALKS.items()
        for part in range(walk.parts)
    ]


@pytest.mark.parametrize(("walk", "part"), _cases())
def test_killed_at_every_boundary(
    make_service: MakeService, strace: str, walk: Walk, part: int
) -> None:
    """Wherever an action is killed: probe tells the truth, start makes it one, stop ends all."""
    service = make_service(**walk.behaviour)
    options = {"timeout": 60, **walk.options}
    walk.before(service)
    points = boundaries(strace, service, walk.action, **options)
    points = [point for point in points if point[0] in walk.calls.split(",")]
    expect(service.stop(parameters={"shutdown_timeout": 1}), 0)
    clean = files(service)
    killed = 0
    for turn, boundary in enumerate(points[part :: walk.parts]):
        walk.before(service)
        result = service.call(walk.action, prefix=killing(strace, boundary), **options)
        if result.code == -signal.SIGKILL:
            killed += 1
        else:
            expect(result, 0)  # it had to look less often this time
        recovers(service, turn)
    assert killed >= 2, "strace has killed too few"
    assert clean == files(service), "files of the killed are left for ever"


def recovers(service: Service, turn: int) -> None:
    """All that may follow on a kill: the actions in one order or the other."""
    look: dict[str, Any] = {} if turn % 2 else {"interval": 10, "level": 0}
    tells_the_truth(service, lambda: service.call(**look))
    if turn % 3:
        expect(service.start(), 0)
        one_daemon(service)
    expect(service.stop(parameters={"shutdown_timeout": 1}), 0)
    assert not service.pids()
    assert not service.processes()
    expect(service.probe(), 7)


# ---- killed in the middle of what takes long


@pytest.mark.parametrize("then", ["start", "stop", "probe"])
def test_start_killed_while_it_waits(make_service: MakeService, then: str) -> None:
    """After the agent was killed in the middle of a start, every action does what it should."""
    service = make_service(listen_after=1.5)
    before = start_cut_short(service)
    if then == "start":
        expect(service.start(), 0)
        assert before == one_daemon(service)
    elif then == "probe":
        expect(service.probe(), 0)
    stops(service)


@pytest.mark.parametrize("then", ["start", "stop"])
def test_killed_between_fork_and_exec(service: Service, strace: str, then: str) -> None:
    """A daemon that is not one yet when its agent is killed is waited for: one, or none."""
    slow = [strace, "-f", "-qq", "-o", "/dev/null", "--trace=execve"]
    starting = service.begin("start", prefix=[*slow, "--inject=execve:delay_enter=2000000"])
    agent = eventually(lambda: _agent(service, starting.process.pid))
    child = eventually(lambda: children_of(agent))  # on its way to become the daemon
    os.kill(agent, signal.SIGKILL)
    result = service.call(then, timeout=60)
    expect(result, 0)
    eventually(lambda: not os.path.exists(f"/proc/{child[0]}") or child[0] in service.pids())
    if then == "start":
        one_daemon(service)
    else:
        assert not service.pids()
    starting.kill()
    starting.wait()
    stops(service)


def _agent(service: Service, tracer: int) -> int:
    """The agent under strace, once it is no longer a child that strace has forked."""
    for pid in children_of(tracer):
        words = words_of(pid)
        if str(service.agent) in words and "--trace=execve" not in words:
            return pid
    return 0


def test_start_killed_at_any_time(service: Service) -> None:
    """A start that is killed after any time, within whatever it does: as between two calls."""
    for milliseconds in range(10, 130, 24):
        starting = service.begin("start")
        time.sleep(milliseconds / 1000)  # not a wait for something: the place of the fault
        starting.kill()
        starting.wait()
        tells_the_truth(service, service.probe)
        expect(service.start(), 0)
        one_daemon(service)
        stops(service)


@pytest.mark.parametrize("then", ["stop", "start", "probe"])
def test_stop_killed_while_it_waits(make_service: MakeService, then: str) -> None:
    """After the agent was killed in the middle of a stop, what lives is seen, and then ended."""
    service = make_service(slow_term=60)
    expect(service.start(), 0)
    before = service.master()
    stopping = service.begin("stop")
    # the daemon has heard TERM
    eventually(lambda: "ending" in service.log_file.read_text(encoding="utf-8"))
    stopping.kill()
    stopping.wait()
    if then == "start":
        expect(service.start(), 0)  # it serves on, and nobody says how long
        assert before == service.master()
    elif then == "probe":
        expect(service.probe(), 0)
    expect(service.stop(timeout=SHORT), 0)
    stops(service)


def test_killed_again_and_again(service: Service, strace: str) -> None:
    """Starts that are killed one after the other, each a call later, leave one daemon or none."""
    points = boundaries(strace, service, "start", timeout=60)
    expect(service.stop(), 0)
    for boundary in points:
        service.call("start", prefix=killing(strace, boundary))
        assert len(masters(service.pids())) <= 1, "two daemons"
    tells_the_truth(service, service.probe)
    expect(service.start(), 0)
    one_daemon(service)
    stops(service)


def test_killed_and_the_daemon_too(service: Service) -> None:
    """Agent and daemon killed at once, as by the kernel out of memory: nothing runs, all works."""
    starting = service.begin("start")
    eventually(service.master_or_none)
    starting.kill()
    signal_all(service.pids(), signal.SIGKILL)
    starting.wait()
    service.config.kill()
    assert truth(service) == 7
    expect(service.probe(), 7)
    expect(service.start(), 0)
    stops(service)

