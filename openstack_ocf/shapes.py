"""A plan as crmsh, pcs or XML; or the haproxy.cfg that goes with it."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from . import cib
from .crm import grouped, operation_words, statements
from .errors import UsageError
from .plan import Plan

FORMS = ("xml", "crm", "pcs", "haproxy")


def shape(plan: Plan, form: str) -> str:
    """The text of a plan in one of FORMS."""
    return {"xml": _xml, "crm": _crm, "pcs": _pcs, "haproxy": _haproxy}[form](plan)


def _crm(plan: Plan) -> str:
    return f"{statements(plan.cib)}\n{_notes(plan)}"


def _xml(plan: Plan) -> str:
    text = ET.tostring(plan.cib, encoding="unicode")
    notes = "".join(f"<!--# {note.replace('--', '- -')} -->\n" for note in plan.notes)
    return f"{text}\n{notes}"


def _notes(plan: Plan) -> str:
    return "".join(f"# {note}\n" for note in plan.notes)


def _haproxy(plan: Plan) -> str:
    if not plan.proxy:
        raise UsageError("no haproxy.cfg: the description has no section [haproxy]")
    return plan.proxy


# --- pcs ----------------------------------------------------------------------------------------


def _pcs(plan: Plan) -> str:
    return ("# On one node: pcs cluster cib cib.xml; these; pcs cluster cib-push cib.xml\n"
            + commands(plan.cib) + f"\n{_notes(plan)}")


def commands(root: ET.Element) -> str:
    """Commands of pcs for a file, as docs/pcs.md has them.

    Written here: pcs 0.11 exports no constraints, and drops comments.
    """
    lines: list[str] = []
    for element in root.iterfind("configuration/resources/*"):
        lines += _resource(element)
    for element in root.iterfind("configuration/constraints/*"):
        if element.tag == "rsc_colocation":
            lines += [*cib.comments(element), _pcs_line(
                "constraint", "colocation", "add", element.get("rsc", ""), "with",
                element.get("with-rsc", ""), "INFINITY", f"id={element.get('id')}")]
        elif element.tag == "rsc_order":
            lines += [*cib.comments(element), _pcs_line(
                "constraint", "order", element.get("first", ""), "then", element.get("then", ""),
                *(f"{name}={value}" for name in ("kind", "symmetrical", "id")
                  if (value := element.get(name))))]
    return "".join(f"{line}\n" for line in lines)


def _resource(element: ET.Element) -> Iterator[str]:
    if cib.comment(element):
        return
    if element.tag == "primitive":
        yield from cib.comments(element)
        yield from _create(element)
        return
    members = element.findall("primitive")
    for primitive in members:
        yield from _resource(primitive)
    yield from cib.comments(element)
    names = [one.get("id", "") for one in members]
    if element.tag == "group":
        yield _pcs_line("resource", "group", "add", element.get("id", ""), *names)
    else:
        meta = _words(cib.pairs(element, "meta_attributes"))
        yield _pcs_line("resource", "clone", *names, element.get("id", ""), "meta", *meta)


def _create(primitive: ET.Element) -> Iterator[str]:
    lines = [_pcs_line("resource", "create", primitive.get("id", ""), cib.agent(primitive))]
    lines += [f"  {' '.join(_words(one))}" for one in grouped(cib.parameters(primitive)) if one]
    for operation in primitive.iterfind("operations/op"):
        words = operation_words(operation)
        if words["interval"] == "0":
            words["interval"] = "0s"
        lines.append(f"  op {operation.get('name')} {' '.join(_words(words))}")
    meta = _words(cib.pairs(primitive, "meta_attributes"))
    lines += [f"  meta {' '.join(meta)}"] if meta else []
    # pcs would add the operations of the meta-data beside these.
    lines[-1] += " --no-default-ops"
    yield " \\\n".join(lines)
    ruled = [one for one in primitive.iterfind("instance_attributes") if cib.ruled(one)]
    if ruled:
        yield "# pcs has no words for a parameter that differs by node; Pacemaker's cibadmin has."
    for one in ruled:
        part = ET.Element("primitive", {"id": primitive.get("id", "")})
        part.append(one)
        text = re.sub(r">\s+<", "><", ET.tostring(part, encoding="unicode")).strip()
        yield ("CIB_file=cib.xml cibadmin --modify --allow-create --scope=resources \\\n"
               f"  --xml-text={shlex.quote(text)}")


def _words(values: dict[str, str]) -> list[str]:
    """NAME=VALUE as a shell takes them."""
    return [f"{name}={shlex.quote(value)}" for name, value in values.items()]


def _pcs_line(*words: str) -> str:
    return " ".join(("pcs", "-f", "cib.xml", *map(shlex.quote, filter(None, words))))
