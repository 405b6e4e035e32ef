"""The verdict table: whose fault is it, and what does the monitor say?

Every case is one recurring monitor of a running daemon, in four groups: the monitor has a token
or gets one; Keystone is in trouble; the service is; nobody gave credentials.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness import AGENTS, INTERPRETERS, Result, declaration, eventually, expect
from lookalike.ports import free_port
from lookalike.service import Service

MakeService = Callable[..., Service]

SLOW = 12
"""Seconds that a monitor has whose peer wastes all of it; enough for many at once."""

ASKED = ("api", "api_slow", "public", "public_slow", "healthcheck")
"""What a case may change of the daemon's behaviour."""


@dataclass
class Case:
    """One row: how daemon and Keystone are, and what the monitor says.

    name: of the test. code, words: of the verdict.
    daemon: behaviour of the daemon. keystone: mode of Keystone.
    remembered: whether a monitor before has got a token; revoked: which is worthless by now.
    slow: the monitor needs all its time.
    tokens: token requests that this monitor makes, None where it may try more than once.
    """

    name: str
    code: int
    words: tuple[str, ...] = ()
    daemon: dict[str, object] = field(default_factory=dict)
    keystone: str | int = "fine"
    remembered: bool = False
    revoked: bool = False
    tokens: int | None = None
    parameters: dict[str, object] = field(default_factory=dict)
    slow: bool = False


def prepare(service: Service, case: Case) -> int:
    """Bring a running service and its Keystone to the state of a case; the requests so far."""
    if service.master_or_none() is None:
        expect(service.start(), 0)
    service.keystone.mode = "fine"
    service.config.set(**dict.fromkeys(ASKED))
    if "os_username" in service.parameters:
        # nobody has a token yet for a user of whom nobody has heard
        user = f"monitor{len(service.keystone.users)}"
        service.keystone.users[user] = service.password
        service.parameters["os_username"] = user
    if case.remembered:
        expect(service.monitor(), 0)
    if case.revoked:
        service.keystone.revoke()
    service.keystone.mode = case.keystone
    service.config.set(**case.daemon)
    return service.asked()


def check(service: Service, case: Case, result: Result, before: int) -> None:
    """Is the verdict that of the case, for as many tokens?"""
    name = [service.agent.name] if case.code not in (0, 7) else []
    expect(result, case.code, *name, *case.words)
    assert service.password not in result.stderr
    if case.tokens is not None:
        assert case.tokens == service.asked() - before
    assert "/v2.0" not in str(service.keystone.requests)


def judge(service: Service, case: Case) -> None:
    """Walk to the state that a case describes, and hear the monitor."""
    before = prepare(service, case)
    check(service, case, service.monitor(parameters=case.parameters), before)


