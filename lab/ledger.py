"""Clients that write through the virtual IPs, and remember what was acknowledged.

Called by `lab.chaos`. A plain HTTP client makes and deletes images and volumes all the time; the
real `openstack` client does something now and then. What was acknowledged is read back later, and
has to be as it was: an image with the same bytes, a volume record with its name; what was deleted
stays deleted. A request that was refused, or never answered, is left open: its effect may be there
or not.

A volume is only a record of cinder-api here: no cinder-volume makes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from lab.agents import SERVICES, execute
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.process import ENVIRONMENT
from lab.web import Answer, Server

PAUSE = 1.0  # seconds between two actions of a client
PATIENCE = 20.0  # for one request
READ = 300.0  # seconds in which what was acknowledged must be readable, when all services serve
KEEP = 6  # of each kind; Cinder's quota is 10 volumes
REMEMBERED = 20  # deleted ones, of each kind, which have to stay deleted
SIZE = 1 << 16  # bytes of an image
OFFICIAL = 180.0  # seconds for one command of the real client
NAME = "chaos"
READABLE = (200, 204, 404)  # it is there; an image without data; it is not there


class Records(ABC):
    """The records of one service: what was acknowledged, and what was deleted again.

    kept: by id, what is to be read back. broken: what was found to be wrong, one line each.
    """

    service = ""
    kind = ""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = ""
        self.kept: dict[str, str] = {}
        self.gone: list[str] = []
        self.told: Counter[str] = Counter()
        self.broken: list[str] = []
        self.alone = threading.Lock()

    @abstractmethod
    def create(self) -> None:
        """Create a record; it is kept if it was acknowledged."""

    @abstractmethod
    def place(self, id_: str) -> str:
        """The path that is read back, to compare it with what was kept."""

    @abstractmethod
    def content(self, answer: Answer) -> str:
        """The part of an answer of 200 that is compared."""

    @property
    @abstractmethod
    def path(self) -> str:
        """The path of the collection."""

    def act(self) -> None:
        """Do the next action; a refusal is no error."""
        try:
            if len(self.kept) < KEEP:
                self.create()
            else:
                self.delete(next(iter(self.kept)))
        except (OSError, HTTPException, ValueError, KeyError):
            self.told["refused"] += 1

    def delete(self, id_: str) -> None:
        """Read a record for the last time, and delete it; from then on it may be gone."""
        answer = self.ask("GET", self.place(id_))
        if answer.status not in READABLE:
            self.told["refused"] += 1
            return
        self.compare(id_, answer)
        del self.kept[id_]
        status = self.ask("DELETE", f"{self.path}/{id_}").status
        if status in (202, 204):
            self.gone = [*self.gone, id_][-REMEMBERED:]
            self.told["deleted"] += 1
        elif status == 404:
            self.broken.append(f"{self.kind} {id_} was acknowledged, and DELETE is answered 404")
        else:
            self.told["refused"] += 1

    def acknowledged(self, id_: str, content: str) -> None:
        """Keep a record whose creation was acknowledged."""
        self.kept[id_] = content
        self.told["acknowledged"] += 1

    def ask(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Answer:
        """Send one request."""
        return self.server.request(
            method, path, body=body, data=data, token=self.token, timeout=PATIENCE
        )

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
                raise LabError(f"{self.service}: GET {path} has no answer for {READ:.0f} s: {said}")
            time.sleep(PAUSE / 2)

    def compare(self, id_: str, answer: Answer) -> None:
        """Check that an answer of READABLE is what was acknowledged."""
        if answer.status != 200:
            self.broken.append(f"{self.kind} {id_} cannot be read back")
        elif self.content(answer) != self.kept[id_]:
            self.broken.append(f"{self.kind} {id_} is not what was acknowledged")

    def verify(self) -> list[str]:
        """Read all back; what is wrong, one line each."""
        with self.alone:
            there = {one["id"]: one for one in self.listed()}
            for id_ in self.kept:
                if id_ in there:
                    self.compare(id_, self.certain(self.place(id_)))
                else:
                    self.broken.append(f"{self.kind} {id_} was acknowledged, and is not listed")
            for id_ in self.gone:
                # Cinder lists what it is about to delete.
                if id_ in there and there[id_].get("status") != "deleting":
                    self.broken.append(f"{self.kind} {id_} was deleted, and is listed again")
            for id_ in there.keys() - self.kept.keys() - {*self.gone}:
                self.ask("DELETE", f"{self.path}/{id_}")  # of a request that was not answered
            broken, self.broken = self.broken, []
            return broken

    def listed(self) -> list[dict[str, Any]]:
        """All records that exist and were made by these clients."""
        answer = self.certain(self.listing)
        records = answer.json()[self.path.rpartition("/")[2]] if answer.status == 200 else []
        return [one for one in records if one.get("name") == NAME]

    @property
    def listing(self) -> str:
        """The path that lists the records."""
        return f"{self.path}?limit=1000"


class Images(Records):
    """Images with their bytes, known by a hash."""

    service, kind, path = "glance", "image", "/v2/images"

    def create(self) -> None:
        """Create an image of random bytes: its record, then its data."""
        data = os.urandom(SIZE)
        record = {"name": NAME, "disk_format": "raw", "container_format": "bare"}
        made = self.ask("POST", self.path, record)
        if made.status != 201:
            self.told["refused"] += 1
            return
        id_ = made.json()["id"]
        if self.ask("PUT", f"{self.path}/{id_}/file", data=data).status == 204:
            self.acknowledged(id_, digest(data))
        else:
            self.told["refused"] += 1

    def place(self, id_: str) -> str:
        """The path of an image's data."""
        return f"{self.path}/{id_}/file"

    def content(self, answer: Answer) -> str:
        """The hash of an image's bytes."""
        return digest(answer.body)


