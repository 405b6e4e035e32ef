"""What is unsafe, obsolete or misspelt in a CIB: what can be told from it and our meta-data.

A function for each row; docs/openstack-ocf.md has the table. Virtual IPs and names are in `held`,
what is about the whole cluster in `safety`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from . import agents, cib, held, safety, user
from .agents import Agent
from .cib import FALSE, TRUE
from .finding import ERROR, WARNING, Finding
from .seconds import seconds
from .ties import named, reached, ties
from .words import nearest, shown

DEFAULT_TIMEOUT = 20.0
"""Pacemaker's own, in seconds, for an operation that has none."""
UNRELATED = 3
"""So many services of different projects in a group; with two, crm/shared-vip.crm says the cost."""


def lint(root: ET.Element, others: Sequence[tuple[str, ET.Element]] = ()) -> list[Finding]:
    """All findings about a CIB. others: of other clusters, each with where it is from."""
    return [*_Lint(root).findings(), *safety.shared(root, others)]


@dataclass(frozen=True)
class _Ours:
    """A primitive of one of our agents, with what it stands in."""

    element: ET.Element
    agent: Agent
    group: ET.Element | None
    clone: ET.Element | None

    @property
    def id(self) -> str:
        return self.element.get("id", "")

    @property
    def ids(self) -> list[str]:
        """Its own, and those that a constraint may name in its place."""
        around = (one.get("id", "") for one in (self.group, self.clone) if one is not None)
        return [self.id, *around]

    @property
    def members(self) -> list[str]:
        """Those of its group, from left to right; itself alone where it has none."""
        return [self.id] if self.group is None else [
            member.get("id", "") for member in self.group.iterfind("primitive")]

    @property
    def left(self) -> list[str]:
        """The members of its group that start before it."""
        members = self.members
        return members[:members.index(self.id)]

    @property
    def whole(self) -> str:
        """What a constraint has to name: its clone, where it has one."""
        return self.id if self.clone is None else self.clone.get("id", "")

    @property
    def parameters(self) -> dict[str, str]:
        return cib.parameters(self.element)


