"""The verdict of an API check: does the API serve, and if not, which service is at fault?

Called by `api`. What is not exactly right is examined, by asking Keystone and for the public
version document, before the service is blamed: a restart of a healthy API mends nothing while
Keystone is down. The table is docs/verdicts.md.
"""
from __future__ import annotations

import time

from . import credentials, keystone, listening
from .call import ROUND_TRIP
from .errors import AgentError, ConfigurationError, PermissionDeniedError
from .exitcode import ExitCode
from .keystone import NoTokenError, RefusedError
from .outcome import Outcome
from .reason import Reason
from .target import Questions, Target
from .url import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import Api
    from .check import Subject
    from .credentials import Identity
    from .deadline import Deadline

API_SHARE, TOKEN_SHARE = 0.4, 0.6
"""Parts of the time left: after API_SHARE without an answer of the API Keystone is asked as well,
which gets TOKEN_SHARE. The API may answer until all of the time is over."""

BEHIND_SHARE = 0.8
"""Part of the time for an API whose answer comes from another service."""

SECOND = 1.0
"""Seconds in which Keystone's times do not differ. With a new password, or a role that is taken
away, it invalidates each token of the user that it issued before or in the same second."""

REFUSED, SERVED = "refused", "served"
"""What a request without a token came to, as it is remembered."""

NOBODY = "a monitor of level 20 needs os_username and the rest of its credentials"

MEMORY = "api"
"""The part of the state that holds the token, and what a request without one came to."""


