"""What an instance remembers between actions: pidfile, identity, URL, token. And its lock.

The pidfile keeps the place and the form that the HA guide's agents gave it: the pid alone. All
else is one small JSON file in a folder that only root can enter. What is read here is a hint:
junk, a symlink or a missing file count as "nothing remembered", and `instance` compares what is
remembered with what runs.
"""
from __future__ import annotations

import errno
import os
import stat

from .errors import AgentError, ConfigurationError, StateError
from .parameters import is_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .deadline import Deadline

FOLDER = "openstack"
STATE_SIZE = 65536
PIDFILE_SIZE = 64
FOREVER = 1e11
"""Seconds since the epoch: no token lives until then."""
PID_LIMIT = 2**22
"""The kernel's own limit of pid_max."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: dict[str, type | tuple[type, ...]] = {
    "pid": int, "start": int, "session": int, "uid": int, "url": str, "log": str,
    "token": str, "token_key": str, "token_until": (int, float),
}


class State:
    """A running daemon as it was when it was started or adopted.

    pid, start: the master process and its start time (clock ticks since boot); pid 0: none.
    session, uid: of the master; they outlive it in its orphaned workers.
    url: scheme, address and port that the daemon listens on, as `http://127.0.0.1:9292`.
    log: the daemon's log file, if it is the bounded one beside the state.
    token, token_key, token_until: a Keystone token, the digest of the credentials that got
        it, and the time (seconds since the epoch) after which it is not to be used.
    """

    __slots__ = tuple(_KINDS)

    def __init__(self) -> None:
        self.pid = self.start = self.session = 0
        self.uid = -1
        self.url = self.log = ""
        self.token = self.token_key = ""
        self.token_until = 0.0


class Store:
    """The files of one instance.

    tag: agent and instance, `glance-api:p_glance-api`; names the files.
    """

    __slots__ = ("_folder", "_rsctmp", "_stem", "pidfile")

    def __init__(self, rsctmp: str, tag: str, instance: str, pidfile: str) -> None:
        if "/" in tag or not tag.isprintable() or len(tag) > 200:
            raise ConfigurationError("OCF_RESOURCE_INSTANCE is not a name of a resource")
        self._rsctmp = rsctmp
        self._folder = os.path.join(rsctmp, FOLDER)
        self._stem = tag
        self.pidfile = pidfile or os.path.join(rsctmp, instance + ".pid")

    @property
    def log(self) -> str:
        """Path of the bounded log file, for a service without a log folder."""
        return os.path.join(self._folder, self._stem + ".log")

    def open_log(self) -> int:
        """A descriptor for the bounded log; StateError if it cannot be written."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return self._open(self._stem + ".log", flags)

    # --- the state file ---------------------------------------------------------------

    def read(self) -> State:
        """What is remembered; an empty State where there is nothing, or nothing sound."""
        state = State()
        try:
            folder = self._open_folder()
        except OSError:
            return state
        try:
            text = _contents(self._stem + ".json", STATE_SIZE, folder)
        finally:
            os.close(folder)
        if not text:
            return state
        import json

        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            return state
        # Somebody may have copied it: then it is another instance's daemon that it names.
        if not isinstance(record, dict) or record.get("tag", self._stem) != self._stem:
            return state
        for name, kind in _KINDS.items():
            value = record.get(name)
            if isinstance(value, kind) and not isinstance(value, bool):
                setattr(state, name, value)
        if not 1 < state.pid < PID_LIMIT:
            state.pid = 0
        if not _is_address(state.url):
            state.url = ""
        if state.log != self.log:  # it is emptied when it has grown: no other file
            state.log = ""
        if not state.token_until < FOREVER:  # also what is not a number
            state.token_until = 0.0
        return state

    def write(self, state: State) -> None:
        """Remember; StateError if the folder cannot be written or is not root's alone."""
        import json

        record = {"tag": self._stem, **{name: getattr(state, name) for name in _KINDS}}
        try:
            folder = self._make_folder()
            try:
                _replace(self._stem + ".json", json.dumps(record), 0o600, folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StateError(
                f"cannot write state in {self._folder}: {error.strerror or error}") from error

    def forget(self) -> None:
        """Remove state and pidfile; what cannot be removed does no harm."""
        paths = [os.path.join(self._folder, self._stem + ".json")]
        # Nothing but a pidfile: where it is, is a parameter, and agents run as root.
        if self.read_pidfile():
            paths.append(self.pidfile)
        for path in paths:
            try:
                os.unlink(path)
            except OSError:
                pass
        _sweep(self._folder, self._stem + ".json")
        _sweep(*os.path.split(self.pidfile))

    def _open_folder(self) -> int:
        """The folder, if it is ours; else OSError. HA_RSCTMP might be open to all."""
        folder = os.open(self._folder, os.O_DIRECTORY | _READ)
        status = os.fstat(folder)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            os.close(folder)
            raise PermissionError(1, "it is not root's alone; remove it")
        return folder

    def _make_folder(self) -> int:
        umask = os.umask(0o022)
        try:
            os.makedirs(self._rsctmp, exist_ok=True)
            os.mkdir(self._folder, 0o700)
        except FileExistsError:
            pass
        finally:
            os.umask(umask)
        folder = self._open_folder()
        if os.fstat(folder).st_mode & 0o777 != 0o700:  # made under another umask, or by hand
            os.fchmod(folder, 0o700)
        return folder

    # --- the pidfile --------------------------------------------------------------------

    def read_pidfile(self) -> int:
        """The pid in the pidfile, 0 if there is none that could be a daemon's."""
        text = (_contents(self.pidfile, PIDFILE_SIZE) or b"").strip()
        if text.isdigit() and len(text) <= 7 and 1 < int(text) < PID_LIMIT:
            return int(text)
        return 0

    def write_pidfile(self, pid: int) -> None:
        """Put the pid alone into the pidfile; StateError if that cannot be."""
        try:
            _replace(self.pidfile, f"{pid}\n", 0o644)
        except OSError as error:
            raise StateError(
                f"cannot write pid={self.pidfile}: {error.strerror or error}") from error

    # --- the lock ---------------------------------------------------------------------

    def lock(self, deadline: Deadline) -> Lock:
        """The lock of this instance's start and stop.

        AgentError if it is not to be had in time, StateError if it cannot be made.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            lock = Lock(self._open(self._stem + ".lock", flags), deadline)
            if lock.valid():
                return lock
            lock.release()  # Its file was removed while we waited.

    def _open(self, name: str, flags: int) -> int:
        """A file of the folder; StateError if that cannot be."""
        try:
            folder = self._make_folder()
            try:
                return os.open(name, flags, 0o600, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StateError(
                f"cannot use {self._folder}: {error.strerror or error}") from error


class Lock:
    """flock: the kernel lets go of it when its holder dies, however it dies."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int, deadline: Deadline) -> None:
        import fcntl
        import time

        self._descriptor = descriptor
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    os.close(descriptor)
                    raise StateError(f"cannot lock: {error.strerror}") from error
                if not deadline.remaining():
                    os.close(descriptor)
                    raise AgentError(
                        "another start or stop of this resource is still at work") from None
                time.sleep(0.05)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)

    def valid(self) -> bool:
        """Whether its file is still there: who removes that makes a second lock possible."""
        return os.fstat(self._descriptor).st_nlink > 0


