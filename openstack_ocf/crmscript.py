"""What crmsh's scripts openstack-glance-api and openstack-cinder-api ask before they do anything.

Called by `clusterverbs` for `check --crm-script`, the first step of crm/scripts/*/main.yml. crmsh
writes what the operator has given into a file in the script's folder: no shell sees the values.
crmsh itself looks at little more than whether an address is one.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import agents, cib, description
from .errors import DescriptionError, UsageError
from .finding import ERROR, Finding
from .reading import whole
from .run import run
from .words import path as path_
from .words import shown

LIMIT = 1 << 20
"""Bytes of what crmsh has written."""
VIPS = ("vip", "public_vip")
"""Parameters of the script that are none of the agent: the internal address comes first."""
_USER = ("os_", "keystone_get_token_url")


def given(agent: str, path: str) -> dict[str, str]:
    """The parameters that a script was given, by name. UsageError if that is not what a file has.

    agent: its name, as `glance-api`.
    """
    if agents.get(agent) is None:
        raise UsageError(f"--crm-script: there is no agent {shown(agent)} here")
    try:
        state = json.loads(whole(path, LIMIT))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, list) or not state or not isinstance(state[0], dict):
        raise UsageError(f"{path_(path)} is not what crmsh writes for a script")
    return {str(name): value for name, value in state[0].items()
            if isinstance(value, str) and value}


def described(agent: str, values: Mapping[str, str]) -> description.Description:
    """A description of the same. DescriptionError if it cannot be one."""
    known = agents.get(agent)
    lines = [f"[{agent}]", f"vip = {' '.join(filter(None, map(values.get, VIPS)))}"]
    lines += [f"{name} = {value}" for name, value in values.items()
              if name == "id" or (known and name in known.defaults and not name.startswith(_USER))]
    if not all(line.isprintable() for line in lines):
        raise UsageError("a value has characters that cannot be printed")
    with tempfile.TemporaryDirectory(prefix="openstack-ocf-") as folder:
        path = Path(folder) / agent
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        try:
            found = description.read(str(path))
        except DescriptionError as error:
            raise DescriptionError([plain(one, str(path)) for one in error.findings]) from None
    return found


def plain(finding: Finding, path: str) -> Finding:
    """A finding whose place is the parameter, since the file is gone."""
    return dataclasses.replace(finding, where=finding.where.replace(f"{path}:", ""))


def refused(agent: str, values: Mapping[str, str], there: ET.Element | None) -> Iterator[Finding]:
    """I4, I5, I6: ids that are taken, a password that all can see, what the agent itself says.

    there: the CIB, None where it is not known.
    """
    name = values.get("id", f"p_{agent}")
    for one in (name, f"g_{agent}", f"p_ip_{agent}",
                *([f"p_ip_public_{agent}"] if values.get("public_vip") else [])):
        if there is not None and cib.by_id(there, one) is not None:
            yield Finding("I4", ERROR, f"{agent}/id", f"the cluster has a {shown(one)} already",
                          "To change what is there: openstack-ocf apply, or crm configure edit.")
    password = values.get("os_password", "")
    if password and password != cib.LRM:
        yield Finding("I5", ERROR, f"{agent}/os_password", "a password in a command line is in the "
                      "list of processes, which all users see", f"Say os_password={cib.LRM}, and "
                      f"before that: cibsecret -C set {name} os_password")
    elif password and not Path(cib.SECRETS, name, "os_password").is_file():
        yield Finding("I5", ERROR, f"{agent}/os_password", "this node has no value for it",
                      f"First run: cibsecret -C set {name} os_password")
    known = agents.get(agent)
    # In the environment, as Pacemaker does it: an argument list would show a password to all.
    done = run([str(agents.folder() / agent), "validate-all"], {
        **{f"OCF_RESKEY_{key}": value for key, value in values.items()
           if known and key in known.defaults},
        "OCF_RESOURCE_INSTANCE": name, "OCF_RESKEY_CRM_meta_timeout": "20000"})
    if done.code:
        reason = done.said.rpartition("ocf-exit-reason:")[2].strip() or "no reason"
        yield Finding("I6", ERROR, agent, f"the agent says {done.code}: {path_(reason)}",
                      "Mend it, on every node.")
