"""A whole controller, each of its resources monitored every 10 s: what that costs the node.

Called by `bench.__main__` for --controller. The daemons are real and run under our agents; the
monitors are started as Pacemaker's executor does it. A round has a minute with each way to monitor,
and one without monitors: the page has the differences within rounds.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median as middle
from tempfile import TemporaryDirectory
from textwrap import fill

from agentlib.api import Api
from bench import report
from bench.candidates import HERE
from bench.executor import Executor, Operation, Ran
from bench.measure import PATH
from bench.report import table
from lab import agents, declared, netns, network, show, specs
from lab.agents import Resource
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.services import running
from lab.settings import DB, OVS, RABBIT, USUAL_HASH_ROUNDS
from lab.specs import BASE, SPECS

PROJECTS = ("placement", "nova", "neutron", "heat", "cinder", "ceilometer", "manila", "designate")
MINUTES, MINUTE = 3, 60.0
INTERVAL, API_INTERVAL, TIMEOUT = 10.0, 30.0, 30.0
"""Seconds, as in crm/controller.crm: the intervals of level 0 and of level 10, their timeout."""
START, AT_ONCE = 600.0, 8
"""Seconds for a start; how many starts run at once."""
SETTLED = 300.0
"""Seconds in which all daemons have to become well, and finish their work after a start."""
TICK = os.sysconf("SC_CLK_TCK")

DATABASE_TOO = ("nova-conductor", "nova-scheduler")
PROCESS_ONLY = ("ceilometer-agent-notification", "neutron-metadata-agent", "neutron-ovs-agent")
"""Daemons whose agents in shell also look for MariaDB's port, or for no port at all. All others
that have no port of their own are checked like the workers of the HA guide."""

NONE = "no monitors"
PLANNED = "as `openstack-ocf plan` has them"
OURS = "level 10 every 10 s"
SHELL = "agents in shell, every 10 s"
DAEMONS_MEASURED = (KEYSTONE, BROKER, DATABASE, ALL) = (
    "Keystone", "RabbitMQ", "MariaDB", "all daemons",
)  # fmt: skip


@dataclass(frozen=True)
class Minute:
    """The monitors of a minute, and the seconds of CPU that DAEMONS_MEASURED used meanwhile."""

    ran: Sequence[Ran]
    daemons: Mapping[str, float]

    @property
    def agents(self) -> float:
        """Seconds of CPU of the monitors and of all that they started."""
        return sum(one.cpu for one in self.ran)


Round = Mapping[str, Minute]
"""A minute of each of the ways, and one of NONE."""


class Node:
    """A lab with these projects; the resource of each daemon by the name of its agent."""

    def __init__(self, cloud: ControlPlane, home: Path, folder: Path) -> None:
        self.cloud = cloud
        names = [SPECS[one].api for one in BASE]  # Keystone is the first: all others ask it
        names += [name for one in cloud.settings.projects for name in SPECS[one].daemons]
        self.resources = {name: self._resource(home / name, folder) for name in names}

    def _resource(self, agent: Path, folder: Path) -> Resource:
        # The agents find processes by the resource's name, on the whole machine: it is unique.
        service, name = specs.service(agent.name), f"p_{agent.name}-{os.getpid()}"
        parameters = agents.parameters(self.cloud, agent.name, name)
        return Resource(self.cloud, service, agent, name, folder, parameters)

    def start(self) -> None:
        """Start all resources, and wait until all are well."""
        self.cloud.up(*(name for name in (DB, RABBIT, OVS) if name in self.cloud.settings.users))
        if agents_of_ovs := set(self.resources) & {*network.AGENTS}:
            for name in agents_of_ovs:
                node = running(self.cloud.settings, OVS)[0]
                self.resources[name].interpreter = network.argv(node, ())
        first, *others = self.resources.values()
        with show.step(f"{len(self.resources)} resources run"):
            _begin(first)
            with ThreadPoolExecutor(AT_ONCE) as several:
                list(several.map(_begin, others))
        with show.step("all are well"), ThreadPoolExecutor(AT_ONCE) as several:
            list(several.map(_await_well, self.resources.values()))

    def spent(self) -> dict[str, float]:
        """Seconds of CPU until now, of each of DAEMONS_MEASURED."""
        families = {
            KEYSTONE: self.resources["keystone"].pids(),
            BROKER: self.cloud.pids(RABBIT),
            DATABASE: self.cloud.pids("db"),
            ALL: [one.pid for one in netns.members(self.cloud.namespace or "")],
        }
        return {name: sum(map(seconds, pids)) for name, pids in families.items()}

    # The monitors

    def planned(self) -> list[Operation]:
        """Monitors of level 0 every 10 s, and of level 10 every 30 s."""
        every = self.resources.values()
        return [*(monitor(one, INTERVAL, 0) for one in every),
                *(monitor(one, API_INTERVAL, 10) for one in every)]  # fmt: skip

    def ours(self) -> list[Operation]:
        """Monitors of level 10 every 10 s: as much as the agents in shell do."""
        return [monitor(one, INTERVAL, 10) for one in self.resources.values()]

    def shell(self) -> list[Operation]:
        """Monitors of agents in shell, which have no levels."""
        token = self.cloud.token()
        headers = {"X-Subject-Token": token}
        server = self.cloud.server("keystone")
        found = server.request("GET", "/v3/auth/tokens", token=token, headers=headers)
        known = found.json()["token"]
        ids = {"user_id": known["user"]["id"], "project_id": known["project"]["id"]}
        command = ["/bin/sh", str(HERE / "shell-agent"), "monitor"]
        return [
            Operation(name, command, {
                "PATH": PATH,
                "OCF_ROOT": "/usr/lib/ocf",
                "OCF_RESKEY_pid": str(one.pidfile),
                **looks(self.cloud, name, ids),
            }, INTERVAL, TIMEOUT)
            for name, one in self.resources.items()
        ]  # fmt: skip


def looks(cloud: ControlPlane, name: str, ids: Mapping[str, str]) -> dict[str, str]:
    """What an agent in shell looks at beside the pid, as parameters of bench/shell-agent.

    ids: project_id and user_id, for the path of an API's check.
    """
    service = declared.service(name)
    if api := next((check for check in service.checks if isinstance(check, Api)), None):
        url = f"{cloud.server(specs.service(name))}{api.path.format(**ids)}"
        header = "\n".join(f"{key}: {value}" for key, value in api.headers.items())
        return {**cloud.credentials.environment(), "OCF_RESKEY_url": url,
                "OCF_RESKEY_header": header}  # fmt: skip
    if service.daemon.port:
        return {"OCF_RESKEY_listens": str(cloud.server(name).port)}
    if name in PROCESS_ONLY:
        return {}
    return {"OCF_RESKEY_connected": "5672 3306" if name in DATABASE_TOO else "5672"}


def monitor(resource: Resource, interval: float, level: int) -> Operation:
    """A monitor of ours, as Pacemaker calls it."""
    environment = resource.environment(TIMEOUT, interval, level, resource.parameters)
    command = [str(resource.agent), "monitor"]
    return Operation(resource.agent.name, command, environment, interval, TIMEOUT)


def seconds(pid: int) -> float:
    """Seconds of CPU of a process, and of its children that have ended and were waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile, and its time counts for its parent
        return 0.0
    return sum(map(int, fields[11:15])) / TICK


