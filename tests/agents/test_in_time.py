"""Always in time: an action ends by itself, with its exit reason, before Pacemaker ends it.

At least half a second before, down to a timeout of 5 s, whatever the peers and the daemon do.
Each row is a fault, the action that meets it, and the code of that action. Many actions with the
same timeout run at once; each test gets the result of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from agents.ways import clog, clogged_fifo, listening_syslog, with_syslog
from harness import HISTORY, Result, expect
from lookalike.between import Nameserver
from lookalike.service import Service
from looks import eventually, signal_all

pytestmark = pytest.mark.shared

SPARE = 0.5
"""Seconds before Pacemaker's timeout, at least, at which an action has ended by itself."""

SHORT = (5, 20)
ALL = (5, 6, 10, 20)
HURRIED = (5, 6, 10)
"""Timeouts with which a busy machine may leave no time for more than 1 and `in time`."""

WAVE = 12
"""Actions that run at once. With three times as many, some lost half of their 10 s on a busy
machine between the fork and the exec of the agent."""

PATIENCE = 10
"""Seconds after its timeout when an action is killed here, so that its lateness is known."""

Prepare = Callable[[Service, ExitStack], "dict[str, object]"]


@dataclass
class Fault:
    """One row.

    action, code, words: the action, its code and its reason. busy: whether 190 is right as well,
        on a machine too busy for Keystone's answer to come in time; other tests ask for the fault.
    daemon: behaviour from the start on; peers: of the daemon when it runs; keystone: its mode.
    prepare: makes the rest of the fault; returns options of the call.
    timeouts: that Pacemaker gives, in seconds.
    """

    name: str
    action: str
    code: int
    words: tuple[str, ...] = ()
    daemon: dict[str, object] = field(default_factory=dict)
    peers: dict[str, object] = field(default_factory=dict)
    keystone: str = "fine"
    prepare: Prepare = lambda service, stack: {}
    timeouts: tuple[int, ...] = SHORT
    busy: bool = False


# ---- preparations of some faults


def with_token(service: Service, stack: ExitStack) -> dict[str, object]:
    """An earlier monitor has got a token."""
    expect(service.monitor(), 0)
    return {}


def without_credentials(service: Service, stack: ExitStack) -> dict[str, object]:
    return {"parameters": dict.fromkeys(service.credentials)}


def stopped(service: Service, stack: ExitStack) -> dict[str, object]:
    """All processes of the daemon are stopped by a signal."""
    signal_all(service.pids(), signal.SIGSTOP)
    return {}


def orphaned(service: Service, stack: ExitStack) -> dict[str, object]:
    """The master is dead, its workers live, and the next daemon will not listen."""
    expect(service.start(), 0)
    service.orphan()
    service.config.set(never_listen="yes")
    return {}


def mute_resolver(parameter: str) -> Prepare:
    """The nameserver for the name in a URL does not answer."""

    def prepare(service: Service, stack: ExitStack) -> dict[str, object]:
        nameserver = stack.enter_context(Nameserver("mute", service.folder))
        given = {parameter: "http://controller.example.org:5000"}
        return {"prefix": nameserver.prefix, "parameters": given}

    return prepare


def another_start(service: Service, stack: ExitStack) -> dict[str, object]:
    """Another start is running, with a very long timeout."""
    other = service.begin("start", timeout=600)
    stack.callback(other.wait)
    stack.callback(other.kill)
    eventually(service.processes)
    return {}


def mute_syslog(service: Service, stack: ExitStack) -> dict[str, object]:
    """The reader of /dev/log has stopped, and its queue is full."""
    clog(stack.enter_context(listening_syslog(service.folder)))
    return {"prefix": with_syslog(service.folder), "environ": {"HA_LOGFACILITY": "daemon"}}


def full_fifo(service: Service, stack: ExitStack) -> dict[str, object]:
    """HA_LOGFILE is a fifo that another process has open, and does not read."""
    path = service.folder / "fifo"
    stack.callback(os.close, clogged_fifo(path))
    return {"environ": {"HA_LOGFILE": str(path)}}


# ---- the table

HANGS: dict[str, object] = {"api": "hang", "public": "hang"}
DRIPS: dict[str, object] = {"api": "drip", "public": "drip"}

