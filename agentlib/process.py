"""Processes of this node: what they are, and what they descend from.

A process is its pid *and* its start time; a pid alone may be a stranger's by now. The look goes
to /proc directly: importing a library for it would cost a probe more than all else that it does.
Called by `instance` (who is there) and `daemon` (spawn).
"""
from __future__ import annotations

import os

from .errors import AgentError, NotInstalledError
from .parameters import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a program without a folder is looked for, and a daemon's own PATH."""

TAG = "OPENSTACK_OCF_INSTANCE"
"""Environment variable by which every process of an instance is known, `agent:instance`."""

_PAGE, _ENVIRONMENT_SIZE = 1 << 14, 1 << 20
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's sched.h


class Process:
    """A living process, as one look at /proc/PID/stat found it (proc(5)).

    start: clock ticks since boot. parent, session: pids. owner: user id. kernel: a thread of
    the kernel's. state: as in proc(5). threads: how many.
    """

    __slots__ = ("kernel", "name", "owner", "parent", "pid", "session", "start", "state",
                 "threads")

    def __init__(self, pid: int, line: bytes, owner: int) -> None:
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
        self.owner = owner

    def __repr__(self) -> str:
        return f"pid {self.pid} ({self.name}, state {self.state})"

    @property
    def alive(self) -> bool:
        """Not a zombie: that one only waits for its parent to take notice.

        A process whose first thread has ended looks like one, while the others go on.
        """
        return self.state not in "ZX" or self.threads > 1

    def tagged(self, tag: str) -> bool:
        """Whether it carries the tag, from birth or from its parent."""
        environment = _read(f"/proc/{self.pid}/environ")
        return f"\0{TAG}={tag}\0".encode() in b"\0" + environment + b"\0"

    def claimed_by(self) -> str:
        """The instance that its environment names: our tag, else OCF_RESOURCE_INSTANCE.

        The HA guide's agents let their daemons inherit the latter.
        """
        fields = dict(field.partition(b"=")[::2]
                      for field in _read(f"/proc/{self.pid}/environ").split(b"\0"))
        name = fields.get(TAG.encode()) or fields.get(b"OCF_RESOURCE_INSTANCE") or b""
        return os.fsdecode(name)

    def real_owner(self) -> int:
        """User id of who started it, -1 if it is gone. (What runs setuid shows another owner.)"""
        for line in _read(f"/proc/{self.pid}/status").splitlines():
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
        return -1

    def owned_by(self, owners: set[int]) -> bool:
        """Whether one of the users runs it, though it may have dropped its privileges to do so.

        For such a process /proc shows root as the owner.
        """
        return self.owner in owners or (self.owner == 0 and self.real_owner() in owners)

    def arguments(self) -> list[str]:
        """Its command line."""
        return os.fsdecode(_read(f"/proc/{self.pid}/cmdline")).rstrip("\0").split("\0")

    def signal(self, number: int) -> None:
        """Send a signal to this process, and to no other that may have its pid by now.

        Where the kernel forbids it (no CAP_KILL, a security module), nothing happens: who ends
        processes looks whether they have ended.
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


def program(name: str) -> str:
    """The path of an executable, by its name or path; empty if there is none on this node."""
    for folder in PATH.split(":") if "/" not in name else ("",):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def binary(name: str) -> str:
    """The path of what the parameter binary names; NotInstalledError if there is none here."""
    found = program(name)
    if not found:
        raise NotInstalledError(
            f"binary={shown(name)} is not an executable on this node; is it installed?")
    return found


def find(pid: int, start: int | None = None) -> Process | None:
    """The living process with this pid (and this start time), or None."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        process = Process(pid, os.read(descriptor, 4096), os.fstat(descriptor).st_uid)
    except (OSError, ValueError, IndexError):
        return None  # It ended between open and read.
    finally:
        os.close(descriptor)
    if not process.alive or start not in (None, process.start):
        return None
    return process


def age() -> float:
    """Seconds since the caller's own process was born; zero where /proc does not tell."""
    own = find(os.getpid())
    if not own:
        return 0.0
    import time

    born = own.start / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - born)


def everyone(seen: set[int] | None = None) -> list[Process]:
    """All living processes, but kernel threads and the caller.

    seen: pids that are not looked at again; those that are, are added. A second call gives who
        was born since the first.
    """
    own = os.getpid()
    try:
        if int(os.readlink("/proc/self")) != own:
            raise OSError
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    except (OSError, ValueError):
        raise AgentError("/proc shows no processes: nobody can tell what runs here") from None
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


def living(processes: Iterable[Process]) -> list[Process]:
    """Those that still live, looked at anew."""
    found = (find(process.pid, process.start) for process in processes)
    return [process for process in found if process]


def writers(path: str, user: int) -> set[int]:
    """The pids of the user's processes that have a file open for writing.

    Of other users' none is looked at: their descriptors may be millions.
    """
    real = os.path.realpath(path)
    return {candidate.pid for candidate in everyone()
            if candidate.owned_by({user}) and _writes(candidate.pid, real)}


def _writes(pid: int, path: str) -> bool:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in numbers:
        try:
            same = os.readlink(f"/proc/{pid}/fd/{number}") == path
        except OSError:
            continue  # It was closed meanwhile.
        if same:
            flags = _read(f"/proc/{pid}/fdinfo/{number}").partition(b"flags:")[2].split()
            if flags and int(flags[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            # Nearly all are small; to ask for much at once would triple what a look costs.
            text = file.read(_PAGE) or b""
            return text if len(text) < _PAGE else text + (file.read(_ENVIRONMENT_SIZE) or b"")
    except OSError:
        return b""


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
