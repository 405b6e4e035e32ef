"""The API check: is the service serving, and if not, whose fault is it?

An ApiCheck is part of an agent's declaration; the actions in `agent` call it. It makes one
authenticated GET, which reads the service's database. What is not exactly right is examined, by
asking Keystone and for the public version document, before anyone is blamed: a restart of a
healthy API helps nobody while Keystone is down.
"""
from __future__ import annotations

import time

from . import keystone
from .deadline import Bell, Deadline, Pending
from .errors import AgentError, ConfigurationError
from .exitcode import ExitCode
from .http import LATE, NO_MEMORY, Answer, get, split
from .keystone import NoTokenError, RefusedError
from .parameters import Parameter
from .reason import Reason, Spare

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from .keystone import Identity
    from .parameters import Values
    from .state import State

API_SHARE, TOKEN_SHARE = 0.4, 0.6
"""Parts of the time left: after API_SHARE without an answer of the API Keystone is asked as well,
which gets TOKEN_SHARE. The API may answer until all of the time is over."""

REFUSED, SERVED = "refused", "served"
"""What a request without a token came to (State.anonymous)."""

POLICIES = {"degraded": ExitCode.DEGRADED, "ignore": ExitCode.SUCCESS,
            "fail": ExitCode.ERR_GENERIC}


class Verdict:
    """What a monitor says, and why; no reason where all is well."""

    __slots__ = ("code", "reason")

    def __init__(self, code: ExitCode, reason: str = "") -> None:
        self.code = code
        self.reason = reason