FAULTS = [
    Fault("api-hang", "monitor", 1, ("in time",), {}, {"api": "hang"}, timeouts=ALL, busy=True),
    Fault("api-hang-token", "monitor", 1, ("in time",), {}, {"api": "hang"}, prepare=with_token,
          busy=True),
    Fault("api-drip", "monitor", 1, ("in time",), {}, {"api": "drip"}, busy=True),
    Fault("api-1xx", "monitor", 1, (), {}, {"api": "endless_1xx"}, busy=True),
    Fault("keystone-hang", "monitor", 190, ("Keystone",), keystone="hang", timeouts=ALL),
    Fault("keystone-drip", "monitor", 190, ("Keystone",), keystone="drip"),
    Fault("keystone-1xx", "monitor", 190, ("Keystone",), keystone="endless_1xx"),
    Fault("keystone-resolver", "monitor", 190, ("Keystone",),
          prepare=mute_resolver("os_auth_url")),
    Fault("api-and-keystone-hang", "monitor", 190, ("Keystone",), {}, {"api": "hang"}, "hang",
          with_token),
    Fault("all-hang", "monitor", 1, ("in time",), {}, HANGS, "hang", timeouts=ALL),
    Fault("all-drip", "monitor", 1, ("in time",), {}, DRIPS, "drip"),
    Fault("public-hang", "monitor", 1, ("in time",), {}, HANGS, prepare=without_credentials),
    Fault("url-resolver", "monitor", 1, prepare=mute_resolver("url")),
    Fault("daemon-stopped", "monitor", 1, ("in time",), prepare=stopped, timeouts=ALL),
    Fault("all-hang", "reload-agent", 0, (), {}, HANGS, "hang"),
    Fault("all-hang", "validate-all", 0, (), {}, HANGS, "hang"),
    Fault("never-listens", "start", 1, ("listens",), {"never_listen": "yes"}, timeouts=ALL),
    Fault("never-listens-nor-ends", "start", 1, ("listens",),
          {"never_listen": "yes", "ignore_term": "both"}),
    Fault("hangs", "start", 1, ("in time",), HANGS, timeouts=ALL),
    Fault("drips", "start", 1, ("in time",), DRIPS),
    Fault("1xx", "start", 1, (), {"public": "endless_1xx"}),
    # Regular expressions over a daemon's output must take linear time.
    Fault("says-many-urls", "start", 1, ("no such table",),
          {"exit_at_once": 1, "last_words": "://" * 20_000 + " no such table"}),
    Fault("says-many-parentheses", "start", 1, ("uWSGI",),
          {"exit_at_once": 1, "last_words": "uWSGI /" + "(" * 60_000}),
    Fault("orphans-that-stay", "start", 1, ("listens",), {"ignore_term": "both"},
          prepare=orphaned),
    Fault("url-resolver", "start", 1, (), {"public": "500"}, prepare=mute_resolver("url")),
    Fault("another-start", "start", 1, ("another start",), {"never_listen": "yes"},
          prepare=another_start, timeouts=ALL),
    Fault("syslog-hangs", "start", 1, ("listens",), {"never_listen": "yes"}, prepare=mute_syslog),
    Fault("log-fifo", "start", 1, ("listens",), {"never_listen": "yes"}, prepare=full_fifo),
    Fault("ignores-term", "stop", 0, (), {"ignore_term": "both"}, timeouts=ALL),
    Fault("ends-slowly", "stop", 0, (), {"slow_term": 600}),
    Fault("leaves-orphans", "stop", 0, (),
          {"orphan_on_term": "yes", "ignore_term": "workers", "worker_leaves_session": "yes"}),
    Fault("daemon-stopped", "stop", 0, (), {"ignore_term": "both"}, prepare=stopped),
    Fault("syslog-hangs", "stop", 0, (), {"ignore_term": "both"}, prepare=mute_syslog),
    Fault("another-start", "stop", 1, ("another start",), {"never_listen": "yes"},
          prepare=another_start, timeouts=ALL),
]  # fmt: skip

CASES = [
    pytest.param(fault, timeout, id=f"{fault.action}-{fault.name}-{timeout}s")
    for timeout in ALL
    for fault in FAULTS
    if timeout in fault.timeouts
]


