"""APIs with requests of their own: ids in the path, headers, services behind them, Keystone.

heat-api's path has the project's id, and its answer comes from heat-engine. placement-api wants a
header, and keystone is asked for the token by which it is checked; uWSGI alone serves these two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness import EVERY_AGENT, declaration, expect, stops
from kinds.kit import agent_of
from lookalike.keystone import Keystone
from lookalike.service import MakeService, Service
from lookalike.uwsgi import PACKAGE, PROGRAM, UwsgiService

MakeUwsgi = Callable[..., UwsgiService]

HEAT = agent_of("heat-api")
PROJECT = b"service".hex()
USER = b"monitor".hex()
TIMEOUT = 8
"""Seconds for a monitor that gets no answer."""


def asked(service: Service, before: int = 0) -> list[str]:
    """The paths of GETs with a token."""
    requests = service.config.requests()[before:]
    return [path for method, path, token in requests if method == "GET" and token != "token:-"]


def behind(agent: Path) -> str:
    """The service behind an API."""
    for check in getattr(declaration(agent).manages, "checks", ()):
        return str(getattr(check, "behind", ""))
    return ""


BEHIND = [agent for agent in EVERY_AGENT if behind(agent)]


# ---- heat-api


@pytest.fixture
def agent() -> Path:
    """The agent of make_service."""
    return HEAT


@pytest.fixture
def heat(make_service: MakeService) -> Service:
    """A heat-api that serves, with credentials."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    return service


def test_project_in_path(heat: Service) -> None:
    """The id in the path is that of the token's project, whether the token is new or remembered."""
    for _ in range(2):
        before = len(heat.config.requests())
        expect(heat.monitor(), 0)
        assert [f"/v1/{PROJECT}/stacks?limit=1"] == asked(heat, before)
    assert 1 == heat.asked()
    heat.parameters["os_project_name"] = "admin"
    before = len(heat.config.requests())
    expect(heat.monitor(), 0)
    assert [f"/v1/{b'admin'.hex()}/stacks?limit=1"] == asked(heat, before)


@pytest.mark.parametrize("agent", BEHIND, ids=lambda one: one.name)
def test_behind_fails(make_service: MakeService, agent: Path) -> None:
    """An error of the service behind the API is 190, and the reason names that service."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    service.config.set(api=500)
    expect(service.monitor(), 190, " answers 500: is ", behind(agent), " well?")
    service.config.set(api=None)
    expect(service.monitor(), 0)


@pytest.mark.parametrize("how", [504, "hang"])
def test_behind_is_late(heat: Service, how: object) -> None:
    """An answer that does not come in time is 190 as well, as long as GET / is answered."""
    heat.config.set(api=how)
    trouble = "answers 504" if how == 504 else "does not answer in time"
    expect(heat.monitor(timeout=TIMEOUT), 190, "heat-api answers; GET /v1/", trouble,
           "is heat-engine well?")  # fmt: skip


def test_behind_and_keystone_hang(heat: Service) -> None:
    """When Keystone hangs as well, there is still time for GET /: 190."""
    expect(heat.monitor(), 0)
    heat.config.set(api="hang", public_slow=0.7)
    heat.keystone.mode = "hang"
    expect(heat.monitor(timeout=TIMEOUT), 190, "heat-api answers; Keystone")


@pytest.mark.parametrize("how", [500, "hang"])
def test_nothing_answers(heat: Service, how: object) -> None:
    """When GET / is not answered either, heat-api itself has failed: 1."""
    heat.config.set(api=how, public=how)
    expect(heat.monitor(timeout=TIMEOUT), 1, "heat-api")


def test_wrong_path(heat: Service) -> None:
    """A 404 is heat-api's own, not of the service behind it: 1."""
    heat.config.set(api=404)
    expect(heat.monitor(), 1, "heat-api answers 404")


# ---- under uWSGI


@pytest.fixture
def make_uwsgi(folder: Path, need: Callable[[str, str], str]) -> Iterator[MakeUwsgi]:
    """Makes services whose application is under uWSGI."""
    need(PROGRAM, PACKAGE)
    with ExitStack() as stack:

        def make(name: str, **options: Any) -> UwsgiService:
            place = folder / name
            place.mkdir()
            made = UwsgiService(agent_of(name), place, credentials=True, **options)
            stack.enter_context(made)
            return made

        yield make


