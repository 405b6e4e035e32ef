"""Where Glance keeps images: whether another node has them after a failover. Rows S2 to S4, K1."""

from __future__ import annotations

import functools
import json
import os
import pwd
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .configuration import Value
from .errors import CannotLookError
from .finding import UNKNOWN, Finding
from .reading import content
from .rows import found
from .run import run
from .subject import Subject
from .words import path as path_
from .words import shown

SHARED = frozenset((
    "nfs", "nfs4", "ceph", "cephfs", "fuse.ceph-fuse", "glusterfs", "fuse.glusterfs", "gfs2",
    "ocfs2", "lustre", "cifs", "smb3", "gpfs", "beegfs", "fuse.moosefs", "fuse.juicefs", "orangefs",
    "afs", "virtiofs", "9p"))
"""Types of file systems that several nodes have at once."""
_LEGACY = {"file": "file", "filesystem": "file", "rbd": "rbd", "swift": "swift", "s3": "s3",
           "cinder": "cinder", "http": "http", "vmware": "vmware", "vmware_datastore": "vmware"}
_NEEDED = {
    "s3": ("s3_store_host", "s3_store_access_key", "s3_store_secret_key", "s3_store_bucket"),
}
"""Options that a store needs."""


LIMIT = 1 << 20
"""Bytes of ceph.conf."""


@dataclass(frozen=True)
class Store:
    """A store of Glance: its kind, and the section of its options."""

    kind: str
    section: str


def stores(subject: Subject) -> list[Store]:
    """The stores that are switched on, in today's form or the older one."""
    enabled = subject.config.get("DEFAULT", "enabled_backends").text
    pairs = [part.strip().partition(":") for part in enabled.split(",") if part.strip()]
    if pairs:
        return [Store(kind.strip(), name.strip()) for name, _, kind in pairs]
    # What is read only, as http, holds no image of its own.
    kinds = dict.fromkeys(_LEGACY.get(one.strip().rpartition(".")[2].lower(), one.strip())
                          for one in subject.config.get("glance_store", "stores").text.split(","))
    default = subject.config.get("glance_store", "default_store").text
    kinds = dict.fromkeys([_LEGACY.get(default, default)]) if default else kinds
    return [Store(kind, "glance_store") for kind in kinds]


def storage(subject: Subject) -> Iterator[Finding]:
    """S2, S3, S4 and K1, for glance-api."""
    if subject.agent.name != "glance-api":
        return
    for store in stores(subject):
        if store.kind == "file" and subject.ha:
            for folder in _folders(subject, store):
                yield from _local(subject, "S2", folder, "Use rbd, swift, s3 or cinder, or mount "
                                  "shared storage there.")
        elif store.kind == "rbd":
            yield from _rbd(subject, store)
        elif store.kind == "swift":
            yield from _swift(subject, store)
        for name in _NEEDED.get(store.kind, ()):
            value = subject.config.get(store.section, name)
            if not value.text:
                yield found("S3", value.where, f"the store {store.section} has no {name}",
                            f"Set {name}.")
    yield from _staging(subject)
    yield from _cache(subject)


