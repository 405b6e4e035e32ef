"""What Nova, Cinder and Glance need to use the virtual IPs: printed, and checked in their files.

Rows C. The options are those of each client's own code: Nova reads [glance] and [cinder], Cinder
two options of [DEFAULT], Glance those of its Cinder stores.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlsplit

from . import configuration
from .configuration import Configuration, Value
from .description import Description, Service
from .errors import UsageError
from .finding import WARNING, Finding
from .host import options
from .rows import found
from .servers import host_of
from .vips import Place, places
from .words import path as path_
from .words import shown

CLIENTS = ("nova", "cinder", "glance")
VOLUME_TYPES = ("volumev3", "block-storage")
IMAGE_TYPES = ("image",)


@dataclass(frozen=True)
class Target:
    """A service that clients look for: its hosts by interface, and the port of its API."""

    service: Service
    hosts: dict[str, str]

    def host(self, interface: str) -> str:
        """The address or name of an interface; the internal one where it has none of its own."""
        found_ = self.hosts.get(interface) or self.hosts.get("internal") or next(
            iter(self.hosts.values()), "")
        return f"[{found_}]" if ":" in found_ else found_

    def url(self, interface: str, path: str = "", scheme: str = "http") -> str:
        """The URL at an interface."""
        return f"{scheme}://{self.host(interface)}:{self.service.port}{path}"


def targets(description: Description) -> dict[str, Target]:
    """The services of a description that have an address, by the name of their agent."""
    place_of: dict[str, Place] = {one.agent.name: place for place in places(description)
                                  for one in place.services}
    targets_ = {}
    for service in (one for one in description.services if not one.agent.kind):
        place = place_of.get(service.agent.name)
        hosts: dict[str, str] = {}
        if service.dns_ha:
            hosts = {face: name for face, name in service.hostnames.items() if face != "access"}
        elif place:
            for vip in place.vips:
                # With both families the first one named counts: an endpoint has one URL.
                hosts.setdefault(vip.face, str(vip.address))
            hosts |= {face: name for face, name in service.hostnames.items() if face != "access"}
        if hosts:
            targets_[service.agent.name] = Target(service, hosts)
    return targets_


def sections(description: Description, interface: str = "internal") -> str:
    """What to write into the clients' files."""
    return "\n".join(_lines(targets(description), description.region, interface))


Names = Mapping[str, Collection[str]]
"""The services of a catalogue: their names by type."""


def check(description: Description, files: Sequence[str], interface: str = "internal",
          catalogue: Names | None = None) -> list[Finding]:
    """C1 to C5, and F1, in files of clients; UsageError where it is not clear whose one is.

    catalogue: what Keystone's has; None where it was not asked.
    """
    known = targets(description)
    findings: list[Finding] = []
    for file in files:
        client = _client(file)
        config = configuration.read(client, [file], own=False)
        if config.unreadable:
            findings.append(found("F3", path_(file), f"it cannot be read: "
                                  f"{config.unreadable[file]}", "Mend it, or name another."))
            continue
        rows = {"nova": _nova, "cinder": _cinder, "glance": _glance}[client]
        findings += rows(config, known, interface, catalogue)
        findings += options(config)
    return findings


# --- what is printed ----------------------------------------------------------------------------


def _lines(known: dict[str, Target], region: str, interface: str) -> Iterator[str]:
    image, volume = known.get("glance-api"), known.get("cinder-api")
    if not image and not volume:
        raise UsageError("the description has no address of Glance or Cinder: there is nothing "
                         "that clients need")
    yield "# nova.conf, on every node that has one; restart its services afterwards"
    if image:
        yield "[glance]"
        yield f"valid_interfaces = {interface}"
        yield from _region("region_name", region)
        yield f"# without the catalogue: endpoint_override = {image.url(interface)}"
        yield ""
    if volume:
        yield "[cinder]"
        yield f"catalog_info = volumev3::{interface}URL"
        yield from _region("os_region_name", region)
        yield ("# without the catalogue: endpoint_template = "
               f"{volume.url(interface, '/v3/%(project_id)s')}")
        yield ""
    if image:
        yield "# cinder.conf, for cinder-api, cinder-volume and cinder-backup"
        yield "[DEFAULT]"
        yield f"glance_catalog_info = image:glance:{interface}URL"
        yield "# without the catalogue, which Cinder 21 reads without a look at the region:"
        yield f"# glance_api_servers = {image.url(interface)}"
        yield ""
    if volume:
        yield "# glance-api.conf, where a store is of the kind cinder; else nothing"
        yield "[NAME_OF_THE_STORE]"
        yield f"cinder_catalog_info = volumev3::{interface}URL"
        yield from _region("cinder_os_region_name", region)
        yield ""


def _region(name: str, region: str) -> Iterator[str]:
    if region:
        yield f"{name} = {region}"


# --- what is checked ----------------------------------------------------------------------------


def _client(file: str) -> str:
    """Whose file it is, by its name or that of its folder."""
    for part in reversed(PurePath(file).parts):
        for client in CLIENTS:
            if re.match(rf"{client}\b", part):
                return client
    raise UsageError(f"{path_(file)}: it is not clear whose file it is; its name, or that of its "
                     f"folder, must begin with one of {', '.join(CLIENTS)}")


