"""Agent and actions, as far as they are not a matter of whole processes (tests/agents)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.actions import FUNCTIONS
from agentlib.agent import Agent
from agentlib.api import Api
from agentlib.call import PROCESS, SERVES, Call, level, seconds
from agentlib.daemon import Daemon
from agentlib.environment import Environment
from agentlib.errors import AgentError
from agentlib.log import Log
from agentlib.resource import Resource
from agentlib.service import Service as Managed
from looks import eventually, lives
from unit.kit import Tree, Zoo

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="the actions need root")

DAEMON = Daemon(project="unit", binary="unit-daemon", config="/etc/unit.conf", user="nobody",
                log_folder="/nonexistent", port=9292)
CHECKS = [Api("/v2/images?limit=1")]
SERVICE = Managed(DAEMON, *CHECKS)
AGENT = Agent(name="unit-api", title="Unit API (unit-api)", manages=SERVICE)
ACTIONS = SERVICE.actions


# --- time and level -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "timeout", "left"),
    [
        ("start", None, 58), ("stop", None, 58), ("monitor", None, 28), ("status", None, 28),
        ("validate-all", None, 18), ("reload-agent", None, 18), ("nonsense", None, 18),
        ("monitor", "60000", 58), ("monitor", "10000", 8), ("monitor", "5000", 3.5),
        ("monitor", "1000", 0.7), ("monitor", "1", 0.0007), ("monitor", "0", 28),
        ("monitor", "nonsense", 28), ("stop", "3600000", 3598),
    ],
)
def test_seconds(action: str, timeout: str | None, left: float) -> None:
    """An action has Pacemaker's timeout less a margin; by hand, what is advertised."""
    environ = {"OCF_RESKEY_CRM_meta_timeout": timeout} if timeout else {}
    assert left == pytest.approx(seconds(Environment(action, "x", environ), ACTIONS))


@pytest.mark.parametrize(("age", "left"), [(0, 28), (3, 25), (29.9, -1.9), (30, 28), (1e6, 28)])
def test_seconds_since_birth(age: float, left: float) -> None:
    """What the process has lived is gone; who is older than the timeout was a shell before."""
    environ = {"OCF_RESKEY_CRM_meta_timeout": "30000"}
    assert left == pytest.approx(seconds(Environment("monitor", "x", environ), ACTIONS, age))


@given(st.integers(1, 10**18))
def test_always_before_pacemaker(milliseconds: int) -> None:
    """Whatever the timeout, there is time, and it ends before Pacemaker's."""
    environ = {"OCF_RESKEY_CRM_meta_timeout": str(milliseconds)}
    assert 0 < seconds(Environment("monitor", "x", environ), ACTIONS) < milliseconds / 1000


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", SERVES), ("nonsense", SERVES), ("-1", SERVES), ("0", PROCESS), ("1", PROCESS),
     ("9", PROCESS), ("10", SERVES), ("15", SERVES), ("20", SERVES), ("999", SERVES)])
def test_level(asked: str, found: int) -> None:
    """A level that is not supported means the next lower one; none means 10."""
    environ = {"OCF_CHECK_LEVEL": asked} if asked else {}
    assert found == level(Environment("monitor", "x", environ))


# --- the declaration ----------------------------------------------------------------------------


def test_metadata() -> None:
    """The meta-data has every parameter once and every action that there is."""
    root = ElementTree.fromstring(AGENT.metadata())
    names = [str(p.get("name")) for p in root.iterfind("parameters/parameter")]
    assert sorted(set(names)) == sorted(names)
    assert {p.name for p in SERVICE.parameters} == set(names)
    actions = {a.get("name") for a in root.iterfind("actions/action")}
    assert {*FUNCTIONS, "status", "meta-data"} == actions


@pytest.mark.parametrize(
    ("name", "least"), [("start", 60), ("stop", 60), ("monitor", 30)])
def test_advertised_timeouts(name: str, least: int) -> None:
    """The timeouts fit what was measured with real daemons."""
    assert all(action.timeout >= least for action in ACTIONS if action.name == name)


def test_advertised_depths() -> None:
    """Monitor is advertised for the process and for the API, at intervals of their own."""
    monitors = [action for action in ACTIONS if action.name == "monitor"]
    assert {0, 10} == {action.depth for action in monitors}
    assert len(monitors) == len({action.interval for action in monitors})


def test_usage() -> None:
    """The usage names every action and a call by hand."""
    usage = AGENT.usage()
    for name in (*FUNCTIONS, "meta-data", "usage"):
        assert name in usage.splitlines()[0]
    assert "OCF_RESKEY_config=/etc/unit.conf unit-api monitor" in usage


# --- calls --------------------------------------------------------------------------------------


class Node:
    """A node with a place for the agent's files, and calls on it."""

    def __init__(self, folder: Path, log: Log, zoo: Zoo) -> None:
        self.folder = folder
        self.log = log
        self.zoo = zoo
        self.name = f"p_{zoo.place.name}"  # that nobody else on this machine has
        self.parameters = {"binary": str(zoo.binary()), "config": str(zoo.config())}

    def call(self, action: str, level: str = "", interval: str = "", timeout: str = "60000",
             **parameters: str) -> Resource:
        environ = {"OCF_RESOURCE_INSTANCE": self.name, "HA_RSCTMP": str(self.folder),
                   "OCF_CHECK_LEVEL": level, "OCF_RESKEY_CRM_meta_timeout": timeout,
                   "OCF_RESKEY_CRM_meta_interval": interval}
        for name, value in {**self.parameters, **parameters}.items():
            environ["OCF_RESKEY_" + name] = value
        call = Call(AGENT.name, SERVICE.parameters, ACTIONS,
                    Environment(action, AGENT.name, environ), self.log)
        return Resource(call, DAEMON, CHECKS)

    def act(self, action: str, **options: str) -> tuple[int, str]:
        try:
            resource = self.call(action, **options)
            outcome = FUNCTIONS[resource.environment.action](resource)
        except AgentError as error:
            return int(error.exit_code), str(error)
        return int(outcome.code), outcome.reason

    def probe(self) -> int:
        return self.act("monitor", interval="0")[0]

    def start_tree(self, fds: tuple[int, ...] = (), **spec: object) -> Tree:
        """A daemon of this instance, in the pidfile, started by a shell agent."""
        config = self.zoo.config(**spec)
        self.parameters["config"] = str(config)
        child = self.zoo.run([self.parameters["binary"], "--config-file", str(config)],
                             user=65534, fds=fds)
        tree = Tree(config, child)
        eventually(lambda: len(tree.everyone()) == 1 + int(str(spec.get("workers", 0))))
        (self.folder / f"{self.name}.pid").write_text(f"{tree.master}\n")
        return tree


@pytest.fixture
def node(tmp_path: Path, log: Log, zoo: Zoo) -> Node:
    return Node(tmp_path, log, zoo)


@ROOT_ONLY
@pytest.mark.parametrize("kind", ["file", "open to all"])
def test_stop_without_a_folder(node: Node, kind: str, logged: Callable[[], str]) -> None:
    """Stop does without its folder: where it cannot be used, the pidfile is enough."""
    tree = node.start_tree(workers=1)
    if kind == "file":
        (node.folder / "openstack").write_text("x")
    else:
        (node.folder / "openstack").mkdir()
        (node.folder / "openstack").chmod(0o777)
    assert (0, "") == node.act("stop")
    assert not any(map(lives, tree.workers))
    assert "stops without a lock" in logged()


# --- validation ---------------------------------------------------------------------------------


# --- start --------------------------------------------------------------------------------------
