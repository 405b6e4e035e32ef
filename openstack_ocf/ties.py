"""Which resource goes where another one is, and which starts after which, however a CIB says it.

The only reader of colocations and orders: a constraint names two resources, or has sets of them
(resource_set), which are taken for the pairs that Pacemaker makes of them; a tag or a template
stands for its resources. Called by `survey`, `lint`, `held`, `merge`, `leaving` and `configured`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from . import cib as cibs

ENDS = ("rsc", "with-rsc", "first", "then")
"""Attributes of constraints that name a resource."""
INFINITY = 1_000_000
"""Pacemaker's own: a score so high is a must."""


@dataclass(frozen=True)
class Tie:
    """One resource goes where the other is, or starts after it.

    by: the id of the constraint. firm: it must (INFINITY, Mandatory), not only rather.
    """

    one: str
    other: str
    by: str
    firm: bool


@dataclass
class Ties:
    """All of a CIB. together: one goes where the other is. after: one starts after the other."""

    together: list[Tie] = field(default_factory=list)
    after: list[Tie] = field(default_factory=list)


def ties(root: ET.Element) -> Ties:
    """Those of a CIB, in its order.

    A score below zero keeps resources apart, and one of zero has no say; so these are no ties.
    Neither is what is about another state than started, or another attribute than the node's name;
    an order of the kind Serialize, which either resource may begin; and a set of which one resource
    is enough (require-all=false).
    """
    found, lent = Ties(), _lent(root)
    for constraint in root.iterfind("configuration/constraints/*"):
        if constraint.tag == "rsc_colocation":
            found.together += _together(constraint, _sets(constraint, root, lent))
        elif constraint.tag == "rsc_order":
            found.after += _after(constraint, _sets(constraint, root, lent))
    return found


def reached(found: Iterable[Tie], names: Iterable[str], *, back: bool = False) -> Iterator[str]:
    """What resources are tied to, then what that must be tied to, and so on: the nearest first.

    back: what is tied to them instead.
    """
    at, seen = {*names}, {*names}
    while at:
        step = _step(found, at, seen, back=back)
        yield from step
        at = {name for name, firm in step.items() if firm}
        seen |= step.keys()


def tied(found: Iterable[Tie], one: str, other: str) -> bool:
    """Whether one is tied to the other, be it by way of others that must be."""
    return other in reached(found, [one])


def beside(root: ET.Element, names: Iterable[str], wanted: Container[str],
           ends: Container[str] = ()) -> set[str]:
    """Those of the wanted primitives that these resources go with, or that go with these.

    In each direction the nearest ones, and others that these must be with. A group stands for its
    members. ends: resources by whose way none is looked for.
    """
    found: set[str] = set()
    names, together = {*names}, ties(root).together
    for back in (False, True):
        at, seen, near = names, names, False
        while at:
            step = _step(together, at, seen, back=back)
            held = {name: [one for one in (name, *cibs.members(root, name)) if one in wanted]
                    for name in step}
            found.update(*held.values())
            near = near or any(held.values())
            at = {name for name, firm in step.items()
                  if firm and name not in ends and (held[name] or not near)}
            seen = seen | step.keys()
    return found


def _step(found: Iterable[Tie], at: Container[str], seen: Container[str], *, back: bool,
          ) -> dict[str, bool]:
    """What resources are tied to by one tie, but what is known; and whether a firm one does it."""
    step: dict[str, bool] = {}
    for tie in found:
        one, other = (tie.other, tie.one) if back else (tie.one, tie.other)
        if one in at and other not in seen:
            step[other] = tie.firm or step.get(other, False)
    return step


def named(constraint: ET.Element) -> Iterator[str]:
    """The resources that a constraint names itself, whatever it says of them."""
    yield from (constraint.get(end, "") for end in ENDS if constraint.get(end))
    for one in constraint.iterfind("resource_set/resource_ref"):
        yield one.get("id", "")


# --- sets ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Set:
    """Resources of a constraint; of one that names two, there are two sets.

    element: has the attributes. sequential: None where that is not said.
    """

    element: ET.Element
    names: Sequence[str]
    sequential: bool | None
    action: str
    role: str


def _lent(root: ET.Element) -> Mapping[str, list[str]]:
    """What the ids of tags and templates stand for; an id of a resource is never one of these."""
    found: dict[str, list[str]] = {}
    for tag in root.iterfind("configuration/tags/tag"):
        found[tag.get("id", "")] = [one.get("id", "") for one in tag.iterfind("obj_ref")]
    for primitive in cibs.resources(root):
        if primitive.get("template"):
            found.setdefault(primitive.get("template", ""), []).append(primitive.get("id", ""))
    return found


