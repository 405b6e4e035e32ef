"""The verdict table: what is at fault, and what does the monitor say?

Every case is one recurring monitor of a running daemon: the monitor has a token or gets one;
Keystone is in trouble; the service is; both, in every pair; there are no credentials. Then
changes during a monitor, and the address that it asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import AGENTS, INTERPRETERS, declaration, expect
from lookalike.case import (
    Answer,
    Case,
    Together,
    chosen,
    judge,
    prepare,
    quick,
    slow,
    watched_service,
)
from lookalike.ports import free_port
from lookalike.service import MakeService, Service
from looks import eventually

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module", params=AGENTS, ids=lambda agent: agent.name)
def watched(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A running service with credentials, one for all cases of the tables."""
    with watched_service(request.param) as service:
        yield service


# ---- a token

TOKENS = [
    Case("new", 0, tokens=1),
    Case("remembered", 0, remembered=True, tokens=0),
    Case("revoked", 0, remembered=True, revoked=True, tokens=1),
    Case("keystone-down-later", 0, remembered=True, keystone="dead", tokens=0),
    Case("keystone-hangs-later", 0, remembered=True, keystone="hang", tokens=0),
]


@quick(TOKENS)
@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_token(make_service: MakeService, case: Case) -> None:
    """A healthy service is 0, with the remembered token or with a new one."""
    judge(make_service(credentials=True), case)


def test_one_get(make_service: MakeService) -> None:
    """A monitor with a remembered token is one GET, of a path that reads the database."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    before = len(service.config.requests())
    expect(service.monitor(), 0)
    (request,) = service.config.requests()[before:]
    assert ("GET", declaration(service.agent).manages.checks[0].path) == request[:2]
    assert "token:-" != request[2]


def test_token_life(make_service: MakeService) -> None:
    """Keystone is asked once in a token's life, before its end, and the service is always 0."""
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
    """A Keystone whose clock is a day off is not asked for more tokens."""
    service = make_service(credentials=True)
    service.keystone.clock_skew = skew
    expect(service.start(), 0)
    for _ in range(3):
        expect(service.monitor(), 0)
    assert 1 == service.asked()


def test_other_credentials(make_service: MakeService) -> None:
    """A token of other credentials is not used: a new password is tried at once."""
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
@pytest.mark.shared(one_in=3)
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


LEVELS = [(None, 1), (10, 1), (11, 1), (19, 1), (0, 0), (5, 0), (9, 0)]


