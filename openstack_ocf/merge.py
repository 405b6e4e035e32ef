"""A plan put into a CIB. What the plan does not have stays as it is, comments included.

Called by `command` for what a plan would change, and by `apply`. What is there keeps its ids: a
resource under another id is another one to Pacemaker, which would stop the old one.
"""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from copy import deepcopy

from . import cib as cibs
from .errors import RefusedError
from .seconds import same_time, seconds

_RESOURCES = ("primitive", "group", "clone", "master", "bundle", "template")
_ENDS = {"rsc_colocation": ("rsc", "with-rsc"), "rsc_order": ("first", "then")}
_OLDER = {"os_project_name": "os_tenant_name", "os_auth_url": "keystone_get_token_url"}
"""Parameters, and the older ones that say the same."""
_URLS = ("os_auth_url", "keystone_get_token_url")
_PLANNED = ("start", "stop", "monitor")


def merge(plan: ET.Element, there: ET.Element) -> ET.Element:
    """The CIB with the plan in it; the plan is given the ids that the CIB has.

    RefusedError where the CIB has something else under an id of the plan.
    """
    keep_ids(plan, there)
    cib = deepcopy(there)
    merger = _Merger(cib)
    for element in plan.iterfind("configuration/resources/*"):
        merger.resource(element)
    for element in plan.iterfind("configuration/constraints/*"):
        if not cibs.comment(element):
            merger.constraint(element)
    merger.finish(plan)
    return cib


# --- ids ----------------------------------------------------------------------------------------


def keep_ids(plan: ET.Element, there: ET.Element) -> None:
    """Give the plan's resources the ids that they have in the other CIB."""
    known = {address: name for name, address in cibs.virtual_ips(there).items() if address}
    _rename(plan, {name: known[address] for name, address in cibs.virtual_ips(plan).items()
                   if known.get(address, name) != name})
    _rename(plan, _services(plan, there))
    _rename(plan, _groups(plan, there))
    _rename(plan, _replaced(plan, there))


def _services(plan: ET.Element, there: ET.Element) -> dict[str, str]:
    """An agent that each of both has once, under two names."""
    found = {}
    names = {one.get("id") for one in cibs.resources(there)}
    for one in cibs.resources(plan):
        agent, name = cibs.agent(one), one.get("id", "")
        if not agent.startswith("ocf:openstack:") or name in names:
            continue
        others = [other.get("id", "") for other in cibs.resources(there)
                  if cibs.agent(other) == agent]
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
        group = _by_id(there, wanted.get("id", ""))
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
    for element in plan.iter() if names else ():
        if cibs.comment(element):
            continue
        for key, value in element.attrib.items():
            for old, new in names.items():
                if value == old or (key == "id" and value.startswith(f"{old}-")):
                    element.set(key, new + value[len(old):])
                    break


def _by_id(cib: ET.Element, name: str) -> ET.Element | None:
    return next((one for one in cib.iterfind("configuration/resources//*[@id]")
                 if one.get("id") == name and one.tag in _RESOURCES), None)


# --- elements -----------------------------------------------------------------------------------


