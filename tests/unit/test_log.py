"""Exit reason, syslog and HA_LOGFILE."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import syslog
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import log
from agentlib.environment import Environment
from agentlib.log import Log
from agentlib.reason import LENGTH, one_line, shortened
from unit.kit import ROOT

ANYTHING = st.text(st.characters())


def made(instance: str = "p_unit", **environ: str) -> Log:
    return Log("unit-api", Environment("monitor", instance, environ))


# --- the exit reason ------------------------------------------------------------------------


def test_reason(capfd: pytest.CaptureFixture[str]) -> None:
    """The exit reason is one line on stderr, with the prefix that Pacemaker looks for."""
    made().reason("it is broken")
    captured = capfd.readouterr()
    assert ("", "ocf-exit-reason:it is broken\n") == (captured.out, captured.err)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("two\nlines", "two lines"),
        ("\r\n a\tb \v\f", "a b"),
        ("M\u00e4rz \u2028 \ud800 \x00 \x1b[31m", "M?rz   ? ? ?[31m"),
        ("x" * 119, "x" * 119),
        ("x" * 60 + "y" * 60, "x" * 46 + "..." + "x" * 10 + "y" * 60),
        ("x" * 1_000_000, "x" * 46 + "..." + "x" * 70),
    ],
    ids=["newline", "white space", "not ASCII", "119", "120", "a megabyte"],
)
def test_reason_is_one_short_line(
    message: str, line: str, capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever the message, the exit reason is one line of at most 119 ASCII characters."""
    made().reason(message)
    assert f"ocf-exit-reason:{line}\n" == capfd.readouterr().err


@given(message=ANYTHING)
def test_any_reason(message: str) -> None:
    """Whatever the message, it is made one line of at most 119 printable ASCII characters."""
    line = shortened(one_line(message), LENGTH)
    assert len(line) <= 119
    assert line.isascii()
    assert line == "" or line.isprintable()


def test_reason_comes_last() -> None:
    """The exit reason is the last line on stderr: Pacemaker takes the last one."""
    script = (
        "from agentlib.log import Log\n"
        "from agentlib.environment import Environment\n"
        "log = Log('unit-api', Environment('start', 'p', {}))\n"
        "log.info('one'); log.warning('two'); log.reason('three')\n")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    assert ["INFO: one", "WARNING: two", "ocf-exit-reason:three"] == done.stderr.splitlines()
    assert "" == done.stdout


# --- HA_LOGFILE -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HA_LOGFILE", "HA_logfile"])
@pytest.mark.parametrize(
    ("method", "level"), [("info", "INFO"), ("warning", "WARNING"), ("error", "ERROR"),
                          ("reason", "ERROR")])
def test_file_format(name: str, method: str, level: str, tmp_path: Path) -> None:
    """HA_LOGFILE gets the lines that ocf_log of the shell agents writes."""
    path = tmp_path / "ha.log"
    getattr(made(**{name: str(path)}), method)("some\nthing")
    pattern = (rf"unit-api\(p_unit\)\[{os.getpid()}\]:\t[A-Z][a-z]{{2}} \d\d \d\d:\d\d:\d\d "
               rf"{level}: some thing\n")
    assert re.fullmatch(pattern, path.read_text())


def test_file_is_appended(tmp_path: Path) -> None:
    """What HA_LOGFILE held before is kept."""
    path = tmp_path / "ha.log"
    path.write_text("before\n")
    log = made(HA_LOGFILE=str(path))
    log.info("one")
    log.info("two")
    lines = path.read_text().splitlines()
    assert ("before", 3) == (lines[0], len(lines))
    assert lines[1].endswith("INFO: one")
    assert lines[2].endswith("INFO: two")


def test_file_mode(tmp_path: Path) -> None:
    """A new HA_LOGFILE is not readable for all users."""
    path = tmp_path / "ha.log"
    before = os.umask(0)
    try:
        made(HA_LOGFILE=str(path)).info("x")
    finally:
        os.umask(before)
    assert 0o640 == path.stat().st_mode & 0o777


def test_file_keeps_long_messages(tmp_path: Path) -> None:
    """The log has the whole message, where the exit reason is cut."""
    path = tmp_path / "ha.log"
    made(HA_LOGFILE=str(path)).reason("x" * 300)
    assert "x" * 300 in path.read_text()


def test_written_to_file_is_not_said_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    """A logged message is not repeated on stderr; the exit reason is."""
    log = made(HA_LOGFILE=str(tmp_path / "ha.log"))
    log.warning("one")
    log.reason("two")
    assert "ocf-exit-reason:two\n" == capfd.readouterr().err


