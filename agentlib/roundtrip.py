"""Check level 20: an image of random bytes goes into the Image API, comes back, and is deleted.

Called by `examination` after a check of level 10 that found nothing, where the declaration says
where images are made. What is forbidden, or full, or late, is not the service's fault (190): its
store is behind it, and a restart mends none of these. What is wrong is (1).
"""
from __future__ import annotations

import json
import os
import time

from .exitcode import ExitCode
from .outcome import Outcome
from .reason import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .deadline import Deadline
    from .http import Answer
    from .keystone import Token
    from .target import Target

TAG = "openstack-ocf-monitor"
"""The tag of what is made, and the first word of its name; another tag is of this run alone."""

SIZE = 1 << 16
"""Bytes of an image."""

STALE = 3600
"""Seconds after which an image of another resource counts as left behind."""

SHARE = 0.85
"""Part of the time that there is until the image is deleted."""

MOST = 10
"""Images that one monitor sweeps."""

BYTES = "application/octet-stream"


class RoundTrip:
    """One round trip.

    path: where images are made, from the version on. instance: whose monitor it is, `agent:name`.
    user: for exit reasons.
    """

    __slots__ = ("_deadline", "_name", "_path", "_tag", "_target", "_token", "_user")

    def __init__(
        self, target: Target, path: str, token: Token, *, instance: str, user: str,
        deadline: Deadline,
    ) -> None:
        self._target = target
        self._path = path
        self._token = token
        self._user = user
        self._deadline = deadline
        self._name = f"{TAG} {os.uname().nodename} {instance}"
        self._tag = os.urandom(16).hex()

    def verdict(self) -> Outcome:
        """SUCCESS when all of it is as it should be, and the image is gone again."""
        try:
            for id_ in self._left()[:MOST]:
                self._delete(id_)
            self._travel(self._deadline.share(SHARE))
        except _WrongError as error:
            return error.outcome
        return Outcome(ExitCode.SUCCESS)

    def _travel(self, deadline: Deadline) -> None:
        id_ = self._made(deadline)
        try:
            self._compare(id_, deadline)
        except _WrongError:
            try:
                self._delete(id_)
            except _WrongError:
                pass  # What was wrong first counts; the next monitor sweeps it.
            raise
        self._delete(id_)
        if self._listed(self._tag, self._deadline):
            raise self._wrong("lists an image that it has deleted")

    def _made(self, deadline: Deadline) -> str:
        body = {"name": self._name, "disk_format": "raw", "container_format": "bare",
                "tags": [TAG, self._tag], "visibility": "private"}
        record = self._json(self._ask("POST", "", 201, deadline, json.dumps(body).encode()))
        if not _id(record):
            raise self._wrong("makes an image without an id")
        return _id(record)

    def _compare(self, id_: str, deadline: Deadline) -> None:
        data = os.urandom(SIZE)
        self._ask("PUT", f"/{id_}/file", 204, deadline, data, BYTES)
        record = self._json(self._ask("GET", f"/{id_}", 200, deadline))
        for name, right in (("status", "active"), ("size", SIZE)):
            if record.get(name) != right:
                raise self._wrong(f"has an image whose {name} is not {right}")
        if [id_] != [_id(one) for one in self._listed(self._tag, deadline)]:
            raise self._wrong("does not list an image that it has")
        if self._ask("GET", f"/{id_}/file", 200, deadline).body != data:
            raise self._wrong("gives other bytes than it was given")

    def _left(self) -> list[str]:
        """Ids of what monitors have left that were killed: of this resource all, else the old."""
        return [_id(record) for record in self._listed(TAG, self._deadline) if _id(record) and (
            record.get("name") == self._name or (
                str(record.get("name")).startswith(f"{TAG} ")
                and _age(str(record.get("created_at"))) > STALE))]

    def _listed(self, tag: str, deadline: Deadline) -> list[dict[str, Any]]:
        page = self._json(self._ask("GET", f"?tag={tag}&limit=100", 200, deadline)).get("images")
        if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
            raise self._wrong("lists no images")
        return page

    def _delete(self, id_: str) -> None:
        self._ask("DELETE", f"/{id_}", 204, self._deadline, also=404)

    def _json(self, answer: Answer) -> dict[str, Any]:
        try:
            record = json.loads(answer.body)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise self._wrong("answers with what is no JSON object")
        return record

    def _ask(
        self, method: str, path: str, wanted: int, deadline: Deadline, body: bytes = b"",
        kind: str = "application/json", *, also: int = 0,
    ) -> Answer:
        answer = self._target.send(
            method, self._path + path, self._token, deadline, body, kind)
        if answer.status and answer.status in (wanted, also):
            return answer
        where = f"to {method} {self._path}"
        name = self._target.name
        if answer.status in (401, 403, 413):
            raise _WrongError(ExitCode.DEGRADED, Reason(
                f"{name} answers {answer.status} {where}: ", f"may user {self._user} make images "
                "(role member, quota)?"))
        if answer.late or answer.status == 503 or answer.local:
            raise _WrongError(ExitCode.DEGRADED, Reason(
                f"{name} {answer.trouble} {where}: ", "is its store well?"))
        raise self._wrong(f"{answer.trouble} {where}")

    def _wrong(self, how: str) -> _WrongError:
        return _WrongError(
            ExitCode.ERR_GENERIC, Reason(f"{self._target.name} {how}", ": is its store well?"))


class _WrongError(Exception):
    """The round trip has ended, with this outcome."""

    def __init__(self, code: ExitCode, reason: Reason) -> None:
        super().__init__(str(reason))
        self.outcome = Outcome(code, reason)


def _id(record: dict[str, Any]) -> str:
    """The id of an image, if it can stand in a path."""
    id_ = record.get("id")
    sound = isinstance(id_, str) and id_.isascii() and id_.replace("-", "").isalnum()
    return str(id_) if sound else ""


def _age(created: str) -> float:
    """Seconds since a time as the API writes it; 0 for what is none."""
    import calendar

    try:
        return time.time() - calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return 0.0
