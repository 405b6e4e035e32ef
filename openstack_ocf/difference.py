"""What a plan would change in a CIB, by what the elements mean, not by how they are written.

What the plan does not have is left alone, and not told. What a CIB has under another id keeps it:
renaming would stop it and start it again.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from . import agents
from . import cib as cibs
from .seconds import seconds

Facts = Mapping[str, str]


def keep_ids(plan: ET.Element, there: ET.Element) -> None:
    """Give the plan's resources the ids that they have in the other CIB.

    A virtual IP is known by its address, a name by itself, a service by its agent where there is
    one of it, a group or clone by a member, a constraint by what it says.
    """
    known = _known(there)
    _rename(plan, {name: known[key] for key, name in _known(plan).items() if key in known})
    for tag in ("group", "clone"):
        around = {member.get("id", ""): one.get("id", "") for one in _resources(there, tag)
                  for member in one}
        for one in _resources(plan, tag):
            found = [around[member.get("id", "")] for member in one
                     if member.get("id", "") in around]
            if found and not any(other.get("id") == found[0] for other in _resources(plan, tag)):
                _rename(plan, {one.get("id", ""): found[0]})
    said = {_meaning(one): one.get("id", "") for one in _constraints(there)}
    _rename(plan, {one.get("id", ""): said[_meaning(one)] for one in _constraints(plan)
                   if _meaning(one) in said})


def _known(cib: ET.Element) -> dict[tuple[str, str], str]:
    """Primitives by what they are known by; what two have is left out."""
    found: dict[tuple[str, str], str] = {}
    twice = set()
    for name, key in _keys(cib):
        twice |= {key} & set(found)
        found[key] = name
    return {key: name for key, name in found.items() if key not in twice}


def _keys(cib: ET.Element) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, address in cibs.virtual_ips(cib).items():
        yield name, ("address", address)
    for name, hostname in cibs.names(cib).items():
        yield name, ("name", hostname.lower())
    for primitive in cibs.resources(cib):
        if primitive.get("provider") == "openstack":
            yield primitive.get("id", ""), ("agent", primitive.get("type", ""))


def _rename(plan: ET.Element, renamed: Mapping[str, str]) -> None:
    for element in plan.iter():
        if cibs.comment(element):
            continue
        for key, value in element.attrib.items():
            for old, new in renamed.items():
                if value == old or (key == "id" and value.startswith(f"{old}-") and old != new):
                    element.set(key, new + value[len(old):])
                    break


def _resources(cib: ET.Element, tag: str) -> list[ET.Element]:
    return cib.findall(f"configuration/resources//{tag}")


def _constraints(cib: ET.Element) -> list[ET.Element]:
    return [one for one in cib.iterfind("configuration/constraints/*") if not cibs.comment(one)]


def _meaning(constraint: ET.Element) -> tuple[object, ...]:
    """What a constraint says, without its id and what is so by default."""
    defaults = {("first-action", "start"), ("then-action", "start"), ("kind", "Mandatory"),
                ("score", "INFINITY")}
    said = {(key, value) for key, value in constraint.attrib.items() if key != "id"}
    return (constraint.tag, *sorted(said - defaults))


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
        if old is None and fact.startswith("param ") and new == _default(wanted, fact[6:]):
            # The agent takes it anyway.
            continue
        if new != old:
            yield f"~ {name} {fact}: {_seen(fact, old)} -> {_seen(fact, new)}"


def _default(facts: Facts, parameter: str) -> str | None:
    """What an agent of ours takes where a parameter is not given."""
    provider, _, name = facts.get("agent", "").removeprefix("ocf:").partition(":")
    agent = agents.get(name) if provider == "openstack" else None
    return agent.defaults.get(parameter) if agent else None


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
    for element in _constraints(cib):
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
    for node, values in cibs.by_node(element).items():
        for name, value in values.items():
            yield f"param {name} on {node}", value
    for name, value in cibs.pairs(element, "meta_attributes").items():
        yield f"meta {name}", _time(value)
    for operation in element.iterfind("operations/op"):
        interval = _time(operation.get("interval", "0"))
        name = f"op {operation.get('name')} {interval}"
        yield f"{name} timeout", _time(operation.get("timeout", "none"))
        if cibs.level(operation):
            yield f"{name} level", cibs.level(operation)
        if operation.get("on-fail"):
            yield f"{name} on-fail", operation.get("on-fail", "")


def _time(text: str) -> str:
    found = seconds(text)
    # A number alone may be no time, as migration-threshold: it stays as it is, too.
    return text if found is None or (text.isdigit() and text != "0") else f"{found:g}s"
