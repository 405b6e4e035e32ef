"""The databases and Keystone's content: made once for a kind of lab, copied into each.

Called by `lab.openstack` when a lab is initialised. To make the schemas and to fill Keystone
takes OpenStack's own tools some ten seconds; to copy the result takes a moment. A seed is named
after all that it depends on: the kind of database, the packages, the region, how passwords are
hashed, and this code. In a copy, only the addresses in the catalogue are changed.
It holds passwords, so only root can read it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lab import (
    apt,
    config,
    declared,
    folders,
    identity,
    mounts,
    netns,
    process,
    release,
    services,
    show,
    specs,
)
from lab.errors import LabError
from lab.settings import (
    CACHE,
    DB,
    DEBIAN,
    NONE,
    Settings,
    write_private,
)
from lab.specs import BASE, SPECS, spec
from lab.web import Server

PACKAGES = ("iproute2",)
MARIADB = "mariadb-server-core"
KEYS = ("fernet-keys", "credential-keys")
KEYSTONE = "keystone"
ACCOUNTS = ("admin", "monitor", "db")
"""Those that have a password beside the projects."""
SERVICE_ROLES = ("admin", "service")
READER = "reader"
# Both kinds of database accept this SQL. Hexadecimal text needs no quoting.
SET_URL = (
    "update endpoint set url = cast(x'{url}' as char) "
    "where service_id = (select id from service where type = '{kind}');"
)
# MariaDB is about to drop the name of MySQL: new releases have new names, Debian 12 the old ones.
MARIADB_FOLDERS = (Path("/usr/share/mariadb"), Path("/usr/share/mysql"))
SYSTEM_TABLES = (
    ("mariadb_system_tables.sql", "mysql_system_tables.sql"),
    ("mariadb_performance_tables.sql", "mysql_performance_tables.sql"),
    ("mariadb_system_tables_data.sql", "mysql_system_tables_data.sql"),
    ("maria_add_gis_sp_bootstrap.sql",),
)


def packages(db: str, chosen: str = DEBIAN, projects: Sequence[str] = ()) -> tuple[str, ...]:
    """The Debian packages that a lab with this kind of database and this release is made of.

    Keystone, and the users of the others, are Debian's in all of them.
    """
    mariadb = (MARIADB,) if db == "mysql" else ()
    newest = release.PACKAGES if chosen != DEBIAN else ()
    return (*specs.packages(projects), *PACKAGES, *mariadb, *newest)


def find(settings: Settings) -> Path:
    """The seed for a lab like this; it is made when there is none yet."""
    require(settings)
    kind = _kind(settings)
    known = {} if kind.release == DEBIAN else release.find()
    seed = CACHE / _name(kind, known)
    if seed.exists():
        return seed
    with folders.alone("seed", "makes a seed"):
        if not seed.exists():
            _make(kind, seed)
    return seed


def passwords(seed: Path) -> dict[str, str]:
    """The passwords of the users in a seed's databases."""
    known: dict[str, str] = json.loads((seed / "passwords.json").read_text())
    return known


def plant(seed: Path, settings: Settings) -> None:
    """Copy a seed's databases and keys into the folders of a new lab."""
    shutil.copytree(seed / "db", settings.database_files, dirs_exist_ok=True)
    for keys in KEYS:
        shutil.copytree(seed / keys, settings.home(KEYSTONE) / keys)
    folders.own(settings)
    _address(settings)


def require(settings: Settings) -> None:
    """Fail when a package is missing, and say how to get it."""
    wanted = packages(settings.db, settings.release, settings.projects)
    installed = apt.versions(wanted)
    if missing := [name for name in wanted if name not in installed]:
        other = "" if settings.release == DEBIAN else f" --release {settings.release}"
        other += f" --projects {','.join(settings.projects)}" if settings.projects else ""
        raise LabError(
            f"not installed: {' '.join(missing)}; "
            f"run: python3 -m lab.openstack install --db {settings.db}{other}"
        )


def _kind(settings: Settings) -> Settings:
    """The lab that a seed for this one is made in: all on loopback, and as small as possible.

    Labs of the same kind share a seed. The further daemons of a project that every lab has, as
    Cinder's, need nothing from it.
    """
    return Settings(
        CACHE / "workshop",
        db=settings.db,
        workers=1,
        hash_rounds=settings.hash_rounds,
        region=settings.region,
        release=settings.release,
        projects=tuple(sorted(set(settings.projects) - set(BASE))),
    )


def _name(kind: Settings, known: Mapping[str, str]) -> str:
    """The name of a seed. known: the versions of what is not Debian's."""
    installed = apt.versions(packages(kind.db, kind.release, kind.projects))
    sources = {inspect.getfile(SPECS[name].options) for name in kind.every_project}
    for module in (config, identity, services, specs, spec):
        sources.add(inspect.getfile(module))
    code = [Path(file).read_text() for file in (__file__, *sorted(sources))]
    catalogue = _catalogue(kind)
    parts = [installed, dict(known), kind.region, kind.hash_rounds, code, catalogue]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{kind.db}-{digest[:16]}"


