"""Which processes are the instance's own: pidfile, state, reused pids, namesakes, adoption.

The promises: whatever is in the place of state and pidfile, no other process is harmed, our own
daemon is found again and never doubled, and stop ends all of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.kit import PRECIOUS, Mounts, one_daemon, put_junk, unharmed
from harness import AGENTS, SHORT, TAG, expect, stops
from lookalike.managed import USER
from lookalike.service import MakeService, Service
from lookalike.strangers import Strangers, reborn, sister_daemon, start_by_shell
from looks import eventually, having, kill, start_of

pytestmark = pytest.mark.shared

# ---- junk in the place of pidfile and state

PIDFILES: dict[str, object] = {
    "empty": "",
    "blank": " \n",
    "binary": bytes(range(256)),
    "megabyte": "1" * (1 << 20),
    "zero": "0\n",
    "one": "1\n",
    "minus-one": "-1\n",
    "two": "2\n",
    "huge": "99999999999999999999\n",
    "signed": "+17\n",
    "digits": "\u0663\u0664\n",
    "two-lines": "1\n1\n",
    "directory": "directory",
    "symlink": "symlink",
    "dangling": "dangling",
    "fifo": "fifo",
    "socket": "socket",
    "device": "device",
}


@pytest.mark.parametrize("kind", PIDFILES)
def test_pidfile_junk(service: Service, kind: str) -> None:
    """Junk in the place of the pidfile is ignored: it is not followed, and hinders no action."""
    put_junk(service.pidfile, PIDFILES[kind])
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    master = one_daemon(service)
    if kind != "directory":  # a folder stays where it is, and start does without a pidfile
        assert f"{master}\n" == service.pidfile.read_text(encoding="utf-8")
    stops(service)
    assert unharmed(service.rsctmp)
    assert not service.rsctmp.joinpath("not-there").exists()


@pytest.mark.parametrize("kind", ["symlink", "directory", "megabyte", "device", "fifo"])
def test_pidfile_junk_while_running(service: Service, kind: str) -> None:
    """Junk that replaces the pidfile while the daemon runs changes nothing."""
    expect(service.start(), 0)
    before = one_daemon(service)
    service.pidfile.unlink()
    put_junk(service.pidfile, PIDFILES[kind])
    assert before == one_daemon(service)
    expect(service.start(), 0)
    assert before == one_daemon(service)
    stops(service)
    assert unharmed(service.rsctmp)


@pytest.mark.parametrize("whose", ["root", "nobody"])
def test_pidfile_unreadable(service: Service, whose: str) -> None:
    """A pidfile of mode 000, of whatever owner, works like any other, as agents run as root."""
    expect(service.start(), 0)
    before = one_daemon(service)
    service.pidfile.chmod(0)
    shutil.chown(service.pidfile, whose)
    expect(service.start(), 0)
    assert before == one_daemon(service)
    stops(service)


DEEP = '{"a":' * 900 + "1" + "}" * 900

STATES: dict[str, object] = {
    "empty": "",
    "binary": bytes(range(256)),
    "megabyte": "{" + " " * (1 << 20) + "}",
    "list": "[1, 2]",
    "null": "null",
    "cut-off": '{"pid": 17',
    "deep": "[" * 60000,
    "types": '{"pid": "17", "start": [], "session": {}, "uid": "", "checks": 5, "log": 1}',
    "checks": '{"pid": 0, "checks": {"api": 1, "address": {"url": 5, "inode": "x"}}}',
    "zero": '{"pid": 0, "start": 0, "session": 0, "uid": 0}',
    "init": '{"pid": 1, "start": 0, "session": 1, "uid": 0}',
    "all": '{"pid": -1, "start": 0, "session": 0, "uid": 65534}',
    "huge": '{"pid": 1%s, "start": 1e999, "session": 1e999, "uid": -1}' % ("0" * 400),
    "nan": '{"pid": NaN, "checks": {"api": {"until": NaN, "token": "x", "seal": "x"}}}',
    "deep-checks": f'{{"pid": 0, "checks": {{"api": {DEEP}}}}}',
    "of-an-earlier-release": '{"pid": 0, "url": "http://127.0.0.1:1", "token": "x"}',
    "true": '{"pid": true, "uid": true, "session": true}',
    "log": '{"pid": 0, "log": "/etc/passwd"}',
    "directory": "directory",
    "symlink": "symlink",
    "fifo": "fifo",
}


@pytest.mark.own
@pytest.mark.parametrize("action", ["start", "stop"])
def test_precious_number(service: Service, stranger: Strangers, action: str) -> None:
    """A file with a number in it, which pid= names by mistake, is not removed by stop."""
    counter = service.folder / "counter"
    counter.write_text(f"{stranger()}\n", encoding="utf-8")
    content = counter.read_bytes()
    if action == "stop":
        service.parameters["pid"] = counter
        expect(service.stop(), 0)
        assert "is left there" in service.log.read_text(encoding="utf-8")
    else:
        expect(service.start(), 0)
        expect(service.stop(parameters={"pid": counter}), 0)
        assert service.gone()
    assert content == counter.read_bytes()


def test_own_pidfile_goes(service: Service) -> None:
    """A pidfile that the agent has written, wherever pid= puts it, is gone after stop."""
    service.parameters["pid"] = service.folder / "x.pid"
    expect(service.start(), 0)
    assert service.pidfile.exists()
    service.state_file.unlink()
    expect(service.stop(), 0)
    assert not service.pidfile.exists()


@pytest.mark.own
@pytest.mark.parametrize("length", [199, 255, 1000])
def test_long_name(make_service: MakeService, length: int) -> None:
    """A resource's name may be as long as Pacemaker accepts it."""
    service = make_service(name=f"p_{os.getpid()}_".ljust(length, "x"))
    expect(service.stop(), 0)
    expect(service.start(), 0)
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    stops(service)


