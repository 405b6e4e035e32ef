"""This node around a service: files, options, the init system, the clock; and the cluster.

Rows A3, DB2, F, H, T and U1.
"""

from __future__ import annotations

import ctypes
import grp
import pwd
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import cib
from .cib import FALSE
from .configuration import Configuration
from .errors import CannotLookError
from .finding import UNKNOWN, WARNING, Finding
from .outdated import AUTH, old, remedy
from .rows import found
from .run import run
from .storage import readable
from .subject import Subject
from .words import nearest, shown
from .words import path as path_

_SCHEMA = {"glance-api": ("glance-manage", ("db", "check")),
           "keystone": ("keystone-manage", ("db_sync", "--check"))}
"""What tells whether a schema is current, by its exit code."""
_UNITS = {"neutron-server": ("neutron-api", "neutron-rpc-server")}
"""Units of other names that start the same."""
_UNSYNCHRONISED = 0x0040
"""STA_UNSYNC of adjtimex(2)."""
_SYSTEMD = Path("/run/systemd/system")


def files(subject: Subject) -> Iterator[Finding]:
    """F3: what cannot be read. F2: who may read the files."""
    for path, why in subject.config.unreadable.items():
        yield found("F3", path, f"it cannot be read: {why}",
                    "Mend it, or name another with the parameter config.")
    for path in subject.config.files:
        if path not in subject.config.unreadable:
            yield from _rights(path, subject)


def options(config: Configuration) -> Iterator[Finding]:
    """F1: options that are unknown or old; A3 for those in [keystone_authtoken]."""
    for section, name in config.raw:
        where = config.where(section, name)
        one = old(config.project, section, name)
        if one:
            yield found("A3" if section == AUTH else "F1", where,
                        f"{name}: {one.reason.replace('`', '')}", remedy(one))
            continue
        known = config.known.get(section)
        older = config.older.get(section, {}).get(name.replace("-", "_"))
        if older is not None:
            yield found("F1", where, f"{name} is an old name" if older else
                        f"{name} is deprecated: it is to go",
                        f"Write {older} instead." if older else
                        "See the service's release notes for what takes its place.")
        elif known and name not in known and not _free(config, section):
            near = nearest(name, known)
            yield found("F1", where, f"there is no option {shown(name)} in [{shown(section)}]: it "
                        "is ignored", f"The nearest is {near}." if near else "Delete the line.")


def schema(subject: Subject) -> Iterator[Finding]:
    """DB2: whether the database has the tables of the installed release."""
    tool, words = _SCHEMA.get(subject.agent.name, ("", ()))
    value = subject.config.get("database", "connection")
    # SQLite would make a file of it.
    if not tool or not value.text or value.text.startswith("sqlite"):
        return
    where = value.where
    given = [f"--config-file={path}" for path in subject.config.files]
    try:
        # Where the database is away it waits, by max_retries without an end.
        done = run([tool, *given, *words], timeout=45)
    except CannotLookError as error:
        yield found("DB2", where, str(error), f"Run on this node: {tool} {' '.join(words)}",
                    UNKNOWN)
        return
    if done.code == 0:
        return
    if "Error" in done.said or "Traceback" in done.said:
        # The last words may have the connection in them.
        yield found("DB2", where, f"{tool} cannot ask the database (exit code {done.code})",
                    f"Run on this node: {tool} {' '.join(words)}", UNKNOWN)
    else:
        yield found("DB2", where, f"{tool} {' '.join(words)} says that the schema is not current",
                    f"On one node: {tool} {'db_sync' if tool == 'keystone-manage' else 'db sync'}")


