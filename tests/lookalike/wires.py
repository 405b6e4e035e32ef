"""Invalid answers, and grants of a token, as a peer may send them: a fault a row.

For tests/unit/test_api.py, which tests the check itself with all of them, and for
tests/agents/test_peers.py, where agents get some of them as processes.
"""

from __future__ import annotations

import functools
import gzip
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import pytest

from .case import Answer


def api_code(status: int) -> int:
    """The monitor's code for a status that answers the request with a token."""
    return {200: 0, 403: 190}.get(status, 1)


def keystone_words(status: int) -> str:
    """Words of the monitor's reason if Keystone answers a request for a token with a status."""
    return "refuses user monitor" if status in (400, 401, 403) else "at http"


# ---- on the wire


def http(*headers: str, body: bytes = b"{}", status: str = "200 OK") -> bytes:
    """The bytes of an answer, with no header but those given."""
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""])
    return head.encode("latin-1") + body


def sized(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with the length of its body."""
    return http(f"Content-Length: {len(body)}", *headers, body=body, status=status)


@functools.cache
def bomb() -> bytes:
    """2 GB of zeros in gzip, a thousandth of their size; made once, when it is first sent."""
    zeros, times = bytes(1 << 24), 128
    pack = zlib.compressobj(9, wbits=-15)
    block = pack.compress(zeros) + pack.flush(zlib.Z_FULL_FLUSH)  # needs no earlier block
    checksum = 0
    for _ in range(times):
        checksum = zlib.crc32(zeros, checksum)
    head, last = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff", b"\x03\0"
    tail = struct.pack("<II", checksum, len(zeros) * times)
    return sized(head + block * times + last + tail, "Content-Encoding: gzip")


def big() -> bytes:
    """50 MB of JSON."""
    return sized(b"[" + b"0," * 25_000_000 + b"0]")


@dataclass
class Wire:
    """One fault of a peer's answer.

    name: of the row. answer: what is sent.
    api, words: code and words of the monitor if the authenticated request gets this answer.
    slow: the monitor needs all its time.
    versions: whether it also counts as a version document.
    """

    name: str
    answer: Answer
    api: int = 1
    words: tuple[str, ...] = ()
    slow: bool = False
    versions: bool = False


HTTP = ("does not speak HTTP",)
CUT = ("cuts its answer off",)
GONE = ("cuts the connection",)
LATE = ("does not answer in time",)

WIRE = [
    # no answer, or a closed connection
    Wire("silent", "hang", words=LATE, slow=True),
    Wire("byte-a-second", "drip", words=LATE, slow=True),
    Wire("silent-amid-the-body", "stall", words=LATE, slow=True),
    Wire("reset", "reset", words=GONE),
    Wire("closed", "close", words=GONE),
    # no end
    Wire("endless-body", "endless_body", words=("without end",)),
    Wire("endless-chunks", "endless_chunks", words=("without end",)),
    Wire("endless-headers", "endless_headers"),
    Wire("endless-header", "endless_header", words=HTTP),
    Wire("endless-1xx", "endless_1xx", slow=True),
    Wire("50-megabytes", big, words=("without end",)),
    Wire("header-line-of-100-kB", sized(b"{}", "X-Long: " + "x" * 100_000), words=HTTP),
    Wire("1000-headers", sized(b"{}", *(f"X-{n}: x" for n in range(1000))), words=HTTP),
    # wrong length
    Wire("length-too-long", "wrong_length", words=CUT),
    Wire("length-beyond-64-bit", http(f"Content-Length: {1 << 70}"), words=CUT),
    Wire("length-too-short", http("Content-Length: 1"), 0),
    Wire("length-negative", http("Content-Length: -5"), 0),
    Wire("length-no-number", http("Content-Length: two"), 0),
    Wire("two-lengths", http("Content-Length: 2", "Content-Length: 1"), 0),
    Wire("no-length", http(), 0),
    # chunks
    Wire("chunks-cut-off", http("Transfer-Encoding: chunked", body=b"5\r\nab"), words=CUT),
    Wire("chunks-without-last", http("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n"), words=CUT),
    Wire("chunk-of-no-size", http("Transfer-Encoding: chunked", body=b"zz\r\n{}"), words=CUT),
    Wire("chunk-of-size--1", http("Transfer-Encoding: chunked", body=b"-1\r\n{}\r\n")),
    Wire("chunk-too-big", http("Transfer-Encoding: chunked", body=b"f" * 20 + b"\r\n{}")),
    # redirects
    Wire("redirect-loop", "redirect_loop", words=("302",)),
    Wire("redirect-nowhere", sized(b"", status="302 Found"), words=("302",)),
    Wire("redirect-to-junk", sized(b"", "Location: ht!tp://[", status="307 x"), words=("307",)),
    Wire("redirect-to-file", sized(b"", "Location: file:///etc/passwd", status="301 x")),
    # another protocol
    Wire("smtp", "nonsense"),
    Wire("ssh", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", words=HTTP),
    Wire("tls", b"\x15\x03\x01\x00\x02\x02\x46"),
    Wire("binary", bytes(range(256)) * 20),
    Wire("zeros", bytes(100_000)),
    Wire("empty-lines", b"\r\n" * 100),
    Wire("http-0.9", b"<html><body>It works!</body></html>\r\n", words=HTTP),
    Wire("http-2", b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\0\xa0\0\0\0\2\0\0\0\0", words=()),
    Wire("http-9.9", b"HTTP/9.9 200 OK\r\n\r\n{}", words=HTTP),
    # odd status lines
    Wire("status-word", http(status="OK 200"), words=HTTP),
    Wire("status-20", http(status="20 OK"), words=HTTP),
    Wire("status-2000", http(status="2000 OK"), words=HTTP),
    Wire("status-999", http(status="999 x"), words=("999",)),
    Wire("status--200", http(status="-200 OK"), words=HTTP),
    Wire("status-missing", http(status=""), words=HTTP),
    Wire("status-cut-off", b"HTTP/1.1 2"),
    Wire("status-200-alone", http(status="200"), 0),
    # odd headers
    Wire("header-of-no-name", http(": none", "no colon"), 0),
    Wire("header-with-zeros", sized(b"{}", "X-Zero: \0\0"), 0),
    Wire("header-beyond-ascii", sized(b"{}", "X-\xe4: \xff\xfe"), 0),
    Wire("cookies", sized(b"{}", *(f"Set-Cookie: c{n}={'x' * 500}; Path=/" for n in range(50))), 0),
    # compressed
    Wire("gzip", sized(gzip.compress(b"{}"), "Content-Encoding: gzip"), 0),
    Wire("gzip-bomb", bomb, words=("without end",)),
    Wire("gzip-junk", sized(b"not gzip", "Content-Encoding: gzip"), 0),
    Wire("packed-unheard-of", sized(b"{}", "Content-Encoding: ar, zip"), 0),
    # empty, or nonsense; the authenticated request's answer was 200, and whole
    Wire("empty", sized(b""), 0),
    Wire("deep", sized(b'{"versions": ' + b"[" * 100_000), 0, versions=True),
    Wire("not-utf-8", sized(b"\xff\xfe\x80"), 0),
]


# ---- Keystone's grants

GOOD: dict[str, Any] = {
    "expires_at": "2030-01-01T01:00:00.000000Z",
    "issued_at": "2030-01-01T00:00:00.000000Z",
    "methods": ["password"],
    "catalog": [],
}


def grant(token: object = GOOD, *, subject: str | None = "gAAAA-good", raw: bytes = b"") -> bytes:
    """Keystone's answer to a token request; raw: the body."""
    body = raw or json.dumps({"token": token}).encode()
    headers = [] if subject is None else [f"X-Subject-Token: {subject}"]
    return sized(body, "Content-Type: application/json", *headers, status="201 Created")


def but(**changes: object) -> bytes:
    """A good grant with these changes; None takes a part away."""
    token = {**GOOD, **changes}
    return grant({name: value for name, value in token.items() if value is not None})


GRANTS: list[Any] = [
    # the token itself
    pytest.param(grant(), 0, id="good"),
    pytest.param(grant(subject=None), 190, id="no-token"),
    pytest.param(grant(subject=""), 190, id="empty-token"),
    pytest.param(grant(subject="  "), 190, id="blank-token"),
    pytest.param(grant(subject="a\x00b"), 190, id="token-with-zero"),
    pytest.param(grant(subject="a\x7f\x1b[2Jb"), 190, id="token-with-escape"),
    pytest.param(grant(subject="t\xf6k\xe9n"), 190, id="token-beyond-ascii"),
    pytest.param(grant(subject="\"'$(id)`;&|<>\\{}%s"), 0, id="token-of-signs"),
    pytest.param(grant(subject="x" * 60_000), 0, id="token-of-60-kB"),
    pytest.param(grant(subject="x" * 100_000), 190, id="token-of-100-kB"),
    # its life
    pytest.param(but(expires_at="2031-01-01T00:00:00.000000Z"), 0, id="life-of-a-year"),
    pytest.param(but(expires_at="9999-12-31T23:59:59.000000Z"), 0, id="life-of-8000-years"),
    pytest.param(but(expires_at="2030-01-01T00:00:00.000000Z"), 190, id="no-life"),
    pytest.param(but(expires_at="2029-12-31T23:00:00.000000Z"), 190, id="over-before-it-began"),
    pytest.param(but(expires_at=None), 190, id="no-expiry"),
    pytest.param(but(issued_at=None), 190, id="no-beginning"),
    pytest.param(but(expires_at="tomorrow"), 190, id="expires-tomorrow"),
    pytest.param(but(expires_at=""), 190, id="expires-empty"),
    pytest.param(but(expires_at="10000-01-01T00:00:00Z"), 190, id="expires-in-10000"),
    pytest.param(but(expires_at="0000-00-00T00:00:00Z"), 190, id="expires-in-0"),
    # of wrong types
    *(
        pytest.param(but(expires_at=junk), 190, id=f"expires-{type(junk).__name__}")
        for junk in (5, 1.5, True, ["2030"], {"at": "2030"})
    ),
    *(
        pytest.param(grant(junk), 190, id=f"token-is-{type(junk).__name__}")
        for junk in (None, 5, "text", [], [GOOD], True)
    ),
    *(
        pytest.param(grant(raw=junk), 190, id=f"json-{name}")
        for name, junk in {
            "empty-object": b"{}",
            "list": b"[]",
            "text": b'"token"',
            "null": b"null",
            "number": b"1e999",
            "NaN": b"NaN",
            "blank": b" ",
            "html": b"<html><body>502 Bad Gateway</body></html>",
            "cut-off": json.dumps({"token": GOOD}).encode()[:-9],
            "two": b"{}{}",
            "deep-list": b"[" * 100_000,
            "deep-object": b'{"token":' * 100_000,
            "number-of-10000-digits": b'{"token": ' + b"9" * 10_000 + b"}",
            "not-utf-8": b'{"token": {"expires_at": "\xff\xfe\x80"}}',
            "lone-surrogate": b'{"token": {"expires_at": "\\ud800"}}',
            "utf-32-half": b"\xff\xfe\0\0{\0",
        }.items()
    ),
    # odd, and good all the same
    pytest.param(but(catalog=None), 0, id="no-catalog"),
    pytest.param(but(catalog=[{"type": 5}, None, "x"]), 0, id="catalog-of-junk"),
    pytest.param(but(user=[], project=7, roles="x", methods=None), 0, id="other-parts-junk"),
    pytest.param(
        grant(raw=b'{"token": 1, "token": ' + json.dumps(GOOD).encode() + b"}"), 0, id="token-twice"
    ),
]  # fmt: skip
