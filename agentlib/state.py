"""What an instance remembers between actions: pidfile, identity, and what its checks learned.

The pidfile keeps the place and the form that the HA guide's agents gave it: the pid alone. All
else is one small JSON file in a folder that only root can enter. What is read here is a hint:
junk, a symlink or a missing file count as "nothing remembered", and `instance` compares what is
remembered with what runs. Beside it lies what each recurring monitor has come to, for
`openstack-ocf` (explain, metrics); no agent reads it.
"""
from __future__ import annotations

import os
import stat

from .call import PROCESS, ROUND_TRIP, SERVES
from .environment import LOGS
from .errors import ConfigurationError, StateError
from .lock import Lock
from .parameters import shown
from .reason import fitting
from .safefile import READ, contents, replace, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .deadline import Deadline

FOLDER = "openstack"
LOG_LIMIT = 1 << 20
"""Bytes that the bounded log file (LOGS) may have, since no logrotate knows of it."""

LONGEST_NAME = 200
"""Bytes of a tag that stand in a file's name; a longer tag has a digest in its place."""
STATE_SIZE, NESTED = 65536, 200
"""Bytes, and brackets, that a state file has at most; what is nested deeper cannot be shown."""
PIDFILE_SIZE = 64
PID_LIMIT = 2**22
"""The kernel's own limit of pid_max."""

_KINDS: dict[str, type] = {
    "pid": int, "start": int, "session": int, "uid": int, "log": str, "checks": dict,
}


class State:
    """A running daemon as it was when it was started or adopted.

    pid, start: the master process and its start time (clock ticks since boot); pid 0: none.
    session, uid: of the master; they outlive it in its orphaned workers.
    log: the daemon's log file, if it is the bounded one of LOGS.
    checks: what each check has learned, by the name of the check. Whether it is sound is for
        the check to ask: any of it may be of another release, or junk.
    """

    __slots__ = tuple(_KINDS)

    def __init__(self) -> None:
        self.pid = self.start = self.session = 0
        self.uid = -1
        self.log = ""
        self.checks: dict[str, Any] = {}


def keep_bounded(path: str) -> None:
    """Empty the log in LOGS when it has grown too large.

    The daemon appends, so its next line begins the file anew.
    """
    try:
        if os.stat(path, follow_symlinks=False).st_size > LOG_LIMIT:
            os.truncate(path, 0)
    except OSError:
        pass


