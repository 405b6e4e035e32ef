"""The declaration of an API check: what is asked, and with whose credentials.

An Api is part of a Service's declaration. It makes one authenticated GET, which reads the
service's database; the verdict on the answer is in `examination`. What check level 20
makes is a `check.Record`, and its verdict in `roundtrip`.
"""
from __future__ import annotations

from . import credentials
from .call import ROUND_TRIP, SERVES
from .check import Check
from .exitcode import ExitCode
from .parameters import Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .check import Record, Subject
    from .deadline import Deadline
    from .outcome import Outcome
    from .parameters import Values

POLICIES = {"degraded": ExitCode.DEGRADED, "ignore": ExitCode.SUCCESS,
            "fail": ExitCode.ERR_GENERIC}

VERSIONS = b'"versions"'
"""Stands in the public document of nearly all services: the list of API versions."""

LOCALHOST = "http://localhost"
"""For validation, in the place of the address where a Keystone that is checked listens."""


class Api(Check):
    """How to check a service's API.

    path: of the authenticated GET; it must read the database. {project_id} and {user_id} are
        those of the token.
    headers: further headers of that GET.
    public: bytes that the answer to GET / has, which needs no token.
    authentication: the option that makes the service ask for a token, as `[section] name = value`.
    behind: a service behind this one that answers the GET; a restart of this one mends nothing.
    hint: what a 404 to it may come from.
    record: what a monitor of level 20 makes, finds again and deletes.
    token_url: default of keystone_get_token_url.
    is_keystone: whether the service is Keystone: no other service can be to blame then.
    """

    __slots__ = ("authentication", "behind", "headers", "hint", "is_keystone", "path", "public",
                 "record", "token_url")

    text = ("serves, checks it by an authenticated request that reads its database, tells a fault "
            "of the server from one of Keystone")

    def __init__(
        self, path: str, *, headers: Mapping[str, str] | None = None, public: bytes = VERSIONS,
        authentication: str = "", behind: str = "", hint: str = "", record: Record | None = None,
        token_url: str = "", is_keystone: bool = False,
    ) -> None:
        self.record = record
        self.path = path
        self.headers = dict(headers or {})
        self.public = public
        self.authentication = authentication
        self.behind = behind
        self.hint = hint
        self.token_url = token_url
        self.is_keystone = is_keystone

    @property
    def level(self) -> int:
        """The highest check level."""
        return ROUND_TRIP if self.record else SERVES

    @property
    def further(self) -> str:
        """What level 20 adds, for the meta-data."""
        if not self.record:
            return ""
        return (f"A monitor with OCF_CHECK_LEVEL=20 also makes {self.record.text}, looks for it in "
                f"the list and deletes it; its user needs the role {self.record.role}.")

    def parameters(self, port: int) -> tuple[Parameter, ...]:
        """The parameters of the check; port: where the service listens by default."""
        url = Parameter(
            "url", "URL of the API check",
            "The URL that the monitor asks. By default the address and port that the server "
            f"was seen to listen on, with {self.path}, so that no other node can answer in its "
            "place. A URL without a path, or with nothing but a version (as "
            f"http://127.0.0.1:{port}/v1/ in the HA guide), is completed with {self.path}. "
            f"{self.hint}".rstrip(), reloadable=True)
        policy = Parameter(
            "keystone_failure", "Verdict while Keystone is in trouble",
            "What the monitor says of a server that answers while Keystone gives no token: "
            "degraded (exit code 190: Pacemaker leaves the resource alone and shows the "
            "reason), ignore (0) or fail (1: the server is restarted).",
            default="degraded", reloadable=True)
        anonymous = Parameter(
            "allow_anonymous", "Whether requests without a token are meant to be served",
            "With each new token the monitor makes one request without any. If the server "
            "answers it, it asks for no token, and anybody can read and write: exit "
            f"code 190, until {self.authentication or 'the configuration'} is set. true: it is "
            "meant to be so.", kind="boolean", default="false", reloadable=True)
        own = credentials.parameters(self.token_url, own=self.is_keystone)
        return (url, *own) if self.is_keystone else (url, *own, policy, anonymous)

    def validate(self, values: Values) -> None:
        """Look at the parameters alone; ConfigurationError where no node could use them."""
        if values.given("url"):
            credentials.checked_url("url", values.text("url"), query=True)
        if values.given("os_auth_url") or values.text("keystone_get_token_url"):
            credentials.identity_root(values)
        credentials.identity(values, self.own(LOCALHOST))
        credentials.verification(values)
        if not self.is_keystone:
            self.policy(values)
            values.boolean("allow_anonymous")

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError for a package or a CA file that is missing."""
        credentials.validate_host(values, self.own(LOCALHOST))

    def remarks(self, values: Values) -> Iterator[str]:
        """Warnings: what is allowed, but may surprise."""
        identity = credentials.identity(values, self.own(LOCALHOST))
        if identity and identity.port:
            yield (f"os_auth_url is not given: Keystone is asked at {identity.url}, and only "
                   "while a service of the system listens there; give os_auth_url")

    def secrets(self, values: Values) -> tuple[str, ...]:
        """The password of the check."""
        return (values.text("os_password"),)

    def policy(self, values: Values) -> ExitCode:
        """What a monitor says while Keystone gives no token, and the service answers."""
        if self.is_keystone:
            return ExitCode.ERR_GENERIC
        return POLICIES[values.choice("keystone_failure", POLICIES)]

    def own(self, root: str) -> str:
        """The Identity URL, where the service itself is Keystone; else empty."""
        return root if self.is_keystone else ""

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """SUCCESS when the daemon's own socket serves the version document."""
        from .examination import Examination

        return Examination(self, subject).ready(deadline)

    def waiting(self, subject: Subject, deadline: Deadline) -> str:
        """Why it is not ready."""
        from . import listening

        return listening.waiting(subject, subject.daemon.port, deadline)

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """The verdict of a recurring monitor; a new token is left in the state."""
        from .examination import Examination

        return Examination(self, subject).verdict(deadline)
