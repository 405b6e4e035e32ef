"""What the agents declare of their daemons, read from ocf/, the only place that has it.

Called by `lab.settings` and `lab.services` for the daemons of a whole control plane, and by tests.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

OCF = Path(__file__).resolve().parent.parent / "ocf"


def declaration(agent: Path) -> Any:
    """The Agent that an executable declares; leaves no bytecode beside it."""
    loader = SourceFileLoader("ocf_" + agent.name.replace("-", "_"), str(agent))
    module = ModuleType(loader.name)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module.AGENT


@cache
def service(agent: str) -> Any:
    """The Service that an agent manages, by the agent's name."""
    return declaration(OCF / agent).manages


def daemon(agent: str) -> Any:
    """The Daemon of an agent."""
    return service(agent).daemon


def defaults(agent: str) -> dict[str, str]:
    """All parameters of an agent, with their defaults."""
    return {parameter.name: parameter.default for parameter in service(agent).parameters}


def config_parameters(agent: str) -> dict[str, str]:
    """The parameters that name a configuration file, with the path that each has by default."""
    known = defaults(agent)
    return {name: known[name] for name in ("config", *daemon(agent)._configs) if known[name]}


def fixed_config(service: str) -> str:
    """The fixed path of a daemon's configuration; empty where an argument sets the path.

    service: an agent, or one of the lab's own, such as db.
    """
    served = daemon(service).uwsgi if (OCF / service).exists() else None
    return served._fixed_config if served else ""


def lives_by_broker(agent: str) -> bool:
    """Whether a daemon has connections to RabbitMQ as long as it is well."""
    return any(type(check).__name__ == "Broker" for check in service(agent).checks)


def by_uwsgi(agent: str, given: Mapping[str, str]) -> bool:
    """Whether uWSGI serves a daemon, for these parameters."""
    from agentlib.parameters import Values

    declared = daemon(agent)
    return declared._server(Values(declared.parameters, given)) is declared.uwsgi


def command(agent: str, given: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command line of a daemon and the variables it needs, for these parameters."""
    from agentlib.parameters import Values

    declared = daemon(agent)
    values = Values(declared.parameters, given)
    server = declared._server(values)
    return declared.command(values), server.environment(values, declared.files(values))