class Store:
    """The files of one instance.

    tag: agent and instance, `glance-api:p_glance-api`; names the files.
    """

    __slots__ = ("_folder", "_own", "_rsctmp", "_stem", "_tag", "pidfile")

    def __init__(self, rsctmp: str, tag: str, instance: str, pidfile: str) -> None:
        if not _is_tag(tag):
            raise ConfigurationError("OCF_RESOURCE_INSTANCE is not a name of a resource")
        self._rsctmp = rsctmp
        self._folder = os.path.join(rsctmp, FOLDER)
        self._tag = tag
        self._stem = file_name(tag)
        self._own = not pidfile
        self.pidfile = pidfile or os.path.join(rsctmp, file_name(instance) + ".pid")

    @property
    def path(self) -> str:
        """Path of the state file."""
        return os.path.join(self._folder, self._stem + ".json")

    @property
    def log(self) -> str:
        """Path of the bounded log file, for a service without a log folder."""
        return os.path.join(LOGS, self._stem + ".log")

    def open_log(self) -> int:
        """A descriptor for the bounded log; StateError if it cannot be written."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return _open_in(LOGS, os.path.basename(self.log), flags)

    # --- the state file ---------------------------------------------------------------

    def read(self) -> State:
        """What is remembered; an empty State where there is nothing, or nothing sound."""
        state = State()
        try:
            folder = open_folder(self._folder)
        except OSError:
            return state
        try:
            text = contents(self._stem + ".json", STATE_SIZE, folder)
        finally:
            os.close(folder)
        if not text or text.count(b"[") + text.count(b"{") > NESTED:
            return state
        try:
            record = _parsed(text)
        except ValueError:
            return state
        # It may have been copied: then it names the daemon of another instance.
        if not isinstance(record, dict) or record.get("tag", self._tag) != self._tag:
            return state
        for name, kind in _KINDS.items():
            value = record.get(name)
            if isinstance(value, kind) and not isinstance(value, bool):
                setattr(state, name, value)
        if not 1 < state.pid < PID_LIMIT:
            state.pid = 0
        for name in [*state.checks]:
            if not isinstance(state.checks[name], dict):
                del state.checks[name]
        if state.log != self.log:  # it is emptied when it has grown: no other file
            state.log = ""
        return state

    def write(self, state: State) -> None:
        """Remember; StateError if the folder cannot be written or is not root's alone."""
        import json

        record = {"tag": self._tag, **{name: getattr(state, name) for name in _KINDS}}
        try:
            folder = _make_folder(self._folder)
            try:
                replace(self._stem + ".json", json.dumps(record), 0o600, folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StateError(
                f"cannot write state in {self._folder}: {error.strerror or error}") from error

    def forget(self, pids: Iterable[int] = ()) -> str:
        """Remove state and pidfile; what cannot be removed does no harm.

        pids: of the instance's processes that have been ended. A pidfile at a place that the
        operator chose is removed only if it holds the remembered pid or one of these: any file
        with a number in it looks like a pidfile. Returns a remark on one that was left.
        """
        remark = ""
        paths = [self.path]
        number = self.read_pidfile()
        if number and (self._own or number in {self.read().pid, *pids}):
            paths.append(self.pidfile)
        elif number:
            remark = (f"pid={shown(self.pidfile)} holds {number}, which is no process of this "
                      "resource: it is left there")
        for path in paths:
            try:
                os.unlink(path)
            except OSError:
                pass
        for name in (".json", *(last(level) for level in (PROCESS, SERVES, ROUND_TRIP))):
            sweep(self._folder, self._stem + name)
        sweep(*os.path.split(self.pidfile))
        return remark

    # --- the pidfile --------------------------------------------------------------------

    def read_pidfile(self) -> int:
        """The pid in the pidfile, 0 if there is none that could be a daemon's."""
        text = (contents(self.pidfile, PIDFILE_SIZE) or b"").strip()
        if text.isdigit() and len(text) <= 7 and 1 < int(text) < PID_LIMIT:
            return int(text)
        return 0

    def pidfile_trouble(self) -> str:
        """Why the pidfile must not be replaced; empty if nothing is in the way.

        A mistyped path may name a device, or a configuration file.
        """
        try:
            status = os.lstat(self.pidfile)
        except (OSError, ValueError):
            return ""  # Nothing is there, or writing will say what is wrong.
        if stat.S_ISLNK(status.st_mode):
            return ""  # It is replaced, not followed.
        if not stat.S_ISREG(status.st_mode):
            return f"pid={shown(self.pidfile)} is not a regular file: name another"
        text = (contents(self.pidfile, PIDFILE_SIZE) or b"").strip()
        if status.st_size and not text.isdigit():
            return f"pid={shown(self.pidfile)} is no pidfile, it holds something else: name another"
        return ""

    def write_pidfile(self, pid: int) -> None:
        """Put the pid alone into the pidfile; StateError if that cannot be."""
        trouble = "" if self._own else self.pidfile_trouble()
        if trouble:
            raise StateError(trouble)
        try:
            replace(self.pidfile, f"{pid}\n", 0o644)
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
            lock = Lock(_open_in(self._folder, self._stem + ".lock", flags), deadline)
            if lock.valid():
                return lock
            lock.release()  # Its file was removed while we waited.


def leave(rsctmp: str, tag: str, level: int, code: int, reason: str, seconds: float) -> None:
    """Write the verdict of a recurring monitor. Where that fails, nothing is written.

    level: its check level. seconds: that it took. Each level has a file of its own, written whole,
    so that no lock is needed; not synced, since after a crash of the node it is worth nothing. The
    reason is as short as Pacemaker gets it, on one line, and has no secret in it.
    """
    from time import time

    text = (f"tag {tag}\nlevel {level}\ncode {code:d}\nseconds {seconds:.3f}\n"
            f"time {time():.3f}\nreason {fitting(reason)}\n")
    if not _is_tag(tag):
        return
    try:
        folder = open_folder(os.path.join(rsctmp, FOLDER))
        try:
            replace(file_name(tag) + last(level), text, 0o600, folder)
        finally:
            os.close(folder)
    except OSError:
        pass  # A full disk, say. It is the verdict that counts.


def last(level: int) -> str:
    """Ends the name of the file with the last verdict of a monitor of this level."""
    return f".{level}.last"


def _is_tag(tag: str) -> bool:
    return "/" not in tag and tag.isprintable()


class _Syntax:
    """JSON as the json module reads it, for its scanner."""

    strict, object_hook, object_pairs_hook = True, None, None
    parse_float, parse_int, parse_constant = float, int, float


def _parsed(text: bytes) -> object:
    """The value of a JSON document; ValueError if it is none.

    By json's own scanner alone: the rest of the module takes re and enum, which would be a fifth
    of what a monitor of a worker costs.
    """
    try:
        from _json import make_scanner
    except ImportError:  # Another implementation of Python.
        from json import loads

        return loads(text)
    document = text.decode().strip()
    try:
        syntax: Any = _Syntax
        value, end = make_scanner(syntax)(document, 0)
    except (StopIteration, SystemError):
        # The latter where the scanner finds json's own error class not loaded (before Python 3.13).
        raise ValueError("not a JSON document") from None
    if end < len(document):
        raise ValueError("more than a JSON document")
    return value


def file_name(name: str) -> str:
    """The name, if a file's name can hold it with what is put around it; else a digest in it."""
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    from hashlib import blake2b

    digest = blake2b(os.fsencode(name), digest_size=8).hexdigest()
    return os.fsdecode(os.fsencode(name)[:LONGEST_NAME]) + "~" + digest


def open_folder(path: str) -> int:
    """A folder of ours; OSError if it is not root's alone. HA_RSCTMP might be open to all."""
    folder = os.open(path, os.O_DIRECTORY | READ)
    status = os.fstat(folder)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(folder)
        raise PermissionError(1, "it is not root's alone; remove it")
    return folder


def _make_folder(path: str) -> int:
    umask = os.umask(0o022)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    finally:
        os.umask(umask)
    folder = open_folder(path)
    if os.fstat(folder).st_mode & 0o777 != 0o700:  # made under another umask, or by hand
        os.fchmod(folder, 0o700)
    return folder


def _open_in(path: str, name: str, flags: int) -> int:
    """A file of a folder of ours; StateError if that cannot be."""
    try:
        folder = _make_folder(path)
        try:
            return os.open(name, flags, 0o600, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StateError(f"cannot use {path}: {error.strerror or error}") from error
