"""The API check: every answer, the address that it asks, and the verdict if Keystone is in trouble.

The verdict table itself is tested with whole agents: tests/agents/test_blame.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import listening
from agentlib.api import Api
from agentlib.check import Subject
from agentlib.credentials import Identity
from agentlib.daemon import Daemon
from agentlib.deadline import Deadline
from agentlib.http import BODY_LIMIT
from agentlib.keystone import Token
from agentlib.parameters import Values
from agentlib.process import find
from agentlib.reason import one_line
from agentlib.state import State
from agentlib.target import Target
from agentlib.url import split
from lookalike.case import said
from lookalike.keystone import Keystone
from lookalike.wires import GRANTS, WIRE, Wire, api_code, keystone_words
from unit.kit import GIVE_IPV6, PASSWORD, VERSIONS, Service

pytestmark = pytest.mark.usefixtures("imported")

PLENTY = 120.0
PORT = 9292
PATH = "/v2/images?limit=1"
CHECK = Api(PATH, hint="a hint")
PARAMETERS = CHECK.parameters(PORT)
DAEMON = Daemon(project="unit", binary="unit-api", port=PORT)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check that the daemon alone listens at its address is left out: it is `listening`'s."""
    monkeypatch.setattr(listening, "ensure", lambda *_: None)


def values_for(keystone: Keystone | None = None, /, **given: str) -> Values:
    if keystone:
        given = {"os_username": "monitor", "os_password": PASSWORD,
                 "os_project_name": "service", "os_auth_url": keystone.url, **given}
    return Values(PARAMETERS, given)


def listening_at(url: str) -> State:
    """A state with the address of a daemon."""
    state = State()
    state.checks["address"] = {"url": url}
    return state


def remembered(service: Service, values: Values | None = None) -> State:
    """A state with the service's address, and a token of these credentials."""
    state = listening_at(service.url)
    if values is not None:
        token = Token("known", time.time() + 1000)
        token.keep(state.checks.setdefault("api", {}), Identity(values))
    return state


def subject_of(values: Values, state: State) -> Subject:
    """The subject of a check: the test's own process in place of a daemon."""
    master = find(os.getpid())
    assert master is not None
    return Subject("unit-api", values, DAEMON, state, master, lambda: [master])


def check(values: Values, state: State, seconds: float = PLENTY) -> tuple[int, str]:
    """The verdict; its reason has no secret and is one line."""
    begin = time.monotonic()
    outcome = CHECK.verdict(subject_of(values, state), Deadline(seconds))
    assert time.monotonic() - begin < seconds + 60
    assert PASSWORD not in outcome.reason
    assert one_line(outcome.reason) == outcome.reason
    assert outcome.code in (0, 1, 190)
    assert (outcome.reason == "") is (outcome.code == 0) or outcome.code == 0
    return int(outcome.code), outcome.reason


# --- the verdict table --------------------------------------------------------------------------


POLICY = {"degraded": 190, "ignore": 0, "fail": 1, "": 190}


@pytest.mark.parametrize("policy", ["degraded", "ignore", "fail"])
@pytest.mark.parametrize("public", ["500", "404", "close", "nonsense", "wrong_length", "401"])
@pytest.mark.parametrize("mode", ["dead", "refuse"])
def test_nobody_serves(
    service: Service, keystone: Keystone, policy: str, public: str, mode: str,
) -> None:
    """Without a token and without a version document the code is 1, whatever the policy."""
    keystone.mode, service.public = mode, public
    code, reason = check(values_for(keystone, keystone_failure=policy), remembered(service))
    assert 1 == code
    assert reason.startswith(f"unit-api at {service.url} ")
    assert "Keystone" in reason


@pytest.mark.parametrize(("answers", "code", "asked"), [
    (["401", "401", "200"], 0, 3), (["401"], 1, 3), (["401", "401", "503"], 1, 3),
    (["503", "401", "200"], 0, 3), (["401", "503", "200"], 1, 2)])
def test_refused_token(
    service: Service, keystone: Keystone, answers: list[str], code: int, asked: int,
) -> None:
    """A second 401 can be of the second of a new password: the token of a later one counts."""
    service.answers = answers
    values = values_for(keystone)
    assert code == check(values, remembered(service, values))[0]
    assert asked == sum(bool(token) for _, token in service.requests)


