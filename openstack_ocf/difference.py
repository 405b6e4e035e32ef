"""What a plan would change in a CIB, by what the elements mean, not by how they are written.

What the plan does not have is left alone, and not told. A virtual IP that a CIB has under another
id keeps it: renaming would stop it and start it again.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from . import cib as cibs
from .seconds import seconds

Facts = Mapping[str, str]


def keep_ids(plan: ET.Element, there: ET.Element) -> None:
    """Give the plan's virtual IPs the ids that they have in the other CIB."""
    known = {address: name for name, address in cibs.virtual_ips(there).items() if address}
    renamed = {name: known[address] for name, address in cibs.virtual_ips(plan).items()
               if known.get(address, name) != name}
    for element in plan.iter():
        if cibs.comment(element):
            continue
        for key, value in element.attrib.items():
            for old, new in renamed.items():
                if value == old or (key == "id" and value.startswith(f"{old}-")):
                    element.set(key, new + value[len(old):])


def difference(plan: ET.Element, there: ET.Element) -> str:
    """A line for each change: `+` is new, `~` changes. Empty without one."""
    wanted, found = _all(plan), _all(there)
    lines: list[str] = []
    for name, facts in wanted.items():
        if name not in found:
            lines.append(f"+ {name} ({facts.get('agent') or facts['kind']})")
            continue
        lines += _changes(name, facts, found[name])
    return "".join(f"{line}\n" for line in lines)


def _changes(name: str, wanted: Facts, found: Facts) -> Iterator[str]:
    for fact in dict.fromkeys((*wanted, *found)):
        new, old = wanted.get(fact), found.get(fact)
        if new is None and (fact.startswith(("meta ", "param ")) or fact == "comment"):
            # An operator's own setting stays as it is.
            continue
        if new != old:
            yield f"~ {name} {fact}: {_seen(fact, old)} -> {_seen(fact, new)}"


def _seen(fact: str, value: str | None) -> str:
    if value is None:
        return "none"
    return "(a secret)" if fact == "param os_password" and value != "lrm://" else value


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
            found[element.get("id", "")] = {"kind": element.tag, **attributes}
    return found


def _facts(element: ET.Element) -> Iterator[tuple[str, str]]:
    yield "kind", str(element.tag)
    if element.tag == "primitive":
        yield "agent", cibs.agent(element)
    else:
        members = [one.get("id", "") for one in element if one.tag in ("primitive", "group")]
        yield "members", " ".join(members)
    for name, value in cibs.parameters(element).items():
        yield f"param {name}", value
    for name, value in cibs.pairs(element, "meta_attributes").items():
        yield f"meta {name}", _time(value)
    for operation in element.iterfind("operations/op"):
        interval = _time(operation.get("interval", "0"))
        name = f"op {operation.get('name')} {interval}"
        yield f"{name} timeout", _time(operation.get("timeout", "none"))
        yield f"{name} level", cibs.level(operation) or "none"


def _time(text: str) -> str:
    found = seconds(text)
    # A number alone may be no time, as migration-threshold: it stays as it is, too.
    return text if found is None or (text.isdigit() and text != "0") else f"{found:g}s"
