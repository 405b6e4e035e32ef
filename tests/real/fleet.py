"""Daemons of a control plane under their agents: many at once, since each is slow to start."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Result, eventually, expect
from lab import mounts, netns, process, specs
from lab.agents import parameters
from lab.openstack import ControlPlane
from lab.packages import every
from lab.process import Process
from real.kit import PATIENCE, Patient, Real

NeedPackages = Callable[[Iterable[str], str], None]
START = 300
"""Seconds for the start of all daemons: they share the machine."""


@dataclass
class Member(Real):
    """A resource whose processes are known by the session that its master leads, or has led.

    Some daemons set a process title, which overwrites their environment.
    """

    led: tuple[int, int] | None = None

    def family(self) -> list[Process]:
        with suppress(FileNotFoundError):
            master = Process.at(int(self.resource.pidfile.read_text()))
            self.led = (master.pid, master.birth) if master else self.led
        return process.session(*self.led) if self.led else []

    def last_words(self, saying: Sequence[str] = ("",)) -> str:
        """The ends of its log and of the logs of its project, to which several daemons may write.

        Output files of other resources are left out. saying: only lines with one of these words.
        """
        mine = Path(str(self.resource.parameters["log_file"]))
        logs = [mine, *sorted(path for path in mine.parent.glob("*.log") if path.name[:2] != "p_")]
        return "\n".join(
            f"{path.name} ends with:\n{text}"
            for path in logs
            if path.exists() and (text := last_lines(path, saying))
        )


class Results(dict[str, Result]):
    """The results of the members of a fleet, by the names of their agents; and the fleet."""

    def __init__(self, fleet: Fleet, results: Mapping[str, Result]) -> None:
        super().__init__(results)
        self.fleet = fleet


class Fleet:
    """Resources in one lab, by the names of their agents."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.members = dict(members)

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def act(self, action: str, *names: str, **options: Any) -> Results:
        """Run an action of the named members, or of all, at the same time; return their results."""
        chosen = names or tuple(self.members)
        running = {name: self[name].resource.begin(action, **options) for name in chosen}
        return Results(self, {name: action.wait() for name, action in running.items()})

    def serve(self, *names: str) -> None:
        """Start members that do not run, and assert that all are well.

        A daemon that ran before, and ends just now, is no fault of its start, which found it
        running: it is started again, and a warning has its last words. If a daemon that this start
        has spawned is no longer there, its start returned 0 too early.
        """
        before = self._running(*names)
        expect_all(self.act("start", *names, timeout=START), 0)
        results = self.monitor(*names)
        ended = [name for name, result in results.items()
                 if result.code == 7 and before.get(name) == self[name].led]
        if ended:
            told = "\n".join(f"{name} has ended by itself; {self[name].last_words()}"
                             for name in ended)
            warnings.warn(told, stacklevel=2)
            expect_all(self.act("start", *ended, timeout=START), 0)
            results = self.monitor(*names)
        expect_all(results, 0)
        for name in names or self.members:
            assert self[name].family(), name

    def _running(self, *names: str) -> dict[str, tuple[int, int] | None]:
        """The masters, alive or not, of the members that have processes."""
        return {name: self[name].led for name in names or self.members if self[name].family()}

    def left(self, *names: str) -> dict[str, list[Process]]:
        """The processes that are left of the named members, or of all."""
        found = {name: self[name].family() for name in names or self.members}
        return {name: family for name, family in found.items() if family}

    def monitor(self, *names: str, timeout: float = 60, **options: Any) -> Results:
        return self.act("monitor", *names, timeout=timeout, interval=30, **options)

    def masters(self, *names: str) -> dict[str, tuple[int, int]]:
        """The identity of each master process, by which a restart is noticed."""
        found = {name: self[name].master() for name in names or self.members}
        return {name: (master.pid, master.birth) for name, master in found.items()}


def expect_all(results: Results, code: int, *words: str) -> None:
    """Expect the same code of each. A member with another one is named, with its last words."""
    for name, result in results.items():
        try:
            expect(result, code, *words)
        except AssertionError as error:
            fleet = results.fleet
            others = {one: str(other) for one, other in results.items() if other.code != code}
            raise AssertionError(
                f"{name}: {error}\nThe others with another code: {others or 'none'}\n"
                f"Left of it: {fleet[name].family() or 'nothing'}\n{fleet[name].last_words()}"
            ) from None


def await_all(look: Callable[[], Results], code: int, *words: str) -> None:
    """Look until each has this code and these words, and expect them.

    Each asks Keystone for a token of its own at the same time: on a busy machine it is late.
    """
    def come() -> bool:
        results = look()
        came = {(name, result.code) for name, result in results.items()}
        said = [all(word in result.reason for word in words) for result in results.values()]
        found.append(results)
        return all(one == code for _, one in came) and all(said)

    found: list[Results] = []
    with suppress(AssertionError):
        eventually(come, PATIENCE)
    expect_all(found[-1], code, *words)


def last_lines(path: Path, saying: Sequence[str], number: int = 12) -> str:
    """The last lines of a file with one of these words, each cut after 200 characters."""
    lines = path.read_text(errors="replace").splitlines()
    told = [line for line in lines if any(word in line for word in saying)]
    return "\n".join(f"  {line[:200]}" for line in told[-number:])


def codes(results: Mapping[str, Result]) -> set[int]:
    return {result.code for result in results.values()}


def whole_plane(
    need_packages: NeedPackages, *services: str
) -> AbstractContextManager[ControlPlane]:
    """A lab with the projects for machines, networks and volumes, in which these services run."""
    return plane_of(specs.USUAL, need_packages, *services)


@contextmanager
def plane_of(
    projects: Sequence[str], need_packages: NeedPackages, *services: str
) -> Iterator[ControlPlane]:
    """A lab with these projects, in which only these services run."""
    need_packages(every(), "make control-plane")
    with ControlPlane.temporary(db="mysql", workers=1, projects=projects) as plane:
        plane.up(*services)
        yield plane


@contextmanager
def fleet(
    cloud: ControlPlane, home: Path, folder: Path, names: Iterable[str]
) -> Iterator[Fleet]:
    """The resources, stopped; ended with the context."""
    with ExitStack() as stack:
        members = {}
        for name in names:
            there = mounts.argv(cloud.settings, name, ())
            resource = Patient(home / name, folder, prefix=netns.argv(cloud.namespace, there))
            resource.parameters = {**parameters(cloud, name, resource.name)}
            members[name] = Member(stack.enter_context(resource), cloud, name)
        yield Fleet(members)
