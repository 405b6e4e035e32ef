"""The check of a daemon with a port and no API: does it answer there at all?

A Port is part of a Service's declaration, for the console proxies: any answer in HTTP will do,
since nothing can be asked of them without a console's token.
"""
from __future__ import annotations

from . import listening
from .check import Check
from .errors import PermissionDeniedError
from .exitcode import ExitCode
from .http import LATE, NO_MEMORY, Answer, ask
from .outcome import Outcome
from .reason import Reason, Spare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .check import Subject
    from .deadline import Deadline


class Port(Check):
    """A daemon whose own socket answers in HTTP; path: what is asked for."""

    __slots__ = ("_path",)

    text = "answers at its port, asks it for any answer"

    def __init__(self, path: str = "/") -> None:
        self._path = path

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """SUCCESS when the daemon's own socket answers."""
        return listening.ready(subject, subject.daemon.port, self._asking(subject), deadline)

    def waiting(self, subject: Subject, deadline: Deadline) -> str:
        """Why it is not ready."""
        return listening.waiting(subject, subject.daemon.port, deadline)

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """SUCCESS if it answers; 1 if it does not."""
        ask = self._asking(subject)
        try:
            trouble = listening.ensure(subject, subject.daemon.port, ask, deadline)
        except PermissionDeniedError as error:
            return Outcome(ExitCode.DEGRADED, f"{subject.name} runs; not checked: {error}")
        return trouble or ask(listening.known(subject), deadline)

    def _asking(self, subject: Subject) -> listening.Ask:
        def ask(url: str, deadline: Deadline) -> Outcome:
            answer = self._answer(url, deadline.share(0.5))
            if answer.trouble == LATE:
                # Of connections that come at the same moment nova-novncproxy now and then leaves
                # one without an answer for ever, and is well: it takes the next one.
                answer = self._answer(url, deadline)
            if answer.status:
                return Outcome(ExitCode.SUCCESS)
            return Outcome(
                ExitCode.DEGRADED if answer.local else ExitCode.ERR_GENERIC,
                Reason(subject.name, Spare(f" at {url}"), f" {answer.trouble}"))

        return ask

    def _answer(self, url: str, deadline: Deadline) -> Answer:
        try:
            answer: Answer = deadline.within(self._get, url, deadline)
        except TimeoutError:
            return Answer(trouble=LATE)
        except MemoryError:
            return Answer(trouble=NO_MEMORY, local=True)
        return answer

    def _get(self, url: str, deadline: Deadline) -> Answer:
        return ask(url + self._path, "", max(0.1, deadline.remaining()), local=True)
