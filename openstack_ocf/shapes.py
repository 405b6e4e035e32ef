"""A plan as crmsh, pcs or XML."""

from __future__ import annotations

import shlex
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import cib
from .errors import CannotLookError
from .plan import Plan
from .run import last_words, run

FORMS = ("xml", "crm", "pcs")


def shape(plan: Plan, form: str) -> str:
    """The text of a plan in one of FORMS."""
    return {"xml": _xml, "crm": _crm, "pcs": _pcs}[form](plan)


def _xml(plan: Plan) -> str:
    text = ET.tostring(plan.cib, encoding="unicode")
    notes = "".join(f"<!--# {note.replace('--', '- -')} -->\n" for note in plan.notes)
    return f"{text}\n{notes}"


def _notes(plan: Plan) -> str:
    return "".join(f"# {note}\n" for note in plan.notes)


# --- crm ----------------------------------------------------------------------------------------


def _crm(plan: Plan) -> str:
    """As crmsh itself writes it; it is given a file, and asks no cluster."""
    with tempfile.TemporaryDirectory(prefix="openstack-ocf.") as folder:
        file = Path(folder) / "cib.xml"
        file.write_bytes(ET.tostring(plan.cib))
        # It keeps a history and a configuration in HOME.
        done = run(["crm", "configure", "show"], {"CIB_file": str(file), "HOME": folder,
                                                  "XDG_CONFIG_HOME": folder,
                                                  "XDG_CACHE_HOME": folder})
    if "PermissionError" in done.said:
        # Of its own log, in 4.4: it needs no other right for this.
        raise CannotLookError("crmsh works for root and the group haclient only; --as pcs and "
                              "--as xml work for all")
    if done.code or not done.output.strip():
        raise CannotLookError(f"crm configure show: {last_words(done)}")
    return f"{done.output.rstrip()}\n\n{_notes(plan)}"


# --- pcs ----------------------------------------------------------------------------------------


def _pcs(plan: Plan) -> str:
    """Commands for a file, as docs/pcs.md has them.

    Written here: pcs 0.11 exports no constraints, and drops comments.
    """
    lines: list[str] = []
    resources = plan.cib.find("configuration/resources")
    constraints = plan.cib.find("configuration/constraints")
    for element in resources if resources is not None else ():
        lines += _resource(element)
    for element in constraints if constraints is not None else ():
        if element.tag == "rsc_colocation":
            lines += [*_comments(element), _pcs_line(
                "constraint", "colocation", "add", element.get("rsc", ""), "with",
                element.get("with-rsc", ""), "INFINITY", f"id={element.get('id')}")]
        elif element.tag == "rsc_order":
            lines += [*_comments(element), _pcs_line(
                "constraint", "order", element.get("first", ""), "then", element.get("then", ""),
                f"kind={element.get('kind')}", f"id={element.get('id')}")]
    return ("# On one node: pcs cluster cib cib.xml; these; pcs cluster cib-push cib.xml\n"
            + "\n".join(lines) + f"\n\n{_notes(plan)}")


def _resource(element: ET.Element) -> Iterator[str]:
    if element.tag == "primitive":
        yield from _comments(element)
        yield _create(element)
        return
    members = element.findall("primitive")
    for primitive in members:
        yield from _resource(primitive)
    yield from _comments(element)
    names = [one.get("id", "") for one in members]
    if element.tag == "group":
        yield _pcs_line("resource", "group", "add", element.get("id", ""), *names)
    else:
        meta = _words(cib.pairs(element, "meta_attributes"))
        yield _pcs_line("resource", "clone", *names, element.get("id", ""), "meta", *meta)


def _create(primitive: ET.Element) -> str:
    lines = [_pcs_line("resource", "create", primitive.get("id", ""), cib.agent(primitive)),
             *(f"  {shlex.quote(word)}" for word in _words(cib.parameters(primitive)))]
    for operation in primitive.iterfind("operations/op"):
        interval = operation.get("interval", "")
        words = [f"interval={'0s' if interval == '0' else interval}",
                 f"timeout={operation.get('timeout')}"]
        level = cib.level(operation)
        words += [f"OCF_CHECK_LEVEL={level}"] if level else []
        lines.append(f"  op {operation.get('name')} {' '.join(words)}")
    meta = _words(cib.pairs(primitive, "meta_attributes"))
    lines += [f"  meta {' '.join(meta)}"] if meta else []
    # pcs would add the operations of the meta-data beside these.
    return " \\\n".join([*lines, "  --no-default-ops"])


def _comments(element: ET.Element) -> Iterator[str]:
    for child in element:
        if cib.comment(child):
            yield (child.text or "").rstrip()


def _words(values: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def _pcs_line(*words: str) -> str:
    return " ".join(("pcs", "-f", "cib.xml", *map(shlex.quote, _iter(words))))


def _iter(words: Iterable[str]) -> list[str]:
    return [word for word in words if word]
