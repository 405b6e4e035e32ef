"""The records of one service that clients make through a virtual IP, and what became of them.

Called by `lab.ledger`. How a record is made, shown, listed and deleted is what an agent declares
for check level 20 (`agentlib.check.Record`). What was acknowledged is read back later, and has to
be as it was: an image with the same bytes, all else with its name; what was deleted stays deleted.
A request that was refused, or never answered, is left open: its effect may be there or not.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from lab.errors import LabError
from lab.web import Answer, Server

if TYPE_CHECKING:
    from agentlib.check import Record

PAUSE = 0.5  # seconds between two reads of what has to be readable
PATIENCE = 20.0  # for one request
READ = 300.0  # seconds in which what was acknowledged must be readable, when all services serve
KEEP = 6  # of each kind; Cinder's quota is 10 volumes
REMEMBERED = 20  # deleted ones, of each kind, which have to stay deleted
SIZE = 1 << 16  # bytes of an image
NAME = "chaos"
FAILED = "ERROR"
READABLE = (200, 204, 404)  # it is there; an image without data; it is not there
STATES = ("status", "stack_status", "OS-EXT-STS:task_state")
"""The fields in which a record says that it is about to be deleted."""


class Records:
    """The records of one service that the clients have made, and those deleted again.

    kept: by id, name and hash of the data of what is to be read back. broken: what was found to be
    wrong, one line each.
    """

    def __init__(
        self, server: Server, record: Record, project: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make no record yet. project: the id of the clients' project."""
        self.server = server
        self.record = record
        self.path = record.path.replace("{project_id}", project)
        self.headers = headers or {}
        self.token = ""
        self.kept: dict[str, tuple[str, str]] = {}
        self.gone: list[str] = []
        self.told: Counter[str] = Counter()
        self.broken: list[str] = []
        self.alone = threading.Lock()

    @property
    def kind(self) -> str:
        """The word for a record."""
        return self.record.word

    def act(self) -> None:
        """Do the next action; a refusal is no error."""
        try:
            if len(self.kept) < KEEP:
                self.create()
            else:
                self.delete(next(iter(self.kept)))
        except (OSError, HTTPException, ValueError, KeyError):
            self.told["refused"] += 1

    def create(self) -> None:
        """Create a record, and its data; it is kept if all was acknowledged."""
        record, name = self.record, named()
        fields = {**record.fields, record.named: name}
        made = self.ask("POST", self.path, {record.what: fields} if record.wrapped else fields)
        if made.status not in (200, 201, 202):
            self.told["refused"] += 1
            return
        id_, data = self._shown(made)[record.id], b""
        if record.data:
            data = os.urandom(SIZE)
            sent = self.ask("PUT", self.item(id_, name) + record.data, data=data)
            if sent.status != 204:
                self.told["refused"] += 1
                return
        self.acknowledged(id_, name, digest(data))

    def delete(self, id_: str) -> None:
        """Read a record for the last time, and delete it; from then on it may be gone."""
        name = self.kept[id_][0]
        answer = self.ask("GET", self.place(id_))
        if answer.status not in READABLE:
            self.told["refused"] += 1
            return
        self.compare(id_, answer)
        del self.kept[id_]
        status = self.ask("DELETE", self.item(id_, name)).status
        if status in (202, 204):
            self.gone = [*self.gone, id_][-REMEMBERED:]
            self.told["deleted"] += 1
        elif status == 404:
            self.broken.append(f"{self.kind} {id_} was acknowledged, and DELETE is answered 404")
        else:
            self.told["refused"] += 1

    def acknowledged(self, id_: str, name: str, content: str) -> None:
        """Keep a record whose creation was acknowledged. content: the hash of its data."""
        self.kept[id_] = name, content
        self.told["acknowledged"] += 1

    def failed(self, record: Mapping[str, Any]) -> bool:
        """Whether others were to delete a record, and could not, and its service says so.

        Nova's hypervisor deletes a server's allocation in Placement; without that it is in ERROR.
        """
        return bool(self.record.behind) and record.get(self.record.status[0]) == FAILED

    def item(self, id_: str, name: str) -> str:
        """The path of a record."""
        return self.path + self.record.item.replace("{id}", id_).replace("{name}", name)

    def place(self, id_: str) -> str:
        """The path that is read back, to compare it with what was kept."""
        return self.item(id_, self.kept[id_][0]) + self.record.data

    def ask(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Answer:
        """Send one request."""
        return self.server.request(
            method, path, body=body, data=data, token=self.token, timeout=PATIENCE,
            headers=self.headers)

    def certain(self, path: str) -> Answer:
        """GET a path until it answers with one of READABLE: a new daemon may still be busy."""
        deadline = time.monotonic() + READ
        while True:
            try:
                answer = self.ask("GET", path)
                said = str(answer.status)
                if answer.status in READABLE:
                    return answer
            except (OSError, HTTPException) as error:
                said = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise LabError(f"GET {self.server}{path} has no answer for {READ:.0f} s: {said}")
            time.sleep(PAUSE)

    def compare(self, id_: str, answer: Answer) -> None:
        """Check that an answer of READABLE is what was acknowledged."""
        if answer.status != 200:
            self.broken.append(f"{self.kind} {id_} cannot be read back")
        elif self._content(answer) != self.kept[id_][bool(self.record.data)]:
            self.broken.append(f"{self.kind} {id_} is not what was acknowledged")

    def verify(self) -> list[str]:
        """Read all back; what is wrong, one line each."""
        with self.alone:
            there = {one[self.record.id]: one for one in self.listed()}
            for id_ in self.kept:
                if id_ in there:
                    self.compare(id_, self.certain(self.place(id_)))
                else:
                    self.broken.append(f"{self.kind} {id_} was acknowledged, and is not listed")
            for id_ in self.gone:
                if id_ in there and not leaving(there[id_]) and not self.failed(there[id_]):
                    self.broken.append(f"{self.kind} {id_} was deleted, and is listed again")
            for id_ in there.keys() - self.kept.keys() - {*self.gone}:
                # Of a request that was not answered; a later look may be for what is left now.
                with suppress(OSError, HTTPException):
                    self.ask("DELETE", self.item(id_, there[id_][self.record.named]))
            broken, self.broken = self.broken, []
            return broken

    def listed(self) -> list[dict[str, Any]]:
        """All records that exist and were made by these clients."""
        answer = self.certain(self.path + self.record.query)
        records = answer.json()[f"{self.record.what}s"] if answer.status == 200 else []
        return [one for one in records
                if str(one.get(self.record.named)).startswith(f"{NAME}-")]

    def _shown(self, answer: Answer) -> dict[str, Any]:
        """A record, as an answer has it."""
        shown = answer.json()
        found: dict[str, Any] = shown.get(self.record.what, shown)
        return found

    def _content(self, answer: Answer) -> str:
        """What is compared: the hash of the data, or the name."""
        if self.record.data:
            return digest(answer.body)
        return str(self._shown(answer).get(self.record.named))


def named() -> str:
    """A new name."""
    return f"{NAME}-{secrets.token_hex(8)}"


def digest(data: bytes) -> str:
    """The hash by which bytes are compared."""
    return hashlib.sha256(data).hexdigest()


def leaving(record: Mapping[str, Any]) -> bool:
    """Whether a record is listed that is about to be deleted."""
    return any("delet" in str(record.get(field)).lower() for field in STATES)