@pytest.mark.parametrize("answer", ["401", "503"])
@pytest.mark.parametrize("mode", ["dead", "500"])
@pytest.mark.parametrize(("policy", "code"), POLICY.items(), ids=str)
def test_doubtful_answer_and_keystone_bad(
    service: Service, keystone: Keystone, answer: str, mode: str, policy: str, code: int,
) -> None:
    """401 or 503 while Keystone is bad is Keystone's fault: the service asks it."""
    service.answers = [answer]
    keystone.mode = mode
    values = values_for(keystone, **({"keystone_failure": policy} if policy else {}))
    found, reason = check(values, remembered(service, values))
    assert code == found
    assert reason.startswith("unit-api answers; Keystone ")


def test_no_time(service: Service) -> None:
    """With no time left, a service does not count as serving."""
    service.public = "hang"
    assert (1, f"unit-api at {service.url} does not answer in time") == (
        check(values_for(), remembered(service), 0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("os_password", ""), ("keystone_failure", "maybe"), ("os_auth_url", "nonsense"),
     ("os_insecure", "perhaps"), ("url", "nonsense"), ("os_tenant_name", "other"),
     ("keystone_get_token_url", "http://other:5000"), ("os_cacert", "ca.pem"),
     ("url", "http://127.0.0.1:9292?x=1"), ("url", "http://127.0.0.1:9292#x")])
def test_mistyped_and_not_serving(
    service: Service, keystone: Keystone, name: str, value: str,
) -> None:
    """A parameter of the monitor that is wrong is no excuse for a service that does not serve."""
    service.public = "500"
    given = {"os_username": "monitor", "os_password": PASSWORD, "os_project_name": "service",
             "os_auth_url": keystone.url, name: value}
    values = Values(PARAMETERS, {key: text for key, text in given.items() if text})
    code, reason = check(values, remembered(service))
    assert 1 == code
    assert name in reason


# --- every answer: lookalike/wires.py ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fine", "dead"])
def test_every_status(service: Service, keystone: Keystone, mode: str) -> None:
    """200 is well, 403 the user's fault, all else the service's: 401 and 503 if Keystone is well.

    Only after 401 and 503 the service is asked again.
    """
    values = values_for(keystone)
    keystone.mode = mode
    for status in range(100, 600):
        del service.requests[:]
        service.answers = [str(status)]
        code, reason = check(values, remembered(service, values))
        doubtful = status in (401, 503)
        assert (190 if doubtful and mode == "dead" else api_code(status)) == code, status
        if status not in (100, 200) and not (doubtful and mode == "dead"):  # 100: no answer yet
            assert str(status) in reason
        assert doubtful or status == 200 or 1 == len(service.asked())
        assert (status == 404) is reason.endswith("(a hint)")


def test_every_status_of_keystone(service: Service, keystone: Keystone) -> None:
    """400, 401 and 403 to a token request are a refusal, all else Keystone's trouble: 190."""
    for status in range(100, 600):
        keystone.mode = str(status)
        code, reason = check(values_for(keystone), remembered(service))
        assert 190 == code, status
        assert reason.startswith(f"unit-api answers; Keystone {keystone_words(status)}"), reason
    assert {"/"} == set(service.asked())


@pytest.mark.parametrize("one", [one for one in WIRE if not one.slow], ids=lambda one: one.name)
def test_answer(service: Service, keystone: Keystone, one: Wire, tmp_path: Path) -> None:
    """An invalid answer is the fault of the server that gave it, whatever was asked."""
    answer, values = str(said(tmp_path, one.answer)), values_for(keystone)
    service.answers = [answer]
    code, reason = check(values, remembered(service, values))
    assert one.api == code
    assert not code or all(word in reason for word in one.words)
    assert not code or 1 == len(service.asked())
    service.answers, service.public = ["200"], answer
    assert (0 if one.versions else 1) == check(values_for(), remembered(service))[0]
    service.public, keystone.mode = "300", answer
    code, reason = check(values, remembered(service))
    assert 190 == code
    assert reason.startswith("unit-api answers; Keystone at http")


