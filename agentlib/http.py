"""One HTTP request, one answer: GET without redirects, with a bounded body.

Called by `target`, in threads of a deadline (`deadline.Pending`). An answer tells apart what the
peer did from what went wrong on this node, which is not the peer's fault.
"""
from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from http.client import HTTPConnection
    from socket import socket
    from typing import Any

BODY_LIMIT = 1 << 20
"""Bytes: far more than one image, one volume or a version document take."""

LATE = "does not answer in time"
NO_MEMORY = "cannot be asked: this node is short of memory"

BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of linux/in.h: bind to an address without using a port of it up."""

LOCAL_TROUBLE = (
    errno.EADDRINUSE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
"""Errors that say that this node is short of something."""


class Answer:
    """What came back: an HTTP status with its whole body; or none (0), and what happened.

    local: whether this node is short of something, so that the question was never asked.
    """

    __slots__ = ("body", "local", "status", "trouble")

    def __init__(
        self, status: int = 0, body: bytes = b"", trouble: str = "", *, local: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.local = local
        self.trouble = trouble or f"answers {status}"

    @property
    def late(self) -> bool:
        """Nothing came in time: the one trouble that may have come from behind the API."""
        return self.trouble == LATE


def get(
    url: str, token: str, seconds: float, *, headers: Mapping[str, str] | None = None,
    local: bool = False, tls: ssl.SSLContext | None = None,
) -> Answer:
    """One GET, redirects not followed. The caller sees to it that it ends in time.

    seconds: that the peer may be silent for. headers: further ones. local: only this host may
    answer.
    """
    client = _http_client(secure=tls is not None)
    authority, slash, path = url.partition("://")[2].partition("/")
    fields = {"Accept": "application/json", "Connection": "close",
              "User-Agent": "openstack-ocf-agents", **(headers or {})}
    if token:
        fields["X-Auth-Token"] = token
    connection: HTTPConnection | None = None
    try:
        if tls:
            connection = client.HTTPSConnection(authority, timeout=seconds, context=tls)
        else:
            connection = client.HTTPConnection(authority, timeout=seconds)
            if local:
                fields["Host"] = _without_zone(authority)
                connection.sock = _connected(*_host_and_port(authority), seconds)
        connection.request("GET", slash + path or "/", headers=fields)
        response = connection.getresponse()
        body = response.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            return Answer(trouble="answers without end")
        if response.length:  # what the peer promised and did not send
            return Answer(trouble="cuts its answer off")
        return Answer(response.status, body)
    except Exception as error:  # noqa: BLE001 - each ends in an answer
        return _failed(error, client, local=local)
    finally:
        if connection:
            connection.close()


def split(url: str) -> tuple[str, str, str]:
    """A URL in three: what is before the version, the version, and what follows it."""
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    for index, part in enumerate(parts[1:], 1):
        if part[:1] == "v" and part[1:2].isdigit():
            return (f"{scheme}://{'/'.join(parts[:index])}", part,
                    "/".join(parts[index + 1:]))
    return f"{scheme}://{parts[0]}", "", "/".join(parts[1:])


def _failed(error: Exception, client: Any, *, local: bool) -> Answer:
    """What an error says of the peer, or of this node."""
    import socket

    if isinstance(error, (TimeoutError, socket.timeout)):  # two classes in Python 3.9
        return Answer(trouble=LATE)
    if isinstance(error, (socket.gaierror, UnicodeError)):  # the latter of what is no name at all
        return Answer(trouble="has a name that does not resolve")
    if isinstance(error, ConnectionRefusedError):
        return Answer(trouble="refuses connections")
    if isinstance(error, client.IncompleteRead):
        return Answer(trouble="cuts its answer off")
    if isinstance(error, (ConnectionError, client.RemoteDisconnected)):
        return Answer(trouble="cuts the connection")
    if isinstance(error, OSError):
        said = str(getattr(error, "verify_message", "") or error.strerror or error)
        if isinstance(error, _NotHereError):
            return Answer(trouble="listens on an address that is not on this node (any more)")
        # What bind did not say is that the ephemeral ports are used up.
        if error.errno in LOCAL_TROUBLE or (local and error.errno == errno.EADDRNOTAVAIL):
            return Answer(trouble=f"cannot be asked: this node is short ({said})", local=True)
        return Answer(trouble=f"cannot be asked: {said}")
    if isinstance(error, (client.HTTPException, ValueError)):
        return Answer(trouble="does not speak HTTP")
    if isinstance(error, MemoryError):
        return Answer(trouble=NO_MEMORY, local=True)
    raise error


class _NotHereError(OSError):
    """The address is on no interface of this node."""


def _connected(host: str, port: int, seconds: float) -> socket:
    """A connection that can come about on this host only.

    It is bound to the very address that it asks: when a virtual IP has moved, the node that has
    it now must not answer for this one. The kernel chooses the port when it connects: a port
    that is chosen before is used up for all destinations, and a busy node runs out of them.
    """
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        # (address, port), for IPv6 with flow and the interface of a link-local address.
        peer = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0,
                                  socket.AI_NUMERICHOST)[0][4]
        try:
            connection.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        except OSError:
            pass  # A kernel before 4.2.
        try:
            connection.bind((peer[0], 0, *peer[2:]))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise _NotHereError(error.errno, os.strerror(error.errno)) from error
            raise
        connection.connect(peer)
    except BaseException:
        connection.close()
        raise
    return connection


def _host_and_port(authority: str) -> tuple[str, int]:
    host, _, port = authority.rpartition(":")
    return host.strip("[]"), int(port)


def _without_zone(authority: str) -> str:
    """A link-local address without its interface, which is nothing to the peer."""
    head, percent, tail = authority.partition("%")
    return head + tail[tail.index("]"):] if percent else authority


def _http_client(*, secure: bool) -> Any:
    """http.client; without TLS unless it is wanted.

    It would import ssl in any case, and that is the greater part of what a monitor costs: 4 MB,
    and with hashlib's 5 of 32 ms of CPU.
    """
    import sys

    if not secure and "http.client" not in sys.modules:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # to the import: there is none
        try:
            import http.client
        finally:
            del sys.modules["ssl"]
    import http.client

    if secure and not hasattr(http.client, "HTTPSConnection"):
        import importlib

        importlib.reload(http.client)
    return http.client
