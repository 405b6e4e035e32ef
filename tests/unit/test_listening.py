"""Where a daemon listens, and whether it is alone there: what is remembered, and what is true."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import listening
from agentlib.check import Subject
from agentlib.daemon import Daemon
from agentlib.deadline import Deadline
from agentlib.exitcode import ExitCode
from agentlib.outcome import Outcome
from agentlib.parameters import Values
from agentlib.process import Process, find
from agentlib.sockets import Listener
from agentlib.state import State
from unit.kit import Zoo

PLENTY = 120.0


class Asked:
    """Answers at some URLs, and knows where it was asked."""

    def __init__(self, *good: str) -> None:
        self.good = good
        self.urls: list[str] = []

    def __call__(self, url: str, deadline: Deadline) -> Outcome:
        self.urls.append(url)
        good = not self.good or url in self.good
        return Outcome(ExitCode.SUCCESS) if good else Outcome(ExitCode.ERR_GENERIC, "is silent")


def seen(pid: int) -> Process:
    found = find(pid)
    assert found is not None
    return found


def subject_of(master: Process, **address: object) -> Subject:
    """A daemon of one process, and what is remembered of its address."""
    state = State()
    state.checks["address"] = dict(address)
    daemon = Daemon(project="unit", binary="unit-api", port=9292)
    return Subject("unit-api", Values((), {}), daemon, state, master, lambda: [master])


Listening = Callable[..., "tuple[socket.socket, str]"]


@pytest.fixture
def bound() -> Iterator[Listening]:
    """Sockets that listen, on a port of their own or beside another, and their URLs."""
    made: list[socket.socket] = []

    def listen(port: int = 0) -> tuple[socket.socket, str]:
        one = socket.socket()
        made.append(one)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", port))
        one.listen()
        return one, f"http://127.0.0.1:{one.getsockname()[1]}"

    yield listen
    for one in made:
        one.close()


def given_away(zoo: Zoo, *ours: socket.socket) -> Process:
    """A process that has the sockets alone."""
    child = zoo.sleeper(fds=tuple(one.fileno() for one in ours))
    for one in ours:
        one.close()
    return seen(child.pid)


# --- what is remembered -------------------------------------------------------------------------

NO_ADDRESSES: list[object] = [
    "", "nonsense", "http://", "http://127.0.0.1", "http://127.0.0.1:port", "://",
    "http://127.0.0.1:0", "http://127.0.0.1:65536", "http://:9292", "http://h:\u0663",
    "http://\ud800:9292", "http://M\u00e4rz:9292", "http://127.0.0.1:9\r\nX: y",
    "http://127.0.0.1:9/", "http://h/x:9292", "http://a b:9292", "https://h:9292", "HTTP://h:9292",
    "file:///etc/x", "http://127.0.0.1:9292 ", "http://h:+9292",
    None, True, 1, 1.5, [], {}, ["http://127.0.0.1:9292"]]


@pytest.mark.parametrize("url", NO_ADDRESSES, ids=ascii)
def test_unsound(url: object, zoo: Zoo) -> None:
    """A value that cannot be the address of a socket is not used, of whatever type it is."""
    assert "" == listening.known(subject_of(seen(zoo.sleeper().pid), url=url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9292", "http://[::1]:1", "http://h:65535",
                                 "http://[fe80::1%25eth0]:9292"])
def test_sound(url: str, zoo: Zoo) -> None:
    """An address as it was learned from a socket is known again."""
    assert url == listening.known(subject_of(seen(zoo.sleeper().pid), url=url))


def test_nothing_remembered(zoo: Zoo) -> None:
    """Where nothing is remembered nothing is known."""
    assert "" == listening.known(subject_of(seen(zoo.sleeper().pid)))


@given(address=st.ip_addresses().map(str), port=st.integers(1, 65535))
def test_every_address(address: str, port: int) -> None:
    """Whatever a daemon listens on, its URL is sound."""
    assert listening.is_address(Listener(address, port, inode=7, user=0).url)


@given(st.text(st.characters())
       | st.from_regex(r"https?://[a-z0-9\[\]:./ ]{0,9}:[0-9]{0,6}", fullmatch=True))
def test_any_address(url: str) -> None:
    """Whatever text is remembered: a host and a port that TCP has, or no address."""
    if listening.is_address(url):
        host, _, port = url.removeprefix("http://").rpartition(":")
        assert host and "/" not in host and 0 < int(port) < 65536


# --- what is true ---------------------------------------------------------------------------------


def test_learned_once(bound: Listening, zoo: Zoo) -> None:
    """The address is learned from the daemon's own socket, and recognised by it the next time."""
    one, url = bound()
    subject, ask = subject_of(given_away(zoo, one)), Asked()
    assert listening.ensure(subject, 9292, ask, Deadline(PLENTY)) is None
    assert url == listening.known(subject)
    first = dict(subject.memory("address"))
    assert first["inode"] > 0
    assert listening.ensure(subject, 9292, ask, Deadline(PLENTY)) is None
    assert first == subject.memory("address")
    assert [] == ask.urls  # There is nothing to choose from.


@pytest.mark.parametrize(
    "junk", [{"inode": 1}, {"inode": "x"}, {"inode": None}, {"inode": True}, {"inode": 10**400},
             {"descriptor": -1}, {"descriptor": 10**400}, {"descriptor": "0"}, {"url": "x"},
             {"url": "http://127.0.0.1:9"}, {"url": None}], ids=ascii)
