"""Processes of this node: their identity, their signals and their descendants."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.process import Process, descendants, every, find, living, present
from agentlib.tags import TAG, carries
from looks import eventually, fields_of
from unit.kit import NOBODY, OTHER, ROOT, Zoo

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run another user's process")


def seen(pid: int) -> Process:
    found = find(pid)
    assert found is not None
    return found


def line(pid: int = 42, name: str = "x", parent: int = 1, start: int = 99) -> bytes:
    """A line as /proc/PID/stat has it (proc(5))."""
    fields = [str(pid), f"({name})", "S", str(parent), str(pid), "7", *["0"] * 15, str(start),
              *["0"] * 30]
    return " ".join(fields).encode("utf-8", "surrogateescape")


# --- identity -----------------------------------------------------------------------------------


def test_find(zoo: Zoo) -> None:
    """A process is found with what the kernel says of it."""
    child = zoo.sleeper()
    fields = fields_of(child.pid)
    found = seen(child.pid)
    assert (child.pid, "sleep", os.getpid(), child.pid, int(fields[19]), os.geteuid(), True) == (
        found.pid, found.name, found.parent, found.session, found.start, found.owner(), found.alive)


def test_find_self() -> None:
    """The caller finds itself, and itself again."""
    own = seen(os.getpid())
    assert (os.getppid(), os.getsid(0)) == (own.parent, own.session)
    again = find(own.pid, own.start)
    assert again is not None
    assert own.start == again.start


def test_age() -> None:
    """A process knows its age, which includes the time before its first line of Python."""
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); from agentlib.process import age\n"
            "print(age())")
    begin = time.monotonic()
    shell = ["/bin/sh", "-c", 'sleep 0.5; exec "$@"', "sh"]
    said = subprocess.run(
        [*shell, sys.executable, "-Esc", code], check=True, capture_output=True, text=True).stdout
    assert 0.49 < float(said) < time.monotonic() - begin + 0.02  # start times are in ticks


@pytest.mark.parametrize("shift", [-1, 1, 100000])
def test_another_start_time(shift: int, zoo: Zoo) -> None:
    """A process with the same pid, but another start time, is another process."""
    found = seen(zoo.sleeper().pid)
    assert find(found.pid, found.start + shift) is None
    assert find(found.pid, found.start) is not None


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 10**30])
def test_no_such_process(pid: int) -> None:
    """With a pid that no process can have, none is found."""
    assert find(pid) is None


def test_ended(zoo: Zoo) -> None:
    """A process that has ended is not found."""
    child = zoo.sleeper()
    found = seen(child.pid)
    child.kill()
    child.wait()
    assert find(found.pid, found.start) is None
    assert [] == living([found])


def test_zombie(zoo: Zoo) -> None:
    """A zombie is not alive: it only waits to be reaped by its parent."""
    child = zoo.sleeper()
    found = seen(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert "Z" == fields_of(child.pid)[0]
    assert find(child.pid) is None
    assert [] == living([found])
    assert child.pid not in [p.pid for p in every()]


def test_stopped(zoo: Zoo) -> None:
    """A process that was stopped is alive."""
    child = zoo.sleeper()
    child.send_signal(signal.SIGSTOP)
    eventually(lambda: fields_of(child.pid)[0] == "T")
    assert "T" == seen(child.pid).state


NAMES = ["plain", "a b", "a) b", "(a)", ") S 1 1 1", "))((", "a\nb", "\t", "M\u00e4rz", "Z", "-"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_real_name(name: str, zoo: Zoo) -> None:
    """Whatever a program is called, the fields that follow its name are read right."""
    binary = zoo.place / name
    shutil.copy("/bin/sleep", binary)
    child = zoo.run([str(binary), "3600"])
    eventually(lambda: str(binary).encode() in Path(f"/proc/{child.pid}/cmdline").read_bytes())
    found = seen(child.pid)
    fields = fields_of(child.pid)
    assert (os.getpid(), child.pid, int(fields[19])) == (found.parent, found.session, found.start)
    assert "\n" in name or name.encode().decode("ascii", "replace")[:15] == found.name


@given(name=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=15),
       parent=st.integers(0, 2**22), start=st.integers(0, 2**63))
def test_any_name(name: str, parent: int, start: int) -> None:
    """Whatever is between the parentheses, the fields after them are read right."""
    found = Process(42, line(42, name, parent, start))
    assert (42, parent, 7, start) == (found.pid, found.parent, found.session, found.start)


def test_repr() -> None:
    """A process is printed as an exit reason can have it."""
    assert "pid 42 (x, state S)" == repr(Process(42, line()))


# --- every --------------------------------------------------------------------------------------


def test_every(zoo: Zoo) -> None:
    """All processes are found but the caller."""
    tree = zoo.tree(workers=2)
    pids = {p.pid for p in every()}
    assert set(tree.members()) <= pids
    assert os.getpid() not in pids


def test_every_one_born_since(zoo: Zoo) -> None:
    """Processes that were seen are left out the next time."""
    seen: set[int] = set()
    old = zoo.sleeper()
    first = {p.pid for p in every(seen)}
    new = zoo.sleeper()
    second = {p.pid for p in every(seen)}
    assert {old.pid} == {old.pid, new.pid} & first
    assert {new.pid} == {old.pid, new.pid} & second


NAMESPACE = """
import os, signal, sys
from agentlib.process import every
reader, writer = os.pipe()
first = os.fork()
if first == 0:
    second = os.fork()
    os.write(writer, b"x")
    while True:
        signal.pause()
