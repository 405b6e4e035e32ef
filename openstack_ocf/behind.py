"""The haproxy of a CIB, with the services behind it, and what its section of a description says.

Called by `init`. A haproxy counts where a virtual IP is tied to it and an API of ours that runs on
all nodes can be behind it; all others are left alone.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import cib as cibs
from . import configs
from .survey import Found, Survey
from .words import shown

USUAL = "-W -db -f "
"""What the plan starts haproxy with, before the path."""
_HOOK = re.compile(r'timeout \d+ sh -c "until ss -Hltn src \S+ \| grep -q \.; do sleep 0\.1; done"')


@dataclass(frozen=True)
class Front:
    """A haproxy, the services behind it, and those beside it at the same virtual IPs.

    own: each node's own address, as far as it is known.
    kept: the constraint that keeps a haproxy that is a clone where its address is.
    """

    proxy: Found
    behind: Sequence[Found]
    beside: Sequence[Found]
    own: Mapping[str, str]
    kept: str


def config(proxy: Found) -> str:
    """The path of its configuration, on the node."""
    if proxy.bundle is not None:
        return _mounted(proxy.bundle)
    given = cibs.parameters(proxy.primitive) if proxy.primitive is not None else {}
    try:
        words = shlex.split(given.get("cmdline_options", ""))
    except ValueError:
        words = []
    said = [after for word, after in zip(words, words[1:]) if word == "-f"]
    return said[0] if len(said) == 1 else given.get("conffile") or configs.HAPROXY[0]


def front(survey: Survey, *, here: bool) -> Front | None:
    """The first haproxy that has services behind it. here: its configuration counts, too."""
    for proxy in survey.foreign:
        if not proxy.agent.balances or not proxy.addresses:
            continue
        paths = paths_of(proxy)
        held = {one.address for one in proxy.addresses}
        ports = {port for address, port in configs.behind_haproxy(paths)
                 if address in (*held, "*", "", "::")} if here else set()
        behind = [one for one in survey.services if _can_be_behind(one, proxy, ports)]
        if behind:
            if here:
                _narrow(proxy, behind, paths)
            beside = [one for one in survey.services if one not in behind and one.addresses
                      and _inside(one, proxy)]
            own = _own(behind) or (configs.servers(paths, survey.nodes) if here else {})
            return Front(proxy, behind, beside, own, survey.follows(proxy))
    return None


def _narrow(proxy: Found, behind: Sequence[Found], paths: Sequence[str]) -> None:
    """Leave it the addresses at which it has these services, where its configuration says so."""
    own = {int(port(one) or one.agent.port) for one in behind}
    has = configs.addresses_of(paths, own)
    mine = [one for one in proxy.addresses if one.address in has]
    if mine and has.isdisjoint(("*", "", "::")):
        proxy.addresses = mine


def paths_of(proxy: Found) -> tuple[str, ...]:
    """Where its configuration may be."""
    return tuple(dict.fromkeys((config(proxy), *configs.HAPROXY)))


def section(found: Front) -> tuple[dict[str, str], list[str]]:
    """The keys of its section but those of addresses and ids; and remarks."""
    proxy = found.proxy
    given = cibs.parameters(proxy.primitive) if proxy.primitive is not None else {}
    kind = cibs.agent(proxy.primitive) if proxy.primitive is not None else ""
    values, remarks = {}, []
    class_ = proxy.agent.kind.partition(":")[0]
    if class_ != "ocf":
        values["agent"] = class_
    if config(proxy) != configs.HAPROXY[0]:
        values["config"] = config(proxy)
    if proxy.agent.bundled:
        remarks.append(f"It runs in containers, those of the bundle {proxy.id}. The plan leaves "
                       "the bundle as it is, with its image and configuration, and has the virtual "
                       "IPs where one of it runs.")
    elif proxy.agent.kind != kind:
        remarks.append(f"It is run by {shown(kind)}; the plan has {proxy.agent.kind}, and to "
                       "change that restarts it.")
    elif class_ == "ocf":
        values.update({name: value for name, value in given.items()
                       if value != proxy.agent.defaults.get(name, value)
                       and not _planned(name, value, config(proxy))})
        if "monitor_hook" not in given:
            remarks.append("Its monitor sees a pid alone. The plan adds monitor_hook, so that it "
                           "sees whether haproxy listens; that restarts it.")
    if proxy.clone:
        values["clone"] = proxy.clone
    if found.own:
        values["addresses"] = " ".join(f"{node}={own}" for node, own in found.own.items())
    else:
        remarks.append("Each node's own address, where the services behind it listen, is not known "
                       "here: set addresses = NODE=ADDRESS NODE=ADDRESS.")
    names = ", ".join(one.agent.name for one in found.behind)
    remarks.append(f"Behind it, since they run on all nodes and no address is theirs alone: "
                   f"{names}.")
    if found.kept:
        remarks.append(f"The constraint {found.kept} keeps {proxy.clone or proxy.id} where its "
                       "address is. In "
                       "the plan it runs on all nodes, and the address goes to one of them: remove "
                       "that constraint.")
    if len(proxy.addresses) > 1 and len(found.behind) > 1 and (
            proxy.clone or proxy.agent.bundled):
        remarks.append("All of its virtual IPs are taken for addresses of all these services.")
    return values, remarks


def port(found: Found) -> str:
    """The port of one behind it, where the CIB says another than the usual one; else empty."""
    ports = {int(text) for _, text in _binds(found).values()}
    return str(*ports) if len(ports) == 1 and ports != {found.agent.port} else ""


def _mounted(bundle: ET.Element) -> str:
    """Where a container has haproxy's configuration from."""
    for one in bundle.iterfind("storage/storage-mapping"):
        source, target = one.get("source-dir", ""), one.get("target-dir", "").rstrip("/")
        if target in (configs.HAPROXY[0], os.path.dirname(configs.HAPROXY[0])):
            return source.rstrip("/") + configs.HAPROXY[0].removeprefix(target)
        if source and configs.HAPROXY[1].startswith(source):
            return configs.HAPROXY[1]
    return configs.HAPROXY[0]


def _can_be_behind(found: Found, proxy: Found, ports: set[int]) -> bool:
    if not found.agent.api or found.agent.kind or found.names:
        return False
    if found.primitive is not None and not found.clone:
        return False
    return _inside(found, proxy) and (not ports or int(port(found) or found.agent.port) in ports)


def _inside(found: Found, proxy: Found) -> bool:
    """Whether it has no other addresses than the haproxy."""
    return {one.id for one in found.addresses} <= {one.id for one in proxy.addresses}


def _binds(found: Found) -> dict[str, tuple[str, str]]:
    """Address and port by node, of what uWSGI serves."""
    there = cibs.by_node(found.primitive) if found.primitive is not None else {}
    binds = {}
    for node, values in there.items():
        host, _, number = values.get("bind", "").rpartition(":")
        if number.isascii() and number.isdigit() and len(number) < 6 and _address(host.strip("[]")):
            binds[node] = (host.strip("[]"), number)
    return binds


def _own(behind: Sequence[Found]) -> dict[str, str]:
    """Each node's own address; the first service that says one has it."""
    own: dict[str, str] = {}
    for found in behind:
        for node, (host, _) in _binds(found).items():
            own.setdefault(node, host)
    return own


def _address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _planned(name: str, value: str, path: str) -> bool:
    """Whether the plan says it by itself."""
    return (name == "cmdline_options" and value == f"{USUAL}{shlex.quote(path)}") or (
        name == "monitor_hook" and _HOOK.fullmatch(value) is not None)
