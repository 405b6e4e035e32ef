"""The state machine of an instance, with faults: stopped, starting, running, orphaned, adopted.

The promises: stop 0 and monitor 7 mean that nothing of the instance is alive; start 0 means that
it serves; there are never two daemons; a stranger is never harmed; an action ends by itself.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import eventually, expect, masters, start_of
from lookalike.config import DaemonConfig
from lookalike.ports import free_port
from lookalike.service import USER, Service

MakeService = Callable[..., Service]
Stranger = Callable[..., "subprocess.Popen[bytes]"]

SHORT = 6
"""Seconds for an action that cannot succeed, and is to say so before they are over."""


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """Starts processes that are none of the agents' business; at the end all must be alive."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(*command: object) -> subprocess.Popen[bytes]:
        account = pwd.getpwnam(USER)
        begun.append(
            subprocess.Popen(
                [str(word) for word in command or ("/bin/sleep", "3600")],
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
        )
        return begun[-1]

    yield begin
    harmed = [process.args for process in begun if process.poll() is not None]
    for process in begun:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so still its own
        except ProcessLookupError:
            pass
        process.wait()
    assert not harmed


def one_daemon(service: Service) -> int:
    """The master's pid, if exactly one daemon runs, and it serves."""
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    return service.master()


def stops(service: Service) -> None:
    """Stop is 0, nothing is left, and both monitors say so."""
    expect(service.stop(), 0)
    assert not service.pids()
    assert not service.processes()
    expect(service.probe(), 7)
    expect(service.monitor(), 7)


def signal_all(pids: list[int], signum: int) -> None:
    for pid in pids:
        os.kill(pid, signum)


# ---- stopped: what lies about counts as nothing

PRECIOUS = "precious\n"


def put_junk(path: Path, junk: object) -> None:
    """Junk of every kind in the place of a file."""
    if junk == "directory":
        path.mkdir()
        (path / "precious").write_text(PRECIOUS, encoding="utf-8")
    elif junk == "symlink":
        target = path.with_name("precious")
        target.write_text(PRECIOUS, encoding="utf-8")
        path.symlink_to(target)
    elif junk == "dangling":
        path.symlink_to(path.with_name("not-there"))
    elif junk == "fifo":
        os.mkfifo(path)
    elif isinstance(junk, bytes):
        path.write_bytes(junk)
    else:
        path.write_text(str(junk), encoding="utf-8")


def precious_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name == "precious"]


PIDFILES: dict[str, object] = {
    "empty": "",
    "blank": " \n",
    "binary": bytes(range(256)),
    "megabyte": "1" * (1 << 20),
    "zero": "0\n",
    "one": "1\n",
    "minus-one": "-1\n",
    "two": "2\n",
    "huge": "99999999999999999999\n",
    "signed": "+17\n",
    "digits": "\u0663\u0664\n",
    "two-lines": "1\n1\n",
    "directory": "directory",
    "symlink": "symlink",
    "dangling": "dangling",
    "fifo": "fifo",
}


@pytest.mark.parametrize("kind", PIDFILES)
@pytest.mark.shared
def test_pidfile_junk(service: Service, kind: str) -> None:
    """Junk in the place of the pidfile is nothing: not followed, not killed, not in the way."""
    put_junk(service.pidfile, PIDFILES[kind])
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    master = one_daemon(service)
    if kind != "directory":  # somebody's folder stays where it is, and start does without
        assert f"{master}\n" == service.pidfile.read_text(encoding="utf-8")
    stops(service)
    for path in precious_files(service.rsctmp):
        assert PRECIOUS == path.read_text(encoding="utf-8")
    assert not service.rsctmp.joinpath("not-there").exists()


@pytest.mark.parametrize("kind", ["symlink", "directory", "megabyte"])
@pytest.mark.shared
def test_pidfile_junk_while_running(service: Service, kind: str) -> None:
    """Junk that took the pidfile's place while the daemon runs changes nothing."""
    expect(service.start(), 0)
    before = one_daemon(service)
    service.pidfile.unlink()
    put_junk(service.pidfile, PIDFILES[kind])
    assert before == one_daemon(service)
    expect(service.start(), 0)
    assert before == one_daemon(service)
    stops(service)
    for path in precious_files(service.rsctmp):
        assert PRECIOUS == path.read_text(encoding="utf-8")


