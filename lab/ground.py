"""What `make chaos` takes place on: the APIs under Pacemaker, their clients' way to them, the rest.

Two of these are made by `lab.chaos`: the small one, with Glance and Cinder on a playground, and the
whole one, a controller with its database and RabbitMQ. Faults and checks know nothing else of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from lab import controller, declared, playground, specs
from lab.cib import Status
from lab.client import PATHS
from lab.cluster import Cluster
from lab.controller import Controller
from lab.openstack import ControlPlane
from lab.playground import Playground
from lab.settings import write_private
from lab.web import Server

Change = tuple[str, str, str]
"""(start or stop, resource, node)."""

SMALL, WHOLE = "small", "whole"
STAGES = {
    SMALL: ("glance-api", "cinder-api"),
    WHOLE: tuple(name for name, part in controller.PARTS.items()
                 if part.path and name != "nova-novnc"),
}
"""The APIs that clients request, by the names of their agents."""
CLONES = tuple(name for name in controller.PARTS if name not in (*STAGES[WHOLE], "cinder-volume"))
FOUNDATIONS = ("mariadb", "rabbitmq")
SLOWER = 4
"""How much longer everything takes on a whole controller: it has the same few cores."""
ADDRESS = f"p_ip_{controller.GROUP}"
DATABASE, BROKER, KEYSTONE = "p_mariadb", "p_rabbitmq", "p_keystone"


@dataclass(frozen=True)
class Service:
    """An API under Pacemaker, which has clients.

    name: of its agent. address: the resource of its virtual IP. moved: what `crm resource move`
    moves it by. server, path: what clients request all the time.
    """

    name: str
    address: str
    moved: str
    server: Server
    path: str


@dataclass(frozen=True)
class Ground:
    """What is under Pacemaker.

    services: by name. marks: what all processes of a resource that runs on one node at a time have
    in their command lines, by the resource. addresses: the virtual IPs, by their resources.
    beside: the resources that have to be where such an address is. clones: what runs on all nodes.
    needs: by resource, the services that refuse something while it is down. shaken: by resource,
    those that Pacemaker may restart meanwhile. interval: seconds, of the most frequent monitors.
    slower: how much longer all takes than on the small one, and how much more rarely clients ask:
    all of it has the same machine.
    """

    cluster: Cluster
    cloud: ControlPlane
    services: Mapping[str, Service]
    marks: Mapping[str, tuple[bytes, ...]]
    addresses: Mapping[str, str]
    beside: Mapping[str, Collection[str]]
    interval: float
    slower: float = 1.0
    clones: tuple[str, ...] = ()
    needs: Mapping[str, Collection[str]] = field(default_factory=dict)
    shaken: Mapping[str, Collection[str]] = field(default_factory=dict)

    def status(self) -> Status:
        """What Pacemaker says."""
        return self.cluster.status()

    def node(self, name: str) -> str:
        """The node that a resource is started on, "" if there is none."""
        return self.status().where(name)

    def there(self, node: str) -> set[str]:
        """The resources that are on a node."""
        return {name for name, found in self.status().resources.items() if node in found.nodes}

    def together(self, name: str) -> list[str]:
        """The resources that move when a service is moved."""
        address = self.services[name].address
        return [address, *self.beside[address]]

    def out(self, resources: Collection[str]) -> list[str]:
        """The services that may refuse something while these resources are down."""
        found = {name for name in self.services if resource(name) in resources}
        for name in resources:
            found.update(self.needs.get(name, ()))
        return sorted(found)

    def free(self, resources: Collection[str]) -> set[str]:
        """The resources that may be restarted while these are down."""
        return {resource(name) for each in resources for name in self.shaken.get(each, ())}


def resource(name: str) -> str:
    """The resource of an agent, as openstack-ocf and crm/ name it."""
    return f"p_{name}"


def restarted(name: str, node: str) -> set[Change]:
    """The changes by which a resource is recovered on its node."""
    return {(what, name, node) for what in ("stop", "start")}


def moved(
    names: Iterable[str], node: str, to: str, *,
    lost: bool = False, booting: bool = False, clones: Collection[str] = (),
) -> set[Change]:
    """The changes that move resources to the other node. lost: they need no stop any more.

    booting: the node may be back before all of them have been started on the other one, and be
    given the rest. Those of them that are clones stay, and are started again when the node is back.
    """
    names = [*names]
    stopped = set() if lost else {("stop", name, node) for name in names}
    back = {("start", name, node) for name in names if booting}
    return stopped | back | {("start", name, node if name in clones else to) for name in names}


def small(here: Playground) -> Ground:
    """Glance and Cinder, each with its virtual IP, as crm/ has them."""
    projects = {name: name.partition("-")[0] for name in STAGES[SMALL]}
    return Ground(
        here.cluster, here.cloud,
        services={name: Service(name, playground.address(project), f"g_{name}",
                                here.cloud.server(project), PATHS[project])
                  for name, project in projects.items()},
        marks={resource(name): (str(here.cloud.config(project)).encode(),)
               for name, project in projects.items()},
        addresses={playground.address(project): playground.VIPS[project]
                   for project in projects.values()},
        beside={playground.address(project): (resource(name),)
                for name, project in projects.items()},
        interval=playground.INTERVAL,
    )


def lengthen(cluster: Cluster) -> None:
    """Give all operations SLOWER times the time that they have: a busy machine is no fault."""
    query = ["cibadmin", "--query", "--scope=resources"]
    text = cluster.exec(cluster.asked, query, check=True).stdout
    file = cluster.directory / "longer.xml"
    write_private(file, re.sub(
        r'(<op [^>]*timeout=")(\d+)s', lambda op: f"{op[1]}{int(op[2]) * SLOWER}s", text))
    change = ["cibadmin", "--replace", "--scope=resources", f"--xml-file={file}"]
    cluster.exec(cluster.asked, change, check=True)


def whole(here: Controller) -> Ground:
    """A controller on two nodes, with every API where the one virtual IP is."""
    settings, names = here.cloud.settings, STAGES[WHOLE]
    paths = {name: re.sub(r"\{project\}", here.project, controller.PARTS[name].path)
             for name in names}
    return Ground(
        here.cluster, here.cloud,
        services={name: Service(name, ADDRESS, ADDRESS, here.server(name), paths[name])
                  for name in names},
        marks={
            **{resource(name): _marks(here, name) for name in (*names, "cinder-volume")},
            DATABASE: (b"/mariadbd\0", str(settings.database_files).encode()),
            BROKER: (b"/beam.smp\0", b"-s\0rabbit\0boot"),
        },
        addresses={ADDRESS: controller.VIP, "p_ip_mariadb": controller.DATABASE,
                   "p_ip_rabbitmq": controller.BROKER},
        beside={ADDRESS: [resource(name) for name in names], "p_ip_mariadb": (DATABASE,),
                "p_ip_rabbitmq": (BROKER,)},
        interval=10.0,
        slower=SLOWER,
        clones=tuple(map(resource, CLONES)),
        needs={DATABASE: names, KEYSTONE: names, BROKER: names, "p_heat-engine": ("heat-api",)},
        shaken={DATABASE: names},
    )


def _marks(here: Controller, name: str) -> tuple[bytes, ...]:
    """What the command line of each process of an agent has, and of no other."""
    if declared.daemon(name).uwsgi and declared.daemon(name).uwsgi.only:
        return b"uwsgi", name.partition("-")[0].encode()
    config = here.cloud.config(specs.service(name))
    return str(config).encode(), name.encode()