class _Lint:
    def __init__(self, root: ET.Element) -> None:
        self._root = root
        self._parents = cib.parents(root)
        self._vips = cib.virtual_ips(root)
        self._names = cib.names(root)
        self._ties = ties(root)
        self._contained = cib.contained(root)
        self._defaults = self._pairs("configuration/rsc_defaults/*")
        self._op_defaults = self._pairs("configuration/op_defaults/*")

    def findings(self) -> Iterator[Finding]:
        ours = []
        for primitive in cib.resources(self._root):
            if primitive.get("provider") != "openstack":
                continue
            agent = agents.get(primitive.get("type", ""))
            if agent is None or agent.gone:
                yield from self._type(primitive, agent)
                continue
            above = list(cib.above(primitive, self._parents))
            ours.append(_Ours(
                primitive, agent, next((one for one in above if one.tag == "group"), None),
                next((one for one in above if one.tag != "group"), None)))
        for one in ours:
            yield from self._start_stop(one)
            yield from self._monitors(one)
            yield from self._migration(one)
            yield from user.lint(one.id, one.agent, one.parameters)
            yield from self._parameters(one)
            yield from self._tied(one)
            yield from self._cloned(one)
        yield from self._twice(ours)
        yield from self._groups(ours)
        yield from self._early(ours)
        yield from held.lint(self._root)
        yield from self._references()
        watched = [one.element for one in ours]
        for primitive in cib.resources(self._root):
            if primitive.get("id") in self._vips or primitive in watched:
                yield from safety.ignored(primitive.get("id", ""), self._operations(primitive))
        if ours:
            yield from safety.cluster(self._root)

    # --- rows about one resource ------------------------------------------------------------

    def _type(self, primitive: ET.Element, agent: Agent | None) -> Iterator[Finding]:
        name, type_ = primitive.get("id", ""), primitive.get("type", "")
        if agent:
            yield Finding("L15", ERROR, name, f"OpenStack has no {type_} since {agent.gone}",
                          "Remove the resource.")
            return
        near = agents.like(type_)
        yield Finding(
            "L15", ERROR, name, f"there is no agent ocf:openstack:{shown(type_)} here",
            f"The nearest is {near}." if near else "Install it on every node, or remove it.")

    def _start_stop(self, one: _Ours) -> Iterator[Finding]:
        """L1: a timeout below that of the meta-data."""
        for action in ("start", "stop"):
            advertised = one.agent.timeout(action)
            operation = next((op for op in self._operations(one.element)
                              if op.get("name") == action), None)
            timeout = self._timeout(operation)
            if timeout is None or timeout >= advertised:
                continue
            seen = (f"no {action} operation: it has {timeout:g} s" if operation is None
                    else f"{action} has {timeout:g} s")
            yield Finding("L1", ERROR, one.id, f"{seen}, and the agent asks for {advertised} s",
                          f'Add: op {action} timeout="{advertised}s" interval="0"')

    def _monitors(self, one: _Ours) -> Iterator[Finding]:
        """L2: monitors that are missing. L18: two of one interval."""
        monitors = [op for op in self._operations(one.element)
                    if op.get("name") == "monitor" and seconds(op.get("interval", "0"))
                    and op.get("enabled", "true").lower() not in FALSE]
        # Without a level the agents take the highest.
        level = {cib.level(op) or "10" for op in monitors}
        if not monitors:
            yield Finding("L2", ERROR, one.id, "no monitor: it is not noticed when it is dead",
                          'Add: op monitor interval="30s" timeout="30s" OCF_CHECK_LEVEL="10"')
        elif "0" in level and len(monitors) > 1 and level - {"0"}:
            pass
        else:
            missing = "0" if level - {"0"} else "10"
            every = "10s" if missing == "0" else "30s"
            yield Finding(
                "L2", WARNING, one.id, f"no monitor of level {missing}",
                f'Add, with an interval that no other has: op monitor interval="{every}" '
                f'timeout="30s" OCF_CHECK_LEVEL="{missing}"')
        for op in monitors:
            timeout, advertised = self._timeout(op), one.agent.timeout("monitor")
            if timeout is not None and timeout < advertised:
                both = (": where the service does not answer, Keystone is asked in this time, too"
                        if "keystone_failure" in one.agent.defaults and cib.level(op) != "0"
                        else "")
                yield Finding("L1", WARNING, one.id, f"monitor {op.get('interval')} has "
                              f"{timeout:g} s, and the agent asks for {advertised} s{both}",
                              f'Set timeout="{advertised}s".')
        intervals = [(seconds(op.get("interval", "")), op.get("role", "Started"))
                     for op in monitors]
        if len(set(intervals)) < len(intervals):
            yield Finding("L18", ERROR, one.id, "two monitors have the same interval",
                          "Give them different ones: Pacemaker knows an operation by its interval.")

    def _migration(self, one: _Ours) -> Iterator[Finding]:
        """L3: how often it is tried again, and where."""
        def meta(name: str) -> str:
            holders = (one.element, one.group, one.clone)
            found = (cib.pairs(holder, "meta_attributes").get(name) for holder in holders)
            return next(filter(None, found), self._defaults.get(name, ""))

        threshold, timeout = meta("migration-threshold"), seconds(meta("failure-timeout") or "0")
        if threshold in ("", "0", "INFINITY"):
            yield Finding("L3", WARNING, one.id, "no migration-threshold: what restarts do not "
                          "mend never moves to another node", 'Add: meta migration-threshold="3"')
        if not timeout:
            yield Finding("L3", WARNING, one.id, "no failure-timeout: a node that failed once is "
                          "never tried again", 'Add: meta failure-timeout="180s"')

    def _parameters(self, one: _Ours) -> Iterator[Finding]:
        """L6: a URL whose meaning has changed. L17: parameters that no agent has."""
        url = one.parameters.get("url", "")
        if one.agent.name == "cinder-api" and url.rstrip("/").endswith("/v1"):
            yield Finding("L6", WARNING, one.id, f"url={shown(url)}: Cinder has no v1 any more",
                          "Remove url: the agent sees where the server listens.")
        for name in one.parameters:
            if name not in one.agent.defaults:
                near = nearest(name, one.agent.defaults)
                yield Finding("L17", WARNING, one.id, f"{one.agent.name} has no parameter "
                              f"{shown(name)}", f"The nearest is {near}." if near else "Remove it.")

    def _tied(self, one: _Ours) -> Iterator[Finding]:
        """L7: a virtual IP after its API, or a name before it. L8: an API without one."""
        if not one.agent.api or one.clone is not None or one.element in self._contained:
            return
        if one.group is not None:
            members, left = one.members, one.left
            late = [name for name in members[len(left):] if name in self._vips]
            if late and not set(left) & set(self._vips):
                yield Finding(
                    "L7", ERROR, one.group.get("id", ""), f"{late[0]} is right of {one.id}, which "
                    "starts before its address is there", f"Move {late[0]} to the left.")
                return
            early = [name for name in left if name in self._names]
            if early:
                yield Finding(
                    "L7", WARNING, one.group.get("id", ""), f"{early[0]} is left of {one.id}: the "
                    "name goes to a node before it serves", f"Move {early[0]} to the right.")
            # Of dns_ha, a name stands to the right: it goes where the service is already.
            if late or set(members) & {*self._vips, *self._names}:
                return
        partners = [name for back in (False, True) for name in
                    reached(self._ties.together, one.ids, back=back) if self._held(name)]
        before = {*reached(self._ties.after, one.ids)}
        if not partners:
            yield Finding("L8", WARNING, one.id, "no virtual IP is tied to it, so that clients "
                          "look for it on another node than it is on",
                          f"Put it into a group, right of its virtual IP: group g_{one.agent.name} "
                          f"p_ip_{one.agent.name} {one.id}")
        elif before.isdisjoint({*partners, *chain(*map(self._held, partners))}):
            address = partners[0]
            yield Finding("L8", ERROR, one.id, f"it is where {address} is, but not after it",
                          f"Add: order o_{one.agent.name} Mandatory: {address} {one.id}")

    def _cloned(self, one: _Ours) -> Iterator[Finding]:
        """L9, L10, L20: clones."""
        if one.clone is None:
            return
        name = one.clone.get("id", "")
        meta = cib.pairs(one.clone, "meta_attributes")
        if meta.get("interleave", "false").lower() not in TRUE:
            yield Finding("L9", WARNING, name, "a clone without interleave: what is ordered after "
                          "it waits for all nodes", 'Add: meta interleave="true"')
        host = one.parameters.get("bind", "").rpartition(":")[0].strip("[]")
        if host and host in self._vips.values():
            yield Finding("L10", ERROR, name, f"a clone that listens on the virtual IP {host}, "
                          "which one node has", "Let it listen on 0.0.0.0 or ::.")
        if one.agent.nodes == "one" and meta.get("clone-max") != "1":
            yield Finding("L20", ERROR, name, f"{one.agent.name} must run on one node at a time",
                          "Take it out of the clone.")
        elif meta.get("clone-node-max", "1") not in ("0", "1"):
            yield Finding("L20", ERROR, name, "several instances on a node would have one port and "
                          "one pidfile", "Remove clone-node-max.")

    # --- rows about several -----------------------------------------------------------------

    def _twice(self, ours: list[_Ours]) -> Iterator[Finding]:
        """L14: two resources that manage one daemon."""
        seen: dict[tuple[str, str, str], str] = {}
        for one in ours:
            config = one.parameters.get("config", one.agent.defaults.get("config", ""))
            keys = [("config", one.agent.name, config)]
            keys += [("pid", "", one.parameters["pid"])] if one.parameters.get("pid") else []
            keys += [("bind", "", one.parameters["bind"])] if one.parameters.get("bind") else []
            for key in keys:
                first = seen.setdefault(key, one.id)
                if first != one.id:
                    yield Finding("L14", ERROR, one.id, f"{key[0]} is {shown(key[2])}, as that of "
                                  f"{first}", "Remove one of them, or give it its own.")

    def _groups(self, ours: list[_Ours]) -> Iterator[Finding]:
        """L11: a group of everything."""
        groups: dict[str, set[str]] = {}
        for one in ours:
            if one.group is not None:
                projects = groups.setdefault(one.group.get("id", ""), set())
                projects.add(one.agent.name.partition("-")[0])
        for name, projects in groups.items():
            if len(projects) >= UNRELATED:
                yield Finding("L11", WARNING, name, f"{', '.join(sorted(projects))} are one unit: "
                              "while one of them does not start, none to the right of it does",
                              "Tie each to the address by a colocation and an order, as in "
                              "crm/controller.crm.")

    def _early(self, ours: list[_Ours]) -> Iterator[Finding]:
        """L26: what ends without another service, and may be started before that."""
        for one in ours:
            if not one.agent.first:
                continue
            before = {*reached(self._ties.after, one.ids), *one.left}
            for first in ours:
                if first.agent.name in one.agent.first and before.isdisjoint(first.ids):
                    yield Finding(
                        "L26", WARNING, one.id, f"without {first.id} it ends at its start, and no "
                        "order has that started first", "Add: order "
                        f"o_{one.agent.name}_{first.agent.name} Optional: {first.whole} "
                        f"{one.whole} symmetrical=false")

    def _references(self) -> Iterator[Finding]:
        """L16: a constraint about a resource that there is not."""
        known = {one.get("id", "") for one in self._root.iterfind("configuration/resources//*")}
        known |= {one.get("id", "") for one in self._root.iterfind("configuration/tags/tag")}
        for constraint in self._root.iterfind("configuration/constraints/*"):
            for name in named(constraint):
                if name not in known:
                    near = nearest(name, known)
                    yield Finding("L16", ERROR, constraint.get("id", ""), f"there is no resource "
                                  f"{shown(name)}", f"The nearest is {near}." if near
                                  else "Remove the constraint." if len({*named(constraint)}) < 3
                                  else "Take it out of the set.")

    # --- looking ----------------------------------------------------------------------------

    def _pairs(self, path: str) -> dict[str, str]:
        return {pair.get("name", ""): pair.get("value", "")
                for pair in self._root.iterfind(f"{path}/nvpair")}

    def _operations(self, primitive: ET.Element) -> list[ET.Element]:
        own = primitive.findall("operations/op")
        template = primitive.get("template")
        found = cib.by_id(self._root, template) if template else None
        own += found.findall("operations/op") if found is not None else []
        return own

    def _timeout(self, operation: ET.Element | None) -> float | None:
        """Of an operation, the defaults taken in; None if it is no time."""
        text = operation.get("timeout", "") if operation is not None else ""
        if not text and operation is not None:
            text = cib.pairs(operation, "meta_attributes").get("timeout", "")
        text = text or self._op_defaults.get("timeout", "")
        return seconds(text) if text else DEFAULT_TIMEOUT

    def _held(self, name: str) -> list[str]:
        """The virtual IP that it is, or those of a group."""
        return [one for one in (name, *cib.members(self._root, name)) if one in self._vips]
