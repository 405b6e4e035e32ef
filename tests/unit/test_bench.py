"""The benchmark's instruments: they count what happened, and nothing else."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import controller, report
from bench.candidates import HERE
from bench.controller import DAEMONS_MEASURED, NONE, OURS, SHELL, Minute
from bench.executor import Executor, Operation, Ran
from bench.measure import Candidate, UnexpectedError, percentile, run
from bench.report import Aim
from bench.trace import count, read
from harness import eventually


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
    """A real candidate's processes are counted, and its memory without that of its parent."""
    need("/usr/bin/strace", "strace")
    need("/usr/bin/time", "time")
    ballast = bytearray(64 << 20)
    two = Candidate("two", ["/bin/sh", "-c", "/bin/true; /bin/true; :"])
    counts = count([two], 1)["two"]
    assert 3 == counts.processes
    assert 0 < counts.memory * 1024 < len(ballast) / 4
    assert counts.files and counts.read


def test_who_does_something_else_is_not_measured() -> None:
    """A candidate with an unexpected exit code ends the benchmark."""
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
    """A monitor that an executor repeats every 50 ms."""
    environment = {"PATH": "/usr/bin:/bin", "OCF_RESOURCE_INSTANCE": name}
    return Operation(name, [str(agent), "monitor"], environment, 0.05, timeout)


def test_executor_repeats(agent: Path, tmp_path: Path) -> None:
    """Each operation is repeated after its interval, and every run is reported."""
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
    """An operation that does not end in time is killed."""
    agent.write_text("#!/bin/sh\nexec sleep 1000\n")
    ran = Executor([operation(agent, "a", timeout=0.2)]).run([0.0], 2.0)
    assert {-9} == {one.code for one in ran}


def test_page_names_its_python() -> None:
    """A page says which Python was measured, by the package that it has on this Debian."""
    told = report.origin("bench", 0.0, ())[-1]
    assert re.fullmatch(r"- python3\.\d+\S* \d\S+", told)


def minute(cpu: float, *daemons: float, codes: tuple[int, ...] = (0, 0)) -> Minute:
    """Monitors of so much CPU each, and what each of the daemons spent."""
    ran = [Ran("nova-conductor", 1.0, cpu, code) for code in codes]
    return Minute(ran, dict(zip(DAEMONS_MEASURED, daemons)))


ROUNDS = [
    {
        NONE: minute(0.0, keystone, 2.0, 3.0, 10.0 * number, codes=()),
        OURS: minute(0.25, keystone + 0.5 * number, 2.0, 3.0, 10.0 * number + 1.0),
        SHELL: minute(4.0, keystone + 9.0, 2.0, 3.0, 10.0 * number + 12.0, codes=(0, 7, -9)),
    }
    for number, keystone in ((1, 50.0), (2, 1.0), (3, 1.5))
]
"""In the first of them other clients kept Keystone busy."""


def test_minutes_are_compared_within_a_round() -> None:
    """The extra CPU of daemons is the median of the rounds' differences, beside plain medians."""
    assert [NONE, "0", "0", "0.00", "-", "1.50", "2.00", "3.00", "20.00", "-"] == (
        controller.row(NONE, ROUNDS))
    assert [
        *(OURS, "2", "0", "0.50", "250.0", "3.00 (+1.00)", "2.00 (+0.00)", "3.00 (+0.00)"),
        *("21.00 (+1.00)", "1.50"),
    ] == controller.row(OURS, ROUNDS)


def test_monitors_that_find_fault_are_told() -> None:
    """Failures that a kind of monitor found, with daemon and number, are listed below the table."""
    told = controller.told(["keystone", "nova-conductor"], ROUNDS)
    late = "nova-conductor killed after its timeout (3 times)"
    assert f"- not 0 of {SHELL}: nova-conductor 7 (3 times), {late}" == told[-1]
    assert not any(OURS in line and "not 0 of" in line for line in told)
    (row,) = (line for line in told if line.startswith(f"| {SHELL} |"))
    assert ["3", "6", "12.00"] == [cell.strip() for cell in row.split("|")][2:5]


def test_a_run_writes_its_part_of_the_page() -> None:
    """A part of the page is written anew, or put in its place, and the others stay."""
    page = f"# What\n\na\n\n## One\n\nb\n\n{bench.SCALE}\n\nc\n"
    whole = f"{bench.CONTROLLER}\n\nd\n"
    both = bench.with_part(page, bench.CONTROLLER, whole)
    assert f"{page}\n{whole}" == both
    assert both.replace("\nc\n", "\ne\n") == (
        bench.with_part(both, bench.SCALE, f"{bench.SCALE}\n\ne\n\n"))
    assert f"# New\n\n{bench.SCALE}\n\nc\n\n{whole}" == bench.with_part(both, "", "# New\n")
    assert whole == bench.with_part("", bench.CONTROLLER, whole)


def test_shell_agent_looks_for_ports(need: Callable[[str, str], str], tmp_path: Path) -> None:
    """The agent in shell finds a port that is listened on, and a connection of its process."""
    need("/usr/lib/ocf/lib/heartbeat/ocf-shellfuncs", "resource-agents")
    need("netstat", "net-tools")
    pid = tmp_path / "pid"

    def monitor(look: str, ports: str) -> int:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OCF_ROOT": "/usr/lib/ocf",
            "OCF_RESKEY_pid": str(pid),
            f"OCF_RESKEY_{look}": ports,
        }
        agent = str(HERE / "shell-agent")
        return subprocess.run(["/bin/sh", agent, "monitor"], env=environment).returncode

    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port, unused = (str(one.getsockname()[1]) for one in (server, other))
        code = "import socket,sys; one = socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
        client = subprocess.Popen(
            ["/usr/bin/python3", "-c", f"{code}; one.recv(1)", port], stdin=subprocess.DEVNULL)
        try:
            accepted, _ = server.accept()
            pid.write_text(f"{client.pid}\n")
            assert 0 == monitor("listens", port)
            assert 7 == monitor("listens", unused)
            eventually(lambda: 0 == monitor("connected", port))
            assert 0 == monitor("connected", f"{port} {port}")
            assert 7 == monitor("connected", f"{port} {unused}")
            accepted.close()
            client.wait()
            assert 7 == monitor("connected", port)
        finally:
            client.kill()
            client.wait()
