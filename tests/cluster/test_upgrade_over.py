"""In a running cluster ours take the place of the HA guide's shell agents, and of `make install`.

Left for make check-nightly.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlib.agent import VERSION
from cluster.kit import Group, await_end
from cluster.upgrades import agents_of, install, own_disks, upgrade, version
from lab.cluster import Cluster
from packages.kit import AGENTS, ROOT, made_debs

pytestmark = pytest.mark.real

PARAMETERS = ("config", "os_auth_url", "os_username", "os_password", "os_tenant_name")
SHELL_AGENT = """#!/bin/sh
# As the agents of the HA guide do it: a pidfile, and a shell that starts the daemon.
pidfile=/run/resource-agents/$OCF_RESOURCE_INSTANCE.pid
running() {{ [ -e "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }}
case $1 in
meta-data)
    cat <<END
<?xml version="1.0"?>
<resource-agent name="glance-api">
<version>1.0</version>
<longdesc lang="en">the agent of the guide</longdesc>
<shortdesc lang="en">the agent of the guide</shortdesc>
<parameters>{parameters}</parameters>
<actions>
<action name="start" timeout="10"/>
<action name="stop" timeout="10"/>
<action name="monitor" timeout="5" interval="10"/>
<action name="meta-data" timeout="5"/>
</actions>
</resource-agent>
END
    ;;
start)
    running && exit 0
    su glance -s /bin/sh -c "/usr/bin/glance-api --config-file $OCF_RESKEY_config"' \\
        >>/dev/null 2>&1 & echo $!' >"$pidfile"
    ;;
stop)
    running || exit 0
    kill "$(cat "$pidfile")"
    while running; do sleep 0.1; done
    rm "$pidfile"
    ;;
monitor)
    running || exit 7
    ;;
*)
    exit 3
    ;;
esac
"""
PARAMETER = """<parameter name="{name}" unique="0" required="0">
<longdesc lang="en">{name}</longdesc>
<shortdesc lang="en">{name}</shortdesc>
<content type="string"/>
</parameter>"""


class OfTheGuide(Group):
    """A group with the parameters that the guide's agents have."""

    def given(self) -> dict[str, object]:
        given = super().given()
        given["os_tenant_name"] = given.pop("os_project_name")
        return given


@pytest.fixture(scope="module")
def guide(groups: dict[str, Group]) -> OfTheGuide:
    """The Image API as a cluster has it that was made by the guide."""
    known = groups["glance"]
    return OfTheGuide(known.cluster, known.cloud, known.service, known.token, label="guide")


@pytest.fixture
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What `make deb` makes: agents, and the command."""
    return made_debs(tmp_path_factory)


@pytest.mark.parametrize("way", ["dpkg", "make install"])
def test_over_the_shell_agents(
    pair: Cluster, guide: OfTheGuide, packages: list[Path], tmp_path: Path, way: str
) -> None:
    """Over an agent of the HA guide: the daemon that it started goes on, and can be stopped."""
    parameters = "\n".join(PARAMETER.format(name=name) for name in PARAMETERS)
    with own_disks(guide, tmp_path):
        for node in pair.nodes:
            agent = agents_of(tmp_path / node) / "glance-api"
            agent.write_text(SHELL_AGENT.format(parameters=parameters))
            agent.chmod(0o755)
        guide.ready()
        family = guide.family()

        if way == "dpkg":
            said = upgrade(guide, tmp_path, "dpkg", "--install", *packages)
            assert f"it came from no package: {AGENTS}/glance-api" in said
        else:
            upgrade(guide, tmp_path, "make", "-C", ROOT, "install")

        assert version(guide) == VERSION
        pair.crm("resource", "stop", guide.group)
        await_end(family)


def test_over_make_install(
    pair: Cluster, groups: dict[str, Group], packages: list[Path], tmp_path: Path
) -> None:
    """Over `make install`: its library goes when no agent uses it any more."""
    group = groups["glance"]
    with own_disks(group, tmp_path):
        install(pair, "make", "-C", ROOT, "install")
        group.ready()
        node = group.node()

        said = upgrade(group, tmp_path, "dpkg", "--install", *packages)

        assert "what make install has left is removed" in said
        left = pair.exec(node, ["ls", "/usr/lib/ocf/lib"], check=True).stdout.split()
        assert [] == [name for name in left if name == "openstack"]
        assert not (agents_of(tmp_path / node) / "agentlib").is_symlink()
