"""The lab's power switch and its fence agent, on which the tests of fencing rely."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

import looks
from lab import fencing, process, seed
from lab.agents import Result
from lab.cluster import PACKAGES, Cluster, sweep
from lab.errors import LabError
from lab.node import recorded
from lab.process import Process

ROOT = Path(__file__).parents[2]
AGENT = "/usr/sbin/fence_lab"
ADDRESS = "10.99.0.150"

eventually = partial(looks.eventually, patience=180.0)
pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _prerequisites(need_packages: Callable[[Iterable[str], str], None]) -> None:
    need_packages([*PACKAGES, *seed.packages("sqlite")], "python3 -m lab.cluster install")


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """Two nodes with fencing."""
    with Cluster.temporary(fencing=True) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The same, online, with started devices."""
    shared.until(
        lambda status: ["Started"] * 2 == [found.role for found in status.devices.values()]
    )
    yield shared
    shared.up()
    # On a busy machine Pacemaker may fence a node that it took for lost, although the node is back
    # already.
    shared.wait()
    shared.up()


def ask(cluster: Cluster, node: str, *options: str) -> Result:
    """Run the fence agent on a node, with these lines on its standard input."""
    script = f'printf "%s\\n" "$@" | {AGENT}'
    return cluster.exec(node, ["sh", "-c", script, "sh", *options])


def first_process(cluster: Cluster, node: str) -> Process | None:
    """The first process of a node; None while it is off."""
    return cluster._node(node).process()


def members(cluster: Cluster, node: str) -> list[Process]:
    """All processes of a node that is on."""
    first = first_process(cluster, node)
    assert first
    space = os.readlink(f"/proc/{first.pid}/ns/pid")
    found = []
    for candidate in process.every():
        with suppress(OSError):
            if os.readlink(f"/proc/{candidate.pid}/ns/pid") == space:
                found.append(candidate)
    return found


def name(member: Process) -> str:
    """The program that a process runs; "" for one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{member.pid}/comm").read_text().strip()
    return ""


@contextmanager
def unfenced(cluster: Cluster) -> Iterator[None]:
    """Disable fencing for a while: Pacemaker would fence a lost node, and so turn it on again."""
    change = ["crm_attribute", "--name=stonith-enabled"]
    cluster.exec("node1", [*change, "--update=false"], check=True)
    try:
        yield
    finally:
        cluster.exec("node1", [*change, "--update=true"], check=True)


def power_switch(cluster: Cluster) -> Process:
    """The power switch's daemon of a cluster."""
    found = recorded(cluster.directory / fencing.RECORD)
    assert found
    return found


# Configuration


def test_agent_is_in_the_nodes_alone(cluster: Cluster) -> None:
    """On a node Pacemaker finds the fence agent with the machine's; it is not on the machine."""
    installed = cluster.exec("node1", ["stonith_admin", "--list-installed"], check=True).stdout

    assert {"fence_lab", "fence_watchdog"} <= {*installed.split()}
    assert not Path(AGENT).exists()
    shown = cluster.crm("ra", "info", "stonith:fence_lab").stdout
    assert "Asks the power switch of the lab" in shown


def test_configuration(cluster: Cluster) -> None:
    """Each node has a device, fencing is on, and Pacemaker finds nothing wrong with it."""
    status = cluster.status()

    assert {"fence_node1", "fence_node2"} == {*status.devices}
    assert {} == status.resources
    assert "true" == cluster.exec(
        "node1", ["crm_attribute", "--name=stonith-enabled", "--query", "--quiet"]
    ).stdout.strip()
    for node in cluster.nodes:
        listed = cluster.exec("node1", ["stonith_admin", f"--list={node}", "--quiet"])
        assert f"fence_{node}" in listed.stdout.split()
    verified = cluster.exec("node1", ["crm_verify", "--live-check", "--verbose"])
    assert (0, "") == (verified.code, verified.stderr)


def test_only_root_reaches_the_power_switch(cluster: Cluster) -> None:
    """Only root can connect to the socket, from a node or from outside."""
    folder = cluster.directory / fencing.FOLDER

    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (folder, folder / fencing.SOCKET)]
    assert [0o700, 0o600] == modes
    other = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    done = cluster.exec("node1", ["sh", "-c", f"echo action=monitor | {other} {AGENT}"])
    assert 1 == done.code
    assert "the power switch does not answer: Permission denied" in done.stderr


