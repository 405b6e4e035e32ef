"""The lab's cluster itself, on which the tests of agents under Pacemaker rely."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest

import looks
from cluster.kit import timely
from lab import netns, seed
from lab.cib import Operation
from lab.cluster import PACKAGES, TEMPORARY, Cluster, sweep
from lab.errors import LabError
from lab.node import PRIVATE
from lab.openstack import ControlPlane
from lab.process import Process

ROOT = Path(__file__).parents[2]
IMAGES = "/v2/images?limit=1"
VIPS = {"glance": "10.99.0.101", "cinder": "10.99.0.102"}
DUMMY = "primitive p_dummy ocf:pacemaker:Dummy op monitor interval=10s timeout=20s"
LOGS = [f"/var/log/{name}" for name in ("pacemaker", "corosync", "cluster", "crmsh", "pcsd")]
GRUMPY = """#!/bin/sh
case $1 in
meta-data) echo '<resource-agent name="grumpy"><version>1.0</version>
    <longdesc lang="en">no</longdesc><shortdesc lang="en">no</shortdesc><parameters/><actions>
    <action name="start" timeout="20s"/><action name="stop" timeout="20s"/>
    <action name="monitor" timeout="20s" interval="10s"/><action name="meta-data" timeout="5s"/>
    </actions></resource-agent>';;
