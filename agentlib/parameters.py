"""Parameter records, and the values they resolve to.

The parts of an agent (`daemon.Daemon`, the checks) declare Parameters; `metadata` prints them;
an action reads them through Values. A value is looked at when it is asked for, not
before: stop must work whatever stands in a parameter that it does not need.
"""
from __future__ import annotations

from .environment import whole
from .errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TRUE = ("yes", "true", "1", "ja", "on")
FALSE = ("no", "false", "0", "nein", "off")
UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0}


class Parameter:
    """One instance parameter.

    kind: string, integer or boolean (the types of OCF 1.1).
    default: as it stands in the meta-data; empty for none.
    reloadable: only the monitor uses it, so that a change needs no restart.
    unique: two resources must not have the same value.
    """

    __slots__ = ("default", "kind", "longdesc", "name", "reloadable", "shortdesc", "unique")

    def __init__(
        self, name: str, shortdesc: str, longdesc: str, *,
        kind: str = "string", default: str = "", reloadable: bool = False, unique: bool = False,
    ) -> None:
        self.name = name
        self.shortdesc = shortdesc
        self.longdesc = longdesc
        self.kind = kind
        self.default = default
        self.reloadable = reloadable
        self.unique = unique


UNUSED = {
    "client_binary": ("Client binary", "The client that the agents of the HA guide called."),
    "database_server_port": (
        "Port of the database", "The port by which older agents looked for a connection."),
    "amqp_server_port": (
        "Port of the message broker", "The port by which older agents looked for a connection."),
    "neutron_server_port": (
        "Port of the Networking API", "The port by which older agents looked for a connection."),
    "multibackend": (
        "Whether there are several backends", "Older agents looked at the child processes then."),
    "zeromq": ("Whether ZeroMQ is used", "Older agents looked for no connection then."),
    "server_port": ("Port of the API", "The port by which older agents looked for a listener."),
    "console_port": ("Port of the proxy", "The port by which older agents looked for a listener."),
}
"""Parameters of other agents of the same names that have no use here: what they were for."""

_UNUSED_KINDS = {
    "database_server_port": "integer", "amqp_server_port": "integer",
    "neutron_server_port": "integer", "multibackend": "boolean", "zeromq": "boolean",
    "server_port": "integer", "console_port": "integer",
}


def unused_parameter(name: str, default: str = "") -> Parameter:
    """A parameter that is accepted and not used, so that an existing CIB keeps its meaning."""
    title, text = UNUSED.get(name, ("Accepted", "Other agents of this name have it."))
    return Parameter(
        name, f"{title} (not used)", f"{text} Accepted and not used.",
        kind=_UNUSED_KINDS.get(name, "string"), default=default, reloadable=True)


class Values:
    """What the operator gave for the declared parameters, else their defaults."""

    __slots__ = ("_default", "_given")

    def __init__(self, declared: Iterable[Parameter], given: Mapping[str, str]) -> None:
        self._default = {parameter.name: parameter.default for parameter in declared}
        self._given = {name: value for name, value in given.items() if name in self._default}

    def given(self, name: str) -> bool:
        """Whether the operator gave a value, rather than left the default."""
        return name in self._given

    def text(self, name: str) -> str:
        """The value as it stands."""
        return self._given.get(name, self._default[name])

    def boolean(self, name: str) -> bool:
        """An OCF boolean; ConfigurationError if it is none."""
        value = self.text(name).lower()
        if value in TRUE:
            return True
        if value in FALSE:
            return False
        raise ConfigurationError(f"{name}={shown(value)} is not a boolean: say true or false")

    def seconds(self, name: str) -> float | None:
        """A time above zero (`20`, `20s`, `1min`), None if empty; or ConfigurationError."""
        value = self.text(name)
        if not value:
            return None
        number = value.rstrip("smecin")
        unit, count = UNITS.get(value[len(number):]), whole(number, 9)
        if unit is None or not count:
            raise ConfigurationError(f"{name}={shown(value)} is not a time: say seconds, as in 20")
        return count * unit

    def number(self, name: str) -> int | None:
        """A number above zero, None if empty; or ConfigurationError."""
        value = self.text(name)
        if not value:
            return None
        count = whole(value, 9)
        if not count:
            raise ConfigurationError(f"{name}={shown(value)} is not a number above zero")
        return count

    def choice(self, name: str, choices: Iterable[str]) -> str:
        """One of the choices, or ConfigurationError."""
        value = self.text(name)
        if value not in choices:
            raise ConfigurationError(f"{name}={shown(value)} is not one of {', '.join(choices)}")
        return value

    def path(self, name: str) -> str:
        """An absolute path, or empty; or ConfigurationError.

        Relative to what, would be the question: Pacemaker's folder of core files.
        """
        value = self.text(name)
        if value and (not value.startswith("/") or not value.isprintable()):
            raise ConfigurationError(f"{name}={shown(value)} is not an absolute path")
        return value


def is_port(text: str) -> bool:
    """Whether it is the number of a TCP port."""
    return 0 < (whole(text, 5) or 0) < 65536


def shown(value: str) -> str:
    """A value as an exit reason can carry it: one short line, nothing invisible."""
    return value[:40] if value.isprintable() and value.isascii() else ascii(value)[:60]
