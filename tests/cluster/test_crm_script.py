"""The scripts of crmsh, run by crmsh on a real cluster: validated first, then configured."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.docs_page import ROOT
from cluster.kit import PATIENCE, VIPS, Group
from lab.agents import Result
from lab.cluster import Cluster
from lab.controller import COMMAND

pytestmark = pytest.mark.real


class Shell:
    """crmsh on node1, with the scripts and the command where crmsh finds them."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        (folder / "crm").mkdir()
        (folder / "crm" / "scripts").symlink_to(ROOT / "crm" / "scripts")
        command = folder / "openstack-ocf"
        command.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
        command.chmod(0o755)

    def script(self, *words: str) -> Result:
        """Run a script; crmsh's exit code does not always say that a step has failed."""
        return self.cluster.exec(
            "node1", ["env", f"XDG_CONFIG_HOME={self.folder}",
                      f"PATH={self.folder}:/usr/sbin:/usr/bin:/sbin:/bin",
                      "crm", "script", "run", *words], timeout=2 * PATIENCE)

    def resources(self) -> str:
        """The resources of the CIB."""
        return self.cluster.exec(
            "node1", ["cibadmin", "--query", "--scope=resources"], check=True).stdout


@pytest.fixture
def shell(pair: Cluster, groups: dict[str, Group], tmp_path: Path) -> Iterator[Shell]:
    """Nothing is configured."""
    pair.clear()
    yield Shell(pair, tmp_path)
    pair.clear()


@pytest.mark.parametrize("service", sorted(VIPS))
def test_script(shell: Shell, groups: dict[str, Group], service: str) -> None:
    """A script refuses wrong values before anything is configured, and makes a running service."""
    agent = f"{service}-api"
    config = f"config={groups[service].config}"
    before = shell.resources()

    for words, said in (
        (("vip=192.0.2.12", config), "error V2"),
        ((f"vip={VIPS[service]}", "config=/etc/none.conf"), "does not exist on this node"),
        ((f"vip={VIPS[service]}", config, "os_username=monitor"), "give all of the credentials"),
        ((f"vip={VIPS[service]}", config, "shutdown_timeout=soon"), ""),
    ):
        done = shell.script(f"openstack-{agent}", *words)
        assert said in done.stdout + done.stderr
        assert "ERROR" in done.stdout + done.stderr
        assert before == shell.resources()

    done = shell.script(f"openstack-{agent}", f"vip={VIPS[service]}", config)
    assert "ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr
    status = shell.cluster.until(lambda status: status.where(f"p_{agent}"), timeout=PATIENCE)
    assert status.where(f"p_{agent}") == status.where(f"p_ip_{agent}")
    assert f'<group id="g_{agent}"' in shell.resources()

    # An existing resource is not overwritten.
    made = shell.resources()
    done = shell.script(f"openstack-{agent}", f"vip={VIPS[service]}", config)
    assert f"the cluster has a p_{agent} already" in done.stdout + done.stderr
    assert made == shell.resources()
