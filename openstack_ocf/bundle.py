"""A description of what a Juju bundle asks for: the charms' options and bindings.

PyYAML is needed here alone, and looked for here. Only options that a description knows are taken,
so that no secret of a bundle is printed.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from . import agents
from .agents import Agent
from .draft import Draft, Section
from .errors import CannotLookError, UsageError
from .init import section_name
from .keys import FACES, SERVICE
from .reading import whole
from .words import shown

LIMIT = 4 << 20
_CHARMS = {"nova-cloud-controller": "nova", "openstack-dashboard": ""}
"""Charms whose names are no project's."""
_TAKEN = {key.name for key in SERVICE if key.name.startswith(("vip", "os_"))} | {"dns_ha"}
_STORES = {"ceph-mon": "rbd", "ceph-proxy": "rbd", "swift-proxy": "swift", "ceph-radosgw": "swift"}
"""Charms that Glance stores in when it is related to them."""


def draft(path: str) -> Draft:
    """The description of a bundle; CannotLookError without PyYAML, or where nothing is known."""
    document = _load(path)
    applications = document.get("applications") or document.get("services")
    if not isinstance(applications, dict):
        raise UsageError(f"{shown(path)} is no Juju bundle: it has no applications")
    made = Draft(path)
    relations = list(_relations(document.get("relations")))
    charms = {str(name): _charm(one) for name, one in applications.items()}
    for name, one in applications.items():
        agent = _agent(charms[str(name)])
        if agent and isinstance(one, dict):
            section = made.section(section_name(agent))
            partners = {charms.get(other, "") for pair in relations if str(name) in pair
                        for other in pair if other != str(name)}
            _application(section, agent, one, partners)
            region = _options(one).get("region")
            if region:
                made.default.values.setdefault("region", str(region))
    if not made.services:
        raise CannotLookError(f"no application in {shown(path)} is a service that is known here")
    for name, one in applications.items():
        url = _options(one).get("maas_url") if charms[str(name)] == "hacluster" else None
        if url:
            made.dns.values.update({"agent": "maas", "maas_url": str(url)})
    if any("dns_ha" in section.values for section in made.services) and not made.dns.values:
        made.dns.remarks.append("What is to change the names: server, keyfile and addresses; or "
                                "agent = maas with maas_url.")
    return made


def _application(
    section: Section, agent: Agent, one: Mapping[str, Any], partners: set[str]
) -> None:
    """Options, bindings and relations of one application."""
    values = section.values
    for option, value in _options(one).items():
        key = option.replace("-", "_")
        text = str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())
        if key not in _TAKEN or text in ("", "None") or (key == "dns_ha" and text == "false"):
            continue
        values[key] = text.replace("{service_name}", section.name)
    if "vip" in values and "vip_iface" not in values:
        # Without an interface the charm takes vip_cidr only where it finds no network.
        values.pop("vip_cidr", None)
    if "hacluster" in partners or "vip" in values or "dns_ha" in values:
        values["mode"] = "active-active"
        section.remarks.append("The charm runs it on all units, behind an haproxy of its own. "
                               "Without that, mode = active-passive is simpler.")
    else:
        section.remarks.append("It is not related to hacluster, and has no vip and no dns-ha.")
    spaces = one.get("bindings")
    for face, space in (spaces.items() if isinstance(spaces, dict) else ()):
        known = "internal" if face == "internal" else face
        if known in FACES and f"os_{known}_network" not in values:
            section.remarks.append(
                f"{face} is bound to the space {shown(str(space))}, whose network is not in a "
                f"bundle: set os_{known}_network.")
    if agent.name == "glance-api":
        stores = [_STORES[charm] for charm in sorted(partners) if charm in _STORES]
        if stores:
            values["storage"] = stores[0]


def _options(one: object) -> Mapping[str, Any]:
    options = one.get("options") if isinstance(one, dict) else None
    return {str(name): value for name, value in options.items()} if isinstance(
        options, dict) else {}


def _charm(one: object) -> str:
    """The name of a charm, as of `ch:amd64/jammy/glance-600`, `cs:~openstack/glance`."""
    text = str(one.get("charm", "")) if isinstance(one, dict) else ""
    name = text.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return re.sub(r"-\d+$", "", name)


def _agent(charm: str) -> Agent | None:
    name = _CHARMS.get(charm, charm)
    found = agents.named(name) or agents.named(name.removesuffix("-api")) if name else None
    return found if found and found.api and not found.gone else None


def _relations(relations: object) -> Iterator[tuple[str, ...]]:
    """The applications of each relation, without the endpoints."""
    for one in relations if isinstance(relations, list) else ():
        flat = [end for part in one for end in (part if isinstance(part, list) else [part])] if (
            isinstance(one, list)) else []
        yield tuple(str(end).partition(":")[0] for end in flat)


def _load(path: str) -> Mapping[str, Any]:
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise CannotLookError(
            "PyYAML is not on this machine; install the package python3-yaml") from error
    content = whole(path, LIMIT)
    try:
        # Bundles with overlays have several documents; the first is the bundle.
        document = next(iter(yaml.safe_load_all(content)), None)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise UsageError(f"{shown(path)} is no YAML{line}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{shown(path)} is no Juju bundle")
    return document
