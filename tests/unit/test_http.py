"""The HTTP client: an answer is understood, or refused with a reason; its length is bounded."""

from __future__ import annotations

import http.client
import io
import socket
import string
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentlib.http import (
    BODY_LIMIT,
    CLOSED,
    CUT_OFF,
    ENDLESS,
    FIELDS_LIMIT,
    LATE,
    LINE_LIMIT,
    NO_HTTP,
    Answer,
    answer,
    ask,
)
from unit.kit import Service

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def peer() -> Iterator[Service]:
    """A server that answers 200 to requests with a token, and 300 to those without."""
    server = Service()
    yield server
    server.close()


def receiving(segments: Iterator[bytes]) -> Callable[[], bytes]:
    """A peer that sends these, and closes."""
    return lambda: next(segments, b"")


def of(*segments: bytes) -> Answer:
    return answer(receiving(iter(segments)))


def facts(one: Answer) -> tuple[int, bytes, str]:
    return one.status, one.body, one.trouble


# --- what is well formed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        pytest.param(OK + b"Content-Length: 2\r\n\r\n{}", 200, b"{}", id="length"),
        pytest.param(OK + b"Content-Length: 2\r\n\r\n{}more", 200, b"{}", id="more than said"),
        pytest.param(OK + b"content-length:2\r\n\r\n{}", 200, b"{}", id="no blank, small letters"),
        pytest.param(OK + b"Content-Length: 0\r\n\r\n", 200, b"", id="nothing"),
        pytest.param(OK + b"Content-Length: 0002\r\n\r\n{}", 200, b"{}", id="zeros"),
        pytest.param(OK + b"\r\n{}", 200, b"{}", id="until close"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n{}", 200, b"{}", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200\r\n\r\n{}", 200, b"{}", id="no reason"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", 200, b"{}", id="bare line feeds"),
        pytest.param(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204, b"", id="204"),
        pytest.param(b"HTTP/1.1 304 No\r\n\r\nmore", 304, b"", id="304"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\nmore", 101, b"", id="101"),
        pytest.param(CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", 200, b"{}", id="a chunk"),
        pytest.param(CHUNKED + b"1;a=b\r\n{\r\n0001\r\n}\r\n0\r\nX: y\r\n\r\n", 200, b"{}",
                     id="chunks with extension and trailer"),
        pytest.param(CHUNKED + b"A\r\n0123456789\r\n0\r\n", 200, b"0123456789",
                     id="no end behind the last chunk"),
        pytest.param(OK + b"Content-Length: 9\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"
                     b"2\r\n{}\r\n0\r\n\r\n", 200, b"{}", id="chunks over length"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n{}", 200, b"{}", id="100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2 + OK + b"\r\n{}", 200,
                     b"{}", id="103, twice"),
        pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n", 102, b"", id="102 and nothing else"),
    ],
)
def test_answer(raw: bytes, status: int, body: bytes) -> None:
    """A well-formed answer is understood, as one segment or byte by byte."""
    expected = (status, body, f"answers {status}")
    assert expected == facts(of(raw))
    assert expected == facts(of(*(raw[i:i + 1] for i in range(len(raw)))))


@pytest.mark.parametrize(
    ("raw", "trouble"),
    [
        (b"", CLOSED),
        (b"HTTP/1.1 100 Continue\r\n\r\n", CLOSED),
        (b"H", NO_HTTP),
        (b"HTTP/1.1 2", CUT_OFF),
        (b"HTTP/1.1 200 OK\r\n", CUT_OFF),
        (b"HTTP/1.1 200 OK\r\nContent-Le", CUT_OFF),
        (OK + b"Content-Length: 3\r\n\r\n{}", CUT_OFF),
        (OK + b"Content-Length: %d\r\n\r\n{}" % (1 << 70), CUT_OFF),
        (OK + b"Content-Length: " + b"9" * 9999 + b"\r\n\r\n{}", CUT_OFF),
        (CHUNKED, CUT_OFF),
        (CHUNKED + b"2", CUT_OFF),
        (CHUNKED + b"2\r\n{", CUT_OFF),
        (CHUNKED + b"2\r\n{}", CUT_OFF),
        (CHUNKED + b"2\r\n{}\r\n", CUT_OFF),
        (CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n", CUT_OFF),
        (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", CUT_OFF),
        (CHUNKED + b"\r\n{}\r\n0\r\n\r\n", CUT_OFF),
        (CHUNKED + b"f" * 9999 + b"\r\n{}", CUT_OFF),
        (CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", NO_HTTP),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", NO_HTTP),
        (b"HTTP/2 200\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 +20 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 099 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 2_0 OK\r\n\r\n", NO_HTTP),
        (b"\r\n" + OK + b"\r\n", NO_HTTP),
    ],
    ids=lambda part: repr(part)[:60],
)
def test_no_answer(raw: bytes, trouble: str) -> None:
    """An invalid or incomplete answer has no status, and the trouble is named."""
    assert (0, b"", trouble) == facts(of(raw))
    assert (0, b"", trouble) == facts(of(*(raw[i:i + 1] for i in range(len(raw)))))


@pytest.mark.parametrize("length", [b"-5", b"two", b"", b"+2", b"1_0", b"\xb2", b"2 2", b"2, 2"])
def test_no_length(length: bytes) -> None:
    """A length that is no number does not count: the answer goes on until the peer closes."""
    raw = OK + b"Content-Length: " + length + b"\r\n\r\n{}"
    assert (200, b"{}", "answers 200") == facts(of(raw))


@pytest.mark.parametrize(("first", "second", "body"), [(2, 1, b"{}"), (1, 2, b"{")])
def test_two_lengths(first: int, second: int, body: bytes) -> None:
    """Of two lengths that differ the first counts, as for http.client."""
    raw = OK + b"Content-Length: %d\r\nContent-Length: %d\r\n\r\n{}" % (first, second)
    assert (200, body, "answers 200") == facts(of(raw))


# --- endless answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "piece", "trouble", "limit"),
    [
        pytest.param(b"", b"x" * 1000, NO_HTTP, LINE_LIMIT, id="status line"),
        pytest.param(OK, b"X: y\r\n", NO_HTTP, FIELDS_LIMIT * 6, id="headers"),
        pytest.param(OK, b"x" * 1000, NO_HTTP, LINE_LIMIT, id="a header"),
        pytest.param(OK, b"X: " + b"y" * 60_000 + b"\r\n", NO_HTTP, FIELDS_LIMIT * 60_005,
                     id="long headers"),
        pytest.param(OK + b"\r\n", b"x" * 1000, ENDLESS, BODY_LIMIT, id="body"),
        pytest.param(OK + b"Content-Length: 99999999\r\n\r\n", b"x" * 1000, ENDLESS, BODY_LIMIT,
                     id="a body as long as was said"),
        pytest.param(CHUNKED, b"3e8\r\n" + b"x" * 1000 + b"\r\n", ENDLESS, BODY_LIMIT * 1.1,
                     id="chunks"),
        pytest.param(CHUNKED + b"fffffffffff\r\n", b"x" * 1000, ENDLESS, BODY_LIMIT, id="a chunk"),
        pytest.param(CHUNKED, b"x" * 1000, NO_HTTP, LINE_LIMIT, id="size of a chunk"),
        pytest.param(CHUNKED, b"0" * 1000, NO_HTTP, LINE_LIMIT, id="size of zeros"),
        pytest.param(CHUNKED + b"0\r\n", b"X: y\r\n", NO_HTTP, FIELDS_LIMIT * 6, id="trailers"),
    ],
)
def test_endless(start: bytes, piece: bytes, trouble: str, limit: float) -> None:
    """Of an endless answer no more is read than an answer may have."""
    read = 0

    def receive() -> bytes:
        nonlocal read
        segment = piece if read else start + piece
        read += len(segment)
        return segment

    assert (0, b"", trouble) == facts(answer(receive))
    assert read <= limit + len(start) + 2 * len(piece)


def test_as_long_as_may_be() -> None:
    """A body, a line and headers of just the length that is allowed are taken."""
    body = b"x" * BODY_LIMIT
    line = b"X: " + b"y" * (LINE_LIMIT - 5) + b"\r\n"
    many = b"X: y\r\n" * (FIELDS_LIMIT - 2)
    assert (200, body, "answers 200") == facts(of(OK + line + many + b"\r\n" + body))
    assert NO_HTTP == of(OK + b"X" + line + b"\r\n").trouble
    assert NO_HTTP == of(OK + line + many + b"X: y\r\n\r\n").trouble


# --- whatever it is -----------------------------------------------------------------------------

PIECES = st.sampled_from([
    OK, b"HTTP/1.1 ", b"HTTP/1.0 500 x\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"200 ", b"\r\n",
    b"\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"5", b"-1", b"\r\n\r\n", b"0",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"ff", b";", b" ", b":", b"x" * LINE_LIMIT])
JUNK = st.binary(max_size=200) | st.lists(PIECES | st.binary(max_size=9), max_size=12).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def cut(raw: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in segments, none of which is empty."""
    edges = sorted({0, *(edge for edge in cuts if edge < len(raw)), len(raw)})
    return [raw[start:end] for start, end in zip(edges, edges[1:])]


@given(raw=JUNK, cuts=CUTS)
@example(raw=OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", cuts=[])
@example(raw=CHUNKED + b"f" * 60_000 + b"\r\n", cuts=[])
@example(raw=b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n", cuts=[])
def test_any_bytes(raw: bytes, cuts: list[int]) -> None:
    """Whatever comes, in whatever segments: a status that is in it, or the trouble."""
    found = of(raw)
    assert facts(found) == facts(of(*cut(raw, cuts)))
    if found.status:
        assert 100 <= found.status <= 999
        assert b"%d" % found.status in raw
        assert f"answers {found.status}" == found.trouble
    else:
        assert found.trouble in (CLOSED, CUT_OFF, NO_HTTP, ENDLESS)
        assert b"" == found.body
    assert not found.local


NAMES = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=9).filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding"))
TEXTS = st.text(string.ascii_letters + string.digits + " ;,=/:\"'", max_size=20)
HEADERS = st.lists(st.builds("{}: {}\r\n".format, NAMES, TEXTS), max_size=9)
SIZES = st.lists(st.integers(1, 40), max_size=9)


def framed(body: bytes, how: str, sizes: list[int]) -> tuple[str, bytes]:
    """The header that says how long the body is, and the body as it is sent."""
    if how == "length":
        return f"Content-Length: {len(body)}\r\n", body
    if how == "close":
        return "", body
    sent, rest = b"", body
    for size in [*sizes, *repeat(40, len(body))]:
        piece, rest = rest[:size], rest[size:]
        if piece:
            sent += b"%x\r\n%s\r\n" % (len(piece), piece)
    return "Transfer-Encoding: chunked\r\n", sent + b"0\r\n\r\n"


class Sent:
    """A socket for http.client, from which these bytes come."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._raw)


@given(status=st.integers(200, 999), reason=TEXTS, before=HEADERS, after=HEADERS,
       body=st.binary(max_size=300), how=st.sampled_from(["length", "close", "chunked"]),
       sizes=SIZES, interim=st.booleans(), cuts=CUTS)
def test_as_http_client(
    status: int, reason: str, before: list[str], after: list[str], body: bytes, how: str,
    sizes: list[int], interim: bool, cuts: list[int],
) -> None:
    """This client reads a well-formed answer as Python's own client does."""
    header, sent = framed(body, how, sizes)
    head = f"HTTP/1.1 {status} {reason}\r\n" + "".join([*before, header, *after]) + "\r\n"
    raw = (b"HTTP/1.1 100 Continue\r\n\r\n" if interim else b"") + head.encode() + sent
    response = http.client.HTTPResponse(Sent(raw))  # type: ignore[arg-type]
    response.begin()
    expected = (response.status, response.read(), f"answers {status}")
    assert expected == facts(of(*cut(raw, cuts)))


# --- the request --------------------------------------------------------------------------------


def test_request() -> None:
    """The request has the path and query of the URL, the token, the headers, and one Host."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as beside:
        peer = f"127.0.0.1:{listener.getsockname()[1]}"
        asked = beside.submit(ask, f"HTTP://{peer}/v2/x?limit=1&y=/?", "tok en", 60,
                              headers={"X-Version": "volume 3.0"})
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as file:
            lines = list(iter(file.readline, b"\r\n"))
            file.write(OK + b"\r\n{}")
        assert (200, b"{}", "answers 200") == facts(asked.result())
    assert b"GET /v2/x?limit=1&y=/? HTTP/1.1\r\n" == lines[0]
    assert sorted(line.decode() for line in lines[1:]) == [
        "Accept-Encoding: identity\r\n", "Accept: application/json\r\n", "Connection: close\r\n",
        f"Host: {peer}\r\n", "User-Agent: openstack-ocf-agents\r\n", "X-Auth-Token: tok en\r\n",
        "X-Version: volume 3.0\r\n"]


BREAKS = ["\r\n", "\n", "\r", "\0", "\x85", "\u2028", "\x7f", "\t"]


@pytest.mark.parametrize("sign", BREAKS, ids=ascii)
@pytest.mark.parametrize("place", ["path", "query", "host", "token", "name", "value"])
def test_no_injection(service: Service, place: str, sign: str) -> None:
    """A request with a character that would end a line, wherever that is, is not sent."""
    url = f"{service.url}/v2/x?y=z"
    if place == "path":
        url = url.replace("/v2/", f"/v2{sign}X: y/")
    elif place == "query":
        url += f"{sign}X: y"
    elif place == "host":
        url = url.replace("/v2", f"{sign}X: y/v2", 1)
    headers = {"name": {f"X{sign}Y": "y"}, "value": {"X": f"y{sign}Y: z"}}.get(place, {})
    token = f"a{sign}X: y" if place == "token" else "token"
    assert (0, b"", NO_HTTP) == facts(ask(url, token, 60, headers=headers))
    assert [] == service.requests


@given(text=st.text(max_size=9) | st.text(st.sampled_from("a \r\n:"), max_size=9))
def test_any_token(text: str, peer: Service) -> None:
    """Whatever a token is: it is sent as it is, on one line, or not at all."""
    before = len(peer.requests)
    status = ask(peer.url + "/v2/", text, 60).status
    sent = peer.requests[before:]
    if status:
        assert [("/v2/", text.strip(" "))] == sent
    else:
        assert [] == sent
        assert not (text.isascii() and text.isprintable())


@pytest.mark.parametrize("url", ["", "x", "://", "http://", "ftp://h/", "http://h:port/",
                                 "http://[::1/", "http:///x", "http://h h/", "http://h/#x"])
def test_no_url(url: str) -> None:
    """A text that is no URL is trouble with the answer, and no exception."""
    assert (0, b"", NO_HTTP) == facts(ask(url, "", 60))


# --- in time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["hang", "drip", "stall", "endless_1xx"])
def test_late(service: Service, how: str) -> None:
    """A peer that wastes the time is late, though it sends a byte a second, or without end."""
    service.public = how
    found = ask(service.url + "/", "", 2, local=True)
    assert (LATE, True, False) == (found.trouble, found.late, found.local)


def test_no_time_left(service: Service) -> None:
    """With no time left the answer is late, and nothing is sent."""
    assert LATE == ask(service.url + "/", "", 0).trouble
    assert [] == service.requests


@pytest.mark.parametrize("how", ["reset", "close"])
def test_gone(service: Service, how: str) -> None:
    """A peer that sends no byte has closed the connection."""
    service.public = how
    assert CLOSED == ask(service.url + "/", "", 60).trouble
