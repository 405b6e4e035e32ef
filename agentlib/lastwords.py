"""What a daemon said before it ended: the cause that stands in the exit reason of start.

Called by the action in `start`, when a daemon ends or does not get ready. It reads the end
of what the daemon wrote to its output, and of the logs that the service itself keeps. All of it
is foreign text, and may be made to be slow or long: each expression here takes a time that is
linear in the length of a line, and lines are cut.
"""
from __future__ import annotations

import os

from . import process, uwsgi
from .reason import one_line
from .safefile import contents, opened_as
from .secrets import scrubbed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pwd import struct_passwd

    from .process import Process

SIZE = 1 << 16
"""Bytes of a log that are looked at; workers that fall one after the other say much."""

LINE = 4000
"""Characters of a line that are looked at: half of them at its end, where the cause often is."""

FOOTNOTES = (
    r"\(Background on this error at:|/\S+:\d+: \w*Warning: "  # SQLAlchemy's, and Python's
    r"|Modules with known eventlet monkey patching issues "  # Nova's, at each start
    r"|" + uwsgi.NOISE)
"""Beginnings of lines that are no part of a complaint."""

OSLO_PREFIX = r"\d{4}-\d\d-\d\d [\d:.,]+ (?P<pid>\d+) (?P<level>[A-Z]+) [\w.]+"
"""The time, pid, level and logger that oslo.log puts before the words."""


def last_words(
    output: int, since: int, *secrets: str, complaint: bool = False, pids: Iterable[int] = (),
) -> str:
    """What the daemon wrote last since an offset of its log: one line, without secrets.

    Its last complaint; where it did not complain its last line, unless a complaint is wanted.
    pids: only lines count that say they are of one of these processes; empty: all lines count.
    """
    end = os.lseek(output, 0, os.SEEK_END)
    since = since if since <= end else 0  # it was emptied meanwhile
    # Twice what is used: a secret that is cut at the beginning is in the half that is not.
    begin = max(since, end - 2 * SIZE)
    text = os.pread(output, end - begin, begin)
    clean = scrubbed(text.decode("utf-8", "surrogateescape"), *secrets)
    if len(text) > SIZE:
        clean = clean[-len(text[-SIZE:].decode("utf-8", "surrogateescape")):]
    said, complained = _said(clean, {*pids})
    return complained if complaint else complained or said


class OwnLogs:
    """The logs that the service itself keeps: often all it has to say is there.

    Made before the daemon starts; read as its user, so that nothing else comes to light. In the
    same folder, and in the same file, may be what other daemons write, a second instance of this
    one too: their lines must not be taken for ours. Of a log that another living process has
    open, only the lines count that have a pid of ours.
    """

    __slots__ = ("_account", "_folder", "_name", "_sizes")

    def __init__(self, account: struct_passwd, folder: str, name: str) -> None:
        self._account = account
        self._folder = folder
        self._name = name
        self._sizes = {path: status.st_size for path, status in self._files()}

    def last_words(
        self, master: int, family: Callable[[], list[Process]], *secrets: str,
        complaint: bool = False,
    ) -> str:
        """The last words in the log that was written to last; empty if there are none.

        master: the pid of the daemon's first process. family: gives its living processes.
        """
        grown = [(self._name in os.path.basename(path), status.st_mtime, path)
                 for path, status in self._files() if status.st_size > self._sizes.get(path, 0)]
        for by_name, _, path in sorted(grown, reverse=True):
            ours = {master, *(member.pid for member in family())}
            shared = bool(_writers(path, self._account.pw_uid) - ours)
            if shared and not by_name:
                continue  # The log of another daemon, in all likelihood.
            try:
                log = opened_as(self._account, path, os.O_RDONLY)
            except OSError:
                continue
            try:
                words = last_words(log, self._sizes.get(path, 0), *secrets, complaint=complaint,
                                   pids=ours if shared else ())
            finally:
                os.close(log)
            if words:
                return words
        return ""

    def _files(self) -> list[tuple[str, os.stat_result]]:
        try:
            with os.scandir(self._folder) as entries:
                return [(entry.path, entry.stat(follow_symlinks=False))
                        for entry in entries if entry.name.endswith(".log")]
        except OSError:
            return []


def _writers(path: str, user: int) -> set[int]:
    """The pids of the user's processes that have a file open for writing.

    Of other users' none is looked at: their descriptors may be millions.
    """
    real = os.path.realpath(path)
    return {candidate.pid for candidate in process.every()
            if candidate.owned_by({user}) and _writes(candidate.pid, real)}


def _writes(pid: int, path: str) -> bool:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in numbers:
        try:
            same = os.readlink(f"/proc/{pid}/fd/{number}") == path
        except OSError:
            continue  # It was closed meanwhile.
        if same:
            record = contents(f"/proc/{pid}/fdinfo/{number}", SIZE) or b""
            flags = record.partition(b"flags:")[2].split()
            if flags and int(flags[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False


def _said(text: str, pids: set[int]) -> tuple[str, str]:
    """The last line with text, and the last that is a complaint: no level, or a high one."""
    import re

    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    if "uWSGI" in text:
        text = text.partition(uwsgi.GAME_OVER)[0]
    lines = [line if len(line) <= LINE else line[:LINE // 2] + "..." + line[-LINE // 2:]
             for line in text.splitlines()]
    if pids:
        lines = [line for line in lines
                 if (of := re.match(OSLO_PREFIX, line)) and int(of["pid"][:9]) in pids]
    if "uWSGI" in text and "Traceback (most recent" in text:
        # Workers write at once, and mix the lines of their tracebacks, but for the last lines.
        for line in reversed(lines):
            end = re.match(rf"({OSLO_PREFIX} )?(?P<words>(\w+\.)*[A-Z]\w+: .+)", line)
            if end:
                return one_line(end["words"]), one_line(end["words"])
    said = indented = ""
    for line in reversed(lines):
        prefix = re.match(rf"{OSLO_PREFIX}( \[[^]]*\])?", line)
        words = one_line(line[prefix.end():] if prefix else line)
        if re.match(FOOTNOTES, words):
            continue
        if line.startswith("  "):  # of a traceback, say
            indented = indented or words
        elif words and not (prefix and prefix["level"] in ("DEBUG", "INFO", "WARNING", "AUDIT")):
            return said or words, words
        else:
            said = said or words
    return said or indented, ""
