"""A service's configuration: the values that count, and where each stands.

Read by oslo.config with the service's own options where these are installed (`oslo`), so that
defaults, older names and folders count as they do for the service; else by the few options here.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentlib.configfile import expanded

from .errors import CannotLookError
from .reading import content, parsed, reason, unquoted
from .run import run

LIMIT = 8 << 20
"""Bytes of a configuration file."""
_PYTHON = "/usr/bin/python3"
_LIBRARY = Path(__file__).resolve().parents[1]

Name = tuple[str, str]
"""Section and option."""

_DEFAULTS: dict[Name, tuple[str, tuple[Name, ...]]] = {
    ("database", "connection"): ("", (("DEFAULT", "sql_connection"), ("sql", "connection"))),
    ("database", "max_retries"): ("10", (("DEFAULT", "sql_max_retries"),)),
    ("api_database", "max_retries"): ("10", ()),
    ("placement_database", "max_retries"): ("10", ()),
    ("storage:sqlalchemy", "max_retries"): ("10", ()),
    ("DEFAULT", "transport_url"): ("rabbit://", ()),
    ("oslo_messaging_notifications", "driver"): ("", (("DEFAULT", "notification_driver"),)),
    ("keystone_authtoken", "auth_type"): ("", (("keystone_authtoken", "auth_plugin"),)),
    ("keystone_authtoken", "www_authenticate_uri"): ("", (("keystone_authtoken", "auth_uri"),)),
    ("DEFAULT", "bind_host"): ("0.0.0.0", ()),  # noqa: S104 - a default
    ("DEFAULT", "auth_strategy"): ("keystone", ()),
    ("api", "auth_strategy"): ("keystone", ()),
    ("api", "auth_mode"): ("keystone", ()),
    ("api_settings", "auth_strategy"): ("keystone", ()),
    ("service:api", "auth_strategy"): ("keystone", ()),
    ("DEFAULT", "enabled_import_methods"): ("glance-direct,web-download,copy-image", ()),
    ("DEFAULT", "node_staging_uri"): ("file:///tmp/staging/", ()),
    ("glance_store", "default_store"): ("file", (("DEFAULT", "default_store"),)),
    ("glance_store", "stores"): ("file,http", (("DEFAULT", "stores"),)),
    ("glance_store", "filesystem_store_datadir"): ("/var/lib/glance/images", (
        ("DEFAULT", "filesystem_store_datadir"),)),
    ("glance", "valid_interfaces"): ("internal,public", ()),
    ("cinder", "catalog_info"): ("volumev3::publicURL", ()),
    ("DEFAULT", "glance_catalog_info"): ("image:glance:publicURL", ()),
    ("DEFAULT", "cinder_catalog_info"): ("volumev3::publicURL", ()),
    ("glance_store", "cinder_catalog_info"): ("volumev3::publicURL", ()),
}
"""Defaults and older names of what the checks ask, for where the service's own are not there."""

_ASKED = (
    *_DEFAULTS,
    *((section, "connection") for section in (
        "api_database", "placement_database", "storage:sqlalchemy")),
    ("paste_deploy", "flavor"), ("DEFAULT", "enabled_backends"),
    ("DEFAULT", "image_cache_dir"), ("DEFAULT", "worker_self_reference_url"),
    ("DEFAULT", "bind_port"), ("DEFAULT", "osapi_volume_listen"),
    ("DEFAULT", "osapi_volume_listen_port"), ("DEFAULT", "osapi_compute_listen"),
    ("DEFAULT", "osapi_compute_listen_port"), ("DEFAULT", "metadata_listen"),
    ("DEFAULT", "metadata_listen_port"), ("DEFAULT", "osapi_share_listen"),
    ("DEFAULT", "osapi_share_listen_port"), ("heat_api", "bind_host"), ("heat_api", "bind_port"),
    ("heat_api_cfn", "bind_host"), ("heat_api_cfn", "bind_port"),
    ("api_settings", "bind_host"), ("api_settings", "bind_port"),
    ("api", "host"), ("api", "host_ip"), ("api", "port"), ("indexer", "url"),
    ("DEFAULT", "masakari_api_listen"), ("DEFAULT", "masakari_api_listen_port"),
    ("DEFAULT", "glance_api_servers"), ("glance", "api_servers"), ("glance", "endpoint_override"),
    ("glance_store", "default_backend"), ("glance_store", "filesystem_store_datadirs"),
    ("cinder", "endpoint_template"), ("oslo_messaging_notifications", "transport_url"),
)


