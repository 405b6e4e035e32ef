"""The API check: the verdict table row by row, and whom it asks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import listening
from agentlib.api import Api
from agentlib.check import Subject
from agentlib.credentials import Identity
from agentlib.daemon import Daemon
from agentlib.deadline import Deadline
from agentlib.errors import ConfigurationError
from agentlib.http import BODY_LIMIT
from agentlib.keystone import Token
from agentlib.parameters import Values
from agentlib.process import find
from agentlib.reason import one_line
from agentlib.state import State
from agentlib.target import Target
from agentlib.url import split
from lookalike.keystone import Keystone
from unit.kit import GIVE_IPV6, VERSIONS, Service

PASSWORD = "pa55-w0rd"
PLENTY = 120.0
HANG = 8.0
"""Seconds for a check in which somebody hangs: enough for a token on a busy machine."""

PORT = 9292
PATH = "/v2/images?limit=1"
CHECK = Api(PATH, hint="a hint")
PARAMETERS = CHECK.parameters(PORT)
DAEMON = Daemon(project="unit", binary="unit-api", port=PORT)


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """What is slow to import is there before the first deadline runs."""
    __import__("keystoneauth1.identity.v3")
    __import__("requests")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon is alone where it is remembered to listen; that is for `listening` to tell."""
    monkeypatch.setattr(listening, "ensure", lambda *_: None)


@pytest.fixture
def keystone() -> Iterator[Keystone]:
    with Keystone(users={"monitor": PASSWORD}) as server:
        yield server


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


def remembered(service: Service, values: Values | None = None, token: str = "known") -> State:
    """A state with the service's address, and a token of these credentials."""
    state = listening_at(service.url)
    if values is not None:
        Token(token, time.time() + 1000).keep(state.checks.setdefault("api", {}), Identity(values))
    return state


def subject_of(values: Values, state: State) -> Subject:
    """What is checked: a daemon, for which the test itself stands in."""
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


@pytest.mark.parametrize("known", [True, False], ids=["remembered token", "new token"])
def test_healthy(service: Service, keystone: Keystone, known: bool) -> None:
    """200 to the authenticated GET: 0, by one GET, and without Keystone if a token is known."""
    values = values_for(keystone)
    state = remembered(service, values if known else None)
    assert (0, "") == check(values, state)
    with_token = [path for path, token in service.requests if token]
    assert ["/v2/images?limit=1"] == with_token
    assert (0 if known else 1) == len(keystone.requests)


def test_new_token_is_remembered(service: Service, keystone: Keystone) -> None:
    """A new token serves the next monitor, too."""
    values, state = values_for(keystone), remembered(service)
    assert (0, "") == check(values, state)
    assert (0, "") == check(values, state)
    assert [state.checks["api"]["token"]] == keystone.tokens_issued
    assert state.checks["api"]["until"] > time.time() + 3000


def test_token_is_renewed(service: Service, keystone: Keystone) -> None:
    """401 with a remembered token, and Keystone gives a new one: once more, with that."""
    values = values_for(keystone)
    state = remembered(service, values, "revoked")
    service.good = set()
    keystone_issues_good_tokens(service, keystone)
    assert (0, "") == check(values, state)
    assert ["revoked", keystone.tokens_issued[0], ""] == [token for _, token in service.requests]
    assert keystone.tokens_issued == [state.checks["api"]["token"]]


def keystone_issues_good_tokens(service: Service, keystone: Keystone) -> None:
    """What Keystone issues from now on, the service takes."""
    class Growing(set[str]):
        def __contains__(self, token: object) -> bool:
            return token in keystone.tokens_issued

    service.good = Growing()


@pytest.mark.parametrize("what", ["other credentials", "expired", "no seal", "junk seal"])
def test_token_of_others(service: Service, keystone: Keystone, what: str) -> None:
    """A token of other credentials, or past its time, is not used."""
    values = values_for(keystone)
    state = remembered(service, values, "old")
    if what == "other credentials":
        state = remembered(service, values_for(keystone, os_password="former"), "old")
    elif what == "expired":
        state.checks["api"]["until"] = time.time() - 1
    else:
        state.checks["api"]["seal"] = "" if what == "no seal" else "\ud800:junk"
    assert (0, "") == check(values, state)
    assert keystone.tokens_issued == [token for _, token in service.requests if token]