@pytest.mark.own
@pytest.mark.parametrize("kind", STATES)
def test_state_junk(service: Service, kind: str) -> None:
    """Junk in the place of the state is ignored: it is not followed, and hinders no action."""
    service.state_folder.mkdir(mode=0o700)
    put_junk(service.state_file, STATES[kind])
    expect(service.probe(), 7)
    expect(service.monitor(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    one_daemon(service)
    stops(service)
    assert unharmed(service.rsctmp)


@pytest.mark.own
@pytest.mark.parametrize("kind", STATES)
def test_state_junk_while_running(service: Service, kind: str) -> None:
    """A running daemon whose state has become junk is found again, and stopped whole."""
    expect(service.start(), 0)
    before = service.master()
    service.state_file.unlink()
    put_junk(service.state_file, STATES[kind])
    assert before == one_daemon(service)
    stops(service)
    assert unharmed(service.rsctmp)


@pytest.mark.own
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.98])
def test_state_truncated(service: Service, part: float) -> None:
    """A state that was cut off, as by a power loss, is ignored: the daemon is found again."""
    expect(service.start(), 0)
    before = service.master()
    os.truncate(service.state_file, int(service.state_file.stat().st_size * part))
    assert before == one_daemon(service)
    stops(service)


FOLDERS = ["open", "foreign", "file", "symlink"]


@pytest.mark.own
@pytest.mark.parametrize("kind", FOLDERS)
def test_state_folder_of_others(service: Service, kind: str) -> None:
    """A state folder that other users can write is not used: start says so, stop does without."""
    elsewhere = service.rsctmp / "elsewhere"
    if kind == "file":
        service.state_folder.write_text(PRECIOUS, encoding="utf-8")
    elif kind == "symlink":
        elsewhere.mkdir()
        service.state_folder.symlink_to(elsewhere)
    else:
        service.state_folder.mkdir()
        service.state_folder.chmod(0o777 if kind == "open" else 0o700)
        if kind == "foreign":
            shutil.chown(service.state_folder, USER)
    expect(service.probe(), 7)
    expect(service.start(), 1, str(service.state_folder)[:60])
    assert not service.pids()
    expect(service.stop(), 0)
    assert kind != "symlink" or not list(elsewhere.iterdir())


def test_folder_missing(service: Service) -> None:
    """HA_RSCTMP, which is in memory, is made anew after a boot."""
    service.rsctmp.rmdir()
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    shutil.rmtree(service.rsctmp, ignore_errors=True)
    expect(service.start(), 0)
    one_daemon(service)
    stops(service)


# ---- HA_RSCTMP with a fault


