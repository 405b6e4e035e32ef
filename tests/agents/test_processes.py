"""The state machine of an instance, with faults: stopped, starting, running, orphaned, adopted.

The promises: stop 0 and monitor 7 mean that nothing of the instance is alive; start 0 means that
it serves; there are never two daemons; no other process is harmed; an action ends by itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.kit import one_daemon
from harness import SHORT, TAG, expect, stops
from lookalike.ports import free_port
from lookalike.service import MakeService, Service
from lookalike.strangers import Strangers, sister_daemon
from looks import PATIENCE, eventually, fields_of, signal_all, words_of

pytestmark = pytest.mark.shared

# ---- starting

DEATHS = [
    pytest.param({"exit_at_once": 3}, ("ended with 3", "no such table"), id="at-once"),
    pytest.param({"exit_at_once": 0}, ("no such table",), id="at-once-with-0"),
    pytest.param({"exit_after": 1, "never_listen": "yes"}, ("no such table",), id="after-1s"),
    pytest.param({"exit_after": 1, "public": "hang"}, ("no such table",), id="listening"),
    pytest.param({"double_fork": "yes"}, ("ended with 0",), id="daemonises"),
]


@pytest.mark.parametrize(("behaviour", "words"), DEATHS)
def test_dies_at_start(
    make_service: MakeService, behaviour: dict[str, object], words: tuple[str, ...]
) -> None:
    """A daemon that ends at start is reported with its own last words, long before the timeout."""
    service = make_service(last_words="OperationalError: no such table", **behaviour)
    result = expect(service.start(timeout=120), 1, *words)
    assert result.seconds < 100, "waited for the dead"
    assert service.gone()
    stops(service)


def test_dies_of_the_first_question(make_service: MakeService) -> None:
    """A daemon whose workers serve, but whose master has ended meanwhile, has not started."""
    service = make_service(fatal_request="yes")
    expect(service.start(), 1, "was killed by signal 9")
    assert service.gone()
    expect(service.monitor(), 7)


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.05, 0.1, 0.2])
def test_dies_as_it_gets_ready(make_service: MakeService, seconds: float) -> None:
    """If a daemon ends between its first answer and the end of start, that is 0 or 1, monitor 7."""
    service = make_service(exit_after_ready=seconds)
    result = service.start()
    expect(result, result.code if result.code == 1 else 0)
    eventually(lambda: not service.pids())
    expect(service.monitor(), 7)
    expect(service.probe(), 7)
    stops(service)


def test_dies_silently(make_service: MakeService) -> None:
    """A daemon that is killed by a signal during start is reported with the signal."""
    service = make_service(never_listen="yes")
    running = service.begin("start", timeout=120)
    os.kill(eventually(service.pids)[0], signal.SIGKILL)
    expect(running.wait(), 1, "signal 9")
    stops(service)


NOT_READY = [
    pytest.param({"never_listen": "yes"}, ("listens on no TCP port",), id="never-listens"),
    pytest.param({"public": "500"}, ("500",), id="answers-500"),
    pytest.param({"public": "hang"}, ("in time",), id="hangs"),
    pytest.param({"public": "nonsense"}, ("HTTP",), id="not-http"),
    pytest.param(
        {"never_listen": "yes", "ignore_term": "both"}, ("listens",), id="ignores-term"
    ),
]


@pytest.mark.parametrize(("behaviour", "words"), NOT_READY)
def test_never_ready(
    make_service: MakeService, behaviour: dict[str, object], words: tuple[str, ...]
) -> None:
    """A daemon that does not get ready is reported before the timeout, and nothing is left."""
    service = make_service(**behaviour)
    expect(service.start(timeout=SHORT), 1, "did not get ready", *words)
    assert service.gone()
    stops(service)


def test_stopped_by_signal_as_it_starts(make_service: MakeService) -> None:
    """A daemon that hangs before it is ready is reported before the timeout, and ended."""
    service = make_service(never_listen="yes")
    starting = service.begin("start", timeout=SHORT)
    signal_all(eventually(service.pids), signal.SIGSTOP)
    expect(starting.wait(), 1, "did not get ready")
    assert service.gone()
    stops(service)


def test_becomes_another_program(make_service: MakeService) -> None:
    """A daemon that goes on as another program, with the same pid, is the same daemon."""
    service = make_service()
    other = service.folder / "bin" / "another"
    shutil.copyfile(service.binary, other)
    other.chmod(0o755)
    service.config.set(exec_as=other)
    expect(service.start(), 0)
    before = one_daemon(service)
    expect(service.start(), 0)
    assert before == one_daemon(service)
    stops(service)


def test_gets_ready_late(make_service: MakeService) -> None:
    """start waits for a daemon that takes its time."""
    service = make_service(listen_after=1.5)
    expect(service.start(), 0)
    one_daemon(service)


def test_other_port(make_service: MakeService) -> None:
    """The daemon's address is looked up, not assumed."""
    port = free_port()
    service = make_service(listen_port=port)
    expect(service.start(), 0)
    one_daemon(service)
    service.config.set(public="500")
    expect(service.monitor(), 1, str(port))


