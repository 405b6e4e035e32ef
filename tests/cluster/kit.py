"""A service with its virtual IP in a real cluster: its state, and what a test may do to it.

Tests look at three places: what Pacemaker says (`Cluster.status`, `history`), what the virtual IP
answers a client at the switch, and which processes run on which node.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException
from pathlib import Path

from harness import TAG, environ_of, eventually
from lab import agents, process
from lab.cib import Failure, Operation, Status
from lab.cluster import Cluster
from lab.controller import Controller
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.process import Process
from looks import words_of

VIPS = {"glance": "10.99.0.101", "cinder": "10.99.0.102"}
CHECKS = {"glance": "/v2/images?limit=1", "cinder": "/v3/volumes?limit=1"}
LOGS = {"glance": "/var/log/glance/glance-api.log", "cinder": "/var/log/cinder/cinder.log"}
PATIENCE = 300.0
"""Seconds that a test waits for an event that must come; only a busy machine needs them."""
CALM = 20.0
"""Seconds in which a service of an earlier test is well; otherwise it is configured anew."""
TOKEN = 3000
"""Corosync's token in ms, by default: on a busy machine no node must be lost for being slow."""
TRIES = 5
"""How often a service is configured anew if Keystone, on a busy machine, made a monitor fail."""
FOREVER = 1000000
"""Pacemaker's infinity: a fail count that keeps a resource off a node."""
DEGRADED = 190

MASTERS = """
for resource; do
    case $resource in
    p_mariadb) file=/run/mysqld/mysqld.pid ;;
    p_rabbitmq) file=/run/rabbitmq/pid ;;
    p_haproxy) file=/run/anything_$resource.pid ;;
    *) file=/run/resource-agents/$resource.pid ;;
    esac
    if pid=$(cat $file 2>/dev/null) && stat=$(cat /proc/$pid/stat 2>/dev/null); then
        set -- ${stat##*)}
        echo $resource $pid ${20}
    fi
done
"""