@pytest.mark.parametrize(("answer", "code"), GRANTS)
def test_grant(
    service: Service, keystone: Keystone, answer: bytes, code: int, tmp_path: Path,
) -> None:
    """A grant that is nonsense is Keystone's fault; a possible token is used."""
    keystone.mode = str(said(tmp_path, answer))
    found, reason = check(values_for(keystone), remembered(service))
    assert code == found
    assert not code or reason.startswith("unit-api answers; Keystone at http")


# --- what it asks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://h:1", ("http://h:1", "", "")),
        ("http://h:1/", ("http://h:1", "", "")),
        ("http://h:1/v1/", ("http://h:1", "v1", "")),
        ("http://h:1/v2.0", ("http://h:1", "v2.0", "")),
        ("http://h:1/v2/images?limit=1", ("http://h:1", "v2", "images?limit=1")),
        ("https://h/image/v2/images", ("https://h/image", "v2", "images")),
        ("http://h/v3/0123abc/volumes?x=/v2/", ("http://h", "v3", "0123abc/volumes?x=/v2/")),
        ("http://[::1]:1/v2", ("http://[::1]:1", "v2", "")),
        ("http://h/versions", ("http://h", "", "versions")),
        ("http://h/volumes/v", ("http://h", "", "volumes/v")),
        ("http://v2/x", ("http://v2", "", "x")),
    ],
)
def test_split(url: str, parts: tuple[str, str, str]) -> None:
    """A URL is divided at its version, and only at that."""
    assert parts == split(url)


@pytest.mark.parametrize(
    ("rest", "asked", "public"),
    [
        ("", "/v2/images?limit=1", "/"),
        ("/", "/v2/images?limit=1", "/"),
        ("/v1/", "/v2/images?limit=1", "/"),
        ("/v2", "/v2/images?limit=1", "/"),
        ("/v2/images", "/v2/images", "/"),
        ("/v2/images?limit=5", "/v2/images?limit=5", "/"),
        ("/image/v2/", "/image/v2/images?limit=1", "/image/"),
        ("/image/v2/metadefs", "/image/v2/metadefs", "/image/"),
        ("/healthcheck", "/healthcheck", "/"),
    ],
)
def test_url(service: Service, keystone: Keystone, rest: str, asked: str, public: str) -> None:
    """A url without a path is completed, any other is used as it is; its root has the versions."""
    values = values_for(keystone, url=service.url + rest)
    state = listening_at("http://127.0.0.1:9")
    assert (0, "") == check(values, state)
    keystone.mode = "dead"
    state.checks["api"].clear()
    assert 190 == check(values, state)[0]
    assert [asked, asked, public] == service.asked()


@given(url=st.text(st.characters(exclude_characters="\0"), min_size=1)
       | st.from_regex(r"https?://(127\.0\.0\.1|\[::1\]|\.|a\.\.b)(:9)?[/?#a-z0-9\\.]{0,9}",
                       fullmatch=True))
def test_any_url(url: str) -> None:
    """Whatever url is given: a verdict, and never a failure of the check itself."""
    state = listening_at("http://127.0.0.1:9")
    code, reason = check(values_for(url=url), state, 2)
    assert 1 == code
    assert reason


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://127.0.0.1:port", "://",
                                 "http://\ud800", "http://127.0.0.1:9\r\nX: y", "file:///etc/x"],
                         ids=ascii)
def test_junk_url_in_the_state(url: str) -> None:
    """Whatever URL is remembered: a verdict, and never a failure of the check itself."""
    outcome = CHECK.verdict(subject_of(values_for(), listening_at(url)), Deadline(10))
    assert 1 == outcome.code


def test_name_that_does_not_resolve() -> None:
    """A url whose name does not resolve is named in the reason."""
    state = listening_at("http://127.0.0.1:9")
    for name in ("api.invalid", "a..b", "x" * 64 + ".invalid"):
        code, reason = check(values_for(url=f"http://{name}:9292/"), state, 30)
        assert (1, f"unit-api at http://{name}:9292 has a name that does not resolve") == (
            code, reason)


def test_local_only() -> None:
    """A remembered address that this node no longer has is not asked on another node."""
    state = listening_at("http://192.0.2.77:9292")  # RFC 5737: no host has it
    assert (1, "unit-api at http://192.0.2.77:9292 listens on an address that is not on this node "
               "(any more)") == check(values_for(), state)


