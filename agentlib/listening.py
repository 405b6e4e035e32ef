"""Where a daemon listens, and whether it is alone there.

Called by the checks of daemons with a port (`api`, `port`). The address is learned from the
sockets of the daemon's own processes, and remembered; each monitor looks whether it is still
theirs, before anything is asked: the daemon may have moved to another port by a reload of its
own, and another process that has the old port by now must not get a token, or answer in its
place.
"""
from __future__ import annotations

from . import process, sockets
from .exitcode import ExitCode
from .outcome import Outcome
from .parameters import is_port
from .reason import Reason, Spare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .check import Subject
    from .deadline import Deadline
    from .sockets import Listener

    Ask = Callable[[str, Deadline], Outcome]
    """Whether the service answers at a URL; the reason says what is wrong."""

MEMORY = "address"
"""The part of the state in which the address is remembered."""

ASKING = 0.3
"""Part of the time that is left in which several sockets are tried."""

HURRY = 1.0
"""Seconds: what does not answer within less may only be waiting for a CPU."""


def known(subject: Subject) -> str:
    """The remembered URL, as `http://127.0.0.1:9292`; empty if there is none."""
    url = subject.memory(MEMORY).get("url")
    return url if isinstance(url, str) and is_address(url) else ""


def is_address(url: str) -> bool:
    """Whether it is a URL as `sockets` makes it: scheme, address, port."""
    host, colon, port = url.partition("://")[2].rpartition(":")
    return (url.startswith("http://") and bool(host and colon) and is_port(port)
            and url.isascii() and url.isprintable() and "/" not in host and " " not in host)


def ensure(subject: Subject, port: int, ask: Ask, deadline: Deadline) -> Outcome | None:
    """Make the remembered address the daemon's own, and its alone.

    None if it is; else the verdict of the monitor. port: the usual one, which is tried first.
    PermissionDeniedError where sockets may not be looked at.
    """
    if _still_ours(subject):
        return None
    found, strangers = search(subject, port)
    if not found:
        return Outcome(
            ExitCode.ERR_GENERIC,
            f"{subject.name}: {subject.master!r} and its workers listen on no TCP port")
    url = _serving(found, ask, deadline)
    rival = next((other for other in strangers if other.port == found[url].port), None)
    if rival:
        return _beside(subject, found[url], rival, ask, deadline)
    _remember(subject, found[url])
    return None


def ready(subject: Subject, port: int, ask: Ask, deadline: Deadline) -> Outcome | None:
    """SUCCESS when the daemon's own processes listen and answer; None while they do not.

    1 if another process shares the port: more waiting is of no use.
    """
    before, subject.waiting = subject.waiting, ""
    found, strangers = search(subject, port)
    for url, listener in found.items():
        limit = deadline.share(0.5 / len(found))
        hurried = limit.remaining() < HURRY
        outcome = ask(url, limit)
        if outcome.good:
            rival = next((one for one in strangers if one.port == listener.port), None)
            if rival:
                return Outcome(ExitCode.ERR_GENERIC, _shared(subject, url, rival, deadline))
            if known(subject) != url or not subject.memory(MEMORY).get("inode"):
                _remember(subject, listener)
            return outcome
        # The last look, with the time all but over, would hide what the ones before were told.
        subject.waiting = before if hurried and before else outcome.reason
    return None


def waiting(subject: Subject, port: int, deadline: Deadline) -> str:
    """Why `ready` has said None: the last answer, or the process that has the port."""
    if subject.waiting:
        return subject.waiting
    others = sockets.listeners(port)
    if not others:
        return "listens on no TCP port"
    holder = sockets.holder(others[0], deadline.share(0.1))
    return Reason("listens on no TCP port", f", {port} is held by ", holder)


def _still_ours(subject: Subject) -> bool:
    """Whether the remembered socket is still the master's, and nothing else takes its share."""
    url, memory = known(subject), subject.memory(MEMORY)
    inode, descriptor = _number(memory, "inode"), _number(memory, "descriptor")
    if not (url and inode and sockets.holds(subject.master.pid, descriptor, inode)):
        return False
    host, _, port = url.partition("://")[2].rpartition(":")
    address = host.strip("[]").partition("%")[0]
    takers = [listener for listener in sockets.listeners(int(port)) if listener.rank(address)]
    return [listener.inode for listener in takers] == [inode]


def _number(memory: dict[str, Any], name: str) -> int:
    value = memory.get(name)
    return value if isinstance(value, int) else 0


def _beside(
    subject: Subject, own: Listener, rival: Listener, ask: Ask, deadline: Deadline,
) -> Outcome:
    """The verdict of a daemon that serves while another process takes its requests.

    No token is sent, since that one may get it. The daemon is asked where the other does not
    listen, if there is such an address: one that does not answer is at fault. Else a restart
    mends nothing, and the process that came later may be about to be refused.
    """
    outcome = ask(own.aside(rival), deadline)
    if not outcome.good:
        return outcome
    return Outcome(ExitCode.DEGRADED, _shared(subject, own.url, rival, deadline))


def _serving(found: dict[str, Listener], ask: Ask, deadline: Deadline) -> str:
    """Of several sockets the one that answers as the service: uWSGI has some for other uses."""
    if len(found) > 1:
        limit = deadline.share(ASKING)
        for url in found:
            if ask(url, limit.share(1 / len(found))).good:
                return url
    return next(iter(found))


def _remember(subject: Subject, listener: Listener) -> None:
    """Remember the address, and by what the socket is to be known again."""
    memory = subject.memory(MEMORY)
    memory.clear()
    memory["url"] = listener.url
    master = process.find(subject.master.pid, subject.master.start)
    holder = sockets.held([master]).get(listener.inode) if master else None
    if holder:
        memory["inode"], memory["descriptor"] = listener.inode, holder[1]


def search(subject: Subject, port: int) -> tuple[dict[str, Listener], list[Listener]]:
    """The daemon's sockets by URL, the usual port first; and the rivals that share one.

    A worker that ends meanwhile takes its sockets with it, and one that is new is not in the
    family yet: a socket is a rival's only if a second look says so, too.
    """
    everything = sockets.listeners()
    for last in (False, True):
        inodes = sockets.held(subject.family())
        found: dict[str, Listener] = {}
        for listener in sorted(everything, key=lambda one: one.port != port):
            if listener.inode in inodes:
                found.setdefault(listener.url, listener)
        ports = {listener.port for listener in found.values()}
        mine = [listener for listener in everything if listener.inode in inodes]
        strangers = list(sockets.rivals(
            mine, (listener for listener in everything if listener.port in ports)))
        if not strangers or last:
            break
        everything = sockets.listeners()
    return found, strangers


def _shared(subject: Subject, url: str, rival: Listener, deadline: Deadline) -> Reason:
    """The kernel gives the rival a part of the requests, or all of them.

    eventlet's servers allow it (SO_REUSEPORT), to all processes of the same user.
    """
    return Reason(
        f"{subject.name}: ", url, " is shared with ",
        sockets.holder(rival, deadline.share(0.1)), Spare(", which is"),
        " not of this resource")