@pytest.mark.parametrize("token", ["two\nlines", "M\u00e4rz \u2603", "\ud800", "\x00"], ids=ascii)
def test_junk_token(service: Service, keystone: Keystone, token: str) -> None:
    """A remembered token that is none is treated as absent."""
    values = values_for(keystone)
    assert (0, "") == check(values, remembered(service, values, token))


BAD = ["dead", "500", "503", "404", "bad_json", "no_subject", "nonsense", "close"]
POLICY = {"degraded": 190, "ignore": 0, "fail": 1, "": 190}


@pytest.mark.parametrize("mode", [*BAD, "refuse", "403"])
def test_no_token_and_serving(service: Service, keystone: Keystone, mode: str) -> None:
    """No token to be had, whyever, and the version document answers: 190."""
    keystone.mode = mode
    code, reason = check(values_for(keystone), remembered(service))
    assert 190 == code
    assert reason.startswith("unit-api answers; Keystone ")
    assert ["/"] == service.asked()


@pytest.mark.parametrize(("policy", "code"), POLICY.items(), ids=str)
@pytest.mark.parametrize("mode", ["dead", "500"])
def test_policy(
    service: Service, keystone: Keystone, policy: str, code: int, mode: str,
) -> None:
    """What a Keystone in trouble comes to is the operator's choice; the reason stays."""
    keystone.mode = mode
    values = values_for(keystone, **({"keystone_failure": policy} if policy else {}))
    found, reason = check(values, remembered(service))
    assert code == found
    assert reason.startswith("unit-api answers; Keystone ")


@pytest.mark.parametrize("policy", POLICY)
def test_policy_has_no_say_in_refusals(service: Service, keystone: Keystone, policy: str) -> None:
    """A password that Keystone refuses is neither its fault nor the service's: always 190."""
    keystone.mode = "refuse"
    values = values_for(keystone, **({"keystone_failure": policy} if policy else {}))
    code, reason = check(values, remembered(service))
    assert 190 == code
    assert reason.startswith("unit-api answers; Keystone refuses user")


@pytest.mark.parametrize("policy", ["degraded", "ignore", "fail"])
@pytest.mark.parametrize("public", ["500", "404", "close", "nonsense", "wrong_length", "401"])
@pytest.mark.parametrize("mode", ["dead", "refuse"])
def test_nobody_serves(
    service: Service, keystone: Keystone, policy: str, public: str, mode: str,
) -> None:
    """No token to be had and no version document: 1, whatever the policy."""
    keystone.mode, service.public = mode, public
    code, reason = check(values_for(keystone, keystone_failure=policy), remembered(service))
    assert 1 == code
    assert reason.startswith(f"unit-api at {service.url} ")
    assert "Keystone" in reason


@pytest.mark.parametrize("answer", ["401", "503"])
@pytest.mark.parametrize("mode", ["dead", "500"])
@pytest.mark.parametrize(("policy", "code"), POLICY.items(), ids=str)
def test_doubtful_answer_and_keystone_bad(
    service: Service, keystone: Keystone, answer: str, mode: str, policy: str, code: int,
) -> None:
    """401 or 503 while Keystone is bad: it is Keystone's, whom the service asks."""
    service.answers = [answer]
    keystone.mode = mode
    values = values_for(keystone, **({"keystone_failure": policy} if policy else {}))
    found, reason = check(values, remembered(service, values))
    assert code == found
    assert reason.startswith("unit-api answers; Keystone ")


@pytest.mark.parametrize("answer", ["401", "503"])
@pytest.mark.parametrize("known", [True, False], ids=["remembered token", "new token"])
def test_doubtful_answer_and_keystone_fine(
    service: Service, keystone: Keystone, answer: str, known: bool,
) -> None:
    """401 or 503 while Keystone is fine: it is the service's."""
    service.answers = [answer]
    values = values_for(keystone)
    code, reason = check(values, remembered(service, values if known else None))
    assert (1, f"unit-api answers {answer} to GET /v2/images at {service.url}") == (code, reason)
    assert 2 == len(service.asked())


def test_one_503_is_forgiven(service: Service, keystone: Keystone) -> None:
    """A second look decides, with the new token that shows Keystone to be fine."""
    service.answers = ["503", "200"]
    values = values_for(keystone)
    assert (0, "") == check(values, remembered(service, values))


@pytest.mark.parametrize("answer", ["401", "503"])
def test_doubtful_answer_and_nobody_serves(
    service: Service, keystone: Keystone, answer: str,
) -> None:
    """401 or 503, Keystone bad, and no version document either: 1."""
    service.answers, service.public, keystone.mode = [answer], "500", "dead"
    values = values_for(keystone)
    code, reason = check(values, remembered(service, values))
    assert 1 == code
    assert f"answers {answer}" in reason


