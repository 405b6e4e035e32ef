"""Strangers, processes that do not belong to an agent; and daemons that a shell agent started.

    pid = stranger("/bin/sleep", "60", pid=old)     # a fixture: conftest.py
    other = sister_daemon(folder)                   # another daemon of the same kind
    pid = start_by_shell(service)                   # as the HA guide's agents do it
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from looks import children_of, eventually, words_of

from .config import DaemonConfig
from .managed import USER
from .service import Service

REBORN = """\
import ctypes, os, signal, sys, time
fields = "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size"
class Args(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (fields + " cgroup").split()]
wanted = ctypes.c_int32(int(sys.argv[1]))
args = Args(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)
libc = ctypes.PyDLL(None, use_errno=True)
until = time.monotonic() + 30
while (pid := libc.syscall(435, ctypes.byref(args), ctypes.sizeof(args))) < 0:
    if time.monotonic() > until:
        sys.exit(f"clone3: {os.strerror(ctypes.get_errno())}")
    time.sleep(0.01)  # the process that had the pid is still a zombie
if not pid:
    if sys.argv[2]:
        os.setsid()
    os.execvp(sys.argv[3], sys.argv[3:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""Runs a command as the process with a certain pid (clone3 with set_tid), and waits for it."""


def reborn(pid: int, *, session: bool = False) -> list[str]:
    """A prefix that gives a command the pid of a process that has ended."""
    return ["/usr/bin/python3", "-Es", "-c", REBORN, str(pid), "yes" if session else ""]


class Strangers:
    """Processes that do not belong to the agents; each must be alive at the end."""

    def __init__(self) -> None:
        self._begun: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, *command: object, user: str = USER, pid: int = 0, env: Mapping[str, str] | None = None
    ) -> int:
        """Start one, by default a sleep, and return its pid.

        pid: the pid that it gets, of a process that has ended; it then leads a session, as that
            process did.
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
    return program in words and not words[0].endswith("setpriv") and REBORN not in words


def sister_daemon(folder: Path, **behaviour: object) -> DaemonConfig:
    """A configuration for a daemon without an agent, which the daemons' user may read and write."""
    place = folder / "stranger"
    place.mkdir()
    os.chown(place, pwd.getpwnam(USER).pw_uid, -1)
    return DaemonConfig(place, **behaviour)  # type: ignore[arg-type]


# ---- a daemon that the HA guide's shell agent has started


def start_by_shell(service: Service, form: str = "--config-file {}") -> int:
    """Start as the HA guide's agents do; return the daemon's pid."""
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


def connects(service: Service) -> bool:
    with socket.socket() as client:
        return client.connect_ex((service.config.host, service.config.port)) == 0
