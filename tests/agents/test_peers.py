"""Peers that misbehave: the API and Keystone, their TLS, the resolver between. Whose fault is it?

The tables hold one fault a row. A row of WIRE befalls the authenticated request, Keystone's answer
and the public version document in turn; one of FRONTS and NAMES the ways to both peers.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness import AGENTS, expect
from lookalike.between import Front, Nameserver
from lookalike.case import (
    SLOW,
    Answer,
    Case,
    Together,
    chosen,
    judge,
    prepare,
    quick,
    said,
    slow,
    watched_service,
)
from lookalike.keystone import Keystone
from lookalike.ports import free_port
from lookalike.service import MakeService, Service
from looks import eventually

pytestmark = pytest.mark.shared


LEAN = ("prlimit", "--as=600000000")
"""Runs an agent with memory for what it needs, and not for what a peer would make of it: bytes."""


@pytest.fixture(scope="module", params=AGENTS, ids=lambda agent: agent.name)
def watched(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A running service with credentials, whose agent has little memory: from row to row."""
    with watched_service(request.param, prefix=LEAN) as service:
        yield service


@pytest.fixture(scope="module")
def together() -> Iterator[Together]:
    """Where the slow cases are begun at once."""
    with Together() as together:
        yield together


# ---- every status


@pytest.mark.parametrize("hundred", [100, 200, 300, 400, 500])
def test_api_status(watched: Service, hundred: int) -> None:
    """Of all that the API can answer 200 is well and 403 the user's; the rest is its own fault."""
    prepare(watched, Case("", 0, remembered=True))
    for status in range(hundred, hundred + 100):
        watched.config.set(api=status)
        code = {200: 0, 403: 190}.get(status, 1)
        # 100 is no answer yet, and none comes
        words = [] if status in (100, 200) else [str(status), watched.agent.name]
        expect(watched.monitor(), code, *words)


@pytest.mark.parametrize("interpreter", ["pypi"])
@pytest.mark.parametrize("hundred", [100, 200, 300, 400, 500])
def test_keystone_status(make_service: MakeService, hundred: int) -> None:
    """400, 401 and 403 to a token request are a refusal, all else Keystone's trouble: 190."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    for status in range(hundred, hundred + 100):
        service.keystone.mode = status
        guilty = "refuses user monitor" if status in (400, 401, 403) else "at http"
        expect(service.monitor(), 190, f"{service.agent.name} answers; Keystone {guilty}")


# ---- on the wire


def http(*headers: str, body: bytes = b"{}", status: str = "200 OK") -> bytes:
    """The bytes of an answer, with no header but those given."""
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""])
    return head.encode("latin-1") + body


def sized(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with the length of its body."""
    return http(f"Content-Length: {len(body)}", *headers, body=body, status=status)


def bomb(gigabytes: int = 2) -> bytes:
    """What gzip makes of zeros, a thousandth of what they are."""
    pack = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 24)
    return b"".join([*(pack.compress(zeros) for _ in range(gigabytes * 64)), pack.flush()])


BOMB = sized(bomb(), "Content-Encoding: gzip")


@dataclass
class Wire:
    """One fault of a peer's answer.

    name: of the row. answer: what is sent.
    api, words: what the monitor says if it befalls the authenticated request.
    slow: the monitor needs all its time.
    """

    name: str
    answer: Answer
    api: int = 1
    words: tuple[str, ...] = ()
    slow: bool = False


HTTP = ("does not speak HTTP",)
CUT = ("cuts its answer off",)
GONE = ("cuts the connection",)
LATE = ("does not answer in time",)

