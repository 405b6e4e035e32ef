"""server=uwsgi: the promises for a standalone daemon hold for a real uWSGI.

The application is a look-alike; the tests of standalone servers are repeated where uWSGI may
behave otherwise. Tests of uWSGI's own features follow: loading, reloading, ini files, adoption.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agents import test_identity as identity
from agents import test_locking as locking
from agents import test_processes as processes
from agents.kit import one_daemon, start_cut_short
from harness import SHORT, TAG, expect, stops
from lookalike.config import DAEMON
from lookalike.managed import USER
from lookalike.service import Service
from lookalike.uwsgi import PACKAGE, PROGRAM, UwsgiService
from looks import environ_of, eventually, having, lives, masters, signal_all, status_of

MakeService = Callable[..., UwsgiService]


def remembered_url(service: Service) -> str:
    """The address where the agent has seen the daemon listen."""
    state = json.loads(service.state_file.read_text("utf-8"))
    return str(state["checks"]["address"]["url"])


@pytest.fixture
def make_service(
    agent: Path, folder: Path, interpreter: str, need: Callable[[str, str], str]
) -> Iterator[MakeService]:
    """Makes look-alike services under uWSGI under the agent."""
    if os.geteuid() != 0:
        pytest.fail("the agents need root, and so do their tests", pytrace=False)
    need(PROGRAM, PACKAGE)
    with ExitStack() as stack:

        def make(**options: Any) -> UwsgiService:
            place = folder / str(len(os.listdir(folder)))
            place.mkdir()
            made = UwsgiService(agent, place, **{"interpreter": interpreter, **options})
            stack.enter_context(made)
            return made

        yield make


@pytest.fixture
def service(make_service: MakeService) -> UwsgiService:
    """A look-alike under uWSGI under the agent, stopped, without ini file and credentials."""
    return make_service()


def loaded(service: UwsgiService) -> list[int]:
    """The two workers, once they and the master take signals as they ought to.

    A worker ignores HUP while it loads, and until some instructions after it has said in the log
    that the application is ready. Then a HUP may meet one of its threads that knows no request
    yet: that is a segmentation fault. A worker that has just been forked outlives its master, too,
    for it has not yet asked the kernel to end it then. None of this can be once all of them wait.
    """
    eventually(lambda: len(pids := service.pids()) == 3 and all(waits(pid) for pid in pids))
    return service.all_workers()


def waits(pid: int) -> bool:
    """Whether a process of uWSGI handles HUP, in its first thread alone, and all threads sleep.

    They do until there is a request, or it is their turn to wait for one.
    """
    hup = 1 << (signal.SIGHUP - 1)
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return False  # ended meanwhile
    found = {thread: status_of(thread) for thread in threads}
    return bool(found) and all(
        status.get("State", "").startswith("S")
        and int(status["SigCgt"], 16) & hup
        and bool(int(status["SigBlk"], 16) & hup) is (thread != pid)
        for thread, status in found.items()
    )


def renewed(service: UwsgiService, before: list[int]) -> bool:
    """Whether other workers have replaced these."""
    pids = service.pids()
    return len(pids) == 3 and not set(before) & set(pids)


def checks_well(service: UwsgiService) -> bool:
    """A monitor that must be 0; True, for use in eventually()."""
    expect(service.monitor(), 0)
    return True


def connected(service: UwsgiService, path: str = "/v2/hang") -> socket.socket:
    """A client whose request is being answered."""
    before = len(service.config.requests())
    client = socket.create_connection((service.config.host, service.config.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    eventually(lambda: len(service.config.requests()) > before)
    return client


# ---- the life cycle


@pytest.mark.parametrize("kind", ["script", "module", "ini"])
def test_life_cycle(make_service: MakeService, kind: str) -> None:
    """With a script, a module or an ini file: one start, service at config's address, stop."""
    service = make_service(
        credentials=True, module=kind == "module", ini={} if kind == "ini" else None
    )
    expect(service.call("validate-all"), 0)
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    before = one_daemon(service)
    expect(service.start(), 0)
    assert before == one_daemon(service)
    with socket.create_connection((service.config.host, service.config.port)):
        pass
    service.config.set(api="500")
    expect(service.monitor(), 1, "500")
    expect(service.monitor(level=0), 0)
    stops(service)


