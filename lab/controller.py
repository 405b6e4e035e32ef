"""A whole controller under Pacemaker: database, RabbitMQ, Keystone, and the services behind them.

Run by a person (`python3 -m lab.controller up`), and used by tests as `Controller`. All of it comes
from one description: `openstack-ocf apply` turns it into Pacemaker's configuration. Only clients
run outside of the nodes. Database, queues and images are in a folder that all nodes reach, in the
place of shared storage.

There are two layouts: every API where its virtual IP is, or every API on all nodes behind haproxy
(`lab.balanced`). A small controller has Keystone and Glance alone, on SQLite.

    with Controller.temporary() as controller:
        controller.apply()
        controller.ask("glance-api", "/v2/images").status
        controller.cluster.kill(controller.node("p_glance-api"))
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

from lab import apt, balanced, cluster, config, declared, identity, machine, playground, seed, show
from lab.cib import Status
from lab.cluster import NOT_RUNNING, SWITCH, Cluster
from lab.command import exit_code
from lab.errors import LabError
from lab.node import PYTHON, ROOT
from lab.openstack import ControlPlane
from lab.packages import MARIADB_CLIENT
from lab.process import POLL
from lab.settings import DB, RABBIT, Settings, write_private
from lab.specs import BASE, FURTHER, SPECS
from lab.web import Answer, Server

DIRECTORY = Path("/var/lib/openstack-ocf-controller")
VIP, DATABASE, BROKER = "10.99.0.110", "10.99.0.111", "10.99.0.112"
LAYOUTS = (PASSIVE, ACTIVE) = ("active-passive", "active-active")
GROUP = "controller"  # of all that is behind the virtual IP
MEMORY = {PASSIVE: (2.5, 1.0), ACTIVE: (1.0, 2.5)}
"""GiB of memory at the peak: once for the whole, and again for each node."""
SETTLED = 900.0  # seconds, for what takes a minute on an idle machine
PROPERTIES = {
    # Actions at once on a node; the default is twice the number of cores. A start has 60 s, and all
    # nodes share the cores of one machine.
    "node-action-limit": "2",
}
SECRETS = "/var/lib/pacemaker/lrm/secrets"
SAVED = "/var/lib/pacemaker/openstack-ocf"  # on the node's own disk
COMMAND = ("env", f"PYTHONPATH={ROOT}", PYTHON, "-B", "-m", "openstack_ocf")
"""The operator's command, from the source tree, on a node."""


@dataclass(frozen=True)
class Part:
    """A daemon of the controller: its project, and the path that a client requests.

    path: of an API, or of a console; {project} is the client's. Empty for a worker.
    """

    project: str
    path: str = ""


PARTS = {
    "keystone": Part("keystone", "/v3/auth/catalog"),
    "glance-api": Part("glance", "/v2/images?limit=1"),
    "placement-api": Part("placement", "/resource_providers"),
    "nova-api": Part("nova", "/v2.1/servers?limit=1"),
    "neutron-server": Part("neutron", "/v2.0/networks?limit=1&fields=id"),
    "cinder-api": Part("cinder", "/v3/volumes?limit=1"),
    "heat-api": Part("heat", "/v1/{project}/stacks?limit=1"),
    "nova-novnc": Part("nova", "/vnc_lite.html"),
    "nova-conductor": Part("nova"),
    "nova-scheduler": Part("nova"),
    "cinder-scheduler": Part("cinder"),
    "cinder-volume": Part("cinder"),
    "heat-engine": Part("heat"),
}
"""The agents of the controller, in the order of the description."""
SMALL = ("keystone", "glance-api")
"""The agents of a small controller."""


def parts(settings: Settings) -> dict[str, Part]:
    """The agents of one controller; a small one has no further projects."""
    return {name: part for name, part in PARTS.items() if settings.projects or name in SMALL}