def unwritable(kind: str, folder: Path) -> Path:
    path = folder / "ha.log"
    if kind == "folder":
        path.mkdir()
    elif kind == "no folder":
        path = folder / "missing" / "ha.log"
    elif kind == "symlink":
        (folder / "victim").write_text("precious\n")
        path.symlink_to("victim")
    elif kind == "dangling symlink":
        path.symlink_to("victim")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "full":
        path = Path("/dev/full")
    elif kind == "not a path":
        path = Path("\udcff" + "x" * 5000)
    return path


@pytest.mark.parametrize(
    "kind", ["folder", "no folder", "symlink", "dangling symlink", "fifo", "full", "not a path"])
def test_unwritable_file(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    """If HA_LOGFILE cannot be written, messages go to stderr, and no symlink is followed."""
    made(HA_LOGFILE=str(unwritable(kind, tmp_path))).warning("a message")
    assert "WARNING: a message\n" == capfd.readouterr().err
    victim = tmp_path / "victim"
    assert ("precious\n" if kind == "symlink" else None) == (
        victim.read_text() if victim.exists() else None)


@pytest.mark.parametrize("instance", ["two\nlines", "\udcff\udcfe", "M\u00e4rz", "\x1b[2J"],
                         ids=ascii)
def test_any_instance(
    instance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the instance is called, logging does not fail, and a message is one line."""
    path = tmp_path / "ha.log"
    monkeypatch.setattr(log, "SYSLOG", str(tmp_path / "none"))
    made(instance, HA_LOGFILE=str(path), HA_LOGFACILITY="daemon").warning("a message")
    text = path.read_bytes()
    assert 1 == len(text.splitlines())
    assert b"\x1b" not in text


# --- syslog -----------------------------------------------------------------------------------


class Syslog:
    """A /dev/log of our own."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def heard(self) -> list[tuple[int, str]]:
        """Priority and text of each line so far; the time between them is checked and left out."""
        lines: list[tuple[int, str]] = []
        while True:
            try:
                line = self.socket.recv(65536).decode()
            except BlockingIOError:
                return lines
            found = re.fullmatch(r"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (.*)", line)
            assert found, line
            lines.append((int(found[1]), found[2]))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Syslog]:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path may be too long for a socket
        recorded = Syslog(f"{folder}/log")
        monkeypatch.setattr(log, "SYSLOG", f"{folder}/log")
        with recorded.socket:
            yield recorded


TAG = f"unit-api(p_unit)[{os.getpid()}]"


@pytest.mark.parametrize("name", ["HA_LOGFACILITY", "HA_logfacility"])
@pytest.mark.parametrize(
    ("facility", "number"),
    [("daemon", syslog.LOG_DAEMON), ("local3", syslog.LOG_LOCAL3), ("USER", syslog.LOG_USER),
     ("nonsense", syslog.LOG_DAEMON), ("upto", syslog.LOG_DAEMON), ("mask", syslog.LOG_DAEMON),
     ("pid", syslog.LOG_DAEMON)],
)
def test_syslog_facility(
    name: str, facility: str, number: int, recorded: Syslog,
) -> None:
    """Syslog gets the facility that the cluster is configured with, daemon for nonsense."""
    made(**{name: facility}).info("a message")
    assert [(number | syslog.LOG_INFO, f"{TAG}: INFO: a message")] == recorded.heard()


@pytest.mark.parametrize(
    ("method", "priority", "line"),
    [("info", syslog.LOG_INFO, "INFO: a b"), ("warning", syslog.LOG_WARNING, "WARNING: a b"),
     ("error", syslog.LOG_ERR, "ERROR: a b"), ("reason", syslog.LOG_ERR, "ERROR: a b")],
)
def test_syslog_line(
    method: str, priority: int, line: str, recorded: Syslog, capfd: pytest.CaptureFixture[str],
) -> None:
    """Syslog gets one line with the level in front; stderr has no more than the exit reason."""
    getattr(made(HA_LOGFACILITY="daemon"), method)("a\nb")
    assert [(syslog.LOG_DAEMON | priority, f"{TAG}: {line}")] == recorded.heard()
    assert ("ocf-exit-reason:a b\n" if method == "reason" else "") == capfd.readouterr().err


def test_no_facility(recorded: Syslog) -> None:
    """Where the cluster logs to no facility, neither does the agent."""
    made(HA_LOGFACILITY="none").info("a message")
    assert [] == recorded.heard()


def test_syslog_that_is_not_read(recorded: Syslog, capfd: pytest.CaptureFixture[str]) -> None:
    """A syslog daemon that does not read does not block the agent; stderr gets the rest."""
    for number in range(1000):
        made(HA_LOGFACILITY="daemon").info(f"message {number}")
    assert "INFO: message 999\n" in capfd.readouterr().err


def test_syslog_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:
    """Without a /dev/log a message goes to stderr."""
    monkeypatch.setattr(log, "SYSLOG", str(tmp_path / "none"))
    made(HA_LOGFACILITY="daemon").info("a message")
    assert "INFO: a message\n" == capfd.readouterr().err