@pytest.mark.shared
def test_starts_at_once(service: UwsgiService) -> None:
    """However many starts come at once, they all succeed, with one uWSGI."""
    locking.test_starts_at_once(service, 3)


@pytest.mark.parametrize(
    ("kind", "action"),
    [("pidfile", "start"), ("state", "monitor"), ("state", "stop"), ("all", "start")],
)
@pytest.mark.shared
def test_memory_lost(service: UwsgiService, kind: str, action: str) -> None:
    """A uWSGI whose pidfile and state are lost is seen, checked, not doubled, and stopped."""
    identity.test_memory_lost(service, kind, action)


@pytest.mark.shared
def test_two_instances(make_service: MakeService) -> None:
    """Two instances on two ports do not see each other."""
    identity.test_two_instances(make_service, ("p", "p2"), True)


@pytest.mark.parametrize("lost", ["", "state"])
@pytest.mark.shared
def test_installation_gone(make_service: MakeService, lost: str) -> None:
    """Monitor and stop need no uWSGI, ini file, configuration, application or user."""
    service = make_service(ini={})
    service.parameters["binary"] = service.binary
    expect(service.start(), 0)
    service.ini.unlink()
    service.app.unlink()
    processes.GONE["binary"](service)
    for kind in ("config", "user", "log"):
        processes.GONE[kind](service)
    if lost:
        service.state_file.unlink()
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    expect(service.stop(), 0)
    assert not service.pids()


# ---- stopped: the reason says what is wrong


def hidden(*paths: str) -> list[str]:
    """A prefix under which these files are empty and not executable."""
    mounts = " && ".join(f"mount --bind /dev/null {path}" for path in paths)
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$0" "$@"']


WITHOUT_UWSGI = hidden(os.path.realpath(PROGRAM))


def test_not_installed(service: UwsgiService) -> None:
    """Without uWSGI the code is 5 (not installed), and the reason names the package."""
    expect(service.start(prefix=WITHOUT_UWSGI), 5, PACKAGE)
    expect(service.call("validate-all", prefix=WITHOUT_UWSGI), 5, PACKAGE)
    expect(service.probe(prefix=WITHOUT_UWSGI), 5, PACKAGE)
    expect(service.stop(prefix=WITHOUT_UWSGI), 0)


WRONG = [
    pytest.param({"server": "nonsense"}, 6, ("server=nonsense", "uwsgi"), id="server"),
    pytest.param({"binary": "/bin/true"}, 6, ("binary=/bin/true", "uWSGI"), id="no-uwsgi"),
    pytest.param({"binary": "/no/uwsgi"}, 5, ("binary=/no/uwsgi",), id="uwsgi-missing"),
    pytest.param({"uwsgi_ini": "x.ini"}, 6, ("uwsgi_ini=x.ini",), id="ini-relative"),
    pytest.param({"uwsgi_ini": "/no/x.ini"}, 5, ("uwsgi_ini=/no/x.ini",), id="ini-missing"),
    pytest.param({"uwsgi_ini": "/etc"}, 5, ("uwsgi_ini=/etc",), id="ini-folder"),
    pytest.param({"bind": "9292"}, 6, ("bind=9292",), id="bind"),
    pytest.param({"processes": "0"}, 6, ("processes=0",), id="no-processes"),
    pytest.param({"threads": "many"}, 6, ("threads=many",), id="many-threads"),
    pytest.param({"config": "/etc/a b"}, 6, ("config",), id="config-name"),
]


@pytest.mark.parametrize(("parameters", "code", "words"), WRONG)
@pytest.mark.shared
def test_wrong_parameter(
    service: UwsgiService, parameters: dict[str, object], code: int, words: tuple[str, ...]
) -> None:
    """A wrong parameter is named, by validate-all and by start; stop is 0 all the same."""
    expect(service.call("validate-all", parameters=parameters), code, *words)
    expect(service.start(parameters=parameters), code, *words)
    expect(service.stop(parameters=parameters), 0)


WRONG_INIS = [
    pytest.param({"daemonize": "/dev/null"}, ("daemonize",), id="daemonize"),
    pytest.param({"daemonize2": "/dev/null"}, ("daemonize2",), id="daemonize2"),
    pytest.param({"emperor": "/etc/uwsgi/apps-enabled"}, ("emperor",), id="emperor"),
]