def _sets(constraint: ET.Element, root: ET.Element, lent: Mapping[str, list[str]]) -> list[_Set]:
    sets = []
    for one in constraint.iterfind("resource_set"):
        name = one.get("id-ref")
        element = one if name is None else next(
            (other for other in root.iter("resource_set") if other.get("id") == name), one)
        refs = [ref.get("id", "") for ref in element.iterfind("resource_ref")]
        names = [each for ref in refs for each in lent.get(ref, [ref])]
        sets.append(_Set(element, names, _says(element, "sequential"),
                         element.get("action", "start"), element.get("role", "")))
    if sets:
        return sets
    before = constraint.get("first-action", "start")
    for end, role, action in (("rsc", "rsc-role", ""), ("with-rsc", "with-rsc-role", ""),
                              ("first", "", before),
                              ("then", "", constraint.get("then-action", before))):
        name = constraint.get(end)
        if name:
            sets.append(_Set(ET.Element("resource_set"), lent.get(name, [name]), sequential=False,
                             action=action, role=constraint.get(role, "") if role else ""))
    return sets


def _says(element: ET.Element, name: str) -> bool | None:
    text = element.get(name)
    return None if text is None else text.lower() in cibs.TRUE


# --- colocations --------------------------------------------------------------------------------


def _together(constraint: ET.Element, sets: Sequence[_Set]) -> Iterator[Tie]:
    """In a set each goes with the one before it; a set goes with the set after it."""
    if constraint.get("node-attribute", "#uname") != "#uname":
        return
    by, whole = constraint.get("id", ""), cibs.score(constraint)
    for one in sets:
        score = cibs.score(one.element) if "score" in one.element.attrib else whole
        if score > 0 and one.sequential is not False and one.role != "Stopped":
            pairs = zip(one.names[1:], one.names)
            if one.element.get("ordering", "group") != "group":  # an older Pacemaker's
                pairs = zip(one.names, one.names[1:])
            yield from (Tie(*pair, by, firm=score >= INFINITY) for pair in pairs)
    for one, other in zip(sets, sets[1:]):
        if whole > 0 and "Stopped" not in (one.role, other.role):
            ones = one.names if one.sequential is False else one.names[:1]
            others = other.names if other.sequential is False else other.names[-1:]
            yield from (Tie(*pair, by, firm=whole >= INFINITY) for pair in product(ones, others))


# --- orders -------------------------------------------------------------------------------------


def _after(constraint: ET.Element, sets: Sequence[_Set]) -> Iterator[Tie]:
    """In a set each starts after the one before it; a set starts after the set before it.

    What is stopped in an order is started in the reverse one, unless that is ruled out.
    """
    by, kind = constraint.get("id", ""), _kind(constraint)
    both = _says(constraint, "symmetrical") is not False
    for one in sets:
        own = _kind(one.element) if "kind" in one.element.attrib else kind
        pairs = list(zip(one.names, one.names[1:])) if one.sequential is not False else []
        if one.action == "stop" and both:
            pairs = [(then, first) for first, then in pairs]
        elif one.action != "start":
            continue
        yield from (Tie(then, first, by, firm=own == "Mandatory")
                    for first, then in pairs if own != "Serialize")
    for one, other in zip(sets, sets[1:]) if kind != "Serialize" else ():
        # Pacemaker (2.1.5) takes all of a set that does not say that it is sequential.
        pairs = list(product(one.names[-1:] if one.sequential else one.names,
                             other.names[:1] if other.sequential else other.names))
        first = one
        if both and one.action == "stop" and other.action in ("stop", "demote"):
            first, pairs = other, [(then, before) for before, then in pairs]
        elif other.action != "start" or one.action not in ("start", "promote"):
            continue
        if len(first.names) == 1 or _says(first.element, "require-all") is not False:
            yield from (Tie(then, before, by, firm=kind == "Mandatory") for before, then in pairs)


def _kind(element: ET.Element) -> str:
    if element.get("kind") in ("Optional", "Serialize"):
        return element.get("kind", "")
    # In older CIBs a score of 0 says the same as Optional.
    optional = "kind" not in element.attrib and not cibs.score(element, "INFINITY")
    return "Optional" if optional else "Mandatory"
