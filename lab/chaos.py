"""Faults at random on a real cluster, for an hour, and what must hold after each (`make chaos`).

Run as `python3 -m lab.chaos`, as root. Two nodes with fencing; Glance and Cinder with their virtual
IPs, as crm/ has them; MariaDB and Keystone where both nodes reach them. Or, with `--whole`, a whole
controller in the nodes. Clients outside write and read all the time (`lab.ledger`). Each step takes
the next fault of the seed (`lab.faults`), applies it, undoes it, and checks what must hold
(`lab.invariants`).

The first violation ends the run, with a command line that repeats it. The seed alone decides which
faults come, and in which order; what each of them meets depends on timing as well.
"""

from __future__ import annotations

import argparse
import math
import random
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from lab import (
    apt,
    client,
    compute,
    controller,
    invariants,
    machine,
    messages,
    mishaps,
    netns,
    playground,
    show,
    upgrade,
)
from lab.client import CROWD, Watch
from lab.cluster import Cluster
from lab.command import exit_code
from lab.controller import Controller
from lab.errors import LabError
from lab.faults import FAULTS, faults, signature
from lab.ground import SMALL, STAGES, WHOLE, Ground, lengthen, small, whole
from lab.invariants import Guard
from lab.journal import Event, Follower
from lab.ledger import Ledger, records
from lab.messages import Messages
from lab.openstack import ControlPlane
from lab.playground import DATABASE, Playground
from lab.process import Process
from lab.scene import Explained, Fault, Scene

MINUTES = 60.0
PACKAGES = ("python3-openstackclient", mishaps.FAKETIME, *upgrade.NEEDS)
PAUSE = 0.4  # seconds between two requests of the client that watches a service
LONGEST = 20.0  # seconds that this client waits for an answer, at most
TOKEN = 1200.0  # seconds for which a token is used; Keystone's are good for an hour
MEMORY = {SMALL: 1.5, WHOLE: 5.0}
"""GiB that the nodes take with all that runs in them, and the clients."""
FEW = 2  # processors; with fewer, everything takes longer


