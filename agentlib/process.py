"""Processes of this node: what they are, and what they descend from.

A process is its pid *and* its start time; a pid alone may be another process's by now. /proc is
read directly: importing a library for it would cost a probe more than all else that it does.
Called by `instance` (what is there), `sockets` and the checks.
"""
from __future__ import annotations

import os

from .deadline import Deadline
from .errors import AgentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    T = TypeVar("T")

READING = 1.0
"""Seconds in which a process's environment or command line has to come.

They lie in its own memory. It may keep the lock of that busy, or hold it in an exec that does not
end: a reader waits then, and no signal but KILL ends that. Nothing else that is read here can
block."""

_PAGE, _MOST = 1 << 14, 1 << 17
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's sched.h
_LOOKS, _PAUSE, _AGREE = 50, 0.01, 3
_START_CODE, _ENV_START, _ENV_END = 23, 47, 48
"""Fields 26, 50 and 51 of /proc/PID/stat (proc(5)), counted from the one after the name."""


class Process:
    """A living process, as one look at /proc/PID/stat found it (proc(5)).

    start: clock ticks since boot. parent, session: pids. kernel: a thread of the kernel's.
    state: as in proc(5). threads: how many.
    """

    __slots__ = ("kernel", "name", "parent", "pid", "session", "start", "state", "threads")

    def __init__(self, pid: int, line: bytes) -> None:
        # The name, in parentheses, may itself hold blanks and parentheses.
        head, _, tail = line.rpartition(b")")
        fields = tail.split()
        self.pid = pid
        self.name = head.partition(b"(")[2].decode("ascii", "replace")
        self.state = fields[0].decode("ascii")
        self.parent = int(fields[1])
        self.kernel = bool(int(fields[6]) & _KERNEL_THREAD)
        self.session = int(fields[3])
        self.threads = int(fields[17])
        self.start = int(fields[19])

    def __repr__(self) -> str:
        return f"pid {self.pid} ({self.name}, state {self.state})"

    @property
    def alive(self) -> bool:
        """Whether it is no zombie, which has ended and only waits for its parent.

        A process whose first thread has ended looks like one, while the others go on.
        """
        return self.state not in "ZX" or self.threads > 1

    # --- what cannot block: this may be asked of every process ----------------------------

    def owner(self) -> int:
        """User id as which it acts, -1 if it is gone.

        That is the owner of its folder. The files in there are root's where a process is not
        dumpable, as one that has dropped its privileges, or has asked for it.
        """
        try:
            return os.stat(f"/proc/{self.pid}").st_uid
        except OSError:
            return -1

    def real_owner(self) -> int:
        """User id of what started it, -1 if it is gone. (What runs setuid has another owner.)"""
        return int((self._status(b"\nUid:") or [b"-1"])[0])

    def owned_by(self, users: set[int]) -> bool:
        """Whether one of the users has started it; it may act as root meanwhile, by setuid."""
        return self.owner() in (0, *users) and self.real_owner() in users

    def local(self) -> bool:
        """Whether it is of the PID namespace that /proc shows, not of one below: a container's."""
        return len(self._status(b"\nNSpid:")) < 2

    def _status(self, name: bytes) -> list[bytes]:
        text = _read(f"/proc/{self.pid}/status").partition(name)[2]
        return text.partition(b"\n")[0].split()

    def deadlocked(self) -> bool:
        """Whether it handles HUP, and each of its threads waits for a lock, as long as this lasts.

        Known where the kernel shows what threads wait in (wchan in proc(5)) to a process that may
        trace them; else not.
        """
        blocked = (self._status(b"\nSigBlk:") or [b"0"])[0]
        if not int(blocked, 16) & 1:  # HUP: it is blocked while it is handled
            return False
        try:
            threads = os.listdir(f"/proc/{self.pid}/task")
        except OSError:
            return False
        return bool(threads) and all(
            _read(f"/proc/{self.pid}/task/{thread}/wchan").startswith((b"futex_", b"rt_mutex_"))
            for thread in threads)

    # --- what may block: of the service's own processes only, and with a limit ------------

    def environment(self) -> bytes:
        """The environment that it was started with, or the beginning of a large one.

        PermissionError where it must not be read. TimeoutError where it does not come: in the
        middle of an exec, and at the end of its life, a process has no memory for a moment.
        This may block: `environments` sets a limit.
        """
        import time

        empty = 0
        hidden = False
        for _ in range(_LOOKS):
            folder = self._folder()
            text = b""
            try:
                text = _contents(f"{folder}/environ")
            except PermissionError:
                raise
            except OSError:
                pass  # It has ended, or is about to.
            if text:
                return text
            there = find(self.pid, self.start)
            if not there:
                return b""
            self.state = there.state
            fields = _read(f"{folder}/stat").rpartition(b")")[2].split()
            if len(fields) > _ENV_END:
                # So the kernel says that it does not tell. It may let the environment be read all
                # the same, and a process in the middle of an exec will have one.
                hidden = fields[_START_CODE] == b"1"
                # At the end of an exec it begins and ends at one place, too, until it is filled.
                # The command line, which is told in any case, comes after that place is known.
                known = _read(f"{folder}/cmdline") if hidden else int(fields[_ENV_END])
                empty = empty + 1 if known and fields[_ENV_START] == fields[_ENV_END] else 0
                if empty == _AGREE:
                    return b""
            time.sleep(_PAUSE)
        raise PermissionError if hidden else TimeoutError

    def arguments(self) -> list[str]:
        """Its command line; a single empty word where it is gone, or cannot be read in time."""
        try:
            text = within(READING, _contents, f"{self._folder()}/cmdline")
        except OSError:
            text = b""
        return os.fsdecode(text).rstrip("\0").split("\0")

    def _folder(self) -> str:
        """The folder in /proc from which its memory can be seen.

        Where the first thread has ended while others go on, that is another thread's.
        """
        folder = f"/proc/{self.pid}"
        if self.state in "ZX":
            try:
                others = [name for name in os.listdir(f"{folder}/task") if name != str(self.pid)]
            except OSError:
                others = []
            if others:
                return f"{folder}/task/{others[-1]}"
        return folder

    def signal(self, number: int) -> None:
        """Send a signal to this process, and to no other that may have its pid by now.

        Where the kernel forbids it (no CAP_KILL, a security module), nothing happens: the caller
        looks whether they have ended.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except (OSError, AttributeError):
            # A kernel before 5.3: a comparison right before is the best there is.
            if find(self.pid, self.start):
                _kill(self.pid, number)
            return
        try:
            # The descriptor holds on to the process that has the pid now. Is it the one meant?
            if find(self.pid, self.start):
                import signal

                signal.pidfd_send_signal(descriptor, number)
        except (ProcessLookupError, PermissionError):
            pass
        finally:
            os.close(descriptor)


def find(pid: int, start: int | None = None) -> Process | None:
    """The living process with this pid (and this start time), or None."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        process = Process(pid, os.read(descriptor, 4096))
    except (OSError, ValueError, IndexError):
        return None  # It ended between open and read.
    finally:
        os.close(descriptor)
    if not process.alive or start not in (None, process.start):
        return None
    return process


