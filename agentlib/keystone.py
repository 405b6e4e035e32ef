"""A token from Keystone; the only user of keystoneauth1 and requests.

Called by `examination`, and only when no remembered token will do: importing the two costs more
than everything else that a monitor does. `openstack-ocf` asks with the same client.
"""
from __future__ import annotations

import os
import time

from . import sockets
from .credentials import missing, tls
from .errors import ConfigurationError, NotInstalledError
from .parameters import shown
from .program import with_packages
from .reason import Reason, Spare
from .tcp import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    from .credentials import Identity
    from .deadline import Deadline

    class Login(Protocol):
        """What a client needs of an Identity."""

        @property
        def url(self) -> str:
            """The Identity root, without a version."""

        @property
        def user(self) -> str:
            """Its name."""

        @property
        def password(self) -> str:
            """The user's."""

        @property
        def project(self) -> str:
            """The name of the project that the token is for."""

        @property
        def user_domain(self) -> str:
            """The name of the user's domain."""

        @property
        def project_domain(self) -> str:
            """The name of the project's domain."""

        @property
        def verify(self) -> str | bool:
            """For https: a CA file, or whether at all."""

ANSWER_LIMIT = 1 << 20
"""Bytes; a token without a catalog takes two thousand."""

MARGIN = 0.1
"""Part of a token's life in which it is not used any more."""

FOREVER = 1e11
"""Seconds since the epoch: no token is valid until then."""


class Token:
    """A token, and the ids of its owner that stand in paths.

    until: seconds since the epoch, by the clock of this node, after which it is not used.
    project, user: ids of the project and the user that it is for.
    """

    __slots__ = ("project", "text", "until", "user")

    def __init__(self, text: str, until: float, project: str = "", user: str = "") -> None:
        self.text = text
        self.until = until
        self.project = project
        self.user = user

    def keep(self, memory: dict[str, Any], identity: Identity) -> None:
        """Put it into the memory of a check; nothing of another token stays there."""
        memory.clear()
        memory.update(token=self.text, until=self.until, project=self.project, user=self.user,
                      seal=identity.seal())


def kept(memory: dict[str, Any], identity: Identity) -> Token | None:
    """The token in the memory of a check, if it is valid and of these credentials."""
    text, until, seal = (memory.get(name) for name in ("token", "until", "seal"))
    if not (isinstance(text, str) and isinstance(until, (int, float)) and isinstance(seal, str)):
        return None
    if not (time.time() < until < FOREVER and is_token(text) and identity.sealed(seal)):
        return None
    return Token(text, until, _id(memory.get("project")), _id(memory.get("user")))


def _id(text: object) -> str:
    """An id, if it can stand in a path; else empty, as of a token without a project."""
    sound = isinstance(text, str) and text.isascii() and text.replace("-", "").isalnum()
    return str(text) if sound else ""


class NoTokenError(Exception):
    """Keystone gave no token. reason: why, in parts, as an exit reason needs it."""

    def __init__(self, *parts: str) -> None:
        super().__init__("".join(parts))
        self.reason = Reason(*parts)


class RefusedError(NoTokenError):
    """Keystone works, and does not want these credentials."""


class BadAnswerError(Exception):
    """Keystone answers what it should not; the message says what."""


def issue(identity: Identity, deadline: Deadline) -> Token:
    """A new token; NoTokenError, or NotInstalledError without keystoneauth1.

    ConfigurationError where the password would go to whatever process of any user has
    opened the port of a default URL.
    """
    if identity.port and not sockets.of_system(identity.port):
        raise ConfigurationError(
            f"no service of the system listens on port {identity.port}, the default: give "
            "os_auth_url")
    if isinstance(identity.verify, str) and not os.path.isfile(identity.verify):
        # A FIFO, say, would hold up whatever reads it.
        raise NotInstalledError(f"os_cacert={shown(identity.verify)} is not a file on this node")
    try:
        return deadline.within(_ask, identity, max(0.1, deadline.remaining()))
    except TimeoutError:
        raise _failed(identity, "does not answer in time") from None