@dataclass(frozen=True)
class Group:
    """A virtual IP and an API behind it, as one group, and their control plane.

    token: a client's, not the monitoring user's. label: the stem of its names, if not the
    service. parameters: of its resource, besides the usual ones.
    """

    cluster: Cluster
    cloud: ControlPlane
    service: str
    token: str = field(repr=False)
    label: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def config(self) -> Path:
        """Its configuration file: with the log where Debian has it, on the node's disk."""
        name = f"{self.label or self.service}-node"
        return self.cloud.twin(self.service, name, log_file=LOGS[self.service])

    # Its names

    @property
    def name(self) -> str:
        return f"p_{self.label or self.service}-api"

    @property
    def ip(self) -> str:
        return f"p_ip_{self.label or self.service}-api"

    @property
    def group(self) -> str:
        return f"g_{self.label or self.service}-api"

    @property
    def vip(self) -> str:
        return self.cloud.settings.bind[self.service]

    def address(self) -> str:
        """The virtual IP alone, as crm takes it."""
        return (
            f"primitive {self.ip} ocf:heartbeat:IPaddr2 params ip={self.vip} cidr_netmask=24 "
            "op monitor interval=10s timeout=90s op start timeout=90s interval=0 "
            "op stop timeout=90s interval=0"
        )

    def given(self) -> dict[str, object]:
        """The parameters of its resource, with the password."""
        user = self.cloud.credentials
        return {
            "config": self.config,
            "os_auth_url": user.auth_url,
            "os_username": user.username,
            "os_password": user.password,
            "os_project_name": user.project_name,
            **self.parameters,
        }

    def text(self) -> str:
        """The group, as crm takes it. Failures stay until a cleanup."""
        params = " ".join(f'{name}="{value}"' for name, value in self.given().items())
        return (
            f"{self.address()}\n"
            f"primitive {self.name} ocf:openstack:{self.service}-api params {params} "
            "op start timeout=180s interval=0 op stop timeout=60s interval=0 "
            "op monitor interval=2s timeout=30s\n"
            f"group {self.group} {self.ip} {self.name} meta resource-stickiness=100"
        )

    # What Pacemaker says

    def status(self) -> Status:
        return self.cluster.status()

    def node(self) -> str:
        """The node on which it is started; "" unless address and API are on the same node."""
        return self.started(self.status())

    def started(self, status: Status) -> str:
        where = status.where(self.name)
        return where if where == status.where(self.ip) else ""

    def other(self, node: str) -> str:
        """The other of two nodes."""
        return next(name for name in self.cluster.nodes if name != node)

    def failures(self) -> list[Failure]:
        """The failed operations, without those that `timely` leaves out."""
        return timely(self.status().failed(self.name))

    def fail_counts(self) -> Mapping[str, int]:
        """By node; a node that is not listed has 0."""
        counts = self.status().fail_counts
        return {node: count for (name, node), count in counts.items() if name == self.name}

    def forgiven(self, status: Status) -> bool:
        """Whether Pacemaker remembers no failure."""
        return not status.failed(self.name) and self.name not in {n for n, _ in status.fail_counts}

    def history(self, operation: str, node: str) -> list[Operation]:
        """What the CIB has of one kind of operation on a node: the last one, or none.

        monitor: the recurring monitor; probe: the monitor without an interval.
        """
        found = {
            # A probe that finds something is listed as the last failure, too.
            done.call: done
            for done in self.cluster.history(self.name)
            if done.node == node and done.status != -1
            if ("probe" if done.probe else done.operation) == operation
        }
        # A monitor keeps its call id when its result changes: the latest result counts.
        return list(found.values())

    def codes(self, operation: str, node: str) -> list[int]:
        """The exit codes of one kind of operation on a node; of a monitor the latest."""
        return [done.code for done in self.history(operation, node)][-1:]

    def await_failure(self, operation: str, code: int | None = 1) -> Failure:
        """Wait until crm_mon shows a failure of the operation (None: any code); return the last."""
        status = self.cluster.until(
            lambda status: self._failed(status, operation, code), timeout=PATIENCE
        )
        return self._failed(status, operation, code)[-1]

    def _failed(self, status: Status, operation: str, code: int | None) -> list[Failure]:
        return [
            failure
            for failure in timely(status.failed(self.name))
            if failure.operation == operation and code in (None, failure.code)
        ]

    def await_death(self) -> Failure:
        """Wait until crm_mon shows that a monitor found its master dead; return that failure.

        The code depends on the moment: 7 if no process was left, 1 if workers had not ended yet,
        or run on without the master. Any other code or reason is wrong, such as one of the API.
        """
        failure = self.await_failure("monitor", None)
        if failure.code == 7:
            assert "" == failure.reason
        else:
            assert 1 == failure.code
            assert f"{self.service}-api: the master process is gone" in failure.reason
        return failure

    def await_monitor(self, code: int) -> None:
        """Wait until the recurring monitor, on the node where it runs, has this exit code."""
        eventually(lambda: [code] == self.codes("monitor", self.node()), PATIENCE)

    def await_on(self, *nodes: str) -> str:
        """Wait until it is started on one of the nodes, and serves there; return that node.

        Call this after Pacemaker has noticed the fault: otherwise the state before it counts.
        """
        status = self.cluster.until(lambda status: self.started(status) in nodes, timeout=PATIENCE)
        self.await_served()
        return self.started(status)

    def await_settled(self) -> str:
        """Wait until Pacemaker has nothing left to do, and it serves; return the node.

        No other node has one of its processes or its address.
        """
        self.cluster.wait()
        node = self.node()
        assert node, f"not started: {self.status()}"
        assert not self.status().resources[self.name].blocked
        self.await_served()
        assert [node] == self.nodes_with_daemon()
        assert [node] == self.nodes_with_address()
        return node

    # The client's view

    def get(self, path: str = "", *, token: str | None = None, timeout: float = 60.0) -> int:
        """The status that a client at the switch gets from the virtual IP; 0 for no answer.

        Without a path: the monitor's own request, with the client's token.
        """
        sent = self.token if token is None else token
        server = self.cloud.server(self.service)
        try:
            return server.get(path or CHECKS[self.service], token=sent, timeout=timeout).status
        except (OSError, HTTPException):
            return 0

    def await_served(self) -> None:
        """Wait until a client's authenticated request is answered."""
        eventually(lambda: self.get(timeout=5.0) == 200, PATIENCE)

    # Its processes

    def family(self, node: str = "") -> list[Process]:
        """The daemon's processes on a node (or where it is started), the master first."""
        found = [each for each in members(self.cluster, node or self.node()) if self._is_one(each)]
        pids = {each.pid for each in found}
        return sorted(found, key=lambda each: (each.parent in pids, each.pid))

    def _is_one(self, candidate: Process) -> bool:
        # A daemon that a shell agent has started has no tag: its command line is compared.
        tag = f"{TAG}={self.service}-api:{self.name}"
        return tag.encode() in environ_of(candidate.pid) or str(self.config) in words_of(
            candidate.pid
        )

    def nodes_with_daemon(self) -> list[str]:
        return [node for node in self.cluster.running if self.family(node)]

    def nodes_with_address(self) -> list[str]:
        return [node for node in self.cluster.running if self.vip in addresses(self.cluster, node)]

    def log(self) -> Path:
        """The API's own log, on the disk of the node on which it is started."""
        return self.cluster.path(self.node(), LOGS[self.service])

    def asked(self, path: str = "") -> int:
        """How often the monitor asked a path, by the API's own log: once a monitor, or less.

        The CIB has only the first result of a recurring monitor, and each change.
        """
        line = re.escape(f'"GET {path or CHECKS[self.service]} HTTP/1.1"')
        found = re.findall(rf" {re.escape(self.vip)} .*{line}", self.log().read_text())
        return len(found)

    def await_monitors(self, count: int, path: str = "") -> None:
        """Wait until so many more monitors have asked a path, and were answered."""
        before = self.asked(path)
        eventually(lambda: self.asked(path) >= before + count, PATIENCE)

    # Changes

    def kill(self, victims: Sequence[Process]) -> None:
        """Kill processes one after the other; they are stopped first, so none can react.

        The master, which is the first of a family, is killed first: a monitor whose connection ends
        with a worker finds the master dead already.
        """
        process.freeze(victims)
        for victim in victims:
            victim.send(signal.SIGKILL)
            await_end([victim])

    def forget(self) -> None:
        """Remove the agent's state on the node, its token included."""
        script = "rm /run/resource-agents/openstack/*:$0.json"
        self.cluster.exec(self.node(), ["sh", "-c", script, self.name], check=True)

    def remembered_token(self) -> str:
        """The token in the agent's state on the node; "" for none."""
        state = f"/run/resource-agents/openstack/{self.service}-api:{self.name}.json"
        done = self.cluster.exec(self.node(), ["cat", state])
        checks = json.loads(done.stdout)["checks"] if done.code == 0 else {}
        return str(checks.get("api", {}).get("token", ""))

    def introduce(self) -> None:
        """Have the agent get a new token, and each worker validate it: valid there for 5 minutes.

        A monitor that has to wait, because its worker is stopped while it answers, gets a new token
        instead: then this begins again.
        """

        def introduced() -> bool:
            self.forget()
            token = eventually(self.remembered_token, PATIENCE)
            agents.each_worker(self.family(), lambda: self.await_monitors(1))
            return token == self.remembered_token()

        eventually(introduced, PATIENCE)

    def set(self, parameter: str, value: str) -> None:
        """Change a parameter in the CIB."""
        self.cluster.crm("resource", "param", self.name, "set", parameter, value)

    def cleanup(self) -> None:
        """Clean the resource up, as an operator does: its failures are forgotten."""
        self.cluster.crm("resource", "cleanup", self.name)

    def move(self, node: str) -> None:
        """Move it to a node, and wait until Pacemaker is idle; the constraint is removed again."""
        self.cluster.crm("resource", "move", self.group, node, "force")
        self.cluster.wait()
        self.cluster.crm("resource", "clear", self.group)
        self.cluster.wait()

    def ready(self, *, afresh: bool = False) -> None:
        """Make it serve, with nothing left of an earlier test: by a cleanup, or configured anew.

        afresh: its history must begin with a start. If it begins with a probe, as after a
        cleanup, Pacemaker 2.1.5 restarts a service of which a reloadable parameter is changed.
        """
        mend(self.cluster)
        if self.ip in self.status().resources:
            try:
                self.cleanup()
                self._await_clean(CALM)
                if not afresh or self.history("start", self.node()):
                    return
            except (LabError, AssertionError):
                pass
            self.remove()
        for _ in range(TRIES):
            self.cluster.configure(self.text())
            if self._came_clean():
                return
            self.remove()
        raise AssertionError(f"Keystone was late {TRIES} times")

    def remove(self) -> None:
        """Delete it from the configuration, and wait until it is stopped; other resources stay."""
        for name in (self.group, self.ip):
            path = f"/cib/configuration/resources/*[@id='{name}']"
            self.cluster.exec(
                self.cluster.asked, ["cibadmin", "--delete", "--force", f"--xpath={path}"]
            )
        self.cluster.until(
            lambda status: not {self.ip, self.name} & {*status.resources}, timeout=PATIENCE
        )

    def _came_clean(self) -> bool:
        """Wait until it serves; return whether no monitor failed because of a late Keystone."""
        self.cluster.until(
            lambda status: self.codes("monitor", self.started(status)), timeout=PATIENCE
        )
        if any(map(late, self.status().failed(self.name))):
            return False
        self._await_clean(PATIENCE)
        return True

    def _await_clean(self, seconds: float) -> None:
        self.cluster.until(
            lambda status: self.started(status) and self.forgiven(status), timeout=seconds
        )
        eventually(lambda: [0] == self.codes("monitor", self.node()), seconds)
        eventually(lambda: self.get() == 200, seconds)


