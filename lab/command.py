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
    """Do the work; its exit code, or that of what ended it. SIGTERM undoes what was begun."""
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
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
    except Exception as error:  # noqa: BLE001 - told, and kept
        # Nothing that the lab foresees: a machine that is not like those it was written for, or a
        # fault of its own. Whoever mends it wants to know where; whoever meets it does not.
        said = " ".join(str(error).split())[:SAID]
        file, where = tempfile.mkstemp(prefix=f"{name}-", suffix=".traceback", text=True)
        with open(file, "w") as report:
            traceback.print_exc(file=report)
        what = f"{type(error).__name__}: {said}".rstrip(": ")
        print(f"{name}: {what}; please report it, with {where}", file=sys.stderr)
        return 1


def _interrupted(signum: int, frame: object) -> NoReturn:
    # Once: who presses Ctrl-C again must not stop what is being undone, nor the tools that do it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _terminated(signum: int, frame: object) -> NoReturn:
    sys.exit(128 + signum)  # an exception, so that what was begun is undone
