"""The page docs/reasons.md: every exit reason, with its code and the situation that provokes it.

A pytest plugin: conftest.py loads it, `make reasons` runs the tests with --reasons=FILE. A reason
is on the page if a test asks for words of it, and not only for the code: which other reasons there
are may depend on how busy the machine is. Parts of a reason that depend on the machine or the
moment are taken out; a reason that several tests provoke is there once, with the sentence that
sorts first. Each case is run by one agent, in turn: what they say differs by their names.

So the page is the same after every run in which all tests pass; if one fails the page stays as it
is. With --again, those that have failed are run once more, and the reasons of the others are those
of the run before.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
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

LEFT_OUT = {
    "test_search.py": "what it tries is chosen at random",
    "test_in_time.py": "how busy the machine is decides which reason comes first",
    "test_cost.py": "it provokes nothing",
}
"""Files whose tests make no part of the page, with the reason."""

VARIABLE = (
    # A value may have blanks; it has ended where ": " or " (" comes.
    (r"\b([a-z_]+)=('[^']*'|(?:(?!: | \().)*?) (?=is |does |cannot |has |holds |names )",
     r"\1=... "),
    (r"\b[a-z_]+(, [a-z_]+)* missing: give all", "... missing: give all"),
    (r" hold on \(pid \w+ \([^)]*\)\)", " hold on"),  # where a short pid leaves room for it
    (r"pid \d+", "pid N"),
    (r", state [A-Z]\)", ", state S)"),
    (r"answers \d{3}\b", "answers NNN"),
    (r"redirects \(\d{3}\)", "redirects (NNN)"),
    (r"\b(GET|read) /v3/volumes", r"\1 /v2/images"),
    (r"\bmonitor\d+\b", "monitor"),  # a user; each test may have one of its own
    (r"the cluster speaks [^:]+", "the cluster speaks ..."),
    (r" \(_ssl\.c:\d+\)", ""),
    (r":\d{4,5}\b", ":PORT"),
    (r"port \d{4,5}", "port N"),
    (r"/(tmp|var/tmp|root|work)/[^\s,:;)]*", "PATH"),
    (r"\w*\.\.\.\S*[a-z0-9_]{8}/[^\s,:;)]*", "PATH"),  # of a temporary folder, cut in its middle
    (r"'[^']{0,40}'", "'...'"),
    (r"\b\d{5,}\b", "N"),
    (r"\bp_?[0-9a-f]{8,}\w*", "INSTANCE"),
    (r"(it says|at start): (?!it said).*", r"\1: ..."),
    (r"\b\d+ of its", "N of its"),
    (r"\b\d+ processes", "N processes"),
)
"""Patterns of parts that change from run to run, and what replaces them."""

NOTED = "openstack-ocf/reasons"
"""Where pytest's cache has the rows of the last run."""

Rows = dict[tuple[str, int, str], str]
"""The sentence of each action, code and reason."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reasons", metavar="FILE", help="write the page of all exit reasons")
    parser.addoption("--again", action="store_true", help="with --reasons: only what has failed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what makes no part of the page, and with --again what has passed.

    Not by --last-failed: pytest would not read the other files, from which it depends whose turn a
    case is.
    """
    if not config.getoption("reasons"):
        return
    wanted = [item for item in items if item.path.name not in LEFT_OUT]
    if config.getoption("again"):
        failed = cache(config).get("cache/lastfailed", {})
        wanted = [item for item in wanted if item.nodeid in failed]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


def cache(config: pytest.Config) -> pytest.Cache:
    """pytest's cache, without which there is no --again."""
    found: pytest.Cache | None = config.cache
    assert found is not None, "pytest runs without its cache"
    return found


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the reasons in the test's report, which takes them to pytest's main process."""
    report = yield
    if report.when == "call" and report.passed and item.config.getoption("reasons"):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        agent = parameters.get("agent") or parameters.get("watched")
        sentence = (getattr(item, "function", item).__doc__ or "").partition("\n")[0]
        heard = [(one.action, one.code, plain(one.reason, getattr(agent, "name", "")))
                 for one in HISTORY if one.reason and one.demanded]
        report.user_properties.append(("reasons", heard))
        report.user_properties.append(("sentence", sentence))
    return report


def plain(reason: str, agent: str = "") -> str:
    """A reason without the parts that depend on machine, moment and agent."""
    for pattern, instead in VARIABLE:
        reason = re.sub(pattern, instead, reason)
    return reason.replace(agent, "glance-api") if agent else reason


def written(rows: Rows) -> str:
    """The page with these rows."""
    lines = [HEAD]
    for action in sorted({action for action, _, _ in rows}):
        lines += [f"\n## {action or 'no action'}\n"]
        lines += ["| code | reason | when |", "| --- | --- | --- |"]
        for (of, code, reason), sentence in sorted(rows.items()):
            if of == action:
                cells = (str(code), reason.replace("|", "\\|"), sentence.replace("|", "\\|"))
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def read(page: str) -> Rows:
    """The rows of a page."""
    rows: Rows = {}
    action = ""
    for line in page.splitlines():
        if line.startswith("## "):
            action = line[3:].replace("no action", "")
        elif found := re.fullmatch(r"\| (\d+) \| (.*) \| (.*) \|", line):
            code, reason, sentence = (cell.replace("\\|", "|") for cell in found.groups())
            rows[action, int(code), reason] = sentence
    return rows


class Page:
    """The reasons of one run; with --again, of the run before as well."""

    def __init__(self, config: pytest.Config) -> None:
        self._path = Path(config.getoption("reasons"))
        self._config = config
        self._rows: Rows = {}
        if config.getoption("again"):
            self._add(cache(config).get(NOTED, []))

    def _add(self, rows: Iterable[tuple[str, int, str, str]]) -> None:
        for action, code, reason, sentence in rows:
            # Of two tests the same one is taken in every run, whichever ended first.
            key = (action, code, reason)
            self._rows[key] = min(self._rows.get(key, sentence), sentence)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        noted = dict(report.user_properties)
        heard = noted.get("reasons", ())
        self._add((*one, str(noted["sentence"])) for one in heard)  # type: ignore[attr-defined]

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self._rows:
            found = [(*key, sentence) for key, sentence in self._rows.items()]
            cache(self._config).set(NOTED, found)
        if self._rows and exitstatus == pytest.ExitCode.OK:
            self._path.write_text(written(self._rows), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("reasons") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Page(config), "reasons-page")
