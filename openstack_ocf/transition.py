"""What Pacemaker is going to do after a change, in words. Called by `change`."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy

from . import agents, pacemaker
from . import cib as cibs
from .pacemaker import Action, Simulated

# What is recovered has failed: it does not run as it is.
_HARMLESS = ("start", "reload", "reload-agent", "recover")
_WORDS = {
    "start": "starts on {node}",
    "stop": "stops on {node}",
    "restart": "restarts on {node}",
    "recover": "is stopped on {node} and started again, since it has failed",
    "reload": "reads its parameters anew on {node}; its processes go on",
    "move": "stops on {node}, and starts on {target}",
    "migrate": "moves from {node} to {target} as it runs",
    "promote": "is promoted on {node}",
    "demote": "is demoted on {node}",
    "fence": "is fenced",
}


def foretell(before: ET.Element, after: ET.Element) -> Simulated:
    """The actions that a change causes, without those that Pacemaker would do anyway."""
    anyway = pacemaker.simulate(before).actions
    found = pacemaker.simulate(after)
    return Simulated(tuple(one for one in found.actions if one not in anyway), found.active)


def without_maintenance(cib: ET.Element) -> ET.Element:
    """A copy of a CIB in which maintenance has ended."""
    copy = deepcopy(cib)
    for pair in copy.iterfind("configuration/crm_config/*/nvpair[@name='maintenance-mode']"):
        pair.set("value", "false")
    return copy


def disruptive(actions: Iterable[Action]) -> list[Action]:
    """The actions that end what runs."""
    return [one for one in actions if one.what not in _HARMLESS]


def words(simulated: Simulated, before: ET.Element, after: ET.Element,
          ours: Sequence[str]) -> Iterator[str]:
    """A line for each action, then for each kind of client that notices."""
    old, new = cibs.virtual_ips(before), cibs.virtual_ips(after)
    for one in simulated.actions:
        text = _WORDS.get(one.what, f"{one.what} on {{node}}")
        name, why = one.resource, ""
        if old.get(name) and new.get(name) and old[name] != new[name]:
            why = f": {old[name]} becomes {new[name]}"
        elif one.reason and one.what not in _HARMLESS:
            why = f": {_why(one.reason)}"
        yield f"{name} {text.format(node=one.node or 'no node', target=one.target)}{why}"
    for name in ours:
        if name not in simulated.active:
            yield f"{name} starts on no node"
    yield from dict.fromkeys(_clients(simulated.actions, before, old, new))


def _why(reason: str) -> str:
    needed = re.fullmatch(r"required (\S+) \w+", reason)
    if needed:
        return f"it needs {needed[1]}"
    return {"resource definition change": "its definition changes"}.get(reason, reason)


def _clients(actions: Iterable[Action], before: ET.Element, old: dict[str, str],
             new: dict[str, str]) -> Iterator[str]:
    types = {one.get("id", ""): one for one in cibs.resources(before)}
    for one in disruptive(actions):
        name = one.resource
        if name in old:
            if new.get(name) == old[name]:
                if one.what == "stop":
                    yield f"Clients: {old[name]} cannot be reached any more"
                else:
                    yield f"Clients: connections to {old[name]} break; it is back in seconds"
            elif name in new:
                yield f"Clients: {old[name]} is gone for good; they have to use {new[name]}"
            else:
                yield f"Clients: {old[name]} is gone for good"
        elif name in types and cibs.agent(types[name]).startswith("ocf:openstack:"):
            agent = agents.get(types[name].get("type", ""))
            if agent is None or not agent.api:
                continue
            until = "" if one.what == "stop" else " until it has started again"
            yield f"Clients: {agent.name} gives no answer{until}"
