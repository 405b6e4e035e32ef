"""One invocation, one exit code: tiny agents as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from looks import eventually
from unit.kit import PYTHON, ROOT, Zoo

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="the actions need root")

AGENT = f'''\
#!{PYTHON} -ESs
"""An agent for the tests."""
from agentlib.agent import Agent
from agentlib.api import Api
from agentlib.daemon import Daemon
from agentlib.runtime import run
from agentlib.service import Service
from agentlib import actions as module

AGENT = Agent(
    name="unit-api",
    title="Unit API (unit-api)",
    manages=Service(
        Daemon(project="unit", binary="sh", config="/etc/passwd", user="nobody",
               log_folder="/nonexistent", port=9292),
        Api("/v2/images?limit=1")),
)
%s
if __name__ == "__main__":
    run(AGENT)
'''


class Made:
    """An agent beside a copy of agentlib, as it is installed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "agentlib").mkdir()
        for path in (ROOT / "agentlib").glob("*.py"):
            (place / "agentlib" / path.name).write_bytes(path.read_bytes())
        self.rsctmp = place / "rsctmp"
        self.rsctmp.mkdir(mode=0o755)

    def write(self, more: str = "") -> Path:
        path = self.place / "unit-api"
        path.write_text(AGENT % more)
        path.chmod(0o755)
        return path

    def environ(self, **environ: str) -> dict[str, str]:
        return {"HA_RSCTMP": str(self.rsctmp), "OCF_RESOURCE_INSTANCE": self.place.name,
                "UNIT_TEST_PLACE": str(self.place), "PYTHONDONTWRITEBYTECODE": "1", **environ}

    def run(
        self, *arguments: str, more: str = "", environ: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.write(more)), *arguments], env=self.environ(**(environ or {})),
            capture_output=True, text=True, errors="surrogateescape", check=False,
            cwd="/", stdin=subprocess.DEVNULL, timeout=300)


@pytest.fixture
def made(place: Path, zoo: Zoo) -> Made:
    return Made(place)