def test_asked_from_its_own_address() -> None:
    """The daemon is asked from the address on which it listens: no other host can do so."""
    server = Service(host="127.0.0.9")
    try:
        target = Target("unit-api", server.url + PATH, public=b"versions", local=True)
        assert 0 == target.serves(Deadline(PLENTY)).code
        assert ["127.0.0.9"] == server.peers
    finally:
        server.close()


def test_host_of_ipv6() -> None:
    """For a daemon that listens on IPv6, the header Host has the address in brackets."""
    try:
        server = Service("::1")
    except OSError as error:
        pytest.fail(f"no ::1 here ({error}): {GIVE_IPV6}")
    with server:
        assert (0, "") == check(values_for(), remembered(server))
        assert [f"[::1]:{server.port}"] == server.hosts


# --- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(VERSIONS), VERSIONS),
                     0, id="plain"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + VERSIONS, 0, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
                     % (len(VERSIONS), VERSIONS), 0, id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s"
                     % (len(VERSIONS), VERSIONS[:9]), 1, id="chunk cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 1,
                     id="chunk of nonsense"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + VERSIONS, 1,
                     id="cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", 1, id="nothing follows"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + VERSIONS, 0,
                     id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + VERSIONS, 0,
                     id="length of nonsense"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + VERSIONS + b" " * (BODY_LIMIT - len(VERSIONS)),
                     0, id="as long as may be"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + VERSIONS + b" " * BODY_LIMIT, 1, id="too long"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 1,
                     id="a header too long"),
        pytest.param(b"HTTP/1.1 99999 OK\r\n\r\n", 1, id="status of nonsense"),
        pytest.param(b"HTTP/1.1 OK\r\n\r\n", 1, id="no status"),
        pytest.param(b"HTTP/9.9 200 OK\r\n\r\n" + VERSIONS, 1, id="unknown version"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n", 1, id="ssh"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 1, id="TLS"),
        pytest.param(b"\0" * 200_000, 1, id="zeros"),
        pytest.param(b"", 1, id="nothing"),
        pytest.param(b"H", 1, id="one byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", 1, id="header cut off"),
    ],
)
def test_bytes(service: Service, raw: bytes, code: int) -> None:
    """Whatever bytes come back: a verdict, and 0 only for a whole answer."""
    service.raw = raw
    assert code == check(values_for(), remembered(service), 60)[0]


# --- TLS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["HTTPS", "Https"])
def test_https_in_capitals(
    service: Service, secure: Keystone, certificate: Path, scheme: str,
) -> None:
    """HTTPS in capitals is https, and no token goes out in the clear."""
    url = secure.url.replace("https", scheme)
    values = values_for(url=url, os_cacert=str(certificate))
    assert (0, "") == check(values, remembered(service), 20)


# --- start --------------------------------------------------------------------------------------


Serves = Callable[..., int]


@pytest.fixture
def serves(monkeypatch: pytest.MonkeyPatch) -> Serves:
    """Asks as start does, as if the daemon had been found to listen where the service does."""
    def ask(values: Values, service: Service, seconds: float = PLENTY) -> int:
        monkeypatch.setattr(
            listening, "ready",
            lambda subject, port, question, deadline: question(service.url, deadline))
        outcome = CHECK.ready(subject_of(values, State()), Deadline(seconds))
        assert outcome is not None
        return int(outcome.code)

    return ask


def test_serves_where_it_listens(service: Service, serves: Serves) -> None:
    """Start asks where the daemon listens, whatever the parameter url says."""
    other = Service()
    try:
        values = values_for(url=other.url)
        assert 0 == serves(values, service)
        assert [] == other.asked()
    finally:
        other.close()


# --- validate -----------------------------------------------------------------------------------


def test_valid(keystone: Keystone) -> None:
    """The defaults are valid, with credentials and without."""
    CHECK.validate(values_for())
    CHECK.validate(values_for(keystone))
    CHECK.validate_host(values_for(keystone))


def test_reloadable() -> None:
    """Every parameter of the check can be changed without a restart."""
    assert {True} == {parameter.reloadable for parameter in PARAMETERS}
