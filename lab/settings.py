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

from lab import declared, specs
from lab.errors import LabError
from lab.specs import BASE, FURTHER, SPECS, WSGI_ONLY
from lab.web import LOOPBACK, Server, reachable

DB = "db"
"""MariaDB, in a lab whose databases are not SQLite's."""
RABBIT = "rabbit"
RABBIT_PORT = 5672
OVS = "ovs"
"""Open vSwitch, where Neutron's agents run (`lab.network`)."""
OWN = "own"
NONE = "none"
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
    bind: Addresses = field(default_factory=lambda: per_service(LOOPBACK))
    endpoint: Addresses = field(default_factory=lambda: per_service(LOOPBACK))
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
    def every_project(self) -> tuple[str, ...]:
        """Keystone, Glance and Cinder, and the further projects; each once."""
        return tuple(dict.fromkeys((*BASE, *self.projects)))

    @property
    def services(self) -> tuple[str, ...]:
        """All services, in the order of their start."""
        db = (DB,) if self.db == "mysql" else ()
        rabbit = (RABBIT,) if self.projects else ()
        ovs = (OVS,) if "neutron" in self.projects else ()
        daemons = [daemon for name in self.projects for daemon in SPECS[name].daemons]
        return (*db, *rabbit, *BASE, *ovs, *daemons)

    @property
    def users(self) -> dict[str, str]:
        """The user who owns the folders of each project, by the project's name."""
        rabbit = {RABBIT: "rabbitmq"} if self.projects else {}
        ovs = {OVS: "root"} if "neutron" in self.projects else {}
        return {DB: "nobody", **rabbit, **ovs, **{name: name for name in self.every_project}}

    def project(self, service: str) -> str:
        """The project of a service; the database, RabbitMQ and Open vSwitch are their own."""
        return service if service in (DB, RABBIT, OVS) else specs.project(service)

    def own(self, path: Path) -> Path:
        """The path in this lab that takes the place of a file or folder of the machine."""
        return self.directory / path.relative_to("/")

    def config(self, service: str) -> Path:
        """The configuration file of a service."""
        return self.own(Path(declared.defaults(specs.agent(service))["config"]))

    def parameters(self, agent: str) -> dict[str, str]:
        """The parameters with which an agent reads this lab's configuration."""
        if declared.fixed_config(agent):  # `lab.mounts` mounts the lab's own there
            return declared.config_parameters(agent)
        files = declared.config_parameters(agent).items()
        server = {"server": "uwsgi"} if agent in WSGI_ONLY else {}
        return {**{name: str(self.own(Path(path))) for name, path in files}, **server}

    def environment(self, project: str) -> Path | None:
        """The virtual environment that a project is in; None where it is Debian's."""
        newest = self.release == NEWEST and SPECS[project].newest
        return NEWEST_ENVIRONMENT if newest else None

    def shipped(self, project: str, name: str) -> Path:
        """A configuration file that came with a project."""
        return (self.environment(project) or Path("/")) / "etc" / project / name

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

    def sqlite_file(self, project: str) -> Path:
        """The file of a project's SQLite database."""
        return self.database_files / project / f"{project}.sqlite"

    def connection(self, project: str, database: str = "") -> str:
        """The URL of a project's database, for SQLAlchemy; by default that of its own name."""
        if self.db == "mysql":
            login = f"{project}:{self.passwords['db']}"
            name = database or project
            if self.database:
                return f"mysql+pymysql://{login}@{self.database}/{name}"
            return f"mysql+pymysql://{login}@localhost/{name}?unix_socket={self.socket}"
        return f"sqlite:///{self.sqlite_file(project)}"

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
        return str(Server(self.endpoint["keystone"], specs.port("keystone")))

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
        if unknown := set(self.projects) - set(FURTHER):
            known = ", ".join(FURTHER)
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
    """An address for each of BASE, from one for all or from some; and for further projects."""
    if isinstance(addresses, str):
        return dict.fromkeys(BASE, addresses)
    if unknown := set(addresses) - {*SPECS}:
        raise LabError(f"no such service: {', '.join(sorted(unknown))} (there are {BASE})")
    return {**per_service(LOOPBACK), **addresses}


def write_private(path: Path, text: str) -> None:
    """Write a file that no other user can read, not even for a moment."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
