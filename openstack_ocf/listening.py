"""Where an API listens, beside where clients are sent to. Rows B and U2."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from agentlib import sockets
from agentlib.deadline import Deadline
from agentlib.process import Process

from . import configs, node
from .finding import Finding
from .rows import found
from .subject import Subject
from .vips import address
from .words import shown

_SYSCTL = Path("/proc/sys/net")


def listening(subject: Subject) -> Iterator[Finding]:
    """B1, B2: address and port."""
    if not subject.agent.api:
        return
    host, port, where = _bound(subject)
    if subject.port and port and port != str(subject.port):
        yield found("B1", where[1], f"the port is {shown(port)}, and clients are sent to "
                    f"{subject.port}", f"Write {subject.port}, or set port in the description.")
    one = address(host.strip("[]"))
    if not host or not subject.ha:
        return
    if one and one.is_unspecified:
        if subject.proxy:
            yield found("B1", where[0], f"it listens on {one}, all addresses, and haproxy is to "
                        "have the port at the virtual IP", _remedy(subject))
        return
    remedy = _remedy(subject)
    if one is None:
        yield found("B1", where[0], f"it listens on {shown(host)}, which is a name: another "
                    "address on each node", remedy)
    elif subject.active_active:
        if one in subject.vips:
            yield found("B1", where[0], f"it listens on the virtual IP {one}, which only one node "
                        "has, and is to run on all", remedy)
        elif one.is_loopback:
            yield found("B1", where[0], f"it listens on {one}, which no client reaches", remedy)
    elif len(subject.vips) > 1:
        yield found("B2", where[0], f"it listens on {one} alone, and there are "
                    f"{len(subject.vips)} virtual IPs", remedy)
    elif subject.vips and one not in subject.vips:
        yield found("B1", where[0], f"it listens on {one}, and the virtual IP is "
                    f"{subject.vips[0]}", remedy)
    elif one.is_loopback:
        yield found("B1", where[0], f"it listens on {one}, which no client reaches", remedy)


def behind_haproxy(subject: Subject) -> Iterator[Finding]:
    """B4: whether haproxy's configuration on this node has the port."""
    there = configs.behind_haproxy((subject.proxy,)) if subject.proxy else []
    for vip in subject.vips if subject.proxy else ():
        # On all addresses it would want the port of the service beside it.
        if not any(port == subject.port and address(host) == vip for host, port in there):
            where = f"[{vip}]" if vip.version == 6 else f"{vip}"
            yield found("B4", subject.proxy, f"there is no bind {where}:{subject.port}, for "
                        f"{subject.agent.name}",
                        "Add it where the configuration of the containers is made."
                        if subject.contained else
                        f"Run: openstack-ocf plan --as haproxy > {subject.proxy}")


def nonlocal_bind(subjects: list[Subject]) -> Iterator[Finding]:
    """B3: a setting of the kernel, once for each family that has virtual IPs."""
    for version in sorted({vip.version for one in subjects for vip in one.vips}):
        name = f"ipv{version}/ip_nonlocal_bind"
        try:
            value = (_SYSCTL / name).read_text("ascii").strip()
        except OSError:
            continue
        if value == "1":
            name = f"net.{name.replace('/', '.')}"
            yield found("B3", name, "servers may listen on addresses that are not on this node",
                        f"Set {name} = 0, unless a server of yours needs it.")


def port_taken(subject: Subject) -> Iterator[Finding]:
    """U2: another program on the service's port."""
    if not subject.agent.api or not subject.port:
        return
    holder = _holder(subject.port)
    words = " ".join(holder.arguments()) if holder else ""
    # uWSGI may have a title of its own; whose it is is not known then.
    mine = {subject.parameter("binary"), subject.agent.name, subject.project, "uwsgi", "apache2",
            "httpd", "haproxy"}
    if words and not any(one and one in words for one in mine):
        # Arguments are not shown: there may be a secret among them.
        program = Path(words.split(" ")[0]).name.rstrip(":")
        yield found("U2", f"port {subject.port}", f"{shown(program)} listens there, which is not "
                    f"{subject.agent.name}", "End that program, or give the service another port.")


def _bound(subject: Subject) -> tuple[str, str, tuple[str, str]]:
    """Address and port, empty where no option sets them, and the place of each option."""
    bind = subject.parameters.get("bind", "")
    if bind:
        host, _, port = bind.rpartition(":")
        return host, port, (f"{subject.agent.name}: bind", f"{subject.agent.name}: bind")
    agent = subject.agent
    if not agent.listen or subject.parameter("uwsgi_ini"):
        return "", "", ("", "")
    host_, port_ = (subject.config.get(agent.listen_section, name)
                    for name in (agent.listen, agent.listen_port))
    return host_.text, port_.text, (host_.where, port_.where)


def _remedy(subject: Subject) -> str:
    option = subject.agent.listen or "bind"
    if subject.proxy:
        return f"Write: {option} = this node's own address, as in [haproxy] addresses"
    wildcard = "::" if any(one.version == 6 for one in subject.vips) else str(
        ipaddress.IPv4Address(0))
    if len(subject.vips) == 1 and not subject.active_active:
        return f"Write: {option} = {subject.vips[0]}"
    return f"Write: {option} = {wildcard}"


def _holder(port: int) -> Process | None:
    """What listens at a port; None if nothing does, or it is not found."""
    for listener in sockets.listeners(port):
        holder = sockets.holding(listener, Deadline(node.HOLDER))
        if holder is not None:
            return holder
    return None
