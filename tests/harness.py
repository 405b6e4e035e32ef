"""An agent as Pacemaker runs it: a process of its own, which is killed when its time is over.

    with Resource(AGENTS[0], tmp_path, parameters={"user": "nobody"}) as resource:
        expect(resource.start(), 0)
        expect(resource.monitor(), 190, "Keystone")     # code, words of the exit reason
        expect(resource.stop(), 0)
    # every process that carries the resource's name has been killed

EVERY_AGENT are all executables in ocf/; AGENTS are those of them that are tested with all faults
of their kind (API). declaration() reads an agent as a module. With FAULTS_AGENT=path in the
environment both are that agent alone, which may be a shell agent of the HA guide: `make faults`
shows how it deals with the same faults.

Tests run an agent only by this module; to look at its processes they use looks.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lab.declared import declaration as declaration
from looks import PATIENCE, having, kill
from looks import environ_of as environ_of
from looks import eventually as eventually
from looks import start_of as start_of

ROOT = Path(__file__).resolve().parent.parent
OCF = ROOT / "ocf"

FOREIGN = bool(os.environ.get("FAULTS_AGENT"))
"""Whether the tests run a foreign agent instead of ours."""

# whatever is a file there is an agent, executable or not: test_metadata.py asks for the mode
EVERY_AGENT = sorted(
    path
    for path in OCF.iterdir()
    if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
)
AGENTS = [OCF / "cinder-api", OCF / "glance-api"]
if FOREIGN:
    EVERY_AGENT = AGENTS = [Path(os.environ["FAULTS_AGENT"]).absolute()]

INTERPRETERS: dict[str, tuple[str, ...]] = {
    "debian": (),  # the agent's own shebang
    "pypi": (sys.executable, "-ESs"),
}
"""How an agent is run: with the packages of the distribution, or those of the tests' own venv."""

TAG = "OPENSTACK_OCF_INSTANCE"
OCF_ROOT = "/usr/lib/ocf"
REASON = "ocf-exit-reason:"
REASON_LIMIT = 120
"""An exit reason is shorter than that; Pacemaker cuts it off a little later."""

TIMEOUT = 20.0
"""Seconds that an action has, unless a test says otherwise: what Pacemaker gives by default."""

SHORT = 6
"""Seconds for an action that cannot succeed; it must say so within them."""


