"""The CIB, Pacemaker's configuration and state: a node's first CIB, and what it contains later.

Called by `lab.node` for the first CIB, and by `lab.cluster` for the history of operations and for
what crm_mon says. Nothing in here talks to a cluster: text in, values out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from lab.errors import LabError

PROPERTIES = {
    "no-quorum-policy": "stop",
    "dc-deadtime": "1s",  # the default, 20 s, would be most of the time to come up
    "cluster-recheck-interval": "60s",
    # On a busy machine Pacemaker does one thing at a time (the default is 80%), and a service that
    # fails again and again keeps it from monitoring the others. The load is the whole machine's.
    "load-threshold": "10000%",
}
PATIENT = "5s"
"""dc-deadtime of three nodes with fencing: two of them have quorum, and would fence the third while
it still boots. (Two nodes wait for each other: corosync's two_node implies that.)"""
BOOTSTRAP = "cib-bootstrap-options"
FENCE_AGENT = "fence_lab"
DELAY = "2s"
"""Delay before node1 is fenced, when each of two nodes takes the other one for lost: without it
each could fence the other."""


@dataclass(frozen=True)
class NodeStatus:
    """A node, as seen by the node that was asked."""

    name: str
    online: bool
    pending: bool
    standby: bool
    maintenance: bool
    unclean: bool


@dataclass(frozen=True)
class ResourceStatus:
    """A resource; of a clone all instances in one.

    agent: ocf:openstack:glance-api. role: Started, Stopped, Promoted, Unpromoted, Starting.
    nodes: where it is active. blocked: Pacemaker does nothing about it any more.
    """

    name: str
    agent: str
    role: str
    nodes: tuple[str, ...]
    failed: bool
    managed: bool
    blocked: bool

    @property
    def node(self) -> str:
        """The node that the resource is active on, "" if there is none."""
        return self.nodes[0] if self.nodes else ""


@dataclass(frozen=True)
class Failure:
    """A line under "Failed Resource Actions"; with code 190, a resource that is degraded."""

    resource: str
    operation: str
    node: str
    code: int
    status: str
    reason: str


@dataclass(frozen=True)
class Status:
    """What crm_mon shows.

    dc: name of the designated coordinator, "" while there is none. fail_counts: by resource and
    node; a missing one is 0, and 1000000 is Pacemaker's infinity. devices: the fence devices, which
    are not among the resources.
    """

    dc: str
    quorum: bool
    nodes: Mapping[str, NodeStatus]
    resources: Mapping[str, ResourceStatus]
    failures: tuple[Failure, ...]
    fail_counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    devices: Mapping[str, ResourceStatus] = field(default_factory=dict)

    def online(self, *names: str) -> bool:
        """Whether all of these nodes are online, and none is pending."""
        found = [self.nodes.get(name) for name in names]
        return all(node and node.online and not node.pending for node in found)

    def where(self, resource: str) -> str:
        """The node that a resource is started on, "" if there is none or it is not known."""
        found = self.resources.get(resource)
        return found.node if found and found.role == "Started" else ""

    def failed(self, resource: str) -> list[Failure]:
        """The failures of one resource."""
        return [failure for failure in self.failures if failure.resource == resource]


@dataclass(frozen=True)
class Operation:
    """One operation of a resource; the CIB keeps the last of each kind for each node.

    interval, seconds: in seconds; seconds is how long it took. code: what the agent returned.
    status: 0 done, 1 cancelled, 2 timed out, 4 failed, -1 still running. at: when the result became
    this one, in seconds of the epoch.
    """

    node: str
    resource: str
    operation: str
    interval: float
    call: int
    code: int
    status: int
    reason: str
    at: int
    seconds: float

    @property
    def probe(self) -> bool:
        """Whether it is a probe: a monitor with interval 0."""
        return self.operation == "monitor" and self.interval == 0


def seed(properties: Mapping[str, str], fenced: Sequence[str]) -> str:
    """A CIB for the installed Pacemaker: these properties beside ours, and the fence devices.

    fenced: the names of the nodes; each gets a fence device. Without names there is no fencing.
    """
    try:
        empty = subprocess.run(["cibadmin", "--empty"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError(f"no empty CIB: {error}; run: python3 -m lab.cluster install") from None
    root = _parse(empty.stdout, "cibadmin")
    config = root.find("configuration/crm_config")
    resources = root.find("configuration/resources")
    if config is None or resources is None:
        raise LabError("cibadmin --empty gives a CIB without crm_config or resources")
    options = ElementTree.SubElement(config, "cluster_property_set", id=BOOTSTRAP)
    ours = {**PROPERTIES, "stonith-enabled": "true" if fenced else "false"}
    if len(fenced) > 2:
        ours["dc-deadtime"] = PATIENT
    for name, value in {**ours, **properties}.items():
        _nvpair(options, name, value)
    resources.extend(_device(name, fenced) for name in fenced)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def devices(fenced: Sequence[str]) -> str:
    """The resources section of `seed`, as XML: the fence devices of these nodes, or nothing."""
    resources = ElementTree.Element("resources")
    resources.extend(_device(name, fenced) for name in fenced)
    return ElementTree.tostring(resources, encoding="unicode")


def device(node: str) -> str:
    """The name of the resource that fences a node."""
    return f"fence_{node}"


def _device(node: str, nodes: Sequence[str]) -> ElementTree.Element:
    """The fence device of this node. Of two nodes the first is fenced with a delay."""
    name = device(node)
    primitive = ElementTree.Element(
        "primitive", {"id": name, "class": "stonith", "type": FENCE_AGENT}
    )
    parameters = ElementTree.SubElement(
        primitive, "instance_attributes", id=f"{name}-instance_attributes"
    )
    _nvpair(parameters, "pcmk_host_list", node)
    if len(nodes) == 2 and node == nodes[0]:
        _nvpair(parameters, "pcmk_delay_base", DELAY)
    operations = ElementTree.SubElement(primitive, "operations")
    monitor = {"name": "monitor", "interval": "60s", "timeout": "60s"}
    ElementTree.SubElement(operations, "op", {"id": f"{name}-monitor-60s", **monitor})
    return primitive


def _nvpair(parent: ElementTree.Element, name: str, value: str) -> None:
    pair = {"id": f"{parent.get('id')}-{name}", "name": name, "value": value}
    ElementTree.SubElement(parent, "nvpair", pair)


def status(text: str) -> Status:
    """What `crm_mon --output-as=xml` said."""
    root = _parse(text, "crm_mon")
    dc = root.find("summary/current_dc")
    known = {} if dc is None else dc.attrib
    counts = {
        (resource.get("id", ""), node.get("name", "")): int(resource.get("fail-count", "0"))
        for node in root.iterfind("node_history/node")
        for resource in node.iterfind("resource_history")
        if resource.get("fail-count")
    }
    everything = _resources(root)
    fences = {name for name, found in everything.items() if found.agent.startswith("stonith:")}
    return Status(
        dc=known.get("name", ""),
        quorum=known.get("with_quorum") == "true",
        nodes={node.name: node for node in map(_node, root.iterfind("nodes/node"))},
        resources={name: one for name, one in everything.items() if name not in fences},
        failures=tuple(map(_failure, root.iterfind("failures/failure"))),
        fail_counts=counts,
        devices={name: everything[name] for name in fences},
    )


def history(text: str, resource: str) -> list[Operation]:
    """The operations of a resource in the status section of a CIB, the oldest first."""
    return sorted(_operations(text, resource), key=lambda found: (found.at, found.call))


def _operations(text: str, resource: str) -> Iterator[Operation]:
    for state in _parse(text, "cibadmin").iter("node_state"):
        for entry in state.iter("lrm_resource"):
            # An instance of a clone is called p:0.
            if entry.get("id", "").partition(":")[0] != resource:
                continue
            for found in entry.iter("lrm_rsc_op"):
                yield Operation(
                    node=state.get("uname", ""),
                    resource=entry.get("id", ""),
                    operation=found.get("operation", ""),
                    interval=int(found.get("interval", "0")) / 1000,
                    call=int(found.get("call-id", "0")),
                    code=int(found.get("rc-code", "-1")),
                    status=int(found.get("op-status", "-1")),
                    reason=found.get("exit-reason", ""),
                    at=int(found.get("last-rc-change", "0")),
                    seconds=int(found.get("exec-time", "0")) / 1000,
                )


def _node(element: ElementTree.Element) -> NodeStatus:
    flags = ("online", "pending", "standby", "maintenance", "unclean")
    return NodeStatus(element.get("name", ""), **{flag: _true(element, flag) for flag in flags})


def _resources(root: ElementTree.Element) -> dict[str, ResourceStatus]:
    found: dict[str, list[ElementTree.Element]] = {}
    for element in root.iterfind("resources//resource"):
        found.setdefault(element.get("id", "").partition(":")[0], []).append(element)
    return {name: _resource(name, instances) for name, instances in found.items()}


def _resource(name: str, instances: list[ElementTree.Element]) -> ResourceStatus:
    shown = next((one for one in instances if _true(one, "active")), instances[0])
    nodes = sorted(node.get("name", "") for one in instances for node in one.iterfind("node"))
    return ResourceStatus(
        name,
        agent=shown.get("resource_agent", ""),
        role=shown.get("role", ""),
        nodes=tuple(nodes),
        failed=any(_true(one, "failed") for one in instances),
        managed=all(_true(one, "managed") for one in instances),
        blocked=any(_true(one, "blocked") for one in instances),
    )


def _failure(element: ElementTree.Element) -> Failure:
    operation = element.get("task", "")
    return Failure(
        # p_glance-api_monitor_30000
        resource=element.get("op_key", "").rpartition(f"_{operation}_")[0],
        operation=operation,
        node=element.get("node", ""),
        code=int(element.get("exitcode", "-1")),
        status=element.get("status", ""),
        reason=element.get("exitreason", ""),
    )


def _true(element: ElementTree.Element, name: str) -> bool:
    return element.get(name) == "true"


def _parse(text: str, source: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - Pacemaker's own, on this machine
    except ElementTree.ParseError as error:
        raise LabError(f"the output of {source} is not XML: {error}") from None
