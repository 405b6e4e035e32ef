"""Programs of others: crmsh, pcs, Pacemaker's own, ip."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import CannotLookError
from .words import shown

PACKAGES = {"crm": "crmsh", "pcs": "pcs", "cibadmin": "pacemaker-cli-utils", "ip": "iproute2"}
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True)
class Done:
    """How a program ended, and what it said."""

    code: int
    output: str
    said: str


def run(command: Sequence[str], environment: Mapping[str, str] | None = None,
        timeout: float = 60.0) -> Done:
    """Run a program; CannotLookError if it is not there or does not end within seconds."""
    # A user's PATH may lack sbin, where crm, pcs and cibadmin are.
    path = f"{os.environ.get('PATH', '')}:{SBIN}".lstrip(":")
    try:
        done = subprocess.run(
            list(command), env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": path,
                                **(environment or {})},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, encoding="utf-8",
            errors="replace")
    except FileNotFoundError as error:
        package = PACKAGES.get(command[0], command[0])
        raise CannotLookError(
            f"{command[0]} is not on this machine; install the package {package}") from error
    except subprocess.TimeoutExpired as error:
        raise CannotLookError(
            f"{' '.join(command[:3])} did not end within {timeout:.0f} s") from error
    except OSError as error:
        raise CannotLookError(f"{command[0]} cannot be run: {error.strerror}") from error
    return Done(done.returncode, done.stdout, done.stderr)


def last_words(done: Done) -> str:
    """The last line that a program said, for a message."""
    lines = (done.said or done.output).strip().splitlines()
    return shown(lines[-1].strip()) if lines else f"exit code {done.code}"
