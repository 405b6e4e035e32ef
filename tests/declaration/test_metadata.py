"""Every file in ocf/: the file itself, its meta-data, and whether these fit the declaration."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from declaration.table import kind, table
from harness import EVERY_AGENT, OCF, ROOT, defaults

Need = Callable[[str, str], str]

GOLDEN = ROOT / "tests" / "golden"
DTD_FOLDER = "/usr/share/resource-agents"
OCF_1_1 = "/usr/share/pcs/data/ocf-1.1.rng"

ONE_OF_A_KIND = (
    "ceilometer-agent-central", "cinder-api", "glance-api", "heat-engine", "keystone",
    "neutron-agent-dhcp", "nova-consoleauth", "nova-novnc", "octavia-housekeeping",
)  # fmt: skip
"""Agents whose whole meta-data was reviewed: one of each kind, and special ones. The golden table
shows how the others differ."""

PEERS = json.loads((Path(__file__).parent / "peers.json").read_text(encoding="utf-8"))
"""Parameters of the older agents of the same names: default, and the projects that have it, by
letter (see LEADING)."""

LEADING = "MO"
"""madkiss/openstack-resource-agents, and its successor at OpenStack. The defaults of the others,
forks and StarlingX (X) and Fuel (F) among them, are those of one installation: user root, say."""

ADVERTISED = {"start": 60, "stop": 60, "monitor": 30}
"""The least timeouts of these actions, in seconds."""

CHANGED = {
    # The binary went with Liberty: ceilometer-polling does its work.
    "ceilometer-agent-central": {"binary": "ceilometer-agent-central"},
    # No release serves these API versions any more; and another node may answer at the address.
    "cinder-api": {"url": "http://127.0.0.1:8776/v1/"},
    "manila-api": {"url": "http://127.0.0.1:8786/v2/"},
    "nova-api": {"url": "http://127.0.0.1:8774/v2/"},
    # RabbitMQ's port is known.
    "neutron-metadata-agent": {"amqp_server_port": ""},
    "neutron-server": {
        "url": "http://127.0.0.1:9696",
        # The plugin went with Liberty.
        "plugin_config": "/etc/neutron/plugins/openvswitch/ovs_neutron_plugin.ini",
    },
    # The service's own configuration has it.
    "nova-novnc": {"web": "/usr/share/novnc/"},
}
"""Defaults of the older agents that make no sense today."""


@pytest.fixture(params=EVERY_AGENT, ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> Path:
    """Every file in ocf/."""
    path: Path = request.param
    return path


@cache
def document(agent: Path) -> str:
    """The agent's meta-data, from the agent itself."""
    return subprocess.run(
        [agent, "meta-data"], env={}, check=True, capture_output=True, text=True
    ).stdout


def root(agent: Path) -> ElementTree.Element:
    """The same, parsed."""
    return ElementTree.fromstring(document(agent))


# ---- the file


def test_there_are_agents() -> None:
    """The list of agents is not empty: without agents all tests would pass."""
    assert {"glance-api", "cinder-api", "heat-engine"} <= {path.name for path in EVERY_AGENT}


def test_executable(agent: Path) -> None:
    """An agent is executable by all, and writable by its owner only."""
    mode = agent.stat().st_mode
    assert mode & 0o111 == 0o111
    assert not mode & 0o022
    assert not mode & (stat.S_ISUID | stat.S_ISGID)


def test_shebang(agent: Path) -> None:
    """An agent runs under the distribution's Python, whatever PYTHON* or ~/.local say."""
    assert "#!/usr/bin/python3 -ESs" == agent.read_text(encoding="utf-8").splitlines()[0]


def test_small(agent: Path) -> None:
    """An agent is only a declaration: its code is shared with all others."""
    assert len(agent.read_text(encoding="utf-8").splitlines()) <= 45


# ---- meta-data


def test_name_is_file_name(agent: Path) -> None:
    """The name in the meta-data is that of the file, under which Pacemaker knows it."""
    assert agent.name == root(agent).get("name")


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_golden(name: str) -> None:
    """The meta-data is the reviewed one; a change is visible in the diff of the golden file."""
    golden = GOLDEN / f"{name}.xml"
    assert golden.is_file(), f"no {golden.relative_to(ROOT)}: run `make golden`, review the diff"
    assert golden.read_text(encoding="utf-8") == document(OCF / name), (
        "the meta-data has changed: run `make golden`, and review the diff"
    )