@dataclass(frozen=True)
class Value:
    """A value; where it stands, or would stand; given: whether a file says it."""

    text: str
    where: str
    given: bool


@dataclass(frozen=True)
class Configuration:
    """The files of one service, the later one counts.

    raw: value and file of what stands in them. unreadable: files with the reason.
    known, older: the service's own options, and older names with today's; empty if not known.
    """

    project: str
    files: tuple[str, ...]
    raw: Mapping[Name, tuple[str, str]]
    unreadable: Mapping[str, str]
    resolved: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)
    older: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def get(self, section: str, option: str, default: str = "") -> Value:
        """The value of an option; default where neither the service nor this module has one."""
        usual, aliases = _DEFAULTS.get((section, option), (default, ()))
        stands = next((name for name in ((section, option), *aliases) if name in self.raw), None)
        resolved = self.resolved.get(f"{section}/{option}")
        if resolved is not None:
            text, file = resolved
            name = stands if stands and file else (section, option)
            return Value(text, self.where(*name, file=file), bool(file))
        if stands is None:
            return Value(usual, self.where(section, option), given=False)
        options = {name: self.raw[of, name][0] for of, name in self.raw if of == "DEFAULT"}
        options |= {name: self.raw[of, name][0] for of, name in self.raw if of == stands[0]}
        return Value(unquoted(expanded(options, stands[1])), self.where(*stands), given=True)

    def where(self, section: str, option: str, file: str = "") -> str:
        """A place for a finding: in the file that says the option, else in the first."""
        file = file or self.raw.get((section, option), ("", ""))[1]
        return f"{file or next(iter(self.files), '-')}:{section}/{option}"


def read(project: str, files: Sequence[str], folders: Sequence[str] = (), *, program: str = "",
         own: bool = True) -> Configuration:
    """Read the files, and the *.conf of the folders behind them.

    own: whether to ask the service's own options, which takes seconds.
    """
    every = [*files]
    folders = folders or _usual_folders(project, program)
    for folder in folders:
        every += sorted(map(str, Path(folder).glob("*.conf")))
    raw: dict[Name, tuple[str, str]] = {}
    unreadable: dict[str, str] = {}
    for path in every:
        try:
            raw |= {name: (value, path) for name, value in _parsed(path).items()}
        except ValueError as error:
            unreadable[path] = str(error)
    answer = _asked(project, tuple(files), tuple(folders)) if own and not unreadable else {}
    return Configuration(
        project, tuple(every), raw, unreadable, answer.get("values", {}), answer.get("known", {}),
        answer.get("older", {}))


def _usual_folders(project: str, program: str) -> list[str]:
    """The folders that oslo.config reads without being told."""
    names = dict.fromkeys((project, program or project))
    return [folder for name in names if os.path.isdir(folder := f"/etc/{project}/{name}.conf.d")]


def _parsed(path: str) -> dict[Name, str]:
    """What stands in a file; ValueError says why it cannot be read."""
    try:
        sections = parsed(content(path, LIMIT), strict=False)
    except OSError as error:
        raise ValueError(reason(error)) from error
    return {(section, option): value for section, options in sections.items()
            for option, value in options.items()}


@functools.cache
def _asked(project: str, files: Sequence[str], folders: Sequence[str]) -> dict[str, Any]:
    """What oslo.config says with the service's own options; nothing where it cannot."""
    here = importlib.util.find_spec("oslo_config") is not None
    python = sys.executable if here else _PYTHON
    question = {"project": project, "files": [*files], "folders": [*folders],
                "wanted": [[*name] for name in _ASKED]}
    code = (f"import sys; sys.path.insert(0, {str(_LIBRARY)!r}); "
            "from openstack_ocf.oslo import main; main()")
    try:
        done = run([python, "-EsBc", code, json.dumps(question)], timeout=120,
                   what=f"the options of {project}")
        answer: dict[str, Any] = json.loads(re.sub(r"(?s).*\n(?=\{)", "", done.output))
    except (CannotLookError, ValueError):
        return {}
    return answer if "values" in answer else {}
