"""Parsers of files, peers' answers and parameters: no input makes them fail or return nonsense.

Properties of several modules, or with a peer; those of a single value are with its module's tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import string
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentlib import listening
from agentlib.agent import Agent
from agentlib.api import VERSIONS as MARK
from agentlib.api import Api
from agentlib.check import Subject
from agentlib.credentials import Identity, checked_url, identity_root
from agentlib.credentials import parameters as keystone_parameters
from agentlib.daemon import Daemon
from agentlib.deadline import Deadline
from agentlib.environment import Environment, whole
from agentlib.errors import AgentError, ConfigurationError
from agentlib.exitcode import ExitCode
from agentlib.keystone import FOREVER, NoTokenError, Token, is_token, issue, kept
from agentlib.lastwords import last_words
from agentlib.log import Log
from agentlib.outcome import Outcome
from agentlib.parameters import Values, is_port
from agentlib.process import Process, find
from agentlib.reason import one_line
from agentlib.secrets import scrubbed
from agentlib.service import Service as Managed
from agentlib.sockets import Listener
from agentlib.state import PID_LIMIT, State, Store, keep_bounded
from agentlib.target import Target
from agentlib.url import split
from unit.kit import VERSIONS, Service

pytestmark = pytest.mark.usefixtures("imported")

PLENTY = 120.0

DAEMON = Daemon(project="unit", binary="sh", config="/etc/passwd", user="nobody",
                log_folder="/nonexistent", port=9292)

TEXT = st.text(st.characters(exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5)


def made(folder: Path) -> Store:
    return Store(str(folder), "unit-api:p_unit", "p_unit", "")


def credentials(url: str) -> Identity:
    return Identity(Values(keystone_parameters(), {
        "os_username": "monitor", "os_password": SECRET, "os_project_name": "service",
        "os_auth_url": url}))


def subject_of(state: State) -> Subject:
    """The subject of a check, with this state."""
    own = find(os.getpid())
    assert own is not None
    return Subject("unit-api", Values((), {}), DAEMON, state, own, lambda: [own])


def put(store: Store, content: bytes) -> None:
    """Write a state file by hand."""
    store.write(State())
    (Path(store.pidfile).parent / "openstack" / "unit-api:p_unit.json").write_bytes(content)


# --- pidfile and state --------------------------------------------------------------------------

NEARLY_A_PID = st.from_regex(rb"[-+ \n]?[0-9_]{0,8}[\n .x\xb2]{0,2}", fullmatch=True)


@given(content=st.binary() | NEARLY_A_PID)
def test_any_pidfile(content: bytes, tmp_path: Path) -> None:
    """Whatever a pidfile holds: the pid, if it is alone and can be a daemon's, else 0."""
    store = made(tmp_path)
    Path(store.pidfile).write_bytes(content)
    pid = store.read_pidfile()
    assert pid == 0 or (1 < pid < PID_LIMIT and int(content) == pid)


@given(pid=st.integers(2, PID_LIMIT - 1), form=st.sampled_from(["{}", "{}\n", " {} \n\n"]))
def test_every_pid(pid: int, form: str, tmp_path: Path) -> None:
    """A pid is read as it was written, by us or by another program."""
    store = made(tmp_path)
    store.write_pidfile(pid)
    assert pid == store.read_pidfile()
    Path(store.pidfile).write_text(form.format(pid))
    assert pid == store.read_pidfile()


KEYSTONE = "http://127.0.0.1:5000"
SECRET = "p4ssw0rd-not-to-be-told"
SEAL = credentials(KEYSTONE).seal()