def _begin(resource: Resource) -> None:
    result = resource.run("start", timeout=START)
    if result.code != 0:
        raise LabError(f"start of {resource.agent.name} gives {result.code}: {result.reason}")


def _await_well(resource: Resource) -> None:
    deadline = time.monotonic() + SETTLED
    while (result := resource.run("monitor", level=10, timeout=60.0)).code != 0:
        if time.monotonic() > deadline:
            raise LabError(
                f"after {SETTLED:.0f} s the monitor of {resource.agent.name} still gives "
                f"{result.code}: {result.reason}"
            )
        time.sleep(1.0)


# What is measured


def minute(node: Node, operations: Sequence[Operation], length: float = MINUTE) -> Minute:
    """Run these for a minute, each kind spread over its interval; numbers are for a minute."""
    before, begin = node.spent(), time.monotonic()
    number = len(node.resources)
    first = [one.interval * (index % number) / number for index, one in enumerate(operations)]
    ran = Executor(operations).run(first, length)
    part = (time.monotonic() - begin) / length  # monitors that ran at its end took longer
    spent = {name: (after - before[name]) / part for name, after in node.spent().items()}
    return Minute(ran, spent)


def rounds(node: Node, minutes: int) -> list[Round]:
    """So many rounds, each in a random order."""
    ways: dict[str, Callable[[], list[Operation]]] = {
        NONE: list, PLANNED: node.planned, OURS: node.ours, SHELL: node.shell,
    }  # fmt: skip
    done: list[Round] = []
    with netns.inside(node.cloud.namespace):
        for number in range(1, minutes + 1):
            found = {}
            for name in random.sample([*ways], len(ways)):
                with show.step(f"round {number} of {minutes}: {name}"):
                    found[name] = minute(node, ways[name]())
            done.append({name: found[name] for name in ways})
    return done