start) echo "ocf-exit-reason:no $(hostname) today" >&2; exit 1;;
stop) exit 0;;
*) exit 7;;
esac
"""

eventually = partial(looks.eventually, patience=180.0)
pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _prerequisites(need_packages: Callable[[Iterable[str], str], None]) -> None:
    need_packages(
        [*PACKAGES, *seed.packages("mysql")],
        "python3 -m lab.cluster install, python3 -m lab.openstack install --db mysql",
    )


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two nodes; after a test they are online, and its configuration is removed.

    Without fencing, as a node that is cut off has to run on here. With fencing: test_fencing.py.
    """
    with Cluster.temporary(fencing=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(pair: Cluster) -> Iterator[Cluster]:
    """Two nodes with a resource that does nothing."""
    pair.configure(DUMMY)
    pair.until(lambda status: status.where("p_dummy"))
    yield pair
    pair.up()
    pair.clear()


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, with the system's Python."""
    command = ["/usr/bin/python3", "-m", "lab.cluster", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def tells(state: str, *directory: str) -> bool:
    """Whether the status of a cluster has this line."""
    return state in cli("status", *directory).stdout


def kill_up(directory: Path, seen: Path) -> None:
    """Run `up` from the command line, and kill it as soon as a file is seen."""
    command = ["/usr/bin/python3", "-m", "lab.cluster", "up", "--dir", str(directory)]
    killed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    eventually(seen.exists)
    killed.kill()
    killed.wait()


def first_process(cluster: Cluster, node: str) -> Process:
    """The first process of a node that runs."""
    found = cluster._node(node).process()
    assert found is not None
    return found


def finished(cluster: Cluster, resource: str) -> list[Operation]:
    """The finished operations of a resource, without those that still run."""
    return [done for done in cluster.history(resource) if done.status >= 0]


def other(cluster: Cluster, node: str) -> str:
    """The other of two nodes."""
    return next(name for name in cluster.nodes if name != node)


def host() -> dict[str, object]:
    """What a node could have changed on the machine, and other tests do not change meanwhile.

    Other tests have services that write to /var/log, and temporary mounts.
    """
    found: dict[str, object] = {
        path: sorted(str(entry) for entry in Path(path).rglob("*"))
        for path in (*{*PRIVATE} - {"/var/log"}, "/usr/lib/ocf", *LOGS)
        if Path(path).is_dir()
    }
    found["mounts"] = [
        line
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if "/run/netns" not in line
        and (TEMPORARY in line or not line.split()[1].startswith(f"{tempfile.gettempdir()}/"))
    ]
    found["devices"] = sorted(os.listdir("/sys/class/net"))
    found["home"] = [(Path.home() / name).exists() for name in (".cache/crm", ".config/crm")]
    for path in ("/etc/hosts", "/etc/hostname", "/proc/sys/kernel/hostname"):
        found[path] = Path(path).read_text()
    return found


# Nodes


def test_nodes_see_each_other(pair: Cluster) -> None:
    """Each node sees both nodes online, one of them is the DC, and there is quorum."""
    for name in ("node1", "node2"):
        status = pair.until(lambda status: status.online("node1", "node2") and status.dc, node=name)
        assert status.dc in pair.nodes
        assert status.quorum


def test_host_is_out_of_reach(pair: Cluster) -> None:
    """A Pacemaker that panics cannot reboot the machine, nor change the kernel's settings."""
    trigger = Path("/proc/sysrq-trigger")
    command = ["stat", "-c", "%t:%T", "/dev/null", *([str(trigger)] if trigger.exists() else [])]
    assert 1 == len(set(pair.exec("node1", command, check=True).stdout.split()))

    for path in ("/proc/sys/kernel/panic", "/proc/sys/kernel/core_pattern"):
        done = pair.exec("node1", ["sh", "-c", f"cat {path} > {path}"])
        assert "Read-only file system" in done.stderr


def test_cluster_beside_another_leaves_no_trace(cluster: Cluster) -> None:
    """A second cluster, with the same names and addresses, disturbs neither the first nor the host.

    It comes, is configured, loses a node and goes; the machine is as it was.
    """
    before = host()

    with Cluster.temporary() as second:
        second.configure(DUMMY)
        second.kill("node1")
        second.until(lambda status: not status.online("node1"), node="node2")
        cluster.until(lambda status: status.online("node1", "node2"))
        assert before == host()
        assert netns.exists(second.outside)

    assert before == host()
    assert not second.directory.exists()
    assert not netns.exists(second.outside)


def test_environment_of_the_daemons(pair: Cluster) -> None:
    """Agents inherit Pacemaker's environment: it has no variable of the tests' environment."""
    script = 'cat "/proc/$(pidof pacemakerd)/environ"'
    environment = pair.exec("node1", ["sh", "-c", script], check=True).stdout

    names = {line.partition("=")[0] for line in environment.split("\0") if line}
    assert {"PATH", "HOME", "LC_ALL"} == {name for name in names if not name.startswith("PCMK_")}


def test_folders_of_a_node(pair: Cluster) -> None:
    """A node has the log folders of the host, with owners and modes, and files of its own."""
    for folder in ("/var/log/glance", "/var/log/cinder", "/var/log/crmsh"):
        command = ["stat", "-c", "%U %G %a", folder]
        here = subprocess.run(command, capture_output=True, text=True, check=True)
        assert here.stdout == pair.exec("node1", command).stdout

    pair.exec("node1", ["touch", "/var/log/glance/mine", "/run/resource-agents/mine"], check=True)

    assert not Path("/var/log/glance/mine").exists()
    assert pair.path("node1", "/var/log/glance/mine").exists()
    assert 2 == pair.exec("node2", ["ls", "/run/resource-agents/mine"]).code


def test_agents_are_found(pair: Cluster) -> None:
    """The agents of this project work on every node, and the library is not listed as an agent."""
    listed = pair.crm("ra", "list", "ocf", "openstack").stdout.split()

    assert {"cinder-api", "glance-api"} <= set(listed)
    assert "agentlib" not in listed
    for name in pair.nodes:
        agent = "/usr/lib/ocf/resource.d/openstack/glance-api"
        assert "<resource-agent" in pair.exec(name, [agent, "meta-data"]).stdout


def test_exec_returns_what_the_command_did(pair: Cluster) -> None:
    """exec() returns exit code and output of a command; after the timeout it raises LabError."""
    assert (3, "node1\n") == (
        (done := pair.exec("node1", ["sh", "-c", "hostname; exit 3"])).code,
        done.stdout,
    )
    with pytest.raises(LabError, match="node2: sleep 600 was ended after 0 s"):
        pair.exec("node2", ["sleep", "600"], timeout=0.2, check=True)
    with pytest.raises(LabError, match="was killed: -9$"):
        pair.exec("node2", ["sh", "-c", "kill -KILL $$"], check=True)

    eventually(lambda: pair.exec("node2", ["pidof", "sleep"]).code == 1)


# Status


def test_failure_is_told_with_its_reason(cluster: Cluster) -> None:
    """A failed start is shown as failure, fail count and operation, each for both nodes."""
    agent = cluster.agents / "grumpy"
    agent.write_text(GRUMPY)
    agent.chmod(0o755)
    cluster.configure("primitive p_grumpy ocf:openstack:grumpy")

    # The failure is shown before its fail count and the stop.
    status = cluster.until(
        lambda status: len(status.failed("p_grumpy")) == 2
        and {("p_grumpy", node) for node in cluster.nodes} <= {*status.fail_counts}
        and status.resources["p_grumpy"].role == "Stopped"
    )

    failures = status.failed("p_grumpy")
    assert {"no node1 today", "no node2 today"} == {f.reason for f in failures}
    assert {("start", 1)} == {(f.operation, f.code) for f in failures}
    assert 1000000 == status.fail_counts["p_grumpy", "node1"]
    starts = [done for done in cluster.history("p_grumpy") if done.operation == "start"]
    assert {("node1", 1), ("node2", 1)} == {(done.node, done.code) for done in starts}


def test_old_failures_are_cleared(pair: Cluster) -> None:
    """The fail count of a deleted resource does not prevent the start of a new one of this name."""
    failed = ["attrd_updater", "--name=fail-count-p_dummy#start_0", "--update=INFINITY"]
    status = ["cibadmin", "--query", "--scope=status"]
    for node in pair.nodes:
        pair.exec(node, failed, check=True)
    eventually(lambda: pair.exec("node1", status).stdout.count('"fail-count-p_dummy') == 2)

    pair.clear()

    pair.configure(DUMMY)
    pair.until(lambda status: status.where("p_dummy"))
    pair.clear()


def test_delete_of_what_runs(pair: Cluster) -> None:
    """With --force, crm stops a running resource, waits for that, and deletes it."""
    pair.configure("primitive p_short ocf:pacemaker:Dummy")
    pair.until(lambda status: status.where("p_short"))

    pair.crm("--force", "configure", "delete", "p_short")

    pair.until(lambda status: "p_short" not in status.resources)


def test_history_of_a_resource(cluster: Cluster) -> None:
    """Probes, the start and the recurring monitor are in the history, with their results."""
    node = cluster.status().where("p_dummy")

    eventually(lambda: len(finished(cluster, "p_dummy")) == 3)

    done = finished(cluster, "p_dummy")
    assert [7] == [found.code for found in done if found.probe]
    assert [("start", 0.0, 0), ("monitor", 10.0, 0)] == [
        (found.operation, found.interval, found.code) for found in done if found.node == node
    ]


def test_refused_configuration(pair: Cluster) -> None:
    """A line that crm refuses is reported with crm's message, and changes nothing."""
    with pytest.raises(LabError, match=r"crm configure load update .* failed: 1\n.*nonsense"):
        pair.configure("primitive p_x ocf:nonsense:Dummy")

    assert {} == pair.status().resources


# Faults


def test_power_loss(cluster: Cluster) -> None:
    """When a node loses power the resource moves; the node comes back with its disk."""
    lost = cluster.status().where("p_dummy")
    cluster.exec(lost, ["touch", "/var/log/kept", "/run/lost"], check=True)

    cluster.kill(lost)

    cluster.until(lambda status: status.where("p_dummy") == other(cluster, lost))
    assert [other(cluster, lost)] == cluster.running
    with pytest.raises(LabError, match=f"{lost} is off"):
        cluster.exec(lost, ["true"])
    cluster.start(lost)
    assert cluster.status(lost).online("node1", "node2")
    assert 2 == cluster.exec(lost, ["ls", "/var/log/kept", "/run/lost"]).code
    assert cluster.path(lost, "/var/log/kept").exists()


def test_orderly_stop(cluster: Cluster) -> None:
    """A node that is shut down stops its resource first, and is not unclean."""
    stopped = cluster.status().where("p_dummy")

    cluster.stop(stopped)

    status = cluster.until(lambda status: status.where("p_dummy") == other(cluster, stopped))
    assert not status.nodes[stopped].unclean
    assert "stop" in [done.operation for done in cluster.history("p_dummy")]
    cluster.start(stopped)


def test_cut_and_heal(cluster: Cluster) -> None:
    """A node that is cut off runs on alone; after healing the resource runs once."""
    apart = cluster.status().where("p_dummy")
    cluster.cut(apart)
    cluster.until(lambda status: not status.online(apart), node=other(cluster, apart))
    cluster.until(lambda status: not status.online(other(cluster, apart)), node=apart)
    assert cluster.is_cut(apart)

    cluster.heal(apart)

    cluster.wait()
    assert 1 == len(cluster.status().resources["p_dummy"].nodes)


def test_pacemaker_restarted_in_maintenance_mode(cluster: Cluster) -> None:
    """While a resource runs on, Pacemaker is restarted, by request and after a crash."""
    node = cluster.status().where("p_dummy")
    cluster.crm("configure", "property", "maintenance-mode=true")
    cluster.wait()
    before = first_process(cluster, node)

    cluster.restart_pacemaker(node)
    old = cluster.exec(node, ["pidof", "pacemakerd"], check=True).stdout
    cluster.exec(node, ["sh", "-c", "kill -KILL $(pidof pacemakerd)"], check=True)
    eventually(lambda: cluster.exec(node, ["pidof", "pacemakerd"]).stdout not in ("", old))
    cluster.until(lambda status: status.online(*cluster.nodes), node=node)

    assert before == first_process(cluster, node)
    status = cluster.until(lambda status: status.where("p_dummy"))
    assert node == status.where("p_dummy")
    assert not status.resources["p_dummy"].managed
    assert "stop" not in [done.operation for done in cluster.history("p_dummy")]


def test_three_nodes_lose_quorum() -> None:
    """The last of three nodes stops its resources, without quorum."""
    with Cluster.temporary(nodes=3, properties={"cluster-recheck-interval": "30s"}) as cluster:
        cluster.configure(DUMMY)
        left = cluster.until(lambda status: status.where("p_dummy")).where("p_dummy")
        for name in cluster.nodes:
            if name != left:
                cluster.kill(name)

        status = cluster.until(lambda status: not status.where("p_dummy"))

        assert not status.quorum
        assert [left] == cluster.running


# Cleaning up


OWNER = """if True:
    from lab.cluster import Cluster
    with Cluster.temporary() as cluster:
        cluster.exec("node1", ["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 &"], check=True)
        print(cluster.directory, flush=True)
        input()
"""


def test_cluster_of_a_killed_owner_is_swept() -> None:
    """After the next sweep nothing is left of a cluster whose owner was killed."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    orphan = Cluster(next(line for line in owner.stdout if line.startswith("/")).strip())
    nodes = [first_process(orphan, name) for name in orphan.nodes]
    namespaces = {os.stat(f"/proc/{node.pid}/ns/pid").st_ino for node in nodes}
    owner.send_signal(signal.SIGKILL)
    owner.communicate()

    sweep()

    assert [] == [node for node in nodes if node.alive()]
    assert not orphan.directory.exists()
    assert not netns.exists(orphan.outside)
    eventually(lambda: not namespaces & set(_namespaces("pid")))


def _namespaces(kind: str) -> Iterator[int]:
    for entry in Path("/proc").glob(f"[0-9]*/ns/{kind}"):
        try:
            yield entry.stat().st_ino
        except OSError:
            continue


def test_down_after_a_killed_up(folder: Path) -> None:
    """After an `up` that was killed when nodes had started, `down` works."""
    directory = folder / "cluster"
    kill_up(directory, directory / "node2/init.json")
    nodes = [first_process(Cluster(directory), name) for name in ("node1", "node2")]

    assert 0 == cli("down", "--dir", str(directory)).returncode

    assert [] == [node for node in nodes if node.alive()]
    assert not directory.exists()
    assert not netns.exists(Cluster(directory).outside)


def test_command_line_from_nothing_to_nothing(folder: Path) -> None:
    """Every command works from the command line, and reports an error in one line.

    The next `up` continues one that was killed half-way.
    """
    directory = ("--dir", str(folder / "cluster"))
    assert 3 == cli("status", *directory).returncode
    kill_up(folder / "cluster", folder / "cluster/node1/init.json")
    try:
        assert "node1, node2 are online" in cli("up", *directory, "--nodes", "2").stdout
        differently = cli("up", *directory, "--nodes", "3")
        assert 1 == differently.returncode
        assert differently.stderr.endswith("was made differently; take it down first\n")
        assert "node2\n" == cli("exec", *directory, "node2", "--", "hostname").stdout
        assert "10.99.0.254" in cli("exec", *directory, "switch", "ip", "address").stdout
        for command, state in (
            ("cut", "node2     cut off"),
            ("heal", "node2     on"),
            ("kill", "node2     off"),
            ("start", "node2     on"),
            ("stop", "node2     off"),
        ):
            done = cli(command, *directory, "node2")
            assert (0, "") == (done.returncode, done.stderr)
            # A node that is cut off is fenced: it is off for a moment, then on, then cut off.
            eventually(partial(tells, state, *directory))
        unknown = cli("kill", *directory, "node7")
        assert (1, "cluster: no such node: node7 (there are node1, node2)\n") == (
            unknown.returncode,
            unknown.stderr,
        )
    finally:
        assert 0 == cli("down", *directory).returncode
    assert not (folder / "cluster").exists()
    assert "there is no cluster; run: " in cli("kill", *directory, "node1").stderr


def test_folder_of_another_stays(folder: Path) -> None:
    """A folder that has other files is not made a cluster, and not removed."""
    (folder / "letter").touch()

    with pytest.raises(LabError, match="is not empty, and not a cluster"):
        Cluster(folder).up()
    Cluster(folder).down()

    assert (folder / "letter").exists()


# Its purpose: agents


def _group(cloud: ControlPlane, service: str) -> str:
    user = cloud.credentials
    return f"""
primitive p_ip_{service}-api ocf:heartbeat:IPaddr2 \\
  params ip={VIPS[service]} cidr_netmask=24 op monitor interval=10s timeout=20s
primitive p_{service}-api ocf:openstack:{service}-api \\
  params config={cloud.config(service)} os_auth_url={user.auth_url} os_username={user.username} \\
    os_password={user.password} os_project_name={user.project_name} \\
  op start timeout=60s interval=0 op stop timeout=60s interval=0 \\
  op monitor interval=10s timeout=30s
group g_{service}-api p_ip_{service}-api p_{service}-api"""


def _serves(cloud: ControlPlane, token: str) -> bool:
    try:
        return 200 == cloud.server("glance").get(IMAGES, token=token, timeout=5.0).status
    except (OSError, HTTPException):
        return False


def _await_started(cluster: Cluster, nodes: Sequence[str]) -> str:
    """Wait until address and service are started on one of these nodes; return it."""
    names = ("p_ip_glance-api", "p_glance-api")
    status = cluster.until(lambda status: all(status.where(name) in nodes for name in names))
    assert status.where(names[0]) == status.where(names[1])
    return status.where(names[1])


def test_image_api_fails_over_with_its_data(cluster: Cluster) -> None:
    """The real glance-api with its virtual IP serves a client, also after a move and a node's loss.

    Its database is a MariaDB on a Unix socket, Keystone is at the switch.
    """
    bind = {"keystone": cluster.address, **VIPS}
    with ControlPlane.temporary(db="mysql", netns=cluster.outside, bind=bind) as cloud:
        cloud.up("db", "keystone")
        token = cloud.token()
        cluster.configure(_group(cloud, "glance"))
        first = _await_started(cluster, cluster.nodes)
        eventually(lambda: _serves(cloud, token))
        assert 401 == cloud.server("glance").get(IMAGES, token="wrong").status
        assert cluster.path(first, "/var/log/glance/p_glance-api.log").exists()

        second = other(cluster, first)
        cluster.crm("resource", "move", "g_glance-api", second, "force")
        _await_started(cluster, [second])
        eventually(lambda: _serves(cloud, token))
        cluster.crm("resource", "clear", "g_glance-api")
        cluster.wait()
        assert [] == timely(cluster.status().failures)

        cluster.kill(second)
        _await_started(cluster, [first])
        eventually(lambda: _serves(cloud, token))
        recurring = [done for done in finished(cluster, "p_glance-api") if done.interval]
        assert {0} == {done.code for done in recurring}
