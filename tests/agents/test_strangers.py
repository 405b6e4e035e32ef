"""Which files of /proc an agent may open, what it takes as evidence, and what it must not guess.

The promises: no process of another user makes an action wait or fail; the daemon of a container
is not ours, whatever its environment says; and where an agent cannot look, it says so instead of
"not running" or "stopped".
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from agents.kit import one_daemon
from harness import TAG, expect, stops
from lookalike.managed import USER
from lookalike.service import MakeService, Service
from lookalike.strangers import Strangers
from looks import children_of, eventually, words_of

pytestmark = pytest.mark.shared

ANOTHER = "daemon"

UNDUMPABLE = "import ctypes, signal; ctypes.CDLL(None).prctl(4, 0); signal.pause()"
"""All files in /proc/PID of such a process are root's, as if it had used setuid."""


def undumpable(stranger: Strangers) -> int:
    """A process of another user whose files in /proc belong to root; wait for that."""
    pid = stranger("/usr/bin/python3", "-ESsc", UNDUMPABLE, user=ANOTHER)
    eventually(lambda: os.stat(f"/proc/{pid}/stat").st_uid == 0)
    return pid


def stuck(service: Service, pid: int) -> list[str]:
    """A prefix under which an open of a process's environment or arguments blocks for ever.

    It is the same with a process whose exec does not end, or that keeps its memory's lock busy.
    """
    fifo = service.folder / f"fifo-{pid}"
    os.mkfifo(fifo)
    mounts = [f"mount --bind {fifo} /proc/{pid}/{name}" for name in ("environ", "cmdline")]
    return ["unshare", "--mount", "sh", "-c", f'{" && ".join(mounts)} && exec "$0" "$@"']


def run_as(service: Service, user: str) -> None:
    """Let the daemon run as a user without other processes on this machine."""
    service.parameters["user"] = user
    for folder in ("etc", "log"):
        for path in (service.folder / folder, *(service.folder / folder).iterdir()):
            shutil.chown(path, user)


# ---- strangers


@pytest.mark.own
@pytest.mark.parametrize("lost", ["", "state", "all"])
def test_nothing_of_a_stranger_is_opened(service: Service, stranger: Strangers, lost: str) -> None:
    """Of another user's process only files that cannot block are opened: ids, parent, state."""
    pid = undumpable(stranger)
    trace = service.folder / "trace"
    prefix = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=%file"]

    def looked_at() -> set[str]:
        return set(re.findall(rf'"/proc/{pid}((?:/[^"]*)?)"', trace.read_text("utf-8", "replace")))

    expect(service.probe(prefix=prefix), 7)
    assert "/stat" in looked_at() <= {"", "/stat", "/status"}
    expect(service.start(), 0)
    if lost == "state":
        service.state_file.unlink()
    elif lost == "all":
        shutil.rmtree(service.rsctmp)
    for code, action in ((0, service.probe), (0, service.monitor), (0, service.stop)):
        expect(action(prefix=prefix), code)
        assert looked_at() <= {"", "/stat", "/status"}
    assert not service.pids()


@pytest.mark.parametrize("fault", ["", "orphaned", "lost"])
def test_stuck_stranger(make_service: MakeService, stranger: Strangers, fault: str) -> None:
    """Another user's process whose files in /proc block does not delay any action."""
    service = make_service(orphans="live")
    service.prefix = tuple(stuck(service, undumpable(stranger)))
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    one_daemon(service)
    if fault == "orphaned":
        service.orphan()
        expect(service.probe(), 1, "master process is gone")
    elif fault == "lost":
        shutil.rmtree(service.rsctmp)
        one_daemon(service)
    stops(service)


@pytest.mark.own
def test_stuck_of_our_user(service: Service, stranger: Strangers) -> None:
    """A process of the daemon's user that cannot be read makes the code 1, in time, with its pid.

    But it does not matter if a younger daemon is remembered.
    """
    run_as(service, "games")
    pid = stranger(user="games")
    prefix = stuck(service, pid)
    expect(service.probe(prefix=prefix), 1, f"pid {pid}", "cannot be read")
    expect(service.stop(prefix=prefix), 1, f"pid {pid}", "cannot be read")
    expect(service.start(), 0)
    expect(service.probe(prefix=prefix), 0)
    expect(service.monitor(prefix=prefix), 0)
    expect(service.stop(prefix=prefix), 0)
    stops(service)


