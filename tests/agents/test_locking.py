"""Two actions of one instance at once, and the lock between them.

The promises: never two daemons; the second action waits, and says so if the time is not enough;
no monitor calls a daemon gone that is being started or stopped; when the agent that has the lock
ends, however it ends, the lock is free.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.kit import one_daemon, put_junk, tells_the_truth, truth
from harness import SHORT, Running, expect, stops
from lookalike.managed import USER
from lookalike.service import MakeService, Service
from looks import eventually, masters

pytestmark = pytest.mark.shared

Need = Callable[[str, str], str]
BUSY = "still at work"


def together(service: Service, *actions: str) -> list[Running]:
    return [service.begin(action, timeout=60) for action in actions]


# ---- starts and stops


@pytest.mark.parametrize("count", [2, 10])
def test_starts_at_once(service: Service, count: int) -> None:
    """However many starts come at once, they all succeed, with one daemon."""
    for one in together(service, *["start"] * count):
        expect(one.wait(), 0)
    assert [one_daemon(service)] == masters(service.pids())
    stops(service)


@pytest.mark.parametrize("count", [2, 10])
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_stops_at_once(service: Service, count: int, running: bool) -> None:
    """However many stops come at once, they all succeed."""
    if running:
        expect(service.start(), 0)
    for one in together(service, *["stop"] * count):
        expect(one.wait(), 0)
    stops(service)


def test_stop_during_stop(make_service: MakeService) -> None:
    """A stop that meets a slow stop waits for it, and both say 0 with nothing left."""
    service = make_service(slow_term=2)
    expect(service.start(), 0)
    first = service.begin("stop", timeout=60)
    eventually(lambda: "ending" in service.log_file.read_text(encoding="utf-8"))
    expect(service.stop(), 0)
    assert not service.pids()
    expect(first.wait(), 0)
    stops(service)


MIXTURES = [
    ("start", "stop"),
    ("stop", "start"),
    ("start", "stop", "start", "stop"),
    ("start", "start", "stop", "reload-agent"),
]


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("actions", MIXTURES, ids="-".join)
def test_mixture_at_once(service: Service, actions: tuple[str, ...], running: bool) -> None:
    """Starts and stops at once all succeed, in whatever order, and leave one daemon or none."""
    if running:
        expect(service.start(), 0)
    for one in together(service, *actions):
        result = one.wait()
        expect(result, 7 if one.action == "reload-agent" and result.code == 7 else 0)
    expect(service.probe(), 0 if service.pids() else 7)
    assert len(masters(service.pids())) <= 1
    expect(service.start(), 0)
    one_daemon(service)
    stops(service)


@pytest.mark.parametrize("ready", [True, False], ids=["gets-ready", "never-ready"])
def test_stop_during_start(make_service: MakeService, ready: bool) -> None:
    """A stop during a start ends the daemon that the start has begun."""
    service = make_service(**({"listen_after": 1} if ready else {"never_listen": "yes"}))
    starting = service.begin("start", timeout=SHORT)
    eventually(service.pids)
    stopping = service.begin("stop", timeout=60)
    assert starting.wait().code in (0, 1)
    expect(stopping.wait(), 0)
    assert not service.pids()
    stops(service)


def test_start_during_stop(make_service: MakeService) -> None:
    """A start during a slow stop waits for its end, and starts another daemon."""
    service = make_service(slow_term=2)
    expect(service.start(), 0)
    before = service.master()
    stopping = service.begin("stop", timeout=60)
    eventually(lambda: "ending" in service.log_file.read_text(encoding="utf-8"))
    expect(service.start(), 0)
    expect(stopping.wait(), 0)
    assert before != one_daemon(service)


# ---- monitors meanwhile


LOOKS: dict[str, dict[str, Any]] = {
    "probe": {},
    "process": {"interval": 10, "level": 0},
    "api": {"interval": 30},
}


@pytest.mark.parametrize("look", LOOKS)
def test_monitor_during_start(make_service: MakeService, look: str) -> None:
    """While a daemon is being started no monitor calls it gone, or forgets it."""
    service = make_service(listen_after=3)
    starting = service.begin("start", timeout=60)
    eventually(service.pids)
    looks = 0
    while starting.process.poll() is None:
        tells_the_truth(service, lambda: service.call(**LOOKS[look]), serves=look != "api")
        looks += 1
    assert looks
    expect(starting.wait(), 0)
    one_daemon(service)
    stops(service)


@pytest.mark.parametrize("look", LOOKS)
def test_monitor_during_stop(make_service: MakeService, look: str) -> None:
    """While a daemon is being stopped no monitor calls it gone too early, or remembers it anew."""
    service = make_service(slow_term=3)
    expect(service.start(), 0)
    stopping = service.begin("stop", timeout=60)
    eventually(lambda: "ending" in service.log_file.read_text(encoding="utf-8"))
    looks = 0
    while stopping.process.poll() is None:
        # The workers end before their master, which then does not serve for a moment.
        tells_the_truth(service, lambda: service.call(**LOOKS[look]), serves=look != "api")
        looks += 1
    assert looks
    expect(stopping.wait(), 0)
    assert not service.pids()
    expect(service.call(**LOOKS[look]), 7)
    stops(service)


@pytest.mark.own
@pytest.mark.parametrize("look", LOOKS)
def test_monitor_against_stop(service: Service, look: str) -> None:
    """Monitors that take over a daemon while it is stopped leave no wrong state behind."""
    for _ in range(3):
        expect(service.start(), 0)
        service.state_file.unlink()
        service.pidfile.unlink()
        looking = [service.begin(timeout=20, **LOOKS[look]) for _ in range(3)]
        expect(service.stop(), 0)
        for one in looking:
            one.wait()
        expect(service.probe(), 7)
        expect(service.start(), 0)
        one_daemon(service)
        stops(service)


@pytest.mark.own
def test_reload_during_start(make_service: MakeService) -> None:
    """A reload that meets a start does not wait, and does not disturb it."""
    service = make_service(listen_after=1.5)
    starting = service.begin("start", timeout=60)
    eventually(service.state_file.exists)
    expect(service.call("reload-agent"), 0)
    expect(starting.wait(), 0)
    one_daemon(service)


# ---- the holder of the lock


@pytest.fixture
def holder(make_service: MakeService) -> tuple[Service, Running]:
    """A start that runs for some seconds more: another action can come meanwhile."""
    service = make_service(listen_after=6)
    starting = service.begin("start", timeout=60)
    eventually(service.pids)
    return service, starting


@pytest.mark.parametrize("action", ["start", "stop"])
def test_holder_stopped(holder: tuple[Service, Running], action: str) -> None:
    """An action that waits for an agent that hangs says so in time, and changes nothing."""
    service, starting = holder
    os.kill(starting.process.pid, signal.SIGSTOP)
    before = service.master()
    expect(service.call(action, timeout=5), 1, BUSY)
    assert before == service.master()
    tells_the_truth(service, service.probe)
    os.kill(starting.process.pid, signal.SIGCONT)
    expect(starting.wait(), 0)
    assert before == one_daemon(service)
    stops(service)


@pytest.mark.parametrize("action", ["start", "stop"])
@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "at-work"])
def test_holder_killed(holder: tuple[Service, Running], action: str, stopped: bool) -> None:
    """An action that waits for an agent goes on at once when that is killed."""
    service, starting = holder
    if stopped:
        os.kill(starting.process.pid, signal.SIGSTOP)
    waiting = service.begin(action, timeout=30)
    starting.kill()
    starting.wait()
    expect(waiting.wait(), 0)
    if action == "start":
        one_daemon(service)
    stops(service)


@pytest.mark.own
def test_daemon_does_not_hold_it(service: Service) -> None:
    """The daemon does not inherit the lock: while it runs, no action waits for it."""
    expect(service.start(), 0)
    locks = {os.stat(path).st_ino for path in service.state_folder.glob("*.lock")}
    for pid in service.pids():
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            assert entry.stat().st_ino not in locks
    expect(service.start(timeout=20), 0)
    expect(service.stop(timeout=20), 0)


# ---- the file of the lock


def lock_of(service: Service) -> Path:
    return service.state_folder / f"{service.tag}.lock"


@pytest.mark.own
@pytest.mark.parametrize("kind", ["directory", "symlink", "dangling", "fifo", "socket", "device"])
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_lock_junk(service: Service, kind: str, running: bool) -> None:
    """With junk in place of the lock stop works without it; start does as well, or says why not."""
    service.state_folder.mkdir(mode=0o700)
    if running:
        expect(service.start(), 0)
        lock_of(service).unlink()
    put_junk(lock_of(service), kind)
    result = service.start()
    expect(result, *((0,) if result.code == 0 else (1, str(service.state_folder)[:60])))
    assert result.code == 0 or kind not in ("fifo", "device")
    expect(service.probe(), truth(service))
    expect(service.stop(), 0)
    assert not service.pids()
    expect(service.probe(), 7)


@pytest.mark.own
def test_lock_of_others(service: Service) -> None:
    """A lock that another user owns, in a folder that is root's alone, works like any other."""
    service.state_folder.mkdir(mode=0o700)
    put_junk(lock_of(service), "junk")
    shutil.chown(lock_of(service), USER)
    lock_of(service).chmod(0)
    for one in together(service, "start", "start"):
        expect(one.wait(), 0)
    one_daemon(service)
    stops(service)


