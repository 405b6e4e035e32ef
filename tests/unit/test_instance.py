"""The processes of an instance: how they are found, and ended; with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlib.deadline import Deadline
from agentlib.instance import Instance, remembered
from agentlib.log import Log
from agentlib.process import Process, find
from agentlib.state import State, Store
from looks import eventually, fields_of, lives, start_of
from unit.kit import NOBODY, OTHER, ROOT, Tree, Zoo

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs processes of several users")

PLENTY = 120.0


class Home:
    """An instance with files of its own, and a tag that no other test has."""

    def __init__(self, folder: Path, zoo: Zoo, log: Log, *, name: str = "p_unit",
                 owner: int | None = NOBODY) -> None:
        self.tag = f"unit-{uuid.uuid4().hex}:{name}"
        self.zoo = zoo
        self.folder = folder
        self.store = Store(str(folder), self.tag, name, "")
        self.config = ""
        self.instance = Instance(
            self.tag, self.store, lambda: owner, lambda p: self.config in p.arguments(), log)

    def start(self, **spec: object) -> Tree:
        """A tree as the agent starts it: tagged, remembered, in a session of its own."""
        tree = self.zoo.tree(tag=self.tag, **spec)  # type: ignore[arg-type]
        self.remember(tree)
        return tree

    def remember(self, tree: Tree) -> None:
        master = find(tree.master)
        assert master is not None
        self.store.write(remembered(master))
        self.store.write_pidfile(tree.master)
        self.config = str(tree.config)

    def forget_state(self) -> None:
        for path in (self.folder / "openstack").glob("*.json"):
            path.unlink()

    def forget_pidfile(self) -> None:
        Path(self.store.pidfile).unlink()

    def family(self) -> list[int]:
        return pids(self.instance.family())

    def look(self) -> tuple[int, list[int]]:
        """The master's pid (0: none), and the orphans'."""
        presence = self.instance.look()
        return presence.master.pid if presence.master else 0, pids(presence.orphans)

    def end(self, deadline: float = PLENTY, grace: float = PLENTY) -> list[Process]:
        return self.instance.end(Deadline(deadline), Deadline(grace))


def pids(processes: list[Process]) -> list[int]:
    return sorted(process.pid for process in processes)


@pytest.fixture
def make(tmp_path: Path, zoo: Zoo, log: Log) -> Callable[..., Home]:
    """Makes homes of instances."""
    return lambda **options: Home(tmp_path, zoo, log, **options)


@pytest.fixture
def home(make: Callable[..., Home]) -> Home:
    return make()


# --- look ---------------------------------------------------------------------------------------


def test_nothing(home: Home) -> None:
    """Where nothing was ever started, nothing is found, and nothing is to be ended."""
    assert ((0, []), [], []) == (home.look(), home.family(), home.end())


def test_look_changes_nothing(home: Home, logged: Callable[[], str]) -> None:
    """A look at what runs as remembered writes nothing."""
    home.start()
    before = {path: path.stat().st_mtime_ns for path in home.folder.rglob("*") if path.is_file()}
    home.look()
    after = {path: path.stat().st_mtime_ns for path in home.folder.rglob("*") if path.is_file()}
    assert before == after
    assert "" == logged()


def test_master_is_a_zombie(home: Home) -> None:
    """A master that is a zombie is gone."""
    tree = home.start()
    os.kill(tree.master, signal.SIGKILL)
    os.waitid(os.P_PID, tree.master, os.WEXITED | os.WNOWAIT)
    assert (0, []) == home.look()


def test_orphan_without_tag(home: Home) -> None:
    """A worker that has lost the tag is known by its master's session."""
    tree = home.zoo.tree(workers=1)
    home.remember(tree)
    tree.kill_master()
    assert (0, tree.workers) == home.look()


def test_orphan_with_a_title(home: Home) -> None:
    """A worker that has written a title over its environment is known by its master's session."""
    tree = home.start(workers=2)
    for pid in tree.workers:
        write_a_title(pid)
    home.config = "in no command line"
    tree.kill_master()
    assert (0, tree.workers) == home.look()
    assert ([], []) == (home.end(), home.family())


def test_stranger_with_a_title_in_an_adopted_session(home: Home) -> None:
    """In a session that the master did not lead, a title is no evidence."""
    stranger = home.zoo.tree(workers=1)
    write_a_title(stranger.workers[0])
    master = home.zoo.sleeper(user=NOBODY)
    state = remembered(find(master.pid))  # type: ignore[arg-type]
    state.session, state.start = stranger.master, start_of(stranger.master)
    home.store.write(state)
    home.config = "in no command line"
    stranger.kill_master()
    master.kill()
    master.wait()
    assert (0, []) == home.look()


