"""One invocation, one exit code: tiny agents as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from unit.kit import NOBODY, PYTHON, ROOT, Zoo, await_that

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

Run = Callable[..., "subprocess.CompletedProcess[str]"]


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
        self, *arguments: str, more: str = "", user: int | None = None, bare: bool = False,
        environ: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        variables = {} if bare else self.environ(**(environ or {}))
        return subprocess.run(
            [str(self.write(more)), *arguments], env=variables,
            user=user, capture_output=True, text=True, errors="surrogateescape", check=False,
            cwd="/", stdin=subprocess.DEVNULL, timeout=300)


@pytest.fixture
def made(place: Path, zoo: Zoo) -> Made:
    return Made(place)


def reasons(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The exit reasons on stderr; there is nothing else on it."""
    lines = done.stderr.splitlines()
    assert all(line.startswith("ocf-exit-reason:") for line in lines), done.stderr
    return [line.partition(":")[2] for line in lines]


# --- meta-data and usage ------------------------------------------------------------------------


@pytest.mark.parametrize("user", [None, NOBODY], ids=["root", "nobody"])
def test_metadata(made: Made, user: int | None) -> None:
    """Meta-data is there for everybody, with an empty environment."""
    # Who is not root cannot become nobody, and shows the same as he is.
    done = made.run("meta-data", user=user if os.geteuid() == 0 else None, bare=True)
    assert (0, "") == (done.returncode, done.stderr)
    assert "unit-api" == ElementTree.fromstring(done.stdout).get("name")


@pytest.mark.parametrize("action", ["usage", "help", "--help", "-h"])
def test_usage(made: Made, action: str) -> None:
    """Usage is on stdout, and no failure."""
    done = made.run(action, bare=True)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("usage: unit-api (start|stop|")


# --- actions there are, and there are not -------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [(), ("",), ("", "start"), ("nonsense",), ("nonsense", "validate-all"), ("Start",),
     ("monitor ",), ("promote",), ("--version",), ("\udcff",), ("two\nlines",), ("x" * 10_000,),
     ("__class__",)],
    ids=repr)
def test_unknown_action(made: Made, arguments: tuple[str, ...]) -> None:
    """An unknown action or none: 3, before anything else is looked at."""
    done = made.run(*arguments,
                    environ={"OCF_RESKEY_url": "nonsense", "HA_RSCTMP": "/no/such"})
    assert (3, "") == (done.returncode, done.stdout)
    assert 1 == len(reasons(done))
    assert len(reasons(done)[0]) <= 119
    assert reasons(done)[0].isascii()


@ROOT_ONLY
@pytest.mark.parametrize("action", ["start", "stop", "monitor", "status", "reload-agent"])
def test_not_root(made: Made, action: str) -> None:
    """What needs root says so: 4."""
    done = made.run(action, user=NOBODY)
    assert (4, [f"{action} must be run as root"]) == (done.returncode, reasons(done))


@ROOT_ONLY
def test_validation_needs_no_root(made: Made) -> None:
    """Parameters can be looked at by everybody; what touches processes is root's."""
    done = made.run("validate-all", user=NOBODY)
    assert (0, []) == (done.returncode, reasons(done))
    needs_root = {"start", "stop", "monitor", "status", "reload-agent"}
    actions = made.run("usage").stdout.partition("(")[2].partition(")")[0].split("|")
    assert {*needs_root, "validate-all", "meta-data", "usage"} == set(actions)


def test_not_root_and_unknown(made: Made) -> None:
    """Whether there is such an action is looked at first."""
    done = made.run("nonsense", user=NOBODY if os.geteuid() == 0 else None)
    assert 3 == done.returncode


@pytest.mark.parametrize(
    ("environ", "code"),
    [({}, 0), ({"OCF_RESKEY_config": "/no/such"}, 5), ({"OCF_RESKEY_config": "x"}, 6),
     ({"OCF_RESKEY_pid": "/no/such/x"}, 2), ({"OCF_RESKEY_config": ""}, 0)],
    ids=["right", "missing", "wrong", "folder", "empty"])
def test_validate_all(made: Made, environ: dict[str, str], code: int) -> None:
    """An error is its exit code and one exit reason; success is silent."""
    done = made.run("validate-all", environ=environ)
    assert (code, "") == (done.returncode, done.stdout)
    assert (1 if code else 0) == len(reasons(done))


@ROOT_ONLY
def test_not_running(made: Made) -> None:
    """Stopped is no failure: 7 without a reason, and nothing is left behind."""
    done = made.run("monitor", environ={"OCF_RESKEY_CRM_meta_interval": "0"})
    assert (7, "", "") == (done.returncode, done.stdout, done.stderr)
    assert [] == list(made.rsctmp.iterdir())


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
    # All that there is, in all the sizes that Python deals in, and no more is to be had. (The
    # thread that looks at the time would complain as well.)
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


