"""The user that a monitor asks as, in a CIB: its rights, its password, and whether it is whole.

Called by `lint`; docs/openstack-ocf.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .agents import Agent
from .cib import LRM
from .finding import ERROR, WARNING, Finding
from .words import hidden, shown

PLACEHOLDER = "SECRET"
"""Stands for the password in the snippets: there is no secret in it."""
URLS = ("os_auth_url", "keystone_get_token_url")
"""Parameters that say where Keystone is."""
_PROJECTS = ("os_project_name", "os_tenant_name")


def lint(name: str, agent: Agent, given: Mapping[str, str]) -> Iterator[Finding]:
    """L4: more rights than needed. L5: a password that all can read who can read the CIB.

    L22: half of the credentials. name: id of the resource. given: its parameters.
    """
    if given.get("os_username") == "admin":
        yield Finding("L4", WARNING, name, "the monitor's user is admin",
                      "Take a user of its own with the role reader.")
    for secret in ("os_password", "os_token"):
        value = given.get(secret, "")
        if value and not value.startswith(LRM) and value != PLACEHOLDER:
            yield Finding("L5", WARNING, name, f"{secret} stands in the CIB",
                          f"cibsecret stash {name} {secret}")
    for inner, value in given.items():
        if inner not in ("os_password", "os_token") and hidden(value) != value:
            yield Finding("L5", WARNING, name, f"{inner} has a password in it: "
                          f"{shown(hidden(value))}",
                          "Take it out: all who may read the CIB see it.")
    missing = _missing(agent, given)
    if missing:
        yield Finding(
            "L22", ERROR, name, f"half of the credentials: {' and '.join(missing)} not set. The "
            "shell agents then asked nobody. Here it is a wrong configuration: a start is refused "
            "(exit code 6), and what runs is degraded (190)",
            "Give all of the credentials, or none.")


def _missing(agent: Agent, given: Mapping[str, str]) -> list[str]:
    """What an agent's monitor lacks to ask for a token; empty where it is not to ask for one."""
    if "os_username" not in agent.defaults:
        return []
    there = {
        "os_username": bool(given.get("os_username")),
        "os_password": bool(given.get("os_password")),
        "os_project_name": any(given.get(one) for one in _PROJECTS),
    }
    url = any(given.get(one) for one in URLS)
    # keystone asks itself, and needs no URL.
    if not any(there.values()) and (not url or agent.name == "keystone"):
        return []
    default = any(agent.defaults.get(one) for one in URLS)
    there["os_auth_url"] = url or default or agent.name == "keystone"
    return [one for one, is_there in there.items() if not is_there]