def _make(kind: Settings, seed: Path) -> None:
    """Make a seed in a workshop of its own, and move it to its place when it is complete."""
    names = (*ACCOUNTS, *(name for name in kind.every_project if name != KEYSTONE))
    build = replace(kind, passwords={name: secrets.token_urlsafe(18) for name in names})
    _clear(build)  # left by a killed process
    show.line(f"making the {kind.db} databases, once for all labs like this one")
    try:
        build.directory.mkdir()
        folders.prepare(build)
        config.write(build)
        _fill(build)
        _keep(build, seed)
    finally:
        _clear(build)


def _clear(build: Settings) -> None:
    netns.remove(str(build.namespace))
    shutil.rmtree(build.directory, ignore_errors=True)


def _fill(build: Settings) -> None:
    netns.create(str(build.namespace))
    if build.db == "mysql":
        with show.step("mariadb: system tables"):
            _create_mariadb(build)
        with show.step("mariadb"):
            services.start(build, DB)
    with ThreadPoolExecutor() as pool:  # each has a database of its own
        jobs = [pool.submit(_make_tables, build, name) for name in build.every_project]
        for done in jobs:
            done.result()
    with show.step("keystone: bootstrap"):
        _bootstrap(build)
    with show.step("keystone"):
        services.start(build, KEYSTONE)
    with show.step("keystone: users, services, endpoints"):
        _populate(build)
    services.stop(build, KEYSTONE)
    services.stop(build, DB)


def _keep(build: Settings, seed: Path) -> None:
    if build.db == "sqlite":
        for name in build.every_project:
            _write_ahead(build, name)  # what is still in the log goes into the file
    part = build.directory / "seed"
    part.mkdir(mode=0o700)
    shutil.copytree(build.database_files, part / "db", ignore=shutil.ignore_patterns("*.sock"))
    for keys in KEYS:
        shutil.copytree(build.home(KEYSTONE) / keys, part / keys)
    write_private(part / "passwords.json", json.dumps(dict(build.passwords)))
    part.rename(seed)


def _make_tables(build: Settings, name: str) -> None:
    if SPECS[name].schema:
        with show.step(f"{name}: schema"):
            for command in _schema(build, name):
                _run(command, build, name)
            if build.db == "sqlite":
                _write_ahead(build, name)


def _schema(build: Settings, name: str) -> list[list[str]]:
    """The command lines that make a project's tables."""
    etc, environment = str(build.own(Path("/etc"))), build.environment(name)
    found = []
    for tool, *arguments in SPECS[name].schema:
        program = str(environment / "bin" / tool) if environment else tool
        found.append([program, *(word.replace("{etc}", etc) for word in arguments)])
    return found


def _write_ahead(build: Settings, name: str) -> None:
    """Let SQLite's readers and writers work at once.

    Otherwise a reader that has not finished makes the commit of another worker fail ("database
    is locked"). The mode is a property of the file.
    """
    with closing(sqlite3.connect(build.sqlite_file(name))) as database:
        (mode,) = database.execute("pragma journal_mode=wal").fetchone()
        if mode != "wal":
            raise LabError(f"{name}: SQLite has no write-ahead log here, but {mode}")
        database.execute("pragma wal_checkpoint(truncate)")


def _create_mariadb(build: Settings) -> None:
    # What mariadb-install-db does; that needs my_print_defaults, and with it 60 MB of packages.
    sql = ["create database if not exists mysql;", "use mysql;", "set @auth_root_socket='root';"]
    tables = [_of_mariadb(*names) for names in SYSTEM_TABLES]
    sql += [file.read_text() for file in tables]
    sql += ["flush privileges;"]
    for project in build.every_project:
        if databases := SPECS[project].databases:
            user = f"'{project}'@'%'"  # by the socket, or from another machine
            sql += [f"create user {user} identified by '{build.passwords['db']}';"]
            for name in databases:
                sql += [f"create database {name} character set utf8;"]
                sql += [f"grant all on {name}.* to {user};"]
    _have_mariadb(build, sql, f"--lc-messages-dir={tables[0].parent}/english")


def _have_mariadb(settings: Settings, sql: Sequence[str], *options: str) -> None:
    """Run these statements in a MariaDB that listens nowhere, asks for no password, and ends."""
    command = services.mariadbd(settings, "--bootstrap", *options)
    _run(command, replace(settings, netns=NONE), DB, stdin="\n".join([*sql, ""]))


def _of_mariadb(*names: str) -> Path:
    """The file of MariaDB's package that has one of these names."""
    for folder in MARIADB_FOLDERS:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    folders_asked = " or ".join(str(folder) for folder in MARIADB_FOLDERS)
    raise LabError(
        f"there is no {' or '.join(names)} in {folders_asked}; "
        f"run: apt-get install --reinstall {MARIADB}"
    )


