"""Elements of a CIB, with the ids that Pacemaker's own tools would give them."""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping

from . import cib as cibs


def element(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    """A new element at the end of another."""
    return ET.SubElement(parent, tag, attributes)


def comment(parent: ET.Element, lines: Iterable[str], *, last: bool = False) -> None:
    """Comments before all else in an element; last: after those that are there.

    They begin with `#`, as crmsh writes them, so that it shows them again.
    """
    there = len([child for child in parent if cibs.comment(child)]) if last else 0
    # Two hyphens would end a comment of XML.
    wrapped = [part.replace("--", "- -") for line in lines
               for part in textwrap.wrap(line, 97, break_on_hyphens=False)]
    for offset, line in enumerate(wrapped):
        parent.insert(there + offset, ET.Comment(f"# {line}"))


def primitive(
    name: str, agent: tuple[str, str, str], parameters: Mapping[str, str]
) -> ET.Element:
    """A primitive of an agent: class, provider (empty where the class has none), type."""
    kind, provider, type_ = agent
    found = ET.Element("primitive", {
        "id": name, "class": kind, **({"provider": provider} if provider else {}), "type": type_})
    if parameters:
        pairs(found, "instance_attributes", parameters)
    return found


def pairs(parent: ET.Element, section: str, values: Mapping[str, str], on: str = "") -> None:
    """A section of names and values; on: the node that they are for."""
    name = f"{parent.get('id')}-{section}" + (f"-{on}" if on else "")
    found = element(parent, section, id=name)
    if on:
        rule = element(found, "rule", id=f"{name}-rule", score="0")
        element(rule, "expression", id=f"{name}-rule-expression", attribute="#uname",
                operation="eq", value=on)
    for key, value in values.items():
        element(found, "nvpair", id=f"{name}-{key}", name=key, value=value)


def operation(
    parent: ET.Element, of: str, name: str, interval: int, timeout: int, depth: str = "",
    **more: str
) -> None:
    """An operation of a primitive; interval and timeout in seconds."""
    every = f"{interval}s" if interval else "0"
    found = element(parent, "op", id=f"{of}-{name}-{every}", name=name, interval=every,
                    timeout=f"{timeout}s", **more)
    if depth:
        pairs(found, "instance_attributes", {"OCF_CHECK_LEVEL": depth})
