"""Measure what an action costs, against a real Glance and Keystone; print a Markdown page.

Run by `make bench` (python3 -m bench, as root).
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.candidates import candidates
from bench.measure import Numbers, measure
from bench.report import page, tell
from lab import agents, apt, netns, seed, show
from lab.command import exit_code
from lab.errors import LabError
from lab.openstack import ControlPlane

PACKAGES = (
    "make",
    "curl",
    "python3-glanceclient",
    "python3-keystoneauth1",
    "python3-psutil",
    "python3-requests",
)
ROUNDS = 30
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def benchmark(rounds: int) -> dict[str, Numbers]:
    """A control plane with a Glance under the agent, and all candidates against it."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="openstack-ocf-bench-"))
        home = stack.enter_context(agents.installed())
        cloud = stack.enter_context(ControlPlane.temporary())
        cloud.up("keystone")
        resource = agents.resource(cloud, home, "glance", Path(folder))
        started = resource.run("start")
        if started.code != 0:
            raise LabError(f"start gives {started.code}: {started.reason}")
        with show.step(f"{rounds} rounds"), netns.inside(cloud.namespace):
            return measure(candidates(resource), rounds)


def main() -> int:
    """Run the benchmark, and show its page; with --write also keep it."""
    parser = argparse.ArgumentParser(prog="python3 -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md as well")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: quartiles need at least 2")

    def measured() -> int:
        if os.geteuid() != 0:
            raise LabError("this needs root: it starts daemons as other users")
        apt.install((*seed.packages("sqlite"), *PACKAGES))
        load = os.getloadavg()[0]
        return tell(page(benchmark(options.rounds), options.rounds, load), PAGE, options.write)

    return exit_code("bench", measured)


if __name__ == "__main__":
    sys.exit(main())
