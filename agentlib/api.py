"""The API check: is the service serving, and if not, whose fault is it?

An ApiCheck is part of an agent's declaration; the actions in `agent` call it. It makes one
authenticated GET, which reads the service's database. What is not exactly right is examined, by
asking Keystone and for the public version document, before anyone is blamed: a restart of a
healthy API helps nobody while Keystone is down.
"""
from __future__ import annotations

import errno
import time

from . import keystone
from .errors import AgentError, ConfigurationError
from .exitcode import ExitCode
from .keystone import NoTokenError, RefusedError
from .parameters import Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from http.client import HTTPConnection
    from typing import Any

    from .deadline import Deadline
    from .keystone import Identity
    from .parameters import Values
    from .state import State

BODY_LIMIT = 1 << 20
"""Bytes: far more than one image, one volume or a version document take."""

API_SHARE, TOKEN_SHARE = 0.4, 0.6
"""Parts of the time left that a question to the API and one to Keystone may take. Of Keystone
more depends: without its answer in time nobody can be blamed."""

POLICIES = {"degraded": ExitCode.DEGRADED, "ignore": ExitCode.SUCCESS,
            "fail": ExitCode.ERR_GENERIC}


class Verdict:
    """What a monitor says, and why; no reason where all is well."""

    __slots__ = ("code", "reason")

    def __init__(self, code: ExitCode, reason: str = "") -> None:
        self.code = code
        self.reason = reason


class Answer:
    """What came back: an HTTP status with its whole body; or none (0), and what happened."""

    __slots__ = ("body", "status", "trouble")

    def __init__(self, status: int = 0, body: bytes = b"", trouble: str = "") -> None:
        self.status = status
        self.body = body
        self.trouble = trouble or f"answers {status}"

    @property
    def late(self) -> bool:
        """Nothing came in time: the one trouble that may have come from behind the API."""
        return self.trouble == LATE


LATE = "does not answer in time"


