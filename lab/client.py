"""A client that sends requests to services all the time, and measures how long no answer came.

Called by the demo, by the benchmark of failovers and by `make chaos`. A new request does not wait
for the answers to earlier ones: a request that hangs does not hide that another one is served.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException

from lab.errors import LabError
from lab.web import Server

PATHS = {"glance": "/v2/images?limit=1", "cinder": "/v3/volumes?limit=1"}
PAUSE = 0.2  # seconds
PATIENCE = 2.0
LONGEST = 16.0  # seconds between two requests of a client that backs off
CROWD = 4  # requests under way to one service: a new worker may ask Keystone about each


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent and answered (seconds of the epoch), and whether with 200.

    late: it had no answer in time, which on a busy machine is not the service's fault.
    """

    sent: float
    done: float
    served: bool
    late: bool = False


@dataclass(frozen=True)
class Outage:
    """The time from the last good answer to the next one.

    over: whether there was a next one.
    """

    begin: float
    end: float
    over: bool = True


class Watch:
    """Requests with a real token to each of these services, in the services' namespaces.

    patience: seconds to wait for an answer. A service goes on with a request that was given up: on
    a busy machine a client without patience can keep a service from ever answering in time.
    paths: what is requested of each service. crowd: at most so many requests to one are under way.
    backs_off: whether requests are sent more rarely while answers come late. A request that was
    given up may still cost Keystone an answer; on a busy machine these may be too many.
    """

    def __init__(
        self,
        servers: Mapping[str, Server],
        token: str,
        pause: float = PAUSE,
        patience: Callable[[], float] = lambda: PATIENCE,
        *,
        backs_off: bool = False,
        paths: Mapping[str, str] = PATHS,
        crowd: int = CROWD,
    ) -> None:
        self._servers = servers
        self._paths = paths
        self._crowd = crowd
        self.token = token
        self._pause = pause
        self._patience = patience
        self._backs_off = backs_off
        self._asked: dict[str, list[Asked]] = {service: [] for service in servers}
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """Ask in the background for a while."""
        tickers = [threading.Thread(target=self._tick, args=(name,)) for name in self._servers]
        for ticker in tickers:
            ticker.start()
        try:
            yield self
        finally:
            self._ended.set()
            for ticker in tickers:
                ticker.join()

    def asked(self, service: str, since: float) -> list[Asked]:
        """The requests sent since then that have ended, in the order of sending."""
        return sorted(
            (asked for asked in list(self._asked[service]) if asked.sent >= since),
            key=lambda asked: asked.sent,
        )

    def outages(self, service: str, since: float) -> list[Outage]:
        """The times in which a service did not answer its client."""
        return outages(self.asked(service, since), since, time.time())

    def lost(self, service: str, since: float) -> float:
        """For how many seconds a service did not answer its client."""
        return sum(outage.end - outage.begin for outage in self.outages(service, since))

    def await_served(self, service: str, since: float, seconds: float = 60.0) -> float:
        """Wait for a request that was sent after this and is served; when it was answered."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            served = [asked.done for asked in self.asked(service, since) if asked.served]
            if served:
                return min(served)
            time.sleep(self._pause / 2)
        raise LabError(f"{service} does not serve its client after {seconds:.0f} s")

    def _tick(self, service: str) -> None:
        crowd: list[threading.Thread] = []
        while not self._ended.wait(self._next(service)):
            crowd = [one for one in crowd if one.is_alive()]
            if len(crowd) < self._crowd:
                crowd.append(threading.Thread(target=self._ask, args=(service,)))
                crowd[-1].start()
        for one in crowd:
            one.join()

    def _next(self, service: str) -> float:
        return backed_off(self._asked[service], self._pause) if self._backs_off else self._pause

    def _ask(self, service: str) -> None:
        sent = time.time()
        served = late = False
        try:
            path, server = self._paths[service], self._servers[service]
            served = server.get(path, token=self.token, timeout=self._patience()).status == 200
        except (TimeoutError, socket.timeout):  # two classes in Python 3.9
            late = True
        except (OSError, HTTPException, LabError):
            pass
        self._asked[service].append(Asked(sent, time.time(), served, late))


def backed_off(asked: list[Asked], pause: float) -> float:
    """The pause before the next request: doubled for each of the last that had a late answer."""
    for one in reversed(asked):
        if not one.late or pause >= LONGEST:
            break
        pause *= 2
    return min(pause, LONGEST)


def outages(asked: list[Asked], since: float, now: float) -> list[Outage]:
    """The times between two answers in which a request failed, or no answer came for long."""
    answers = [since, *sorted(one.done for one in asked if one.served)]
    failed = [one.sent for one in asked if not one.served]
    found = []
    for begin, end in zip(answers, [*answers[1:], now]):
        if end - begin > PATIENCE or any(begin <= sent < end for sent in failed):
            found.append(Outage(begin, end, over=begin != answers[-1]))
    return found
