"""The cluster as it runs: its nodes, where resources are, what has failed. Called by `change`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import pacemaker
from .errors import CannotLookError, RefusedError
from .words import shown


@dataclass(frozen=True)
class Failure:
    """An action that failed, or that found a service degraded; key tells it from those before."""

    resource: str
    text: str
    key: str
    degraded: bool


@dataclass(frozen=True)
class Cluster:
    """What crm_mon says.

    roles: of each resource, with the nodes that it is active on. probes: what has kept a resource
    from being started, by resource; Pacemaker does not count it as a failure.
    """

    quorum: bool
    maintenance: bool
    nodes: Mapping[str, str]
    """The names of nodes, each with what keeps it from running resources; empty if nothing."""
    unclean: tuple[str, ...]
    roles: Mapping[str, tuple[str, tuple[str, ...]]]
    blocked: tuple[str, ...]
    failures: tuple[Failure, ...]
    probes: Mapping[str, Sequence[str]]


_DEGRADED = "190"
_NO_FAILURE = ("0", "7", "8", "9", _DEGRADED)
"""Running or not, promoted or not, degraded."""


def look() -> Cluster:
    """The cluster now; CannotLookError if it does not answer."""
    root = pacemaker.monitor()
    deciding = root.find("summary/current_dc")
    if deciding is None or not _true(deciding, "present"):
        raise CannotLookError("no node decides for the cluster at present: it starts, or elects "
                              "one; come again when crm_mon shows a DC")
    options = root.find("summary/cluster_options")
    nodes = {}
    for node in root.iterfind("nodes/node"):
        states = [word for word in ("standby", "maintenance", "pending") if _true(node, word)]
        nodes[node.get("name", "")] = "offline" if not _true(node, "online") else " ".join(states)
    roles: dict[str, tuple[str, tuple[str, ...]]] = {}
    blocked = []
    for one in root.iterfind("resources//resource"):
        name = pacemaker.instance(one.get("id", ""))
        where = tuple(node.get("name", "") for node in one.iterfind("node"))
        role, others = roles.get(name, ("", ()))
        if _true(one, "active") or not role:
            role = one.get("role", "")
        roles[name] = role, tuple(sorted({*others, *where}))
        blocked += [name] if _true(one, "blocked") else []
    return Cluster(
        quorum=_true(deciding, "with_quorum"),
        maintenance=options is not None and _true(options, "maintenance-mode"),
        nodes=nodes,
        unclean=tuple(one.get("name", "") for one in root.iterfind("nodes/node")
                      if _true(one, "unclean")),
        roles=roles, blocked=tuple(blocked),
        failures=tuple(map(_failure, root.iterfind("failures/failure"))),
        probes=_probes(root))


def _probes(root: ET.Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in root.iterfind("node_history/node"):
        for one in node.iterfind("resource_history"):
            name = pacemaker.instance(one.get("id", ""))
            found.setdefault(name, []).extend(
                f"{done.get('task')} on {node.get('name')}: {done.get('rc_text')}"
                for done in one.iterfind("operation_history")
                if done.get("rc") not in _NO_FAILURE)
    return found


def _true(element: ET.Element, name: str) -> bool:
    return element.get(name) == "true"


def _failure(found: ET.Element) -> Failure:
    task, where = found.get("task", ""), found.get("node", "")
    resource = pacemaker.instance(found.get("op_key", "").rpartition(f"_{task}_")[0])
    why = found.get("exitreason") or found.get("exitstatus") or "no reason given"
    key = " ".join(found.get(name, "") for name in ("op_key", "node", "call", "last-rc-change"))
    degraded = found.get("exitcode") == _DEGRADED
    what = "degraded" if degraded else f"{task} failed"
    return Failure(resource, f"{what} on {where}: {_short(why)}", key, degraded)


def _short(why: str) -> str:
    # An exit reason is below 120 characters, and what is asked for here.
    return why if why.isprintable() and len(why) < 200 else shown(why)


def obstacles(cluster: Cluster) -> None:
    """RefusedError where a change would be lost, or would not do what is foretold."""
    if cluster.unclean:
        names = ", ".join(cluster.unclean)
        raise RefusedError(f"{names} is unclean: what runs there is not known until fencing has "
                           "ended it. See crm_mon, and come again")
    if not cluster.quorum:
        raise RefusedError("this part of the cluster has no quorum: what is changed here is lost "
                           "when the others come back. See crm_mon, and come again")


def remarks(cluster: Cluster) -> Iterable[str]:
    """What an operator should know before a change."""
    for name, state in cluster.nodes.items():
        if state:
            yield f"{name} is {state.replace(' ', ', ')}: nothing starts there."
