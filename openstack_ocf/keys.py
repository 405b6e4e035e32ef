"""The keys of the description: their names are the Glance charm's, with `_` for `-`.

Everything else that knows a key, the reader and the sample, goes by these tables.
"""

from __future__ import annotations

from dataclasses import dataclass

FACES = ("internal", "public", "admin")
"""Of an endpoint, in the order in which virtual IPs go to them."""


@dataclass(frozen=True)
class Key:
    """A key of a section.

    kind: text, boolean, list, path, network, prefix, port, seconds, id, ids or addresses, or the
    choices, with | between them.
    """

    name: str
    kind: str
    default: str
    help: str
    example: str


DEFAULT = (
    Key("ha", "boolean", "true", "Whether the services are to be highly available. With false "
        "they need no virtual IP.", "true"),
    Key("mode", "active-passive|active-active", "active-passive",
        "An API runs on the node that has its virtual IP (active-passive), or on all nodes as a "
        "clone, of which one has the virtual IP (active-active).", "active-passive"),
    Key("nodes", "list", "", "The nodes of the cluster, as Pacemaker names them.",
        "controller1 controller2 controller3"),
    Key("credentials", "path", "", "An openrc file, for the user of the monitor: the variables "
        "OS_USERNAME, OS_PROJECT_NAME, OS_AUTH_URL and their like. It is read, not run. The "
        "password in it is never shown.", "/root/monitor.openrc"),
    Key("auth_url", "text", "", "The Identity URL that the monitor asks; by default that of "
        "credentials.", "http://10.0.0.11:5000"),
    Key("region", "text", "", "The region; by default that of credentials.", "RegionOne"),
)

SERVICE = (
    Key("vip", "list", "", "The virtual IPs, IPv4 and IPv6. The first of a family is the internal "
        "one, the second the public one, the third the admin one, unless os_*_network says "
        "otherwise.", "10.0.0.12 192.0.2.12"),
    Key("vip_iface", "text", "", "The interface of the virtual IPs. Not needed: IPaddr2 finds it "
        "by the network.", "eth0"),
    Key("vip_cidr", "prefix", "", "The length of the virtual IPs' network prefix. Not needed: "
        "IPaddr2 finds it.", "24"),
    Key("allow_unroutable_vip", "boolean", "false", "Whether a virtual IP may be in no network of "
        "a node. Clients reach it there only if a router has a route to it.", "false"),
    Key("shared_vip_group", "text", "", "Services with the same name here share their virtual "
        "IPs; give vip in one of them.", "controller"),
    Key("mode", "active-passive|active-active", "", "As in [DEFAULT], for this service.",
        "active-active"),
    Key("dns_ha", "boolean", "false", "Whether a DNS name follows the service, instead of a "
        "virtual IP. Not together with vip.", "false"),
    *(Key(f"os_{face}_hostname", "text", "", f"The name of the {face} endpoint.",
          f"{face}.example.org") for face in (*FACES, "access")),
    *(Key(f"os_{face}_network", "network", "", f"The network of the {face} endpoint: the virtual "
          "IP in it is its address.", network)
      for face, network in zip(FACES, ("10.0.0.0/24", "192.0.2.0/24", "10.0.1.0/24"))),
    Key("storage", "rbd|swift|s3|cinder|shared-file|local", "", "Where a service that stores "
        "(Glance) does so. What is local is on one node only.", "rbd"),
    Key("port", "port", "", "The port of the API; by default the service's own.", "9292"),
    Key("id", "id", "", "The id of the service's resource, where a cluster has one already. "
        "Default: p_ and the agent's name.", "p_glance-api"),
    Key("clone", "id", "", "The id of its clone. Default: cl_ and the agent's name.",
        "cl_glance-api"),
    Key("vip_id", "ids", "", "The ids of the virtual IPs, in the order of vip. A virtual IP that "
        "runs keeps its id: another one would stop it. Default: p_ip_ and the agent's name.",
        "p_ip_glance-api p_ip_public_glance-api"),
    Key("group", "id", "", "The id of the group. Default: g_ and the agent's name. Services that "
        "share virtual IPs become one group by it, in the order of their sections; without it "
        "each is tied to the address, which is better. Active-active: a group of the addresses.",
        "g_glance-api"),
)

OF_ALL = ("storage", "id", "clone")
"""Keys of SERVICE that a worker has, too."""

OF_OTHERS = ("vip", "vip_iface", "vip_cidr", "allow_unroutable_vip", "shared_vip_group", "port",
             "id", "vip_id")
"""Keys of SERVICE that MariaDB, RabbitMQ and haproxy have. (`group` is a parameter of MariaDB's
agent.)"""

HAPROXY = (
    Key("agent", "anything|systemd|lsb|bundle", "anything", "What starts haproxy: "
        "ocf:heartbeat:anything, or its unit or init script, which nothing else may start then; "
        "bundle: it runs in a <bundle> that is there, and stays as it is.", "anything"),
    Key("config", "path", "/etc/haproxy/haproxy.cfg", "Its configuration, as plan --as haproxy "
        "prints it (anything); of a bundle, where the container has it from.",
        "/etc/haproxy/haproxy.cfg"),
    Key("clone", "id", "", "The id of its clone, where haproxy runs on all nodes already, and a "
        "virtual IP where one of it runs. Default: no clone, haproxy is where the virtual IP is.",
        "haproxy-clone"),
    Key("group", "id", "", "The id of the group of its virtual IPs, where a cluster has one.",
        "g_ip_controller"),
    Key("addresses", "addresses", "", "Each node's own address, where the clones behind haproxy "
        "listen. Not all addresses of the node: haproxy has the port at the virtual IP.",
        "controller1=10.0.0.21 controller2=10.0.0.22"),
)

DNS = (
    Key("agent", "dnsupdate|maas", "dnsupdate", "What changes a name for dns_ha.", "dnsupdate"),
    Key("server", "text", "", "The DNS server that takes updates (dnsupdate).", "10.0.0.2"),
    Key("keyfile", "path", "", "The TSIG key for it (dnsupdate).", "/etc/bind/monitor.key"),
    Key("ttl", "seconds", "30", "How long clients may remember an address, in seconds. So long do "
        "they go to the old node after a failover.", "30"),
    Key("addresses", "addresses", "", "The address that a name leads to, node by node (dnsupdate: "
        "IPv4). Of several of a node, that in the network of the endpoint is taken, else the "
        "first.", "controller1=10.0.0.21 controller2=10.0.0.22"),
    Key("maas_url", "text", "", "MAAS's URL (maas).", "http://10.0.0.3:5240/MAAS"),
)

SECRETS = frozenset({"os_password", "os_token", "maas_credentials", "password", "auth_token"})
"""Keys that would make the description a file with a secret in it."""
