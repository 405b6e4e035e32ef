"""Network namespaces: each lab has its own, so that all of them use the standard ports.

Called by `lab.services` and `lab.web` to enter a namespace, and by `lab.openstack` to make
one and to remove it with everything that runs in it. A name of None is the machine's own
network.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab import process
from lab.errors import LabError
from lab.process import Process

FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000


def exists(name: str) -> bool:
    """Whether there is a namespace of this name."""
    return (FOLDER / name).exists()


def create(name: str, addresses: Sequence[str] = ()) -> None:
    """Make a namespace with a loopback device that has these addresses as well."""
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")
    for address in addresses:
        prefix = 128 if ":" in address else 32
        ip("-n", name, "address", "add", f"{address}/{prefix}", "dev", "lo")


def remove(name: str) -> None:
    """End every process in the namespace, whatever started it, and remove the namespace."""
    if not exists(name):
        return
    if not process.end(lambda: members(name)):
        left = ", ".join(str(p.pid) for p in members(name))
        raise LabError(f"processes in namespace {name} survive SIGKILL: {left}")
    ip("netns", "delete", name)


def members(name: str) -> list[Process]:
    """The processes in the namespace, except this one and its ancestors, such as a shell."""
    try:
        wanted = os.stat(FOLDER / name)
    except FileNotFoundError:
        return []
    spared = process.ancestors()
    return [p for p in process.every() if p.pid not in spared and _is_in(p, wanted)]


def argv(name: str | None, command: Sequence[str]) -> list[str]:
    """The command line that runs a command in the namespace."""
    return [*(["ip", "netns", "exec", name] if name else []), *command]


@contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Put this thread, and nothing but this thread, into the namespace for a while.

    Sockets made meanwhile stay there, and so do the processes started.
    """
    if name is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        try:
            there = os.open(FOLDER / name, os.O_RDONLY)
        except FileNotFoundError:
            raise LabError(f"there is no network namespace {name}; is the lab up?") from None
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def _enter(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def _is_in(candidate: Process, wanted: os.stat_result) -> bool:
    try:
        found = os.stat(f"/proc/{candidate.pid}/ns/net")
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


def ip(*arguments: str) -> str:
    """Run ip; its output. Used by `lab.switch` as well."""
    return _run("ip", *arguments)


def bridge(*arguments: str) -> str:
    """Run bridge, the other tool of iproute2; its output."""
    return _run("bridge", *arguments)


def _run(tool: str, *arguments: str) -> str:
    try:
        done = subprocess.run([tool, *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise LabError(f"{tool} is missing; run: apt-get install iproute2") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip() or f"exit code {error.returncode}"
        raise LabError(f"{tool} {' '.join(arguments)}: {reason}") from None
    return done.stdout
