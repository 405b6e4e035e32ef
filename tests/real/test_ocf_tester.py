"""The stock ocf-tester of resource-agents, with the real daemons."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from real.kit import Real

pytestmark = pytest.mark.real


def test_ocf_tester_passes(real: Real, need: Callable[[str, str], str]) -> None:
    """ocf-tester starts, monitors and stops the daemon, and finds nothing to complain about."""
    tester = need("/usr/sbin/ocf-tester", "resource-agents")
    need("xmllint", "libxml2-utils")
    resource = real.resource
    given = [f"{name}={value}" for name, value in resource.parameters.items()]
    options = [word for value in given for word in ("-o", value)]
    done = subprocess.run(
        [*resource.prefix, tester, "-n", resource.name, *options, str(resource.agent)],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OCF_ROOT": str(resource.agent.parents[2]),
            "HA_RSCTMP": str(resource.rsctmp),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "passed all tests" in done.stdout
    assert [] == [line for line in done.stdout.splitlines() if line.startswith("* rc=")]
    assert [] == real.pids()
    assert real.refused()
