"""The check of a node: which services, which surroundings, and all rows about them.

Called by `clusterverbs` for `check`.
"""

from __future__ import annotations

import socket
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from . import cib, subject
from .access import access, open_door, token
from .description import Description
from .errors import CannotLookError
from .finding import Finding
from .host import clock, cluster, files, options, schema, units
from .listening import behind_haproxy, listening, nonlocal_bind, port_taken
from .node import Node
from .servers import host_of, servers
from .storage import storage
from .subject import Subject, Surroundings
from .vips import address, places


def root(source: str) -> ET.Element | None:
    """The CIB; None where the live one does not show itself. A file must be one."""
    try:
        return cib.load(source)
    except CannotLookError:
        if source != cib.LIVE:
            raise
        return None


def subjects(description: Description | None, there: ET.Element | None, *,
             own: bool) -> list[Subject]:
    """The services to look at: the description's, else the cluster's, else this node's."""
    if description is not None:
        return subject.described(description, there, own=own)
    found = subject.clustered(there, own=own) if there is not None else []
    return found or subject.installed(own=own)


def surroundings(description: Description | None, there: ET.Element | None,
                 services: Sequence[Subject], here: Node | None, auth_url: str) -> Surroundings:
    """What is known of the cluster and of this node.

    services: those that are looked at. here: None where the node does not show itself.
    auth_url: Keystone's by the credentials.
    """
    name = socket.gethostname().lower()
    nodes = {name, name.partition(".")[0]}
    virtual = set()
    keystone = {host_of(auth_url)} - {""}
    if description is not None:
        nodes |= {one.lower() for one in description.nodes}
        for place in places(description):
            virtual |= {str(vip.address) for vip in place.vips}
        for service in description.services:
            if service.agent.name == "keystone":
                keystone |= {one.lower() for one in service.hostnames.values()}
        keystone |= {host_of(description.auth_url)} - {""}
    if there is not None:
        nodes |= {one.get("uname", "").lower()
                  for one in there.iterfind("configuration/nodes/node")}
        virtual |= {str(vip) for text in cib.virtual_ips(there).values()
                    if (vip := address(text))}
    for one in services:
        if one.agent.name == "keystone":
            keystone |= {str(vip) for vip in one.vips}
    own = {str(each) for one in here.interfaces for each, _ in one.addresses} if here else set()
    return Surroundings(
        frozenset(nodes - {""}), frozenset(virtual), frozenset((own | {name}) - virtual),
        frozenset(keystone), live=there is not None)


def look(found: Sequence[Subject], around: Surroundings, there: ET.Element | None, *,
         quick: bool) -> list[Finding]:
    """All rows about a node; quick leaves out what takes seconds or asks over the network."""
    return list(dict.fromkeys(_rows(found, around, there, quick=quick)))


def _rows(found: Sequence[Subject], around: Surroundings, there: ET.Element | None, *,
          quick: bool) -> Iterator[Finding]:
    seen: set[tuple[str, ...]] = set()
    for one in found:
        yield from files(one)
        if any(path in one.config.unreadable for path in one.config.files[:1]):
            continue
        yield from listening(one)
        yield from behind_haproxy(one)
        yield from servers(one, around)
        yield from access(one, around)
        yield from storage(one)
        # Files that several services have in common are told of once.
        if one.config.files not in seen:
            seen.add(one.config.files)
            yield from options(one.config)
        yield from units(one)
        yield from port_taken(one)
        if not quick:
            yield from schema(one)
            yield from token(one)
            yield from open_door(one)
    yield from nonlocal_bind(list(found))
    yield from clock()
    yield from cluster(there)
