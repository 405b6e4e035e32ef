"""What the Spec of a project has, and what the configuration of many projects has alike.

The functions that give a project's configuration are called with the settings of a lab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.settings import Settings

Options = dict[str, dict[str, str]]
"""The content of a configuration file: sections, and the options of each."""
HOST = "node"
"""The name by which all services know their host, on whatever machine."""


@dataclass(frozen=True)
class Spec:
    """A project: its daemons, its configuration, its databases, its place in the catalogue.

    options: the content of each of its files, by the path of the file in Debian.
    daemons: the agents of the daemons that a lab has when the project is asked for, in the order
        of their start.
    wsgi_only: those of them that Debian has as a WSGI script alone.
    api: the agent of the daemon whose port the endpoint has.
    ready: a path that the API answers with 200, without a token, when it serves; empty: whatever
        the answer is, it serves.
    newest: whether a lab of the newest release has it in that release; others are Debian's.
    shipped: files of the package that are needed beside its own, in the same folder.
    folders: the folders in which it keeps its files; they are in its home.
    others_read: whether other users read in its folders.
    keeps_files: whether it has files where the databases are.
    databases: their names; only the project's user may use them.
    schema: command lines that make the tables; {etc} is the lab's own /etc.
    endpoint: name and type of the service in the catalogue, and the path of its URL.
    roles: its own roles that are needed for reading; the lab's monitoring user has them.
    policy: the rules of its policy.yaml, where the role "reader" may not read by default.
    domain: a domain in Keystone for users that it makes; NAME_domain_admin administers it, with
        the project's password.
    """

    options: Callable[[Settings], Mapping[str, Options]]
    daemons: tuple[str, ...] = ()
    wsgi_only: tuple[str, ...] = ()
    api: str = ""
    ready: str = ""
    newest: bool = False
    shipped: tuple[str, ...] = ()
    folders: tuple[str, ...] = ("lock",)
    others_read: bool = False
    keeps_files: bool = False
    databases: tuple[str, ...] = ()
    schema: tuple[tuple[str, ...], ...] = ()
    endpoint: tuple[str, str, str] | None = None
    roles: tuple[str, ...] = ()
    policy: str = ""
    domain: str = ""


def authtoken(settings: Settings, name: str) -> dict[str, str]:
    """The options by which a project asks Keystone, as its own user."""
    return {
        "www_authenticate_uri": settings.keystone_url(),
        "auth_url": settings.keystone_url(),
        "auth_type": "password",
        "project_domain_name": "Default",
        "user_domain_name": "Default",
        "project_name": "service",
        "username": name,
        "password": settings.passwords[name],
        "region_name": settings.region,
    }


def rabbit(settings: Settings) -> str:
    """The value of transport_url for a project that uses RabbitMQ."""
    return f"rabbit://guest:guest@{str(settings.rabbit).partition('//')[2]}/"


def host(settings: Settings) -> dict[str, str]:
    """The host name that a daemon uses: the name of its own node, where there are several."""
    return {} if settings.several else {"host": HOST}


def common(settings: Settings, name: str, *, database: str = "database") -> Options:
    """What most projects beyond Keystone, Glance and Cinder have in common.

    database: the section that names the project's database.
    """
    home = settings.home(name)
    return {
        "DEFAULT": {
            "log_dir": str(settings.log(name).parent),
            "transport_url": rabbit(settings),
            "state_path": str(home),
        },
        database: {"connection": settings.connection(name)},
        "keystone_authtoken": authtoken(settings, name),
        "oslo_concurrency": {"lock_path": f"{home}/lock"},
        "oslo_messaging_notifications": {"driver": "messagingv2"},
    }


def amended(options: Options, **default: str) -> Options:
    """The same options, with these in [DEFAULT]."""
    options["DEFAULT"].update(default)
    return options
