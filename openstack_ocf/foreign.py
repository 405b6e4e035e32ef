"""What a controller has beside OpenStack: MariaDB, RabbitMQ, haproxy, by the agents of others.

A description names them as it names a service of OpenStack; their agents are bash, and describe
themselves only when they are run. Active/passive, database and queues on storage that all nodes
reach: the agents that make a cluster of MariaDB (galera) or RabbitMQ (rabbitmq-cluster) are another
matter. What haproxy is started with is in `haproxy`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from .agents import Agent, Operation


def get(section: str, manner: str = "") -> Agent | None:
    """The agent that a section's name stands for; None if it is none of these.

    manner: where a section has the key `agent`, its value.
    """
    return _MANNERS.get((section, manner), _ALL.get(section))


def names() -> tuple[str, ...]:
    """The names of all."""
    return tuple(_ALL)


def made_of(kind: str, parameters: Mapping[str, str]) -> Agent | None:
    """The agent here for a resource of a CIB: class, provider and type, and its parameters.

    Of a haproxy that something else starts, it is the nearest one: its `kind` differs then.
    """
    # Of a template's resource it is empty.
    class_, type_ = kind.partition(":")[0], kind.rpartition(":")[2]
    program = parameters.get("binfile", "").rpartition("/")[2]
    if type_.removesuffix(".service") == "haproxy" or (
            kind == _ALL["haproxy"].kind and program == "haproxy"):
        manner = {"service": "systemd"}.get(class_, class_)
        return get("haproxy", manner)
    return next((one for one in _ALL.values() if one.kind == kind and not one.balances), None)


def contained(bundle: ET.Element) -> Agent | None:
    """The agent here for what a <bundle> runs in containers: haproxy, as TripleO has it.

    All others are left alone, as galera-bundle: they cluster what is `one` on a node here.
    """
    container = next((one for one in bundle if one.get("image")), bundle)
    image = container.get("image", "").rpartition("/")[2].partition(":")[0]
    primitive = bundle.find("primitive")
    words = (primitive.get("type", ""),) if primitive is not None else (bundle.get("id", ""), image)
    return get("haproxy", "bundle") if any("haproxy" in one for one in words) else None


def _agent(name: str, kind: str, port: int, defaults: dict[str, str],
           operations: tuple[Operation, ...]) -> Agent:
    return Agent(name, defaults, operations, gone="", nodes="one", port=port, listen="",
                 listen_port="", listen_section="", kind=kind, balances=not port)


def _timed(change: int, check: int) -> tuple[Operation, ...]:
    """Operations of haproxy: seconds for start and stop, and for a monitor."""
    return (Operation("start", change, 0, ""), Operation("stop", change, 0, ""),
            Operation("monitor", check, 10, ""))


_ALL = {one.name: one for one in (
    # Debian: resource-agents. Level 10 asks for a table, by mariadb-client-core.
    _agent("mariadb", "ocf:heartbeat:mysql", 3306, {
        "binary": "", "client_binary": "mysql", "config": "/etc/mysql/my.cnf",
        "datadir": "/var/lib/mysql", "user": "mysql", "group": "mysql",
        "log": "/var/log/mysql/error.log", "pid": "/var/run/mysqld/mysqld.pid",
        "socket": "/var/run/mysqld/mysqld.sock", "test_table": "mysql.user", "test_user": "root",
        "additional_parameters": "",
    }, (Operation("start", 120, 0, ""), Operation("stop", 120, 0, ""),
        Operation("monitor", 30, 20, "10"))),
    # Debian: rabbitmq-server.
    _agent("rabbitmq", "ocf:rabbitmq:rabbitmq-server", 5672, {
        "server": "/usr/sbin/rabbitmq-server", "ctl": "/usr/sbin/rabbitmqctl",
        "nodename": "rabbit@localhost", "ip": "", "config_file": "", "log_base":
        "/var/log/rabbitmq", "mnesia_base": "", "server_start_args": "",
        "pid_file": "/var/run/rabbitmq/pid", "limit_nofile": "65535",
    }, (Operation("start", 600, 0, ""), Operation("stop", 120, 0, ""),
        Operation("monitor", 20, 10, ""))),
    # Debian: resource-agents, which have none of haproxy's own. Timeouts as it advises.
    _agent("haproxy", "ocf:heartbeat:anything", 0, {
        "binfile": "/usr/sbin/haproxy", "cmdline_options": "", "workdir": "", "pidfile": "",
        "logfile": "", "errlogfile": "", "user": "root", "monitor_hook": "", "stop_timeout": "",
    }, _timed(20, 20)),
)}
_MANNERS = {
    # Pacemaker's own advice.
    ("haproxy", "systemd"): _agent("haproxy", "systemd:haproxy", 0, {}, _timed(100, 100)),
    ("haproxy", "lsb"): _agent("haproxy", "lsb:haproxy", 0, {}, _timed(20, 20)),
    # Somebody else's; nothing of it is planned.
    ("haproxy", "bundle"): _agent("haproxy", "bundle", 0, {}, ()),
}