class ApiCheck:
    """How to check a service's API.

    port: where it listens by default; chooses between the sockets of a daemon with several.
    path: of the authenticated GET; it must read the database.
    authentication: the option that makes the service ask for a token, as `[section] name = value`.
    hint: what a 404 to it may come from.
    token_url: default of keystone_get_token_url.
    """

    __slots__ = ("authentication", "hint", "parameters", "path", "port")

    def __init__(
        self, *, port: int, path: str, authentication: str = "", hint: str = "",
        token_url: str = "",
    ) -> None:
        self.port = port
        self.path = path
        self.authentication = authentication
        self.hint = hint
        self.parameters = (
            Parameter(
                "url", "URL of the API check",
                "The URL that the monitor asks. By default the address and port that the server "
                f"was seen to listen on, with {path}, so that no other node can answer in its "
                "place. A URL without a path, or with nothing but a version (as "
                f"http://127.0.0.1:{port}/v1/ in the HA guide), is completed with {path}. "
                f"{hint}".rstrip(), reloadable=True),
            *keystone.parameters(token_url),
            Parameter(
                "keystone_failure", "Verdict while Keystone is in trouble",
                "What the monitor says of a server that answers while Keystone gives no token: "
                "degraded (exit code 190: Pacemaker leaves the resource alone and shows the "
                "reason), ignore (0) or fail (1: the server is restarted).",
                default="degraded", reloadable=True),
            Parameter(
                "allow_anonymous", "Whether requests without a token are meant to be served",
                "With each new token the monitor makes one request without any. If the server "
                "answers it, it asks nobody for a token, and anybody may read and write: exit "
                f"code 190, until {authentication or 'the configuration'} is set. true: it is "
                "meant to be so.", kind="boolean", default="false", reloadable=True),
        )

    def validate(self, values: Values) -> None:
        """Look at the parameters alone; ConfigurationError where no node could use them."""
        if values.given("url"):
            keystone.checked_url("url", values.text("url"), query=True)
        if values.given("os_auth_url") or values.text("keystone_get_token_url"):
            keystone.identity_root(values)
        keystone.identity(values)
        keystone.verification(values)
        values.choice("keystone_failure", POLICIES)
        values.boolean("allow_anonymous")

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError for a package or a CA file that is missing."""
        keystone.validate_host(values)

    def remarks(self, values: Values) -> Iterator[str]:
        """What is sound, but not as it looks; for who validates."""
        identity = keystone.identity(values)
        if identity and identity.port:
            yield (f"os_auth_url is not given: Keystone is asked at {identity.url}, and only "
                   "while a service of the system listens there; give os_auth_url")

    def serves(self, name: str, values: Values, url: str, deadline: Deadline) -> Verdict:
        """Whether the public version document is there; for start, which needs no Keystone.

        It is looked for where the daemon listens, and only where this is not plain HTTP at the
        parameter url, which may lead to another node.
        """
        verdict = Target(name, url + self.path, local=True).public(
            deadline.share(0.5) if values.given("url") else deadline)
        if verdict.code == ExitCode.SUCCESS or not values.given("url"):
            return verdict
        return self._target(name, values, url).public(deadline)

    def verdict(
        self, name: str, values: Values, state: State, deadline: Deadline,
    ) -> Verdict:
        """The verdict of a recurring monitor; a new token is left in the state."""
        try:
            self.validate(values)
            target = self._target(name, values, state.url)
            identity = keystone.identity(values)
            policy = POLICIES[values.choice("keystone_failure", POLICIES)]
            open_door = values.boolean("allow_anonymous")
        except AgentError as error:
            # Whoever mistyped a parameter of the monitor did not mean the service to stop.
            target = self._simple_target(name, values, state.url)
            return target.without_token(f"not checked: {error}", ExitCode.DEGRADED, deadline)
        if identity is None:
            return target.public(deadline)
        verdict = _examine(target, identity, state, policy, deadline)
        if verdict.code == ExitCode.SUCCESS and not verdict.reason and not open_door:
            return self._anonymous(target, state, deadline)
        return verdict

    def _anonymous(self, target: Target, state: State, deadline: Deadline) -> Verdict:
        """0, unless the service answers a request without a token.

        It is asked once in a token's life; while it does answer, each time, so that the mending
        shows at once.
        """
        if state.anonymous != REFUSED:
            answer = target.ask("", deadline)
            if answer.status == 200:
                state.anonymous = SERVED
                return Verdict(
                    ExitCode.DEGRADED, f"{target.name} serves without authentication: set "
                    + (self.authentication or "it in its configuration"))
            if answer.status in (401, 403):
                state.anonymous = REFUSED
        return Verdict(ExitCode.SUCCESS)

    def _simple_target(self, name: str, values: Values, url: str) -> Target:
        """Where the version document is to be had, when a parameter of the check is wrong.

        That is where the daemon listens; but who gives an https url has a daemon behind it, or
        one that speaks TLS itself. No token is sent there, so nothing need be verified.
        """
        given = values.text("url").strip()
        if given.lower().startswith("https:"):
            try:
                given = keystone.checked_url("url", given, query=True)
                return Target(name, split(given)[0] + self.path, tls=keystone.tls(verify=False))
            except ConfigurationError:
                pass
        return Target(name, url + self.path, local=True)

    def _target(self, name: str, values: Values, url: str) -> Target:
        """What is asked: the parameter url, else where the daemon was seen to listen."""
        given = values.text("url")
        if not given:
            return Target(name, url + self.path, local=True, hint=self.hint)
        given = keystone.checked_url("url", given, query=True)
        root, _, rest = split(given)
        if not rest.strip("/"):
            given = root + self.path
        tls = keystone.tls(keystone.verification(values)) if given.startswith("https:") else None
        return Target(name, given, tls=tls, hint=self.hint)


def _examine(
    target: Target, identity: Identity, state: State, policy: ExitCode, deadline: Deadline,
) -> Verdict:
    """The verdict table of docs/verdicts.md, from top to bottom."""
    questions = Questions(target, deadline)
    token = ""
    if (keystone.is_token(state.token) and state.token_until > time.time()
            and identity.sealed(state.token_key)):
        token = state.token
    for _ in range(2):
        if not token:
            try:
                new = identity.token(deadline.share(TOKEN_SHARE))
            except RefusedError as error:
                # Not Keystone's fault, nor the service's: the policy has no say.
                return questions.without_token(error.reason, ExitCode.DEGRADED)
            except NoTokenError as error:
                return questions.without_token(error.reason, policy)
            except AgentError as error:
                return questions.without_token(str(error), ExitCode.DEGRADED)
            token = new.text
            state.token, state.token_until, state.token_key = token, new.until, identity.seal()
            state.anonymous = ""
        answer = questions.ask(token, deadline.share(API_SHARE))
        if answer.status not in (401, 503) and not answer.late:
            break
        # Is it Keystone, which the service asks about the token? A new token tells.
        token = ""
    else:
        answer = questions.last(answer)
    if answer.status == 200:
        return Verdict(ExitCode.SUCCESS)
    if answer.status == 403:
        return Verdict(
            ExitCode.DEGRADED,
            f"{target.name} answers, but forbids {identity.user} to read {target.path} (403)")
    return target.failure(answer)


class Questions:
    """The authenticated GETs of one monitor.

    One that is late is not given up: the API may be slow, and is well if it answers in the end.
    Keystone, and the API once more, are asked beside it. (A call to `last` or `without_token` is
    the end of it.)
    """

    __slots__ = ("_asked", "_bell", "_deadline", "_target")

    def __init__(self, target: Target, deadline: Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self._bell = Bell()
        self._asked: list[Pending] = []

    def ask(self, token: str, deadline: Deadline) -> Answer:
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

    def without_token(self, trouble: str, code: ExitCode) -> Verdict:
        """The verdict where Keystone gives no token: does the API answer at all?"""
        target = self._target
        before = self._settled()
        if before and before.status == 200:
            return Verdict(ExitCode.SUCCESS)
        answer = target.version_document(self._deadline)
        if answer.status in (200, 300):
            return Verdict(code, Reason(f"{target.name} answers; ", trouble))
        before = self._settled()
        if before and before.status == 200:
            return Verdict(ExitCode.SUCCESS)
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


class Target:
    """What is asked: the URL of the authenticated GET, and the version document beside it.

    local: only this host may answer; not where the operator gave a URL.
    """

    __slots__ = ("_hint", "_local", "_tls", "_url", "name", "path")

    def __init__(
        self, name: str, url: str, *, local: bool = False, tls: ssl.SSLContext | None = None,
        hint: str = "",
    ) -> None:
        self.name = name
        self._url = url
        self._local = local
        self._tls = tls
        self._hint = hint
        self.path = "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]

    def begin(self, token: str, deadline: Deadline, bell: Bell) -> Pending:
        """The authenticated GET, under way; MemoryError if it cannot be."""
        return Pending(self._get, self._url, token, deadline, bell=bell)

    def ask(self, token: str, deadline: Deadline) -> Answer:
        """One GET of the check's path, and its answer."""
        return self._answer(self._url, token, deadline)

    def public(self, deadline: Deadline) -> Verdict:
        """0 if the public version document is served, else 1."""
        answer = self.version_document(deadline)
        if answer.status in (200, 300):
            return Verdict(ExitCode.SUCCESS)
        return self.failed(answer)

    def without_token(self, trouble: str, code: ExitCode, deadline: Deadline) -> Verdict:
        """The given code with the trouble as reason, if the public version document is there."""
        answer = self.version_document(deadline)
        if answer.status in (200, 300):
            return Verdict(code, Reason(f"{self.name} answers; ", trouble))
        return self.failed(answer, trouble)

    def failed(self, answer: Answer, trouble: str = "") -> Verdict:
        """1: it runs and does not serve; 190 where this node could not even ask."""
        return Verdict(
            ExitCode.DEGRADED if answer.local else ExitCode.ERR_GENERIC,
            Reason(self.name, Spare(f" at {self._root}"), f" {answer.trouble}",
                   *(("; ", trouble) if trouble else ())))

    def failure(self, answer: Answer) -> Verdict:
        """The same, of the authenticated GET."""
        if not answer.status:
            return self.failed(answer)
        hint = f" ({self._hint})" if answer.status == 404 and self._hint else ""
        return Verdict(
            ExitCode.ERR_GENERIC,
            Reason(f"{self.name} {answer.trouble} to GET {self.path}",
                   Spare(f" at {self._root}"), hint))

    @property
    def _root(self) -> str:
        return split(self._url)[0]

    def version_document(self, deadline: Deadline) -> Answer:
        """The answer to GET /, which needs no token; no status if it is something else."""
        answer = self._answer(self._root + "/", "", deadline)
        if answer.status in (200, 300) and b'"versions"' not in answer.body:
            return Answer(trouble="serves something else than its versions")
        return answer

    def _answer(self, url: str, token: str, deadline: Deadline) -> Answer:
        try:
            return deadline.within(self._get, url, token, deadline)
        except TimeoutError:
            return Answer(trouble=LATE)
        except MemoryError:
            return Answer(trouble=NO_MEMORY, local=True)

    def _get(self, url: str, token: str, deadline: Deadline) -> Answer:
        return get(url, token, max(0.1, deadline.remaining()), local=self._local, tls=self._tls)