RECORDS = st.fixed_dictionaries({}, optional={
    "pid": st.integers(-1, PID_LIMIT + 1) | JSON,
    "start": st.integers(0) | JSON,
    "session": st.integers(0, PID_LIMIT) | JSON,
    "uid": st.integers(-1, 2**32) | JSON,
    "log": JSON,
    "checks": st.fixed_dictionaries({}, optional={
        "address": st.fixed_dictionaries({}, optional={
            "url": st.from_regex(r"https?://[a-z0-9\[\]:./ ]{0,9}:[0-9]{0,6}", fullmatch=True)
            | JSON,
            "inode": st.integers() | JSON, "descriptor": st.integers() | JSON}) | JSON,
        "api": st.fixed_dictionaries({}, optional={
            "token": st.just("gAAAA") | JSON, "seal": st.just(SEAL) | JSON,
            "until": st.floats(0) | JSON, "project": JSON, "user": JSON,
            "anonymous": JSON}) | JSON}) | JSON})


@given(content=st.binary() | JSON.map(lambda junk: json.dumps(junk).encode())
       | RECORDS.map(lambda record: json.dumps(record).encode()))
@example(content=b'{"checks": {"address": {"url": "http://127.0.0.1:99999"}}}')
@example(content=b'{"checks": {"address": {"url": "http://[::1]:9292", "inode": 1e400}}}')
@example(content=b'{"checks": {"api": 1, "address": "x"}}')
@example(content=b'{"log": "\\u0000"}')
@example(content=b'{"log": "/etc/passwd"}')
def test_any_state(content: bytes, tmp_path: Path) -> None:
    """Whatever the state file holds: a State with sound values, which no check fails on."""
    store = made(tmp_path)
    put(store, content)
    state = store.read()
    assert state.pid == 0 or 1 < state.pid < PID_LIMIT
    assert all(isinstance(number, int) for number in (state.start, state.session, state.uid))
    token = kept(state.checks.get("api", {}), credentials(KEYSTONE))
    assert token is None or (is_token(token.text) and time.time() < token.until < FOREVER)
    url = listening.known(subject_of(state))
    if url:
        host, _, port = url.removeprefix("http://").rpartition(":")
        assert host and "/" not in host and 0 < int(port) < 65536
    outcome = listening.ensure(
        subject_of(state), 9292, lambda url, deadline: Outcome(ExitCode.SUCCESS), Deadline(0))
    assert outcome is None or outcome.reason
    assert state.log in ("", store.log)  # a file that is emptied when it is long
    keep_bounded(state.log)


ADDRESSES = st.tuples(st.ip_addresses().map(str), st.integers(1, 65535))


@given(numbers=st.tuples(st.integers(2, PID_LIMIT - 1), st.integers(1), st.integers(0),
                         st.integers(0, 2**32)),
       socket=ADDRESSES, token=TEXT, until=st.floats(0, FOREVER, exclude_max=True))
def test_every_state(
    numbers: tuple[int, int, int, int], socket: tuple[str, int], token: str, until: float,
    tmp_path: Path,
) -> None:
    """What an instance remembers is read as it was written."""
    store = made(tmp_path)
    state = State()
    state.pid, state.start, state.session, state.uid = numbers
    state.log = store.log
    url = Listener(*socket, inode=7, user=0).url
    who = credentials(KEYSTONE)
    state.checks["address"] = {"url": url, "inode": 7, "descriptor": 3}
    Token(token, until).keep(state.checks.setdefault("api", {}), who)
    store.write(state)
    found = store.read()
    assert [getattr(state, name) for name in State.__slots__] == [
        getattr(found, name) for name in State.__slots__]
    assert url == listening.known(subject_of(found))
    again = kept(found.checks["api"], who)
    if is_token(token) and until > time.time() + PLENTY:
        assert again is not None
        assert (token, until) == (again.text, again.until)


@given(part=st.floats(0, 1, exclude_max=True))
def test_half_a_state(part: float, tmp_path: Path) -> None:
    """A state file that was cut off counts as no state."""
    store = made(tmp_path)
    state = State()
    state.pid, state.checks = 4242, {"api": {"token": "gAAAA"}}
    store.write(state)
    path = Path(store.pidfile).parent / "openstack" / "unit-api:p_unit.json"
    put(store, path.read_bytes()[:int(part * path.stat().st_size)])
    assert (0, {}) == (store.read().pid, store.read().checks)


# --- URLs ---------------------------------------------------------------------------------------

HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\.[a-z0-9]{1,9}){0,2}", fullmatch=True) \
    | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map("[{}]".format)
