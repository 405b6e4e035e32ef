"""What one lab is made of: its folder, its addresses, its passwords, and where each file is.

Read by every part below; written by `lab.openstack` when a lab is initialised.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lab import declared
from lab.errors import LabError
from lab.web import Server

SERVICES = ("db", "keystone", "glance", "cinder")  # in the order of their start
APIS = SERVICES[1:]
RABBIT = "rabbit"
RABBIT_PORT = 5672
OVS = "ovs"
"""Open vSwitch, where Neutron's agents run (`lab.network`)."""

DAEMONS = {
    "placement": ("placement-api",),
    "nova": (
        "nova-conductor",
        "nova-scheduler",
        "nova-api",
        "nova-api-metadata",
        "nova-novnc",
        "nova-serialproxy",
        "nova-compute",
    ),
    "neutron": (
        "neutron-rpc-server",
        "neutron-server",
        "neutron-ovs-agent",
        "neutron-dhcp-agent",
        "neutron-l3-agent",
        "neutron-metadata-agent",
    ),
    "heat": ("heat-engine", "heat-api", "heat-api-cfn"),
    "cinder": ("cinder-scheduler", "cinder-volume", "cinder-backup"),
    "ceilometer": ("ceilometer-agent-central", "ceilometer-agent-notification"),
    "manila": ("manila-scheduler", "manila-api", "manila-share", "manila-data"),
    "designate": (
        "designate-central",
        "designate-api",
        "designate-producer",
        "designate-worker",
        "designate-mdns",
        "designate-sink",
    ),
    "barbican": ("barbican-worker", "barbican-api"),
    "aodh": ("aodh-evaluator", "aodh-listener", "aodh-notifier", "aodh-api"),
    "octavia": (
        "octavia-worker",
        "octavia-health-manager",
        "octavia-housekeeping",
        "octavia-api",
    ),
    "ironic": ("ironic-conductor", "ironic-api"),
    "magnum": ("magnum-conductor", "magnum-api"),
    "gnocchi": ("gnocchi-metricd", "gnocchi-api"),
    "masakari": ("masakari-engine", "masakari-api"),
}
"""The further projects that a lab may have, and the agents of their daemons (see `lab.specs`)."""
USUAL_PROJECTS = (
    "placement", "nova", "neutron", "heat", "cinder", "ceilometer", "manila", "designate",
)  # fmt: skip
"""The projects of most labs with further ones: their databases are made once, and copied."""
UWSGI_ONLY = ("nova-api-metadata",)
"""Agents whose daemon Debian has as a WSGI script alone."""
LOOPBACK = "127.0.0.1"
OWN = "own"
NONE = "none"
PORTS = {"keystone": 5000, "glance": 9292, "cinder": 8776}
CONFIG_FILES = {
    "keystone": "keystone.conf",
    "glance": "glance-api.conf",
    "cinder": "cinder.conf",
}
USERS = {"db": "nobody", "keystone": "keystone", "glance": "glance", "cinder": "cinder"}
SOCKET_PATH_MAX = 107
HASH_ROUNDS = 4
"""log2 of the rounds (bcrypt) in which Keystone hashes a password: the fewest that it allows."""
USUAL_HASH_ROUNDS = 12
"""Keystone's default. The hash then takes 0.2 s of a processor, for each new token."""
RELEASES = (DEBIAN, NEWEST) = ("debian", "newest")
CACHE = Path("/var/cache/openstack-ocf-lab")  # what is made once for all labs
SYSTEM_PYTHON = Path("/usr/bin/python3")
# Debian's uWSGI is built with one Python, and cannot load modules that are built for another.
NEWEST_ENVIRONMENT = CACHE / f"{NEWEST}-{SYSTEM_PYTHON.resolve().name}"
NEWEST_CONTROL_PLANE = CACHE / f"control-plane-{NEWEST}-{SYSTEM_PYTHON.resolve().name}"

Addresses = Mapping[str, str]


