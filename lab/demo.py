"""What the agents are for, shown on real Pacemaker in two minutes.

Run by `make demo` (python3 -m lab.demo, as root). Two nodes with fencing;
Glance and Cinder with their virtual IPs, and Cinder's workers, as openstack-ocf plans them from a
description; Keystone, RabbitMQ and MariaDB where both nodes reach them; and a client that asks both
virtual IPs several times a second. Each chapter below makes a fault; what Pacemaker does then is
printed while it happens, and the result is checked, row by row.

`make transcript` writes the output of a run to docs/demo.txt.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import apt, netns, playground, show
from lab.agents import ROOT, SERVICES
from lab.client import PATHS, Watch
from lab.command import exit_code
from lab.errors import LabError
from lab.journal import DEGRADED
from lab.playground import ALL, WORKERS, Playground, address, resource
from lab.stage import PATIENCE, Seen, Stage, found_dead, orphaned

FURTHER = 1  # monitor, after the first monitor that has noticed that Keystone is down
PROVE = ("env", f"PYTHONPATH={ROOT}", "/usr/bin/python3", "-B", "-m", "openstack_ocf", "prove")
KILLED = ("cinder", "cinder-volume")
CLONED = "cinder-scheduler"
ALONE = tuple(service for service in ALL if service != CLONED)


@dataclass(frozen=True)
class Chapter:
    """A fault, and what must come of it.

    play: makes the fault, and checks each of the rows. client: whether what the client saw is
    printed. crm_mon: whether its output is printed at the end.
    """

    heading: str
    rows: Sequence[str]
    play: Callable[[Stage], Sequence[Seen]]
    client: bool = True
    crm_mon: bool = True


def start(stage: Stage) -> list[Seen]:
    """Describe all services, load what openstack-ocf plans for them, and wait until they serve."""
    here = stage.here
    description = here.describe()
    for text in filter(None, description.read_text().splitlines()):
        show.line(f"  {show.coloured(f'{description.name}  |  {text}', show.DIM)}")
    stage.say("openstack-ocf plan --as crm; crm configure load update, with monitors every "
              f"{playground.QUICK} and {playground.INTERVAL} s")
    here.apply(description)
    nodes = here.cluster.nodes
    stage.until(lambda: all(map(stage.recovered, ALONE)) and stage.recovered(CLONED, *nodes))
    for service in SERVICES:
        served = [asked.done for asked in stage.watch.asked(service, 0) if asked.served]
        stage.say(f"the client is served: {here.cloud.server(service)}{PATHS[service]}",
                  min(served))
    status = here.cluster.status()
    together = [status.where(address(s)) == status.where(resource(s)) != "" for s in SERVICES]
    cloned = status.resources[resource(CLONED)].nodes
    return [Seen(all(together)), Seen(sorted(cloned) == sorted(nodes)),
            Seen(status.where(resource("cinder-volume")) != "")]


def kill_master(stage: Stage) -> list[Seen]:
    """Kill the master of glance-api alone."""
    here, node = stage.here, stage.here.node("glance")
    old, others = here.pids("glance", node), here.pids("cinder")
    stage.kill(node, old[:1])
    stage.say(f"{node}: kill -KILL {old[0]}, the master; {len(old) - 1} workers hold on")
    stage.until(lambda: stage.recovered("glance"))
    verdicts = stage.verdicts("glance")
    return [
        Seen(bool(verdicts) and all(map(orphaned, verdicts))),
        Seen(not stage.left(node, old)),
        Seen(here.node("glance") == node),
        *stage.alone("cinder", others),
    ]


def kill_all(stage: Stage) -> list[Seen]:
    """Kill every process of cinder-api, and of cinder-volume."""
    here = stage.here
    others = here.pids("glance")
    nodes = {service: here.node(service) for service in KILLED}
    old = {service: here.pids(service, node) for service, node in nodes.items()}
    for service, node in nodes.items():
        stage.kill(node, old[service])
        stage.say(f"{node}: kill -KILL {' '.join(map(str, old[service]))}, all of "
                  f"{resource(service).removeprefix('p_')}")
    stage.until(lambda: all(map(stage.recovered, KILLED)))
    return [
        found_dead(stage, *KILLED),
        Seen(not any(stage.left(node, old[service]) for service, node in nodes.items())),
        Seen(nodes == {service: here.node(service) for service in KILLED}),
        *stage.alone("glance", others),
    ]


def lose_keystone(stage: Stage) -> list[Seen]:
    """Stop Keystone, while the services' workers have the client's token, and start it again."""
    here = stage.here
    before = {service: here.pids(service) for service in SERVICES}
    stage.watch.token = here.cloud.token()  # a worker that sees it now caches it for 5 min
    for service in SERVICES:
        stage.introduce(service, PATHS[service], before[service][1:])
    down = time.time()
    here.cloud.down("keystone")
    here.skew(0)
    stage.say("Keystone is down; the tokens that the agents remember have run out")
    stage.until(lambda: all(stage.says(service, DEGRADED) for service in SERVICES))
    seen = {service: unreached(stage, service) for service in SERVICES}
    stage.until(lambda: all(unreached(stage, s) >= seen[s] + FURTHER for s in SERVICES))
    crm_mon(stage)
    said = blamed(stage, "Keystone", SERVICES)
    here.cloud.up("keystone")
    back = time.time()
    stage.say("Keystone is back")
    stage.until(lambda: all(stage.says(service, "ok", back) for service in SERVICES))
    return [
        said,
        Seen(not stage.changes()),
        Seen(before == {s: here.pids(s) for s in SERVICES}),
        Seen(not here.cluster.status().fail_counts),
        stage.undisturbed(*SERVICES, after=down),
    ]


def lose_rabbit(stage: Stage) -> list[Seen]:
    """Stop RabbitMQ, which Cinder's workers need, and start it again."""
    here = stage.here
    before = stage.family()
    workers = [(name, node) for name, node in before if name in WORKERS]

    def all_say(result: str, after: float = 0.0) -> bool:
        said = {(name, one.node) for name in WORKERS for one in stage.says(name, result, after)}
        return said >= set(workers)

    here.cloud.down("rabbit")
    stage.say("RabbitMQ is down")
    stage.until(lambda: all_say(DEGRADED))
    crm_mon(stage)
    said = blamed(stage, "RabbitMQ", WORKERS)
    here.cloud.up("rabbit")
    back = time.time()
    stage.say("RabbitMQ is back")
    stage.until(lambda: all_say("ok", back))
    return [
        said,
        Seen(not stage.changes()),
        Seen(before == stage.family()),
        Seen(not here.cluster.status().fail_counts),
        stage.undisturbed(*SERVICES),
    ]


