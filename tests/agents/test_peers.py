"""Peers that misbehave: the API and Keystone, their TLS, the resolver between. What is at fault?

The tables have one fault a row. A row of WIRE (lookalike/wires.py) is applied to the authenticated
request, Keystone's answer and the public version document in turn; a row of WAYS and NAMES to the
ways to both peers. tests/unit/test_api.py tests the check itself with all answers; here the agents
share a few of them, or have all with --every-agent.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import AGENTS, expect
from lookalike.between import Front, Nameserver
from lookalike.case import (
    SLOW,
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
from lookalike.wires import GRANTS, WIRE, Wire, api_code, bomb, grant, keystone_words, sized
from looks import eventually

pytestmark = pytest.mark.shared


LEAN = ("prlimit", "--as=600000000")
"""Runs an agent with enough memory (in bytes) for its work, not for the answers of a bad peer."""


@pytest.fixture(scope="module", params=AGENTS, ids=lambda agent: agent.name)
def watched(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A running service with credentials, whose agent has little memory; one for all rows."""
    with watched_service(request.param, prefix=LEAN) as service:
        yield service


# ---- every status: tests/unit has all of them


def test_api_status(watched: Service) -> None:
    """Of the API's statuses 200 is well and 403 the user's fault; the rest is its own fault."""
    prepare(watched, Case("", 0, remembered=True))
    for status in (100, 199, 200, 201, 299, 300, 400, 403, 404, 499, 500, 599):
        watched.config.set(api=status)
        # 100 is no answer yet, and none comes
        words = [] if status in (100, 200) else [str(status), watched.agent.name]
        expect(watched.monitor(), api_code(status), *words)


@pytest.mark.parametrize("interpreter", ["pypi"])
def test_keystone_status(make_service: MakeService) -> None:
    """400, 401 and 403 to a token request are a refusal, all else Keystone's trouble: 190."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    for status in (100, 199, 200, 299, 300, 400, 401, 402, 403, 404, 500, 503, 599):
        service.keystone.mode = status
        guilty = keystone_words(status)
        expect(service.monitor(), 190, f"{service.agent.name} answers; Keystone {guilty}")


# ---- on the wire


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
        if not one.versions:
            yield Case(
                f"{one.name}-public", 1, (), {"public": one.answer}, public=True, slow=one.slow
            )


ON_THE_WIRE = list(befallen(WIRE))


@quick(ON_THE_WIRE)
@pytest.mark.shared(one_in=8)
def test_wire(watched: Service, case: Case) -> None:
    """An invalid answer is the fault of the peer that gave it."""
    judge(watched, case)


@slow(ON_THE_WIRE)
def test_slow(
    agent: Path, case: Case, together: Together, request: pytest.FixtureRequest
) -> None:
    """A peer that wastes the time is noticed before the time is over."""
    together.judge(agent, case, chosen(request))


def test_bomb_is_not_unpacked(watched: Service) -> None:
    """An answer that unpacks to gigabytes takes none of the node's memory."""
    prepare(watched, Case("", 0))
    watched.keystone.mode = str(said(watched.folder, bomb))
    result = expect(watched.monitor(), 190, "answers; Keystone at")
    assert "Memory" not in result.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["api", "keystone"])
def test_redirect_elsewhere(watched: Service, status: int, place: str) -> None:
    """The target of a redirect is not asked, and gets neither token nor password."""
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
    """A port on which nothing listens is the API's fault, unless it is Keystone's port."""
    prepare(watched, Case("", 0, remembered=True))
    nowhere = f"http://127.0.0.1:{free_port()}"
    expect(watched.monitor(parameters={"url": nowhere}), 1, "refuses connections")
    expect(watched.monitor(parameters={"os_auth_url": nowhere}), 190, "answers; Keystone at")


# ---- Keystone's grants