def test_golden_table() -> None:
    """The table of the agents' differences is the reviewed one."""
    golden = (GOLDEN / "agents.txt").read_text(encoding="utf-8")
    assert golden == table(), "agents have changed: run `make golden`, and review the diff"


def test_every_kind_has_a_golden_file() -> None:
    """Of each kind of agent the whole meta-data of at least one was reviewed."""
    assert {kind(agent).partition(" ")[0] for agent in EVERY_AGENT} == {
        kind(OCF / name).partition(" ")[0] for name in ONE_OF_A_KIND
    }


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


def test_stricter_than_pcs(agent: Path) -> None:
    """The meta-data fulfils the standard's schema and text where pcs's copy is less strict."""
    document_element = root(agent)
    assert ["version", "longdesc", "shortdesc", "parameters", "actions"] == [
        element.tag for element in document_element
    ]
    assert "1.1" == document_element.findtext("version")
    for description in (*document_element.iter("longdesc"), *document_element.iter("shortdesc")):
        assert {"lang": "en"} == description.attrib
        assert not list(description), "no more than text"
        assert (description.text or "").strip()
    for parameter in document_element.iter("parameter"):
        assert ["longdesc", "shortdesc", "content"] == [element.tag for element in parameter]
        assert parameter[-1].get("type") in ("boolean", "integer", "string")
    for action in document_element.iter("action"):
        assert {"name", "timeout"} <= set(action.attrib) <= {"name", "timeout", "interval", "depth"}


def test_parameter_names(agent: Path) -> None:
    """A parameter's name is unique, and a valid name of a POSIX environment variable."""
    names = [p.get("name", "") for p in root(agent).iter("parameter")]
    assert len(names) == len(set(names))
    assert not [name for name in names if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)]


def test_metadata_is_the_declaration(agent: Path) -> None:
    """The meta-data shows the parameters and defaults that the agent works with."""
    shown = {
        parameter.get("name"): parameter.find("content").get("default", "")  # type: ignore[union-attr]
        for parameter in root(agent).iter("parameter")
    }
    assert defaults(agent) == shown


def test_reloadable(agent: Path) -> None:
    """Parameters of the monitor are reloadable; parameters that the start uses are not."""
    reloadable = {
        parameter.get("name"): parameter.get("reloadable") == "1"
        for parameter in root(agent).iter("parameter")
    }
    started_with = {"binary", "config", "user", "pid", "additional_parameters", "log_file",
                    "server", "bind", "uwsgi_ini", "processes", "threads", "plugin_config",
                    "agent_config", "compute_config", "vpn_config", "web"}  # fmt: skip
    assert {name: name not in started_with for name in reloadable} == reloadable


def test_parameters_of_the_peers(agent: Path) -> None:
    """A CIB of the older agents of the same name still works: no parameter is unknown."""
    assert not set(PEERS.get(agent.name, {})) - set(defaults(agent))


def test_defaults_of_the_peers(agent: Path) -> None:
    """Defaults are those of the older agents, except for those in CHANGED."""
    own = defaults(agent)
    changed = {
        name: default
        for name, (default, peers) in PEERS.get(agent.name, {}).items()
        if set(peers) & set(LEADING) and name != "pid" and default != own[name]
    }
    assert CHANGED.get(agent.name, {}) == changed


def test_advertised_actions(agent: Path) -> None:
    """The advertised actions, timeouts and depths fit the measurements on real daemons."""
    actions = list(root(agent).iter("action"))
    names = {action.get("name") for action in actions}
    assert {
        "start", "stop", "monitor", "status", "validate-all", "reload-agent", "meta-data",
    } == names  # fmt: skip
    for action in actions:
        least = ADVERTISED.get(str(action.get("name")), 1)
        if kind(agent) == "Gone" and action.get("name") != "stop":
            least = 1  # no daemon to wait for
        assert int(str(action.get("timeout")).rstrip("s")) >= least, action.get("name")
    monitors = [action for action in actions if action.get("name") == "monitor"]
    depths = {"0"} if kind(agent) == "Gone" else {"0", "10"}
    assert depths == {action.get("depth") for action in monitors}
    intervals = [action.get("interval") for action in monitors]
    assert len(intervals) == len(set(intervals)), "Pacemaker tells monitors by their interval"