@pytest.mark.parametrize(("level", "requests"), LEVELS)
@pytest.mark.shared(one_in=3)
def test_check_level(make_service: MakeService, level: int | None, requests: int) -> None:
    """From level 10 on, and by default, the API is asked; below, only the process is checked."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    before = len(service.config.requests())
    expect(service.monitor(level=level), 0)
    made = service.config.requests()[before:]
    assert requests == sum(token != "token:-" for _, _, token in made)
    assert requests == service.asked()


def test_probe_asks_nobody(make_service: MakeService) -> None:
    """A probe says what runs, whatever API and Keystone do, and asks neither."""
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

KEYSTONE = [
    Case("refused", 190, ("answers", "Keystone refuses", "monitor"), keystone="refuse", tokens=1),
    Case(
        "refused-401", 190, ("refuses user monitor", "401"), remembered=True, revoked=True,
        keystone="refuse", tokens=1,
    ),
    Case(
        "no-such-project", 190, ("Keystone refuses",), parameters={"os_project_name": "nothing"}
    ),
    Case(
        "no-such-domain", 190, ("Keystone refuses",), parameters={"os_user_domain_name": "gone"}
    ),
    # neither is well
    *(
        Case(f"public-{public}", 1, ("Keystone",), {"public": public}, keystone="dead")
        for public in ("500", "close", "404", "nonsense")
    ),
    Case(
        "401-public-500", 1, ("answers 401", "Keystone"), {"api": "401", "public": "500"},
        keystone="dead", remembered=True,
    ),
    Case("refused-public-500", 1, ("answers 500", "refuses"), {"public": "500"}, keystone="refuse"),
    # the service's own fault stays its fault while Keystone is in trouble
    Case("nonsense", 1, ("HTTP",), {"api": "nonsense"}, keystone="dead", remembered=True),
]  # fmt: skip


@quick(KEYSTONE)
def test_keystone_in_trouble(watched: Service, case: Case) -> None:
    """A service that answers while Keystone is in trouble is degraded; otherwise it is at fault."""
    judge(watched, case)


@pytest.mark.parametrize("interpreter", ["pypi"])
@pytest.mark.parametrize("mode", ["dead", "refuse", 503, "nonsense", "no_subject"])
def test_keystoneauth_releases(make_service: MakeService, mode: str | int) -> None:
    """With every release of keystoneauth1 Keystone's faults are not taken for the service's."""
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
    # the policy is only for a Keystone in trouble
    Case("ignore-public-500", 1, (), {"public": "500"}, keystone="dead"),
    Case("ignore-api-500", 1, ("500",), {"api": "500"}),
    Case("ignore-403", 190, ("403",), {"api": "403"}),
    Case("fail-403", 190, ("403",), {"api": "403"}),
    Case("fail-refused", 190, ("refuses",), keystone="refuse"),
    Case("ignore-refused", 190, ("refuses",), keystone="refuse"),
    Case("fail-fine", 0),
]


@quick(POLICY)
def test_keystone_failure(watched: Service, case: Case) -> None:
    """keystone_failure decides the code when Keystone is in trouble, and only then."""
    case.parameters = {"keystone_failure": case.name.partition("-")[0]}
    judge(watched, case)


def test_ignored_is_logged(make_service: MakeService) -> None:
    """Trouble that keystone_failure=ignore keeps from Pacemaker is in the log."""
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

API = [
    Case("401-remembered", 1, ("401",), {"api": "401"}, remembered=True, tokens=2),
    Case("503-remembered", 1, ("503",), {"api": "503"}, remembered=True, tokens=1),
    Case("500-remembered", 1, ("500",), {"api": "500"}, remembered=True, tokens=0),
    Case("403", 190, ("403", "monitor"), {"api": "403"}, tokens=1),
    # the version document does not matter while the request that counts is answered
    Case("public-hang", 0, (), {"public": "hang"}),
    Case("public-500", 0, (), {"public": "500"}),
    Case("healthcheck-500", 0, (), {"healthcheck": "500"}),
    Case("slow", 0, (), {"api_slow": 1}),
]  # fmt: skip


@quick(API)
def test_service_in_trouble(watched: Service, case: Case) -> None:
    """Any answer but 200 (and 403) is the service's fault, when Keystone is well."""
    judge(watched, case)


# ---- an API without authentication


def anonymous(service: Service) -> int:
    """How many requests to the checked path came without a token."""
    path = declaration(service.agent).manages.checks[0].path
    return service.config.requests().count(("GET", path, "token:-"))


@pytest.mark.own
def test_open_door(make_service: MakeService) -> None:
    """A service that needs no token is degraded, with the remedy, until it is mended."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    service.config.set(api="200")
    for _ in range(2):
        expect(service.monitor(), 190, "serves without authentication: set [")
    expect(service.monitor(parameters={"allow_anonymous": "true"}), 0)
    service.config.set(api=None)
    expect(service.monitor(), 0)
    assert 1 == service.asked()


@pytest.mark.own
def test_open_door_costs_little(make_service: MakeService) -> None:
    """One request without a token is made in a token's life, and none with allow_anonymous."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(parameters={"allow_anonymous": "yes"}), 0)
    assert 0 == anonymous(service)
    for _ in range(3):
        expect(service.monitor(), 0)
    assert 1 == anonymous(service)
    service.keystone.revoke()
    expect(service.monitor(), 0)
    assert 2 == anonymous(service)


@pytest.mark.own
@pytest.mark.parametrize("answer", ["500", "503", "404", "close", "hang"])
def test_door_that_cannot_be_tried(make_service: MakeService, answer: str) -> None:
    """Any other answer to the request without a token is ignored, and the request repeated."""
    service = make_service(credentials=True)
    service.config.set(no_token=answer)
    expect(service.start(), 0)
    for tried in (1, 2):
        expect(service.monitor(), 0)
        assert tried == anonymous(service)


# ---- slow, and well