@cache
def defaults(agent: Path) -> dict[str, str]:
    """Every parameter that an agent declares, and its default ("" for none)."""
    environ = {"OCF_ROOT": OCF_ROOT, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    document = subprocess.run(
        [agent, "meta-data"], env=environ, check=True, stdout=subprocess.PIPE
    ).stdout
    found = {}
    for parameter in ElementTree.fromstring(document).iter("parameter"):
        content = parameter.find("content")
        default = None if content is None else content.get("default")
        found[parameter.get("name", "")] = default or ""
    return found


def installed(agent: Path, folder: Path) -> Path:
    """A copy of the agent and its library that every user can run, wherever the sources are."""
    library = folder / "agentlib"
    library.mkdir()
    for module in (ROOT / "agentlib").glob("*.py"):
        shutil.copyfile(module, library / module.name)
    copy = folder / agent.name
    shutil.copyfile(agent, copy)
    copy.chmod(0o755)
    return copy


# ---- the result of an action


@dataclass
class Result:
    """The result of one action.

    code: the exit code, -9 if `killed`: the time was over, and Pacemaker would have killed it.
    demanded: whether the test has asked for words of its exit reason (reasons.py).
    reason: the text of the last exit reason, "" without one.
    """

    action: str
    code: int
    stdout: str
    stderr: str
    seconds: float
    killed: bool = False
    demanded: bool = False

    def __str__(self) -> str:
        """The result in one line, then the whole output."""
        came = "was killed" if self.killed else f"is {self.code}"
        brief = f"{self.action} {came} after {self.seconds:.2f} s"
        return f"{brief}: {self.reason}\n{self.stdout}{self.stderr}".rstrip(": \n")

    @property
    def reasons(self) -> list[str]:
        lines = self.stderr.splitlines()
        return [line[len(REASON) :] for line in lines if line.startswith(REASON)]

    @property
    def reason(self) -> str:
        return (self.reasons or [""])[-1]


HISTORY: list[Result] = []
"""The results of the actions of the running test, in the order of their ends; faults.py
shows them."""

AS_GOOD = {190: (0, 190), 2: (2, 5, 6), 5: (2, 5, 6), 6: (2, 5, 6)}
"""Codes that a foreign agent may give instead: most of them are older than the code 190."""


def expect(result: Result, code: int, *words: str) -> Result:
    """Assert the code, a well-formed exit reason where one is due, and the words in it.

    Of a foreign agent only the code is checked: what Pacemaker does depends on it.
    """
    assert not result.killed, f"not back in time: {result}"
    if FOREIGN:
        assert result.code in AS_GOOD.get(code, (code,)), f"{code} was expected: {result}"
        return result
    assert result.code == code, f"{code} was expected: {result}"
    assert "Traceback" not in result.stderr, result.stderr
    assert "by a bug" not in result.reason, result.reason
    if code in (0, 7):
        assert not result.reasons, f"an exit reason for a success: {result}"
    else:
        assert len(result.reasons) == 1, f"not one exit reason: {result}"
        assert result.stderr.splitlines()[-1] == REASON + result.reason, result.stderr
        assert 0 < len(result.reason) < REASON_LIMIT, result.reason
        assert result.reason.isascii() and result.reason.isprintable(), ascii(result.reason)
    for word in words:
        assert word in result.reason, f"{word!r} is not in {result.reason!r}"
        result.demanded = True
    return result


def stops(resource: Resource) -> None:
    """Stop is 0, nothing is left, and both monitors say so."""
    expect(resource.stop(), 0)
    assert not resource.pids()
    assert not resource.processes()
    expect(resource.probe(), 7)
    expect(resource.monitor(), 7)


class Running:
    """An action under way, in a process group of its own, with its time limit."""

    def __init__(self, action: str, process: subprocess.Popen[bytes], limit: float) -> None:
        self.action = action
        self.process = process
        self._begin = time.monotonic()
        self._limit = limit

    def kill(self) -> None:
        """SIGKILL to the process group, as Pacemaker does."""
        try:
            # not reaped before wait(), so the pid is still its own
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def wait(self) -> Result:
        """The result; kills when the time is over."""
        killed = False
        try:
            left = self._begin + self._limit - time.monotonic()
            out, err = self.process.communicate(timeout=max(0.01, left))
        except subprocess.TimeoutExpired:
            if self.process.poll() is None:
                killed = True
                self.kill()
            try:  # else it has ended by itself meanwhile, and its output can be read
                out, err = self.process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                raise AssertionError(
                    f"{self.action} ended, but another process has its stdout or stderr open"
                ) from None
        result = Result(
            self.action,
            self.process.returncode,
            out.decode("utf-8", "replace"),
            err.decode("utf-8", "replace"),
            time.monotonic() - self._begin,
            killed,
        )
        HISTORY.append(result)
        return result


# ---- a resource instance


class Resource:
    """One resource instance of an agent, on this node.

    agent: path of the executable. folder: takes HA_RSCTMP and the agents' log.
    parameters: the instance parameters; may be changed between actions.
    name: OCF_RESOURCE_INSTANCE. The tag made of it is seen on the whole machine, so by default
        it is unique.
    interpreter: one of INTERPRETERS.
    prefix: what runs the agent, as ["ip", "netns", "exec", "lab"].
    """

    def __init__(
        self,
        agent: Path,
        folder: Path,
        parameters: Mapping[str, object] | None = None,
        *,
        name: str = "",
        interpreter: str = "debian",
        prefix: Sequence[str] = (),
    ) -> None:
        self.agent = agent
        # As long as a name in a CIB may reasonably be: exit reasons must still show their cause.
        self.name = name or f"p_{agent.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}".ljust(64, "_")
        self.parameters: dict[str, object] = dict(parameters or {})
        self.interpreter = interpreter
        self.prefix = tuple(prefix)
        self.rsctmp = folder / "rsctmp"
        self.rsctmp.mkdir(exist_ok=True)
        self.log = folder / "agents.log"

    def __enter__(self) -> Resource:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # -- its files and processes

    @property
    def tag(self) -> str:
        return f"{self.agent.name}:{self.name}"

    @property
    def state_folder(self) -> Path:
        return self.rsctmp / "openstack"

    @property
    def state_file(self) -> Path:
        return self.state_folder / f"{self.tag}.json"

    @property
    def pidfile(self) -> Path:
        return Path(str(self.parameters.get("pid") or self.rsctmp / f"{self.name}.pid"))

    def processes(self) -> list[int]:
        """Living processes that carry the tag: the daemon's, not the agent's own."""
        return having(f"{TAG}={self.tag}")

    def pids(self) -> list[int]:
        """The daemon's processes, by every mark that a test knows: a look-alike has more than the
        tag."""
        return self.processes()

    def end(self) -> None:
        """SIGKILL to all that carries the resource's tag or name, until nothing is left."""
        marks = (f"{TAG}={self.tag}", f"OCF_RESOURCE_INSTANCE={self.name}")
        eventually(lambda: not [kill(pid, *marks) for pid in having(*marks)])

    # -- actions

    def begin(
        self,
        action: str = "monitor",
        *arguments: str,
        timeout: float | None = TIMEOUT,
        interval: float | None = None,
        level: int | None = None,
        environ: Mapping[str, str | None] | None = None,
        parameters: Mapping[str, object] | None = None,
        limit: float | None = None,
        prefix: Sequence[str] | None = None,
        umask: int = 0o022,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> Running:
        """Begin an action. With `action` "" the agent is called without one.

        timeout: seconds that Pacemaker gives it; None: not set, as in a shell.
        interval: of a recurring monitor, in seconds. Without one a monitor is a probe;
            Pacemaker says nothing then, ocf-tester 0.
        level: OCF_CHECK_LEVEL.
        parameters, environ: for this action alone; None takes one away.
        limit: seconds after which it is killed, by default the timeout, as by Pacemaker.
        user: the account that runs it, with its primary group only.
        """
        environment = self._environment(action, timeout, interval, level)
        given = {**self.parameters, **(parameters or {})}
        environment.update({f"OCF_RESKEY_{name}": value for name, value in given.items()})
        environment.update(environ or {})
        identity: dict[str, Any] = {}
        if user:
            import pwd

            account = pwd.getpwnam(user)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        process = subprocess.Popen(
            [
                *(self.prefix if prefix is None else prefix),
                *INTERPRETERS[self.interpreter],
                str(self.agent),
                *([action] if action else []),
                *arguments,
            ],
            env={name: str(value) for name, value in environment.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd or "/",
            umask=umask,
            # a process group, but no session of its own, is what Pacemaker gives an agent
            preexec_fn=os.setpgrp,  # noqa: PLW1509 - process_group= came with Python 3.11
            **identity,
        )
        return Running(action, process, limit or timeout or 60)

    def call(self, action: str = "monitor", *arguments: str, **options: Any) -> Result:
        """Run an action to its end; options as of begin()."""
        return self.begin(action, *arguments, **options).wait()

    def start(self, **options: Any) -> Result:
        """Start, with the time that the agents advertise."""
        return self.call("start", **{"timeout": 60, **options})

    def stop(self, **options: Any) -> Result:
        """Stop, with the time that the agents advertise."""
        return self.call("stop", **{"timeout": 60, **options})

    def probe(self, **options: Any) -> Result:
        """A probe: a monitor for which Pacemaker sets no interval."""
        return self.call("monitor", **options)

    def monitor(self, **options: Any) -> Result:
        """The recurring monitor, with the check level that the agent has by default."""
        return self.call("monitor", **{"interval": 30, **options})

    def _environment(
        self, action: str, timeout: float | None, interval: float | None, level: int | None
    ) -> dict[str, object]:
        """The environment that Pacemaker's executor gives, and nothing of our own."""
        environment: dict[str, object] = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OCF_ROOT": OCF_ROOT,
            "OCF_RA_VERSION_MAJOR": 1,
            "OCF_RA_VERSION_MINOR": 1,
            "OCF_RESOURCE_INSTANCE": self.name,
            "OCF_RESOURCE_PROVIDER": "openstack",
            "OCF_RESOURCE_TYPE": self.agent.name,
            "OCF_RESKEY_crm_feature_set": "3.16.2",
            "OCF_RESKEY_CRM_meta_name": action,
            "PCMK_service": "pacemaker-execd",
            "HA_LOGFACILITY": "none",
            "HA_LOGFILE": self.log,
            "HA_debug": 0,
            "HA_RSCTMP": self.rsctmp,
        }
        if timeout is not None:
            environment["OCF_RESKEY_CRM_meta_timeout"] = int(timeout * 1000)
        if interval is not None:
            environment["OCF_RESKEY_CRM_meta_interval"] = int(interval * 1000)
        if level is not None:
            environment["OCF_CHECK_LEVEL"] = level
        return environment
