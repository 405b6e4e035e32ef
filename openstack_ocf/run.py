"""Programs of others: Pacemaker's own, ip."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import CannotLookError
from .words import shown

PACKAGES = {
    "ip": "iproute2", "arping": "iputils-arping",
    "ping": "iputils-ping",
    **dict.fromkeys(("cibadmin", "crm_diff", "crm_mon", "crm_resource", "crm_simulate",
                     "crm_verify"), "pacemaker-cli-utils"),
}
PATIENCE = 1.0
"""Seconds after which an operator is told what is waited for."""
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True)
class Done:
    """How a program ended, and what it said."""

    code: int
    output: str
    said: str


def run(command: Sequence[str], environment: Mapping[str, str] | None = None,
        timeout: float = 60.0, given: str | None = None, files: Sequence[int] = (),
        what: str = "") -> Done:
    """Run a program; CannotLookError if it is not there or does not end within seconds.

    given: its standard input. files: open files that it has, too, under the same numbers.
    what: is waited for, in words; default: the program's name.
    """
    try:
        with waiting(what or os.path.basename(command[0])):
            done = subprocess.run(
                list(command), env={**_environment(), **(environment or {})},
                stdin=subprocess.DEVNULL if given is None else None, input=given, pass_fds=files,
                capture_output=True, timeout=timeout, encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise _missing(command[0]) from error
    except subprocess.TimeoutExpired as error:
        raise CannotLookError(
            f"{' '.join(command[:3])} did not end within {timeout:.0f} s") from error
    except OSError as error:
        raise _cannot(command[0], error) from error
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Tell an operator at a terminal what is waited for when it takes over a second."""
    if not sys.stderr.isatty():
        yield
        return
    line = f"waiting for {what} ..."
    told = threading.Event()

    def tell() -> None:
        told.set()
        sys.stderr.write(line)
        sys.stderr.flush()

    timer = threading.Timer(PATIENCE, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if told.is_set():
            sys.stderr.write(f"\r{' ' * len(line)}\r")
            sys.stderr.flush()


@contextmanager
def tool(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs beside this one, without output; at the end it is killed if it runs."""
    try:
        process = subprocess.Popen(list(command), env=_environment(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise _missing(command[0]) from error
    except OSError as error:
        raise _cannot(command[0], error) from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    # A user's PATH may lack sbin, where cibadmin is.
    path = f"{os.environ.get('PATH', '')}:{SBIN}".lstrip(":")
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": path}


def _missing(program: str) -> CannotLookError:
    package = PACKAGES.get(program, program)
    return CannotLookError(f"{program} is not on this machine; install the package {package}")


def _cannot(program: str, error: OSError) -> CannotLookError:
    return CannotLookError(f"{program} cannot be run: {error.strerror}")


def last_words(done: Done) -> str:
    """The last line that a program said, for a message."""
    lines = (done.said or done.output).strip().splitlines()
    return shown(lines[-1].strip()) if lines else f"exit code {done.code}"