@dataclass(frozen=True)
class Disk:
    """A file system for HA_RSCTMP, and its fault.

    options: of its mount. fault: a shell script, $0 is the folder. words: of start's reason.
    """

    options: str
    fault: str
    words: str


FILL = 'head -c 1M /dev/zero >"$0/filler"; for i in $(seq 99); do touch "$0/$i"; done; true'
DISKS = {
    "full": Disk("size=64k", FILL, "No space left"),
    "out-of-inodes": Disk("nr_inodes=12", FILL, "No space left"),
    "read-only": Disk("size=64k", 'mount -o remount,ro "$0"', "Read-only"),
}


@pytest.fixture(params=list(DISKS.values()), ids=list(DISKS))
def disk(request: pytest.FixtureRequest) -> Disk:
    """Each of the faults."""
    found: Disk = request.param
    return found


@pytest.fixture
def mounts(service: Service, disk: Disk) -> Iterator[Mounts]:
    """The file system at the service's HA_RSCTMP, before its fault; all actions run in it."""
    with Mounts(service.rsctmp, disk.options) as mounted:
        service.prefix = tuple(mounted.prefix)
        yield mounted


def test_disk_bad_before_start(service: Service, mounts: Mounts, disk: Disk) -> None:
    """A daemon that could not be remembered is not started; stop and probe need no memory."""
    assert 0 == mounts.run(disk.fault)
    expect(service.probe(), 7)
    expect(service.monitor(), 7)
    expect(service.start(), 1, disk.words)
    assert not service.pids()
    stops(service)
    mounts.remount("rw")
    assert 0 == mounts.run('rm -rf "$0"/*')
    expect(service.start(), 0)
    one_daemon(service)
    stops(service)


@pytest.mark.parametrize("fault", ["", "orphaned", "dead"])
def test_disk_bad_while_running(
    service: Service, mounts: Mounts, disk: Disk, fault: str
) -> None:
    """A daemon that runs is monitored and stopped even if nothing can be written any more."""
    service.config.set(orphans="live")
    expect(service.start(), 0)
    eventually(lambda: len(service.pids()) == 3)
    assert 0 == mounts.run(disk.fault)
    if fault == "":
        before = one_daemon(service)
        expect(service.start(), *((0,) if disk.words != "Read-only" else (1, disk.words)))
        assert before == one_daemon(service)
    elif fault == "orphaned":
        service.orphan()
        expect(service.monitor(), 1)
    else:
        service.config.kill()
        expect(service.monitor(), 7)
    stops(service)


def test_disk_bad_while_adopting(service: Service, mounts: Mounts, disk: Disk) -> None:
    """A daemon that a shell agent has started is seen and ended even if it cannot be remembered."""
    pid = start_by_shell(service)  # its pidfile is not in the mount, and is repeated there
    assert 0 == mounts.run(f'echo {pid} >"$0/{service.pidfile.name}"')
    assert 0 == mounts.run(disk.fault)
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    assert pid == service.master()
    stops(service)


@pytest.mark.parametrize("limit", [0, 1])
def test_file_size_limited(service: Service, limit: int) -> None:
    """Under RLIMIT_FSIZE, too, a daemon that could not be remembered is not started."""
    prefix = ["/usr/bin/prlimit", f"--fsize={limit}"]
    expect(service.start(prefix=prefix), 1)
    assert not service.pids()
    expect(service.start(), 0)
    expect(service.monitor(prefix=prefix), 0)
    expect(service.stop(prefix=prefix), 0)
    stops(service)


@pytest.mark.parametrize("kind", ["a file", "dangling", "fifo"])
def test_folder_is_none(service: Service, kind: str) -> None:
    """Where HA_RSCTMP is no folder, nothing is started, and stop is 0."""
    service.rsctmp.rmdir()
    put_junk(service.rsctmp, kind)
    expect(service.probe(), 7)
    expect(service.start(timeout=SHORT), 1, service.rsctmp.name)
    assert not service.pids()
    stops(service)


# ---- state or pidfile is lost

LOSSES: dict[str, Callable[[Service], None]] = {
    "pidfile": lambda service: service.pidfile.unlink(),
    "state": lambda service: service.state_file.unlink(),
    "folder": lambda service: shutil.rmtree(service.state_folder),
    "all": lambda service: shutil.rmtree(service.rsctmp),
}