def _bootstrap(build: Settings) -> None:
    for command in ("fernet_setup", "credential_setup"):
        _manage_keystone(build, command, "--keystone-user=keystone", "--keystone-group=keystone")
    _, _, url = _catalogue(build)[KEYSTONE]
    _manage_keystone(
        build,
        "bootstrap",
        f"--bootstrap-region-id={build.region}",
        *(f"--bootstrap-{face}-url={url}" for face in ("public", "internal", "admin")),
        environment={"OS_BOOTSTRAP_PASSWORD": build.passwords["admin"]},
    )


def _populate(build: Settings) -> None:
    """The project of the services, its users, and the catalogue."""
    keystone = identity.Administrator(services.server(build, KEYSTONE), build.passwords["admin"])
    project = keystone.create("project", name="service", domain_id="default")
    roles = {role["name"]: role["id"] for role in keystone.call("GET", "/roles")["roles"]}
    if "service" not in roles:  # bootstrap makes it from 2023.1 on
        roles["service"] = keystone.create("role", name="service")
    further = [role for name in build.every_project for role in SPECS[name].roles]
    roles.update({role: keystone.create("role", name=role) for role in further})
    others = [name for name in build.every_project if name != KEYSTONE]
    accounts = {**dict.fromkeys(others, SERVICE_ROLES), "monitor": (READER, *further)}
    for name, granted in accounts.items():
        password = build.passwords[name]
        user = keystone.create("user", name=name, domain_id="default", password=password)
        for role in granted:
            keystone.call("PUT", f"/projects/{project}/users/{user}/roles/{roles[role]}")
    for name in others:
        if SPECS[name].domain:
            _create_domain(build, name, keystone, roles["admin"])
    catalogue = _catalogue(build)
    for called, kind, url in (catalogue[name] for name in others if name in catalogue):
        service = keystone.create("service", name=called, type=kind)
        for face in ("public", "internal", "admin"):
            keystone.create(
                "endpoint", service_id=service, interface=face, region_id=build.region, url=url
            )


def _catalogue(settings: Settings) -> dict[str, tuple[str, str, str]]:
    """Name, type and URL of each project's service; the entry of Keystone is bootstrap's."""
    found = {}
    for project in settings.every_project:
        if endpoint := SPECS[project].endpoint:
            name, kind, path = endpoint
            server = Server(settings.called_at(project), declared.daemon(SPECS[project].api).port)
            found[project] = (name, kind, f"{server}{path}")
    return found


def _address(settings: Settings) -> None:
    """Put a lab's own addresses into its catalogue, in the place of those of its seed.

    It is done in the database itself: to start Keystone for it would take seconds.
    """
    moved = {*_catalogue(settings).values()} - {*_catalogue(_kind(settings)).values()}
    sql = [SET_URL.format(url=url.encode().hex(), kind=kind) for _, kind, url in sorted(moved)]
    if sql and settings.db == "mysql":
        _have_mariadb(settings, ["use keystone;", *sql])
    elif sql:
        with closing(sqlite3.connect(settings.sqlite_file(KEYSTONE))) as database:
            database.executescript("\n".join(sql))


def _create_domain(
    build: Settings, name: str, keystone: identity.Administrator, role: str
) -> None:
    """Make a project's own domain, with its administrator; role: the id of the role admin."""
    domain = keystone.create("domain", name=SPECS[name].domain)
    admin, password = f"{name}_domain_admin", build.passwords[name]
    user = keystone.create("user", name=admin, domain_id=domain, password=password)
    keystone.call("PUT", f"/domains/{domain}/users/{user}/roles/{role}")


def _manage_keystone(
    build: Settings, *arguments: str, environment: Mapping[str, str] | None = None
) -> None:
    command = ["keystone-manage", f"--config-file={build.config(KEYSTONE)}", *arguments]
    _run(command, build, KEYSTONE, environment=environment)


def _run(
    command: Sequence[str],
    build: Settings,
    project: str,
    *,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a tool of a project, or of MariaDB, as its user.

    It runs in the namespace, so that it ends with that. A tool finds its configuration where the
    API does.
    """
    home, log = build.home(project), build.log(project)
    argv, user = command, build.users[project]
    api = SPECS[project].api if project in SPECS else ""
    if mounts.needed(api):
        argv, user = mounts.argv(build, api, argv, user), "root"
    with log.open("a") as output, netns.inside(build.namespace):
        done = subprocess.run(
            argv,
            input=stdin,
            text=True,
            stdout=output,
            stderr=output,
            cwd=home,
            env={**process.ENVIRONMENT, "HOME": str(home), **(environment or {})},
            check=False,
            **process.as_user(user),
        )
    if done.returncode != 0:
        tool = Path(command[0]).name
        latest = services.latest_log(build, project)
        raise LabError(f"{tool} failed with {done.returncode}", log=latest)
