"""A look-alike of RabbitMQ that runs inside the test process and misbehaves on request.

with Broker() as broker:
    ... transport_url = broker.url ...
    broker.mode = "silent"

It answers the greeting of AMQP, and then sends each connection a few bytes several times a second,
as heartbeats do. It also serves as a database: each connection is counted.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time

from looks import eventually

from .ports import free_port

MODES = ("fine", "tls", "silent", "closes", "denies", "refuses")

START = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\xce"
"""An answer to the greeting: a method frame, connection.start."""

ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
"""An answer to a handshake of TLS: it has failed."""

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
PACE = 0.1
"""Seconds between two heartbeats."""


class Broker:
    """A broker with a thread of its own; see README.md for the modes.

    accepted: how many connections there have been so far.
    """

    def __init__(self, host: str = "127.0.0.1", password: str = "guest") -> None:
        self.host = host
        self.port = free_port(host)
        self.password = password
        self.accepted = 0
        self._mode = "refuses"
        self._change = threading.Lock()
        self._listener: socket.socket | None = None
        self._clients: dict[socket.socket, bool] = {}  # whether it has greeted
        self._seen: set[object] = set()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def __enter__(self) -> Broker:
        self.mode = "fine"
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        self.mode = "refuses"

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """A transport_url."""
        return f"rabbit://openstack:{self.password}@{self.address}/"

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode}")
        with self._change:
            self._mode = mode
            if mode == "refuses" and self._listener:
                self._listener.close()
                self._listener = None
                self._drop()
            elif mode != "refuses" and not self._listener:
                self._listener = self._listen()

    def drop(self) -> None:
        """Close all connections."""
        with self._change:
            self._drop()

    def connections(self) -> int:
        """How many connections there are."""
        with self._change:
            return len(self._clients)

    def greeted(self) -> int:
        """How many of them have sent a client's greeting; they get heartbeats."""
        with self._change:
            return sum(self._clients.values())

    def asked(self) -> int:
        """How many connections there have been, with all that were begun before this call."""
        assert self._mode != "refuses"
        with self._change:
            self._seen.clear()  # a former client may have had the port of this probe
            before = self.accepted
        with socket.create_connection((self.host, self.port), 30) as probe:
            name = probe.getsockname()[:2]
            eventually(lambda: name in self._seen)  # in the order in which they come
        with self._change:
            assert self.accepted > before
            self.accepted -= 1
            return self.accepted

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(128)
        listener.setblocking(False)
        return listener

    def _drop(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def _run(self) -> None:
        beat = time.monotonic()
        while not self._over:
            with self._change:
                self._accept()
                self._read()
                if time.monotonic() >= beat:
                    beat = time.monotonic() + PACE
                    self._beat()
            time.sleep(0.01)

    def _accept(self) -> None:
        while self._listener:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._seen.add(address[:2])
            if self._mode == "closes":
                client.close()
                continue
            client.setblocking(False)
            self._clients[client] = False

    def _read(self) -> None:
        if not self._clients:
            return
        with selectors.DefaultSelector() as selector:
            for client in self._clients:
                selector.register(client, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select(0)}
        for client in [one for one in self._clients if one in ready]:
            try:
                said = client.recv(4096)
                if self._mode == "tls" and said[:1] == b"\x16":
                    client.send(ALERT)
                elif self._mode == "tls":
                    said = b""  # as haproxy does, before RabbitMQ
                if said and self._mode in ("fine", "denies") and not self._clients[client]:
                    client.send(START)
                self._clients[client] = self._clients[client] or bool(said)
            except BlockingIOError:
                continue
            except OSError:
                said = b""
            if not said:
                client.close()
                del self._clients[client]

    def _beat(self) -> None:
        if self._mode == "denies":
            for client in [one for one, greeted in self._clients.items() if greeted]:
                client.close()
                del self._clients[client]
        for client, greeted in self._clients.items():
            if greeted and self._mode == "fine":
                try:
                    client.send(HEARTBEAT)
                except OSError:
                    pass  # it does not read, or is gone