def cut_node(stage: Stage) -> list[Seen]:
    """Cut off the node that Glance is on; mend its cable after it was fenced."""
    here, lost = stage.here, stage.here.node("glance")
    other = next(node for node in here.cluster.nodes if node != lost)
    before = {key: pids for key, pids in stage.family().items() if key[1] == other}
    moving = [service for service in ALONE if (service, other) not in before]
    here.cluster.cut(lost)
    stage.say(f"{lost} is cut off: it runs on, but no packet reaches or leaves it")
    stage.until(lambda: all(stage.recovered(service, other) for service in moving))
    crm_mon(stage)
    fenced = [one.at for one in stage.events() if (one.what, one.resource) == ("fenced", lost)]
    begun = [event.at for event in stage.changes(*moving)
             if event.node == other and event.what == "start"]
    status = here.cluster.status(other)
    moved = [status.where(resource(service)) == other for service in moving]
    moved += [status.where(address(service)) == other for service in SERVICES]
    stage.say(f"the cable of {lost} is mended")
    here.cluster.heal(lost)
    stage.until(lambda: stage.recovered(CLONED, lost))
    stage.settle()
    stage.tell()
    alive = stage.family()
    taken = [event for event in stage.changes(*ALONE)
             if event.node == lost and event.at > min(fenced) and event.what == "start"]
    return [
        Seen(bool(fenced and begun) and min(fenced) <= min(begun)),
        Seen(all(moved)),
        Seen(before == {key: pids for key, pids in alive.items() if key in before}),
        stage.undisturbed(*(service for service in SERVICES if service not in moving)),
        Seen(not taken and {node for service, node in alive if service in ALONE} == {other}),
    ]


