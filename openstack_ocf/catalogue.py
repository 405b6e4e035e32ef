"""Keystone's catalogue beside the description: what is there, what is to be there. Rows E.

Nothing here asks or changes anything; `endpoints` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .clients import Target
from .finding import ERROR, Finding
from .keys import FACES
from .rows import found
from .words import shown

PROJECT = "%(project_id)s"
_PROJECT = r"(%\((project|tenant)_id\)s|\$\((project|tenant)_id\)s|[0-9a-f]{32})"

Ask = Callable[[str], int]
"""The status of a GET without a token; 0 where nothing answers, -1 for its certificate."""


@dataclass(frozen=True)
class Kind:
    """How a service stands in the catalogue.

    types: the first is the usual one. path: of a new endpoint; paths: what else is right, a
    pattern. gone: types of older versions of its API. closed: a path that takes a token.
    """

    types: tuple[str, ...]
    path: str = ""
    paths: str = "/?"
    gone: tuple[str, ...] = ()
    closed: str = ""


KINDS = {
    "glance-api": Kind(("image",), closed="/v2/images"),
    "cinder-api": Kind(("volumev3", "block-storage"), f"/v3/{PROJECT}", f"/v3(/{_PROJECT})?/?",
                       ("volume", "volumev2"), "/v3/volumes"),
    "keystone": Kind(("identity",), paths="(/v3)?/?"),
    "nova-api": Kind(("compute",), "/v2.1", rf"/v2\.1(/{_PROJECT})?/?", ("computev3",)),
    "neutron-server": Kind(("network",)),
    "heat-api": Kind(("orchestration",), f"/v1/{PROJECT}", f"/v1/{_PROJECT}/?"),
    "heat-api-cfn": Kind(("cloudformation",), "/v1", "/v1/?"),
    "placement-api": Kind(("placement",), paths="(/placement)?/?"),
    "manila-api": Kind(("sharev2", "shared-file-system"), "/v2", f"/v2(/{_PROJECT})?/?",
                       ("share",)),
    "designate-api": Kind(("dns",)),
    "barbican-api": Kind(("key-manager",)),
    "octavia-api": Kind(("load-balancer",)),
    "aodh-api": Kind(("alarming",)),
    "gnocchi-api": Kind(("metric",)),
    "ironic-api": Kind(("baremetal",)),
    "magnum-api": Kind(("container-infra",), "/v1", "/v1/?"),
    "masakari-api": Kind(("instance-ha", "ha"), f"/v1/{PROJECT}", f"/v1(/{_PROJECT})?/?"),
}
"""The services whose place in the catalogue is known."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint; region is empty where it has none."""

    id: str
    interface: str
    region: str
    url: str
    enabled: bool = True


@dataclass(frozen=True)
class Entry:
    """A service of the catalogue with its endpoints."""

    id: str
    type: str
    name: str
    endpoints: tuple[Endpoint, ...] = field(default=())


@dataclass(frozen=True)
class Change:
    """An endpoint that is to be made (no id), or to have another URL."""

    service: str
    type: str
    interface: str
    id: str
    before: str
    after: str


