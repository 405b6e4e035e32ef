"""The verbs that change the cluster: `apply` puts a plan into it, `undo` takes a change back."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

from . import cib as cibs
from . import pacemaker, saved
from .change import Manner, change
from .difference import changed, told
from .errors import RefusedError, UsageError
from .ids import keep_ids
from .merge import merge
from .plan import Plan

_WORDS = {"os_password": "password"}
_SECTIONS = ("resources", "constraints")
"""What a plan changes, and what undo brings back; the rest of a CIB is others'."""


def apply(plan: Plan, manner: Manner) -> int:
    """Change the cluster into what a plan says; the exit code."""
    _need_root("apply")
    before = cibs.load(cibs.LIVE, exact=True)
    keep_ids(plan.cib, before)
    notes = [*_secrets(plan.cib, before), *_left(plan.cib, before), *plan.files]
    after = merge(plan.cib, before)
    if cibs.canonical(after) == cibs.canonical(before):
        print("\n".join(("Nothing to do: the cluster has this configuration.", *notes)))
        return 0
    ours = [one.get("id", "") for one in cibs.resources(plan.cib)]
    return change(before, after, ours, manner, notes)


def undo(manner: Manner, *, discard: bool) -> int:
    """Bring back the resources and constraints from before the last change; the exit code.

    discard: what others have changed since is lost; without it, it keeps undo from being done.
    """
    _need_root("undo")
    there = cibs.load(cibs.LIVE, exact=True)
    now = cibs.canonical(there, *_SECTIONS)
    found = None
    for found in saved.changes(manner.folder):
        if now == cibs.canonical(found.after, *_SECTIONS):
            break
        if now != cibs.canonical(found.before, *_SECTIONS):
            _others(found, there, discard=discard)
            break
        # A command that was killed before it had changed anything.
    else:
        where = f"in {manner.folder}, on this node"
        raise RefusedError(f"nothing to undo: {where}, there is no change of this configuration"
                           if found else f"nothing to undo: there is no saved change {where}")
    after = _restored(there, found.before)
    print(f"Back to before the change of {found.when}:", flush=True)
    names = set(changed(after, there))
    ours = [one.get("id", "") for one in cibs.resources(after) if one.get("id") in names]
    return change(there, after, ours, manner)


def _need_root(verb: str) -> None:
    if os.geteuid() and not pacemaker.outside_cluster():
        raise UsageError(f"{verb} needs root: it changes the cluster, and keeps the CIB from "
                         "before, with its passwords, where only root can read it")


def _others(found: saved.Change, there: ET.Element, *, discard: bool) -> None:
    lines = told(there, found.after, *_SECTIONS)
    print(f"Changed by others since the change of {found.when}:\n{lines}", flush=True)
    if not discard:
        raise RefusedError("nothing was changed: that would be lost, too; with --discard it is")


def _restored(there: ET.Element, before: ET.Element) -> ET.Element:
    """The CIB with the old resources and constraints in it."""
    after = deepcopy(there)
    for name in _SECTIONS:
        section = cibs.section(after, name)
        section[:] = list(deepcopy(cibs.section(before, name)))
    return after


def _left(plan: ET.Element, there: ET.Element) -> Iterator[str]:
    """Services that no plan has any more, and addresses in the groups that it has."""
    planned = {one.get("id") for one in plan.iterfind("configuration/resources//*[@id]")}
    for group in there.iterfind("configuration//*"):
        for one in group.findall("primitive"):
            if one.get("id") in planned or not (
                    cibs.agent(one).startswith("ocf:openstack:")
                    or (group.get("id") in planned and one.get("type") in cibs.ADDRESSES)):
                continue
            yield f"{one.get('id')} is not in the description; it is left as it is."


# --- secrets ------------------------------------------------------------------------------------


def _secrets(plan: ET.Element, there: ET.Element) -> Iterator[str]:
    """What is to be known of secrets; RefusedError where a start would fail for want of one.

    One that stands in the CIB stays there: nothing else on the nodes has it.
    """
    known = {one.get("id"): cibs.parameters(one) for one in cibs.resources(there)}
    missing = []
    for one in () if pacemaker.outside_cluster() else cibs.resources(plan):
        name, wanted = one.get("id", ""), cibs.parameters(one)
        old = known.get(name, {})
        for what in [key for key, value in wanted.items() if value == cibs.LRM]:
            if old.get(what) == cibs.LRM or all(Path(cibs.SECRETS, name, file).is_file()
                                           for file in (what, f"{what}.sign")):
                continue
            if old.get(what) and old.get("os_username") == wanted.get("os_username"):
                for section in one.iterfind("instance_attributes"):
                    for pair in section.findall(f"nvpair[@name='{what}']"):
                        section.remove(pair)
                yield (f"{name} keeps its {_WORDS.get(what, what)} in the CIB, where all can read "
                       f"it. To take it out: cibsecret stash {name} {what}")
            else:
                missing.append((name, what))
    if missing:
        names = dict.fromkeys(name for name, _ in missing)
        words = dict.fromkeys(_WORDS.get(what, what) for _, what in missing)
        lines = "".join(f"\n  cibsecret -C set {name} {what}" for name, what in missing)
        raise RefusedError(
            f"nothing was changed: {', '.join(names)} would not start, since the monitor's "
            f"{' and '.join(words)} is not on this node. First run, here:{lines}\nIt asks for the "
            "value, and copies it to the other nodes.")
