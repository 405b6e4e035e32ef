"""The page docs/reasons.md: every exit reason, with its code and the situation that provokes it.

A pytest plugin: conftest.py loads it, `make reasons` runs the tests with --reasons=FILE. Parts of a
reason that depend on the machine or the moment are taken out; a reason that several tests provoke
is there once, with the sentence that sorts first.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest

from harness import HISTORY

HEAD = """\
<!-- Made by `make reasons` from the tests that provoke them. -->
# Exit reasons

What an agent says with every exit code but 0 and 7, as `crm_mon` shows it; glance-api stands for
any agent. The situation is the sentence of the test that provokes the reason. Where the code is 190
nothing is restarted; [verdicts](verdicts.md) says why.
"""

VARIABLE = (
    (r"\b([a-z_]+)=('[^']*'|.*?) (?=is |does |cannot |has |holds |names )", r"\1=... "),
    (r"pid \d+", "pid N"),
    (r"answers \d{3}\b", "answers NNN"),
    (r"\b(GET|read) /v3/volumes", r"\1 /v2/images"),
    (r"\bmonitor\d+\b", "monitor"),  # a user; each test may have one of its own
    (r"the cluster speaks [^:]+", "the cluster speaks ..."),
    (r" \(_ssl\.c:\d+\)", ""),
    (r":\d{4,5}\b", ":PORT"),
    (r"port \d{4,5}", "port N"),
    (r"/(tmp|var/tmp|root|work)/[^\s,:;)]*", "PATH"),
    (r"'[^']{0,40}'", "'...'"),
    (r"\b\d{5,}\b", "N"),
    (r"\bp_?[0-9a-f]{8,}\w*", "INSTANCE"),
    (r"(it says|at start): (?!it said).*", r"\1: ..."),
    (r"\b\d+ of its", "N of its"),
    (r"\b\d+ processes", "N processes"),
)
"""Patterns of parts that change from run to run, and what replaces them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reasons", metavar="FILE", help="write the page of all exit reasons")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the reasons in the test's report, which takes them to pytest's main process."""
    report = yield
    wanted = report.when == "call" and report.passed and item.path.name != "test_search.py"
    if wanted and item.config.getoption("reasons"):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        agent = parameters.get("agent") or parameters.get("watched")
        sentence = (getattr(item, "function", item).__doc__ or "").partition("\n")[0]
        heard = [(one.action, one.code, plain(one.reason, getattr(agent, "name", "")))
                 for one in HISTORY if one.reason and not one.killed]
        report.user_properties.append(("reasons", heard))
        report.user_properties.append(("sentence", sentence))
    return report


def plain(reason: str, agent: str) -> str:
    """A reason without the parts that depend on machine, moment and agent."""
    for pattern, instead in VARIABLE:
        reason = re.sub(pattern, instead, reason)
    return reason.replace(agent, "glance-api") if agent else reason


class Page:
    """The reasons of one run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, int, str], str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        noted = dict(report.user_properties)
        for action, code, reason in noted.get("reasons", ()):  # type: ignore[attr-defined]
            # Of two tests the same one is taken in every run, whichever ended first.
            key, sentence = (action, code, reason), str(noted["sentence"])
            self._rows[key] = min(self._rows.get(key, sentence), sentence)

    def pytest_sessionfinish(self) -> None:
        lines = [HEAD]
        for action in sorted({action for action, _, _ in self._rows}):
            lines += [f"\n## {action or 'no action'}\n"]
            lines += ["| code | reason | when |", "| --- | --- | --- |"]
            for (of, code, reason), sentence in sorted(self._rows.items()):
                if of == action:
                    cells = (str(code), reason.replace("|", "\\|"), sentence.replace("|", "\\|"))
                    lines.append("| " + " | ".join(cells) + " |")
        self._path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("reasons") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Page(Path(config.getoption("reasons"))), "reasons-page")
