"""What Pacemaker, crmsh, pcs and ocf-tester may expect of any agent: every file in ocf/."""

from __future__ import annotations

import os
import stat
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import AGENTS, INTERPRETERS, ROOT, Resource, defaults, expect, installed, masters
from lookalike.service import USER, Service

Need = Callable[[str, str], str]

GOLDEN = ROOT / "tests" / "golden"
DTD_FOLDER = "/usr/share/resource-agents"
OCF_1_1 = "/usr/share/pcs/data/ocf-1.1.rng"

GUIDE = (
    "binary", "config", "user", "pid", "additional_parameters", "client_binary", "os_username",
    "os_password", "os_tenant_name", "os_auth_url", "keystone_get_token_url", "url",
)  # fmt: skip
"""Names of the HA guide's parameters; a CIB that has them must go on working."""

# Their defaults in the guide's agents. Not taken over: that of cinder-api's url (a /v1/ that no
# Cinder has any more, on an address that another node may answer).
GUIDE_DEFAULTS = {
    "glance-api": {
        "binary": "glance-api",
        "config": "/etc/glance/glance-api.conf",
        "user": "glance",
        "client_binary": "glance",
    },
    "cinder-api": {
        "binary": "cinder-api",
        "config": "/etc/cinder/cinder.conf",
        "user": "cinder",
        "keystone_get_token_url": "http://127.0.0.1:5000/v2.0/tokens",
    },
}

ADVERTISED = {"start": 60, "stop": 60, "monitor": 30}
"""Seconds that these actions have at least."""


@pytest.fixture
def resource(agent: Path, folder: Path) -> Resource:
    """A resource without any parameter."""
    return Resource(agent, folder)


def document(agent: Path) -> str:
    """The agent's meta-data, from the agent itself."""
    return subprocess.run(
        [agent, "meta-data"], env={}, check=True, capture_output=True, text=True
    ).stdout


# ---- the file


def test_there_are_agents() -> None:
    """A mistake in the list of agents does not make all tests pass for want of any."""
    assert {"glance-api", "cinder-api"} <= {agent.name for agent in AGENTS}


def test_executable(agent: Path) -> None:
    """An agent is executable by all, and writable by its owner only."""
    mode = agent.stat().st_mode
    assert mode & 0o111 == 0o111
    assert not mode & 0o022
    assert not mode & (stat.S_ISUID | stat.S_ISGID)


def test_shebang(agent: Path) -> None:
    """An agent runs under the distribution's Python, whatever PYTHON* or ~/.local say."""
    assert "#!/usr/bin/python3 -Es" == agent.read_text(encoding="utf-8").splitlines()[0]


def test_small(agent: Path) -> None:
    """An agent is a declaration: what it does, it shares with its sisters."""
    assert len(agent.read_text(encoding="utf-8").splitlines()) <= 40


# ---- meta-data


def test_name_is_file_name(agent: Path) -> None:
    """The name in the meta-data is that of the file, under which Pacemaker knows it."""
    assert agent.name == ElementTree.fromstring(document(agent)).get("name")


def test_golden(agent: Path) -> None:
    """The meta-data is what was reviewed; a change is seen in the diff of the golden file."""
    golden = GOLDEN / f"{agent.name}.xml"
    assert golden.is_file(), f"no {golden.relative_to(ROOT)}: run `make golden`, review the diff"
    assert golden.read_text(encoding="utf-8") == document(agent), (
        "the meta-data has changed: run `make golden`, and review the diff"
    )


def test_valid_for_ocf_tester(agent: Path, need: Need) -> None:
    """The meta-data is valid for the stock DTD, checked as ocf-tester checks it."""
    need("xmllint", "libxml2-utils")
    need(f"{DTD_FOLDER}/ra-api-1.dtd", "resource-agents")
    run = subprocess.run(
        ["xmllint", "--noout", "--valid", "-"], cwd=DTD_FOLDER, input=document(agent), text=True,
        capture_output=True,
    )  # fmt: skip
    assert (0, "") == (run.returncode, run.stderr)


def test_valid_ocf_1_1(agent: Path, need: Need) -> None:
    """The meta-data is valid for the schema of OCF 1.1."""
    need("xmllint", "libxml2-utils")
    need(OCF_1_1, "pcs")
    run = subprocess.run(
        ["xmllint", "--noout", "--relaxng", OCF_1_1, "-"], input=document(agent), text=True,
        capture_output=True,
    )  # fmt: skip
    assert 0 == run.returncode, run.stderr


def test_guide_parameters(agent: Path) -> None:
    """Every parameter of the HA guide is there, with the guide's default."""
    declared = defaults(agent)
    assert not set(GUIDE) - set(declared)
    expected = GUIDE_DEFAULTS.get(agent.name, {})
    assert expected == {name: declared[name] for name in expected}
    for name in {"os_username", "os_password", "os_tenant_name", "os_auth_url", "url", "pid"}:
        assert "" == declared[name]


