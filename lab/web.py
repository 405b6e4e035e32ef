"""One HTTP request into a network namespace.

Called by `lab.services` to see whether a service is ready, by `lab.seed` to fill Keystone, and
by tests. No proxy of the environment is used, and no package besides the standard library.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab import netns

LOOPBACK = "127.0.0.1"
TIMEOUT = 60.0
"""Seconds that an answer may take: the first request of a worker, on a loaded machine."""


def reachable(address: str) -> str:
    """The address to connect to, where a server listens on this one."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(address, address)


@dataclass(frozen=True)
class Answer:
    """The answer of a server; headers by their names, spelt as X-Subject-Token."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """The address and port of a server, and the network namespace to reach it from."""

    address: str
    port: int
    namespace: str | None = None

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{address}:{self.port}"

    def get(self, path: str, *, token: str = "", timeout: float = TIMEOUT) -> Answer:
        """GET a path. Raises OSError or http.client.HTTPException without a usable answer."""
        return self.request("GET", path, token=token, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        data: bytes | None = None,
        token: str = "",
        timeout: float = TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request, a body as JSON or data as they are, and read the whole answer."""
        kind = "application/json" if data is None else "application/octet-stream"
        headers = {"Connection": "close", "Content-Type": kind, **(headers or {})}
        if token:
            headers["X-Auth-Token"] = token
        connection = http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        try:
            with netns.inside(self.namespace):
                connection.connect()
            sent = data if body is None else json.dumps(body)
            connection.request(method, path, sent, headers)
            response = connection.getresponse()
            # haproxy writes names in small letters.
            named = {name.title(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()