STATES: dict[str, object] = {
    "empty": "",
    "binary": bytes(range(256)),
    "megabyte": "{" + " " * (1 << 20) + "}",
    "list": "[1, 2]",
    "null": "null",
    "cut-off": '{"pid": 17',
    "deep": "[" * 60000,
    "types": '{"pid": "17", "start": [], "session": {}, "uid": "", "url": 5, "token": 5, "log": 1}',
    "zero": '{"pid": 0, "start": 0, "session": 0, "uid": 0}',
    "init": '{"pid": 1, "start": 0, "session": 1, "uid": 0}',
    "all": '{"pid": -1, "start": 0, "session": 0, "uid": 65534}',
    "huge": '{"pid": 1%s, "start": 1e999, "session": 1e999, "uid": -1}' % ("0" * 400),
    "nan": '{"pid": NaN, "token_until": NaN, "token": "x", "token_key": "x"}',
    "true": '{"pid": true, "uid": true, "session": true}',
    "log": '{"pid": 0, "log": "/etc/passwd"}',
    "directory": "directory",
    "symlink": "symlink",
    "fifo": "fifo",
}


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.shared
def test_state_junk(service: Service, kind: str) -> None:
    """Junk in the place of the state is nothing: not followed, not killed, not in the way."""
    service.state_folder.mkdir(mode=0o700)
    put_junk(service.state_file, STATES[kind])
    expect(service.probe(), 7)
    expect(service.monitor(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    one_daemon(service)
    stops(service)
    for path in precious_files(service.rsctmp):
        assert PRECIOUS == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.shared
def test_state_junk_while_running(service: Service, kind: str) -> None:
    """A running daemon whose state has become junk is found again, and stopped whole."""
    expect(service.start(), 0)
    before = service.master()
    service.state_file.unlink()
    put_junk(service.state_file, STATES[kind])
    assert before == one_daemon(service)
    stops(service)
    for path in precious_files(service.rsctmp):
        assert PRECIOUS == path.read_text(encoding="utf-8")


FOLDERS = ["open", "foreign", "file", "symlink"]


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.shared
def test_state_folder_of_others(service: Service, kind: str) -> None:
    """A state folder that others can write is not believed: start says so, stop does without."""
    elsewhere = service.rsctmp / "elsewhere"
    if kind == "file":
        service.state_folder.write_text(PRECIOUS, encoding="utf-8")
    elif kind == "symlink":
        elsewhere.mkdir()
        service.state_folder.symlink_to(elsewhere)
    else:
        service.state_folder.mkdir()
        service.state_folder.chmod(0o777 if kind == "open" else 0o700)
        if kind == "foreign":
            shutil.chown(service.state_folder, USER)
    expect(service.probe(), 7)
    expect(service.start(), 1, str(service.state_folder)[:60])
    assert not service.pids()
    expect(service.stop(), 0)
    assert kind != "symlink" or not list(elsewhere.iterdir())


def test_folder_missing(service: Service) -> None:
    """HA_RSCTMP lives in memory: after a boot it is made anew."""
    service.rsctmp.rmdir()
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    shutil.rmtree(service.rsctmp, ignore_errors=True)
    expect(service.start(), 0)
    one_daemon(service)
    stops(service)


# ---- stopped: a stranger has the old pid


@pytest.mark.parametrize("where", ["pidfile", "state", "both"])
@pytest.mark.parametrize("who", ["sleep", "same-binary"])
@pytest.mark.shared
def test_pid_reused(
    service: Service, stranger: Stranger, folder: Path, where: str, who: str
) -> None:
    """A stranger of the same user with the master's old pid is never taken for it."""
    expect(service.start(), 0)
    state = json.loads(service.state_file.read_text(encoding="utf-8"))
    service.config.kill()
    if who == "sleep":
        pid = stranger().pid
    else:
        place = folder / "stranger"
        place.mkdir()
        os.chown(place, pwd.getpwnam(USER).pw_uid, -1)
        config = DaemonConfig(place)
        pid = stranger(service.binary, "--config-file", config.path).pid
        eventually(lambda: len(config.pids()) == 3)
    if where != "state":
        service.pidfile.write_text(f"{pid}\n", encoding="utf-8")
    if where != "pidfile":
        # the number is the same, the moment of birth is not
        state.update(pid=pid, session=pid, start=start_of(pid) - 1000)
        service.state_file.write_text(json.dumps(state), encoding="utf-8")
    expect(service.probe(), 7)
    expect(service.monitor(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    assert pid != one_daemon(service)
    stops(service)
    if who == "same-binary":
        assert 3 == len(config.pids())


# ---- starting

DEATHS = [
    pytest.param({"exit_at_once": 3}, ("ended with 3", "no such table"), id="at-once"),
    pytest.param({"exit_at_once": 0}, ("no such table",), id="at-once-with-0"),
    pytest.param({"exit_after": 1, "never_listen": "yes"}, ("no such table",), id="after-1s"),
    pytest.param({"exit_after": 1, "public": "hang"}, ("no such table",), id="listening"),
]


@pytest.mark.parametrize(("behaviour", "words"), DEATHS)
def test_dies_at_start(
    make_service: MakeService, behaviour: dict[str, object], words: tuple[str, ...]
) -> None:
    """A daemon that dies is reported with its own last words, long before the timeout."""
    service = make_service(last_words="OperationalError: no such table", **behaviour)
    result = expect(service.start(timeout=120), 1, *words)
    assert result.seconds < 100, "waited for the dead"
    assert service.gone()
    stops(service)


def test_dies_silently(make_service: MakeService) -> None:
    """A daemon that is killed by a signal as it starts is reported as such."""
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
@pytest.mark.shared
def test_never_ready(
    make_service: MakeService, behaviour: dict[str, object], words: tuple[str, ...]
) -> None:
    """A daemon that does not get ready is reported before the timeout, and nothing is left."""
    service = make_service(**behaviour)
    expect(service.start(timeout=SHORT), 1, "did not get ready", *words)
    assert service.gone()
    stops(service)


def test_gets_ready_late(make_service: MakeService) -> None:
    """start waits for a daemon that takes its time."""
    service = make_service(listen_after=1.5)
    expect(service.start(), 0)
    one_daemon(service)


def test_other_port(make_service: MakeService) -> None:
    """Where the daemon listens is seen, not assumed."""
    port = free_port()
    service = make_service(listen_port=port)
    expect(service.start(), 0)
    one_daemon(service)
    assert str(port) in json.loads(service.state_file.read_text(encoding="utf-8"))["url"]
    service.config.set(public="500")
    expect(service.monitor(), 1, str(port))


@pytest.mark.parametrize("who", ["mute", "look-alike"])
def test_port_taken(make_service: MakeService, stranger: Stranger, folder: Path, who: str) -> None:
    """A daemon whose port a stranger has is never called started, however well that answers."""
    service = make_service()
    address = (service.config.host, service.config.port)
    with socket.socket() as listener:
        if who == "mute":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        else:
            place = folder / "stranger"
            place.mkdir()
            os.chown(place, pwd.getpwnam(USER).pw_uid, -1)
            other = DaemonConfig(place, port=service.config.port)
            stranger(service.binary, "--config-file", other.path)
            eventually(lambda: len(other.pids()) == 3)
        expect(service.start(timeout=SHORT), 1, service.agent.name)
        assert service.gone()
        stops(service)


@pytest.mark.parametrize("count", [2, 5])
def test_starts_at_once(service: Service, count: int) -> None:
    """However many starts come at once, they all succeed, by one daemon."""
    running = [service.begin("start", timeout=60) for _ in range(count)]
    for one in running:
        expect(one.wait(), 0)
    assert [one_daemon(service)] == masters(service.processes())
    stops(service)


@pytest.mark.parametrize("ready", [True, False], ids=["gets-ready", "never-ready"])
def test_stop_during_start(make_service: MakeService, ready: bool) -> None:
    """A stop that meets a start ends what that has begun."""
    service = make_service(**({"listen_after": 1} if ready else {"never_listen": "yes"}))
    starting = service.begin("start", timeout=SHORT)
    eventually(service.processes)
    stopping = service.begin("stop", timeout=60)
    assert starting.wait().code in (0, 1)
    expect(stopping.wait(), 0)
    assert not service.pids()
    stops(service)


def test_stops_at_once(service: Service) -> None:
    """Two stops at once both succeed."""
    expect(service.start(), 0)
    for one in [service.begin("stop", timeout=60) for _ in range(2)]:
        expect(one.wait(), 0)
    stops(service)


@pytest.mark.parametrize("action", ["start", "stop", "probe"])
def test_start_killed(make_service: MakeService, action: str) -> None:
    """After the agent was killed in the middle of a start, every action does what it should."""
    service = make_service(listen_after=1.5)
    starting = service.begin("start")
    before = eventually(service.master_or_none)
    starting.kill()
    starting.wait()
    if action == "start":
        expect(service.start(), 0)
        assert before == one_daemon(service)
    elif action == "probe":
        expect(service.probe(), 0)
    stops(service)


def test_start_killed_anywhere(service: Service) -> None:
    """Wherever a start is killed: the probe tells what there is, and a start makes it one."""
    for milliseconds in range(10, 130, 12):
        starting = service.begin("start")
        time.sleep(milliseconds / 1000)  # not a wait for something: the place of the fault
        starting.kill()
        starting.wait()
        there = bool(service.pids())
        expect(service.probe(), 0 if there else 7)
        expect(service.start(), 0)
        one_daemon(service)
        stops(service)


def test_stop_killed(make_service: MakeService) -> None:
    """After the agent was killed in the middle of a stop, the next stop ends all."""
    service = make_service(slow_term=60)
    expect(service.start(), 0)
    stopping = service.begin("stop")
    # the daemon has heard TERM
    eventually(lambda: "ending" in service.log_file.read_text(encoding="utf-8"))
    stopping.kill()
    stopping.wait()
    expect(service.stop(timeout=SHORT), 0)
    stops(service)


# ---- running


def test_dies_when_ready(service: Service) -> None:
    """A daemon that is gone, whole, is not running, and can be started again."""
    expect(service.start(), 0)
    service.config.kill()
    expect(service.probe(), 7)
    expect(service.monitor(), 7)
    expect(service.start(), 0)
    stops(service)


def test_dies_by_itself(make_service: MakeService) -> None:
    """A daemon that dies a while after it was ready is not running."""
    service = make_service(exit_after_ready=3)
    expect(service.start(), 0)
    eventually(lambda: not service.pids())
    expect(service.monitor(), 7)


LOSSES: dict[str, Callable[[Service], None]] = {
    "pidfile": lambda service: service.pidfile.unlink(),
    "state": lambda service: service.state_file.unlink(),
    "folder": lambda service: shutil.rmtree(service.state_folder),
    "all": lambda service: shutil.rmtree(service.rsctmp),
}


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("action", ["monitor", "start", "stop"])
@pytest.mark.shared
def test_memory_lost(service: Service, kind: str, action: str) -> None:
    """A daemon whose pidfile and state are lost is seen, checked, not doubled, and stopped."""
    expect(service.start(), 0)
    before = service.master()
    LOSSES[kind](service)
    if action == "monitor":
        expect(service.monitor(), 0)
    elif action == "start":
        expect(service.start(), 0)
    if action != "stop":
        assert before == one_daemon(service)
    stops(service)


GONE: dict[str, Callable[[Service], None]] = {
    "binary": lambda service: service.binary.unlink(),
    "config": lambda service: service.config.path.unlink(),
    "user": lambda service: service.parameters.update(user="no-such-user"),
    "log": lambda service: shutil.rmtree(service.log_file.parent),
}


@pytest.mark.parametrize("kind", [*GONE, "all"])
@pytest.mark.parametrize("lost", ["", "state"])
@pytest.mark.shared
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


@pytest.mark.parametrize(
    "names", [("p", "p2"), ("p:0", "p:1"), ("p", "p:0"), ("p.a", "p?a"), ("p", "P")]
)
@pytest.mark.parametrize("shared", [True, False], ids=["one-folder", "two-folders"])
@pytest.mark.shared
def test_two_instances(make_service: MakeService, names: tuple[str, str], shared: bool) -> None:
    """Two instances on two ports do not see each other, however alike their names are."""
    unique = uuid.uuid4().hex[:8]
    one, other = (make_service(name=f"{unique}-{name}") for name in names)
    if shared:
        other.rsctmp = one.rsctmp
    expect(one.start(), 0)
    expect(other.probe(), 7)
    expect(other.stop(), 0)
    expect(other.start(), 0)
    before = one_daemon(one)
    stops(other)
    assert before == one_daemon(one)
    stops(one)


# ---- running: hung, and unwilling to end


def test_stopped_by_signal(service: Service) -> None:
    """Processes that are all stopped are there, do not serve, and are ended by stop."""
    expect(service.start(), 0)
    signal_all(service.pids(), signal.SIGSTOP)
    expect(service.probe(), 0)
    expect(service.monitor(level=0), 0)
    expect(service.monitor(timeout=SHORT), 1, "in time")
    stops(service)


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
]


@pytest.mark.parametrize("behaviour", UNWILLING)
def test_unwilling(make_service: MakeService, behaviour: dict[str, object]) -> None:
    """Whoever does not end by TERM in shutdown_timeout is killed, and stop is 0."""
    service = make_service(**behaviour)
    expect(service.start(), 0)
    expect(service.stop(timeout=120, parameters={"shutdown_timeout": 1}), 0)
    assert not service.pids()
    stops(service)


@pytest.mark.parametrize("timeout", [3, 5])
def test_short_stop(make_service: MakeService, timeout: float) -> None:
    """However short the timeout of stop is, the unwilling are gone before it."""
    service = make_service(ignore_term="both")
    expect(service.start(), 0)
    expect(service.stop(timeout=timeout), 0)
    assert not service.pids()
    stops(service)


def test_graceful(make_service: MakeService) -> None:
    """Whoever ends by TERM in time is not killed."""
    service = make_service(slow_term=1)
    expect(service.start(), 0)
    stops(service)
    assert "INFO lookalike [-] ended" in service.log_file.read_text(encoding="utf-8")


def test_request_under_way(make_service: MakeService) -> None:
    """A request under way may be finished before the end."""
    service = make_service(public_slow=2, request_grace=30)
    service.config.set(public_slow=None)
    expect(service.start(), 0)
    service.config.set(public_slow=2)
    with socket.create_connection((service.config.host, service.config.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: len(service.config.requests()) > 1)
        expect(service.stop(), 0)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert b'"versions"' in answer


# ---- orphaned


@pytest.fixture(params=["plain", "left-session", "state-lost", "left-session-state-lost"])
def orphaned(request: pytest.FixtureRequest, make_service: MakeService) -> Service:
    """A service whose master was killed, and whose workers go on serving."""
    behaviour = {"worker_leaves_session": "yes"} if "left" in request.param else {}
    service = make_service(orphans="live", **behaviour)
    expect(service.start(), 0)
    workers = eventually(lambda: len(w := service.workers()) == 2 and w)
    assert isinstance(workers, list)
    os.kill(service.master(), signal.SIGKILL)
    eventually(lambda: workers == service.pids())
    if "lost" in request.param:
        service.state_file.unlink()
    return service


def test_orphans_seen(orphaned: Service) -> None:
    """Workers without their master are neither running nor stopped: 1 at every look."""
    for _ in range(2):
        expect(orphaned.probe(), 1, "master process is gone")
        expect(orphaned.monitor(), 1, "master process is gone")
        expect(orphaned.monitor(level=0), 1, "master process is gone")
        expect(orphaned.call("status"), 1, "master process is gone")


def test_orphans_stopped(orphaned: Service) -> None:
    """stop ends workers without a master."""
    stops(orphaned)


def test_orphans_replaced(orphaned: Service) -> None:
    """start ends workers without a master, and starts a daemon."""
    before = orphaned.pids()
    expect(orphaned.start(), 0)
    one_daemon(orphaned)
    assert not set(before) & set(orphaned.pids())
    stops(orphaned)


def test_deaf_orphans_replaced(make_service: MakeService) -> None:
    """start ends orphans that ignore TERM."""
    service = make_service(orphans="live", ignore_term="workers")
    expect(service.start(), 0)
    os.kill(service.master(), signal.SIGKILL)
    expect(service.start(), 0)
    eventually(lambda: len(service.pids()) == 3)
    expect(service.stop(parameters={"shutdown_timeout": 1}), 0)
    assert not service.pids()


def test_orphans_stopped_by_signal(make_service: MakeService) -> None:
    """Orphans that are stopped, too, are ended."""
    service = make_service(orphans="live")
    expect(service.start(), 0)
    workers = service.workers()
    os.kill(service.master(), signal.SIGKILL)
    signal_all(workers, signal.SIGSTOP)
    expect(service.probe(), 1, "hold on")
    stops(service)


# ---- adopted: a daemon that the HA guide's shell agent has started


def start_by_shell(service: Service, form: str = "--config-file {}") -> int:
    """What the HA guide's agents do at start; the daemon's pid."""
    argument = form.format(service.config.path)
    subprocess.run(
        [
            "/bin/sh", "-c",
            f'su {USER} -s /bin/sh -c "{service.binary} {argument}'
            ' $OCF_RESKEY_additional_parameters"'
            f"' >> /dev/null 2>&1 & echo $!' > {service.pidfile}",
        ],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OCF_RESOURCE_INSTANCE": service.name,
            "OCF_RESOURCE_TYPE": service.agent.name,
            "OCF_RESKEY_user": USER,
        },
        stdin=subprocess.DEVNULL,
        check=True,
        preexec_fn=os.setpgrp,  # as Pacemaker, which gives no session of its own
    )  # fmt: skip
    pid = int(service.pidfile.read_text(encoding="utf-8"))
    eventually(lambda: len(service.pids()) == 3 and _connects(service))
    assert pid == service.master()
    return pid


def _connects(service: Service) -> bool:
    with socket.socket() as client:
        return client.connect_ex((service.config.host, service.config.port)) == 0


@pytest.mark.parametrize("form", ["--config-file {}", "--config-file={}"])
@pytest.mark.parametrize("first", ["monitor", "probe", "start"])
def test_adoption(make_service: MakeService, form: str, first: str) -> None:
    """A daemon that the shell agent has started is taken over as it runs, by whatever comes."""
    service = make_service(credentials=True)
    pid = start_by_shell(service, form)
    result = {"monitor": service.monitor, "probe": service.probe, "start": service.start}[first]()
    expect(result, 0)
    expect(service.monitor(level=10), 0)
    assert pid == one_daemon(service)
    assert f"{pid}\n" == service.pidfile.read_text(encoding="utf-8")
    service.config.set(api="500")
    expect(service.monitor(), 1, "500")
    stops(service)


def test_adopted_by_stop(service: Service) -> None:
    """A daemon that the shell agent has started is stopped by the first that we do."""
    start_by_shell(service)
    stops(service)


@pytest.mark.parametrize("then", ["stop", "start"])
def test_orphans_after_adoption(make_service: MakeService, then: str) -> None:
    """The workers of an adopted daemon are known when their master has gone."""
    service = make_service(orphans="live")
    pid = start_by_shell(service)
    expect(service.monitor(), 0)
    workers = service.workers()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: workers == service.pids())
    expect(service.monitor(), 1, "hold on")
    expect(service.probe(), 1, "hold on")
    if then == "start":
        expect(service.start(), 0)
        assert not set(workers) & set(service.pids())
        one_daemon(service)
    stops(service)


@pytest.mark.parametrize("kind", ["pidfile", "state"])
def test_adopted_memory_lost(service: Service, kind: str) -> None:
    """An adopted daemon stays known when its pidfile or its state is lost."""
    pid = start_by_shell(service)
    expect(service.monitor(), 0)
    LOSSES[kind](service)
    expect(service.monitor(), 0)
    assert pid == one_daemon(service)
    stops(service)


@pytest.mark.parametrize("fault", ["", "orphaned"])
def test_adopted_sister_is_spared(make_service: MakeService, fault: str) -> None:
    """Shell agents leave all daemons in one session: only our own is ended, not its sister."""
    one, sister = make_service(orphans="live"), make_service()
    pid = start_by_shell(one)
    start_by_shell(sister)  # later: it may be taken for a worker
    before = sister.pids()
    expect(one.monitor(), 0)
    if fault:
        os.kill(pid, signal.SIGKILL)
    stops(one)
    assert before == sister.pids()
    expect(sister.monitor(), 0)
    stops(sister)


@pytest.mark.parametrize("what", ["config", "binary", "user", "instance"])
@pytest.mark.shared
def test_not_adopted(make_service: MakeService, folder: Path, what: str) -> None:
    """What only the pidfile claims, but is another's daemon, is left alone."""
    service, other = make_service(), make_service()
    pid = start_by_shell(other)
    shutil.copyfile(other.pidfile, service.pidfile)
    if what != "config":
        service.parameters["config"] = other.config.path
    if what == "binary":
        service.parameters["binary"] = "/bin/sleep"
    if what == "user":
        service.parameters["user"] = "root"
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    assert pid == other.master()
    expect(other.monitor(), 0)
