"""TCP sockets of this node: listeners, connections, and the processes that hold them.

Called by `listening` (where does the daemon listen, and does anything else share its port?), by
`broker` and `database` (is it connected?) and by `keystone` (may a password be sent there?). All
of it comes from /proc/net, which costs a monitor far less than a library would, and from the
descriptors of the instance's own processes: the descriptors of others are not looked at.
"""
from __future__ import annotations

import os
import sys

from . import process
from .errors import AgentError, PermissionDeniedError
from .parameters import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .deadline import Deadline
    from .process import Process

TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
LISTEN, ESTABLISHED = "0A", "01"
"""States of a socket in them (the kernel's tcp_states.h)."""

ANY, ANY6 = "0.0.0.0", "::"  # noqa: S104 - to be compared with
LOOPBACK, LOOPBACK6 = "127.0.0.1", "::1"
ELSEWHERE = "127.0.0.2"

SYSTEM_USERS = 1000
"""User ids below it belong to the system and its services (SYS_UID_MAX of login.defs)."""


class Listener:
    """A listening socket, as one line of /proc/net/tcp or tcp6 has it (proc(5)).

    address: without brackets and zone. port. inode: by which its holders are known. user: the
    id of the user that made it.
    """

    __slots__ = ("address", "inode", "port", "user")

    def __init__(self, address: str, port: int, inode: int, user: int) -> None:
        self.address = address
        self.port = port
        self.inode = inode
        self.user = user

    def __repr__(self) -> str:
        return f"a process of user {_user(self.user)}"

    def rank(self, address: str) -> int:
        """How the kernel ranks it for a connection to the address; 0: it takes none.

        The most specific listener gets the connection. (Whether a socket of :: takes IPv4 as
        well, /proc/net does not tell: it is taken to.)
        """
        if self.address == address:
            return 3
        if self.address == (ANY6 if ":" in address else ANY):
            return 2
        return int(self.address == ANY6)

    @property
    def url(self) -> str:
        """The URL by which this node reaches it, as `http://127.0.0.1:9292`.

        A wildcard socket is asked via loopback: no virtual IP can take that away. Where the node
        has no ::1 (IPv6 switched off on lo), a socket of :: is asked via IPv4.
        """
        host = self.address
        if host == ANY:
            host = LOOPBACK
        elif host == ANY6:
            host = LOOPBACK6 if LOOPBACK6 in _zones() else LOOPBACK
        elif host.startswith("fe80:"):
            # A link-local address is one of an interface; without it the kernel says EINVAL.
            host += f"%{_zones().get(host, '')}".rstrip("%")
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def aside(self, other: Listener) -> str:
        """The URL by which it is reached and the other is not, if there is one.

        All of 127.0.0.0/8 is this node, and a wildcard socket listens on all of it.
        """
        if self.address in (ANY, ANY6) and other.address not in (ANY, ANY6, ELSEWHERE):
            return f"http://{ELSEWHERE}:{self.port}"
        return self.url


def listeners(port: int = 0) -> list[Listener]:
    """The listening sockets of this network namespace, on one port or on all."""
    found = []
    for name in TABLES:
        for fields in _lines(name):
            if fields[3:4] != [LISTEN]:
                if fields[0] == "sl":
                    continue
                break  # The kernel lists the listening ones first.
            host, _, number = fields[1].partition(":")
            if not port or int(number, 16) == port:
                found.append(Listener(
                    _address(host), int(number, 16), int(fields[9]), int(fields[7])))
    return found


class Connection:
    """An established connection, as one line of /proc/net/tcp or tcp6 has it (proc(5)).

    port: of the peer. inode: by which its holders are known. unsent: bytes that the peer has not
    acknowledged. unread: bytes that the own process has not read. retransmits: how often the
    oldest unacknowledged bytes were sent again.
    """

    __slots__ = ("inode", "port", "retransmits", "unread", "unsent")

    def __init__(self, fields: list[str]) -> None:
        self.port = int(fields[2].rpartition(":")[2], 16)
        unsent, _, unread = fields[4].partition(":")
        self.unsent = int(unsent, 16)
        self.unread = int(unread, 16)
        self.retransmits = int(fields[6], 16)
        self.inode = int(fields[9])


