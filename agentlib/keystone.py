"""A token from Keystone; the only user of keystoneauth1 and requests.

Called by `api`, and only when no remembered token will do: importing the two costs more than
everything else that a monitor does.
"""
from __future__ import annotations

import os
import time

from . import sockets
from .errors import ConfigurationError, NotInstalledError
from .parameters import Parameter, shown
from .reason import Reason, Spare

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from .deadline import Deadline
    from .parameters import Values

GUIDE_TOKEN_URL = "http://127.0.0.1:5000/v2.0/tokens"  # noqa: S105 - a URL
"""Default of keystone_get_token_url in those agents of the HA guide that had it."""

_SUFFIXES = ("/v2.0/tokens", "/v3/auth/tokens", "/v2.0", "/v3")

ANSWER_LIMIT = 1 << 20
"""Bytes; a token without a catalog takes two thousand."""

MARGIN = 0.1
"""Part of a token's life in which it is not used any more."""


def parameters(token_url: str = "") -> tuple[Parameter, ...]:
    """The parameters of who asks Keystone; token_url: default of keystone_get_token_url."""
    return (
        Parameter(
            "os_username", "User of the API check",
            "The user as whom the monitor asks Keystone for a token. With os_username, "
            "os_password, os_project_name and os_auth_url the monitor makes an authenticated "
            "request, which reads the service's database; without them it only looks whether "
            "the public version document is served.", reloadable=True),
        Parameter(
            "os_password", "Password of the API check",
            "The password of os_username. It can be kept out of the CIB: crm_resource or "
            "`crm resource secret` put it into a file on each node (CIB secrets).",
            reloadable=True),
        Parameter(
            "os_project_name", "Project of the API check",
            "The project that the token is for.", reloadable=True),
        Parameter(
            "os_tenant_name", "Project of the API check (older name)",
            "The older name of os_project_name.", reloadable=True),
        Parameter(
            "os_auth_url", "Identity URL",
            "Keystone's URL, as http://10.0.0.11:5000. The Identity API v3 is spoken, whether "
            "the URL ends in /v3, in the /v2.0/ of the HA guide, or in neither.",
            reloadable=True),
        Parameter(
            "keystone_get_token_url", "Identity URL (older name)",
            "The older name of os_auth_url in some agents of the HA guide, with or without the "
            "/v2.0/tokens at its end.", default=token_url, reloadable=True),
        Parameter(
            "os_user_domain_name", "Domain of the user",
            "The domain that os_username is in.", default="Default", reloadable=True),
        Parameter(
            "os_project_domain_name", "Domain of the project",
            "The domain that os_project_name is in.", default="Default", reloadable=True),
        Parameter(
            "os_region_name", "Region (not used)",
            "Accepted, so that the variables of an openrc file can be given as they are, and "
            "not used: the check asks the server on this node, wherever the catalog points.",
            reloadable=True),
        Parameter(
            "os_cacert", "File with CA certificates",
            "PEM file with the certificates that an https Keystone, or an https url, is "
            "verified by; by default those of the system.", reloadable=True),
        Parameter(
            "os_insecure", "Do not verify certificates",
            "Whether to do without the verification of https certificates.",
            kind="boolean", default="false", reloadable=True),
    )


class Token:
    """A token and the seconds that it may be used for, by our own clock."""

    __slots__ = ("text", "until")

    def __init__(self, text: str, until: float) -> None:
        self.text = text
        self.until = until


class NoTokenError(Exception):
    """Keystone gave no token. reason: why, in parts, as an exit reason needs it."""

    def __init__(self, *parts: str) -> None:
        super().__init__("".join(parts))
        self.reason = Reason(*parts)


class RefusedError(NoTokenError):
    """Keystone works, and does not want these credentials."""


class BadAnswerError(Exception):
    """Keystone answers what it should not; the message says what."""