class Controller:
    """A cluster, and the control plane that runs in it."""

    def __init__(
        self, nodes: Cluster, cloud: ControlPlane, layout: str = PASSIVE,
        proxy: Mapping[str, str] | None = None,
    ) -> None:
        """Use a cluster that is up, and a control plane that is initialised, see `plane`.

        proxy: keys of haproxy's section of the description, instead of the usual ones.
        """
        self.cluster = nodes
        self.cloud = cloud
        self.layout = layout
        self.proxy = proxy or {}

    @classmethod
    @contextmanager
    def temporary(
        cls, *, nodes: int = 2, layout: str = PASSIVE, small: bool = False,
        proxy: Mapping[str, str] | None = None,
    ) -> Iterator[Controller]:
        """A controller without resources yet; nothing of it is left at the end."""
        token = playground.TOKEN
        with Cluster.temporary(nodes=nodes, properties=PROPERTIES, token=token) as members:
            asked = plane(members.outside, small=small)
            with ControlPlane.temporary(**asked) as cloud:
                furnish(cloud.settings)
                try:
                    yield cls(members, cloud, layout, proxy)
                finally:
                    members.down()  # first: what runs in the nodes uses the rest

    # What it is

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes, on or off."""
        return self.cluster.nodes

    @property
    def resources(self) -> list[str]:
        """The resources of the services; not their addresses."""
        foundations = ["mariadb", "rabbitmq"] if self.cloud.settings.several else []
        proxy = ["haproxy"] if self.layout == ACTIVE else []
        return [f"p_{name}" for name in (*foundations, *proxy, *self.parts)]

    @property
    def parts(self) -> dict[str, Part]:
        """The agents of the services."""
        return parts(self.cloud.settings)

    @property
    def once(self) -> list[str]:
        """The resources that run on one node at a time."""
        clones = {one for one, part in self.parts.items()
                  if not part.path or one == "nova-novnc" or self.layout == ACTIVE}
        return [name for name in self.resources if name[2:] not in clones - {"cinder-volume"}]

    @property
    def urls(self) -> dict[str, str]:
        """The URL of each API for clients at the switch: at the virtual IP."""
        return {name: str(self.server(name)) for name, part in self.parts.items() if part.path}

    @property
    def description(self) -> Path:
        """The description that the whole controller is made from."""
        return self.cloud.directory / playground.DESCRIPTION

    def server(self, name: str) -> Server:
        """An API at its virtual IP, as seen from the switch."""
        return Server(VIP, declared.daemon(name).port, self.cluster.outside)

    def status(self) -> Status:
        """What Pacemaker says."""
        return self.cluster.status()

    def node(self, resource: str) -> str:
        """The node that a resource is started on; "" if there is none."""
        return self.status().where(resource)

    # What clients see

    @cached_property
    def project(self) -> str:
        """The id of the administrator's project."""
        found = self._administrator().call("GET", "/projects?name=admin")["projects"]
        return str(found[0]["id"])

    def token(self) -> str:
        """A new token of the administrator."""
        return identity.token(
            self.server("keystone"), "admin", self.cloud.admin.password, "admin"
        )

    def ask(
        self, name: str, path: str = "", *, token: str, method: str = "GET", body: Any = None,
        timeout: float = 10.0,
    ) -> Answer:
        """Send one request to an API at its virtual IP; OSError or HTTPException for no answer.

        Without a path: a request that makes the service read its database.
        """
        where = path or PARTS[name].path
        if "{project}" in where:
            where = where.replace("{project}", self.project)
        return self.server(name).request(
            method, where, body=body, token=token, timeout=timeout
        )

    def answers(self, token: str, timeout: float = 5.0) -> dict[str, int]:
        """The status that each API answers a client's request with; 0 for no answer."""
        found = {}
        for name in self.urls:
            try:
                found[name] = self.ask(name, token=token, timeout=timeout).status
            except (OSError, HTTPException):
                found[name] = 0
        return found

    # What is done to it

    def describe(self) -> Path:
        """Write the description, and the secrets and files on the nodes that belong to it."""
        self.description.write_text(described(
            self.cloud, self.nodes, self.layout, self.proxy))
        apis = [name for name, part in self.parts.items()
                if part.path and "os_password" in declared.defaults(name)]
        for name in apis:
            self._keep_secret(f"p_{name}", self.cloud.credentials.password)
        if self.layout == ACTIVE:
            for node, address in balanced.addresses(self.nodes).items():
                balanced.write(self.cluster.path(node, balanced.OWN), apis, address)
            words = ["plan", "--as=haproxy", f"--description={self.description}"]
            done = self.cluster.exec(self.cluster.asked, [*COMMAND, *words], check=True)
            haproxy(self.cloud).write_text(done.stdout)
        return self.description

    def apply(self, seen: Callable[[str], None] = lambda line: None) -> str:
        """Have openstack-ocf configure the cluster by the description, and wait; its output.

        seen: called with each line of the output.
        """
        self.cluster.configure((playground.CRM / "properties.crm").read_text())
        words = ["apply", "--yes", f"--description={self.describe()}", f"--saved={SAVED}",
                 f"--wait={SETTLED:.0f}"]
        command = self.cluster.argv(self.cluster.asked, [*COMMAND, *words])
        said = []
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            for line in child.stdout or ():
                said.append(line)
                seen(line.rstrip())
        # The code is 1 as well where a resource has failed once, and was started again.
        if child.returncode != 0 and not (child.returncode == 1 and self._complete()):
            told = "".join(said[-20:])
            raise LabError(f"openstack-ocf apply ended with {child.returncode}:\n{told}")
        return "".join(said)

    def await_served(
        self, timeout: float = SETTLED, seen: Callable[[str], None] = lambda name: None
    ) -> None:
        """Wait until every API answers with 200; seen: called once with the name of each."""
        deadline = time.monotonic() + timeout
        left, token = set(self.urls), ""
        while left:
            try:
                token = token or self.token()
            except (OSError, HTTPException, LabError):
                token = ""
            found = self.answers(token) if token else dict.fromkeys(left, 0)
            for name in sorted(name for name in left if found[name] == 200):
                left.discard(name)
                seen(name)
            if left and time.monotonic() > deadline:
                raise LabError(f"no 200 after {timeout:.0f} s: {found}; {self.status()}")
            time.sleep(POLL)

    def _complete(self) -> bool:
        """Whether every described resource is started on some node."""
        found = self.status().resources
        return all(name in found and found[name].role == "Started" for name in self.resources)

    def _keep_secret(self, resource: str, value: str) -> None:
        """Put a secret on every node, where `cibsecret -C set` puts it."""
        sign = hashlib.md5(value.encode()).hexdigest()  # noqa: S324 - cibsecret's own
        for node in self.nodes:
            folder = self.cluster.path(node, f"{SECRETS}/{resource}")
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(folder / "os_password", f"{value}\n")
            write_private(folder / "os_password.sign", f"{sign}\n")

    def _administrator(self) -> identity.Administrator:
        return identity.Administrator(self.server("keystone"), self.cloud.admin.password)


