"""Start, find and stop one service of a lab: db, keystone, glance or cinder.

Called by `lab.openstack`, and by `lab.seed`, which needs a database and a Keystone for a
moment. A started service is remembered in DIR/run by pid and birth.
"""

from __future__ import annotations

import errno
import http.client
import json
import socket
import time
from pathlib import Path

from lab import config, netns, process
from lab.errors import LabError
from lab.process import Process
from lab.settings import USERS, Settings
from lab.web import Server

READY = 60.0  # seconds; a loaded machine is slow to import OpenStack
GRACE = 8.0  # MariaDB has something to write down
READY_PATHS = {"keystone": "/v3", "glance": "/healthcheck", "cinder": "/healthcheck"}
KEYSTONE_SCRIPT = Path("/usr/bin/keystone-wsgi-public")
BOOT = Path("/proc/sys/kernel/random/boot_id")


def start(settings: Settings, service: str) -> Process:
    """Start a service and wait until it serves. One that does not is ended again."""
    if service == "db":
        settings.socket.unlink(missing_ok=True)  # of a MariaDB that was killed
    else:
        refuse_taken(config.server(settings, service), service)
    environment = {
        "OS_KEYSTONE_CONFIG_FILES": str(settings.config("keystone")),
        "OS_GLANCE_CONFIG_DIR": str(settings.config("glance").parent),
    }
    with netns.inside(settings.namespace):
        master = process.spawn(
            command(settings, service),
            user=USERS[service],
            home=settings.home(service),
            log=settings.log(service),
            environment=environment,
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
        return process.session(record["pid"], record["birth"])
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (ValueError, KeyError) as error:
        raise LabError(f"{settings.record(service)} is damaged: {error}") from None


def command(settings: Settings, service: str) -> list[str]:
    """The command line of a service. There is no password in any of them."""
    if service == "db":
        return mariadbd(settings, f"--socket={settings.socket}", "--max-connections=500")
    if service == "keystone":
        return uwsgi(settings, service, _keystone())
    configuration = f"--config-file={settings.config(service)}"
    if environment := settings.environment(service):
        return uwsgi(
            settings,
            service,
            f"--virtualenv={environment}",
            f"--module={service}.wsgi.api:application",
            *([f"--pyargv={configuration}"] if service == "cinder" else []),
        )
    return [f"/usr/bin/{service}-api", configuration]


def _keystone() -> str:
    """Keystone's application, as uWSGI is told: a script, or a module where there is none."""
    if KEYSTONE_SCRIPT.exists():
        return f"--wsgi-file={KEYSTONE_SCRIPT}"
    return "--module=keystone.wsgi.api:application"


def mariadbd(settings: Settings, *options: str) -> list[str]:
    """A MariaDB of our own: no port, small files, and no care for a loss of power."""
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


def uwsgi(settings: Settings, service: str, *application: str) -> list[str]:
    """A service as Debian runs it, but with our number of processes."""
    address = settings.bind[service]
    host = f"[{address}]" if ":" in address else address
    return [
        "uwsgi_python3",
        f"--http-socket={host}:{config.server(settings, service).port}",
        *application,
        "--plugins=python3",
        "--master",
        "--die-on-term",
        "--no-orphans",
        "--lazy-apps",
        "--enable-threads",
        "--need-app",
        f"--processes={settings.workers}",
        "--threads=4",
        "--buffer-size=65535",
        # uwsgi closes the connection, and without this a client would not expect it.
        "--add-header=Connection: close",
    ]


def refuse_taken(server: Server, service: str) -> None:
    """Fail when somebody listens there: he would answer in the new daemon's place."""
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
                    "end whoever listens there, or take the lab down first"
                ) from None
            if error.errno == errno.EADDRNOTAVAIL:
                raise LabError(f"{service}: there is no address {server.address} {where}") from None
            raise


def serves(settings: Settings, service: str) -> bool:
    """Whether a service answers without a token."""
    if service == "db":
        return _greets(settings.socket)
    return _answers(config.server(settings, service), READY_PATHS[service])


def await_ready(settings: Settings, service: str, master: Process) -> None:
    """Wait until a service serves; fail at once when it ends instead."""
    deadline = time.monotonic() + READY
    while not serves(settings, service):
        if not master.alive():
            raise LabError(f"{service} ended before it served", log=words(settings, service))
        if time.monotonic() > deadline:
            raise LabError(
                f"{service} does not serve after {READY:.0f} s", log=words(settings, service)
            )
        time.sleep(process.POLL)


def words(settings: Settings, service: str) -> Path:
    """The log that a service wrote to last."""
    logs = [log for log in settings.log(service).parent.glob("*.log") if log.stat().st_size]
    return max(logs, key=lambda log: log.stat().st_mtime, default=settings.log(service))


def _remember(settings: Settings, service: str, master: Process) -> None:
    record = {"pid": master.pid, "birth": master.birth, "boot": BOOT.read_text().strip()}
    part = settings.record(service).with_suffix(".part")
    part.write_text(json.dumps(record))
    part.replace(settings.record(service))


def _answers(server: Server, path: str) -> bool:
    try:
        return server.get(path, timeout=5.0).status == 200
    except (OSError, http.client.HTTPException):
        return False


def _greets(path: Path) -> bool:
    """MariaDB speaks first: a packet's header, then the protocol's version, 10."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(str(path))
            return connection.recv(5)[4:] == b"\x0a"
        except OSError:
            return False