while len(os.read(reader, 1)) + len(os.read(reader, 1)) < 2:
    pass
print(first, sorted(p.pid for p in every()), flush=True)
for pid in (first, first + 1):
    os.kill(pid, signal.SIGKILL)
"""


@ROOT_ONLY
def test_pid_two_of_a_namespace() -> None:
    """In a container neither pid 2 nor its children are kernel threads."""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
         sys.executable, "-c", NAMESPACE],
        cwd=ROOT, capture_output=True, text=True, check=False)
    assert "2 [2, 3]\n" == done.stdout, done.stderr


# --- environments and owners --------------------------------------------------------------------


def test_environment_of_the_dead(zoo: Zoo) -> None:
    """A process that is gone has no environment and no owner."""
    child = zoo.sleeper(env={TAG: "a:b"})
    found = seen(child.pid)
    child.kill()
    child.wait()
    assert (b"", -1, -1) == (found.environment(), found.owner(), found.real_owner())


def test_environment_in_an_exec(zoo: Zoo) -> None:
    """In the middle of an exec a process has no environment: it is read again."""
    script = zoo.place / "again"
    script.write_text('exec /bin/sh "$0"\n')
    found = seen(zoo.run(["/bin/sh", str(script)], env={TAG: "a:b"}).pid)
    eventually(lambda: b"again" in Path(f"/proc/{found.pid}/cmdline").read_bytes())
    assert all(carries(found.environment(), "a:b") for _ in range(3000))


def without_ptrace(pid: int, seen_as: str, times: int = 1) -> str:
    """The different values of an expression of `there`, the process; None: it must not be read."""
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from agentlib.process import find\n"
            "from agentlib.tags import carries\n"
            "def look(there):\n"
            f"    try: return {seen_as}\n"
            "    except PermissionError: return None\n"
            f"print({{look(find({pid})) for _ in range({times})}})")
    return subprocess.run(
        ["/usr/bin/setpriv", "--bounding-set=-sys_ptrace", sys.executable, "-Esc", code],
        check=True, capture_output=True, text=True).stdout.strip()


@ROOT_ONLY
def test_environment_in_an_exec_without_ptrace(zoo: Zoo) -> None:
    """Without CAP_SYS_PTRACE an exec does not change whether the kernel lets it be read."""
    place = zoo.place / "again"
    place.write_text('exec /bin/sh "$0"\n')
    place.chmod(0o644)
    child = zoo.run(["/usr/bin/setpriv", f"--reuid={NOBODY}", "--clear-groups", "/bin/sh",
                     str(place)], env={TAG: "a:b"})
    eventually(lambda: seen(child.pid).real_owner() == NOBODY
               and b"again" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
    assert without_ptrace(child.pid, "carries(there.environment(), 'a:b')", 1000) in (
        "{True}", "{None}")


def test_empty_environment(zoo: Zoo) -> None:
    """An environment that is really empty is known as such, after a short wait."""
    child = zoo.run(["/usr/bin/env", "-i", "/bin/sleep", "3600"])
    eventually(lambda: Path(f"/proc/{child.pid}/cmdline").read_bytes()[:10] == b"/bin/sleep")
    assert b"" == seen(child.pid).environment()


@ROOT_ONLY
def test_empty_environment_without_ptrace(zoo: Zoo) -> None:
    """An empty environment is known without CAP_SYS_PTRACE as well, if it may be read."""
    run_as = ["/usr/bin/setpriv", f"--reuid={NOBODY}", "--clear-groups"]
    full, empty = (zoo.run([*run_as, "/usr/bin/env", *cleared, "/bin/sleep", "3600"])
                   for cleared in (["A=b"], ["-i"]))
    eventually(lambda: all(
        Path(f"/proc/{child.pid}/cmdline").read_bytes()[:10] == b"/bin/sleep"
        for child in (full, empty)))
    may_read = "None" not in without_ptrace(full.pid, "there.environment()")
    assert without_ptrace(empty.pid, "there.environment()") == ("{b''}" if may_read else "{None}")


@ROOT_ONLY
def test_present(zoo: Zoo) -> None:
    """present() says whether users have processes, of several users and of none."""
    zoo.sleeper(user=NOBODY)
    assert present({NOBODY})
    assert present({54321, NOBODY})
    assert not present({54321})
    assert not present(set())


@ROOT_ONLY
def test_local(zoo: Zoo) -> None:
    """A process of a child PID namespace is not local, a process of the caller's own is."""
    child = zoo.run(["unshare", "--pid", "--fork", "--kill-child", "/bin/sleep", "3600"])
    inner = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    eventually(inner.read_text)
    assert (True, False) == (seen(child.pid).local(), seen(int(inner.read_text())).local())