def plane(namespace: str, *, small: bool = False) -> dict[str, Any]:
    """The arguments of ControlPlane for a controller."""
    if small:
        return {"db": "sqlite", "netns": namespace, "bind": dict.fromkeys(BASE, VIP), "workers": 1}
    projects = [name for name in FURTHER if name in {part.project for part in PARTS.values()}]
    return {
        "db": "mysql",
        "netns": namespace,
        "bind": dict.fromkeys((*BASE, *projects), VIP),
        "workers": 1,
        "projects": projects,
        "database": DATABASE,
        "broker": BROKER,
    }


def packages() -> tuple[str, ...]:
    """The Debian packages that a controller needs."""
    projects = plane("")["projects"]
    return (*playground.PACKAGES, *seed.packages("mysql", projects=projects), MARIADB_CLIENT,
            *balanced.PACKAGES)


# The configuration that all nodes share


def furnish(settings: Settings) -> None:
    """Complete the files of a control plane for daemons that may run on any of several nodes."""
    if settings.several:
        _furnish_database(settings)
        _furnish_broker(settings)
    for project in settings.every_project:
        file = settings.config(project if project in BASE else SPECS[project].daemons[0])
        own = f"/var/log/{project}"
        log = {"log_file": f"{own}/{project}.log"} if project in BASE else {"log_dir": own}
        # Each node has its own log, and a lock is between processes of one node.
        config.amend(file, {
            "DEFAULT": log,
            "oslo_concurrency": {"lock_path": f"/run/lock/{project}"},
        })


def _furnish_database(settings: Settings) -> None:
    file = settings.own(Path("/etc/mysql/my.cnf"))
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "bind-address": settings.database,
        "port": "3306",
        "max-connections": "1000",
        "skip-name-resolve": "1",
        "innodb-log-file-size": "4M",
        "innodb-autoextend-increment": "1",
        "innodb-use-native-aio": "0",
        # Power loss of a node ends its processes; what they gave the kernel to write is kept.
        "innodb-flush-log-at-trx-commit": "2",
    }
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    file.write_text(f"[mysqld]\n{lines}")