def _nova(config: Configuration, known: dict[str, Target], interface: str,
          catalogue: Names | None) -> Iterator[Finding]:
    if image := known.get("glance-api"):
        override = config.get("glance", "endpoint_override")
        servers = config.get("glance", "api_servers")
        for value in (override, servers):
            yield from _urls(value, image, interface)
        if not override.text and not servers.text:
            valid = config.get("glance", "valid_interfaces")
            faces = [one.strip(" '\"") for one in valid.text.strip("[]").split(",")]
            if faces != [interface]:
                yield found("C3", valid.where, f"valid_interfaces is {shown(','.join(faces))}"
                            f"{'' if valid.given else ', by default'}",
                            f"Write: [glance] valid_interfaces = {interface}")
    if volume := known.get("cinder-api"):
        template = config.get("cinder", "endpoint_template")
        yield from _urls(template, volume, interface)
        if not template.text:
            yield from _info(config.get("cinder", "catalog_info"), VOLUME_TYPES, interface, "C3",
                             catalogue, named=True)


def _cinder(config: Configuration, known: dict[str, Target], interface: str,
            catalogue: Names | None) -> Iterator[Finding]:
    image = known.get("glance-api")
    if not image:
        return
    servers = config.get("DEFAULT", "glance_api_servers")
    yield from _urls(servers, image, interface)
    if not servers.text:
        yield from _info(config.get("DEFAULT", "glance_catalog_info"), IMAGE_TYPES, interface,
                         "C4", catalogue, named=False)


def _glance(config: Configuration, known: dict[str, Target], interface: str,
            catalogue: Names | None) -> Iterator[Finding]:
    volume = known.get("cinder-api")
    enabled = config.get("DEFAULT", "enabled_backends").text
    stores = [name.strip() for name, _, kind in (
        one.partition(":") for one in enabled.split(",")) if kind.strip() == "cinder"]
    if not enabled and config.get("glance_store", "default_store").text == "cinder":
        stores = ["glance_store"]
    for store in stores if volume else ():
        template = config.get(store, "cinder_endpoint_template")
        if volume and template.text:
            yield from _urls(template, volume, interface)
        else:
            yield from _info(config.get(store, "cinder_catalog_info", "volumev3::publicURL"),
                             VOLUME_TYPES, interface, "C3", catalogue, named=True)


def _urls(value: Value, target: Target, interface: str) -> Iterator[Finding]:
    """C1, C2: addresses beside the catalogue."""
    option = value.where.rpartition("/")[2]
    path = re.sub(r"^\w+://[^/]*", "", value.text) if option.endswith("template") else ""
    say = f"Write: {option} = {target.url(interface, path)}"
    for text in filter(None, (one.strip(" '\"") for one in value.text.strip("[]").split(","))):
        try:
            parts = urlsplit(text)
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port
        except ValueError:
            whole = None
        host = host_of(text)
        if not whole:
            yield found("C1", value.where, f"{_plain(text)} is not a whole URL: it needs "
                        "http:// and a port", say)
        elif host not in {one.lower() for one in target.hosts.values()}:
            yield found("C2", value.where, f"{shown(host)} is not the address of "
                        f"{target.service.agent.name}", say)
        elif host != target.host(interface).strip("[]").lower():
            yield found("C3", value.where, f"{shown(host)} is not the {interface} address", say)


def _info(value: Value, types: tuple[str, ...], interface: str, id_: str,
          catalogue: Names | None, *, named: bool) -> Iterator[Finding]:
    """C3 or C4, and C5: type:name:interface of the catalogue."""
    option = value.where.rpartition("/")[2]
    parts = value.text.split(":")
    # keystoneauth1 takes one of a service's types for the other.
    listed = {one: catalogue[one] for one in types if catalogue and one in catalogue}
    say = f"Write: {option} = {types[0]}:{'' if named else 'glance'}:{interface}URL"
    if len(parts) != 3:
        yield found("C5", value.where, f"{option} is not type:name:interface", say)
        return
    kind, name, face = parts
    if kind not in types:
        yield found("C5", value.where, f"the type {shown(kind)} is not that of today's API", say)
    elif catalogue is not None and not listed:
        yield found("C5", value.where, f"the catalogue has no service of the type {shown(kind)}",
                    "openstack-ocf endpoints show says what it lacks.")
    if face.replace("URL", "") != interface:
        yield found(id_, value.where, f"{option} says {shown(face)}"
                    f"{'' if value.given else ', by default'}", say)
    if not named or not name:
        return
    there = {one for names in listed.values() for one in names}
    if catalogue is None:
        yield found("C5", value.where, f"the name {shown(name)} must be that of the service in the "
                    "catalogue, else no endpoint is found", f"{say} (without a name any is "
                    "taken)", WARNING)
    elif there and name not in there:
        yield found("C5", value.where, f"the name {shown(name)} is not that of the service in the "
                    f"catalogue ({', '.join(map(shown, sorted(there)))}): no endpoint is found",
                    f"{say} (without a name any is taken)")


def _plain(text: str) -> str:
    """An address as it stands there; what has more than that in it may have a secret."""
    sound = re.fullmatch(r"(\w+://)?([\w.-]+|\[?[0-9A-Fa-f:]+\]?)(:\d+)?(/[\w/%().-]*)?", text)
    return shown(text) if sound else "an address"
