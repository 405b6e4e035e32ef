"""Do the look-alikes behave, and misbehave, as README.md says?"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from looks import PATIENCE, eventually, words_of

from .between import FRONTS, NAMESERVERS, Front, Nameserver
from .config import DAEMON, DaemonConfig
from .keystone import MODES, Keystone, wire
from .ports import free_port


class Running:
    """A daemon that a test has started, and its configuration."""

    def __init__(self, config: DaemonConfig) -> None:
        self.config = config
        self.process = subprocess.Popen(
            config.command,
            # explicit: pytest's own C environment also has variables of readline
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def workers(self) -> list[int]:
        return [pid for pid in self.config.pids() if pid != self.process.pid]

    def get(
        self, path: str = "/", token: str | None = None, timeout: float = PATIENCE
    ) -> http.client.HTTPResponse:
        """One answer, read to its end."""
        client = http.client.HTTPConnection(self.config.host, self.config.port, timeout=timeout)
        try:
            client.request("GET", path, headers={"X-Auth-Token": token} if token else {})
            response = client.getresponse()
            response.read()
            return response
        finally:
            client.close()

    def answers(self) -> bool:
        try:
            return self.get().status == 300
        except OSError:
            return False

    def ready(self) -> Running:
        eventually(lambda: self.answers() and len(self.workers()) >= 2)
        return self

    def kill(self, signum: int = signal.SIGTERM) -> None:
        os.kill(self.process.pid, signum)

    def ends(self) -> int:
        return self.process.wait(PATIENCE)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def start_daemon(**behaviour: object) -> Running:
        folder = tmp_path / str(len(running))
        folder.mkdir()
        running.append(Running(DaemonConfig(folder, **behaviour)))  # type: ignore[arg-type]
        return running[-1]

    yield start_daemon
    for one in running:
        one.config.kill()
        one.process.communicate()


# ---- the daemon: its processes


def test_serves_and_ends(start: Start) -> None:
    """A master and two workers answer, and TERM ends them all with rc 0."""
    daemon = start().ready()
    assert 2 == len(daemon.workers())
    daemon.kill()
    assert 0 == daemon.ends()
    assert [] == daemon.config.pids()


def test_dead_worker_is_replaced(start: Start) -> None:
    """The master starts a new worker for one that was killed."""
    daemon = start().ready()
    before = daemon.workers()
    os.kill(before[0], signal.SIGKILL)
    after = eventually(lambda: len(w := daemon.workers()) == 2 and before[0] not in w and w)
    assert after and before[1] in after


def test_orphans_answer(start: Start) -> None:
    """Workers whose master was killed go on answering, as glance's do."""
    daemon = start().ready()
    before = daemon.workers()
    daemon.kill(signal.SIGKILL)
    daemon.ends()
    assert 300 == daemon.get().status
    assert before == daemon.config.pids()


def test_orphans_end(start: Start) -> None:
    """With orphans = end, workers whose master was killed end, as cinder's do."""
    daemon = start(orphans="end").ready()
    daemon.kill(signal.SIGKILL)
    eventually(lambda: not daemon.config.pids())


def test_hup_replaces_workers(start: Start) -> None:
    """HUP brings new workers under the same master, and no request fails meanwhile."""
    daemon = start(request_grace=PATIENCE).ready()
    before = set(daemon.workers())
    daemon.kill(signal.SIGHUP)
    while before & set(daemon.workers()):
        assert 300 == daemon.get().status
    eventually(lambda: len(daemon.workers()) == 2)
    assert daemon.process.poll() is None


def test_hup_keep_and_exit(start: Start) -> None:
    """HUP may also leave everything as it is, or end the daemon."""
    keep, leave = start(hup="keep").ready(), start(hup="exit").ready()
    before = keep.workers()
    keep.kill(signal.SIGHUP)
    leave.kill(signal.SIGHUP)
    assert 0 == leave.ends()
    assert 300 == keep.get().status
    assert before == keep.workers()