class Identity:
    """Credentials of the API check.

    url: the Identity root, without a version. verify: for https, a CA file, or whether at all.
    port: of this node, where the URL is a default that nobody gave; else 0.
    """

    __slots__ = ("_password", "_project", "_project_domain", "_user_domain", "port", "url",
                 "user", "verify")

    def __init__(self, values: Values) -> None:
        self.url = identity_root(values)
        self.port = 0 if url_given(values) else int(self.url.rpartition(":")[2])
        self.user = values.text("os_username")
        self._password = values.text("os_password")
        self._project = _same(values, "os_project_name", "os_tenant_name")
        self._user_domain = values.text("os_user_domain_name")
        self._project_domain = values.text("os_project_domain_name")
        self.verify = verification(values)

    def seal(self, salt: str = "") -> str:
        """A salted digest, by which a remembered token is known to be of these credentials."""
        try:
            from _blake2 import blake2b  # hashlib's own, without OpenSSL's 4 MB
        except ImportError:
            from hashlib import blake2b

        salt = salt or os.urandom(8).hex()
        fields = (self.url, self.user, self._password, self._project, self._user_domain,
                  self._project_domain)
        text = "\0".join(fields).encode("utf-8", "surrogateescape")
        return salt + ":" + blake2b(text, key=salt.encode()[:64]).hexdigest()

    def sealed(self, seal: str) -> bool:
        """Whether the seal is of these credentials."""
        salt, colon, _ = seal.partition(":")
        return bool(colon) and salt.isalnum() and salt.isascii() and seal == self.seal(salt)

    def token(self, deadline: Deadline) -> Token:
        """A new token; NoTokenError, or NotInstalledError without keystoneauth1.

        ConfigurationError where the password would go to whatever process of any user has
        opened the port of a default URL.
        """
        if self.port and not sockets.of_system(self.port):
            raise ConfigurationError(
                f"no service of the system listens on port {self.port}, the default: give "
                "os_auth_url")
        if isinstance(self.verify, str) and not os.path.isfile(self.verify):
            # A FIFO, say, would hold up whatever reads it.
            raise NotInstalledError(f"os_cacert={shown(self.verify)} is not a file on this node")
        try:
            return deadline.within(self._ask, max(0.1, deadline.remaining()))
        except TimeoutError:
            raise self._failed("does not answer in time") from None

    def _ask(self, seconds: float) -> Token:
        session, plugin, exceptions = _keystoneauth(self, seconds)
        try:
            access = plugin.get_access(session)
            text = str(access.auth_token)
            life = (access.expires - access.issued).total_seconds()
        except exceptions.HttpError as error:
            if error.http_status in (400, 401, 403):
                raise RefusedError(
                    f"Keystone refuses user {self.user} ({error.http_status})") from None
            raise self._failed(f"answers {error.http_status}") from None
        except exceptions.ConnectTimeout:
            raise self._failed("does not answer in time") from None
        except exceptions.SSLError:
            try:
                tls(self.verify)
            except ConfigurationError as error:  # It is our own file, not Keystone's.
                raise NotInstalledError(str(error)) from error
            raise self._failed("has a TLS certificate that is not accepted") from None
        except exceptions.ConnectFailure as error:
            # It was there, and let go: uWSGI does so where Keystone has no database.
            if _let_go(error):
                raise self._failed("closes the connection without an answer",
                                   Spare(" (its database?)")) from None
            raise self._failed("cannot be reached") from None
        except BadAnswerError as error:
            raise self._failed(str(error)) from None
        except OSError as error:  # so requests says it of os_cacert
            raise NotInstalledError(
                f"os_cacert={shown(str(self.verify))} cannot be used") from error
        except Exception as error:  # noqa: BLE001 - what a peer says can break it anywhere
            raise self._failed(f"answers nonsense ({type(error).__name__})") from None
        if not is_token(text):
            raise self._failed("gives an empty or unprintable token")
        if life <= 0:
            raise self._failed("gives tokens that have expired already")
        # By the difference of Keystone's times: its clock and ours may be a day apart.
        return Token(text, time.time() + life * (1 - MARGIN))

    def _failed(self, *symptom: str) -> NoTokenError:
        return NoTokenError("Keystone", Spare(f" at {self.url}"), " ", *symptom)


def is_token(text: str) -> bool:
    """Whether it can be one: it has to stand in a header."""
    return bool(text) and text.isascii() and text.isprintable()


def identity(values: Values) -> Identity | None:
    """The credentials, None where none are given; ConfigurationError for a half of them."""
    names = {
        "os_username": values.given("os_username"),
        "os_password": values.given("os_password"),
        "os_project_name": values.given("os_project_name") or values.given("os_tenant_name"),
    }
    given = url_given(values)
    if not any(names.values()) and not given:
        return None
    names["os_auth_url"] = given or bool(values.text("keystone_get_token_url"))
    missing = [name for name, there in names.items() if not there]
    if missing:
        raise ConfigurationError(
            f"{', '.join(missing)} missing: give the user, password, project and URL, or none")
    return Identity(values)


def url_given(values: Values) -> bool:
    """Whether the operator gave an Identity URL, rather than left a default."""
    return values.given("os_auth_url") or values.given("keystone_get_token_url")


def identity_root(values: Values) -> str:
    """The Identity URL without a version, from either parameter; or ConfigurationError."""
    roots = {}
    for name in ("os_auth_url", "keystone_get_token_url"):
        if values.given(name) or (values.text(name) and not values.given("os_auth_url")):
            url = checked_url(name, values.text(name)).rstrip("/")
            for suffix in _SUFFIXES:
                if url.endswith(suffix):
                    url = url[:-len(suffix)]
                    break
            roots[name] = url.rstrip("/")
    if len(set(roots.values())) > 1:
        raise ConfigurationError(
            "os_auth_url and keystone_get_token_url name different Keystones: give one")
    return next(iter(roots.values()))


