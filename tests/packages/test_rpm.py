"""The rpm packages, made and installed with Debian's rpm in their own root."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentlib.agent import VERSION
from harness import eventually
from lab.root import ENVIRON, Kept
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
    made_rpms,
    monitored,
    older_rpms,
    run,
    slowly,
    started,
)

OWN = (
    r"^/usr/share/(licenses|lintian|python3|doc/openstack-ocf)\b"
    r"|/(copyright|changelog\.gz|CHANGELOG\.md|SHA256SUMS)$"
)
"""Files that only one kind of package has, or has in another place."""
NEEDED = {
    "/bin/sh": "", "/usr/bin/python3": "", "coreutils": "", "findutils": "", "grep": "",
    "python3": " = 3.9", "python3-keystoneauth1": "", "python3-requests": "", "sed": "",
}  # fmt: skip
"""What has to be there, each with the version that is enough.

All are names of packages of RHEL 9 (keystoneauth1: RDO's) or files in them, and names that packages
of openSUSE Tumbleweed have or provide.
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The packages of `make rpm`: agents, and the command."""
    return made_rpms(tmp_path_factory)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Packages of an older version that goes with ours in nothing."""
    return older_rpms(tmp_path_factory)


def rpm(root: Root, *arguments: str | Path) -> list[str]:
    """An rpm of the host that works on the root; it knows nothing of Debian's packages there."""
    return root.outside("rpm", "--root", root.merged, "--dbpath", "/var/lib/rpm", *arguments)


def install(root: Root, packages: Sequence[Path], *how: str) -> list[str]:
    """What installs packages in the root, whatever they need, or upgrades to them."""
    return rpm(root, "--upgrade", "--nodeps", *how, *packages)


def query(package: Path, form: str) -> str:
    """Query a package by rpm, whose database is made beside the package."""
    command = ("rpm", "--query", "--package", "--queryformat", form, package)
    return run(*command, HOME=str(package.parent))


def paths(listing: str) -> set[str]:
    """Paths without the intended differences: the version's folder, and compressed man pages."""
    lines = re.sub(r"/openstack-\d[^/\n]*", "/openstack-VERSION", listing).splitlines()
    found = {re.sub(r"(/man\d/.*)\.gz$", r"\1", path).replace("/examples/", "/") for path in lines}
    return {path for path in found if not re.search(OWN, path)}


def test_the_same_files_as_the_deb(
    made: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The two packages have the files of the two Debian packages, except for the paths in OWN."""
    for package, deb in zip(made, made_debs(tmp_path_factory)):
        files = query(package, "[%{FILENAMES}\\n]")
        kinds = query(package, "[%{FILEMODES:perms}\\n]")
        rpms = "\n".join(path for path, kind in zip(files.splitlines(), kinds.splitlines())
                         if kind[0] != "d")  # fmt: skip

        assert paths(in_deb(deb)) == paths(rpms)


def in_deb(package: Path) -> str:
    """The files of a Debian package, a path on each line."""
    contents = run("dpkg-deb", "--contents", package).splitlines()
    return "\n".join(line.split()[5][1:] for line in contents if line[0] != "d")


def test_install_and_remove(made: list[Path], root: Root) -> None:
    """Agents and command run from the packages, with bytecode; removed, they leave no file.

    The umask is of no account. An upgrade before that is in `test_two_at_once`.
    """
    (root.path / "usr/share/licenses").mkdir()  # of the distribution's package `filesystem`
    clean = root.tree()
    run("sh", "-c", 'umask 077; exec "$@"', "sh", *install(root, made))

    started(root)
    root.run(f"{AGENTS}/glance-api", "monitor", environ=MONITOR)
    root.run(f"{AGENTS}/glance-api", "stop", environ=PARAMETERS)
    assert "[glance]" in root.run("openstack-ocf", "sample")
    modules = len(list(ROOT.glob("agentlib/*.py")) + list(ROOT.glob("openstack_ocf/*.py")))
    compiled = root.run("find", LIB, "-name", "*.pyc", "-printf", r"%M\n").splitlines()
    assert ["-rw-r--r--"] * modules == compiled

    run(*rpm(root, "--erase", *PACKAGES))
    (root.path / "var/log/glance/p.log").unlink(missing_ok=True)
    assert clean == root.tree()


def test_upgrade_under_running_agents(made: list[Path], before: list[Path], root: Root) -> None:
    """At every moment of an upgrade all agents are of one version: every monitor is 0."""
    run(*install(root, before))
    started(root)

    _, monitors = monitored(root, slowly(*install(root, made)))

    assert {"0"} == set(monitors.split()), monitors
    (version,) = (path.name for path in (root.path / LIB[1:]).iterdir())
    assert version.startswith(f"openstack-{VERSION}")


def test_two_at_once(made: list[Path], before: list[Path], root: Root) -> None:
    """A start that is under way keeps its library; an rpm that comes meanwhile is refused.

    An agent that was changed on the node is replaced, and rpm says so. Removed after all that, no
    file is left.
    """
    (root.path / "usr/share/licenses").mkdir()
    clean = root.tree()
    run(*install(root, before))
    agent = root.path / AGENTS[1:] / "keystone"
    agent.write_text(f"{agent.read_text()}# a change\n")

    with begun(root) as start, begin(install(root, made)) as first:
        eventually(lambda: "a change" not in agent.read_text(), 180)
        with begin(install(root, made)) as second:
            refused = second.communicate()[0]
        assert first.poll() is None
        (root.path / "root/go").touch()
        assert start.wait() == 0, start.communicate()[0]
        said = first.communicate()[0]

    assert first.returncode == 0, said
    assert [f"it was changed on this node, and is replaced: {AGENTS}/keystone"] == re.findall(
        r"it was changed on this node.*", said)  # fmt: skip
    assert second.returncode != 0
    assert "can't create transaction lock" in refused
    root.run(f"{AGENTS}/glance-api", "monitor", environ=MONITOR)
    root.run(f"{AGENTS}/glance-api", "stop", environ=PARAMETERS)
    assert versions(root) == {f'version="{VERSION}"'}
    run(*rpm(root, "--erase", *PACKAGES))
    (root.path / "var/log/glance/p.log").unlink(missing_ok=True)
    (root.path / "usr/local/bin/daemon").unlink()
    del clean["./usr/local/bin/daemon"]
    assert clean == root.tree()


def begin(command: list[str]) -> subprocess.Popen[str]:
    """Begin a command; stdout and stderr come together."""
    return subprocess.Popen(command, env=ENVIRON, stdin=subprocess.DEVNULL, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def versions(root: Root) -> set[str]:
    """The versions that agents in the root have, of each it is found that it works."""
    script = f'for agent in {AGENTS}/*; do "$agent" meta-data || exit 1; done'
    return set(re.findall(r'version="[^"]*"(?=>\n<version>)', root.run("sh", "-c", script)))


@pytest.mark.parametrize("how", [[], ["--ignoresize"]])
def test_full_disk(
    made: list[Path], before: list[Path], base: Kept, tmp_path: Path, how: list[str]
) -> None:
    """A disk that is full before an upgrade, or in its middle, leaves agents that work.

    rpm sees it before; --ignoresize: as if something else had filled it meanwhile. When there is
    room again, the upgrade is done.
    """
    run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path)
    try:
        with Root(base, tmp_path) as root:
            run(*install(root, before))
            # All but 300 KB: what is smaller than a package fits, and not all of it.
            fill(root.path / "root/full", 300_000)
            with begin(install(root, made, *how)) as upgrade:
                said = upgrade.communicate()[0]

            assert upgrade.returncode != 0
            assert ("erase skipped" if how else "more space on the") in said, said
            assert versions(root) <= {'version="0.0.9"', f'version="{VERSION}"'}
            (root.path / "root/full").unlink()
            run(*install(root, made))
            assert versions(root) == {f'version="{VERSION}"'}
    finally:
        run("umount", "--lazy", tmp_path)


def test_requires(made: list[Path], root: Root, tmp_path: Path) -> None:
    """What the packages need are names of RHEL and openSUSE; with these they are installed."""
    with begin(rpm(root, "--install", "--test", *made)) as refused:
        said = refused.communicate()[0]

    assert {*NEEDED} == set(re.findall(r"^\s+(\S+).* is needed by ", said, re.MULTILINE)), said
    spec = tmp_path / "distribution.spec"
    provides = "".join(f"Provides: {name}{NEEDED[name]}\n" for name in NEEDED)
    spec.write_text(
        f"Name: distribution\nVersion: 1\nRelease: 1\nSummary: a\nLicense: a\n{provides}"
        "BuildArch: noarch\n%description\na\n%files\n")  # fmt: skip
    run("rpmbuild", "-bb", "--define", f"_topdir {tmp_path}", spec, HOME=str(tmp_path))
    (distribution,) = tmp_path.glob("RPMS/noarch/*.rpm")
    run(*rpm(root, "--install", "--nodeps", distribution))
    run(*rpm(root, "--install", *made))


def test_modes(made: list[Path]) -> None:
    """All files are root's, and no other user can write them."""
    for package in made:
        said = query(package, "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\\n]")
        for line in said.splitlines():
            assert line.split()[1] == "root", line
            assert (line[5], line[8]) == ("-", "-"), line