@pytest.mark.own
@pytest.mark.parametrize("second", ["start", "stop"])
def test_lock_unlinked(holder: tuple[Service, Running], second: str) -> None:
    """If the lock of a running start is removed, two actions run at once: still no two daemons."""
    service, starting = holder
    lock_of(service).unlink()
    result = service.call(second, timeout=30)
    first = starting.wait()
    expect(result, 0)
    if second == "start":
        expect(first, 0)
        one_daemon(service)
    else:
        assert first.code == 1
        assert not service.pids()
    stops(service)


@pytest.mark.own
@pytest.mark.parametrize("lost", ["lock", "folder"])
def test_lock_unlinked_before_fork(service: Service, need: Need, lost: str) -> None:
    """If the lock is removed before its holder has started the daemon, there are no two daemons."""
    slow = [need("strace", "strace"), "-qq", "-o", "/dev/null", "--trace=fork,vfork,clone"]
    prefix = [*slow, "--inject=fork,vfork,clone:delay_enter=2000000"]
    expect(service.probe(), 7)
    first = service.begin("start", timeout=60, prefix=prefix)
    eventually(lambda: lock_of(service).exists() and not _free(lock_of(service)))
    if lost == "folder":
        shutil.rmtree(service.state_folder)
    else:
        lock_of(service).unlink()
    both = [service.start(), first.wait()]
    late = [one for one in both if one.code]
    assert len(late) < 2
    for one in late:
        expect(one, 1, "the lock of this resource was removed meanwhile")
    assert len(masters(service.pids())) == 1
    one_daemon(service)
    stops(service)


def _free(lock: Path) -> bool:
    """Whether no process holds the lock."""
    import fcntl

    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
