"""A URL in its parts: scheme, host, port and path.

Called by `credentials` (is a parameter a URL?), by `http` (where does it lead?) and by the checks
of an API. Of urllib.parse a monitor needs no more, and the import costs half as much as the rest
of it (8 ms of CPU, 1.8 MB).
"""
from __future__ import annotations

from .parameters import is_port
from .tcp import is_ipv6

PORTS = {"http": 80, "https": 443}
"""The default ports of the schemes that are known."""


class Url:
    """An http or https URL of printable ASCII (RFC 3986); ValueError for what is none.

    scheme: in lower case. host: without brackets; an IPv6 address may have its interface, as
    fe80::1%eth0. port: as given, or the scheme's. path: as given, empty or from its / on. query:
    from its ? on. user: whether there is a user in it, or a password.
    """

    __slots__ = ("host", "path", "port", "query", "scheme", "user")

    def __init__(self, url: str) -> None:
        scheme, colon, rest = url.partition("://")
        self.scheme = scheme.lower()
        if not (colon and self.scheme in PORTS and url.isascii() and url.isprintable()
                and " " not in url and "#" not in url):
            raise ValueError("no URL")
        rest, question, query = rest.partition("?")
        authority, slash, path = rest.partition("/")
        self.path = slash + path
        self.query = question + query
        user, at, authority = authority.rpartition("@")
        if "[" in user or "]" in user:  # what else reads it would take it for an IPv6 address
            raise ValueError("no user")
        self.user = bool(at)
        self.host, port = _host_and_port(authority)
        self.port = _port(port) if port else PORTS[self.scheme]

    @property
    def address(self) -> str:
        """The host without an interface, which means nothing to a peer."""
        return self.host.partition("%")[0] if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them (RFC 9110, 7.2)."""
        host = f"[{self.address}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def split(url: str) -> tuple[str, str, str]:
    """A URL in three: what is before the version, the version, and what follows it."""
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    for index, part in enumerate(parts[1:], 1):
        if part[:1] == "v" and part[1:2].isdigit():
            return (f"{scheme}://{'/'.join(parts[:index])}", part,
                    "/".join(parts[index + 1:]))
    return f"{scheme}://{parts[0]}", "", "/".join(parts[1:])


def _host_and_port(authority: str) -> tuple[str, str]:
    """The two halves; the port is empty if there is none."""
    if not authority.startswith("["):
        host, _, port = authority.partition(":")
        if not host or "[" in authority or "]" in authority:
            raise ValueError("no host")
        return host, port
    host, bracket, port = authority[1:].partition("]")
    address, percent, interface = host.partition("%")
    if not is_ipv6(address) or (percent and not interface) or "%" in interface:
        raise ValueError("no IPv6 address")
    if not bracket or (port and not port.startswith(":")):
        raise ValueError("no port")
    return host, port[1:]


def _port(text: str) -> int:
    number = text.lstrip("0")
    if not is_port(number):
        raise ValueError("no port")
    return int(number)
