"""When Cinder makes volumes again, as a client sees it.

Called by `bench.course` for cinder-volume. A volume is requested twice a second, since a request at
a bad moment may wait in RabbitMQ for a worker that is gone, until RabbitMQ notices that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any

from lab.compute import QUOTAS
from lab.errors import LabError
from lab.web import Server

PAUSE = 0.5  # seconds between two volumes
POLL = 0.1
PATIENCE = 10.0
CROWD = 4  # volumes that are requested and not yet made, at most
OK = 200
ENDED = (MADE, _) = ("available", "error")
NAME = "openstack-ocf-bench"


class Volumes:
    """A client of Cinder's API. project: the id of the token's project."""

    def __init__(self, server: Server, token: str, project: str) -> None:
        self._server = server
        self._token = token
        self._project = project
        self._path = f"/v3/{project}/volumes"
        self._made: list[tuple[float, float]] = []  # when each was asked for, and was there
        self._since = 0.0  # what was requested before may never be made, and is not counted
        self._ended = threading.Event()

    @contextmanager
    def asking(self) -> Iterator[Volumes]:
        """Ask for volumes in the background for a while."""
        self._lift_quota()
        asker = threading.Thread(target=self._ask)
        asker.start()
        try:
            yield self
        finally:
            self._ended.set()
            asker.join()
            self._sweep()

    def await_made(self, since: float, seconds: float) -> float:
        """Wait for a volume that was asked for after this; when it was there. Seconds of the epoch.

        A hung cinder-volume that is continued, to be stopped, makes those of earlier requests.
        """
        self._since = since
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := [at for sent, at in list(self._made) if sent >= since]:
                return min(found)
            time.sleep(POLL)
        raise LabError(f"Cinder has made no volume after {seconds:.0f} s")

    def _lift_quota(self) -> None:
        """Have the project no quota: requests that are lost with a worker leave a volume each."""
        path, body = QUOTAS["cinder-api"]
        answer = self._server.request(
            "PUT", path.format(project=self._project), body=body, token=self._token,
            timeout=PATIENCE)
        if answer.status != OK:
            raise LabError(f"Cinder's quota cannot be lifted: {answer.status}")

    def _ask(self) -> None:
        wanted: dict[str, float] = {}
        again = 0.0
        while not self._ended.wait(POLL):
            with suppress(OSError, HTTPException, ValueError, KeyError):
                waited = sum(sent >= self._since for sent in wanted.values())
                if waited < CROWD and time.monotonic() >= again:
                    again, sent = time.monotonic() + PAUSE, time.time()
                    body = {"volume": {"name": NAME, "size": 1}}
                    wanted[self._call("POST", self._path, body)["volume"]["id"]] = sent
                for each in self._all():
                    if each["status"] in ENDED and each["id"] in wanted:
                        sent = wanted.pop(each["id"])
                        if each["status"] == MADE:
                            self._made.append((sent, time.time()))
                        self._delete(each["id"])

    def _sweep(self) -> None:
        """Remove what was made; what is still to be made goes with the lab."""
        with suppress(OSError, HTTPException, ValueError, KeyError):
            for each in self._all():
                if each["status"] in ENDED:
                    self._delete(each["id"])

    def _delete(self, name: str) -> None:
        path = f"{self._path}/{name}"
        self._server.request("DELETE", path, token=self._token, timeout=PATIENCE)

    def _all(self) -> list[dict[str, Any]]:
        path = f"{self._path}/detail?name={NAME}"
        found: list[dict[str, Any]] = self._call("GET", path)["volumes"]
        return found

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._server.request(
            method, path, body=body, token=self._token, timeout=PATIENCE).json()
