"""uWSGI: serves a service's WSGI application, where the service has no server of its own.

A Wsgi is part of a Daemon's declaration; `daemon` asks it for the command line when the parameter
server says uwsgi. What becomes of the process, and whether it serves, is the same for all servers.
"""
from __future__ import annotations

import os

from . import process
from .errors import ArgumentError, ConfigurationError, NotInstalledError
from .parameters import Parameter, is_port, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .parameters import Values

# Debian's are named after the Python that they embed; uwsgi alone needs a plugin there.
PROGRAMS = ("uwsgi_python3", *(f"uwsgi_python3{minor}" for minor in range(19, 8, -1)), "uwsgi")
PACKAGE = "uwsgi-plugin-python3"

INSISTED = {
    # Workers are the master's, and end with it; TERM is the end, and HUP is not.
    "master": True, "no-orphans": True, "die-on-term": True, "exit-on-reload": False,
    # An application that does not load is an end, too, and not a server of 500s.
    "need-app": True,
}
"""What an agent must have, whatever an ini file says."""

GRACEFUL = {"hook-master-start": "unix_signal:15 gracefully_kill_them_all"}
"""TERM lets requests under way finish, which die-on-term alone would cut off."""

SOUND = {
    # As Debian has it for OpenStack: tokens make long headers, and uWSGI closes connections
    # without saying so. Options that every uWSGI knows; it takes no other on its command line.
    "lazy-apps": True, "enable-threads": True, "thunder-lock": True, "buffer-size": 65535,
    "socket-timeout": 10, "add-header": "Connection: close",
}
"""What is needed besides, where no ini file says it."""

PROCESSES, THREADS = 8, 8
"""Without an ini file: at most so many processes, one for each CPU; threads of each."""

FORBIDDEN = ("daemonize", "daemonize2", "emperor")
"""Settings by which the process that is started would not be the one that serves."""

SOCKETS = ("http-socket", "https-socket", "http11-socket", "http", "https", "http-to", "socket",
           "uwsgi-socket", "fastcgi-socket", "scgi-socket", "shared-socket")
APPLICATIONS = ("wsgi-file", "file", "wsgi", "module", "mount", "manage-script-name", "paste",
                "ini-paste", "eval")

HOMES = ("--virtualenv", "--venv", "--home", "--pyhome", "-H")
"""Options that name a virtual environment."""


