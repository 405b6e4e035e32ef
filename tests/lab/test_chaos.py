"""How `make chaos` reads its arguments and the nodes' logs; this needs no cluster.

Its faults and checks on a cluster are in tests/cluster/test_chaos.py.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from lab.chaos import sequence
from lab.faults import FAULTS, signature
from lab.invariants import unexplained
from lab.journal import events
from lab.scene import moved, restarted

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
    command = [sys.executable, "-B", "-m", "lab.chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_list() -> None:
    """Each fault is listed by its name, with a description."""
    told = chaos("--list")

    assert (0, "") == (told.returncode, told.stderr)
    assert [fault.name for fault in FAULTS] == [
        line.split()[0] for line in told.stdout.splitlines()
    ]


def test_bad_arguments() -> None:
    """Wrong arguments are refused in one line, before anything is started."""
    for arguments, said in (
        (["--only", "kill-all", "flood"], "no such fault: flood (there are kill-master, "),
        (["--seed", "seven"], f"--seed seven: a seed is a number, or NUMBER@{signature()}"),
        (["--seed", "7@0123ab"], f"another version of the faults (this one is {signature()})"),
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
    count = len(FAULTS)
    first, same, other = (list(islice(sequence(seed, []), 2 * count)) for seed in (7, 7, 8))

    assert first == same
    assert first != other
    for begin in (0, count):
        assert {fault.name for fault in FAULTS} == {
            fault.name for fault, _ in first[begin : begin + count]
        }
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
    changes = restarted("glance", "node1")

    assert said == unexplained(list(events(text, 0)), changes, (), failing=False)


def test_what_a_lost_node_explains() -> None:
    """Resources of a lost node are started elsewhere; those that move are also stopped."""
    starts = {("start", "p_ip_glance-api", "node2"), ("start", "p_glance-api", "node2")}
    stops = {("stop", "p_ip_glance-api", "node1"), ("stop", "p_glance-api", "node1")}

    assert starts == moved(["glance"], "node1", "node2", lost=True)
    assert starts | stops == moved(["glance"], "node1", "node2")
