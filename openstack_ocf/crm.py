"""A CIB as statements of the crm shell, laid out as an operator would write them.

Written here: crmsh itself puts services before addresses, and a line for each level of a monitor.
The tests load it with crmsh, and compare what comes of it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence

from . import cib
from .errors import CannotLookError

_USER = ("os_username", "os_password", "os_project_name", "os_user_domain_name",
         "os_project_domain_name")
"""The parameters of the monitoring user, which are on one line."""
_WIDTH = 90
"""Characters of a line that is not too long."""


def statements(root: ET.Element) -> str:
    """The text; CannotLookError where crm has no words for a value."""
    return "\n".join(_blocks(root))


def _blocks(root: ET.Element) -> Iterator[str]:
    for resource in root.iterfind("configuration/resources/*"):
        if not cib.comment(resource):
            yield from _resource(resource)
    constraints = [one for one in root.iterfind("configuration/constraints/*")
                   if not cib.comment(one)]
    if constraints:
        yield "".join(_lines([*cib.comments(one), _constraint(one)]) for one in constraints)


def _resource(element: ET.Element) -> Iterator[str]:
    if element.tag == "primitive":
        yield _lines([*cib.comments(element), *_primitive(element)])
        return
    members = element.findall("primitive")
    for member in members:
        yield from _resource(member)
    names = " ".join(one.get("id", "") for one in members)
    if element.tag == "group":
        statement = [f"group {element.get('id')} {names}"]
    else:
        meta = cib.pairs(element, "meta_attributes")
        statement = _continued([f"clone {element.get('id')} {names}", f"meta {_words(meta)}"])
    yield _lines([*cib.comments(element), *statement])


def _primitive(element: ET.Element) -> Sequence[str]:
    lines = [f"primitive {element.get('id')} {cib.agent(element)}"]
    for section in element.iterfind("instance_attributes"):
        values = {pair.get("name", ""): pair.get("value", "")
                  for pair in section.iterfind("nvpair")}
        node = cib.ruled(section)
        on = f"rule 0: #uname eq {node} " if node else ""
        first, *more = map(_words, grouped(values))
        lines += [f"params {on}{first}", *(f"  {line}" for line in more)]
    meta = cib.pairs(element, "meta_attributes")
    lines += [f"meta {_words(meta)}"] if meta else []
    for one in element.iterfind("operations/op"):
        lines.append(f"op {one.get('name')} {_words(operation_words(one))}")
    return _continued(lines)


def operation_words(operation: ET.Element) -> dict[str, str]:
    """What is said of an operation, in the order in which it reads best."""
    recurring = operation.get("interval") != "0"
    order = ("interval", "timeout") if recurring else ("timeout", "interval")
    values = {name: operation.get(name, "") for name in (*order, "on-fail") if operation.get(name)}
    level = cib.level(operation)
    return {**values, **({"OCF_CHECK_LEVEL": level} if level else {})}


def grouped(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Parameters in lines: the configuration, the user, the URL, all else together."""
    if "config" not in values:
        one_line = len(_words(values)) < _WIDTH
        return [dict(values)] if one_line else [{name: value} for name, value in values.items()]
    user = {name: value for name, value in values.items() if name in _USER}
    rest = [{name: value} for name, value in values.items() if name not in user]
    before = [one for one in rest if not next(iter(one)).startswith("os_")]
    after = [one for one in rest if next(iter(one)).startswith("os_")]
    return [one for one in (*before, user, *after) if one]


def _constraint(one: ET.Element) -> str:
    if one.tag == "rsc_colocation":
        return f"colocation {one.get('id')} inf: {one.get('rsc')} {one.get('with-rsc')}"
    order = f"order {one.get('id')} {one.get('kind')}: {one.get('first')} {one.get('then')}"
    return f"{order} symmetrical=false" if one.get("symmetrical") == "false" else order


def _continued(lines: Sequence[str]) -> list[str]:
    """One statement in several lines."""
    first, *more = lines
    indented = [first, *(f"  {line}" for line in more)]
    return [*(f"{line} \\" for line in indented[:-1]), indented[-1]]


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _words(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    mark = '"' if '"' not in value else "'"
    if mark in value or "\\" in value:
        raise CannotLookError(f"crm has no quotes for the value {value}; take --as xml")
    return f"{mark}{value}{mark}"