def test_learned_anew(junk: dict[str, object], bound: Listening, zoo: Zoo) -> None:
    """An address that is remembered wrongly is learned again."""
    one, url = bound()
    subject = subject_of(given_away(zoo, one))
    listening.ensure(subject, 9292, Asked(), Deadline(PLENTY))
    right = dict(subject.memory("address"))
    subject.memory("address").update(junk)
    assert listening.ensure(subject, 9292, Asked(), Deadline(PLENTY)) is None
    assert right == subject.memory("address")
    assert url == listening.known(subject)


def test_moved(bound: Listening, zoo: Zoo) -> None:
    """A process that has the old port now is not asked: the daemon's new address is learned."""
    one, old = bound()
    port = one.getsockname()[1]
    before = subject_of(given_away(zoo, one))
    listening.ensure(before, 9292, Asked(), Deadline(PLENTY))
    other, new = bound()
    moved = given_away(zoo, other)
    subject = subject_of(moved, **before.memory("address"))
    assert old == listening.known(subject)
    ask = Asked()
    assert listening.ensure(subject, port, ask, Deadline(PLENTY)) is None
    assert new == listening.known(subject)
    assert old not in ask.urls


def test_listens_nowhere(zoo: Zoo) -> None:
    """A daemon without a socket does not serve, whatever is remembered."""
    subject = subject_of(seen(zoo.sleeper().pid), url="http://127.0.0.1:9")
    outcome = listening.ensure(subject, 9292, Asked(), Deadline(PLENTY))
    assert outcome is not None
    assert 1 == outcome.code
    assert outcome.reason.endswith("listen on no TCP port")


def test_several(bound: Listening, zoo: Zoo) -> None:
    """Of several sockets the one that answers is the address; uWSGI has some for other uses."""
    (one, _), (two, url), (three, _) = bound(), bound(), bound()
    subject = subject_of(given_away(zoo, one, two, three))
    assert listening.ensure(subject, 9292, Asked(url), Deadline(PLENTY)) is None
    assert url == listening.known(subject)


@pytest.mark.parametrize("silent", [True, False])
def test_usual_port_first(silent: bool, bound: Listening, zoo: Zoo) -> None:
    """The usual port is tried first, and taken if no port answers."""
    (one, _), (two, url) = bound(), bound()
    port = two.getsockname()[1]
    subject, ask = subject_of(given_away(zoo, one, two)), Asked("nowhere" if silent else url)
    assert listening.ensure(subject, port, ask, Deadline(PLENTY)) is None
    assert url == listening.known(subject) == ask.urls[0]


@pytest.mark.parametrize("remembered", [True, False])
def test_shared(remembered: bool, bound: Listening, zoo: Zoo) -> None:
    """A port that another process shares is 190 for a monitor, and a failure of start."""
    one, url = bound()
    port = one.getsockname()[1]
    other, _ = bound(port)
    subject = subject_of(given_away(zoo, one))
    if remembered:
        subject.memory("address").update(url=url)
    rival = given_away(zoo, other)
    for code, function in ((190, listening.ensure), (1, listening.ready)):
        outcome = function(subject, 9292, Asked(), Deadline(PLENTY))
        assert outcome is not None
        assert code == outcome.code
        assert f"{url} is shared with {rival!r}".partition(" (")[0] in outcome.reason
        assert "not of this resource" in outcome.reason


def test_shared_and_silent(bound: Listening, zoo: Zoo) -> None:
    """A daemon that does not answer is at fault, even if another process shares its port."""
    one, _ = bound()
    other, _ = bound(one.getsockname()[1])
    subject = subject_of(given_away(zoo, one))
    given_away(zoo, other)
    outcome = listening.ensure(subject, 9292, Asked("nowhere"), Deadline(PLENTY))
    assert outcome is not None
    assert (1, "is silent") == (outcome.code, outcome.reason)


# --- start --------------------------------------------------------------------------------------


def test_ready(bound: Listening, zoo: Zoo) -> None:
    """A daemon is ready when its own socket answers, and that address is remembered."""
    one, url = bound()
    subject = subject_of(given_away(zoo, one))
    assert listening.ready(subject, 9292, Asked("nowhere"), Deadline(PLENTY)) is None
    assert "is silent" == listening.waiting(subject, 9292, Deadline(PLENTY))
    assert "" == listening.known(subject)
    outcome = listening.ready(subject, 9292, Asked(url), Deadline(PLENTY))
    assert outcome is not None
    assert outcome.good
    assert url == listening.known(subject)


def test_not_ready(bound: Listening, zoo: Zoo) -> None:
    """While a daemon listens nowhere, the reason names the process that has its port, if any."""
    one, _ = bound()
    port = one.getsockname()[1]
    subject = subject_of(seen(zoo.sleeper().pid))
    holder = given_away(zoo, one)
    assert listening.ready(subject, port, Asked(), Deadline(PLENTY)) is None
    said = listening.waiting(subject, port, Deadline(PLENTY))
    assert said.startswith(f"listens on no TCP port, {port} is held by pid {holder.pid}")
    zoo.close()
    assert "listens on no TCP port" == listening.waiting(subject, port, Deadline(PLENTY))


@pytest.mark.parametrize(("seconds", "said"), [(PLENTY, "is silent"), (1.0, "answers 500")])
def test_last_look_in_a_hurry(seconds: float, said: str, bound: Listening, zoo: Zoo) -> None:
    """A start says what the daemon answered, if there was hardly time for the last question."""
    one, _ = bound()
    subject = subject_of(given_away(zoo, one))
    assert listening.ready(subject, 9292, Asked("nowhere"), Deadline(PLENTY)) is None
    subject.waiting = "answers 500"
    assert listening.ready(subject, 9292, Asked("nowhere"), Deadline(seconds)) is None
    assert said == listening.waiting(subject, 9292, Deadline(PLENTY))
