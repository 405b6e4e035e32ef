"""A row of the tables of tests/agents: the state of the peers, and the verdict. For tests.

    case = Case("503", 190, ("Keystone",), {"api": "503"}, keystone="dead", remembered=True)
    with watched_service(agent) as service:
        judge(service, case)
    # and if a peer wastes the time, many at once:
    with Together() as together:
        together.judge(agent, case, cases)
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union, cast

import pytest

from harness import FOREIGN, HISTORY, Result, Running, expect

from .service import Service

SLOW = 30
"""Seconds for a monitor whose peer wastes all of them: enough for a wave of them on a busy
machine, where all load keystoneauth1 at the same moment, in Keystone's part of the time."""

PLENTY = 60
"""Seconds for a monitor whose peers are well: on a busy machine a token is slow."""

WAVE = 20
"""Slow cases that run at once: with more of them the processors would not suffice."""

LIGHT = "debian" if FOREIGN else "pypi"
"""The interpreter whose keystoneauth1 is imported in a quarter of the time: a wave needs tokens
at once."""

Answer = Union[str, int, bytes, Callable[[], bytes]]
"""A status, a misbehaviour of README.md, the bytes to send, or a function that makes them."""


@dataclass
class Case:
    """One row: the state of daemon and Keystone, and the monitor's verdict.

    name: of the test. code, words: of the verdict.
    daemon: behaviour of the daemon; Answers may be bytes. keystone: how Keystone answers.
    remembered: whether an earlier monitor has got a token; revoked: whether that is revoked.
    slow: the monitor needs all its time.
    tokens: token requests that this monitor makes, None where it may try more than once.
    parameters: of the monitor. public: it has no credentials.
    """

    name: str
    code: int
    words: tuple[str, ...] = ()
    daemon: dict[str, object] = field(default_factory=dict)
    keystone: Answer = "fine"
    remembered: bool = False
    revoked: bool = False
    tokens: int | None = None
    parameters: dict[str, object] = field(default_factory=dict)
    slow: bool = False
    public: bool = False


@contextmanager
def watched_service(agent: Path, **options: object) -> Iterator[Service]:
    """A running service with credentials, for one case after the other; Service's options."""
    with tempfile.TemporaryDirectory(prefix="agents-") as name:
        os.chmod(name, 0o755)
        with Service(agent, Path(name), credentials=True, **options) as service:  # type: ignore[arg-type]
            expect(service.start(), 0)
            yield service


def said(folder: Path, answer: object) -> object:
    """An answer as the look-alikes need it: bytes are put into a file."""
    if callable(answer):
        answer = answer()
    if not isinstance(answer, bytes):
        return answer
    path = folder / f"answer-{hashlib.sha256(answer).hexdigest()[:16]}"
    if not path.exists():
        path.write_bytes(answer)
    return str(path)


def restore(service: Service) -> None:
    """Make the peers well, and give the monitor a new user, without a token."""
    service.keystone.mode = "fine"
    service.keystone.when_asked = None
    service.config.behaviour = dict(service.well)
    service.config.set()
    user = f"monitor{len(service.keystone.users)}"
    service.keystone.users[user] = service.password
    service.parameters["os_username"] = user


def prepare(service: Service, case: Case) -> int:
    """Bring a service and its Keystone to the state of a case; return the token requests so far."""
    if service.master_or_none() is None:
        expect(service.start(), 0)
    restore(service)
    if case.remembered:
        expect(service.monitor(timeout=PLENTY), 0)
    if case.revoked:
        service.keystone.revoke()
    service.keystone.mode = str(said(service.folder, case.keystone))
    service.config.set(**{name: said(service.folder, value) for name, value in case.daemon.items()})
    return service.asked()


def begin(service: Service, case: Case, timeout: float = 20.0) -> Running:
    """Begin the monitor of a case; prepare() comes before."""
    without = dict.fromkeys(service.credentials) if case.public else {}
    return service.begin(
        "monitor", interval=30, timeout=timeout, parameters={**without, **case.parameters}
    )


def check(service: Service, case: Case, result: Result, before: int) -> None:
    """Assert that verdict and token requests are those of the case."""
    name = [service.agent.name] if case.code not in (0, 7) else []
    expect(result, case.code, *name, *case.words)
    assert service.password not in result.stderr
    if FOREIGN:
        return
    if case.tokens is not None:
        assert case.tokens == service.asked() - before
    assert "/v2.0" not in str(service.keystone.requests)


def judge(service: Service, case: Case) -> None:
    """Bring a service to the state of a case, and check the monitor's verdict."""
    before = prepare(service, case)
    check(service, case, begin(service, case).wait(), before)


def quick(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """A test for each row that does not waste the monitor's time."""
    return _rows([case for case in cases if not case.slow])


def slow(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """A test for each row that wastes it; for Together."""
    return _rows([case for case in cases if case.slow])


def _rows(cases: Sequence[Case]) -> pytest.MarkDecorator:
    names = [case.name for case in cases]
    assert len(names) == len(set(names)), "two rows of one name"
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def chosen(request: pytest.FixtureRequest) -> list[Case]:
    """The cases of this test that this run has for its agent."""
    node = request.node
    return [
        cast(Case, item.callspec.params["case"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and (item.path, item.originalname) == (node.path, node.originalname)
        and item.callspec.params["agent"] == node.callspec.params["agent"]
    ]


class Together:
    """Slow cases: a wave of them is begun at once when the first one is asked for, each with a
    service of its own, and then checked one by one."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._begun: dict[tuple[Path, str], tuple[Service, int, Future[Result]]] = {}

    def __enter__(self) -> Together:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def judge(self, agent: Path, case: Case, cases: Sequence[Case]) -> None:
        """Check the monitor of a case; cases: all cases, in the order of the tests."""
        if (agent, case.name) not in self._begun:
            self._stack.close()
            first = [one.name for one in cases].index(case.name) // WAVE * WAVE
            self._begin(agent, cases[first : first + WAVE])
        service, before, heard = self._begun.pop((agent, case.name))
        result = heard.result()
        HISTORY[:] = [result]  # results that come meanwhile are of other tests
        check(service, case, result, before)

    def _begin(self, agent: Path, cases: Sequence[Case]) -> None:
        self._begun = {}
        # a thread for each, or a late result would not be noticed
        threads = self._stack.enter_context(ThreadPoolExecutor(len(cases)))
        ready = []
        for case in cases:
            service = self._stack.enter_context(watched_service(agent, interpreter=LIGHT))
            ready.append((service, case, prepare(service, case)))
        for service, case, before in ready:
            heard = threads.submit(begin(service, case, SLOW).wait)
            self._begun[agent, case.name] = (service, before, heard)
