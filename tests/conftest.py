"""Fixtures of all tests, and the rule that nothing is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("dataplane", "harness", "lookalike", "real.promises")
pytest_plugins = ["faults", "reasons", "seconds"]

from harness import AGENTS, FOREIGN  # noqa: E402 - after the line that has its assertions rewritten
from lookalike.service import MakeService, Service  # noqa: E402
from lookalike.strangers import Strangers  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-agent", action="store_true",
        help="take every agent through the cases that are marked as shared, too",
    )  # fmt: skip
    parser.addoption(
        "--suite", metavar="CODENAME",
        help="tests/packages: install in a root of this Debian release, not of this machine's",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "shared(one_in=1): what agentlib does alike for all agents; each case, or one in so many"
        " where a unit test covers all of them, is run by one agent, in turn",
    )
    config.addinivalue_line(
        "markers",
        "own: looks into what only our agents have; not for a shell agent (AGENT=path)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each case of a shared test to one agent, always the same one."""
    if FOREIGN or config.getoption("every_agent"):
        return
    names = [agent.name for agent in AGENTS]
    turn: dict[str, int] = {}  # a case, and the number of its agent
    cases: dict[str, dict[str, int]] = {}  # a test, and its cases in their order
    others = []
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        agent = parameters.get("agent") or parameters.get("watched")
        mark = item.get_closest_marker("shared")
        if mark and agent:
            one_in = 1 if config.getoption("reasons") else mark.kwargs.get("one_in", 1)
            case = item.nodeid.replace(agent.name, "")
            among = cases.setdefault(case.partition("[")[0], {})
            number = among.setdefault(case, len(among))
            whose = turn.setdefault(case, (number // one_in if one_in > 1 else len(turn)))
            if number % one_in or names.index(agent.name) != whose % len(names):
                others.append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test is a failed one: what is missing on this machine is to be installed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", not_to_be_skipped(report.longrepr)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that is skipped as a whole, as by importorskip, is a failure as well."""
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", not_to_be_skipped(report.longrepr)
    return report


def not_to_be_skipped(skipped: object) -> str:
    """The place and the reason of a skip; pytest gives a tuple of file, line and reason."""
    file, line, reason = skipped if isinstance(skipped, tuple) else ("?", 0, skipped)
    return f"{file}:{line}: no test may be skipped: {str(reason).removeprefix('Skipped: ')}"


def need(path: str, package: str) -> str:
    """A program or file that a test cannot do without; fails, and says where it comes from."""
    found = shutil.which(path) if "/" not in path else path if os.path.exists(path) else None
    if not found:
        pytest.fail(
            f"{path} is missing (package {package}): run `make test-packages`",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="session")
def need_packages() -> Callable[[Iterable[str], str], None]:
    """Fail unless run by root, with these Debian packages; the remedy is what installs them."""
    from lab import apt

    def need_them(names: Iterable[str], remedy: str) -> None:
        if os.geteuid() != 0:
            pytest.fail("daemons and nodes run as other users: this needs root", pytrace=False)
        need("make", "make")
        missing = {*names} - {*apt.versions(sorted({*names}))}
        if missing:
            pytest.fail(
                f"not installed: {' '.join(sorted(missing))}; run: {remedy}", pytrace=False
            )

    return need_them


@pytest.fixture(scope="session", name="need")
def _need() -> Callable[[str, str], str]:
    """The path of a prerequisite: need("xmllint", "libxml2-utils")."""
    return need


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> Path:
    """Every file in ocf/."""
    path: Path = request.param
    return path


@pytest.fixture
def interpreter() -> str:
    """The agent's own shebang; where it matters, a test is parametrised over INTERPRETERS."""
    return "debian"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter, as those of pytest's tmp_path cannot."""
    with tempfile.TemporaryDirectory(prefix="agents-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def make_service(agent: Path, folder: Path, interpreter: str) -> Iterator[MakeService]:
    """Makes look-alike services under the agent; the options are Service's."""
    if os.geteuid() != 0:
        pytest.fail("the agents need root, and so do their tests", pytrace=False)
    need("/usr/bin/python3", "python3")
    with ExitStack() as stack:
        made = 0

        def make(**options: Any) -> Service:
            nonlocal made
            made += 1
            place = folder / str(made)
            place.mkdir()
            options = {"interpreter": interpreter, **options}
            return stack.enter_context(Service(agent, place, **options))

        yield make


@pytest.fixture
def service(make_service: MakeService) -> Service:
    """A look-alike service under the agent, stopped, without credentials."""
    return make_service()


@pytest.fixture
def stranger() -> Iterator[Strangers]:
    """Starts processes that do not belong to the agents; at the end all must be alive."""
    strangers = Strangers()
    yield strangers
    strangers.close()


@pytest.fixture(scope="session")
def certificate() -> Iterator[Path]:
    """A self-signed certificate for localhost with its key, in one file that all can read."""
    openssl = need("openssl", "openssl")
    with tempfile.TemporaryDirectory(prefix="agents-tls-") as name:
        os.chmod(name, 0o755)
        both, key = Path(name, "both.pem"), Path(name, "key.pem")
        subprocess.run(
            [
                openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", key, "-out", both,
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
        both.write_bytes(both.read_bytes() + key.read_bytes())
        both.chmod(0o644)
        yield both