@pytest.mark.parametrize(("ini", "words"), WRONG_INIS)
@pytest.mark.shared
def test_refused_ini(
    make_service: MakeService, ini: dict[str, object], words: tuple[str, ...]
) -> None:
    """An ini file with which another process than the started one would serve is refused."""
    service = make_service(ini=ini)
    expect(service.call("validate-all", level=0), 0)
    expect(service.call("validate-all"), 2, str(service.ini)[:20], *words)
    expect(service.start(), 2, *words)
    assert not service.pids()
    expect(service.probe(), 7)


REMARKS = [
    pytest.param({"exit-on-reload": "true"}, id="exit-on-reload"),
    pytest.param({"master": "false"}, id="master"),
    pytest.param({"die-on-term": "false"}, id="die-on-term"),
    pytest.param({"no-orphans": "0"}, id="no-orphans"),
    pytest.param({"need-app": "no"}, id="need-app"),
    pytest.param({"pidfile": "/run/uwsgi.pid"}, id="pidfile"),
    pytest.param({"safe-pidfile": "/run/uwsgi.pid"}, id="safe-pidfile"),
]


@pytest.mark.parametrize("ini", REMARKS)
@pytest.mark.shared
def test_contradiction(make_service: MakeService, ini: dict[str, object]) -> None:
    """An ini option that contradicts the agent's needs does not count, and validate-all says so."""
    service = make_service(ini=ini)
    said = expect(service.call("validate-all"), 0).stderr + service.log.read_text("utf-8")
    assert all(name in said for name in ini), said


@pytest.mark.shared
def test_contradicted(make_service: MakeService) -> None:
    """Even if the ini file contradicts, uWSGI has a master with workers, and TERM ends it."""
    service = make_service(
        ini={
            "exit-on-reload": "true", "master": "false", "die-on-term": "false",
            "no-orphans": "0", "need-app": "no",
        }
    )  # fmt: skip
    expect(service.start(), 0)
    master = one_daemon(service)
    loaded(service)
    os.kill(master, signal.SIGTERM)
    eventually(lambda: not service.pids())
    expect(service.monitor(), 7)


@pytest.mark.parametrize(
    "words",
    [
        "Standalone glance-api is no longer supported",
        "ERROR: The standalone server is no longer available. Use a WSGI server.",
    ],
)
@pytest.mark.shared
def test_no_standalone_server(agent: Path, folder: Path, words: str) -> None:
    """A release without a server of its own is 5 (not installed), with what to do."""
    with Service(agent, folder, exit_at_once=1, last_words=words) as service:
        expect(service.start(), 5, "set server=uwsgi")
        expect(service.probe(), 7)


@pytest.mark.parametrize("way", ["to-uwsgi", "from-uwsgi"])
@pytest.mark.parametrize("stop", ["old", "new"])
@pytest.mark.shared
def test_server_changed(service: UwsgiService, way: str, stop: str) -> None:
    """The server is changed by a stop and a start, whichever parameters the stop has."""
    daemon = service.binary.with_name("look-alike-daemon")
    shutil.copyfile(DAEMON, daemon)
    daemon.chmod(0o755)
    two: list[dict[str, object]] = [
        {"server": "standalone", "binary": daemon, "additional_parameters": ""},
        {"server": "uwsgi"},
    ]
    before, after = two if way == "to-uwsgi" else reversed(two)
    expect(service.start(parameters=before), 0)
    expect(service.monitor(parameters=after), 0)
    expect(service.stop(parameters=before if stop == "old" else after), 0)
    assert not service.processes()
    expect(service.probe(parameters=after), 7)
    expect(service.start(parameters=after), 0)
    expect(service.monitor(parameters=after), 0)
    assert 1 == len(masters(service.processes()))


# ---- starting

