"""The newest releases, which Debian does not have yet: in a virtual environment.

Glance's and Cinder's are for labs: called by `lab.seed` before the databases of such a lab are
made, and by `install`. Those of the whole control plane are in an environment of their own, for
the tests that compare the agents with them. Each is made once, for all, and kept: what it holds
then was the newest, and what is missing is added. Whoever wants newer ones removes the folder. It
has the system's Python, which is the one in the system's uWSGI.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from lab import folders, show
from lab.errors import LabError
from lab.settings import NEWEST_ENVIRONMENT, SYSTEM_PYTHON
from lab.specs import SPECS

PACKAGES = ("python3-venv", "uwsgi-plugin-python3")
DISTRIBUTIONS = tuple(name for name, spec in SPECS.items() if spec.newest)
CONTROL_PLANE = (
    "aodh>=23", "barbican>=23", "ceilometer>=27", "cinder>=29", "designate>=23", "glance>=33",
    "gnocchi>=4.7", "ironic>=39", "keystone>=30", "magnum>=23", "manila>=23", "masakari>=22",
    "neutron>=29", "nova>=34", "octavia>=19", "openstack-heat>=27", "openstack-placement>=16",
)  # fmt: skip
"""All projects of the agents. Without a lower bound, pip would take a release of years ago where
two of the newest do not get along; with it, it says which."""
LOG = Path("/var/log/openstack-ocf-lab-release.log")
COMPLETE = "versions.json"


def find(
    environment: Path = NEWEST_ENVIRONMENT, distributions: Sequence[str] = DISTRIBUTIONS
) -> dict[str, str]:
    """The version of each service in the virtual environment, which is made if there is none."""
    wanted = [re.split("[<=>]", one)[0] for one in distributions]
    if not {*wanted} <= {*_known(environment)}:
        names = "Glance and Cinder" if distributions is DISTRIBUTIONS else "control plane"
        with folders.alone("release", f"installs the newest {names}"):
            if not {*wanted} <= {*_known(environment)}:
                _make(environment, distributions, wanted)
    known = _known(environment)
    return {name: known[name] for name in wanted}


def _known(environment: Path) -> dict[str, str]:
    """What is complete in an environment, with its version; nothing where there is none."""
    try:
        known: dict[str, str] = json.loads((environment / COMPLETE).read_text())
    except FileNotFoundError:
        return {}
    return known


def _make(environment: Path, distributions: Sequence[str], names: Sequence[str]) -> None:
    """Make it in its place, or what it lacks: its programs have its path in their first line.

    names: of the distributions.
    """
    show.line(f"making {environment}, once for all that need it")
    with LOG.open("wb") as output:
        if not _known(environment):
            shutil.rmtree(environment, ignore_errors=True)  # of one that was killed
            _run([str(SYSTEM_PYTHON), "-m", "venv", str(environment)], output)
        python = str(environment / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        with show.step(f"pip install {' '.join(distributions)}"):
            _run([*pip, "install", "--progress-bar=off", *distributions], output)
    listing = subprocess.run([*pip, "list", "--format=json"], capture_output=True, check=True)
    versions = {row["name"]: row["version"] for row in json.loads(listing.stdout)}
    known = {name: versions[name] for name in names}
    show.line(f"{'':10}{', '.join(' '.join(pair) for pair in known.items())}")
    part = environment / f"{COMPLETE}.part"  # until now it is nothing that others may use
    part.write_text(json.dumps(known))
    part.replace(environment / COMPLETE)


def _run(command: list[str], output: BinaryIO) -> None:
    # The services' users read what is installed here, whatever the caller's umask.
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, umask=0o022
    )
    show.watch(child, LOG)
    if child.returncode != 0:
        raise LabError(f"{' '.join(command[:4])} failed with {child.returncode}", log=LOG)
