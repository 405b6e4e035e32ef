"""Two or three real Pacemaker nodes on one machine.

Run by a person (`python3 -m lab.cluster --help`), and used by the tests, the benchmark and the
demo as `Cluster`. A cluster is a folder, namespaces for each node (network, mounts, processes),
and one for the switch that connects them. Nothing on the machine itself is changed: many clusters
run side by side, all of them with the same names and addresses.

    with Cluster.temporary(nodes=2) as cluster:
        cluster.configure("primitive p_ip ocf:heartbeat:IPaddr2 params ip=10.99.0.101")
        cluster.wait()
        cluster.kill(cluster.status().where("p_ip"))

With fencing, Pacemaker has a fence device for each node, which really ends the node and starts it
again (`lab.fencing`).

A control plane that all nodes reach runs at the switch; clients send their requests from there:

    ControlPlane.temporary(
        netns=cluster.outside, bind={"keystone": cluster.address, "glance": "10.99.0.101"}
    )
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

from lab import apt, cib, corosync, fencing, folders, netns, show, switch
from lab.agents import Result, execute, installed
from lab.cib import Operation, Status
from lab.command import exit_code
from lab.errors import LabError
from lab.node import AGENTS, ENVIRONMENT, Node, make_disk, nodes_of
from lab.process import POLL, rest
from lab.settings import write_private

DIRECTORY = Path("/var/lib/openstack-ocf-cluster")
TEMPORARY = "openstack-ocf-cluster-"
SWITCH = "switch"
PACKAGES = (
    "pacemaker",
    "corosync",
    "crmsh",
    "pcs",
    "resource-agents",
    "iputils-arping",
    "iproute2",
)
SETTINGS = "cluster.json"
SIZES = (2, 3)
LIMIT = 300.0  # seconds, for what takes three on an idle machine
LOCKED = 120.0
NOT_RUNNING = 3  # an exit code, as of an init script's status


@dataclass(frozen=True)
class Settings:
    """The settings that a cluster is made with.

    agents: the folder they were taken from, "" for this project's own. token: of corosync, in
    ms. properties: of the cluster, beside those in `lab.cib`. fencing: whether Pacemaker fences.
    """

    nodes: int = 2
    agents: str = ""
    token: int = corosync.TOKEN
    properties: Mapping[str, str] = field(default_factory=dict)
    fencing: bool = True


class Cluster:
    """One cluster. A setting that is not given is as in the existing cluster, or the default."""

    def __init__(
        self,
        directory: Path | str = DIRECTORY,
        *,
        nodes: int | None = None,
        agents: Path | str | None = None,
        token: int | None = None,
        properties: Mapping[str, str] | None = None,
        fencing: bool | None = None,
    ) -> None:
        """Describe a cluster; nothing is done yet.

        nodes: 2 (the default) or 3. agents: a folder that is copied, and appears in every node as
        the provider openstack; the default is what this project installs. token: after how many
        ms without a packet a node counts as lost. properties: more cluster properties. fencing:
        whether each node has a fence device, and stonith-enabled is true; the default is True.
        """
        self.directory = Path(directory).resolve()
        given = {
            "nodes": nodes,
            "agents": None if agents is None else str(Path(agents).resolve()),
            "token": token,
            "properties": properties,
            "fencing": fencing,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        present = _read(self.directory)
        self.settings = Settings(**{**asdict(present or Settings()), **chosen})
        if self.settings.nodes not in SIZES:
            raise LabError(f"a cluster has 2 or 3 nodes, not {self.settings.nodes}")
        if present and self.settings != present:
            raise LabError(f"{self.directory} was made differently; take it down first")

    @classmethod
    @contextmanager
    def temporary(
        cls,
        *,
        nodes: int = 2,
        agents: Path | str | None = None,
        token: int | None = None,
        properties: Mapping[str, str] | None = None,
        fencing: bool | None = None,
    ) -> Iterator[Cluster]:
        """A cluster that is up, with a folder of its own; nothing of it is left at the end."""
        sweep()
        directory = folders.temporary(TEMPORARY)
        try:
            cluster = cls(
                directory,
                nodes=nodes,
                agents=agents,
                token=token,
                properties=properties,
                fencing=fencing,
            )
            try:
                cluster.up()
                yield cluster
            finally:
                cluster.down()
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    # What it is

    @property
    def outside(self) -> str:
        """The network namespace of the switch, for `lab.netns`, `Server` and ControlPlane."""
        readable = re.sub(r"[^\w.-]", "-", self.directory.name)[:40]
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:6]
        return f"{readable}-{digest}"

    @property
    def address(self) -> str:
        """The address of the switch, which all nodes reach."""
        return switch.address(switch.NUMBER)

    @property
    def agents(self) -> Path:
        """The folder that every node has as resource.d/openstack; a change is seen by all."""
        return self.directory / AGENTS

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes, on or off."""
        return [node.name for node in self._nodes()]

    @property
    def running(self) -> list[str]:
        """The names of the nodes that are on."""
        ports = switch.ports(self.outside)
        return [node.name for node in self._nodes() if node.port in ports and node.process()]

    @property
    def asked(self) -> str:
        """The node asked about the cluster: of those not cut off, the one that runs longest.

        A node that was just fenced knows nothing before it is a member again.
        """
        return self._candidates()[0]

    def path(self, node: str, path: str) -> Path:
        """A node's own file, below one of `node.PRIVATE`, by its path outside of the node."""
        return self._node(node).disk / path.lstrip("/")

    def is_cut(self, node: str) -> bool:
        """Whether the node runs, but the switch does not forward its packets."""
        there = self._node(node)
        return there.running() and switch.state(there.switch, there.port) != switch.FORWARDING

    @property
    def fenced(self) -> list[str]:
        """The nodes that were fenced, in this order, as the power switch (not Pacemaker) says.

        A node that is fenced while it is off counts as well.
        """
        return fencing.ended(self.directory)

    # Commands in it

    def argv(self, node: str, command: Sequence[str], folder: str = "/") -> list[str]:
        """The command line that runs a command in a node, or at the switch."""
        if node == SWITCH:
            self._require_up()
            return netns.argv(self.outside, command)
        return self._node(node).argv(command, folder)

    def exec(
        self, node: str, command: Sequence[str], *, timeout: float = LIMIT, check: bool = False
    ) -> Result:
        """Run a command in a node, or at the switch; its result.

        check: raise LabError where its exit code is not 0.
        """
        argv = self.argv(node, command)
        done = execute(argv, ENVIRONMENT, timeout, None)
        if check and done.code != 0:
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            shown = "\n    ".join(show.COLOUR.sub("", line) for line in said[-5:])
            over = f"failed: {done.code}"
            if done.code < 0:  # by us, or with its node
                over = (f"was ended after {timeout:.0f} s" if done.seconds >= timeout
                        else f"was killed: {done.code}")
            raise LabError(f"{node}: {' '.join(command)} {over}\n    {shown}".rstrip())
        return done

    def crm(
        self, *arguments: str, timeout: float = LIMIT, check: bool = True, node: str = ""
    ) -> Result:
        """Run crm in a node, or in any that runs."""
        return self.exec(node or self.asked, ["crm", *arguments], timeout=timeout, check=check)

    def configure(self, text: str) -> None:
        """Load what could be typed at `crm configure`. A line that is refused is a LabError."""
        file = self.directory / "configure.crm"
        write_private(file, text + "\n")  # there may be passwords in it
        try:
            self.crm("configure", "load", "update", str(file))
        finally:
            file.unlink()

    def clear(self) -> None:
        """Remove all resources and constraints; what ran is stopped, failures are cleaned up.

        The fence devices stay.
        """
        self._set_property("maintenance-mode")
        # Stopped while still configured: after a restart in maintenance mode Pacemaker has not
        # started them, and would stop orphans without their parameters: addresses would stay.
        self._set_property("stop-all-resources", "true")
        self.wait()
        devices = cib.devices(self.nodes if self.settings.fencing else [])
        for scope, left in (("constraints", "<constraints/>"), ("resources", devices)):
            replace = ["cibadmin", "--replace", f"--scope={scope}", f"--xml-text={left}"]
            self.exec(self.asked, replace, check=True)
        # What is not configured any more is still shown, as an orphan, until it is stopped.
        self.until(lambda status: not status.resources)
        self._set_property("stop-all-resources")
        # A resource that failed in the moment of its deletion leaves a fail count that nothing
        # clears, and the next resource of the same name does not start.
        self.exec(self.asked, ["crm_resource", "--cleanup"], check=True)
        self.until(lambda status: "fail-count-" not in self._past())

    def _set_property(self, name: str, value: str = "") -> None:
        """Set a property of the cluster, or delete it."""
        change = f"--update={value}" if value else "--delete"
        self.exec(self.asked, ["crm_attribute", f"--name={name}", change], check=True)

    # What it says

    def status(self, node: str = "") -> Status:
        """What crm_mon says in a node, or in the first node that answers."""
        heard = self._heard(node)
        if heard is None:
            raise LabError(f"crm_mon fails in {node or 'every node'}: Pacemaker does not answer")
        return heard

    def history(self, resource: str) -> list[Operation]:
        """The operations of a resource that the CIB remembers, the oldest first."""
        return cib.history(self._past(), resource)

    def _past(self) -> str:
        """What the CIB remembers of the nodes, as XML."""
        query = ["cibadmin", "--query", "--scope=status"]
        return self.exec(self.asked, query, check=True).stdout

    def wait(self, timeout: float = LIMIT) -> None:
        """Wait until Pacemaker has nothing left to do.

        What Pacemaker has not noticed yet is not waited for. After a fault: `until` first.
        `crm_resource --wait` would do the same, but takes at least two seconds.
        """
        self.until(self._idle, timeout)

    def until(
        self, condition: Callable[[Status], object], timeout: float = LIMIT, node: str = ""
    ) -> Status:
        """Wait until the status that a node (or any) reports fulfils a condition; that status."""
        deadline = time.monotonic() + timeout
        while True:
            since = time.monotonic()
            status = self._heard(node)
            if status and condition(status):
                return status
            if time.monotonic() > deadline:
                raise LabError(f"waited {timeout:.0f} s in vain; the cluster says: {status}")
            rest(since)

    # What is done to it

    def up(self) -> None:
        """Start the cluster, or what is missing of it, and wait until all nodes are online."""
        _require_root()
        with self._lock() as fresh:
            try:
                self._make()
                switch.create(self.outside)
                if self.settings.fencing:
                    fencing.start(self.directory, self.outside, self.settings.nodes)
                    fencing.set_broken(self.directory, False)
                for node in self._nodes():
                    self._turn_on(node)
                self._await_online(self.nodes)
            except BaseException:
                if fresh:
                    self._remove()
                raise

    def down(self) -> None:
        """End all that runs in the nodes and at the switch, and remove the cluster's folder."""
        _require_root()
        if not self.directory.exists():
            netns.remove(self.outside)
            return
        with self._lock():
            self._remove()

    def kill(self, node: str) -> None:
        """Power loss: the node has no time for anything; its disk stays.

        The node is off until `start` or `up`, even if the others fence it: it has no power.
        """
        with self._changing():
            self._turn_off(self._node(node))

    def start(self, node: str) -> None:
        """Turn a node on, and wait until it is a member again."""
        with self._changing():
            self._turn_on(self._node(node))
            self._await_online({node, *self._uncut()})

    def stop(self, node: str, timeout: float = LIMIT) -> None:
        """Shut a node down cleanly: its resources move away first."""
        with self._changing():
            there = self._node(node)
            there.hold()  # if a resource's stop fails on the way, the node may be fenced
            there.shut_down(timeout)
            self._turn_off(there)

    def restart_pacemaker(self, node: str) -> None:
        """Stop Pacemaker in a node that stays on, start it again, and wait for it.

        Resources move away, except in maintenance mode.
        """
        with self._changing():
            old = self._pacemaker(node)
            self._node(node).restart_pacemaker()
            deadline = time.monotonic() + LIMIT
            while self._pacemaker(node) in ("", old):
                if time.monotonic() > deadline:
                    raise LabError(f"{node}: Pacemaker has not restarted after {LIMIT:.0f} s")
                time.sleep(POLL)
            self._await_online(self._uncut())

    def cut(self, node: str) -> None:
        """Cut a node off: it runs on, but no packet reaches or leaves it, also after a reboot."""
        with self._changing():
            self._powered(node).cut()

    def heal(self, node: str) -> None:
        """Undo `cut`, and wait until the node is a member again."""
        with self._changing():
            there = self._node(node)
            # The node may be off for a moment, because it is being fenced.
            with there.switching():
                self._powered(node).heal()
            self._await_online(self._uncut())

    def await_member(self, node: str) -> None:
        """Wait until a node that was fenced is a member again."""
        self._await_online({node, *self._uncut()})

    def break_fencing(self) -> None:
        """Have fencing fail, until `mend_fencing` or `up`: the power switch is broken."""
        self._require_fencing()
        fencing.set_broken(self.directory, True)

    def mend_fencing(self) -> None:
        """Undo `break_fencing`."""
        self._require_fencing()
        fencing.set_broken(self.directory, False)

    # How it does it

    def _nodes(self) -> list[Node]:
        return nodes_of(self.directory, self.outside, self.settings.nodes)

    def _node(self, name: str) -> Node:
        for node in self._nodes():
            if node.name == name:
                return node
        raise LabError(f"no such node: {name} (there are {', '.join(self.nodes)})")

    def _powered(self, name: str) -> Node:
        node = self._node(name)
        if not node.running():
            raise LabError(f"{name} is off; run: python3 -m lab.cluster start {name}")
        return node

    def _turn_on(self, node: Node) -> None:
        """Make a node run, with an intact cable."""
        with node.switching():
            node.release()
            node.heal()
            if not node.running():
                node.kill()
                node.boot()

    def _turn_off(self, node: Node) -> None:
        """Take a node's power away, until it is turned on by hand."""
        with node.switching():
            node.hold()
            node.kill()

    def _uncut(self) -> list[str]:
        return [name for name in self.running if not self.is_cut(name)]

    def _candidates(self) -> list[str]:
        """The nodes that run: first those that are not cut off, of these the longest running."""
        ports = switch.ports(self.outside)
        known = {
            node.name: (ports[node.port] != switch.FORWARDING, first.birth)
            for node in self._nodes()
            if node.port in ports and (first := node.process())
        }
        if not known:
            raise LabError("no node runs; run: python3 -m lab.cluster up")
        return sorted(known, key=lambda name: known[name])

    def _heard(self, node: str) -> Status | None:
        """What crm_mon says in this node, or in the first that answers; None if none does."""
        command = ["crm_mon", "--one-shot", "--inactive", "--output-as=xml"]
        for asked in [self._node(node).name] if node else self._candidates():
            try:
                done = self.exec(asked, command)
            except LabError:
                continue  # it has been fenced since we looked, and may be on again
            if done.code == 0:
                return cib.status(done.stdout)
        return None

    def _idle(self, status: Status) -> bool:
        """Whether the DC is idle, and a simulated transition would do nothing."""
        if not status.dc:
            return False
        state = ["crmadmin", "--quiet", f"--status={status.dc}"]
        left = ["crm_simulate", "--live-check", "--simulate", "--output-as=xml"]
        asked = self.asked
        return (
            "S_IDLE" in self.exec(asked, state).stdout
            and "<transition/>" in self.exec(asked, left).stdout
        )

    def _pacemaker(self, node: str) -> str:
        """The pid of pacemakerd in a node."""
        return self.exec(node, ["pidof", "pacemakerd"]).stdout.strip()

    def _make(self) -> None:
        """Write what the cluster consists of; what is complete already stays."""
        present = apt.versions(PACKAGES)
        if missing := [name for name in PACKAGES if name not in present]:
            raise LabError(
                f"not installed: {' '.join(missing)}; run: python3 -m lab.cluster install"
            )
        file = self.directory / SETTINGS
        if not file.exists():
            if any(self.directory.iterdir()):
                raise LabError(f"{self.directory} is not empty, and not a cluster; another --dir?")
            part = file.with_suffix(".part")
            part.write_text(json.dumps(asdict(self.settings)))
            part.rename(file)
        self._copy_agents()
        for node in self._nodes():
            make_disk(
                node,
                self.settings.nodes,
                self.settings.token,
                self.settings.properties,
                fencing=self.settings.fencing,
            )

    def _copy_agents(self) -> None:
        """Copy the agents, with their library where they have a link to it."""
        if self.agents.exists():
            return
        part = self.directory / f"{AGENTS}.part"
        shutil.rmtree(part, ignore_errors=True)
        if self.settings.agents:
            _copy(Path(self.settings.agents), part)
        else:
            with installed() as source:
                _copy(source, part)
        part.chmod(0o755)  # meta-data is asked for by a user without rights
        part.rename(self.agents)

    def _remove(self) -> None:
        fencing.end(self.directory, self._nodes())
        for node in self._nodes():
            node.kill()
        netns.remove(self.outside)
        known = (self.directory / SETTINGS).exists()
        if known or not any(self.directory.iterdir()):
            shutil.rmtree(self.directory)

    def _await_online(self, names: Collection[str]) -> None:
        """Wait until each of these nodes sees all of them online, and a DC."""
        deadline = time.monotonic() + LIMIT
        for name in names:
            node = self._node(name)
            while True:
                since = time.monotonic()
                if node.running() and self._sees(name, names):
                    break
                with node.switching():  # a node that is being fenced comes back
                    on = node.running()
                if not on:
                    raise LabError(f"{name} has ended", log=node.log())
                if time.monotonic() > deadline:
                    raise LabError(
                        f"not all online after {LIMIT:.0f} s: {', '.join(names)}", log=node.log()
                    )
                rest(since)

    def _sees(self, name: str, names: Collection[str]) -> bool:
        status = self._heard(name)
        return status is not None and bool(status.dc) and status.online(*names)

    def _require_fencing(self) -> None:
        if not self.settings.fencing:
            raise LabError(f"{self.directory} was made without fencing")

    def _require_up(self) -> None:
        if not netns.exists(self.outside):
            raise LabError(
                f"there is no cluster; run: python3 -m lab.cluster up --dir {self.directory}"
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        _require_root()
        self._require_up()
        with self._lock():
            yield

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Lock this cluster against other processes; whether its folder is new, or empty."""
        deadline = time.monotonic() + LOCKED
        while True:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if _locked(descriptor, self.directory):
                    yield not any(self.directory.iterdir())
                    return
            finally:
                os.close(descriptor)
            if time.monotonic() > deadline:
                raise LabError(f"{self.directory} is being changed by another process; retry later")
            time.sleep(POLL)


def sweep() -> None:
    """Take down the temporary clusters whose owners were killed before they could do it."""
    folders.sweep(TEMPORARY, lambda directory: Cluster(directory).down())


def _locked(descriptor: int, directory: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last holder may have removed the folder, and another process may have made a new one.
        return os.path.samestat(os.fstat(descriptor), os.stat(directory))
    except (BlockingIOError, FileNotFoundError):
        return False


def _read(directory: Path) -> Settings | None:
    """The settings of a cluster that was made; None if there is none."""
    file = directory / SETTINGS
    try:
        return Settings(**json.loads(file.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"{file} cannot be read: {error}") from None


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise LabError(f"there is no folder of agents {source}")
    # Bytecode is valid by time stamps, which are kept. In a node, a link to the library would lead
    # nowhere; a copy of the folder in its place works.
    shutil.copytree(source, target, symlinks=False)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("this needs root: it makes namespaces and mounts")


# The command line


def _install(options: argparse.Namespace) -> int:
    _require_root()
    with show.step("everything is installed"):
        apt.install(PACKAGES)
    for name, version in apt.versions(PACKAGES).items():
        show.line(f"{'':10}{name} {version}")
    return 0


def _up(options: argparse.Namespace) -> int:
    properties = dict(options.property) or None
    cluster = Cluster(
        options.dir,
        nodes=options.nodes,
        agents=options.agents,
        token=options.token,
        properties=properties,
        fencing=options.fencing,
    )
    with show.step(f"{', '.join(cluster.nodes)} are online"):
        cluster.up()
    show.line(f"{'':10}a shell in one: python3 -m lab.cluster exec {cluster.nodes[0]} bash")
    show.line(f"{'':10}a client's place: python3 -m lab.cluster exec {SWITCH} bash")
    return 0


def _down(options: argparse.Namespace) -> int:
    with show.step("down"):
        Cluster(options.dir).down()
    return 0


def _exec(options: argparse.Namespace) -> NoReturn:
    _require_root()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LabError("exec: which command?")
    if terminal := os.environ.get("TERM"):
        command = ["env", f"TERM={terminal}", *command]
    argv = Cluster(options.dir).argv(options.node, command, os.getcwd())
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise LabError(f"{argv[0]}: {error.strerror}") from None


def _change(options: argparse.Namespace) -> int:
    cluster = Cluster(options.dir)
    with show.step(f"{options.done}: {options.node}"):
        getattr(cluster, options.method)(options.node)
    return 0


def _status(options: argparse.Namespace) -> int:
    _require_root()
    cluster = Cluster(options.dir)
    for name in cluster.nodes:
        powered = "on" if name in cluster.running else "off"
        show.line(f"{name:10}{'cut off' if cluster.is_cut(name) else powered}")
    if not cluster.running:
        return NOT_RUNNING
    show.line(cluster.exec(cluster.asked, ["crm_mon", "--one-shot", "--inactive"]).stdout)
    return 0


def _property(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text}")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m lab.cluster",
        description="Real Pacemaker nodes on one machine, each in namespaces of its own.",
        epilog="From nothing: install, up. Back to nothing: down. All of it as root.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    directory = argparse.ArgumentParser(add_help=False)
    directory.add_argument(
        "--dir", type=Path, default=DIRECTORY, help="the cluster's folder (default: %(default)s)"
    )

    install = commands.add_parser("install", help="install the Debian packages that are missing")
    install.set_defaults(function=_install)

    up = commands.add_parser(
        "up", parents=[directory], help="start the cluster, or what is missing of it"
    )
    up.add_argument("--nodes", type=int, choices=SIZES, help="how many (default: 2)")
    up.add_argument(
        "--agents",
        type=Path,
        metavar="FOLDER",
        help="copied, and seen as ocf:openstack (default: what this project installs)",
    )
    up.add_argument(
        "--token",
        type=int,
        metavar="MS",
        help=f"until a silent node counts as lost (default: {corosync.TOKEN})",
    )
    up.add_argument(
        "--property",
        type=_property,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a cluster property, from the first CIB on",
    )
    up.add_argument(
        "--fencing",
        action=argparse.BooleanOptionalAction,
        help="whether nodes are fenced (default: yes)",
    )
    up.set_defaults(function=_up)

    down = commands.add_parser("down", parents=[directory], help="end and remove all of it")
    down.set_defaults(function=_down)

    run = commands.add_parser(
        "exec", parents=[directory], help=f"run a command in a node, or at the {SWITCH}"
    )
    run.add_argument("node", metavar="NODE")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD ...")
    run.set_defaults(function=_exec)

    for method, done, text in (
        ("kill", "no power", "power loss: no time for anything, the disk stays"),
        ("start", "a member", "turn a node on, and wait until it is a member"),
        ("stop", "shut down", "shut a node down cleanly"),
        ("cut", "cut off", "drop all frames from and to a node that runs on"),
        ("heal", "healed", "undo cut"),
    ):
        command = commands.add_parser(method, parents=[directory], help=text)
        command.add_argument("node", metavar="NODE")
        command.set_defaults(function=_change, method=method, done=done)

    status = commands.add_parser(
        "status", parents=[directory], help="show it; exit code 3 if no node runs"
    )
    status.set_defaults(function=_status)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    return exit_code("cluster", lambda: int(options.function(options)))


if __name__ == "__main__":
    sys.exit(main())
