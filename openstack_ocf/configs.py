"""What a service's own configuration says beside a CIB: where it listens, where it stores.

Read where this user may, with agentlib's eyes; a file that is not there is no fault. Called by
init and validation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container, Iterable, Iterator, Sequence

from agentlib.configfile import option
from agentlib.errors import AgentError

from .agents import Agent
from .reading import content

HAPROXY = ("/etc/haproxy/haproxy.cfg",
           "/var/lib/config-data/puppet-generated/haproxy/etc/haproxy/haproxy.cfg")
"""A distribution's, and TripleO's."""
LIMIT = 4 << 20


def listens(agent: Agent, config: str) -> str:
    """The address that a server is told to listen on; empty where that is not said."""
    return _option(config, agent.listen_section, agent.listen) if agent.listen else ""


def storage(config: str) -> tuple[str, str]:
    """Where Glance stores, as the key of the description says it; and a remark."""
    backends = _option(config, "DEFAULT", "enabled_backends")
    kinds = ([one.partition(":")[2].strip() for one in backends.split(",")] if backends
             else [_option(config, "glance_store", "default_store")])
    kinds = [kind for kind in dict.fromkeys(kinds) if kind and kind not in ("http", "https")]
    if kinds in (["rbd"], ["swift"], ["s3"], ["cinder"]):
        return kinds[0], ""
    if "file" in kinds:
        return "", ("It stores files: set storage = shared-file if all nodes have that folder, and "
                    "storage = local if not.")
    return "", ""


def behind_haproxy(paths: Iterable[str] = HAPROXY) -> list[tuple[str, int]]:
    """The addresses and ports that haproxy listens on, from its configuration here."""
    return [one for path in paths for one in _binds(_read(path))]


def _binds(text: str) -> Iterator[tuple[str, int]]:
    for words in re.findall(r"(?m)^\s*bind\s+(\S+)", text):
        for one in words.split(","):
            address, _, port = one.rpartition(":")
            if port.isdigit() and len(port) < 6:
                yield address.strip("[]").removeprefix("ipv4@"), int(port)


def addresses_of(paths: Iterable[str], ports: Container[int]) -> set[str]:
    """The addresses at which haproxy, by its configuration here, has servers with such a port.

    Where it ends TLS, its own port is another one.
    """
    found: set[str] = set()
    for path in paths:
        for section in re.split(r"(?m)^(?=\S)", _read(path)):
            own = re.findall(r"(?m)^\s+(?:bind\s+\S+|server\s+\S+\s+\S+):(\d{1,5})\b", section)
            if any(int(port) in ports for port in own):
                found |= {address for address, _ in _binds(section)}
    return found


def servers(paths: Iterable[str], nodes: Sequence[str]) -> dict[str, str]:
    """The addresses that haproxy hands requests on to, by node, from its configuration here.

    nodes: the names that count; a server may have a domain behind it. Without any all count.
    """
    found: dict[str, str] = {}
    for path in paths:
        for name, where in re.findall(r"(?m)^\s*server\s+(\S+)\s+(\S+):\d+", _read(path)):
            node = name if name in nodes or not nodes else name.partition(".")[0]
            try:
                own = str(ipaddress.ip_address(where.strip("[]")))
            except ValueError:
                continue
            if node in nodes or not nodes:
                found.setdefault(node, own)
    return found


def _read(path: str) -> str:
    try:
        return content(path, LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _option(config: str, section: str, name: str) -> str:
    try:
        return option([config], section, name) or ""
    except AgentError:
        return ""
