"""A real Keystone, Glance and Cinder on one machine: Debian's, or the newest of the latter two.

On request a lab has further projects of Debian's, and a RabbitMQ with them (`lab.specs`).

Run by a person (`python3 -m lab.openstack --help`), and used by the tests, the benchmark and
the demo as `ControlPlane`. A lab is a folder and, unless told otherwise, a network namespace of
its own: many labs run side by side, all of them on 127.0.0.1 and the standard ports.

    with ControlPlane.temporary() as cloud:
        cloud.up("keystone")
        subprocess.run(cloud.argv(["glance-api", f"--config-file={cloud.config('glance')}"]))
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from lab import apt, config, folders, identity, netns, process, release, seed, services, show
from lab.command import exit_code
from lab.errors import LabError
from lab.process import Process
from lab.settings import (
    DB,
    DEBIAN,
    HASH_ROUNDS,
    NONE,
    OWN,
    RABBIT,
    RELEASES,
    Addresses,
    Credentials,
    Settings,
    per_service,
    write_private,
)
from lab.specs import BASE, FURTHER, SPECS
from lab.web import LOOPBACK, Server, reachable

DIRECTORY = Path("/var/lib/openstack-ocf-lab")
TEMPORARY = "openstack-ocf-lab-"
NOT_RUNNING = 3  # an exit code, as of an init script's status


@dataclass(frozen=True)
class Status:
    """The present state of a service of a lab."""

    service: str
    pid: int | None = None
    address: str = ""
    since: float = 0.0

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.service:9} down"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.service:9} up  pid {self.pid:<6} since {since}  {self.address}"


class ControlPlane:
    """One lab. A setting that is not given is as the lab was initialised, or else the default."""

    def __init__(
        self,
        directory: Path | str = DIRECTORY,
        *,
        db: str | None = None,
        netns: str | None = None,
        bind: str | Addresses | None = None,
        endpoint: str | Addresses | None = None,
        workers: int | None = None,
        hash_rounds: int | None = None,
        region: str | None = None,
        release: str | None = None,
        projects: Sequence[str] | None = None,
        database: str | None = None,
        broker: str | None = None,
    ) -> None:
        """Describe a lab; nothing is done yet.

        db: sqlite (the default) or mysql. netns: "own" (the default), "none", or the name of a
        namespace that exists already. bind: where the daemons listen (default 127.0.0.1);
        endpoint: the address in the catalogue (default: where they listen); either one address, or
        one for each of keystone, glance and cinder, and of the projects. hash_rounds: log2 of the
        rounds that hash a password, for each token (default: HASH_ROUNDS, the fewest; measurements
        with Keystone use USUAL_HASH_ROUNDS). release: of Glance and Cinder, debian (the
        default) or newest; Keystone is Debian's. projects: further ones, of FURTHER; with any of
        them there is a RabbitMQ. database, broker: the addresses of a MariaDB and a RabbitMQ that
        are started elsewhere, on the files of this lab (default: the lab's own).
        """
        directory = Path(directory).resolve()
        listen = None if bind is None else per_service(bind)
        called = {name: reachable(address) for name, address in (listen or {}).items()}
        given = {
            "db": db,
            "netns": netns,
            "bind": listen,
            "endpoint": (called or None) if endpoint is None else per_service(endpoint),
            "workers": workers,
            "hash_rounds": hash_rounds,
            "region": region,
            "release": release,
            "projects": None if projects is None else tuple(projects),
            "database": database,
            "broker": broker,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        present = Settings.read(directory)
        self.settings = replace(present or Settings(directory), **chosen)  # type: ignore[arg-type]
        self.initialised = present is not None
        if present and self.settings != present:
            raise LabError(f"{directory} was initialised differently; destroy it first")
        self.settings.check()

    @classmethod
    @contextmanager
    def temporary(
        cls,
        *,
        db: str = "sqlite",
        netns: str = OWN,
        bind: str | Addresses = LOOPBACK,
        endpoint: str | Addresses | None = None,
        workers: int = 2,
        hash_rounds: int = HASH_ROUNDS,
        release: str = DEBIAN,
        projects: Sequence[str] = (),
        database: str = "",
        broker: str = "",
    ) -> Iterator[ControlPlane]:
        """An initialised lab with a folder and a namespace of its own, destroyed at the end."""
        sweep()
        directory = folders.temporary(TEMPORARY)
        try:
            cloud = cls(
                directory,
                db=db,
                netns=netns,
                bind=bind,
                endpoint=endpoint,
                workers=workers,
                hash_rounds=hash_rounds,
                release=release,
                projects=projects,
                database=database,
                broker=broker,
            )
            cloud.init()
            try:
                yield cloud
            finally:
                cloud.destroy()
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    # What it is

    @property
    def directory(self) -> Path:
        """The folder of the lab."""
        return self.settings.directory

    @property
    def namespace(self) -> str | None:
        """The network namespace of the lab; None is the machine's own network."""
        return self.settings.namespace

    @property
    def auth_url(self) -> str:
        """Keystone's URL for clients: with /v3."""
        return self.credentials.auth_url

    @property
    def credentials(self) -> Credentials:
        """The credentials of the monitoring user, who may only read."""
        return self.settings.credentials("monitor", "service")

    @property
    def admin(self) -> Credentials:
        """The credentials of the administrator."""
        return self.settings.credentials("admin", "admin")

    def config(self, service: str) -> Path:
        """The configuration file of a service."""
        return self.settings.config(service)

    def log(self, service: str) -> Path:
        """The file of a service's stdout and stderr; the service's own log is beside it."""
        return self.settings.log(service)

    def server(self, service: str) -> Server:
        """Where a service listens by its configuration; `get` of it sends a request."""
        return services.server(self.settings, service)

    def token(self) -> str:
        """A new token of the monitoring user."""
        return self._token(self.credentials)

    def admin_token(self) -> str:
        """A new token of the administrator."""
        return self._token(self.admin)

    def as_admin(
        self, service: str, method: str, path: str, body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """A service's answer to the administrator, parsed; its status if there is no body."""
        answer = self.server(service).request(
            method, path, body=body, token=self.admin_token(), timeout=60.0, headers=headers
        )
        return answer.json() if answer.body else answer.status

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs a command in the lab's namespace."""
        return netns.argv(self.namespace, command)

    def pids(self, service: str) -> list[int]:
        """The processes of a service that the lab started, its master first."""
        return [found.pid for found in services.running(self.settings, service)]

    def status(self, *chosen: str) -> list[Status]:
        """The status of the chosen services, or of all in this lab."""
        return [self._status(service) for service in self._in_order(chosen)]

    # What it does

    def init(self) -> None:
        """Write the configuration and the databases. An initialised lab stays as it is."""
        _require_root()
        if self.initialised:
            return
        target = self.directory
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise LabError(f"{target} is not empty, and not a lab; use another --dir")
        source = seed.find(self.settings)
        ready = replace(self.settings, passwords=seed.passwords(source))
        target.mkdir(parents=True, exist_ok=True)
        try:
            folders.prepare(ready)
            config.write(ready)
            seed.plant(source, ready)
            self.settings = ready
            for name, user in (("openrc", self.admin), ("openrc-monitor", self.credentials)):
                write_private(target / name, _openrc(user))
            ready.write()
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        self.initialised = True

    def up(self, *chosen: str) -> None:
        """Start the chosen services, or all. What runs is left alone; what fails is undone."""
        _require_root()
        self._require_init()
        created = self._open_namespace()
        started: list[str] = []
        try:
            for service in self._in_order(chosen):
                if found := services.running(self.settings, service):
                    services.await_ready(self.settings, service, found[0])
                    show.line(f"{'':10}{service} runs already")
                    continue
                started.append(service)
                with show.step(f"{service} serves"):
                    services.start(self.settings, service)
        except BaseException:
            if created:
                self.down()
            elif started:
                self.down(*started)
            raise

    def down(self, *chosen: str) -> None:
        """End the chosen services; or all, and the lab's namespace with all that is in it."""
        _require_root()
        for service in reversed(self._in_order(chosen) if self.initialised else []):
            if self.pids(service):
                with show.step(f"{service} down"):
                    services.stop(self.settings, service)
            else:
                self.settings.record(service).unlink(missing_ok=True)
        if not chosen and self.namespace and self.settings.own_namespace:
            netns.remove(self.namespace)

    def destroy(self) -> None:
        """Take everything down and remove the folder."""
        self.down()
        if self.initialised:
            shutil.rmtree(self.directory)
            self.initialised = False

    def set(self, service: str, section: str, option: str, value: str) -> None:
        """Set one option in the configuration file of a service."""
        config.change(self.config(service), section, option, value)

    def variant(self, service: str, name: str, **options: str) -> Path:
        """A second configuration file, with some options of [DEFAULT] changed."""
        return config.variant(self.config(service), name, {"DEFAULT": options})

    def twin(self, service: str, name: str, **options: str) -> Path:
        """The same in a second configuration folder: under uWSGI the file's name is fixed."""
        return config.twin(self.config(service), name, {"DEFAULT": options})

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """Stop a service for a while with SIGSTOP: it takes connections and never answers."""
        stopped = services.running(self.settings, service)
        if not stopped:
            raise LabError(f"{service} does not run")
        try:
            process.freeze(stopped)
            yield
        finally:
            for member in stopped:
                member.send(signal.SIGCONT)

    @contextmanager
    def password_of_monitor(self, password: str) -> Iterator[None]:
        """Change the monitoring user's password in Keystone for a while; old tokens are invalid.

        `credentials` keeps the one that is right again afterwards.
        """
        known = self.credentials
        administrator = identity.Administrator(self.server("keystone"), self.admin.password)
        (user,) = administrator.call("GET", f"/users?name={known.username}")["users"]

        def change(new: str) -> None:
            administrator.call("PATCH", f"/users/{user['id']}", {"user": {"password": new}})

        change(password)
        try:
            yield
        finally:
            change(known.password)

    @contextmanager
    def without_database(self, service: str) -> Iterator[None]:
        """Make the database of a service unavailable for a while.

        With sqlite it is that of this service alone. With mysql it is that of all, Keystone's
        too: a worker that has not seen the token answers 401 rather than 500. A hung database
        is `frozen("db")`; SQLite has nothing that could hang.
        """
        if self.settings.db == "mysql":
            self.down(DB)
            try:
                yield
            finally:
                self.up(DB)
            return
        # A folder takes its place, since a missing file would be made anew.
        file = self.settings.sqlite_file(service)
        aside = file.with_suffix(".aside")
        file.rename(aside)
        try:
            file.mkdir()
            yield
        finally:
            file.rmdir()
            aside.rename(file)

    # How it does it

    def _token(self, user: Credentials) -> str:
        return identity.token(
            self.server("keystone"), user.username, user.password, user.project_name
        )

    def _in_order(self, chosen: Sequence[str]) -> list[str]:
        there = self.settings.services
        if unknown := set(chosen) - {DB, *there}:
            raise LabError(f"no such service: {', '.join(sorted(unknown))} (there are {there})")
        wanted = chosen or there
        return [service for service in there if service in wanted]

    def _require_init(self) -> None:
        if not self.initialised:
            raise LabError(
                f"{self.directory} is not initialised; "
                f"run: python3 -m lab.openstack init --dir {self.directory}"
            )

    def _open_namespace(self) -> bool:
        if not self.namespace or netns.exists(self.namespace):
            return False
        if not self.settings.own_namespace:
            raise LabError(
                f"there is no network namespace {self.namespace}; "
                f"make it (ip netns add {self.namespace}), or let the lab have its own"
            )
        local = [a for a in set(self.settings.bind.values()) if not _on_any_machine(a)]
        netns.create(self.namespace, sorted(local))
        return True

    def _status(self, service: str) -> Status:
        found = services.running(self.settings, service)
        if not found:
            return Status(service)
        server = None if service == DB else services.where(self.settings, service)
        address = str(self.settings.socket if service == DB else server or "")
        return Status(service, found[0].pid, address, found[0].since())


def sweep() -> None:
    """Destroy the temporary labs whose owners were killed before they could do it."""
    folders.sweep(TEMPORARY, lambda directory: ControlPlane(directory).destroy())


def strangers(cloud: ControlPlane) -> list[Process]:
    """Processes in the lab's namespace that the lab did not start: the agents' daemons."""
    own = {pid for service in cloud.settings.services for pid in cloud.pids(service)}
    inside = netns.members(cloud.namespace) if cloud.namespace else []
    return [found for found in inside if found.pid not in own]


def _on_any_machine(address: str) -> bool:
    return address.startswith("127.") or address in ("0.0.0.0", "::", "::1")


def _openrc(user: Credentials) -> str:
    variables = user.environment().items()
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("this needs root: it starts daemons as other users")


# The command line


def _install(options: argparse.Namespace) -> int:
    _require_root()
    db, chosen = options.db or "sqlite", options.release or DEBIAN
    wanted = seed.packages(db, chosen, options.projects or ())
    with show.step("everything is installed"):
        apt.install(wanted)
        if chosen != DEBIAN:
            release.find()
    for name, version in apt.versions(wanted).items():
        show.line(f"{'':10}{name} {version}")
    return 0


def _init(options: argparse.Namespace) -> int:
    cloud = ControlPlane(
        options.dir,
        db=options.db,
        netns=options.netns,
        bind=options.bind,
        endpoint=options.endpoint,
        workers=options.workers,
        release=options.release,
        projects=options.projects,
    )
    with show.step(f"{cloud.directory} is initialised"):
        cloud.init()
    show.line(f"{'':10}the administrator: . {cloud.directory}/openrc")
    show.line(f"{'':10}the monitoring user: . {cloud.directory}/openrc-monitor")
    return 0


def _up(options: argparse.Namespace) -> int:
    cloud = ControlPlane(options.dir)
    cloud.up(*options.only)
    return 0


def _down(options: argparse.Namespace) -> int:
    ControlPlane(options.dir).down(*options.only)
    return 0


def _status(options: argparse.Namespace) -> int:
    cloud = ControlPlane(options.dir)
    cloud._require_init()
    rows = cloud.status(*options.only)
    for row in rows:
        show.line(str(row))
    if others := strangers(cloud):
        show.line(f"{len(others)} other processes in namespace {cloud.namespace}")
    return 0 if all(row.pid for row in rows) else NOT_RUNNING


def _destroy(options: argparse.Namespace) -> int:
    ControlPlane(options.dir).destroy()
    return 0


def _run(options: argparse.Namespace) -> NoReturn:
    _require_root()
    cloud = ControlPlane(options.dir)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LabError("run: which command?")
    if cloud.namespace and not netns.exists(cloud.namespace):
        raise LabError(f"there is no network namespace {cloud.namespace}; is the lab up?")
    argv = cloud.argv(command)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise LabError(f"{argv[0]}: {error.strerror}") from None


def _services(text: str) -> list[str]:
    further = [daemon for spec in SPECS.values() for daemon in spec.daemons]
    return _known(text, "service", [DB, *BASE, RABBIT, *further])


def _projects(text: str) -> list[str]:
    return _known(text, "project", FURTHER)


def _known(text: str, what: str, known: Sequence[str]) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(known):
        raise argparse.ArgumentTypeError(
            f"no such {what}: {', '.join(sorted(unknown))} (there are {', '.join(known)})"
        )
    return names


def _addresses(text: str) -> str | Mapping[str, str]:
    if "=" not in text:
        return text
    pairs = [pair.partition("=") for pair in text.split(",")]
    return {name: address for name, _, address in pairs}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m lab.openstack",
        description="A real Keystone, Glance and Cinder on one machine.",
        epilog="From nothing: install, init, up. Back to nothing: destroy. All of it as root.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    directory = argparse.ArgumentParser(add_help=False)
    directory.add_argument(
        "--dir", type=Path, default=DIRECTORY, help="the lab's folder (default: %(default)s)"
    )
    database = argparse.ArgumentParser(add_help=False)
    database.add_argument(
        "--db",
        choices=("sqlite", "mysql"),
        help="SQLite files (default), or a private MariaDB on a Unix socket",
    )
    database.add_argument(
        "--release",
        choices=RELEASES,
        help="Glance and Cinder of Debian (default), or the newest, in a virtual environment",
    )
    database.add_argument(
        "--projects",
        type=_projects,
        metavar="A,B",
        help=f"further projects, and with them a RabbitMQ: some of {', '.join(FURTHER)}",
    )
    only = argparse.ArgumentParser(add_help=False)
    only.add_argument(
        "--only",
        type=_services,
        default=[],
        metavar="A,B",
        help=f"some of {', '.join((DB, *BASE))} (default: all)",
    )

    install = commands.add_parser(
        "install",
        parents=[database],
        help="install the packages that are missing: Debian's, and the newest with pip",
    )
    install.set_defaults(function=_install)

    init = commands.add_parser(
        "init", parents=[directory, database], help="write configuration, databases and users"
    )
    init.add_argument(
        "--netns",
        metavar="NAME",
        help=f"network namespace to run in: {OWN} (default; made by up, deleted by down), "
        f"{NONE} (the machine's own network), or the name of one that exists",
    )
    init.add_argument(
        "--bind",
        type=_addresses,
        metavar="ADDRESS",
        help="where the daemons listen (default: 127.0.0.1); "
        "or keystone=ADDRESS,glance=ADDRESS,cinder=ADDRESS",
    )
    init.add_argument(
        "--endpoint",
        type=_addresses,
        metavar="ADDRESS",
        help="the address in the catalogue (default: where the daemons listen)",
    )
    init.add_argument("--workers", type=int, metavar="N", help="processes a service (default: 2)")
    init.set_defaults(function=_init)

    for name, function, text in (
        ("up", _up, "start the services and wait until they serve"),
        ("down", _down, "end them; without --only also all that runs in the lab's namespace"),
        ("status", _status, "show what runs; exit code 0 if all does, 3 if not"),
    ):
        command = commands.add_parser(name, parents=[directory, only], help=text)
        command.set_defaults(function=function)

    destroy = commands.add_parser("destroy", parents=[directory], help="down, and remove the lab")
    destroy.set_defaults(function=_destroy)

    run = commands.add_parser(
        "run", parents=[directory], help="run a command in the lab's namespace: run -- CMD ..."
    )
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    run.set_defaults(function=_run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    return exit_code("lab", lambda: int(options.function(options)))


if __name__ == "__main__":
    sys.exit(main())