@dataclass
class Chaos:
    """A run: what was done so far.

    lost: the seconds without service, by fault. events: what Pacemaker did in the last step.
    judged: the events that were judged already.
    """

    scene: Scene
    ledger: Ledger
    guard: Guard
    lost: dict[str, list[float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    judged: set[Event] = field(default_factory=set)
    done: int = 0
    token: float = 0.0

    def step(self, fault: Fault, service: str) -> tuple[str, list[str]]:
        """Apply one fault; what came of it, in a line, and the violations."""
        here, watch = self.scene.here, self.scene.watch
        self.done += 1
        self.events = []
        self._new_token()
        before = invariants.everything(here)
        begin = self.scene.since = time.time()
        try:
            explained = fault.play(self.scene, service)
            self.scene.await_served()
            self.scene.settle()
            self._clean()
        except LabError as error:
            return "", [f"it does not come to an end: {error}"]
        slack = self.guard.slack()
        bound = fault.bound * here.slower * slack
        broken = [*explained.broken, *self._judge(explained, before)]
        worst = 0.0
        for name in explained.out:
            outages = watch.outages(name, begin)
            worst = max(worst, sum(one.end - one.begin for one in outages))
            longest = invariants.longest(outages, explained.at or begin)
            if longest > bound:
                broken.append(f"{name} was not served for {longest:.1f} s, and the bound is "
                              f"{fault.bound * here.slower:.0f} s x {slack:.1f} (load)")
        self.lost.setdefault(fault.name, []).append(worst)
        text = f"{worst:.1f} s without service" if worst else "served all the time"
        return f"{explained.what}; {text}", broken

    def _judge(
        self, explained: Explained, before: dict[str, dict[str, list[Process]]]
    ) -> list[str]:
        """The violations, apart from an outage that is over the bound."""
        here, begin = self.scene.here, self.scene.since
        calm = [name for name in here.services if name not in explained.out]
        touched = {change[1] for change in explained.changes} | {*explained.free}
        untouched = [name for name in here.marks if name not in touched]
        self.events = self._unjudged()
        broken = self.ledger.verify()
        broken += self.ledger.official()
        broken += invariants.refused(self.scene.watch, begin, calm)
        broken += invariants.replaced(before, here, untouched)
        broken += invariants.left(here)
        broken += self.guard.twice()
        broken += invariants.unexplained(
            self.events, explained.changes, explained.free, explained.failing)
        return broken

    def _unjudged(self) -> list[Event]:
        """The events that were not judged yet, also those between two steps."""
        found = [event for event in self.scene.follower.events(0) if event not in self.judged]
        self.judged.update(found)
        return found

    def _clean(self) -> None:
        """Clean up Pacemaker's failures, as an operator does after reading them."""
        if self.scene.here.cluster.status().failures:
            self.scene.crm("resource", "cleanup")
            self.scene.settle()

    def _new_token(self) -> None:
        if time.monotonic() - self.token > TOKEN or not self.token:
            self.scene.patiently(self._use_token)

    def _use_token(self) -> None:
        token = self.scene.here.cloud.admin_token()
        self.scene.watch.token = token
        self.ledger.use(token)
        self.token = time.monotonic()

    def told(self) -> list[str]:
        """What Pacemaker did in the step with the violation, in readable lines."""
        return [
            f"{time.strftime('%T', time.localtime(event.at))} {event.node}: {event.what} of "
            f"{event.resource} {event.result or 'begins'} {event.reason}".rstrip()
            for event in self.events or self.scene.events()]


# The sequence


def sequence(seed: int, only: Sequence[str], stage: str = SMALL) -> Iterator[tuple[Fault, str]]:
    """The faults of a seed, endlessly: all of them once in random order, then all of them again."""
    chance = random.Random(f"{signature(stage)} {seed}")  # noqa: S311 - no secret
    chosen = [fault for fault in faults(stage) if not only or fault.name in only]
    while True:
        for fault in chance.sample(chosen, len(chosen)):
            yield fault, chance.choice(fault.chosen or STAGES[stage])


def seed_of(text: str, stage: str) -> int:
    """The number in a seed; LabError for one of another version, or of the other stage."""
    own = signature(stage)
    number, _, version = text.partition("@")
    if not number.isdigit():
        raise LabError(f"--seed {text}: a seed is a number, or NUMBER@{own}")
    for other in STAGES:
        if version == signature(other) != own:
            raise LabError(f"--seed {text} is {'with' if other == WHOLE else 'without'} --whole")
    if version and version != own:
        raise LabError(
            f"--seed {text} is of another version of the faults (this one is {own}), in "
            f"which it means others; use that version, or --seed {number} for other faults")
    return int(number)


# The run


@contextmanager
def cloud_and_clients(stage: str = SMALL) -> Iterator[Chaos]:
    """A cluster with fencing that serves, and clients; nothing of it is left at the end."""
    begin = time.monotonic()
    with ExitStack() as stack:
        chaos = stack.enter_context(whole_stage() if stage == WHOLE else small_stage())
        chaos._new_token()
        stack.enter_context(chaos.scene.watch.running())
        stack.enter_context(chaos.ledger.running())
        stack.enter_context(chaos.guard.watching())
        chaos.scene.await_served()
        chaos.judged.update(chaos.scene.follower.events(0))
        told = ("all of a controller" if stage == WHOLE else "Glance and Cinder")
        show.line(f"{time.monotonic() - begin:7.1f} s  two nodes with fencing serve {told}, "
                  "and clients write")
        yield chaos


@contextmanager
def small_stage() -> Iterator[Chaos]:
    """Two nodes that run Glance and Cinder."""
    with ExitStack() as stack:
        nodes = stack.enter_context(Cluster.temporary(fencing=True, token=playground.TOKEN))
        cloud = stack.enter_context(ControlPlane.temporary(
            db=DATABASE, netns=nodes.outside, bind=playground.bind(nodes)))
        stack.enter_context(show.silence())
        cloud.up("db")
        here = Playground(nodes, cloud)
        ground = small(here)
        chaos = chaos_on(ground, Ledger(cloud, records(ground)))
        chaos.scene.patiently(lambda: cloud.up("keystone"))
        here.configure()
        yield chaos


@contextmanager
def whole_stage() -> Iterator[Chaos]:
    """Two nodes that run a controller, and a hypervisor of Nova's outside of them."""
    with ExitStack() as stack:
        stack.enter_context(show.silence())
        here = stack.enter_context(Controller.temporary())
        here.apply()
        lengthen(here.cluster)
        here.await_served()
        ground = whole(here)
        stack.enter_context(compute.running(here))
        found = {**records(ground, here.project), "nova-api": compute.servers(here)}
        yield chaos_on(ground, Ledger(
            here.cloud, found, Messages(here.cloud.settings.rabbit), ground.slower))


def chaos_on(ground: Ground, ledger: Ledger) -> Chaos:
    """A run on what serves, with clients that do nothing yet."""
    servers = {name: service.server for name, service in ground.services.items()}
    paths = {name: service.path for name, service in ground.services.items()}
    watch = Watch(servers, "", PAUSE * ground.slower, patience, paths=paths,
                  crowd=CROWD if ground.slower == 1 else 1)
    return Chaos(Scene(ground, watch, Follower(ground.cluster)), ledger, Guard(ground))


def patience() -> float:
    """For how long the watching client waits for an answer, in seconds."""
    return min(client.PATIENCE * machine.busy(), LONGEST)


def run(chaos: Chaos, faults: Iterable[tuple[Fault, str]], end: float) -> list[str]:
    """Take steps until a violation, the last step, or the end of the time; the violations.

    end: a time of time.monotonic.
    """
    begin = time.monotonic()
    for fault, service in faults:
        if time.monotonic() > end:
            break
        came, broken = chaos.step(fault, service)
        name = f"{fault.name} {service.strip('-')}".rstrip()
        mark = show.coloured("BROKEN", show.RED) if broken else show.coloured("ok", show.GREEN)
        show.line(f"{time.monotonic() - begin:7.1f} s  {chaos.done:3} {name:34} {mark}  {came}")
        if broken:
            for text in broken:
                show.line(f"           VIOLATION {text}")
            return broken
    return []


def report(chaos: Chaos, begin: float) -> None:
    """Print what was done, and for how long the services did not answer."""
    show.line("\nfault                 steps   without service, median / worst, s")
    for fault in FAULTS:
        if lost := chaos.lost.get(fault.name):
            show.line(f"{fault.name:22}{len(lost):5}   {statistics.median(lost):6.1f} / "
                      f"{max(lost):.1f}")
    ledger = chaos.ledger
    *most, last = (f"{one.kind}s" for one in ledger.writers)
    show.line(
        f"{sum(map(len, chaos.lost.values()))} steps in {(time.monotonic() - begin) / 60:.1f} min; "
        f"clients: {ledger.told('acknowledged')} {', '.join(most)} and {last} acknowledged, "
        f"{ledger.told('deleted')} deleted, {ledger.told('refused')} requests refused")


def again(options: argparse.Namespace, seed: int, steps: int) -> str:
    """The command line that repeats the run."""
    only = f" --only {' '.join(options.only)}" if options.only else ""
    words = f"--seed {seed}@{signature(options.stage)} --steps {steps}{only}"
    whole = "--whole " if options.stage == WHOLE else ""
    return f"make chaos ARGS={shlex.quote(whole + words)}"


def keep(chaos: Chaos) -> Path:
    """Keep the logs of the nodes and of the services, for root alone: there may be secrets."""
    folder = Path(tempfile.mkdtemp(prefix="openstack-ocf-chaos-"))
    here = chaos.scene.here
    for node in here.cluster.nodes:
        shutil.copytree(here.cluster.path(node, "/var/log"), folder / node,
                        ignore_dangling_symlinks=True)
    shutil.copytree(here.cloud.directory / "log", folder / "cloud", ignore_dangling_symlinks=True)
    return folder


def prepare(stage: str) -> None:
    """Check that this machine has enough memory, and install what is missing."""
    memory, wanted = machine.memory(), MEMORY[stage]
    if memory < wanted:
        raise LabError(f"{memory:.1f} GiB of memory are free, and the lab takes {wanted} GiB; end "
                       "something else that runs here")
    if stage == WHOLE:
        controller.prepare()
    else:
        playground.prepare()
    apt.install([*PACKAGES, *([messages.PACKAGE] if stage == WHOLE else [])])
    if machine.cores() < FEW:
        show.line(f"{machine.cores()} processor: everything takes longer, maybe outages as well")


def make(options: argparse.Namespace) -> int:
    """The whole run; its exit code."""
    known = [fault.name for fault in faults(options.stage)]
    if unknown := [name for name in options.only if name not in known]:
        raise LabError(f"no such fault: {', '.join(unknown)} (there are {', '.join(known)})")
    if options.list:
        for fault in faults(options.stage):
            show.line(f"{fault.name:20} {fault.text}")
        return 0
    chance = random.SystemRandom().randrange(10000)
    seed = chance if options.seed is None else seed_of(options.seed, options.stage)
    limit = options.minutes or (math.inf if options.steps else MINUTES)
    prepare(options.stage)
    show.line(f"seed {seed}@{signature(options.stage)}")
    with cloud_and_clients(options.stage) as chaos:
        begin = time.monotonic()
        end = begin + limit * 60
        broken: list[str] = []
        try:
            steps = islice(sequence(seed, options.only, options.stage), options.steps or None)
            broken = run(chaos, steps, end)
        finally:
            report(chaos, begin)
            if broken:
                for text in chaos.told():
                    show.line(f"  {text}")
                show.line(f"logs: {keep(chaos)}")
        here = chaos.scene.here
    places = (here.cloud.directory, here.cluster.directory, netns.FOLDER / here.cluster.outside)
    if left := [str(place) for place in places if place.exists()]:
        show.line(f"left behind: {', '.join(left)}")
    if broken:
        show.line(f"again: {again(options, seed, chaos.done)}")
    else:
        show.line("nothing broke, and nothing is left behind" if not left else "nothing broke")
    return 1 if broken or left else 0


def minutes(text: str) -> float:
    """A time, from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"--minutes {text}: a number above 0")
    return value


def steps(text: str) -> int:
    """A count, from the command line."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"--steps {text}: a whole number above 0")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 where something broke."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lab.chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--whole", dest="stage", action="store_const", const=WHOLE, default=SMALL,
                        help="a whole controller, with all its clients")
    parser.add_argument("--seed", metavar="SEED", help="which faults, in which order")
    parser.add_argument(
        "--minutes", type=minutes, help=f"how long ({MINUTES:.0f}, without --steps)")
    parser.add_argument("--steps", type=steps, default=0, help="how many faults at most")
    parser.add_argument("--only", nargs="+", default=[], metavar="FAULT", help="only these")
    parser.add_argument("--list", action="store_true", help="list the faults")
    options = parser.parse_args(arguments)
    return exit_code("chaos", lambda: make(options))


if __name__ == "__main__":
    sys.exit(main())