@dataclass(frozen=True)
class Credentials:
    """What Keystone needs to give a token."""

    auth_url: str
    username: str
    password: str = field(repr=False)
    project_name: str
    region_name: str
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"

    def environment(self) -> dict[str, str]:
        """The usual OS_ variables."""
        names = {f"OS_{name.upper()}": value for name, value in asdict(self).items()}
        return {**names, "OS_IDENTITY_API_VERSION": "3", "OS_AUTH_TYPE": "v3password"}


@dataclass(frozen=True)
class Settings:
    """The settings that a lab is initialised with, and the passwords in its databases."""

    directory: Path
    db: str = "sqlite"
    netns: str = OWN
    bind: Addresses = field(default_factory=lambda: per_service("127.0.0.1"))
    endpoint: Addresses = field(default_factory=lambda: per_service("127.0.0.1"))
    workers: int = 2
    hash_rounds: int = HASH_ROUNDS
    region: str = "regionOne"
    release: str = DEBIAN
    projects: tuple[str, ...] = ()
    database: str = ""  # the address of MariaDB; empty: its socket
    broker: str = ""  # the address of RabbitMQ; empty: that of Keystone
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def namespace(self) -> str | None:
        """The network namespace that the services run in; None is the machine's own."""
        if self.netns == OWN:
            name = re.sub(r"[^\w.-]", "-", self.directory.name)[:40]
            digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:6]
            return f"{name}-{digest}"
        return None if self.netns == NONE else self.netns

    @property
    def own_namespace(self) -> bool:
        """Whether the namespace is made and removed by the lab."""
        return self.netns == OWN

    @property
    def services(self) -> tuple[str, ...]:
        """All services, in the order of their start."""
        db = SERVICES[: 1 if self.db == "mysql" else 0]
        rabbit = (RABBIT,) if self.projects else ()
        ovs = (OVS,) if "neutron" in self.projects else ()
        daemons = [daemon for name in self.projects for daemon in DAEMONS[name]]
        return (*db, *rabbit, *APIS, *ovs, *daemons)

    @property
    def users(self) -> dict[str, str]:
        """The user who owns the folders of each project, by the project's name."""
        rabbit = {RABBIT: "rabbitmq"} if self.projects else {}
        ovs = {OVS: "root"} if "neutron" in self.projects else {}
        return {**USERS, **rabbit, **ovs, **{name: name for name in self.projects}}

    def project(self, service: str) -> str:
        """The project of a service; each service that every lab has is a project of its own."""
        if service in (*SERVICES, RABBIT, OVS, *self.projects):
            return service
        return next(name for name, daemons in DAEMONS.items() if service in daemons)

    def own(self, path: Path) -> Path:
        """The path in this lab that takes the place of a file or folder of the machine."""
        return self.directory / path.relative_to("/")

    def config(self, service: str) -> Path:
        """The configuration file of a service."""
        if service in CONFIG_FILES:
            return self.directory / "etc" / service / CONFIG_FILES[service]
        return self.own(Path(declared.defaults(service)["config"]))

    def parameters(self, service: str) -> dict[str, str]:
        """The agent's parameters with which it reads this lab's configuration."""
        if declared.fixed_config(service):  # `lab.mounts` mounts the lab's own there
            return declared.config_parameters(service)
        files = declared.config_parameters(service).items()
        server = {"server": "uwsgi"} if service in UWSGI_ONLY else {}
        return {**{name: str(self.own(Path(path))) for name, path in files}, **server}

    def environment(self, service: str) -> Path | None:
        """The virtual environment that a service is in; None where it is Debian's."""
        newest = self.release == NEWEST and service in ("glance", "cinder")
        return NEWEST_ENVIRONMENT if newest else None

    def program(self, service: str, name: str) -> str:
        """The path of one of a service's programs."""
        return str((self.environment(service) or Path("/usr")) / "bin" / name)

    def shipped(self, service: str, name: str) -> Path:
        """A configuration file that came with a service."""
        return (self.environment(service) or Path("/")) / "etc" / service / name

    def home(self, service: str) -> Path:
        """The folder in which a service keeps its files."""
        return self.directory / "lib" / self.project(service)

    def log(self, service: str) -> Path:
        """The file of a service's stdout and stderr."""
        project = self.project(service)
        name = "output" if project == service else f"{service}-output"
        return self.directory / "log" / project / f"{name}.log"

    def record(self, service: str) -> Path:
        """The file that records a started service."""
        return self.directory / "run" / f"{service}.json"

    @property
    def database_files(self) -> Path:
        """The folder of all databases."""
        return self.directory / "db"

    @property
    def socket(self) -> Path:
        """MariaDB's Unix socket, which is reached from every network namespace."""
        return self.database_files / "mysql.sock"

    @property
    def file(self) -> Path:
        """Where these settings are kept."""
        return self.directory / "settings.json"

    @property
    def several(self) -> bool:
        """Whether the daemons run on any of several nodes, with a database that all reach."""
        return bool(self.database)

    @property
    def rabbit(self) -> Server:
        """RabbitMQ, seen from where it runs: at Keystone's address, which all reach, or its own."""
        address = self.broker or reachable(self.bind["keystone"])
        return Server(address, RABBIT_PORT, self.namespace)

    def listens_at(self, name: str) -> str:
        """The address that a project's daemons listen on."""
        return self.bind.get(name, LOOPBACK)

    def called_at(self, name: str) -> str:
        """The address of a project's API in the catalogue."""
        return self.endpoint.get(name, LOOPBACK)

    def keystone_url(self) -> str:
        """Keystone's URL for the catalogue and the other services."""
        return str(Server(self.endpoint["keystone"], PORTS["keystone"]))

    def credentials(self, username: str, project: str) -> Credentials:
        """The credentials of a user of this lab."""
        if username not in self.passwords:
            raise LabError(f"{self.directory} is not initialised")
        return Credentials(
            auth_url=f"{self.keystone_url()}/v3",
            username=username,
            password=self.passwords[username],
            project_name=project,
            region_name=self.region,
        )

    def write(self) -> None:
        """Write the settings to their file, for root only: there are passwords in it."""
        content = {**asdict(self), "directory": str(self.directory)}
        write_private(self.file, json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Settings | None:
        """The settings of an initialised lab; None if there is none."""
        try:
            content = json.loads((directory / "settings.json").read_text())
            projects = tuple(content.pop("projects", ()))
            return replace(cls(**content), directory=directory, projects=projects)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise LabError(f"{directory}/settings.json cannot be read: {error}") from None

    def check(self) -> None:
        """Raise LabError for settings that cannot work, before anything is done."""
        if self.db not in ("sqlite", "mysql"):
            raise LabError(f"no such kind of database: {self.db} (sqlite or mysql)")
        if self.release not in RELEASES:
            raise LabError(f"no such release: {self.release} (there are {RELEASES})")
        if unknown := set(self.projects) - set(DAEMONS):
            known = ", ".join(DAEMONS)
            raise LabError(f"no such project: {', '.join(sorted(unknown))} (there are {known})")
        if self.projects and self.db != "mysql":
            raise LabError(f"{', '.join(self.projects)}: these want --db mysql")
        if len(os.fsencode(self.socket)) > SOCKET_PATH_MAX:
            raise LabError(f"the path is too long for a socket: {self.socket}; use a shorter --dir")
        for folder in self.directory.parents:
            if folder.exists() and not folder.stat().st_mode & 0o001:
                raise LabError(
                    f"{folder} is closed to the users keystone, glance and cinder; "
                    f"use another --dir, or: chmod o+x {folder}"
                )


def per_service(addresses: str | Addresses) -> dict[str, str]:
    """An address for each API, from one for all or from some of them; and for further projects."""
    if isinstance(addresses, str):
        return dict.fromkeys(APIS, addresses)
    if unknown := set(addresses) - {*APIS, *DAEMONS}:
        raise LabError(f"no such service: {', '.join(sorted(unknown))} (there are {APIS})")
    return {**per_service(LOOPBACK), **addresses}


def reachable(address: str) -> str:
    """The address to connect to, where a server listens on this one."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def write_private(path: Path, text: str) -> None:
    """Write a file that no other user can read, not even for a moment."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