@pytest.mark.parametrize("policy", ["degraded", "ignore", "fail"])
@pytest.mark.parametrize("mode", ["fine", "dead"])
def test_forbidden(service: Service, keystone: Keystone, policy: str, mode: str) -> None:
    """403: 190, since the token was accepted, and the policy of the service said no."""
    service.answers = ["403"]
    values = values_for(keystone, keystone_failure=policy)
    keystone.mode = mode
    code, reason = check(values, remembered(service, values))
    assert 190 == code
    assert "unit-api answers, but forbids monitor to read /v2/images (403)" == reason


TROUBLES = {
    "500": "answers 500 to GET /v2/images at {url}",
    "502": "answers 502 to GET /v2/images at {url}",
    "300": "answers 300 to GET /v2/images at {url}",
    "302": "answers 302 to GET /v2/images at {url}",
    "301": "answers 301 to GET /v2/images at {url}",
    "204": "answers 204 to GET /v2/images at {url}",
    "201": "answers 201 to GET /v2/images at {url}",
    "400": "answers 400 to GET /v2/images at {url}",
    "404": "answers 404 to GET /v2/images at {url} (a hint)",
    "redirect_loop": "answers 302 to GET /v2/images at {url}",
    "reset": "at {url} cuts the connection",
    "close": "at {url} cuts the connection",
    "wrong_length": "at {url} cuts its answer off",
    "nonsense": "at {url} does not speak HTTP",
    "endless_headers": "at {url} does not speak HTTP",
    "endless_body": "at {url} answers without end",
}


@pytest.mark.parametrize("mode", ["fine", "dead"])
@pytest.mark.parametrize(("answer", "trouble"), TROUBLES.items())
def test_not_serving(
    service: Service, keystone: Keystone, answer: str, trouble: str, mode: str,
) -> None:
    """Any other answer is the service's own, whatever Keystone does, and asked for once: 1."""
    service.answers = [answer]
    values = values_for(keystone)
    keystone.mode = mode
    code, reason = check(values, remembered(service, values))
    assert (1, "unit-api " + trouble.format(url=service.url)) == (code, reason)
    assert 1 == len(service.asked())


def test_redirects_are_not_followed(service: Service, keystone: Keystone) -> None:
    """A redirect is no answer, and nobody else gets the token."""
    other = Service()
    try:
        service.raw = (f"HTTP/1.1 302 Found\r\nLocation: {other.url}/\r\n"
                       "Content-Length: 0\r\n\r\n").encode()
        values = values_for(keystone)
        assert 1 == check(values, remembered(service, values))[0]
        assert [] == other.asked()
    finally:
        other.close()


def test_refused(service: Service, keystone: Keystone) -> None:
    """Nobody listens any more: 1."""
    values = values_for(keystone)
    state = remembered(service, values)
    service.refuse()
    assert (1, f"unit-api at {service.url} refuses connections") == check(values, state)


@pytest.mark.parametrize("answer", ["hang", "drip", "endless_1xx"])
@pytest.mark.parametrize(("mode", "code"), [("fine", 1), ("dead", 190), ("hang", 190)])
def test_late(
    service: Service, keystone: Keystone, answer: str, mode: str, code: int,
) -> None:
    """No answer in time is the service's while Keystone is fine, and Keystone's while it is not."""
    service.answers = [answer]
    keystone.mode = mode
    values = values_for(keystone)
    found, reason = check(values, remembered(service, values), HANG)
    assert code == found
    expected = {1: f"unit-api at {service.url} does not answer in time",
                190: f"unit-api answers; Keystone at {keystone.url} "}[code]
    assert reason.startswith(expected)


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_keystone_without_end(service: Service, keystone: Keystone, mode: str) -> None:
    """A Keystone that does not come to an end leaves time to ask for the version document."""
    keystone.mode = mode
    code, reason = check(values_for(keystone), remembered(service), 3)
    assert (190, f"unit-api answers; Keystone at {keystone.url} does not answer in time") == (
        code, reason)


def test_all_hang(service: Service, keystone: Keystone) -> None:
    """When nobody answers anything it is the service's, and still in time."""
    keystone.mode, service.answers, service.public = "hang", ["hang"], "hang"
    values = values_for(keystone)
    assert 1 == check(values, remembered(service, values), 3)[0]


