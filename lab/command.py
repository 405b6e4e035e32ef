"""How a command of the lab ends: an exit code, and one line about what went wrong.

Called by every `main` of lab/ and bench/.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from lab.errors import LabError


def exit_code(name: str, work: Callable[[], int]) -> int:
    """Do the work; its exit code, or that of what ended it. SIGTERM undoes what was begun."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return work()
    except LabError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read what we say has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print(f"{name}: interrupted; what was begun is undone", file=sys.stderr)
        return 128 + signal.SIGINT


def _terminated(signum: int, frame: object) -> NoReturn:
    sys.exit(128 + signum)  # an exception, so that what was begun is undone
