"""What the tests of processes and identity share: judgements, strangers, junk, shell agents.

    stops(service)                      # 0, nothing is left, and both monitors say so
    pid = stranger("/bin/sleep", "60", pid=old)     # a fixture: conftest.py
    with Mounts(service.rsctmp, "size=4k") as mounts:       # a file system of its own
        service.start(prefix=mounts.prefix)
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from harness import Result, eventually, expect
from lookalike.config import DaemonConfig
from lookalike.service import USER, Service

MakeService = Callable[..., Service]

SHORT = 6
"""Seconds for an action that cannot succeed, and is to say so before they are over."""

# ---- judgements


def one_daemon(service: Service) -> int:
    """The master's pid, if exactly one daemon runs, and it serves."""
    expect(service.probe(), 0)
    expect(service.monitor(), 0)
    return service.master()


def stops(service: Service) -> None:
    """Stop is 0, nothing is left, and both monitors say so."""
    expect(service.stop(), 0)
    assert not service.pids()
    assert not service.processes()
    expect(service.probe(), 7)
    expect(service.monitor(), 7)


def truth(service: Service) -> int:
    """What a probe has to say at this moment: 0 with a master, 1 with workers alone, else 7."""
    pids = service.pids()
    if not pids:
        return 7
    known = service.config.report()["pid"] if service.config.report_path.exists() else 0
    # who has just been born is not in the report, but leads the session that start gave it
    return 0 if any(pid == known or _leads(pid) for pid in pids) else 1


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def tells_the_truth(
    service: Service, look: Callable[[], Result], *, serves: bool = True
) -> Result:
    """The look's code is what there was before, or after it, or an end or a birth between.

    serves: whether a master that lives serves, too; who asks for that may say 1 otherwise.
    """
    before = truth(service)
    result = look()
    after = truth(service)
    allowed = {before} if before == after and serves else {before, after, 1}
    return expect(result, result.code if result.code in allowed else before)


def start_cut_short(service: Service) -> int:
    """Have the agent killed while its start waits for the daemon; the pid of the master."""
    starting = service.begin("start")
    master = eventually(service.master_or_none)
    starting.kill()
    starting.wait()
    assert master is not None
    return master


