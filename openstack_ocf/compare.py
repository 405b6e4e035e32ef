"""What a node has, as JSON, and where several nodes differ. Rows X1 and X2.

No secret is in it: of an option that may have one, it says only whether it is set.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from agentlib.secrets import scrubbed

from . import agents
from .errors import CannotLookError, UsageError
from .finding import Finding
from .reading import whole
from .rows import found
from .run import run
from .subject import Subject, Surroundings
from .words import path as path_
from .words import shown

FORMAT = "openstack-ocf facts 1"
LIMIT = 16 << 20
"""Bytes of a file of facts."""
_SECRET = re.compile(r"passw|passphrase|pass$|pwd|secret|token(?!_)|_key$|^key$|credential|"
                     r"connection|transport_url")
_OWN = re.compile(r"host$|_ip$|^ip$|listen|self_reference|_address$")
"""Options that may be a node's own."""
_COMMON = ("pacemaker", "corosync", "resource-agents", "crmsh", "pcs", "python3-keystoneauth1",
           "python3-requests")


def facts(subjects: Sequence[Subject], around: Surroundings) -> str:
    """What is to be the same on all nodes, as JSON."""
    options: dict[str, dict[str, str]] = {}
    for subject in subjects:
        mine = options.setdefault(subject.agent.name, {})
        for (section, name), (value, _) in subject.config.raw.items():
            mine[f"{section}/{name}"] = _shown(name, value, around)
        for path, why in subject.config.unreadable.items():
            mine[path] = f"cannot be read: {why}"
    return json.dumps({
        "format": FORMAT, "node": socket.gethostname(), "options": options,
        "packages": _packages(subjects), "agents": _agents()}, indent=2, sort_keys=True) + "\n"


def compare(paths: Sequence[str]) -> list[Finding]:
    """X1, X2: what differs between the nodes of several files of facts; UsageError for others."""
    if len(paths) < 2:
        raise UsageError("--compare takes two files or more; on each node: "
                         "openstack-ocf check --facts > NODE.json")
    nodes = [_read(path) for path in paths]
    return list(_differences(nodes))


def _differences(nodes: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    names = [shown(str(node.get("node", "?"))) for node in nodes]
    for service in sorted({name for node in nodes for name in node["options"]}):
        there = [node["options"].get(service) for node in nodes]
        lacking = [name for name, one in zip(names, there) if one is None]
        if lacking:
            yield found("X1", shown(service), f"it is not on {', '.join(lacking)}",
                        "Install and configure it there, or look at that node's description.")
        own = [one for one in there if one is not None]
        having = [name for name, one in zip(names, there) if one is not None]
        for option in sorted({name for one in own for name in one}):
            values = [str(one.get(option, "(not set)")) for one in own]
            if len(set(values)) > 1:
                yield found("X1", f"{shown(service)}:{shown(option)}", _said(having, values),
                            "Write the same on every node.")
    packages = [node["packages"] for node in nodes]
    for package in sorted({name for one in packages for name in one}):
        values = [str(one.get(package, "(not installed)")) for one in packages]
        if len(set(values)) > 1:
            yield found("X2", f"package {shown(package)}", _said(names, values),
                        "Install the same release on every node.")
    values = [str(node.get("agents", "")) for node in nodes]
    if len(set(values)) > 1:
        yield found("X2", "agents", _said(names, [value[:12] for value in values]),
                    "Run make install from the same source on every node.")


def _said(names: Sequence[str], values: Sequence[str]) -> str:
    return "; ".join(f"{name}: {shown(value)}" for name, value in zip(names, values))


def _read(path: str) -> dict[str, Any]:
    try:
        node = json.loads(whole(path, LIMIT))
    except (ValueError, RecursionError):
        node = None
    sound = isinstance(node, dict) and node.get("format") == FORMAT and all(
        isinstance(node.get(name), dict) for name in ("options", "packages"))
    if not sound or not all(isinstance(one, dict) for one in node["options"].values()):
        raise UsageError(f"{path_(path)} has no facts of a node: make them by openstack-ocf check "
                         "--facts")
    found_: dict[str, Any] = node
    return found_


def _shown(name: str, value: str, around: Surroundings) -> str:
    if _SECRET.search(name.lower()):
        return "(set)" if value else ""
    if _OWN.search(name) and value.strip().lower() in around.own:
        return "(this node)"
    return scrubbed(value)


def _packages(subjects: Sequence[Subject]) -> dict[str, str]:
    wanted = {*_COMMON}
    for one in subjects:
        wanted |= {one.agent.name, one.parameter("binary"), f"python3-{one.project}",
                   f"{one.project}-common"}
    try:
        done = run(["dpkg-query", "--show", "--showformat=${Package} ${Version} "
                    "${db:Status-Status}\n", *sorted(filter(None, wanted))], timeout=30)
    except CannotLookError:
        return {}
    lines = [line.split() for line in done.output.splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 3 and line[2] == "installed"}


def _agents() -> str:
    """A digest of our agents and their library."""
    folder = agents.folder()
    digest = hashlib.sha256()
    files = [folder / name for name in agents.names()]
    for path in [*files, *sorted((folder / "agentlib").glob("*.py"))]:
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
