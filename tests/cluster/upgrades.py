"""Agents that are installed, and upgraded under running monitors, in the nodes of a cluster.

Called by test_upgrade.py and test_upgrade_over.py. What dpkg and `make install` write in a node is
this node's own (`own_disk`), and the machine's files stay as they are.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cluster.kit import Group, mend, unharmed
from lab.cluster import Cluster
from lab.inside import SBIN
from lab.root import ENVIRON
from packages.kit import AGENTS, slowly

PLACES = ("/usr/lib/ocf/lib", "/usr/share", "/var/cache", "/var/lib/dpkg")
"""Folders that an installation writes to, besides that of the agents, and SBIN."""
LOOPS = """
. "$1/parameters"
for loop in 1 2; do
    while [ ! -e "$1/enough" ]; do
        said=$("$2/$3" monitor 2>&1); echo $? monitor: $said
    done &
done
while [ ! -e "$1/enough" ]; do
    for agent in "$2"/*; do
        case $agent in *.dpkg-*|*/agentlib) continue ;; esac
        said=$("$agent" meta-data 2>&1 >/dev/null); echo $? "${agent##*/}" meta-data: $said
    done
done &
wait
"""
"""Monitors of one agent, and the meta-data of all, for as long as there is no file `enough`."""


@contextmanager
def own_disk(cluster: Cluster, node: str, folder: Path) -> Iterator[None]:
    """Have all that is installed in a node written to a folder. No agent of ours is there."""
    mounted = []
    try:
        for place in PLACES:
            own = folder / place.strip("/").replace("/", "-")
            for part in (own / "upper", own / "work"):
                part.mkdir(parents=True)
                part.chmod(0o755)  # it is the mode of what is seen there
            layers = f"lowerdir={place},upperdir={own}/upper,workdir={own}/work"
            command = ["mount", "--types=overlay", f"--options={layers}", "overlay", place]
            cluster.exec(node, command, check=True)
            mounted.append(place)
        agents_of(folder).mkdir()
        agents_of(folder).chmod(0o755)
        # It has an overlay already (`lab.inside`), and too many of them are refused.
        cluster.exec(node, ["cp", "--archive", SBIN, str(folder / "sbin")], check=True)
        for own, place in ((agents_of(folder), AGENTS), (folder / "sbin", SBIN)):
            cluster.exec(node, ["mount", "--bind", str(own), place], check=True)
            mounted.append(place)
        yield
    finally:
        for place in reversed(mounted):
            cluster.exec(node, ["umount", "--lazy", place], check=True)


def agents_of(folder: Path) -> Path:
    """What a node whose disk is in a folder has as resource.d/openstack."""
    return folder / "agents"


@contextmanager
def own_disks(group: Group, folder: Path) -> Iterator[None]:
    """All nodes with a disk of their own, for a group that is configured in there and removed."""
    mend(group.cluster)
    if group.ip in group.status().resources:
        group.remove()
    with ExitStack() as disks:
        for node in group.cluster.nodes:
            disks.enter_context(own_disk(group.cluster, node, folder / node))
        try:
            yield
        finally:
            group.remove()


def install(cluster: Cluster, *command: str | Path) -> None:
    """Run an installation in all nodes."""
    for node in cluster.nodes:
        cluster.exec(node, [str(word) for word in command], check=True)


def upgrade(group: Group, folder: Path, *command: str | Path) -> str:
    """Run an installation where a group runs, while agents are called all the time; what it says.

    Every file takes 10 ms to appear or to go. Each call finds an agent that works, and a service
    that is well, as Pacemaker's own monitors do: nothing is restarted, and nothing has failed.
    """
    cluster, node, calm = group.cluster, group.node(), unharmed(group)
    started = group.history("start", node)
    _write_parameters(group, folder / "parameters")
    loops = ["sh", "-c", LOOPS, "sh", str(folder), AGENTS, f"{group.service}-api"]
    with subprocess.Popen(
        cluster.argv(node, loops), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as calls:
        try:
            assert calls.stdout
            first = [calls.stdout.readline() for _ in range(3)]
            words = slowly(*cluster.argv(node, [str(word) for word in command]))
            done = subprocess.run(
                words, env=ENVIRON, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
        finally:
            (folder / "enough").touch()
        rest = calls.communicate()[0]

    assert done.returncode == 0, done.stdout
    called = [*first, *rest.splitlines(keepends=True)]
    assert [] == [line for line in called if not _well(line)]
    calm()
    group.await_monitors(2)
    group.await_monitor(0)
    calm()
    assert [] == group.failures()
    assert started == group.history("start", node)
    assert [] == group.history("stop", node)
    return done.stdout


def version(group: Group) -> str:
    """The version of the agent where a group runs, as its meta-data has it."""
    agent = f"{AGENTS}/{group.service}-api"
    said = group.cluster.exec(group.node(), [agent, "meta-data"], check=True).stdout
    found = re.search(r'<resource-agent [^>]*version="([^"]*)"', said)
    return found[1] if found else ""


def _write_parameters(group: Group, file: Path) -> None:
    """What Pacemaker gives to a monitor of a group, for a shell; the time is a busy machine's."""
    given = {f"OCF_RESKEY_{name}": value for name, value in group.given().items()}
    environ = {
        "OCF_ROOT": "/usr/lib/ocf",
        "OCF_RA_VERSION_MAJOR": 1,
        "OCF_RESOURCE_INSTANCE": group.name,
        "OCF_RESOURCE_PROVIDER": "openstack",
        "OCF_RESOURCE_TYPE": f"{group.service}-api",
        "OCF_RESKEY_CRM_meta_timeout": 120000,
        "OCF_RESKEY_CRM_meta_interval": 2000,
        **given,
    }
    file.touch(mode=0o600)
    lines = (f"export {name}={shlex.quote(str(value))}\n" for name, value in environ.items())
    file.write_text("".join(lines))


def _well(line: str) -> bool:
    """Whether a call came to 0; or to 190 since Keystone had no time to answer."""
    late = line.startswith("190 ") and "Keystone" in line and "does not answer in time" in line
    return line.startswith("0 ") or late
