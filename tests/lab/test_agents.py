"""The agents as the lab installs them, on a machine that may have its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
READ_ONLY = 'mount --bind /usr /usr && mount -o remount,bind,ro /usr && exec "$0" "$@"'
INSTALLS = "from lab import agents\nwith agents.installed() as home: print(*home.iterdir())"


def test_the_machines_own_stay_as_they_are() -> None:
    """The lab installs without a write to /usr: an installed openstack-ocf stays what it is."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", READ_ONLY, sys.executable, "-c", INSTALLS],
        cwd=ROOT, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert "glance-api" in done.stdout
