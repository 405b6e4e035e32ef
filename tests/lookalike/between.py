"""TLS and a resolver between a client and its peers, which misbehave. For tests.

with Front(service.config.port, "tls", certificate) as front:
    ... url = f"https://localhost:{front.port}" ...
with Nameserver("mute", folder) as nameserver:
    ... prefix = nameserver.prefix ...
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
from pathlib import Path

SAY = {
    "alert": b"\x15\x03\x03\x00\x02\x02\x28",
    # as a server of plain HTTP answers a TLS handshake
    "plain": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
}
FRONTS = ("tls", "tls1", "hang", "slam", *SAY)

RCODES = {"servfail": 2, "nxdomain": 3}
NAMESERVERS = ("mute", "closed", *RCODES)


class Front:
    """Listens, and passes all bytes on to a port of this host; or does not, see README.md.

    certificate: file with a certificate and its key, for an end of TLS.
    """

    def __init__(self, port: int, how: str, certificate: Path | None = None) -> None:
        assert how in FRONTS, how
        self._target = port
        self._how = how
        self._context = None
        if how in ("tls", "tls1"):
            assert certificate, "TLS wants a certificate"
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
            if how == "tls1":
                self._context.set_ciphers("ALL:@SECLEVEL=0")
                self._context.minimum_version = ssl.TLSVersion.TLSv1
                self._context.maximum_version = ssl.TLSVersion.TLSv1
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Front:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        self._listener.close()
        for end in self._ends:
            _cut(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._ends.append(client)
            if self._how == "slam":
                _cut(client)
            elif self._how != "hang":
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._how in SAY:
                client.recv(65536)
                client.sendall(SAY[self._how])
                return
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
                self._ends.append(client)
            server = socket.create_connection(("127.0.0.1", self._target))
            self._ends.append(server)
            threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
            _pass_on(server, client)
        except OSError:
            pass  # no handshake, or nothing listens at the target
        finally:
            _cut(client)


def _pass_on(here: socket.socket, there: socket.socket) -> None:
    try:
        while piece := here.recv(65536):
            there.sendall(piece)
    except OSError:
        pass  # one of them is gone
    _cut(there)


def _cut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has no peer any more
    end.close()


class Nameserver:
    """A nameserver that knows no name, on a loopback address of its own.

    prefix: runs a command with no other nameserver, and with a resolver that waits long; its
    mount namespace ends with the command.
    """

    def __init__(self, how: str, folder: Path) -> None:
        assert how in NAMESERVERS, how
        self._how = how
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            address = f"127.53.{random.randint(1, 254)}.{random.randint(1, 254)}"
            try:
                self._socket.bind((address, 53))
                break
            except OSError:
                continue  # another test's
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        resolv, nsswitch = folder / "resolv.conf", folder / "nsswitch.conf"
        resolv.write_text(f"nameserver {address}\noptions timeout:30 attempts:5\n")
        nsswitch.write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        script = (
            f"mount --bind {resolv} /etc/resolv.conf && "
            f'mount --bind {nsswitch} /etc/nsswitch.conf && exec "$@"'
        )
        self.prefix = ("unshare", "-m", "sh", "-c", script, "sh")

    def __enter__(self) -> Nameserver:
        if self._how == "closed":
            self._socket.close()
        elif self._how != "mute":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        while not self._ended.is_set():
            try:
                query, client = self._socket.recvfrom(4096)
            except OSError:  # nothing came; the timeout has another name before Python 3.10
                continue
            # the question as it came: cut off after its name, type and class
            end = query.index(b"\0", 12) + 5
            flags = bytes([0x81, 0x80 | RCODES[self._how]])
            head = query[:2] + flags + b"\0\1" + b"\0\0" * 3
            self._socket.sendto(head + query[12:end], client)
