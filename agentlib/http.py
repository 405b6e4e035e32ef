"""One HTTP request, one answer: without redirects, with a bounded answer.

Called by `target` and `port`, in threads of a deadline (`deadline.Pending`). An answer tells apart
what the peer did from what went wrong on this node, which is not the peer's fault.

This is HTTP/1.1 as far as a request and its answer need it (RFC 9112), since http.client costs a
monitor more than all its other work. Where the RFC leaves a choice for what is not well formed, it
is http.client's.
"""
from __future__ import annotations

import errno

from .deadline import Deadline
from .tcp import Client, NotHereError, is_timeout, is_unresolved, words
from .url import Url

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

BODY_LIMIT = 1 << 20
"""Bytes: far more than one image, one volume or a version document take."""

LINE_LIMIT = 65536
"""Bytes of a line: status line, header, size of a chunk."""

FIELDS_LIMIT = 100
"""Lines of headers, or behind the last chunk, of one answer."""

LATE = "does not answer in time"
NO_MEMORY = "cannot be asked: this node is short of memory"

NO_HTTP = "does not speak HTTP"
CUT_OFF = "cuts its answer off"
CLOSED = "cuts the connection"
ENDLESS = "answers without end"
UNRESOLVED = "has a name that does not resolve"

LINE_ENDS = (b"\r\n", b"\n")
HEXADECIMAL = b"0123456789abcdefABCDEF"

