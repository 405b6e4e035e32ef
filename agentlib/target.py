"""What a check asks of an API: the authenticated GET, and the public document beside it.

Called by `examination` and `roundtrip`; `http` does the asking. A Target is one URL with its names
for exit reasons; Questions are the requests of one monitor, some of them under way at the same
time.
"""
from __future__ import annotations

from .deadline import Bell, Pending
from .exitcode import ExitCode
from .http import LATE, NO_MEMORY, Answer, ask
from .outcome import Outcome
from .reason import Reason, Spare
from .url import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from .deadline import Deadline
    from .keystone import Token

class Target:
    """The URL of the authenticated GET, and the public document of the same server.

    path: of the URL, for exit reasons; root: what is before its version.
    public: bytes that the public document has. headers: of the authenticated GET.
    local: only this host may answer; not where the operator gave a URL.
    hint: what a 404 may come from.
    """

    __slots__ = ("_headers", "_hint", "_local", "_public", "_tls", "_url", "name", "path", "root")

    def __init__(
        self, name: str, url: str, *, public: bytes,
        headers: Mapping[str, str] | None = None, local: bool = False,
        tls: ssl.SSLContext | None = None, hint: str = "",
    ) -> None:
        self.name = name
        self._url = url
        self._public = public
        self._headers = headers or {}
        self._local = local
        self._tls = tls
        self._hint = hint
        self.path = "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]
        self.root = split(url)[0]

    def begin(self, token: Token, deadline: Deadline, bell: Bell) -> Pending:
        """The authenticated GET, under way; MemoryError if it cannot be."""
        return Pending(self._get, self._filled(token), token.text, deadline, bell=bell)

    def ask(self, token: Token | None, deadline: Deadline) -> Answer:
        """One GET of the check's path, and its answer; without a token where there is none."""
        return self._answer(self._filled(token), token.text if token else "", deadline)

    def send(
        self, method: str, path: str, token: Token, deadline: Deadline, body: bytes = b"",
        kind: str = "application/json",
    ) -> Answer:
        """Another request to the same server, as the token's owner.

        path: from the version on. kind: the media type of the body, or else of the answer.
        """
        headers = {**self._headers, "Content-Type" if body else "Accept": kind}
        return _within(deadline, self._request, method, self.root + path, token.text, deadline,
                       body, headers)

    def serves(self, deadline: Deadline) -> Outcome:
        """SUCCESS if the public document is served, else 1."""
        answer = self.document(deadline)
        if answer.status in (200, 300):
            return Outcome(ExitCode.SUCCESS)
        return self.failed(answer)

    def without_token(self, trouble: str, code: ExitCode, deadline: Deadline) -> Outcome:
        """The given code with the trouble as reason, if the public version document is there."""
        answer = self.document(deadline)
        if answer.status in (200, 300):
            return Outcome(code, Reason(f"{self.name} answers; ", trouble))
        return self.failed(answer, trouble)

    def failed(self, answer: Answer, trouble: str = "") -> Outcome:
        """1: it runs and does not serve; 190 where this node could not even ask."""
        return Outcome(
            ExitCode.DEGRADED if answer.local else ExitCode.ERR_GENERIC,
            Reason(self.name, Spare(f" at {self.root}"), f" {answer.trouble}",
                   *(("; ", trouble) if trouble else ())))

    def failure(self, answer: Answer) -> Outcome:
        """The same, of the authenticated GET."""
        if not answer.status:
            return self.failed(answer)
        hint = f" ({self._hint})" if answer.status == 404 and self._hint else ""
        return Outcome(
            ExitCode.ERR_GENERIC,
            Reason(f"{self.name} {answer.trouble} to GET {self.path}",
                   Spare(f" at {self.root}"), hint))

    def document(self, deadline: Deadline) -> Answer:
        """The answer to GET /, which needs no token; no status if it is something else."""
        answer = self._answer(self.root + "/", "", deadline)
        if answer.status in (200, 300) and self._public not in answer.body:
            return Answer(trouble="does not answer GET / with a version document")
        return answer

    def _filled(self, token: Token | None) -> str:
        """The URL, with the ids of the token's owner in it."""
        project, user = (token.project, token.user) if token else ("", "")
        return self._url.replace("{project_id}", project or "-").replace("{user_id}", user or "-")

    def _answer(self, url: str, token: str, deadline: Deadline) -> Answer:
        return _within(deadline, self._get, url, token, deadline)

    def _get(self, url: str, token: str, deadline: Deadline) -> Answer:
        return self._request("GET", url, token, deadline, b"", self._headers if token else {})

    def _request(
        self, method: str, url: str, token: str, deadline: Deadline, body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        return ask(url, token, max(0.1, deadline.remaining()), method=method, body=body,
                   headers=headers, local=self._local, tls=self._tls)


class Questions:
    """The authenticated GETs of one monitor.

    A late one is not given up: the API may be slow, and is well if it answers in the end.
    Keystone, and the API once more, are asked beside it. (`last` or `without_token` is called
    once, at the end.)
    """

    __slots__ = ("_asked", "_bell", "_deadline", "_target")

    def __init__(self, target: Target, deadline: Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self._bell = Bell()
        self._asked: list[Pending] = []

    def ask(self, token: Token, deadline: Deadline) -> Answer:
        """Ask, and wait until the deadline for any answer that settles it."""
        try:
            self._asked.append(self._target.begin(token, self._deadline, self._bell))
        except MemoryError:
            return Answer(trouble=NO_MEMORY, local=True)
        return self._wait(deadline)

    def last(self, answer: Answer) -> Answer:
        """The answer that settles it, if one comes while there is time; else the given one."""
        if not answer.late and all(question.over for question in self._asked):
            return answer
        settled = self._wait(self._deadline)
        return answer if settled.late else settled

    def without_token(self, trouble: str, code: ExitCode, deadline: Deadline) -> Outcome:
        """The verdict where Keystone gives no token: does the API answer at all?

        deadline: for that; the one for answers to the GETs may be all but over.
        """
        target = self._target
        before = self._settled()
        if before and before.status == 200:
            return Outcome(ExitCode.SUCCESS)
        answer = target.document(deadline)
        if answer.status in (200, 300):
            return Outcome(code, Reason(f"{target.name} answers; ", trouble))
        before = self._settled()
        if before and before.status == 200:
            return Outcome(ExitCode.SUCCESS)
        answers = [question.result() for question in self._asked if question.over]
        seen = next((given for given in answers if given.status), answer)
        return target.failed(seen, trouble)

    def _wait(self, deadline: Deadline) -> Answer:
        self._bell.wait(
            lambda: self._settled() or all(question.over for question in self._asked), deadline)
        settled = self._settled()
        if settled:
            return settled
        over = [question.result() for question in self._asked if question.over]
        return over[-1] if over else Answer(trouble=LATE)

    def _settled(self) -> Answer | None:
        """An answer that no other question can change: all but what Keystone may be behind."""
        answers = [question.result() for question in self._asked if question.over]
        return next((answer for answer in answers
                     if answer.status not in (401, 503) and not answer.late), None)


def _within(deadline: Deadline, request: Callable[..., Answer], *arguments: object) -> Answer:
    """The answer to a request that has until the deadline, its resolver as well."""
    try:
        return deadline.within(request, *arguments)
    except TimeoutError:
        return Answer(trouble=LATE)
    except MemoryError:
        return Answer(trouble=NO_MEMORY, local=True)