def prove(stage: Stage) -> list[Seen]:
    """Send an image and a volume through a failover, as a client, from one of the nodes."""
    here = stage.here
    before = {service: here.node(service) for service in ALONE}
    said = {service: proved(stage, service) for service in SERVICES}
    after = {service: here.node(service) for service in ALONE}
    query = ["cibadmin", "--query", "--scope=constraints"]
    constraints = here.cluster.exec(here.cluster.asked, query, check=True).stdout
    return [
        Seen(same(said["glance"], "read back: the same bytes")),
        Seen(same(said["cinder"], "listed: the same volume")),
        Seen(all(after[service] not in ("", node) for service, node in before.items())),
        Seen("<rsc_location" not in constraints and not left_over(here)),
    ]


# What was seen


def unreached(stage: Stage, service: str) -> int:
    """How often a service was asked for its versions: by each monitor that had no token."""
    config = stage.here.cloud.config(service)
    log = stage.here.cloud.log(service).with_name(f"{config.stem}.log")
    return log.read_text(errors="replace").count('"GET / HTTP/')


def blamed(stage: Stage, culprit: str, services: Sequence[str]) -> Seen:
    """Whether crm_mon shows 190 of exactly these services, and every reason names the culprit."""
    failures = stage.here.cluster.status().failures
    told = {(one.resource, one.code) for one in failures if culprit in one.reason}
    right = told == {(resource(service), 190) for service in services}
    return Seen(right and all(culprit in one.reason for one in failures))


