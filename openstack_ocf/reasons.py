"""Why a generated resource is as it is: the comments of a plan."""

from __future__ import annotations

from .agents import Agent
from .vips import Place

GROUP = ("On one node, started from left to right: a server cannot bind to an address that is not "
         "there.",)
TIED = ("Where the address is, and after it: a server cannot bind to an address that is not "
        "there.",)
ACTIVE = ("The address is where a server runs; every node has one.",)
CLONE = ("interleave: what may be ordered after it one day waits for the instance on its own node "
         "alone.",)
ONE = ("One at a time, wherever: it needs a fixed host, alike on all nodes.",)


def vip(version: int, *, found: bool) -> tuple[str, ...]:
    """Of a virtual IP; found: IPaddr2 is to find the interface by itself."""
    lines = []
    if found:
        lines.append("No nic, no cidr_netmask: IPaddr2 finds the interface by the network of the "
                     "address.")
    if version == 6:
        lines.append("preferred_lft 0: no connection of the node's own goes out from the virtual "
                     "IP.")
    return (*lines,
            "monitor 10 s: it costs nothing to look for an address; timeout 20 s, as IPaddr2 "
            "advises.")


def service(agent: Agent) -> tuple[str, ...]:
    """Of the operations of a service, with the numbers that its agent advertises."""
    start, stop, check = (agent.timeout(name) for name in ("start", "stop", "monitor"))
    if agent.api:
        why_start = "a taken port is waited for, and a node that boots cold is slow"
        why_check = ("an authenticated request that reads the database. Keystone and the service "
                     "are each asked up to twice, and the agent gives its reason 2 s before the "
                     "end")
    else:
        why_start = "a worker is started when it is connected to RabbitMQ"
        why_check = ("its connections to RabbitMQ and the database. To tell that a process hangs "
                     "takes 10 s, and that it does not come back to RabbitMQ 15 s")
    return (
        f"start {start} s: {why_start}.",
        f"stop {stop} s: requests under way may end; what is left shortly before the timeout is "
        "killed.",
        f"monitor 30 s, level 10, timeout {check} s: {why_check}.",
        "monitor 10 s, level 0: is the process there? It finds a dead one sooner, and asks nobody.",
        "migration-threshold 3: two restarts in place, then the other node.",
        "failure-timeout 180 s: longer than from one failure to the next of an outage, or none "
        "would be counted twice; no longer than three starts that fail, so that the first node "
        "may try again.")


def listening(agent: Agent, config: str, place: Place, *, everywhere: bool) -> tuple[str, ...]:
    """What a server must listen on, so that a virtual IP leads to it."""
    option = f"{agent.listen} in {config}" if agent.listen else f"What {agent.name} listens on"
    if not place.vips:
        return ()
    if len(place.vips) == 1 and not everywhere:
        return (f"{option} is the virtual IP, {place.vips[0].address}.",)
    wildcard = "::" if any(vip.address.version == 6 for vip in place.vips) else "0.0.0.0"  # noqa: S104
    why = ("every node has a server, and one of them the virtual IP" if everywhere
           else f"it has {len(place.vips)} virtual IPs")
    return (f"{option} is '{wildcard}', all addresses: {why}.",)
