"""The benchmark's instruments: they count what happened, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import report
from bench.executor import Executor, Operation
from bench.measure import Candidate, UnexpectedError, percentile, run
from bench.report import Aim
from bench.trace import count, read


@dataclass(frozen=True)
class Trace:
    """What strace wrote, and what it comes to: files opened, bytes read, processes."""

    lines: str
    expected: tuple[int, int, int]
    own: bool = False


PARENT = """\
10 openat(AT_FDCWD, "/etc/a", O_RDONLY) = 3
10 read(3, ""..., 100) = 7
"""
DAEMON = """\
10 vfork() = 11
11 openat(AT_FDCWD, "/etc/b", O_RDONLY) = 4
11 recvfrom(4, ""..., 100, 0, NULL, NULL) = 30
"""
THREAD = """\
10 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f}, 88 <unfinished ...>
12 read(3, ""..., 5) = 5
10 <... clone3 resumed> => {parent_tid=[12]}, 88) = 12
"""

TRACES = {
    "files and bytes": Trace(PARENT, (1, 7, 1)),
    "what fails is not opened": Trace(
        PARENT + '10 openat(AT_FDCWD, "/x", O_RDONLY) = -1 ENOENT (No such file)\n', (1, 7, 1)),
    "what fails is not read": Trace(PARENT + "10 read(3, 0x7f, 9) = -1 EAGAIN (Try)\n", (1, 7, 1)),
    "a child is a process": Trace(PARENT + DAEMON, (2, 37, 2)),
    "what a daemon does is not the agent's own": Trace(PARENT + DAEMON, (1, 7, 2), own=True),
    "a thread is no process": Trace(PARENT + THREAD, (1, 12, 1)),
    "a thread is the agent's own": Trace(PARENT + DAEMON + THREAD, (1, 12, 2), own=True),
    "interrupted by another's call": Trace(
        "10 read(3,  <unfinished ...>\n11 close(4) = 0\n10 <... read resumed>\"\"..., 9) = 9\n",
        (0, 9, 1)),
    "signals and ends are no calls": Trace(
        PARENT + "10 --- SIGCHLD {si_signo=SIGCHLD} ---\n10 +++ exited with 0 +++\n", (1, 7, 1)),
}  # fmt: skip


@pytest.mark.parametrize("trace", TRACES.values(), ids=list(TRACES))
def test_trace_is_read(trace: Trace) -> None:
    """Files, bytes and processes are counted as strace saw them."""
    assert trace.expected == read(trace.lines.splitlines(), own=trace.own)


def test_traced(need: Callable[[str, str], str]) -> None:
    """A real candidate's processes are counted, and its memory is not that of who starts it."""
    need("/usr/bin/strace", "strace")
    need("/usr/bin/time", "time")
    ballast = bytearray(64 << 20)
    two = Candidate("two", ["/bin/sh", "-c", "/bin/true; /bin/true; :"])
    counts = count([two], 1)["two"]
    assert 3 == counts.processes
    assert 0 < counts.memory * 1024 < len(ballast) / 4
    assert counts.files and counts.read


def test_who_does_something_else_is_not_measured() -> None:
    """A candidate with another exit code than its own ends the benchmark."""
    with pytest.raises(UnexpectedError, match="false"):
        run(Candidate("false", ["/bin/false"]))
    assert run(Candidate("false", ["/bin/false"], code=1))[0] > 0


def test_aims() -> None:
    """An aim is met up to its limit, and not beyond."""
    assert "met" in str(Aim("x", 1.5, 1.5))
    assert "missed" in str(Aim("x", 1.51, 1.5))


def test_percentile_is_of_the_runs() -> None:
    """The 99th percentile lies between the slowest runs, never above them."""
    assert 99 <= percentile(range(1, 101)) <= 100


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent in shell."""
    path = tmp_path / "agent"
    path.touch(mode=0o755)
    return path


def operation(agent: Path, name: str, timeout: float = 30.0) -> Operation:
    """A monitor of an executor that is in a hurry."""
    environment = {"PATH": "/usr/bin:/bin", "OCF_RESOURCE_INSTANCE": name}
    return Operation(name, [str(agent), "monitor"], environment, 0.05, timeout)


def test_executor_repeats(agent: Path, tmp_path: Path) -> None:
    """Each operation comes again after its interval, and all that ran are told of."""
    agent.write_text(f'#!/bin/sh\necho "$OCF_RESOURCE_INSTANCE" >>{tmp_path}/ran\n')
    operations = [operation(agent, name) for name in ("a", "b")]
    for seconds in (0.5, 2.0, 8.0, 32.0):  # a busy machine needs more
        (tmp_path / "ran").write_text("")
        ran = Executor(operations).run([0.0, 0.0], seconds)
        names = (tmp_path / "ran").read_text().split()
        assert sorted(names) == sorted(one.name for one in ran)
        assert {0} == {one.code for one in ran}
        if min(names.count("a"), names.count("b")) > 1:
            return
    pytest.fail(f"not each was run twice in {seconds} s: {names}")


def test_executor_kills(agent: Path) -> None:
    """Who is not back in time is killed."""
    agent.write_text("#!/bin/sh\nexec sleep 1000\n")
    ran = Executor([operation(agent, "a", timeout=0.2)]).run([0.0], 0.1)
    assert [-9] == [one.code for one in ran]


def test_page_names_its_python() -> None:
    """A page says which Python was measured, by the package that it has on this Debian."""
    told = report.origin("bench", 0.0, ())[-1]
    assert re.fullmatch(r"- python3\.\d+\S* \d\S+", told)
