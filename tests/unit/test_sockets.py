"""Sockets of this node: what listens where, which process has it, and which others share it."""

from __future__ import annotations

import os
import pwd
import socket

import pytest

from agentlib import sockets
from agentlib.deadline import Deadline
from agentlib.process import Process, find
from agentlib.sockets import Listener
from unit.kit import Zoo


def bound(host: str) -> socket.socket:
    result = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    result.bind((host, 0))
    return result


def seen(pid: int) -> Process:
    found = find(pid)
    assert found is not None
    return found


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


HOSTS = ["127.0.0.1", "0.0.0.0", "127.0.0.2"]
if os.path.exists("/proc/net/if_inet6"):
    HOSTS += ["::1", "::"]


@pytest.mark.parametrize("host", HOSTS)
def test_listeners(host: str) -> None:
    """A listening socket is found by its port, with its address, inode and user."""
    with bound(host) as one:
        one.listen()
        port = one.getsockname()[1]
        there = list(sockets.listeners(port))  # another test may have the port at another address
        found = [(each.address, each.port, each.inode, each.user)
                 for each in there if each.address == host]
        assert [(host, port, inode(one), os.geteuid())] == found
        assert {port} == {each.port for each in there}
        assert inode(one) in [each.inode for each in sockets.listeners()]


def test_not_listening() -> None:
    """A socket that is only bound, is connected, or is of UDP is no listening socket."""
    with bound("127.0.0.1") as server, bound("127.0.0.1") as idle, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname()) as client:
            inodes = {each.inode for each in sockets.listeners()}
            assert not inodes & {inode(idle), inode(client), inode(datagrams)}


def test_held(zoo: Zoo) -> None:
    """An inherited socket is held by the process that has it; all sockets of all are found."""
    with bound("127.0.0.1") as one, bound("127.0.0.1") as two:
        first = zoo.sleeper(fds=(one.fileno(), two.fileno()))
        second = zoo.sleeper(fds=(one.fileno(),))
        found = sockets.held([seen(first.pid), seen(second.pid)])
        assert {one.fileno(), two.fileno()} == {number for _, number in found.values()}
        assert {inode(one): first.pid, inode(two): first.pid} == {
            key: pid for key, (pid, _) in found.items()}


def test_held_by_the_dead(zoo: Zoo) -> None:
    """A process that has gone meanwhile holds nothing."""
    child = zoo.sleeper()
    found = seen(child.pid)
    child.kill()
    child.wait()
    assert {} == sockets.held([found])


def test_holds(zoo: Zoo) -> None:
    """A descriptor is recognised by its inode; with another inode, or none, it is not."""
    with bound("127.0.0.1") as one:
        child = zoo.sleeper(fds=(one.fileno(),))
        assert sockets.holds(child.pid, one.fileno(), inode(one))
        assert not sockets.holds(child.pid, one.fileno(), inode(one) + 1)
        assert not sockets.holds(child.pid, one.fileno() + 500, inode(one))
        child.kill()
        child.wait()
        assert not sockets.holds(child.pid, one.fileno(), inode(one))


@pytest.mark.parametrize(
    ("listens", "asked", "rank"),
    [
        ("127.0.0.1", "127.0.0.1", 3), ("0.0.0.0", "127.0.0.1", 2), ("::", "127.0.0.1", 1),
        ("10.0.0.1", "127.0.0.1", 0), ("::1", "127.0.0.1", 0), ("::1", "::1", 3),
        ("::", "::1", 2), ("0.0.0.0", "::1", 0), ("127.0.0.1", "::1", 0),
    ],
)
def test_rank(listens: str, asked: str, rank: int) -> None:
    """The kernel gives a connection to the narrowest address that covers it."""
    assert rank == Listener(listens, 1, 2, 3).rank(asked)


@pytest.mark.parametrize(
    ("ours", "others", "rivals"),
    [
        (["127.0.0.1"], ["127.0.0.1"], 1),      # shared: SO_REUSEPORT
        (["0.0.0.0"], ["127.0.0.1"], 1),        # narrower: it takes our connections
        (["0.0.0.0"], ["10.0.0.1", "127.0.0.1"], 2),
        (["::"], ["127.0.0.1"], 1),
        (["127.0.0.1"], ["0.0.0.0"], 0),        # wider: it takes none of ours
        (["127.0.0.1"], ["10.0.0.1"], 0),
        ([], ["127.0.0.1"], 0),
    ],
)
def test_rivals(ours: list[str], others: list[str], rivals: int) -> None:
    """A rival shares the address, or has a narrower one, at the same port."""
    mine = [Listener(address, 9292, number, 0) for number, address in enumerate(ours)]
    theirs = [Listener(address, 9292, 100 + number, 0) for number, address in enumerate(others)]
    elsewhere = [Listener(each.address, 9293, each.inode + 100, 0) for each in theirs]
    assert rivals == len(list(sockets.rivals(mine, [*mine, *theirs, *elsewhere])))


@pytest.mark.parametrize(
    ("address", "url"),
    [("127.0.0.1", "http://127.0.0.1:5"), ("0.0.0.0", "http://127.0.0.1:5"),
     ("::1", "http://[::1]:5"), ("2001:db8::1", "http://[2001:db8::1]:5"),
     ("fe80::1:2:3:4", "http://[fe80::1:2:3:4]:5")])
def test_url(address: str, url: str) -> None:
    """A socket as a URL; a wildcard socket is asked via loopback, which is no virtual IP."""
    assert url == Listener(address, 5, 6, 7).url


def test_holder(zoo: Zoo) -> None:
    """The process that has a socket is named by its pid; if it is not found, by its user."""
    with bound("127.0.0.1") as one:
        one.listen()
        (listener,) = (each for each in sockets.listeners(one.getsockname()[1])
                       if each.inode == inode(one))
        child = zoo.sleeper(fds=(one.fileno(),))
        one.close()
        assert f"pid {child.pid} " in sockets.holder(listener, Deadline(60))
        child.kill()
        child.wait()
    name = pwd.getpwuid(os.geteuid()).pw_name
    assert f"a process of user {name}" == sockets.holder(listener, Deadline(60))