ROOTS = st.builds(
    "{}://{}{}{}".format, st.sampled_from(["http", "https"]), HOSTS,
    st.just("") | st.integers(1, 65535).map(":{}".format),
    st.sampled_from(["", "/identity", "/a/b", "/v", "/vx/y"]))


@given(socket=ADDRESSES)
def test_every_socket(socket: tuple[str, int]) -> None:
    """Whatever a daemon listens on, its URL leads there, and is a URL for other parsers, too."""
    url = Listener(*socket, inode=7, user=0).url
    parts = urlsplit(url)
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    assert (anywhere.get(*socket[:1] * 2), socket[1]) == (parts.hostname, parts.port)
    assert url == checked_url("url", url)


@given(root=ROOTS, version=st.from_regex(r"v[0-9](\.[0-9])?", fullmatch=True),
       rest=st.from_regex(r"(/[a-z0-9?=]{0,5}){0,3}", fullmatch=True))
def test_every_version(root: str, version: str, rest: str) -> None:
    """A URL is split at its version, wherever that stands, and nothing of it is lost."""
    assert (root, version, rest[1:]) == split(f"{root}/{version}{rest}")


@given(root=ROOTS, blank=st.sampled_from(["{}", " {}", "{}\n"]), suffix=st.sampled_from(
    ["", "/", "/v3", "/v3/", "/v2.0", "/v2.0/", "/v2.0/tokens", "/v3/auth/tokens/"]),
       name=st.sampled_from(["os_auth_url", "keystone_get_token_url"]))
def test_every_identity_root(root: str, blank: str, suffix: str, name: str) -> None:
    """However an Identity URL is written, its root is the same, and has itself as its root."""
    values = Values(keystone_parameters(), {name: blank.format(root + suffix)})
    assert root == identity_root(values)


@given(url=st.builds("{}{}".format, ROOTS, TEXT) | ROOTS.map(str.upper))
def test_checked_once(url: str) -> None:
    """A text that was accepted as a URL is one for every parser, and is returned unchanged."""
    try:
        value = checked_url("url", url, query=True)
    except ConfigurationError:
        return
    parts = urlsplit(value)
    assert parts.hostname and parts.username is None and parts.password is None
    assert value == checked_url("url", value, query=True)
    assert value.startswith(split(value)[0])


# --- parameters ---------------------------------------------------------------------------------

AGENT = Agent(
    name="unit-api", title="Unit API", manages=Managed(DAEMON, Api("/v2/images?limit=1")))
NAMES = [parameter.name for parameter in AGENT.manages.parameters]
VALUES = TEXT.filter(lambda text: SECRET not in text) | st.sampled_from(
    ["true", "20s", "fail", "/etc/passwd", "http://h:5000/v3", "nobody"])
WITH_PASSWORD = st.dictionaries(
    st.sampled_from(["url", "os_auth_url", "keystone_get_token_url"]),
    st.sampled_from([f"http://x:{SECRET}@h", f"http://h/{SECRET} ", f"{SECRET}://h"]))


@given(values=st.builds(lambda one, other: {**one, **other},
                        st.dictionaries(st.sampled_from(NAMES), VALUES), WITH_PASSWORD),
       level=st.sampled_from(["0", "10"]))
def test_any_parameters(values: dict[str, str], level: str, tmp_path: Path) -> None:
    """Whatever the values of all parameters: valid, or one error that names one of them."""
    environ = {f"OCF_RESKEY_{name}": value for name, value in values.items()}
    environ.update(OCF_RESKEY_os_password=SECRET, OCF_CHECK_LEVEL=level, HA_RSCTMP=str(tmp_path))
    environment = Environment("validate-all", "p_unit", environ)
    try:
        outcome = AGENT.manages.act(AGENT.call(environment, Log("unit-api", environment)))
    except AgentError as error:
        assert error.exit_code in (2, 5, 6)
        assert any(name in str(error)[:119] for name in NAMES)
        assert SECRET not in str(error)
        assert one_line(str(error)) == str(error)
    else:
        assert (0, "") == (outcome.code, outcome.reason)


