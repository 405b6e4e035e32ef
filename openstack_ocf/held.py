"""What is unsafe or obsolete in a CIB about virtual IPs and DNS names, whatever tool wrote it.

Called by `lint`; docs/openstack-ocf.md has the table.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from . import cib
from .finding import ERROR, WARNING, Finding
from .survey import Survey
from .ties import tied, ties
from .words import shown


def lint(root: ET.Element) -> Iterator[Finding]:
    """All findings about what holds an address or a name."""
    survey = Survey(root)
    yield from _addresses(survey, root)
    yield from _names(root)
    yield from _behind_haproxy(survey, root)


def _addresses(survey: Survey, root: ET.Element) -> Iterator[Finding]:
    """L13: an obsolete agent. L19: an address twice. L2: one that is not monitored."""
    owner: dict[str, str] = {}
    for one in survey.addresses.values():
        if one.agent == "IPv6addr":
            yield Finding("L13", WARNING, one.id, "IPv6addr is no longer maintained",
                          "IPaddr2 takes IPv6 as well; change it while the service is stopped.")
        first = owner.setdefault(one.address, one.id)
        if first != one.id:
            yield Finding("L19", ERROR, one.id, f"{shown(one.address)} is the address of {first}, "
                          "too", "Remove one of them.")
    for name in _unmonitored(root, set(survey.addresses)):
        yield Finding("L2", WARNING, name, "no monitor: it is not noticed when the address is gone",
                      'Add: op monitor interval="10s" timeout="20s"')


def _names(root: ET.Element) -> Iterator[Finding]:
    """L2: a name that is not monitored, as Juju's charms write it."""
    for name in _unmonitored(root, set(cib.names(root))):
        yield Finding("L2", WARNING, name, "no monitor: it is not noticed when the name leads "
                      "elsewhere", 'Add: op monitor interval="30s" timeout="30s" on-fail="ignore"')


def _unmonitored(root: ET.Element, names: set[str]) -> Iterator[str]:
    for primitive in cib.resources(root):
        name, template = primitive.get("id", ""), primitive.get("template", "")
        lent = cib.by_id(root, template) if template else None
        operations = [op for holder in (primitive, lent) if holder is not None
                      for op in holder.iterfind("operations/op")]
        if name in names and not any(op.get("name") == "monitor" for op in operations):
            yield name


def _behind_haproxy(survey: Survey, root: ET.Element) -> Iterator[Finding]:
    """L21: an address of a charm or of TripleO that may be where no haproxy is."""
    for one in survey.addresses.values():
        proxy = survey.proxy(one)
        if proxy and not _together(root, {one.id, survey.group(one.id)} - {""}, proxy):
            yield Finding(
                "L21", WARNING, one.id, f"{shown(one.address)} may be on a node whose haproxy is "
                f"dead: nothing ties it to {proxy}",
                f"Add: colocation c_{one.id} inf: {survey.group(one.id) or one.id} {proxy}")


def _together(root: ET.Element, mine: set[str], proxy: str) -> bool:
    """Whether one of these goes where the haproxy is, or that where one of these is."""
    together = ties(root).together
    return any(tied(together, name, proxy) or tied(together, proxy, name) for name in mine)