def signal_all(pids: list[int], signum: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass


def children_of(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def words_of(pid: int) -> list[bytes]:
    """A process's command line, one empty word if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def connects(service: Service) -> bool:
    with socket.socket() as client:
        return client.connect_ex((service.config.host, service.config.port)) == 0


# ---- junk in the place of a file

PRECIOUS = "precious\n"


def put_junk(path: Path, junk: object) -> None:
    """Junk of every kind in the place of a file."""
    if junk == "directory":
        path.mkdir()
        (path / "precious").write_text(PRECIOUS, encoding="utf-8")
    elif junk == "symlink":
        target = path.with_name("precious")
        target.write_text(PRECIOUS, encoding="utf-8")
        path.symlink_to(target)
    elif junk == "dangling":
        path.symlink_to(path.with_name("not-there"))
    elif junk == "fifo":
        os.mkfifo(path)
    elif junk == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            here = os.open(path.parent, os.O_PATH)  # the name of a socket has 107 characters
            server.bind(f"/proc/self/fd/{here}/{path.name[:40]}")
            os.close(here)
        path.with_name(path.name[:40]).rename(path)
    elif junk == "device":
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    elif isinstance(junk, bytes):
        path.write_bytes(junk)
    else:
        path.write_text(str(junk), encoding="utf-8")


def precious_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name == "precious"]


def unharmed(folder: Path) -> bool:
    """Whether nothing has been written through links, or into folders, of put_junk()."""
    found = precious_files(folder)
    return all(PRECIOUS == path.read_text(encoding="utf-8") for path in found)


# ---- strangers

REBORN = """\
import ctypes, os, signal, sys, time
fields = "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size"
class Args(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (fields + " cgroup").split()]
wanted = ctypes.c_int32(int(sys.argv[1]))
args = Args(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)
libc = ctypes.PyDLL(None, use_errno=True)
until = time.monotonic() + 10
while (pid := libc.syscall(435, ctypes.byref(args), ctypes.sizeof(args))) < 0:
    if time.monotonic() > until:
        sys.exit(f"clone3: {os.strerror(ctypes.get_errno())}")
    time.sleep(0.01)  # whoever had the pid is still a zombie
if not pid:
    if sys.argv[2]:
        os.setsid()
    os.execvp(sys.argv[3], sys.argv[3:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""Runs a command as the process with a certain pid (clone3 with set_tid), and waits for it."""


def reborn(pid: int, *, session: bool = False) -> list[str]:
    """A prefix that gives a command the pid of somebody who is dead."""
    return ["/usr/bin/python3", "-Es", "-c", REBORN, str(pid), "yes" if session else ""]


class Strangers:
    """Processes that are none of the agents' business; each must be alive at the end."""

    def __init__(self) -> None:
        self._begun: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, *command: object, user: str = USER, pid: int = 0, env: Mapping[str, str] | None = None
    ) -> int:
        """Start one, by default a sleep, and return its pid.

        pid: the one that it is to have, of somebody who is dead; it leads a session then, as
            the dead did.
        """
        account = pwd.getpwnam(user)
        words = [str(word) for word in command or ("/bin/sleep", "3600")]
        run = ["/usr/bin/setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}",
               "--clear-groups"]  # fmt: skip
        self._begun.append(
            subprocess.Popen(
                [*(reborn(pid, session=True) if pid else []), *run, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(env or {}),
                start_new_session=True,
            )
        )
        born = pid or self._begun[-1].pid
        eventually(lambda: _runs(born, words[0]))
        return born

    def close(self) -> None:
        harmed = [process.args for process in self._begun if process.poll() is not None]
        for process in self._begun:
            for pid in [*children_of(process.pid), process.pid]:
                try:
                    os.killpg(pid, signal.SIGKILL)  # not reaped yet, so still its own
                except ProcessLookupError:
                    pass
            process.wait()
        assert not harmed


def _runs(pid: int, program: str) -> bool:
    """Whether the process has become this program, as a binary or a script."""
    words = words_of(pid)
    yet_to_come = words[0].endswith(b"setpriv") or REBORN.encode() in words
    return program.encode() in words and not yet_to_come


def sister_daemon(folder: Path, **behaviour: object) -> DaemonConfig:
    """A configuration for a daemon of nobody's that the agents' user may read and write to."""
    place = folder / "stranger"
    place.mkdir()
    os.chown(place, pwd.getpwnam(USER).pw_uid, -1)
    return DaemonConfig(place, **behaviour)  # type: ignore[arg-type]


# ---- file systems with a fault


class Mounts:
    """A tmpfs over a folder, in a mount namespace that nobody else sees.

    It is gone, with what is mounted in it, when its holder and the processes in it are.
    options: of mount(8), as size=4k.
    """

    def __init__(self, folder: Path, options: str) -> None:
        self.folder = folder
        self._holder = subprocess.Popen(
            [
                "/usr/bin/setpriv", "--pdeathsig=KILL", "/usr/bin/unshare", "--mount",
                "--propagation=private", "/bin/sh", "-c",
                'mount -t tmpfs -o "$1" none "$0" && echo ready && exec sleep 3600',
                str(folder), options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Mounts:
        assert self._holder.stdout
        assert b"ready\n" == self._holder.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()

    @property
    def prefix(self) -> list[str]:
        """What runs a command in there."""
        return ["/usr/bin/nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    def run(self, script: str) -> int:
        """A shell script in there, with the folder as $0."""
        command = [*self.prefix, "/bin/sh", "-c", script, str(self.folder)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    def remount(self, options: str) -> None:
        assert 0 == self.run(f'mount -o "remount,{options}" "$0"')


class Network:
    """A network namespace of its own, in which lo is up; it is gone when its holder is.

    script: commands of a shell that make it as a test wants it.
    """

    def __init__(self, script: str = "") -> None:
        self._holder = subprocess.Popen(
            [
                "/usr/bin/setpriv", "--pdeathsig=KILL", "/usr/bin/unshare", "--net",
                "/bin/sh", "-ec",
                f"ip link set lo up\n{script}\necho ready\nexec sleep 3600",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Network:
        assert self._holder.stdout
        assert b"ready\n" == self._holder.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()

    @property
    def prefix(self) -> list[str]:
        """What runs a command in there."""
        return ["/usr/bin/nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    def run(self, *command: str) -> str:
        """What a command says in there."""
        return subprocess.run(
            [*self.prefix, *command], stdout=subprocess.PIPE, text=True, check=True
        ).stdout


# ---- a daemon that the HA guide's shell agent has started


def start_by_shell(service: Service, form: str = "--config-file {}") -> int:
    """What the HA guide's agents do at start; the daemon's pid."""
    argument = form.format(service.config.path)
    subprocess.run(
        [
            "/bin/sh", "-c",
            f'su {USER} -s /bin/sh -c "{service.binary} {argument}'
            ' $OCF_RESKEY_additional_parameters"'
            f"' >> /dev/null 2>&1 & echo $!' > {service.pidfile}",
        ],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OCF_RESOURCE_INSTANCE": service.name,
            "OCF_RESOURCE_TYPE": service.agent.name,
            "OCF_RESKEY_user": USER,
        },
        stdin=subprocess.DEVNULL,
        check=True,
        preexec_fn=os.setpgrp,  # as Pacemaker, which gives no session of its own
    )  # fmt: skip
    pid = int(service.pidfile.read_text(encoding="utf-8"))
    eventually(lambda: len(service.pids()) == 3 and connects(service))
    assert pid == service.master()
    return pid
