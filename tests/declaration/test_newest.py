"""What the agents declare, against the newest releases: programs, WSGI applications, options.

They are installed with pip, once, in a virtual environment (`lab.release`). test_package.py does
the same with Debian's packages.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from agentlib import program
from declaration.kit import (
    AGENTS,
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
from harness import OCF, declaration
from lab import process, release
from lab.packages import every
from lab.settings import NEWEST_CONTROL_PLANE

BIN = NEWEST_CONTROL_PLANE / "bin"
HERE = Path(__file__).parent
NAMES = [name for name, agent in AGENTS.items() if kind(agent) != "Gone"]
GONE = [name for name in AGENTS if name not in NAMES]
SERVED = [name for name in NAMES if application(name)]
REPLACED = [name for name in NAMES if daemon(name)._without_binary]

NO_SERVER = {"glance-api": "the program is there to say so"}
"""Agents whose default binary still exists, but serves no more."""

STANDALONE = [
    name for name in NAMES if standalone(name) and name not in (*REPLACED, *NO_SERVER)
]

DISTRIBUTIONS = {"heat": "openstack-heat", "placement": "openstack-placement"}
"""Projects that have another name on PyPI."""

NOT_LISTED = {"cinder": ("cinder.cmd.api", "cinder.cmd.volume")}
"""Projects whose list of options needs a rare library, and the modules that register the
options."""

REMOVED = {
    "glance-api": {("DEFAULT", "bind_host"), ("DEFAULT", "bind_port")},
    "heat-api": {("heat_api", "bind_host"), ("heat_api", "bind_port")},
    "heat-api-cfn": {("heat_api_cfn", "bind_host"), ("heat_api_cfn", "bind_port")},
    "neutron-server": {("DEFAULT", "bind_host"), ("DEFAULT", "bind_port")},
    "nova-api": {
        ("DEFAULT", "osapi_compute_listen"),
        ("DEFAULT", "osapi_compute_listen_port"),
        ("api", "auth_strategy"),
    },
    "nova-api-metadata": {("DEFAULT", "metadata_listen"), ("DEFAULT", "metadata_listen_port")},
}
"""Options of older releases that the agents still read: the address of the service's own server.
(And Nova always asks for a token.)"""

OTHER_PORTS = {
    "designate-api": ("service:api", "listen"),
    "nova-novnc": ("vnc", "novncproxy_port"),
    "nova-serialproxy": ("serial_console", "serialproxy_port"),
}
"""Options with a port that the agents do not read."""

CONFIGURATION = """
[DEFAULT]
log_file = {folder}/read.log
state_path = {folder}
transport_url = fake://
[placement_database]
connection = sqlite://
[indexer]
url = mysql+pymysql://nobody@127.0.0.1:1/none
"""


@pytest.fixture(scope="module", autouse=True)
def versions(need_packages: Callable[[Iterable[str], str], None]) -> dict[str, str]:
    """The releases, which are installed if necessary."""
    # The users of the services are those of Debian's packages.
    need_packages([*release.PACKAGES, *every()], "make test-packages control-plane")
    return release.find(NEWEST_CONTROL_PLANE, release.CONTROL_PLANE)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Every agent whose daemon is not gone."""
    agent: str = request.param
    return agent


def distribution(name: str) -> str:
    """The name of the daemon's project on PyPI."""
    project = Path(daemon(name).log_folder).name
    return DISTRIBUTIONS.get(project, project)


def known(project: str) -> dict[tuple[str, str], str]:
    """Section and name of each option of a release, with its default."""
    return listed(BIN / "python", project, *NOT_LISTED.get(project, ()))


def where_it_listens(name: str) -> tuple[str, str] | None:
    """Section and name of the option that has the port; None if there is none."""
    found = application(name)
    if name in OTHER_PORTS or not found or not found.listen or name in REMOVED:
        return OTHER_PORTS.get(name)
    return found.listen_section, found.listen[1]


LISTENING = [name for name in NAMES if where_it_listens(name)]


def hidden(paths: Iterable[str]) -> list[str]:
    """The beginning of a command line that hides these files from a program."""
    script = 'for path; do shift; [ "$path" = -- ] && break; '
    script += 'mount --bind /dev/null "$path"; done; exec "$@"'
    return ["unshare", "--mount", "bash", "-euc", script, "bash", *paths, "--"]


def test_project_of_each_agent(versions: dict[str, str]) -> None:
    """The releases are those of all agents' projects, and no others."""
    assert {*versions} == {distribution(name) for name in NAMES}


