"""The Debian packages, in their own root: installed, upgraded under monitors, removed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agentlib.agent import VERSION
from harness import EVERY_AGENT
from lab.root import Kept
from packages.kit import (
    AGENTS,
    LIB,
    MONITOR,
    PACKAGES,
    PARAMETERS,
    ROOT,
    Root,
    begun,
    fill,
    made_debs,
    monitored,
    older_debs,
    run,
    slowly,
    started,
)

NAMES = sorted(agent.name for agent in EVERY_AGENT)
SHELL_AGENT = "#!/bin/sh\n# the agent of the guide\nexit 3\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The packages of `make deb`: agents, and the command."""
    return made_debs(tmp_path_factory)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Packages of an older version, whose modules do not work with today's."""
    return older_debs(tmp_path_factory)


def install(root: Root, packages: list[Path]) -> str:
    """Install packages in the root; return dpkg's output."""
    return root.run("dpkg", "--install", *(root.bring(package) for package in packages))


# --- their contents ------------------------------------------------------------------------


def test_fresh_install(made: list[Path], root: Root) -> None:
    """In a root without older files of this project agents and command run from the packages."""
    install(root, made)

    for name in NAMES:
        said = root.run("env", "-i", f"{AGENTS}/{name}", "meta-data")
        assert run("/usr/bin/python3", "-EsB", ROOT / "ocf" / name, "meta-data") == said
    assert "[glance]" in root.run("openstack-ocf", "sample")
    started(root)
    root.run(f"{AGENTS}/glance-api", "monitor", environ=MONITOR)
    root.run(f"{AGENTS}/glance-api", "stop", environ=PARAMETERS)
    root.run(f"{AGENTS}/glance-api", "monitor", environ=PARAMETERS, code=7)


def test_bytecode(made: list[Path], root: Root) -> None:
    """Every module is compiled when it is installed, and agents and command use that.

    Whoever may read a module may read that, whatever the umask; and /tmp may be noexec.
    """
    root.run_badly("dpkg", "--install", *(root.bring(package) for package in made))
    written = ["find", LIB, "-name", "*.pyc", "-printf", r"%M %p %T@ %i\n"]
    compiled = root.run(*written)
    assert {"-rw-r--r--"} == {line.split()[0] for line in compiled.splitlines()}

    root.run(f"{AGENTS}/glance-api", "monitor", environ=PARAMETERS, code=7)
    root.run("openstack-ocf", "sample")

    assert compiled == root.run(*written)
    modules = len(list(ROOT.glob("agentlib/*.py")) + list(ROOT.glob("openstack_ocf/*.py")))
    assert modules == len(compiled.splitlines())


def test_files(made: list[Path]) -> None:
    """All files are root's, no other user can write them, and they have no path of the build."""
    for package in made:
        for line in run("dpkg-deb", "--contents", package).splitlines():
            mode, owner = line.split()[:2]
            assert owner == "root/root", line
            assert mode[0] == "l" or (mode[5], mode[8]) == ("-", "-"), line
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE,
                              check=True).stdout  # fmt: skip
        assert b"/var/tmp/openstack-ocf-agents." not in data
        assert str(package.parent).encode() not in data


def test_names(made: list[Path]) -> None:
    """Each agent is in the package, with its man page; no file is one of resource-agents."""
    listing = run("dpkg-deb", "--contents", made[0])
    paths = {f"/{line.split()[5][2:]}" for line in listing.splitlines() if line[0] != "d"}

    assert {f"{AGENTS}/{name}" for name in NAMES} <= paths
    assert {f"/usr/share/man/man7/ocf_openstack_{name}.7.gz" for name in NAMES} <= paths
    assert set() == paths & set(run("dpkg", "--listfiles", "resource-agents").splitlines())


# --- over older files -----------------------------------------------------------------------


def test_upgrade_under_running_agents(made: list[Path], before: list[Path], root: Root) -> None:
    """At every moment of an upgrade all agents are of one version: every monitor is 0."""
    install(root, before)
    started(root)
    packages = [root.bring(package) for package in made]

    said, monitors = monitored(root, slowly(*root.command("dpkg", "--install", *packages)))

    assert {"0"} == set(monitors.split()), monitors
    assert "Setting up openstack-resource-agents" in said
    (version,) = (path.name for path in (root.path / LIB[1:]).iterdir())
    assert f"openstack-{VERSION}" == version[: len(f"openstack-{VERSION}")]


