"""Debian packages for the lab, without starting the daemons that they bring.

Called by `lab.openstack` for its command `install`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab import show
from lab.errors import LabError

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "# openstack-ocf-agents lab: no daemons while packages are installed"
LOG = Path("/var/log/openstack-ocf-lab-install.log")

APT_GET = (
    "apt-get",
    "--option=DPkg::Lock::Timeout=300",
    "--option=Dpkg::Options::=--force-confold",
    "--option=Dpkg::Use-Pty=0",
    "--yes",
)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The version of each of these packages that is installed."""
    query = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${db:Status-Status}\n"]
    try:
        # Its exit code only says that one of the packages is unknown.
        listing = subprocess.run([*query, *packages], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError("dpkg-query is missing: the lab needs Debian 12 or a similar one") from None
    rows = [line.split() for line in listing.stdout.splitlines()]
    return {row[0]: row[1] for row in rows if row[-1] == "installed"}


def owner(path: Path) -> str:
    """The package that a file belongs to, or the file that a link leads to."""
    query = ["dpkg-query", "--search", os.path.realpath(path)]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        raise LabError(f"{path} belongs to no Debian package") from None
    return found.splitlines()[-1].partition(":")[0]  # lines before it are about diversions


def install(packages: Sequence[str]) -> None:
    """Install the packages that are missing."""
    missing = [name for name in packages if name not in versions(packages)]
    if not missing:
        return
    show.line(f"install: {' '.join(missing)}")
    with no_daemons():
        try:
            _apt("package lists", "update")
        except LabError as error:
            show.line(f"{error}\ncontinuing with the package lists of before")
        _apt("packages", "install", "--no-install-recommends", *missing)


@contextmanager
def no_daemons(policy: Path = POLICY) -> Iterator[None]:
    """Keep packages from starting daemons, by policy-rc.d, which Debian's tools ask.

    A policy that is already there is the operator's, and stays.
    """
    if policy.exists() and POLICY_MARK not in policy.read_text(errors="replace"):
        yield
        return
    policy.write_text(f"#!/bin/sh\n{POLICY_MARK}\nexit 101\n")
    try:
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink()


def _apt(what: str, *arguments: str) -> None:
    with show.step(what), LOG.open("wb") as output:
        child = subprocess.Popen(
            [*APT_GET, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Without systemd there is no runlevel; 1 is the runlevel without daemons.
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
        )
        show.watch(child, LOG)
        if child.returncode != 0:
            raise LabError(f"apt-get {arguments[0]} failed with {child.returncode}", log=LOG)