@functools.cache
def readable(path: str, user: str) -> bool:
    """Whether a user can read a file, tried as that user; CannotLookError where that is impossible.

    Permissions alone would not do: there are folders above, groups and access lists.
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        raise CannotLookError(f"there is no user {shown(user)} on this node") from error
    if os.geteuid() != 0:
        raise CannotLookError("that takes root")
    done = run(["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}",
                "--init-groups", "test", "-r", path], timeout=20)
    return done.code == 0


def mount(path: str) -> tuple[str, str]:
    """Type and mount point of the file system that a path is on; CannotLookError."""
    there = Path(path)
    while not os.path.exists(there) and there != there.parent:
        there = there.parent
    done = run(["findmnt", "--json", "--target", str(there), "--output", "FSTYPE,TARGET"],
               timeout=20)
    try:
        # Of several that lie above each other the last one counts.
        one = json.loads(done.output)["filesystems"][-1]
        return str(one["fstype"]), str(one["target"])
    except (ValueError, LookupError, TypeError) as error:
        raise CannotLookError(f"findmnt does not say what {path_(path)} is on") from error


# --- rows ---------------------------------------------------------------------------------------


def _folders(subject: Subject, store: Store) -> list[Value]:
    several = subject.config.get(store.section, "filesystem_store_datadirs")
    if several.text:
        # A folder may have its priority behind it.
        return [Value(re.sub(r":\d+$", "", one.strip()), several.where, given=True)
                for one in re.split(r"[,\n]", several.text) if one.strip()]
    return [subject.config.get(store.section, "filesystem_store_datadir",
                               "/var/lib/glance/images")]


def _local(subject: Subject, id_: str, folder: Value, say: str) -> Iterator[Finding]:
    """A folder that other nodes do not have."""
    path = folder.text
    above = [one for one in subject.mounted if one and (path + "/").startswith(
        one.rstrip("/") + "/")]
    if above and not subject.active_active:
        return
    try:
        kind, target = mount(path)
    except CannotLookError as error:
        yield found(id_, folder.where, str(error), "Look by: findmnt --target DIR", UNKNOWN)
        return
    if kind not in SHARED:
        yield found(id_, folder.where, f"{path_(path)} is on {path_(target)} ({shown(kind)}) of "
                    "this node", say)


def _rbd(subject: Subject, store: Store) -> Iterator[Finding]:
    get, user = subject.config.get, subject.parameter("user")
    name = get(store.section, "rbd_store_user")
    conf = get(store.section, "rbd_store_ceph_conf", "/etc/ceph/ceph.conf")
    path = conf.text or "/etc/ceph/ceph.conf"
    yield from _file(path, user, conf.where)
    if not name.text or name.text == "None":
        yield found("S3", name.where, "rbd_store_user is not set: it is that of ceph.conf, if any",
                    "Set rbd_store_user, as glance.", "warning")
        return
    keyring = f"/etc/ceph/ceph.client.{name.text}.keyring"
    if not os.path.isfile(path):
        return  # Said above; a FIFO would not end.
    try:
        text = content(path, LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return
    stated = re.search(rf"(?ms)^\[client\.{re.escape(name.text)}\][^\[]*?^\s*keyring\s*=\s*(\S+)",
                       text)
    yield from _file(stated[1] if stated else keyring, user, name.where)


def _file(path: str, user: str, where: str) -> Iterator[Finding]:
    if not os.path.isfile(path):
        yield found("S3", where, f"{path_(path)} is not on this node", "Copy it to every node.")
        return
    try:
        if not readable(path, user):
            yield found("S3", where, f"the user {shown(user)} cannot read {path_(path)}",
                        f"chgrp {shown(user)} {path_(path)}; chmod 640 {path_(path)}")
    except CannotLookError as error:
        yield found("S3", where, f"{path_(path)}: {error}", "Look again as root.", UNKNOWN)


def _swift(subject: Subject, store: Store) -> Iterator[Finding]:
    get = subject.config.get
    file = get(store.section, "swift_store_config_file")
    if file.text and file.text != "None":
        yield from _file(file.text, subject.parameter("user"), file.where)
        return
    for name in ("swift_store_auth_address", "swift_store_user", "swift_store_key"):
        value = get(store.section, name)
        if not value.text:
            yield found("S3", value.where, f"the store {store.section} has neither "
                        f"swift_store_config_file nor {name}", f"Set one of them: {name}.")


def _staging(subject: Subject) -> Iterator[Finding]:
    """S4: what is imported in two steps lies in a folder in between."""
    get = subject.config.get
    methods = get("DEFAULT", "enabled_import_methods").text.strip("[]")
    two_steps = "glance-direct" in [one.strip(" '\"") for one in methods.split(",")]
    if not subject.ha or not two_steps:
        return
    if subject.active_active and get("DEFAULT", "worker_self_reference_url").text not in (
            "", "None"):
        return
    if get("DEFAULT", "enabled_backends").text:
        folder = get("os_glance_staging_store", "filesystem_store_datadir",
                     "/var/lib/glance/staging")
    else:
        uri = get("DEFAULT", "node_staging_uri")
        folder = Value(urlsplit(uri.text).path, uri.where, uri.given)
    say = ("Set worker_self_reference_url to each node's own URL, or mount shared storage there."
           if subject.active_active else
           "Mount shared storage there, or take glance-direct out of enabled_import_methods.")
    yield from _local(subject, "S4", folder, say)


def _cache(subject: Subject) -> Iterator[Finding]:
    """K1: the folder of the image cache."""
    flavor = subject.config.get("paste_deploy", "flavor").text
    if "cach" not in flavor:
        return
    folder = subject.config.get("DEFAULT", "image_cache_dir")
    user = subject.parameter("user")
    if not folder.text or folder.text == "None":
        yield found("K1", folder.where, f"flavor is {shown(flavor)}, and image_cache_dir is not "
                    "set", "Write: image_cache_dir = /var/lib/glance/image-cache")
        return
    try:
        there = os.stat(folder.text)
        owner = pwd.getpwuid(there.st_uid).pw_name
    except (OSError, ValueError):
        yield found("K1", folder.where, f"{path_(folder.text)} is not on this node",
                    f"install --directory --owner={shown(user)} {path_(folder.text)}")
        return
    except KeyError:
        owner = "nobody"
    if not stat.S_ISDIR(there.st_mode) or owner != user:
        yield found("K1", folder.where, f"{path_(folder.text)} is not a folder of the user "
                    f"{shown(user)}",
                    f"install --directory --owner={shown(user)} {path_(folder.text)}")
