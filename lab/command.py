"""How a command of the lab ends: an exit code, and one line about what went wrong; no traceback.

Called by every `main` of lab/ and bench/.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import NoReturn

from lab.errors import LabError

SAID = 300  # characters of an error that are shown


def exit_code(name: str, work: Callable[[], int]) -> int:
    """Do the work; its exit code, or that of the error or signal. SIGTERM undoes what was begun."""
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        return work()
    except LabError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print(f"{name}: interrupted; what was begun is undone", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:  # noqa: BLE001 - reported, and kept
        # An error that the lab does not foresee: an unusual machine, or a bug. A developer needs
        # the traceback; a user does not.
        said = " ".join(str(error).split())[:SAID]
        file, where = tempfile.mkstemp(prefix=f"{name}-", suffix=".traceback", text=True)
        with open(file, "w") as report:
            traceback.print_exc(file=report)
        what = f"{type(error).__name__}: {said}".rstrip(": ")
        print(f"{name}: {what}; please report it, with {where}", file=sys.stderr)
        return 1


def _interrupted(signum: int, frame: object) -> NoReturn:
    # Once: a second Ctrl-C must not stop the undoing, nor the tools that do it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _terminated(signum: int, frame: object) -> NoReturn:
    sys.exit(128 + signum)  # an exception, so that what was begun is undone