def units(subject: Subject) -> Iterator[Finding]:
    """U1: a unit of systemd, or a script of init, that starts the service as well."""
    names = (subject.agent.name, subject.parameter("binary"), *_UNITS.get(subject.agent.name, ()))
    for name in dict.fromkeys(filter(None, names)):
        try:
            enabled = run(["systemctl", "is-enabled", f"{name}.service"], timeout=20)
        except CannotLookError:
            return
        if enabled.output.strip() in ("enabled", "enabled-runtime", "static-enabled"):
            yield found("U1", f"{name}.service", "the init system starts it at boot",
                        f"systemctl disable {name}")
        if _SYSTEMD.is_dir():
            active = run(["systemctl", "is-active", f"{name}.service"], timeout=20)
            if active.output.strip() in ("active", "activating", "reloading"):
                yield found("U1", f"{name}.service", "the init system runs it now",
                            f"systemctl disable --now {name}")


def clock() -> Iterator[Finding]:
    """T1: whether the kernel's clock is synchronised, as it says itself (adjtimex(2))."""
    # struct timex: modes, then offset, freq, maxerror, esterror as long, then status.
    buffer = (ctypes.c_char * 512)()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return
    status = ctypes.c_int.from_buffer(buffer, ctypes.sizeof(ctypes.c_long) * 5).value
    if state >= 0 and status & _UNSYNCHRONISED:
        yield found("T1", "clock", "this node's clock is not synchronised",
                    "apt-get install chrony, and look at it by: chronyc tracking")


def cluster(root: ET.Element | None) -> Iterator[Finding]:
    """H1: fencing, quorum, and properties under which nothing is managed."""
    if root is None:
        yield found("H1", "cluster", "the cluster does not show its CIB",
                    "Look again on a node where the cluster runs, or name a CIB: --cib FILE.",
                    UNKNOWN)
        return
    properties = {pair.get("name", ""): pair.get("value", "")
                  for pair in root.iterfind("configuration/crm_config/*/nvpair")}
    if properties.get("stonith-enabled", "true").lower() in FALSE:
        yield found("H1", "stonith-enabled", "fencing is off", "Configure a fencing device, then "
                    "set stonith-enabled=true.")
    elif not any(one.get("class") == "stonith" for one in cib.resources(root)):
        yield found("H1", "stonith-enabled", "there is no fencing device: nothing starts",
                    "Configure one, as the hardware of the nodes wants it.")
    if properties.get("no-quorum-policy") == "ignore":
        yield found("H1", "no-quorum-policy", "without quorum all goes on",
                    "Set no-quorum-policy=stop; with two nodes, corosync's two_node.")
    if root.get("have-quorum") == "0":
        yield found("H1", "quorum", "the cluster has no quorum", "Start more of its nodes.")
    if properties.get("maintenance-mode", "false").lower() not in (*FALSE, ""):
        yield found("H1", "maintenance-mode", "the cluster manages nothing",
                    "Set maintenance-mode=false when the work is done.", WARNING)


# --- how it is done -----------------------------------------------------------------------------


def _free(config: Configuration, section: str) -> bool:
    """Whether options of a section may be those of a plugin, which are in no list."""
    names = set(config.known.get(section, ()))
    names |= {name for of, name in config.raw if of == section}
    return bool(names & {"auth_type", "auth_section", "volume_driver"})


def _rights(path: str, subject: Subject) -> Iterator[Finding]:
    user = subject.parameter("user")
    try:
        if user and not readable(path, user):
            group = _group(user)
            yield found("F2", path, f"the user {shown(user)} cannot read it",
                        f"chgrp {group} {path_(path)}; chmod 640 {path_(path)}")
        if _secret(subject.config, path) and readable(path, "nobody"):
            yield found("F2", path, "all users of this node can read it, and the passwords in it",
                        f"chmod o= {path_(path)}")
    except CannotLookError as error:
        yield found("F2", path, f"who can read it: {error}", "Look again as root.", UNKNOWN)


def _secret(config: Configuration, path: str) -> bool:
    names: Sequence[str] = ("password", "connection", "transport_url", "secret", "_key", "token")
    return any(file == path and value and any(name.endswith(one) for one in names)
               for (_, name), (value, file) in config.raw.items())


def _group(user: str) -> str:
    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        return shown(user)
