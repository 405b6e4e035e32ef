"""One resource as a CIB configures it, on this node: what its agent would be given.

Called by `explain`. Rules about the node's name are evaluated; what else only Pacemaker can tell
is said in a remark, not guessed.
"""

from __future__ import annotations

import functools
import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path

from . import cib
from .cib import LRM, SECRETS, TRUE
from .errors import CannotLookError, UsageError
from .line import OK, UNKNOWN, WARNING, WRONG
from .run import run
from .ties import beside
from .words import nearest, shown


@dataclass(frozen=True)
class Operation:
    """An operation of the CIB; times as they stand there."""

    name: str
    interval: str
    timeout: str
    level: str


@dataclass
class Configured:
    """A resource.

    id: of the primitive. instance: as its agent is told. agent: the type.
    parameters: as they hold on this node, with the values that cibsecret keeps here.
    hidden: names of those that are secrets. vips: ids and addresses of virtual IPs tied to it.
    spread: whether it is a clone. meta: its meta attributes, those above it taken in.
    remarks: verdict and text.
    """

    id: str
    instance: str
    agent: str
    parameters: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    operations: list[Operation] = field(default_factory=list)
    vips: dict[str, str] = field(default_factory=dict)
    spread: bool = False
    meta: dict[str, str] = field(default_factory=dict)
    remarks: list[tuple[str, str]] = field(default_factory=list)


@functools.cache
def node_name() -> str:
    """This node's name in the cluster; without a cluster, the one it gives itself. Asked once."""
    try:
        done = run(["crm_node", "--name"], timeout=10)
    except CannotLookError:
        return os.uname().nodename
    return done.output.strip() if not done.code and done.output.strip() else os.uname().nodename


def configured(root: ET.Element, name: str, node: str) -> Configured:
    """The resource of a name: of a primitive, its instance (`p:0`), a clone, or a group.

    What has several members must have one of ours alone.

    UsageError if it is none, or none of ours.
    """
    return _Reader(root, node).read(name)


