"""What a daemon said last: the end of its output, and of the logs that its service keeps."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.lastwords import SIZE, OwnLogs, last_words
from agentlib.process import Process, find
from unit.kit import Zoo

# --- last words ---------------------------------------------------------------------------------


def words_of(tmp_path: Path, text: bytes, since: int = 0, *secrets: str) -> str:
    path = tmp_path / "x.log"
    path.write_bytes(text)
    with path.open("rb") as file:
        return last_words(file.fileno(), since, *secrets)


LATER = b"""\
2026-11-20 06:35:01.120 4242 ERROR cinder   File "/usr/lib/python3/eventlet/convenience.py"\x1b[00m
2026-11-20 06:35:01.120 4242 ERROR cinder OSError: [Errno 99] Cannot assign the address\x1b[00m
2026-11-20 06:35:01.120 4242 ERROR cinder \x1b[00m
2026-11-20 06:35:01.121 4242 INFO oslo_service.service [-] Parent process has died\x1b[00m
"""


@pytest.mark.parametrize(
    ("text", "since", "words"),
    [
        (b"", 0, ""),
        (b"\n \n\t\n", 0, ""),
        (b"one\ntwo\n", 0, "two"),
        (b"one\ntwo", 0, "two"),
        (b"one\ntwo\n\n  \n", 0, "two"),
        (b"old\n", 4, ""),
        (b"old\nnew\n", 4, "new"),
        (b"\xff\xfe \x1b[31mred\n", 0, "?? red"),
        (b"OperationalError: no database\n(Background on this error at: https://x)\n", 0,
         "OperationalError: no database"),
        (b"Modules with known eventlet monkey patching issues were imported prior to eventlet "
         b"monkey patching: urllib3. This warning can usually be ignored.\n", 0, ""),
        (LATER, 0, "OSError: [Errno 99] Cannot assign the address"),
        (b"after logrotate\n", 99999, "after logrotate"),
        (b"x\n" * 100_000 + b"last\n", 0, "last"),
        ("M\u00e4rz\n".encode(), 0, "M?rz"),
    ],
    ids=["nothing", "blank", "lines", "no newline", "blank at the end", "nothing new", "new",
         "binary", "footnote", "usual warning", "complaint of oslo.log", "truncated meanwhile",
         "much", "not ASCII"],
)
def test_last_words(tmp_path: Path, text: bytes, since: int, words: str) -> None:
    """The last words are the last line of this run that is not blank."""
    assert words == words_of(tmp_path, text, since)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cannot log in as monitor with s3cret!", "cannot log in as monitor with ***"),
        ("mysql://glance:pa/ss@wd@db/glance gone", "mysql://***@db/glance gone"),
        ("Traceback\nOperationalError: mysql://u:p@db", "OperationalError: mysql://***@db"),
    ],
)
def test_last_words_hold_no_secret(tmp_path: Path, text: str, words: str) -> None:
    """No password is repeated, neither the monitor's nor that of a URL."""
    assert words == words_of(tmp_path, text.encode(), 0, "s3cret!")


def test_secret_of_two_lines(tmp_path: Path) -> None:
    """No half of a password with a newline is repeated."""
    words = words_of(tmp_path, b"wrong password: half-one\nhalf-two\n", 0, "half-one\nhalf-two")
    assert "half-two" not in words


@pytest.mark.parametrize("cut", range(1, 12))
def test_secret_at_the_edge(tmp_path: Path, cut: int) -> None:
    """No part of a password that is cut where reading begins is repeated."""
    secret = "mysql://u:topsecret@db/"
    text = "x" * 100 + secret + "y" * (SIZE - len(secret) + 10 + cut)
    words = words_of(tmp_path, text.encode())
    assert "secret" not in words.partition("y")[0]
    assert "ret@db" not in words


INTERRUPTED = """\
2026-11-20 12:14:34.635 16278 CRITICAL cinder [-] Unhandled error: KeyboardInterrupt
2026-11-20 12:14:34.635 16278 ERROR cinder Traceback (most recent call last):
2026-11-20 12:14:34.635 16278 ERROR cinder     waiter.acquire()
2026-11-20 12:14:34.635 16278 ERROR cinder KeyboardInterrupt
2026-11-20 12:14:34.635 16278 ERROR cinder \x1b[00m
unable to load app 0 (mountpoint='') (callable not found or import error)
*** no app loaded. GAME OVER ***
Gracefully killing worker 1 (pid: 16277)...
goodbye to uWSGI.
"""


@pytest.mark.parametrize(
    "cause",
    [
        """\
2026-11-20 12:14:34.632 16277 CRITICAL cinder [-] Unhandled error: x.NotFound: no nope.ini
2026-11-20 12:14:34.632 16277 ERROR cinder Traceback (most recent call last):
2026-11-20 12:14:34.632 16277 ERROR cinder     raise NotFound()
2026-11-20 12:14:34.632 16277 ERROR cinder x.NotFound: no nope.ini
2026-11-20 12:14:34.632 16277 ERROR cinder \x1b[00m
""",
        """\
2026-11-20 12:14:34.632 16277 ERROR cinder Traceback (most recent call last):
2026-11-20 12:14:34.632 16277 ERROR cinder x.NotFound: no nope.ini
2026-11-20 12:14:34.632 16278 ERROR cinder     raise NotFound()
""",
        "Traceback (most recent call last):\n    raise NotFound()\nx.NotFound: no nope.ini\n",
    ],
    ids=["logged", "mixed", "plain"],
)
def test_first_worker_that_falls(tmp_path: Path, cause: str) -> None:
    """Of uWSGI's workers the first to fail has the cause; others only say that they are ended."""
    text = (
        "*** Starting uWSGI 2.0.21-debian ***\n" + cause
        + "unable to load app 0 (mountpoint='') (callable not found or import error)\n"
        + "*** no app loaded. GAME OVER ***\n" + INTERRUPTED
    )  # fmt: skip
    assert words_of(tmp_path, text.encode()) == "x.NotFound: no nope.ini"


# --- OwnLogs ------------------------------------------------------------------------------------


@dataclass
class Logs:
    """A folder with the logs of all daemons of a service; ours is x-api."""

    folder: Path
    own: OwnLogs
    master: int = 4242

    def words(self, *family: Process) -> str:
        return self.own.last_words(self.master, lambda: list(family))


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    (tmp_path / "x-api.log").write_text("ERROR: of an earlier run\n")
    account = pwd.getpwuid(os.geteuid())
    return Logs(tmp_path, OwnLogs(account, str(tmp_path), "x-api"))


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)


def test_own_logs_silent(logs: Logs) -> None:
    """Lines that were in the logs before the daemon was started are not its last words."""
    assert logs.words() == ""


def test_own_logs(logs: Logs) -> None:
    """A log with the daemon's name is preferred to logs that were written to later."""
    append(logs.folder / "x-api.log", "ours\n")
    append(logs.folder / "x-volume.log", "theirs\n")
    os.utime(logs.folder / "x-api.log", (1, 1))
    assert logs.words() == "ours"


def test_own_log_of_another_name(logs: Logs) -> None:
    """A log of another name counts if no process has it open for writing; readers do not matter."""
    append(logs.folder / "wsgi.log", "ours\n")
    with (logs.folder / "wsgi.log").open():
        assert logs.words() == "ours"


@pytest.mark.parametrize("who", ["other", "ours"])
def test_log_that_is_written_to(logs: Logs, zoo: Zoo, who: str) -> None:
    """A log that another daemon writes to is not read; a log that ours writes to is."""
    append(logs.folder / "wsgi.log", "disk full\n")
    with (logs.folder / "wsgi.log").open("a") as file:
        writer = find(zoo.sleeper(fds=(file.fileno(),)).pid)
    assert writer
    if who == "ours":
        assert logs.words(writer) == "disk full"
    else:
        assert logs.words() == ""


OURS, THEIRS = 4242, 77
SHARED = f"""\
2026-11-20 06:35:01.120 {OURS} ERROR x.api [-] ours
2026-11-20 06:35:01.121 {THEIRS} ERROR x.api [-] theirs
Traceback of anything
"""


@pytest.mark.parametrize(("shared", "words"), [(True, "ours"), (False, "Traceback of anything")])
def test_log_of_two_instances(logs: Logs, zoo: Zoo, shared: bool, words: str) -> None:
    """Of a log that another living process writes to as well, only lines with our pid are ours."""
    append(logs.folder / "x-api.log", SHARED)
    with (logs.folder / "x-api.log").open("a") as file:
        if shared:
            zoo.sleeper(fds=(file.fileno(),))
    assert words == logs.words()


@given(st.binary(max_size=10_000), st.integers(0, 12_000))
def test_any_last_words(tmp_path: Path, text: bytes, since: int) -> None:
    """Whatever the daemon says, the last words are bounded and printable."""
    words = words_of(tmp_path, text, since)
    assert len(words) <= SIZE
    assert words == "" or (words.isascii() and words.isprintable())
