"""The lock of an instance: two starts or stops of one resource do not run at the same time.

Made by `state.Store`, taken by the actions in `start` and `service`.
"""
from __future__ import annotations

import os

from .errors import AgentError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .deadline import Deadline


class Lock:
    """flock: the kernel frees it when its holder ends, in whatever way."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int, deadline: Deadline) -> None:
        import fcntl
        import time

        self._descriptor = descriptor
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    os.close(descriptor)
                    raise StateError(f"cannot lock: {error.strerror}") from error
                if not deadline.remaining():
                    os.close(descriptor)
                    raise AgentError(
                        "another start or stop of this resource is still at work") from None
                time.sleep(0.05)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Free it."""
        os.close(self._descriptor)

    def valid(self) -> bool:
        """Whether its file is still there: without that a second lock is possible."""
        return os.fstat(self._descriptor).st_nlink > 0
