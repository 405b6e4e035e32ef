"""A service with its virtual IP in a real cluster: what a test wants to know of it, or do to it.

What is asserted is seen from three places: what Pacemaker says (`Cluster.status`, `history`), what
a client at the switch is answered by the virtual IP, and which processes there are in which node.
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
"""Seconds that a test waits for what must come; only a busy machine needs them."""
CALM = 20.0
"""Seconds within which what an earlier test left behind is well, or made anew."""
TOKEN = 3000
"""Corosync's token in ms, by default: on a busy machine no node is to be lost for being slow."""
TRIES = 5
"""How often a service is made anew where a busy machine's Keystone has kept it from being clean."""
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
    """A virtual IP and an API behind it, as one group, and the control plane that it is part of.

    token: of a client, who is not the monitoring user. label: what it is called after, where this
    is not the service. parameters: of its resource, besides the usual ones.
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

    # What it is called

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
        """The group, as crm takes it. Failures stay until somebody cleans up."""
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
        """The node that it is started on; "" unless address and API are on one and the same."""
        return self.started(self.status())

    def started(self, status: Status) -> str:
        where = status.where(self.name)
        return where if where == status.where(self.ip) else ""

    def other(self, node: str) -> str:
        """The other one of two nodes."""
        return next(name for name in self.cluster.nodes if name != node)

    def failures(self) -> list[Failure]:
        """What has failed, or found trouble; but see `timely`."""
        return timely(self.status().failed(self.name))

    def fail_counts(self) -> Mapping[str, int]:
        """By node; those that are not there are 0."""
        counts = self.status().fail_counts
        return {node: count for (name, node), count in counts.items() if name == self.name}

    def forgiven(self, status: Status) -> bool:
        """Whether no failure is remembered."""
        return not status.failed(self.name) and self.name not in {n for n, _ in status.fail_counts}

    def history(self, operation: str, node: str) -> list[Operation]:
        """What the CIB remembers of one kind of operation in a node: the last one, or none.

        monitor: the recurring one; probe: the one without an interval.
        """
        found = {
            # A probe that finds something is filed as the last failure, too.
            done.call: done
            for done in self.cluster.history(self.name)
            if done.node == node and done.status != -1
            if ("probe" if done.probe else done.operation) == operation
        }
        # A monitor keeps its call as its result changes: the latest is what counts.
        return list(found.values())

    def codes(self, operation: str, node: str) -> list[int]:
        """The exit codes of one kind of operation in a node; of a monitor the latest."""
        return [done.code for done in self.history(operation, node)][-1:]

    def await_failure(self, operation: str, code: int | None = 1) -> Failure:
        """Wait until crm_mon shows a failure of the operation (of any code: None); the latest."""
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
        """Wait until crm_mon shows that a monitor found its master dead; which monitor it was.

        What it found depends on when it looked: nothing (7), or what had not yet died with the
        master, or holds on without it (1). Anything else is wrong, such as a trouble of the API.
        """
        failure = self.await_failure("monitor", None)
        if failure.code == 7:
            assert "" == failure.reason
        else:
            assert 1 == failure.code
            assert f"{self.service}-api: the master process is gone" in failure.reason
        return failure

    def await_monitor(self, code: int) -> None:
        """Wait until the recurring monitor has come to a code, where it runs."""
        eventually(lambda: [code] == self.codes("monitor", self.node()), PATIENCE)

    def await_on(self, *nodes: str) -> str:
        """Wait until it is started on one of the nodes, and serves there; which node it is.

        Pacemaker must have noticed what happened before: what it has not noticed is not awaited.
        """
        status = self.cluster.until(lambda status: self.started(status) in nodes, timeout=PATIENCE)
        self.await_served()
        return self.started(status)

    def await_settled(self) -> str:
        """Wait until Pacemaker has nothing left to do, and it serves; on which node.

        Nothing of it is anywhere else.
        """
        settle(self.cluster)
        node = self.node()
        assert node, f"not started: {self.status()}"
        assert not self.status().resources[self.name].blocked
        self.await_served()
        assert [node] == self.nodes_with_daemon()
        assert [node] == self.nodes_with_address()
        return node

    # What a client sees

    def get(self, path: str = "", *, token: str | None = None, timeout: float = 60.0) -> int:
        """The status that a client at the switch gets from the virtual IP; 0 for no answer.

        Without a path: of what the monitor asks, too, with a token of the client's own.
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

    # What runs

    def family(self, node: str = "") -> list[Process]:
        """The daemon's processes in a node (or where it is started), the master first."""
        found = [each for each in members(self.cluster, node or self.node()) if self._is_one(each)]
        pids = {each.pid for each in found}
        return sorted(found, key=lambda each: (each.parent in pids, each.pid))

    def _is_one(self, candidate: Process) -> bool:
        # Of what a shell agent has started, the command line; it has no tag.
        tag = f"{TAG}={self.service}-api:{self.name}"
        return tag.encode() in environ_of(candidate.pid) or str(self.config) in words_of(
            candidate.pid
        )

    def nodes_with_daemon(self) -> list[str]:
        return [node for node in self.cluster.running if self.family(node)]

    def nodes_with_address(self) -> list[str]:
        return [node for node in self.cluster.running if self.vip in addresses(self.cluster, node)]

    def log(self) -> Path:
        """The API's own log, on the disk of the node that it is started on."""
        return self.cluster.path(self.node(), LOGS[self.service])

    def asked(self, path: str = "") -> int:
        """How often the monitor asked a path, by the API's own log: at most once a monitor.

        What the CIB knows of a recurring monitor is only its first result and each other one.
        """
        line = re.escape(f'"GET {path or CHECKS[self.service]} HTTP/1.1"')
        found = re.findall(rf" {re.escape(self.vip)} .*{line}", self.log().read_text())
        return len(found)

    def await_monitors(self, count: int, path: str = "") -> None:
        """Wait until so many more monitors have asked a path, and were answered."""
        before = self.asked(path)
        eventually(lambda: self.asked(path) >= before + count, PATIENCE)

    # What is done to it

    def kill(self, victims: Sequence[Process]) -> None:
        """Kill processes, none of which sees another one die.

        One after the other: a monitor whose connection dies with a worker finds the master, which
        is the first of a family, dead already.
        """
        process.freeze(victims)
        for victim in victims:
            victim.send(signal.SIGKILL)
            await_end([victim])

    def forget(self) -> None:
        """Take away what the agent remembers in the node: its token, among others."""
        script = "rm /run/resource-agents/openstack/*:$0.json"
        self.cluster.exec(self.node(), ["sh", "-c", script, self.name], check=True)

    def remembered_token(self) -> str:
        """The token that the agent remembers in the node; "" for none."""
        state = f"/run/resource-agents/openstack/{self.service}-api:{self.name}.json"
        done = self.cluster.exec(self.node(), ["cat", state])
        checks = json.loads(done.stdout)["checks"] if done.code == 0 else {}
        return str(checks.get("api", {}).get("token", ""))

    def introduce(self) -> None:
        """Have the agent get a new token, and each worker meet it: that is good for 5 minutes.

        A monitor that is kept waiting, as one is whose worker is stopped while it answers, gets
        another token than the one that was introduced: then all begins anew.
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
        """What an operator does to have failures forgotten."""
        self.cluster.crm("resource", "cleanup", self.name)

    def move(self, node: str) -> None:
        """Have it moved to a node, and wait until Pacemaker is done; it may stay there then."""
        self.cluster.crm("resource", "move", self.group, node, "force")
        settle(self.cluster)
        self.cluster.crm("resource", "clear", self.group)
        settle(self.cluster)

    def ready(self, *, afresh: bool = False) -> None:
        """Have it serve, with nothing left of an earlier test: by mending, or else anew.

        afresh: its history is to begin with a start. Where it begins with a probe, as after a
        clean-up, Pacemaker 2.1.5 restarts a service of which a reloadable parameter is changed.
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
        """Take it out of the configuration, and wait until it is stopped; others stay."""
        for name in (self.group, self.ip):
            path = f"/cib/configuration/resources/*[@id='{name}']"
            self.cluster.exec(
                self.cluster.asked, ["cibadmin", "--delete", "--force", f"--xpath={path}"]
            )
        self.cluster.until(
            lambda status: not {self.ip, self.name} & {*status.resources}, timeout=PATIENCE
        )

    def _came_clean(self) -> bool:
        """Wait until it serves; whether it did without a late Keystone, which is remembered."""
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


