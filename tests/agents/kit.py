"""Shared by the tests of processes and identity: judgements, junk, namespaces.

    one_daemon(service)                 # its master's pid, if it runs once, and serves
    with Mounts(service.rsctmp, "size=4k") as mounts:       # a file system of its own
        service.start(prefix=mounts.prefix)
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness import Result, expect
from lookalike.case import PLENTY
from lookalike.service import Service
from looks import eventually

# ---- judgements


def one_daemon(service: Service) -> int:
    """The master's pid, if exactly one daemon runs, and it serves."""
    expect(service.probe(timeout=PLENTY), 0)
    expect(service.monitor(timeout=PLENTY), 0)
    return service.master()


def truth(service: Service) -> int:
    """The code that is right for a probe now: 0 with a master, 1 with workers alone, else 7."""
    pids = service.pids()
    if not pids:
        return 7
    known = service.config.report()["pid"] if service.config.report_path.exists() else 0
    # a master that was just started is not in the report, but leads the session that start gave it
    return 0 if any(pid == known or _leads(pid) for pid in pids) else 1


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def tells_the_truth(
    service: Service, look: Callable[[], Result], *, serves: bool = True
) -> Result:
    """The code of the look was right before it, or after it, or processes ended or began meanwhile.

    serves: whether a living master serves, too; otherwise a monitor may be 1.
    """
    before = truth(service)
    result = look()
    after = truth(service)
    allowed = {before} if before == after and serves else {before, after, 1}
    return expect(result, result.code if result.code in allowed else before)


def start_cut_short(service: Service) -> int:
    """Kill the agent while its start waits for the daemon; return the pid of the master."""
    starting = service.begin("start")
    master = eventually(service.master_or_none)
    starting.kill()
    starting.wait()
    assert master is not None
    return master


# ---- junk in the place of a file

PRECIOUS = "precious\n"


def put_junk(path: Path, junk: object) -> None:
    """Put junk of any kind in the place of a file."""
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
            here = os.open(path.parent, os.O_PATH)  # a socket's name: at most 107 bytes
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


# ---- namespaces of their own

N = TypeVar("N", bound="Namespace")


class Namespace:
    """A namespace of a test's own; it is gone when its holder and the processes in it are.

    kind: as in `unshare --KIND`. script: shell commands that set it up as a test needs it, with
    further words as $0 and so on.
    """

    def __init__(self, kind: str, script: str, *words: str, options: tuple[str, ...] = ()) -> None:
        self._holder = subprocess.Popen(
            [
                "/usr/bin/setpriv", "--pdeathsig=KILL", "/usr/bin/unshare", f"--{kind}", *options,
                "/bin/sh", "-ec", f"{script}\necho ready\nexec sleep 3600", *words,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        file = {"mount": "mnt"}.get(kind, kind)
        self.prefix = [
            "/usr/bin/nsenter", f"--{kind}=/proc/{self._holder.pid}/ns/{file}", "--"
        ]  # fmt: skip
        """Runs a command in the namespace."""

    def __enter__(self: N) -> N:
        assert self._holder.stdout
        assert b"ready\n" == self._holder.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()


class Mounts(Namespace):
    """A tmpfs over a folder, in a mount namespace.

    options: of mount(8), as size=4k.
    """

    def __init__(self, folder: Path, options: str) -> None:
        mount = 'mount -t tmpfs -o "$1" none "$0"'
        super().__init__(
            "mount", mount, str(folder), options, options=("--propagation=private",)
        )
        self.folder = folder

    def run(self, script: str) -> int:
        """Run a shell script in it, with the folder as $0."""
        command = [*self.prefix, "/bin/sh", "-c", script, str(self.folder)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    def remount(self, options: str) -> None:
        assert 0 == self.run(f'mount -o "remount,{options}" "$0"')


class Network(Namespace):
    """A network namespace in which lo is up."""

    def __init__(self, script: str = "") -> None:
        super().__init__("net", f"ip link set lo up\n{script}")

    def run(self, *command: str) -> str:
        """The output of a command in it."""
        return subprocess.run(
            [*self.prefix, *command], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
