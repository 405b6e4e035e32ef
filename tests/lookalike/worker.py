"""A look-alike worker under an agent: resource, daemon and broker, wired. For tests/kinds.

with Broker() as broker, Worker(agent, folder, broker) as worker:
    expect(worker.start(), 0)
    broker.mode = "silent"
    worker.config.set(connect=None)     # the worker leaves its broker
    worker.config.say("DEFAULT", transport_url="kafka://10.0.0.1/")
# no process of it is left
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from harness import defaults

from .broker import Broker
from .config import DaemonConfig
from .managed import Managed

WORKER = Path(__file__).with_name("worker")

FURTHER = "_config"
"""The end of parameters that name a further configuration file, as a node may lack the default.
"""


class WorkerConfig(DaemonConfig):
    """The configuration of a worker, by which all its processes are found."""

    def __init__(self, folder: Path, **behaviour: object) -> None:
        super().__init__(folder)
        self.default.clear()
        del self.behaviour["request_log"]
        self.set(**behaviour)

    def say(self, section: str, **options: object) -> None:
        """Change options of a section; None takes one away."""
        place = self.default if section == "DEFAULT" else self.sections.setdefault(section, {})
        place.update(options)
        self.set()


class Worker(Managed):
    """A resource whose daemon is a look-alike worker.

    folder: of this worker alone; every user can enter it.
    broker: named by transport_url, and connected to; None: no broker.
    behaviour: options of the look-alike.
    """

    config: WorkerConfig

    def __init__(
        self,
        agent: Path,
        folder: Path,
        broker: Broker | None,
        *,
        name: str = "",
        **behaviour: object,
    ) -> None:
        super().__init__(agent, folder, WORKER, WorkerConfig, name=name)
        if broker:
            behaviour = {"connect": broker.address, **behaviour}
            self.config.say("DEFAULT", transport_url=broker.url)
        self.config.set(**behaviour)
        for further in defaults(agent):
            if further.endswith(FURTHER):
                path = folder / "etc" / f"{further}.ini"
                path.touch()
                self.parameters[further] = path

    def __enter__(self) -> Worker:
        return self


MakeWorker = Callable[..., Worker]
"""The type of the fixture make_worker; the options are Worker's."""


def unread(pid: int) -> bool:
    """Whether every TCP connection of a process has bytes that it has not read."""
    waiting = bytes_waiting(pid)
    return bool(waiting) and all(waiting)


def bytes_waiting(pid: int) -> list[int]:
    """For each TCP connection of a process, how many bytes it has not read."""
    inodes = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    return [
        int(fields[4].rpartition(":")[2], 16)
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path("/proc/net", table).read_text().splitlines()[1:])
        if fields[9] in inodes
    ]


class TakesPath:
    """The test's own process takes the path of the worker's UNIX socket.

    how: None answers in HTTP, as a second agent would; "hang" sends nothing.
    """

    def __init__(self, path: Path, how: str | None = None) -> None:
        path.unlink(missing_ok=True)
        self._how = how
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen()
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> TakesPath:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for one in (self._listener, *self._held):
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._held.append(client)
            if not self._how:
                try:
                    client.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
                except OSError:
                    pass  # The monitor saw that the socket is not the daemon's, and has closed it.
