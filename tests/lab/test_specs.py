"""What the lab knows of each project, beside what the agents declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import declared, specs
from lab.packages import PACKAGES
from lab.settings import Settings
from lab.specs import BASE, FURTHER, SPECS

PASSWORDS = dict.fromkeys(("admin", "monitor", "db", *SPECS), "a-password-of-some-length")


@pytest.mark.parametrize("name", SPECS)
def test_daemons_are_agents_and_find_their_files(name: str) -> None:
    """Every daemon of a project has an agent and a package, and its configuration is written."""
    settings = Settings(Path("/nowhere"), db="mysql", projects=FURTHER, passwords=PASSWORDS)
    written = {*SPECS[name].options(settings)}
    agents = {*SPECS[name].daemons, *filter(None, [SPECS[name].api])}

    assert agents
    assert {*SPECS[name].wsgi_only} <= agents <= {*PACKAGES}
    assert {declared.defaults(agent)["config"] for agent in agents} <= written
    assert name in BASE or SPECS[name].api in ("", *SPECS[name].daemons)
    assert all(settings.project(specs.service(agent)) == name for agent in agents)
