"""Servers that a service's configuration names: the database, RabbitMQ. Rows DB, MQ and N.

Nothing of a URL is shown but its host: there is a password in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from .configuration import Value
from .finding import ERROR, UNKNOWN, Finding
from .rows import found
from .subject import Subject, Surroundings
from .vips import address
from .words import shown

_DATABASES = {"placement": ("placement_database",), "nova": ("database", "api_database"),
              "designate": ("storage:sqlalchemy",), "ceilometer": (), "gnocchi": ("indexer",)}
"""Sections with the connection of a database, of projects that have it elsewhere."""
_CALLED = {"indexer": "url"}
"""What the connection is called there, if not so."""
_NEEDS_DATABASE = ("keystone", "glance-api", "cinder-api", "heat-engine", "neutron-server",
                   "nova-api", "manila-api", "placement-api", "gnocchi-api", "gnocchi-metricd")
_NEEDS_RABBIT = ("cinder-api", "heat-api", "neutron-server", "nova-api", "manila-api")
_NOTIFIES = ("glance", "cinder")
_SILENT = ("noop",)
_UNCLEAR = ("the URL cannot be taken apart: it may have a sign in it that must be encoded",
            "Encode the password, as / by %2F, @ by %40 and : by %3A.")


def servers(subject: Subject, around: Surroundings) -> Iterator[Finding]:
    """DB1, DB3, MQ1, N1, N2."""
    yield from _database(subject, around)
    yield from _rabbit(subject, around)
    yield from _notifications(subject)


def blame(host: str, around: Surroundings) -> tuple[str, str]:
    """What is wrong with the host of a server, and the severity; empty if nothing is."""
    plain = host.strip("[]").lower().rstrip(".")
    one = address(plain)
    if plain == "localhost" or (one and (one.is_loopback or one.is_unspecified)):
        return "this node, whichever it is", ERROR
    if plain in around.virtual:
        return "", ""
    if plain in {name.lower() for name in around.nodes}:
        return "one node", ERROR
    if plain in around.own:
        if around.live:
            return "an address of this node, and no virtual IP", ERROR
        return ("an address of this node; the cluster does not say whether it is a virtual IP",
                UNKNOWN)
    return "", ""


def hosts(url: str) -> list[str]:
    """The hosts of a connection or transport URL, of which there may be several.

    ValueError where it cannot be told what is the host: nothing of it may be shown then, since
    it may be a part of a password.
    """
    _, scheme, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not scheme or "@" in rest[len(authority):].partition("?")[0]:
        raise ValueError("no host")
    parts = authority.split(",") if authority else []
    found_ = []
    for part in parts:
        login, at, place = part.rpartition("@")
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[\w.-]*)(:\d+)?", place)
        if match is None or bool(at) != ("@" in parts[0]) or "@" in login:
            raise ValueError("no host")
        found_.append(match[1].strip("[]"))
    return [host for host in found_ if host]


def host_of(url: str) -> str:
    """The host of an http URL; empty if it is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


# --- rows ---------------------------------------------------------------------------------------


def _database(subject: Subject, around: Surroundings) -> Iterator[Finding]:
    config = subject.config
    for section in _DATABASES.get(subject.project, ("database",)):
        called = _CALLED.get(section, "connection")
        example = f"Write: {called} = mysql+pymysql://USER:PASSWORD@VIRTUAL_IP/NAME"
        value = config.get(section, called)
        if not value.text:
            if subject.agent.name in _NEEDS_DATABASE:
                yield found("DB1", value.where, "no database is set", example)
            continue
        if value.text.startswith("sqlite:"):
            yield found("DB1", value.where, "the database is a file of this node (SQLite)", example)
            continue
        if not subject.ha:
            continue
        named = _named(value)
        if named is None:
            yield found("DB1", value.where, *_UNCLEAR)
            continue
        socket = "unix_socket=" in value.text
        for host in named:
            wrong, severity = blame(host, around)
            wrong = "a socket of this node" if socket else wrong
            if wrong:
                yield found("DB1", value.where, f"the database's host {shown(host)} is {wrong}",
                            "Name the database's virtual IP.", ERROR if socket else severity)
        retries = config.get(section, "max_retries", "10")
        if retries.text not in ("-1", "") and section not in _CALLED:
            yield found("DB3", retries.where, f"max_retries is {shown(retries.text)}",
                        "Write: max_retries = -1")


def _rabbit(subject: Subject, around: Surroundings) -> Iterator[Finding]:
    value = subject.config.get("DEFAULT", "transport_url")
    if not value.given:
        if subject.agent.name in _NEEDS_RABBIT or "amqp_server_port" in subject.agent.defaults:
            yield found("MQ1", value.where, "transport_url is not set: RabbitMQ is sought on this "
                        "node", "Write: transport_url = rabbit://USER:PASSWORD@VIRTUAL_IP:5672/")
        return
    if not subject.ha or not value.text.startswith(("rabbit:", "kombu:", "amqp:")):
        return
    yield from _broker(value, around)


def _broker(value: Value, around: Surroundings) -> Iterator[Finding]:
    named = _named(value)
    if named is None:
        yield found("MQ1", value.where, *_UNCLEAR)
        return
    for host in named:
        wrong, severity = blame(host, around)
        # With several hosts each is one node of RabbitMQ's own cluster.
        if wrong and (len(named) == 1 or wrong.startswith("this node")):
            yield found("MQ1", value.where, f"RabbitMQ's host {shown(host)} is {wrong}",
                        "Name its virtual IP, or all nodes of its cluster: "
                        "rabbit://USER:PASSWORD@HOST1:5672,USER:PASSWORD@HOST2:5672/", severity)


def _named(value: Value) -> list[str] | None:
    """The hosts of a URL, this node where it names none; None if it cannot be taken apart."""
    try:
        return hosts(value.text) or ["localhost"]
    except ValueError:
        return None


def _notifications(subject: Subject) -> Iterator[Finding]:
    if subject.project not in _NOTIFIES or not subject.agent.api:
        return
    driver = subject.config.get("oslo_messaging_notifications", "driver")
    if not driver.text:
        yield found("N1", driver.where, "the driver is empty: no notification is sent",
                    "Write: driver = messagingv2 (or noop, if nothing reads notifications)")
    elif driver.text not in _SILENT and driver.text.startswith("messaging"):
        own = subject.config.get("oslo_messaging_notifications", "transport_url")
        general = subject.config.get("DEFAULT", "transport_url")
        if not own.given and not general.given:
            yield found("N2", general.where, f"driver = {shown(driver.text)}, and no transport_url",
                        "Write: transport_url = rabbit://USER:PASSWORD@VIRTUAL_IP:5672/")