def benchmark(minutes: int, projects: Sequence[str]) -> tuple[list[str], list[Round]]:
    """The agents whose resources ran, and the results."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="openstack-ocf-bench-")))
        folder.chmod(0o755)
        home = stack.enter_context(agents.installed())
        cloud = stack.enter_context(
            ControlPlane.temporary(
                db="mysql", workers=1, hash_rounds=USUAL_HASH_ROUNDS, projects=projects))
        node = Node(cloud, home, folder)
        node.start()
        return [*node.resources], rounds(node, minutes)


# The page


def page(
    heading: str, command: str, before: float, packages: Sequence[str], names: Sequence[str],
    found: Sequence[Round],
) -> str:
    """Its part of the page. before: the load average. names: of the agents."""
    origin = report.origin(command, before, packages)
    if before > (os.cpu_count() or 1):
        origin += ["- the machine was busy with other work: compare rows of this table alone"]
    return "\n".join([heading, "", *origin, "", *told(names, found), ""])


def told(names: Sequence[str], found: Sequence[Round]) -> list[str]:
    """What was measured, and the results."""
    columns = ("monitors", "a minute", "not 0", "CPU of the agents, s", "of one monitor, ms",
               *DAEMONS_MEASURED, "all that monitoring costs")
    ways = [*found[0]]
    which = fill(", ".join(names), 100, break_on_hyphens=False)
    return [
        *f"""{len(names)} resources on one node, each a real daemon with one worker, started by our
agent:
{which}.
With them run MariaDB, RabbitMQ and, for Neutron's agents, Open vSwitch. The cloud has no other
clients. The monitors are run as Pacemaker's executor runs them, spread over their interval.

- seconds of CPU in a minute, medians of {len(found)}. In each round every row has one minute, in
  random order; in brackets is what a daemon spent more than in its round's minute without monitors
- a monitor comes again an interval after its end: a slow one comes less often
- the agents: with all that they start. All daemons: with Keystone, RabbitMQ and MariaDB. The last
  column is the agents' CPU and what all daemons spent more
- {PLANNED}: level 0 every {INTERVAL:.0f} s and level 10 every {API_INTERVAL:.0f} s
- {SHELL}: written for this benchmark, in the manner of the HA guide's
  agents. All look whether the pid is there. For an API curl fetches a token and another curl uses
  it; for a worker `netstat -punt` is searched for its pid and for port 5672, and once more for
  3306 for {" and ".join(DATABASE_TOO)}; for a proxy `netstat` is searched for its port. A
  netstat that names processes looks at all there are on the machine
""".splitlines(), "",
        *table(columns, [row(name, found) for name in ways]), "",
        *(line for name in ways for line in complaints(name, found)),
    ]  # fmt: skip


def row(name: str, found: Sequence[Round]) -> list[str]:
    """The medians of one way."""
    its = [one[name] for one in found]
    spent = {daemon: [one.daemons[daemon] for one in its] for daemon in DAEMONS_MEASURED}
    if name == NONE:
        return [name, "0", "0", "0.00", "-", *(f"{middle(one):.2f}" for one in spent.values()), "-"]
    more = {
        daemon: [one[name].daemons[daemon] - one[NONE].daemons[daemon] for one in found]
        for daemon in DAEMONS_MEASURED
    }
    costs = [one.agents + extra for one, extra in zip(its, more[ALL])]
    return [
        name,
        f"{middle([len(one.ran) for one in its]):.0f}",
        str(sum(ran.code != 0 for one in its for ran in one.ran)),
        f"{middle([one.agents for one in its]):.2f}",
        f"{middle([1000 * one.agents / len(one.ran) for one in its]):.1f}",
        *(f"{middle(spent[one]):.2f} ({middle(more[one]):+.2f})" for one in DAEMONS_MEASURED),
        f"{middle(costs):.2f}",
    ]


def complaints(name: str, found: Sequence[Round]) -> list[str]:
    """The codes other than 0 that a way of monitoring gave, though all daemons were well."""
    codes = Counter((ran.name, ran.code) for one in found for ran in one[name].ran if ran.code)
    if not codes:
        return []
    counted = ", ".join(
        f"{agent} {code if code > 0 else 'killed after its timeout'} ({times} times)"
        for (agent, code), times in codes.items()
    )
    return [f"- not 0 of {name}: {counted}"]
