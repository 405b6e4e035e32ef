"""Cases of the kind that resource-agents has for its own agents, run by its tool, ocft."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from real.kit import PATIENCE, Real

pytestmark = pytest.mark.real

CASES = Path(__file__).parent / "cases" / "api"
# ocft has one place for the scripts that it makes: here it is a folder of the test's own.
ALONE = """
mkdir -p /var/lib/resource-agents && mount --bind "$1" /var/lib/resource-agents &&
    "$3" make -d "$2" "$4" && exec "$3" test "$4"
"""


def test_every_case_is_as_it_says(
    real: Real, need: Callable[[str, str], str], tmp_path: Path
) -> None:
    """The life of an API, step by step: each action ends with the code that the case says."""
    ocft = need("/usr/sbin/ocft", "resource-agents")
    resource = real.resource
    name = resource.agent.name
    cases, scripts = tmp_path / "cases", tmp_path / "scripts"
    for folder in (cases, scripts):
        folder.mkdir()
    text = CASES.read_text()
    for word, value in (
        ("AGENT", name), ("FOLDER", str(resource.agent.parent)), ("SECONDS", f"{PATIENCE:.0f}")
    ):
        text = text.replace(f" {word}\n", f" {value}\n")
    (cases / name).write_text(text)

    done = subprocess.run(
        [*resource.prefix, "unshare", "--mount", "sh", "-c", ALONE,
         "sh", scripts, cases, ocft, name],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HA_RSCTMP": str(resource.rsctmp),
            "OCF_RESOURCE_INSTANCE": resource.name,
            **{f"OCF_RESKEY_{key}": str(value) for key, value in resource.parameters.items()},
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3600,
    )

    said = done.stdout + done.stderr
    assert 0 == done.returncode, said
    titles = [line.split('"')[1] for line in text.splitlines() if line.startswith("CASE ")]
    shown = [line for line in done.stdout.splitlines() if line.startswith(f"{name}: ")]
    assert [f"{name}: {title}" for title in titles] == [line.split(" - ")[0] for line in shown]
    assert [] == [word for word in ("FAILED", "ERROR") if word in said], said
    assert [] == real.pids()
