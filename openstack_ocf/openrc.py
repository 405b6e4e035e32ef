"""The monitor's user and URL, from an openrc file. The file is read, not run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from .description import Description
from .errors import CannotLookError, UsageError
from .reading import content, reason
from .words import hidden

LIMIT = 1 << 20
"""Bytes of an openrc file."""
_PARAMETERS = (
    ("os_username", ("OS_USERNAME",)),
    ("os_project_name", ("OS_PROJECT_NAME", "OS_TENANT_NAME")),
    ("os_auth_url", ("OS_AUTH_URL",)),
    ("os_user_domain_name", ("OS_USER_DOMAIN_NAME", "OS_DEFAULT_DOMAIN")),
    ("os_project_domain_name", ("OS_PROJECT_DOMAIN_NAME", "OS_DEFAULT_DOMAIN")),
    ("os_region_name", ("OS_REGION_NAME",)),
    ("os_cacert", ("OS_CACERT",)),
)
"""Parameters of the agents, and the variables that say them."""


@dataclass(frozen=True)
class Credentials:
    """Parameters but the password, and the file that has it; empty without a file."""

    path: str
    parameters: Mapping[str, str]


def credentials(description: Description) -> Credentials:
    """The credentials of a description; CannotLookError, UsageError if the file is no help."""
    path = description.credentials
    if not path:
        return Credentials("", {})
    try:
        variables = _variables(content(path, LIMIT).decode())
    except OSError as error:
        raise CannotLookError(f"credentials = {path} cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise UsageError(f"credentials = {path} is no openrc file") from error
    found = {name: next((variables[one] for one in choice if variables.get(one)), "")
             for name, choice in _PARAMETERS}
    found["os_auth_url"] = description.auth_url or found["os_auth_url"]
    found["os_region_name"] = description.region or found["os_region_name"]
    missing = [choice[0] for name, choice in _PARAMETERS[:3] if not found[name]]
    missing += [] if variables.get("OS_PASSWORD") else ["OS_PASSWORD"]
    if missing:
        raise UsageError(f"credentials = {path} does not set {', '.join(missing)}")
    if hidden(found["os_auth_url"]) != found["os_auth_url"]:
        # The agents refuse it as well, and what a plan has all can read.
        raise UsageError(f"credentials = {path}: OS_AUTH_URL has a user or a password in it "
                         f"({hidden(found['os_auth_url'])}); take it out")
    return Credentials(path, {name: value for name, value in found.items() if value})


def password(path: str) -> str:
    """The password of an openrc file that `credentials` has read; only for a request with it."""
    return _variables(content(path, LIMIT).decode())["OS_PASSWORD"]


def _variables(text: str) -> dict[str, str]:
    """What the file sets by `export NAME=VALUE`; a value with a `$` in it is left out."""
    found = {}
    for line in text.splitlines():
        setting = re.match(r"\s*(?:export\s+)?(OS_\w+)=(.*)", line)
        words = shlex.split(setting[2], comments=True) if setting else []
        if setting and len(words) == 1:
            found[setting[1]] = words[0]
    # No name and no URL has a dollar; a password may.
    return {name: value for name, value in found.items()
            if name == "OS_PASSWORD" or ("$" not in value and value.isprintable())}
