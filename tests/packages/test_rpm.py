"""The rpm packages, made and installed with Debian's rpm in their own root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentlib.agent import VERSION
from packages.kit import (
    AGENTS,
    LIB,
    MONITOR,
    PACKAGES,
    PARAMETERS,
    ROOT,
    Root,
    debs,
    dist,
    monitored,
    older,
    run,
    slowly,
    started,
)

OWN = (
    r"^/usr/share/(licenses|lintian|python3|doc/openstack-ocf)\b"
    r"|/(copyright|changelog\.gz|CHANGELOG\.md)$"
)
"""Files that only one kind of package has, or has in another place."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The packages of `make rpm`: agents, and the command."""
    folder = tmp_path_factory.mktemp("rpm")
    said = run("make", "-s", "-C", ROOT, "rpm", f"DIST={folder}").splitlines()
    return [next(Path(line) for line in said if f"/{name}-" in line and ".noarch." in line)
            for name in PACKAGES]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Packages of an older version, whose modules do not work with today's."""
    folder = tmp_path_factory.mktemp("before")
    archive = older(folder)
    run("rpmbuild", "-tb", "--nodeps", "--define", f"_topdir {folder}", archive, HOME=str(folder))
    return [next(folder.glob(f"RPMS/noarch/{name}-*.rpm")) for name in PACKAGES]


def rpm(root: Root, *arguments: str, packages: Sequence[Path] = ()) -> list[str]:
    """A command of the host's rpm for the root; --nodeps, since rpm does not know deb packages."""
    nodeps = ["--nodeps"] if packages else []
    return root.outside(
        "rpm", "--root", root.merged, "--dbpath", "/var/lib/rpm", *arguments, *nodeps, *packages)


def query(package: Path, form: str) -> str:
    """Query a package by rpm, whose database is made beside the package."""
    command = ("rpm", "--query", "--package", "--queryformat", form, package)
    return run(*command, HOME=str(package.parent))


def paths(listing: str) -> set[str]:
    """Paths without the intended differences: the version's folder, and compressed man pages."""
    lines = re.sub(r"/openstack-\d[^/\n]*", "/openstack-VERSION", listing).splitlines()
    found = {re.sub(r"(/man\d/.*)\.gz$", r"\1", path).replace("/examples/", "/") for path in lines}
    return {path for path in found if not re.search(OWN, path)}


def test_the_same_files_as_the_deb(made: list[Path], tmp_path: Path) -> None:
    """The two packages have the files of the two Debian packages, except for the paths in OWN."""
    ours = debs(dist(tmp_path / "dist"), tmp_path / "deb")
    for package in made:
        name = re.sub(r"-\d.*", "", package.name)
        files = query(package, "[%{FILENAMES}\\n]")
        kinds = query(package, "[%{FILEMODES:perms}\\n]")
        rpms = "\n".join(path for path, kind in zip(files.splitlines(), kinds.splitlines())
                         if kind[0] != "d")  # fmt: skip

        assert paths(in_deb(ours[name])) == paths(rpms)


def in_deb(package: Path) -> str:
    """The files of a Debian package, a path on each line."""
    contents = run("dpkg-deb", "--contents", package).splitlines()
    return "\n".join(line.split()[5][1:] for line in contents if line[0] != "d")


def test_install_and_remove(made: list[Path], root: Root) -> None:
    """Agents and command run from the packages, with bytecode; a removal leaves no file."""
    (root.path / "usr/share/licenses").mkdir()  # of the distribution's package `filesystem`
    clean = root.tree()
    run(*rpm(root, "--install", packages=made))

    started(root)
    root.run(f"{AGENTS}/glance-api", "monitor", environ=MONITOR)
    root.run(f"{AGENTS}/glance-api", "stop", environ=PARAMETERS)
    assert "[glance]" in root.run("openstack-ocf", "sample")
    modules = len(list(ROOT.glob("agentlib/*.py")) + list(ROOT.glob("openstack_ocf/*.py")))
    assert modules == len(root.run("find", LIB, "-name", "*.pyc").splitlines())

    run(*rpm(root, "--erase", *PACKAGES))
    (root.path / "var/log/glance/p.log").unlink(missing_ok=True)
    assert clean == root.tree()


def test_upgrade_under_running_agents(made: list[Path], before: list[Path], root: Root) -> None:
    """At every moment of an upgrade all agents are of one version: every monitor is 0."""
    run(*rpm(root, "--install", packages=before))
    started(root)

    _, monitors = monitored(root, slowly(*rpm(root, "--upgrade", packages=made)))

    assert {"0"} == set(monitors.split()), monitors
    (version,) = (path.name for path in (root.path / LIB[1:]).iterdir())
    assert version.startswith(f"openstack-{VERSION}")


def test_modes(made: list[Path]) -> None:
    """All files are root's, and no other user can write them."""
    for package in made:
        said = query(package, "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\\n]")
        for line in said.splitlines():
            assert line.split()[1] == "root", line
            assert (line[5], line[8]) == ("-", "-"), line