@pytest.mark.parametrize(("answer", "code"), GRANTS)
@pytest.mark.shared(one_in=9)
def test_grant(watched: Service, answer: bytes, code: int) -> None:
    """A grant that is nonsense is Keystone's fault; a possible token is used."""
    words = ("answers; Keystone at http",) if code else ()
    judge(watched, Case("", code, words, {"accept_tokens": "any"}, keystone=answer))


def test_token_of_two_lines(watched: Service) -> None:
    """A token that goes on in a second line is refused. (Newer urllib3 joins the lines.)"""
    answer = grant(subject="a\r\n b")
    judge(watched, Case("", 190, ("answers; Keystone at http",), keystone=answer))


@pytest.mark.own
def test_long_token_is_remembered(watched: Service) -> None:
    """A token of 60 kB, with all the groups of a federated user, is asked for once."""
    answer = grant(subject="x" * 60_000)
    judge(watched, Case("", 0, (), {"accept_tokens": "any"}, keystone=answer, tokens=1))
    before = watched.asked()
    expect(watched.monitor(), 0)
    assert before == watched.asked()


def test_empty_catalog(watched: Service) -> None:
    """The service's address is not taken from the catalog."""
    prepare(watched, Case("", 0))
    before, watched.keystone.catalog = watched.keystone.catalog, []
    try:
        expect(watched.monitor(), 0)
    finally:
        watched.keystone.catalog = before


# ---- times of tokens


@pytest.mark.parametrize("life", [-86400, -1, 0])
def test_born_expired(make_service: MakeService, life: int) -> None:
    """If Keystone gives only expired tokens, Keystone is in trouble, not the service."""
    service = make_service(credentials=True)
    service.keystone.token_life = life
    expect(service.start(), 0)
    expect(service.monitor(), 190, "answers; Keystone at")


def test_long_life(make_service: MakeService) -> None:
    """A token of a year is used until the service refuses it."""
    service = make_service(credentials=True)
    service.keystone.token_life = 365 * 86400
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    expect(service.monitor(), 0)
    service.keystone.revoke()
    expect(service.monitor(), 0)
    assert 2 == service.asked()


def test_expires_within_the_request(make_service: MakeService) -> None:
    """A token that expires while the service verifies it is renewed, and the code is 0."""
    service = make_service(credentials=True)
    service.keystone.token_life = 4
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    service.keystone.token_life = 3600
    service.config.set(api_slow=4)  # the token is verified after the wait
    running = service.begin("monitor", interval=30, timeout=30)
    eventually(lambda: service.asked() == 2)
    service.config.set(api_slow=None)
    expect(running.wait(), 0)


@pytest.mark.parametrize("first", [-86400, 86400], ids=["behind-then-ahead", "ahead-then-behind"])
def test_skew_changes(make_service: MakeService, first: int) -> None:
    """A Keystone whose clock is set by two days between two tokens is not asked for more."""
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

    They are as operators make them: not as strict as RFC 5280, in which an authority's extension is
    critical, and its key named.
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
    """Certificates that operators have put in front of an API, by name."""
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
    api, keystone: the monitor's code if it is the way to that peer.
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
    Way("tls-1.0", front="tls1", words=("cannot be asked: TLS: ",)),
    Way("plain-for-https", front="plain", words=("TLS: wrong version number (is it http?)",)),
    Way("https-for-plain", scheme="http", words=("s the connection",)),  # cuts, or closes
    Way("alert", front="alert", words=("cannot be asked: TLS: ", "alert")),
    Way("slammed", front="slam", words=("TLS: connection has been closed (EOF)",)),
    Way("handshake-hangs", front="hang", words=("does not answer in time",)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_tls(watched: Service, certificates: Certificates, way: Way) -> None:
    """TLS that fails is the fault of the peer at its end, or of os_cacert."""
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
    """A name that does not resolve, or a resolver that hangs, is named as the fault."""
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
    """A url of the wrong address family cannot be reached."""
    service = on_ipv6(make_service)
    expect(service.start(), 0)
    url = {"url": f"http://127.0.0.1:{service.config.port}"}
    expect(service.monitor(parameters=url), 1, "refuses connections")
