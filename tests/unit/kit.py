"""Processes and an API server for the unit tests; nothing here uses the code under test."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from agentlib.parameters import Parameter, Values
from lookalike.server import Server, wire
from looks import end_all, environ_of, eventually, every_pid, words_of

ROOT = Path(__file__).resolve().parents[2]
"""The source tree."""


def _python() -> str:
    """An interpreter that every user may run, unlike perhaps that of a virtual environment."""
    own = Path(sys.executable).resolve()
    open_to_all = all(folder.stat().st_mode & 0o001 for folder in own.parents)
    return str(own) if open_to_all else "/usr/bin/python3"


PYTHON = _python()

NOBODY, OTHER = 65534, 1

GIVE_IPV6 = "sysctl net.ipv6.conf.lo.disable_ipv6=0 gives it to the machine"
"""The remedy where there is no ::1: these tests alone show that agents work with IPv6."""

TREE = '''\
"""A master with workers, which behave as the JSON after --config-file says."""
import json, os, signal, sys, time

path = sys.argv[sys.argv.index("--config-file") + 1]
with open(path) as file:
    spec = json.load(file)

def report(role):
    output = os.open(path + ".roles", os.O_WRONLY | os.O_APPEND)
    os.write(output, b"%s %d\\n" % (role.encode(), os.getpid()))
    os.close(output)

def stay(role):
    report(role)
    while True:
        time.sleep(0.1)  # Python handles a signal that comes right before a sleep only after it.

def worker():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if spec.get("own_session"):
        os.setsid()
    stay("worker")

def told(*_):
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    for pid in workers:
        os.waitpid(pid, 0)
    os._exit(0)

def hop():
    report("master")
    while os.path.exists(path):
        if os.fork():
            os._exit(0)  # and the child goes on
    os._exit(0)

if spec.get("hops"):
    hop()
workers = []
for _ in range(spec.get("workers", 0)):
    pid = os.fork()
    if pid == 0:
        worker()
    workers.append(pid)
signal.signal(signal.SIGTERM, told)
stay("master")
'''


def values_of(*parameters: Parameter, **given: str) -> Values:
    """Values as an invocation makes them."""
    return Values(parameters, given)


class Tree:
    """A process tree under way."""

    def __init__(self, config: Path, process: subprocess.Popen[bytes]) -> None:
        self.config = config
        self.process = process

    def pids(self, role: str) -> list[int]:
        """The pids that have reported in this role."""
        lines = Path(f"{self.config}.roles").read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == role]

    @property
    def master(self) -> int:
        return self.process.pid

    @property
    def workers(self) -> list[int]:
        return sorted(self.pids("worker"))

    def members(self) -> list[int]:
        return sorted(self.pids("master") + self.pids("worker"))

    def kill_master(self) -> None:
        """As by the kernel's OOM killer: at once, and without a signal to the workers."""
        self.process.kill()
        self.process.wait()


class Zoo:
    """The processes of a test; close() finds them by the folder in arguments or environment."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._children: list[subprocess.Popen[bytes]] = []
        self._count = 0

    def environment(self, **more: str) -> dict[str, str]:
        """An environment by which close() knows the process."""
        return {"PATH": "/usr/bin:/bin", "UNIT_TEST_PLACE": str(self.place), **more}

    def run(
        self, command: list[str], *, env: dict[str, str] | None = None, user: int | None = None,
        session: bool = True, fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a process."""
        child = subprocess.Popen(
            command, env=self.environment(**(env or {})), user=user, cwd="/", pass_fds=fds,
            start_new_session=session, stdin=subprocess.DEVNULL,
            extra_groups=None if user is None else [])
        self._children.append(child)
        return child

    def sleeper(
        self, *, env: dict[str, str] | None = None, user: int | None = None,
        fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[bytes]:
        """A process that does nothing, past its exec."""
        child = self.run(["/bin/sleep", "3600"], env=env, user=user, fds=fds)
        eventually(lambda: Path(f"/proc/{child.pid}/cmdline").read_bytes()[:10] == b"/bin/sleep")
        return child

    def config(self, **spec: object) -> Path:
        """A configuration for TREE."""
        self._count += 1
        config = self.place / f"tree{self._count}.conf"
        config.write_text(json.dumps(spec))
        roles = Path(f"{config}.roles")
        roles.touch()
        roles.chmod(0o666)
        return config

    def binary(self) -> Path:
        """TREE as an executable."""
        path = self.place / "unit-daemon"
        path.write_text(f"#!{PYTHON} -ES\n{TREE}")
        path.chmod(0o755)
        return path

    def tree(
        self, *, tag: str = "", env: dict[str, str] | None = None, user: int | None = NOBODY,
        session: bool = True, **spec: object,
    ) -> Tree:
        """A tree of which every process has started."""
        environment = dict(env or {})
        if tag:
            environment["OPENSTACK_OCF_INSTANCE"] = tag
        config = self.config(**spec)
        child = self.run(
            [str(self.binary()), "--config-file", str(config)], env=environment, user=user,
            session=session)
        tree = Tree(config, child)
        eventually(lambda: len(tree.members()) == 1 + int(str(spec.get("workers", 0))))
        return tree

    def pids(self) -> list[int]:
        """Every process of the test, orphans too."""
        mark = os.fsencode(self.place)
        return [pid for pid in every_pid() if pid != os.getpid() and self._made(pid, mark)]

    def _made(self, pid: int, mark: bytes) -> bool:
        found = [b"\0".join(environ_of(pid)), *map(os.fsencode, words_of(pid))]
        return any(mark in text for text in found)

    def close(self) -> None:
        """End all processes, and wait until they are gone."""
        for child in self._children:
            child.kill()
            child.wait()
        end_all(self.pids)


PASSWORD = "pa55-w0rd"
CREDENTIALS = {"os_username": "monitor", "os_password": PASSWORD, "os_project_name": "service",
               "os_auth_url": "http://10.0.0.11:5000"}

VERSIONS = b'{"versions": [{"id": "v2.9", "status": "CURRENT"}]}'


class Service(Server):
    """An API server that answers as the test says, from the beginning.

    public: how the version document is answered: a status or a misbehaviour of the look-alikes.
    answers: how the requests with a token are answered, in turn; the last stays.
    raw: the bytes that any request is answered with instead.
    requests: path and token of each so far; hosts, peers: the header Host and the client's address.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.public = "300"
        self.answers = ["200"]
        self.raw: bytes | None = None
        self.requests: list[tuple[str, str]] = []
        self.hosts: list[str] = []
        self.peers: list[str] = []
        super().__init__(host)
        self.start()

    def asked(self) -> list[str]:
        """The paths that were asked for, in turn."""
        return [path for path, _ in self.requests]

    def answer(self, connection: socket.socket, request: Any, peer: str) -> None:
        self.requests.append((request.path, request.token))
        self.hosts.append(request.headers.get("host", ""))
        self.peers.append(peer)
        if self.raw is not None:
            connection.sendall(self.raw)
        elif not request.token and not request.path.endswith("/"):
            wire.misbehave(connection, request, "401")
        elif not request.token:
            if self.public in ("200", "300"):
                connection.sendall(wire.compose(request, int(self.public), VERSIONS))
            else:
                wire.misbehave(connection, request, self.public)
        else:
            how = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            wire.misbehave(connection, request, how)
