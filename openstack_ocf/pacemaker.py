"""Pacemaker's own tools: what they say of a CIB, and the one step that changes it.

Called by `change`. A CIB has passwords: it is handed over as standard input, or as a file that is
in memory alone, never in an argument list.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

from . import cib as cibs
from .errors import CannotLookError, RefusedError
from .run import last_words, run
from .words import shown

_OLD = 103
"""cibadmin's exit code where the CIB is no longer what a patch begins with."""
_LATER = 76
"""cibadmin's exit code where the CIB has a feature set that it does not know."""
_TRIES = 20


@dataclass(frozen=True)
class Action:
    """What Pacemaker is going to do with a resource, in the words of crm_simulate.

    what: start, stop, restart, move, reload, recover, ... resource: of a clone's instance that of
    the clone. node: where it is, or where it starts.
    target: where it goes.
    """

    what: str
    resource: str
    node: str
    target: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Simulated:
    """The actions, and the nodes that each resource is active on when they are done."""

    actions: tuple[Action, ...]
    active: Mapping[str, Sequence[str]]


def outside_cluster() -> bool:
    """Whether Pacemaker's tools work on a file, as their environment tells them to."""
    return any(os.environ.get(name) for name in ("CIB_file", "CIB_shadow"))


def errors(cib: ET.Element) -> list[str]:
    """What crm_verify has against a CIB; empty if nothing."""
    done = run(["crm_verify", "--verbose", "--xml-pipe"], given=cibs.text(cib))
    # A resource that has failed is a warning, and to mend it may be what the change is for.
    if not done.code or "Warnings found during check" in done.said:
        return []
    lines = [re.sub(r"^.*?\berror:\s*|^Entity: ", "", line.strip())
             for line in done.said.splitlines()
             if re.search(r"error|[Ee]lement|unknown", line) and "warning:" not in line
             and not line.startswith("crm_verify:")]
    return [shown(line) for line in dict.fromkeys(lines) if line] or [last_words(done)]


def simulate(cib: ET.Element) -> Simulated:
    """What Pacemaker would do with a CIB."""
    root = _xml(["crm_simulate", "--simulate", "--xml-pipe"], cibs.text(cib))
    active: dict[str, list[str]] = {}
    for one in root.iterfind("revised_cluster_status/resources//resource"):
        if one.get("active") == "true":
            active.setdefault(instance(one.get("id", "")), []).extend(
                node.get("name", "") for node in one.iterfind("node"))
    return Simulated(tuple(map(_action, root.iterfind("actions/*"))), active)


def _action(found: ET.Element) -> Action:
    node: str = found.get("node") or found.get("source") or ""
    if found.tag == "node_action":
        task = found.get("task", "")  # "Fence (reboot)", or "Shutdown"
        return Action("fence" if task.startswith("Fence") else task.lower(), node, node,
                      reason=found.get("reason", ""))
    return Action(found.get("action", ""), instance(found.get("resource", "")), node,
                  found.get("dest", ""), found.get("reason", ""))


def instance(name: str) -> str:
    """The id of a resource without the number that a clone's instance has."""
    return re.sub(r":\d+$", "", name)


def monitor() -> ET.Element:
    """What crm_mon says."""
    return _xml(["crm_mon", "--one-shot", "--inactive"], None)


def _xml(command: Sequence[str], given: str | None) -> ET.Element:
    done = run([*command, "--output-as=xml"], given=given)
    try:
        root = ET.fromstring(done.output)  # noqa: S314 - a program of this machine's
    except ET.ParseError as error:
        raise CannotLookError(f"{command[0]}: {last_words(done)}") from error
    if done.code:
        said = [one.text or "" for one in root.iterfind("status/errors/error")]
        raise CannotLookError(f"{command[0]}: {shown((said or [last_words(done)])[0])}")
    return root


# --- the change ---------------------------------------------------------------------------------


def patch(old: ET.Element, new: ET.Element) -> bool:
    """Change the configuration from old to new, in one step; False if it is another one now.

    cibadmin compares all three numbers of the CIB's version with those of the patch. The last of
    them changes with every result of a monitor: then the same patch is made anew.
    """
    for _ in range(_TRIES):
        there = cibs.load(cibs.LIVE, exact=True)
        if cibs.canonical(there) != cibs.canonical(old):
            return False
        done = run(["cibadmin", "--patch", "--xml-pipe"], given=_patch(there, new))
        if not done.code:
            return True
        if done.code == _LATER:
            version = there.get("crm_feature_set", "")
            raise RefusedError("the CIB is as it was: it is of a later Pacemaker than this node's "
                               f"(crm_feature_set {shown(version)}); do it on a node with that one")
        if done.code != _OLD:
            raise RefusedError(f"the CIB is as it was: cibadmin says: {last_words(done)}")
    raise RefusedError("the CIB is as it was: it changed all the time; wait until the cluster is "
                       "calm (crm_mon)")


def _patch(there: ET.Element, new: ET.Element) -> str:
    wanted = deepcopy(there)
    configuration = wanted.find("configuration")
    other = new.find("configuration")
    if configuration is None or other is None:
        raise CannotLookError("the CIB has no configuration")
    wanted[list(wanted).index(configuration)] = other
    wanted.set("epoch", str(int(there.get("epoch", "0")) + 1))
    wanted.set("num_updates", "0")
    with _memory(cibs.text(there)) as first, _memory(cibs.text(wanted)) as second:
        done = run(["crm_diff", f"--original=/proc/self/fd/{first}",
                    f"--new=/proc/self/fd/{second}"], files=(first, second))
    # 1 is that they differ.
    if done.code not in (0, 1) or "<diff" not in done.output:
        raise RefusedError(f"the CIB is as it was: crm_diff says: {last_words(done)}")
    return _without_mistakes(done.output, there, wanted)


def _without_mistakes(patch: str, old: ET.Element, new: ET.Element) -> str:
    """A patch without changes inside of what is the same in both CIBs.

    crm_diff (Pacemaker 2.1.5) takes an element without an id, as one with id-ref, or the second of
    two comments, for a sibling, and has it moved or made once more.
    """
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))  # noqa: S314 - as above
    root = ET.fromstring(patch, parser)  # noqa: S314 - a program of this machine's
    for one in root.findall("change"):
        path = one.get("path", "").removeprefix("/cib/")
        if one.get("operation") != "create":
            path = path.rpartition("/")[0]
        mates = [cib.findall(path) for cib in (old, new)] if path else []
        if mates and all(len(found) == 1 for found in mates) \
                and cibs.plain(mates[0][0]) == cibs.plain(mates[1][0]):
            root.remove(one)
    return cibs.text(root)


@contextmanager
def _memory(text: str) -> Iterator[int]:
    """A file that is nowhere but in memory."""
    file = os.memfd_create("cib")
    try:
        with os.fdopen(os.dup(file), "w", encoding="utf-8") as writer:
            writer.write(text)
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)