class Volumes(Records):
    """Records of volumes, each with a random word."""

    service, kind, path = "cinder", "volume", "/v3/volumes"

    def create(self) -> None:
        """Create a record."""
        word = secrets.token_hex(8)
        record = {"name": NAME, "size": 1, "metadata": {"word": word}}
        made = self.ask("POST", self.path, {"volume": record})
        if made.status == 202:
            self.acknowledged(made.json()["volume"]["id"], word)
        else:
            self.told["refused"] += 1

    def place(self, id_: str) -> str:
        """The path of a record."""
        return f"{self.path}/{id_}"

    def content(self, answer: Answer) -> str:
        """The word of a record."""
        return str(answer.json()["volume"]["metadata"].get("word", ""))


class Ledger:
    """All clients that write, and the answers they got."""

    def __init__(self, cloud: ControlPlane) -> None:
        self._cloud = cloud
        self._ended = threading.Event()
        self._turn = -1
        self.served = self.late = 0  # commands of the real client
        self.records: dict[str, Records] = {
            "glance": Images(cloud.server("glance")),
            "cinder": Volumes(cloud.server("cinder")),
        }

    def use(self, token: str) -> None:
        """Make the plain client use another token."""
        for records in self.records.values():
            records.token = token

    @contextmanager
    def running(self) -> Iterator[Ledger]:
        """Write in the background for a while."""
        writers = [threading.Thread(target=self._write, args=(name,)) for name in self.records]
        for writer in writers:
            writer.start()
        try:
            yield self
        finally:
            self._ended.set()
            for writer in writers:
                writer.join()

    def verify(self) -> list[str]:
        """Read back all that was acknowledged; what is wrong, one line each."""
        return [line for service in SERVICES for line in self.records[service].verify()]

    def told(self, what: str) -> int:
        """How many answers of a kind clients got: acknowledged, deleted or refused."""
        return sum(records.told[what] for records in self.records.values())

    def official(self) -> list[str]:
        """Make the real client do its next action; what is wrong. All services serve by now."""
        self._turn += 1
        return (
            self._upload,
            lambda: self._list(self.records["cinder"]),
            self._order,
            lambda: self._list(self.records["glance"]),
        )[self._turn % 4]()

    def _upload(self) -> list[str]:
        """Upload an image."""
        data = os.urandom(SIZE)
        with tempfile.NamedTemporaryFile(prefix="openstack-ocf-chaos-") as file:
            file.write(data)
            file.flush()
            command = ["image", "create", "--disk-format=raw", "--container-format=bare",
                       f"--file={file.name}", NAME]
            return self._made(self.records["glance"], command, digest(data))

    def _order(self) -> list[str]:
        """Make a record of a volume."""
        word = secrets.token_hex(8)
        command = ["volume", "create", "--size=1", f"--property=word={word}", NAME]
        return self._made(self.records["cinder"], command, word)

    def _made(self, records: Records, command: Sequence[str], content: str) -> list[str]:
        said = self._command(command)
        if isinstance(said, str):
            return [said] if said else []
        with records.alone:
            records.acknowledged(said["id"], content)
        return []

    def _list(self, records: Records) -> list[str]:
        """Check that the real client lists what was acknowledged."""
        with records.alone:
            kept = [*records.kept]
            said = self._command([records.kind, "list"])
        if isinstance(said, str):
            return [said] if said else []
        ids = {one["ID"] for one in said}
        return [f"openstack {records.kind} list has no {records.kind} {id_}, which was acknowledged"
                for id_ in kept if id_ not in ids]

    def _command(self, command: Sequence[str]) -> Any:
        """Run the real client; its output, or a text: why it failed, "" for a busy machine.

        No secret is in its arguments. Its cache is in HOME, which is removed with the lab.
        """
        home = str(self._cloud.directory)
        environment = {**ENVIRONMENT, "HOME": home, **self._cloud.admin.environment()}
        argv = ["openstack", *command, "--format=json"]
        done = execute(argv, environment, OFFICIAL, self._cloud.namespace)
        if done.code < 0:  # it was killed after its timeout
            self.late += 1
            return ""
        if done.code:
            said = " ".join(done.stderr.split())[-300:]
            return f"openstack {' '.join(command[:2])} ends with {done.code}: {said}"
        self.served += 1
        return json.loads(done.stdout)

    def _write(self, service: str) -> None:
        records = self.records[service]
        while not self._ended.wait(PAUSE):
            with records.alone:
                records.act()


def digest(data: bytes) -> str:
    """The hash by which bytes are compared."""
    return hashlib.sha256(data).hexdigest()
