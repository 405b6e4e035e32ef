"""The check of a worker that needs its database: can it be reached from this node?

A Database is part of a Service's declaration, mostly beside a Broker. It never blames the worker:
a worker waits while its database is down, and a restart mends nothing. The database is asked only
while the worker has no connection to it, since each check costs the server a connection.
"""
from __future__ import annotations

from . import process
from .check import Check
from .endpoints import Option, connections, port_of, silent
from .errors import AgentError
from .exitcode import ExitCode
from .outcome import Outcome
from .parameters import Parameter
from .reason import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .check import Subject
    from .deadline import Deadline
    from .endpoints import Server
    from .parameters import Values

MEMORY = "database"

SETTLED = 2.0
"""Seconds that a daemon has to live to count as started: one that cannot read its configuration
ends before."""


class Database(Check):
    """How to look at the database of a worker.

    port: default of database_server_port.
    section, option: where the configuration names the database.
    older: section and option where it did before.
    """

    __slots__ = ("_option", "_port")

    text = "has lived for a moment, tells when its database cannot be reached"

    def __init__(
        self, *, port: int = 3306, section: str = "database", option: str = "connection",
        older: tuple[str, str] | None = None,
    ) -> None:
        self._port = port
        self._option = Option(section, option, default="", schemes=("mysql", "postgresql"),
                              port=port, older=older)

    def parameters(self, port: int) -> tuple[Parameter, ...]:
        """The port of the database; the older agents looked for a connection to it."""
        return (
            Parameter(
                "database_server_port", "Port of the database",
                "The port of the database, where the configuration names none "
                f"({self._option}).",
                kind="integer", default=str(self._port), reloadable=True),
        )

    def validate(self, values: Values) -> None:
        """ConfigurationError if the port is none."""
        port_of(values, "database_server_port")

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """SUCCESS when it has lived for a moment: it waits for its database by itself."""
        subject.waiting = f"has not lived for {SETTLED:.0f} s"
        return Outcome(ExitCode.SUCCESS) if process.age(subject.master) >= SETTLED else None

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """SUCCESS, or DEGRADED while the database cannot be reached."""
        try:
            self.validate(subject.values)
            servers = self.servers(subject)
            if servers is None:
                return Outcome(ExitCode.SUCCESS)
            if connections(subject, servers):
                return Outcome(ExitCode.SUCCESS)
            trouble = silent("the database", servers, None, deadline)
        except AgentError as error:
            return Outcome(
                ExitCode.DEGRADED, Reason(f"{subject.name} runs; not checked: ", str(error)))
        if trouble:
            return Outcome(ExitCode.DEGRADED, Reason(f"{subject.name} runs; ", trouble))
        return Outcome(ExitCode.SUCCESS)

    def servers(self, subject: Subject) -> list[Server] | None:
        """The databases of its configuration, None for another kind; or ArgumentError."""
        port = subject.values.number("database_server_port") or 0
        return self._option.servers(subject, subject.memory(MEMORY), port)