@contextmanager
def mute(service: Service, host: str = "127.0.0.1") -> Iterator[None]:
    """Listen on the service's port, and never answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, service.config.port))
        listener.listen()
        yield


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_port_taken(make_service: MakeService, host: str) -> None:
    """If another process has the port, start fails."""
    service = make_service()
    with mute(service, host):
        expect(service.start(timeout=SHORT), 1, service.agent.name)
        assert service.gone()
        stops(service)
    expect(service.start(), 0)


@pytest.mark.parametrize("reuse_port", [None, "yes"], ids=["alone", "shared"])
def test_port_answers(
    make_service: MakeService, stranger: Strangers, folder: Path, reuse_port: str | None
) -> None:
    """Another daemon on the port is not taken for ours, even if it answers and shares the port."""
    service = make_service(reuse_port=reuse_port)
    other = sister_daemon(folder, port=service.config.port, reuse_port=reuse_port)
    stranger(service.binary, "--config-file", other.path)
    eventually(lambda: len(other.pids()) == 3)
    expect(service.start(timeout=SHORT), 1, service.agent.name)
    assert service.gone()
    stops(service)
    assert 3 == len(other.pids())


# ---- running


def test_dies_when_ready(service: Service) -> None:
    """A daemon whose processes are all gone is not running, and can be started again."""
    expect(service.start(), 0)
    service.config.kill()
    expect(service.probe(), 7)
    expect(service.monitor(), 7)
    expect(service.start(), 0)
    stops(service)


@pytest.mark.parametrize(("orphans", "code"), [("end", 7), ("live", 1)])
def test_dies_under_the_question(make_service: MakeService, orphans: str, code: int) -> None:
    """A daemon that ends while the monitor asks is gone or orphaned: not "cuts the connection"."""
    service = make_service(credentials=True, orphans=orphans)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    service.config.set(api="close", fatal_request="yes")
    words = ["stop ends them"] if code == 1 else []
    result = service.monitor()
    if orphans == "end" and result.code == 1:
        # Its workers still lived at the time of the second look.
        expect(result, 1, "stop ends them")
        eventually(lambda: not service.pids())
        result = service.monitor()
    expect(result, code, *words)
    stops(service)


def test_workers_die(service: Service) -> None:
    """A daemon that has replaced its lost workers is healthy."""
    expect(service.start(), 0)
    before = service.workers()
    signal_all(before, signal.SIGKILL)
    eventually(lambda: len(service.pids()) == 3 and not set(before) & set(service.pids()))
    one_daemon(service)
    stops(service)


def test_dies_by_itself(make_service: MakeService) -> None:
    """A daemon that ends some time after it was ready is not running."""
    service = make_service(exit_after_ready=8)  # start needs some of them on a busy machine
    expect(service.start(), 0)
    eventually(lambda: not service.pids())
    expect(service.monitor(), 7)


GONE: dict[str, Callable[[Service], None]] = {
    "binary": lambda service: service.binary.unlink(),
    "config": lambda service: service.config.path.unlink(),
    "user": lambda service: service.parameters.update(user="no-such-user"),
    "log": lambda service: shutil.rmtree(service.log_file.parent),
}


@pytest.mark.parametrize("kind", [*GONE, "all"])
@pytest.mark.parametrize("lost", ["", pytest.param("state", marks=pytest.mark.own)])
def test_installation_gone(service: Service, kind: str, lost: str) -> None:
    """Monitor and stop need neither binary, configuration nor user, with or without a state."""
    expect(service.start(), 0)
    for name, take_away in GONE.items():
        if kind in (name, "all"):
            take_away(service)
    if lost:
        service.state_file.unlink()
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    expect(service.stop(), 0)
    assert not service.pids()


# ---- running: hung, or not ended by TERM


def test_stopped_by_signal(service: Service) -> None:
    """A daemon stopped by SIGSTOP runs, but does not serve, and stop ends it."""
    expect(service.start(), 0)
    signal_all(service.pids(), signal.SIGSTOP)
    expect(service.probe(), 0)
    expect(service.monitor(level=0), 0)
    expect(service.monitor(timeout=SHORT), 1, "in time")
    stops(service)


def test_stopped_by_signal_as_it_ends(make_service: MakeService) -> None:
    """A daemon that stops again while it ends is continued again, as sudo beside its child."""
    service = make_service(slow_term=5)
    expect(service.start(), 0)
    signal_all(service.pids(), signal.SIGSTOP)
    stopping = service.begin("stop", timeout=600, parameters={"shutdown_timeout": 600})
    eventually(lambda: ["T"] not in [fields_of(pid)[:1] for pid in service.pids()])
    signal_all(service.pids(), signal.SIGSTOP)
    eventually(lambda: not service.pids(), 2 * PATIENCE)
    expect(stopping.wait(), 0)


UNWILLING = [
    pytest.param({"ignore_term": "workers"}, id="workers-ignore"),
    pytest.param({"ignore_term": "master"}, id="master-ignores"),
    pytest.param({"ignore_term": "both"}, id="both-ignore"),
    pytest.param({"ignore_term": "workers", "term_grace": 1}, id="master-goes-first"),
    pytest.param({"orphan_on_term": "yes"}, id="leaves-orphans"),
    pytest.param({"orphan_on_term": "yes", "ignore_term": "workers"}, id="deaf-orphans"),
    pytest.param({"worker_leaves_session": "yes"}, id="leaves-session"),
    pytest.param(
        {"worker_leaves_session": "yes", "ignore_term": "both"}, id="leaves-session-and-ignores"
    ),
    pytest.param({"slow_term": 600}, id="too-slow"),
    pytest.param({"storm": 100}, id="forks-at-term"),
    # all processes that were seen end within the time for grace, but not those started meanwhile
    pytest.param({"storm": 5, "request_grace": 0}, id="forks-and-ends"),
    pytest.param({"storm": 100, "ignore_term": "master"}, id="forks-and-ignores"),
    pytest.param(
        {"worker_life": 0.02, "request_grace": 0, "ignore_term": "master"}, id="reborn-workers"
    ),
]


@pytest.mark.parametrize("behaviour", UNWILLING)
def test_unwilling(make_service: MakeService, behaviour: dict[str, object]) -> None:
    """Processes that do not end by TERM in shutdown_timeout are killed, and stop is 0."""
    service = make_service(**behaviour)
    expect(service.start(), 0)
    expect(service.stop(timeout=120, parameters={"shutdown_timeout": 1}), 0)
    assert not service.pids()
    stops(service)


@pytest.mark.parametrize("timeout", [3, 5])
def test_short_stop(make_service: MakeService, timeout: float) -> None:
    """However short the timeout of stop is, processes that ignore TERM are gone before it."""
    service = make_service(ignore_term="both")
    expect(service.start(), 0)
    expect(service.stop(timeout=timeout), 0)
    assert not service.pids()
    stops(service)


def test_graceful(make_service: MakeService) -> None:
    """A daemon that ends by TERM in time is not killed."""
    service = make_service(slow_term=1)
    expect(service.start(), 0)
    stops(service)
    assert "INFO lookalike [-] ended" in service.log_file.read_text(encoding="utf-8")


def test_request_under_way(make_service: MakeService) -> None:
    """A request that is being answered may be finished before the end."""
    service = make_service(public_slow=2, request_grace=30)
    service.config.set(public_slow=None)
    expect(service.start(), 0)
    service.config.set(public_slow=2)
    before = len(service.config.requests())
    with socket.create_connection((service.config.host, service.config.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: len(service.config.requests()) > before)
        expect(service.stop(), 0)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert b'"versions"' in answer


# ---- orphaned


@pytest.fixture(params=[
    "plain", "left-session", pytest.param("state-lost", marks=pytest.mark.own),
    pytest.param("left-session-state-lost", marks=pytest.mark.own),
])  # fmt: skip
def orphaned(request: pytest.FixtureRequest, make_service: MakeService) -> Service:
    """A service whose master was killed, and whose workers go on serving."""
    behaviour = {"worker_leaves_session": "yes"} if "left" in request.param else {}
    service = make_service(orphans="live", **behaviour)
    expect(service.start(), 0)
    service.orphan()
    if "lost" in request.param:
        service.state_file.unlink()
    return service


def test_orphans_seen(orphaned: Service) -> None:
    """Workers without their master are neither running nor stopped: every monitor is 1."""
    for _ in range(2):
        expect(orphaned.probe(), 1, "master process is gone")
        expect(orphaned.monitor(), 1, "master process is gone")
        expect(orphaned.monitor(level=0), 1, "master process is gone")
        expect(orphaned.call("status"), 1, "master process is gone")


def test_orphans_stopped(orphaned: Service) -> None:
    """stop ends workers without a master."""
    stops(orphaned)


def test_orphans_replaced(orphaned: Service) -> None:
    """start ends workers without a master, and starts a new daemon."""
    before = orphaned.pids()
    expect(orphaned.start(), 0)
    one_daemon(orphaned)
    assert not set(before) & set(orphaned.pids())
    stops(orphaned)


def test_deaf_orphans_replaced(make_service: MakeService) -> None:
    """start ends orphans that ignore TERM."""
    service = make_service(orphans="live", ignore_term="workers")
    expect(service.start(), 0)
    service.orphan()
    expect(service.start(), 0)
    eventually(lambda: len(service.pids()) == 3)
    expect(service.stop(parameters={"shutdown_timeout": 1}), 0)
    assert not service.pids()


def test_orphans_stopped_by_signal(make_service: MakeService) -> None:
    """stop also ends orphans that are stopped by SIGSTOP."""
    service = make_service(orphans="live")
    expect(service.start(), 0)
    signal_all(service.orphan(), signal.SIGSTOP)
    expect(service.probe(), 1, "hold on")
    stops(service)


# ---- hard to find


HIDING = [
    "session", "environment", "parent", "session environment", "session parent",
    "environment parent",
]  # fmt: skip


@pytest.mark.parametrize("ways", HIDING, ids=lambda ways: ways.replace(" ", "-"))
def test_hidden(make_service: MakeService, ways: str) -> None:
    """A child that has lost some of session, environment and parent is found by the others."""
    service = make_service(worker_hides=ways)
    expect(service.start(), 0)
    eventually(lambda: len(service.pids()) == 4)
    expect(service.monitor(), 0)
    expect(service.stop(), 0)
    assert not service.pids()
    stops(service)


@pytest.mark.parametrize("ways", ["session", "environment", "parent", "session parent"])
def test_hidden_orphan(make_service: MakeService, ways: str) -> None:
    """Such a child is found when the master is dead and no other process is left."""
    service = make_service(worker_hides=ways)
    expect(service.start(), 0)
    (hidden,) = eventually(lambda: [pid for pid in service.pids() if _holds(pid)])
    signal_all([pid for pid in service.pids() if pid != hidden], signal.SIGSTOP)
    signal_all([pid for pid in service.pids() if pid != hidden], signal.SIGKILL)
    eventually(lambda: [hidden] == service.pids())
    expect(service.probe(), 1, str(hidden))
    stops(service)


def _holds(pid: int) -> bool:
    return any(word.startswith("--hold=") for word in words_of(pid))


def test_hidden_altogether(make_service: MakeService) -> None:
    """A child that has lost all three is left alone; but start names the process that has the port.

    Nothing tells such a process from another of the same user: by its command line alone, a
    daemon that an operator has started by hand for a test would have to be killed as well.
    """
    service = make_service(worker_hides="session environment parent")
    result = service.start()
    if result.code:  # the child was quick: start has noticed it already
        expect(result, 1, "not of this resource")
    eventually(lambda: [pid for pid in service.pids() if _holds(pid)])
    expect(service.stop(), 0)
    (hidden,) = service.pids()
    expect(service.probe(), 7)
    service.config.set(worker_hides=None)
    expect(service.start(timeout=SHORT), 1)
    assert [hidden] == service.pids()
    os.kill(hidden, signal.SIGKILL)
    assert service.gone()
    expect(service.start(), 0)
    stops(service)


# ---- cannot be killed

POWERLESS = ("/usr/bin/setpriv", "--bounding-set=-kill", "--inh-caps=-kill")
"""Runs an agent as root without CAP_KILL, as some containers do: the kernel refuses every signal
to another user's process (EPERM). To the agent that is a process which no signal ends, like one
that hangs in the kernel (state D, an NFS server gone). A test could make a real one only by a
kernel module."""


def test_unkillable(service: Service) -> None:
    """stop is 1 in time, with the pid, if it cannot kill a process; monitors still see it."""
    expect(service.start(), 0)
    before = one_daemon(service)
    result = expect(service.stop(timeout=SHORT, prefix=POWERLESS), 1, "do not end")
    assert any(str(pid) in result.reason for pid in service.pids())
    assert before == one_daemon(service)
    expect(service.start(prefix=POWERLESS), 0)
    assert before == one_daemon(service)
    stops(service)


def test_unkillable_orphans(make_service: MakeService) -> None:
    """start is 1 in time for orphans that it cannot kill, and starts no daemon beside them."""
    service = make_service(orphans="live")
    expect(service.start(), 0)
    workers = service.orphan()
    expect(service.start(timeout=SHORT, prefix=POWERLESS), 1, "do not end")
    assert workers == service.pids()
    expect(service.stop(timeout=SHORT, prefix=POWERLESS), 1, "do not end")
    expect(service.probe(), 1, "master process is gone")
    stops(service)


def test_unkillable_at_start(make_service: MakeService) -> None:
    """A daemon that does not get ready and cannot be killed is remembered: a stop can end it."""
    service = make_service(never_listen="yes")
    expect(service.start(timeout=SHORT, prefix=POWERLESS), 1)
    expect(service.probe(), 0 if service.pids() else 7)
    stops(service)


HYDRA = """\
import os, subprocess, sys
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
while True:
    heads = [subprocess.Popen(["/bin/sleep", "3600"], env={sys.argv[1]: sys.argv[2]},
                              user=int(sys.argv[3])) for _ in range(3)]
    while heads.pop().wait() is not None and heads:
        pass
"""


@pytest.fixture
def hydra(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    """Three processes of the service; root starts them anew at once when they have been killed.

    They and their parent, which the agent cannot know, run with real-time priority: so there are
    new ones long before the agent looks again. (As if systemd restarted what a stop has ended.)
    """
    uid = str(os.stat(service.folder / "etc").st_uid)
    maker = subprocess.Popen(
        ["/usr/bin/python3", "-Es", "-c", HYDRA, TAG, service.tag, uid],
        env={"PATH": "/usr/bin:/bin"},
    )
    yield maker
    maker.kill()
    maker.wait()


@pytest.mark.own
def test_hydra(service: Service, hydra: subprocess.Popen[bytes]) -> None:
    """stop is 1 in time if another process starts new ones as fast as they are killed."""
    eventually(lambda: len(service.processes()) == 3)
    expect(service.stop(timeout=SHORT), 1, "do not end", "pid ")
    expect(service.probe(), 1)
    hydra.kill()
    hydra.wait()
    stops(service)