def _ask(identity: Identity, seconds: float) -> Token:
    session, plugin, exceptions = client(identity, seconds)
    try:
        access = plugin.get_access(session)
        text = str(access.auth_token)
        life = (access.expires - access.issued).total_seconds()
    except exceptions.HttpError as error:
        if error.http_status in (400, 401, 403):
            raise RefusedError(
                f"Keystone refuses user {identity.user} ({error.http_status})") from None
        raise _failed(identity, f"answers {error.http_status}") from None
    except exceptions.ConnectTimeout:
        raise _failed(identity, "does not answer in time") from None
    except exceptions.SSLError as failed:
        try:
            tls(identity.verify)
        except ConfigurationError as error:  # It is our own file, not Keystone's.
            raise NotInstalledError(str(error)) from error
        raise _failed(identity, f"cannot be asked: {_tls_trouble(failed)}") from None
    except exceptions.ConnectFailure as error:
        # It was there, and let go: uWSGI does so where Keystone has no database.
        if _let_go(error):
            raise _failed(identity, "closes the connection without an answer",
                          Spare(" (its database?)")) from None
        raise _failed(identity, "cannot be reached") from None
    except BadAnswerError as error:
        raise _failed(identity, str(error)) from None
    except OSError as error:  # requests raises it for os_cacert
        raise NotInstalledError(
            f"os_cacert={shown(str(identity.verify))} cannot be used") from error
    except Exception as error:  # noqa: BLE001 - what a peer says can break it anywhere
        raise _failed(identity, f"answers nonsense ({type(error).__name__})") from None
    if not is_token(text):
        raise _failed(identity, "gives an empty or unprintable token")
    if life <= 0:
        raise _failed(identity, "gives tokens that have expired already")
    # By the difference of Keystone's times: its clock and ours may be a day apart.
    project, user = (_named(access, name) for name in ("project_id", "user_id"))
    return Token(text, time.time() + life * (1 - MARGIN), project, user)


def _named(access: Any, name: str) -> str:
    """An id in the answer; empty where that part of the answer is junk: few checks need it."""
    try:
        return _id(getattr(access, name))
    except Exception:  # noqa: BLE001 - what a peer says can break it anywhere
        return ""


def _failed(identity: Identity, *symptom: str) -> NoTokenError:
    return NoTokenError("Keystone", Spare(f" at {identity.url}"), " ", *symptom)


def is_token(text: str) -> bool:
    """Whether a text can be a token: it has to stand in a header."""
    return bool(text) and text.isascii() and text.isprintable()


def client(identity: Login, seconds: float, limit: int = ANSWER_LIMIT) -> tuple[Any, Any, Any]:
    """A session and a plugin of keystoneauth1, and its module of exceptions.

    seconds: for a part of an answer. limit: bytes of an answer. It follows no redirect and takes
    no proxy. NotInstalledError without keystoneauth1; a request raises BadAnswerError, and
    whatever keystoneauth1, requests and urllib3 do.

    Without osprofiler, which keystoneauth1 takes where it is: it is three quarters of the import,
    and brings eventlet. That puts its own select and socket in the place of the real ones
    meanwhile, and if Keystone is given up by then, what follows here would get them.
    """
    import sys
    import warnings

    with_packages()
    sys.modules.setdefault("osprofiler", None)  # type: ignore[arg-type]  # to the import: none
    try:
        import requests
        from keystoneauth1 import exceptions, session
        from keystoneauth1.identity import v3
    except ImportError as error:
        raise NotInstalledError(missing(error.name or "keystoneauth1")) from error
    except Exception as error:
        raise NotInstalledError(
            f"Python package keystoneauth1 or requests is broken ({type(error).__name__})"
        ) from error
    warnings.simplefilter("ignore")  # of deprecations, and of os_insecure, which is known
    transport = requests.Session()
    # Neither a proxy nor a .netrc of root's counts here.
    transport.trust_env = False
    transport.stream = True  # so that _bounded reads the answer
    transport.hooks["response"] = [lambda response, *_, **__: _bounded(response, limit)]
    transport.headers["Accept-Encoding"] = "identity"  # what is packed may be large unpacked
    plugin = v3.Password(
        identity.url + "/v3", username=identity.user, password=identity.password,
        project_name=identity.project, user_domain_name=identity.user_domain,
        project_domain_name=identity.project_domain, include_catalog=False)
    return session.Session(
        session=transport, verify=identity.verify, timeout=seconds, redirect=False), \
        plugin, exceptions


def _let_go(error: BaseException) -> bool:
    """Whether the peer of a failed request had accepted the connection."""
    from http.client import RemoteDisconnected

    let_go = RemoteDisconnected, ConnectionResetError, BrokenPipeError
    return any(isinstance(cause, let_go) for cause in _causes(error))


def _tls_trouble(error: BaseException) -> str:
    """What is wrong with the peer's certificate, or its TLS."""
    import ssl

    cause = next((one for one in _causes(error) if isinstance(one, ssl.SSLError)), None)
    return words(cause) if cause else "its TLS certificate is not accepted"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that have led to it."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    for cause in queue:
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        queue += [cause.__cause__, cause.__context__]
        queue += [part for part in cause.args if isinstance(part, BaseException)]


def _bounded(response: Any, limit: int) -> None:
    """Read an answer whole, unless it is too long for one: requests would take gigabytes."""
    import io

    if response.is_redirect:
        # Not followed: the request has the password in it, and the target may be anything.
        raise BadAnswerError(f"redirects ({response.status_code}): give the URL it leads to")
    body = response.raw.read(limit + 1, decode_content=False)
    if len(body) > limit:
        raise BadAnswerError("answers without end")
    response.raw = io.BytesIO(body)


