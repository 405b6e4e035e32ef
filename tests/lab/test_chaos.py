"""How `make chaos` reads its arguments and the nodes' logs; this needs no cluster.

Its faults and checks on a cluster are in tests/cluster/test_chaos.py.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from agentlib.check import Record
from lab import chaos as command
from lab import machine
from lab.chaos import sequence
from lab.errors import LabError
from lab.faults import faults, signature
from lab.ground import SMALL, STAGES, WHOLE, moved, restarted
from lab.invariants import unexplained
from lab.journal import events
from lab.records import Records, leaving
from lab.web import Server

ROOT = Path(__file__).parents[2]
LINE = (
    "Nov 20 06:59:52.{at} {node} pacemaker-execd     [56] (log_execute) \tinfo: executing - "
    "rsc:{resource} action:{what} call_id:23\n"
)
DONE = (
    "Nov 20 06:59:52.{at} {node} pacemaker-controld  [59] (log_executor_event) \tnotice: Result of "
    "{what} operation for {resource} on {node}: {said} | graph action confirmed; call=23 "
    "key={resource}_{what}_0 rc={code}\n"
)


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with arguments by which it begins no fault."""
    words = [sys.executable, "-B", "-m", "lab.chaos", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("stage", "option"), [(SMALL, []), (WHOLE, ["--whole"])])
def test_list(stage: str, option: list[str]) -> None:
    """Each fault of a stage is listed by its name, with a description."""
    told = chaos("--list", *option)

    assert (0, "") == (told.returncode, told.stderr)
    assert [fault.name for fault in faults(stage)] == [
        line.split()[0] for line in told.stdout.splitlines()
    ]


def test_bad_arguments() -> None:
    """Wrong arguments are refused in one line, before anything is started."""
    for arguments, said in (
        (["--only", "kill-all", "flood"], "no such fault: flood (there are kill-master, "),
        (["--seed", "seven"], f"--seed seven: a seed is a number, or NUMBER@{signature(SMALL)}"),
        (["--seed", "7@0123ab"], f"another version of the faults (this one is {signature(SMALL)})"),
        (["--seed", f"7@{signature(WHOLE)}"], f"--seed 7@{signature(WHOLE)} is with --whole"),
        (["--whole", "--seed", f"7@{signature(SMALL)}"], " is without --whole"),
        (["--whole", "--only", "database-down"], "no such fault: database-down (there are "),
        (["--minutes", "0"], "--minutes 0: a number above 0"),
        (["--minutes", "nan"], "--minutes nan: a number above 0"),
        (["--steps", "-1"], "--steps -1: a whole number above 0"),
    ):
        told = chaos(*arguments)

        assert told.returncode != 0
        assert "" == told.stdout
        assert said in told.stderr
        assert "Traceback" not in told.stderr


def test_a_seed_is_a_sequence() -> None:
    """A seed decides the sequence; every fault comes once before one comes again."""
    for stage, services in STAGES.items():
        known = {fault.name: fault.chosen or services for fault in faults(stage)}
        first, same, other = (
            list(islice(sequence(seed, [], stage), 2 * len(known))) for seed in (7, 7, 8)
        )

        assert first == same
        assert first != other
        for part in (first[: len(known)], first[len(known) :]):
            assert {*known} == {fault.name for fault, _ in part}
        assert all(chosen in known[fault.name] for fault, chosen in first)
    chosen = islice(sequence(7, ["move", "clock"]), 20)
    assert {"move", "clock"} == {fault.name for fault, _ in chosen}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", []),
        (LINE.format(at=100, node="node1", what="stop", resource="p_glance-api"), []),
        (
            LINE.format(at=100, node="node2", what="stop", resource="p_glance-api"),
            ["p_glance-api was stopped on node2, and nothing explains it"],
        ),
        (
            LINE.format(at=100, node="node1", what="start", resource="p_cinder-api"),
            ["p_cinder-api was started on node1, and nothing explains it"],
        ),
        (
            LINE.format(at=100, node="node1", what="start", resource="p_glance-api")
            + LINE.format(at=200, node="node1", what="start", resource="p_glance-api"),
            ["p_glance-api was started on node1 2 times"],
        ),
        (
            DONE.format(at=100, node="node1", what="start", resource="p_glance-api", code=1,
                        said="error (no database)"),
            ["start of p_glance-api on node1 came to: error (no database)"],
        ),
        (LINE.format(at=100, node="node1", what="start", resource="fence_node2"), []),
    ],
    ids=["nothing", "explained", "other-node", "other-service", "twice", "failed", "fencing"],
)  # fmt: skip
def test_starts_and_stops_are_explained(text: str, said: list[str]) -> None:
    """A start or stop that the fault does not explain, that comes twice or fails, is reported."""
    changes = restarted("p_glance-api", "node1")

    assert said == unexplained(list(events(text, 0)), changes, (), failing=False)


def test_what_a_lost_node_explains() -> None:
    """Resources of a lost node are started elsewhere; those that move are also stopped.

    A clone is started again on its own node.
    """
    names = ["p_ip_glance-api", "p_glance-api"]
    starts = {("start", name, "node2") for name in names}
    stops = {("stop", name, "node1") for name in names}
    clone = {("start", "p_heat-engine", "node1")}

    assert starts == moved(names, "node1", "node2", lost=True)
    assert starts | stops == moved(names, "node1", "node2")
    assert starts | clone == moved(
        [*names, "p_heat-engine"], "node1", "node2", lost=True, clones=["p_heat-engine"]
    )


def test_what_a_node_explains_that_is_soon_back() -> None:
    """A node may be back before its resources' turn to start: either node may get them."""
    starts = {("start", "p_glance-api", node) for node in ("node1", "node2")}
    stops = {("stop", "p_glance-api", "node1")}

    assert starts == moved(["p_glance-api"], "node1", "node2", lost=True, booting=True)
    assert starts | stops == moved(["p_glance-api"], "node1", "node2", booting=True)


def test_deleted_record_that_is_still_listed() -> None:
    """A record that its service is about to delete may be listed, and no other."""
    for record, said in (
        ({"status": "deleting"}, True),
        ({"stack_status": "DELETE_IN_PROGRESS"}, True),
        ({"status": "ACTIVE", "OS-EXT-STS:task_state": "deleting"}, True),
        ({"status": "ACTIVE", "OS-EXT-STS:task_state": None}, False),
        ({"status": "available", "name": "chaos-1"}, False),
    ):
        assert said == leaving(record)


def test_record_that_could_not_be_deleted() -> None:
    """A deleted record may be listed where its service says that others could not delete it."""
    record = Record("server", "/servers", {}, status=("status", "ACTIVE"), behind="nova-compute")
    servers = Records(Server("", 1), record)
    alone = Records(Server("", 1), Record("image", "/images", {}, status=("status", "active")))

    assert servers.failed({"status": "ERROR"})
    assert not servers.failed({"status": "ACTIVE"})
    assert not alone.failed({"status": "ERROR"})


@pytest.mark.parametrize(("stage", "wanted"), [(SMALL, "1.5"), (WHOLE, "5.0")])
def test_too_small_a_machine(
    stage: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where too little memory is free, nothing is begun, and both numbers are said."""
    monkeypatch.setattr(machine, "memory", lambda: 1.2)

    with pytest.raises(LabError, match=f"^1.2 GiB of memory are free, and .* takes {wanted} GiB"):
        command.prepare(stage)
