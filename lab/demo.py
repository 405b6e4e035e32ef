"""What the agents are for, shown on real Pacemaker in less than two minutes.

Run by `make demo` (python3 -m lab.demo, as root). Two nodes; Glance and Cinder with their virtual
IPs, as openstack-ocf plans them from a description; Keystone and MariaDB where both nodes reach
them; and a client that asks both virtual IPs several times a second. The chapters below do
something to it; what Pacemaker does then is told while it happens, and what came of it is looked
at.

Nothing is expected of who comes first: a monitor may be under way as a daemon is killed, and on a
busy machine all takes longer. What is true of either case is accepted, and told.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lab import client, journal, netns, playground, show
from lab.agents import SERVICES
from lab.client import PATHS, Watch
from lab.command import exit_code
from lab.errors import LabError
from lab.journal import Event
from lab.playground import Playground

PATIENCE = 600.0  # seconds, for what takes ten on an idle machine
POLL = 0.2
FURTHER = 2  # monitors, after the first that has noticed that Keystone is down
DEGRADED = "OCF_DEGRADED"
COLOURS = {"ok": show.GREEN, DEGRADED: show.YELLOW}
STATE = "/run/resource-agents/openstack/*.json"
FORGET = f"""sed -i 's/"until": [0-9.]*/"until": 0/' {STATE}"""

# Run by sh with pids. The master is dead before its workers are killed: a monitor whose connection
# dies with a worker finds that, too. And a signal that was sent is not yet taken.
KILL = """
kill -KILL $1; while kill -0 $1; do sleep 0.01; done 2>/dev/null
[ $# = 1 ] || kill -KILL $* 2>/dev/null || :
"""
FREEZE = """
kill -STOP $*
for pid; do
    while grep -L '^State:.[TtZX]' /proc/$pid/task/*/status | grep -q .; do sleep 0.01; done
done 2>/dev/null
"""

Check = tuple[str, bool]


@dataclass
class Stage:
    """The playground with its client, and what a chapter has told since it began."""

    here: Playground
    watch: Watch
    since: float = 0.0
    told: set[Event] = field(default_factory=set)

    def say(self, text: str, at: float = 0.0) -> None:
        """Tell one thing, with its time."""
        show.line(f"  {(at or time.time()) - self.since:+6.1f} s  {text}")

    def events(self) -> list[Event]:
        """What Pacemaker has done in this chapter."""
        return journal.read(self.here.cluster, self.since)

    def tell(self) -> None:
        """Tell what Pacemaker has done since it was told last."""
        for event in self.events():
            if event not in self.told and (text := worded(event)):
                self.say(text, event.at)
            self.told.add(event)

    def until(self, condition: Callable[[], object]) -> None:
        """Tell what Pacemaker does until a condition is fulfilled."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(
                    f"after {PATIENCE:.0f} s Pacemaker has not done what this demo is about to show"
                )
            self.tell()
            time.sleep(POLL)
        self.tell()

    def verdicts(self, service: str) -> list[Event]:
        """What the monitors of a service came to that is not ok, before it was started again."""
        starts = [event.at for event in self.changes(service) if event.what == "start"]
        return [
            event
            for event in self.events()
            if (event.what, event.resource) == ("monitor", name(service))
            and event.result not in ("", "ok")
            and event.at < min(starts, default=time.time())
        ]

    def says(self, service: str, result: str, after: float = 0.0) -> list[Event]:
        """The monitors of a service that came to this."""
        asked = ("monitor", name(service), result)
        return [
            event
            for event in self.events()
            if (event.what, event.resource, event.result) == asked and event.at >= after
        ]

    def changes(self, service: str = "") -> list[Event]:
        """What was started and stopped: of a service with its address, or of all."""
        return [
            event
            for event in self.events()
            if event.what in ("start", "stop") and event.resource.endswith(service + "-api")
        ]

    def recovered(self, service: str) -> bool:
        """Whether the service was started in this chapter, monitored, and serves the client."""
        starts = [event.at for event in self.changes(service) if event.what == "start"]
        if not starts or not self.served(service, starts[-1]):
            return False
        monitors = self.says(service, "ok", starts[-1])
        return any(event.interval == playground.INTERVAL for event in monitors)

    def served(self, service: str, after: float) -> bool:
        """Whether the client was served with what it asked after this."""
        return any(asked.served for asked in self.watch.asked(service, after))

    def undisturbed(self, text: str, *services: str, after: float = 0.0) -> Check:
        """Whether the client was refused nothing, and is served; answers may have come late."""
        late = 0
        good = True
        for service in services:
            now = time.time()
            asked = self.watch.asked(service, after or self.since)
            late += sum(one.late for one in asked)
            good = good and all(one.served or one.late for one in asked)
            self.until(partial(self.served, service, now))
        if late:
            text += f" ({late} of its requests took more than {client.PATIENCE:.0f} s)"
        return text, good

    def alone(self, service: str, before: Sequence[int]) -> list[Check]:
        """Whether a service was left alone, and still serves; before: its processes."""
        title = service.capitalize()
        same = not self.changes(service) and before == self.here.pids(service)
        return [
            (f"{title} was left alone", same),
            self.undisturbed(f"the client was refused nothing by {title}", service),
        ]


@dataclass(frozen=True)
class Chapter:
    """Something that happens; play: does it, and looks at what came of it."""

    heading: str
    play: Callable[[Stage], Sequence[Check]]
    client: bool = True


def name(service: str) -> str:
    """The resource of a service."""
    return f"p_{service}-api"


def worded(event: Event) -> str:
    """What Pacemaker did, for people; "" for what they need not know."""
    where = f"{event.node}:"
    if event.what == "lost":
        return show.coloured(f"{where} {event.resource} is lost", show.RED)
    if event.what in ("start", "stop") and event.result == "ok":
        done = "started" if event.what == "start" else "stopped"
        return f"{where} {event.resource} {done}, in {event.seconds:.1f} s"
    address = event.resource.startswith("p_ip_") and event.result == "ok"
    if not event.result or event.what == "probe" or address:
        return ""
    result = show.coloured(event.result, COLOURS.get(event.result, show.RED))
    reason = f": {event.reason}" if event.reason else ""
    every = f" (every {event.interval:.0f} s)" if event.interval else ""
    return f"{where} {event.what} of {event.resource}{every} says {result}{reason}"


# What was seen


def found_dead(stage: Stage, service: str) -> Check:
    """What the monitors found after the whole daemon was killed; this is not all at one moment."""
    verdicts = stage.verdicts(service)
    none = [event for event in verdicts if event.result == "not running"]
    some = [event for event in verdicts if orphaned(event)]
    said = [
        *(["it does not run"] if none else []),
        *(["its master is gone, and not yet all workers"] if some else []),
    ]
    text = f"the monitor said: {'; '.join(said) or 'something else'}"
    return text, bool(verdicts) and len(none) + len(some) == len(verdicts)


def orphaned(event: Event) -> bool:
    """Whether a monitor found workers without their master."""
    return event.result == "error" and "the master process is gone" in event.reason


def left(here: Playground, node: str, pids: Sequence[int]) -> list[int]:
    """Those of the processes that are still there."""
    command = ["ps", "-o", "pid=,stat=", "-p", ",".join(map(str, pids))]
    lines = [line.split() for line in here.cluster.exec(node, command).stdout.splitlines()]
    return [int(pid) for pid, state in lines if state[0] != "Z"]


def unreached(stage: Stage, service: str) -> int:
    """How often a service was asked for its versions: by each monitor that had no token."""
    config = stage.here.cloud.config(service)
    log = stage.here.cloud.log(service).with_name(f"{config.stem}.log")
    return log.read_text(errors="replace").count('"GET / HTTP/')


# The chapters


def start(stage: Stage) -> list[Check]:
    """Describe both services, load what openstack-ocf plans for them, and wait until they serve."""
    description = stage.here.describe()
    for text in filter(None, description.read_text().splitlines()):
        show.line(f"  {show.coloured(f'{description.name}  |  {text}', show.DIM)}")
    stage.say("openstack-ocf plan --as crm; crm configure load update, with monitors every "
              f"{playground.QUICK} and {playground.INTERVAL} s")
    stage.here.apply(description)
    stage.until(lambda: all(stage.recovered(service) for service in SERVICES))
    for service in SERVICES:
        served = [asked.done for asked in stage.watch.asked(service, 0) if asked.served]
        url = f"{stage.here.cloud.server(service)}{PATHS[service]}"
        stage.say(f"the client is served: {url}", min(served))
    status = stage.here.cluster.status()
    together = [status.where(f"p_ip_{s}-api") == status.where(name(s)) != "" for s in SERVICES]
    return [("each service is started where its address is, and serves", all(together))]


def kill_master(stage: Stage) -> list[Check]:
    """Kill the master of glance-api alone."""
    here, node = stage.here, stage.here.node("glance")
    old, others = here.pids("glance", node), here.pids("cinder")
    script(stage, node, KILL, old[:1])
    stage.say(f"{node}: kill -KILL {old[0]}, the master; {len(old) - 1} workers hold on")
    stage.until(lambda: stage.recovered("glance"))
    verdicts = stage.verdicts("glance")
    seen = bool(verdicts) and all(map(orphaned, verdicts))
    return [
        ("the monitor was not deceived by the workers", seen),
        ("no process of the old daemon is left", not left(here, node, old)),
        (f"it was started again on {node}", here.node("glance") == node),
        *stage.alone("cinder", others),
    ]


def kill_all(stage: Stage) -> list[Check]:
    """Kill every process of cinder-api."""
    here, node = stage.here, stage.here.node("cinder")
    old, others = here.pids("cinder", node), here.pids("glance")
    script(stage, node, KILL, old)
    stage.say(f"{node}: kill -KILL {' '.join(map(str, old))}")
    stage.until(lambda: stage.recovered("cinder"))
    return [
        found_dead(stage, "cinder"),
        ("no process of the old daemon is left", not left(here, node, old)),
        (f"it was started again on {node}", here.node("cinder") == node),
        *stage.alone("glance", others),
    ]


def lose_keystone(stage: Stage) -> list[Check]:
    """Take Keystone away from services whose workers know the client, and give it back."""
    here = stage.here
    before = {service: here.pids(service) for service in SERVICES}
    stage.watch.token = here.cloud.token()  # a worker that meets it now knows it for 5 min
    for service in SERVICES:
        introduce(stage, service, before[service][1:])
    down = time.time()
    here.cloud.down("keystone")
    for node in here.cluster.running:
        here.cluster.exec(node, ["sh", "-c", FORGET])
    stage.say("Keystone is down; the tokens that the agents remember have run out")
    stage.until(lambda: all(stage.says(service, DEGRADED) for service in SERVICES))
    seen = {service: unreached(stage, service) for service in SERVICES}
    stage.until(lambda: all(unreached(stage, s) >= seen[s] + FURTHER for s in SERVICES))
    crm_mon(stage)
    failures = here.cluster.status().failures
    told = {(one.resource, one.code) for one in failures if "Keystone" in one.reason}
    here.cloud.up("keystone")
    back = time.time()
    stage.say("Keystone is back")
    stage.until(lambda: all(stage.says(service, "ok", back) for service in SERVICES))
    return [
        ("the monitors said 190, and why",
         told == {(name(service), 190) for service in SERVICES} and len(failures) == len(told)),
        ("nothing was stopped, started or moved", not stage.changes()),
        ("the same processes run", before == {s: here.pids(s) for s in SERVICES}),
        ("no failure was counted", not here.cluster.status().fail_counts),
        stage.undisturbed("the client was refused nothing", *SERVICES, after=down),
    ]  # fmt: skip


def lose_node(stage: Stage) -> list[Check]:
    """Power loss of the node that Glance is on; later it comes back."""
    here, lost = stage.here, stage.here.node("glance")
    other = next(node for node in here.cluster.nodes if node != lost)
    others = here.pids("cinder")
    here.cluster.kill(lost)
    stage.say(f"{lost} has lost its power")
    stage.until(lambda: stage.recovered("glance"))
    crm_mon(stage)
    moved = here.node("glance") == other
    stage.say(f"{lost} is turned on again")
    here.cluster.start(lost)
    stage.until(lambda: here.cluster.status().online(lost))
    here.cluster.wait(PATIENCE)
    stage.tell()
    resources = here.cluster.status().resources.values()
    again = [event for event in stage.changes() if event.node == lost and event.what == "start"]
    return [
        (f"{other} has taken over, with the address", moved),
        *stage.alone("cinder", others),
        (f"nothing runs twice, or moves, now that {lost} is back",
         all(len(found.nodes) == 1 for found in resources) and not again),
    ]  # fmt: skip


def introduce(stage: Stage, service: str, workers: Sequence[int]) -> None:
    """Have each worker meet the client's token: each alone, while the others are stopped."""
    here = stage.here
    node, token = here.node(service), stage.watch.token
    for worker in workers:
        others = [other for other in workers if other != worker]
        try:
            script(stage, node, FREEZE, others)
            here.cloud.server(service).get(PATHS[service], token=token, timeout=PATIENCE)
        finally:
            here.send("CONT", node, others)


def script(stage: Stage, node: str, text: str, pids: Sequence[int]) -> None:
    """Run a script in a node, about processes of it."""
    command = ["sh", "-c", text, "sh", *map(str, pids)]
    stage.here.cluster.exec(node, command, timeout=PATIENCE, check=True)


CHAPTERS = (
    Chapter("Two services with their virtual IPs", start, client=False),
    Chapter("The master process of glance-api is killed; its workers hold on", kill_master),
    Chapter("cinder-api is killed, with all its workers", kill_all),
    Chapter("Keystone is down: the services are not to blame, and stay", lose_keystone),
    Chapter("A node loses its power", lose_node),
)


# How they are shown


def play(stage: Stage) -> tuple[int, int]:
    """Show all chapters: how much was as expected, and how much was not."""
    right = wrong = 0
    for chapter in CHAPTERS:
        show.line("\n" + show.coloured(chapter.heading, show.BOLD))
        stage.since = time.time()
        stage.told.clear()
        checks = chapter.play(stage)
        if chapter.client:
            show.line(f"  {'the client':12}{outages(stage)}")
        crm_mon(stage)
        for text, good in checks:
            mark = show.coloured("ok", show.GREEN) if good else show.coloured("WRONG", show.RED)
            show.line(f"  {mark:12}{text}")
            right, wrong = right + good, wrong + (not good)
        clean(stage)
    return right, wrong


def outages(stage: Stage) -> str:
    """For how long each service was not there for the client."""
    told = []
    for service in SERVICES:
        lost = stage.watch.lost(service, stage.since)
        text = f"{lost:.1f} s without service" if lost else "served all the time"
        told.append(show.coloured(f"{service}: {text}", show.YELLOW if lost else show.GREEN))
    return "; ".join(told)


def crm_mon(stage: Stage) -> None:
    """What crm_mon shows at this moment."""
    for line in stage.here.crm_mon():
        show.line(f"  {show.coloured(f'crm_mon  |  {line}', show.DIM)}")


def clean(stage: Stage) -> None:
    """Have Pacemaker forget the failures of a chapter, as an operator does who has read them."""
    if stage.here.cluster.status().failures:
        stage.here.cluster.crm("resource", "cleanup")
        stage.here.cluster.wait(PATIENCE)


def demonstrate() -> int:
    """The whole demo; its exit code."""
    begin = time.monotonic()
    playground.prepare()
    with Playground.temporary() as here:
        servers = {service: here.cloud.server(service) for service in SERVICES}
        with show.silence(), Watch(servers, here.cloud.token()).running() as watch:
            right, wrong = play(Stage(here, watch))
    places = (here.cloud.directory, here.cluster.directory, netns.FOLDER / here.cluster.outside)
    left = any(place.exists() for place in places)
    summary = f"{right} of {right + wrong} as expected, in {time.monotonic() - begin:.0f} s; "
    summary += "SOMETHING IS LEFT BEHIND" if left else "nothing left behind"
    colour = show.RED if wrong or left else show.GREEN
    show.line("\n" + show.coloured(summary, show.BOLD, colour))
    return 1 if wrong or left else 0


def main() -> int:
    """Show the demo; what goes wrong with the lab is told in a line or two."""
    return exit_code("demo", demonstrate)


if __name__ == "__main__":
    sys.exit(main())