DEATHS = [
    pytest.param({"load_fails": "no such table: images"}, {}, "no such table", id="raises"),
    pytest.param(
        {"load_fails": "no such table: images"},
        {"lazy-apps": "false"},
        "no such table",
        id="raises-in-master",
    ),
    pytest.param({}, {"wsgi-file": "/no/such-script"}, "/no/such-script", id="no-script"),
    pytest.param({}, {"module": "no_such.module"}, "no_such", id="no-module"),
    pytest.param({}, {"http-socket": "192.0.2.1:80"}, "Cannot assign", id="not-our-address"),
    pytest.param({}, {"chdir": "/no/folder"}, "No such file", id="no-folder"),
]


@pytest.mark.parametrize(("behaviour", "ini", "words"), DEATHS)
@pytest.mark.shared
def test_does_not_load(
    make_service: MakeService, behaviour: dict[str, object], ini: dict[str, object], words: str
) -> None:
    """An application that does not load is reported at once, with its own error."""
    service = make_service(ini={"lazy-apps": "true", **ini}, **behaviour)
    result = expect(service.start(timeout=120), 1, words)
    assert result.seconds < 100, "waited for the dead"
    assert service.gone()
    expect(service.probe(), 7)


@pytest.mark.shared
def test_daemonizes(service: UwsgiService) -> None:
    """A uWSGI whose arguments make it daemonize is ended, and start fails."""
    further = f"{service.parameters['additional_parameters']} --daemonize=/dev/null"
    expect(service.start(parameters={"additional_parameters": further}), 1)
    assert service.gone()
    expect(service.probe(), 7)


@pytest.mark.parametrize("lazy", ["true", "false"], ids=["lazy", "in-master"])
@pytest.mark.shared
def test_loads_late(make_service: MakeService, lazy: str) -> None:
    """start waits for an application that loads slowly, even if the socket already listens."""
    service = make_service(ini={"lazy-apps": lazy}, listen_after=2)
    starting = service.begin("start", timeout=60)
    eventually(service.pids)
    expect(starting.wait(), 0)
    one_daemon(service)


NOT_READY = [
    pytest.param({"never_listen": "yes"}, {}, id="loads-for-ever"),
    pytest.param({"never_listen": "yes"}, {"lazy-apps": "false"}, id="loads-for-ever-in-master"),
    pytest.param({"load_exits": 3}, {}, id="worker-exits"),
]


@pytest.mark.parametrize(("behaviour", "ini"), NOT_READY)
@pytest.mark.shared
def test_never_ready(
    make_service: MakeService, behaviour: dict[str, object], ini: dict[str, object]
) -> None:
    """A uWSGI that does not get ready is reported before the timeout, and nothing is left."""
    service = make_service(ini={"lazy-apps": "true", **ini}, **behaviour)
    expect(service.start(timeout=SHORT), 1)
    assert service.gone()
    expect(service.probe(), 7)


@pytest.mark.parametrize("first", ["loading", "reloading"])
@pytest.mark.parametrize("lazy", ["true", "false"], ids=["lazy", "in-master"])
@pytest.mark.shared
def test_stop_while_loading(make_service: MakeService, first: str, lazy: str) -> None:
    """stop ends in time while the application loads; uWSGI by itself would take 60 s."""
    service = make_service(ini={"lazy-apps": lazy})
    if first == "loading":
        service.config.set(never_listen="yes")
        starting = service.begin("start", timeout=60)
        eventually(service.config.report_path.exists)
        starting.kill()
        starting.wait()
    else:
        expect(service.start(), 0)
        loaded(service)
        service.config.report_path.unlink()
        service.config.set(never_listen="yes")
        os.kill(service.master(), signal.SIGHUP)
        eventually(service.config.report_path.exists)
    expect(service.stop(timeout=4 if lazy == "true" else 10), 0)
    assert not service.pids()


@pytest.mark.parametrize("ready", [True, False], ids=["gets-ready", "never-ready"])
@pytest.mark.shared
def test_stop_during_start(make_service: MakeService, ready: bool) -> None:
    """A stop during a start ends the uWSGI that the start has begun."""
    locking.test_stop_during_start(make_service, ready)


@pytest.mark.parametrize("action", ["start", "probe"])
@pytest.mark.shared
def test_start_killed(make_service: MakeService, action: str) -> None:
    """After an agent was killed in the middle of a start, every action does what it should."""
    service = make_service(listen_after=1.5)
    before = start_cut_short(service)
    if action == "start":
        expect(service.start(), 0)
    else:
        expect(service.probe(), 0)
    assert before == service.master()
    eventually(lambda: service.monitor().code == 0)
    stops(service)


