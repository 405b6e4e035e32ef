"""Options that the guides and older releases have, and what they are called today.

`check` goes by this table, and docs/findings.md prints it; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

AUTH = "keystone_authtoken"
_RABBIT = "`transport_url = rabbit://USER:PASSWORD@HOST:5672/`"
_NOTIFY = "`[oslo_messaging_notifications]` `driver = messagingv2`"


@dataclass(frozen=True)
class Old:
    """Old options of a section, of a project or of all (`*`).

    today: what takes their place, as Markdown; empty: nothing, they are to be deleted.
    """

    project: str
    section: str
    names: tuple[str, ...]
    today: str
    reason: str


OLD = (
    Old("*", "DEFAULT", ("sql_connection",), "`[database]` `connection`",
        "it is the older name, which newer releases do not read"),
    Old("*", "DEFAULT", ("sql_max_retries", "sql_idle_timeout"),
        "`[database]` `max_retries`, `connection_recycle_time`",
        "they are older names, which newer releases do not read"),
    Old("*", "database", ("idle_timeout",), "`[database]` `connection_recycle_time`",
        "it is the older name"),
    Old("glance", "DEFAULT", ("registry_host", "registry_port", "registry_client_protocol"), "",
        "there is no glance-registry any more: glance-api reads the database itself"),
    Old("glance", "DEFAULT", ("enable_v1_api", "enable_v2_api", "enable_v1_registry",
                              "enable_v2_registry", "data_api"), "",
        "there is one version of the API, and no registry"),
    Old("glance", "DEFAULT", ("default_store", "known_stores", "stores",
                              "filesystem_store_datadir"),
        "`[glance_store]`, or `enabled_backends` with a section for each store",
        "stores have sections of their own"),
    Old("*", "DEFAULT", ("notifier_strategy", "notification_driver"), _NOTIFY,
        "without the driver no notification is sent"),
    Old("*", "DEFAULT", ("notification_topics",), "`[oslo_messaging_notifications]` `topics`",
        "it is the older name"),
    *(Old("*", section, ("rabbit_host", "rabbit_hosts", "rabbit_port", "rabbit_userid",
                         "rabbit_password", "rabbit_virtual_host"), _RABBIT,
          "one URL has all of them") for section in ("DEFAULT", "oslo_messaging_rabbit")),
    Old("*", "DEFAULT", ("rabbit_use_ssl",), "`[oslo_messaging_rabbit]` `ssl`",
        "it is the older name"),
    Old("*", "DEFAULT", ("rpc_backend",), "", "`rabbit://` in `transport_url` says it"),
    Old("*", "DEFAULT", ("qpid_hostname", "qpid_port", "qpid_username", "qpid_password"),
        _RABBIT, "there is no driver for Qpid's own protocol any more"),
    Old("*", AUTH, ("identity_uri", "auth_host", "auth_port", "auth_protocol"),
        "`auth_url = http://KEYSTONE:5000`", "it is of Identity v2.0; `auth_type` decides"),
    Old("*", AUTH, ("auth_uri",), "`www_authenticate_uri`", "it is the older name"),
    Old("*", AUTH, ("admin_user",), "`username`", "it is of Identity v2.0; `auth_type` decides"),
    Old("*", AUTH, ("admin_password", "admin_token"), "`password`",
        "it is of Identity v2.0; `auth_type` decides"),
    Old("*", AUTH, ("admin_tenant_name",), "`project_name`",
        "it is of Identity v2.0; `auth_type` decides"),
    Old("*", AUTH, ("auth_plugin",), "`auth_type`", "it is the older name"),
    Old("*", AUTH, ("signing_dir", "check_revocations_for_cached",
                    "hash_algorithms", "revocation_cache_time"), "",
        "Keystone has no PKI tokens any more"),
    Old("nova", "DEFAULT", ("glance_api_servers", "glance_host", "glance_port",
                            "glance_protocol"),
        "`[glance]` `valid_interfaces = internal`, or `endpoint_override = http://VIP:9292`",
        "Nova reads `[glance]`"),
    Old("nova", "glance", ("host", "port", "protocol"),
        "`[glance]` `valid_interfaces = internal`, or `endpoint_override = http://VIP:9292`",
        "they are gone"),
    Old("nova", "DEFAULT", ("cinder_catalog_info", "cinder_endpoint_template"),
        "`[cinder]` `catalog_info = volumev3::internalURL`", "Nova reads `[cinder]`"),
    Old("cinder", "DEFAULT", ("glance_host", "glance_port"),
        "`glance_api_servers = http://VIP:9292`, or `glance_catalog_info`", "they are gone"),
    Old("cinder", "DEFAULT", ("glance_api_version", "enable_v1_api", "enable_v2_api"), "",
        "there is one version of each API"),
)
"""The table. Values that are old, as api_servers without a scheme, are findings C1."""


def old(project: str, section: str, name: str) -> Old | None:
    """What the table says of an option of a project."""
    return next((one for one in OLD if one.project in ("*", project)
                 and one.section == section and name in one.names), None)


def remedy(one: Old) -> str:
    """What to do, as a sentence of a finding."""
    return f"Write {one.today.replace('`', '')} instead." if one.today else "Delete the line."


def table() -> str:
    """As a table of Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| file | option | today | because |"
    yield "| --- | --- | --- | --- |"
    for one in OLD:
        names = ", ".join(f"`{name}`" for name in one.names)
        file = "any" if one.project == "*" else one.project
        yield (f"| {file} | `[{one.section}]` {names} | {one.today or 'nothing: delete it'} "
               f"| {one.reason} |")