def test_metadata_is_the_declaration(agent: Path) -> None:
    """The meta-data shows the parameters and defaults that the agent works with."""
    shown = {
        parameter.get("name"): parameter.find("content").get("default", "")  # type: ignore[union-attr]
        for parameter in ElementTree.fromstring(document(agent)).iter("parameter")
    }
    assert defaults(agent) == shown


def test_reloadable(agent: Path) -> None:
    """What only the monitor uses is reloadable; what the daemon is started with is not."""
    reloadable = {
        parameter.get("name"): parameter.get("reloadable") == "1"
        for parameter in ElementTree.fromstring(document(agent)).iter("parameter")
    }
    for name in ("binary", "config", "user", "pid", "additional_parameters", "log_file"):
        assert not reloadable[name], name
    for name in ("os_username", "os_password", "os_auth_url", "url", "keystone_failure"):
        assert reloadable[name], name


def test_advertised_actions(agent: Path) -> None:
    """The advertised actions, timeouts and depths fit what was measured on real daemons."""
    actions = list(ElementTree.fromstring(document(agent)).iter("action"))
    names = {action.get("name") for action in actions}
    assert {
        "start", "stop", "monitor", "status", "validate-all", "reload-agent", "meta-data",
    } == names  # fmt: skip
    for action in actions:
        least = ADVERTISED.get(str(action.get("name")), 1)
        assert int(str(action.get("timeout")).rstrip("s")) >= least, action.get("name")
    monitors = [action for action in actions if action.get("name") == "monitor"]
    assert {"0", "10"} == {action.get("depth") for action in monitors}
    intervals = [action.get("interval") for action in monitors]
    assert len(intervals) == len(set(intervals)), "Pacemaker tells monitors by their interval"


# ---- the actions


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_state_sequence(service: Service) -> None:
    """Stopped, start, start, monitor in all its kinds, stop, stop, stopped."""
    expect(service.probe(), 7)
    expect(service.probe(interval=0), 7)
    expect(service.monitor(), 7)
    expect(service.call("reload-agent"), 7)
    expect(service.call("validate-all"), 0)
    expect(service.start(), 0)
    (before,) = masters(service.processes())
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    expect(service.monitor(level=0), 0)
    expect(service.probe(), 0)
    expect(service.call("status"), 0)
    expect(service.call("reload-agent"), 0)
    expect(service.call("validate-all"), 0)
    assert [before] == masters(service.pids())
    assert f"{before}\n" == service.pidfile.read_text(encoding="utf-8")
    expect(service.stop(), 0)
    assert not service.pids()
    assert not service.pidfile.exists()
    expect(service.stop(), 0)
    expect(service.monitor(), 7)
    expect(service.probe(), 7)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="none"),
        pytest.param(("",), id="empty"),
        pytest.param(("restart",), id="unknown"),
        pytest.param(("promote",), id="promote"),
        pytest.param(("notify",), id="notify"),
        pytest.param(("migrate_to",), id="migrate"),
        pytest.param(("reload",), id="reload"),
        pytest.param(("Start",), id="case"),
        pytest.param(("monitor\n",), id="newline"),
        pytest.param(("monito",), id="part"),
        pytest.param(("start stop",), id="substring"),
        pytest.param(("monitor", "monitor"), id="two"),
        pytest.param(("meta-data", "start"), id="two-other"),
        pytest.param(("\x1b[31m\udcff",), id="nonsense"),
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"config": "\x07", "url": "no"}], ids=["", "bad"])
def test_unknown_action(
    resource: Resource, arguments: tuple[str, ...], parameters: dict[str, str]
) -> None:
    """An unknown action, none or two are 3, before any parameter is looked at."""
    expect(resource.call("", *arguments, parameters=parameters), 3)
    assert not resource.state_folder.exists()


@pytest.mark.parametrize("action", ["meta-data", "usage", "help"])
def test_talk(resource: Resource, action: str) -> None:
    """meta-data and usage speak on stdout, and nothing on stderr."""
    result = expect(resource.call(action), 0)
    assert result.stdout
    assert "" == result.stderr


def test_usage_names_the_actions(resource: Resource) -> None:
    """usage names every action, and how to call one by hand."""
    usage = resource.call("usage").stdout
    for word in ("start", "stop", "monitor", "reload-agent", "validate-all", "OCF_RESKEY_"):
        assert word in usage


# ---- the surroundings

# default instance, default folder: only actions that change nothing
EMPTY = {"meta-data": 0, "usage": 0, "monitor": 7, "": 3, "promote": 3}


@pytest.mark.parametrize("action", EMPTY, ids=lambda action: action or "none")
def test_empty_environment(resource: Resource, action: str) -> None:
    """With an empty environment (env -i) the agent does what can be done."""
    expect(resource.call(action, prefix=["/usr/bin/env", "-i"]), EMPTY[action])


