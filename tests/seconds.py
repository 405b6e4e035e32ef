"""Where the time of a run goes: the seconds of each file, at its end. A pytest plugin.

conftest.py loads it. Several workers share the machine: the seconds of a file are those that a
worker spent on it. LONGEST is the order in which `make test` gives files to its workers: a file of
three minutes that is begun last keeps all other workers waiting.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

LONGEST = (
    "cluster/test_docs.py", "real/test_guides.py", "cluster/test_daemon_faults.py",
    "cluster/test_uwsgi.py", "cluster/test_snippets.py", "real/test_life.py",
    "real/test_outages.py", "real/test_workers.py", "packages/test_deb.py",
    "real/test_further.py", "real/test_plane.py", "cluster/test_chaos.py",
    "real/test_failures.py", "cluster/test_fencing.py", "cluster/test_keystone.py",
    "cluster/test_node_faults.py", "lab/test_cluster.py", "real/test_prove.py",
    "cluster/test_upgrade.py", "real/test_bad_input.py", "cluster/test_balanced.py",
    "lab/test_openstack.py", "lab/test_release.py", "cluster/test_apply.py",
    "real/test_endpoints.py", "cluster/test_reload.py", "cluster/test_prove.py",
    "cluster/test_missing.py",
)  # fmt: skip
"""Files of the second half of `make test`, about in the order of their seconds."""

SHOWN = 30
LEAST = 1.0  # seconds


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then the others; xdist keeps this order where it is told to."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(f"{item.path.parent.name}/{item.path.name}", len(place)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The files that took longest."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    told = [name for name in sorted(seconds, key=seconds.__getitem__) if seconds[name] >= LEAST]
    if len(told) > 1:
        terminalreporter.section("seconds by file")
        for name in told[: -SHOWN - 1 : -1]:
            terminalreporter.write_line(f"{seconds[name]:8.0f}  {name}")
