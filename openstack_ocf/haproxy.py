"""haproxy at a virtual IP, before clones on all nodes: how it is started, and its configuration.

Called by `plan` for the parameters of its resource, and for the haproxy.cfg that `shapes` prints.
haproxy is where the virtual IP is and nowhere else: so it binds to an address that is there, and
needs no net.ipv4.ip_nonlocal_bind. Where a cluster has it as a clone on all nodes already, it needs
none either: haproxy binds as `transparent` then (IP_TRANSPARENT). The clones listen on each node's
own address, since one that listens on all addresses of a node takes haproxy's port away.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator, Mapping

from .description import Address, Description, Service
from .vips import Place, places

PATIENCE = 5
"""Seconds that a start waits for haproxy to listen; it takes a tenth of one."""
_GLOBAL = """\
# Made by: openstack-ocf plan --as haproxy. It is the same on all nodes.

global
    log /dev/log local0
    user haproxy
    group haproxy
    maxconn 4096

defaults
    mode http
    log global
    option httplog
    option dontlognull
    option forwardfor
    # Where no connection is made another node is tried; what was sent once is not sent again.
    retries 2
    option redispatch 1
    timeout connect 2s
    timeout http-request 10s
    timeout client 90s
    timeout server 90s
    # GET / of an API needs no token and no database; what is behind it is for the agents to check.
    option httpchk GET /
    timeout check 5s
    # A node that is lost does not close its connections.
    default-server check inter 2s fastinter 1s fall 3 rise 2 on-marked-down shutdown-sessions
"""


def parameters(service: Service, place: Place) -> dict[str, str]:
    """Those of ocf:heartbeat:anything; what the description says itself comes before them."""
    if not service.agent.defaults:
        return {}
    found = {"binfile": service.parameter("binfile"),
             "cmdline_options": f"-W -db -f {shlex.quote(service.config)}",
             **_hook(place)}
    return {**found, **service.parameters}


def _hook(place: Place) -> dict[str, str]:
    """A monitor that sees, beside the pid, whether it listens: the agent itself looks no further.

    A start makes it as well, so that one without its port fails. It says nothing of the services.
    """
    if not place.vips or not place.balanced:
        return {}
    where = _endpoint(place.vips[0].address, place.balanced[0].port)
    look = f"until ss -Hltn src {where} | grep -q .; do sleep 0.1; done"
    return {"monitor_hook": f'timeout {PATIENCE} sh -c "{look}"'}


def bindings(service: Service, place: Place) -> Mapping[str, str]:
    """The parameter `bind` by node, of a clone that uWSGI serves and no configuration tells where.

    Empty for all others.
    """
    if (place.proxy is None or service not in place.balanced or "bind" in service.parameters
            or service.agent.listen or service.parameter("server") != "uwsgi"):
        return {}
    return {node: _endpoint(own, service.port) for node, own in place.proxy.addresses}


def configuration(description: Description) -> str:
    """haproxy.cfg; empty where a description has no haproxy."""
    found = "".join(map("".join, map(_listen, places(description))))
    return f"{_GLOBAL}{found}" if found else ""


def _listen(place: Place) -> Iterator[str]:
    for service in place.balanced if place.proxy else ():
        yield f"\nlisten {service.agent.name}\n"
        for vip in place.vips:
            # It may listen before the address is there.
            early = " transparent" if place.everywhere else ""
            yield f"    bind {_endpoint(vip.address, service.port)}{early}\n"
        for node, own in place.proxy.addresses if place.proxy else ():
            yield f"    server {node} {_endpoint(own, service.port)}\n"


def _endpoint(host: Address, port: int) -> str:
    return f"[{host}]:{port}" if isinstance(host, ipaddress.IPv6Address) else f"{host}:{port}"