@ROOT_ONLY
def test_a_monitor_that_hangs_leaves_that(made: Made) -> None:
    """The last verdict of a monitor that was ended before its timeout is 1, with the reason."""
    (made.rsctmp / "openstack").mkdir(mode=0o700)
    more = ("def hang(call):\n    import time\n    time.sleep(3600)\n\n"
            "module.FUNCTIONS['monitor'] = hang\n")
    done = made.run("monitor", more=more, environ={
        "OCF_RESKEY_CRM_meta_timeout": "2000", "OCF_RESKEY_CRM_meta_interval": "10000"})
    assert 1 == done.returncode
    (left,) = (made.rsctmp / "openstack").iterdir()
    assert "\ncode 1\n" in left.read_text()
    assert left.read_text().endswith("\nreason monitor did not come to an end in time\n")


@pytest.mark.parametrize("timeout", ["1", "10", "999999999999999999", "nonsense", "0", ""])
def test_any_timeout(made: Made, timeout: str) -> None:
    """Whatever the timeout: an exit code, at most one exit reason, and no traceback."""
    done = made.run("validate-all", environ={"OCF_RESKEY_CRM_meta_timeout": timeout})
    assert (0, []) == (done.returncode, reasons(done)) or timeout in ("1", "10")
    assert len(reasons(done)) <= 1


def test_interrupted(made: Made, zoo: Zoo) -> None:
    """Who interrupts an action by hand gets an exit reason instead of a traceback."""
    ready = made.place / "ready"
    more = (f"def hang(call):\n    import time\n    open({str(ready)!r}, 'w').close()\n"
            "    time.sleep(3600)\n\nmodule.FUNCTIONS['validate-all'] = hang\n")
    # A shell has what it runs in the background ignore it.
    child = subprocess.Popen(
        ["env", "--default-signal=INT", str(made.write(more)), "validate-all"],
        env=made.environ(), stderr=subprocess.PIPE, text=True)
    try:
        await_that(ready.exists)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (1, "ocf-exit-reason:validate-all was interrupted\n") == (child.returncode, said)


# --- standard descriptors -----------------------------------------------------------------------

CASES = [("meta-data", 0), ("usage", 0), ("nonsense", 3), ("validate-all", 6), ("", 3)]


@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("action", "code"), CASES)
def test_no_stderr(made: Made, action: str, code: int, closed: str) -> None:
    """Without a stderr the exit code is the same, and no reason goes to stdout."""
    agent = made.write()
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", str(agent), action],
        env=made.environ(OCF_RESKEY_url="nonsense"), capture_output=True, text=True, check=False)
    expected = {code, 1} if code == 0 and "1>&-" in closed else {code}
    assert done.returncode in expected
    assert "ocf-exit-reason" not in done.stdout


@ROOT_ONLY
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-", "1>/dev/full 2>/dev/full"])
def test_monitor_without_descriptors(made: Made, closed: str) -> None:
    """What nobody hears does not change what a monitor finds."""
    agent = made.write()
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", str(agent), "monitor"],
                          env=made.environ(), capture_output=True, text=True, check=False)
    assert 7 == done.returncode


@pytest.mark.parametrize("action", ["meta-data", "usage"])
def test_full_stdout(made: Made, action: str) -> None:
    """What could not be printed was not done: 1, and no traceback."""
    agent = made.write()
    done = subprocess.run(["sh", "-c", 'exec "$@" >/dev/full', "sh", str(agent), action],
                          env={}, capture_output=True, text=True, check=False)
    assert (1, False) == (done.returncode, "Traceback" in done.stderr)


def test_pipe_that_nobody_reads(made: Made) -> None:
    """A reader that goes away is no reason for a traceback."""
    agent = made.write()
    done = subprocess.run(["sh", "-c", '"$@" | true', "sh", str(agent), "meta-data"],
                          env={}, capture_output=True, text=True, check=False)
    assert "" == done.stderr


def test_python_variables_have_no_say(made: Made) -> None:
    """PYTHON* variables of whoever calls change nothing."""
    (made.place / "evil").mkdir()
    (made.place / "evil" / "enum.py").write_text("raise SystemExit(42)\n")
    done = made.run("meta-data", environ={
        "PYTHONPATH": str(made.place / "evil"), "PYTHONSTARTUP": "/no/such",
        "PYTHONHOME": "/no/such", "PYTHONINSPECT": "1"})
    assert (0, "") == (done.returncode, done.stderr)