def reasons(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The exit reasons on stderr; there is nothing else on it."""
    lines = done.stderr.splitlines()
    assert all(line.startswith("ocf-exit-reason:") for line in lines), done.stderr
    return [line.partition(":")[2] for line in lines]


# --- actions there are, and there are not -------------------------------------------------------


@ROOT_ONLY
@pytest.mark.parametrize("instance", ["a/b", "two\nlines", "\udcff", "M\u00e4rz", ".."], ids=ascii)
@pytest.mark.parametrize("log", ["", "file", "syslog"])
def test_any_instance(made: Made, instance: str, log: str) -> None:
    """Whatever the instance is called: an exit code, and no traceback."""
    environ = {"": {}, "file": {"HA_LOGFILE": str(made.place / "ha.log")},
               "syslog": {"HA_LOGFACILITY": "daemon"}}[log]
    done = made.run("monitor", environ={"OCF_RESOURCE_INSTANCE": instance, **environ})
    assert done.returncode in (6, 7)
    assert (1 if done.returncode == 6 else 0) == len(reasons(done))


# --- bugs ---------------------------------------------------------------------------------------

SECRET = "s3cr3t-pa55w0rd"

BUGS = {
    "exception": f"raise ValueError({SECRET!r})",
    "its own": f"raise type('Odd{SECRET[:0]}', (Exception,), {{}})({SECRET!r})",
    "chained": f"\n    try:\n        raise KeyError({SECRET!r})\n"
               f"    except KeyError as error:\n        raise OSError({SECRET!r}) from error",
    "system exit": f"raise SystemExit({SECRET!r})",
    "system exit 0": "raise SystemExit(0)",
    "interrupt": "raise KeyboardInterrupt",
    "memory": "raise MemoryError",
    # All memory is taken, in all the sizes that Python allocates, until there is no more. (The
    # thread that watches the time would complain as well.)
    "all memory": """
    import resource
    hold, index = [None] * (1 << 20), 0
    resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
    for size in range(472, 0, -8):
        try:
            while True:
                hold[index] = bytes(size)
                index += 1
        except MemoryError:
            pass
    raise MemoryError

import _thread
_thread.start_new_thread = lambda *_: 0
""",
    "recursion": "return bug(call)",
    "no outcome": "return None",
    "in a thread": f"\n    from agentlib.deadline import Deadline\n"
                   f"    Deadline(60).within(lambda: int({SECRET!r}))",
}


@pytest.mark.parametrize("body", BUGS.values(), ids=BUGS)
def test_bug(made: Made, body: str) -> None:
    """A bug is a failure with one exit reason: no traceback, no secret, never success."""
    more = f"def bug(call):\n    {body}\n\nmodule.FUNCTIONS['validate-all'] = bug\n"
    done = made.run("validate-all", more=more,
                    environ={"HA_LOGFILE": str(made.place / "ha.log")})
    assert (1, "") == (done.returncode, done.stdout)
    assert 1 == len(reasons(done))
    text = done.stderr + (made.place / "ha.log").read_text()
    assert SECRET not in text
    assert "Traceback" not in text


def test_bug_says_where(made: Made) -> None:
    """The reason has the type and the place of the bug, and asks for a report."""
    more = "def bug(call):\n    return {}['x']\n\nmodule.FUNCTIONS['validate-all'] = bug\n"
    reason = reasons(made.run("validate-all", more=more))[0]
    assert reason.startswith("validate-all failed by a bug: KeyError in unit-api:")
    assert reason.endswith("(bug); please report it")


# --- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ["import time; time.sleep(3600)", "while True: pass",
             "import signal; [signal.pause() for _ in iter(int, 1)]",
             "import _thread; lock = _thread.allocate_lock(); lock.acquire(); lock.acquire()"],
    ids=["sleeps", "computes", "waits for a signal", "waits for itself"])
def test_watchdog(made: Made, body: str) -> None:
    """An action that hangs is ended before Pacemaker would, and says so."""
    more = f"def hang(call):\n    {body}\n\nmodule.FUNCTIONS['validate-all'] = hang\n"
    begin = time.monotonic()
    done = made.run("validate-all", more=more,
                    environ={"OCF_RESKEY_CRM_meta_timeout": "2000"})
    assert time.monotonic() - begin < 120
    assert (1, ["validate-all did not come to an end in time"]) == (
        done.returncode, reasons(done))


def test_one_reason(made: Made) -> None:
    """An action whose time is over while it prints its reason gives that one, and no second."""
    more = ("import time\nfrom agentlib import log\nfrom agentlib.errors import AgentError\n"
            "say = log.to_stderr\n\n"
            "def slowly(line):\n    say(line)\n    time.sleep(3600)\n\n"
            "def fail(call):\n    log.to_stderr = slowly\n    raise AgentError('no answer')\n\n"
            "module.FUNCTIONS['validate-all'] = fail\n")
    done = made.run("validate-all", more=more, environ={"OCF_RESKEY_CRM_meta_timeout": "8000"})
    assert (1, ["no answer"]) == (done.returncode, reasons(done))


@ROOT_ONLY
def test_a_monitor_that_hangs_leaves_that(made: Made) -> None:
    """A monitor that the watchdog ends leaves 1 as its last verdict, with the reason."""
    (made.rsctmp / "openstack").mkdir(mode=0o700)
    more = ("def hang(call):\n    import time\n    time.sleep(3600)\n\n"
            "module.FUNCTIONS['monitor'] = hang\n")
    done = made.run("monitor", more=more, environ={
        "OCF_RESKEY_CRM_meta_timeout": "2000", "OCF_RESKEY_CRM_meta_interval": "10000"})
    assert 1 == done.returncode
    (left,) = (made.rsctmp / "openstack").iterdir()
    assert "\ncode 1\n" in left.read_text()
    assert left.read_text().endswith("\nreason monitor did not come to an end in time\n")


LONG = r"no\nanswer: \udcff m\u00e4rz\t" + "x" * 300 + r"\n at the end"
ENDS = {
    "outcome": f'return Outcome(ExitCode.ERR_GENERIC, "{LONG}")',
    "degraded": f'return Outcome(ExitCode.DEGRADED, "{LONG}")',
    "spare": f'return Outcome(ExitCode.ERR_GENERIC, Reason("no\\nanswer", Spare("{LONG}")))',
    "error": f'raise ArgumentError("{LONG}")',
    "bug": f'raise ValueError("{LONG}")',
    "interrupt": "raise KeyboardInterrupt",
    "memory": "raise MemoryError",
}


@ROOT_ONLY
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_monitor_leaves_what_pacemaker_is_told(made: Made, end: str) -> None:
    """The code and the reason of the last verdict are those that Pacemaker got, on one line."""
    (made.rsctmp / "openstack").mkdir(mode=0o700)
    more = ("from agentlib.errors import ArgumentError\n"
            "from agentlib.exitcode import ExitCode\n"
            "from agentlib.outcome import Outcome\n"
            "from agentlib.reason import Reason, Spare\n"
            f"def bad(call):\n    {end}\n\nmodule.FUNCTIONS['monitor'] = bad\n")
    done = made.run("monitor", more=more, environ={"OCF_RESKEY_CRM_meta_interval": "10000"})
    assert 0 != done.returncode
    (reason,) = reasons(done)
    (left,) = (made.rsctmp / "openstack").iterdir()
    lines = dict(line.split(" ", 1) for line in left.read_text().splitlines())
    assert (str(done.returncode), reason) == (lines["code"], lines["reason"])


def test_interrupted(made: Made, zoo: Zoo) -> None:
    """An action that is interrupted by hand gives an exit reason, not a traceback."""
    ready = made.place / "ready"
    # Short sleeps: CPython handles a signal that comes right before a sleep only after it.
    more = (f"def hang(call):\n    import time\n    open({str(ready)!r}, 'w').close()\n"
            "    while True:\n        time.sleep(0.1)\n\n"
            "module.FUNCTIONS['validate-all'] = hang\n")
    # Background jobs of a shell ignore SIGINT.
    child = subprocess.Popen(
        ["env", "--default-signal=INT", str(made.write(more)), "validate-all"],
        env=made.environ(OCF_RESKEY_CRM_meta_timeout="600000"), stderr=subprocess.PIPE, text=True)
    try:
        eventually(ready.exists)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (1, "ocf-exit-reason:validate-all was interrupted\n") == (child.returncode, said)
