"""The servers that a worker depends on: hosts and ports from its configuration, and whether
they answer.

Called by `broker` and `database`. What is read from the configuration is remembered, as hosts and
ports alone: a URL has a password in it.
"""
from __future__ import annotations

import os

from . import process, sockets
from .configfile import option
from .deadline import Deadline
from .errors import ConfigurationError
from .parameters import is_port
from .reason import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from socket import socket
    from typing import Any

    from .check import Subject
    from .parameters import Values
    from .sockets import Connection

    Server = tuple[str, int]
    """Host and port; or the path of a UNIX socket, and 0."""

ASKING = 3.0
"""Seconds that all servers together have to answer, at most."""


class Option:
    """An option whose value is a URL with one server, or several.

    section, name: of the option. older: the section and the name that it has had before.
    default: its value where the configuration has none.
    schemes: beginnings of URLs that are understood. port: where a URL names none.
    """

    __slots__ = ("_default", "_name", "_older", "_port", "_schemes", "_section")

    def __init__(
        self, section: str, name: str, *, default: str, schemes: Sequence[str], port: int,
        older: tuple[str, str] | None = None,
    ) -> None:
        self._section = section
        self._name = name
        self._older = older
        self._default = default
        self._schemes = tuple(schemes)
        self._port = port

    def __str__(self) -> str:
        return f"[{self._section}] {self._name}"

    def servers(self, subject: Subject, memory: dict[str, Any], port: int) -> list[Server] | None:
        """The servers; None if the URL is of another kind. ArgumentError if a file is unreadable.

        memory: where they are remembered, until a file changes. port: that the operator gave for
        a URL without one, 0 for the usual.
        """
        files = subject.daemon.read_files(subject.values)
        seal = [_seal(path) for path in files] + [port]
        known = memory.get("servers")
        if memory.get("files") == seal and isinstance(known, list) and all(map(_is_server, known)):
            return [(host, number) for host, number in known] or None
        found = self.read(files, port)
        memory["files"], memory["servers"] = seal, [[*server] for server in found or ()]
        return found

    def read(self, files: Sequence[str], port: int = 0) -> list[Server] | None:
        """The same, from the files."""
        url = self._url(files)
        scheme, _, rest = url.partition("://")
        if scheme.partition("+")[0] not in self._schemes:
            return None
        if path := _asked(rest, "unix_socket"):
            return [(path, 0)]
        return [_server(part, port or self._port)
                for part in rest.partition("/")[0].split(",") if part] or None

    def query(self, files: Sequence[str], name: str) -> str:
        """What the URL asks for by this name behind its question mark; empty if it does not."""
        return _asked(self._url(files), name)

    def _url(self, files: Sequence[str]) -> str:
        url = option(files, self._section, self._name)
        if not url and self._older:
            url = option(files, *self._older)
        return url or self._default


def _asked(url: str, name: str) -> str:
    for word in url.partition("?")[2].split("&"):
        key, _, value = word.partition("=")
        if key == name:
            return value
    return ""


def _seal(path: str) -> list[object]:
    """What differs after a change of the file."""
    try:
        status = os.stat(path)
    except OSError:
        return [path]
    return [path, status.st_mtime_ns, status.st_size, status.st_ino]


def _server(part: str, port: int) -> Server:
    """Host and port of `user:password@host:port`."""
    address = part.rpartition("@")[2]
    host, colon, number = address.rpartition(":")
    if colon and is_port(number) and (host.endswith("]") or ":" not in host):
        return host.strip("[]"), int(number)
    return address.strip("[]"), port


def _is_server(value: object) -> bool:
    return (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
            and isinstance(value[1], int))


def shown(server: Server) -> str:
    """`host:port`, for an exit reason."""
    host, port = server
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_of(values: Values, name: str) -> int:
    """The port that a parameter names, 0 for none; ConfigurationError if it is no port."""
    port = values.number(name) or 0
    if port > 65535:
        raise ConfigurationError(f"{name}={port} is not a port")
    return port


def connections(subject: Subject, servers: Iterable[Server]) -> list[tuple[int, Connection]]:
    """The connections of the daemon's processes to servers, each with the pid of its holder.

    PermissionDeniedError where sockets may not be looked at.
    """
    found = sockets.connections({port for _, port in servers})
    if not found:
        return []
    holders = sockets.held(process.tree(subject.master))
    return [(holders[one.inode][0], one) for one in found if one.inode in holders]


def silent(what: str, servers: Sequence[Server], greeting: bytes | None, deadline: Deadline
           ) -> str:
    """Empty if one of the servers answers; else how the last one of them fails.

    what: their name. greeting: bytes to which a server answers; None where a connection is all
    that can be asked for.
    """
    said: str = Reason("there is no ", what)
    limit = min(ASKING, deadline.remaining() * 0.5) / max(1, len(servers))
    for server in servers:
        one = Deadline(limit)
        try:
            trouble = one.within(_greet, server, greeting, max(0.1, limit))
        except TimeoutError:
            trouble = "does not answer in time"
        except MemoryError:
            trouble = "cannot be asked: this node is short of memory"
        if not trouble:
            return ""
        said = Reason(f"{what} at {shown(server)} ", trouble)
    return said


def tls_greeting() -> bytes:
    """What a client sends first by TLS (RFC 8446, 4.1.2): to be answered takes no certificate."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    said = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), said).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read()


def _connected(server: Server, seconds: float) -> socket:
    import socket

    if server[1]:
        return socket.create_connection(server, seconds)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        connection.connect(server[0])
    except BaseException:
        connection.close()
        raise
    return connection


def _greet(server: Server, greeting: bytes | None, seconds: float) -> str:
    """Empty if it answers; else how it fails."""
    import socket

    try:
        with _connected(server, seconds) as connection:
            if greeting is None:
                return ""
            connection.sendall(greeting)
            return "" if connection.recv(1) else "closes the connection without an answer"
    except (TimeoutError, socket.timeout):
        return "does not answer in time"
    except (socket.gaierror, ValueError):  # the latter of what is no name at all
        return "has a name that does not resolve"
    except ConnectionRefusedError:
        return "refuses connections"
    except (ConnectionResetError, BrokenPipeError):  # closed before it has read the greeting
        return "closes the connection without an answer"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"