@pytest.fixture(scope="module", params=AGENTS, ids=lambda agent: agent.name)
def watched(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A running service with credentials, which goes from case to case of the tables."""
    with tempfile.TemporaryDirectory(prefix="agents-") as name:
        os.chmod(name, 0o755)
        with Service(request.param, Path(name), credentials=True) as service:
            expect(service.start(), 0)
            yield service


def of(cases: list[Case]) -> pytest.MarkDecorator:
    """A test for each row; but the slow ones are walked all at once, by test_slow_peers."""
    quick = [case for case in cases if not case.slow]
    return pytest.mark.parametrize("case", quick, ids=lambda case: case.name)


# ---- a token

TOKENS = [
    Case("new", 0, tokens=1),
    Case("remembered", 0, remembered=True, tokens=0),
    Case("revoked", 0, remembered=True, revoked=True, tokens=1),
    Case("keystone-down-later", 0, remembered=True, keystone="dead", tokens=0),
    Case("keystone-hangs-later", 0, remembered=True, keystone="hang", tokens=0),
]


@of(TOKENS)
@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_token(make_service: MakeService, case: Case) -> None:
    """A healthy service is 0, by the token that is remembered or by one new one."""
    judge(make_service(credentials=True), case)


def test_one_get(make_service: MakeService) -> None:
    """A monitor with a remembered token is one GET, of what reads the database."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    before = len(service.config.requests())
    expect(service.monitor(), 0)
    (request,) = service.config.requests()[before:]
    assert ("GET", declaration(service.agent).check.path) == request[:2]
    assert "token:-" != request[2]


def test_token_life(make_service: MakeService) -> None:
    """Keystone is asked once a token life, before its end, and the service is 0 throughout."""
    service = make_service(credentials=True, accept_tokens="any")
    service.keystone.token_life = 3
    expect(service.start(), 0)
    expect(service.monitor(), 0)

    def another() -> bool:
        expect(service.monitor(), 0)
        return len(service.keystone.tokens_issued) > 1

    eventually(another)
    assert service.asked() == len(service.keystone.tokens_issued)


@pytest.mark.parametrize("skew", [-86400, 86400], ids=["behind", "ahead"])
def test_clock_skew(make_service: MakeService, skew: int) -> None:
    """A Keystone whose clock is a day off costs no token more."""
    service = make_service(credentials=True)
    service.keystone.clock_skew = skew
    expect(service.start(), 0)
    for _ in range(3):
        expect(service.monitor(), 0)
    assert 1 == service.asked()


def test_other_credentials(make_service: MakeService) -> None:
    """A token that other credentials got is not used: a new password is tried at once."""
    service = make_service(credentials=True)
    service.keystone.users["other"] = "battery staple"
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    other = {"os_username": "other", "os_password": "battery staple"}
    expect(service.monitor(parameters=other), 0)
    assert 2 == service.asked()
    expect(service.monitor(parameters={"os_password": "wrong"}), 190, "refuses", "monitor")


def test_restart_forgets_no_secret(make_service: MakeService) -> None:
    """After a stop no token is left on the node."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    assert service.keystone.tokens_issued[0] in service.state_file.read_text(encoding="utf-8")
    expect(service.stop(), 0)
    assert not service.state_file.exists()


URLS = ("{}", "{}/", "{}/v3", "{}/v3/", "{}/v2.0", "{}/v2.0/", "{}/v2.0/tokens", " {}/v2.0/ ")


@pytest.mark.parametrize("name", ["os_auth_url", "keystone_get_token_url"])
@pytest.mark.parametrize("form", URLS)
@pytest.mark.shared
def test_identity_url(watched: Service, name: str, form: str) -> None:
    """Either parameter is accepted in every form of the HA guide, and v3 is spoken."""
    url = form.format(watched.keystone.url)
    judge(watched, Case("", 0, tokens=1, parameters={"os_auth_url": None, name: url}))


def test_tenant_name(make_service: MakeService) -> None:
    """os_tenant_name is os_project_name's older name."""
    service = make_service(credentials=True)
    service.parameters["os_tenant_name"] = service.parameters.pop("os_project_name")
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    assert 1 == service.asked()


def test_start_needs_no_keystone(make_service: MakeService) -> None:
    """A control plane that boots cold does not deadlock: start asks Keystone for nothing."""
    service = make_service(credentials=True)
    service.keystone.mode = "dead"
    expect(service.start(), 0)
    service.keystone.mode = "fine"
    assert not service.keystone.requests


LEVELS = [(None, 1), (10, 1), (11, 1), (20, 1), (0, 0), (5, 0), (9, 0)]


@pytest.mark.parametrize(("level", "requests"), LEVELS)
@pytest.mark.shared
def test_check_level(make_service: MakeService, level: int | None, requests: int) -> None:
    """From level 10 on, and by default, the API is asked; below, the process is looked at."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    before = len(service.config.requests())
    expect(service.monitor(level=level), 0)
    assert requests == len(service.config.requests()) - before
    assert requests == service.asked()


def test_probe_asks_nobody(make_service: MakeService) -> None:
    """A probe says what is there, whatever API and Keystone are up to, and asks neither."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    service.config.set(api="hang", public="hang")
    service.keystone.mode = "hang"
    before = len(service.config.requests())
    expect(service.probe(), 0)
    expect(service.probe(level=10), 0)
    assert not service.keystone.requests
    assert before == len(service.config.requests())


# ---- Keystone is in trouble

TROUBLE: list[str | int] = [
    "dead", 404, 429, 500, 502, 503, "reset", "close", "redirect_loop", "nonsense",
    "wrong_length", "endless_headers", "bad_json", "other_json", "no_subject", "no_expiry",
]  # fmt: skip
TROUBLE_SLOW = ["hang", "drip", "endless_body", "endless_1xx"]

KEYSTONE = [
    *(
        Case(f"no-token-{mode}", 190, ("answers", "Keystone"), keystone=mode)
        for mode in TROUBLE
    ),
    *(
        Case(f"no-token-{mode}", 190, ("answers", "Keystone"), keystone=mode, slow=True)
        for mode in TROUBLE_SLOW
    ),
    Case("refused", 190, ("answers", "Keystone refuses", "monitor"), keystone="refuse"),
    Case(
        "refused-401", 190, ("refuses user monitor", "401"), remembered=True, revoked=True,
        keystone="refuse",
    ),
    Case(
        "no-such-project", 190, ("Keystone refuses",), parameters={"os_project_name": "nothing"}
    ),
    Case(
        "no-such-domain", 190, ("Keystone refuses",), parameters={"os_user_domain_name": "gone"}
    ),
    # the service asks Keystone about a token that it does not know
    Case(
        "401", 190, ("answers", "Keystone"), {"api": "401"}, keystone="dead", remembered=True
    ),
    Case(
        "503", 190, ("answers", "Keystone"), {"api": "503"}, keystone="dead", remembered=True
    ),
    Case("503-500", 190, ("Keystone",), {"api": "503"}, keystone=500, remembered=True),
    Case(
        "hang", 190, ("answers", "Keystone"), {"api": "hang"}, keystone="dead", remembered=True,
        slow=True,
    ),
    Case(
        "hang-hang", 190, ("answers", "Keystone"), {"api": "hang"}, keystone="hang",
        remembered=True, slow=True,
    ),
    Case(
        "drip", 190, ("answers", "Keystone"), {"api": "drip"}, keystone="dead", remembered=True,
        slow=True,
    ),
    # neither is well
    *(
        Case(f"public-{public}", 1, ("Keystone",), {"public": public}, keystone="dead")
        for public in ("500", "close", "404", "nonsense")
    ),
    Case(
        "public-hang", 1, (), {"public": "hang", "api": "hang"}, keystone="dead", slow=True
    ),
    Case(
        "401-public-500", 1, (), {"api": "401", "public": "500"}, keystone="dead",
        remembered=True,
    ),
    Case("refused-public-500", 1, (), {"public": "500"}, keystone="refuse"),
    # what is the service's own fault is no better for Keystone's being in trouble
    Case("500", 1, ("500",), {"api": "500"}, keystone="dead", remembered=True),
    Case("nonsense", 1, (), {"api": "nonsense"}, keystone="dead", remembered=True),
    Case("403", 190, ("403", "monitor"), {"api": "403"}, keystone="dead", remembered=True),
]  # fmt: skip


@of(KEYSTONE)
def test_keystone_in_trouble(watched: Service, case: Case) -> None:
    """A service that answers while Keystone does not help is degraded; else it is at fault."""
    judge(watched, case)


@pytest.mark.parametrize("interpreter", ["pypi"])
@pytest.mark.parametrize("mode", ["dead", "refuse", 503, "nonsense", "no_subject"])
@pytest.mark.shared
def test_keystoneauth_releases(make_service: MakeService, mode: str | int) -> None:
    """Every release of keystoneauth1 fails in a way that is told from a fault of the service."""
    case = Case("", 190, ("answers", "Keystone"), keystone=mode)
    judge(make_service(credentials=True), case)


POLICY = [
    Case("degraded", 190, ("answers", "Keystone"), keystone="dead"),
    Case("ignore", 0, keystone="dead"),
    Case("fail", 1, ("answers", "Keystone"), keystone="dead"),
    Case("ignore-500", 0, keystone=500),
    Case("fail-500", 1, ("500",), keystone=500),
    Case("ignore-401", 0, (), {"api": "401"}, keystone="dead", remembered=True),
    Case("fail-401", 1, ("Keystone",), {"api": "401"}, keystone="dead", remembered=True),
    # the policy is for a Keystone in trouble, and for that alone
    Case("ignore-public-500", 1, (), {"public": "500"}, keystone="dead"),
    Case("ignore-api-500", 1, ("500",), {"api": "500"}),
    Case("ignore-403", 190, ("403",), {"api": "403"}),
    Case("fail-403", 190, ("403",), {"api": "403"}),
    Case("fail-refused", 190, ("refuses",), keystone="refuse"),
    Case("ignore-refused", 190, ("refuses",), keystone="refuse"),
    Case("fail-fine", 0),
]


@of(POLICY)
def test_keystone_failure(watched: Service, case: Case) -> None:
    """keystone_failure says what is made of a Keystone in trouble, and of nothing else."""
    case.parameters = {"keystone_failure": case.name.partition("-")[0]}
    judge(watched, case)


def test_ignored_is_logged(make_service: MakeService) -> None:
    """What keystone_failure=ignore keeps from Pacemaker stands in the log."""
    service = make_service(credentials=True)
    service.keystone.mode = "dead"
    service.parameters["keystone_failure"] = "ignore"
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    assert "WARNING" in service.log.read_text(encoding="utf-8")


def test_keystone_comes_back(make_service: MakeService) -> None:
    """Degraded while Keystone is down, healthy by itself when it is back, with one token."""
    service = make_service(credentials=True)
    service.keystone.mode = "dead"
    expect(service.start(), 0)
    expect(service.monitor(), 190, "Keystone")
    service.keystone.mode = "fine"
    expect(service.monitor(), 0)
    expect(service.monitor(), 0)
    assert 1 == service.asked()


# ---- the service is in trouble, Keystone is not

ANSWERS = [
    "201", "204", "300", "302", "400", "404", "409", "418", "429", "500", "502", "504",
    "599", "999", "reset", "close", "wrong_length", "redirect_loop", "nonsense", "endless_body",
    "endless_headers",
]  # fmt: skip

API = [
    *(
        Case(f"{answer}-{kind}", 1, (answer,) if answer.isdigit() else (), {"api": answer},
             remembered=kind == "remembered")
        for answer in ANSWERS
        for kind in ("new", "remembered")[: 2 if answer in ("500", "close") else 1]
    ),
    Case("401-new", 1, ("401",), {"api": "401"}),
    Case("401-remembered", 1, ("401",), {"api": "401"}, remembered=True, tokens=1),
    Case("503-new", 1, ("503",), {"api": "503"}),
    Case("503-remembered", 1, ("503",), {"api": "503"}, remembered=True, tokens=1),
    Case("hang-new", 1, ("in time",), {"api": "hang"}, slow=True),
    Case("hang-remembered", 1, ("in time",), {"api": "hang"}, remembered=True, slow=True),
    Case("drip", 1, ("in time",), {"api": "drip"}, remembered=True, slow=True),
    Case("endless_1xx", 1, (), {"api": "endless_1xx"}, remembered=True, slow=True),
    Case("all-hang", 1, ("in time",), {"api": "hang", "public": "hang"}, slow=True),
    Case("403", 190, ("403", "monitor"), {"api": "403"}, tokens=1),
    # the version document has no say while the request that counts is answered
    Case("public-hang", 0, (), {"public": "hang"}),
    Case("public-500", 0, (), {"public": "500"}),
    Case("healthcheck-500", 0, (), {"healthcheck": "500"}),
    Case("slow", 0, (), {"api_slow": 1}),
]  # fmt: skip


@of(API)
def test_service_in_trouble(watched: Service, case: Case) -> None:
    """Whatever is not exactly 200 is the service's fault, when Keystone is well."""
    judge(watched, case)


def test_refused(make_service: MakeService) -> None:
    """An API that refuses connections while its processes live is at fault."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    parameters = {"url": f"http://127.0.0.1:{free_port()}"}
    expect(service.monitor(parameters=parameters), 1, "refuses connections")


# ---- no credentials

PUBLIC = [
    Case("fine", 0, tokens=0),
    *(
        Case(answer, 1, (answer,) if answer.isdigit() else (), {"public": answer})
        for answer in ("500", "503", "404", "401", "close", "reset", "nonsense", "redirect_loop")
    ),
    Case("other-document", 1, (), {"public": "200"}),
    Case("hang", 1, ("in time",), {"public": "hang"}, slow=True),
    Case("drip", 1, ("in time",), {"public": "drip"}, slow=True),
    Case("api-500", 0, (), {"api": "500"}),
    Case("keystone-dead", 0, keystone="dead", tokens=0),
]


@of(PUBLIC)
def test_no_credentials(watched: Service, case: Case) -> None:
    """Without credentials the public version document decides, and Keystone is not asked."""
    case.parameters = dict.fromkeys(watched.credentials)
    judge(watched, case)


# ---- peers that waste time


@pytest.mark.shared
def test_slow_peers(make_service: MakeService) -> None:
    """Whatever takes for ever is found out before Pacemaker's timeout, with the right verdict."""
    under_way = []
    for table in (KEYSTONE, API, PUBLIC):
        for case in table:
            if case.slow:
                service = make_service(credentials=table is not PUBLIC)
                under_way.append((service, case, prepare(service, case)))
    begun = [
        (service, case, before, service.begin("monitor", interval=30, timeout=SLOW))
        for service, case, before in under_way
    ]
    wrong = []
    for service, case, before, running in begun:
        try:
            check(service, case, running.wait(), before)
        except AssertionError as error:
            wrong.append(f"{case.name}: {str(error).splitlines()[0]}")
    assert [] == wrong


# ---- where the service is asked


def test_local(make_service: MakeService) -> None:
    """Asked is where the daemon's own processes listen, even if another serves better."""
    service, other = make_service(), make_service()
    expect(other.start(), 0)
    expect(service.start(), 0)
    service.config.set(public="500")
    expect(service.monitor(), 1, f"127.0.0.1:{service.config.port}")


FORMS = ["{}", "{}/", "{}/v1/", "{}/v2", "{}PATH"]


@pytest.mark.parametrize("form", FORMS)
def test_url(make_service: MakeService, form: str) -> None:
    """url overrides where it is asked; without a path, or with a mere version, it is completed."""
    service = make_service(credentials=True)
    path = declaration(service.agent).check.path
    root = f"http://localhost:{service.config.port}"
    service.parameters["url"] = form.format(root).replace("PATH", path)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    assert ("GET", path) == service.config.requests()[-1][:2]


def test_url_is_remembered(service: Service) -> None:
    """The URL is learned at start, and stands in the state."""
    expect(service.start(), 0)
    state: dict[str, Any] = json.loads(service.state_file.read_text(encoding="utf-8"))
    assert f"http://127.0.0.1:{service.config.port}" == state["url"]


@pytest.mark.parametrize("how", ["os_cacert", "os_insecure"])
def test_https(make_service: MakeService, certificate: Path, how: str) -> None:
    """An https url is verified by os_cacert, or not at all with os_insecure."""
    service = make_service(credentials=True, tls=certificate)
    service.parameters["url"] = f"https://localhost:{service.config.port}"
    service.parameters[how] = certificate if how == "os_cacert" else "true"
    expect(service.start(), 0)
    expect(service.monitor(), 0)


def test_no_proxy(make_service: MakeService) -> None:
    """A proxy in the environment has no say in who is monitored."""
    service = make_service(credentials=True)
    proxy = f"http://127.0.0.1:{free_port()}"
    environ = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"), proxy)
    expect(service.start(environ=environ), 0)
    expect(service.monitor(environ=environ), 0)


# ---- reload-agent


def test_reload_agent(make_service: MakeService) -> None:
    """A new monitoring password is taken over without a restart."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    master = service.master()
    expect(service.monitor(), 0)
    service.keystone.users["monitor"] = "new"
    service.keystone.revoke()
    expect(service.monitor(), 190, "refuses")
    service.parameters["os_password"] = "new"
    expect(service.call("reload-agent"), 0)
    expect(service.monitor(), 0)
    assert master == service.master()
