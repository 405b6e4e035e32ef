"""The ids that a plan's resources have in a CIB already.

Called by `merge` and `apply`. A resource under another id is another one to Pacemaker, which would
stop the old one.
"""

from __future__ import annotations

import ipaddress
import xml.etree.ElementTree as ET

from . import cib as cibs
from .ties import ENDS


def keep_ids(plan: ET.Element, there: ET.Element) -> None:
    """Give the plan's resources the ids that they have in the other CIB.

    A virtual IP is known by its address, a DNS name by itself, a service by its agent where there
    is one of it, a group or clone by its members.
    """
    for held in (cibs.virtual_ips, cibs.names):
        known = {what.lower(): name for name, what in held(there).items() if what}
        _rename(plan, {name: known[what.lower()] for name, what in held(plan).items()
                       if known.get(what.lower(), name) != name})
    _rename(plan, _services(plan, there))
    _rename(plan, _groups(plan, there))
    _rename(plan, _replaced(plan, there))


def _services(plan: ET.Element, there: ET.Element) -> dict[str, str]:
    """An agent that each of both has once, under two names."""
    found = {}
    names = {one.get("id") for one in cibs.resources(there)}
    contained = cibs.contained(there)
    for one in cibs.resources(plan):
        agent, name = cibs.agent(one), one.get("id", "")
        if not agent.startswith("ocf:openstack:") or name in names:
            continue
        others = [other.get("id", "") for other in cibs.resources(there)
                  if cibs.agent(other) == agent and other not in contained]
        if len(others) == 1:
            found[name] = others[0]
    return found


def _groups(plan: ET.Element, there: ET.Element) -> dict[str, str]:
    """Groups and clones, by the last of their members that is in one: that is the service."""
    found = {}
    for tag in ("group", "clone"):
        owners = {one.get("id"): owner.get("id", "")
                  for owner in there.iterfind(f"configuration/resources//{tag}")
                  for one in owner.iter("primitive")}
        for wanted in plan.iterfind(f"configuration/resources/{tag}"):
            names = [one.get("id") for one in wanted.iter("primitive")]
            owner = next((owners[name] for name in reversed(names) if name in owners), "")
            if owner and owner != wanted.get("id"):
                found[wanted.get("id", "")] = owner
    return found


def _replaced(plan: ET.Element, there: ET.Element) -> dict[str, str]:
    """Addresses that a group is to have, for those that it has and that are in no plan."""
    old, new = cibs.virtual_ips(there), cibs.virtual_ips(plan)
    found = {}
    for wanted in plan.iterfind("configuration/resources/group"):
        group = cibs.by_id(there, wanted.get("id", ""))
        names = [one.get("id", "") for one in group.iter("primitive")] if group is not None else []
        free = [name for name in names if name in old and name not in new]
        for one in wanted.iter("primitive"):
            name = one.get("id", "")
            if name not in new or name in old:
                continue
            mate = next((other for other in free if _version(old[other]) == _version(new[name])),
                        "")
            if mate:
                free.remove(mate)
                found[name] = mate
    return found


def _version(address: str) -> int:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return 0


def _rename(plan: ET.Element, names: dict[str, str]) -> None:
    """Give resources other ids, with the parts of each, and what refers to them."""
    for one in plan.iter() if names else ():
        if cibs.comment(one):
            continue
        for key in ENDS:
            if one.get(key) in names:
                one.set(key, names[one.get(key, "")])
        if one.tag in cibs.RESOURCES and one.get("id") in names:
            _rename_one(one, names[one.get("id", "")])


def _rename_one(resource: ET.Element, name: str) -> None:
    """The resources in it keep their ids."""
    old = f"{resource.get('id')}-"
    resource.set("id", name)
    for part in resource:
        for each in part.iter() if part.tag not in cibs.RESOURCES else ():
            if each.get("id", "").startswith(old):
                each.set("id", f"{name}-{each.get('id', '').removeprefix(old)}")
