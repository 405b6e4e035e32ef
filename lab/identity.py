"""The part of Keystone's API that is needed to fill it and to get a token.

Called by `lab.seed`, and by `lab.openstack` for tests. keystoneauth1 would do the same, but
enters no network namespace, and takes 0.3 s to import.
"""

from __future__ import annotations

from typing import Any

from lab.errors import LabError
from lab.web import Server


def token(server: Server, username: str, password: str, project: str) -> str:
    """A token of a user for a project, both of the default domain."""
    domain = {"id": "default"}
    user = {"name": username, "password": password, "domain": domain}
    scope = {"project": {"name": project, "domain": domain}}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": scope}}
    answer = server.request("POST", "/v3/auth/tokens", body=body)
    if answer.status != 201:
        raise LabError(f"keystone gives no token to {username}: {answer.status}")
    return answer.headers["X-Subject-Token"]


class Administrator:
    """A user who may create things."""

    def __init__(self, server: Server, password: str) -> None:
        self.server = server
        self.token = token(server, "admin", password, "admin")

    def create(self, kind: str, **values: str) -> str:
        """Create an object of a kind; its id."""
        return str(self.call("POST", f"/{kind}s", {kind: values})[kind]["id"])

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send one request; the answer, decoded."""
        answer = self.server.request(method, f"/v3{path}", body=body, token=self.token)
        if answer.status >= 300:
            raise LabError(f"keystone: {method} {path}: {answer.status} {answer.body[:200]!r}")
        return answer.json() if answer.body else None