UNPRIVILEGED = {
    "meta-data": 0, "usage": 0, "start": 4, "stop": 4, "monitor": 4, "reload-agent": 4,
    "status": 4, "promote": 3,
}  # fmt: skip


@pytest.mark.parametrize("action", UNPRIVILEGED)
def test_nobody(agent: Path, folder: Path, action: str) -> None:
    """Anybody may ask for meta-data and usage; what needs root says so, and does nothing."""
    resource = Resource(installed(agent, folder), folder)
    expect(resource.call(action, user=USER), UNPRIVILEGED[action])
    assert not resource.state_folder.exists()


def test_nobody_sees_the_same_metadata(agent: Path, folder: Path) -> None:
    """Pacemaker asks for the meta-data as hacluster, from its folder of core files."""
    resource = Resource(installed(agent, folder), folder)
    assert document(agent) == resource.call("meta-data", user=USER, cwd=Path("/tmp")).stdout


SOMEWHERE_ELSE = {
    "elsewhere": ["/usr/bin/env", "-C", "/usr"],
    "gone": ["/bin/sh", "-c", 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"'],
}


@pytest.mark.parametrize("where", SOMEWHERE_ELSE)
def test_working_folder(service: Service, where: str) -> None:
    """The agent does not care for the folder that it is run in, nor whether that is there."""
    prefix = SOMEWHERE_ELSE[where]
    if where == "gone":
        prefix = [*prefix, str(service.folder / "gone")]
    assert service.call("meta-data", prefix=prefix).stdout == document(service.agent)
    expect(service.probe(prefix=prefix), 7)
    expect(service.start(prefix=prefix), 0)
    expect(service.monitor(prefix=prefix), 0)
    assert "/" == service.config.report()["cwd"]
    expect(service.stop(prefix=prefix), 0)


NAKED: dict[str, str | None] = dict.fromkeys(
    (
        "OCF_ROOT", "OCF_RA_VERSION_MAJOR", "OCF_RA_VERSION_MINOR", "OCF_RESOURCE_PROVIDER",
        "OCF_RESOURCE_TYPE", "PATH", "PCMK_service", "HA_LOGFACILITY", "HA_LOGFILE", "HA_debug",
    )
)  # fmt: skip


def test_bare_environment(service: Service) -> None:
    """Instance, parameters and folder are all that an agent needs to be told."""
    expect(service.start(environ=NAKED, timeout=None), 0)
    expect(service.call("monitor", environ=NAKED, timeout=None), 0)
    expect(service.stop(environ=NAKED, timeout=None), 0)


def test_daemon_environment(service: Service) -> None:
    """The daemon gets a session, environment, descriptors and signals of its own, and its user."""
    expect(service.start(prefix=("/usr/bin/nohup",)), 0)  # which ignores HUP
    report = service.config.report()
    assert report["pid"] == report["sid"] == report["pgid"]
    assert {USER} == {Path("/proc", str(pid)).owner() for pid in service.pids()}
    assert {"0", "1", "2"} == set(report["fds"])
    assert {"/dev/null", str(service.log_file)} == set(report["fds"].values())
    assert ("/", "0022") == (report["cwd"], report["umask"])
    assert not [name for name in report["environ"] if name.startswith(("OCF_", "HA_", "PCMK_"))]
    assert 0 == int(report["signals_blocked"], 16)
    # SIGPIPE and SIGXFSZ are ignored by the look-alike itself, being in Python; 32 and 33 are
    # glibc's own, which nobody can set.
    assert not int(report["signals_ignored"], 16) & ~0x1_8100_1000
    expect(service.stop(), 0)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("--verbose", ["--verbose"]),
        ("--name 'two words' \"a \\\"b\"", ["--name", "two words", 'a "b']),
        ("--x=$(touch /tmp/x) `id` ; reboot & > f *", None),
        ("--text '#no comment'", ["--text", "#no comment"]),
    ],
)
def test_additional_parameters(service: Service, text: str, arguments: list[str] | None) -> None:
    """additional_parameters are split as a shell would, and run by none."""
    expect(service.start(parameters={"additional_parameters": text}), 0)
    assert (arguments or text.split()) == service.config.report()["argv"][3:]
    expect(service.stop(), 0)


# ---- the stock test


def test_ocf_tester(make_service: Callable[..., Service], need: Need) -> None:
    """The stock ocf-tester passes, with the credentials of the API check."""
    tester = need("/usr/sbin/ocf-tester", "resource-agents")
    need("xmllint", "libxml2-utils")
    service = make_service(credentials=True)
    agent = installed(service.agent, service.folder)
    options: list[str] = []
    for name, value in service.parameters.items():
        options += ["-o", f"{name}={value}"]
    run = subprocess.run(
        [tester, "-n", service.name, *options, str(agent)],
        env={"PATH": os.environ["PATH"], "HA_RSCTMP": str(service.rsctmp)},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert 0 == run.returncode, run.stdout + run.stderr
    assert "passed all tests" in run.stdout
    assert service.asked(), "the API check was made"
    assert service.gone()