def _kinds() -> list[object]:
    """Every loss; a state and its folder only our agents have, a pidfile every agent."""
    return [pytest.param(k, marks=[pytest.mark.own] * (k in ("state", "folder"))) for k in LOSSES]


@pytest.mark.parametrize("kind", _kinds())
@pytest.mark.parametrize("action", ["monitor", "start", "stop"])
def test_memory_lost(service: Service, kind: str, action: str) -> None:
    """A daemon whose pidfile and state are lost is seen, checked, not doubled, and stopped."""
    expect(service.start(), 0)
    before = service.master()
    LOSSES[kind](service)
    if action == "monitor":
        expect(service.monitor(), 0)
    elif action == "start":
        expect(service.start(), 0)
    if action != "stop":
        assert before == one_daemon(service)
    stops(service)


# ---- another process has the old pid


def dead(service: Service) -> int:
    """Kill a daemon, all of it, which stays remembered; return the pid that it had."""
    expect(service.start(), 0)
    pid = service.master()
    service.config.kill()
    return pid


def sleeps(service: Service, stranger: Strangers, folder: Path, pid: int) -> None:
    """A process of the same user."""
    stranger(pid=pid)


def of_root(service: Service, stranger: Strangers, folder: Path, pid: int) -> None:
    """A process of root's."""
    stranger(pid=pid, user="root")


def same_binary(service: Service, stranger: Strangers, folder: Path, pid: int) -> None:
    """The same program with another configuration, of the same user, without an agent."""
    stranger(service.binary, "--config-file", sister_daemon(folder).path, pid=pid)


def sister(service: Service, stranger: Strangers, folder: Path, pid: int) -> None:
    """The daemon of another instance of the same agent."""
    path = sister_daemon(folder).path
    tag = f"{service.tag}-sister"
    stranger(service.binary, "--config-file", path, pid=pid, env={TAG: tag})


WHO = [sleeps, of_root, same_binary, sister]


@pytest.mark.parametrize("who", WHO, ids=lambda who: who.__name__.replace("_", "-"))
@pytest.mark.parametrize("first", ["probe", "monitor", "stop", "start"])
def test_pid_reused(
    service: Service, stranger: Strangers, folder: Path, who: Callable[..., None], first: str
) -> None:
    """Another process that has really got the dead master's pid is never taken for it."""
    pid = dead(service)
    who(service, stranger, folder, pid)
    if first in ("probe", "monitor"):
        expect(service.probe() if first == "probe" else service.monitor(), 7)
    elif first == "stop":
        expect(service.stop(), 0)
    expect(service.start(), 0)
    assert pid != one_daemon(service)
    stops(service)


@pytest.mark.parametrize("action", ["probe", "monitor", "stop", "start"])
def test_pid_reused_by_the_agent(service: Service, action: str) -> None:
    """An agent that has itself got the dead master's pid neither reports nor ends itself."""
    pid = dead(service)
    options = {"interval": 30} if action == "monitor" else {}
    name = "monitor" if action == "probe" else action
    result = service.call(name, timeout=60, prefix=reborn(pid), **options)
    expect(result, 0 if action in ("start", "stop") else 7)
    if action == "start":
        one_daemon(service)
    stops(service)


@pytest.mark.own
@pytest.mark.parametrize("reused", [True, False], ids=["pid-reused", "by-chance"])
def test_tag_of_others(service: Service, stranger: Strangers, reused: bool) -> None:
    """Our tag in another user's process is no evidence: any user can set it."""
    old = dead(service) if reused else 0
    pid = stranger(pid=old, user="daemon", env={TAG: service.tag})
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    one_daemon(service)
    expect(service.stop(), 0)
    assert pid in service.processes()
    assert not service.pids()
    expect(service.monitor(), 7)