def test_no_time(service: Service) -> None:
    """With no time left nobody is believed to serve."""
    service.public = "hang"
    assert (1, f"unit-api at {service.url} does not answer in time") == (
        check(values_for(), remembered(service), 0))


# --- no credentials, wrong parameters -----------------------------------------------------------


@pytest.mark.parametrize(
    ("public", "code", "trouble"),
    [("300", 0, ""), ("200", 0, ""), ("500", 1, "answers 500"), ("404", 1, "answers 404"),
     ("302", 1, "answers 302"), ("401", 1, "answers 401"), ("close", 1, "cuts the connection"),
     ("nonsense", 1, "does not speak HTTP"), ("endless_body", 1, "answers without end")])
def test_no_credentials(service: Service, public: str, code: int, trouble: str) -> None:
    """Without credentials the version document decides."""
    service.public = public
    reason = f"unit-api at {service.url} {trouble}" if trouble else ""
    assert (code, reason) == check(values_for(), remembered(service))
    assert [("/", "")] == service.requests


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>It works!</html>", b"versions"],
                         ids=["empty", "object", "web server", "no document"])
def test_something_else(service: Service, body: bytes) -> None:
    """A server that is not an OpenStack API does not serve."""
    service.body = body
    assert (1, f"unit-api at {service.url} does not answer GET / with a version document") == (
        check(values_for(), remembered(service)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("os_password", ""), ("keystone_failure", "maybe"), ("os_auth_url", "nonsense"),
     ("os_insecure", "perhaps"), ("url", "nonsense"), ("os_tenant_name", "other"),
     ("keystone_get_token_url", "http://other:5000"), ("os_cacert", "ca.pem"),
     ("url", "http://127.0.0.1:9292?x=1"), ("url", "http://127.0.0.1:9292#x")])
@pytest.mark.parametrize("public", ["300", "500"], ids=["serving", "not serving"])
def test_mistyped(
    service: Service, keystone: Keystone, name: str, value: str, public: str,
) -> None:
    """A parameter of the monitor that is wrong does not end a service that serves."""
    service.public = public
    given = {"os_username": "monitor", "os_password": PASSWORD, "os_project_name": "service",
             "os_auth_url": keystone.url, name: value}
    values = Values(PARAMETERS, {key: text for key, text in given.items() if text})
    code, reason = check(values, remembered(service))
    assert (190 if public == "300" else 1) == code
    assert name in reason


