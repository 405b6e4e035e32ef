"""Replace the agents of a cluster under running monitors: as `make install` does it, or by dpkg.

Called by `lab.mishaps`. `replace` writes each file beside the old one and renames it: the library
first, then the agents; bytecode comes last. `Packages` are this project's own, in two versions, for
the disk of one node. Agents that run are not waited for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from lab.cluster import Cluster
from lab.errors import LabError
from lab.node import PYTHON, ROOT

LIBRARY = "agentlib"
NEW = ".new"
NEEDS = ("make", "debhelper", "dh-python", "dpkg-dev")
"""The Debian packages that make ours."""
PACKAGE = "openstack-resource-agents"
OLDER = "0.0.9"
PLACE = "/usr/lib/ocf/resource.d/openstack"
BUILD = 600.0  # seconds, for what takes ten on an idle machine
# A disk of the node's own for what dpkg writes, with the agents that the node has now until it is
# turned off. The agents come last: from then on dpkg changes what monitors run.
DISK = """
[ ! -e /run/own-disk ] || exit 0
mkdir -p "$1"
for place in /usr/lib/ocf/lib /var/lib/dpkg; do
    own=$(mktemp -d "$1/XXXXXXXX")
    mkdir "$own/upper" "$own/work"
    chmod 755 "$own/upper"
    mount -t overlay -o "lowerdir=$place,upperdir=$own/upper,workdir=$own/work" overlay "$place"
done
own=$(mktemp -d "$1/XXXXXXXX")
chmod 755 "$own"
cp --archive "$2/." "$own"
mount --bind "$own" "$2"
touch /run/own-disk
"""
DPKG = (
    "dpkg", "--install", "--force-downgrade", "--no-triggers",
    "--path-exclude=/usr/share/*", "--log=/run/dpkg.log",
)
"""Manuals and documents would go to the machine's own disk."""


def replace(agents: Path, mark: str) -> None:
    """Install all agents of a folder, and their library, once more; mark: written into each."""
    library = agents / LIBRARY
    for module in sorted(library.glob("*.py")):
        _renew(module, mark)
    for agent in sorted(agents.iterdir()):
        if agent.is_file() and not agent.name.endswith(NEW):
            _renew(agent, mark)
    compiled = [PYTHON, "-Es", "-m", "compileall", "-qf", str(library)]
    subprocess.run(compiled, check=True, stdin=subprocess.DEVNULL)


def _renew(file: Path, mark: str) -> None:
    """Replace a file by one of the same content, but with another last line."""
    new = file.with_name(f"{file.name}{NEW}")
    text = file.read_text().partition("\n# installed again: ")[0].rstrip("\n")
    new.write_text(f"{text}\n\n# installed again: {mark}\n")
    shutil.copystat(file, new)
    os.utime(new)
    new.replace(file)


class Packages:
    """The package of the agents in two versions, made when it is first used."""

    def __init__(self, folder: Path) -> None:
        """folder: an existing one, for what is made; root's own."""
        self._folder = folder

    def upgrade(self, cluster: Cluster, node: str) -> list[str]:
        """Install the older version in a node, then this one; the versions.

        The node has them until it is turned off.
        """
        disk = f"{cluster.directory}/installed-{node}"
        cluster.exec(node, ["sh", "-ec", DISK, "sh", disk, PLACE], check=True)
        for package in self.made:
            cluster.exec(node, [*DPKG, str(package)], timeout=BUILD, check=True)
        return [package.name.split("_")[1] for package in self.made]

    @cached_property
    def made(self) -> Sequence[Path]:
        """The older package, and this one."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            place = Path(name)
            archive = _said([PYTHON, "-EsB", "release/sources.py", "dist", name], ROOT).strip()
            _said(["tar", "-xf", archive, "-C", str(place)], place)
            (tree,) = (entry for entry in place.iterdir() if entry.is_dir())
            newer = _built(tree, self._folder)
            return _aged(newer, place / "older"), newer


def _aged(package: Path, tree: Path) -> Path:
    """A package of the same files with an older number: in its name, its library's, and in text."""
    version = package.name.split("_")[1]
    _said(["dpkg-deb", "--raw-extract", str(package), str(tree)], package.parent)
    library = tree / f"usr/lib/ocf/lib/openstack-{version}"
    library.rename(library.with_name(f"openstack-{OLDER}"))
    texts = [*(tree / "DEBIAN").iterdir(), *(tree / PLACE.lstrip("/")).iterdir()]
    for file in texts:
        file.write_text(file.read_text().replace(version, OLDER))
    older = package.with_name(package.name.replace(version, OLDER))
    _said(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(older)], package.parent)
    return older


def _built(tree: Path, folder: Path) -> Path:
    """Make the Debian packages of a tree; that of the agents, in a folder."""
    _said(["dpkg-buildpackage", "--build=binary", "--no-sign"], tree)
    (package,) = tree.parent.glob(f"{PACKAGE}_*.deb")
    return Path(shutil.move(package, folder))


def _said(command: Sequence[str], folder: Path) -> str:
    """Run a command in a folder; its output."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=BUILD, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.returncode} {done.stderr[-500:]}")
    return done.stdout
