"""What the agents declare, against the packages of Debian 12: programs, files, users, options.

The WSGI modules that newer releases have instead of scripts are in test_newest.py.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

from agentlib import program
from agentlib.configfile import settings
from declaration.kit import (
    application,
    daemon,
    daemon_name,
    listed,
    options,
    standalone,
    understood,
    values,
    words_of_options,
)
from declaration.table import kind
from harness import EVERY_AGENT, declaration
from lab import process
from lab.packages import NOT_PACKAGED, PACKAGES, every

AGENTS = [agent.name for agent in EVERY_AGENT if agent.name in PACKAGES]
SOURCES = Path("/usr/lib/python3/dist-packages")

NOT_STANDALONE = {
    "nova-api-metadata": "the package has the WSGI script alone; nova-api serves both APIs",
}
"""Agents whose default binary Debian leaves out, although the release has it."""

NOT_SAID = {"nova-novnc": "its script asks first which console proxy is wanted"}
"""Agents whose daemon's command line Debian's script does not show."""

FINDS_ITS_OWN = {"barbican-worker": "Debian leaves it to look for a file of its project's name"}
"""Agents whose daemon Debian starts without a configuration file."""

OTHER_SCRIPT = {
    "aodh-api": "Debian has one of its own, which calls the same function",
    "gnocchi-api": "Debian names the module, which calls the same functions",
}
"""Agents whose WSGI script is not the one that Debian starts."""

PYTHON = "/usr/bin/python3"
NOT_IN_THE_FILE = {"masakari": ("masakari", "oslo.messaging", "oslo.db")}
"""Projects whose file, as Debian makes it, does not name the options: these list them."""


@pytest.fixture(scope="module", autouse=True)
def _prerequisites(need_packages: Callable[[Iterable[str], str], None]) -> None:
    need_packages(every(), "make control-plane")


@pytest.fixture(params=AGENTS)
def name(request: pytest.FixtureRequest) -> str:
    """Every agent whose daemon Debian has."""
    agent: str = request.param
    return agent


STANDALONE = [name for name in AGENTS if name not in NOT_STANDALONE and standalone(name)]
SERVED = [name for name in AGENTS if application(name)]


# ---- Debian's packages


@cache
def sample(path: str) -> set[tuple[str, str]]:
    """Section and name of each option in a file that Debian makes, those in comments included."""
    found = set()
    section = ""
    for line in Path(path).read_text().splitlines():
        if match := re.match(r"\[(.+)\]", line):
            section = match[1]
        elif match := re.match(r"#? ?(\w+) *=", line):
            found.add((section, match[1]))
    return found


@cache
def debians(name: str) -> list[str]:
    """Debian's own command line of the daemon; empty if its script does not show one."""
    for script in (name, daemon_name(name), PACKAGES[name]):
        path = Path("/etc/init.d", script)
        if path.exists():
            done = subprocess.run(
                [path, "show-args"], capture_output=True, text=True, check=True, cwd="/"
            )
            return shlex.split(done.stdout)
    raise AssertionError(f"there is no {path}")


def config_files(words: Iterable[str]) -> set[str]:
    """The configuration files on a command line."""
    text = " ".join(words)
    return set(re.findall(r"--config-file[= ](\S+)", text))


# ---- the tests


def test_package_or_reason() -> None:
    """Each agent's daemon is in a package, or there is a reason why not."""
    gone = {agent.name for agent in EVERY_AGENT if kind(agent) == "Gone"}

    assert {agent.name for agent in EVERY_AGENT} == {*PACKAGES, *NOT_PACKAGED, *gone}
    assert len(EVERY_AGENT) == len(PACKAGES) + len(NOT_PACKAGED) + len(gone)


