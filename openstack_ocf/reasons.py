"""Why a generated resource is as it is: the comments of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .agents import Agent

GROUP = ("On one node, started from left to right: a server cannot bind to an address that is not "
         "there.",)
TOGETHER = (
    "What is further right waits for what is on its left: while one service cannot run, neither do "
    "those after it, and when one of them has to move, all of them do. An address for each, or "
    "each tied to the address by itself, is better where there is the choice.",)
NAMED = ("On one node, started from left to right: the name goes to a node that serves already.",)
NAME_TIED = ("The name leads to a node where a server runs.",)
TIED = ("Where the address is, and after it: a server cannot bind to an address that is not "
        "there.",)
OWN = ("bind: each node has its own address, so there is a rule for each. On all addresses it "
       "would have haproxy's port.",)
ACTIVE = ("The address is where a server runs; every node has one.",)
CLONE = ("interleave: what may be ordered after it one day waits for the instance on its own node "
         "alone.",)
ONE = ("One at a time, wherever: it needs a fixed host, alike on all nodes.",)
FIRST = ("Without Keystone and the Placement API it ends by itself within seconds, so that its "
         "start fails: where these are to start as well, they are first. Optional, not "
         "symmetrical: a stop or a restart of them is none of it.",)
_MONITORED = (
    "monitor, on-fail ignore: while the DNS server does not answer, it fails, and crm_mon shows "
    "it; the service, which is not to blame, goes on.")
_AFTER_A_DATABASE = {
    "glance-api": "So an outage of the database heals by itself: Glance starts without its "
    "database, the next monitor fails again.",
    "cinder-api": "So an outage of the database heals by itself: Cinder does not listen before its "
    "database answers, so it is start that fails.",
}


_FINDS_OUT = (
    "It is not ordered before or after the services: it finds out itself which of them serve.")
_OF_OTHERS = {
    "mariadb": (
        "bind-address in its configuration is the virtual IP. datadir is where every node reaches "
        "it; fencing is what keeps two servers from writing there.",
        "start 120 s: InnoDB may have to repair itself after a power loss; stop 120 s: what is not "
        "yet in its tables is written.",
        "monitor 20 s, level 10: it counts the rows of mysql.user as root, by the socket (Debian: "
        "mariadb-client-core). Without a level it looks at the pid alone."),
    "rabbitmq": (
        "nodename: the same on every node, or a queue is not found again after a failover; "
        "mnesia_base is where every node reaches it.",
        "start 600 s, stop 120 s: as the agent advises; messages on disk are read, and written.",
        "monitor 10 s: rabbitmqctl status, which takes a second of a core each time."),
    "haproxy": (
        "Where the virtual IP is, and nowhere else. What it is told to listen on is there, so that "
        "net.ipv4.ip_nonlocal_bind may stay 0.",
        _FINDS_OUT),
    "haproxy, a clone": (
        "On all nodes, and a virtual IP goes where one of it runs. `transparent` in its "
        "configuration lets it listen before the address comes.",
        _FINDS_OUT),
}
_ANYTHING = (
    "-W -db: a master process whose pid stays, and which ends when its worker does. "
    "resource-agents have no agent of haproxy's own.",
    "monitor_hook: beside the pid, whether it listens at the first of its ports. start looks, "
    "too, for up to 5 s: one whose configuration is wrong does not start.",
    "start, stop, monitor 20 s: as the agent advises; it takes less than a second.")


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


def name(dns: Mapping[str, str], *, maas: bool) -> tuple[str, ...]:
    """Of a DNS name; dns: the section of the description."""
    if maas:
        return (
            "Each node writes its own address, which is in /etc/maas_dns; nodes need fixed ones.",
            "start, stop 60 s: MAAS's API is tried three times.",
            _MONITORED)
    return (
        "ip: each node has its own, so there is a rule for each; nodes need fixed addresses. The "
        "name is left when the resource stops: the next start replaces it.",
        f"ttl {dns.get('ttl')}: so many seconds do clients go to the old node after a failover. "
        "Those that keep a connection, or an answer for longer, do so for longer.",
        "What dnsupdate cannot do: it writes A records only, no AAAA; a probe of it always says "
        "'not running'; a node without the keyfile makes it give up on all nodes.",
        "start, stop, monitor 30 s: as dnsupdate advises. It needs dig and nsupdate (Debian: "
        "bind9-dnsutils).",
        _MONITORED)


def service(agent: Agent, *, everywhere: bool = False) -> tuple[str, ...]:
    """Of the operations of a service, with the numbers that its agent advertises.

    everywhere: of a haproxy, whether it is a clone.
    """
    start, stop, check = (agent.timeout(name) for name in ("start", "stop", "monitor"))
    if agent.kind:
        name = "haproxy, a clone" if everywhere and agent.balances else agent.name
        return (*_OF_OTHERS[name], *(_ANYTHING if agent.kind.endswith(":anything") else ()))
    if agent.api:
        why_start = ("a taken port is waited for (Glance: 30 s), and a node that boots cold is "
                     "slow")
        why_stop = "requests under way may end"
        why_check = (f"an authenticated request that reads the database. {check} s timeout: "
                     "Keystone and the service are each asked up to three times, and the agent "
                     "gives its reason 2 s before the end")
    else:
        why_start = ("a worker is started when it is connected; 3 to 20 s were measured, and 10 s "
                     "where RabbitMQ does not answer")
        why_stop = "its work may end, which took heat-engine up to 20 s"
        why_check = (f"its connections to RabbitMQ and the database. {check} s timeout: to tell "
                     "that a process hangs takes 10 s")
    return (
        f"start {start} s: {why_start}.",
        f"stop {stop} s: {why_stop}; what is left shortly before the timeout is killed.",
        f"monitor 30 s, level 10: {why_check}.",
        "monitor 10 s, level 0: is the process there? It finds a dead one sooner, and asks nobody.",
        "The two intervals differ: Pacemaker knows an operation by its name and interval.",
        "migration-threshold 3: two restarts in place, then the other node; one where both "
        "monitors find a failure before Pacemaker acts, as on a busy node: that counts as two. "
        "What restarts do not mend may be this node's way to the database; one hiccup is no "
        "reason to move.",
        "failure-timeout 180 s: longer than from one failure to the next of an outage, or none "
        "would be counted twice (at most about 120 s: interval 30, timeout 30, stop 60). And no "
        "longer than three starts that fail (3 x 60 s): when the second node has given up, the "
        "first may try again.",
        *filter(None, (_AFTER_A_DATABASE.get(agent.name),)))


def listening(
    agent: Agent, config: str, addresses: Sequence[str], *, everywhere: bool, named: bool,
    balanced: bool = False,
) -> tuple[str, ...]:
    """What a server must listen on, so that a virtual IP leads to it, or a name, or haproxy."""
    option = f"{agent.listen} in {config}" if agent.listen else f"What {agent.name} listens on"
    if not addresses and not named:
        return ()
    if balanced:
        return (f"{option} is each node's own address; at the virtual IP haproxy has the port.",)
    if len(addresses) == 1 and not everywhere:
        return (f"{option} is the virtual IP, {addresses[0]}.",)
    wildcard = "::" if any(":" in one for one in addresses) else "0.0.0.0"  # noqa: S104
    if named:
        why = "the name leads to each node's own address"
    elif everywhere:
        why = "every node has a server, and one of them the virtual IP"
    else:
        why = f"it has {len(addresses)} virtual IPs"
    return (f"{option} is '{wildcard}', all addresses: {why}.",)
