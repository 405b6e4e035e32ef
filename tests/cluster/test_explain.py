"""`openstack-ocf explain` and `metrics` on the nodes of a real cluster."""

from __future__ import annotations

import json

import pytest

from cluster.kit import Group
from lab.controller import COMMAND
from openstack_ocf import metrics

pytestmark = pytest.mark.real


def run(group: Group, node: str, *words: str) -> tuple[int, str]:
    """Exit code and output of the command on a node."""
    done = group.cluster.exec(node, [*COMMAND, *words])
    assert "" == done.stderr
    assert group.cloud.credentials.password not in done.stdout
    return done.code, done.stdout


def explained(group: Group, node: str) -> dict[str, str]:
    """explain's texts on a node, by verdict; its exit code must be 0."""
    code, text = run(group, node, "explain", group.name, "--format", "json")
    assert 0 == code, text
    said: dict[str, str] = {}
    for line in json.loads(text)["lines"]:
        said[line["verdict"]] = said.get(line["verdict"], "") + line["text"] + "\n"
    return said


def test_both_nodes(glance: Group) -> None:
    """On its node: pids, address, token and verdict; on the other node that nothing of it is
    there. The parameters are those of the live CIB."""
    node = glance.node()
    glance.await_monitors(2)
    here, there = explained(glance, node), explained(glance, glance.other(node))
    assert f"on node {node}\n" in here["ok"]
    assert f"config = {glance.config}\n" in here["ok"]
    assert "master: pid " in here["ok"]
    assert f"{glance.ip}: {glance.vip} is on this node (" in here["ok"]
    assert "a token is remembered until " in here["ok"]
    assert "level 10: 0 (SUCCESS); runs and serves" in here["ok"]
    assert "none of this resource on this node" in there["ok"]
    assert f"{glance.ip}: {glance.vip} is not on this node\n" in there["ok"]

    labels = f'{{agent="glance-api",resource="{glance.name}"'
    code, text = run(glance, node, "metrics")
    assert 0 == code
    assert f"{metrics.RUNNING}{labels}}} 1\n" in text
    assert f'{metrics.CODE}{labels},level="10"}} 0\n' in text
    code, text = run(glance, glance.other(node), "metrics")
    assert (0, False) == (code, f"{metrics.RUNNING}{labels}}} 1\n" in text)
