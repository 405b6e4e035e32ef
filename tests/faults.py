"""The table of `make faults`: fault, what happened, verdict, time; and the count. A pytest plugin.

The faults are the tests of tests/agents, whatever agent they are run with:

    make faults                             our agents, each with all faults
    make faults AGENT=/path/to/cinder-api   a shell agent of the HA guide, with the same faults

conftest.py loads it; with --faults it leaves out tests that are no faults, and prints the table.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from harness import FOREIGN, HISTORY, Result

NO_FAULTS = ("test_contract.py", "test_cost.py")
"""Files of tests/agents that are about what an agent is, not about faults."""

FAULT, STORY = 46, 66
"""Columns of the table, in characters."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", action="store_true", help="print a table of the faults that were tried"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that are no faults, and those that a foreign agent cannot pass."""

    def wanted(item: pytest.Item) -> bool:
        if config.getoption("faults") and item.path.name in NO_FAULTS:
            return False
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        ours = item.get_closest_marker("own") or parameters.get("interpreter") == "pypi"
        return not (FOREIGN and ours)

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Begin each test with an empty list of results."""
    HISTORY.clear()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (report.when == "call" or report.failed) and item.config.getoption("faults"):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        agent = parameters.get("agent") or parameters.get("watched")
        report.user_properties.append(("agent", agent.name if agent else ""))
        report.user_properties.append(("story", story(HISTORY)))
    return report


def story(history: list[Result]) -> str:
    """What happened: the actions with their codes, and the last exit reason."""
    told = [f"{one.action or '-'} {'killed' if one.killed else one.code}" for one in history]
    counted = []
    for words, group in groupby(told):
        times = len(list(group))
        counted.append(words if times == 1 else f"{words} x {times}")
    if len(counted) > 6:
        counted[3:-2] = ["..."]
    reasons = [one.reason for one in history if one.reason]
    return ", ".join(counted) + (f": {reasons[-1]}" if reasons else "")


class Table:
    """The rows of one run, agent by agent."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str, str, float]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        noted = dict(report.user_properties)
        if report.when != "call" and not report.failed:
            return
        file, _, name = report.nodeid.partition("::")
        group = Path(file).stem.replace("test_", "").replace("_", " ")
        agent = str(noted.get("agent", ""))
        told = str(noted.get("story", ""))
        if report.failed:
            told = f"{complaint(report)} [{told}]"
        verdict = "WRONG" if report.failed else "ok"
        self.rows.append((agent, group, label(name, agent), told, verdict, report.duration))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        write = terminalreporter.write_line
        # a test that failed after its call, in a fixture, has two rows, and is one fault
        rows = {row[:3]: row for row in sorted(self.rows, key=lambda row: row[4] == "WRONG")}
        for agent, of_agent in groupby(sorted(rows.values()), key=lambda row: row[0]):
            faults = list(of_agent)
            write("")
            write(f"==== {agent or 'agents together'}", bold=True)
            for group, of_group in groupby(faults, key=lambda row: row[1]):
                write("")
                write(f"{group:{FAULT}}  {'what happened':{STORY}}  verdict  seconds", bold=True)
                for _, _, fault, told, verdict, seconds in of_group:
                    line = f"{cut(fault, FAULT):{FAULT}}  {cut(told, STORY):{STORY}}"
                    write(f"{line}  {verdict:7}  {seconds:7.2f}", red=verdict != "ok")
            right = sum(row[4] == "ok" for row in faults)
            write("")
            write(f"{agent or 'together'}: {right} of {len(faults)} faults", bold=True)


def label(name: str, agent: str) -> str:
    """A test's name as that of a fault: test_short_stop[glance-api-3] is `short stop: 3`."""
    function, _, case = name.removeprefix("test_").partition("[")
    if agent:
        case = case.replace(f"{agent}-", "").replace(agent, "")
    return ": ".join(filter(None, [function.replace("_", " "), case.rstrip("]").strip("-")]))


def complaint(report: pytest.TestReport) -> str:
    """The first line of the reason for which a test failed."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return text.strip().partition("\n")[0].removeprefix("AssertionError: ")


def cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("faults") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(), "faults-table")
