"""The agent killed: between any two system calls of start, stop and adoption, then called again.

strace kills it (`--inject`), at the entrance of each system call in turn that changes something;
the next action does not know of it. The promises: a probe says what runs, after a start one daemon
serves, a stop ends all of it, and no file of the killed agent is left for ever.
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
"""System calls that change a file or a process, or ask another process to. Between two of them
nothing changes, so that a kill there is the same as a kill before the second."""

Boundary = tuple[str, int]
"""The entrance of a system call: its name, and its number among the calls of this name."""


@pytest.fixture
def strace(need: Need) -> str:
    """strace, on a machine where it may trace."""
    return need("strace", "strace")


def killing(strace: str, boundary: Boundary) -> list[str]:
    """A prefix by which a program is killed at the boundary.

    Only its first thread is traced, never the daemon. strace ends as the program does.
    """
    call, number = boundary
    inject = f"--inject={call}:signal=SIGKILL:when={number}"
    return [strace, "-qq", "-o", "/dev/null", f"--trace={call}", inject]


def boundaries(strace: str, service: Service, action: str, **options: Any) -> list[Boundary]:
    """Run an action, undisturbed, and return the calls that it made, without those that failed."""
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
    """The files in HA_RSCTMP, without the last verdicts of its monitors, which stay."""
    last = {f"openstack/{service.tag}.{level}.last" for level in (0, 10)}
    return {str(path.relative_to(service.rsctmp)) for path in service.rsctmp.rglob("*")} - last


# ---- the actions that are interrupted


def nothing(service: Service) -> None:
    """Nothing was ever started."""


def running(service: Service) -> None:
    expect(service.start(), 0)
    eventually(lambda: len(service.pids()) == 3)


def orphaned(service: Service) -> None:
    running(service)
    service.orphan()


def adoptable(service: Service) -> None:
    start_by_shell(service)


@dataclass(frozen=True)
class Walk:
    """An action that is killed at every boundary, from the same state each time.

    parts: into how many the boundaries are divided, so that the agents can take turns.
    calls: the system calls that matter, if other walks have the rest.
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
    """Wherever an action is killed: probe is right, after start one daemon runs, stop ends all."""
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
            expect(result, 0)  # it made fewer calls this time
        recovers(service, turn)
    assert killed >= 2, "strace has killed too few"
    assert clean == files(service), "files of a killed agent are left for ever"


def recovers(service: Service, turn: int) -> None:
    """The actions that may follow a kill, in one order or the other."""
    look: dict[str, Any] = {} if turn % 2 else {"interval": 10, "level": 0}
    tells_the_truth(service, lambda: service.call(**look))
    if turn % 3:
        expect(service.start(), 0)
        one_daemon(service)
    expect(service.stop(parameters={"shutdown_timeout": 1}), 0)
    assert not service.pids()
    assert not service.processes()
    expect(service.probe(), 7)


# ---- killed in the middle of a long wait


@pytest.mark.parametrize("then", ["start", "stop", "probe"])
def test_start_killed_while_it_waits(make_service: MakeService, then: str) -> None:
    """After an agent was killed in the middle of a start, every action does what it should."""
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
    """The next action waits for a child that is between fork and exec: one daemon runs, or none."""
    slow = [strace, "-f", "-qq", "-o", "/dev/null", "--trace=execve"]
    starting = service.begin("start", prefix=[*slow, "--inject=execve:delay_enter=2000000"])
    agent = eventually(lambda: _agent(service, starting.process.pid))
    child = eventually(lambda: children_of(agent))  # before its exec of the daemon
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
    """A start may be killed after any time: the effect is the same as between two calls."""
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
    """After an agent was killed during a stop, living processes are seen, and then ended."""
    service = make_service(slow_term=60)
    expect(service.start(), 0)
    before = service.master()
    stopping = service.begin("stop")
    # the daemon has got TERM
    eventually(lambda: "ending" in service.log_file.read_text(encoding="utf-8"))
    stopping.kill()
    stopping.wait()
    if then == "start":
        expect(service.start(), 0)  # it serves until it ends
        assert before == service.master()
    elif then == "probe":
        expect(service.probe(), 0)
    expect(service.stop(timeout=SHORT), 0)
    stops(service)


def test_killed_again_and_again(service: Service, strace: str) -> None:
    """Starts that are killed one after the other, each one call later, leave one daemon or none."""
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
    """After agent and daemon were killed at once, as by the OOM killer, all actions work."""
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

