"""The catalogue beside the description, without a cloud; and Keystones that answer badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentlib.api import Api
from harness import EVERY_AGENT, declaration
from openstack_ocf import access, description, endpoints, identity
from openstack_ocf.catalogue import KINDS, Beside, entries, of_token
from openstack_ocf.errors import CannotLookError, UsageError
from tool.kit import command

DESCRIPTION = "[DEFAULT]\nregion = R\n[glance]\nvip = 10.0.0.12 192.0.2.12\n"
URLS = {"public": "http://192.0.2.12:9292", "internal": "http://10.0.0.12:9292",
        "admin": "http://10.0.0.12:9292"}


def an_endpoint(face: str, url: str = "", **more: Any) -> dict[str, Any]:
    return {"id": f"e-{face}", "service_id": "s", "interface": face, "region_id": "R",
            "url": url or URLS[face], **more}


SERVICE = {"id": "s", "type": "image", "name": "glance", "enabled": True}
GOOD = [an_endpoint(face) for face in URLS]


def beside(tmp_path: Path, endpoints_: list[dict[str, Any]], text: str = DESCRIPTION) -> Beside:
    """The image service of a description beside a catalogue."""
    path = tmp_path / "d.conf"
    path.write_text(text)
    [found] = endpoints.beside(description.read(str(path)), entries((SERVICE,), endpoints_), "", "")
    return found


def ids(found: Beside, status: int = 401) -> list[str]:
    return [one.id for one in found.findings(lambda url: status)]


def test_sound(tmp_path: Path) -> None:
    """Endpoints at the virtual IPs have no finding, and need no change."""
    found = beside(tmp_path, GOOD)

    assert [] == ids(found)
    assert [] == found.changes()


def test_without_region(tmp_path: Path) -> None:
    """E2: an endpoint without a region does not count for the region, and is named."""
    found = beside(tmp_path, [an_endpoint("admin", region_id=None), *GOOD[:2]])
    [one] = found.findings()

    assert "E2" == one.id
    assert "one without a region is there (e-admin)" in one.seen
    assert [("admin", "", URLS["admin"])] == [
        (each.interface, each.id, each.after) for each in found.changes()]


def test_two_endpoints(tmp_path: Path) -> None:
    """E2: two endpoints of an interface are found, and set refuses to choose."""
    found = beside(tmp_path, [*GOOD, an_endpoint("public", "http://10.0.0.9:9292", id="e-2")])

    assert ["E2"] == ids(found)
    with pytest.raises(UsageError, match="2 public endpoints"):
        endpoints.changes([found])


def test_switched_off(tmp_path: Path) -> None:
    """E2: an endpoint that is switched off does not count, and stays as it is."""
    found = beside(tmp_path, [an_endpoint("admin", enabled=False), *GOOD[:2]])

    assert ["E2"] == ids(found)
    assert [] == found.changes()


@pytest.mark.parametrize(("status", "row"), [
    (401, []), (300, []), (0, ["E8"] * 2), (-1, ["E8"] * 2), (200, ["E8"] * 2), (503, ["E8"] * 2)])
def test_asked(tmp_path: Path, status: int, row: list[str]) -> None:
    """E8: an address that does not answer, or answers without a token, is found once."""
    assert row == ids(beside(tmp_path, GOOD), status)


@pytest.mark.parametrize("url", ["", "glance", "http://[::1", "http://10.0.0.12:port", "ftp://x",
                                 "http://10.0.0.12:9292/\x1b[2J"])
def test_nonsense(tmp_path: Path, url: str) -> None:
    """An endpoint with an invalid URL is found and corrected; no escape sequence is shown."""
    found = beside(tmp_path, [{**GOOD[1], "url": url}, GOOD[0], GOOD[2]])
    shown = [f"{one.where} {one.seen} {one.remedy}" for one in found.findings(lambda url: 401)]

    assert shown
    assert all(one.isprintable() for one in [*shown, *endpoints.listing([found]).splitlines()])
    assert [URLS["internal"]] == [one.after for one in found.changes()]


def test_ipv6_and_names(tmp_path: Path) -> None:
    """An IPv6 address is in brackets; the name of an interface is preferred to its address."""
    text = "[DEFAULT]\nregion = R\n[glance]\nvip = fd00::12\nos_public_hostname = i.example.org\n"
    found = beside(tmp_path, [], text)

    assert ["http://i.example.org:9292", "http://[fd00::12]:9292", "http://[fd00::12]:9292"] == [
        one.after for one in found.changes()]


def test_a_users_catalogue() -> None:
    """In the catalogue of a token there are project ids, and it may have services without URLs."""
    found = of_token([{"id": "a", "type": "image", "name": None, "endpoints": None},
                      {"id": "b", "type": "dns", "endpoints": [GOOD[0], 7]}])

    assert [("a", "", 0), ("b", "", 1)] == [(one.id, one.name, len(one.endpoints))
                                            for one in found]


# Keystones that answer badly

TOKEN = {"token": {"user": {"id": "u", "name": "n", "domain": {"id": "d", "name": "d"}},
                   "methods": ["password"], "expires_at": "2999-01-01T00:00:00.000000Z",
                   "issued_at": "2020-01-01T00:00:00.000000Z", "catalog": []}}
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def keystone(answer: Answer) -> Iterator[str]:
    """A server that gives tokens, and answers any GET by this function; its URL."""
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            say(self, json.dumps(TOKEN).encode(), 201)

        def do_GET(self) -> None:
            try:
                answer(self)
            except OSError:
                pass  # The client has hung up, as it should.

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server while it is needed; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def say(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, length: int = 0) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("X-Subject-Token", "geheim")
    handler.send_header("Content-Length", str(length or len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def loop(handler: BaseHTTPRequestHandler) -> None:
    """Pages without an end: each says that it is not the last."""
    host = handler.headers["Host"]
    say(handler, json.dumps({"services": [], "links": {
        "next": f"http://{host}/v3/services?marker=1"}}).encode())


BAD: dict[str, Answer] = {
    "half": lambda handler: say(handler, b'{"services": [', length=1000),
    "no JSON": lambda handler: say(handler, b"<html>geheim</html>"),
    "a list": lambda handler: say(handler, b"[]"),
    "null": lambda handler: say(handler, b'{"services": null}'),
    "strings": lambda handler: say(handler, b'{"services": ["a"]}'),
    "500": lambda handler: say(handler, b"{}", 500),
    "a redirect": lambda handler: say(handler, b"{}", 302),
    "cut off": lambda handler: handler.connection.close(),
    "no end": loop,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_keystone(tmp_path: Path, name: str) -> None:
    """Whatever Keystone answers: one sentence, exit code 3, nothing is changed, no secret."""
    with keystone(BAD[name]) as url:
        (tmp_path / "openrc").write_text(
            f"export OS_AUTH_URL={url}\nexport OS_USERNAME=n\nexport OS_PASSWORD=geheim\n"
            "export OS_PROJECT_NAME=p\n")
        (tmp_path / "d.conf").write_text(DESCRIPTION.replace(
            "region", f"credentials = {tmp_path}/openrc\nregion"))
        done = command("endpoints", "set", "--yes", "--description", tmp_path / "d.conf")

    assert (3, "") == (done.code, done.output)
    assert "openstack-ocf: Keystone at" in done.said
    assert "geheim" not in done.said
    assert 1 == len(done.said.splitlines())


def test_a_keystone_that_stops_halfway(tmp_path: Path) -> None:
    """Changes that were made before Keystone refuses are shown with the commands that undo them;
    a second `set` makes the rest."""
    there = {face: an_endpoint(face, f"http://10.0.0.9:9292/{face}") for face in URLS}
    refuses: list[str] = ["e-internal"]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            say(self, json.dumps(TOKEN).encode(), 201)

        def do_GET(self) -> None:
            say(self, json.dumps(
                {"services": [SERVICE], "endpoints": [*there.values()]}).encode())

        def do_PATCH(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = self.path.rpartition("/")[2]
            if name in refuses:
                say(self, b"{}", 403)
                return
            there[name.removeprefix("e-")]["url"] = wanted["endpoint"]["url"]
            say(self, b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        words = openrc(tmp_path, url)[3:]
        done = command("endpoints", "set", "--yes", *words)
        assert 3 == done.code
        assert "done: image public: http://10.0.0.9:9292/public -> http://192.0.2.12:9292\n" in (
            done.output)
        assert "undo: openstack endpoint set --url http://10.0.0.9:9292/public e-public\n" in (
            done.output)
        assert "may not do this (PATCH /endpoints/e-internal)" in done.said
        assert "http://10.0.0.9:9292/internal" == there["internal"]["url"]

        refuses.clear()
        assert 0 == command("endpoints", "set", "--yes", *words).code
        assert URLS == {face: one["url"] for face, one in there.items()}


def test_a_slow_keystone() -> None:
    """A Keystone that sends a byte now and then does not delay the command beyond its time."""
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        say(handler, b"{", length=1 << 20)
        while not over.wait(0.05):
            handler.wfile.write(b" ")

    with keystone(drip) as url:
        user = identity.User(url, "n", "geheim", "p")
        try:
            before = time.monotonic()
            with pytest.raises(CannotLookError, match="no answer within 2 s"), identity.in_time(2):
                identity.Keystone(user).all("services")
            assert time.monotonic() - before >= 1
        finally:
            over.set()


def openrc(folder: Path, url: str) -> tuple[str | Path, ...]:
    """The words of a command that asks a Keystone."""
    (folder / "openrc").write_text(
        f"OS_AUTH_URL={url}\nOS_USERNAME=n\nOS_PASSWORD=geheim\nOS_PROJECT_NAME=p\n")
    (folder / "d.conf").write_text(DESCRIPTION)
    return ("endpoints", "show", "--quick", "--description", folder / "d.conf", "--credentials",
            folder / "openrc")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirected_password(tmp_path: Path, status: int) -> None:
    """The request with the password is made once: it does not follow a redirect."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

        def do_POST(self) -> None:
            self.do_GET()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        done = command(*openrc(tmp_path, url))

    assert ["/v3/auth/tokens"] == [one.partition("?")[0] for one in asked]
    assert (3, "") == (done.code, done.output)
    assert f"redirects ({status})" in done.said