@pytest.mark.own
def test_stuck_and_younger(service: Service, stranger: Strangers) -> None:
    """If such a process is younger it may be the daemon's child: the daemon is ended, stop is 1."""
    run_as(service, "news")
    expect(service.start(), 0)
    pid = stranger(user="news")
    expect(service.stop(prefix=stuck(service, pid)), 1, f"pid {pid}", "cannot be read")
    assert not service.pids()
    stops(service)


# ---- containers

MakeContained = Callable[..., int]


@pytest.fixture
def contained() -> Iterator[MakeContained]:
    """Runs a command in a PID namespace of its own, as the daemon's user; returns its pid here."""
    holders = []

    def run(*command: object, env: dict[str, str]) -> int:
        account = pwd.getpwnam(USER)
        holders.append(
            subprocess.Popen(
                [
                    "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "setpriv",
                    f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
                    *(str(word) for word in command),
                ],
                env=env, stdin=subprocess.DEVNULL, start_new_session=True,
            )
        )  # fmt: skip
        (pid,) = eventually(lambda: children_of(holders[-1].pid))
        eventually(lambda: words_of(pid)[:1] == [str(command[0])])
        return pid

    yield run
    for holder in holders:
        holder.kill()
        holder.wait()


@pytest.mark.own
@pytest.mark.parametrize("sign", ["tag", "pidfile"])
def test_daemon_of_a_container(service: Service, contained: MakeContained, sign: str) -> None:
    """The same daemon in a container on this node, with our tag or in our pidfile, is not ours."""
    words: tuple[object, ...] = ("/bin/sleep", "3600")
    if sign == "pidfile":
        command = "/usr/bin/tail -f /dev/null; true"
        words = ("/bin/sh", "-c", command, service.binary, "--config-file", service.config.path)
    pid = contained(*words, env={TAG: service.tag} if sign == "tag" else {})
    if sign == "pidfile":
        service.pidfile.write_text(f"{pid}\n", encoding="utf-8")
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    expect(service.start(), 0)
    expect(service.probe(), 0)
    expect(service.stop(), 0)
    expect(service.probe(), 7)
    assert words_of(pid)[:1] == [str(words[0])], "it was ended"


# ---- without CAP_SYS_PTRACE

DOCKER = (
    "/usr/bin/setpriv", "--inh-caps=-all",
    "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,"
    "+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap",
)  # fmt: skip
"""Runs an agent with the capabilities that a container has by default. (To take CAP_SYS_PTRACE
alone away does nothing: since Linux 6.15 CAP_PERFMON, or CAP_SYS_ADMIN, may read a memory, too.)"""


@pytest.mark.own
def test_blind(service: Service) -> None:
    """Where no environment may be read, a remembered daemon is known by other evidence."""
    run_as(service, "uucp")
    service.prefix = DOCKER
    expect(service.probe(), 7)
    expect(service.stop(), 0)
    expect(service.start(prefix=()), 0)
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    service.state_file.unlink()
    expect(service.probe(), 0)
    expect(service.stop(), 0)
    assert not service.pids()
    expect(service.probe(), 7)


@pytest.mark.own
def test_blind_and_orphaned(make_service: MakeService) -> None:
    """Without environments, workers without a master are known by its session and command line."""
    service = make_service(orphans="live")
    run_as(service, "proxy")
    service.prefix = DOCKER
    expect(service.start(prefix=()), 0)
    service.orphan()
    expect(service.probe(), 1, "master process is gone")
    expect(service.stop(), 0)
    assert not service.pids()
    expect(service.probe(), 7)


@pytest.mark.own
@pytest.mark.parametrize(("fault", "user"), [("", "list"), ("orphaned", "irc")])
def test_blind_and_forgetful(make_service: MakeService, fault: str, user: str) -> None:
    """Without environments and without a state, no action says "not running" or "stopped"."""
    service = make_service(orphans="live")
    run_as(service, user)
    expect(service.start(), 0)
    eventually(lambda: len(service.pids()) == 3)
    if fault:
        service.orphan()
    before = service.pids()
    shutil.rmtree(service.rsctmp)
    for action in (service.probe, service.monitor, service.stop):
        expect(action(prefix=DOCKER), 1, "CAP_SYS_PTRACE is missing")
    assert before == service.pids()
    expect(service.probe(), 1 if fault else 0)
    stops(service)
