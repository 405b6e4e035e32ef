"""Agent and actions, as far as they are not a matter of whole processes (tests/agents)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import process
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
from unit.kit import Service, Tree, Zoo, alive, await_that

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
        await_that(lambda: len(tree.everyone()) == 1 + int(str(spec.get("workers", 0))))
        (self.folder / f"{self.name}.pid").write_text(f"{tree.master}\n")
        return tree


@pytest.fixture
def node(tmp_path: Path, log: Log, zoo: Zoo) -> Node:
    return Node(tmp_path, log, zoo)


@ROOT_ONLY
def test_stopped(node: Node) -> None:
    """Where nothing runs: 7 for every monitor, 0 for stop, twice."""
    assert [7, 7, 7] == [node.probe(), node.act("monitor", interval="30000")[0],
                         node.act("status", level="0")[0]]
    assert [(0, ""), (0, "")] == [node.act("stop"), node.act("stop")]
    assert 7 == node.probe()


@ROOT_ONLY
def test_probe_without_the_binary(node: Node) -> None:
    """A node without the binary need not be tried: 5 from a probe, 7 from a monitor."""
    missing = {"binary": "/no/such/binary"}
    assert 5 == node.act("monitor", interval="0", **missing)[0]
    assert 7 == node.act("monitor", interval="30000", **missing)[0]


@ROOT_ONLY
@pytest.mark.parametrize(
    "parameters",
    [{"binary": "/no/such"}, {"config": "/no/such"}, {"user": "no-such-user"},
     {"shutdown_timeout": "soon"}, {"os_password": "half"}, {"url": "nonsense"},
     {"additional_parameters": "'open"}, {"pid": "relative.pid"}, {"log_file": "relative.log"},
     {"os_username": "lrm://", "os_password": "lrm://"}, {"keystone_failure": "lrm://"}],
    ids="+".join)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_stop_needs_nothing(node: Node, parameters: dict[str, str], running: bool) -> None:
    """Stop succeeds whatever stands in the parameters, and ends what runs."""
    tree = None
    if running:
        tree = node.start_tree(workers=1)
        assert 0 == node.probe()  # From now on it is remembered.
    assert (0, "") == node.act("stop", **parameters)
    if tree:
        assert 0 == tree.process.wait(60)
        assert not any(map(alive, tree.workers))


@ROOT_ONLY
def test_running(node: Node) -> None:
    """A daemon that runs: 0 for a probe and for level 0, though it listens nowhere."""
    node.start_tree(workers=1)
    assert [0, 0] == [node.probe(), node.act("monitor", interval="10000", level="0")[0]]


@ROOT_ONLY
def test_listens_nowhere(node: Node) -> None:
    """A daemon that listens nowhere does not serve: 1, and the reason says so."""
    tree = node.start_tree(workers=1)
    code, reason = node.act("monitor", interval="30000")
    assert 1 == code
    assert reason.startswith("unit-api: ")
    assert reason.endswith("listen on no TCP port")
    assert f"pid {tree.master}" in reason


@ROOT_ONLY
def test_orphans(node: Node) -> None:
    """Workers that hold on without their master: 1 for every monitor; stop ends them."""
    tree = node.start_tree(workers=2)
    assert 0 == node.probe()
    tree.kill_master()
    for options in ({"interval": "0"}, {"interval": "30000"}, {"level": "0"}):
        code, reason = node.act("monitor", **options)
        assert 1 == code
        assert "the master process is gone, 2 of its processes hold on" in reason
    assert (0, "") == node.act("stop")
    assert not any(map(alive, tree.workers))
    assert 7 == node.probe()


@ROOT_ONLY
def test_url_is_learned(node: Node, service: Service) -> None:
    """The URL is learned from the socket that the daemon's tree listens on, and remembered."""
    descriptor = os.dup(service._listener.fileno())
    node.start_tree(fds=(descriptor,), workers=1)
    os.close(descriptor)
    assert (0, "") == node.act("monitor", interval="30000")
    assert service.url == node.call("monitor").store.read().checks["address"]["url"]
    assert ["/"] == service.asked()


@ROOT_ONLY
def test_stop_forgets(node: Node) -> None:
    """After stop nothing of the instance is left, neither pidfile nor state nor token."""
    node.start_tree()
    node.probe()
    node.act("stop")
    left = [path.name for path in node.folder.rglob("*") if path.is_file()
            and path.name not in ("ha.log", f"unit-api:{node.name}.lock")]
    assert [] == left