WIRE = [
    # says nothing, or goes
    Wire("silent", "hang", words=LATE, slow=True),
    Wire("byte-a-second", "drip", words=LATE, slow=True),
    Wire("silent-amid-the-body", "stall", words=LATE, slow=True),
    Wire("reset", "reset", words=GONE),
    Wire("closed", "close", words=GONE),
    # knows no end
    Wire("endless-body", "endless_body", words=("without end",)),
    Wire("endless-chunks", "endless_chunks", words=("without end",)),
    Wire("endless-headers", "endless_headers"),
    Wire("endless-header", "endless_header", words=HTTP),
    Wire("endless-1xx", "endless_1xx", slow=True),
    Wire("50-megabytes", sized(b"[" + b"0," * 25_000_000 + b"0]"), words=("without end",)),
    Wire("header-line-of-100-kB", sized(b"{}", "X-Long: " + "x" * 100_000), words=HTTP),
    Wire("1000-headers", sized(b"{}", *(f"X-{n}: x" for n in range(1000))), words=HTTP),
    # says a wrong length
    Wire("length-too-long", "wrong_length", words=CUT),
    Wire("length-beyond-64-bit", http(f"Content-Length: {1 << 70}"), words=CUT),
    Wire("length-too-short", http("Content-Length: 1"), 0),
    Wire("length-negative", http("Content-Length: -5"), 0),
    Wire("length-no-number", http("Content-Length: two"), 0),
    Wire("two-lengths", http("Content-Length: 2", "Content-Length: 1"), 0),
    Wire("no-length", http(), 0),
    # cuts its body to pieces
    Wire("chunks-cut-off", http("Transfer-Encoding: chunked", body=b"5\r\nab"), words=CUT),
    Wire("chunks-without-last", http("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n"), words=CUT),
    Wire("chunk-of-no-size", http("Transfer-Encoding: chunked", body=b"zz\r\n{}"), words=CUT),
    Wire("chunk-of-size--1", http("Transfer-Encoding: chunked", body=b"-1\r\n{}\r\n")),
    Wire("chunk-too-big", http("Transfer-Encoding: chunked", body=b"f" * 20 + b"\r\n{}")),
    # sends elsewhere
    Wire("redirect-loop", "redirect_loop", words=("302",)),
    Wire("redirect-nowhere", sized(b"", status="302 Found"), words=("302",)),
    Wire("redirect-to-junk", sized(b"", "Location: ht!tp://[", status="307 x"), words=("307",)),
    Wire("redirect-to-file", sized(b"", "Location: file:///etc/passwd", status="301 x")),
    # is not what it was thought to be
    Wire("smtp", "nonsense"),
    Wire("ssh", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", words=HTTP),
    Wire("tls", b"\x15\x03\x01\x00\x02\x02\x46"),
    Wire("binary", bytes(range(256)) * 20),
    Wire("zeros", bytes(100_000)),
    Wire("empty-lines", b"\r\n" * 100),
    Wire("http-0.9", b"<html><body>It works!</body></html>\r\n", words=HTTP),
    Wire("http-2", b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\0\xa0\0\0\0\2\0\0\0\0", words=()),
    Wire("http-9.9", b"HTTP/9.9 200 OK\r\n\r\n{}", words=HTTP),
    # has an odd status line
    Wire("status-word", http(status="OK 200"), words=HTTP),
    Wire("status-20", http(status="20 OK"), words=HTTP),
    Wire("status-2000", http(status="2000 OK"), words=HTTP),
    Wire("status-999", http(status="999 x"), words=("999",)),
    Wire("status--200", http(status="-200 OK"), words=HTTP),
    Wire("status-missing", http(status=""), words=HTTP),
    Wire("status-cut-off", b"HTTP/1.1 2"),
    Wire("status-200-alone", http(status="200"), 0),
    # says more than it should
    Wire("header-of-no-name", http(": none", "no colon"), 0),
    Wire("header-with-zeros", sized(b"{}", "X-Zero: \0\0"), 0),
    Wire("header-beyond-ascii", sized(b"{}", "X-\xe4: \xff\xfe"), 0),
    Wire("cookies", sized(b"{}", *(f"Set-Cookie: c{n}={'x' * 500}; Path=/" for n in range(50))), 0),
    # packs
    Wire("gzip", sized(gzip.compress(b"{}"), "Content-Encoding: gzip"), 0),
    Wire("gzip-bomb", BOMB, words=("without end",)),
    Wire("gzip-junk", sized(b"not gzip", "Content-Encoding: gzip"), 0),
    Wire("packed-unheard-of", sized(b"{}", "Content-Encoding: ar, zip"), 0),
    # has nothing to say, or nonsense; the authenticated request's answer was 200, and whole
    Wire("empty", sized(b""), 0),
    Wire("deep", sized(b'{"versions": ' + b"[" * 100_000), 0),
    Wire("not-utf-8", sized(b"\xff\xfe\x80"), 0),
]


def befallen(wires: list[Wire]) -> Iterator[Case]:
    """Each fault at each of the three places."""
    for one in wires:
        yield Case(
            f"{one.name}-api", one.api, one.words if one.api else (), {"api": one.answer},
            remembered=True, slow=one.slow,
        )  # fmt: skip
        yield Case(
            f"{one.name}-keystone", 190, ("answers; Keystone at http",), keystone=one.answer,
            slow=one.slow,
        )  # fmt: skip
        if one.answer != sized(b'{"versions": ' + b"[" * 100_000):
            yield Case(
                f"{one.name}-public", 1, (), {"public": one.answer}, public=True, slow=one.slow
            )


ON_THE_WIRE = list(befallen(WIRE))


@quick(ON_THE_WIRE)
def test_wire(watched: Service, case: Case) -> None:
    """An answer that is none is the fault of who gave it."""
    judge(watched, case)


@slow(ON_THE_WIRE)
def test_slow(
    agent: Path, case: Case, together: Together, request: pytest.FixtureRequest
) -> None:
    """A peer that wastes the time is found out before it is over."""
    together.judge(agent, case, chosen(request))


def test_bomb_is_not_unpacked(watched: Service) -> None:
    """What unpacks to gigabytes takes none of the node's memory."""
    prepare(watched, Case("", 0))
    watched.keystone.mode = str(said(watched, BOMB))
    result = expect(watched.monitor(), 190, "answers; Keystone at")
    assert "Memory" not in result.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["api", "keystone"])
def test_redirect_elsewhere(watched: Service, status: int, place: str) -> None:
    """Whoever is named by a redirect is not asked, and gets neither token nor password."""
    prepare(watched, Case("", 0, remembered=place == "api"))
    with Keystone(users=watched.keystone.users) as elsewhere:
        there = f"Location: {elsewhere.url}/v3/auth/tokens"
        answer = sized(b"", there, status=f"{status} Elsewhere")
        case = Case("", 1 if place == "api" else 190)
        if place == "api":
            case.daemon = {"api": answer}
            case.remembered = True
        else:
            case.keystone = answer
        judge(watched, case)
        assert [] == elsewhere.requests


def test_port_refused(watched: Service) -> None:
    """A port where nobody listens: the API's is its fault, Keystone's is not."""
    prepare(watched, Case("", 0, remembered=True))
    nowhere = f"http://127.0.0.1:{free_port()}"
    expect(watched.monitor(parameters={"url": nowhere}), 1, "refuses connections")
    expect(watched.monitor(parameters={"os_auth_url": nowhere}), 190, "answers; Keystone at")


# ---- what Keystone grants

GOOD: dict[str, Any] = {
    "expires_at": "2030-01-01T01:00:00.000000Z",
    "issued_at": "2030-01-01T00:00:00.000000Z",
    "methods": ["password"],
    "catalog": [],
}


def grant(token: object = GOOD, *, subject: str | None = "gAAAA-good", raw: bytes = b"") -> bytes:
    """Keystone's answer to a token request; raw: the body."""
    body = raw or json.dumps({"token": token}).encode()
    headers = [] if subject is None else [f"X-Subject-Token: {subject}"]
    return sized(body, "Content-Type: application/json", *headers, status="201 Created")


def but(**changes: object) -> bytes:
    """A grant that is good but for this; None takes something away."""
    token = {**GOOD, **changes}
    return grant({name: value for name, value in token.items() if value is not None})


GRANTS: list[Any] = [
    # the token itself
    pytest.param(grant(), 0, id="good"),
    pytest.param(grant(subject=None), 190, id="no-token"),
    pytest.param(grant(subject=""), 190, id="empty-token"),
    pytest.param(grant(subject="  "), 190, id="blank-token"),
    pytest.param(grant(subject="a\r\n b"), 190, id="token-of-two-lines"),
    pytest.param(grant(subject="a\x00b"), 190, id="token-with-zero"),
    pytest.param(grant(subject="a\x7f\x1b[2Jb"), 190, id="token-with-escape"),
    pytest.param(grant(subject="t\xf6k\xe9n"), 190, id="token-beyond-ascii"),
    pytest.param(grant(subject="\"'$(id)`;&|<>\\{}%s"), 0, id="token-of-signs"),
    pytest.param(grant(subject="x" * 60_000), 0, id="token-of-60-kB"),
    pytest.param(grant(subject="x" * 100_000), 190, id="token-of-100-kB"),
    # its life
    pytest.param(but(expires_at="2031-01-01T00:00:00.000000Z"), 0, id="life-of-a-year"),
    pytest.param(but(expires_at="9999-12-31T23:59:59.000000Z"), 0, id="life-of-8000-years"),
    pytest.param(but(expires_at="2030-01-01T00:00:00.000000Z"), 190, id="no-life"),
    pytest.param(but(expires_at="2029-12-31T23:00:00.000000Z"), 190, id="over-before-it-began"),
    pytest.param(but(expires_at=None), 190, id="no-expiry"),
    pytest.param(but(issued_at=None), 190, id="no-beginning"),
    pytest.param(but(expires_at="tomorrow"), 190, id="expires-tomorrow"),
    pytest.param(but(expires_at=""), 190, id="expires-empty"),
    pytest.param(but(expires_at="10000-01-01T00:00:00Z"), 190, id="expires-in-10000"),
    pytest.param(but(expires_at="0000-00-00T00:00:00Z"), 190, id="expires-in-0"),
    # of wrong types
    *(
        pytest.param(but(expires_at=junk), 190, id=f"expires-{type(junk).__name__}")
        for junk in (5, 1.5, True, ["2030"], {"at": "2030"})
    ),
    *(
        pytest.param(grant(junk), 190, id=f"token-is-{type(junk).__name__}")
        for junk in (None, 5, "text", [], [GOOD], True)
    ),
    *(
        pytest.param(grant(raw=junk), 190, id=f"json-{name}")
        for name, junk in {
            "empty-object": b"{}",
            "list": b"[]",
            "text": b'"token"',
            "null": b"null",
            "number": b"1e999",
            "NaN": b"NaN",
            "blank": b" ",
            "html": b"<html><body>502 Bad Gateway</body></html>",
            "cut-off": json.dumps({"token": GOOD}).encode()[:-9],
            "two": b"{}{}",
            "deep-list": b"[" * 100_000,
            "deep-object": b'{"token":' * 100_000,
            "number-of-10000-digits": b'{"token": ' + b"9" * 10_000 + b"}",
            "not-utf-8": b'{"token": {"expires_at": "\xff\xfe\x80"}}',
            "lone-surrogate": b'{"token": {"expires_at": "\\ud800"}}',
            "utf-32-half": b"\xff\xfe\0\0{\0",
        }.items()
    ),
    # odd, and good all the same
    pytest.param(but(catalog=None), 0, id="no-catalog"),
    pytest.param(but(catalog=[{"type": 5}, None, "x"]), 0, id="catalog-of-junk"),
    pytest.param(but(user=[], project=7, roles="x", methods=None), 0, id="other-parts-junk"),
    pytest.param(
        grant(raw=b'{"token": 1, "token": ' + json.dumps(GOOD).encode() + b"}"), 0, id="token-twice"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "code"), GRANTS)
def test_grant(watched: Service, answer: bytes, code: int) -> None:
    """A grant that is nonsense is Keystone's fault; a token that can be one is used."""
    words = ("answers; Keystone at http",) if code else ()
    judge(watched, Case("", code, words, {"accept_tokens": "any"}, keystone=answer))


@pytest.mark.own
def test_long_token_is_remembered(watched: Service) -> None:
    """A token of 60 kB, with all the groups of a federated user, is asked for once."""
    answer = grant(subject="x" * 60_000)
    judge(watched, Case("", 0, (), {"accept_tokens": "any"}, keystone=answer, tokens=1))
    before = watched.asked()
    expect(watched.monitor(), 0)
    assert before == watched.asked()


def test_empty_catalog(watched: Service) -> None:
    """Where the service listens is not asked of the catalog."""
    prepare(watched, Case("", 0))
    before, watched.keystone.catalog = watched.keystone.catalog, []
    try:
        expect(watched.monitor(), 0)
    finally:
        watched.keystone.catalog = before


# ---- times of tokens


@pytest.mark.parametrize("life", [-86400, -1, 0])
def test_born_expired(make_service: MakeService, life: int) -> None:
    """A Keystone that gives nothing but expired tokens is in trouble, not the service."""
    service = make_service(credentials=True)
    service.keystone.token_life = life
    expect(service.start(), 0)
    expect(service.monitor(), 190, "answers; Keystone at")


def test_long_life(make_service: MakeService) -> None:
    """A token of a year is used until the service does not take it any more."""
    service = make_service(credentials=True)
    service.keystone.token_life = 365 * 86400
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    expect(service.monitor(), 0)
    service.keystone.revoke()
    expect(service.monitor(), 0)
    assert 2 == service.asked()


def test_expires_within_the_request(make_service: MakeService) -> None:
    """A token whose life ends while the service looks at it is renewed, and nobody is blamed."""
    service = make_service(credentials=True)
    service.keystone.token_life = 4
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    service.keystone.token_life = 3600
    service.config.set(api_slow=4)  # it is read after the wait whether the token is good
    running = service.begin("monitor", interval=30, timeout=30)
    eventually(lambda: service.asked() == 2)
    service.config.set(api_slow=None)
    expect(running.wait(), 0)


@pytest.mark.parametrize("first", [-86400, 86400], ids=["behind-then-ahead", "ahead-then-behind"])
def test_skew_changes(make_service: MakeService, first: int) -> None:
    """A Keystone whose clock is set by two days between two tokens costs none more."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    for skew in (first, -first):
        service.keystone.clock_skew = skew
        service.keystone.revoke()
        expect(service.monitor(), 0)
        expect(service.monitor(), 0)
    assert 2 == service.asked()


# ---- TLS


@dataclass
class Certificates:
    """Files with a certificate and its key each, made by one authority but for `self_signed`.

    They are as operators make them: not by the letter of RFC 5280, which would have the extension
    of an authority critical, and its key named.
    """

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)

    def make(self, name: str, host: str, *options: str, authority: str | None = "ca") -> None:
        """One certificate; options of `openssl x509`."""
        key, ask, path = (self.folder / f"{name}.{part}" for part in ("key", "csr", "pem"))
        alt = self.folder / f"{name}.ext"
        is_authority = "TRUE" if authority is None else "FALSE"
        alt.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:{is_authority}\n")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._openssl("req", "-new", *new, "-subj", f"/CN={name}", "-keyout", key, "-out", ask)
        signer = ["-signkey", key]
        if authority:
            signer = ["-CA", self.files[authority], "-CAcreateserial"]
        self._openssl(
            "x509", "-req", "-in", ask, "-out", path, "-extfile", alt, *signer, *options
        )
        path.write_bytes(path.read_bytes() + key.read_bytes())
        self.files[name] = path

    def _openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[[str, str], str]
) -> Certificates:
    """What operators have put in front of an API, by name."""
    need("openssl", "openssl")
    made = Certificates(tmp_path_factory.mktemp("tls"))
    made.make("ca", "ca.example.org", authority=None)
    made.make("other-ca", "ca.example.net", authority=None)
    made.make("good", "localhost")
    made.make("expired", "localhost", "-days", "0")  # at once
    made.make("other-name", "api.example.org")
    made.make("self-signed", "localhost", authority=None)
    junk = made.folder / "junk"
    junk.write_text("-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n")
    empty = made.folder / "empty"
    empty.write_bytes(b"")
    folder = made.folder / "folder"
    folder.mkdir()
    missing = made.folder / "missing"
    made.files.update(junk=junk, empty=empty, folder=folder, missing=missing)
    return made


@dataclass
class Way:
    """How a peer is reached through a Front.

    name: of the row. front, certificate: of Front. ca: os_cacert. scheme: of the URL.
    api, keystone: what the monitor says when it is the way to either.
    """

    name: str
    front: str = "tls"
    certificate: str = "good"
    ca: str | None = "ca"
    scheme: str = "https"
    api: int = 1
    keystone: int = 190
    words: tuple[str, ...] = ()
    parameters: dict[str, object] = field(default_factory=dict)


CERTIFICATE = ("certificate",)

WAYS = [
    Way("trusted", api=0, keystone=0),
    Way("self-signed-trusted", certificate="self-signed", ca="self-signed", api=0, keystone=0),
    Way("self-signed", certificate="self-signed", ca=None, words=CERTIFICATE),
    Way("expired", certificate="expired", words=CERTIFICATE),
    Way("other-name", certificate="other-name", words=CERTIFICATE),
    Way("other-ca", ca="other-ca", words=CERTIFICATE),
    *(
        Way(f"insecure-{certificate}", certificate=certificate, ca=None, api=0, keystone=0,
            parameters={"os_insecure": "yes"})
        for certificate in ("self-signed", "expired", "other-name")
    ),
    *(
        Way(f"ca-{ca}", ca=ca, api=190, keystone=190, words=("os_cacert",))
        for ca in ("junk", "empty", "folder", "missing")
    ),
    Way("tls-1.0", front="tls1"),
    Way("plain-for-https", front="plain"),
    Way("https-for-plain", scheme="http"),
    Way("alert", front="alert"),
    Way("slammed", front="slam"),
    Way("handshake-hangs", front="hang"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_tls(watched: Service, certificates: Certificates, way: Way) -> None:
    """TLS that fails is the fault of the peer that it leads to, or of os_cacert."""
    prepare(watched, Case("", 0, remembered=True))
    parameters: dict[str, object] = dict(way.parameters)
    if way.ca:
        parameters["os_cacert"] = certificates.files[way.ca]
    certificate = certificates.files[way.certificate]
    with (
        Front(watched.config.port, way.front, certificate) as api,
        Front(watched.keystone.port, way.front, certificate) as keystone,
    ):
        timeout = SLOW if way.front == "hang" else 20
        monitors = [
            watched.begin(interval=30, timeout=timeout, parameters={**parameters, name: url})
            for name, url in (
                ("url", f"{way.scheme}://localhost:{api.port}"),
                ("os_auth_url", f"{way.scheme}://localhost:{keystone.port}"),
            )
        ]
        of_api, of_keystone = (monitor.wait() for monitor in monitors)
    expect(of_api, way.api, *way.words)
    expect(of_keystone, way.keystone, *([*way.words, "answers;"] if way.keystone else []))


# ---- names

NAMES = [
    ("nxdomain", "does not resolve"),
    ("servfail", "does not resolve"),
    ("closed", ""),
    ("mute", "in time"),
]


@pytest.mark.parametrize(("how", "words"), NAMES)
def test_resolver(watched: Service, folder: Path, how: str, words: str) -> None:
    """A name that does not resolve, or a resolver that hangs, is told from a peer that is well."""
    prepare(watched, Case("", 0, remembered=True))
    with Nameserver(how, folder) as nameserver:
        timeout = 20 if how == "nxdomain" else SLOW
        monitors = [
            watched.begin(
                interval=30, timeout=timeout, prefix=nameserver.prefix, parameters={name: url}
            )
            for name, url in (
                ("url", f"http://api.example.org:{watched.config.port}"),
                ("os_auth_url", f"http://keystone.example.org:{watched.keystone.port}"),
            )
        ]
        of_api, of_keystone = (monitor.wait() for monitor in monitors)
    expect(of_api, 1, watched.agent.name, words)
    expect(of_keystone, 190, "answers; Keystone at http://keystone.example.org")


# ---- IPv6 alone


def on_ipv6(make_service: MakeService) -> Service:
    """A service that listens on ::1 and nowhere else."""
    service = make_service(credentials=True)
    service.config.host = "::1"
    service.config.default["bind_host"] = "::1"
    service.config.set()
    return service


def test_ipv6(make_service: MakeService) -> None:
    """Daemon and Keystone may be on IPv6 alone."""
    service = on_ipv6(make_service)
    with Keystone(users=service.keystone.users, host="::1") as keystone:
        keystone.write_tokens(service.folder / "tokens6")
        service.config.set(accept_tokens=service.folder / "tokens6")
        service.parameters["os_auth_url"] = keystone.url
        expect(service.start(), 0)
        expect(service.monitor(), 0)
        url = {"url": f"http://[::1]:{service.config.port}"}
        expect(service.monitor(parameters=url), 0)
        service.config.set(api="500")
        expect(service.monitor(), 1, f"http://[::1]:{service.config.port}")
        service.config.set(api=None)
        keystone.revoke()
        keystone.mode = 503
        expect(service.monitor(), 190, f"Keystone at {keystone.url}")
    expect(service.stop(), 0)


def test_ipv6_for_ipv4(make_service: MakeService) -> None:
    """A url of the wrong family leads to nobody."""
    service = on_ipv6(make_service)
    expect(service.start(), 0)
    url = {"url": f"http://127.0.0.1:{service.config.port}"}
    expect(service.monitor(parameters=url), 1, "refuses connections")
