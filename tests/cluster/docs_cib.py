"""The meaning of a CIB: the same for crmsh and pcs, whatever ids they give."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0, "m": 60.0, "h": 3600.0}


def meaning(cib: Element) -> dict[str, Any]:
    """Resources, groups, clones, properties, defaults and constraints of a CIB."""
    return {
        "primitives": {one.get("id"): _primitive(one) for one in cib.iter("primitive")},
        "groups": {
            group.get("id"): [member.get("id") for member in group.iterfind("primitive")]
            for group in cib.iter("group")
        },
        "clones": {
            clone.get("id"): [[member.get("id") for member in clone.iterfind("primitive")],
                              _pairs(clone, "meta_attributes")]
            for clone in cib.iter("clone")
        },
        "properties": _pairs(cib.find("configuration/crm_config")),
        "defaults": _pairs(cib.find("configuration/rsc_defaults")),
        "operation defaults": _pairs(cib.find("configuration/op_defaults")),
        "constraints": sorted(
            (_constraint(one) for one in cib.iterfind("configuration/constraints/*")),
            key=lambda one: one["id"],
        ),
    }


def _constraint(element: Element) -> dict[str, str]:
    """Its attributes, without the defaults that pcs writes out: start, then start."""
    return {name: value for name, value in element.attrib.items()
            if (name, value) not in {("first-action", "start"), ("then-action", "start")}}


def _primitive(element: Element) -> dict[str, Any]:
    return {
        "agent": [element.get(name) for name in ("class", "provider", "type")],
        "parameters": _pairs(element, "instance_attributes"),
        "by node": {
            rule.get("value"): _pairs(section, ".")
            for section in element.iterfind("instance_attributes")
            for rule in section.iterfind("rule/expression")
        },
        "meta": _pairs(element, "meta_attributes"),
        "operations": sorted(map(repr, _operations(element))),
    }


def _operations(element: Element) -> Iterator[dict[str, Any]]:
    for operation in element.iterfind("operations/op"):
        known = {name: _value(text) for name, text in operation.attrib.items() if name != "id"}
        pairs = sorted((*known.items(), *_pairs(operation, "instance_attributes").items()))
        yield dict(pairs)


def _pairs(element: Element | None, section: str = "*") -> dict[str, Any]:
    if element is None:
        return {}
    found = element.iterfind(f"{section}/nvpair")
    return {pair.get("name", ""): _value(pair.get("value", "")) for pair in found}


def _value(text: str) -> float | str:
    """A time in seconds, whatever its unit; any other value unchanged."""
    time = re.fullmatch(r"(\d+)(ms|s|min|m|h|)", text)
    return int(time[1]) * SECONDS[time[2]] if time else text
