"""The daemon that an agent manages: command line, user, working files.

A Daemon is part of an agent's declaration; the actions in `agent` call its methods with the
parameters' Values. What becomes of the process afterwards is the business of `instance`.
"""
from __future__ import annotations

import errno
import os

from . import process
from .errors import (
    AgentError,
    ArgumentError,
    ConfigurationError,
    NotInstalledError,
    PermissionDeniedError,
    StateError,
)
from .parameters import Parameter, shown
from .safefile import opened_as
from .state import LOGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pwd import struct_passwd
    from subprocess import Popen
    from typing import Any

    from .log import Log
    from .parameters import Values
    from .process import Process
    from .state import Store
    from .wsgi import Wsgi

_NO_SERVER = {"standalone", "no", "longer"}
"""Words with which a binary says that its service has to be served by another."""

SERVERS = (STANDALONE, UWSGI) = ("standalone", "uwsgi")

LOG_LIMIT = 1 << 20
"""Bytes that the bounded log file (state.LOGS) may have, since no logrotate knows of it."""


class Daemon:
    """What to run.

    binary, config, user: the defaults of the parameters of these names.
    log_folder: where the service has its logs.
    client_binary: the client that the HA guide's agent called.
    wsgi: its application, where the service can also be served by uWSGI.
    """

    __slots__ = ("log_folder", "parameters", "wsgi")

    def __init__(
        self, *, binary: str, config: str, user: str, log_folder: str, client_binary: str = "",
        wsgi: Wsgi | None = None,
    ) -> None:
        self.log_folder = log_folder
        self.wsgi = wsgi
        self.parameters = (
            Parameter(
                "binary", "Server binary",
                "The server binary: a name, looked for in the usual folders, or a path.",
                default=binary),
            Parameter(
                "config", "Configuration file",
                "The configuration file that the server is started with (--config-file).",
                default=config),
            Parameter(
                "user", "User",
                "The user that the server runs as, with all groups that this user is in.",
                default=user),
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
                f"the server's user. By default {log_folder}/$OCF_RESOURCE_INSTANCE.log; where "
                f"this cannot be written, a file in {LOGS} that the monitor empties at 1 MiB. "
                "/dev/null throws the output away. The server's own log is a matter of its own "
                "configuration."),
            Parameter(
                "shutdown_timeout", "Time to finish requests, in seconds",
                "How long the server may take to finish its requests at stop before it is "
                "killed, in seconds. By default, and at most, the timeout of the stop operation "
                "less what the killing may take.",
                kind="integer", reloadable=True),
            Parameter(
                "client_binary", "Client binary (not used)",
                "The client that the agents of the HA guide called. Accepted and not used.",
                default=client_binary, reloadable=True),
            *(wsgi.parameters if wsgi else ()),
        )

    # --- what the parameters say --------------------------------------------------------

    def validate(self, values: Values) -> None:
        """Look at the parameters alone; ConfigurationError where no node could use them."""
        for name in ("binary", "user"):
            if not values.text(name).isprintable() or values.text(name).startswith("-"):
                raise ConfigurationError(f"{name}={shown(values.text(name))} is not a name")
        if "/" in values.text("binary"):
            values.path("binary")
        for name in ("config", "pid", "log_file"):
            values.path(name)
        values.seconds("shutdown_timeout")
        self._further_arguments(values)
        if self.wsgi and values.choice("server", SERVERS) == UWSGI:
            self.wsgi.validate(values)

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError or ArgumentError for what is not there."""
        self.executable(values)
        config = values.path("config")
        if not os.path.exists(config):
            raise NotInstalledError(f"config={shown(config)} does not exist on this node")
        if not os.path.isfile(config):
            raise ArgumentError(f"config={shown(config)} is not a file")
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
        wsgi = self._wsgi(values)
        if wsgi:
            wsgi.validate_host(values)

    def remarks(self, values: Values) -> Iterable[str]:
        """What is sound, but not as it looks; for who validates."""
        wsgi = self._wsgi(values)
        return wsgi.remarks(values) if wsgi else ()

    def executable(self, values: Values) -> str:
        """The path of the binary; NotInstalledError if there is none on this node."""
        wsgi = self._wsgi(values)
        return wsgi.executable(values) if wsgi else process.binary(values.text("binary"))

    def account(self, values: Values) -> struct_passwd:
        """The user's account; NotInstalledError if there is none on this node."""
        import pwd

        user = values.text("user")
        try:
            return pwd.getpwnam(user)
        except (KeyError, ValueError):
            raise NotInstalledError(f"user={shown(user)} does not exist on this node") from None

    def owner(self, values: Values) -> int | None:
        """The user's id, None where the account does not exist."""
        try:
            return self.account(values).pw_uid
        except NotInstalledError:
            return None

    def command(self, values: Values) -> list[str]:
        """The command line."""
        further = self._further_arguments(values)
        wsgi = self._wsgi(values)
        if wsgi:
            return wsgi.command(values, further)
        return [self.executable(values), "--config-file", values.path("config"), *further]

    def resembles(self, values: Values) -> Callable[[Process], bool]:
        """A judge of processes: does it run this binary with this configuration file?"""
        name = os.path.basename(values.text("binary"))
        config = values.text("config")
        wsgi = self._wsgi(values)

        def judge(candidate: Process) -> bool:
            arguments = candidate.arguments()
            if wsgi:
                return wsgi.resembles(arguments, values)
            # A script's first argument is its interpreter, which may have an option or two.
            names = [os.path.basename(argument) for argument in arguments[:4]]
            return name in names and (
                config in arguments or f"--config-file={config}" in arguments)

        return judge

    def advice(self, values: Values, words: str) -> str:
        """What to do about a daemon's last words, where they are known; else nothing."""
        if self.wsgi and not self._wsgi(values) and _NO_SERVER.issubset(words.lower().split()):
            return "this release has no standalone server: set server=uwsgi"
        return ""

    def _wsgi(self, values: Values) -> Wsgi | None:
        """The application, if it is uWSGI that serves it."""
        return self.wsgi if self.wsgi and values.text("server") == UWSGI else None

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
            "PATH": process.PATH, "LANG": "C.UTF-8", "HOME": account.pw_dir,
            "USER": account.pw_name, "LOGNAME": account.pw_name,
            # The last: a program that gives itself a title writes over what comes first.
            process.TAG: tag,
        }
        wsgi = self._wsgi(values)
        if wsgi:
            environment.update(wsgi.environment(values))
        _default_signals()
        _close_at_exec()
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


def _close_at_exec() -> None:
    """See to it that the daemon inherits nothing but its output.

    Not by Popen's close_fds: that closes before the exec, the lock included. Should we be killed
    then, the child would hold nothing and carry no tag yet: not to be seen by anybody.
    """
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.set_inheritable(int(name), False)
        except OSError:
            pass  # The descriptor of the listing itself.


def _default_signals() -> None:
    """Undo what was ignored or blocked when the agent was called: the daemon would inherit it.

    Under nohup, say, it would be deaf to HUP. SIGPIPE and SIGXFSZ are Python's own, and Popen
    restores them.
    """
    import signal

    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def keep_bounded(path: str) -> None:
    """Empty the log beside the state when it has grown too large.

    The daemon appends, so its next line begins the file anew.
    """
    try:
        if os.stat(path, follow_symlinks=False).st_size > LOG_LIMIT:
            os.truncate(path, 0)
    except OSError:
        pass
