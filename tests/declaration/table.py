"""How the agents differ: a table of their kinds, and of the parameters that only some have.

Run by `make golden`, which writes it to tests/golden/agents.txt; compared by test_metadata.py.
"""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path

from harness import EVERY_AGENT, declaration
from lookalike.records import declared

COMMON = ("pid", "additional_parameters", "log_file", "shutdown_timeout")
"""Parameters that every agent has, equal except for the name of a folder."""

CREDENTIALS = ("os_username", "os_password", "os_project_name", "os_tenant_name",
               "os_user_domain_name", "os_project_domain_name", "os_region_name", "os_cacert",
               "os_insecure")  # fmt: skip
UWSGI = ("bind", "uwsgi_ini", "processes", "threads")
"""Parameters that come together."""


def kind(agent: Path) -> str:
    """What the agent manages: its checks, or that its daemon is gone."""
    manages = declaration(agent).manages
    checks = [type(check).__name__ for check in getattr(manages, "checks", ())]
    return " + ".join(checks) or type(manages).__name__


def parameters(agent: Path) -> dict[str, str]:
    """Every parameter with its default."""
    document = subprocess.run([agent, "meta-data"], env={}, check=True, capture_output=True)
    found = {}
    for parameter in ElementTree.fromstring(document.stdout).iter("parameter"):
        content = parameter.find("content")
        default = "" if content is None else content.get("default", "")
        unused = "(not used)" in (parameter.findtext("shortdesc") or "")
        found[parameter.get("name", "")] = default + (" (not used)" if unused else "")
    return found


def rows(agent: Path) -> Iterable[str]:
    """The lines of one agent."""
    found = parameters(agent)
    yield f"{agent.name}: {kind(agent)}"
    record = declared(agent)
    if record:
        yield f"  (level 20: {record.text}, role {record.role})"
    for name in COMMON:
        assert name in found, (agent.name, name)
    for group, title in ((CREDENTIALS, "credentials"), (UWSGI, "uWSGI")):
        if set(group) <= set(found):
            yield f"  ({title})"
            for name in group:
                del found[name]
    for name, default in found.items():
        if name not in COMMON:
            yield f"  {name} = {default}".rstrip()


def table() -> str:
    """The whole table."""
    return "".join(f"{line}\n" for agent in EVERY_AGENT for line in rows(agent))


if __name__ == "__main__":
    print(table(), end="")