def entries(services: Sequence[Mapping[str, Any]],
            endpoints: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """What Keystone lists, as entries; what makes no sense in it is left out."""
    of: dict[str, list[Endpoint]] = {}
    for one in endpoints:
        of.setdefault(str(one.get("service_id", "")), []).append(_endpoint(one))
    return [Entry(str(one.get("id", "")), str(one.get("type", "")), str(one.get("name") or ""),
                  tuple(of.get(str(one.get("id", "")), ())))
            for one in services if one.get("enabled", True) is not False]


def of_token(catalog: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The catalogue as every user gets it, with project ids in the URLs."""
    found_ = []
    for one in catalog:
        given = one.get("endpoints")
        listed = given if isinstance(given, list) else []
        found_.append(Entry(
            str(one.get("id", "")), str(one.get("type", "")), str(one.get("name") or ""),
            tuple(_endpoint(each) for each in listed if isinstance(each, dict))))
    return found_


def _endpoint(one: Mapping[str, Any]) -> Endpoint:
    return Endpoint(str(one.get("id", "")), str(one.get("interface", "")),
                    str(one.get("region_id") or one.get("region") or ""), str(one.get("url", "")),
                    one.get("enabled", True) is not False)


def regions(there: Sequence[Entry]) -> list[str]:
    """The regions that have an endpoint."""
    return sorted({one.region for entry in there for one in entry.endpoints if one.region})


class Beside:
    """One service of the description beside its entries in the catalogue, in one region.

    scheme: what endpoints are to have; empty: what they have, and http for new ones.
    """

    def __init__(self, target: Target, there: Sequence[Entry], region: str, scheme: str = "",
                 service: str = "") -> None:
        self.target = target
        self.kind = KINDS[target.service.agent.name]
        self.region = region
        self.scheme = scheme
        self.found = [one for one in there if one.type in self.kind.types
                      and service in ("", one.id, one.name)]
        self.stale = [one for one in there if one.type in self.kind.gone]

    def entry(self) -> Entry | None:
        """The one service that it is; None for none or several."""
        return self.found[0] if len(self.found) == 1 else None

    def at(self, interface: str) -> list[Endpoint]:
        """The endpoints of an interface in the region."""
        entry = self.entry()
        return [one for one in entry.endpoints if one.interface == interface
                and one.region == self.region] if entry else []

    def wanted(self, interface: str) -> str:
        """The URL that an interface is to have; a path that is right stays."""
        there = self.at(interface)
        scheme, path = self.scheme or "http", self.kind.path
        if there:
            parts = _parts(there[0].url)
            scheme = self.scheme or (parts[0] if parts[0] in ("http", "https") else "http")
            path = parts[3] if re.fullmatch(self.kind.paths, parts[3]) else path
            path = path.replace("$(", "%(")
            path = re.sub("[0-9a-f]{32}", PROJECT, path)
            if self._right(interface, there[0].url):
                return there[0].url
        return (f"{scheme}://{self.target.host(interface)}:{self.target.service.port}"
                f"{path.rstrip('/')}")

    def changes(self) -> list[Change]:
        """What is to be changed, if there is one service and one endpoint for each interface."""
        entry = self.entry()
        if entry is None:
            return []
        found_ = []
        for interface in ("public", "internal", "admin"):
            there, wanted = self.at(interface), self.wanted(interface)
            if len(there) > 1 or (there and (not there[0].enabled or there[0].url == wanted)):
                continue
            found_.append(Change(entry.id, entry.type, interface, there[0].id if there else "",
                                 there[0].url if there else "", wanted))
        return found_

    def findings(self, ask: Ask | None = None) -> Iterator[Finding]:
        """E1 to E8; ask: where endpoints themselves are to be asked."""
        where = f"catalogue:{self.kind.types[0]}"
        for one in self.stale:
            yield found("E7", f"catalogue:{shown(one.type)}", f"the service {shown(one.name)} "
                        f"({shown(one.id)}) is of an API that is gone",
                        f"openstack service delete {shown(one.id)}")
        if not self.found:
            yield found("E1", where, "there is no such service",
                        f"openstack service create --name {self.target.service.section} "
                        f"{self.kind.types[0]}; then: openstack-ocf endpoints set")
            return
        if len(self.found) > 1:
            listed = ", ".join(f"{shown(one.name)} ({shown(one.id)})" for one in self.found[:5])
            more = f" and {len(self.found) - 5} more" if len(self.found) > 5 else ""
            yield found("E1", where, f"there are {len(self.found)} such services: {listed}{more}",
                        "Leave one: openstack service delete ID")
            return
        swapped = self._swapped()
        if swapped:
            yield found("E4", f"{where}/{self.region}", "the public endpoint is at the internal "
                        "address, and the internal one at the public",
                        "openstack-ocf endpoints set")
        for interface in FACES:
            yield from self._interface(interface, f"{where}/{self.region}/{interface}",
                                       swapped=swapped)
        yield from self._asked(ask, where) if ask else ()

    def _interface(self, interface: str, where: str, *, swapped: bool) -> Iterator[Finding]:
        there = self.at(interface)
        if not there:
            entry = self.entry()
            spare = [one.id for one in (entry.endpoints if entry else ())
                     if one.interface == interface and not one.region]
            seen = f"; one without a region is there ({shown(spare[0])})" if spare else ""
            yield found("E2", where, f"there is no endpoint{seen}", "openstack-ocf endpoints set")
            return
        if len(there) > 1:
            yield found("E2", where, f"there are {len(there)} endpoints",
                        f"Leave one: openstack endpoint delete {shown(there[1].id)}")
            return
        if not there[0].enabled:
            yield found("E2", where, "the endpoint is switched off",
                        f"openstack endpoint set --enable {shown(there[0].id)}")
        scheme, host, port, path = _parts(there[0].url)
        say = f"openstack-ocf endpoints set, which makes it {self.wanted(interface)}"
        if host != self._host(interface) and not (swapped and interface != "admin"):
            yield found("E3", where, f"it is at {shown(host) or 'no host'}, and the address is "
                        f"{self.target.host(interface)}", say)
        if port != self.target.service.port:
            yield found("E5", where, f"its port is {port or 'none'}, and that of the API is "
                        f"{self.target.service.port}", say)
        if scheme not in ((self.scheme,) if self.scheme else ("http", "https")):
            yield found("E5", where, f"its scheme is {shown(scheme) or 'none'}", say)
        if re.match(r"/v1(/|$)", path) and not re.fullmatch(self.kind.paths, path):
            yield found("E7", where, f"its path {shown(path)} is that of a version that is gone",
                        say, ERROR)
        elif not re.fullmatch(self.kind.paths, path):
            yield found("E6", where, f"its path is {shown(path)}, and it is to be "
                        f"{self.kind.path or 'none'}", say)

    def _asked(self, ask: Ask, where: str) -> Iterator[Finding]:
        """E8: each address once, whatever interfaces it is for."""
        done: set[str] = set()
        for interface in FACES:
            for one in self.at(interface):
                scheme, host, port, _ = _parts(one.url)
                base = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
                if not host or scheme not in ("http", "https") or base in done:
                    continue
                done.add(base)
                status = ask(base + (self.kind.closed or "/"))
                at = f"{where}/{self.region}/{interface}"
                if status < 0:
                    yield found("E8", at, f"{shown(base)} has a certificate that is not trusted "
                                "here", "Set OS_CACERT in the openrc file.")
                elif not status:
                    yield found("E8", at, f"nothing answers at {shown(base)}",
                                "Look whether the resource is started: crm_mon")
                elif self.kind.closed and status == 200:
                    yield found("E8", at, f"{shown(base)} serves without a token",
                                "See P1 and P2: openstack-ocf check")
                elif status >= 500:
                    yield found("E8", at, f"{shown(base)} answers {status}",
                                "Look at the service's log.")

    def _host(self, interface: str) -> str:
        return self.target.host(interface).strip("[]").lower()

    def _right(self, interface: str, url: str) -> bool:
        scheme, host, port, path = _parts(url)
        return (host == self._host(interface) and port == self.target.service.port
                and scheme in ((self.scheme,) if self.scheme else ("http", "https"))
                and re.fullmatch(self.kind.paths, path) is not None)

    def _swapped(self) -> bool:
        public, internal = (self._host(face) for face in ("public", "internal"))
        there = [self.at(face) for face in ("public", "internal")]
        if public == internal or not all(len(one) == 1 for one in there):
            return False
        return [_parts(one[0].url)[1] for one in there] == [internal, public]


def _parts(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port (0 if there is none that makes sense) and path of a URL."""
    try:
        parts = urlsplit(url.strip())
        usual = {"http": 80, "https": 443}.get(parts.scheme, 0)
        return parts.scheme, (parts.hostname or "").lower(), parts.port or usual, parts.path
    except ValueError:
        return "", "", 0, ""
