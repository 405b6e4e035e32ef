"""Exit reason, syslog and HA_LOGFILE: the only writer.

An action calls `info` when it changed something and `runtime` calls `reason` when it ends badly.
A monitor that finds nothing new says nothing.
"""
from __future__ import annotations

import _thread
import os

from .reason import fitting, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .environment import Environment

FACILITIES = ("AUTH", "AUTHPRIV", "CRON", "DAEMON", "KERN", "LPR", "MAIL", "NEWS", "SYSLOG",
              "USER", "UUCP", *(f"LOCAL{number}" for number in range(8)))


SYSLOG = "/dev/log"


class Log:
    """Where ocf_log of the shell agents would write, with its line format.

    word: held by the thread that says the exit reason. said: whether there has been one.
    """

    __slots__ = ("_facility", "_file", "_tag", "said", "word")

    def __init__(self, name: str, environment: Environment) -> None:
        settings = environment.log
        self.word = _thread.allocate_lock()
        self.said = False
        self._tag = one_line(f"{name}({environment.instance})[{os.getpid()}]")
        self._file = settings.get("HA_LOGFILE") or settings.get("HA_logfile") or ""
        self._facility = settings.get("HA_LOGFACILITY") or settings.get("HA_logfacility") or ""

    def info(self, message: str) -> None:
        """Something was done."""
        self._write("INFO", message)

    def warning(self, message: str) -> None:
        """Something is not as it should be, and the action goes on."""
        self._write("WARNING", message)

    def error(self, message: str) -> None:
        """The action fails."""
        self._write("ERROR", message)

    def reason(self, message: str) -> None:
        """Log the failure, and give it to Pacemaker as the exit reason: the last line said.

        (Exit reasons are Pacemaker's, not the standard's: it keeps the last such line on stderr.)
        """
        self.error(message)
        with self.word:
            to_stderr("ocf-exit-reason:" + fitting(message))
            self.said = True

    def _write(self, level: str, message: str) -> None:
        line = one_line(message)
        written = self._to_syslog(level, line)
        written = self._to_file(level, line) or written
        if not written and level != "ERROR":
            # Pacemaker logs what stands on stderr; an error goes there as the exit reason.
            to_stderr(f"{level}: {line}")

    def _to_syslog(self, level: str, line: str) -> bool:
        if not self._facility:
            return False
        import syslog

        name = self._facility.upper()
        facility = getattr(syslog, "LOG_" + name) if name in FACILITIES else syslog.LOG_DAEMON
        priority = {"INFO": syslog.LOG_INFO, "WARNING": syslog.LOG_WARNING}.get(
            level, syslog.LOG_ERR)
        return _send(f"<{facility | priority}>{_now('%e')} {self._tag}: {level}: {line}")

    def _to_file(self, level: str, line: str) -> bool:
        if not self._file:
            return False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self._file, flags | os.O_CLOEXEC, 0o640)
        except (OSError, ValueError):
            return False  # A log that cannot be written must not fail the service.
        try:
            os.write(descriptor, f"{self._tag}:\t{_now('%d')} {level}: {line}\n".encode(
                "utf-8", "replace"))
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


def _now(day: str) -> str:
    import time

    return time.strftime(f"%b {day} %H:%M:%S")


def _send(message: str) -> bool:
    """To /dev/log as syslog(3) would, but without waiting for a reader that has stopped."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.setblocking(False)
            log.connect(SYSLOG)
            log.send(message.encode())
    except OSError:
        return False
    return True


def to_stderr(line: str) -> None:
    """Write it to stderr, if that can be written at once; if not, the exit code remains."""
    import select

    try:
        if not select.select((), (2,), (), 0.1)[1]:
            return  # A full pipe: its reader hangs.
        os.write(2, (line + "\n").encode())
    except OSError:
        pass
