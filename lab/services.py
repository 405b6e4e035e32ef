"""Start, find and stop one service of a lab: db, rabbit, an API or a worker.

Called by `lab.openstack`, and by `lab.seed`, which needs a database and a Keystone for a
moment. A started service is recorded in DIR/run by pid and start time.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from lab import config, declared, mounts, netns, network, process, specs
from lab.errors import LabError
from lab.process import Process
from lab.settings import DB, OVS, RABBIT, RABBIT_PORT, Settings
from lab.specs import BASE, SPECS
from lab.web import Server, reachable

READY = 180.0  # seconds; a loaded machine is slow to import OpenStack
GRACE = 8.0  # seconds; MariaDB has data to write
ESTABLISHED = "01"  # in /proc/net/tcp
AMQP = b"AMQP\0\0\x09\x01"
BOOT = Path("/proc/sys/kernel/random/boot_id")


def start(settings: Settings, service: str) -> Process:
    """Start a service and wait until it serves. If it does not, it is ended again."""
    if service == DB:
        settings.socket.unlink(missing_ok=True)  # of a MariaDB that was killed
    elif server := where(settings, service):
        refuse_taken(server, service)
    argv, user = command(settings, service), settings.users[settings.project(service)]
    if service in network.AGENTS:
        if not (node := running(settings, OVS)):
            raise LabError(f"{service} runs where {OVS} does; start that first")
        argv, user = network.argv(node[0], argv, user), "root"
    elif mounts.needed(service):
        argv, user = mounts.argv(settings, service, argv, user), "root"
    with netns.inside(settings.namespace):
        master = process.spawn(
            argv,
            user=user,
            home=settings.home(service),
            log=settings.log(service),
            environment=environment(settings, service),
        )
    try:
        _remember(settings, service, master)
        await_ready(settings, service, master)
    except BaseException:
        stop(settings, service)
        raise
    return master


def stop(settings: Settings, service: str) -> None:
    """End a service with its whole session, also when only workers are left of it."""
    if service == RABBIT:  # its leader is a shell, which does not forward TERM
        for member in running(settings, service):
            member.send(signal.SIGTERM)
    if not process.end(lambda: running(settings, service), GRACE):
        left = ", ".join(str(p.pid) for p in running(settings, service))
        raise LabError(f"{service} survives SIGKILL: {left}", log=settings.log(service))
    settings.record(service).unlink(missing_ok=True)


def running(settings: Settings, service: str) -> list[Process]:
    """The processes of a service that the lab started, its master first."""
    try:
        record = json.loads(settings.record(service).read_text())
        if record["boot"] != BOOT.read_text().strip():
            return []
        found = process.session(record["pid"], record["birth"])
        if service == OVS:  # what Neutron's agents have started belongs to it
            known = {member.pid for member in found}
            found += [one for one in network.members(settings) if one.pid not in known]
        return found
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (ValueError, KeyError) as error:
        raise LabError(f"{settings.record(service)} is damaged: {error}") from None


def command(settings: Settings, service: str) -> list[str]:
    """The command line of a service. There is no password in any of them."""
    if service == DB:
        return mariadbd(settings, f"--socket={settings.socket}", "--max-connections=500")
    if service == RABBIT:
        # Otherwise RabbitMQ would start epmd as a daemon, which would outlive the lab.
        return ["sh", "-c", "epmd -address 127.0.0.1 & exec /usr/lib/rabbitmq/bin/rabbitmq-server"]
    if service == OVS:
        return network.command(settings)
    return declared.command(specs.agent(service), parameters(settings, service))[0]


def parameters(settings: Settings, service: str) -> dict[str, str]:
    """The parameters of the service's agent that give the command line with which it runs here."""
    agent = specs.agent(service)
    given = settings.parameters(agent)
    if service not in BASE:
        return given
    if environment := settings.environment(service):
        given.update(server="uwsgi", additional_parameters=f"--virtualenv={environment}")
    if declared.by_uwsgi(agent, given):
        given.update(processes=str(settings.workers), threads="4")
        if not declared.daemon(agent).uwsgi.listen:
            listens = Server(settings.listens_at(service), specs.port(service))
            given["bind"] = str(listens).partition("//")[2]
    return given


def environment(settings: Settings, service: str) -> dict[str, str]:
    """The variables that a service needs."""
    if service == RABBIT:
        return _of_rabbit(settings)
    if service == DB:
        return {}
    if service == OVS:
        return network.environment(settings)
    return declared.command(specs.agent(service), parameters(settings, service))[1]