ASK = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.connect('socket');"
    "s.sendall(b'off node2\\n'); print(s.recv(99))"
)


def asked_from_outside(directory: Path) -> str:
    """What the power switch of a cluster answers to a request from outside of the nodes."""
    command = [sys.executable, "-c", ASK]
    return subprocess.run(
        command, cwd=directory / fencing.FOLDER, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_only_nodes_are_served(cluster: Cluster) -> None:
    """A request from outside of the nodes is closed unanswered: it may come from a dead node."""
    node = first_process(cluster, "node2")

    assert "b''\n" == asked_from_outside(cluster.directory)

    assert node == first_process(cluster, "node2")


# The agent's answers


def test_agent(cluster: Cluster) -> None:
    """The agent's exit codes are those of the FenceAgentAPI; a failure is reported in one line."""
    assert 0 == ask(cluster, "node1", "action=monitor").code
    assert ["node1", "node2"] == ask(cluster, "node1", "action=list").stdout.split()
    assert 0 == ask(cluster, "node1", "# a comment", "action=status", "plug=node2").code
    assert 0 == ask(cluster, "node1", "action=on", "plug=node2").code
    for said, *options in (
        ("off of which node? Set plug to its name", "action=off"),
        ("there is no such action, or no such node: off node7", "action=off", "plug=node7"),
        ("there is no such action, or no such node: dance", "action=dance"),
    ):
        done = ask(cluster, "node1", *options)
        assert 1 == done.code
        assert [True] == [said in line for line in done.stderr.splitlines()]
    assert cluster.nodes == cluster.running


# Its effects


def test_fenced_node_is_ended_and_comes_back(cluster: Cluster) -> None:
    """All processes and addresses of a fenced node are gone; the node comes back as a member."""
    detached = f"ip address add {ADDRESS}/24 dev eth0; setsid sleep 600 >/dev/null 2>&1 &"
    cluster.exec("node2", ["sh", "-c", detached], check=True)
    before = cluster.fenced
    # The shell has ended, but its child may not have executed sleep yet.
    sleeping = eventually(
        lambda: [member for member in members(cluster, "node2") if "sleep" == name(member)]
    )
    family = [*members(cluster, "node2"), *sleeping]

    cluster.exec("node1", ["stonith_admin", "--reboot=node2"], check=True)

    assert [] == [member for member in family if member.alive()]
    cluster.await_member("node2")
    assert first_process(cluster, "node2") not in family
    assert ADDRESS not in cluster.exec("node2", ["ip", "address"], check=True).stdout
    log = cluster.path("node2", "/var/log/pacemaker/pacemaker.log").read_text()
    assert "allegedly just fenced" not in log, "it was back before the other one had noticed"
    # Pacemaker may notice the lost node before it learns of this fencing: then it fences the node
    # as well.
    assert {"node2"} == {*cluster.fenced[len(before) :]}


def test_node_fences_itself(cluster: Cluster) -> None:
    """A node that asks for its own reboot is rebooted, and comes back."""
    old = first_process(cluster, "node2")
    assert old

    ask(cluster, "node2", "action=reboot", "plug=node2")

    eventually(lambda: first_process(cluster, "node2") not in (None, old))
    assert not old.alive()
    cluster.await_member("node2")


def test_off_and_on(cluster: Cluster) -> None:
    """A node that is turned off by the agent is off until the agent turns it on."""
    with unfenced(cluster):
        assert 0 == ask(cluster, "node1", "action=off", "plug=node2").code
        assert ["node1"] == cluster.running
        assert 2 == ask(cluster, "node1", "action=status", "plug=node2").code

        assert 0 == ask(cluster, "node1", "action=on", "plug=node2").code

        eventually(lambda: cluster.running == ["node1", "node2"])
        cluster.await_member("node2")


def test_node_without_power_stays_off(cluster: Cluster) -> None:
    """A node that was turned off by hand is fenced at once, and only turned on by hand."""
    before = cluster.fenced
    cluster.kill("node2")

    eventually(lambda: cluster.fenced != before)
    assert {"node2"} == {*cluster.fenced[len(before) :]}
    assert 0 == ask(cluster, "node1", "action=reboot", "plug=node2").code
    refused = ask(cluster, "node1", "action=on", "plug=node2")
    assert 1 == refused.code
    assert "node2 was turned off by hand" in refused.stderr
    assert ["node1"] == cluster.running
    cluster.start("node2")
    assert ["node1", "node2"] == cluster.running


def test_node_that_is_cut_off(cluster: Cluster) -> None:
    """A node that is cut off cannot fence, and is fenced; after its boot it still does not fence.

    corosync's wait_for_all is the reason: until the other node joins, it has no quorum.
    """
    old, before = first_process(cluster, "node2"), cluster.fenced
    cluster.cut("node2")

    eventually(lambda: first_process(cluster, "node2") not in (None, old))

    status = cluster.until(lambda status: not status.dc or not status.quorum, node="node2")
    assert not status.quorum
    assert cluster.is_cut("node2")
    refused = ask(cluster, "node2", "action=reboot", "plug=node1")
    assert 1 == refused.code
    assert "node2 is cut off from the power switch" in refused.stderr
    assert "node1" not in cluster.fenced[len(before) :]
    cluster.heal("node2")
    cluster.until(lambda status: status.online("node1", "node2"), node="node2")


def test_broken_power_switch(cluster: Cluster) -> None:
    """A broken power switch reports it, and turns no node off or on, until it is mended."""
    old = first_process(cluster, "node2")
    cluster.break_fencing()

    for action in ("off", "on", "reboot"):
        done = ask(cluster, "node1", f"action={action}", "plug=node2")
        assert 1 == done.code
        assert f"fence_lab: {action} node2: the power switch is broken\n" == done.stderr

    assert old == first_process(cluster, "node2")
    cluster.mend_fencing()
    assert 0 == ask(cluster, "node1", "action=on", "plug=node2").code


def test_three_nodes() -> None:
    """Three nodes come up without fencing each other; a node that is lost is fenced."""
    with Cluster.temporary(nodes=3, fencing=True) as cluster:
        assert [] == cluster.fenced

        cluster.exec("node3", ["sh", "-c", "kill -STOP $(pidof corosync)"], check=True)

        eventually(lambda: cluster.fenced)
        cluster.await_member("node3")
        assert ["node3"] == cluster.fenced


# Cleaning up


def test_without_fencing() -> None:
    """break_fencing() of a cluster without fencing is a LabError: there is no power switch."""
    cluster = Cluster("/nowhere", fencing=False)

    with pytest.raises(LabError, match="/nowhere was made without fencing"):
        cluster.break_fencing()


def test_power_switch_is_started_again(cluster: Cluster) -> None:
    """`up` starts a power switch that has died."""
    old = power_switch(cluster)
    old.send(signal.SIGKILL)
    eventually(lambda: not old.alive())
    refused = ask(cluster, "node1", "action=monitor")
    assert 1 == refused.code
    assert "the power switch does not answer: Connection refused" in refused.stderr

    cluster.up()

    assert old != power_switch(cluster)
    assert 0 == ask(cluster, "node1", "action=monitor").code


OWNER = """if True:
    from lab.cluster import Cluster
    with Cluster.temporary(fencing=True) as cluster:
        print(cluster.directory, flush=True)
        input()
"""


def test_power_switch_of_a_killed_owner_is_swept() -> None:
    """The power switch of a cluster whose owner was killed is ended."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        orphan = Cluster(next(line for line in owner.stdout if line.startswith("/")).strip())
        left = [power_switch(orphan), *(first_process(orphan, name) for name in orphan.nodes)]
        owner.kill()

    sweep()

    assert [] == [found for found in left if found and found.alive()]
    assert not orphan.directory.exists()


STARTER = """if True:
    import sys
    from pathlib import Path
    from lab import fencing
    fencing.start(Path(sys.argv[1]), "no-such-switch", 2)
"""


def test_power_switch_outlives_its_starter(folder: Path) -> None:
    """A power switch goes on when the process that has started it ends, as `up` does."""
    directory = folder / "cluster"
    directory.mkdir()

    subprocess.run([sys.executable, "-c", STARTER, str(directory)], cwd=ROOT, check=True)

    try:
        # Before the second request it has looked whether it is still wanted.
        assert ["b''\n", "b''\n"] == [asked_from_outside(directory) for _ in range(2)]
    finally:
        shutil.rmtree(directory)


def test_power_switch_without_a_cluster(folder: Path) -> None:
    """A power switch ends by itself when its cluster's folder is removed."""
    directory = folder / "cluster"
    directory.mkdir()
    fencing.start(directory, "no-such-switch", 2)
    found = recorded(directory / fencing.RECORD)
    assert found

    shutil.rmtree(directory)

    eventually(lambda: not found.alive())