@pytest.mark.parametrize("name", STANDALONE)
def test_binary(name: str) -> None:
    """The default binary is there, and has every option that the agent may give it."""
    command, wanted = words_of_options(name, binary=str(BIN / daemon_name(name)))

    assert "--config-file" in wanted
    assert wanted <= understood(command[0])


@pytest.mark.parametrize("name", NO_SERVER)
def test_binary_that_serves_no_more(name: str) -> None:
    """From the default binary's message the agent makes the advice to use uWSGI."""
    done = subprocess.run(
        [BIN / daemon_name(name)], capture_output=True, text=True, cwd="/",
        env=process.ENVIRONMENT,
    )  # fmt: skip

    assert done.returncode != 0
    assert "server=uwsgi" in daemon(name).advice(values(name), done.stdout + done.stderr)


@pytest.mark.parametrize("name", REPLACED)
def test_binary_that_is_replaced(name: str) -> None:
    """Without the binary of older releases the agent says 5, and what to use; that exists."""
    binary = daemon_name(name)
    paths = [f"{folder}/{binary}" for folder in program.PATH.split(":")]
    done = subprocess.run(
        [*hidden(filter(program.find, paths)), OCF / name, "validate-all"],
        capture_output=True, text=True, cwd="/",
        env={
            **process.ENVIRONMENT, "OCF_ROOT": "/usr/lib/ocf", "OCF_RESOURCE_INSTANCE": f"p_{name}",
        },
    )  # fmt: skip

    assert 5 == done.returncode, done.stderr
    reason = done.stderr.splitlines()[-1]
    assert reason.startswith(f"ocf-exit-reason:binary={binary} is not on this node: "), done.stderr
    assert "server=uwsgi" in reason
    assert len(reason.partition(":")[2]) <= 120
    assert not (BIN / binary).exists()
    instead = re.findall(r"neutron-[a-z-]+", daemon(name)._without_binary)
    assert [] == [other for other in instead if not (BIN / daemon_name(other)).exists()]


@pytest.mark.parametrize("name", GONE)
def test_what_is_gone(name: str) -> None:
    """The newest releases have no daemon that its agent calls gone."""
    (binary,) = (p for p in declaration(AGENTS[name]).manages.parameters if p.name == "binary")

    assert not (BIN / binary.default).exists()


@pytest.mark.parametrize("name", SERVED)
def test_application(name: str, folder: Path) -> None:
    """The WSGI application is there, and reads the configuration file that the agent gives it."""
    found = application(name)
    assert found
    user = values(name).text("user")
    own = folder / Path(values(name).text("config")).name
    own.write_text(CONFIGURATION.format(folder=folder))
    for ini in (NEWEST_CONTROL_PLANE / "etc" / Path(daemon(name).log_folder).name).glob("*.ini"):
        shutil.copy(ini, folder)
    shutil.chown(folder, user)
    config = found._fixed_config or str(own)
    given = values(
        name, server="uwsgi", config=config, bind="127.0.0.1:1",
        additional_parameters=f"--virtualenv={NEWEST_CONTROL_PLANE}",
    )  # fmt: skip
    command = daemon(name).command(given)
    (what,) = (word for word in command if word.startswith(("--wsgi-file=", "--module=")))
    arguments = [word for word in command if word.startswith("--pyargv=")]
    handed_on = arguments[0].partition("=")[2].split() if arguments else []

    place = ["unshare", "--mount", "bash", "-euc", 'mount --bind "$0" "$1"; shift; exec "$@"']
    done = subprocess.run(
        [
            *([*place, str(own), config] if found._fixed_config else []),
            "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
            BIN / "python", HERE / "load_application.py", what, *handed_on,
        ],
        capture_output=True, text=True, cwd="/", timeout=300,
        env={**process.ENVIRONMENT, **found.environment(given, daemon(name).files(given))},
    )  # fmt: skip

    # It may fail at its database next; its log shows that it has read the file.
    assert (folder / "read.log").exists(), done.stdout + done.stderr


def test_options_of_the_configuration(name: str) -> None:
    """Each option that the agent reads is the release's, or known to be of older releases."""
    there = {*known(distribution(name))}
    read = [*options(name), *({("DEFAULT", option)} for option in daemon(name)._host_options)]

    assert REMOVED.get(name, set()) == set().union(*(one for one in read if not one & there))


@pytest.mark.parametrize("name", LISTENING)
def test_port(name: str) -> None:
    """The default port is the release's."""
    option = where_it_listens(name)
    assert option
    default = known(distribution(name))[option]

    assert str(daemon(name).port) == re.findall(r"\d+", default)[-1]
