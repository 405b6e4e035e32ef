"""The daemon that an agent manages: command line, user, working files.

A Daemon is part of a Service's declaration; the actions in `service` and `start` call its methods
with the parameters' Values. How it is served is known by its server (`standalone`, `uwsgi`); the
running process is handled by `instance`.
"""
from __future__ import annotations

import errno
import os

from . import program
from .configfile import option
from .environment import LOGS
from .errors import (
    AgentError,
    ArgumentError,
    ConfigurationError,
    NotInstalledError,
    PermissionDeniedError,
    StateError,
)
from .parameters import Parameter, shown, unused_parameter
from .standalone import Standalone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pwd import struct_passwd
    from subprocess import Popen
    from typing import Any, Union

    from .log import Log
    from .parameters import Values
    from .process import Process
    from .state import Store
    from .uwsgi import Uwsgi

    Server = Union[Standalone, Uwsgi]

_NO_SERVER = {"standalone", "no", "longer"}
"""Words of a binary that has no server of its own any more."""

SERVERS = (STANDALONE, UWSGI) = ("standalone", "uwsgi")


class Daemon:
    """What to run.

    project: of OpenStack, as `glance`; user, configuration and log folder are named after it.
    binary, config, user: the defaults of the parameters of these names.
    log_folder: where the service has its logs, as long as its configuration does not say so.
    port: where it listens by default; 0 for a daemon without a port.
    configs: parameters that name a further configuration file each, with their defaults; a
        default that is not on the node is left out.
    arguments: that the binary always gets.
    options: parameters that become an option of the binary where they are given, by name.
    one_session: what the daemon starts in another session goes on when the daemon is stopped.
    uwsgi: its WSGI application, where uWSGI can serve it.
    without_binary: what to do where the default binary is missing, since newer releases have none.
    host_options: options of which the configuration needs one, so that the service is the same
        on every node.
    unused: parameters that other agents of this name have, accepted and not used, with their
        defaults.
    """

    __slots__ = ("_configs", "_host_options", "_options", "_standalone", "_without_binary",
                 "log_folder", "one_session", "parameters", "port", "uwsgi")

    def __init__(
        self, *, project: str, binary: str, config: str = "", user: str = "",
        log_folder: str = "", port: int = 0, configs: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (), options: Mapping[str, str] | None = None,
        one_session: bool = False, uwsgi: Uwsgi | None = None, without_binary: str = "",
        host_options: Sequence[str] = (),
        unused: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self.log_folder = log_folder or f"/var/log/{project}"
        self.one_session = one_session
        self.uwsgi = uwsgi
        self._configs = tuple(configs or {})
        self._host_options = tuple(host_options)
        self._options = dict(options or {})
        self._without_binary = without_binary
        self._standalone = Standalone(arguments)
        self.parameters = (
            Parameter(
                "binary", "Server binary",
                "The server binary: a name, looked for in the usual folders, or a path.",
                default=binary),
            Parameter(
                "config", "Configuration file",
                "The configuration file that the server is started with (--config-file).",
                default=config or f"/etc/{project}/{project}.conf"),
            *(Parameter(
                name, "Further configuration file",
                "A configuration file that the server is started with after config; what it "
                "says counts more. The default is left out where there is no such file.",
                default=default) for name, default in (configs or {}).items()),
            Parameter(
                "user", "User",
                "The user that the server runs as, with all groups that this user is in.",
                default=user or project),
            Parameter(
                "pid", "Pidfile",
                "The pidfile; it holds the pid of the master process. By default "
                "$HA_RSCTMP/$OCF_RESOURCE_INSTANCE.pid, as with the agents of the HA guide, so "
                "that a server which they have started is taken over as it runs.",
                unique=True),
            Parameter(
                "additional_parameters", "Further arguments",
                "Further arguments for the server, split as a shell splits them, quotes "
                "included; no shell ever runs them. Anybody can read them in the list of "
                "processes: not a place for secrets."),
            Parameter(
                "log_file", "File for the server's output",
                "Takes what the server writes to stdout and stderr, appended; it is opened as "
                f"the server's user. By default {self.log_folder}/$OCF_RESOURCE_INSTANCE.log; "
                f"where this cannot be written, a file in {LOGS} that the monitor empties at "
                "1 MiB. /dev/null throws the output away. The server's own log is a matter of "
                "its own configuration."),
            Parameter(
                "shutdown_timeout", "Time to finish requests, in seconds",
                "How long the server may take to finish its requests at stop before it is "
                "killed, in seconds. By default, and at most, the timeout of the stop operation "
                "less what the killing may take.",
                kind="integer", reloadable=True),
            *(Parameter(
                name, f"Option {option} of the server",
                f"Given to the server as {option}; by default the server's own configuration "
                "counts.") for name, option in self._options.items()),
            *(unused_parameter(name, default) for name, default in
              (unused or {}).items()),
            *(uwsgi.parameters(port) if uwsgi else ()),
        )

    # --- what the parameters say --------------------------------------------------------

    def validate(self, values: Values) -> None:
        """Look at the parameters alone; ConfigurationError where no node could use them."""
        for name in ("binary", "user"):
            if not values.text(name).isprintable() or values.text(name).startswith("-"):
                raise ConfigurationError(f"{name}={shown(values.text(name))} is not a name")
        if "/" in values.text("binary"):
            values.path("binary")
        for name in ("config", *self._configs, "pid", "log_file"):
            values.path(name)
        values.seconds("shutdown_timeout")
        self._further_arguments(values)
        if self.uwsgi:
            values.choice("server", (UWSGI,) if self.uwsgi.only else SERVERS)
        self._server(values).validate(values)

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError or ArgumentError for what is not there."""
        self.executable(values)
        for name in ("config", *(name for name in self._configs if values.given(name))):
            path = values.path(name)
            if not os.path.exists(path):
                raise NotInstalledError(f"{name}={shown(path)} does not exist on this node")
            if not os.path.isfile(path):
                raise ArgumentError(f"{name}={shown(path)} is not a file")
        self.account(values)
        for name in ("pid", "log_file"):
            folder = os.path.dirname(values.path(name))
            if folder and not os.path.isdir(folder):
                raise ArgumentError(f"{name}: folder {shown(folder)} does not exist on this node")
            if folder and os.path.isdir(values.path(name)):
                raise ArgumentError(f"{name}={shown(values.path(name))} is a folder, not a file")
        log_file = values.path("log_file")
        if log_file and os.path.exists(log_file) and not os.path.isfile(log_file) \
                and log_file != os.devnull:
            raise ArgumentError(f"log_file={shown(log_file)} is neither a file nor /dev/null")
        self._server(values).validate_host(values, self.port)

    def remarks(self, values: Values) -> Iterable[str]:
        """Warnings: what is allowed, but may surprise; validate-all logs them."""
        yield from self._server(values).remarks(values, self.port)
        if self._host_options and not any(
                option(self.read_files(values), "DEFAULT", name) for name in self._host_options):
            yield (f"config has neither {' nor '.join(self._host_options)}: after a failover "
                   "this is another service, and what it has made is orphaned")

    def executable(self, values: Values) -> str:
        """The path of the binary; NotInstalledError if there is none on this node."""
        try:
            return self._server(values).executable(values)
        except NotInstalledError as error:
            if not self._without_binary or values.given("binary") \
                    or self._server(values) is self.uwsgi:
                raise
            raise NotInstalledError(
                f"binary={values.text('binary')} is not on this node: {self._without_binary}"
            ) from error

    def account(self, values: Values) -> struct_passwd:
        """The user's account; NotInstalledError if there is none on this node."""
        return program.account(values.text("user"))

    def owner(self, values: Values) -> int | None:
        """The user's id, None where the account does not exist."""
        try:
            return self.account(values).pw_uid
        except NotInstalledError:
            return None

    def files(self, values: Values) -> list[str]:
        """The configuration files in their order: what the last one says counts."""
        further = (values.path(name) for name in self._configs
                   if values.given(name) or os.path.isfile(values.text(name)))
        return [values.path("config"), *further]

    def read_files(self, values: Values) -> list[str]:
        """The configuration files, with those that additional_parameters name."""
        found = self.files(values)
        words = self._further_arguments(values)
        for word, following in zip(words, [*words[1:], ""]):
            option, equals, value = word.partition("=")
            path = value if equals else following
            if option == "--config-file":
                found.append(path)
            elif option == "--config-dir" and os.path.isdir(path):
                found += sorted(os.path.join(path, name) for name in os.listdir(path)
                                if name.endswith(".conf"))
        return found

    def own_log_folder(self, values: Values) -> str:
        """Where the service has its logs: as its configuration says, else as is usual."""
        try:
            files = self.read_files(values)
            folder = os.path.dirname(os.path.join(
                option(files, "DEFAULT", "log_dir"), option(files, "DEFAULT", "log_file") or "*"))
            return folder if os.path.isabs(folder) else self.log_folder
        except AgentError:
            return self.log_folder

    def command(self, values: Values) -> list[str]:
        """The command line."""
        further = [f"{option}={values.text(name)}" for name, option in self._options.items()
                   if values.given(name)]
        return self._server(values).command(
            values, self.files(values), [*further, *self._further_arguments(values)], self.port)

    def resembles(self, values: Values) -> Callable[[Process], bool]:
        """A test of processes: does it run this binary with this configuration file?"""
        server = self._server(values)
        return lambda candidate: server.resembles(candidate.arguments(), values)

    def advice(self, values: Values, words: str) -> str:
        """What to do about a daemon's last words, where they are known; else nothing."""
        if self.uwsgi and self._server(values) is not self.uwsgi \
                and _NO_SERVER.issubset(words.lower().split()):
            return "this release has no standalone server: set server=uwsgi"
        return ""

    def _server(self, values: Values) -> Server:
        """What serves it: uWSGI if the parameter says so, else the binary."""
        if self.uwsgi and values.text("server") == UWSGI:
            return self.uwsgi
        return self._standalone

    def _further_arguments(self, values: Values) -> list[str]:
        text = values.text("additional_parameters")
        if not text:
            return []
        import shlex

        try:
            arguments = shlex.split(text)
        except ValueError as error:
            raise ConfigurationError(
                f"additional_parameters cannot be split: {str(error).lower()}") from error
        if "\0" in text:
            raise ConfigurationError("additional_parameters holds a NUL")
        return arguments

    # --- the process ----------------------------------------------------------------------

    def spawn(self, values: Values, tag: str, output: int) -> Popen[bytes]:
        """Run the daemon in a session of its own; its output goes to the descriptor.

        The environment is made anew: what Pacemaker gave the agent holds the passwords.
        """
        import subprocess

        from .tags import TAG

        account = self.account(values)
        command = self.command(values)
        identity: dict[str, Any] = {}
        if account.pw_uid != os.geteuid():
            if os.geteuid() != 0:
                raise PermissionDeniedError(f"must be root to run as user {account.pw_name}")
            identity = {
                "user": account.pw_uid, "group": account.pw_gid,
                "extra_groups": os.getgrouplist(account.pw_name, account.pw_gid),
            }
        environment = {
            "PATH": program.PATH, "LANG": "C.UTF-8", "HOME": account.pw_dir,
            "USER": account.pw_name, "LOGNAME": account.pw_name,
            **self._server(values).environment(values, self.files(values)),
            # It comes last: a program that sets its title overwrites the first variables.
            TAG: tag,
        }
        program.default_signals()
        program.close_at_exec()
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd="/", env=environment, umask=0o022, start_new_session=True, close_fds=False,
                **identity)
        except OSError as error:
            what = error.filename or command[0]
            trouble = f"cannot run {shown(os.fsdecode(what))}: {error.strerror or error}"
            if error.errno in (errno.EAGAIN, errno.ENOMEM):
                raise AgentError(trouble) from error
            raise NotInstalledError(trouble) from error

    def open_log(self, values: Values, instance: str, store: Store, log: Log) -> tuple[int, str]:
        """A descriptor for the daemon's output, and the path of the log file."""
        from .safefile import opened_as

        account = self.account(values)
        path = values.path("log_file") or os.path.join(self.log_folder, instance + ".log")
        try:
            return opened_as(account, path), path
        except OSError as error:
            trouble = f"log_file={shown(path)} cannot be written: {error.strerror or error}"
            if values.given("log_file"):
                raise ArgumentError(trouble) from error
        try:
            descriptor, path = store.open_log(), store.log
        except StateError as error:
            log.warning(str(error))
            descriptor, path = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), os.devnull
        log.warning(f"{trouble}; using {path}")
        return descriptor, path
