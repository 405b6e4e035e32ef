"""Time that an action has, and the means to keep it whatever a peer does.

An action gets one Deadline from `runtime`; `api` and `keystone` work in shares of it.
"""
from __future__ import annotations

import _thread
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")


class Deadline:
    """A moment, `seconds` from now."""

    __slots__ = ("moment",)

    def __init__(self, seconds: float) -> None:
        self.moment = monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.moment - monotonic())

    def share(self, part: float) -> Deadline:
        """A deadline at `part` (0 to 1) of what is left."""
        return Deadline(self.remaining() * part)

    def within(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call the function; raise TimeoutError when it is not back in time.

        Timeouts of sockets do not hold against a peer that sends a byte a second, nor against
        a resolver that hangs in libc, where no signal handler runs. So the function gets a
        thread of its own, which is left behind: the process ends soon. (_thread, since
        `import threading` would cost the everyday path more than the check itself.)
        """
        result: list[T] = []
        failure: list[BaseException] = []
        done = _thread.allocate_lock()
        done.acquire()

        def work() -> None:
            try:
                result.append(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - handed on to the caller, below
                failure.append(error)
            finally:
                done.release()

        try:
            _thread.start_new_thread(work, ())
        except RuntimeError as error:
            raise MemoryError from error
        if not done.acquire(timeout=max(0.001, self.remaining())):
            raise TimeoutError
        if failure:
            raise failure[0]
        return result[0]
