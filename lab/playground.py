"""The project's main job on one machine: two nodes, both services with their virtual IPs.

Run by a person (`make lab`, `make lab-down`), and used by the demo and the benchmark of failovers
as `Playground`. The resources are those that openstack-ocf plans from a description, with Cinder's
workers, or those of crm/, edited as an operator would edit them. Nodes are fenced.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from lab import apt, cluster, openstack, seed, show
from lab.agents import ROOT, SERVICES
from lab.client import PATHS
from lab.cluster import SWITCH, Cluster
from lab.command import exit_code
from lab.errors import LabError
from lab.openstack import ControlPlane

DATABASE = "mysql"
PROJECTS = ("cinder",)
WORKERS = ("cinder-scheduler", "cinder-volume")
ALL = (*SERVICES, *WORKERS)
SHARED = ("db", "rabbit", "keystone")  # by all nodes
VIPS = {"glance": "10.99.0.101", "cinder": "10.99.0.102"}
PACKAGES = (
    *cluster.PACKAGES,
    *seed.packages(DATABASE, projects=PROJECTS),
    "make",
    "python3-keystoneauth1",
    "python3-requests",
)
CRM_MON = ("crm_mon", "--one-shot", "--include=none,nodes,resources,failures")
CRM = ROOT / "crm"
DESCRIPTION = "openstack-ocf.conf"
PATIENCE = 180.0  # seconds, for what takes ten on an idle machine
TOKEN = 2000  # ms: on a busy machine no node must be fenced only because it is slow
INTERVAL = 5  # seconds, of monitors that ask the API
QUICK = 3  # seconds, of monitors that look only at processes, or at addresses
STATE = "/run/resource-agents/openstack"
"""Where the agents of a node keep their state."""
# Run by sh: tokens then look as if the clock had been wrong when they came.
SKEW = f"""sed -i 's/"until": [0-9.]*/"until": {{until}}/' {STATE}/*.json"""

Monitors = Callable[[str, str], str]
"""Takes a resource and one of its monitor operations; gives the replacement, "" for none."""


@dataclass(frozen=True)
class Playground:
    """A cluster, and the control plane whose shared parts all its nodes reach."""

    cluster: Cluster
    cloud: ControlPlane

    @classmethod
    @contextmanager
    def temporary(cls, *, fencing: bool = True) -> Iterator[Playground]:
        """A playground without resources yet; nothing of it is left at the end."""
        begin = time.monotonic()
        with Cluster.temporary(fencing=fencing, token=TOKEN if fencing else None) as nodes:
            show.took(begin, "node1 and node2 run Pacemaker and corosync")
            begin = time.monotonic()
            with ControlPlane.temporary(
                db=DATABASE, netns=nodes.outside, bind=bind(nodes), projects=PROJECTS
            ) as cloud:
                show.took(begin, f"configuration, databases and users, in {cloud.directory}")
                cloud.up(*SHARED)
                yield cls(nodes, cloud)

    def load(self, *services: str, monitors: Monitors | None = None) -> None:
        """Configure the groups of these APIs, or of both."""
        groups = [group(self.cloud, name, monitors) for name in services or SERVICES]
        self.cluster.configure("\n".join([self._properties(), *groups]))

    def describe(self) -> Path:
        """Write the description of both APIs and of the workers, as an operator would."""
        file = self.cloud.directory / DESCRIPTION
        openrc = self.cloud.directory / "openrc-monitor"
        file.write_text("\n".join(["[DEFAULT]", f"credentials = {openrc}", *(
            f"\n[{service}]\nvip = {VIPS[service]}\nconfig = {self.cloud.config(service)}"
            + ("\nstorage = shared-file" if service == "glance" else "")
            for service in SERVICES), *(
            f"\n[{worker}]\nconfig = {self.cloud.config('cinder')}" for worker in WORKERS), ""]))
        return file

    def apply(self, description: Path) -> None:
        """Load what openstack-ocf plans for a description, with the monitors of a playground."""
        # On a cluster, cibsecret keeps the password out of the CIB.
        secret = {"os_password": self.cloud.credentials.password}
        edits = {resource(name): secret if name in SERVICES else {} for name in ALL}
        plan = edited(planned(description), edits, short)
        self.cluster.configure(f"{self._properties()}\n{plan}")

    def configure(self, *services: str, monitors: Monitors | None = None) -> None:
        """Load these groups, and wait until they are started."""
        self.load(*services, monitors=monitors)
        self.await_started(*(services or SERVICES))

    def await_started(self, *services: str) -> None:
        """Wait until these are started, and Pacemaker has nothing left to do."""
        names = [resource(service) for service in services]
        self.cluster.until(lambda status: all(map(status.where, names)), timeout=PATIENCE)
        self.cluster.wait(PATIENCE)

    def node(self, service: str) -> str:
        """The node that a service is started on, "" if there is none; of a clone the first one."""
        return self.cluster.status().where(resource(service))

    def pids(self, service: str, node: str = "") -> list[int]:
        """The processes of a service, its master first, by the pids they have in their node."""
        pidfile = f"/run/resource-agents/{resource(service)}.pid"
        command = f"ps -o pid= --sid $(cat {pidfile})"
        said = self.cluster.exec(node or self.node(service), ["sh", "-c", command]).stdout
        return sorted(map(int, said.split()))

    def send(self, name: str, node: str, pids: Sequence[int]) -> None:
        """Send a signal to processes of a node."""
        self.cluster.exec(node, ["kill", f"-{name}", *map(str, pids)], check=True)

    def skew(self, until: int) -> None:
        """Make the tokens that the agents remember valid until then, in seconds of the epoch."""
        for node in self.cluster.running:
            self.cluster.exec(node, ["sh", "-c", SKEW.format(until=until)])

    def crm_mon(self) -> list[str]:
        """The lines of crm_mon about nodes, resources and failures."""
        for node in self.cluster.running:
            said = self.cluster.exec(node, CRM_MON)
            if said.code == 0:
                lines = [line.replace("\t", " ") for line in said.stdout.splitlines()]
                return [line for line in lines if "* " in line or line.startswith("Failed")]
        raise LabError("crm_mon fails in every node")

    def _properties(self) -> str:
        return properties(fencing=self.cluster.settings.fencing)


def resource(service: str) -> str:
    """The resource name of the API of glance or cinder, or of one of the workers."""
    return f"p_{service}-api" if service in SERVICES else f"p_{service}"


def address(service: str) -> str:
    """The resource name of an API's virtual IP."""
    return f"p_ip_{service}-api"


def bind(nodes: Cluster) -> dict[str, str]:
    """Listening addresses: Keystone and RabbitMQ at the switch, the APIs at their virtual IPs."""
    return {"keystone": nodes.address, **VIPS}


# The snippets


def short(resource: str, operation: str) -> str:
    """A monitor operation with a short interval, for a short demo."""
    quick = resource.startswith("p_ip_") or processes_only(operation)
    return assigned(operation, "interval", f"{QUICK if quick else INTERVAL}s")


def processes_only(operation: str) -> bool:
    """Whether a monitor operation asks for check level 0."""
    return bool(re.search(r"OCF_CHECK_LEVEL=\"?0\b", operation))


def properties(*, fencing: bool = True) -> str:
    """The cluster properties of crm/, with fencing or without."""
    snippet = "\n".join(statements((CRM / "properties.crm").read_text()))
    return assigned(snippet, "stonith-enabled", "true" if fencing else "false")


def group(cloud: ControlPlane, service: str, monitors: Monitors | None = None) -> str:
    """A service with its virtual IP, as crm/ has it, edited for this cloud."""
    user = cloud.credentials
    edits = {
        address(service): {"ip": VIPS[service]},
        resource(service): {
            "config": str(cloud.config(service)),
            "os_auth_url": user.auth_url,
            "os_username": user.username,
            "os_password": user.password,
            "os_project_name": user.project_name,
        },
    }
    file = CRM / f"{service}-api.crm"
    try:
        return edited(file.read_text(), edits, monitors or short)
    except LabError as error:
        raise LabError(f"{CRM.name}/{file.name}: {error}") from None


def planned(description: Path) -> str:
    """What openstack-ocf plans for a description, in the syntax of crm."""
    command = [sys.executable, "-B", "-m", "openstack_ocf", "plan", "--as", "crm", "--elsewhere",
               "--description", str(description)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60)
    if done.returncode:
        raise LabError(f"openstack-ocf plan: {done.stderr.strip()}")
    return done.stdout


def edited(snippet: str, edits: dict[str, dict[str, str]], monitors: Monitors) -> str:
    """A snippet with other parameters and monitor operations; LabError where one is missing."""
    found, left = [], dict(edits)
    for statement in statements(snippet):
        kind, name = [*statement.split(), ""][:2]
        if kind == "primitive" and name in left:
            found.append(_primitive(name, statement, left.pop(name), monitors))
        else:
            found.append(statement)
    if left:
        raise LabError(f"there is no primitive {' '.join(left)}")
    return "\n".join(found)


def statements(snippet: str) -> list[str]:
    """The statements of a snippet, each on one line, without comments."""
    lines = [line for line in snippet.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\s*\n\s*", " ", "\n".join(lines))
    return [line for line in joined.splitlines() if line.strip()]


def _primitive(
    name: str, statement: str, parameters: dict[str, str], monitors: Monitors
) -> str:
    for parameter, value in parameters.items():
        statement = assigned(statement, parameter, value)
    parts = re.split(r"\s+(?=(?:op|meta|params|utilization)\s)", statement)
    return " ".join(
        monitors(name, part) if re.match(r"op\s+monitor\b", part) else part for part in parts
    )


def assigned(text: str, name: str, value: str) -> str:
    """The text with NAME=VALUE in the place of the NAME=... that it has, quoted or not."""
    pattern = rf"""(?<![\w-]){name}=(?:"[^"]*"|'[^']*'|\S+)"""
    if not re.search(pattern, text):
        raise LabError(f"there is no {name}= in: {text.strip()[:60]}")
    return re.sub(pattern, lambda match: f'{name}="{value}"', text)


# The command line


def prepare() -> None:
    """Install what is missing, and say so."""
    if os.geteuid() != 0:
        raise LabError("this needs root: it makes namespaces, and starts daemons as other users")
    with show.step("all packages are there"):
        apt.install(PACKAGES)


def _places(folder: Path | None) -> tuple[Path, Path]:
    """The folders of the cluster and of the control plane: by default, their own defaults."""
    if folder is None:
        return cluster.DIRECTORY, openstack.DIRECTORY
    return folder / "cluster", folder / "openstack"


def _here(folder: Path | None) -> Playground:
    """The playground of `make lab`, made or not; LabError if another cluster is in its place."""
    first, second = _places(folder)
    nodes = Cluster(first, fencing=True, token=TOKEN)
    cloud = ControlPlane(
        second, db=DATABASE, netns=nodes.outside, bind=bind(nodes), projects=PROJECTS
    )
    if first.exists() and not cloud.initialised:
        raise LabError(f"{first} was not made by `make lab`: python3 -m lab.cluster down")
    return Playground(nodes, cloud)


def _up(options: argparse.Namespace) -> int:
    prepare()
    here = _here(options.dir)
    fresh = not here.cloud.initialised
    if _complete(here):
        show.line("The lab is there already:")
    else:
        try:
            _make(here)
        except BaseException:
            if fresh:
                _take_down(here)
            raise
    _tell(here, options.dir)
    return 0


def _complete(here: Playground) -> bool:
    """Whether nodes and shared services run, and all resources are there, in whatever state."""
    if here.cluster.running != here.cluster.nodes or not here.cloud.initialised:
        return False
    if not all(found.pid for found in here.cloud.status(*SHARED)):
        return False
    there = here.cluster.status().resources
    return all(resource(service) in there for service in ALL)


def _make(here: Playground) -> None:
    """Bring up what is missing. The cloud's folder comes first: it marks the cluster as ours."""
    with show.step(f"configuration, databases and users, in {here.cloud.directory}"):
        here.cloud.init()
    with show.step("node1 and node2 run Pacemaker and corosync"):
        here.cluster.up()
    here.cloud.up(*SHARED)
    with show.step("the APIs are started, with their virtual IPs, and the workers"):
        here.apply(here.describe())
        here.await_started(*ALL)


def _take_down(here: Playground) -> None:
    with show.step("the nodes are down"):  # first: what runs in them uses the rest
        here.cluster.down()
    here.cloud.destroy()


def _tell(here: Playground, folder: Path | None) -> None:
    """Print how to look at the lab, how to use it, and how to end it."""
    nodes = f"--dir {here.cluster.directory} " if folder else ""
    cloud = f"--dir {here.cloud.directory} " if folder else ""
    lab = f"--dir {folder}" if folder else ""
    rc = here.cloud.directory / "openrc-monitor"
    down = f"python3 -m lab.openstack down {cloud}--only"
    described = f"--description {here.cloud.directory / DESCRIPTION}"
    admin = f"--credentials {here.cloud.directory / 'openrc'}"
    end = f"python3 -m lab.playground down {lab}" if folder else "make lab-down"
    show.line("")
    for line in here.crm_mon():
        show.line(f"  {line}")
    show.line("")
    for text, command in (
        ("a shell in a node", f"python3 -m lab.cluster exec {nodes}node1 bash"),
        ("what Pacemaker says", f"python3 -m lab.cluster exec {nodes}node1 crm_mon"),
        ("what clients get at the VIPs", f"python3 -m lab.playground ask {lab}"),
        ("a shell where clients are", f"python3 -m lab.cluster exec {nodes}{SWITCH} bash"),
        ("the credentials, for there", f". {rc}"),
        ("power loss, and back", f"python3 -m lab.cluster kill {nodes}node1   (then: start)"),
        ("cut off, and back", f"python3 -m lab.cluster cut {nodes}node1   (then: heal)"),
        ("an outage of Keystone", f"{down} keystone   (then: up)"),
        ("an outage of RabbitMQ", f"{down} rabbit   (then: up)"),
        ("an image through a failover", f"python3 -m lab.cluster exec {nodes}node1 "
         f"python3 -m openstack_ocf prove --move {described} {admin}"),
        ("the end of it all", end),
    ):
        show.line(f"  {text:<30} {show.coloured(command.rstrip(), show.BOLD)}")
    show.line("  as root, in the folder of the project")


def _ask(options: argparse.Namespace) -> int:
    here = _here(options.dir)
    if not here.cloud.initialised:
        raise LabError("there is no lab; run: make lab")
    token = here.cloud.token()
    good = True
    for service, path in PATHS.items():
        server = here.cloud.server(service)
        try:
            said = str(server.get(path, token=token).status)
        except (OSError, HTTPException) as error:
            said = str(error)
        good = good and said == "200"
        show.line(f"{server}{path}: {said}")
    return 0 if good else 1


def _down(options: argparse.Namespace) -> int:
    if not any(place.exists() for place in _places(options.dir)):
        show.line("There is no lab to take down.")
        return 0
    _take_down(_here(options.dir))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m lab.playground", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, function, text in (
        ("up", _up, "bring it up, or what is missing of it, and say what can be done with it"),
        ("ask", _ask, "ask both virtual IPs with a token, as a client would"),
        ("down", _down, "end and remove all of it"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--dir", type=Path, help="another folder than the usual ones")
        command.set_defaults(function=function)
    options = parser.parse_args(arguments)
    return exit_code("lab", lambda: int(options.function(options)))


if __name__ == "__main__":
    sys.exit(main())