def _furnish_broker(settings: Settings) -> None:
    # The agent takes the file's name without suffix. The lab's user may connect from any node.
    file = settings.own(Path("/etc/rabbitmq/rabbitmq.config"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[{rabbit, [{loopback_users, []}, {disk_free_limit, 50000000}]}].\n")
    mnesia = settings.home(RABBIT) / "mnesia"
    mnesia.mkdir(exist_ok=True)
    shutil.chown(mnesia, "rabbitmq", "rabbitmq")


# The description


def haproxy(cloud: ControlPlane) -> Path:
    """haproxy's configuration, the same for all nodes."""
    return cloud.directory / "haproxy.cfg"


def described(
    cloud: ControlPlane, nodes: Sequence[str], layout: str = PASSIVE,
    proxy: Mapping[str, str] | None = None,
) -> str:
    """The description of the whole controller. proxy: see Controller."""
    settings, blocks = cloud.settings, []
    blocks.append(_section("DEFAULT", {
        "nodes": " ".join(nodes), "credentials": f"{cloud.directory}/openrc-monitor",
        "mode": layout}))
    blocks += _foundations(settings) if settings.several else []
    if layout == ACTIVE:
        usual = balanced.section(VIP, GROUP, haproxy(cloud), nodes)
        blocks.append(_section("haproxy", {**usual, **(proxy or {})}))
    for name, part in parts(settings).items():
        values: dict[str, str] = {}
        if part.path and "os_auth_url" in declared.defaults(name):
            values = {"shared_vip_group": GROUP}
            values.update(balanced.parameters(name) if layout == ACTIVE else {})
        if name == "keystone" and layout == PASSIVE:
            values["vip"] = VIP
        if name == "glance-api":
            values["storage"] = "shared-file"
        if "processes" in declared.defaults(name):
            # Each start asks Keystone for a token, and a password costs Keystone 0.3 s of a core.
            values["processes"] = "2" if name == "keystone" else "1"
        blocks.append(_section(name, {**values, **settings.parameters(name)}))
    return "\n".join(blocks)


def _foundations(settings: Settings) -> list[str]:
    """MariaDB and RabbitMQ."""
    blocks = []
    blocks.append(_section("mariadb", {
        "vip": DATABASE,
        "binary": "/usr/sbin/mariadbd",
        "client_binary": "/usr/bin/mariadb",
        "config": str(settings.own(Path("/etc/mysql/my.cnf"))),
        "datadir": f"{settings.database_files}/mysql",
        "user": settings.users[DB],
        "group": "nogroup",
        "log": "/var/log/mariadb.log",
    }))
    blocks.append(_section("rabbitmq", {
        "vip": BROKER,
        "config_file": str(settings.own(Path("/etc/rabbitmq/rabbitmq"))),
        "mnesia_base": f"{settings.home(RABBIT)}/mnesia",
        "server_start_args": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
    }))
    return blocks


def _section(name: str, values: Mapping[str, str]) -> str:
    return "".join([f"[{name}]\n", *(f"{key} = {value}\n" for key, value in values.items())])


# The command line


def prepare() -> None:
    """Install what is missing, and say so."""
    if os.geteuid() != 0:
        raise LabError("this needs root: it makes namespaces, and starts daemons as other users")
    with show.step("all packages are there"):
        apt.install(packages())


def _here(folder: Path, nodes: int | None, layout: str | None = None) -> Controller:
    """The controller of a folder, made or not. layout: for a new one (default: passive)."""
    there = Cluster(folder / "cluster", nodes=nodes, properties=PROPERTIES)
    found = Controller(there, ControlPlane(folder / "openstack", **plane(there.outside)))
    found.layout = _layout(folder) or layout or PASSIVE
    return found


def _layout(folder: Path) -> str:
    """The layout that a controller was made in; empty where there is none yet."""
    try:
        text = (folder / "openstack" / playground.DESCRIPTION).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    found = re.search(r"(?m)^mode = (\S+)$", text)
    return found[1] if found else PASSIVE


def _require_layout(folder: Path, layout: str | None) -> None:
    """Raise LabError if the controller was made in another layout."""
    made = _layout(folder)
    if layout and made and layout != made:
        raise LabError(f"the controller in {folder} is {made}; take it down first")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock this controller against other processes."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LabError(f"{folder} is being changed by another process; retry later") from None
    finally:
        os.close(descriptor)


def _require_memory(nodes: int, layout: str) -> None:
    """Raise LabError if the machine has too little memory: it would only swap."""
    free = machine.memory()
    once, each = MEMORY[layout]
    wanted = once + each * nodes
    if free < wanted:
        raise LabError(
            f"a controller on {nodes} nodes needs {wanted:.1f} GiB of memory, and {free:.1f} are "
            "free; end something, or see python3 -m lab.playground"
        )


def _up(options: argparse.Namespace) -> int:
    _require_layout(options.dir, options.layout)
    prepare()
    with _alone(options.dir):
        here = _here(options.dir, options.nodes, options.layout)
        fresh = not here.cloud.initialised
        if not here.cluster.running:
            _require_memory(len(here.nodes), here.layout)
        try:
            _make(here)
        except BaseException:
            if fresh:
                _take_down(options.dir)
            raise
        _tell(here, options.dir)
    return 0


def _make(here: Controller) -> None:
    """Bring up what is missing, also of a controller whose making was interrupted."""
    if not here.cloud.initialised:
        shutil.rmtree(here.cloud.directory, ignore_errors=True)
        with show.step(f"configuration, databases and users, in {here.cloud.directory}"):
            here.cloud.init()
    furnish(here.cloud.settings)
    with show.step(f"{', '.join(here.nodes)} run Pacemaker and corosync"):
        here.cluster.up()
    with show.step(f"openstack-ocf has applied {here.description}"):
        here.apply(seen=lambda line: show.line(f"{'':10}{line}"))
    begin = time.monotonic()
    here.await_served(seen=lambda name: show.took(begin, f"{name} answers at {here.urls[name]}"))


def _take_down(folder: Path) -> None:
    """End the controller in a folder, in any layout, complete or not."""
    with show.step("the nodes are down"):  # first: what runs in them uses the rest
        Cluster(folder / "cluster").down()
    ControlPlane(folder / "openstack").destroy()
    shutil.rmtree(folder, ignore_errors=True)


def _tell(here: Controller, folder: Path) -> None:
    """Print how to look at the controller, how to use it, and how to end it."""
    nodes = f"--dir {here.cluster.directory} "
    own = "" if folder == DIRECTORY else f" --dir {folder}"
    show.line("")
    for text, command in (
        ("what Pacemaker says", f"python3 -m lab.cluster exec {nodes}node1 crm_mon"),
        ("a shell in a node", f"python3 -m lab.cluster exec {nodes}node1 bash"),
        ("a shell where clients are", f"python3 -m lab.cluster exec {nodes}{SWITCH} bash"),
        ("the credentials, for there", f". {here.cloud.directory}/openrc"),
        ("power loss, and back", f"python3 -m lab.cluster kill {nodes}node1   (then: start)"),
        ("what answers at the VIPs", f"python3 -m lab.controller status{own}"),
        ("the end of it all", f"python3 -m lab.controller down{own}"),
    ):
        show.line(f"  {text:<30} {show.coloured(command, show.BOLD)}")
    show.line("  as root, in the folder of the project")


def _status(options: argparse.Namespace) -> int:
    if not options.dir.exists():
        show.line(f"There is no controller in {options.dir}.")
        return NOT_RUNNING
    here = _here(options.dir, None)
    if not here.cloud.initialised or not here.cluster.running:
        show.line("No node runs; run: python3 -m lab.controller up")
        return NOT_RUNNING
    said = here.status()
    for name in here.resources:
        found = said.resources.get(name)
        where = ", ".join(found.nodes) if found else ""
        show.line(f"{name:20} {found.role if found else 'not configured':10} {where}")
    try:
        answers = here.answers(here.token())
    except (OSError, HTTPException, LabError) as error:
        show.line(f"Keystone gives no token: {error}")
        return 1
    for name, status in answers.items():
        show.line(f"{here.urls[name]:28} {name:16} {status or 'no answer'}")
    return 0 if {*answers.values()} == {200} else 1


def _down(options: argparse.Namespace) -> int:
    if not options.dir.exists():
        show.line("There is no controller to take down.")
        return 0
    with _alone(options.dir):
        _take_down(options.dir)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lab.controller",
        description="A whole controller on real Pacemaker nodes, from one description.",
        epilog="All of it as root.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, function, text in (
        ("install", _install, "install the Debian packages that are missing"),
        ("up", _up, "bring it up, or what is missing of it, and say what can be done with it"),
        ("status", _status, "what runs where, and what answers; exit code 3 if no node runs"),
        ("down", _down, "end and remove all of it"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--dir", type=Path, default=DIRECTORY, help="its folder (default: %(default)s)"
        )
        if name == "up":
            command.add_argument(
                "--nodes", type=int, choices=cluster.SIZES, help="how many (default: 2)"
            )
            command.add_argument(
                "--layout", choices=LAYOUTS, help="every API on the node that has the virtual IP, "
                "or on all nodes, behind haproxy (default: active-passive)"
            )
        command.set_defaults(function=function)
    options = parser.parse_args(arguments)
    return exit_code("controller", lambda: int(options.function(options)))


def _install(options: argparse.Namespace) -> int:
    prepare()
    return 0


if __name__ == "__main__":
    sys.exit(main())
