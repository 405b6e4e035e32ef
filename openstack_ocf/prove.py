"""`prove`: a random image through the virtual IP and back; with --move, read on another node.

Rows R. What is made has a tag; it is deleted however this ends, and what a killed run has left is
swept by the next one. Called by `cloudverbs`.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
import xml.etree.ElementTree as ET
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from . import cib
from .errors import CannotLookError
from .finding import Finding
from .identity import TIMEOUT
from .rows import found
from .run import last_words, run
from .words import shown

TAG = "openstack-ocf-prove"
STALE = 3600
"""Seconds after which an image of another node's run counts as left behind."""
SETTLE = 120
"""Seconds that a move and the first answer after it may take."""
_CHUNK = 1 << 20


class Images:
    """The Image API at one URL, with a token."""

    def __init__(self, url: str, token: str, cacert: str = "") -> None:
        import requests

        self.url = url
        self._session = requests.Session()
        # What is proved is the way through the virtual IP, not through a proxy.
        self._session.trust_env = False
        self._session.verify = cacert or True
        self._session.headers["X-Auth-Token"] = token

    def create(self, name: str) -> str:
        """Make an image without data; its id."""
        made = self._call("POST", "/v2/images", 201, json={
            "name": name, "disk_format": "raw", "container_format": "bare", "tags": [TAG],
            "visibility": "private"})
        return str(made.json()["id"])

    def upload(self, id_: str, data: bytes) -> None:
        """Give an image its data."""
        self._call("PUT", f"/v2/images/{id_}/file", 204, data=data,
                   headers={"Content-Type": "application/octet-stream"})

    def show(self, id_: str) -> dict[str, Any]:
        """What the API says of an image."""
        record: dict[str, Any] = self._call("GET", f"/v2/images/{id_}", 200).json()
        return record

    def listed(self) -> list[dict[str, Any]]:
        """The images that have the tag."""
        page: list[dict[str, Any]] = self._call(
            "GET", f"/v2/images?tag={TAG}&limit=100", 200).json()["images"]
        return page

    def digest(self, id_: str) -> str:
        """The SHA-512 of an image's data, read back."""
        digest = hashlib.sha512()
        with self._call("GET", f"/v2/images/{id_}/file", 200, stream=True) as answer:
            for part in answer.iter_content(_CHUNK):
                digest.update(part)
        return digest.hexdigest()

    def delete(self, id_: str) -> None:
        """Delete an image; one that is gone is fine."""
        self._call("DELETE", f"/v2/images/{id_}", 204, 404)

    def _call(self, method: str, path: str, *wanted: int, **more: Any) -> Any:
        answer = self._session.request(method, f"{self.url}{path}", timeout=TIMEOUT,
                                       allow_redirects=False, **more)
        if answer.status_code not in wanted:
            raise UnexpectedError(f"{method} {path.partition('?')[0]} is answered "
                                  f"{answer.status_code}", answer.status_code)
        return answer