@pytest.mark.parametrize("remembered", [True, False], ids=["remembered", "new"])
def test_slow_is_not_dead(make_service: MakeService, remembered: bool) -> None:
    """An API that needs most of the monitor's time, and answers, is healthy."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    if remembered:
        expect(service.monitor(), 0)
    service.config.set(api_slow=20)
    expect(service.monitor(timeout=45), 0)


# ---- no credentials

PUBLIC = [
    Case("fine", 0, tokens=0, public=True),
    *(
        Case(
            answer, 1, (answer,) if answer.isdigit() else (), {"public": answer}, public=True
        )
        for answer in ("500", "503", "404", "401", "close", "reset", "nonsense", "redirect_loop")
    ),
    Case("other-document", 1, (), {"public": "200"}, public=True),
    Case("public-hangs", 1, ("in time",), {"public": "hang"}, slow=True, public=True),
    Case("public-drips", 1, ("in time",), {"public": "drip"}, slow=True, public=True),
    Case("api-500", 0, (), {"api": "500"}, public=True),
    Case("keystone-dead", 0, keystone="dead", tokens=0, public=True),
]  # fmt: skip


@quick(PUBLIC)
def test_no_credentials(watched: Service, case: Case) -> None:
    """Without credentials the public version document decides, and Keystone is not asked."""
    judge(watched, case)


# ---- every pair

KEYSTONES: dict[str, tuple[str | int, tuple[str, ...]]] = {
    "fine": ("fine", ()),
    "refuses": ("refuse", ("answers; Keystone refuses user monitor", "(401)")),
    "500": (500, ("answers; Keystone at http://", "answers 500")),
    "hung": ("hang", ("answers; Keystone at http://", "does not answer in time")),
    "dead": ("dead", ("answers; Keystone at http://", "cannot be reached")),
}
"""The state of Keystone; and the words of the reason that names it alone."""

APIS: dict[str, tuple[dict[str, object], str]] = {
    "fine": ({}, ""),
    "401": ({"api": "401"}, "answers 401"),
    "403": ({"api": "403"}, "forbids"),
    "500": ({"api": "500"}, "answers 500"),
    "503": ({"api": "503"}, "answers 503"),
    "hung": ({"api": "hang"}, "does not answer in time"),
    "all-hung": ({"api": "hang", "public": "hang"}, "does not answer in time"),
    "dead": ({}, "refuses connections"),
}
"""The state of the daemon; and the words of the reason that names it alone."""

# 0 fine; K Keystone is at fault, and the service answers: 190; F the token was accepted, and the
# user forbidden: 190; 1 the service is at fault
VERDICTS = {
    "no-token": """
               fine  refuses  500  hung  dead
        fine      0        K    K     K     K
        401       1        K    K     K     K
        403       F        K    K     K     K
        500       1        K    K     K     K
        503       1        K    K     K     K
        hung      1        K    K     K     K
        all-hung  1        1    1     1     1
        dead      1        1    1     1     1
    """,
    "token": """
               fine  refuses  500  hung  dead
        fine      0        0    0     0     0
        401       1        K    K     K     K
        403       F        F    F     F     F
        500       1        1    1     1     1
        503       1        K    K     K     K
        hung      1        K    K     K     K
        all-hung  1        1    1     1     1
        dead      1        1    1     1     1
    """,
}
"""For a monitor without a token, and with a remembered one, written by hand: rows are the API,
columns Keystone."""


def pairs() -> Iterator[Case]:
    for token, table in VERDICTS.items():
        columns, *rows = (line.split() for line in table.strip().splitlines())
        for api, *verdicts in rows:
            for column, verdict in zip(columns, verdicts):
                daemon, of_api = APIS[api]
                keystone, of_keystone = KEYSTONES[column]
                hung = "hung" in api and (token == "token" or column == "fine")
                yield Case(
                    f"{token}-api-{api}-keystone-{column}",
                    {"0": 0, "1": 1}.get(verdict, 190),
                    {"0": (), "K": of_keystone}.get(verdict, (of_api,)),
                    daemon,
                    keystone,
                    remembered=token == "token",
                    # only what is asked can hang
                    slow=hung
                    or api == "all-hung"
                    or (column == "hung" and (token == "no-token" or verdict == "K")),
                    parameters={"url": f"http://127.0.0.1:{free_port()}"} if api == "dead" else {},
                )


PAIRS = list(pairs())


@quick(PAIRS)
def test_pair(watched: Service, case: Case) -> None:
    """Whatever is wrong with service and Keystone at once, the right one is named."""
    judge(watched, case)


# ---- changes between two requests

Change = Callable[[Service], None]


def then_api(answer: Answer | None) -> Change:
    return lambda service: service.config.set(api=answer)


def then_keystone(answer: Answer) -> Change:
    def change(service: Service) -> None:
        service.keystone.mode = str(answer)

    return change


def revoke(service: Service) -> None:
    service.keystone.revoke()


CHANGES: list[Any] = [
    # the daemon asks Keystone too, and is healthy when Keystone is back
    pytest.param(True, "401", then_api(None), 0, (), id="401-then-fine"),
    pytest.param(True, "503", then_api(None), 0, (), id="503-then-fine"),
    pytest.param(True, "503", then_api("500"), 1, ("answers 500",), id="503-then-500"),
    pytest.param(True, "503", then_api("403"), 190, ("forbids", "403"), id="503-then-403"),
    pytest.param(True, "401", then_api("close"), 1, ("cuts the connection",), id="401-then-cut"),
    pytest.param(True, "503", then_api("401"), 1, ("answers 401",), id="503-then-401"),
    pytest.param(False, None, then_api("500"), 1, ("answers 500",), id="fine-then-500"),
    # Keystone fails, or gets a new password, during the monitor
    pytest.param(True, "401", then_keystone(503), 190, ("Keystone at", "503"), id="401-then-503"),
    pytest.param(False, None, then_keystone(500), 190, ("Keystone at", "500"), id="new-then-500"),
    pytest.param(True, "401", then_keystone("refuse"), 190, ("refuses",), id="401-then-refused"),
    # all former tokens are revoked when a new one is asked for
    pytest.param(True, None, revoke, 0, (), id="revoked"),
]


@pytest.mark.parametrize(("remembered", "api", "change", "code", "words"), CHANGES)
def test_change(
    watched: Service,
    remembered: bool,
    api: Answer | None,
    change: Change,
    code: int,
    words: tuple[str, ...],
) -> None:
    """A change that comes when Keystone is asked counts for the verdict."""
    prepare(watched, Case("", 0, daemon={"api": api}, remembered=remembered))
    watched.keystone.when_asked = lambda: change(watched)
    expect(watched.monitor(), code, *words)


def test_second_token(watched: Service) -> None:
    """If Keystone fails after it gave a token that the service refuses, Keystone is at fault."""
    prepare(watched, Case("", 0, daemon={"api": "503"}))

    def second() -> None:
        if len(watched.keystone.tokens_issued) > before:
            watched.keystone.mode = "503"

    before = len(watched.keystone.tokens_issued)
    watched.keystone.when_asked = second
    expect(watched.monitor(), 190, "answers; Keystone at", "answers 503")


# ---- peers that waste time

@slow([*PUBLIC, *PAIRS])
def test_slow(
    agent: Path, case: Case, together: Together, request: pytest.FixtureRequest
) -> None:
    """A peer that never answers is noticed before Pacemaker's timeout, with the right verdict."""
    together.judge(agent, case, chosen(request))


