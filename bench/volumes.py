"""When Cinder makes volumes again, as a client sees it.

Called by `bench.course` for cinder-volume. A volume is asked for every second, since one that was
asked for at a bad moment may wait in RabbitMQ for a worker that is gone, until RabbitMQ has found
that out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any

from lab.errors import LabError
from lab.web import Server

PAUSE = 1.0  # seconds between two volumes
POLL = 0.1
PATIENCE = 10.0
NAME = "openstack-ocf-bench"


class Volumes:
    """A client of Cinder's API. project: the id of the token's project."""

    def __init__(self, server: Server, token: str, project: str) -> None:
        self._server = server
        self._token = token
        self._path = f"/v3/{project}/volumes"
        self._first = 0.0
        self._ended = threading.Event()

    @contextmanager
    def asking(self) -> Iterator[Volumes]:
        """Ask for volumes in the background, until one is made or the block ends."""
        self._first = 0.0
        self._ended.clear()
        asker = threading.Thread(target=self._ask)
        asker.start()
        try:
            yield self
        finally:
            self._ended.set()
            asker.join()
            self._sweep()

    def await_made(self, seconds: float) -> float:
        """Wait for the first volume; when it was seen to be there, in seconds of the epoch."""
        deadline = time.monotonic() + seconds
        while not self._first:
            if time.monotonic() > deadline:
                raise LabError(f"Cinder has made no volume after {seconds:.0f} s")
            time.sleep(POLL)
        return self._first

    def _ask(self) -> None:
        wanted: set[str] = set()
        again = 0.0
        while not self._ended.wait(POLL):
            with suppress(OSError, HTTPException, ValueError, KeyError):
                if time.monotonic() >= again:
                    again = time.monotonic() + PAUSE
                    body = {"volume": {"name": NAME, "size": 1}}
                    wanted.add(self._call("POST", self._path, body)["volume"]["id"])
                if wanted & {each["id"] for each in self._all() if each["status"] == "available"}:
                    self._first = time.time()
                    return

    def _sweep(self) -> None:
        """Remove what was made; what is still to be made goes with the lab."""
        with suppress(OSError, HTTPException, ValueError, KeyError):
            for each in self._all():
                if each["status"] in ("available", "error"):
                    self._server.request("DELETE", f"{self._path}/{each['id']}",
                                         token=self._token, timeout=PATIENCE)

    def _all(self) -> list[dict[str, Any]]:
        path = f"{self._path}/detail?name={NAME}"
        found: list[dict[str, Any]] = self._call("GET", path)["volumes"]
        return found

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._server.request(
            method, path, body=body, token=self._token, timeout=PATIENCE).json()