@given(text=TEXT | st.from_regex(r"[-+ ]?[0-9_\u0663]{0,20}", fullmatch=True))
def test_any_whole_number(text: str) -> None:
    """Only ASCII digits, not too many, make a number."""
    right = bool(text) and set(text) <= set(string.digits) and len(text) <= 18
    assert (int(text) if right else None) == whole(text)


@given(text=st.text(max_size=8) | st.integers(-5, 70000).map(str))
def test_any_port(text: str) -> None:
    """A port is a number in plain digits that is valid for TCP."""
    assert is_port(text) == (
        0 < len(text) < 6 and not set(text) - set(string.digits) and 0 < int(text) < 65536)


@given(line=st.binary() | st.from_regex(rb"\d{1,3} \(.{0,9}\) [SRZ]( -?\d{1,9}){0,30}"))
def test_any_stat(line: bytes) -> None:
    """Whatever /proc says of a process: a process, or what find() takes for its end."""
    with contextlib.suppress(ValueError, IndexError):
        found = Process(42, line)
        assert found.state
        assert {int} == {*map(type, (found.parent, found.session, found.threads, found.start))}


@given(name=st.binary(max_size=15), parent=st.integers(0, PID_LIMIT))
def test_any_bytes_for_a_name(name: bytes, parent: int) -> None:
    """Whatever bytes are a process's name, in no encoding, the fields are read right."""
    fields = b" ".join([b"S", b"%d" % parent, b"7", b"8", *[b"0"] * 15, b"99", *[b"0"] * 30])
    found = Process(42, b"42 (" + name + b") " + fields)
    assert (parent, 8, 99) == (found.parent, found.session, found.start)


# --- HTTP answers -------------------------------------------------------------------------------

HEADERS = st.lists(st.builds(
    "{}: {}".format,
    st.sampled_from(["Content-Length", "Transfer-Encoding", "Content-Type", "Connection",
                     "Content-Encoding", "Location", "X-Subject-Token", "Retry-After", "X", ""]),
    st.sampled_from(["0", "-1", "5", "999999", "chunked", "gzip", "application/json", "/", "//",
                     "http://[", "close", "keep-alive", "x" * 70000])
    | st.text(string.printable, max_size=9)), max_size=5)
BODIES = st.sampled_from([b"", VERSIONS, b"5\r\nhello\r\n0\r\n\r\n", b"{", b"ffffffffffff\r\n"]) \
    | st.binary(max_size=50)


def _answer(line: str, headers: list[str], body: bytes) -> bytes:
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1", "replace") + body


LINES = st.builds(
    "{} {} {}".format, st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/9", "HTTP/", "ICY"]),
    st.sampled_from([200, 201, 300, 401, 503]) | st.integers(-1, 1100), st.text(max_size=5))
ANSWERS = st.builds(_answer, LINES, HEADERS, BODIES) | st.binary(max_size=200)


@pytest.fixture(scope="module")
def peer() -> Iterator[Service]:
    """A server that sends what a test gives it, byte by byte, and closes."""
    server = Service()
    yield server
    server.close()


@given(raw=ANSWERS)
@settings(max_examples=200)
def test_any_answer(raw: bytes, peer: Service) -> None:
    """Whatever the API sends: a status that is in it, or the trouble in a line; in time."""
    peer.raw = raw
    deadline = Deadline(PLENTY)
    target = Target("unit-api", peer.url + "/v2/images?limit=1", public=MARK, local=True)
    answer = target.ask(Token("token", FOREVER), deadline)
    assert answer.status == 0 or b"%d" % answer.status in raw
    assert answer.trouble == one_line(answer.trouble) != ""
    outcome = target.serves(deadline)
    assert outcome.code in (0, 1)
    assert outcome.code == 1 or b'"versions"' in raw
    assert bool(outcome.reason) == bool(outcome.code)
    assert deadline.remaining()


