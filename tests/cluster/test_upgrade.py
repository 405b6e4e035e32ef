"""The package is upgraded in a running cluster, as an operator does it: nothing is restarted."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlib.agent import VERSION
from cluster.kit import Group
from cluster.upgrades import install, own_disks, upgrade, version
from lab.cluster import Cluster
from packages.kit import made_debs, older_debs

pytestmark = pytest.mark.real


def test_from_the_version_before(
    pair: Cluster, groups: dict[str, Group], tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """From the version before: at every moment agents work, and each monitor is 0."""
    group = groups["glance"]
    before, made = older_debs(tmp_path_factory), made_debs(tmp_path_factory)
    with own_disks(group, tmp_path):
        install(pair, "dpkg", "--install", *before)
        group.ready()
        assert "0.0.9" == version(group)

        said = upgrade(group, tmp_path, "dpkg", "--install", *made)

        assert "Setting up openstack-resource-agents" in said
        assert version(group) == VERSION