class _Reader:
    def __init__(self, root: ET.Element, node: str) -> None:
        self._root = root
        self._node = node
        self._parents = cib.parents(root)

    def read(self, name: str) -> Configured:
        primitive, number = self._find(name)
        template = cib.by_id(self._root, primitive.get("template", ""))
        own = [one for one in (primitive, template) if one is not None]
        kind = next((one for one in own if one.get("type")), primitive)
        if kind.get("provider") != "openstack":
            raise UsageError(f"{shown(name)} is {cib.agent(kind) or 'of no type'}, none of our "
                             "agents")
        above = list(cib.above(primitive, self._parents))
        found = Configured(primitive.get("id", ""), primitive.get("id", "") + number,
                           kind.get("type", ""))
        found.spread = any(one.tag in ("clone", "master") for one in above)
        for holder in reversed([*own, *above]):
            found.meta.update(cib.pairs(holder, "meta_attributes"))
        if found.meta.get("globally-unique", "").lower() in TRUE and not number:
            found.remarks.append((WARNING, "the clone is globally unique: name one of its "
                                  f"instances, as {found.id}:0"))
        for holder in own:
            self._parameters(holder, found)
        self._secrets(found)
        self._operations(own, found)
        self._virtual_ips(primitive, above, found)
        return found

    # --- looking it up ----------------------------------------------------------------------

    def _find(self, name: str) -> tuple[ET.Element, str]:
        known = {one.get("id", ""): one for one in cib.resources(self._root)}
        base, colon, number = name.partition(":")
        if base in known and (not colon or number.isdigit()):
            return known[base], colon + number
        for element in self._root.iterfind("configuration/resources//*"):
            if element.get("id") == name and element.tag in ("clone", "master", "group"):
                inside = list(element.iter("primitive"))
                ours = [one for one in inside
                        if one.get("provider") == "openstack" or one.get("template")]
                if len(ours or inside) == 1:
                    return (ours or inside)[0], ""
                names = ", ".join(shown(one.get("id", "")) for one in ours or inside)
                raise UsageError(f"{shown(name)} is a {element.tag} of several: name one of "
                                 f"{names}")
        near = nearest(name, known)
        raise UsageError(f"the CIB has no resource {shown(name)}"
                         + (f"; the nearest is {shown(near)}" if near else ""))

    # --- parameters -------------------------------------------------------------------------

    def _parameters(self, holder: ET.Element, found: Configured) -> None:
        """Those of a primitive count more than its template's, of sets those of a high score."""
        sets = [self._referred(one, found) for one in holder.iterfind("instance_attributes")]
        for one in sorted(sets, key=cib.score, reverse=True):
            names = [pair.get("name", "") for pair in one.iterfind("nvpair")]
            rule = one.find("rule")
            holds = True if rule is None else self._holds(rule)
            if holds is None:
                found.remarks.append((UNKNOWN, f"only Pacemaker can tell whether the rule of "
                                      f"{shown(one.get('id', ''))} holds here, and so the value "
                                      f"of {', '.join(map(shown, names))}"))
            if holds:
                for pair in one.iterfind("nvpair"):
                    found.parameters.setdefault(pair.get("name", ""), pair.get("value", ""))

    def _referred(self, element: ET.Element, found: Configured) -> ET.Element:
        """The element that an id-ref names, in the place of the one that has it."""
        name = element.get("id-ref")
        if not name:
            return element
        other = next((one for one in self._root.iter(element.tag) if one.get("id") == name), None)
        if other is None:
            found.remarks.append((WARNING, f"the CIB refers to {shown(name)}, which it has not"))
        return element if other is None else other

    def _holds(self, rule: ET.Element) -> bool | None:
        """Whether a rule holds on this node; None if only Pacemaker can tell."""
        parts = [self._part(one) for one in rule if not cib.comment(one)]
        # A rule of several parts is one of `and`, unless it says otherwise.
        decisive = rule.get("boolean-op", "and") == "or"
        if rule.get("id-ref") or not parts:
            return None
        if decisive in parts:
            return decisive
        return None if None in parts else not decisive

    def _part(self, part: ET.Element) -> bool | None:
        if part.tag == "rule":
            return self._holds(part)
        if part.tag == "expression" and part.get("attribute") == "#uname":
            same = part.get("value", "").lower() == self._node.lower()
            return {"eq": same, "ne": not same}.get(part.get("operation", ""))
        return None

    def _secrets(self, found: Configured) -> None:
        for name, value in found.parameters.items():
            if value.startswith(LRM):
                found.hidden.add(name)
                found.parameters[name], verdict, text = secret(found.id, name)
                found.remarks.append((verdict, text))

    # --- operations, addresses --------------------------------------------------------------

    def _operations(self, holders: list[ET.Element], found: Configured) -> None:
        defaults = self._root.find("configuration/op_defaults")
        usual = cib.pairs(defaults, "meta_attributes").get("timeout", "20s")
        seen = set()
        for holder in holders:
            for one in holder.iterfind("operations/op"):
                key = one.get("name", ""), one.get("interval", "0")
                if key not in seen:
                    seen.add(key)
                    timeout = (one.get("timeout")
                               or cib.pairs(one, "meta_attributes").get("timeout", usual))
                    found.operations.append(Operation(*key, timeout, cib.level(one)))

    def _virtual_ips(
        self, primitive: ET.Element, above: list[ET.Element], found: Configured,
    ) -> None:
        """The virtual IPs in its group, and those that a colocation ties to it, either way."""
        known = cib.virtual_ips(self._root)
        own = {one.get("id", "") for one in (primitive, *above)}
        near = set()
        for one in above:
            near |= {*cib.members(self._root, one.get("id", ""))}
        near |= beside(self._root, own, known)
        found.vips = {name: address for name, address in known.items() if name in near}


def secret(resource: str, name: str) -> tuple[str, str, str]:
    """A value that cibsecret keeps on this node, a verdict on it, and what is to be said."""
    path = Path(SECRETS) / resource / name
    remedy = f"run: cibsecret sync, or cibsecret set {resource} {name}"
    try:
        content = path.read_bytes().rstrip()
        sign = path.with_name(f"{name}.sign").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return "", WRONG, f"{name}: this node has no value for {LRM} in {path.parent}; {remedy}"
    except (OSError, ValueError) as error:
        return "", UNKNOWN, f"{name}: {path} cannot be read: {error}"
    if sign[:1] != [md5(content, usedforsecurity=False).hexdigest()]:
        return "", WRONG, f"{name}: the signature of {path} is not that of its value; {remedy}"
    return content.decode("utf-8", "surrogateescape"), OK, f"{name} is in {path}"