def await_end(family: Sequence[Process]) -> None:
    """Wait until none of these processes is left."""
    eventually(lambda: not any(member.alive() for member in family), PATIENCE)


def unharmed(group: Group) -> Callable[[], None]:
    """Return a check for later: the same processes run on the same node, and none has failed."""
    node, family = group.node(), group.family()
    assert node and family

    def ask() -> None:
        status = group.status()
        assert node == group.started(status)
        assert family == group.family(node), "it was restarted"
        assert {} == group.fail_counts()
        assert [node] == group.nodes_with_daemon()

    return ask


def mend(cluster: Cluster) -> None:
    """Undo what a test may have done to the nodes, and to Pacemaker's settings."""
    cluster.up()
    status = cluster.status()
    for node in status.nodes.values():
        if node.standby:
            cluster.crm("node", "online", node.name)
    anywhere = cluster.asked
    for command in (
        ["crm_attribute", "--name=maintenance-mode", "--delete"],
        ["cibadmin", "--replace", "--scope=constraints", "--xml-text=<constraints/>"],
    ):
        cluster.exec(anywhere, command, check=True)


def masters(controller: Controller, node: str) -> dict[str, str]:
    """By resource: pid and start time of its first process on a node."""
    said = controller.cluster.exec(node, ["sh", "-c", MASTERS, "sh", *controller.resources])
    rows = [line.split() for line in said.stdout.splitlines()]
    return {row[0]: f"{row[1]}, {row[2]}" for row in rows if len(row) == 3}