@dataclass
class Ready:
    """A service with its fault, and the call to be made."""

    service: Service
    action: str
    options: dict[str, Any]
    stack: ExitStack

    def run(self) -> Result:
        """Call the action, check that a stop with 0 has ended all, and clean up."""
        with self.stack:
            result = self.service.call(self.action, **self.options)
            if self.action == "stop" and result.code == 0:
                assert not self.service.pids()
            return result


def ready(agent: Path, fault: Fault, timeout: int) -> Ready:
    """Make a service with a fault."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="agents-"))
        os.chmod(folder, 0o755)
        service = stack.enter_context(
            Service(agent, Path(folder), credentials=True, **fault.daemon)  # type: ignore[arg-type]
        )
        if fault.action != "start" and fault.prepare is not another_start:
            expect(service.start(), 0)
        options = fault.prepare(service, stack)
        service.config.set(**fault.peers)
        service.keystone.mode = fault.keystone
        options.update(timeout=timeout, limit=timeout + PATIENCE)
        if fault.action == "monitor":
            options["interval"] = 30
        return Ready(service, fault.action, options, stack.pop_all())


class Waves:
    """Up to WAVE actions with one timeout, begun at once when the first result is asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._begun: dict[str, Future[Result]] = {}
        self._late: dict[str, Future[float]] = {}

    def result(self, item: pytest.Item, timeout: int) -> tuple[Result, float]:
        """The result of a test's action, and how late the machine was meanwhile, in seconds."""
        if item.nodeid not in self._begun:
            self._begin(_alike(item), timeout)
        result, late = self._begun[item.nodeid].result(), self._late[item.nodeid].result()
        HISTORY[:] = [result]  # results that came meanwhile are of other tests
        return result, late

    def _begin(self, items: list[pytest.Function], timeout: int) -> None:
        with ThreadPoolExecutor(4) as few:
            arguments: list[Any] = [item.callspec.params for item in items]
            preparing = [
                few.submit(ready, given["agent"], given["fault"], given["timeout"])
                for given in arguments
            ]
        # a thread for each, or a late result would not be noticed
        threads = self._stack.enter_context(ThreadPoolExecutor(len(items) + 1))
        late = threads.submit(lateness, timeout)
        for item, prepared in zip(items, preparing):
            self._late[item.nodeid] = late
            failed = prepared.exception()
            self._begun[item.nodeid] = (
                threads.submit(_raise, failed) if failed else threads.submit(prepared.result().run)
            )


def lateness(seconds: float) -> float:
    """The greatest delay of a process that only sleeps and ends, in the second half of these
    seconds: in the first half the machine is busy with the start of all actions."""
    most, middle = 0.0, time.monotonic() + seconds / 2
    while (begin := time.monotonic()) < middle + seconds / 2:
        subprocess.run(["/bin/sleep", "0.3"], check=True)
        if begin >= middle:
            most = max(most, time.monotonic() - begin - 0.3)
    return most


def _raise(error: BaseException) -> NoReturn:
    raise error


def _alike(item: pytest.Item) -> list[pytest.Function]:
    """The tests of this run in the same wave as the item: they have the same timeout."""
    found = [
        other
        for other in item.session.items
        if isinstance(other, pytest.Function)
        and (other.path, other.originalname) == (item.path, getattr(item, "originalname", ""))
        and other.callspec.params["timeout"] == item.callspec.params["timeout"]  # type: ignore[attr-defined]
    ]
    first = [other.nodeid for other in found].index(item.nodeid) // WAVE * WAVE
    return found[first : first + WAVE]


@pytest.fixture(scope="module")
def waves() -> Iterator[Waves]:
    with ExitStack() as stack:
        yield Waves(stack)


@pytest.mark.parametrize(("fault", "timeout"), CASES)
def test_in_time(
    agent: Path, fault: Fault, timeout: int, waves: Waves, request: pytest.FixtureRequest
) -> None:
    """Whatever happens, the action gives its result half a second before its timeout."""
    result, late = waves.result(request.node, timeout)
    assert result.seconds - late <= timeout - SPARE, f"{late:.2f} s of it by the machine: {result}"
    usual = {fault.code, *((190,) if fault.busy else ()), *((1,) if timeout in HURRIED else ())}
    code = result.code if result.code in usual else fault.code
    expect(result, code, *(() if timeout in HURRIED or code != fault.code else fault.words))