def _of_rabbit(settings: Settings) -> dict[str, str]:
    """Write the files of the lab's own small RabbitMQ; the variables that name them."""
    home = settings.home(RABBIT)
    enabled, configuration = home / "enabled_plugins", home / "rabbitmq.conf"
    enabled.write_text("[].\n")
    # By default, guest may connect only from RabbitMQ's own machine, not from a cluster's nodes.
    configuration.write_text("disk_free_limit.absolute = 50MB\nloopback_users = none\n")
    return {
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": settings.rabbit.address,
        "RABBITMQ_NODE_PORT": str(settings.rabbit.port),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(settings.log(RABBIT).parent),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(enabled),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def server(settings: Settings, service: str) -> Server:
    """Where a service listens, seen from where it runs; its port is 0 where it has none.

    What its file says counts more than the lab's settings: a test may have changed it.
    """
    address, port = settings.listens_at(settings.project(service)), specs.port(service)
    served = declared.daemon(specs.agent(service)).uwsgi
    if served and served.listen:
        file, section = settings.config(service), served.listen_section
        host, number = (config.option(file, section, name) for name in served.listen)
        address, port = host or address, int(number or port)
    return Server(reachable(address), port, settings.namespace)


def where(settings: Settings, service: str) -> Server | None:
    """Where a service listens, seen from where it runs; None for one without a port."""
    if service == RABBIT:
        return settings.rabbit
    if service == OVS:
        return None
    found = server(settings, service)
    return found if found.port else None


def mariadbd(settings: Settings, *options: str) -> list[str]:
    """The command line of the lab's MariaDB: no port, small files, not safe at a loss of power."""
    return [
        "mariadbd",
        "--no-defaults",
        f"--datadir={settings.database_files}/mysql",
        "--skip-networking",
        "--innodb-log-file-size=4M",
        "--innodb-autoextend-increment=1",
        "--innodb-flush-log-at-trx-commit=0",
        # Kernel AIO is limited for the whole machine; many labs would use it up.
        "--innodb-use-native-aio=0",
        *options,
    ]


def refuse_taken(server: Server, service: str) -> None:
    """LabError if the port is taken: that process would answer in the new daemon's place."""
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    where = f"in namespace {server.namespace}" if server.namespace else "on this machine"
    with netns.inside(server.namespace), socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.address, server.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise LabError(
                    f"{service}: port {server.port} is already taken {where}; "
                    "end the process that listens there, or take the lab down first"
                ) from None
            if error.errno == errno.EADDRNOTAVAIL:
                raise LabError(f"{service}: there is no address {server.address} {where}") from None
            raise


def serves(settings: Settings, service: str) -> bool:
    """Whether a service answers without a token."""
    if service == DB:
        return _greets(settings.socket)
    if service == OVS:
        return network.serves(settings)
    if server := where(settings, service):
        if service == RABBIT:
            return _takes_clients(server)
        return _answers(server, SPECS[service].ready if service in SPECS else "")
    # Those that have no connection to RabbitMQ wait for their database by themselves.
    return not declared.lives_by_broker(service) or connected(running(settings, service))


def await_ready(settings: Settings, service: str, master: Process) -> None:
    """Wait until a service serves; fail at once when it ends instead."""
    deadline = time.monotonic() + READY
    while not serves(settings, service):
        if not master.alive():
            raise LabError(f"{service} ended before it served", log=latest_log(settings, service))
        if time.monotonic() > deadline:
            raise LabError(
                f"{service} does not serve after {READY:.0f} s", log=latest_log(settings, service)
            )
        time.sleep(process.POLL)


def latest_log(settings: Settings, service: str) -> Path:
    """The log that a service wrote to last."""
    logs = [log for log in settings.log(service).parent.glob("*.log") if log.stat().st_size]
    return max(logs, key=lambda log: log.stat().st_mtime, default=settings.log(service))


def _remember(settings: Settings, service: str, master: Process) -> None:
    record = {"pid": master.pid, "birth": master.birth, "boot": BOOT.read_text().strip()}
    part = settings.record(service).with_suffix(".part")
    part.write_text(json.dumps(record))
    part.replace(settings.record(service))


def connected(family: Sequence[Process]) -> bool:
    """Whether one of a worker's processes has a connection to RabbitMQ."""
    for member in family:
        try:
            rows = Path(f"/proc/{member.pid}/net/tcp").read_text().splitlines()[1:]
            held = {os.readlink(link) for link in Path(f"/proc/{member.pid}/fd").iterdir()}
        except OSError:  # it has ended meanwhile
            continue
        for row in rows:
            fields = row.split()
            peer, state, inode = fields[2], fields[3], fields[9]
            ours = state == ESTABLISHED and int(peer.rpartition(":")[2], 16) == RABBIT_PORT
            if ours and f"socket:[{inode}]" in held:
                return True
    return False


def _answers(server: Server, path: str) -> bool:
    """Whether a server answers: with 200 if a path is given, else with any status."""
    try:
        status = server.get(path or "/", timeout=5.0).status
    except (OSError, http.client.HTTPException):
        return False
    return status == 200 if path else True


def _takes_clients(server: Server) -> bool:
    """Whether RabbitMQ answers a client's greeting."""
    with netns.inside(server.namespace):
        try:
            connection = socket.create_connection((server.address, server.port), timeout=5.0)
        except OSError:
            return False
    with connection:
        try:
            connection.sendall(AMQP)
            return bool(connection.recv(1))
        except OSError:
            return False


def _greets(path: Path) -> bool:
    """Whether MariaDB sends its greeting: a packet's header, then the protocol's version, 10."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(str(path))
            return connection.recv(5)[4:] == b"\x0a"
        except OSError:
            return False