def test_what_is_gone() -> None:
    """No package of Debian has a daemon that is called gone, or is of a later release."""
    left = [agent for agent in EVERY_AGENT if agent.name not in PACKAGES]
    binaries = {
        p.default
        for agent in left
        for p in declaration(agent).manages.parameters
        if p.name == "binary"
    }

    assert len(binaries) > 10
    assert set() == {binary for binary in binaries if program.find(binary)}


@pytest.mark.parametrize("name", STANDALONE)
def test_binary(name: str) -> None:
    """The default binary is there, and has every option that the agent may give it."""
    command, wanted = words_of_options(name)
    assert "--config-file" in wanted

    words = debians(name)
    if words[:1] == command[:1]:  # Debian uses some of them: no need to ask --help
        wanted -= {word.partition("=")[0] for word in words}

    assert not wanted or wanted <= understood(command[0])


@pytest.mark.parametrize("name", NOT_STANDALONE)
def test_binary_that_debian_leaves_out(name: str) -> None:
    """Debian leaves the default binary out: on such a node it takes server=uwsgi."""
    assert not program.find(daemon_name(name))
    assert application(name)


def test_as_debian_does(name: str) -> None:
    """Program, port, configuration files and user are those with which Debian starts the daemon."""
    words = debians(name)
    if name in NOT_SAID:
        assert not words
    elif "--ini" in words:
        served = values(name, server="uwsgi")
        command = daemon(name).command(served)
        ini = settings(words[words.index("--ini") + 1])
        (address,) = (word for word in command if word.startswith("--http-socket="))
        (script,) = (word for word in command if word.startswith("--wsgi-file="))
        assert address.rpartition(":")[2] == words[words.index("--http-socket") + 1].strip(":")
        assert (name in OTHER_SCRIPT) == (script != f"--wsgi-file={ini.get('wsgi-file')}")
        assert served.text("user") == ini["uid"]
        assert config_files(words) in (set(), config_files(command))
    else:
        command = daemon(name).command(values(name))
        assert command[0] == words[0]
        assert config_files(words) == (set() if name in FINDS_ITS_OWN else config_files(command))
        assert not {*command} - {*words, *config_files(command), "--config-file"}


@pytest.mark.parametrize("name", SERVED)
def test_script(name: str) -> None:
    """The WSGI script exists, and defines an application."""
    found = application(name)
    assert found
    script = program.find(found._script)

    assert script
    assert re.search(r"^ *application = ", Path(script).read_text(), re.MULTILINE)


def test_files_of_the_user(name: str) -> None:
    """The user exists, may read each configuration file, and may write to the log folder."""
    found = values(name)
    user = process.as_user(found.text("user"))
    files = daemon(name).files(found)
    for question in (*(("-r", path) for path in files), ("-w", daemon(name).log_folder)):
        done = subprocess.run(["test", *question], **user)
        assert 0 == done.returncode, (found.text("user"), question)


def test_further_configuration_files(name: str) -> None:
    """The package makes each further configuration file that is declared."""
    found = values(name)
    paths = [found.text(parameter) for parameter in daemon(name)._configs]

    assert [] == [path for path in paths if path and not Path(path).is_file()]


def test_options_of_the_configuration(name: str) -> None:
    """The service has each option that the agent reads, in the same section."""
    known: set[tuple[str, str]] = set()
    known.update(*(sample(path) for path in daemon(name).files(values(name))))
    project = Path(daemon(name).log_folder).name
    known.update(*(listed(PYTHON, each) for each in NOT_IN_THE_FILE.get(project, ())))

    assert [] == [names for names in options(name) if not names & known]


@pytest.mark.parametrize("name", SERVED)
def test_variables_of_the_application(name: str) -> None:
    """The service's code reads each environment variable that uWSGI gets."""
    found = application(name)
    assert found
    project = SOURCES / found._module.partition(".")[0]
    given = values(name, server="uwsgi")
    for variable in found.environment(given, daemon(name).files(given)):
        done = subprocess.run(["grep", "-rqF", "--include=*.py", variable, project])
        assert 0 == done.returncode, (variable, project)