def test_arguments(zoo: Zoo) -> None:
    """The command line is read as it was given, empty and odd arguments too."""
    child = zoo.run([sys.executable, "-c", "import signal; signal.pause()", "a b", "", "M\u00e4rz"])
    eventually(lambda: b"pause" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
    assert ["a b", "", "M\u00e4rz"] == seen(child.pid).arguments()[3:]


@ROOT_ONLY
@pytest.mark.parametrize("user", [0, NOBODY, OTHER], ids=["root", "nobody", "other"])
def test_owner(user: int, zoo: Zoo) -> None:
    """A process is owned by the user that runs it."""
    found = seen(zoo.sleeper(user=user).pid)
    assert (user, user) == (found.owner(), found.real_owner())
    assert (True, False) == (found.owned_by({user}), found.owned_by({12345}))


@ROOT_ONLY
def test_owner_of_the_undumpable(zoo: Zoo) -> None:
    """A process that has dropped privileges is the new user's, whatever /proc shows."""
    code = (f"import os, signal; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY});"
            "signal.pause()")
    child = zoo.run([sys.executable, "-c", code])
    eventually(lambda: seen(child.pid).real_owner() == NOBODY)
    found = seen(child.pid)
    assert (True, False) == (found.owned_by({NOBODY}), found.owned_by({OTHER}))
    assert pwd.getpwuid(NOBODY).pw_uid == found.real_owner()


def test_first_thread_gone(zoo: Zoo) -> None:
    """A process whose first thread has ended is alive in its others, though it seems a zombie."""
    number = {"x86_64": 60}.get(platform.machine(), 93)  # of exit(2), which ends a thread
    code = ("import ctypes, signal, threading\n"
            "threading.Thread(target=lambda: signal.sigwait([signal.SIGUSR1])).start()\n"
            f"ctypes.CDLL(None).syscall({number}, 0)")
    child = zoo.run([sys.executable, "-c", code], env={TAG: "a:b"})
    eventually(lambda: fields_of(child.pid)[0] == "Z")
    assert (True, "Z") == (seen(child.pid).alive, seen(child.pid).state)
    assert carries(seen(child.pid).environment(), "a:b")
    assert code == seen(child.pid).arguments()[-1]
    seen(child.pid).signal(signal.SIGKILL)
    child.wait(60)
    assert find(child.pid) is None


# --- signals ------------------------------------------------------------------------------------


@pytest.fixture(params=["pidfd", "kernel before 5.3", "Python without pidfd"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How signals are sent: by a pidfd, or without one where there is none."""
    if request.param == "kernel before 5.3":
        def missing(pid: int, flags: int = 0) -> int:
            raise OSError(38, "Function not implemented")
        monkeypatch.setattr(os, "pidfd_open", missing)
    elif request.param == "Python without pidfd":
        monkeypatch.delattr(os, "pidfd_open")


def test_signal(way: None, zoo: Zoo) -> None:
    """A signal reaches its process."""
    child = zoo.sleeper()
    seen(child.pid).signal(signal.SIGTERM)
    assert -signal.SIGTERM == child.wait(60)


def test_signal_spares_strangers(way: None, zoo: Zoo) -> None:
    """A process with the same pid, but another start time, gets no signal."""
    child = zoo.sleeper()
    meant = seen(child.pid)
    meant.start -= 1
    meant.signal(signal.SIGKILL)
    meant.start += 2
    meant.signal(signal.SIGKILL)
    child.terminate()  # A KILL on its way would come first.
    assert -signal.SIGTERM == child.wait(60)


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_signal_to_the_dead(reaped: bool, way: None, zoo: Zoo) -> None:
    """A signal to a process that has ended has no effect, and is no failure."""
    child = zoo.sleeper()
    meant = seen(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    if reaped:
        child.wait()
    meant.signal(signal.SIGTERM)
    assert -signal.SIGKILL == child.wait(60)


@ROOT_ONLY
@pytest.mark.parametrize("how", ["pidfd", "kill"])
def test_signal_forbidden(how: str, zoo: Zoo) -> None:
    """Where the kernel forbids a signal, nothing happens, and nothing is raised."""
    child = zoo.sleeper(user=OTHER)
    code = (f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from agentlib.process import find\n"
            + ("" if how == "pidfd" else "del os.pidfd_open\n")
            + f"os.setuid({NOBODY}); find({child.pid}).signal(9)")
    subprocess.run([sys.executable, "-Esc", code], check=True)
    child.terminate()  # A KILL on its way would come first.
    assert -signal.SIGTERM == child.wait(60)


def test_signal_leaves_no_descriptor(zoo: Zoo) -> None:
    """Signals cost no file descriptors."""
    meant = seen(zoo.sleeper().pid)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        meant.signal(signal.SIGCONT)
    assert before == len(os.listdir("/proc/self/fd"))


# --- kinship ------------------------------------------------------------------------------------


def test_descendants(zoo: Zoo) -> None:
    """A tree is found from its root, and no other tree with it."""
    tree, other = zoo.tree(workers=3), zoo.tree(workers=1)
    found = {p.pid for p in descendants(every(), [seen(tree.master)])}
    assert set(tree.members()) == found
    assert not found & set(other.members())


PARENTS = [(10, 1), (11, 10), (12, 11), (13, 12), (20, 1), (21, 20), (30, 30), (40, 41), (41, 40)]


@pytest.mark.parametrize(
    ("ancestors", "family"),
    [([], []), ([10], [10, 11, 12, 13]), ([12], [12, 13]), ([10, 12], [10, 11, 12, 13]),
     ([21, 13], [13, 21]), ([30], [30]), ([40], [40, 41])],
    ids=["none", "root", "middle", "both", "leaves", "its own parent", "a ring"],
)
def test_families(ancestors: list[int], family: list[int]) -> None:
    """Children of children belong to it, each once, even if a race has made a circle of parents."""
    processes = {pid: Process(pid, line(pid, parent=parent)) for pid, parent in PARENTS}
    found = descendants(processes.values(), [processes[pid] for pid in ancestors])
    assert family == sorted(p.pid for p in found)


def test_living(zoo: Zoo) -> None:
    """living() returns those processes that are still alive."""
    first, second = zoo.sleeper(), zoo.sleeper()
    both = [seen(first.pid), seen(second.pid)]
    first.kill()
    first.wait()
    assert [second.pid] == [p.pid for p in living(both)]
