"""The client's end of a connection: where it leads, and that it keeps a deadline."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from agentlib import tcp
from agentlib.deadline import Deadline
from agentlib.http import ask
from agentlib.tcp import Client, NotHereError
from agentlib.url import Url
from unit.kit import GIVE_IPV6, PYTHON, ROOT, Service

PLENTY = 120.0
LATE = (TimeoutError, socket.timeout)
"""Two classes in Python 3.9."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that listens; the test accepts the connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(listener: socket.socket, host: str = "127.0.0.1") -> Url:
    return Url(f"http://{host}:{listener.getsockname()[1]}")


def test_bytes_go_to_and_fro(listener: socket.socket) -> None:
    """All that is sent arrives; received bytes are returned as they come, b"" at the end."""
    client = Client(url_of(listener), Deadline(PLENTY), local=True)
    peer, _ = listener.accept()
    with peer, peer.makefile("rwb") as file:
        client.send(b"x" * 60_000 + b"\n")
        assert b"x" * 60_000 + b"\n" == file.readline()
        file.write(b"y")
        file.flush()
        assert b"y" == client.receive()
    assert b"" == client.receive()
    client.close()


@pytest.mark.parametrize("local", [True, False])
def test_silence(listener: socket.socket, local: bool) -> None:
    """A peer that sends nothing does not keep the client beyond its deadline."""
    client = Client(url_of(listener), Deadline(1), local=local)
    with pytest.raises(LATE) as caught:
        client.receive()
    assert tcp.is_timeout(caught.value)
    client.close()


def test_peer_that_does_not_read(listener: socket.socket) -> None:
    """A peer that does not read does not keep the client beyond its deadline."""
    client = Client(url_of(listener), Deadline(1), local=True)
    with pytest.raises(LATE) as caught:
        client.send(bytes(1 << 26))
    assert tcp.is_timeout(caught.value)
    client.close()


def test_after_the_deadline(listener: socket.socket) -> None:
    """When the time is over nothing is read, though there are bytes to read."""
    client = Client(url_of(listener), Deadline(1), local=True)
    peer, _ = listener.accept()

    def without_end() -> None:
        peer.sendall(b"x" * 9)
        while True:
            peer.sendall(client.receive())

    with peer, pytest.raises(LATE) as caught:
        without_end()
    assert tcp.is_timeout(caught.value)
    client.close()


def test_name(service: Service) -> None:
    """A name is resolved, and each of its addresses tried: localhost may be ::1 first."""
    assert 300 == ask(f"http://localhost:{service.port}/", "", PLENTY).status
    assert ["127.0.0.1"] == service.peers


def test_no_name() -> None:
    """A name that does not resolve is another error than a peer that does not answer."""
    for host in ("api.invalid", "a..b", "x" * 64 + ".invalid", "\\"):
        with pytest.raises(socket.gaierror) as caught:
            Client(Url(f"http://{host}:9"), Deadline(PLENTY))
        assert tcp.is_unresolved(caught.value)


def test_refused() -> None:
    """Where nothing listens the connection is refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        for local in (True, False):
            with pytest.raises(ConnectionRefusedError):
                Client(url_of(bound), Deadline(PLENTY), local=local)


def test_not_here() -> None:
    """If only this host may answer, an address on none of its interfaces is not connected to."""
    with pytest.raises(NotHereError):
        Client(Url("http://192.0.2.77:9"), Deadline(PLENTY), local=True)  # RFC 5737: no host has it


def test_interface() -> None:
    """The interface of an IPv6 address counts: with an unknown interface it does not resolve."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.fail(f"no ::1 here ({error}): {GIVE_IPV6}")
    with listener:
        for interface in ("%1", ""):
            url = url_of(listener, f"[::1{interface}]")
            for local in (True, False):
                Client(url, Deadline(PLENTY), local=local).close()
        with pytest.raises(socket.gaierror) as caught:
            Client(url_of(listener, "[fe80::1%no-such-if]"), Deadline(PLENTY), local=True)
        assert tcp.is_unresolved(caught.value)


def test_nothing_stays_open(listener: socket.socket) -> None:
    """A connection that fails leaves no descriptor."""
    before = sorted(os.listdir("/proc/self/fd"))
    for url in ("http://192.0.2.77:9", "http://[fe80::1%lo]:9"):
        with pytest.raises(NotHereError):
            Client(Url(url), Deadline(PLENTY), local=True)
    with pytest.raises(ConnectionRefusedError):
        Client(Url("http://127.0.0.1:1"), Deadline(PLENTY))
    assert before == sorted(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("packed", "text"),
    [(bytes([127, 0, 0, 1]), "127.0.0.1"), (bytes(15) + b"\1", "::1"), (bytes(4), "0.0.0.0")])
def test_address(packed: bytes, text: str) -> None:
    """An address as text, as the kernel's tools write it."""
    assert text == tcp.address(packed)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("::", True), ("fe80::1", True), ("::ffff:1.2.3.4", True), ("::1%lo", False), ("", False),
     ("1.2.3.4", False), (":::", False), ("x", False)])
def test_is_ipv6(text: str, is_one: bool) -> None:
    """An IPv6 address is recognised only without brackets and interface."""
    assert is_one == tcp.is_ipv6(text)


def test_without_the_private_module(service: Service) -> None:
    """A Python without the private module _socket asks by `socket` itself."""
    code = ("import sys, socket\n"
            "sys.modules['_socket'] = None\n"
            "from agentlib import http, tcp\n"
            "assert tcp.socket is socket\n"
            f"print(http.ask('{service.url}/', '', 60, local=True).status)\n")
    done = subprocess.run([PYTHON, "-Es", "-c", f"import sys; sys.path[0] = {str(ROOT)!r}\n{code}"],
                          capture_output=True, text=True, check=False)
    assert (0, "300\n", "") == (done.returncode, done.stdout, done.stderr)