@pytest.mark.parametrize("who", ["master", "workers", "both"])
def test_ignore_term(start: Start, who: str) -> None:
    """With ignore_term, after a TERM to all processes master, workers or both are still there."""
    daemon = start(ignore_term=who, term_grace=0.1).ready()
    before = daemon.workers()
    for pid in daemon.config.pids():
        os.kill(pid, signal.SIGTERM)
    if who == "workers":
        daemon.ends()
    if who == "master":
        eventually(lambda: not set(before) & set(daemon.workers()))
    assert (who != "workers") == (daemon.process.poll() is None)
    assert (who != "master") == (before == daemon.workers())
    assert eventually(daemon.answers)


def test_orphan_on_term(start: Start) -> None:
    """With orphan_on_term the master ends at TERM, and its workers stay."""
    daemon = start(orphan_on_term="yes").ready()
    daemon.kill()
    assert 0 == daemon.ends()
    assert 2 == len(daemon.workers())
    assert 300 == daemon.get().status


def test_master_waits_for_stubborn_workers(start: Start) -> None:
    """With workers that ignore TERM the master stays, and ends once they are killed."""
    daemon = start(ignore_term="workers").ready()
    workers = daemon.workers()
    daemon.kill()
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(0.3)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert 0 == daemon.ends()


def test_slow_term(start: Start) -> None:
    """With slow_term the daemon serves on for a while after TERM."""
    slow, slower = start(slow_term=0.3).ready(), start(slow_term=60).ready()
    began = time.monotonic()
    slower.kill()
    slow.kill()
    assert 0 == slow.ends()
    assert time.monotonic() - began >= 0.3
    assert 300 == slower.get().status


def test_worker_leaves_session(start: Start) -> None:
    """One worker gets a session of its own, and still ends with the master."""
    daemon = start(worker_leaves_session="yes").ready()
    ours = os.getsid(daemon.process.pid)
    eventually(lambda: [ours] != sorted({os.getsid(pid) for pid in daemon.workers()}))
    assert 1 == sum(os.getsid(pid) != ours for pid in daemon.workers())
    daemon.kill()
    assert 0 == daemon.ends()
    assert [] == daemon.config.pids()


def test_double_fork(start: Start) -> None:
    """With double_fork the first process ends with rc 0 and the daemon lives in a new session."""
    daemon = start(double_fork="yes")
    assert 0 == daemon.ends()
    daemon.ready()
    assert 3 == len(daemon.config.pids())
    report = daemon.config.report()
    assert report["pid"] in daemon.config.pids()
    assert report["sid"] not in (os.getsid(0), report["pid"])


def test_exec_as(start: Start, tmp_path: Path) -> None:
    """With exec_as the daemon becomes another program, with the same pid."""
    other = tmp_path / "another"
    other.write_bytes(DAEMON.read_bytes())
    other.chmod(0o755)
    daemon = start(exec_as=other).ready()
    words = Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes().split(b"\0")
    assert os.fsencode(other) in words
    assert daemon.process.pid == daemon.config.report()["pid"]


def test_reuse_port(start: Start) -> None:
    """With reuse_port two daemons share a port."""
    one = start(reuse_port="yes").ready()
    other = start(reuse_port="yes", listen_port=one.config.port, port_taken="exit")
    eventually(lambda: len(other.config.pids()) == 3)


def test_worker_hides(start: Start) -> None:
    """One more process keeps the socket, in a session of its own, with an empty environment."""
    daemon = start(worker_hides="session environment parent").ready()
    ours = os.getsid(daemon.process.pid)

    def hidden() -> list[int]:
        words = {pid: words_of(pid) for pid in daemon.config.pids()}  # its parent is about to end
        return [pid for pid, line in words.items() if any(wire.HOLD in word for word in line)]

    (pid,) = eventually(hidden)
    assert ours != os.getsid(pid)
    assert b"" == Path(f"/proc/{pid}/environ").read_bytes()
    daemon.kill()
    assert 0 == daemon.ends()
    assert [pid] == daemon.config.pids()
    socket.create_connection((daemon.config.host, daemon.config.port)).close()


def test_worker_life(start: Start) -> None:
    """Idle workers end, others take their places, and requests are answered all the same."""
    daemon = start(worker_life=0.02, request_grace=PATIENCE).ready()
    before = daemon.workers()
    eventually(lambda: not set(before) & set(daemon.workers()))
    assert daemon.answers()


def test_storm(start: Start) -> None:
    """With storm each worker starts children at TERM, which ignore TERM."""
    daemon = start(storm=5).ready()
    daemon.kill()
    assert 0 == daemon.ends()
    assert 2 * 5 == len(daemon.config.pids())


