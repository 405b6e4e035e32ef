"""A plan put into a CIB. What the plan does not have stays as it is, comments included.

Called by `clusterverbs` for what a plan would change, and by `apply`. What is there keeps its ids
(see `ids`), and its settings that the plan says nothing of.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from copy import deepcopy
from itertools import product

from . import agents
from . import cib as cibs
from .errors import RefusedError
from .ids import keep_ids
from .seconds import same_time, seconds
from .ties import tied, ties
from .user import URLS

_OLDER = {"os_project_name": "os_tenant_name", "os_auth_url": "keystone_get_token_url"}
"""Parameters, and the older ones that say the same."""
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
        """Added, where neither a constraint nor a set of one says it; what is there stays."""
        found = next((one for one in self._constraints if one.tag == wanted.tag
                      and one.get("id") == wanted.get("id")), None)
        if found is not None and found.find("resource_set") is None:
            found.attrib.update(wanted.attrib)
            return
        together = wanted.tag == "rsc_colocation"
        one, other = [wanted.get(end, "") for end in
                      (("rsc", "with-rsc") if together else ("then", "first"))]
        for name in (one, other):
            if cibs.by_id(self._cib, name) is None:
                raise RefusedError(f"the CIB has no {name}, which the plan counts on: make it "
                                   "first, or name another by id")
        there = ties(self._cib)
        known = there.together if together else there.after
        # What is said of each member of a group is said of the group.
        each = product(*(cibs.members(self._cib, name) or [name] for name in (one, other)))
        if not tied(known, one, other) and not all(tied(known, *pair) for pair in each) \
                and not self._grouped([one, other]):
            self._constraints.append(self._new(wanted))

    def finish(self, plan: ET.Element) -> None:
        """Comments that name an address which has changed."""
        for wanted in plan.iterfind("configuration/resources//*[@id]"):
            found = self._find(wanted) if wanted.tag in cibs.RESOURCES else None
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
        found = cibs.by_id(self._cib, name)
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
                if name in wanted.attrib:
                    found.set(name, wanted.get(name, ""))
                else:
                    found.attrib.pop(name, None)
        old = cibs.parameters(found).get("ip", "")
        for section in ("instance_attributes", "meta_attributes"):
            self._pairs(found, wanted, section)
        new = cibs.parameters(found).get("ip", "")
        if old and old != new:
            self._addresses[old] = new
        self._by_node(found, wanted)
        self._operations(found, wanted)

    def _by_node(self, found: ET.Element, wanted: ET.Element) -> None:
        """Parameters that a rule has for one node, as dnsupdate's address."""
        there = {cibs.ruled(one): one for one in found.iterfind("instance_attributes")}
        for section in wanted.iterfind("instance_attributes"):
            node = cibs.ruled(section)
            if node and node not in there:
                found.append(self._unique(deepcopy(section)))
            elif node:
                for pair in section.iterfind("nvpair"):
                    self._pair(there[node], pair.get("name", ""), pair.get("value", ""))

    def _pair(self, section: ET.Element, name: str, value: str) -> None:
        for pair in section.iterfind("nvpair"):
            if pair.get("name") == name:
                pair.set("value", value)
                return
        section.append(self._unique(ET.Element("nvpair", {
            "id": f"{section.get('id')}-{name}", "name": name, "value": value})))

    def _pairs(self, found: ET.Element, wanted: ET.Element, section: str) -> None:
        sets = found.findall(section)
        # What rules choose is the operator's; so is what a set lends from another one.
        ruled = {pair.get("name") for one in sets if one.find("rule") is not None
                 for pair in one.iterfind("nvpair")}
        plain = [one for one in sets if one.find("rule") is None and "id-ref" not in one.attrib]
        lent = cibs.pairs(cibs.by_id(self._cib, found.get("template", "")), section)
        parameters = section == "instance_attributes"
        given = cibs.parameters(wanted) if parameters else cibs.pairs(wanted, section)
        for name, value in given.items():
            pair = next((pair for one in plain for pair in one.iterfind("nvpair")
                         if pair.get("name") == name), None)
            if pair is not None:
                if not _same(pair.get("value", ""), value, section) \
                        and not (name in URLS and _root(pair.get("value", "")) == _root(value)):
                    pair.set("value", value)
            elif name not in ruled and not _same(lent.get(name, "\0"), value, section) \
                    and not _said(cibs.parameters(found), name, value) \
                    and not (parameters and value == _default(found, name)):
                if not plain:
                    plain = [self._set(found, section)]
                self._pair(plain[0], name, value)

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
            if one.get("on-fail"):
                mate.set("on-fail", one.get("on-fail", ""))
            self._level(mate, cibs.level(one))
        for one in ours:
            operations.remove(one)

    def _level(self, operation: ET.Element, level: str) -> None:
        if cibs.level(operation) == level:
            return
        operation.attrib.pop("OCF_CHECK_LEVEL", None)
        pair = operation.find("instance_attributes/nvpair[@name='OCF_CHECK_LEVEL']")
        if pair is None:
            self._pair(self._set(operation, "instance_attributes"), "OCF_CHECK_LEVEL", level or "0")
        else:
            pair.set("value", level or "0")


def _when(operation: ET.Element) -> tuple[str | None, float | None]:
    return operation.get("name"), seconds(operation.get("interval", "0"))


def _same(first: str, second: str, section: str) -> bool:
    return first == second or (section == "meta_attributes" and same_time(first, second))


def _default(primitive: ET.Element, name: str) -> str | None:
    """What an agent of ours takes where a parameter is not given."""
    provider, _, agent = cibs.agent(primitive).removeprefix("ocf:").partition(":")
    known = agents.get(agent) if provider == "openstack" else None
    return known.defaults.get(name) if known else None


def _said(parameters: Mapping[str, str], name: str, value: str) -> bool:
    """Whether an older parameter says it already: a new one may restart what runs."""
    older = parameters.get(_OLDER.get(name, ""))
    if older is None:
        return False
    return older == value or (name in URLS and _root(older) == _root(value))


def _root(url: str) -> str:
    """Of the Identity service, whose version the agents choose."""
    return re.sub(r"(/v[23](\.0)?(/tokens)?)?/*$", "", url)
