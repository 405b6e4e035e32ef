"""What becomes of the resources of a CIB when our agents replace the older ones of the same names.

Called by `clusterverbs` for `lint --takeover`. It is asked of the agents' own declarations: which
parameters they know and refuse, where they look for a pidfile, and whether they would know the
process that an older agent has started. Nothing is looked at but the CIB.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agentlib.errors import AgentError

from . import agents, cib, looking
from .agents import UNUSED
from .errors import UsageError
from .words import nearest, shown

TAKEN = "taken over as it runs"
RESTARTS = "restarts"
ENDS = "goes on as it runs, and is never started again"
STAYS = "stays as it is"

OLDER: Mapping[str, Mapping[str, str]] = {
    "ceilometer-agent-central": {"binary": "ceilometer-agent-central"},
    "manila-api": {"pid": "$HA_RSCTMP/manila.pid"},
    "neutron-server": {
        "plugin_config": "/etc/neutron/plugins/openvswitch/ovs_neutron_plugin.ini"},
}
"""Defaults of the older agents that differ from ours, of the parameters that identify a process or
start it; a `pid` that is not here is as ours: $HA_RSCTMP/$OCF_RESOURCE_INSTANCE.pid."""
STARTED_WITH = ("binary", "config", "user", "pid", "plugin_config", "agent_config")
OURS_ALONE = ("os_project_name", "os_user_domain_name", "os_project_domain_name", "server", "bind",
              "keystone_failure", "shutdown_timeout", "allow_anonymous")
"""Parameters that no older agent has: a resource with one of them is run by ours already."""

_UNITS = ("systemd", "service", "lsb", "upstart")


@dataclass
class Takeover:
    """One resource. unchanged: whether all of its parameters mean what they meant.

    why: what else is to be known, each in one sentence.
    """

    resource: str
    agent: str
    becomes: str = STAYS
    unchanged: bool = True
    why: list[str] = field(default_factory=list)


def takeover(root: ET.Element) -> list[Takeover]:
    """All primitives of a CIB, and bundles without any, in its order."""
    parents = cib.parents(root)
    return [_one(root, one, parents) if one.tag == "primitive" else _containers(one)
            for one in root.iterfind("configuration/resources//*")
            if one.tag == "primitive" or (one.tag == "bundle" and one.find("primitive") is None)]


def show(found: Sequence[Takeover], form: str) -> int:
    """Print it, as `text` or `json`; 1 where something of ours would not run on, else 0."""
    if form == "json":
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            unchanged = "maps unchanged; " if one.unchanged and one.becomes != STAYS else ""
            print(f"{shown(one.resource)} ({shown(one.agent)}): {unchanged}{one.becomes}")
            for why in one.why:
                print(f"    {why}")
    return int(any(one.becomes in (RESTARTS, ENDS) for one in found))


def _one(root: ET.Element, primitive: ET.Element, parents: Mapping[ET.Element, ET.Element],
         ) -> Takeover:
    template = cib.by_id(root, primitive.get("template", ""))
    kind = template if template is not None and not primitive.get("type") else primitive
    found = Takeover(primitive.get("id", ""), cib.agent(kind) or "no type")
    parent = parents.get(primitive)
    if parent is not None and parent.tag == "bundle":
        found.why.append(f"It runs in a container, of {shown(parent.get('id', ''))}, which has no "
                         "agent of ours.")
    elif kind.get("provider") == "openstack":
        given = {**(cib.parameters(template) if template is not None else {}),
                 **cib.parameters(primitive)}
        _ours(found, kind.get("type", ""), given)
        if any(one.find("rule") is not None for one in primitive.iterfind("instance_attributes")):
            found.why.append("Parameters that a rule chooses were left out here.")
    elif kind.get("class") in _UNITS:
        _unit(found, kind.get("class", ""), kind.get("type", ""))
    elif kind.get("type") == "IPv6addr":
        found.why.append("IPaddr2 takes IPv6 as well; to change the type restarts it.")
    return found


def _containers(bundle: ET.Element) -> Takeover:
    """A bundle that runs a program in containers, without an agent in them."""
    found = Takeover(bundle.get("id", ""), "a bundle")
    found.why.append("It runs in containers, by no agent.")
    agent = _agent_of(bundle.get("id", "").removesuffix("-bundle"))
    if agent:
        found.why.append(f"To run it by ocf:openstack:{agent} on the node itself, remove the "
                         "bundle first: it is down in between.")
    return found


# --- agents of the same names -------------------------------------------------------------------


def _ours(found: Takeover, name: str, given: Mapping[str, str]) -> None:
    agent = agents.get(name)
    if agent is None:
        near = agents.like(name)
        found.why.append(f"There is no agent ocf:openstack:{shown(name)} of ours; its own goes on"
                         + (f". The nearest is {near}." if near else "."))
        return
    declared = agents.declaration(name)
    found.becomes = TAKEN
    found.why += _parameters(found, declared, given)
    try:
        resource = looking.resource(declared, found.resource, given)
    except UsageError as error:
        found.becomes, found.why = STAYS, [f"{error}."]
        return
    older = OLDER.get(name, {})
    strange = "" if set(OURS_ALONE) & set(given) else _unknown(resource, older, given)
    if strange:
        found.becomes, found.unchanged = RESTARTS, False
        found.why += [strange, f"Stop it under the older agent, install ours, start it: "
                      f"crm resource stop {shown(found.resource)}"]
    elif agent.gone:
        found.becomes = ENDS
        found.why.append(f"OpenStack has no {name} since {agent.gone}. What runs is monitored, and "
                         "can be stopped.")
    else:
        found.why += _refused(found, resource)
        found.why += [f"From its next start on {one} is {shown(agent.defaults[one])}; the older "
                      f"agent's default was {value}." for one, value in older.items()
                      if not given.get(one) and one not in ("binary", "pid")]


def _parameters(found: Takeover, declared: Any, given: Mapping[str, str]) -> Iterator[str]:
    known = {one.name: one for one in declared.manages.parameters}
    for name in given:
        if name not in known:
            near = nearest(name, known)
            found.unchanged = False
            yield (f"{shown(name)} is no parameter of ours, and has no effect"
                   + (f"; the nearest is {near}." if near else "."))
    unused = [name for name in given if name in known and UNUSED in known[name].shortdesc]
    if unused:
        yield f"Accepted and not used: {', '.join(unused)}."
    url = given.get("url", "")
    if declared.name == "cinder-api" and url.rstrip("/").endswith("/v1"):
        found.unchanged = False
        yield (f"url={shown(url)}: no release serves that; the monitor fails. Remove url before: "
               "the agent sees where the server listens.")


@dataclass
class _Process:
    """A process as an older agent has started it."""

    words: Sequence[str]

    def arguments(self) -> Sequence[str]:
        """Its command line."""
        return self.words


def _unknown(resource: Any, older: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Why our agent would not know the process that an older one has started; empty if it does."""
    values, daemon = resource.values, resource.daemon
    if "pid" in older and not given.get("pid"):
        return (f"The older agent's pidfile is {older['pid']}, and ours looks for it as "
                f"$HA_RSCTMP/{shown(resource.environment.instance)}.pid.")
    binary = given.get("binary") or older.get("binary") or values.text("binary")
    started = ["/usr/bin/python3", binary, f"--config-file={values.text('config')}"]
    if daemon.resembles(values)(_Process(started)):
        return ""
    if daemon.uwsgi and values.text("server") == "uwsgi":
        return (f"Ours is served by uWSGI, and does not know a {shown(binary)} that runs by "
                "itself.")
    return (f"The older agent's binary is {shown(binary)}, and ours looks for "
            f"{shown(values.text('binary'))}.")


def _refused(found: Takeover, resource: Any) -> Iterator[str]:
    try:
        resource.validate()
    except AgentError as error:
        found.unchanged = False
        yield (f"Until this is mended it does not start again (exit code {int(error.exit_code)}), "
               f"and its monitor may be degraded (190): {error}.")


# --- what another program runs ------------------------------------------------------------------


def _unit(found: Takeover, class_: str, unit: str) -> None:
    """A unit of the init system, as TripleO and distributions have them."""
    agent = _agent_of(unit.removesuffix(".service"))
    if agent:
        found.why.append(
            f"To run it by ocf:openstack:{agent} instead of {class_} restarts it: Pacemaker stops "
            "a resource whose type changes, and starts it anew.")


def _agent_of(name: str) -> str:
    """The agent of ours for what distributions and TripleO call so; empty if there is none."""
    for wanted in (name.removeprefix("openstack-"), name):
        for one in filter(None, map(agents.get, agents.names())):
            if not one.gone and wanted in (one.name, one.defaults["binary"]):
                return one.name
    return ""
