"""Processes by identity: a process is its pid *and* its start time, since pids are reused.

Called by `lab.services` to start and end the services, and by `lab.netns` to empty a
namespace. It reads /proc and nothing else: it has to work before any package is installed.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONWARNINGS": "ignore",
}
POLL = 0.05
REST = 4
LONGEST = 0.5
KILLED = 60.0  # seconds until nothing is left after KILL; only a busy machine needs them

# Our own children have to be waited for, or they stay behind as zombies for as long as a
# test run lasts.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Process:
    """A process that existed when /proc was read.

    It is the same one whatever its parent: when that has ended, it has another.
    """

    pid: int
    birth: int  # when it started, in clock ticks after boot
    parent: int = field(compare=False)
    session: int = field(compare=False)

    @classmethod
    def at(cls, pid: int) -> Process | None:
        """The process that has this pid; None if there is none, or only a zombie.

        A process whose first thread has ended looks like a zombie while other threads go on, for a
        moment after SIGKILL as well. (The agents distinguish this, too.)
        """
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        # The second field is the command's name, which may hold spaces and parentheses.
        fields = stat.rpartition(")")[2].split()
        if fields[0] in "ZX" and int(fields[17]) <= 1:  # the number of its threads
            return None
        return cls(pid, birth=int(fields[19]), parent=int(fields[1]), session=int(fields[3]))

    def alive(self) -> bool:
        """Whether this very process, and not a later one with its pid, is still there."""
        now = Process.at(self.pid)
        return now is not None and now.birth == self.birth

    def frozen(self) -> bool:
        """Whether it is stopped, with all its threads, or gone."""
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            try:
                state = stat.read_text(errors="replace").rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "TtZX":
                return False
        return True

    def send(self, signum: int) -> None:
        """Signal this very process: the descriptor is opened first, then compared."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(descriptor, signum)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def since(self) -> float:
        """When it started, in seconds of the epoch."""
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - uptime + self.birth / os.sysconf("SC_CLK_TCK")


def every() -> Iterator[Process]:
    """All processes of this machine."""
    for entry in os.listdir("/proc"):
        process = Process.at(int(entry)) if entry.isdigit() else None
        if process:
            yield process


def ancestors() -> set[int]:
    """The pids of this process, its parent, and so on."""
    pids: set[int] = set()
    process = Process.at(os.getpid())
    while process:
        pids.add(process.pid)
        process = Process.at(process.parent)
    return pids


def session(pid: int, birth: int) -> list[Process]:
    """The session that this process leads, or led: workers outlive a master that was killed."""
    leader = Process.at(pid)
    if leader and leader.birth != birth:
        # The kernel reuses a pid only after the last member of its session has ended.
        return []
    members = [p for p in every() if p.session == pid and p.birth >= birth]
    return sorted(members, key=lambda p: (p.pid != pid, p.pid))


def as_user(name: str) -> dict[str, Any]:
    """The arguments that make subprocess run something as this user."""
    entry = pwd.getpwnam(name)
    groups = os.getgrouplist(name, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def spawn(
    argv: Sequence[str], *, user: str, home: Path, log: Path, environment: Mapping[str, str]
) -> Process:
    """Start a daemon: a session of its own, unprivileged, its output appended to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home,
            env={**ENVIRONMENT, "HOME": str(home), **environment},
            start_new_session=True,
            **as_user(user),
        )
    _children.append(child)
    # A child that ended already is a zombie until we wait for it, so its pid is not reused yet.
    return Process.at(child.pid) or Process(child.pid, birth=0, parent=0, session=child.pid)


def end(find: Callable[[], list[Process]], grace: float = 5.0) -> bool:
    """End what `find` finds: TERM, KILL after the time of grace. True when nothing is left.

    What was started while the others were killed is killed as well.

    Only the first one gets TERM if it leads the session of all: a master process ends its workers
    itself, and may have data to write before.
    """
    found = find()
    led = found and all(p.session == found[0].pid for p in found)
    for process in found:
        process.send(signal.SIGCONT)  # a stopped process does not handle TERM
    for process in found[:1] if led else found:
        process.send(signal.SIGTERM)
    if await_end(find, grace):
        return True

    def killed() -> list[Process]:
        left = find()
        for process in left:
            process.send(signal.SIGKILL)
        return left

    return await_end(killed, KILLED)


def freeze(processes: Sequence[Process]) -> None:
    """Stop processes, and wait until they have stopped: a signal takes effect later."""
    for process in processes:
        process.send(signal.SIGSTOP)
    while not all(process.frozen() for process in processes):
        time.sleep(POLL)


def rest(since: float, least: float = POLL) -> None:
    """Sleep until the next look at an awaited condition.

    since: what time.monotonic() said before the last look. A look that starts commands costs some
    30 ms of CPU, and a busy machine has less to give: the pause is REST times as long, from `least`
    to LONGEST seconds.
    """
    time.sleep(min(max(least, REST * (time.monotonic() - since)), LONGEST))


def await_end(find: Callable[[], list[Process]], seconds: float) -> bool:
    """Whether `find` finds nothing any more before the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        _children[:] = [child for child in _children if child.poll() is None]
        if not find():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