class Examination:
    """One look at one API.

    api: the declaration. subject: the instance.
    """

    __slots__ = ("_api", "_memory", "_name", "_subject", "_values")

    def __init__(self, api: Api, subject: Subject) -> None:
        self._api = api
        self._subject = subject
        self._name = subject.name
        self._values = subject.values
        self._memory = subject.memory(MEMORY)

    def ready(self, deadline: Deadline) -> Outcome | None:
        """SUCCESS when the daemon's own socket serves the version document."""
        return listening.ready(self._subject, self._subject.daemon.port, self._serves, deadline)

    def verdict(self, deadline: Deadline) -> Outcome:
        """The verdict of a recurring monitor."""
        # With the parameter url the operator says what is asked.
        if not (self._values.given("url") and listening.known(self._subject)):
            try:
                trouble = listening.ensure(
                    self._subject, self._subject.daemon.port, self._serves, deadline)
            except PermissionDeniedError as error:
                # 4 would move away a service that is not known to be bad.
                return Outcome(ExitCode.DEGRADED, f"{self._name} runs; not checked: {error}")
            if trouble:
                return trouble
        url = listening.known(self._subject)
        try:
            self._api.validate(self._values)
            target = self._target(url)
            identity = credentials.identity(self._values, self._api.own(target.root))
        except AgentError as error:
            # A wrong parameter of the monitor is no reason to stop the service.
            return self._simple_target(url).without_token(
                f"not checked: {error}", ExitCode.DEGRADED, deadline)
        travels = self._api.record is not None and self._subject.level >= ROUND_TRIP
        if identity is None:
            return target.without_token(NOBODY, ExitCode.DEGRADED, deadline) if travels else (
                target.serves(deadline))
        outcome = self._examine(target, identity, deadline)
        if _well(outcome) and not self._open_door():
            outcome = self._anonymous(target, deadline)
        if _well(outcome) and travels:
            outcome = self._round_trip(target, identity, deadline)
            if outcome.code == ExitCode.ERR_GENERIC:
                # A token that cannot be verified any more looks the same.
                again = self._examine(target, identity, deadline)
                return outcome if _well(again) else again
        return outcome

    def _round_trip(self, target: Target, identity: Identity, deadline: Deadline) -> Outcome:
        """The verdict of check level 20."""
        from .roundtrip import RoundTrip

        token = keystone.kept(self._memory, identity)
        record = self._api.record
        if not token or not record:  # Its life is over just now; the next monitor has a new one.
            return Outcome(ExitCode.SUCCESS)
        return RoundTrip(target, record, token, instance=self._subject.tag, user=identity.user,
                         deadline=deadline).verdict()

    def _open_door(self) -> bool:
        """Whether requests without a token are meant to be served."""
        return not self._api.is_keystone and self._values.boolean("allow_anonymous")

    def _serves(self, url: str, deadline: Deadline) -> Outcome:
        """Whether the public version document is served; start needs no Keystone for that.

        It is looked for where the daemon listens, and only where this is not plain HTTP at the
        parameter url, which may lead to another node.
        """
        given = self._values.given("url")
        outcome = self._local(url).serves(deadline.share(0.5) if given else deadline)
        if outcome.good or not given:
            return outcome
        return self._target(url).serves(deadline)

    def _examine(self, target: Target, identity: Identity, deadline: Deadline) -> Outcome:
        """The verdict table of docs/verdicts.md, from top to bottom."""
        # Where an answer may never come, time is left for the version document.
        questions = Questions(target, deadline.share(BEHIND_SHARE) if self._api.behind
                              else deadline)
        token = keystone.kept(self._memory, identity)
        asked = 0
        while True:
            if not token:
                try:
                    token = keystone.issue(identity, deadline.share(TOKEN_SHARE))
                except RefusedError as error:
                    # Neither Keystone nor the service is at fault: the policy has no say.
                    return questions.without_token(
                        error.reason, ExitCode.DEGRADED, deadline)
                except NoTokenError as error:
                    if self._api.is_keystone:
                        return Outcome(
                            ExitCode.ERR_GENERIC, Reason(f"{self._name}: ", error.reason))
                    return questions.without_token(
                        error.reason, self._api.policy(self._values), deadline)
                except AgentError as error:
                    return questions.without_token(str(error), ExitCode.DEGRADED, deadline)
                token.keep(self._memory, identity)
            answer = questions.ask(token, deadline.share(API_SHARE))
            asked += 1
            if answer.status not in (401, 503) and not answer.late:
                break
            if asked > 1:
                if asked > 2 or answer.status != 401 or deadline.remaining() < 4 * SECOND:
                    answer = questions.last(answer)
                    break
                # Perhaps the password is new: the next token is of a later second.
                time.sleep(SECOND)
            # Is it Keystone, which the service asks about the token? A request for one tells.
            token = None
        if answer.status == 200:
            return Outcome(ExitCode.SUCCESS)
        if answer.status == 403:
            return Outcome(
                ExitCode.DEGRADED,
                f"{self._name} answers, but forbids {identity.user} to read {target.path} (403)")
        if self._api.behind and (answer.late or answer.status >= 500):
            # The answer comes from another service, by a message: a restart mends nothing.
            return target.without_token(
                Reason(f"GET {target.path} {answer.trouble}: is ", self._api.behind, " well?"),
                ExitCode.DEGRADED, deadline)
        return target.failure(answer)

    def _anonymous(self, target: Target, deadline: Deadline) -> Outcome:
        """SUCCESS, unless the service answers a request without a token.

        It is asked once in a token's life; while it does answer, each time, so that the
        monitor notices when that is mended.
        """
        if self._memory.get("anonymous") != REFUSED:
            answer = target.ask(None, deadline)
            if answer.status == 200:
                self._memory["anonymous"] = SERVED
                return Outcome(
                    ExitCode.DEGRADED, f"{self._name} serves without authentication: set "
                    + (self._api.authentication or "it in its configuration"))
            if answer.status in (401, 403):
                self._memory["anonymous"] = REFUSED
        return Outcome(ExitCode.SUCCESS)

    def _local(self, url: str) -> Target:
        """What is asked where the daemon listens."""
        return Target(self._name, url + self._api.path, public=self._api.public,
                      headers=self._api.headers, local=True, hint=self._api.hint)

    def _simple_target(self, url: str) -> Target:
        """Where the version document is served, when a parameter of the check is wrong.

        That is where the daemon listens; but with an https url the daemon is behind a proxy, or
        speaks TLS itself. No token is sent there, so nothing need be verified.
        """
        given = self._values.text("url").strip()
        if given.lower().startswith("https:"):
            try:
                given = credentials.checked_url("url", given, query=True)
                return Target(self._name, split(given)[0] + self._api.path,
                              public=self._api.public, tls=credentials.tls(verify=False))
            except ConfigurationError:
                pass
        return self._local(url)

    def asked(self, url: str) -> str:
        """The URL of the check; url: where the daemon was seen to listen. ConfigurationError."""
        given = self._values.text("url")
        if not given:
            return url + self._api.path
        given = credentials.checked_url("url", given, query=True)
        root, _, rest = split(given)
        return given if rest.strip("/") else root + self._api.path

    def _target(self, url: str) -> Target:
        """What is asked: the parameter url, else where the daemon was seen to listen."""
        if not self._values.given("url"):
            return self._local(url)
        given = self.asked(url)
        tls = (credentials.tls(credentials.verification(self._values))
               if given.startswith("https:") else None)
        return Target(self._name, given, public=self._api.public, headers=self._api.headers,
                      tls=tls, hint=self._api.hint)


def _well(outcome: Outcome) -> bool:
    """Whether there is nothing to say."""
    return outcome.good and not outcome.reason