# ---- where the service is asked


def test_local(make_service: MakeService) -> None:
    """The daemon's own socket is asked, even if another daemon serves better."""
    service, other = make_service(), make_service()
    expect(other.start(), 0)
    expect(service.start(), 0)
    service.config.set(public="500")
    expect(service.monitor(), 1, f"127.0.0.1:{service.config.port}")


FORMS = ["{}", "{}/", "{}/v1/", "{}/v2", "{}PATH"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.shared(one_in=4)
def test_url(make_service: MakeService, form: str) -> None:
    """url overrides the address that is asked; without a path after a version it is completed."""
    service = make_service(credentials=True)
    path = declaration(service.agent).manages.checks[0].path
    root = f"http://localhost:{service.config.port}"
    service.parameters["url"] = form.format(root).replace("PATH", path)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    assert ("GET", path) == service.config.requests()[-1][:2]


def test_url_is_remembered(service: Service) -> None:
    """The URL is learned at start, and stored in the state."""
    expect(service.start(), 0)
    state: dict[str, Any] = json.loads(service.state_file.read_text(encoding="utf-8"))
    assert f"http://127.0.0.1:{service.config.port}" == state["checks"]["address"]["url"]


@pytest.mark.parametrize("how", ["os_cacert", "os_insecure"])
def test_https(make_service: MakeService, certificate: Path, how: str) -> None:
    """An https url is verified by os_cacert, or not at all with os_insecure."""
    service = make_service(credentials=True, tls=certificate)
    service.parameters["url"] = f"https://localhost:{service.config.port}"
    service.parameters[how] = certificate if how == "os_cacert" else "true"
    expect(service.start(), 0)
    expect(service.monitor(), 0)


def test_no_proxy(make_service: MakeService) -> None:
    """A proxy in the environment is ignored."""
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