def write_a_title(pid: int) -> None:
    """Overwrite an environment with zeros, as setproctitle does (env_start, env_end of proc(5))."""
    start, end = (int(field) for field in fields_of(pid)[47:49])
    with open(f"/proc/{pid}/mem", "r+b") as memory:
        memory.seek(start)
        memory.write(bytes(end - start))


def test_orphan_that_ends_meanwhile(home: Home, log: Log) -> None:
    """An orphan that ends while it is looked at is not reported."""
    tree = home.zoo.tree(workers=1)
    home.remember(tree)
    tree.kill_master()

    def end(orphan: Process) -> bool:
        os.kill(orphan.pid, signal.SIGKILL)
        eventually(lambda: not lives(orphan.pid))
        return True

    home.instance = Instance(home.tag, home.store, lambda: NOBODY, end, log)
    assert (0, []) == home.look()


@pytest.mark.parametrize("own_session", [False, True], ids=["usual", "workers lead sessions"])
def test_lost_state(home: Home, own_session: bool) -> None:
    """A lost state does not make a running daemon invisible; it is remembered anew."""
    tree = home.start(workers=2, own_session=own_session)
    before = home.store.read()
    home.forget_state()
    home.forget_pidfile()
    assert (tree.master, []) == home.look()
    after = home.store.read()
    assert (before.pid, before.start, before.session, before.uid) == (
        after.pid, after.start, after.session, after.uid)
    assert tree.master == home.store.read_pidfile()


@pytest.mark.parametrize("trouble", ["folder of others", "file", "pidfile's folder"])
def test_cannot_remember(home: Home, trouble: str, logged: Callable[[], str]) -> None:
    """A daemon that runs is found even if it cannot be remembered, with a warning in the log."""
    tree = home.start(workers=1)
    folder = home.folder / "openstack"
    home.forget_state()
    home.forget_pidfile()
    if trouble == "folder of others":
        folder.chmod(0o777)
    elif trouble == "file":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        folder.write_text("x")
    else:
        home.store.pidfile = str(home.folder / "missing" / "x.pid")
    assert (tree.master, []) == home.look()
    assert "WARNING" in logged()


# --- strangers ----------------------------------------------------------------------------------


def test_stranger_of_another_user_in_the_session(home: Home) -> None:
    """A process of another user in the session is not a worker of ours."""
    stranger = home.zoo.tree(workers=1, user=OTHER)
    start = start_of(stranger.master)
    stranger.kill_master()
    state = State()
    state.pid = state.session = stranger.master
    state.start, state.uid = start, NOBODY
    home.store.write(state)
    assert ((0, []), []) == (home.look(), home.family())


def test_tag_without_account(make: Callable[..., Home]) -> None:
    """Where the account is gone, the tag alone finds the daemon: stop needs no user."""
    home = make(owner=None)
    tree = home.zoo.tree(tag=home.tag, user=OTHER, workers=1)
    assert tree.members() == home.family()
    assert [] == home.end()


def test_daemon_of_a_former_user(make: Callable[..., Home]) -> None:
    """A daemon that was started as another user than is configured now is still ours."""
    home = make(owner=OTHER)
    tree = home.start(workers=1, user=NOBODY)
    assert (tree.master, []) == home.look()
    tree.kill_master()
    assert (0, tree.workers) == home.look()


def test_stranger_in_an_adopted_session(make: Callable[..., Home]) -> None:
    """A session that the daemon does not lead is no evidence: other processes may be in it.

    Daemons that the HA guide's agents have started are all in Pacemaker's own session.
    """
    home = make()
    leader = home.zoo.run(
        [sys.executable, "-c", SHELL, str(home.zoo.binary()), str(home.zoo.config()),
         str(home.zoo.config())])
    first, second = (Path(str(home.zoo.place / f"tree{n}.conf.roles")) for n in (1, 2))
    eventually(lambda: first.read_text() and second.read_text())
    ours, stranger = (int(path.read_text().split()[1]) for path in (first, second))
    assert [leader.pid] * 2 == [os.getsid(ours), os.getsid(stranger)]
    home.config = str(home.zoo.place / "tree1.conf")
    home.store.write_pidfile(ours)
    assert (ours, []) == home.look()
    assert [ours] == home.family()
    assert [] == home.end()
    assert lives(stranger)


SHELL = f"""
import signal, subprocess, sys
for config in sys.argv[2:]:
    subprocess.Popen([sys.argv[1], "--config-file", config], user={NOBODY}, extra_groups=[])
signal.pause()
"""


# --- adoption -----------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [True, False], ids=["own session", "foreign session"])
@pytest.mark.parametrize("claim", [{}, {"OCF_RESOURCE_INSTANCE": "p_unit"}],
                         ids=["not claimed", "claimed by the shell agent"])