TIMES = st.sampled_from(
    ["2026-01-01T00:00:00.000000Z", "2026-01-01T01:00:00.000000Z", "9999-12-31T23:59:59Z",
     "0001-01-01T00:00:00+14:00", "soon", "", None, 5])
TOKENS = st.builds(
    lambda token, more: {"token": {**token, **more}},
    st.fixed_dictionaries({}, optional={"issued_at": TIMES, "expires_at": TIMES}),
    st.dictionaries(st.sampled_from(["user", "project", "roles", "catalog", "methods"]), JSON),
) | JSON
DOCUMENTS = st.builds(
    lambda subject, document: _answer(
        "HTTP/1.1 201 Created", [f"X-Subject-Token: {subject}"], json.dumps(document).encode()),
    st.sampled_from(["gAAAA", "", "\u00e9", "a b"]), TOKENS)


@given(raw=DOCUMENTS | ANSWERS)
@settings(max_examples=200)
def test_any_token(raw: bytes, peer: Service) -> None:
    """Whatever Keystone sends: a possible token, or the reason in a line; in time."""
    peer.raw = raw
    deadline = Deadline(PLENTY)
    try:
        token = issue(credentials(peer.url), deadline)
    except NoTokenError as error:
        assert one_line(str(error)) == str(error) != ""
        assert SECRET not in str(error)
    else:
        assert is_token(token.text)
        assert -FOREVER < token.until < 1e12
    assert deadline.remaining()


# --- secrets ------------------------------------------------------------------------------------

# the text around it has no character of the secret, and so cannot contain it by chance; the
# asterisk is what replaces it
SECRETS = st.text(
    st.sampled_from("aAb1%$'\"\\()[]{}.+?/:@#&=-\u00e4\u4e2d"), min_size=4, max_size=64)
FILLER = st.text(st.sampled_from("xyz\u00f6\u65e5 \t"), max_size=9)


def told(pieces: list[str], secret: str, overlap: int) -> str:
    """The secret between the pieces, and once overlapping with itself."""
    return (secret + secret[overlap % len(secret):]).join(["", *pieces, ""])


@given(secret=SECRETS, pieces=st.lists(FILLER, max_size=4), overlap=st.integers(1, 60))
def test_any_secret(secret: str, pieces: list[str], overlap: int) -> None:
    """A scrubbed text has no secret, however often it was there, overlapping itself or not."""
    text = told(pieces, secret, overlap)
    assert secret not in scrubbed(text, secret)
    assert one_line(secret) not in one_line(scrubbed(text, secret))


@given(secret=SECRETS, filler=st.sampled_from(["x", "\u65e5", "x\n", "\u00f6 "]),
       before=st.integers(0, 9000), since=st.integers(0, 200), after=st.integers(0, 9000))
@example(secret="aAb1%$()" * 8, filler="\u65e5", before=900, since=0, after=8160)
@settings(max_examples=300)
def test_any_cut_secret(
    secret: str, filler: str, before: int, since: int, after: int, tmp_path: Path,
) -> None:
    """Wherever the last words begin, even in the middle of a secret: its end is not in them."""
    path = tmp_path / "log"
    text = filler * (before // len(filler)) + secret + filler * (after // len(filler.encode()))
    path.write_bytes(text.encode())
    since = min(since, before)
    with path.open("rb") as log:
        words = last_words(log.fileno(), since if since < before else 0, secret)
    assert one_line(secret[-4:]) not in words
    assert words == "" or (words.isascii() and words.isprintable())


@given(secret=st.binary(min_size=4, max_size=20).filter(
    lambda secret: not set(secret) & set(b"\0xyz *\n")))
@example(secret=b"p\xe4ssword")
@example(secret=b"\x01\xe1\x80\x80")  # what stands for it is longer
def test_any_bytes_for_a_secret(secret: bytes, tmp_path: Path) -> None:
    """A password that is no UTF-8 is not told either, when the daemon says it as it stands."""
    path = tmp_path / "log"
    path.write_bytes(b"xyz " + secret + b" zyx\n")
    with path.open("rb") as log:
        assert "xyz *** zyx" == last_words(log.fileno(), 0, os.fsdecode(secret))