def checked_url(name: str, value: str, *, query: bool = False) -> str:
    """The value of a parameter, if it is an http(s) URL without a password in it.

    query: whether it may have one, behind a path. ConfigurationError otherwise, without the
    value: it may hold a secret.
    """
    from urllib.parse import urlsplit

    value = value.strip()
    try:
        parts = urlsplit(value)
        sound = (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
                 and value.isascii() and value.isprintable() and " " not in value
                 and "#" not in value and ("?" not in value or (query and bool(parts.path))))
        inside = parts.username is not None
    except ValueError:
        sound = inside = False
    if inside:
        raise ConfigurationError(
            f"{name} has a user in the URL: take it out; os_username and os_password are for that")
    if not sound:
        raise ConfigurationError(f"{name} is not an http or https URL, as http://10.0.0.11:5000")
    return parts.scheme + value[len(parts.scheme):]


def verification(values: Values) -> str | bool:
    """How https is verified: by a CA file, by the system's (True), or not at all (False)."""
    insecure = values.boolean("os_insecure")
    return not insecure and (values.path("os_cacert") or True)


def tls(verify: str | bool) -> ssl.SSLContext:
    """What an https URL is verified by; ConfigurationError if the CA file holds nothing."""
    import ssl

    cafile = verify if isinstance(verify, str) else None
    if cafile and not os.path.isfile(cafile):
        raise ConfigurationError(f"os_cacert={shown(cafile)} is not a file on this node")
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"os_cacert={shown(cafile or '')} holds no certificate") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def validate_host(values: Values) -> None:
    """Look at this node; NotInstalledError for a package or a CA file that is missing."""
    cacert = values.path("os_cacert")
    if cacert and not os.path.isfile(cacert):
        raise NotInstalledError(f"os_cacert={shown(cacert)} does not exist on this node")
    if identity(values):
        import importlib.util

        for package in ("keystoneauth1", "requests"):
            if importlib.util.find_spec(package) is None:
                raise NotInstalledError(_missing(package))


def _keystoneauth(identity: Identity, seconds: float) -> tuple[Any, Any, Any]:
    """A session and a plugin of keystoneauth1, and its module of exceptions.

    Without osprofiler, which keystoneauth1 takes where it is: it is three quarters of the import,
    and brings eventlet. That puts its own select and socket in the place of the real ones
    meanwhile, and if Keystone is given up by then, what follows here would get them.
    """
    import sys
    import warnings

    sys.modules.setdefault("osprofiler", None)  # type: ignore[arg-type]  # to the import: none
    try:
        import requests
        from keystoneauth1 import exceptions, session
        from keystoneauth1.identity import v3
    except ImportError as error:
        raise NotInstalledError(_missing(error.name or "keystoneauth1")) from error
    except Exception as error:
        raise NotInstalledError(
            f"Python package keystoneauth1 or requests is broken ({type(error).__name__})"
        ) from error
    warnings.simplefilter("ignore")  # of deprecations, and of os_insecure, which is known
    transport = requests.Session()
    # Neither a proxy nor a .netrc of root's has a say in who monitors what.
    transport.trust_env = False
    transport.stream = True  # so that _bounded reads the answer
    transport.hooks["response"] = [_bounded]
    transport.headers["Accept-Encoding"] = "identity"  # what is packed may be large unpacked
    plugin = v3.Password(
        identity.url + "/v3", username=identity.user, password=identity._password,
        project_name=identity._project, user_domain_name=identity._user_domain,
        project_domain_name=identity._project_domain, include_catalog=False)
    return session.Session(
        session=transport, verify=identity.verify, timeout=seconds, redirect=False), \
        plugin, exceptions


def _let_go(error: BaseException | None) -> bool:
    """Whether behind a failure is a peer that had taken the connection."""
    from http.client import RemoteDisconnected

    seen: set[int] = set()
    queue = [error]
    for cause in queue:
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        if isinstance(cause, (RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
            return True
        queue += [cause.__cause__, cause.__context__]
        queue += [part for part in cause.args if isinstance(part, BaseException)]
    return False


def _bounded(response: Any, *_: object, **__: object) -> None:
    """Read an answer whole, unless it is too long for one: requests would take gigabytes."""
    import io

    if response.is_redirect:
        # Not followed: the request has the password in it, and who is named there is anybody.
        raise BadAnswerError(f"redirects ({response.status_code}): give the URL it leads to")
    body = response.raw.read(ANSWER_LIMIT + 1, decode_content=False)
    if len(body) > ANSWER_LIMIT:
        raise BadAnswerError("answers without end")
    response.raw = io.BytesIO(body)


def _same(values: Values, name: str, older: str) -> str:
    if values.given(name) and values.given(older) and values.text(name) != values.text(older):
        raise ConfigurationError(f"{name} and {older} differ: give one")
    return values.text(name) or values.text(older)


def _missing(package: str) -> str:
    return f"Python package {package} is missing: install python3-{package}"