class Wsgi:
    """What is served, and how it learns of its configuration.

    script, module: the application, of older and of newer releases.
    listen: the options of [DEFAULT] that name address and port, in the service's configuration.
    port: where none is named.
    config_folder: environment variable that takes the folder in which the application finds
        its configuration, as config_name; without one it looks at its arguments.
    """

    __slots__ = ("_config_folder", "_config_name", "_listen", "_module", "_port", "_script",
                 "parameters")

    def __init__(
        self, *, script: str, module: str, listen: tuple[str, str], port: int,
        config_folder: str = "", config_name: str = "",
    ) -> None:
        self._script = script
        self._module = module
        self._listen = listen
        self._port = port
        self._config_folder = config_folder
        self._config_name = config_name
        self.parameters = (
            Parameter(
                "server", "Server: standalone or uwsgi",
                "What serves the API: standalone is the service's own server, the binary; uwsgi "
                "is uWSGI, with the service's WSGI application. Newer releases have no server of "
                "their own. With uwsgi, binary names the uWSGI (by default that of the system), "
                "and additional_parameters are uWSGI's, such as --virtualenv=/opt/glance.",
                default="standalone"),
            Parameter(
                "bind", "Where uWSGI listens",
                "Address and port that uWSGI listens on, as 10.0.0.11:9292 or [::1]:9292, where "
                f"the service's configuration does not say it ({listen[0]}, {listen[1]}). By "
                f"default port {port} of all addresses."),
            Parameter(
                "uwsgi_ini", "Configuration file of uWSGI",
                "An ini file that uWSGI is started with, such as the distribution's. Put over it "
                "is what an agent must insist on: "
                f"{', '.join(f'{name}={_value(value)}' for name, value in INSISTED.items())}; "
                "and the socket, where it names none. It must not daemonize. Without one the "
                "agent has a sound configuration of its own."),
            Parameter(
                "processes", "Processes of uWSGI",
                "How many processes uWSGI has. By default what uwsgi_ini says; without one, as "
                f"many as there are CPUs, at most {PROCESSES}.", kind="integer"),
            Parameter(
                "threads", "Threads of uWSGI",
                "How many threads each process of uWSGI has. By default what uwsgi_ini says; "
                f"without one, {THREADS}.", kind="integer"),
        )

    def validate(self, values: Values) -> None:
        """Look at the parameters alone; ConfigurationError where no node could use them."""
        if values.given("binary") and "uwsgi" not in os.path.basename(values.text("binary")):
            raise ConfigurationError(
                f"binary={shown(values.text('binary'))} is no uWSGI: with server=uwsgi leave it "
                "out, or name one")
        values.path("uwsgi_ini")
        values.number("processes")
        values.number("threads")
        _address("bind", values.text("bind"))
        if self._config_folder:
            if os.path.basename(values.text("config")) != self._config_name:
                raise ConfigurationError(
                    f"config={shown(values.text('config'))}: under uWSGI its name has to be "
                    f"{self._config_name}")
        elif " " in values.text("config"):
            raise ConfigurationError("config has a blank, which uWSGI cannot hand on")

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError or ArgumentError for what is not there."""
        path = values.path("uwsgi_ini")
        if path and not os.path.isfile(path):
            raise NotInstalledError(f"uwsgi_ini={shown(path)} does not exist on this node")
        settings = _settings(path)
        for name in FORBIDDEN:
            if name in settings:
                raise ArgumentError(f"uwsgi_ini={shown(path)}: take {name} out of it")
        own = [name for name in SOCKETS if name in settings]
        if own and values.given("bind"):
            raise ArgumentError(f"bind, and {own[0]} in uwsgi_ini: give one of them")
        self._where(values)

    def remarks(self, values: Values) -> Iterator[str]:
        """What contradicts, and which of the two counts."""
        settings = _settings(values.path("uwsgi_ini"))
        for name, insisted in INSISTED.items():
            if name in settings and _truth(settings[name]) != insisted:
                yield f"uwsgi_ini: {name}={settings[name]} does not count, {_value(insisted)} does"
        for name in ("pidfile", "pidfile2", "safe-pidfile"):
            if name in settings:
                yield f"uwsgi_ini: {name} is of no use; the agent keeps a pidfile of its own"
        if values.given("bind") and self._where(values) != values.text("bind"):
            yield f"bind={shown(values.text('bind'))} does not count, but what config names"

    def executable(self, values: Values) -> str:
        """The path of the uWSGI; NotInstalledError if there is none on this node."""
        if values.given("binary"):
            return process.binary(values.text("binary"))
        for name in PROGRAMS:
            found = process.program(name)
            if found:
                return found
        raise NotInstalledError(
            f"no uWSGI on this node: install {PACKAGE}, or name it by binary")

    def command(self, values: Values, further: list[str]) -> list[str]:
        """The command line."""
        ini = values.path("uwsgi_ini")
        given = _settings(ini)
        settings: dict[str, object] = {} if ini else {
            **SOUND, "processes": min(PROCESSES, os.cpu_count() or 1), "threads": THREADS}
        for name in ("processes", "threads"):
            settings[name] = values.number(name) or settings.get(name)
        settings.update({**INSISTED, **GRACEFUL})
        if not any(name in given for name in SOCKETS):
            settings["http-socket"] = self._where(values)
        if not any(name in given for name in APPLICATIONS):
            settings.update(self._application(further))
        if not self._config_folder:
            settings["pyargv"] = f"--config-file {values.path('config')}"
        return [
            self.executable(values), *([f"--ini={ini}"] if ini else []),
            *(_option(name, value) for name, value in settings.items() if value is not None),
            *further]

    def environment(self, values: Values) -> dict[str, str]:
        """What the application finds its configuration by."""
        folder = os.path.dirname(values.path("config"))
        return {self._config_folder: folder} if self._config_folder else {}

    def resembles(self, arguments: list[str], values: Values) -> bool:
        """Whether a command line is that of a uWSGI for this instance."""
        marks = {values.text("uwsgi_ini"), values.text("config")} - {""}
        return "uwsgi" in os.path.basename(arguments[0]) and any(
            word.endswith(f"={mark}") or mark in (word, *word.split())
            for mark in marks for word in arguments)

    def _application(self, further: list[str]) -> dict[str, str]:
        """The script where there is one, else the module."""
        script = self._script
        for word, following in zip(further, [*further[1:], ""]):
            option, equals, folder = word.partition("=")
            if option in HOMES:
                # Its own counts: that of the system is of another release.
                script = os.path.join(folder if equals else following, "bin", self._script)
                break
        found = process.program(script)
        return {"wsgi-file": found} if found else {"module": self._module}

    def _where(self, values: Values) -> str:
        """Address and port: those that the service's configuration names, else those of bind."""
        configured = _options(values.path("config"))
        host, port = (_expanded(configured, name) for name in self._listen)
        bind_host, bind_port = _address("bind", values.text("bind"))
        host, port = host or bind_host, port or bind_port or str(self._port)
        if not is_port(port):
            raise ArgumentError(f"{self._listen[1]}={shown(port)} in config is no port")
        if "$" in host or " " in host or "," in host:
            raise ArgumentError(f"{self._listen[0]}={shown(host)} in config is no address")
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _option(name: str, value: object) -> str:
    """A setting as a word of the command line; a plain --name would be true."""
    if value is True:
        return f"--{name}"
    return f"--set={name}=false" if value is False else f"--{name}={value}"


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _truth(text: str) -> bool:
    """As uWSGI takes it."""
    return text.strip().lower() not in ("false", "off", "no", "0")