def test_adoption(
    home: Home, session: bool, claim: dict[str, str], logged: Callable[[], str],
) -> None:
    """A running daemon of a shell agent, named by the pidfile, is taken over."""
    tree = home.zoo.tree(workers=2, session=session, env=claim)
    home.config = str(tree.config)
    home.store.write_pidfile(tree.master)
    assert (tree.master, []) == home.look()
    assert tree.members() == home.family()
    assert tree.master == home.store.read().pid
    assert f"takes over the running daemon, pid {tree.master}" in logged()
    assert [] == home.end()
    assert not any(map(lives, tree.members()[1:]))


@pytest.mark.parametrize(
    ("user", "env", "alike"),
    [
        (NOBODY, {"OCF_RESOURCE_INSTANCE": "p_other"}, True),
        (NOBODY, {"OPENSTACK_OCF_INSTANCE": "unit-api:p_other"}, True),
        (NOBODY, {}, False),
        (OTHER, {}, True),
        (0, {}, True),
    ],
    ids=["another instance's", "another instance's by tag", "another program", "another user's",
         "root's"],
)
def test_stranger_in_the_pidfile(
    home: Home, user: int, env: dict[str, str], alike: bool,
) -> None:
    """A stranger whose pid stands in the pidfile is neither taken over nor ended."""
    tree = home.zoo.tree(user=user, env=env, workers=1)
    home.config = str(tree.config) if alike else "/etc/other.conf"
    home.store.write_pidfile(tree.master)
    assert ((0, []), []) == (home.look(), home.family())
    assert 0 == home.store.read().pid
    assert [] == home.end()
    assert all(map(lives, tree.members()))


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["init", "the agent itself"])
def test_not_to_be_ended(make: Callable[..., Home], pid: int) -> None:
    """Neither init nor the agent counts as the daemon, whatever they look like."""
    home = make(owner=0)
    found = find(pid)
    assert found is not None
    home.config = found.arguments()[0]
    home.store.write_pidfile(pid)
    assert ((0, []), []) == (home.look(), home.family())


# --- end ----------------------------------------------------------------------------------------


def reaped(tree: Tree) -> int:
    return tree.process.wait(60)


def test_end_without_grace(home: Home) -> None:
    """Without grace all processes are killed at once."""
    tree = home.start(workers=2)
    assert [] == home.end(grace=0)
    assert -signal.SIGKILL == reaped(tree)
    assert not any(map(lives, tree.workers))


@pytest.mark.parametrize("who", ["all", "workers", "master"])
def test_end_of_the_stopped(home: Home, who: str) -> None:
    """A tree that was stopped (SIGSTOP) is continued, so that it handles TERM."""
    tree = home.start(workers=2)
    stopped = {"all": tree.members(), "workers": tree.workers, "master": [tree.master]}[who]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: all(fields_of(pid)[0] == "T" for pid in stopped))
    assert [] == home.end()
    assert 0 == reaped(tree)
    assert not any(map(lives, tree.workers))


def test_fork_and_exit(home: Home) -> None:
    """A process that forks and exits all the time, as one that daemonises twice, is seen."""
    tree = home.zoo.tree(tag=home.tag, hops=True)
    try:
        assert all(home.family() for _ in range(100))
    finally:
        tree.config.unlink()


def test_end_when_time_is_over(home: Home) -> None:
    """With no time left the processes are killed all the same."""
    tree = home.start()
    home.end(deadline=0, grace=0)
    eventually(lambda: not lives(tree.master))


def test_end_is_not_for_the_agent(home: Home, zoo: Zoo) -> None:
    """An agent that has the tag in its own environment does not end itself."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from agentlib.deadline import Deadline\n"
        "from agentlib.environment import Environment\n"
        "from agentlib.instance import Instance\n"
        "from agentlib.log import Log\n"
        "from agentlib.state import Store\n"
        "log = Log('x', Environment('stop', 'x', {}))\n"
        "store = Store(sys.argv[2], sys.argv[3], 'x', '')\n"
        "i = Instance(sys.argv[3], store, lambda: 0, lambda p: False, log)\n"
        "print(i.end(Deadline(60), Deadline(1)))\n")
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(home.folder), home.tag],
        env=zoo.environment(OPENSTACK_OCF_INSTANCE=home.tag), capture_output=True, text=True,
        check=False)
    assert (0, "[]\n") == (done.returncode, done.stdout), done.stderr


def test_remembered(home: Home) -> None:
    """Of a master that leads its session, pid, start, session and user are remembered."""
    tree = home.zoo.tree()
    master = find(tree.master)
    assert master is not None
    state = remembered(master)
    assert (tree.master, start_of(tree.master), tree.master, NOBODY) == (
        state.pid, state.start, state.session, state.uid)
    assert {} == state.checks
