"""A change of the CIB, shown first and made in one step, and its result. Called by `apply`.

Until the one step everything is as it was, whenever the command ends; after it the change is
made, and the CIBs before and after are on the disk.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from . import cib as cibs
from . import cluster, pacemaker, saved, transition
from .cluster import Cluster
from .difference import told
from .errors import CannotLookError, RefusedError, UsageError
from .pacemaker import Action
from .run import tool

_POLL = 0.5
_TIMED_OUT = 124
"""The exit code of crm_resource --wait."""


@dataclass(frozen=True)
class Manner:
    """How a change is made. yes: without a question. wait: seconds, at most. folder: `saved`."""

    yes: bool
    allow_restart: bool
    wait: int
    folder: str


def change(before: ET.Element, after: ET.Element, ours: Sequence[str], manner: Manner,
           notes: Iterable[str] = ()) -> int:
    """Make a change; the exit code. ours: the primitives that are to run after it.

    before: the CIB as it is. RefusedError, UsageError where nothing is done.
    """
    alive = None if pacemaker.outside_cluster() else cluster.look()
    if alive:
        cluster.obstacles(alive)
    _say(told(after, before).splitlines())
    _verify(before, after)
    actions = _foretell(before, after, ours, alive, notes)
    disruptive = sorted({one.resource for one in transition.disruptive(actions)})
    if disruptive and not manner.allow_restart:
        raise RefusedError(
            f"nothing was changed: {', '.join(disruptive)} would not run on as before; with "
            "--allow-restart it is done all the same")
    _confirm(yes=manner.yes)
    if alive:
        alive = cluster.look()
        cluster.obstacles(alive)
    file = saved.save(manner.folder, before, after)
    if not _patch(before, after):
        raise _overtaken(before)
    _say([f"Changed. The CIB before it is in {file}; openstack-ocf undo brings it back."])
    if alive is None:
        return 0
    touched = {*ours, *(one.resource for one in actions)}
    return _await(after, [name for name in map(_id, cibs.resources(after)) if name in touched],
                  alive, manner.wait)


def _id(element: ET.Element) -> str:
    return element.get("id", "")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


# --- before it ----------------------------------------------------------------------------------


def _verify(before: ET.Element, after: ET.Element) -> None:
    errors = pacemaker.errors(after)
    if errors:
        old = pacemaker.errors(before)
        own = [one for one in errors if one not in old]
        since = "" if own else " (and of the CIB as it is)"
        raise RefusedError(f"nothing was changed: crm_verify says of the new CIB{since}: "
                           f"{'; '.join((own or errors)[:5])}")


def _foretell(before: ET.Element, after: ET.Element, ours: Sequence[str],
              alive: Cluster | None, notes: Iterable[str]) -> Sequence[Action]:
    """Show what follows, and return it."""
    maintenance = alive is not None and alive.maintenance
    old, new = before, after
    if maintenance:
        old, new = map(transition.without_maintenance, (before, after))
    found = transition.foretell(old, new)
    _say(["", "When maintenance ends:" if maintenance else "What follows:"])
    lines = list(transition.words(found, before, after, ours))
    _say(f"  {line}." for line in lines or ["Nothing starts, stops or moves"])
    remarks = [*notes, *(cluster.remarks(alive) if alive else ())]
    if maintenance:
        remarks.append("The cluster is in maintenance: nothing starts or stops before it ends.")
    _say(["", *remarks] if remarks else [])
    return found.actions


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was changed: there is no terminal to ask at; --yes does it "
                         "without a question")
    print("\nChange it? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError("nothing was changed")


# --- the step -----------------------------------------------------------------------------------


def _patch(before: ET.Element, after: ET.Element) -> bool:
    try:
        return pacemaker.patch(before, after)
    except CannotLookError:
        # It may have been done, and only the answer been late.
        if cibs.canonical(cibs.load(cibs.LIVE, exact=True)) == cibs.canonical(after):
            return True
        raise


def _overtaken(before: ET.Element) -> RefusedError:
    there = cibs.load(cibs.LIVE, exact=True)
    who = there.get("update-user") or "somebody"
    client = there.get("update-client") or "a tool"
    by = "" if client == who else f", by {client}"  # Pacemaker 3.0 has the user there
    where = there.get("update-origin") or "this node"
    _say(["", f"Meanwhile {who} has changed the CIB{by} on {where}:",
          *told(there, before).splitlines()])
    return RefusedError("nothing of this was changed, and theirs is there; begin anew")


# --- after it -----------------------------------------------------------------------------------


def _await(after: ET.Element, ours: Sequence[str], before: Cluster, wait: int) -> int:
    """Wait until Pacemaker has nothing left to do, and show what happens meanwhile."""
    if before.maintenance or not wait:
        return 0
    begin = time.monotonic()
    _say([f"Waiting until the cluster has settled, {wait} s at most:"])
    seen = {name: before.roles.get(name) for name in ours}
    gone: dict[str, float] = {}
    with tool(["crm_resource", "--wait", f"--timeout={wait}s"]) as waiting:
        while True:
            done = waiting.poll() is not None
            try:
                now = cluster.look()
            except CannotLookError:
                if done:
                    raise
                _pause(waiting)
                continue
            _progress(now, seen, gone, time.monotonic() - begin)
            if done:
                break
            _pause(waiting)
        code = waiting.returncode
    return _report(after, ours, now, {one.key for one in before.failures}, code, wait)


def _pause(waiting: subprocess.Popen[bytes]) -> None:
    try:
        waiting.wait(_POLL)
    except subprocess.TimeoutExpired:
        pass


def _progress(now: Cluster, seen: dict[str, tuple[str, tuple[str, ...]] | None],
              gone: dict[str, float], seconds: float) -> None:
    for name, old in seen.items():
        new = now.roles.get(name)
        if new == old or (old is None and new == ("Stopped", ())):
            continue
        seen[name] = new
        role, nodes = new or ("gone", ())
        line = f"{seconds:4.0f} s  {name} {role.lower()}{_on(nodes)}"
        if role == "Started" and name in gone:
            line += f", after {seconds - gone.pop(name):.0f} s"
        elif old and old[0] == "Started" and role != "Started":
            gone[name] = seconds
        _say([line])


def _report(after: ET.Element, ours: Sequence[str], now: Cluster, old: set[str], code: int | None,
            wait: int) -> int:
    """Say what runs where, and what has failed since; the exit code."""
    meant = dict(_meant(after))
    bad = bool(code)
    _say([""])
    for name in ours:
        role, nodes = now.roles.get(name, ("Stopped", ()))
        down = not nodes and meant.get(name) not in ("Stopped", "Disabled")
        bad = bad or down or name in now.blocked
        blocked = ", blocked: Pacemaker does nothing about it" if name in now.blocked else ""
        _say([f"{name} {role.lower()}{_on(nodes)}{blocked}"])
        failures = [one for one in now.failures if one.resource == name and one.key not in old]
        bad = bad or not all(one.degraded for one in failures)
        _say(f"    {one.text}" for one in failures)
        if down and not failures:
            _say(f"    {text}" for text in now.probes.get(name, ()))
    if code:
        why = f"within {wait} s" if code == _TIMED_OUT else f"(crm_resource --wait: {code})"
        print(f"openstack-ocf: the change is made, but the cluster has not settled {why}; crm_mon "
              "shows how it goes on", file=sys.stderr)
    elif bad:
        print("openstack-ocf: not everything runs as it should. When the cause is mended: "
              "crm_resource --cleanup; or go back: openstack-ocf undo", file=sys.stderr)
    return int(bad)


def _meant(cib: ET.Element) -> Iterator[tuple[str, str]]:
    """The target-role of primitives, also of those whose group or clone has one."""
    # A primitive comes after what it is in, and its own counts.
    for holder in cib.iterfind("configuration/resources//*"):
        role = cibs.pairs(holder, "meta_attributes").get("target-role")
        for one in holder.iter("primitive") if role else ():
            yield one.get("id", ""), role or ""


def _on(nodes: Sequence[str]) -> str:
    return f" on {', '.join(nodes)}" if nodes else ""