@pytest.mark.parametrize("who", ["mute", "uwsgi"])
@pytest.mark.shared
def test_port_taken(make_service: MakeService, who: str) -> None:
    """If another process has the port it is reported at once, with uWSGI's own message."""
    service = make_service()
    with ExitStack() as stack:
        if who == "mute":
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((service.config.host, service.config.port))
            listener.listen()
        else:
            other = make_service(ini={"http-socket": f"127.0.0.1:{service.config.port}"})
            expect(other.start(), 0)
        expect(service.start(), 1, "Address already in use")
        assert service.gone()
        expect(service.probe(), 7)
        if who == "uwsgi":
            expect(other.monitor(), 0)


# ---- running


@pytest.mark.shared
def test_worker_killed(service: UwsgiService) -> None:
    """The master replaces killed workers, and monitors stay 0."""
    expect(service.start(), 0)
    master = service.master()
    for count in (1, 2):
        victims = service.all_workers()[:count]
        signal_all(victims, signal.SIGKILL)
        eventually(lambda: renewed(service, victims))  # noqa: B023 - called at once
        expect(service.monitor(), 0)
    assert master == one_daemon(service)


@pytest.mark.parametrize("stopped", [False, True], ids=["", "workers-stopped"])
@pytest.mark.parametrize("lost", ["", "state"])
@pytest.mark.shared
def test_master_killed(make_service: MakeService, stopped: bool, lost: str) -> None:
    """Without the master the workers end; until the last has ended no probe says "not running"."""
    service = make_service(ini={"no-orphans": "false", "lazy-apps": "true"})
    expect(service.start(), 0)
    below = loaded(service)
    if stopped:
        signal_all(below, signal.SIGSTOP)
    os.kill(master := service.master(), signal.SIGKILL)
    eventually(lambda: not lives(master))
    if lost:
        service.state_file.unlink()
    eventually(lambda: expect_gone_or_orphaned(service))
    expect(service.start(), 0)
    one_daemon(service)


def expect_gone_or_orphaned(service: UwsgiService) -> bool:
    """One probe: 1 while a process lives, 7 when none does."""
    result = service.probe()
    if result.code == 7:
        assert not service.pids()
        return True
    expect(result, 1, "master process is gone")
    return False


@pytest.mark.parametrize(
    "ini", [None, {"exit-on-reload": "true", "lazy-apps": "true"}], ids=["own", "exit-on-reload"]
)
@pytest.mark.parametrize("lost", ["", "state"])
@pytest.mark.shared
def test_reload(make_service: MakeService, ini: dict[str, object] | None, lost: str) -> None:
    """HUP loads the application anew under the same master; monitors are 0 meanwhile."""
    service = make_service(ini=ini)
    expect(service.start(), 0)
    before, master = loaded(service), service.master()
    if lost:
        service.state_file.unlink()
    os.kill(master, signal.SIGHUP)
    eventually(lambda: checks_well(service) and renewed(service, before))
    assert master == one_daemon(service)


@pytest.mark.shared
def test_terminated(service: UwsgiService) -> None:
    """After a TERM to the master, not by the agent, uWSGI is not running."""
    expect(service.start(), 0)
    loaded(service)
    os.kill(service.master(), signal.SIGTERM)
    eventually(lambda: not service.pids())
    expect(service.monitor(), 7)


@pytest.mark.parametrize("who", ["workers", "all"])
@pytest.mark.shared
def test_stopped_by_signal(service: UwsgiService, who: str) -> None:
    """Processes stopped by SIGSTOP run, but do not serve, and stop ends them."""
    expect(service.start(), 0)
    below = service.all_workers()
    signal_all(below if who == "workers" else service.pids(), signal.SIGSTOP)
    expect(service.probe(), 0)
    expect(service.monitor(timeout=3), 1, "in time")
    expect(service.stop(timeout=20), 0)
    assert not service.pids()


