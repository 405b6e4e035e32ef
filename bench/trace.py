"""What a candidate opens, reads and starts, as strace sees it; its memory, as GNU time does.

Called by `bench.__main__`, in runs of their own: traced, a candidate takes several times as long.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import Candidate, UnexpectedError, spawn

OPENS = ("open", "openat", "openat2", "creat")
READS = ("read", "pread64", "readv", "preadv", "preadv2", "recvfrom", "recvmsg")
BIRTHS = ("clone", "clone3", "fork", "vfork")
# -s 0: bytes read are counted, not logged. -I 2: a signal ends strace, not the traced process.
STRACE = ("/usr/bin/strace", "-f", "-q", "-I", "2", "-s", "0", "-e", "signal=none", "-e")
LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed)(.*)")
RESULT = re.compile(r"\) += (-?\d+)")
LIMIT, POLL = 120.0, 0.02  # seconds


@dataclass(frozen=True)
class Counts:
    """Counts of one candidate. memory: the peak of its largest process, in kB. read: bytes, also
    from sockets, but not of mapped files (shared libraries). processes: with the first."""

    memory: float
    files: float
    read: float
    processes: float


def count(candidates: Iterable[Candidate], runs: int) -> dict[str, Counts]:
    """The counts of all candidates, by name; medians."""
    return {candidate.name: _median([_once(candidate) for _ in range(runs)])
            for candidate in candidates}


def _once(candidate: Candidate) -> Counts:
    with TemporaryDirectory(prefix="openstack-ocf-bench-") as folder:
        out = Path(folder) / "out"
        candidate.prepare()
        # A process inherits its peak from its parent, across exec: GNU time is a small parent.
        _run(candidate, ["/usr/bin/time", "--quiet", "-f", "%M", "-o", str(out)], None)
        memory = float(out.read_text().split()[-1])
        out.unlink()
        candidate.prepare()
        _run(candidate, [*STRACE, f"trace={','.join((*OPENS, *READS, *BIRTHS))}", "-o", str(out)],
             (lambda: _over(out)) if candidate.daemon else None)
        return Counts(memory, *read(out.read_text().splitlines(), own=bool(candidate.daemon)))


def _run(candidate: Candidate, tool: Sequence[str], over: Callable[[], bool] | None) -> None:
    """Run it under a tool. over: whether a candidate that leaves a daemon behind has ended."""
    pid = spawn([*tool, *candidate.command], candidate.variables)
    if over is None:
        candidate.check(os.waitpid(pid, 0)[1])
        return
    until = time.monotonic() + LIMIT
    while not over():
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        if time.monotonic() > until:
            os.kill(pid, signal.SIGTERM)
            raise UnexpectedError(f"{candidate.name} takes more than {LIMIT:.0f} s under strace")
        time.sleep(POLL)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)


def _over(out: Path) -> bool:
    text = out.read_text() if out.exists() else ""
    return bool(text) and f"{text.split(maxsplit=1)[0]} +++ exited" in text


def read(lines: Iterable[str], *, own: bool = False) -> tuple[int, int, int]:
    """Files opened, bytes read and processes, from what strace wrote.

    own: without the calls of processes that the first one starts: those are the daemon's.
    """
    calls = list(_calls(lines))
    threads = {result for _, name, text, result in calls
               if name in BIRTHS and "CLONE_THREAD" in text}
    counted = {calls[0][0], *threads} if own and calls else {pid for pid, *_ in calls}
    files = read_ = 0
    processes = 1
    for pid, name, _, result in calls:
        if result < 0 or pid not in counted:
            continue
        files += name in OPENS
        read_ += result if name in READS else 0
        processes += name in BIRTHS and result not in threads
    return files, read_, processes


def _calls(lines: Iterable[str]) -> Iterable[tuple[int, str, str, int]]:
    """Pid, name, arguments and result of each call; one that was interrupted is put together."""
    begun: dict[str, str] = {}
    for line in lines:
        found = LINE.match(line)
        if not found:
            continue
        pid, name, text = found.groups()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text
            continue
        result = RESULT.search(text)
        if result:
            yield int(pid), name, begun.pop(pid, "") + text, int(result[1])


def _median(counts: Sequence[Counts]) -> Counts:
    names = ("memory", "files", "read", "processes")
    return Counts(*(statistics.median(getattr(one, name) for one in counts) for name in names))