def connections(ports: set[int]) -> list[Connection]:
    """The established connections of this network namespace to these ports."""
    wanted = {f"{port:04X}" for port in ports}
    return [Connection(fields) for name in TABLES for fields in _lines(name)
            if fields[3] == ESTABLISHED and fields[2].rpartition(":")[2] in wanted]


def held(processes: Iterable[Process]) -> dict[int, tuple[int, int]]:
    """The sockets that the processes hold: inode to (pid, descriptor) of one holder.

    PermissionDeniedError where descriptors may not be looked at.
    """
    found: dict[int, tuple[int, int]] = {}
    for member in processes:
        folder = f"/proc/{member.pid}/fd"
        try:
            for number in os.listdir(folder):
                try:
                    target = os.readlink(f"{folder}/{number}")
                except FileNotFoundError:
                    continue  # It was closed meanwhile.
                if target.startswith("socket:["):
                    found.setdefault(int(target[8:-1]), (member.pid, int(number)))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It is gone.
        except PermissionError:
            raise PermissionDeniedError(
                f"must not look at the sockets of a process (pid {member.pid}): "
                "CAP_SYS_PTRACE is missing") from None
    return found


def holds(pid: int, descriptor: int, inode: int) -> bool:
    """Whether the process (still) has this socket as this descriptor.

    Where that may not be looked at (no CAP_SYS_PTRACE) it is taken to: that the very inode still
    listens is nearly as good a sign, since numbers of sockets come again only after 2**32 of them.
    """
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}") == f"socket:[{inode}]"
    except PermissionError:
        return True
    except OSError:
        return False


def rivals(ours: Iterable[Listener], everything: Iterable[Listener]) -> Iterator[Listener]:
    """The listeners, of all, that take connections which are meant for ours.

    The kernel gives it to them where they share the address, and where theirs is narrower.
    """
    mine = list(ours)
    inodes = {listener.inode for listener in mine}
    for other in everything:
        if other.inode not in inodes and any(
                other.port == own.port and own.rank(other.address) > 0 for own in mine):
            yield other


def holder(listener: Listener, deadline: Deadline) -> str:
    """The process that holds another's socket, for an exit reason; at least its user."""
    return repr(holding(listener, deadline) or listener)


def holding(listener: Listener, deadline: Deadline) -> Process | None:
    """The process that holds another's socket; None if it is not found in time.

    Only processes of the user that made it are looked at, and for a moment only: their
    descriptors may be many.
    """
    def search() -> Process | None:
        for candidate in process.every():
            try:
                if candidate.owner() == listener.user and listener.inode in held([candidate]):
                    return candidate
            except PermissionDeniedError:
                pass
        return None

    try:
        return deadline.within(search)
    except (AgentError, TimeoutError, MemoryError):
        return None


def of_system(port: int) -> bool:
    """Whether all that listens at a port of loopback is root's or a system service's.

    Any user may open a port above 1023 that is free.
    """
    found = [listener for listener in listeners(port) if listener.rank(LOOPBACK)]
    return bool(found) and all(listener.user < SYSTEM_USERS for listener in found)


def _lines(path: str) -> Iterator[list[str]]:
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                yield line.split()
    except OSError:
        return  # A kernel without IPv6.


def _address(words: str) -> str:
    """An address from its hexadecimal form: words of 32 bits, in the byte order of the host."""
    raw = b"".join(int(words[i:i + 8], 16).to_bytes(4, sys.byteorder)
                   for i in range(0, len(words), 8))
    if raw.startswith(bytes(10) + b"\xff\xff"):  # IPv4 in an IPv6 socket
        raw = raw[12:]
    from .tcp import address

    return address(raw)


def _zones() -> dict[str, str]:
    """The IPv6 addresses of this node, each with its interface."""
    from .tcp import address

    return {address(bytes.fromhex(fields[0])): fields[5]
            for fields in _lines("/proc/self/net/if_inet6") if len(fields) == 6}


def _user(uid: int) -> str:
    import pwd

    try:
        return shown(pwd.getpwuid(uid).pw_name)
    except (KeyError, OSError):
        return str(uid)
