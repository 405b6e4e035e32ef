"""The configuration files of Keystone, Glance and Cinder, as short as possible.

Called by `lab.openstack` and `lab.seed` to write the files of a lab, and to change an option
later. Options of a usual installation are set as there: the agents read these files.
"""

from __future__ import annotations

import configparser
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lab import declared
from lab.errors import LabError
from lab.settings import APIS, PORTS, USERS, Settings, reachable
from lab.web import Server

Options = dict[str, dict[str, str]]

SHIPPED = {
    "keystone": (),
    "glance": ("glance-api-paste.ini",),
    "cinder": ("api-paste.ini", "resource_filters.json"),
}
LISTEN = {
    "glance": ("bind_host", "bind_port"),
    "cinder": ("osapi_volume_listen", "osapi_volume_listen_port"),
}


def write(settings: Settings) -> None:
    """Write the files of all services, readable for the service's own user."""
    contents = {"keystone": keystone, "glance": glance, "cinder": cinder}
    for service in APIS:
        folder = settings.config(service).parent
        folder.mkdir(parents=True, exist_ok=True)
        for shipped in SHIPPED[service]:
            _copy(settings.shipped(service, shipped), folder, service)
        _save(_parser(contents[service](settings)), settings.config(service))
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "root", USERS[service])
            path.chmod(0o750 if path.is_dir() else 0o640)


def _copy(shipped: Path, folder: Path, service: str) -> None:
    try:
        shutil.copy(shipped, folder)
    except FileNotFoundError:
        raise LabError(f"{service} has come without {shipped}: install it again") from None


def change(path: Path, section: str, option: str, value: str) -> None:
    """Set one option in a file; the file's owner and mode stay."""
    parser = _load(path)
    if not parser.has_section(section):
        parser.add_section(section)
    parser.set(section, option, value)
    _replace(path, parser, like=path)


def amend(path: Path, options: Mapping[str, Mapping[str, str]]) -> None:
    """Set some options in a file, which is made if there is none."""
    parser = _load(path) if path.exists() else _parser({})
    parser.read_dict(options)
    _save(parser, path)


def variant(original: Path, name: str, options: Mapping[str, Mapping[str, str]]) -> Path:
    """A copy of a file, beside it, with some options changed."""
    path = original.with_name(f"{name}.conf")
    parser = _load(original)
    parser.read_dict(options)
    _replace(path, parser, like=original)
    return path


def twin(original: Path, name: str, options: Mapping[str, Mapping[str, str]]) -> Path:
    """Like `variant`, but a copy of the whole folder, beside it; the file keeps its name."""
    folder = original.parent.with_name(name)
    shutil.copytree(original.parent, folder)
    for like in (original.parent, *original.parent.iterdir()):
        rights = like.stat()
        os.chown(folder / like.relative_to(original.parent), rights.st_uid, rights.st_gid)
    path = folder / original.name
    parser = _load(original)
    parser.read_dict(options)
    _replace(path, parser, like=original)
    return path


def server(settings: Settings, service: str) -> Server:
    """Where a service listens according to its file, seen from where it runs."""
    if service not in PORTS:
        address = reachable(settings.listens_at(settings.project(service)))
        return Server(address, declared.daemon(service).port, settings.namespace)
    address, port = settings.bind[service], PORTS[service]
    if service in LISTEN:
        parser = _load(settings.config(service))
        host_option, port_option = LISTEN[service]
        address = parser.get("DEFAULT", host_option, fallback=address)
        port = parser.getint("DEFAULT", port_option, fallback=port)
    return Server(reachable(address), port, settings.namespace)


def keystone(settings: Settings) -> Options:
    """The options of keystone.conf."""
    return {
        "DEFAULT": _default(settings, "keystone"),
        "database": {"connection": connection(settings, "keystone")},
        "fernet_tokens": {"key_repository": f"{settings.home('keystone')}/fernet-keys"},
        # By default they are in /etc/keystone, which is the machine's.
        "fernet_receipts": {"key_repository": f"{settings.home('keystone')}/fernet-keys"},
        "credential": {"key_repository": f"{settings.home('keystone')}/credential-keys"},
        "identity": {"password_hash_rounds": str(settings.hash_rounds)},
        "token": {"provider": "fernet", "expiration": "3600"},
    }


