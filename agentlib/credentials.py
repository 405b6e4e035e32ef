"""The credentials of a check, and where they are to be used: parameters and their values.

Called by `api` and `keystone`. Nothing here speaks to Keystone.
"""
from __future__ import annotations

import os

from .errors import ConfigurationError, NotInstalledError
from .parameters import Parameter, shown
from .program import with_packages

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from .parameters import Values

GUIDE_TOKEN_URL = "http://127.0.0.1:5000/v2.0/tokens"  # noqa: S105 - a URL
"""Default of keystone_get_token_url in those agents of the HA guide that had it."""

_SUFFIXES = ("/v2.0/tokens", "/v3/auth/tokens", "/v2.0", "/v3")


def parameters(token_url: str = "", *, own: bool = False) -> tuple[Parameter, ...]:
    """The parameters of a check that asks Keystone.

    token_url: default of keystone_get_token_url. own: whether it is this Keystone that is
    checked, which is asked for the token, too.
    """
    where = (" Accepted and not used: the token comes from the server on this node, which is the "
             "one that is checked." if own else "")
    return (
        Parameter(
            "os_username", "User of the API check",
            "The user for which the monitor asks Keystone for a token. With os_username, "
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
            f"the URL ends in /v3, in the /v2.0/ of the HA guide, or in neither.{where}",
            reloadable=True),
        Parameter(
            "keystone_get_token_url", "Identity URL (older name)",
            "The older name of os_auth_url in some agents of the HA guide, with or without the "
            f"/v2.0/tokens at its end.{where}", default=token_url, reloadable=True),
        Parameter(
            "os_user_domain_name", "Domain of the user",
            "The domain that os_username is in.", default="Default", reloadable=True),
        Parameter(
            "os_project_domain_name", "Domain of the project",
            "The domain that os_project_name is in.", default="Default", reloadable=True),
        Parameter(
            "os_domain", "Domain of user and project (older name)",
            "The domain of both, in the agents that were first to speak v3; os_user_domain_name "
            "and os_project_domain_name count where they are given.", reloadable=True),
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


class Identity:
    """Credentials of the API check.

    own: root of the Keystone that is itself checked; empty where it is another service.
    url: the Identity root, without a version. verify: for https, a CA file, or whether at all.
    port: of this node, where the URL is a default that no operator gave; else 0.
    """

    __slots__ = ("password", "port", "project", "project_domain", "url", "user", "user_domain",
                 "verify")

    def __init__(self, values: Values, own: str = "") -> None:
        self.url = own or identity_root(values)
        self.port = 0 if own or url_given(values) else int(self.url.rpartition(":")[2])
        self.user = values.text("os_username")
        self.password = values.text("os_password")
        self.project = _same(values, "os_project_name", "os_tenant_name")
        self.user_domain = _domain(values, "os_user_domain_name")
        self.project_domain = _domain(values, "os_project_domain_name")
        self.verify = verification(values)

    def seal(self, salt: str = "") -> str:
        """A salted digest, by which a remembered token is known to be of these credentials."""
        try:
            from _blake2 import blake2b  # hashlib's own, without OpenSSL's 4 MB
        except ImportError:
            from hashlib import blake2b

        salt = salt or os.urandom(8).hex()
        fields = (self.url, self.user, self.password, self.project, self.user_domain,
                  self.project_domain)
        text = "\0".join(fields).encode("utf-8", "surrogateescape")
        return salt + ":" + blake2b(text, key=salt.encode()[:64]).hexdigest()

    def sealed(self, seal: str) -> bool:
        """Whether the seal is of these credentials."""
        salt, colon, _ = seal.partition(":")
        return bool(colon) and salt.isalnum() and salt.isascii() and seal == self.seal(salt)


def identity(values: Values, own: str = "") -> Identity | None:
    """The credentials, None where none are given; ConfigurationError for a half of them.

    own: as in Identity; no URL need be given then.
    """
    names = {
        "os_username": values.given("os_username"),
        "os_password": values.given("os_password"),
        "os_project_name": values.given("os_project_name") or values.given("os_tenant_name"),
    }
    given = url_given(values)
    if not any(names.values()) and (own or not given):
        return None
    names["os_auth_url"] = bool(own or given or values.text("keystone_get_token_url"))
    missing = [name for name, there in names.items() if not there]
    if missing:
        raise ConfigurationError(
            f"{', '.join(missing)} missing: give all of the credentials, or none")
    return Identity(values, own)


def url_given(values: Values) -> bool:
    """Whether the operator gave an Identity URL, rather than left a default."""
    return values.given("os_auth_url") or values.given("keystone_get_token_url")


def identity_root(values: Values) -> str:
    """The Identity URL without a version, from either parameter; or ConfigurationError."""
    roots = {}
    for name in ("os_auth_url", "keystone_get_token_url"):
        if values.given(name) or (values.text(name) and not values.given("os_auth_url")):
            roots[name] = without_version(checked_url(name, values.text(name)))
    if len(set(roots.values())) > 1:
        raise ConfigurationError(
            "os_auth_url and keystone_get_token_url name different Keystones: give one")
    return next(iter(roots.values()))


def without_version(url: str) -> str:
    """The Identity root of a URL of Keystone, whatever version it ends in."""
    url = url.rstrip("/")
    for suffix in _SUFFIXES:
        if url.endswith(suffix):
            url = url[:-len(suffix)]
            break
    return url.rstrip("/")


def checked_url(name: str, value: str, *, query: bool = False) -> str:
    """The value of a parameter, if it is an http(s) URL without a password in it.

    query: whether it may have one, behind a path. ConfigurationError otherwise, without the
    value: it may hold a secret.
    """
    from .url import Url

    value = value.strip()
    try:
        url = Url(value)
    except ValueError:
        url = None
    if url and url.user:
        raise ConfigurationError(
            f"{name} has a user in it: take it out, give os_username and os_password instead")
    if not url or (url.query and not (query and url.path)):
        raise ConfigurationError(f"{name} is not an http or https URL, as http://10.0.0.11:5000")
    return url.scheme + value[len(url.scheme):]


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
    # From Python 3.13 on such a context refuses an authority that is not by the letter of RFC
    # 5280, as many an operator's own. OpenStack's clients do not; the service is not to blame.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def validate_host(values: Values, own: str = "") -> None:
    """Look at this node; NotInstalledError for a package or a CA file that is missing."""
    cacert = values.path("os_cacert")
    if cacert and not os.path.isfile(cacert):
        raise NotInstalledError(f"os_cacert={shown(cacert)} does not exist on this node")
    if identity(values, own):
        import importlib.util

        with_packages()
        for package in ("keystoneauth1", "requests"):
            if importlib.util.find_spec(package) is None:
                raise NotInstalledError(missing(package))


def _domain(values: Values, name: str) -> str:
    """The value of a parameter, else that of os_domain where it is given, else the default."""
    if values.given(name) or not values.text("os_domain"):
        return values.text(name)
    return values.text("os_domain")


def _same(values: Values, name: str, older: str) -> str:
    """The value of a parameter that has an older name, too."""
    if values.given(name) and values.given(older) and values.text(name) != values.text(older):
        raise ConfigurationError(f"{name} and {older} differ: give one")
    return values.text(name) or values.text(older)


def missing(package: str) -> str:
    """The error of a missing Python package, with the package of the system that has it."""
    return f"Python package {package} is missing: install python3-{package}"

