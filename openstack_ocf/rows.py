"""The findings about a node, its clients and the catalogue: ids, severities, and why they matter.

Made into findings by the modules that look; docs/findings.md has the same table, and a
test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .finding import ERROR, WARNING, Finding


@dataclass(frozen=True)
class Row:
    """An id: what is found, and why it matters. severity is the usual one."""

    id: str
    severity: str
    found: str
    reason: str


ROWS = (
    Row("B1", ERROR, "an API listens on another address or port than clients are sent to",
        "No server is at the virtual IP, or the server does not start where the address is not. "
        "Behind haproxy: on all addresses it has haproxy's port."),
    Row("B2", ERROR, "several virtual IPs, and the API listens on one address",
        "At the other addresses there is no server."),
    Row("B3", WARNING, "the kernel lets servers bind to addresses that are not here",
        "A server without its virtual IP starts, and it is not noticed."),
    Row("B4", ERROR, "haproxy's configuration lacks a port of a service behind it",
        "At the virtual IP clients are refused; without the file haproxy does not start."),
    Row("DB1", ERROR, "the database is on this node, on one node, or not set",
        "After a failover the service has another database, or none. Name a virtual IP."),
    Row("DB2", ERROR, "the schema of the database is not that of the installed service",
        "Requests fail with 500, or the service does not start."),
    Row("DB3", WARNING, "`max_retries` is not -1",
        "A service that starts while the database fails over gives up."),
    Row("MQ1", ERROR, "RabbitMQ is on this node, on one node, or not set",
        "After a failover there is no RabbitMQ. Name a virtual IP, or all nodes of its cluster."),
    Row("N1", WARNING, "no notification is sent: the driver is empty",
        "`transport_url` alone sends nothing; metering sees nothing. `driver = noop` says that it "
        "is meant."),
    Row("N2", ERROR, "notifications without a `transport_url`",
        "They are sent to a RabbitMQ on this node, which is not there."),
    Row("A1", ERROR, "`[keystone_authtoken]` has no `auth_type`",
        "All other lines of the section are ignored, and no log says so: each request is 401 or "
        "503."),
    Row("A2", ERROR, "`[keystone_authtoken]` lacks URL, user, password, project or a domain",
        "The service gets no token of its own, and cannot verify those of others."),
    Row("A3", WARNING, "`[keystone_authtoken]` has options of Identity v2.0",
        "Keystone has no v2.0 any more; they are ignored, or lead nowhere."),
    Row("A4", ERROR, "Keystone gives no token to the service's own user",
        "Tokens of clients cannot be verified: each request is 401 or 503."),
    Row("A5", WARNING, "`[keystone_authtoken]` names another Keystone than the virtual IP's",
        "When that node is down, the service is down, too."),
    Row("P1", ERROR, "Glance serves everybody: `flavor` is unset or without keystone",
        "Unset is no authentication: whoever reaches the port lists, uploads and deletes images."),
    Row("P2", ERROR, "an API serves everybody: `auth_strategy` is not keystone",
        "Whoever reaches the port is an administrator."),
    Row("S2", ERROR, "images are in a folder of this node",
        "After a failover the database knows images that are not there: 404."),
    Row("S3", ERROR, "a store is not complete, or the service's user cannot read its files",
        "Glance starts without the store, or not at all, and uploads fail."),
    Row("S4", WARNING, "the staging folder of imports is on this node",
        "An import that is under way at a failover is lost; active-active, a half of the imports "
        "looks on the wrong node."),
    Row("K1", ERROR, "the image cache is switched on, and its folder is not the service's",
        "Each request fails. The folder must be there on every node."),
    Row("U1", ERROR, "the init system starts the service, too",
        "After a boot it runs on all nodes, besides Pacemaker's: two daemons, one port."),
    Row("U2", ERROR, "another program has the port",
        "The service does not start on this node."),
    Row("F1", WARNING, "an option that is unknown, or an old name",
        "What is unknown is ignored, without a word; what is old goes with the next release."),
    Row("F2", ERROR, "the service's user cannot read its configuration, or everybody can",
        "It does not start on this node; or all users of the node see its passwords."),
    Row("F3", ERROR, "a configuration file is missing or cannot be read",
        "Nothing in it can be checked, and the service does not start with it."),
    Row("X1", ERROR, "an option or a file differs between nodes (`--compare`)",
        "The service is another one after a failover."),
    Row("X2", WARNING, "packages or agents differ between nodes (`--compare`)",
        "Two releases share one database; a failover may be an upgrade."),
    Row("T1", WARNING, "the clock is not synchronised, or not that of Keystone",
        "Tokens are refused as expired, or not yet valid, on this node only."),
    Row("H1", ERROR, "no fencing, no quorum, or a cluster that manages nothing",
        "A failover does not happen, or happens on two nodes at once."),
    Row("C1", ERROR, "an address of the Image API without scheme or port",
        "It is taken as it is: no image is found (`No scheme supplied`), or port 80 is asked."),
    Row("C2", ERROR, "a client that does not use the virtual IP",
        "It goes to one node, and stands still when that node does."),
    Row("C3", WARNING, "a client that may use another interface than the internal one",
        "It talks to the public address, which may be in another network, or not there."),
    Row("C4", WARNING, "Cinder uses the public endpoint of the Image API",
        "That is its default, `image:glance:publicURL`."),
    Row("C5", ERROR, "a `catalog_info` whose type or name is not that of the catalogue",
        "The client finds no endpoint. Without `--ask` a name is a warning."),
    Row("E1", ERROR, "no service of a type in the catalogue, or several",
        "With two, clients take the first that Keystone names; Cinder takes now one, now the "
        "other."),
    Row("E2", ERROR, "an interface has no endpoint in the region, or several",
        "Clients of that interface find nothing, or now one and now the other."),
    Row("E3", ERROR, "an endpoint is not at the virtual IP or name",
        "Clients go to one node, and stand still when that node does."),
    Row("E4", ERROR, "public and internal endpoints are exchanged",
        "Clients from outside get an address that they do not reach."),
    Row("E5", ERROR, "an endpoint has another port or scheme",
        "No server is there."),
    Row("E6", WARNING, "the path of an endpoint is not that of the API's version",
        "Clients add the version once more, or miss it."),
    Row("E7", WARNING, "an endpoint of an API version that is gone",
        "Clients that find it get 404. Delete the service: openstack service delete ID"),
    Row("E8", ERROR, "an endpoint does not answer, or serves without a token",
        "The catalogue leads nowhere, or everybody is served."),
    Row("R1", ERROR, "an image is not what was uploaded, or not listed (`prove`)",
        "The API answers, and does not keep what it is given."),
    Row("R2", ERROR, "after a move an image is not there, or is another (`prove --move`)",
        "Each node has images of its own: a failover loses them."),
    Row("R3", ERROR, "a volume does not become available, is not listed, or cannot be deleted "
        "(`prove cinder`)",
        "The API answers, and its scheduler or its cinder-volume does not do what it is told."),
    Row("R4", ERROR, "after a move a volume is not there, or cannot be deleted "
        "(`prove cinder --move`)",
        "A cinder-volume of another host name knows nothing of it: a failover loses all volumes."),
)
"""All rows, in the order of the page."""

_BY_ID = {row.id: row for row in ROWS}


def found(id_: str, where: str, seen: str, remedy: str, severity: str = "") -> Finding:
    """A finding of a row; severity where it is not the row's usual one."""
    return Finding(id_, severity or _BY_ID[id_].severity, where, seen, remedy)


def table(*letters: str) -> str:
    """The rows whose ids begin with one of these letters, as a table of Markdown."""
    lines = ["| id | severity | found | why it matters |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.id} | {row.severity} | {row.found} | {row.reason} |" for row in ROWS
              if row.id.rstrip("0123456789") in letters]
    return "\n".join(lines) + "\n"
