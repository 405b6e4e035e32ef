"""The newest Glance and Cinder, which Debian does not have yet: in a virtual environment.

Called by `lab.seed` before the databases of such a lab are made, and by `install`. It is made
once, for all labs, and kept: what it holds then was the newest. Whoever wants newer ones removes
the folder. It has the system's Python, which is the one in the system's uWSGI.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import BinaryIO

from lab import folders, show
from lab.errors import LabError
from lab.settings import NEWEST_ENVIRONMENT, SYSTEM_PYTHON

PACKAGES = ("python3-venv", "uwsgi-plugin-python3")
DISTRIBUTIONS = ("glance", "cinder")
LOG = Path("/var/log/openstack-ocf-lab-release.log")
COMPLETE = "versions.json"


def find() -> dict[str, str]:
    """The version of each service in the virtual environment, which is made if there is none."""
    complete = NEWEST_ENVIRONMENT / COMPLETE
    if not complete.exists():
        with folders.alone("release", "installs the newest Glance and Cinder"):
            if not complete.exists():
                _make(NEWEST_ENVIRONMENT)
    known: dict[str, str] = json.loads(complete.read_text())
    return known


def _make(environment: Path) -> None:
    """Make it in its place: its programs have its path in their first line."""
    show.line(f"making {environment}, once for all labs like this one")
    shutil.rmtree(environment, ignore_errors=True)  # of one that was killed
    with LOG.open("wb") as output:
        _run([str(SYSTEM_PYTHON), "-m", "venv", str(environment)], output)
        python = str(environment / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        with show.step(f"pip install {' '.join(DISTRIBUTIONS)}"):
            _run([*pip, "install", "--progress-bar=off", *DISTRIBUTIONS], output)
    listing = subprocess.run([*pip, "list", "--format=json"], capture_output=True, check=True)
    versions = {row["name"]: row["version"] for row in json.loads(listing.stdout)}
    known = {name: versions[name] for name in DISTRIBUTIONS}
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
