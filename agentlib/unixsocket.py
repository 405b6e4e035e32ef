"""The check of a daemon that serves a UNIX socket: is the socket its own, and does it answer?

A UnixSocket is part of the declaration of neutron-metadata-agent. A second agent on the node takes
the path away: the process lives then, is connected to RabbitMQ, and serves no more.
"""
from __future__ import annotations

import os

from . import process, sockets
from .check import Check
from .configfile import option
from .errors import AgentError, PermissionDeniedError
from .exitcode import ExitCode
from .outcome import Outcome
from .reason import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .check import Subject
    from .deadline import Deadline

TABLE = "/proc/self/net/unix"
ACCEPTS = 0x10000
"""Flag of a listening socket in it (__SO_ACCEPTCON of the kernel's net.h)."""

REQUEST = b"GET / HTTP/1.0\r\n\r\n"


class UnixSocket(Check):
    """A daemon whose own UNIX socket answers in HTTP.

    name: the option of [DEFAULT] with the path of the socket. default: the path without it.
    """

    __slots__ = ("_default", "_name")

    text = "answers at its socket, asks it for any answer"

    def __init__(self, name: str, default: str) -> None:
        self._name = name
        self._default = default

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """SUCCESS when its own socket answers."""
        outcome = self.verdict(subject, deadline.share(0.5))
        if outcome.good:
            return outcome
        subject.waiting = outcome.reason
        return None

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """SUCCESS if it answers; 1 if it does not, or if the socket is of another process."""
        try:
            path = self.path(subject)
            tree = process.tree(subject.master)
            holders = sockets.held(tree)
            there = listening(path)
            trouble = "does not listen"
            if any(inode in holders for inode in there):
                # A socket keeps its name when another process has taken the path: where there
                # are several, the path alone tells which of them it leads to.
                shared = not all(inode in holders for inode in there)
                trouble = deadline.within(
                    _ask, path, {member.pid for member in tree} if shared else None,
                    max(0.1, deadline.remaining()))
        except TimeoutError:
            trouble = "does not answer in time"
        except PermissionDeniedError as error:
            return Outcome(ExitCode.DEGRADED, f"{subject.name} runs; not checked: {error}")
        except (AgentError, MemoryError) as error:
            return Outcome(
                ExitCode.DEGRADED, Reason(f"{subject.name} runs; not checked: ", str(error)))
        if trouble:
            return Outcome(
                ExitCode.ERR_GENERIC, Reason(f"{subject.name} {trouble} at ", path))
        return Outcome(ExitCode.SUCCESS)

    def path(self, subject: Subject) -> str:
        """The path of the socket, from the daemon's configuration; ArgumentError if unreadable."""
        files = subject.daemon.read_files(subject.values)
        path = option(files, "DEFAULT", self._name)
        if not path or path.startswith("$state_path"):
            state = option(files, "DEFAULT", "state_path") or os.path.dirname(self._default)
            path = os.path.join(state, os.path.basename(path or self._default))
        return path


def listening(path: str) -> list[int]:
    """The inodes of the sockets that listen at a path."""
    found = []
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.rstrip("\n").split(None, 7)
                if len(fields) == 8 and fields[7] == path and int(fields[3], 16) & ACCEPTS:
                    found.append(int(fields[6]))
    except (OSError, ValueError):
        pass
    return found


def _ask(path: str, pids: set[int] | None, seconds: float) -> str:
    """Empty if it answers; else how it fails.

    pids: one of these processes must have made the socket listen; None: any process may have.
    """
    import socket
    import struct

    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(path)
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if pids is not None and struct.unpack("3i", peer)[0] not in pids:
                return "does not listen"
            connection.sendall(REQUEST)
            return "" if connection.recv(4) == b"HTTP" else "does not speak HTTP"
    except (TimeoutError, socket.timeout):
        return "does not answer in time"
    except OSError as error:
        return f"does not answer ({error.strerror or error})"