def proved(stage: Stage, service: str) -> list[str]:
    """What `openstack-ocf prove --move` says on a node; nothing where its exit code is not 0."""
    folder = stage.here.cloud.directory
    words = [service, "--move", "--yes", f"--wait={PATIENCE:.0f}",
             f"--description={folder / playground.DESCRIPTION}",
             f"--credentials={folder / 'openrc'}"]
    node = stage.here.cluster.asked
    stage.say(f"{node}: openstack-ocf prove {service} --move --yes")
    lines = []
    with subprocess.Popen(
        stage.here.cluster.argv(node, [*PROVE, *words]), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as command:
        for line in command.stdout or ():
            lines.append(line.rstrip())
            stage.tell()
            stage.say(show.coloured(f"prove  |  {lines[-1]}", show.DIM))
    stage.tell()
    return [] if command.returncode else lines


def same(said: Sequence[str], line: str) -> bool:
    """Whether a line was said before a move, and again after it."""
    moved = [at for at, one in enumerate(said) if one.startswith("moved: ")]
    return bool(moved) and line in said[: moved[0]] and line in said[moved[-1] :]


def left_over(here: Playground) -> bool:
    """Whether an image or a volume is left."""
    token = here.cloud.admin_token()
    found: list[Mapping[str, object]] = []
    for service, path, name in (("glance", "/v2/images", "images"),
                                ("cinder", "/v3/volumes?all_tenants=1", "volumes")):
        answer = here.cloud.server(service).get(path, token=token, timeout=PATIENCE)
        found += answer.json()[name]
    return bool(found)


CHAPTERS = (
    Chapter("APIs with their virtual IPs, and workers", (
        "each API is started where its address is, and serves",
        "cinder-scheduler, a clone, is connected to RabbitMQ on each node",
        "cinder-volume is connected on one",
    ), start, client=False),
    Chapter("The master process of glance-api is killed; its workers hold on", (
        "the monitor was not deceived by the workers",
        "no process of the old daemon is left",
        "it was started again where it was",
        "Cinder was left alone",
        "the client was refused nothing by Cinder",
    ), kill_master),
    Chapter("cinder-api and the worker cinder-volume are killed, with all their processes", (
        "the monitors found it",
        "no process of the old daemons is left",
        "both were started again where they were",
        "Glance was left alone",
        "the client was refused nothing by Glance",
    ), kill_all),
    Chapter("Keystone is down: the APIs are not to blame, and stay", (
        "the monitors of both APIs said 190, and why",
        "nothing was stopped, started or moved",
        "the same processes run",
        "no failure was counted",
        "the client was refused nothing",
    ), lose_keystone, crm_mon=False),
    Chapter("RabbitMQ is down: the workers are not to blame, and stay", (
        "the monitors of all workers said 190, and why",
        "nothing was stopped, started or moved",
        "the same processes run, and are connected again",
        "no failure was counted",
        "the client was refused nothing",
    ), lose_rabbit, crm_mon=False),
    Chapter("A node is cut off", (
        "it was fenced before anything was started in its place",
        "the other node has taken over, with the addresses",
        "what ran there already was left alone",
        "and has refused the client nothing",
        "the node is back, and has taken nothing: nothing runs twice",
    ), cut_node),
    Chapter("Proof: an image and a volume through a failover", (
        "the bytes of the image are the same before the move and after it",
        "the volume is the same before and after, and the moved cinder-volume has deleted it",
        "all of it was moved to the other node",
        "nothing is left behind: no image, no volume, no constraint",
    ), prove),
)


# How they are shown


def play(stage: Stage) -> tuple[int, int]:
    """Show all chapters; how many rows were as expected, and how many were not."""
    right = wrong = 0
    for chapter in CHAPTERS:
        clean(stage)
        show.line("\n" + show.coloured(chapter.heading, show.BOLD))
        stage.since = time.time()
        stage.told.clear()
        seen = chapter.play(stage)
        if len(seen) != len(chapter.rows):
            raise LabError(f"{len(seen)} of {len(chapter.rows)} rows were looked at")
        if chapter.client:
            show.line(f"  {'the client':12}{outages(stage)}")
        if chapter.crm_mon:
            crm_mon(stage)
        for text, one in zip(chapter.rows, seen):
            mark = (show.coloured("ok", show.GREEN) if one.good
                    else show.coloured("WRONG", show.RED))
            show.line(f"  {mark:12}{text}{f' ({one.more})' if one.more else ''}")
            right, wrong = right + one.good, wrong + (not one.good)
    return right, wrong


def outages(stage: Stage) -> str:
    """For how long each service did not answer the client, as text."""
    told = []
    for service in SERVICES:
        lost = stage.watch.lost(service, stage.since)
        text = f"{lost:.1f} s without service" if lost else "served all the time"
        told.append(show.coloured(f"{service}: {text}", show.YELLOW if lost else show.GREEN))
    return "; ".join(told)


def crm_mon(stage: Stage) -> None:
    """Print what crm_mon shows at this moment."""
    for line in stage.here.crm_mon():
        show.line(f"  {show.coloured(f'crm_mon  |  {line}', show.DIM)}")


def clean(stage: Stage) -> None:
    """Clean up the failures of the last chapter, as an operator does after reading them."""
    if stage.here.cluster.status().failures:
        stage.here.cluster.exec(stage.here.cluster.asked, ["crm_resource", "--cleanup"], check=True)
        stage.settle()


def demonstrate() -> int:
    """The whole demo; its exit code."""
    begin = time.monotonic()
    playground.prepare()
    with Playground.temporary() as here:
        servers = {service: here.cloud.server(service) for service in SERVICES}
        with show.silence(), Watch(
            servers, here.cloud.token(), backs_off=True
        ).running() as watch:
            right, wrong = play(Stage(here, watch))
    places = (here.cloud.directory, here.cluster.directory, netns.FOLDER / here.cluster.outside)
    left = any(place.exists() for place in places)
    summary = f"{right} of {right + wrong} as expected, in {time.monotonic() - begin:.0f} s; "
    summary += "SOMETHING IS LEFT BEHIND" if left else "nothing left behind"
    colour = show.RED if wrong or left else show.GREEN
    show.line("\n" + show.coloured(summary, show.BOLD, colour))
    return 1 if wrong or left else 0


def keep(file: Path, lines: Sequence[str]) -> None:
    """Write a transcript, with the system it was made on; the file is replaced as a whole."""
    system = Path("/etc/debian_version").read_text().strip()
    pacemaker = apt.versions(["pacemaker"])["pacemaker"]
    made = (f"What `make demo` has shown, kept by `make transcript`: Debian {system}, "
            f"Pacemaker {pacemaker}, {os.cpu_count()} CPUs.")
    part = file.with_name(f"{file.name}.part")
    part.write_text("\n".join([made, "", *lines, ""]))
    part.replace(file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the demo; an error of the lab is printed in a line or two."""
    parser = argparse.ArgumentParser(prog="python3 -m lab.demo", description=__doc__)
    parser.add_argument("--transcript", type=Path, metavar="FILE",
                        help="keep what a run has shown, if all of it was as expected")
    options = parser.parse_args(arguments)

    def shown() -> int:
        with show.collected() as lines:
            code = demonstrate()
        if options.transcript and code == 0:
            keep(options.transcript, lines)
        return code

    return exit_code("demo", shown)


if __name__ == "__main__":
    sys.exit(main())
