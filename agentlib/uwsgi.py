"""uWSGI: serves a service's WSGI application, where the service has no server of its own.

All that is known of uWSGI is here: its command line and ini file, the noise in its log, and what
helps its workers to end. A Uwsgi is part of a Daemon's declaration; `daemon` asks it for the
command line when the parameter server says uwsgi. Whether it serves is the same question for all
servers.
"""
from __future__ import annotations

import os
import time

from . import program
from .configfile import expanded, options, settings
from .errors import ArgumentError, ConfigurationError, NotInstalledError
from .parameters import Parameter, is_port, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .parameters import Values
    from .process import Process

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


class Uwsgi:
    """What is served, and how it learns of its configuration.

    script, module: the application, of older and of newer releases.
    listen: the options that name address and port in the service's configuration; none where
        the service has no such options any more.
    listen_section: the section of these options.
    config_dir_variable: environment variable that takes the folder in which the application
        finds its configuration, as config_name.
    config_files_variable: environment variable that takes all configuration files.
    fixed_config: the one path from which the application takes its configuration.
    Without any of the three the application looks at its arguments (--config-file).
    only: newer and older releases alike have no server of their own.
    """

    __slots__ = ("_config_dir_variable", "_config_files_variable", "_config_name",
                 "_fixed_config", "_module", "_script", "listen", "listen_section", "only")

    def __init__(
        self, *, script: str, module: str, listen: tuple[str, str] | None = None,
        listen_section: str = "DEFAULT", config_dir_variable: str = "", config_name: str = "",
        config_files_variable: str = "", fixed_config: str = "", only: bool = False,
    ) -> None:
        self._script = script
        self._module = module
        self.listen = listen
        self.listen_section = listen_section
        self._config_dir_variable = config_dir_variable
        self._config_files_variable = config_files_variable
        self._config_name = config_name
        self._fixed_config = fixed_config
        self.only = only

    def parameters(self, port: int) -> tuple[Parameter, ...]:
        """The parameters of a daemon that uWSGI can serve; port: where it listens by default."""
        if self.only:
            what = ("What serves the API: uwsgi is uWSGI, with the service's WSGI application; "
                    "the service has no server of its own. binary names the uWSGI (by default "
                    "that of the system), and additional_parameters are uWSGI's.")
        else:
            what = ("What serves the API: standalone is the service's own server, the binary; "
                    "uwsgi is uWSGI, with the service's WSGI application. Newer releases have no "
                    "server of their own. With uwsgi, binary names the uWSGI (by default that of "
                    "the system), and additional_parameters are uWSGI's, such as "
                    "--virtualenv=/opt/glance.")
        where = ("where the service's configuration does not say it "
                 f"({', '.join(self.listen)}). " if self.listen else
                 "since the service's configuration does not say it. ")
        return (
            Parameter(
                "server", "Server: uwsgi" if self.only else "Server: standalone or uwsgi", what,
                default="uwsgi" if self.only else "standalone"),
            Parameter(
                "bind", "Where uWSGI listens",
                "Address and port that uWSGI listens on, as 10.0.0.11:9292 or [::1]:9292, "
                f"{where}By default port {port} of all addresses."),
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
        if self._config_dir_variable:
            if os.path.basename(values.text("config")) != self._config_name:
                raise ConfigurationError(
                    f"config={shown(values.text('config'))}: under uWSGI its name has to be "
                    f"{self._config_name}")
        elif self._fixed_config and values.text("config") != self._fixed_config:
            raise ConfigurationError(
                f"config={shown(values.text('config'))}: under uWSGI the service reads "
                f"{self._fixed_config} and no other")
        elif " " in values.text("config") and not self._config_files_variable:
            raise ConfigurationError("config has a blank, which uWSGI cannot hand on")

    def validate_host(self, values: Values, port: int) -> None:
        """Look at this node; NotInstalledError or ArgumentError for what is not there."""
        path = values.path("uwsgi_ini")
        if path and not os.path.isfile(path):
            raise NotInstalledError(f"uwsgi_ini={shown(path)} does not exist on this node")
        given = settings(path)
        for name in FORBIDDEN:
            if name in given:
                raise ArgumentError(f"uwsgi_ini={shown(path)}: take {name} out of it")
        own = [name for name in SOCKETS if name in given]
        if own and values.given("bind"):
            raise ArgumentError(f"bind, and {own[0]} in uwsgi_ini: give one of them")
        self._where(values, port)

    def remarks(self, values: Values, port: int) -> Iterator[str]:
        """What contradicts, and which of the two counts."""
        given = settings(values.path("uwsgi_ini"))
        for name, insisted in INSISTED.items():
            if name in given and _truth(given[name]) != insisted:
                yield f"uwsgi_ini: {name}={given[name]} does not count, {_value(insisted)} does"
        for name in ("pidfile", "pidfile2", "safe-pidfile"):
            if name in given:
                yield f"uwsgi_ini: {name} is of no use; the agent keeps a pidfile of its own"
        if values.given("bind") and self._where(values, port) != values.text("bind"):
            yield f"bind={shown(values.text('bind'))} does not count, but what config names"

    def executable(self, values: Values) -> str:
        """The path of the uWSGI; NotInstalledError if there is none on this node."""
        if values.given("binary"):
            return program.binary(values.text("binary"))
        for name in PROGRAMS:
            found = program.find(name)
            if found:
                return found
        raise NotInstalledError(
            f"no uWSGI on this node: install {PACKAGE}, or name it by binary")

    def command(
        self, values: Values, files: Sequence[str], further: Sequence[str], port: int,
    ) -> list[str]:
        """The command line."""
        ini = values.path("uwsgi_ini")
        given = settings(ini)
        wanted: dict[str, object] = {} if ini else {
            **SOUND, "processes": min(PROCESSES, os.cpu_count() or 1), "threads": THREADS}
        for name in ("processes", "threads"):
            wanted[name] = values.number(name) or wanted.get(name)
        wanted.update({**INSISTED, **GRACEFUL})
        if not any(name in given for name in SOCKETS):
            wanted["http-socket"] = self._where(values, port)
        if not any(name in given for name in APPLICATIONS):
            wanted.update(self._application(further))
        if not (self._config_dir_variable or self._config_files_variable or self._fixed_config):
            wanted["pyargv"] = " ".join(f"--config-file {path}" for path in files)
        return [
            self.executable(values), *([f"--ini={ini}"] if ini else []),
            *(_option(name, value) for name, value in wanted.items() if value is not None),
            *further]

    def environment(self, values: Values, files: Sequence[str]) -> dict[str, str]:
        """What the application finds its configuration by."""
        found = {}
        if self._config_dir_variable:
            found[self._config_dir_variable] = os.path.dirname(values.path("config"))
        if self._config_files_variable:
            found[self._config_files_variable] = ";".join(files)
        return found

    def resembles(self, arguments: Sequence[str], values: Values) -> bool:
        """Whether a command line is that of a uWSGI for this instance."""
        marks = {values.text("uwsgi_ini"), values.text("config")} - {""}
        return "uwsgi" in os.path.basename(arguments[0]) and any(
            word.endswith(f"={mark}") or mark in (word, *word.split())
            for mark in marks for word in arguments)

    def _application(self, further: Sequence[str]) -> dict[str, str]:
        """The script where there is one, else the module."""
        script = self._script
        for word, following in zip(further, [*further[1:], ""]):
            option, equals, folder = word.partition("=")
            if option in HOMES:
                # Its own counts: that of the system is of another release.
                script = os.path.join(folder if equals else following, "bin", self._script)
                break
        found = program.find(script)
        return {"wsgi-file": found} if found else {"module": self._module}

    def _where(self, values: Values, port: int) -> str:
        """Address and port: those that the service's configuration names, else those of bind."""
        host, number = _address("bind", values.text("bind"))
        if self.listen:
            configured = options(values.path("config"), self.listen_section)
            named, numbered = (expanded(configured, name) for name in self.listen)
            if numbered and not is_port(numbered):
                raise ArgumentError(f"{self.listen[1]}={shown(numbered)} in config is no port")
            if "$" in named or " " in named or "," in named:
                raise ArgumentError(f"{self.listen[0]}={shown(named)} in config is no address")
            host, number = named or host, numbered or number
        number = number or str(port)
        return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


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


# --- the noise in its log -------------------------------------------------------------------

NOISE = (
    r"(\w+ \w+ +\d+ [\d:]+ \d+ - )?(need-app requested|graceful shutdown)|unable to load app"
    r"|\*\*\* (no app loaded|end of backtrace|uWSGI is running)|spawned uWSGI|running \"unix_signal"
    r"|OOPS ! failed loading app|object (address|refcount|type|repr)|lost sys\.std"
    r"|/[^\s(]+\([^)]*\) \[0x|!!! uWSGI process|\*\*\* backtrace of|\[uwsgi\] implicit|\[uWSGI\] "
    r"|SIGINT/SIGTERM received|worker \d+ buried|goodbye to uWSGI|getopt_long\(\) error|VACUUM:"
    # Of workers that were still loading when the first one failed.
    r"|KeyboardInterrupt$|Traceback \(most")
"""How lines of its log begin that follow a complaint and say nothing of it."""

GAME_OVER = "*** no app loaded. GAME OVER"
"""The first worker that cannot load the application has the others ended as they load: what they
say of that follows this line."""


# --- its end --------------------------------------------------------------------------------

RESEND = 1.0
"""Seconds after which workers get the signal again: a worker that is still loading drops it."""


class Nudge:
    """What helps the workers of uWSGI to end; `instance` calls it at each look, until all have.

    pause: seconds between two looks.
    """

    __slots__ = ("_next", "_pause", "_stuck")

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._next = time.monotonic() + RESEND
        self._stuck: dict[int, int] = {}

    def __call__(self, family: Sequence[Process]) -> None:
        """Signal the workers that need it."""
        import signal

        pids = {member.pid for member in family}
        workers = [member for member in family
                   if member.name.startswith("uwsgi") and member.parent in pids]
        if time.monotonic() > self._next:
            self._next += RESEND
            # At HUP the master has its workers end; one that is still loading does not get it,
            # and the master would wait for a minute.
            for member in workers:
                member.signal(signal.SIGHUP)
        for member in workers:
            # At HUP a worker waits in the handler for its threads. If it was in Python code
            # then, it still has Python's lock, for which they wait: no request goes on. So it is
            # with requests that have piled up while the processes were stopped. (A thread that
            # waits for Python's lock wakes up now and then to ask for it.)
            looks = self._stuck.get(member.pid, 0)
            self._stuck[member.pid] = looks + 1 if member.deadlocked() else max(0, looks - 5)
            if looks * self._pause > RESEND:
                member.signal(signal.SIGKILL)
