"""The check of a worker: is it connected to RabbitMQ, and does it read what RabbitMQ sends?

A Broker is part of a Service's declaration. A worker has no port that could be asked. What can be
seen from the node are its own connections, in /proc: no credentials, no request, no log.
Measured with fifteen workers of seven projects (docs/verdicts.md):

| what is seen | verdict |
| --- | --- |
| connections, and some of them are read | 0 |
| none, and RabbitMQ does not answer this node either | 190 |
| none, RabbitMQ answers, and still none PATIENCE seconds later | 1 |
| bytes that RabbitMQ does not acknowledge, sent again three times or more | 190 |
| a process with unread bytes in every connection, none fewer, for READING seconds | 1 |

*Every* connection: those that only send are read every 15 s (oslo.messaging), and a healthy worker
left bytes unread for 14 s. A process that hangs is named by its pid; workers that hang are found
by the heartbeats that RabbitMQ sends to idle connections every 30 s.
"""
from __future__ import annotations

import time

from . import process
from .check import Check
from .configfile import option
from .deadline import Deadline
from .endpoints import Option, connections, port_of, shown, silent, tls_greeting
from .errors import AgentError, PermissionDeniedError
from .exitcode import ExitCode
from .outcome import Outcome
from .parameters import Parameter
from .reason import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .check import Subject
    from .endpoints import Server
    from .parameters import Values
    from .sockets import Connection

GREETING = b"AMQP\0\0\x09\x01"
"""What a client sends first (AMQP 0-9-1, 4.2.2)."""

OPTION = Option("DEFAULT", "transport_url", default="rabbit://localhost/",
                schemes=("rabbit", "kombu"), port=5672)

TLS = "ssl", "rabbit_use_ssl"
"""The option of [oslo_messaging_rabbit], or of the URL's query, by which RabbitMQ is asked by TLS;
and its older name."""

YES = ("true", "1", "yes", "on")

PATIENCE = 40.0
"""Seconds in which a worker has to connect while RabbitMQ answers. After a long outage
oslo.messaging pauses for 30 s between two tries (rabbit_interval_max); then 9 s were measured."""

WAITING = 15.0
"""How many of these seconds one monitor waits, at most."""

READING = 10.0
"""Seconds for which a process has to leave all its connections unread to count as hung."""

LOOK = 0.5
"""Seconds between two looks at connections."""

LEFT = 0.5
"""Seconds that a wait leaves for other checks: a check without time would blame the worker."""

RETRANSMITS = 3
"""After so many retransmissions of the same bytes the peer counts as not taking them."""

LASTS = 1.0
"""Seconds that a connection has to last at start. RabbitMQ accepts one of a refused user (password,
virtual host), and closes it within a tenth of a second; the worker tries again and again."""

SETTLED = 10.0
"""Seconds after which a worker counts as started while RabbitMQ does not answer."""

PACE = 2.0
"""Seconds between two questions to RabbitMQ while a worker starts."""

MEMORY = "broker"