def settle(cluster: Cluster) -> None:
    """Wait until Pacemaker has nothing left to do.

    `crm_resource --wait` tells as much, but not in less than two seconds.
    """

    def settled(status: Status) -> bool:
        node = cluster.asked
        simulated = cluster.exec(node, ["crm_simulate", "-L", "-S", "--output-as=xml"])
        state = cluster.exec(node, ["crmadmin", "--quiet", f"--status={status.dc}"])
        return "<transition/>" in simulated.stdout and "S_IDLE" in state.stdout

    # For a moment Pacemaker may not answer, or have no node that decides.
    cluster.until(lambda status: status.dc and settled(status), timeout=PATIENCE)


def unharmed(group: Group) -> Callable[[], None]:
    """A question to ask later: are these the same processes, on the same node, never at fault?"""
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
    """Undo what a test may have done to the nodes, and what it may have told Pacemaker to do."""
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
    """The first process of each resource in a node, by the resource: its pid and its birth."""
    said = controller.cluster.exec(node, ["sh", "-c", MASTERS, "sh", *controller.resources])
    rows = [line.split() for line in said.stdout.splitlines()]
    return {row[0]: f"{row[1]}, {row[2]}" for row in rows if len(row) == 3}


def late(failure: Failure) -> bool:
    """Whether Keystone had no time to answer: on a busy machine that is nobody's fault.

    Where it is made to hang, a test asks for these words itself.
    """
    said = "Keystone" in failure.reason and "does not answer in time" in failure.reason
    return failure.code == DEGRADED and said


def timely(failures: Iterable[Failure]) -> list[Failure]:
    """All but those of a late Keystone."""
    return [failure for failure in failures if not late(failure)]


def blamed(status: Status) -> set[str]:
    """What has failed: on a machine that is busy with other things a monitor may come too late."""
    return {failure.resource for failure in status.failures if failure.code != DEGRADED}


def members(cluster: Cluster, node: str) -> list[Process]:
    """The processes of a node, as the machine sees them."""
    first = cluster._node(node).process() if node in cluster.running else None
    if first is None:
        return []
    namespace = _namespace(first)
    return [each for each in process.everyone() if _namespace(each) == namespace]


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
    """Take files and folders away from one node for a while: it finds nothing in their places."""
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
