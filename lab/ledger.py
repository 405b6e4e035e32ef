"""Clients that write through the virtual IPs, and remember what was acknowledged.

Called by `lab.chaos`. A plain HTTP client makes and deletes records of each service all the time
(`lab.records`), another one publishes messages (`lab.messages`); the real `openstack` client does
something now and then.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from agentlib.check import TAG
from lab import declared
from lab.agents import execute
from lab.ground import Ground
from lab.messages import Messages
from lab.openstack import ControlPlane
from lab.process import ENVIRONMENT
from lab.records import SIZE, Records, digest, named

PAUSE = 1.0  # seconds between two actions of a client
OFFICIAL = 180.0  # seconds for one command of the real client
LISTED = ("image", "volume", "network", "server")
"""What the real client can list without further packages."""


def records(ground: Ground, project: str = "") -> dict[str, Records]:
    """Records of each service whose agent declares them. project: the id of the clients'."""
    found = {name: getattr(declared.service(name).checks[0], "record", None)
             for name in ground.services}
    return {name: Records(ground.services[name].server, record, project)
            for name, record in found.items() if record}


class Ledger:
    """All clients that write, and the answers they got.

    records: by the service. messages: the clients of RabbitMQ, where it is under Pacemaker. slower:
    how much more rarely all of them write.
    """

    def __init__(
        self, cloud: ControlPlane, records: Mapping[str, Records], messages: Messages | None = None,
        slower: float = 1.0,
    ) -> None:
        self._cloud = cloud
        self._pause = PAUSE * slower
        self._ended = threading.Event()
        self._turn = -1
        self.served = self.late = 0  # commands of the real client
        self.records = records
        self.messages = messages

    @property
    def writers(self) -> list[Records | Messages]:
        """All that writes."""
        return [*self.records.values(), *([self.messages] if self.messages else [])]

    def use(self, token: str) -> None:
        """Make the plain client use another token."""
        for records in self.records.values():
            records.token = token

    @contextmanager
    def running(self) -> Iterator[Ledger]:
        """Write in the background for a while."""
        threads = [threading.Thread(target=self._write, args=(one,)) for one in self.writers]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def verify(self) -> list[str]:
        """Read back all that was acknowledged; what is wrong, one line each."""
        return [line for one in self.writers for line in one.verify()]

    def told(self, what: str) -> int:
        """How many answers of a kind clients got: acknowledged, deleted or refused."""
        return sum(one.told[what] for one in self.writers)

    def official(self) -> list[str]:
        """Make the real client do its next action; what is wrong. All services serve by now."""
        self._turn += 1
        lists = [partial(self._list, one) for one in self.records.values() if one.kind in LISTED]
        actions: list[Callable[[], list[str]]] = [
            self._upload, *lists[1::2], self._order, *lists[::2]]
        return actions[self._turn % len(actions)]()

    def _upload(self) -> list[str]:
        """Upload an image."""
        data = os.urandom(SIZE)
        with tempfile.NamedTemporaryFile(prefix="openstack-ocf-chaos-") as file:
            file.write(data)
            file.flush()
            command = ["image", "create", "--disk-format=raw", "--container-format=bare",
                       f"--file={file.name}", f"--tag={TAG}"]
            return self._made(self.records["glance-api"], command, digest(data))

    def _order(self) -> list[str]:
        """Make a record of a volume."""
        command = ["volume", "create", "--size=1", f"--property={TAG}=yes"]
        return self._made(self.records["cinder-api"], command, digest(b""))

    def _made(self, records: Records, command: Sequence[str], content: str) -> list[str]:
        name = named()
        said = self._command([*command, name])
        if isinstance(said, str):
            return [said] if said else []
        with records.alone:
            records.acknowledged(said["id"], name, content)
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

    def _write(self, writer: Records | Messages) -> None:
        while not self._ended.wait(self._pause):
            with writer.alone:
                writer.act()