class Broker(Check):
    """How to check a worker that lives by its connections to RabbitMQ.

    port: default of amqp_server_port.
    unless: section, option and value in the configuration by which the worker does without
        RabbitMQ; the process is all that can be looked at then.
    """

    __slots__ = ("_port", "_unless")

    text = ("is connected to RabbitMQ, watches these connections, tells a fault of the server "
            "from one of RabbitMQ")

    def __init__(
        self, *, port: int = 5672, unless: tuple[str, str, str] | None = None,
    ) -> None:
        self._port = port
        self._unless = unless

    def parameters(self, port: int) -> tuple[Parameter, ...]:
        """The port of RabbitMQ; the older agents looked for a connection to it."""
        return (
            Parameter(
                "amqp_server_port", "Port of RabbitMQ",
                "The port of RabbitMQ, where transport_url in the configuration names none. "
                "Hosts and ports that it does name count.",
                kind="integer", default=str(self._port), reloadable=True),
        )

    def validate(self, values: Values) -> None:
        """ConfigurationError if the port is none."""
        port_of(values, "amqp_server_port")

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """SUCCESS when it stays connected, or if it lives and RabbitMQ does not answer."""
        servers = self.servers(subject)
        if servers:
            now = time.monotonic()
            subject.seen = {one.inode: subject.seen.get(one.inode, now)
                            for _, one in connections(subject, servers)}
            if any(now - since >= LASTS for since in subject.seen.values()):
                return Outcome(ExitCode.SUCCESS)
        subject.waiting = "is not connected to RabbitMQ"
        if process.age(subject.master) < SETTLED:
            return None
        if servers is None:
            return Outcome(ExitCode.SUCCESS)
        subject.waiting = f"is not connected to RabbitMQ at {shown(servers[0])}"
        if time.monotonic() - subject.asked < PACE:
            return None
        trouble = silent("RabbitMQ", servers, self._greeting(subject), deadline)
        subject.asked = time.monotonic()
        if trouble:
            # It waits for RabbitMQ as it should, and a control plane that boots cold must come up.
            return Outcome(ExitCode.SUCCESS, Reason(f"{subject.name} runs; ", trouble))
        return None

    def explained(self, words: str) -> str:
        """What RabbitMQ refuses (AMQP 0-9-1, reply codes 403 and 530), and where to look."""
        if "ACCESS_REFUSED" in words:
            return "RabbitMQ refuses user or password of transport_url (ACCESS_REFUSED)"
        if "NOT_ALLOWED" in words:
            return ("RabbitMQ refuses the virtual host of transport_url (NOT_ALLOWED"
                    f"{': not found' if 'not found' in words else ''})")
        return ""

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """The verdict of a recurring monitor."""
        memory = subject.memory(MEMORY)
        try:
            self.validate(subject.values)
            servers = self.servers(subject)
            if servers is None:
                return Outcome(ExitCode.SUCCESS)  # Not RabbitMQ: the process is all there is.
            seen = connections(subject, servers)
            if not seen:
                return self._apart(subject, servers, memory, deadline)
            memory.pop("apart", None)
            return self._connected(subject, servers, seen, deadline)
        except PermissionDeniedError as error:
            return Outcome(ExitCode.DEGRADED, f"{subject.name} runs; not checked: {error}")
        except AgentError as error:
            return Outcome(
                ExitCode.DEGRADED, Reason(f"{subject.name} runs; not checked: ", str(error)))

    def servers(self, subject: Subject) -> list[Server] | None:
        """The brokers of its configuration, None if it does without; or ArgumentError."""
        port = subject.values.number("amqp_server_port") or 0
        if self._unless:
            section, name, value = self._unless
            files = subject.daemon.read_files(subject.values)
            if option(files, section, name) == value:
                return None
        return OPTION.servers(subject, subject.memory(MEMORY), port)

    def _greeting(self, subject: Subject) -> bytes:
        """What RabbitMQ answers: a listener for TLS may close a connection that begins without."""
        files = subject.daemon.read_files(subject.values)
        said = OPTION.query(files, TLS[0]) or option(files, "oslo_messaging_rabbit", *TLS)
        return tls_greeting() if said.lower() in YES else GREETING

    def _apart(
        self, subject: Subject, servers: list[Server], memory: dict[str, Any], deadline: Deadline,
    ) -> Outcome:
        """The verdict of a worker without a connection."""
        trouble = silent("RabbitMQ", servers, self._greeting(subject), deadline)
        if trouble:
            memory.pop("apart", None)
            return Outcome(ExitCode.DEGRADED, Reason(f"{subject.name} runs; ", trouble))
        now = _boot_time()
        since = memory.get("apart")
        if not isinstance(since, (int, float)) or not 0 <= now - since < 1e6:
            since = memory["apart"] = now
        one = Deadline(WAITING)
        while (_boot_time() - since < PATIENCE and one.remaining()
               and deadline.remaining() > LOOK + LEFT):
            time.sleep(LOOK)
            if connections(subject, servers):
                memory.pop("apart", None)
                return Outcome(ExitCode.SUCCESS)
        sure = _boot_time() - since >= PATIENCE
        return Outcome(
            ExitCode.ERR_GENERIC if sure else ExitCode.DEGRADED,
            f"{subject.name} is not connected to RabbitMQ at {shown(servers[0])}, which answers")

    def _connected(
        self, subject: Subject, servers: list[Server], seen: list[tuple[int, Connection]],
        deadline: Deadline,
    ) -> Outcome:
        """The verdict of a worker with connections."""
        limit = Deadline(READING)
        hung = _unread(seen, None)
        before = seen
        while True:
            if not hung:
                break
            if not limit.remaining():
                return Outcome(
                    ExitCode.ERR_GENERIC,
                    f"{subject.name}: pid {min(hung)} does not read what RabbitMQ sends")
            if deadline.remaining() < LOOK + LEFT:
                return Outcome(
                    ExitCode.DEGRADED,
                    f"{subject.name}: pid {min(hung)} has unread bytes of RabbitMQ; to tell "
                    f"whether it hangs takes a monitor timeout of {READING + 5:.0f} s")
            time.sleep(LOOK)
            now = connections(subject, servers)
            hung &= _unread(now, before)
            before = now
        stuck = [one for _, one in before if one.unsent and one.retransmits >= RETRANSMITS]
        if stuck:
            return Outcome(
                ExitCode.DEGRADED,
                f"{subject.name} runs; RabbitMQ at {shown(servers[0])} does not take what it "
                f"sends ({len(stuck)} of {len(before)} connections)")
        return Outcome(ExitCode.SUCCESS)


def _unread(
    now: list[tuple[int, Connection]], before: list[tuple[int, Connection]] | None,
) -> set[int]:
    """The processes that have unread bytes in every connection, in none fewer than before."""
    unread = {one.inode: one.unread for _, one in before or ()}
    pids = {pid for pid, _ in now}
    return {pid for pid in pids if all(
        one.unread and one.unread >= unread.get(one.inode, 0)
        for holder, one in now if holder == pid)}


def _boot_time() -> float:
    """Seconds since the node was started, independent of changes of the clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