def test_fatal_request(start: Start) -> None:
    """With fatal_request the answer comes after the master was killed."""
    daemon = start(fatal_request="yes")
    eventually(daemon.workers)
    assert 300 == daemon.get("/").status
    assert -signal.SIGKILL == daemon.process.poll()


DEATHS: list[tuple[dict[str, object], int, str]] = [
    ({"exit_at_once": 3}, 3, "told to die"),
    ({"exit_at_once": 3, "last_words": "no such table"}, 3, "no such table"),
    ({"exit_after": 0.1, "never_listen": "yes"}, 1, "told to die"),
    ({"exit_after_ready": 0.1, "exit_code": 7}, 7, "listening on"),
    ({"api": "no-such-thing"}, 64, "no such behaviour"),
    ({"no_such_option": "1"}, 64, "no such option"),
]


@pytest.mark.parametrize(("behaviour", "code", "words"), DEATHS)
def test_deaths(start: Start, behaviour: dict[str, object], code: int, words: str) -> None:
    """A daemon that is told to end does so with its exit code, last words, and all its workers."""
    daemon = start(**behaviour)
    _, stderr = daemon.process.communicate(timeout=PATIENCE)
    assert code == daemon.process.returncode
    assert words in stderr
    assert eventually(lambda: not daemon.config.pids())


