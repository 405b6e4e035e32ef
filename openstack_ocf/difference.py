"""What differs between two CIBs, by what the elements mean, not by how they are written.

Called by `clusterverbs` for what a plan would change, by `apply` for what it and others do.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from . import cib as cibs
from .seconds import plain
from .words import hidden
from .words import path as plain_text

Facts = Mapping[str, str]
_SECRET = re.compile(r"(?i)passw|secret|token$|credential")


def difference(new: ET.Element, old: ET.Element) -> str:
    """A line for each change: `+` is new, `-` is gone, `~` changes. Empty without one."""
    wanted, found = _all(new), _all(old)
    lines: list[str] = []
    for name, facts in wanted.items():
        if name not in found:
            lines.append(f"+ {name} ({facts.get('agent') or facts['element']})")
        else:
            lines += _changes(name, facts, found[name])
    lines += [f"- {name} ({facts.get('agent') or facts['element']})"
              for name, facts in found.items() if name not in wanted]
    return "".join(f"{plain_text(line)}\n" for line in lines)


def told(new: ET.Element, old: ET.Element, *sections: str) -> str:
    """The same for people; a change that has no words here is only mentioned.

    sections: that are looked at for that; default: the whole configuration.
    """
    lines = difference(new, old)
    if lines:
        return lines
    same = (cibs.canonical(one, *sections, comments=False) for one in (new, old))
    return "Comments alone.\n" if len({*same}) == 1 else (
        "(of what has no line here, as templates, rules, tags and properties)\n")


def changed(new: ET.Element, old: ET.Element) -> list[str]:
    """Ids of resources and constraints that are new, gone or different."""
    wanted, found = _all(new), _all(old)
    return [name for name in dict.fromkeys((*wanted, *found))
            if wanted.get(name) != found.get(name)]


def _changes(name: str, wanted: Facts, found: Facts) -> Iterator[str]:
    for fact in dict.fromkeys((*wanted, *found)):
        new, old = wanted.get(fact), found.get(fact)
        if new != old:
            yield f"~ {name} {fact}: {_seen(fact, old)} -> {_seen(fact, new)}"


def _seen(fact: str, value: str | None) -> str:
    if value is None:
        return "none"
    return "(a secret)" if _SECRET.search(fact) and value != cibs.LRM else hidden(value)


def _all(cib: ET.Element) -> Mapping[str, Facts]:
    found: dict[str, dict[str, str]] = {}
    for tag in ("primitive", "group", "clone"):
        for element in cib.iterfind(f"configuration/resources//{tag}"):
            found[element.get("id", "")] = dict(_facts(element))
            for member in element:
                if member.get("id", "") in found and member.tag in ("primitive", "group"):
                    found[member.get("id", "")]["in"] = element.get("id", "")
    for element in cib.iterfind("configuration/constraints/*"):
        if not cibs.comment(element):
            attributes = {key: value for key, value in element.attrib.items() if key != "id"}
            found[element.get("id", "")] = {"element": str(element.tag), **attributes,
                                            **dict(_sets(element))}
    return found


def _sets(constraint: ET.Element) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(constraint.iterfind("resource_set"), 1):
        said = [f"{key}={value}" for key, value in one.attrib.items() if key != "id"]
        names = [ref.get("id", "") for ref in one.iterfind("resource_ref")]
        yield f"set {number}", " ".join((*names, *said))


def _facts(element: ET.Element) -> Iterator[tuple[str, str]]:
    yield "element", str(element.tag)
    if element.tag == "primitive":
        yield "agent", cibs.agent(element)
    else:
        members = [one.get("id", "") for one in element if one.tag in ("primitive", "group")]
        yield "members", " ".join(members)
    for name, value in cibs.parameters(element).items():
        yield f"param {name}", value
    for node, values in cibs.by_node(element).items():
        for name, value in values.items():
            yield f"param {name} on {node}", value
    for name, value in cibs.pairs(element, "meta_attributes").items():
        yield f"meta {name}", plain(value)
    for operation in element.iterfind("operations/op"):
        interval = plain(operation.get("interval", "0"))
        name = f"op {operation.get('name')} {interval}"
        yield f"{name} timeout", plain(operation.get("timeout", "default"))
        if cibs.level(operation):
            yield f"{name} level", cibs.level(operation)
        if operation.get("on-fail"):
            yield f"{name} on-fail", operation.get("on-fail", "")
