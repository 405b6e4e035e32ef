"""The client's end of a TCP connection, which keeps a deadline whatever the peer does.

Called by `http`; `sockets` and `url` have the forms of an address from here.
"""
from __future__ import annotations

import errno
import os

try:
    # The half of `socket` that is written in C. The other half (enums, selectors, files) serves
    # nothing here, and would be a quarter of a monitor: 6 ms of CPU, 0.9 MB. The name is private;
    # but `socket` is `from _socket import *` in every CPython there has been, and what is used here
    # is documented there. Should the name ever go, `socket` does as well.
    import _socket as socket
except ImportError:
    import socket  # type: ignore[no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from .deadline import Deadline
    from .url import Url

BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of linux/in.h: bind to an address without using a port of it up."""

SEGMENT = 65536
"""Bytes that are read at once, at most."""


class NotHereError(OSError):
    """The address is on no interface of this node."""


class Client:
    """A connection to the peer of a URL; to be closed.

    local: only this host may answer. tls: for an https URL, what it is verified by.
    OSError (timeouts, gaierror and ssl.SSLError are such) for all that fails, here and in the
    methods; NotHereError for an address that is not on this host, if only that may answer.

    The resolver has no timeout: the caller has to make sure that it ends in time.
    """

    __slots__ = ("_deadline", "_socket")

    def __init__(
        self, url: Url, deadline: Deadline, *, local: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._deadline = deadline
        self._socket = _local(url, deadline) if local else _any(url, deadline)
        if tls:
            try:
                self._socket = _secured(self._socket, url, deadline, tls)
            except BaseException:
                self.close()
                raise

    def send(self, data: bytes) -> None:
        """Send it all."""
        _limit(self._socket, self._deadline)
        self._socket.sendall(data)

    def receive(self) -> bytes:
        """What the peer has sent meanwhile, or what comes next; empty when it has closed."""
        _limit(self._socket, self._deadline)
        return self._socket.recv(SEGMENT)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def is_timeout(error: BaseException) -> bool:
    """Whether it says that the time was over; that is two classes in Python 3.9."""
    return isinstance(error, (TimeoutError, socket.timeout))


def is_unresolved(error: BaseException) -> bool:
    """Whether it says that a name does not resolve."""
    return isinstance(error, socket.gaierror)


def is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, without an interface."""
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True


def address(packed: bytes) -> str:
    """An address as text, from its 4 bytes or 16 in network byte order."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _any(url: Url, deadline: Deadline) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    failure: OSError | None = None
    # As bytes: a str would be encoded as an international name, and the codec is costly.
    for family, kind, protocol, _, peer in socket.getaddrinfo(
            url.host.encode("ascii"), url.port, 0, socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            _limit(connection, deadline)
            connection.connect(peer)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure or OSError("the name has no address")


def _local(url: Url, deadline: Deadline) -> socket.socket:
    """A connection that can come about on this host only.

    It is bound to the very address that it asks: when a virtual IP has moved, the node that has
    it now must not answer for this one. The kernel chooses the port when it connects: a port
    that is chosen before is used up for all destinations, and a busy node runs out of them.
    """
    family = socket.AF_INET6 if ":" in url.host else socket.AF_INET
    # (address, port), for IPv6 with flow and the interface of a link-local address.
    peer = socket.getaddrinfo(url.host.encode("ascii"), url.port, family, socket.SOCK_STREAM, 0,
                              socket.AI_NUMERICHOST)[0][4]
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        try:
            connection.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        except OSError:
            pass  # A kernel before 4.2.
        try:
            connection.bind((peer[0], 0, *peer[2:]))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise NotHereError(error.errno, os.strerror(error.errno)) from error
            raise
        _limit(connection, deadline)
        connection.connect(peer)
    except BaseException:
        connection.close()
        raise
    return connection


def _secured(
    plain: socket.socket, url: Url, deadline: Deadline, tls: ssl.SSLContext,
) -> socket.socket:
    """The connection with TLS. (The timeout of a socket holds for the whole of a handshake.)"""
    from socket import socket as complete  # ssl wants one, and has imported it

    connection = complete(fileno=plain.detach())
    try:
        _limit(connection, deadline)
        return tls.wrap_socket(connection, server_hostname=url.address)
    except BaseException:
        connection.close()
        raise


def _limit(connection: socket.socket, deadline: Deadline) -> None:
    """Let the socket wait no longer than the deadline; TimeoutError if that is over.

    A timeout that was set once would begin anew with each byte that a peer drips, and would never
    be met by one that sends without end.
    """
    seconds = deadline.remaining()
    if not seconds:
        raise TimeoutError
    connection.settimeout(seconds)


def words(error: OSError) -> str:
    """What an error of a connection says; of TLS without what Python puts around its words."""
    said = str(getattr(error, "verify_message", "") or error.strerror or error)
    said, by_tls, _ = said.partition(" (_ssl.c:")
    if not by_tls:
        return said
    said = said.rpartition("] ")[2].removeprefix("TLS/SSL ")
    return f"TLS: {said}{' (is it http?)' if said == 'wrong version number' else ''}"