def _is_address(url: str) -> bool:
    """Whether it is a URL as we write it: scheme, address, port."""
    host, colon, port = url.partition("://")[2].rpartition(":")
    return (url.startswith("http://") and bool(host and colon) and is_port(port)
            and url.isascii() and url.isprintable() and "/" not in host and " " not in host)


def _contents(path: str, limit: int, folder: int | None = None) -> bytes | None:
    """A small regular file's contents, empty if it is too large; None if it is no such thing."""
    try:
        descriptor = os.open(path, _READ, dir_fd=folder)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = os.read(descriptor, limit + 1)
        return text if len(text) <= limit else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _sweep(folder: str, name: str) -> None:
    """Remove what agents that were killed had begun to write in the place of a file."""
    head = f".{name}."
    try:
        left = [entry for entry in os.listdir(folder)
                if entry.startswith(head) and entry[len(head):].isdigit()]
    except OSError:
        return
    for entry in left:
        try:
            os.unlink(os.path.join(folder, entry))
        except OSError:
            pass


def _replace(path: str, text: str, mode: int, folder: int | None = None) -> None:
    """Write a file whole or not at all; what stood there is replaced, never followed."""
    head, tail = os.path.split(path)
    new = os.path.join(head, f".{tail}.{os.getpid()}")
    try:
        os.unlink(new, dir_fd=folder)  # of an agent that was killed, and had our pid
    except FileNotFoundError:
        pass
    descriptor = os.open(new, _CREATE, 0o600, dir_fd=folder)
    try:
        try:
            os.fchmod(descriptor, mode)
            if os.write(descriptor, text.encode()) < len(text.encode()):
                raise OSError(errno.ENOSPC, "no space left")
        finally:
            os.close(descriptor)
        try:
            os.rename(new, path, src_dir_fd=folder, dst_dir_fd=folder)
        except IsADirectoryError:
            if folder is None:
                raise
            # In our own folder, where it is junk; but whose, nobody knows.
            os.rename(path, f"{path}.junk.{os.getpid()}", src_dir_fd=folder, dst_dir_fd=folder)
            os.rename(new, path, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(new, dir_fd=folder)
        raise