@ROOT_ONLY
def test_stop_tells_who_does_not_end(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end even by KILL: 1, so that Pacemaker fences, and it stays remembered."""
    tree = node.start_tree()
    node.probe()
    monkeypatch.setattr(process.Process, "signal", lambda self, number: None)
    code, reason = node.act("stop", timeout="2000")
    assert 1 == code
    assert "1 processes do not end, not even by KILL" in reason
    assert tree.master == node.call("stop").store.read().pid


@ROOT_ONLY
@pytest.mark.parametrize("grace", ["1", "1s", "500ms"])
def test_shutdown_timeout(node: Node, grace: str) -> None:
    """Whoever is not done by shutdown_timeout is killed."""
    tree = node.start_tree(workers=1, deaf=["master", "workers"])
    assert (0, "") == node.act("stop", shutdown_timeout=grace)
    assert -signal.SIGKILL == tree.process.wait(60)
    assert not any(map(alive, tree.workers))


@ROOT_ONLY
def test_stop_while_another_action_has_the_lock(node: Node) -> None:
    """A stop that cannot have the lock in time says why."""
    call = node.call("stop")
    from agentlib.deadline import Deadline
    with call.store.lock(Deadline(10)):
        code, reason = node.act("stop", timeout="500")
    assert 1 == code
    assert "another start or stop of this resource is still at work" in reason


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
    assert not any(map(alive, tree.workers))
    assert "stops without a lock" in logged()


# --- validation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "level", "code"),
    [
        ({}, "10", 0), ({}, "0", 0), ({"config": "/no/such"}, "10", 5),
        ({"config": "/no/such"}, "0", 0), ({"config": "relative"}, "0", 6),
        ({"user": "no-such-user"}, "", 5), ({"pid": "/no/such/x"}, "", 2),
        ({"os_username": "half"}, "0", 6), ({"url": "nonsense"}, "0", 6),
        ({"shutdown_timeout": "soon"}, "0", 6), ({"os_cacert": "/no/such"}, "", 5),
    ],
)
def test_validate_all(node: Node, parameters: dict[str, str], level: str, code: int) -> None:
    """Level 0 looks at the parameters alone, level 10 at this host as well."""
    found, reason = node.act("validate-all", level=level, **parameters)
    assert code == found
    assert bool(code) is bool(reason)


@ROOT_ONLY
@pytest.mark.parametrize(
    "parameters", [{}, {"os_username": "half"}, {"url": "nonsense"}, {"config": "relative"}],
    ids=["right", "half", "url", "config"])
def test_reload_goes_on(node: Node, parameters: dict[str, str]) -> None:
    """A reload never fails for a service that runs: Pacemaker would stop it."""
    tree = node.start_tree()
    node.probe()
    assert (0, "") == node.act("reload-agent", **parameters)
    assert alive(tree.master)


@ROOT_ONLY
def test_reload_of_the_stopped(node: Node) -> None:
    """What does not run cannot be reloaded."""
    assert 7 == node.act("reload-agent")[0]


# --- start --------------------------------------------------------------------------------------


@ROOT_ONLY
def test_start_of_what_dies(node: Node, zoo: Zoo) -> None:
    """A daemon that ends early is told of at once, with its last words and no secret."""
    binary = zoo.place / "dies"
    binary.write_text("#!/bin/sh\necho it was mysql://u:hidden@db, s3cret >&2\nexit 3\n")
    binary.chmod(0o755)
    code, reason = node.act(
        "start", binary=str(binary), os_username="u", os_password="s3cret",
        os_project_name="p", os_auth_url="http://127.0.0.1:9")
    assert (1, "unit-api ended with 3 at start: it was mysql://***@db, ***") == (code, reason)
    assert 7 == node.probe()


@ROOT_ONLY
def test_start_of_what_never_listens(node: Node) -> None:
    """A daemon that does not get ready is told of before Pacemaker's timeout, and ended."""
    code, reason = node.act("start", timeout="4000")
    assert 1 == code
    assert reason.startswith("unit-api did not get ready: listens on no TCP port")
    assert 7 == node.probe()
    assert [] == node.call("stop").instance.family()


@ROOT_ONLY
@pytest.mark.parametrize(
    ("parameters", "code"),
    [({"config": "/no/such"}, 5), ({"user": "no-such"}, 5), ({"url": "x"}, 6),
     ({"os_password": "half"}, 6), ({"log_file": "/no/such/x.log"}, 2)],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "")
def test_start_validates(node: Node, parameters: dict[str, str], code: int) -> None:
    """Start refuses what is wrong before it starts anything."""
    assert code == node.act("start", **parameters)[0]
    assert 7 == node.probe()