def test_a_start_that_is_under_way(made: list[Path], before: list[Path], root: Root) -> None:
    """A start that is under way keeps its library until it has ended; dpkg says that it waits.

    A second dpkg is refused meanwhile, and changes nothing.
    """
    install(root, before)
    packages = [root.bring(package) for package in made]

    with begun(root) as start:
        with root.begin("dpkg", "--install", *packages) as dpkg:
            assert dpkg.stdout
            said = next((line for line in dpkg.stdout if "waiting for agents that run" in line), "")
            second = root.run("dpkg", "--install", *packages, code=2)
            (root.path / "root/go").touch()
            rest = dpkg.communicate()[0]
        assert start.wait() == 0, start.communicate()[0]

    assert re.search(r": /proc/\d+/cmdline$", said.strip()), said
    assert "dpkg frontend lock was locked by" in second
    assert dpkg.returncode == 0, rest
    root.run(f"{AGENTS}/glance-api", "monitor", environ=MONITOR)


def test_over_make_install(made: list[Path], root: Root) -> None:
    """Over make install's files every monitor is 0, and only the package's files are left."""
    install(root, made)
    wanted = root.tree()
    root.run("dpkg", "--purge", *PACKAGES)
    run("make", "-C", ROOT, "install", f"DESTDIR={root.path}")
    started(root)
    packages = [root.bring(package) for package in made]

    said, monitors = monitored(root, slowly(*root.command("dpkg", "--install", *packages)))
    root.run(f"{AGENTS}/glance-api", "stop", environ=PARAMETERS)

    assert {"0"} == set(monitors.split()), monitors
    assert f"it came from no package: {AGENTS}/glance-api" in said
    log = "./var/log/glance/p.log"
    assert wanted == {path: of for path, of in root.tree().items() if path != log}


def test_over_the_shell_agents(made: list[Path], root: Root, tmp_path: Path) -> None:
    """The shell agents' package of this name is upgraded, although its version is a year."""
    old = tmp_path / "old"
    (old / "DEBIAN").mkdir(parents=True)
    (old / "DEBIAN/control").write_text(
        "Package: openstack-resource-agents\nVersion: 2015.2~git20140917-1\nArchitecture: all\n"
        "Maintainer: a <a@b.example>\nDescription: b\n")  # fmt: skip
    agent = old / AGENTS[1:] / "glance-api"
    agent.parent.mkdir(parents=True)
    agent.write_text(SHELL_AGENT)
    run("dpkg-deb", "--root-owner-group", "--build", old, tmp_path / "old.deb")
    install(root, [tmp_path / "old.deb"])

    said = install(root, made)

    assert "downgrading" not in said
    started(root)


def test_a_change_on_the_node_is_said(made: list[Path], root: Root) -> None:
    """An agent that was edited on the node is replaced, and dpkg's output names it."""
    install(root, made)
    with (root.path / AGENTS[1:] / "keystone").open("a") as file:
        file.write("# a change\n")

    said = install(root, made)

    assert [f"it was changed on this node, and is replaced: {AGENTS}/keystone"] == re.findall(
        r"it was changed on this node.*", said)  # fmt: skip
    assert "a change" not in (root.path / AGENTS[1:] / "keystone").read_text()


def test_full_disk(made: list[Path], before: list[Path], base: Kept, tmp_path: Path) -> None:
    """A disk that is full in the middle of an upgrade leaves the old version, and it works."""
    run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path)
    try:
        with Root(base, tmp_path) as root:
            install(root, before)
            packages = [root.bring(package) for package in made]
            # All but 300 KB: what is smaller than a package fits, and not all of it.
            fill(root.path / "root/full", 300_000)
            said = root.run("dpkg", "--install", *packages, code=1)

            assert "No space left on device" in said
            for name in NAMES[:9]:
                assert 'version="0.0.9"' in root.run(f"{AGENTS}/{name}", "meta-data")
    finally:
        run("umount", "--lazy", tmp_path)


# --- removed -------------------------------------------------------------------------------


def test_remove_and_purge(made: list[Path], before: list[Path], root: Root) -> None:
    """Nothing is left after an upgrade, use and a purge; logs are kept until the purge."""
    clean = root.tree()
    install(root, before)
    started(root)
    install(root, made)
    root.run(f"{AGENTS}/glance-api", "stop", environ=PARAMETERS)
    root.run("openstack-ocf", "sample")
    shutil.rmtree(root.path / "var/log/glance")
    (root.path / "var/log/openstack-ocf").mkdir(exist_ok=True)
    (root.path / "var/lib/openstack-ocf").mkdir()  # what apply saves

    root.run("dpkg", "--remove", *PACKAGES)

    assert not (root.path / "usr/lib/ocf").exists()
    assert (root.path / "var/log/openstack-ocf").exists()
    assert (root.path / "var/lib/openstack-ocf").exists()
    root.run("dpkg", "--purge", *PACKAGES)
    del clean["./var/log/glance"]
    after = root.tree()
    assert json.dumps(clean, indent=1) == json.dumps(after, indent=1)