@pytest.mark.parametrize("suffix", ["", "/", "/v3", "/v2.0/", "/v2.0/tokens", "/v3/auth/tokens"])
def test_the_environment_does_not_count(tmp_path: Path, suffix: str) -> None:
    """Keystone itself is asked, whatever proxy is set, and whatever version its URL ends in."""
    page = json.dumps({"services": [SERVICE], "endpoints": GOOD}).encode()
    with keystone(lambda handler: say(handler, page)) as url:
        done = command(*openrc(tmp_path, url + suffix), http_proxy="http://127.0.0.1:1",
                       HTTP_PROXY="http://127.0.0.1:1")

    assert (0, "") == (done.code, done.said)
    assert "image glance (s) in R" in done.output


def test_an_endless_answer(tmp_path: Path) -> None:
    """An answer that is too long for a list of endpoints is not read to its end."""
    def pour(handler: BaseHTTPRequestHandler) -> None:
        say(handler, b"{", length=1 << 40)
        while True:
            handler.wfile.write(b" " * (1 << 20))

    with keystone(pour) as url:
        done = command(*openrc(tmp_path, url))

    assert (3, "") == (done.code, done.output)
    assert "answers without end" in done.said


def test_no_credentials(tmp_path: Path) -> None:
    """Without credentials the message says what to set; a user's repr has no password."""
    (tmp_path / "d.conf").write_text(DESCRIPTION)
    done = command("endpoints", "show", "--description", tmp_path / "d.conf")

    assert (2, "") == (done.code, done.output)
    assert "--credentials FILE" in done.said
    done = command("endpoints", "set", "--format", "json", "--description", tmp_path / "d.conf")
    assert (2, "") == (done.code, done.output)
    assert "leave out --format json" in done.said
    assert "geheim" not in repr(identity.User("http://k", "n", "geheim", "p"))


# ---- what is known of the agents

APIS = {agent.name: api for agent in EVERY_AGENT
        for api in getattr(declaration(agent).manages, "checks", ()) if isinstance(api, Api)}


def test_every_api_has_a_place() -> None:
    """The place in the catalogue of every API that clients ask with a token is known."""
    assert [] == sorted({*APIS} - {*KINDS})


@pytest.mark.parametrize("name", sorted({*APIS} - {"glance-api"}))  # it has a row of its own, P1
def test_every_door_is_looked_at(name: str) -> None:
    """`check` looks at the option that makes an API ask for a token, as its agent declares it."""
    looked_at = access._STRATEGY.get(name)
    option = "[{}] {} = keystone".format(*looked_at) if looked_at else ""
    assert APIS[name].authentication == option