def glance(settings: Settings) -> Options:
    """The options of glance-api.conf."""
    home = settings.home("glance")
    return {
        "DEFAULT": {
            **_default(settings, "glance"),
            "bind_host": settings.bind["glance"],
            "bind_port": str(PORTS["glance"]),
            "workers": str(settings.workers),
            "image_cache_dir": f"{home}/image-cache/",
            "enabled_backends": "fs:file",
        },
        "database": {"connection": connection(settings, "glance")},
        "glance_store": {"default_backend": "fs"},
        "fs": {"filesystem_store_datadir": f"{home}/images"},
        "os_glance_staging_store": {"filesystem_store_datadir": f"{home}/staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": f"{home}/tasks"},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": f"{settings.config('glance').parent}/glance-api-paste.ini",
        },
        "oslo_concurrency": {"lock_path": f"{home}/lock"},
        "keystone_authtoken": authtoken(settings, "glance"),
    }


def cinder(settings: Settings) -> Options:
    """The options of cinder.conf."""
    home, folder = settings.home("cinder"), settings.config("cinder").parent
    return {
        "DEFAULT": {
            **_default(settings, "cinder"),
            "osapi_volume_listen": settings.bind["cinder"],
            "osapi_volume_listen_port": str(PORTS["cinder"]),
            "osapi_volume_workers": str(settings.workers),
            "api_paste_config": f"{folder}/api-paste.ini",
            "resource_query_filters_file": f"{folder}/resource_filters.json",
            "auth_strategy": "keystone",
            "glance_api_servers": str(Server(settings.endpoint["glance"], PORTS["glance"])),
            "my_ip": reachable(settings.bind["cinder"]),
            "state_path": str(home),
            "enabled_backends": "",
        },
        "database": {"connection": connection(settings, "cinder")},
        "oslo_concurrency": {"lock_path": f"{home}/lock"},
        "keystone_authtoken": authtoken(settings, "cinder"),
    }


def connection(settings: Settings, service: str, database: str = "") -> str:
    """The URL of a service's database, for SQLAlchemy; by default that of its own name."""
    if settings.db == "mysql":
        login = f"{service}:{settings.passwords['db']}"
        name = database or service
        if settings.database:
            return f"mysql+pymysql://{login}@{settings.database}/{name}"
        return f"mysql+pymysql://{login}@localhost/{name}?unix_socket={settings.socket}"
    return f"sqlite:///{sqlite_file(settings, service)}"


def sqlite_file(settings: Settings, service: str) -> Path:
    """The file of a service's SQLite database."""
    return settings.database_files / service / f"{service}.sqlite"


def _default(settings: Settings, service: str) -> dict[str, str]:
    # No RabbitMQ: an API that only reads sends no messages.
    log = settings.log(service).with_name(f"{settings.config(service).stem}.log")
    return {"log_file": str(log), "transport_url": "fake://"}


def authtoken(settings: Settings, service: str) -> dict[str, str]:
    """The options by which a service asks Keystone, as its own user."""
    return {
        "www_authenticate_uri": settings.keystone_url(),
        "auth_url": settings.keystone_url(),
        "auth_type": "password",
        "project_domain_name": "Default",
        "user_domain_name": "Default",
        "project_name": "service",
        "username": service,
        "password": settings.passwords[service],
        "region_name": settings.region,
    }


def _parser(options: Mapping[str, Mapping[str, str]]) -> configparser.RawConfigParser:
    # [DEFAULT] is a section like the others to oslo.config: nothing is inherited from it.
    parser = configparser.RawConfigParser(default_section="", delimiters="=", strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(options)
    return parser


def _load(path: Path) -> configparser.RawConfigParser:
    parser = _parser({})
    parser.read_string(path.read_text())
    return parser


def _save(parser: configparser.RawConfigParser, path: Path) -> None:
    with path.open("w") as file:
        parser.write(file)


def _replace(path: Path, parser: configparser.RawConfigParser, *, like: Path) -> None:
    # A daemon that starts meanwhile reads the old file or the new one, never half of it.
    rights = like.stat()
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    _save(parser, part)
    os.chown(part, rights.st_uid, rights.st_gid)
    part.chmod(rights.st_mode & 0o777)
    part.replace(path)
