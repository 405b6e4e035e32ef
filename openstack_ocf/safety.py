"""What no agent can mend: fencing, quorum, failures that are ignored, a second cluster.

Called by `lint`; docs/openstack-ocf.md has the table.
"""

from __future__ import annotations

import ipaddress
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence

from . import cib
from .cib import FALSE, TRUE
from .errors import UsageError
from .finding import ERROR, WARNING, Finding
from .seconds import seconds
from .words import nearest, path, shown

_IGNORED = {
    "start": "a start that fails counts as one that has not: nothing moves to another node",
    "monitor": "a failure is shown, and nothing is restarted or moved",
    "stop": "a stop that fails counts as done: it may run on two nodes",
}
_BOOLEAN = {
    "concurrent-fencing", "enable-acl", "enable-startup-probes", "have-watchdog",
    "maintenance-mode", "remove-after-stop", "shutdown-lock", "start-failure-is-fatal",
    "startup-fencing", "stonith-enabled", "stop-all-resources", "stop-orphan-actions",
    "stop-orphan-resources", "symmetric-cluster",
}
_PROPERTIES = _BOOLEAN | {
    "batch-limit", "cluster-delay", "cluster-infrastructure", "cluster-ipc-limit", "cluster-name",
    "cluster-recheck-interval", "dc-deadtime", "dc-version", "election-timeout", "fence-reaction",
    "join-finalization-timeout", "join-integration-timeout", "load-threshold", "migration-limit",
    "no-quorum-policy", "node-action-limit", "node-health-base", "node-health-green",
    "node-health-red", "node-health-strategy", "node-health-yellow", "node-pending-timeout",
    "pe-error-series-max", "pe-input-series-max", "pe-warn-series-max", "placement-strategy",
    "priority-fencing-delay", "shutdown-escalation", "shutdown-lock-limit", "stonith-action",
    "stonith-max-attempts", "stonith-timeout", "stonith-watchdog-timeout", "transition-delay",
}
"""Those of Pacemaker 2.1 and 3.0, from their daemons' meta-data. Agents and tools keep others."""
_ALIKE = 0.85
"""A name that is so like one of them (`difflib`) is a misspelt one."""
_POLICIES = ("stop", "freeze", "ignore", "demote", "fence", "suicide")
_BETTER = {"stop": "Remove on-fail: a node whose stop fails is fenced."}


def cluster(root: ET.Element) -> Iterator[Finding]:
    """L3, L12, L23, L25: properties and defaults under which nothing is safe."""
    properties = cib.pairs(root.find("configuration/crm_config"), "*")
    get = properties.get
    if get("start-failure-is-fatal", "true").lower() not in FALSE:
        yield Finding("L3", WARNING, "start-failure-is-fatal", "one start that fails counts as "
                      "many: migration-threshold has no say in it",
                      "Set start-failure-is-fatal=false.")
    if get("stonith-enabled", "true").lower() in FALSE:
        yield Finding("L12", ERROR, "stonith-enabled", "fencing is off: a node that does not "
                      "answer may still hold an address and write to the database",
                      "Configure a fencing device, then set stonith-enabled=true.")
    elif root.find("configuration/nodes/node") is not None and not _fences(root, properties):
        # A CIB without nodes is a draft, whose devices may come later.
        yield Finding("L12", ERROR, "stonith-enabled", "there is no fencing device: Pacemaker "
                      "starts nothing, and a node that does not answer is waited for",
                      "Configure one, as the hardware of the nodes wants it.")
    if get("no-quorum-policy") == "ignore":
        yield Finding("L12", ERROR, "no-quorum-policy", "with ignore both parts of a cluster "
                      "that is cut in two run the services",
                      "Set no-quorum-policy=stop; with two nodes, corosync's two_node.")
    for name in ("pe-warn-series-max", "pe-input-series-max", "pe-error-series-max"):
        if name in properties:
            yield Finding("L12", WARNING, name, "the old guide sets it for no reason",
                          "Remove it.")
    yield from _misspelt(properties)
    defaults = cib.pairs(root.find("configuration/op_defaults"), "meta_attributes")
    if defaults.get("on-fail") == "ignore":
        yield Finding("L23", ERROR, "op_defaults", "on-fail=ignore: no failure of any resource "
                      "has a consequence", "Remove it.")


def _misspelt(properties: dict[str, str]) -> Iterator[Finding]:
    """L25: properties that Pacemaker does not know, and values: it goes on with its defaults."""
    for name, value in properties.items():
        known = name.replace("_", "-")  # Pacemaker reads an old property in this way, too.
        if known not in _PROPERTIES:
            if near := nearest(name, _PROPERTIES, _ALIKE):
                yield Finding("L25", WARNING, shown(name), "Pacemaker has no such property: it has "
                              "no effect", f"The nearest is {near}.")
        elif known in _BOOLEAN and value.lower() not in (*TRUE, *FALSE):
            yield Finding("L25", WARNING, name, f"{shown(value)} is neither true nor false: "
                          "Pacemaker takes its default", "Set it to true or false.")
        elif known == "no-quorum-policy" and value not in _POLICIES:
            yield Finding("L25", WARNING, name, f"{shown(value)} is no policy: Pacemaker "
                          "takes stop", f"Set one of {', '.join(_POLICIES)}.")


def _fences(root: ET.Element, properties: dict[str, str]) -> bool:
    watchdog = properties.get("stonith-watchdog-timeout", "0")
    return bool(seconds(watchdog)) or watchdog.startswith("-") or any(
        one.get("class") == "stonith" for one in cib.resources(root))


def ignored(name: str, operations: Iterable[ET.Element]) -> Iterator[Finding]:
    """L23: operations of a service or an address whose failure has no consequence."""
    for operation in operations:
        what = operation.get("name", "")
        on_fail = operation.get("on-fail") or cib.pairs(operation, "meta_attributes").get("on-fail")
        if on_fail == "ignore" and what in _IGNORED:
            yield Finding("L23", ERROR, name, f"on-fail=ignore of {what}: {_IGNORED[what]}",
                          _BETTER.get(what, "Remove on-fail: what fails is then started again, "
                                            "or elsewhere."))


def shared(root: ET.Element, others: Sequence[tuple[str, ET.Element]]) -> Iterator[Finding]:
    """L24: addresses and names that another cluster has, too. UsageError if it is no other one.

    others: CIBs, each with where it is from. No cluster can see it: each finds its address free on
    its own nodes.
    """
    own = _nodes(root)
    for source, other in others:
        if own and own == _nodes(other):
            raise UsageError(f"{path(source)} is of the same cluster: its nodes are "
                             f"{', '.join(map(shown, sorted(own)))}, too. --other takes the CIB of "
                             "another one")
        theirs = {_plain(value): name for name, value in cib.holders(other).items()}
        for name, value in cib.holders(root).items():
            mate = theirs.get(_plain(value)) if value else None
            if mate is not None:
                yield Finding(
                    "L24", ERROR, name, f"{shown(value)} is that of {shown(mate)} in the cluster "
                    f"of {path(source)}, too: clients reach the one or the other",
                    "Give one of the two clusters another address or name.")


def _nodes(root: ET.Element) -> set[str]:
    return {one.get("uname", "") for one in root.iterfind("configuration/nodes/node")}


def _plain(text: str) -> str:
    """An address or a name in one way of writing."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.lower().rstrip(".")
