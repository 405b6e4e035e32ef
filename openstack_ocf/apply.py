"""The verbs that change the cluster: `apply` puts a plan into it, `undo` takes a change back."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

from . import cib as cibs
from . import leaving, pacemaker, saved
from .change import Manner, change
from .difference import changed, told
from .errors import RefusedError, UsageError
from .ids import keep_ids
from .merge import merge
from .plan import Plan

_WORDS = {"os_password": "password"}
_SECTIONS = ("resources", "constraints")
"""What a plan changes, and what undo brings back; the rest of a CIB is others'."""


def apply(plan: Plan, manner: Manner, remove: Sequence[str] = ()) -> int:
    """Change the cluster into what a plan says; the exit code.

    remove: what the plan does not have any more and is to go: ids, or `all`.
    """
    _need_root("apply")
    before = cibs.load(cibs.LIVE, exact=True)
    keep_ids(plan.cib, before)
    going = leaving.removed(plan.cib, before, remove)
    staying = [name for name in leaving.left(plan.cib, before) if name not in going]
    notes = [*_secrets(plan.cib, before), *_passwords(before, going), *_staying(staying),
             *plan.files]
    after = leaving.without(merge(plan.cib, before), going)
    if cibs.canonical(after) == cibs.canonical(before):
        print("\n".join(("Nothing to do: the cluster has this configuration.", *notes)))
        return 0
    ours = [one.get("id", "") for one in cibs.resources(plan.cib)]
    return change(before, after, ours, manner, notes)


def undo(manner: Manner, *, discard: bool, to: int | None = None) -> int:
    """Bring back the resources and constraints from before a change; the exit code.

    discard: lose what others have changed since; otherwise such a change prevents undo.
    to: the number of the change; default: the last one that was made.
    """
    _need_root("undo")
    there = cibs.load(cibs.LIVE, exact=True)
    now = cibs.canonical(there, *_SECTIONS)
    where = f"in {manner.folder}, on this node"
    found = None
    for found in saved.changes(manner.folder):
        if now == cibs.canonical(found.after, *_SECTIONS):
            break
        if now != cibs.canonical(found.before, *_SECTIONS):
            _others(found, there, discard=discard)
            break
        # A command that was killed before it had changed anything.
    else:
        if to is None or found is None:
            raise RefusedError(f"nothing to undo: {where}, there is no change of this configuration"
                               if found else f"nothing to undo: there is no saved change {where}")
    if to is not None:
        found = next((one for one in saved.changes(manner.folder) if one.number == to), None)
        if found is None:
            raise UsageError(f"--to {to}: there is no such change {where}; undo --list shows them")
    after = _restored(there, found.before)
    print(f"Back to before the change of {found.when}:", flush=True)
    if cibs.canonical(after) == cibs.canonical(there):
        print("Nothing to do: the cluster has this configuration.")
        return 0
    names = set(changed(after, there))
    ours = [one.get("id", "") for one in cibs.resources(after) if one.get("id") in names]
    return change(there, after, ours, manner)


def history(folder: str) -> int:
    """Print the changes that are kept, the latest first; the exit code."""
    found = False
    for one in saved.changes(folder):
        found = True
        print(f"{one.number}  {one.when}")
        for line in told(one.after, one.before, *_SECTIONS).splitlines():
            print(f"    {line}")
    if not found:
        print(f"There is no saved change in {folder}, on this node.")
    return 0


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


def _staying(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield (f"{name} is not in the description; it is left as it is (apply --remove {name} "
               "takes it away).")


def _passwords(there: ET.Element, going: Iterable[str]) -> Iterator[str]:
    """Remarks on secrets of removed resources: they stay on the nodes, since undo needs them."""
    known = {one.get("id", ""): cibs.parameters(one) for one in cibs.resources(there)}
    for name in going:
        for what, value in known[name].items():
            if value == cibs.LRM:
                yield (f"{name}: its {_WORDS.get(what, what)} stays on the nodes. When it is not "
                       f"needed any more: cibsecret delete {name} {what}")


# --- secrets ------------------------------------------------------------------------------------


def _secrets(plan: ET.Element, there: ET.Element) -> Iterator[str]:
    """Remarks on secrets; RefusedError where a start would fail without one.

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