class UnexpectedError(Exception):
    """An answer that is not the one that is right; status is its code."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


def prove(images: Images, size: int, resource: str = "") -> Generator[Finding | str, None, None]:
    """Do it: lines to show, and findings. resource: what is moved in between; empty: nothing.

    CannotLookError where quota, policy or the cluster do not let it.
    """
    with _told(images.url), _ends_orderly():
        for id_ in _left(images):
            images.delete(id_)
            yield f"swept: {shown(id_)}, which an earlier run has left"
        data = os.urandom(size)
        wanted = hashlib.sha512(data).hexdigest()
        id_ = ""
        try:
            id_ = images.create(f"{TAG} {_here()}")
            images.upload(id_, data)
            yield f"uploaded: {size} bytes as image {shown(id_)}"
            yield from _same(images, id_, size, wanted, "R1")
            if resource:
                yield from _moved(images, id_, size, wanted, resource)
        finally:
            # Where the creation was interrupted, the id may not have come back.
            for one in {id_, *_own(images)} - {""}:
                images.delete(one)
        if id_ in [one.get("id") for one in images.listed()]:
            yield found("R1", images.url, "the image is listed though it was deleted",
                        "Look at Glance's log.")
        yield "deleted"


def movable(root: ET.Element) -> str:
    """The id of what is moved: the group of glance-api, or the resource; CannotLookError."""
    for group in root.iter("group"):
        if any(one.get("type") == "glance-api" for one in group.iter("primitive")):
            return group.get("id", "")
    for one in cib.resources(root):
        if one.get("type") == "glance-api" and one.get("provider") == "openstack":
            return one.get("id", "")
    raise CannotLookError("the cluster has no glance-api: there is nothing to move")


# --- steps --------------------------------------------------------------------------------------


def _same(images: Images, id_: str, size: int, wanted: str, row: str) -> Iterator[Finding | str]:
    where = f"{images.url}/v2/images/{id_}"
    record = images.show(id_)
    for name, right in (("status", "active"), ("size", size), ("os_hash_value", wanted)):
        if name == "os_hash_value" and record.get("os_hash_algo") != "sha512":
            continue
        if record.get(name) != right:
            yield found(row, where, f"{name} is {shown(str(record.get(name)))}, and is to be "
                        f"{shown(str(right))}", "Look at Glance's log, and at its store.")
    if id_ not in [one.get("id") for one in images.listed()]:
        yield found(row, where, "the image is not listed", "Look at Glance's log.")
    try:
        same = images.digest(id_) == wanted
    except UnexpectedError as error:
        yield found(row, where, f"the data cannot be read back: {error}", _say(row))
        return
    if same:
        yield "read back: the same bytes"
    else:
        yield found(row, where, "other bytes are read back than were uploaded", _say(row))


def _say(row: str) -> str:
    return ("The store is on one node: see S2, openstack-ocf check." if row == "R2" else
            "Look at Glance's log, and at its store.")


def _moved(images: Images, id_: str, size: int, wanted: str,
           resource: str) -> Iterator[Finding | str]:
    before = _located(resource)
    try:
        _crm_resource("--resource", resource, "--move")
        _crm_resource("--wait")
        after = _located(resource)
        if after == before:
            raise CannotLookError(f"{shown(resource)} is on {shown(before)} as before: nothing is "
                                  "proved")
        yield f"moved: {shown(resource)} from {shown(before)} to {shown(after)}"
        _await(images, id_)
        yield from _same(images, id_, size, wanted, "R2")
    finally:
        # The move is a constraint, which would stay.
        _crm_resource("--resource", resource, "--clear")


def _located(resource: str) -> str:
    done = run(["crm_resource", "--resource", resource, "--locate"], timeout=30)
    found_ = [line.rpartition(": ")[2].split() for line in done.output.splitlines()
              if "is running on" in line]
    if not found_ or not found_[0]:
        raise CannotLookError(f"{shown(resource)} does not run: {last_words(done)}")
    return found_[0][0]


def _crm_resource(*words: str) -> None:
    done = run(["crm_resource", *words], timeout=SETTLE)
    if done.code:
        raise CannotLookError(f"crm_resource {' '.join(words)}: {last_words(done)}")


def _await(images: Images, id_: str) -> None:
    """Wait until the API answers at all, after a move."""
    end = time.monotonic() + SETTLE
    while True:
        try:
            images.show(id_)
            return
        except UnexpectedError as error:
            if error.status < 500:
                return
        except OSError:
            pass  # All of requests' own are.
        if time.monotonic() > end:
            raise CannotLookError(f"{images.url} does not answer after the move")
        time.sleep(1)


# --- what is left -------------------------------------------------------------------------------


def _here() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _own(images: Images) -> list[str]:
    return [str(one.get("id")) for one in images.listed() if one.get("name") == f"{TAG} {_here()}"]


def _left(images: Images) -> list[str]:
    """Ids of what runs have left that are over: of this node by their process, else by age."""
    found_ = []
    for one in images.listed():
        words = str(one.get("name")).split()
        if len(words) != 3 or words[0] != TAG or not words[2].isdigit():
            continue
        over = (not os.path.exists(f"/proc/{words[2]}") if words[1] == socket.gethostname()
                else _age(str(one.get("created_at"))) > STALE)
        if over:
            found_.append(str(one.get("id")))
    return found_


def _age(created: str) -> float:
    try:
        at = datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return 0.0
    return time.time() - at.timestamp()


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except UnexpectedError as error:
        why = {401: "the token is not accepted", 403: "the user may not do this: it needs the role "
               "member", 413: "a quota is used up"}.get(error.status, str(error))
        raise CannotLookError(f"{shown(url)}: {why}") from error
    except OSError as error:  # as all of requests' own are
        raise CannotLookError(f"{shown(url)} does not answer ({type(error).__name__})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotLookError(f"{shown(url)}: the answer makes no sense") from error


@contextmanager
def _ends_orderly() -> Iterator[None]:
    """TERM and HUP end it as Ctrl-C does: what was made is deleted first."""
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

