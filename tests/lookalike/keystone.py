"""A look-alike of Keystone that runs inside the test process and misbehaves on request.

For every test in which an agent needs a token:

    with Keystone(users={"monitor": "secret"}) as keystone:
        ... os_auth_url = keystone.url ...
        keystone.mode = "hang"

It has as much of Identity v3 as keystoneauth1's v3.Password needs; /v2.0 is gone, as in today's
Keystone, unless a test needs it for an old client.
It reads requests and misbehaves by the code of the look-alike daemon.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .server import Server
from .server import wire as wire

# answers to a token request with a good status and a bad document: headers and body
BAD_DOCUMENTS = {
    "bad_json": (["X-Subject-Token: nobody-knows"], b'{"token": {"expires_at": "20'),
    "other_json": (["X-Subject-Token: nobody-knows"], b'["nonsense"]'),
    "no_expiry": (["X-Subject-Token: nobody-knows"], b'{"token": {}}'),
    "no_subject": ([], b'{"token": {"expires_at": "2999-01-01T00:00:00.000000Z"}}'),
}
MODES = ("fine", "refuse", "dead", *BAD_DOCUMENTS, *wire.MISBEHAVIOURS)


class Refused(Exception):
    """A token request that is not granted; the argument is the status."""


class Keystone(Server):
    """A Keystone in a thread of its own; see README.md for the modes.

    users           user name: password (any characters)
    projects        the names of the projects that exist
    token_life      seconds a token lives; negative: issued already expired
    clock_skew      seconds that Keystone's clock is ahead of ours
    delay           seconds before every answer
    catalog         what a token's catalog holds; may be emptied, or made anew by catalog_of()
    v2              whether the Identity API v2.0 is served as well
    when_asked      called at every request, before it is answered: may change anything
    tokens_issued   every token, oldest first
    requests        (method, path) of every request
    """

    def __init__(
        self,
        users: dict[str, str] | None = None,
        *,
        host: str = "127.0.0.1",
        user_domain: str = "Default",
        project_domain: str = "Default",
        certfile: str | None = None,
    ) -> None:
        self.users = dict(users or {})
        self.projects = ("admin", "service", "services")
        self.user_domain = user_domain
        self.project_domain = project_domain
        self.token_life: float = 3600
        self.clock_skew: float = 0
        self.delay: float = 0
        self.v2 = False
        self.when_asked: Callable[[], None] | None = None
        self.tokens_issued: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self._mode: str | int = "fine"
        self._ends: dict[str, float] = {}  # token: when it expires, by our own clock
        self._token_files: list[Path] = []
        self._tokens_lock = threading.Lock()
        super().__init__(host, certfile=certfile)
        self.catalog = self.catalog_of("http://127.0.0.1:9292", "http://127.0.0.1:8776")

    @property
    def mode(self) -> str | int:
        return self._mode

    @mode.setter
    def mode(self, mode: str | int) -> None:
        if str(mode) not in MODES and not wire.known(str(mode)):
            raise ValueError(f"no such mode: {mode}")
        self._mode = mode
        if mode == "dead":
            self.stop_listening()
        elif not self.listens:
            self.start()

    def answer(self, conn: socket.socket, request: Any, peer: str) -> None:
        self.requests.append((request.method, request.path))
        if self.when_asked:
            self.when_asked()
        if wire.gone(conn, self.delay):
            return
        mode = str(self._mode)
        if mode in BAD_DOCUMENTS:
            headers, body = BAD_DOCUMENTS[mode]
            status = 201 if request.method == "POST" else 200
            conn.sendall(wire.compose(request, status, body, *headers))
        elif mode in ("fine", "refuse", "dead"):
            conn.sendall(self._well(request))
        else:
            wire.misbehave(conn, request, mode)

    def _well(self, request: Any) -> bytes:
        """The answer of a Keystone that is well."""
        path = request.path.partition("?")[0].rstrip("/")
        status, headers, document = 404, [], _error(404, "Could not find it.")
        if request.method in ("GET", "HEAD") and path == "":
            status, document = 300, {"versions": {"values": [self._version()]}}
        elif request.method in ("GET", "HEAD") and path == "/v3":
            status, document = 200, {"version": self._version()}
        elif self.v2 and request.method in ("GET", "HEAD") and path == "/v2.0":
            links = [{"rel": "self", "href": f"{self.url}/v2.0/"}]
            version = {"id": "v2.0", "status": "deprecated", "links": links}
            status, document = 200, {"version": version}
        elif request.method == "POST" and path in self._token_paths:
            try:
                if path == "/v3/auth/tokens":
                    token, document = self._issue(request.body)
                    status, headers = 201, [f"X-Subject-Token: {token}"]
                else:
                    status, document = 200, self._issue_v2(request.body)
            except Refused as refused:
                status = refused.args[0]
                document = _error(status, "The request you have made requires authentication.")
        body: bytes = wire.compose(request, status, json.dumps(document).encode(), *headers)
        return body

    def _version(self) -> dict[str, Any]:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{self.url}/v3/"}],
            "media-types": [
                {
                    "base": "application/json",
                    "type": "application/vnd.openstack.identity-v3+json",
                }
            ],
        }

    # -- tokens

    @property
    def _token_paths(self) -> tuple[str, ...]:
        return ("/v3/auth/tokens", *(["/v2.0/tokens"] if self.v2 else []))

    def _issue_v2(self, body: bytes) -> dict[str, Any]:
        """The answer of v2.0 for the same credentials; it knows the default domain only."""
        try:
            auth = json.loads(body)["auth"]
            tenant, given = auth.get("tenantName"), auth["passwordCredentials"]
            domain = {"id": "default"}
            user = {"name": given["username"], "password": given["password"], "domain": domain}
            scope = {"project": {"name": tenant, "domain": domain}} if tenant else {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refused(400) from None
        v3 = {"auth": {"identity": {"password": {"user": user}}, "scope": scope}}
        secret, document = self._issue(json.dumps(v3).encode())
        token = document["token"]
        access: dict[str, Any] = {
            # in the order of the real one: the HA guide's agents look for the id with grep
            "token": {
                "issued_at": token["issued_at"],
                "expires": token["expires_at"],
                "id": secret,
            },
            "user": {"id": token["user"]["id"], "name": token["user"]["name"], "roles": []},
            "serviceCatalog": [
                {
                    "type": service["type"],
                    "name": service["name"],
                    "endpoints": [
                        {f"{end['interface']}URL": end["url"] for end in service["endpoints"]}
                        | {"region": "RegionOne"}
                    ],
                }
                for service in token.get("catalog", [])
            ],
        }
        if "project" in token:
            access["token"]["tenant"] = {
                "id": token["project"]["id"],
                "name": token["project"]["name"],
                "enabled": True,
            }
        return {"access": access}

    def _issue(self, body: bytes) -> tuple[str, dict[str, Any]]:
        try:
            auth = json.loads(body)["auth"]
            user = auth["identity"]["password"]["user"]
            name, password, domain = user["name"], user["password"], user["domain"]
        except (ValueError, KeyError, TypeError):
            raise Refused(400) from None
        if self._mode == "refuse" or not _is_domain(domain, self.user_domain):
            raise Refused(401)
        if name not in self.users or self.users[name] != password:
            raise Refused(401)
        token: dict[str, Any] = {
            "methods": ["password"],
            "user": {
                "id": name.encode().hex(),
                "name": name,
                "domain": _domain(self.user_domain),
                "password_expires_at": None,
            },
            "audit_ids": [secrets.token_urlsafe(16)],
        }
        project = (auth.get("scope") or {}).get("project")
        if project:
            if project.get("name") not in self.projects:
                raise Refused(401)
            if not _is_domain(project.get("domain"), self.project_domain):
                raise Refused(401)
            token["project"] = {
                "id": project["name"].encode().hex(),
                "name": project["name"],
                "domain": _domain(self.project_domain),
            }
            token["is_domain"] = False
            token["roles"] = [{"id": b"reader".hex(), "name": "reader"}]
            token["catalog"] = self.catalog
        now = time.time()
        token["issued_at"] = _timestamp(now + self.clock_skew)
        token["expires_at"] = _timestamp(now + self.clock_skew + self.token_life)
        secret = "gAAAA" + secrets.token_urlsafe(120)
        with self._tokens_lock:
            self.tokens_issued.append(secret)
            self._ends[secret] = now + self.token_life
            self._write_token_files()
        return secret, {"token": token}

    def revoke(self, token: str | None = None) -> None:
        """Revoke one token, or every token so far (for daemons whose file write_tokens() keeps)."""
        with self._tokens_lock:
            for issued in [token] if token else list(self._ends):
                self._ends.pop(issued, None)
            self._write_token_files()

    def write_tokens(self, path: str | Path) -> None:
        """Keep `path` such that a daemon with `accept_tokens = path` takes exactly our tokens."""
        with self._tokens_lock:
            self._token_files.append(Path(path))
            self._write_token_files()

    def _write_token_files(self) -> None:
        lines = [f"{token} {end}\n" for token, end in self._ends.items()]
        for path in self._token_files:
            fresh = path.with_name(path.name + ".new")
            fresh.write_text("".join(lines), encoding="utf-8")
            fresh.chmod(0o644)  # the daemon reads it as its own user
            os.rename(fresh, path)

    def catalog_of(self, image: str, volume: str) -> list[dict[str, Any]]:
        """A catalog with the roots of the Image and the Block Storage API."""
        services = {
            "identity": ("keystone", f"{self.url}/v3"),
            "image": ("glance", image),
            "volumev3": ("cinderv3", f"{volume}/v3"),
        }
        return [
            {
                "id": kind.encode().hex(),
                "type": kind,
                "name": name,
                "endpoints": [
                    {
                        "id": f"{kind}-{interface}".encode().hex(),
                        "interface": interface,
                        "region": "RegionOne",
                        "region_id": "RegionOne",
                        "url": url,
                    }
                    for interface in ("public", "internal", "admin")
                ],
            }
            for kind, (name, url) in services.items()
        ]


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(seconds))


def _domain(name: str) -> dict[str, str]:
    # the domain that every Keystone has is named Default and has the id default
    return {"id": "default" if name == "Default" else name.encode().hex(), "name": name}


def _is_domain(given: object, name: str) -> bool:
    """Whether the domain of a request, by name or by id, is this one."""
    if not isinstance(given, dict) or not given:
        return False
    domain = _domain(name)
    return all(domain.get(key) == value for key, value in given.items())


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "title": "Look-alike"}}