@pytest.mark.parametrize("timeout", [5, 60])
@pytest.mark.shared
def test_stuck_requests(service: UwsgiService, timeout: float) -> None:
    """stop waits for stuck requests for shutdown_timeout, or as its own timeout allows."""
    expect(service.start(), 0)
    service.config.set(api="hang")
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connected(service))
        expect(service.monitor(timeout=3), 1, "in time")
        grace = {"shutdown_timeout": 2} if timeout > 20 else {}
        result = expect(service.stop(timeout=timeout, parameters=grace), 0)
        assert result.seconds < 30, "waited for the stuck"
    assert not service.pids()


@pytest.mark.shared
def test_deadlocked(service: UwsgiService) -> None:
    """stop does not wait for a worker that gets into a deadlock when it is told to end.

    Some releases of uWSGI wait in a signal handler for their threads. They wait for Python's lock,
    if the first thread was there when the signal came; this is frequent after a SIGSTOP.
    In other releases the handler returns: there the requests end, and then the worker does.
    """
    service.parameters["processes"] = 1
    expect(service.start(), 0)
    (worker,) = service.all_workers(1)
    service.config.set(api="seize")
    with ExitStack() as stack:
        for _ in range(4):  # one for each thread: the first has one of them, too
            client = stack.enter_context(socket.create_connection(
                (service.config.host, service.config.port)))
            client.sendall(b"GET /v2/seize HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: b"pause" in Path(f"/proc/{worker}/wchan").read_bytes())
        result = expect(service.stop(timeout=60), 0)
    assert result.seconds < 30, "waited for the deadlocked"
    assert not service.pids()


@pytest.mark.parametrize("ini", [None, {}], ids=["own", "ini"])
@pytest.mark.shared
def test_request_under_way(make_service: MakeService, ini: dict[str, object] | None) -> None:
    """A request that is being answered may be finished before the end."""
    service = make_service(ini=ini)
    expect(service.start(), 0)
    service.config.set(public_slow=2)
    with connected(service, "/") as client:
        expect(service.stop(), 0)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert b'"versions"' in answer


# ---- ini files from the field


DEBIAN = {
    "buffer-size": 65535, "rem-header": "Content-Length", "master": "true", "thunder-lock": "true",
    "plugins": "python3", "lazy-apps": "true", "paste-logger": "true", "no-orphans": "true",
    "die-on-term": "true", "enable-threads": "true", "processes": 3, "threads": 32, "listen": 100,
    "socket-timeout": 10, "http-auto-chunked": "true", "http-chunked-input": "true",
    "http-raw-body": "true", "chmod-socket": 666, "+lazy-apps": "true",
    "add-header": "Connection: close", "exit-on-reload": "true", "+die-on-term": "true",
    "wsgi-manage-chunked-input": "true", "logto": "{folder}/log/own.log", "name": "glance-api",
    "uid": USER, "gid": "{group}", "chdir": "/", "wsgi-file": "{app}",
}  # fmt: skip
INIS = [
    pytest.param(DEBIAN, id="debian"),
    pytest.param({"http-socket": "127.0.0.1:{other}"}, id="own-socket"),
    pytest.param({"plugins": "http", "http": "127.0.0.1:{other}"}, id="http-router"),
    pytest.param({"procname": "x"}, id="procname"),
    pytest.param({"auto-procname": "true", "procname-prefix": "api "}, id="auto-procname"),
    pytest.param({"procname-master": "api", "procname-append": " " + "y" * 300}, id="long-name"),
    pytest.param({"uid": USER, "gid": "{group}"}, id="uid-gid"),
    pytest.param({"touch-reload": "{app}"}, id="touch-reload"),
    pytest.param({"max-requests": 1}, id="max-requests"),
    pytest.param({"cheaper": 1}, id="cheaper"),
    pytest.param({"mule": "true"}, id="mule"),
    pytest.param({"spooler": "{folder}/log"}, id="spooler"),
    pytest.param({"attach-daemon": "/bin/sleep 600"}, id="attached-daemon"),
    pytest.param({"stats": "127.0.0.1:{other}"}, id="stats-socket"),
    pytest.param({"log-master": "true", "threaded-logger": "true"}, id="log-master"),
    pytest.param({"vacuum": "true", "pidfile": "{folder}/log/own.pid"}, id="vacuum"),
]


@pytest.mark.parametrize("ini", INIS)
@pytest.mark.shared
def test_ini(make_service: MakeService, ini: dict[str, object]) -> None:
    """Whatever options an ini file has: uWSGI serves, is recognised, and stop ends all of it."""
    service, spare = make_service(credentials=True, ini={}), make_service()
    service.write_ini(
        {
            name: str(value).format(
                folder=service.folder, app=service.app, other=spare.config.port,
                group=pwd.getpwnam(USER).pw_gid,
            )
            for name, value in ini.items()
        }
    )  # fmt: skip
    expect(service.call("validate-all"), 0)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    master = service.master()
    service.state_file.unlink()
    expect(service.monitor(), 0)
    assert [master] == masters(service.processes())
    stops(service)


@pytest.mark.shared
def test_address_taken_from_ini(make_service: MakeService) -> None:
    """If the ini file names a socket it counts, and the parameter bind is refused."""
    spare = make_service()
    address = f"127.0.0.1:{spare.config.port}"
    service = make_service(ini={"http-socket": address})
    expect(service.call("validate-all", parameters={"bind": address}), 2, "bind", "http-socket")
    expect(service.start(), 0)
    assert address in remembered_url(service)


@pytest.mark.parametrize("named", ["config", "bind", "both"])
@pytest.mark.shared
def test_address(make_service: MakeService, named: str) -> None:
    """uWSGI listens at the address in the configuration; without one, at bind."""
    service, spare = make_service(), make_service()
    ports = {"config": service.config.port, "bind": spare.config.port}
    if named == "bind":
        service.config.default = {}
        service.config.set()
    if named != "config":
        service.parameters["bind"] = f"127.0.0.1:{ports['bind']}"
    expect(service.start(), 0)
    port = ports["bind" if named == "bind" else "config"]
    assert f"http://127.0.0.1:{port}" == remembered_url(service)


@pytest.mark.shared
def test_harakiri(make_service: MakeService) -> None:
    """After uWSGI's harakiri has ended a stuck request, the monitor is 0 again."""
    service = make_service(ini={"harakiri": 3})
    expect(service.start(), 0)
    master, before = service.master(), service.all_workers()
    service.config.set(api="hang")
    with connected(service):
        eventually(lambda: set(before) - set(service.pids()))
    service.config.set(api=None)
    eventually(lambda: checks_well(service) and len(service.pids()) == 3)
    assert master == one_daemon(service)


@pytest.mark.shared
def test_touch_reload(make_service: MakeService) -> None:
    """Monitors are 0 during a reload by touch-reload, as during one by HUP."""
    service = make_service(ini={})
    service.write_ini({"touch-reload": service.app, "exit-on-reload": "true"})
    expect(service.start(), 0)
    before, master = loaded(service), service.master()
    later = time.time() + 60  # uWSGI compares whole seconds
    os.utime(service.app, (later, later))
    eventually(lambda: checks_well(service) and renewed(service, before))
    assert master == one_daemon(service)


# ---- adopted: a uWSGI that an init script has started


def start_by_init(service: UwsgiService, *arguments: object) -> int:
    """Start uWSGI as Debian's init scripts do; return the master's pid."""
    account = pwd.getpwnam(USER)
    child = subprocess.Popen(
        [
            PROGRAM, "--http-socket", f"127.0.0.1:{service.config.port}",
            *(str(word) for word in arguments),
        ],
        user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/",
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OS_GLANCE_CONFIG_DIR": str(service.config.path.parent),
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    _ADOPTED.append(child)
    service.pidfile.write_text(f"{child.pid}\n", encoding="utf-8")
    service.all_workers()
    eventually(lambda: answers(service))
    return child.pid


def answers(service: UwsgiService) -> bool:
    """Whether a plain request is answered; the socket listens long before the application does."""
    try:
        with connected(service, "/") as client:
            return client.recv(9) == b"HTTP/1.1 "
    except OSError:
        return False


_ADOPTED: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def _reaped() -> Iterator[None]:
    """Reap each uWSGI that a test has started by hand, so that no zombie is left."""
    yield
    while _ADOPTED:
        _ADOPTED.pop().wait()


def arguments_of(service: UwsgiService, form: str) -> list[object]:
    """The arguments by which uWSGI knows what to serve."""
    service.write_ini(
        {
            "master": "true", "die-on-term": "true", "lazy-apps": "true", "processes": 2,
            "virtualenv": service.venv, "wsgi-file": service.app,
            "pyargv": f"--config-file {service.config.path}",
        }
    )  # fmt: skip
    if form == "ini":
        return ["--ini", service.ini]
    if form == "ini=":
        return [f"--ini={service.ini}"]
    del service.parameters["uwsgi_ini"]
    return [
        "--master", "--die-on-term", "--lazy-apps", "--processes", 2, "--virtualenv",
        service.venv, "--wsgi-file", service.app, "--pyargv",
        f"--config-file {service.config.path}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("ini", "monitor"), ("ini=", "probe"), ("arguments", "start"), ("ini", "stop"),
        ("arguments", "stop"),
    ],
)  # fmt: skip
@pytest.mark.shared
def test_adoption(make_service: MakeService, form: str, first: str) -> None:
    """A uWSGI that an init script has started is taken over by the first action, and runs on."""
    service = make_service(credentials=True)
    pid = start_by_init(service, *arguments_of(service, form))
    if first == "stop":
        stops(service)
        return
    action = {"monitor": service.monitor, "probe": service.probe, "start": service.start}[first]
    expect(action(), 0)
    assert pid == one_daemon(service)
    service.config.set(api="500")
    expect(service.monitor(), 1, "500")
    stops(service)


@pytest.mark.parametrize("lost", ["pidfile", "state"])
@pytest.mark.shared
def test_adopted_memory_lost(make_service: MakeService, lost: str) -> None:
    """An adopted uWSGI stays known when its pidfile or its state is lost."""
    service = make_service()
    pid = start_by_init(service, *arguments_of(service, "ini"))
    expect(service.monitor(), 0)
    identity.LOSSES[lost](service)
    assert pid == one_daemon(service)
    stops(service)


@pytest.mark.shared
def test_orphans_after_adoption(make_service: MakeService) -> None:
    """The workers of an adopted uWSGI are known when their master is gone."""
    service = make_service()
    pid = start_by_init(service, *arguments_of(service, "ini"))
    expect(service.monitor(), 0)
    below = loaded(service)
    signal_all(below, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    _ADOPTED.pop().wait()
    eventually(lambda: expect_gone_or_orphaned(service) or below == service.pids())
    expect(service.start(), 0)
    assert not set(below) & set(service.pids())
    one_daemon(service)


@pytest.mark.parametrize("what", ["ini", "user", "server"])
@pytest.mark.shared
def test_not_adopted(make_service: MakeService, what: str) -> None:
    """A uWSGI of another instance is left alone, even if the pidfile names it."""
    other, service = make_service(), make_service(ini={})
    pid = start_by_init(other, *arguments_of(other, "ini"))
    shutil.copyfile(other.pidfile, service.pidfile)
    if what != "ini":
        service.parameters["uwsgi_ini"] = other.ini
    if what == "user":
        service.parameters["user"] = "root"
    if what == "server":
        service.parameters.update(server="standalone", binary="/bin/sleep")
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    assert pid == other.master()
    expect(other.monitor(), 0)


# ---- secrets


def test_secrets(make_service: MakeService) -> None:
    """The password is in no argument and no environment of uWSGI, and in no log."""
    service = make_service(credentials=True, password="Tr0ub4dor&3")
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    report = service.config.report()
    assert "Tr0ub4dor" not in json.dumps(report)
    assert [] == [name for name in report["environ"] if name.startswith(("OCF_", "HA_"))]
    for pid in service.pids():
        assert b"Tr0ub4dor" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not any(b"Tr0ub4dor" in field for field in environ_of(pid))
    assert service.pids() == having(f"{TAG}={service.tag}")
    for log in (service.log, service.log_file):
        assert "Tr0ub4dor" not in log.read_text("utf-8")


def test_identity(service: UwsgiService) -> None:
    """uWSGI runs as the user, in a session of its own, with the application's configuration."""
    expect(service.start(), 0)
    report = service.config.report()
    account = pwd.getpwnam(USER)
    assert [account.pw_uid] * 3 == report["uid"]
    assert [account.pw_gid] * 3 == report["gid"]
    assert service.master() == report["sid"]
    assert "0022" == report["umask"]
