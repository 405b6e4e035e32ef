"""The agents as they describe themselves: parameters, advertised timeouts, where they may run.

It is what their meta-data says, and for options of the service the declaration. An agent is loaded
as a module rather than run: all 70 take 50 ms this way.
"""

from __future__ import annotations

import functools
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from .errors import CannotLookError
from .seconds import seconds
from .words import nearest

_HERE = Path(__file__).resolve().parents
_DEFAULTS = {"neutron": "neutron-server"}
"""Projects whose API is not called PROJECT-api."""

_PLACEMENT = ("keystone", "placement-api", "nova-placement-api")
_FIRST = {"nova-conductor": _PLACEMENT, "nova-scheduler": _PLACEMENT}
"""What a daemon cannot start without: it ends by itself, where all others wait."""

UNUSED = "(not used)"
"""Stands in the title of a parameter that is accepted for the sake of older agents."""


@dataclass(frozen=True)
class Operation:
    """An advertised action: timeout and interval in seconds; depth is the check level."""

    name: str
    timeout: int
    interval: int
    depth: str


@dataclass(frozen=True)
class Agent:
    """What one agent says about itself.

    defaults: of the parameters, by name. gone: since when there is no such daemon.
    nodes: `clone` (all nodes), `each` (all nodes, once on each) or `one` (one at a time).
    port: the default one of an API, 0 for a worker.
    listen, listen_port: the options of its configuration that say where it listens, and
        listen_section theirs; empty where none does.
    kind: class, provider and type of an agent of others, or `bundle`; empty for ours.
    balances: whether it has no port of its own, but those of the services behind it.
    """

    name: str
    defaults: dict[str, str]
    operations: tuple[Operation, ...]
    gone: str
    nodes: str
    port: int
    listen: str
    listen_port: str
    listen_section: str
    kind: str = ""
    balances: bool = False

    @property
    def spec(self) -> tuple[str, str, str]:
        """Class, provider and type, as a CIB has them; only the class ocf has providers."""
        kind, *provider, type_ = (self.kind or f"ocf:openstack:{self.name}").split(":")
        return kind, "".join(provider), type_

    @property
    def bundled(self) -> bool:
        """Whether it is a <bundle> of a CIB, which a plan counts on and does not make."""
        return self.kind == "bundle"

    @property
    def api(self) -> bool:
        """Whether clients connect to it, so that it has a virtual IP."""
        return self.port > 0 or self.balances

    @property
    def first(self) -> tuple[str, ...]:
        """The agents whose services its daemon ends without, where others wait for them."""
        return _FIRST.get(self.name, ())

    def timeout(self, action: str) -> int:
        """The advertised timeout of an action."""
        return next(one.timeout for one in self.operations if one.name == action)


def folder() -> Path:
    """Where the agents are: ocf/ of a checkout, else resource.d/openstack beside the library."""
    for candidate in (_HERE[1] / "ocf", _HERE[3] / "resource.d" / "openstack"):
        if candidate.is_dir():
            return candidate
    raise CannotLookError("the agents are not installed beside this command: run make install")


@functools.cache
def names() -> tuple[str, ...]:
    """The names of our own agents; others may be in the same folder."""
    found = []
    for path in sorted(folder().iterdir()):
        if path.is_file() and not set(path.name) & set(".~"):
            with path.open("rb") as file:
                if b"\nfrom agentlib" in file.read(4096):
                    found.append(path.name)
    if not found:
        raise CannotLookError(f"{folder()} has none of our agents: run make install")
    return tuple(found)


@functools.cache
def get(name: str) -> Agent | None:
    """An agent by its name; None if there is none."""
    return _read(declaration(name)) if name in names() else None


def named(section: str) -> Agent | None:
    """The agent that a section's name stands for: the agent's own, or the API of a project."""
    candidates = (section, f"{section}-api", _DEFAULTS.get(section, ""))
    return next(filter(None, map(get, candidates)), None)


def like(section: str, others: tuple[str, ...] = ()) -> str:
    """The nearest name of an agent or project, or of others; empty if none is near."""
    projects = {name.partition("-")[0] for name in names() if name.endswith("-api")}
    return nearest(section, [*names(), *projects, *_DEFAULTS, *others])


def declaration(name: str) -> Any:
    """The agentlib Agent that an executable declares. CannotLookError if it cannot be loaded."""
    path = folder() / name
    loader = SourceFileLoader(f"agent_{name.replace('-', '_')}", str(path))
    spec = spec_from_loader(loader.name, loader)
    if spec is None:
        raise CannotLookError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module.AGENT


def _read(declared: Any) -> Agent:
    root = ET.fromstring(declared.metadata())  # noqa: S314 - our own
    uwsgi = getattr(getattr(declared.manages, "daemon", None), "uwsgi", None)
    listen = (*uwsgi.listen, uwsgi.listen_section) if uwsgi and uwsgi.listen else ("", "", "")
    text = _text(root, "longdesc")
    bind = next((_text(one, "longdesc") for one in root.iter("parameter")
                 if one.get("name") == "bind"), "")
    port = re.search(r"By default port (\d+)", bind)
    gone = re.search(r"no such daemon since (.*?)\. A resource", text)
    nodes = ("one" if "must run on one node at a time" in text else
             "each" if "but once on each" in text else "clone")
    return Agent(
        name=root.get("name", ""),
        defaults={one.get("name", ""): _default(one) for one in root.iter("parameter")},
        operations=tuple(_operation(one) for one in root.iter("action")),
        gone=gone[1] if gone else "",
        nodes=nodes,
        port=int(port[1]) if port else 0,
        listen=listen[0],
        listen_port=listen[1],
        listen_section=listen[2],
    )


def _default(parameter: ET.Element) -> str:
    content = parameter.find("content")
    return content.get("default", "") if content is not None else ""


def _operation(action: ET.Element) -> Operation:
    return Operation(
        action.get("name", ""), int(seconds(action.get("timeout", "")) or 0),
        int(seconds(action.get("interval", "")) or 0), action.get("depth", ""))


def _text(element: ET.Element, name: str) -> str:
    return " ".join((element.findtext(name) or "").split())
