"""A server inside the test process, in threads of its own; a subclass has its answers.

Reading requests and misbehaving is shared with the look-alike `daemon`: wire.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, TypeVar


def _load_wire() -> Any:
    """The executable `daemon` as a module, without a file in __pycache__."""
    path = Path(__file__).with_name("daemon")
    loader = SourceFileLoader("lookalike_daemon", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


wire = _load_wire()

S = TypeVar("S", bound="Server")


class Server:
    """A server of HTTP, or HTTPS with a certificate.

    Its port is its own from the beginning; it listens from start() on, and can do so again after
    stop_listening(). A subclass has answer().
    """

    def __init__(self, host: str = "127.0.0.1", *, certfile: str | None = None) -> None:
        self._context: Any = None
        if certfile:
            import ssl

            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certfile)
        # bound but never listening: keeps the port for us while the server does not listen
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._reservation = self._bind((host, 0))
        self._address: tuple[str, int] = self._reservation.getsockname()[:2]
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._connections_lock = threading.Lock()

    def __enter__(self: S) -> S:
        if not self.listens:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, conn: socket.socket, request: Any, peer: str) -> None:
        """Answer a request (wire.Request); peer: the client's address."""
        raise NotImplementedError

    # -- life

    def start(self) -> None:
        self._listener = self._bind(self._address)
        self._listener.listen(128)
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener,), name=type(self).__name__, daemon=True
        )
        self._acceptor.start()

    def close(self) -> None:
        self.stop_listening()
        self._reservation.close()

    @property
    def port(self) -> int:
        return self._address[1]

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        host, port = self._address
        scheme = "https" if self._context else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def listens(self) -> bool:
        return self._listener is not None

    def _bind(self, address: tuple[str, int]) -> socket.socket:
        bound = socket.socket(self._family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        return bound

    def stop_listening(self) -> None:
        """Refuse connections, and close those that hang."""
        if self._listener is None or self._acceptor is None:
            return
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close alone does not
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        with self._connections_lock:
            handlers = dict(self._connections)
        for conn in handlers.values():
            try:
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # ended by itself
        for thread in handlers:
            thread.join(10)

    # -- connections

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                conn, peer = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(conn, peer[0]), daemon=True)
            with self._connections_lock:
                self._connections[thread] = conn
            thread.start()

    def _serve(self, raw: socket.socket, peer: str) -> None:
        # the TLS socket takes the descriptor over; stop_listening shuts a copy of it down
        conn = raw
        try:
            if self._context:
                conn = self._context.wrap_socket(raw.dup(), server_side=True)
            request = wire.read_request(conn)
            if request is not None:
                self.answer(conn, request, peer)
        except OSError:
            pass  # the client, or the test, is gone
        finally:
            wire.finish(conn)
            raw.close()
            with self._connections_lock:
                self._connections.pop(threading.current_thread(), None)
