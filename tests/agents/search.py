"""The state machine of an instance, searched: random actions and faults, and what always holds.

A history is a list of steps, each a few words, so that people can read it, and repeat it:

    with World(agent) as world:
        for step in steps("start; master killed; probe; stop"):
            world.take(step)            # raises Violation

The promises are checked after every step, and from the outside: by exit codes, processes,
sockets and the answers that clients get. Hypothesis only chooses the steps (machine()). To add
a fault is a line in FAULTS, to add a misbehaviour a word in BEHAVIOURS.

Called by test_search.py, for a little while, and by soak.py, for an hour.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from harness import Result, Running, expect
from lookalike.config import DaemonConfig
from lookalike.managed import USER
from lookalike.service import Service
from looks import eventually, having, masters, parent_of, signal_all, start_of, status_of

ACTIONS = (
    "start", "stop", "monitor", "probe", "monitor 0", "stop blindly", "reload-agent",
    "validate-all",
)  # fmt: skip
PAIRS = (
    "start & start", "start & stop", "stop & stop", "stop & start", "start & monitor",
    "stop & probe", "monitor & monitor", "probe & start", "reload-agent & stop",
)  # fmt: skip

AT_START = (
    "never_listen=yes", "listen_after=0.4", "exit_at_once=3", "exit_after=0.3",
    "exit_after_ready=0.5", "port_taken=exit", "worker_leaves_session=yes",
)  # fmt: skip
AT_SIGNAL = (
    "ignore_term=master", "ignore_term=workers", "ignore_term=both", "term_grace=0.3",
    "orphan_on_term=yes", "slow_term=3", "orphans=end", "hup=exit", "storm=3",
)  # fmt: skip
AT_REQUEST = (
    "api=500", "api=hang", "api=401", "api=403", "api=503", "api=404", "api=reset",
    "api=nonsense", "api=drip", "api=endless_body", "status=500", "bad_token=503",
    "public=500", "public=hang", "public=reset", "api_slow=0.2", "public_slow=0.2",
)  # fmt: skip
BEHAVIOURS = (*AT_START, *AT_SIGNAL, *AT_REQUEST)
KEYSTONES = (
    "fine", "dead", "hang", "refuse", "500", "503", "reset", "nonsense", "bad_json", "no_subject",
    "redirect_loop", "endless_body", "drip",
)  # fmt: skip

UNREADY = {"never_listen", "exit_at_once", "exit_after", "public"}
"""Behaviours with which a start need not succeed."""
MORTAL = {"exit_after", "exit_after_ready"}
"""Behaviours with which a daemon may end at any moment, by itself."""
SLOW = {"hang", "drip", "endless_body"}

PLENTY, SHORT = 30.0, {"start": 6.0, "monitor": 10.0}
"""Seconds for an action that should succeed, and for actions that may wait for something that
never comes; even they must have time for a token on a busy machine."""

TOGETHER: dict[str, set[int]] = {
    "start": {0, 1, 2, 5},
    "stop": {0},
    "monitor": {0, 1, 7, 190},
    "probe": {0, 1, 5, 7},
    "reload-agent": {0, 1, 7},
}
"""Codes of actions that run at the same time, and may see each other half done."""


class Violation(AssertionError):
    """A promise was broken; the message has the history, to be repeated."""


@dataclass
class Tally:
    """What was done, over many histories."""

    examples: int = 0
    steps: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "none yet")
    violations: list[tuple[list[str], str]] = field(default_factory=list)
    watch: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Sight:
    """The living processes of the instance.

    masters: processes that lead a daemon. orphans: workers whose master is gone. unsure: processes
    that were just started, so that one look cannot tell. frozen: those stopped by SIGSTOP.
    """

    pids: tuple[int, ...]
    masters: tuple[int, ...]
    orphans: tuple[int, ...]
    unsure: tuple[int, ...]
    frozen: tuple[int, ...]

    @property
    def serving(self) -> bool:
        """Whether there are workers that can answer."""
        return bool(set(self.pids) - set(self.masters) - set(self.frozen))


def steps(text: str) -> list[str]:
    """The steps of a history in one text."""
    return [step.strip() for step in text.split(";") if step.strip()]


class World:
    """One instance with a look-alike daemon, its Keystone, and strangers beside them."""

    def __init__(self, agent: Path, tally: Tally | None = None) -> None:
        self.agent = agent
        self.tally = tally or Tally()
        self.history: list[str] = []
        self.strangers: list[tuple[subprocess.Popen[bytes], DaemonConfig, list[int]]] = []
        self.mortal = False
        self.last: tuple[int, ...] | None = None  # the masters after an action
        self.secret = f"pa55 w0rd%{uuid.uuid4().hex}"
        self._stack = ExitStack()

    # -- life

    def __enter__(self) -> World:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agents-")))
            self.folder.chmod(0o755)
            place = self.folder / "service"
            place.mkdir()
            self.service = stack.enter_context(
                Service(self.agent, place, credentials=True, password=self.secret)
            )
            self.service.parameters["shutdown_timeout"] = 1
            self.usual = dict(self.service.config.behaviour)
            stack.callback(self.strangers_leave)
            self._stack = stack.pop_all()
        self.tally.examples += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self, step: str) -> None:
        """Take a step, and check the promises; raises Violation if one is broken."""
        self.history.append(step)
        self.tally.steps += 1
        try:
            if step in FAULTS:
                self.tally.faults[step] += 1
                FAULTS[step](self)
                self.last = None
            else:
                self._act(step)
            self._everywhere()
        except AssertionError as error:
            story = f"{error}\n{self._circumstances()}"
            self.tally.violations.append((list(self.history), story))
            raise Violation(
                f"{story}\n  to take it again: .venv/bin/python tests/soak.py "
                f'--agent {self.agent.name} --replay "{"; ".join(self.history)}"'
            ) from error

    def _circumstances(self) -> str:
        service = self.service
        log = service.log.read_text(encoding="utf-8") if service.log.exists() else ""
        changed = set(service.config.behaviour.items()) - set(self.usual.items())
        return f"  now: {self.look()}, {changed or 'as usual'}\n  log: " + "\n       ".join(
            log.splitlines()[-5:]
        )

    # -- the instance, seen from the outside

    def look(self) -> Sight:
        """The processes of the instance that are alive at this moment."""
        alive = sorted({*self.service.pids(), *self.service.processes()})
        found: dict[str, list[int]] = {"masters": [], "orphans": [], "unsure": []}
        for pid in masters(alive):
            found[_role(pid, alive)].append(pid)
        if not alive and not MORTAL & set(self.service.config.behaviour):
            self.mortal = False
        return Sight(
            tuple(alive),
            tuple(found["masters"]),
            tuple(found["orphans"]),
            tuple(found["unsure"]),
            tuple(pid for pid in alive if status_of(pid).get("State", "")[:1] in ("T", "t")),
        )

    def settle(self) -> None:
        """Wait until the effects of a fault are over: children are started, orphans end."""
        until = time.monotonic() + 3
        last = self.look()
        while time.monotonic() < until:
            time.sleep(0.05)
            now = self.look()
            if now == last and not now.unsure:
                return
            last = now

    def listening(self, pids: Sequence[int]) -> list[tuple[str, int]]:
        """The addresses on which these processes listen."""
        found = []
        for pid in pids:
            try:
                connections = psutil.Process(pid).net_connections(kind="tcp")
            except psutil.Error:
                continue
            found += [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
        return [(address.ip, address.port) for address in found]

    def answers(self, pids: Sequence[int]) -> bool:
        """Whether the version document is served on a socket of these processes."""
        for address in set(self.listening(pids)):
            try:
                with socket.create_connection(address, timeout=10) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answer = b""
                    while piece := client.recv(65536):
                        answer += piece
            except OSError:
                continue
            if answer.startswith(b"HTTP/1.1 300") and b'"versions"' in answer:
                return True
        return False

    def behaves(self, name: str) -> str:
        return str(self.service.config.behaviour.get(name) or "")

    @property
    def keystone_fine(self) -> bool:
        keystone, given = self.service.keystone, self.service.parameters.get("os_password")
        return keystone.mode == "fine" and keystone.users["monitor"] == given

    @property
    def slow(self) -> bool:
        """Whether a peer or the daemon takes all the time, so that an action need not have much."""
        behaviour = self.service.config.behaviour
        return bool(
            SLOW & {str(self.service.keystone.mode), *map(str, behaviour.values())}
            or UNREADY & {name for name, value in behaviour.items() if value}
            or any(config.port == self.service.config.port for _, config, _ in self.strangers)
        )

    # -- the actions, and what is promised of each

    def _act(self, step: str) -> None:
        if " & " in step:
            return self._at_once(step.split(" & "))
        words = step.split()
        if "killed" in words:
            return self._killed(words[0], int(words[-1]))
        before = self.look()
        if self.last is not None and not self.mortal:
            assert self.last == before.masters, f"since the last action: {self.last}, now {before}"
        allowed = self.allowed(step, before, before)
        asked = len(self.service.config.requests())
        in_vain = self.slow or (before.frozen and not before.serving) or 0 not in allowed
        timeout = SHORT.get(words[0], PLENTY) if in_vain else PLENTY
        result = self._judged(step, self._begin(step, timeout).wait())
        after = self.look()
        if before != after:
            allowed |= self.allowed(step, after, before)
            if words[0] in ("probe", "monitor"):
                allowed |= {0, 1, 7}  # it came between; 7 is checked below
        expect_in(allowed, result)
        getattr(self, "_after_" + words[0].replace("-", "_"), self._after)(
            result, before, after, asked
        )
        self.last = after.masters
        return None

    def _begin(self, step: str, timeout: float) -> Running:
        action, _, how = step.partition(" ")
        if step == "stop blindly":
            nonsense = dict.fromkeys(self.service.parameters, "\a nonsense")
            return self.service.begin(action, timeout=timeout, parameters=nonsense)
        if action == "probe":
            return self.service.begin("monitor", timeout=timeout)
        if action == "monitor":
            level = int(how) if how else None
            return self.service.begin("monitor", timeout=timeout, interval=10, level=level)
        return self.service.begin(action, timeout=timeout)

    def _judged(self, step: str, result: Result) -> Result:
        """Promises of every action: in time, one well-formed reason, no bug, no secret."""
        tally = self.tally
        tally.actions[f"{step.partition(' ')[0] if 'killed' in step else step}: {result.code}"] += 1
        tally.slowest = max(tally.slowest, (result.seconds, f"{step}, {result.code}"))
        assert self.secret not in result.stdout + result.stderr, f"the password is in {result}"
        return expect(result, result.code)

    def allowed(self, step: str, seen: Sight, before: Sight) -> set[int]:
        """The codes that are right for these processes."""
        action = step.split()[0]
        if action == "stop":
            return {0}
        if action == "start":
            return self._allowed_start(seen)
        if action == "validate-all":
            return self._installation() or {0}
        if not seen.pids:
            without = action == "probe" and not self.service.binary.exists()
            return {5} if without else {7}
        if seen.unsure:
            return {0, 1, 190}
        if not seen.masters:
            return {1}
        if step != "monitor":
            return {0}
        return self._allowed_monitor(seen)

    def _installation(self) -> set[int]:
        """The codes with which an action may refuse this node; none if nothing is missing."""
        service = self.service
        there = (
            (service.binary.exists(), 5),
            (service.config.path.exists(), 5),
            (service.parameters["user"] == USER, 5),
            (service.log_file.parent.exists(), 2),
        )
        return {code for is_there, code in there if not is_there}

    def _allowed_start(self, seen: Sight) -> set[int]:
        folder = self.service.state_folder
        if folder.exists() and folder.stat().st_mode & 0o022:
            return {1}
        if seen.unsure or self.mortal:
            return {0, 1, 2, 5}
        if seen.masters:
            fine = seen.serving and self.listening(seen.pids) and not self.behaves("public")
            return {0} if fine else {0, 1}
        lacking = self._installation()
        if lacking:
            return lacking
        behaviour = set(self.service.config.behaviour)
        return {0, 1} if behaviour & MORTAL or self.slow else {0}

    def _allowed_monitor(self, seen: Sight) -> set[int]:
        """The table of docs/verdicts.md; two answers where it depends on a remembered token."""
        public = not self.behaves("public")
        if not (seen.serving and self.listening(seen.pids)):
            return {1}
        if "os_username" not in self.service.parameters:
            return {0} if public else {1}
        api = self.behaves("api") or self.behaves("status") or "200"
        keystone = self.keystone_fine
        if api == "200":
            return {0} if keystone else {0, 190 if public else 1}
        if api == "403":
            return {190} if keystone or public else {190, 1}
        if not public:
            return {1}
        if api in ("401", "503"):
            return {1} if keystone else {190}
        if api in SLOW:
            return {1, 190}  # both are slow: which of them is blamed depends on the time left
        return {1} if keystone else {1, 190}

    def _after(self, result: Result, before: Sight, after: Sight, _: int) -> None:
        """Any action but start and stop changes nothing, and 7 means that no process lives."""
        if result.code == 7:
            assert not after.pids, f"{result.code}, but {after}"
        if not self.mortal:
            assert before.masters == after.masters, f"{result.action}: {before} became {after}"

    def _after_monitor(self, result: Result, before: Sight, after: Sight, asked: int) -> None:
        self._after(result, before, after, asked)
        checked = self.history[-1] == "monitor" and "os_username" in self.service.parameters
        if checked and result.code == 0:
            new = self.service.config.requests()[asked:]
            good = [path for _, path, token in new if path[:2] == "/v" and token != "token:-"]
            assert good, f"0, and the API was not asked, only {new}"

    def _after_start(self, result: Result, before: Sight, after: Sight, _: int) -> None:
        if before.masters and not before.unsure and not self.mortal:
            assert before.masters == after.masters, f"{result.code}: {before} became {after}"
        if result.code == 0 and not self.mortal:
            assert len(after.masters) == 1, f"0, but {after}"
            assert not after.orphans, f"0, but {after}"
            assert self.answers(after.pids), f"0, but {after} does not serve"
        elif result.code and not before.pids:
            assert not after.pids, f"{result.code}, and {after} was left"

    def _after_stop(self, result: Result, before: Sight, after: Sight, _: int) -> None:
        assert not after.pids, f"0, but {after}"

    def _at_once(self, actions: list[str]) -> None:
        """Two actions at the same time: each does what it should, and never two daemons run."""
        self.last = None
        before = self.look()
        certain = self.allowed("start", before, before) == {0}
        running = [
            (action, self._begin(action, PLENTY if certain else SHORT.get(action, PLENTY)))
            for action in actions
        ]
        while any(one.process.poll() is None for _, one in running):
            self._one_daemon()
            time.sleep(0.01)
        for action, one in running:
            result = self._judged(f"{action} & ...", one.wait())
            expect_in(TOGETHER[action], result)
            if actions == ["start", "start"] and certain:
                expect_in({0}, result)
        if set(actions) == {"stop"}:
            assert not self.look().pids, f"0, but {self.look()}"
        self.settle()

    def _killed(self, action: str, milliseconds: int) -> None:
        """The agent is killed after so long, as by Pacemaker at its timeout."""
        self.last = None
        running = self._begin(action, PLENTY)
        time.sleep(milliseconds / 1000)  # not a wait for something: the place of the fault
        running.kill()
        result = running.wait()
        # "killed" is no code of the agent's: only its effects are checked
        self.tally.actions[f"{action} killed: {result.code}"] += 1
        # a daemon between fork and exec still looks like the agent
        mark = f"OCF_RESOURCE_INSTANCE={self.service.name}"
        eventually(lambda: not having(mark))
        self.settle()

    # -- promises that hold at any time

    def _everywhere(self) -> None:
        self._one_daemon()
        for process, config, pids in self.strangers:
            assert process.poll() is None, f"a stranger was ended: {process.args!r}"
            assert pids == config.pids(), f"a stranger was harmed: {pids}, now {config.pids()}"
        for path in (self.service.log, self.service.log_file, self.service.state_file):
            try:
                assert self.secret not in path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue

    def _one_daemon(self) -> None:
        seen = self.look()
        if len(seen.masters) > 1:  # one of them may be a worker that has just lost its master
            time.sleep(0.1)
            both = set(seen.masters) & set(self.look().masters)
            assert len(both) < 2, f"two daemons: {seen}"

    # -- faults

    def behave(self, **behaviour: object) -> None:
        """Change the daemon's behaviour; a configuration that was taken away comes back."""
        self.mortal = self.mortal or bool(MORTAL & set(behaviour))
        self.service.config.set(**behaviour)

    def signal(self, which: str, signum: int) -> None:
        seen = self.look()
        workers = [pid for pid in seen.pids if pid not in seen.masters]
        groups = {"all": seen.pids, "master": seen.masters, "worker": workers[:1]}
        signal_all(groups[which], signum)
        self.settle()

    def told_to_end(self) -> None:
        """TERM to the master, not by the agent: the master may end late, or ignore it."""
        self.mortal = True
        self.signal("master", signal.SIGTERM)

    def log_rotated(self) -> None:
        self.mortal = self.mortal or self.behaves("hup") == "exit"
        self.signal("master", signal.SIGHUP)

    def lose(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def write(self, path: Path, text: str) -> None:
        """Put something in the place of a file, if there is a folder for it."""
        if path.parent.is_dir():
            self.lose(path)
            path.write_text(text, encoding="utf-8")

    def hide(self, path: Path) -> None:
        """Hide a file or folder; mend() brings it back."""
        if path.exists():
            path.rename(path.with_name(path.name + ".hidden"))

    def mend(self, path: Path) -> None:
        hidden = path.with_name(path.name + ".hidden")
        if path.exists():
            self.lose(hidden)
        elif hidden.exists():
            hidden.rename(path)

    def mend_all(self) -> None:
        """Undo all faults, but not what they have done to the instance."""
        service = self.service
        for path in (service.binary, service.config.path, service.log_file.parent):
            self.mend(path)
        for name in set(service.config.behaviour) - set(self.usual):
            del service.config.behaviour[name]
        self.behave(**{**self.usual, "accept_tokens": service.folder / "tokens"})
        service.parameters["user"] = USER
        service.parameters.update(service.credentials)
        service.keystone.users["monitor"] = self.secret
        service.keystone.mode = "fine"
        self.open_folder(0o700)
        self.strangers_leave()
        self.signal("all", signal.SIGCONT)

    def forget_credentials(self) -> None:
        for name in self.service.credentials:
            self.service.parameters.pop(name, None)

    def open_folder(self, mode: int) -> None:
        if self.service.state_folder.is_dir():
            self.service.state_folder.chmod(mode)

    def stranger(self, port: int = 0) -> int:
        """The pid of a daemon with the same binary and user, but another configuration."""
        for process, config, _ in self.strangers:
            if not port or config.port == port:
                return process.pid
        place = self.folder / f"stranger{len(self.strangers)}-{uuid.uuid4().hex[:6]}"
        place.mkdir()
        account = pwd.getpwnam(USER)
        os.chown(place, account.pw_uid, account.pw_gid)
        binary = place / self.service.binary.name  # ours may be taken away
        shutil.copyfile(DaemonConfig(place).command[0], binary)
        binary.chmod(0o755)
        config = DaemonConfig(place, port=port, port_taken="exit")
        process = subprocess.Popen(
            [binary, "--config-file", config.path],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
        eventually(lambda: len(config.pids()) == 3)
        self.strangers.append((process, config, config.pids()))
        return process.pid

    def stranger_comes(self) -> None:
        self.stranger()

    def stranger_on_port(self) -> None:
        """Another daemon takes our port, if it is free."""
        if not self.look().pids:
            self.stranger(self.service.config.port)

    def strangers_leave(self) -> None:
        while self.strangers:
            process, config, _ = self.strangers.pop()
            config.kill()
            process.wait()

    def state_of(self, pid: int, age: int) -> None:
        """A state that names another process: the daemon had the same pid, but started earlier."""
        uid = pwd.getpwnam(USER).pw_uid
        record = {"pid": pid, "start": start_of(pid) - age, "session": pid, "uid": uid}
        self.write(self.service.state_file, json.dumps(record))

    def outdated(self) -> None:
        """The state is that of a daemon which no longer runs."""
        with subprocess.Popen(["/bin/true"], start_new_session=True) as gone:
            pass
        self.write(self.service.state_file, json.dumps({
            "pid": gone.pid, "start": 4242, "session": gone.pid, "uid": pwd.getpwnam(USER).pw_uid,
        }))  # fmt: skip


def expect_in(codes: set[int], result: Result) -> None:
    """Assert that the code is one of these."""
    assert result.code in codes, f"expected {sorted(codes)}: {result}"


def _role(pid: int, alive: Sequence[int]) -> str:
    """The role of a process without a parent among the others, by a look-alike's signal masks."""
    status = status_of(pid)
    if any(parent_of(other) == pid for other in alive):
        return "masters"
    if int(status.get("SigIgn", "0"), 16) >> (signal.SIGHUP - 1) & 1:
        return "orphans"
    if int(status.get("SigBlk", "0"), 16) >> (signal.SIGCHLD - 1) & 1:
        return "masters"
    return "unsure"


def _behaviours() -> dict[str, Callable[[World], None]]:
    def one(text: str) -> Callable[[World], None]:
        name, _, value = text.partition("=")
        return lambda world: world.behave(**{name: value})

    return {f"set {text}": one(text) for text in BEHAVIOURS}


def _keystones() -> dict[str, Callable[[World], None]]:
    def one(mode: str) -> Callable[[World], None]:
        return lambda world: setattr(world.service.keystone, "mode", mode)

    return {f"keystone {mode}": one(mode) for mode in KEYSTONES}


PROCESSES: dict[str, Callable[[World], None]] = {
    "master killed": lambda world: world.signal("master", signal.SIGKILL),
    "worker killed": lambda world: world.signal("worker", signal.SIGKILL),
    "all killed": lambda world: world.signal("all", signal.SIGKILL),
    "all frozen": lambda world: world.signal("all", signal.SIGSTOP),
    "master frozen": lambda world: world.signal("master", signal.SIGSTOP),
    "worker frozen": lambda world: world.signal("worker", signal.SIGSTOP),
    "all thawed": lambda world: world.signal("all", signal.SIGCONT),
    "master told to end": World.told_to_end,
    "log rotated": World.log_rotated,
}

MEMORY: dict[str, Callable[[World], None]] = {
    "pidfile removed": lambda world: world.lose(world.service.pidfile),
    "pidfile junk": lambda world: world.write(world.service.pidfile, "junk\n"),
    "pidfile of stranger": lambda world: world.write(
        world.service.pidfile, f"{world.stranger()}\n"
    ),
    "state removed": lambda world: world.lose(world.service.state_file),
    "state junk": lambda world: world.write(world.service.state_file, '{"pid": [1], "url"'),
    "state of stranger": lambda world: world.state_of(world.stranger(), 1000),
    "state outdated": World.outdated,
    "state folder removed": lambda world: world.lose(world.service.state_folder),
    "state folder open to all": lambda world: world.open_folder(0o777),
    "state folder ours again": lambda world: world.open_folder(0o700),
    "rsctmp removed": lambda world: world.lose(world.service.rsctmp),
}

INSTALLATION: dict[str, Callable[[World], None]] = {
    "binary removed": lambda world: world.hide(world.service.binary),
    "binary back": lambda world: world.mend(world.service.binary),
    "config removed": lambda world: world.hide(world.service.config.path),
    "config back": lambda world: world.mend(world.service.config.path),
    "log folder removed": lambda world: world.hide(world.service.log_file.parent),
    "log folder back": lambda world: world.mend(world.service.log_file.parent),
    "user unknown": lambda world: world.service.parameters.update(user="no-such-user"),
    "user known": lambda world: world.service.parameters.update(user=USER),
}

PEERS: dict[str, Callable[[World], None]] = {
    **_keystones(),
    "tokens revoked": lambda world: world.service.keystone.revoke(),
    "password changed": lambda world: world.service.keystone.users.update(monitor="another"),
    "password as before": lambda world: world.service.keystone.users.update(monitor=world.secret),
    "credentials taken away": World.forget_credentials,
    "credentials given": lambda world: world.service.parameters.update(world.service.credentials),
    "stranger comes": World.stranger_comes,
    "stranger takes the port": World.stranger_on_port,
    "strangers leave": World.strangers_leave,
}

MENDED: dict[str, Callable[[World], None]] = {"all mended": World.mend_all}

FAULTS = {**PROCESSES, **_behaviours(), **MEMORY, **INSTALLATION, **PEERS, **MENDED}


# ---- the search

THEN = st.sampled_from(("monitor", "start", "probe", "stop", ""))
"""Actions that may follow a fault at once."""

IN_RUN = st.sampled_from([*PROCESSES, *MEMORY, *(f"set {how}" for how in AT_REQUEST)])
"""Faults of a daemon that runs."""


def machine(agent: Path, tally: Tally) -> type[RuleBasedStateMachine]:
    """A state machine for hypothesis: it chooses the steps, World takes and judges them."""

    class Search(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.world = World(agent, tally).__enter__()

        def teardown(self) -> None:
            self.world.__exit__(None, None, None)

        def take(self, *steps: str) -> None:
            for step in filter(None, steps):
                tally.watch()
                self.world.take(step)

        # Several rules for steps that matter more: hypothesis takes rules with equal chances, and
        # leaves some of them out of an example altogether.
        @initialize(step=st.sampled_from(("start", "start", "probe", "start killed after 60")))
        def begin(self, step: str) -> None:
            self.take(step)

        @rule(step=st.sampled_from(ACTIONS))
        def action(self, step: str) -> None:
            self.take(step)

        @rule(mended=st.booleans())
        def start(self, mended: bool) -> None:
            self.take("all mended" if mended else "", "start")

        @rule(one=IN_RUN, then=THEN)
        def hit(self, one: str, then: str) -> None:
            self.take("" if self.world.look().masters else "start", one, then)

        @rule(one=IN_RUN, other=IN_RUN, then=THEN)
        def hit_twice(self, one: str, other: str, then: str) -> None:
            self.take("all mended", "start", one, other, then)

        @rule(step=st.sampled_from(PAIRS))
        def at_once(self, step: str) -> None:
            self.take(step)

        @rule(action=st.sampled_from(ACTIONS[:4]), milliseconds=st.integers(5, 300), then=THEN)
        def killed(self, action: str, milliseconds: int, then: str) -> None:
            self.take(f"{action} killed after {milliseconds}", then)

        @rule(step=st.sampled_from(sorted(PROCESSES)), then=THEN)
        def processes(self, step: str, then: str) -> None:
            self.take(step, then)

        @rule(step=st.sampled_from(BEHAVIOURS), then=THEN)
        def behaviour(self, step: str, then: str) -> None:
            self.take(f"set {step}", then)

        @rule(step=st.sampled_from(sorted(MEMORY)), then=THEN)
        def memory(self, step: str, then: str) -> None:
            self.take(step, then)

        @rule(step=st.sampled_from(sorted(INSTALLATION)), then=THEN)
        def installation(self, step: str, then: str) -> None:
            self.take(step, then)

        @rule(step=st.sampled_from(sorted(PEERS)), then=THEN)
        def peers(self, step: str, then: str) -> None:
            self.take(step, then)

    return Search


def search(agent: Path, tally: Tally, chance: int, *, examples: int, length: int) -> None:
    """Search `examples` histories of this length; chance: the seed that decides which."""
    searched = seed(chance)(machine(agent, tally))
    run_state_machine_as_test(
        searched,
        settings=settings(
            max_examples=examples,
            stateful_step_count=length,
            database=None,
            # processes take their time, all the more on a busy machine
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # hypothesis would shrink for minutes, and take a race that does not come again
            # for a fault of the test: shortened() is made for such histories
            phases=[Phase.generate],
        ),
    )


def shortened(agent: Path, history: Sequence[str], seconds: float = 60) -> list[str]:
    """The history without the steps that the violation does not need, as far as there is time."""
    until = time.monotonic() + seconds
    kept = list(history)
    size = max(1, len(kept) // 2)
    while size and time.monotonic() < until:
        for begin in range(len(kept) - 1 - size, -1, -size):
            fewer = kept[:begin] + kept[begin + size :]
            if time.monotonic() < until and violation(agent, fewer):
                kept = fewer
        size //= 2
    return kept


def violation(agent: Path, history: Sequence[str]) -> str:
    """The promise that a history breaks; empty if it breaks none."""
    with World(agent) as world:
        try:
            for step in history:
                world.take(step)
        except Violation as error:
            return str(error)
    return ""
