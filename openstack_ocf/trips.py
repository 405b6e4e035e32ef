"""What `prove` sends through a virtual IP and back: an image with its bytes, or a volume.

Each is a round trip: made, looked at, listed, deleted; known by its name when a run that is over
has left it. Called by `cloudverbs`, which says which, and by `prove`, which makes it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from .finding import Finding
from .identity import TIMEOUT
from .rows import found
from .words import shown

TAG = "openstack-ocf-prove"
STALE = 3600
"""Seconds after which what another node's run has made counts as left behind."""
_CHUNK = 1 << 20
_PAGE, _PAGES = 100, 100

Steps = Iterator[Finding | str]
"""Lines to show, and findings."""


class UnexpectedError(Exception):
    """An answer that is not the one that is right; status is its code."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


class Trip(ABC):
    """A round trip through the API at one URL, with a token.

    moved: whether it is looked at on another node than it was made on. The methods raise
    UnexpectedError, and RequestException of requests.
    """

    def __init__(self, url: str, token: str, cacert: str = "") -> None:
        import requests

        self.url = url
        self.id = ""
        self.moved = False
        self.name = f"{TAG} {socket.gethostname()} {os.getpid()}"
        self._session = requests.Session()
        # What is proved is the way through the virtual IP, not through a proxy.
        self._session.trust_env = False
        self._session.verify = cacert or True
        self._session.headers["X-Auth-Token"] = token

    @abstractmethod
    def make(self) -> Steps:
        """Make it; id is set as soon as it is known."""

    @abstractmethod
    def same(self) -> Steps:
        """Look whether it is what was made."""

    @abstractmethod
    def show(self) -> dict[str, Any]:
        """What the API says of it."""

    @abstractmethod
    def listed(self) -> list[dict[str, Any]]:
        """All that any run has made and that is still there."""

    @abstractmethod
    def delete(self, id_: str) -> bool:
        """Have one deleted, or gone already; False where its state does not let it."""

    @abstractmethod
    def deleted(self) -> Steps:
        """Look whether it is gone, and say so."""

    def own(self) -> set[str]:
        """The ids of what this run has made. (An answer that never came back had one, too.)"""
        return {str(one.get("id")) for one in self.listed()
                if one.get("name") == self.name} | ({self.id} - {""})

    def left(self) -> list[str]:
        """Ids of what earlier runs have left: of this node by their process, of others by age."""
        found_ = []
        for one in self.listed():
            words = str(one.get("name")).split()
            if len(words) != 3 or words[0] != TAG or not words[2].isdigit():
                continue
            over = (not os.path.exists(f"/proc/{words[2]}") if words[1] == socket.gethostname()
                    else _age(str(one.get("created_at"))) > STALE)
            if over:
                found_.append(str(one.get("id")))
        return found_

    def _call(self, method: str, path: str, *wanted: int, **more: Any) -> Any:
        answer = self._session.request(method, f"{self.url}{path}", timeout=TIMEOUT,
                                       allow_redirects=False, **more)
        if answer.status_code not in wanted:
            raise UnexpectedError(f"{method} {path.partition('?')[0]} is answered "
                                  f"{answer.status_code}", answer.status_code)
        return answer


class Images(Trip):
    """An image of random bytes. size: how many."""

    def __init__(self, url: str, token: str, cacert: str = "", *, size: int) -> None:
        super().__init__(url, token, cacert)
        self._size = size
        self._hash = ""

    def make(self) -> Steps:
        """R1."""
        data = os.urandom(self._size)
        self._hash = hashlib.sha512(data).hexdigest()
        made = self._call("POST", "/v2/images", 201, json={
            "name": self.name, "disk_format": "raw", "container_format": "bare", "tags": [TAG],
            "visibility": "private"})
        self.id = str(made.json()["id"])
        self._call("PUT", f"/v2/images/{self.id}/file", 204, data=data,
                   headers={"Content-Type": "application/octet-stream"})
        yield f"uploaded: {self._size} bytes as image {shown(self.id)}"

    def same(self) -> Steps:
        """R1 and R2: the same bytes, and listed."""
        row = "R2" if self.moved else "R1"
        where = f"{self.url}/v2/images/{self.id}"
        remedy = ("The store is on one node: see S2, openstack-ocf check." if self.moved else
                  "Look at Glance's log, and at its store.")
        record = self.show()
        for name, right in (("status", "active"), ("size", self._size),
                            ("os_hash_value", self._hash)):
            if name == "os_hash_value" and record.get("os_hash_algo") != "sha512":
                continue
            if record.get(name) != right:
                yield found(row, where, f"{name} is {shown(str(record.get(name)))}, and is to be "
                            f"{shown(str(right))}", "Look at Glance's log, and at its store.")
        if self.id not in [one.get("id") for one in self.listed()]:
            yield found(row, where, "the image is not listed", "Look at Glance's log.")
        try:
            same = self._digest() == self._hash
        except UnexpectedError as error:
            yield found(row, where, f"the data cannot be read back: {error}", remedy)
            return
        if same:
            yield "read back: the same bytes"
        else:
            yield found(row, where, "other bytes are read back than were uploaded", remedy)

    def show(self) -> dict[str, Any]:
        """Its record."""
        record: dict[str, Any] = self._call("GET", f"/v2/images/{self.id}", 200).json()
        return record

    def listed(self) -> list[dict[str, Any]]:
        """The images that have the tag."""
        page: list[dict[str, Any]] = self._call(
            "GET", f"/v2/images?tag={TAG}&limit={_PAGE}", 200).json()["images"]
        return page

    def delete(self, id_: str) -> bool:
        """Delete an image."""
        self._call("DELETE", f"/v2/images/{id_}", 204, 404)
        return True

    def deleted(self) -> Steps:
        """R1: it is not listed any more."""
        if self.id in [one.get("id") for one in self.listed()]:
            yield found("R1", self.url, "the image is listed though it was deleted",
                        "Look at Glance's log.")
        else:
            yield "deleted"

    def _digest(self) -> str:
        """The SHA-512 of the data, read back."""
        digest = hashlib.sha512()
        with self._call("GET", f"/v2/images/{self.id}/file", 200, stream=True) as answer:
            for part in answer.iter_content(_CHUNK):
                digest.update(part)
        return digest.hexdigest()


class Volumes(Trip):
    """An empty volume of 1 GiB.

    project: the id of the user's project. wait: seconds until it is made, and until it is gone.

    API, cinder-scheduler and the cinder-volume that made it have to work together twice: until it
    is available, and until it is gone.
    """

    def __init__(self, url: str, token: str, cacert: str = "", *, project: str,
                 wait: int) -> None:
        super().__init__(url, token, cacert)
        self._wait = wait
        # Releases before Yoga want the project in the path, and later ones take it.
        self._volumes = f"/v3/{project}/volumes"

    def make(self) -> Steps:
        """R3: available."""
        made = self._call("POST", self._volumes, 202, json={"volume": {
            "name": self.name, "size": 1, "metadata": {TAG: "yes"}}})
        self.id = str(made.json()["volume"]["id"])
        status = self._awaited(lambda status: status != "creating")
        if status != "available":
            yield found("R3", self._where, f"status is {shown(status)} after at most "
                        f"{self._wait} s, and is to be available", _VOLUME_LOGS)
        else:
            yield f"made: volume {shown(self.id)} of 1 GiB"

    def same(self) -> Steps:
        """R3 and R4: available, as large, and listed."""
        row = "R4" if self.moved else "R3"
        try:
            record = self.show()
        except UnexpectedError as error:
            yield found(row, self._where, f"the volume cannot be shown: {error}", _DATABASE)
            return
        wrong = False
        for name, right in (("status", "available"), ("size", 1), ("name", self.name)):
            if record.get(name) != right:
                wrong = True
                yield found(row, self._where, f"{name} is {shown(str(record.get(name)))}, and is "
                            f"to be {shown(str(right))}", _DATABASE if self.moved else _VOLUME_LOGS)
        if self.id not in [one.get("id") for one in self.listed()]:
            yield found(row, self._where, "the volume is not listed", "Look at cinder-api's log.")
        elif not wrong:
            yield "listed: the same volume"

    def show(self) -> dict[str, Any]:
        """Its record."""
        record: dict[str, Any] = self._call(
            "GET", f"{self._volumes}/{self.id}", 200).json()["volume"]
        return record

    def listed(self) -> list[dict[str, Any]]:
        """The volumes that have the tag."""
        found_: list[dict[str, Any]] = []
        for _ in range(_PAGES):
            marker = f"&marker={found_[-1]['id']}" if found_ else ""
            page: list[dict[str, Any]] = self._call(
                "GET", f"{self._volumes}/detail?limit={_PAGE}&metadata=%7B'{TAG}':'yes'%7D{marker}",
                200).json()["volumes"]
            found_ += page
            if len(page) < _PAGE:
                break
        return found_

    def delete(self, id_: str) -> bool:
        """Delete a volume."""
        # 400: its status does not let it, as long as it is made, or when it is gone already.
        done = self._call("DELETE", f"{self._volumes}/{id_}", 202, 404, 400)
        return bool(done.status_code != 400)

    def deleted(self) -> Steps:
        """R3 and R4: it is gone, in time."""
        status = self._awaited(lambda status: status not in ("deleting", "available"))
        if not status:
            yield "deleted"
            return
        yield found("R4" if self.moved else "R3", self._where, f"the volume cannot be deleted: its "
                    f"status is {shown(status)}", _HOST if self.moved else _VOLUME_LOGS)

    @property
    def _where(self) -> str:
        return f"{self.url}{self._volumes}/{self.id}"

    def _awaited(self, settled: Callable[[str], bool]) -> str:
        """The volume's status when it is settled, or the time is over; empty when it is gone."""
        end = time.monotonic() + self._wait
        while True:
            try:
                status = str(self.show().get("status"))
            except UnexpectedError as error:
                if error.status != 404:
                    raise
                status = ""
            if settled(status) or time.monotonic() > end:
                return status
            time.sleep(0.5)


_VOLUME_LOGS = "Look at the logs of cinder-scheduler and cinder-volume."
_DATABASE = "Have all nodes the same database? Look at cinder-api's log."
_HOST = ("The cinder-volume that made it is gone under that name: set host, or backend_host of its "
         "back end, alike on all nodes.")


def _age(created: str) -> float:
    """Seconds since a time as the APIs write it, with Z or with fractions; 0 for what is none."""
    try:
        at = datetime.strptime(created.rstrip("Z").partition(".")[0], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return 0.0
    return time.time() - at.replace(tzinfo=timezone.utc).timestamp()