def age(process: Process | None = None) -> float:
    """Seconds since a process was started, by default the caller's; zero where /proc fails."""
    process = process or find(os.getpid())
    if not process:
        return 0.0
    import time

    started = process.start / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)


def every(seen: set[int] | None = None) -> list[Process]:
    """All living processes, but kernel threads and the caller.

    seen: pids that are not looked at again; those that are, are added. A second call gives the
        processes that began since the first.
    """
    own = os.getpid()
    try:
        if int(os.readlink("/proc/self")) != own:
            raise OSError
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    except (OSError, ValueError):
        raise AgentError("/proc shows no processes: what runs here cannot be told") from None
    if seen is not None:
        pids -= seen
        seen |= pids
    found = (find(pid) for pid in sorted(pids))
    return [process for process in found if process and not process.kernel
            and process.pid != own]


def descendants(processes: Iterable[Process], ancestors: Iterable[Process]) -> list[Process]:
    """Of the processes, those that descend from the ancestors, and the ancestors."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    family = {process.pid: process for process in ancestors}
    queue = list(family)
    for pid in queue:
        for child in children.get(pid, ()):
            if child.pid not in family:
                family[child.pid] = child
                queue.append(child.pid)
    return list(family.values())


def tree(master: Process) -> list[Process]:
    """The master process and its descendants, found by kinship alone: no search through /proc.

    What has lost its parent is not in it: that is for `instance` to find. (A kernel without
    CONFIG_PROC_CHILDREN does not tell children: /proc is searched then.)
    """
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return descendants(every(), [master])
    found = [master]
    for member in found:
        try:
            threads = os.listdir(f"/proc/{member.pid}/task")
        except OSError:
            continue  # It has ended.
        for thread in threads:
            for pid in _read(f"/proc/{member.pid}/task/{thread}/children").split():
                child = find(int(pid))
                if child and child.parent == member.pid:
                    found.append(child)
    return found


def living(processes: Iterable[Process]) -> list[Process]:
    """Those that still live, looked at anew."""
    found = (find(process.pid, process.start) for process in processes)
    return [process for process in found if process]


def present(users: set[int]) -> bool:
    """Whether there is any process that one of the users has started, also if just a zombie.

    One question to the kernel, where a look at each process would be hundreds.
    """
    for user in users:
        try:
            os.getpriority(os.PRIO_USER, user)
        except ProcessLookupError:
            continue
        except OSError:
            pass  # It does not tell.
        return True
    return False


def within(seconds: float, function: Callable[..., T], *arguments: Any) -> T:
    """Call the function; TimeoutError when it is not back in time."""
    try:
        return Deadline(seconds).within(function, *arguments)
    except MemoryError:
        return function(*arguments)  # There is too little memory for a thread.


def _read(path: str) -> bytes:
    try:
        return _contents(path)
    except OSError:
        return b""


def _contents(path: str) -> bytes:
    # open() would ask twice as much of the kernel, and this is read of many in a look.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, _PAGE)
        # Nearly all are small; to ask for much at once would triple what a look costs.
        return text if len(text) < _PAGE else text + os.read(descriptor, _MOST - _PAGE)
    finally:
        os.close(descriptor)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
