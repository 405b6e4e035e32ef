"""What is in a CIB and not in a plan any more, and a CIB without it. Called by `apply`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from copy import deepcopy

from . import cib as cibs
from .errors import RefusedError, UsageError
from .ties import ENDS, reached, ties
from .words import shown

ALL = "all"


def left(plan: ET.Element, there: ET.Element) -> list[str]:
    """Services that a plan does not have any more, and addresses in the groups that it has."""
    planned = {one.get("id") for one in plan.iterfind("configuration/resources//*[@id]")}
    return [one.get("id", "") for group in there.iterfind("configuration//*")
            for one in (group.findall("primitive") if group.tag != "bundle" else ())
            if one.get("id") not in planned and (
                cibs.agent(one).startswith("ocf:openstack:")
                or (group.get("id") in planned and one.get("type") in cibs.ADDRESSES))]


def removed(plan: ET.Element, there: ET.Element, wanted: Sequence[str]) -> list[str]:
    """The primitives that go; an address or a name goes with the last service that it is for.

    wanted: ids, or `all`. UsageError for one that the plan has, or that is none of ours.
    """
    candidates = left(plan, there)
    for name in wanted:
        if name != ALL and name not in candidates:
            which = f"it is one of {', '.join(candidates)}" if candidates else "there is none"
            raise UsageError(f"--remove {shown(name)}: what the description has not any more is "
                             f"removed; {which}")
    going = candidates if ALL in wanted else [one for one in candidates if one in wanted]
    planned = {one.get("id", "") for one in cibs.resources(plan)}
    after = without(there, going)
    return going + [name for name in cibs.holders(there)
                    if name not in planned and name not in going
                    and _served(there, name) and not _served(after, name)]


def _served(there: ET.Element, address: str) -> set[str]:
    """What an address is for."""
    parents = cibs.parents(there)
    primitive = next(one for one in cibs.resources(there) if one.get("id") == address)
    group = next((one for one in cibs.above(primitive, parents) if one.tag == "group"), None)
    mine = {address} | ({group.get("id", "")} if group is not None else set())
    near = {one.get("id", "") for one in group.iterfind("primitive")} if group is not None else {""}
    together = ties(there).together
    for name in {*reached(together, mine, back=True),
                 *(tie.other for tie in together if tie.one in mine)} - mine:
        found = cibs.by_id(there, name)
        # Of a bundle it is the containers.
        near |= {one.get("id", "") for one in found.iter("primitive")} \
            if found is not None and found.tag != "bundle" else {name}
    return near - cibs.holders(there).keys() - {""}


def without(there: ET.Element, names: Sequence[str]) -> ET.Element:
    """A copy of a CIB without these primitives, their empty groups, and constraints about them.

    RefusedError where something else names one, as a tag does.
    """
    after = deepcopy(there)
    gone = set(names)
    resources, constraints = (cibs.section(after, one) for one in ("resources", "constraints"))
    for name in names:
        element = next(one for one in cibs.resources(after) if one.get("id") == name)
        while element is not resources:
            parent = next(one for one in resources.iter() if element in list(one))
            if parent.tag == "bundle":
                raise RefusedError(f"nothing was changed: {name} is in the bundle "
                                   f"{parent.get('id')}; take it out there first")
            parent.remove(element)
            gone.add(element.get("id", ""))
            if parent is resources or parent.findall("primitive") or parent.findall("group"):
                break
            element = parent
    for constraint in list(constraints):
        if not cibs.comment(constraint) and _of(constraint, gone):
            constraints.remove(constraint)
    for name, where in _named(after, gone):
        raise RefusedError(f"nothing was changed: {where} names {name}; take it out there first")
    return after


def _of(constraint: ET.Element, gone: set[str]) -> bool:
    """Whether nothing is left of a constraint; what is gone is taken out of its sets."""
    if any(constraint.get(end) in gone for end in ENDS):
        return True
    sets = constraint.findall("resource_set")
    for one in sets:
        for ref in one.findall("resource_ref"):
            if ref.get("id") in gone:
                one.remove(ref)
        if not one.findall("resource_ref") and one.get("id-ref") is None:
            constraint.remove(one)
    return bool(sets) and constraint.find("resource_set") is None


def _named(cib: ET.Element, gone: set[str]) -> Iterator[tuple[str, str]]:
    """What of the gone is named elsewhere in the configuration, and where."""
    for section in cib.iterfind("configuration/*"):
        if section.tag in ("resources", "constraints"):
            continue
        for parent in section.iter():
            for element in parent:
                for key in ("id", "reference", "object-id"):
                    if not cibs.comment(element) and element.get(key) in gone:
                        yield element.get(key, ""), f"{parent.tag} {parent.get('id', '')}".strip()