class _Merger:
    """A CIB on its way; addresses are those that change, old and new."""

    def __init__(self, cib: ET.Element) -> None:
        self._cib = cib
        self._resources = cibs.section(cib, "resources")
        self._constraints = cibs.section(cib, "constraints")
        self._ids = {one.get("id", "") for one in cib.iterfind("configuration//*[@id]")}
        self._addresses: dict[str, str] = {}

    def resource(self, wanted: ET.Element) -> None:
        if wanted.tag == "primitive":
            found = self._find(wanted)
            if found is None:
                self._resources.append(self._new(wanted))
            else:
                # Wherever it stands: what runs is not taken out of its group.
                self._update(found, wanted)
        elif wanted.tag in ("group", "clone"):
            self._container(wanted)

    def constraint(self, wanted: ET.Element) -> None:
        ends = _ENDS[str(wanted.tag)]
        names = [wanted.get(end, "") for end in ends]
        known = [one for one in self._constraints if one.tag == wanted.tag]
        found = next((one for one in known if one.get("id") == wanted.get("id")), None)
        if found is not None:
            found.attrib.update(wanted.attrib)
        elif not any([one.get(end) for end in ends] == names for one in known) \
                and not self._grouped(names):
            self._constraints.append(self._new(wanted))

    def finish(self, plan: ET.Element) -> None:
        """Comments that name an address which has changed."""
        for wanted in plan.iterfind("configuration/resources//*[@id]"):
            found = self._find(wanted) if wanted.tag in _RESOURCES else None
            comments = [] if found is None else [one for one in found if cibs.comment(one)]
            for comment in comments:
                for old, new in self._addresses.items():
                    comment.text = re.sub(rf"(?<![\w.:]){re.escape(old)}(?![\w:]|\.\w)", new,
                                          comment.text or "")

    def _container(self, wanted: ET.Element) -> None:
        members = wanted.findall("primitive")
        there = self._find(wanted)
        if there is None:
            there = self._new(wanted, [one for one in wanted if one not in members])
            self._resources.append(there)
        else:
            self._pairs(there, wanted, "meta_attributes")
        for position, member in enumerate(members):
            found = self._find(member)
            if found is None:
                self._insert(there, self._new(member), members[position + 1:])
                continue
            self._update(found, member)
            if found not in there.iter("primitive"):
                self._take_out(found)
                self._insert(there, found, members[position + 1:])
        self._arrange(there, members)

    def _insert(self, there: ET.Element, member: ET.Element, later: Iterable[ET.Element]) -> None:
        """Before those that come later."""
        names = {one.get("id") for one in later}
        before = [place for place, one in enumerate(there) if one.get("id") in names]
        there.insert(before[0] if before else len(there), member)

    def _arrange(self, there: ET.Element, members: Iterable[ET.Element]) -> None:
        """The plan's members in its order, on the places that they have among others."""
        names = [one.get("id") for one in members]
        places = [place for place, one in enumerate(there) if one.get("id") in names]
        ours = {one.get("id"): one for one in there if one.get("id") in names}
        for place, one in zip(places, [ours[name] for name in names if name in ours]):
            there[place] = one

    def _take_out(self, member: ET.Element) -> None:
        parent = self._parent(member)
        if parent.tag == "bundle":
            raise RefusedError(f"{member.get('id')} stands in the bundle {parent.get('id')}, which "
                               "a plan knows nothing about; take it out first")
        parent.remove(member)
        if parent is not self._resources and not parent.findall("primitive"):
            self._parent(parent).remove(parent)

    def _parent(self, element: ET.Element) -> ET.Element:
        return next(one for one in self._resources.iter() if element in list(one))

    def _grouped(self, names: Iterable[str]) -> bool:
        """Whether one and the same group has them all."""
        return any({*names} <= {one.get("id") for one in (group, *group)}
                   for group in self._resources.iter("group"))

    def _find(self, wanted: ET.Element) -> ET.Element | None:
        name = wanted.get("id", "")
        found = _by_id(self._cib, name)
        if found is not None and found.tag != wanted.tag:
            raise RefusedError(f"the CIB has a {found.tag} {name}, where the plan has a "
                               f"{wanted.tag}; rename it first")
        return found

    def _new(self, wanted: ET.Element, children: Iterable[ET.Element] | None = None) -> ET.Element:
        """A copy for the CIB; children: instead of all of them."""
        name = wanted.get("id", "")
        if name in self._ids:
            raise RefusedError(f"the CIB has something else with the id {name}; rename it first")
        new = ET.Element(wanted.tag, dict(wanted.attrib))
        new.extend(deepcopy(one) for one in (wanted if children is None else children))
        return self._unique(new)

    def _unique(self, element: ET.Element) -> ET.Element:
        """An element with ids that nothing else has."""
        for one in element.iter():
            name = one.get("id") if not cibs.comment(one) else None
            if name is None:
                continue
            number = 0
            while name in self._ids:
                number += 1
                name = f"{one.get('id')}-{number}"
            one.set("id", name)
            self._ids.add(name)
        return element

    # --- what a primitive has ---------------------------------------------------------------

    def _update(self, found: ET.Element, wanted: ET.Element) -> None:
        if "template" not in found.attrib:
            for name in ("class", "provider", "type"):
                found.set(name, wanted.get(name, ""))
        old = cibs.parameters(found).get("ip", "")
        for section in ("instance_attributes", "meta_attributes"):
            self._pairs(found, wanted, section)
        new = cibs.parameters(found).get("ip", "")
        if old and old != new:
            self._addresses[old] = new
        self._operations(found, wanted)

    def _pairs(self, found: ET.Element, wanted: ET.Element, section: str) -> None:
        sets = found.findall(section)
        # What rules choose is the operator's; so is what a set lends from another one.
        ruled = {pair.get("name") for one in sets if one.find("rule") is not None
                 for pair in one.iterfind("nvpair")}
        plain = [one for one in sets if one.find("rule") is None and "id-ref" not in one.attrib]
        lent = cibs.pairs(_by_id(self._cib, found.get("template", "")), section)
        for name, value in cibs.pairs(wanted, section).items():
            pair = next((pair for one in plain for pair in one.iterfind("nvpair")
                         if pair.get("name") == name), None)
            if pair is not None:
                if not _same(pair.get("value", ""), value, section) \
                        and not (name in _URLS and _root(pair.get("value", "")) == _root(value)):
                    pair.set("value", value)
            elif name not in ruled and not _same(lent.get(name, "\0"), value, section) \
                    and not _said(cibs.parameters(found), name, value):
                if not plain:
                    plain = [self._set(found, section)]
                name_ = f"{plain[0].get('id')}-{name}"
                plain[0].append(self._unique(ET.Element("nvpair", {
                    "id": name_, "name": name, "value": value})))

    def _set(self, found: ET.Element, section: str) -> ET.Element:
        new = self._unique(ET.Element(section, {"id": f"{found.get('id')}-{section}"}))
        found.insert(len([one for one in found if cibs.comment(one)]), new)
        return new

    def _operations(self, found: ET.Element, wanted: ET.Element) -> None:
        operations = found.find("operations")
        planned = wanted.find("operations")
        if planned is None or (operations is not None and "id-ref" in operations.attrib):
            return
        if operations is None:
            operations = ET.SubElement(found, "operations")
        ours = [one for one in operations.iterfind("op")
                if one.get("name") in _PLANNED and one.get("role", "Started") == "Started"]
        for one in planned:
            mate = next((other for other in ours if _when(other) == _when(one)), None)
            if mate is None:
                operations.append(self._unique(deepcopy(one)))
                continue
            ours.remove(mate)
            if not same_time(mate.get("timeout", ""), one.get("timeout", "")):
                mate.set("timeout", one.get("timeout", ""))
            self._level(mate, cibs.level(one))
        for one in ours:
            operations.remove(one)

    def _level(self, operation: ET.Element, level: str) -> None:
        if cibs.level(operation) == level:
            return
        operation.attrib.pop("OCF_CHECK_LEVEL", None)
        pair = operation.find("instance_attributes/nvpair[@name='OCF_CHECK_LEVEL']")
        if pair is None:
            found = self._set(operation, "instance_attributes")
            pair = ET.SubElement(found, "nvpair", self._unique(ET.Element(
                "nvpair", {"id": f"{found.get('id')}-OCF_CHECK_LEVEL"})).attrib)
            pair.set("name", "OCF_CHECK_LEVEL")
        pair.set("value", level or "0")


def _when(operation: ET.Element) -> tuple[str | None, float | None]:
    return operation.get("name"), seconds(operation.get("interval", "0"))


def _same(first: str, second: str, section: str) -> bool:
    return first == second or (section == "meta_attributes" and same_time(first, second))


def _said(parameters: Mapping[str, str], name: str, value: str) -> bool:
    """Whether an older parameter says it already: a new one may restart what runs."""
    older = parameters.get(_OLDER.get(name, ""))
    if older is None:
        return False
    return older == value or (name in _URLS and _root(older) == _root(value))


def _root(url: str) -> str:
    """Of the Identity service, whose version the agents choose."""
    return re.sub(r"(/v[23](\.0)?(/tokens)?)?/*$", "", url)