@pytest.mark.parametrize("package", ["keystoneauth1", "requests"])
def test_package_missing(
    service: Service, keystone: Keystone, package: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package that is missing on this node does not end a service that serves, by any policy."""
    monkeypatch.setitem(sys.modules, package, None)
    code, reason = check(values_for(keystone, keystone_failure="fail"), remembered(service))
    assert 190 == code
    assert f"Python package {package} is missing" in reason


# --- whom it asks -------------------------------------------------------------------------------


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
def testsplit(url: str, parts: tuple[str, str, str]) -> None:
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
    """A URL without a path is completed, another is asked as it is; versions are beside it."""
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
    """A url whose name does not resolve is told of."""
    state = listening_at("http://127.0.0.1:9")
    for name in ("api.invalid", "a..b", "x" * 64 + ".invalid"):
        code, reason = check(values_for(url=f"http://{name}:9292/"), state, 30)
        assert (1, f"unit-api at http://{name}:9292 has a name that does not resolve") == (
            code, reason)


def test_local_only() -> None:
    """A learned address that is not on this node any more is not asked for elsewhere."""
    state = listening_at("http://192.0.2.77:9292")  # RFC 5737: nobody has it
    assert (1, "unit-api at http://192.0.2.77:9292 listens on an address that is not on this node "
               "(any more)") == check(values_for(), state)


def test_asked_from_its_own_address(keystone: Keystone) -> None:
    """Where the daemon listens, it is asked from that very address: no other host can do so."""
    server = Service(host="127.0.0.9")
    try:
        target = Target("unit-api", server.url + PATH, public=b"versions", local=True)
        assert 0 == target.serves(Deadline(PLENTY)).code
        assert ["127.0.0.9"] == server.peers
    finally:
        server.close()


def test_ipv6() -> None:
    """A daemon that listens on IPv6 is asked there."""
    try:
        server = Service(socket.AF_INET6, "::1")
    except OSError as error:
        pytest.fail(f"no ::1 here ({error}): {GIVE_IPV6}")
    try:
        assert (0, "") == check(values_for(), remembered(server))
        assert [f"[::1]:{server.port}"] == server.hosts
    finally:
        server.close()


def test_proxies_have_no_say(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check goes to the daemon, whatever proxy the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (0, "") == check(values_for(), remembered(service))


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate that nobody has signed but itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture
def secure(certificate: tuple[str, str]) -> Iterator[Keystone]:
    """An https server with a version document: the look-alike of Keystone has one."""
    with Keystone(certfile=certificate[0], keyfile=certificate[1]) as server:
        yield server


@pytest.mark.parametrize(
    ("given", "code"), [({}, 1), ({"os_insecure": "true"}, 0), ({"os_cacert": "cert"}, 0),
                        ({"os_cacert": "/no/such.pem"}, 190)],
    ids=["unknown", "insecure", "CA file", "no CA file"])
def test_https(
    service: Service, secure: Keystone, certificate: tuple[str, str], given: dict[str, str],
    code: int,
) -> None:
    """An https url is verified as the operator says; a CA file that is missing ends no service."""
    given = {name: certificate[0] if value == "cert" else value for name, value in given.items()}
    found, reason = check(values_for(url=secure.url, **given), remembered(service))
    assert code == found
    assert {0: "", 1: "certificate", 190: "os_cacert"}[code] in reason


@pytest.mark.parametrize("scheme", ["HTTPS", "Https"])
def test_https_in_capitals(
    service: Service, secure: Keystone, certificate: tuple[str, str], scheme: str,
) -> None:
    """HTTPS in capitals is https, and no token goes out in the clear."""
    url = secure.url.replace("https", scheme)
    values = values_for(url=url, os_cacert=certificate[0])
    assert (0, "") == check(values, remembered(service), 20)


# --- start --------------------------------------------------------------------------------------


Serves = Callable[..., int]


@pytest.fixture
def serves(monkeypatch: pytest.MonkeyPatch) -> Serves:
    """Asks as start does, of a daemon that was found to listen where the service does."""
    def ask(values: Values, service: Service, seconds: float = PLENTY) -> int:
        monkeypatch.setattr(
            listening, "ready",
            lambda subject, port, question, deadline: question(service.url, deadline))
        outcome = CHECK.ready(subject_of(values, State()), Deadline(seconds))
        assert outcome is not None
        return int(outcome.code)

    return ask


@pytest.mark.parametrize(("public", "code"), [("300", 0), ("200", 0), ("500", 1), ("close", 1)])
def test_serves(
    service: Service, keystone: Keystone, serves: Serves, public: str, code: int,
) -> None:
    """For start the version document is enough, and Keystone is not asked."""
    service.public, keystone.mode = public, "dead"
    assert code == serves(values_for(keystone), service)
    assert [] == keystone.requests
    assert {"/"} == set(service.asked())


def test_serves_where_it_listens(service: Service, serves: Serves) -> None:
    """Start looks where the daemon listens, wherever the parameter url leads."""
    other = Service()
    try:
        values = values_for(url=other.url)
        assert 0 == serves(values, service)
        assert [] == other.asked()
    finally:
        other.close()


def test_serves_https(service: Service, secure: Keystone, serves: Serves) -> None:
    """A daemon that speaks TLS is asked at the parameter url."""
    service.raw = b"\x15\x03\x01\x00\x02\x02\x46"
    values = values_for(url=secure.url, os_insecure="true")
    assert 0 == serves(values, service, 20)


# --- validate -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("url", "nonsense"), ("url", "http://u:p@h/"), ("url", "http://h:0"),
     ("os_auth_url", "nonsense"), ("keystone_get_token_url", "nonsense"),
     ("os_username", "alone"), ("os_password", "alone"), ("os_project_name", "alone"),
     ("os_auth_url", "http://alone:5000"), ("keystone_failure", "maybe"),
     ("keystone_failure", "Degraded"), ("os_insecure", "perhaps"), ("os_cacert", "ca.pem")])
def test_validate(name: str, value: str) -> None:
    """What no node could use is refused by name."""
    with pytest.raises(ConfigurationError) as caught:
        CHECK.validate(values_for(**{name: value}))
    assert name in str(caught.value) or "missing: give all of" in str(caught.value)


def test_valid(keystone: Keystone) -> None:
    """The defaults are valid, with credentials and without."""
    CHECK.validate(values_for())
    CHECK.validate(values_for(keystone))
    CHECK.validate_host(values_for(keystone))


def test_reloadable() -> None:
    """Every parameter of the check can be changed without a restart."""
    assert {True} == {parameter.reloadable for parameter in PARAMETERS}
