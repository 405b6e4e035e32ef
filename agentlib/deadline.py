"""Time that an action has, and the means to keep it whatever a peer does.

An action gets one Deadline from `runtime`; `http`, `api` and `keystone` work in shares of it.
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
        """Call the function; raise TimeoutError when it is not back in time."""
        pending = Pending(function, *arguments)
        if not pending.wait(self):
            raise TimeoutError
        result: T = pending.result()
        return result


class Pending:
    """A function at work in a thread of its own, which is left behind if it takes too long.

    Timeouts of sockets do not hold against a peer that sends a byte a second, nor against a
    resolver that hangs in libc, where no signal handler runs. (_thread, since `import threading`
    would cost the everyday path more than the check itself.) MemoryError if there can be none.
    """

    __slots__ = ("_bell", "_failure", "_result", "over")

    def __init__(self, function: Callable[..., Any], *arguments: Any, bell: Bell | None = None):
        self.over = False
        self._bell = bell or Bell()
        self._result: Any = None
        self._failure: BaseException | None = None

        def work() -> None:
            try:
                self._result = function(*arguments)
            except BaseException as error:  # noqa: BLE001 - handed on to the caller, by result()
                self._failure = error
            self.over = True
            self._bell.ring()

        try:
            _thread.start_new_thread(work, ())
        except RuntimeError as error:
            raise MemoryError from error

    def wait(self, deadline: Deadline) -> bool:
        """Whether it has come to its end in time."""
        return self._bell.wait(lambda: self.over, deadline)

    def result(self) -> Any:
        """What the function returned, or the error that it raised; for one that is over."""
        if self._failure:
            raise self._failure
        return self._result


class Bell:
    """A bell that each of several threads rings as it ends, while one thread waits for them."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()

    def ring(self) -> None:
        """Wake the waiting thread, now or when it comes to wait."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # It rings already.

    def wait(self, condition: Callable[[], object], deadline: Deadline) -> bool:
        """Wait until the condition holds, which is looked at after each ring."""
        while not condition():
            if not self._lock.acquire(timeout=max(0.001, deadline.remaining())):
                return bool(condition())
        return True