def test_session_reused(service: Service) -> None:
    """A process in a session with the dead master's number, without a leader, is not ours."""
    mark = f"STRANGER={uuid.uuid4().hex}"
    pid = dead(service)
    strangers = Strangers()
    script = f"{mark} /usr/bin/setpriv --pdeathsig=clear sleep 3600 & wait"
    strangers("/bin/sh", "-c", script, pid=pid)
    try:
        there = eventually(lambda: [p for p in having(mark) if os.getsid(p) == pid])
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not os.path.exists(f"/proc/{pid}"))
        expect(service.probe(), 7)
        expect(service.stop(), 0)
        assert there == having(mark), "a stranger was ended"
        expect(service.start(), 0)
        stops(service)
        assert there == having(mark), "a stranger was ended"
    finally:
        for stray in having(mark):
            kill(stray, mark)


@pytest.mark.own
@pytest.mark.parametrize("where", ["pidfile", "state", "both"])
@pytest.mark.parametrize("who", ["sleeps", "same-binary", "kernel", "init"])
def test_remembered_pid_is_a_strangers(
    service: Service, stranger: Strangers, folder: Path, where: str, who: str
) -> None:
    """A process with the remembered pid, but another start time, is left alone."""
    expect(service.start(), 0)
    state = json.loads(service.state_file.read_text(encoding="utf-8"))
    service.config.kill()
    other = sister_daemon(folder)
    find: dict[str, Callable[[], int]] = {
        "sleeps": stranger,
        "same-binary": lambda: stranger(service.binary, "--config-file", other.path),
        "kernel": kernel_thread,
        "init": lambda: 1,
    }
    pid = find[who]()
    if who == "same-binary":
        eventually(lambda: len(other.pids()) == 3)
    if where != "state":
        service.pidfile.write_text(f"{pid}\n", encoding="utf-8")
    if where != "pidfile":
        state.update(pid=pid, session=os.getsid(pid), start=start_of(pid) - 1000)
        service.state_file.write_text(json.dumps(state), encoding="utf-8")
    expect(service.probe(), 7)
    expect(service.monitor(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    assert pid != one_daemon(service)
    stops(service)
    assert len(other.pids()) == (3 if who == "same-binary" else 0)


def kernel_thread() -> int:
    """A kernel thread, which pid 2 is outside of containers; else init."""
    command = Path("/proc/2/cmdline")
    return 2 if command.exists() and not command.read_bytes() else 1


# ---- another instance


def stopped(service: Service) -> None:
    """Nothing runs."""


def running(service: Service) -> None:
    """Our own daemon runs."""
    expect(service.start(), 0)


def died(service: Service) -> None:
    """Our own daemon is dead, and remembered."""
    dead(service)


@pytest.mark.own
@pytest.mark.parametrize("before", [stopped, running, died], ids=lambda f: f.__name__)
@pytest.mark.parametrize("what", ["state", "pidfile", "both"])
@pytest.mark.parametrize("how", ["copy", "link"])
def test_memory_of_another_instance(
    make_service: MakeService, before: Callable[[Service], None], what: str, how: str
) -> None:
    """A copy of, or link to, another instance's state and pidfile does not take over its daemon."""
    service, other = make_service(), make_service()
    expect(other.start(), 0)
    pid = one_daemon(other)
    before(service)
    if not service.state_folder.exists():
        service.state_folder.mkdir(mode=0o700)
    for name in ("state_file", "pidfile"):
        if what in ("both", name.partition("_")[0]):
            mine, its = getattr(service, name), getattr(other, name)
            mine.unlink(missing_ok=True)
            shutil.copyfile(its, mine) if how == "copy" else mine.symlink_to(its)
    expect(service.probe(), 0 if before is running else 7)
    expect(service.start(), 0)
    assert pid != one_daemon(service)
    stops(service)
    assert pid == one_daemon(other)
    stops(other)


@pytest.mark.parametrize("shared", [True, False], ids=["one-folder", "two-folders"])
def test_one_name_under_two_agents(agent: Path, folder: Path, shared: bool) -> None:
    """Instances of the same name under two agents do not end each other's daemons."""
    name = f"p-{uuid.uuid4().hex[:8]}"
    second = next((a for a in AGENTS if a != agent), agent)
    for place in ("one", "other"):
        folder.joinpath(place).mkdir()
    with Service(agent, folder / "one", name=name) as one, Service(
        second, folder / "other", name=name if second != agent else f"{name}-2"
    ) as other:
        if shared:
            other.rsctmp = one.rsctmp
        expect(one.start(), 0)
        expect(other.probe(), 7)
        expect(other.stop(), 0)
        before = one_daemon(one)
        expect(other.start(), 0)
        assert before == one_daemon(one)
        stops(other)
        assert before == one_daemon(one)
        stops(one)


@pytest.mark.parametrize(
    "names", [("p", "p2"), ("p:0", "p:1"), ("p", "p:0"), ("p.a", "p?a"), ("p", "P")]
)
@pytest.mark.parametrize("shared", [True, False], ids=["one-folder", "two-folders"])
def test_two_instances(make_service: MakeService, names: tuple[str, str], shared: bool) -> None:
    """Two instances on two ports do not see each other, however alike their names are."""
    unique = uuid.uuid4().hex[:8]
    one, other = (make_service(name=f"{unique}-{name}") for name in names)
    if shared:
        other.rsctmp = one.rsctmp
    expect(one.start(), 0)
    expect(other.probe(), 7)
    expect(other.stop(), 0)
    expect(other.start(), 0)
    before = one_daemon(one)
    stops(other)
    assert before == one_daemon(one)
    stops(one)


# ---- adopted: a daemon that the HA guide's shell agent has started


@pytest.mark.parametrize("form", ["--config-file {}", "--config-file={}"])
@pytest.mark.parametrize("first", ["monitor", "probe", "start"])
def test_adoption(make_service: MakeService, form: str, first: str) -> None:
    """A daemon that the shell agent has started is taken over by the first action, and runs on."""
    service = make_service(credentials=True)
    pid = start_by_shell(service, form)
    result = {"monitor": service.monitor, "probe": service.probe, "start": service.start}[first]()
    expect(result, 0)
    expect(service.monitor(level=10), 0)
    assert pid == one_daemon(service)
    assert f"{pid}\n" == service.pidfile.read_text(encoding="utf-8")
    service.config.set(api="500")
    expect(service.monitor(), 1, "500")
    stops(service)


def test_adopted_by_stop(service: Service) -> None:
    """A daemon that the shell agent has started is stopped even if stop is our first action."""
    start_by_shell(service)
    stops(service)


@pytest.mark.parametrize("then", ["stop", "start"])
def test_orphans_after_adoption(make_service: MakeService, then: str) -> None:
    """The workers of an adopted daemon are known when their master is gone."""
    service = make_service(orphans="live")
    start_by_shell(service)
    expect(service.monitor(), 0)
    workers = service.orphan()
    expect(service.monitor(), 1, "hold on")
    expect(service.probe(), 1, "hold on")
    if then == "start":
        expect(service.start(), 0)
        assert not set(workers) & set(service.pids())
        one_daemon(service)
    stops(service)


@pytest.mark.own
@pytest.mark.parametrize("kind", ["pidfile", "state"])
def test_adopted_memory_lost(service: Service, kind: str) -> None:
    """An adopted daemon stays known when its pidfile or its state is lost."""
    pid = start_by_shell(service)
    expect(service.monitor(), 0)
    LOSSES[kind](service)
    expect(service.monitor(), 0)
    assert pid == one_daemon(service)
    stops(service)


@pytest.mark.parametrize("fault", ["", "orphaned"])
def test_adopted_sister_is_spared(make_service: MakeService, fault: str) -> None:
    """Shell agents leave all daemons in one session: stop ends our own, and no other of them."""
    one, sister = make_service(orphans="live"), make_service()
    pid = start_by_shell(one)
    start_by_shell(sister)  # later: it may be taken for a worker
    before = sister.pids()
    expect(one.monitor(), 0)
    if fault:
        os.kill(pid, signal.SIGKILL)
    stops(one)
    assert before == sister.pids()
    expect(sister.monitor(), 0)
    stops(sister)


@pytest.mark.parametrize("what", ["config", "binary", "user", "instance"])
def test_not_adopted(make_service: MakeService, what: str) -> None:
    """A daemon of another instance is left alone, even if the pidfile names it."""
    service, other = make_service(), make_service()
    pid = start_by_shell(other)
    shutil.copyfile(other.pidfile, service.pidfile)
    if what != "config":
        service.parameters["config"] = other.config.path
    if what == "binary":
        service.parameters["binary"] = "/bin/sleep"
    if what == "user":
        service.parameters["user"] = "root"
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    assert pid == other.master()
    expect(other.monitor(), 0)