def late(failure: Failure) -> bool:
    """Whether Keystone did not answer in time: on a busy machine this is no fault.

    A test that makes Keystone hang looks for these words itself.
    """
    said = "Keystone" in failure.reason and "does not answer in time" in failure.reason
    return failure.code == DEGRADED and said


def timely(failures: Iterable[Failure]) -> list[Failure]:
    """The failures, without those of a late Keystone."""
    return [failure for failure in failures if not late(failure)]


def blamed(status: Status) -> set[str]:
    """The resources that have failed: on a busy machine a monitor may time out."""
    return {failure.resource for failure in status.failures if failure.code != DEGRADED}


def members(cluster: Cluster, node: str) -> list[Process]:
    """The processes of a node, with the pids of the machine."""
    first = cluster._node(node).process() if node in cluster.running else None
    if first is None:
        return []
    namespace = _namespace(first)
    return [each for each in process.every() if _namespace(each) == namespace]


def _namespace(found: Process) -> str:
    try:
        return os.readlink(f"/proc/{found.pid}/ns/net")
    except OSError:
        return ""


def addresses(cluster: Cluster, node: str) -> list[str]:
    """The IPv4 addresses of a node."""
    shown = cluster.exec(node, ["ip", "-4", "-json", "address"], check=True).stdout
    return [each["local"] for device in json.loads(shown) for each in device["addr_info"]]


@contextmanager
def gone(cluster: Cluster, node: str, *paths: Path | str) -> Iterator[None]:
    """Hide files and folders from one node for a while: it finds nothing in their places."""
    hidden = []
    try:
        for path in map(str, paths):
            how = (
                ["--types=tmpfs", "tmpfs"] if Path(path).is_dir() else ["--bind", "/dev/null"]
            )
            cluster.exec(node, ["mount", *how, path], check=True)
            hidden.append(path)
        yield
    finally:
        for path in reversed(hidden):
            cluster.exec(node, ["umount", "--lazy", path], check=True)
