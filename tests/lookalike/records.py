"""An API that keeps the records of check level 20, for what an agent declares of them.

    with Store(declared(agent), project="42") as store:
        store.how["DELETE item"] = "500"        # as of wire.misbehave
        ... url = store.url + "/v2.0/networks"
        assert {} == store.records
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import socket
from pathlib import Path
from typing import Any

from agentlib.check import TAG, Record
from harness import declaration

from .server import Server, wire

Answered = tuple[int, bytes]


def declared(agent: Path) -> Record | None:
    """The record that an agent makes at level 20, if it makes one."""
    for check in getattr(declaration(agent).manages, "checks", ()):
        record = getattr(check, "record", None)
        if record:
            assert isinstance(record, Record)
            return record
    return None


class Store(Server):
    """An API that keeps what it is given, but for how it is told to answer.

    how: by step a status or a misbehaviour: `GET list`, `POST list`, `PUT data`, `GET item`,
    `GET data`, `DELETE item`. steps: all that were taken.
    changes: what is wrong with each record. keeps: whether it deletes nothing, though it says so.
    hides: whether its lists are empty. spoils: whether it gives other data. times: how often the
    answers are so.
    looks: how often a record is seen until others have made it, and until they have deleted it;
    stuck: the status in which it stays instead.
    """

    def __init__(self, record: Record, project: str = "") -> None:
        self.record = record
        self.path = record.path.replace("{project_id}", project or "[^/]+")
        self.records: dict[str, dict[str, Any]] = {}
        self.data: dict[str, bytes] = {}
        self.how: dict[str, str] = {}
        self.changes: dict[str, object] = {}
        self.keeps = self.hides = self.spoils = False
        self.times = 1 << 30
        self.looks = 0
        self.stuck = ""
        self.steps: list[str] = []
        self._seen: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._numbers = itertools.count()
        super().__init__()
        self.start()

    def left(self, name: str, **fields: object) -> str:
        """A record that is there; its id."""
        id_ = f"left-{next(self._numbers)}"
        self._keep(id_, {self.record.named: name, "tags": [TAG], **fields})
        return id_

    def staying(self) -> set[str]:
        """The ids of what is there, and is not being deleted."""
        return {*self.records} - self._deleted

    def answer(self, connection: socket.socket, request: Any, peer: str) -> None:
        found = re.fullmatch(f"{self.path}(.*)", request.path)
        rest = found[1] if found else ""
        if not request.token:
            connection.sendall(wire.compose(request, 401))
            return
        if not found or rest.startswith("?limit=1&") or rest == "?limit=1":  # level 10
            connection.sendall(wire.compose(request, 200, b"{}"))
            return
        step, id_ = self._step(request.method, rest)
        self.steps.append(step)
        if step in self.how:
            wire.misbehave(connection, request, self.how[step])
            return
        status, body = self._answer(step, id_, request)
        connection.sendall(wire.compose(request, status, body))

    def _step(self, method: str, rest: str) -> tuple[str, str]:
        if not rest or rest == self.record.query:
            return f"{method} list", ""
        part = "item"
        if self.record.data and rest.endswith(self.record.data):
            rest, part = rest[: -len(self.record.data)], "data"
        return f"{method} {part}", rest.rpartition("/")[2]

    def _answer(self, step: str, id_: str, request: Any) -> Answered:
        if step == "POST list":
            return self._make(json.loads(request.body))
        if step == "GET list":
            hidden = self.hides and self._again()
            found = [] if hidden else [self._shown(one) for one in [*self.records]]
            return 200, json.dumps({f"{self.record.what}s": [one for one in found if one]}).encode()
        if id_ not in self.records:
            return 404, b"{}"
        if step == "PUT data":
            self.data[id_] = request.body
            return 204, b""
        if step == "GET data":
            spoilt = self.spoils and self._again()
            return 200, self.data[id_][::-1] if spoilt else self.data[id_]
        if step == "GET item":
            shown = self._shown(id_)
            return (200, self._wrapped(shown)) if shown else (404, b"{}")
        return self._delete(id_)

    def _make(self, body: dict[str, Any]) -> Answered:
        id_ = f"made-{next(self._numbers)}"
        fields = body[self.record.what] if self.record.wrapped else body
        if self.record.packed:
            self.data[id_] = base64.b64decode(fields.pop(self.record.packed))
        self._keep(id_, fields)
        return 201, self._wrapped({**self.records[id_], **self.changes})

    def _keep(self, id_: str, fields: dict[str, Any]) -> None:
        url = f"http://x/{id_}" if self.record.id.endswith("_ref") else id_
        self.records[id_] = {**fields, self.record.id: url}

    def _delete(self, id_: str) -> Answered:
        if self.stuck and not self.stuck.startswith("err"):
            return 400, b"{}"
        self._deleted.add(id_)
        self._seen[id_] = 0
        if not self.record.passing and not self.keeps:
            del self.records[id_]
        return 204, b""

    def _shown(self, id_: str) -> dict[str, Any] | None:
        """A record as it is now; none when others have come to delete it."""
        field, right = self.record.status
        seen = self._seen[id_] = self._seen.get(id_, 0) + 1
        status = right
        if self.record.passing:
            if id_ in self._deleted:
                status = "deleting"
                if seen > self.looks and not self.keeps:
                    del self.records[id_]
                    return None
            elif seen <= self.looks:
                status = self.record.passing[0]
        changes = self.changes if self.changes and self._again() else {}
        return {**self.records[id_], field: self.stuck or status, **changes}

    def _again(self) -> bool:
        self.times -= 1
        return self.times >= 0

    def _wrapped(self, fields: dict[str, Any]) -> bytes:
        plain = self.record.id.endswith("_ref") or self.record.what == "image"
        return json.dumps(fields if plain else {self.record.what: fields}).encode()
