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
from agentlib.call import PROCESS, ROUND_TRIP, SERVES, Call, seconds
from agentlib.check import Check, Record
from agentlib.daemon import Daemon
from agentlib.environment import Environment
from agentlib.log import Log
from agentlib.resource import Resource
from agentlib.service import Service as Managed
from looks import lives
from unit.kit import Zoo

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
    """An action has Pacemaker's timeout less a margin; by hand, the advertised timeout."""
    environ = {"OCF_RESKEY_CRM_meta_timeout": timeout} if timeout else {}
    assert left == pytest.approx(seconds(Environment(action, "x", environ), ACTIONS))


@pytest.mark.parametrize(("age", "left"), [(0, 28), (3, 25), (29.9, -1.9), (30, 28), (1e6, 28)])
def test_seconds_since_birth(age: float, left: float) -> None:
    """The process's age is subtracted, unless it is older than the timeout (a former shell)."""
    environ = {"OCF_RESKEY_CRM_meta_timeout": "30000"}
    assert left == pytest.approx(seconds(Environment("monitor", "x", environ), ACTIONS, age))


@given(st.integers(1, 10**18))
def test_always_before_pacemaker(milliseconds: int) -> None:
    """Whatever the timeout, an action has some time, and less than Pacemaker gives."""
    environ = {"OCF_RESKEY_CRM_meta_timeout": str(milliseconds)}
    assert 0 < seconds(Environment("monitor", "x", environ), ACTIONS) < milliseconds / 1000


def call_of(asked: str, *checks: Check) -> Call:
    """A monitor with this OCF_CHECK_LEVEL."""
    environment = Environment("monitor", "x", {"OCF_CHECK_LEVEL": asked} if asked else {})
    agent = Agent(name="x", title="x", manages=Managed(DAEMON, *checks))
    return agent.call(environment, Log("x", environment))


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", SERVES), ("nonsense", SERVES), ("-1", SERVES), ("0", PROCESS), ("1", PROCESS),
     ("9", PROCESS), ("10", SERVES), ("15", SERVES), ("20", SERVES), ("999", SERVES)])
def test_level(asked: str, found: int) -> None:
    """A level that is not supported means the next lower one; none means 10."""
    assert found == call_of(asked).level


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", SERVES), ("9", PROCESS), ("19", SERVES), ("20", ROUND_TRIP), ("999", ROUND_TRIP)])
def test_level_of_a_round_trip(asked: str, found: int) -> None:
    """An API that says what is made has level 20 as well; the default stays 10."""
    record = Record("image", "/v2/images")
    assert found == call_of(asked, Api("/v2/images?limit=1", record=record)).level


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


@ROOT_ONLY
@pytest.mark.parametrize("kind", ["file", "open to all"])
def test_stop_without_a_folder(
    tmp_path: Path, log: Log, logged: Callable[[], str], zoo: Zoo, kind: str
) -> None:
    """Stop does not need its folder: where that cannot be used, the pidfile is enough."""
    tree = zoo.tree(workers=1)
    name = f"p_{zoo.place.name}"  # unique on this machine
    (tmp_path / f"{name}.pid").write_text(f"{tree.master}\n")
    if kind == "file":
        (tmp_path / "openstack").write_text("x")
    else:
        (tmp_path / "openstack").mkdir()
        (tmp_path / "openstack").chmod(0o777)
    environ = {"OCF_RESOURCE_INSTANCE": name, "HA_RSCTMP": str(tmp_path),
               "OCF_RESKEY_CRM_meta_timeout": "60000", "OCF_RESKEY_binary": str(zoo.binary()),
               "OCF_RESKEY_config": str(tree.config)}
    call = Call(AGENT.name, SERVICE.parameters, ACTIONS,
                Environment("stop", AGENT.name, environ), log)
    outcome = FUNCTIONS["stop"](Resource(call, DAEMON, CHECKS))
    assert (0, "") == (int(outcome.code), outcome.reason)
    assert not any(map(lives, tree.workers))
    assert "stops without a lock" in logged()
