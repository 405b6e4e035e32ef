"""What an agent declares of its daemon, for the tests that compare it with a release."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from agentlib.broker import TLS
from agentlib.parameters import Values
from agentlib.uwsgi import Uwsgi
from harness import EVERY_AGENT, declaration
from lab import process

AGENTS = {agent.name: agent for agent in EVERY_AGENT}


def daemon(name: str) -> Any:
    """The Daemon of an agent."""
    return declaration(AGENTS[name]).manages.daemon


def values(name: str, **given: str) -> Values:
    """Its parameters: the given values, otherwise the defaults."""
    return Values(daemon(name).parameters, given)


def application(name: str) -> Uwsgi | None:
    """Its WSGI application, if there is one."""
    found: Uwsgi | None = daemon(name).uwsgi
    return found


def standalone(name: str) -> bool:
    """Whether it runs a binary of its own by default."""
    found = application(name)
    return not (found and found.only)


def options(name: str) -> Iterable[set[tuple[str, str]]]:
    """Section and name of each option that the agent looks for in the service's configuration.

    An option that was renamed is in one set with its older name.
    """
    found = application(name)
    if found and found.listen:
        yield from ({(found.listen_section, option)} for option in found.listen)
    for check in declaration(AGENTS[name]).manages.checks:
        what = type(check).__name__
        if what == "Broker":
            yield {("DEFAULT", "transport_url")}
            yield {("oslo_messaging_rabbit", option) for option in TLS}
            if check._unless:
                yield {check._unless[:2]}
        elif what == "Database":
            database = check._option
            yield {(database._section, database._name), *filter(None, [database._older])}
        elif what == "UnixSocket":
            yield {("DEFAULT", check._name)}
        elif what == "Api" and check.authentication:
            match = re.fullmatch(r"\[(.+)\] (\w+) = \w+", check.authentication)
            assert match, check.authentication
            yield {(match[1], match[2])}


def daemon_name(name: str) -> str:
    """The default binary."""
    return values(name).text("binary")


def words_of_options(name: str, **given: str) -> tuple[list[str], set[str]]:
    """The binary's command line with every parameter set, and the options in it."""
    given.update(dict.fromkeys(daemon(name)._options, "x"))
    command = daemon(name).command(values(name, **given))
    return command, {word.partition("=")[0] for word in command if word.startswith("--")}


@cache
def understood(binary: str) -> set[str]:
    """The options that a program's --help lists."""
    done = subprocess.run(
        [binary, "--help"], capture_output=True, text=True, check=True, cwd="/",
        env=process.ENVIRONMENT,
    )  # fmt: skip
    return set(re.findall(r"--[a-z][a-z-]*", done.stdout))


@cache
def listed(python: str | Path, distribution: str, *modules: str) -> dict[tuple[str, str], str]:
    """Section and name of each option that a distribution lists by itself, with its default.

    modules: further ones, which register options when they are imported.
    """
    done = subprocess.run(
        [python, "-B", Path(__file__).with_name("known_options.py"), distribution, *modules],
        capture_output=True, text=True, cwd="/", env=process.ENVIRONMENT,
    )  # fmt: skip
    assert not done.returncode, (
        f"the options of {distribution}, which is the distribution's name (see NOT_IN_THE_FILE in "
        f"test_package.py, DISTRIBUTIONS in test_newest.py): {done.stderr.strip()[-400:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {(section, option): default for section, option, default in found}