class ApiCheck:
    """How to check a service's API.

    port: where it listens by default; chooses between the sockets of a daemon with several.
    path: of the authenticated GET; it must read the database.
    hint: what a 404 to it may come from.
    token_url: default of keystone_get_token_url.
    """

    __slots__ = ("hint", "parameters", "path", "port")

    def __init__(self, *, port: int, path: str, hint: str = "", token_url: str = "") -> None:
        self.port = port
        self.path = path
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

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError for a package or a CA file that is missing."""
        keystone.validate_host(values)

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
        except AgentError as error:
            # Whoever mistyped a parameter of the monitor did not mean the service to stop.
            target = self._simple_target(name, values, state.url)
            return target.without_token(f"not checked: {error}", ExitCode.DEGRADED, deadline)
        if identity is None:
            return target.public(deadline)
        return _examine(target, identity, state, policy, deadline)

    def _simple_target(self, name: str, values: Values, url: str) -> Target:
        """Where the version document is to be had, when a parameter of the check is wrong.

        That is where the daemon listens; but who gives an https url has a daemon behind it, or
        one that speaks TLS itself. No token is sent there, so nothing need be verified.
        """
        given = values.text("url").strip()
        if given.lower().startswith("https:"):
            try:
                given = keystone.checked_url("url", given, query=True)
                return Target(name, _split(given)[0] + self.path, tls=keystone.tls(verify=False))
            except ConfigurationError:
                pass
        return Target(name, url + self.path, local=True)

    def _target(self, name: str, values: Values, url: str) -> Target:
        """What is asked: the parameter url, else where the daemon was seen to listen."""
        given = values.text("url")
        if not given:
            return Target(name, url + self.path, local=True, hint=self.hint)
        given = keystone.checked_url("url", given, query=True)
        root, _, rest = _split(given)
        if not rest.strip("/"):
            given = root + self.path
        tls = keystone.tls(keystone.verification(values)) if given.startswith("https:") else None
        return Target(name, given, tls=tls, hint=self.hint)


def _examine(
    target: Target, identity: Identity, state: State, policy: ExitCode, deadline: Deadline,
) -> Verdict:
    """The verdict table of docs/verdicts.md, from top to bottom."""
    answer = Answer()
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
                return target.without_token(str(error), ExitCode.DEGRADED, deadline, answer)
            except NoTokenError as error:
                return target.without_token(str(error), policy, deadline, answer)
            except AgentError as error:
                return target.without_token(str(error), ExitCode.DEGRADED, deadline, answer)
            token = new.text
            state.token, state.token_until, state.token_key = token, new.until, identity.seal()
        answer = target.ask(token, deadline.share(API_SHARE))
        if answer.status == 200:
            return Verdict(ExitCode.SUCCESS)
        if answer.status == 403:
            return Verdict(
                ExitCode.DEGRADED,
                f"{target.name} answers, but forbids {identity.user} to read {target.path} (403)")
        if not (answer.status in (401, 503) or answer.late):
            break
        # Is it Keystone, which the service asks about the token? A new token tells.
        token = ""
    return target.failure(answer)


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

    def ask(self, token: str, deadline: Deadline) -> Answer:
        """The authenticated GET."""
        return self._get(self._url, token, deadline)

    def public(self, deadline: Deadline) -> Verdict:
        """0 if the public version document is served, else 1."""
        answer = self._version_document(deadline)
        if answer.status in (200, 300):
            return Verdict(ExitCode.SUCCESS)
        return Verdict(ExitCode.ERR_GENERIC, f"{self.name} at {self._root} {answer.trouble}")

    def without_token(
        self, trouble: str, code: ExitCode, deadline: Deadline, before: Answer | None = None,
    ) -> Verdict:
        """The given code with the trouble as reason, if the public version document is there."""
        answer = self._version_document(deadline)
        if answer.status in (200, 300):
            return Verdict(code, f"{self.name} answers; {trouble}")
        seen = before if before and before.status else answer
        return Verdict(
            ExitCode.ERR_GENERIC, f"{self.name} at {self._root} {seen.trouble}; {trouble}")

    def failure(self, answer: Answer) -> Verdict:
        """1: it runs and does not serve."""
        hint = f" ({self._hint})" if answer.status == 404 and self._hint else ""
        return Verdict(
            ExitCode.ERR_GENERIC,
            f"{self.name} {answer.trouble} to GET {self.path} at {self._root}{hint}"
            if answer.status else f"{self.name} at {self._root} {answer.trouble}")

    @property
    def _root(self) -> str:
        return _split(self._url)[0]

    def _version_document(self, deadline: Deadline) -> Answer:
        answer = self._get(self._root + "/", "", deadline)
        if answer.status in (200, 300) and b'"versions"' not in answer.body:
            return Answer(trouble="serves something else than its versions")
        return answer

    def _get(self, url: str, token: str, deadline: Deadline) -> Answer:
        try:
            return deadline.within(
                _get, url, token, max(0.1, deadline.remaining()), self._local, self._tls)
        except TimeoutError:
            return Answer(trouble=LATE)


def _split(url: str) -> tuple[str, str, str]:
    """A URL in three: what is before the version, the version, and what follows it."""
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    for index, part in enumerate(parts[1:], 1):
        if part[:1] == "v" and part[1:2].isdigit():
            return (f"{scheme}://{'/'.join(parts[:index])}", part,
                    "/".join(parts[index + 1:]))
    return f"{scheme}://{parts[0]}", "", "/".join(parts[1:])


def _get(
    url: str, token: str, seconds: float, local: bool, tls: ssl.SSLContext | None,
) -> Answer:
    """One GET, redirects not followed. The caller sees to it that it ends in time."""
    import socket

    client = _http_client(secure=tls is not None)
    authority, slash, path = url.partition("://")[2].partition("/")
    headers = {"Accept": "application/json", "Connection": "close",
               "User-Agent": "openstack-ocf-agents"}
    if token:
        headers["X-Auth-Token"] = token
    connection: HTTPConnection | None = None
    try:
        if tls:
            connection = client.HTTPSConnection(authority, timeout=seconds, context=tls)
        else:
            # Bound to the very address that is asked, a connection can come about on this host
            # only: when a VIP has moved, the node that has it now must not answer for this one.
            source = (authority.rpartition(":")[0].strip("[]"), 0) if local else None
            connection = client.HTTPConnection(
                authority, timeout=seconds, source_address=source)
        connection.request("GET", slash + path or "/", headers=headers)
        response = connection.getresponse()
        body = response.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            return Answer(trouble="answers without end")
        if response.length:  # what the peer promised and did not send
            return Answer(trouble="cuts its answer off")
        return Answer(response.status, body)
    except (TimeoutError, socket.timeout):  # two classes in Python 3.9
        return Answer(trouble=LATE)
    except (socket.gaierror, UnicodeError):  # the latter of what is no name at all
        return Answer(trouble="has a name that does not resolve")
    except ConnectionRefusedError:
        return Answer(trouble="refuses connections")
    except client.IncompleteRead:
        return Answer(trouble="cuts its answer off")
    except (ConnectionError, client.RemoteDisconnected):
        return Answer(trouble="cuts the connection")
    except client.HTTPException:
        return Answer(trouble="does not speak HTTP")
    except OSError as error:
        if local and error.errno == errno.EADDRNOTAVAIL:
            return Answer(trouble="listens on an address that is not on this node (any more)")
        return Answer(trouble=f"cannot be asked: {_said(error)}")
    except ValueError:
        return Answer(trouble="does not speak HTTP")
    finally:
        if connection:
            connection.close()


def _http_client(*, secure: bool) -> Any:
    """http.client; without TLS unless it is wanted.

    It would import ssl in any case, and that is the greater part of what a monitor costs: 4 MB,
    and with hashlib's 5 of 32 ms of CPU.
    """
    import sys

    if not secure and "http.client" not in sys.modules:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # to the import: there is none
        try:
            import http.client
        finally:
            del sys.modules["ssl"]
    import http.client

    if secure and not hasattr(http.client, "HTTPSConnection"):
        import importlib

        importlib.reload(http.client)
    return http.client


def _said(error: OSError) -> str:
    return str(getattr(error, "verify_message", "") or error.strerror or error)