def _address(name: str, text: str) -> tuple[str, str]:
    """Host and port of HOST:PORT, each of which may be empty; or ConfigurationError."""
    if not text:
        return "", ""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if not colon or not is_port(port) or (":" in bare and bare == host) \
            or not all(c.isalnum() or c in ".:-_%" for c in bare) or not bare.isascii():
        raise ConfigurationError(f"{name}={shown(text)} is not ADDRESS:PORT, as 10.0.0.11:9292")
    return bare, port


def _settings(path: str) -> Mapping[str, str]:
    """The settings of an ini file of uWSGI; of several of one name the last."""
    return _parsed("uwsgi_ini", path, "uwsgi") if path else {}


def _options(path: str) -> Mapping[str, str]:
    """The options in [DEFAULT] of a service's configuration."""
    return _parsed("config", path, "DEFAULT")


def _parsed(name: str, path: str, section: str) -> Mapping[str, str]:
    import configparser

    parser = configparser.ConfigParser(
        strict=False, interpolation=None, allow_no_value=True, default_section=section)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            # For uWSGI an indented line is a setting, for oslo.config it continues a value.
            parser.read_file(map(str.strip, file) if section == "uwsgi" else file)
    except (OSError, configparser.Error) as error:
        said = getattr(error, "strerror", "") or type(error).__name__
        raise ArgumentError(f"{name}={shown(path)} cannot be read: {said}") from error
    return {key: value or "" for key, value in parser.defaults().items()}


def _expanded(options: Mapping[str, str], name: str) -> str:
    """The value of an option, and of the one that it refers to, as $my_ip."""
    value = options.get(name, "").strip()
    if value.startswith("$"):
        value = options.get(value[1:].strip("{}"), value).strip()
    return value