def test_placement(make_uwsgi: MakeUwsgi, folder: Path) -> None:
    """placement-api's GET has the project's id and the version's header; no other request has it.

    Without the header Placement knows no /usages, and its public document needs none.
    """
    log = folder / "headers"
    log.touch()
    log.chmod(0o666)
    service = make_uwsgi("placement-api", api_path="/usages", header_log=log)
    expect(service.call("validate-all"), 0)
    expect(service.start(), 0)
    for look in (1, 2):
        expect(service.monitor(), 0)
        assert [f"/usages?project_id={PROJECT}"] * look == asked(service)
    requests = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    with_header = [
        path for path, headers in requests
        if headers.get("openstack-api-version") == "placement 1.9"
    ]  # fmt: skip
    assert asked(service) == with_header
    assert "/usages?project_id=-" in [path for path, _ in requests]  # without a token
    service.config.set(no_token=200)
    service.keystone.users["another"] = service.password
    service.parameters["os_username"] = "another"
    expect(service.monitor(), 190, "set [api] auth_strategy = keystone")
    stops(service)


@pytest.fixture
def keystone(make_uwsgi: MakeUwsgi) -> UwsgiService:
    """A keystone under uWSGI that serves; its tokens are made by `keystone.keystone`."""
    service = make_uwsgi("keystone", no_token=401)
    service.config.set(tokens_from=service.keystone.url)
    expect(service.start(), 0)
    return service


def test_keystone(keystone: UwsgiService) -> None:
    """Keystone's token comes from the server that is checked, whatever os_auth_url says."""
    with Keystone(users=keystone.keystone.users) as other:
        for url in (other.url, "http://127.0.0.1:1/v3", None):
            keystone.parameters.pop("os_auth_url", None)
            if url:
                keystone.parameters["os_auth_url"] = url
            expect(keystone.call("validate-all"), 0)
            expect(keystone.monitor(), 0)
        assert not other.requests
    posts = [path for method, path, _ in keystone.config.requests() if method == "POST"]
    assert ["/v3/auth/tokens"] == [path.partition("?")[0] for path in posts]
    assert {f"/v3/users/{USER}/application_credentials"} == {*asked(keystone)}
    assert 1 == keystone.asked()
    stops(keystone)


@pytest.mark.parametrize("mode", [500, "503", "bad_json"])
def test_keystone_gives_no_token(keystone: UwsgiService, mode: object) -> None:
    """A Keystone that gives no token does not serve: 1."""
    keystone.keystone.mode = str(mode)
    expect(keystone.monitor(), 1, "keystone: Keystone")
    keystone.keystone.mode = "fine"
    expect(keystone.monitor(), 0)


def test_keystone_fails(keystone: UwsgiService) -> None:
    """A Keystone that gives tokens, and answers the GET with 500, does not serve: 1."""
    expect(keystone.monitor(), 0)
    keystone.config.set(api=500)
    expect(keystone.monitor(), 1, "keystone answers 500 to GET /v3/users/")
    keystone.config.set(api="hang")
    expect(keystone.monitor(timeout=TIMEOUT), 1, "keystone")


def test_keystone_refuses(keystone: UwsgiService) -> None:
    """Credentials that Keystone refuses are the monitor's fault: 190, while GET / is answered."""
    keystone.parameters["os_password"] = "wrong"
    expect(keystone.monitor(), 190, "keystone answers; Keystone refuses user monitor (401)")
    keystone.config.set(public=500)
    expect(keystone.monitor(), 1, "keystone")


def test_keystone_without_credentials(keystone: UwsgiService) -> None:
    """Without credentials the check is whether the version document is served."""
    for name in keystone.credentials:
        del keystone.parameters[name]
    expect(keystone.monitor(), 0)
    assert not keystone.asked()
    keystone.config.set(public=500)
    expect(keystone.monitor(), 1, "keystone")