def test_missing_configuration(tmp_path: Path) -> None:
    """Without its configuration the daemon ends with rc 99, as glance-api does."""
    done = subprocess.run(
        [DAEMON, f"--config-file={tmp_path}/none"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert 99 == done.returncode
    assert "cannot read the configuration" in done.stderr


def test_never_listen(start: Start) -> None:
    """With never_listen there is a master, no worker and no socket, and TERM works."""
    daemon = start(never_listen="yes")
    eventually(daemon.config.report_path.exists)
    with pytest.raises(ConnectionRefusedError):
        daemon.get()
    assert [daemon.process.pid] == daemon.config.pids()
    # Python's own TERM ends it too, before the daemon has its signals in hand
    daemon.kill()
    assert daemon.ends() in (0, -signal.SIGTERM)


def test_listen_after(start: Start) -> None:
    """With listen_after the port is refused for a while."""
    began = time.monotonic()
    daemon = start(listen_after=0.5).ready()
    assert time.monotonic() - began >= 0.5
    assert daemon.process.poll() is None


def test_listen_port(start: Start) -> None:
    """With listen_port the daemon listens elsewhere than it is configured to."""
    daemon = start(listen_port=(port := free_port()))
    configured, daemon.config.port = daemon.config.port, port
    daemon.ready()
    daemon.config.port = configured
    assert not daemon.answers()


def test_port_taken_exit(start: Start) -> None:
    """With port_taken = exit a second daemon on a port ends at once with rc 1."""
    first = start().ready()
    second = start(listen_port=first.config.port, port_taken="exit")
    _, stderr = second.process.communicate(timeout=PATIENCE)
    assert 1 == second.process.returncode
    assert "Address already in use" in stderr


def test_port_taken_retry(start: Start) -> None:
    """By default a second daemon waits for the port, and gives up after port_retry seconds."""
    first = start().ready()
    hasty = start(listen_port=first.config.port, port_retry=0.3)
    patient = start(listen_port=first.config.port)
    assert 1 == hasty.ends()
    first.kill()
    assert 0 == first.ends()
    eventually(lambda: len(patient.workers()) == 2)
    assert first.answers()


def test_foreign_address(start: Start, tmp_path: Path) -> None:
    """With an address that this node does not have the daemon ends at once."""
    config = DaemonConfig(tmp_path)
    config.default["bind_host"] = "192.0.2.1"
    config.set()
    done = subprocess.run(config.command, stderr=subprocess.PIPE, text=True, check=False)
    assert 1 == done.returncode
    assert "Errno 99" in done.stderr


def test_report(start: Start) -> None:
    """The report has arguments, environment, descriptors and the user of the daemon."""
    daemon = start().ready()
    report = daemon.config.report()
    assert daemon.config.command == report["argv"]
    assert dict(os.environ) == report["environ"]
    assert {"0", "1", "2"} == set(report["fds"])
    assert "/dev/null" == report["fds"]["0"]
    assert (daemon.process.pid, os.getpid()) == (report["pid"], report["ppid"])
    assert (list(os.getresuid()), os.getcwd()) == (report["uid"], report["cwd"])
    assert os.getsid(0) == report["sid"]


def test_copy_stands_alone(start: Start, tmp_path: Path) -> None:
    """A copy of the executable works anywhere, with cinder's option names too."""
    copy = tmp_path / "cinder-api"
    copy.write_bytes(DAEMON.read_bytes())
    copy.chmod(0o755)
    config = DaemonConfig(tmp_path, style="cinder")
    config.default = {"osapi_volume_listen": "127.0.0.1", "osapi_volume_listen_port": config.port}
    config.set()
    process = subprocess.Popen(
        [copy, "--config-file", config.path, "--debug"], stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: len(config.pids()) == 3)
        with socket.create_connection((config.host, config.port)) as conn:
            conn.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert conn.recv(100).startswith(b"HTTP/1.1 300 ")
        assert "--debug" == config.report()["argv"][-1]
    finally:
        config.kill()
        process.wait()


# ---- the daemon: its answers

ANSWERS: list[tuple[dict[str, object], str, str | None, int]] = [
    ({}, "/", None, 300),
    ({}, "/versions", None, 200),
    ({}, "/healthcheck", None, 200),
    ({}, "/nowhere", None, 300),
    ({}, "/v2/images?limit=1", None, 401),
    ({}, "/v2/images?limit=1", "any", 200),
    ({"style": "cinder"}, "/", None, 300),
    ({"style": "cinder"}, "/versions", None, 404),
    ({"style": "cinder"}, "/nowhere", None, 404),
    ({"style": "cinder"}, "/v3/volumes?limit=1", "any", 200),
    ({"accept_tokens": "one, two"}, "/v2/images", "two", 200),
    ({"accept_tokens": "one, two"}, "/v2/images", "three", 401),
    ({"accept_tokens": "/nonexistent"}, "/v2/images", "three", 401),
    ({"accept_tokens": "one", "bad_token": "503"}, "/v3/volumes", "three", 503),
    ({"status": "500"}, "/v2/images", "any", 500),
    ({"status": "500"}, "/v2/images", None, 401),
    ({"status": "500"}, "/", None, 300),
    ({"api": "503"}, "/v2/images", None, 503),
    ({"api": "503"}, "/", None, 300),
    ({"public": "500"}, "/", None, 500),
    ({"public": "500"}, "/healthcheck", None, 200),
    ({"healthcheck": "503"}, "/healthcheck", None, 503),
]


def test_answers(start: Start) -> None:
    """Every row of ANSWERS, changed while one daemon runs."""
    daemon = start().ready()
    plain = dict(daemon.config.behaviour)
    for behaviour, path, token, status in ANSWERS:
        daemon.config.behaviour = dict(plain)
        daemon.config.set(**behaviour)
        assert status == daemon.get(path, token).status, (behaviour, path, token)


def test_every_status(start: Start) -> None:
    """Any status code can be had, from 100 to 599."""
    daemon = start().ready()
    for status in (100, 101, 199, *range(200, 600, 33), 204, 304, 307, 599):
        daemon.config.set(api=status)
        address = (daemon.config.host, daemon.config.port)
        with socket.create_connection(address, PATIENCE) as conn:
            conn.sendall(b"GET /v2/images HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with conn.makefile("rb") as answer:
                assert str(status).encode() == answer.readline().split()[1]


def drain(conn: socket.socket, most: int = 200_000) -> bytes:
    """The bytes that the peer sends, until they are enough or none come for a while."""
    data = b""
    try:
        while len(data) < most and (piece := conn.recv(65536)):
            data += piece
    except ConnectionResetError:
        data += b"(reset)"
    except OSError:  # the timeout has another name before Python 3.10
        data += b"(silence)"
    return data


# the first bytes of an answer, and its last ones
SHAPES: dict[str, tuple[bytes, bytes]] = {
    "hang": (b"(silence)", b"(silence)"),
    "reset": (b"(reset)", b"(reset)"),
    "close": (b"", b""),
    "endless_body": (b"HTTP/1.1 200 OK", b""),
    "endless_headers": (b"HTTP/1.1 200 OK", b""),
    "endless_header": (b"HTTP/1.1 200 OK\r\nX-Filler: ", b""),
    "endless_chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n", b""),
    "endless_1xx": (b"HTTP/1.1 100 Continue", b""),
    "stall": (b"HTTP/1.1 200 Look-alike", b"(silence)"),
    "wrong_length": (b"HTTP/1.1 200 OK", b"{}"),
    "redirect_loop": (b"HTTP/1.1 302 ", b"}"),
    "nonsense": (b"220 ", b"\r\n"),
    "drip": (b"H", b""),
}


@pytest.mark.parametrize("part", ["api", "public"])
def test_misbehaviours(start: Start, part: str) -> None:
    """Each misbehaviour looks as it should, and the other answers stay well meanwhile."""
    assert set(wire.MISBEHAVIOURS) == set(SHAPES)
    daemon = start().ready()
    path, other = (b"/v2/images", "/") if part == "api" else (b"/", "/healthcheck")
    for how, (first, last) in SHAPES.items():
        daemon.config.set(**{part: how})
        address = (daemon.config.host, daemon.config.port)
        with socket.create_connection(address, PATIENCE) as conn:
            began = time.monotonic()
            conn.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if how == "drip":
                assert [b"H", b"T"] == [conn.recv(1), conn.recv(1)]
                assert time.monotonic() - began >= 1
                continue
            if how == "stall":
                assert conn.recv(1, socket.MSG_PEEK)
            if last == b"(silence)":
                conn.settimeout(0.5)
            data = drain(conn, 200_000 if how == "endless_body" else 5_000)
            assert data.startswith(first) and data.endswith(last), how
            assert not how.startswith("endless") or len(data) >= 5_000, how
            assert daemon.get(other).status in (200, 300)


def test_very_bytes(start: Start, keystone: Keystone, tmp_path: Path) -> None:
    """Daemon and Keystone can answer with the bytes of a file."""
    answer = tmp_path / "answer"
    answer.write_bytes(b"SSH-2.0-OpenSSH\r\n\0\xff")
    daemon = start().ready()
    daemon.config.set(api=answer)
    keystone.mode = str(answer)
    for port in (daemon.config.port, keystone.port):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as conn:
            conn.sendall(b"GET /v2/images HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer.read_bytes() == drain(conn)


def test_slow(start: Start) -> None:
    """api_slow delays the authenticated paths and nothing else."""
    daemon = start(api_slow=0.3).ready()
    began = time.monotonic()
    assert 200 == daemon.get("/v2/images", "any").status
    assert time.monotonic() - began >= 0.3
    daemon.config.set(api_slow=60)
    assert 300 == daemon.get().status


def test_hung_request_does_not_hold_up_term(start: Start) -> None:
    """A connection that hangs delays the end by request_grace at most."""
    daemon = start(api="hang").ready()
    with socket.create_connection((daemon.config.host, daemon.config.port)) as conn:
        conn.sendall(b"GET /v2/images HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: any(path == "/v2/images" for _, path, _ in daemon.config.requests()))
        daemon.kill()
        assert 0 == daemon.ends()


def test_request_log_keeps_no_token(start: Start) -> None:
    """The log has a hash of the token, not the token."""
    daemon = start().ready()
    daemon.get("/v2/images?limit=1", "s3cret-token")
    daemon.get("/v2/images")
    mark = hashlib.sha256(b"s3cret-token").hexdigest()[:8]
    assert [
        ("GET", "/v2/images?limit=1", f"token:{mark}"),
        ("GET", "/v2/images", "token:-"),
    ] == daemon.config.requests()[-2:]
    assert "s3cret" not in daemon.config.log_path.read_text()


def test_lost_configuration_changes_nothing(start: Start) -> None:
    """A daemon whose configuration was taken away goes on as before."""
    daemon = start(status="418").ready()
    daemon.config.path.unlink()
    assert 418 == daemon.get("/v2/images", "any").status


def test_tls(start: Start, certificate: Path) -> None:
    """With tls the daemon speaks HTTPS, and a plain request gets no answer."""
    daemon = start(tls=certificate)
    context = ssl.create_default_context(cafile=str(certificate))
    eventually(lambda: len(daemon.workers()) == 2)
    client = http.client.HTTPSConnection("127.0.0.1", daemon.config.port, context=context)
    client.request("GET", "/")
    assert 300 == client.getresponse().status
    client.close()
    with pytest.raises((http.client.HTTPException, OSError)):
        daemon.get()


# ---- Keystone


def password(keystone: Keystone, **changes: object) -> v3.Password:
    arguments: dict[str, object] = {
        "auth_url": f"{keystone.url}/v3",
        "username": "monitor",
        "password": "secret",
        "user_domain_name": "Default",
        "project_name": "service",
        "project_domain_name": "Default",
    }
    return v3.Password(**{**arguments, **changes})  # type: ignore[arg-type]


def token_of(keystone: Keystone, timeout: float = PATIENCE, /, **changes: object) -> str | None:
    client = session.Session(timeout=timeout)
    # look at the expiry, as every client does that keeps a token
    access = password(keystone, **changes).get_access(client)
    return access.auth_token if access.expires else None


@pytest.fixture
def keystone() -> Iterator[Keystone]:
    with Keystone(users={"monitor": "secret"}) as keystone:
        yield keystone


def test_keystone_gives_a_token(keystone: Keystone) -> None:
    """A keystoneauth1 session gets a token with an end, a project and a catalog."""
    client = session.Session()
    access = password(keystone).get_access(client)
    assert keystone.tokens_issued == [access.auth_token]
    assert "service" == access.project_name
    assert not access.will_expire_soon()
    assert access.service_catalog.url_for(service_type="image") == "http://127.0.0.1:9292"
    assert ("POST", "/v3/auth/tokens") == keystone.requests[-1]


def test_keystone_from_its_root(keystone: Keystone) -> None:
    """The Identity root works as auth_url, and discovery finds v3."""
    assert token_of(keystone, auth_url=keystone.url)
    plugin = password(keystone)
    endpoint = plugin.get_endpoint(session.Session(), service_type="identity", version=(3, 0))
    assert f"{keystone.url}/v3" == str(endpoint).rstrip("/")


WRONG: list[dict[str, object]] = [
    {"username": "nobody"},
    {"password": "wrong"},
    {"password": ""},
    {"user_domain_name": "Other"},
    {"project_domain_name": "Other"},
    {"project_name": "other"},
]


@pytest.mark.parametrize("changes", WRONG)
def test_keystone_refuses(keystone: Keystone, changes: dict[str, object]) -> None:
    """Whatever is wrong in the credentials, the answer is 401."""
    with pytest.raises(exceptions.Unauthorized):
        token_of(keystone, **changes)
    assert [] == keystone.tokens_issued


@pytest.mark.parametrize("secret", ["'\"\\ $(id) %s%", "näh ☃", "two\nlines", "#;=[x]"])
def test_keystone_takes_any_password(secret: str) -> None:
    """A password may hold any character."""
    with Keystone(users={"monitor": secret}) as keystone:
        assert token_of(keystone, password=secret)


def test_keystone_has_no_v2(keystone: Keystone) -> None:
    """Every path under /v2.0 answers 404."""
    for path in ("/v2.0", "/v2.0/", "/v2.0/tokens"):
        assert 404 == session.Session().get(keystone.url + path, raise_exc=False).status_code


def test_keystone_with_v2(keystone: Keystone) -> None:
    """With v2 Keystone also gives v2.0 tokens, for the same credentials."""
    keystone.v2 = True
    auth = {
        "tenantName": "service",
        "passwordCredentials": {"username": "monitor", "password": "secret"},
    }
    client = session.Session()
    assert "v2.0" == client.get(keystone.url + "/v2.0/").json()["version"]["id"]
    access = client.post(keystone.url + "/v2.0/tokens", json={"auth": auth}).json()["access"]
    assert keystone.tokens_issued == [access["token"]["id"]]
    (image,) = [one for one in access["serviceCatalog"] if one["type"] == "image"]
    assert "http://127.0.0.1:9292" == image["endpoints"][0]["publicURL"]
    assert token_of(keystone)
    for wrong in ({}, {"auth": {**auth, "tenantName": "other"}}):
        refused = client.post(keystone.url + "/v2.0/tokens", json=wrong, raise_exc=False)
        assert refused.status_code == (401 if wrong else 400)


def test_keystone_when_asked(keystone: Keystone) -> None:
    """when_asked can change Keystone's answer."""
    keystone.when_asked = lambda: setattr(keystone, "mode", "503")
    with pytest.raises(exceptions.ServiceUnavailable):
        token_of(keystone)


def test_keystone_domains_by_id(keystone: Keystone) -> None:
    """The default domain can be given by its id."""
    by_id = {"user_domain_id": "default", "project_domain_id": "default"}
    assert token_of(keystone, user_domain_name=None, project_domain_name=None, **by_id)


MODE_STATUS = {"refuse": 401, 500: 500, "503": 503, 429: 429}


@pytest.mark.parametrize("mode", MODE_STATUS)
def test_keystone_status(keystone: Keystone, mode: str | int) -> None:
    """Modes that are a status answer with it, and `fine` gives tokens again."""
    keystone.mode = mode
    with pytest.raises(exceptions.HttpError) as caught:
        token_of(keystone)
    assert MODE_STATUS[mode] == caught.value.http_status
    keystone.mode = "fine"
    assert token_of(keystone)


@pytest.mark.parametrize("mode", sorted({*MODES} - {"fine"}))
def test_keystone_mode_gives_no_token(keystone: Keystone, mode: str) -> None:
    """Only in mode `fine` a careful client gets a token, and close() does not wait for clients."""
    keystone.mode = mode
    endless = mode.startswith("endless")
    if endless or mode == "drip":
        with socket.create_connection(("127.0.0.1", keystone.port), PATIENCE) as conn:
            conn.sendall(b"POST /v3/auth/tokens HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            assert conn.recv(1) == b"H"
            began = time.monotonic()
            keystone.close()
    else:
        with pytest.raises((exceptions.ClientException, KeyError, TypeError)):
            token_of(keystone, 0.5)
        began = time.monotonic()
        keystone.close()
    assert time.monotonic() - began < PATIENCE
    assert [] == keystone.tokens_issued


def test_keystone_close_releases_hanging_requests() -> None:
    """A request that hangs, and one that is not read, are cut off when Keystone closes."""
    with Keystone() as keystone:
        keystone.mode = "hang"
        hung = socket.create_connection(("127.0.0.1", keystone.port), PATIENCE)
        hung.sendall(b"GET / HTTP/1.1\r\n\r\n")
        eventually(lambda: keystone.requests)
        keystone.mode = "endless_body"
        deaf = socket.create_connection(("127.0.0.1", keystone.port), PATIENCE)
        deaf.sendall(b"GET / HTTP/1.1\r\n\r\n")
        eventually(lambda: len(keystone.requests) == 2)
        assert deaf.recv(1)
        began = time.monotonic()
    assert time.monotonic() - began < PATIENCE
    assert b"" == hung.recv(1)
    hung.close()
    deaf.close()


def test_keystone_dies_and_returns(keystone: Keystone) -> None:
    """A dead Keystone refuses connections and comes back on the same port."""
    url = keystone.url
    keystone.mode = "dead"
    with pytest.raises(exceptions.ConnectFailure):
        token_of(keystone)
    keystone.mode = "fine"
    assert token_of(keystone)
    assert url == keystone.url


def test_keystone_rejects_unknown_modes(keystone: Keystone) -> None:
    """A mode that does not exist is an error of the test."""
    with pytest.raises(ValueError, match="no such mode"):
        keystone.mode = "fien"


def test_keystone_clock(keystone: Keystone) -> None:
    """Tokens can be issued expired, and Keystone's clock can be wrong by a day."""
    keystone.token_life = -10
    assert password(keystone).get_access(session.Session()).will_expire_soon(0)
    keystone.token_life, keystone.clock_skew = 3600, 86400
    access = password(keystone).get_access(session.Session())
    assert not access.will_expire_soon(86400)


def test_keystone_empty_catalog(keystone: Keystone) -> None:
    """The catalog can be emptied."""
    keystone.catalog = []
    assert not password(keystone).get_access(session.Session()).service_catalog.catalog


def test_keystone_tls(certificate: Path) -> None:
    """With a certificate Keystone speaks HTTPS, hangs too, and closes at once all the same."""
    with Keystone(users={"monitor": "secret"}, certfile=str(certificate)) as keystone:
        assert keystone.url.startswith("https://")
        client = session.Session(verify=str(certificate))
        assert password(keystone).get_token(client)
        with pytest.raises(exceptions.SSLError):
            token_of(keystone)
        keystone.mode = "hang"
        with pytest.raises(exceptions.ConnectTimeout):
            password(keystone).get_token(session.Session(verify=str(certificate), timeout=0.3))


def test_daemon_takes_the_tokens_that_keystone_gave(
    start: Start, keystone: Keystone, tmp_path: Path
) -> None:
    """With write_tokens the daemon accepts Keystone's tokens until they are revoked or expired."""
    keystone.write_tokens(tokens := tmp_path / "tokens")
    daemon = start(accept_tokens=tokens).ready()
    assert 401 == daemon.get("/v2/images", "forged").status
    first, second = token_of(keystone), token_of(keystone)
    assert 200 == daemon.get("/v2/images", first).status
    keystone.revoke(first)
    assert 401 == daemon.get("/v2/images", first).status
    assert 200 == daemon.get("/v2/images", second).status
    keystone.revoke()
    assert 401 == daemon.get("/v2/images", second).status
    keystone.token_life = -1
    assert 401 == daemon.get("/v2/images", token_of(keystone)).status


# ---- between client and peers


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
@pytest.mark.parametrize("how", FRONTS)
def test_front(keystone: Keystone, certificate: Path, how: str) -> None:
    """A front passes TLS on, or fails as its name says, and its end does not wait for clients."""
    context = ssl.create_default_context(cafile=str(certificate))
    with Front(keystone.port, how, certificate) as front:
        url = f"127.0.0.1:{front.port}"
        timeout = 0.5 if how == "hang" else PATIENCE
        client = http.client.HTTPSConnection(url, context=context, timeout=timeout)
        if how == "tls":
            client.request("GET", "/")
            assert 300 == client.getresponse().status
        else:
            with pytest.raises((ssl.SSLError, ConnectionError, socket.timeout)):
                client.connect()
        client.close()
        if how == "tls1":
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.load_verify_locations(certificate)
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version = ssl.TLSVersion.TLSv1
            with (
                socket.create_connection(("127.0.0.1", front.port), PATIENCE) as raw,
                old.wrap_socket(raw, server_hostname="127.0.0.1") as conn,
            ):
                assert "TLSv1" == conn.version()


@pytest.mark.parametrize("how", NAMESERVERS)
def test_nameserver(tmp_path: Path, how: str) -> None:
    """With the prefix names do not resolve, or not in time; for other processes nothing changes."""
    before = Path("/etc/resolv.conf").read_bytes()
    ask = "import socket; socket.getaddrinfo('api.example.org', 80)"
    with Nameserver(how, tmp_path) as nameserver:
        command = [*nameserver.prefix, "/usr/bin/python3", "-c", ask]
        if how == "mute":
            with pytest.raises(subprocess.TimeoutExpired):
                subprocess.run(command, capture_output=True, timeout=2)
        else:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            assert "gaierror" in done.stderr
    assert before == Path("/etc/resolv.conf").read_bytes()


# ---- ports and README


def test_free_ports_are_different_and_usable() -> None:
    """A port is given once, refuses connections until a daemon listens, and can be listened on."""
    ports = [free_port() for _ in range(50)]
    assert 50 == len(set(ports))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]))
    with socket.create_server(("0.0.0.0", ports[0])):
        socket.create_connection(("127.0.0.1", ports[0])).close()


def test_free_ports_come_from_no_seed() -> None:
    """free_port() does not use the global seed, which hypothesis sets for each example."""
    random.seed(0)
    before = random.getstate()
    free_port()
    assert before == random.getstate()


def test_readme_names_every_option_and_mode() -> None:
    """README.md leaves out no option of the daemon and no mode of Keystone."""
    readme = (DAEMON.parent / "README.md").read_text(encoding="utf-8")
    names = {*wire.OPTIONS, *wire.MISBEHAVIOURS, *MODES, *FRONTS, *NAMESERVERS}
    assert [] == sorted(name for name in names if f"`{name}`" not in readme)


def test_report_is_json(start: Start) -> None:
    """The report is complete as soon as it is there."""
    config = start(never_listen="yes").config
    eventually(config.report_path.exists)
    assert "umask" in json.loads(config.report_path.read_text())