LOCAL_TROUBLE = (
    errno.EADDRINUSE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
"""Errors that say that this node is short of something."""


class Answer:
    """What came back: an HTTP status with its whole body; or none (0), and what happened.

    local: whether this node is short of something, so that the request was never sent.
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


def ask(
    url: str, token: str, seconds: float, *, method: str = "GET", body: bytes = b"",
    headers: Mapping[str, str] | None = None, local: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request, redirects not followed.

    seconds: for all of it but the resolver's part, which the caller sees to. headers: further
    ones. local: only this host may answer. tls: what an https URL is verified by.
    """
    deadline = Deadline(seconds)
    client: Client | None = None
    try:
        where = Url(url)
        fields = {"Host": where.authority, "Accept": "application/json",
                  "Accept-Encoding": "identity", "Connection": "close",
                  "User-Agent": "openstack-ocf-agents", **(headers or {})}
        if token:
            fields["X-Auth-Token"] = token
        if method != "GET":
            fields["Content-Length"] = str(len(body))
        request = _request(method, (where.path or "/") + where.query, fields) + body
        client = Client(where, deadline, local=local, tls=tls)
        client.send(request)
        return answer(client.receive)
    except Exception as error:  # noqa: BLE001 - each ends in an answer
        return _failed(error, local=local)
    finally:
        if client:
            client.close()


def answer(receive: Callable[[], bytes]) -> Answer:
    """The answer in what a peer sends, whatever that is.

    receive: gives the next bytes, and none when the peer has closed; its errors are let through.
    """
    try:
        return _answer(_Stream(receive))
    except _BadAnswerError as error:
        return Answer(trouble=str(error))


class _BadAnswerError(Exception):
    """What the peer sends is no answer, or not all of it: says which."""


class _Stream:
    """What a peer sends, in lines and blocks instead of segments; never more than is asked for."""

    __slots__ = ("_kept", "_receive")

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._kept = bytearray()

    def line(self) -> bytes:
        """The next line, with its end; what there is without one when the peer has closed."""
        seen = 0
        while True:
            end = self._kept.find(b"\n", seen) + 1
            if (end or len(self._kept)) > LINE_LIMIT:
                raise _BadAnswerError(NO_HTTP)
            if end:
                return self._taken(end)
            seen = len(self._kept)
            if not self._more():
                return self._taken(seen)

    def block(self, limit: int) -> bytes:
        """So many bytes; fewer when the peer has closed."""
        while len(self._kept) < limit and self._more():
            pass
        return self._taken(limit)

    def _more(self) -> bool:
        piece = self._receive()
        self._kept += piece
        return bool(piece)

    def _taken(self, count: int) -> bytes:
        taken = bytes(self._kept[:count])
        del self._kept[:count]
        return taken


def _answer(stream: _Stream) -> Answer:
    """The answer, without the interim ones before it (RFC 9110, 15.2).

    They may be many: each says that the answer is still to come, until it is late.
    """
    status = 0
    while True:
        line = stream.line()
        if not line:
            if status > 100:  # Nothing follows: it was the answer.
                return Answer(status)
            raise _BadAnswerError(CLOSED)
        status = _status(line)
        length, chunked = _framing(stream)
        if not 100 <= status < 200 or status == 101:
            return Answer(status, _body(stream, status, length, chunked=chunked))


def _status(line: bytes) -> int:
    """The status in a status line (RFC 9112, 4)."""
    if not line.endswith(b"\n"):
        raise _BadAnswerError(CUT_OFF if line.startswith(b"HTTP/1.") else NO_HTTP)
    version, status = [*line.split(None, 2), b"", b""][:2]
    if not (len(version) == 8 and version.startswith(b"HTTP/1.") and version[7:].isdigit()
            and len(status) == 3 and status.isdigit() and status >= b"100"):
        raise _BadAnswerError(NO_HTTP)
    return int(status)


def _framing(stream: _Stream) -> tuple[int | None, bool]:
    """What the headers say about the end of the body: its length, if they have one; and whether it
    comes in chunks.

    A length that is no number is none, and of several the first counts.
    """
    lengths: list[bytes] = []
    chunked = False
    for line in _fields(stream):
        if not line.endswith(b"\n"):
            raise _BadAnswerError(CUT_OFF)
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            lengths.append(value.strip())
        elif name.lower() == b"transfer-encoding":
            chunked = value.lower().rpartition(b",")[2].strip() == b"chunked"
    if not lengths or not lengths[0].isdigit():
        return None, chunked
    # A long number is not made an int: some Pythons refuse that.
    digits = lengths[0].lstrip(b"0") or b"0"
    return (int(digits) if len(digits) < 18 else 1 << 62), chunked


def _fields(stream: _Stream) -> Iterator[bytes]:
    """The lines up to an empty one; the last is without its end when the peer has closed."""
    for _ in range(FIELDS_LIMIT):
        line = stream.line()
        if line in LINE_ENDS:
            return
        yield line
        if not line.endswith(b"\n"):
            return
    raise _BadAnswerError(NO_HTTP)


def _body(stream: _Stream, status: int, length: int | None, *, chunked: bool) -> bytes:
    """The body (RFC 9112, 6.3)."""
    if status in (101, 204, 304):
        return b""
    if chunked:
        return _chunks(stream)
    wanted = BODY_LIMIT + 1 if length is None else min(length, BODY_LIMIT + 1)
    body = stream.block(wanted)
    if len(body) > BODY_LIMIT:
        raise _BadAnswerError(ENDLESS)
    if length is not None and len(body) < wanted:
        raise _BadAnswerError(CUT_OFF)
    return body


def _chunks(stream: _Stream) -> bytes:
    """A body in chunks (RFC 9112, 7.1)."""
    body = bytearray()
    while True:
        line = stream.line()
        size = line.partition(b";")[0].strip()
        if not line.endswith(b"\n") or not size or size.strip(HEXADECIMAL):
            raise _BadAnswerError(CUT_OFF)
        count = int(size, 16)
        if not count:
            for _ in _fields(stream):
                pass  # Trailers are of no use; a peer that closes here has sent the whole body.
            return bytes(body)
        piece = stream.block(min(count, BODY_LIMIT + 1 - len(body)))
        body += piece
        if len(body) > BODY_LIMIT:
            raise _BadAnswerError(ENDLESS)
        if len(piece) < count:
            raise _BadAnswerError(CUT_OFF)
        line = stream.line()
        if line not in LINE_ENDS:
            raise _BadAnswerError(NO_HTTP if line.endswith(b"\n") else CUT_OFF)


def _request(method: str, target: str, fields: Mapping[str, str]) -> bytes:
    """The bytes before the body; ValueError for what cannot stand there, as a line break."""
    if not (target.isascii() and target.isprintable() and " " not in target):
        raise ValueError("a path that is none")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in fields.items():
        line = f"{name}: {value}"
        if not (line.isascii() and line.isprintable()):
            raise ValueError(f"no value for {name}")
        lines.append(line)
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _failed(error: Exception, *, local: bool) -> Answer:
    """What an error says of the peer, or of this node."""
    if is_timeout(error):
        return Answer(trouble=LATE)
    if is_unresolved(error):
        return Answer(trouble=UNRESOLVED)
    if isinstance(error, ConnectionRefusedError):
        return Answer(trouble="refuses connections")
    if isinstance(error, ConnectionError):
        return Answer(trouble=CLOSED)
    if isinstance(error, NotHereError):
        return Answer(trouble="listens on an address that is not on this node (any more)")
    if isinstance(error, OSError):
        said = words(error)
        # From bind, EADDRNOTAVAIL is a NotHereError; else the ephemeral ports are used up.
        if error.errno in LOCAL_TROUBLE or (local and error.errno == errno.EADDRNOTAVAIL):
            return Answer(trouble=f"cannot be asked: this node is short ({said})", local=True)
        return Answer(trouble=f"cannot be asked: {said}")
    if isinstance(error, ValueError):
        return Answer(trouble=NO_HTTP)
    if isinstance(error, MemoryError):
        return Answer(trouble=NO_MEMORY, local=True)
    raise error
