"""Which module imports which, and what an action does not load: both are promises of the design."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from agentlib.credentials import Identity, parameters
from agentlib.keystone import Token
from agentlib.parameters import Values
from agentlib.process import find
from agentlib.state import State, Store
from unit.kit import PYTHON, ROOT, Service, Zoo

# from the bottom to the top: a module imports only from those before it
ORDER = ["exitcode", "errors", "outcome", "environment", "deadline", "parameters", "metadata",
         "reason", "secrets", "log", "call", "safefile", "lock", "state", "tcp", "url", "process",
         "tags", "sockets", "program", "configfile", "instance", "uwsgi", "standalone", "lastwords",
         "daemon", "http", "credentials", "keystone", "check", "target", "listening", "roundtrip",
         "examination", "api", "endpoints", "broker", "database", "port", "unixsocket", "alive",
         "resource", "start", "actions", "service", "gone", "agent", "runtime"]

MODULES = {path.stem: ast.parse(path.read_text())
           for path in sorted((ROOT / "agentlib").glob("*.py"))}


def imports(tree: ast.AST) -> Iterator[tuple[str, int, str]]:
    """Top package, level and line of every import, those in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level and not node.module:
                for alias in node.names:
                    yield alias.name, node.level, alias.name
            else:
                yield node.module or "", node.level, node.module or ""


def own_imports(tree: ast.AST) -> set[str]:
    """Modules of agentlib that are imported, relatively or by the full name."""
    found = set()
    for name, level, _ in imports(tree):
        if level:
            found.add(name.partition(".")[0])
        elif name.partition(".")[0] == "agentlib":
            found.add(name.partition(".")[2] or "agentlib")
    return found


def other_imports(tree: ast.AST) -> set[str]:
    return {name.partition(".")[0] for name, level, _ in imports(tree) if not level}


class AtRunTime(ast.NodeTransformer):
    """Takes away imports for type checkers alone."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


@cache
def at_run_time() -> dict[str, ast.AST]:
    """The modules as they run."""
    return {path.stem: AtRunTime().visit(ast.parse(path.read_text()))
            for path in sorted((ROOT / "agentlib").glob("*.py"))}


def test_every_module_has_its_place() -> None:
    """No module is without a place in the order."""
    assert sorted(ORDER) == sorted(set(MODULES) - {"__init__"})


def test_rooms_are_small() -> None:
    """No module is longer than 350 lines: more would be two nouns in one."""
    lines = {path.stem: len(path.read_text().splitlines())
             for path in (ROOT / "agentlib").glob("*.py")}
    assert {} == {name: count for name, count in lines.items() if count > 350}


def test_downwards() -> None:
    """A module imports only modules below it, at its top or in a function; types may be of any."""
    upwards = {name: own_imports(at_run_time()[name]) - {*ORDER[:number]}
               for number, name in enumerate(ORDER)}
    assert {} == {name: above for name, above in upwards.items() if above}


@pytest.mark.parametrize(
    ("package", "only"),
    [("psutil", set()), ("requests", {"keystone"}), ("keystoneauth1", {"keystone"}),
     ("sys", {"runtime", "keystone", "program", "sockets"}), ("syslog", {"log"}),
     ("_socket", {"tcp"}), ("http", {"keystone"}),
     ("subprocess", {"daemon"}), ("fcntl", {"lock"}), ("shlex", {"daemon", "secrets"}),
     ("configparser", {"configfile"})])
def test_only_user(package: str, only: set[str]) -> None:
    """A package that is costly or delicate is imported only by the modules listed."""
    users = {name for name, tree in at_run_time().items() if package in other_imports(tree)}
    assert only == users


@pytest.mark.parametrize("package", ["dataclasses", "typing", "logging", "argparse", "xml",
                                     "threading", "collections"])
def test_nobody_imports(package: str) -> None:
    """Packages that cost more than all the work of a probe are imported for types only."""
    users = {name for name, tree in at_run_time().items() if package in other_imports(tree)}
    assert set() == users


@pytest.mark.parametrize(
    ("module", "attribute"),
    [("sys", "argv"), ("sys", "exit"), ("os", "_exit"), ("os", "environ"), ("os", "environb"),
     ("os", "getenv"), ("os", "putenv"), ("sys", "stdout"), ("sys", "stdin")])
def test_only_runtime(module: str, attribute: str) -> None:
    """Arguments, environment, output and the end of the process are runtime's alone."""
    users = set()
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if (isinstance(node, ast.Attribute) and node.attr == attribute
                    and isinstance(node.value, ast.Name) and node.value.id == module):
                users.add(name)
            if isinstance(node, ast.ImportFrom) and node.module == module and attribute in [
                    alias.name for alias in node.names]:
                users.add(name)
    assert users <= {"runtime"}


def test_nobody_raises_system_exit() -> None:
    """No module ends the process by SystemExit, or by the site module's exit and quit."""
    names = {node.id for tree in MODULES.values() for node in ast.walk(tree)
             if isinstance(node, ast.Name)}
    assert set() == names & {"SystemExit", "exit", "quit"}


# --- what is loaded -----------------------------------------------------------------------------

# What the library may load for meta-data beyond a bare interpreter. (Without site, -S: packages
# of this machine may have loaded half of the library by then.) Each module more adds to the cost
# of every action of every agent.
LIGHT = {
    "__future__", "_collections_abc", "_stat", "errno", "genericpath", "os", "posixpath", "stat",
}
HEAVY = {"psutil", "requests", "keystoneauth1", "http", "ssl", "json", "re", "subprocess",
         "dataclasses", "typing", "logging", "urllib", "socket", "email", "xml", "pwd", "hashlib"}

AGENT = f'''\
#!{PYTHON} -ESs
from agentlib.agent import Agent
from agentlib.api import Api
from agentlib.daemon import Daemon
from agentlib.runtime import run
from agentlib.service import Service
AGENT = Agent(
    name="unit-api", title="Unit API",
    manages=Service(
        Daemon(project="unit", binary="sh", config="/etc/passwd", user="nobody",
               log_folder="/nonexistent", port=9292),
        Api("/v2/images?limit=1")))
run(AGENT)
'''


def loaded(command: list[str], environ: dict[str, str]) -> tuple[int, set[str]]:
    """Exit code, and the modules that were imported on the way."""
    done = subprocess.run([PYTHON, "-EsS", "-X", "importtime", *command], env=environ,
                          capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done.returncode, {line.rpartition("|")[2].strip() for line in lines[1:]}


@pytest.fixture
def agent(place: Path) -> Path:
    """An agent beside agentlib, as in ocf/."""
    (place / "agentlib").symlink_to(ROOT / "agentlib")
    path = place / "unit-api"
    path.write_text(AGENT)
    return path


def crept_in(agent: Path, environ: dict[str, str], action: str, code: int) -> set[str]:
    """What an action loads beyond a bare interpreter and agentlib."""
    found, modules = loaded([str(agent), action], environ)
    assert code == found
    assert "agentlib.runtime" in modules
    bare = loaded(["-c", "pass"], {})[1]
    return {name for name in modules - bare if name.partition(".")[0] != "agentlib"}


def test_metadata_loads_little(agent: Path) -> None:
    """Meta-data loads the listed modules, and nothing else."""
    assert set() == crept_in(agent, {}, "meta-data", 0) - LIGHT


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0].removeprefix("_") for name in modules}


@pytest.mark.skipif(os.geteuid() != 0, reason="monitor needs root")
def test_probe_of_the_stopped_loads_little(agent: Path, tmp_path: Path) -> None:
    """A probe that finds nothing loads no more than meta-data, and pwd, which finds the user."""
    environ = {"HA_RSCTMP": str(tmp_path), "OCF_RESOURCE_INSTANCE": agent.parent.name,
               "OCF_RESKEY_CRM_meta_interval": "0"}
    assert {"pwd"} >= crept_in(agent, environ, "monitor", 7) - LIGHT


def state_of(zoo: Zoo, folder: Path, url: str, values: Values | None) -> None:
    """Remember a running daemon, and a token of these credentials."""
    master = find(zoo.sleeper().pid)
    assert master is not None
    state = State()
    state.pid, state.start, state.session, state.uid = master.pid, master.start, master.pid, 0
    state.checks["address"] = {"url": url}
    if values:
        memory = state.checks["api"] = {}
        Token("known", time.time() + 1000).keep(memory, Identity(values))
        memory["anonymous"] = "refused"
    name = zoo.place.name
    Store(str(folder), f"unit-api:{name}", name, "").write(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="monitor needs root")
def test_probe_of_the_running_loads_little(agent: Path, tmp_path: Path, zoo: Zoo) -> None:
    """A probe that finds the daemon reads the state by json's scanner alone, and no HTTP."""
    state_of(zoo, tmp_path, "", None)
    environ = {"HA_RSCTMP": str(tmp_path), "OCF_RESOURCE_INSTANCE": zoo.place.name,
               "OCF_RESKEY_CRM_meta_interval": "0"}
    found = tops(crept_in(agent, environ, "monitor", 0) - {"_json"})
    assert set() == found & HEAVY


@pytest.mark.skipif(os.geteuid() != 0, reason="monitor needs root")
def test_everyday_monitor_loads_no_client(
    agent: Path, tmp_path: Path, zoo: Zoo, service: Service,
) -> None:
    """A monitor with a remembered token loads no HTTP client but its own, not even Python's."""
    given = {"os_username": "u", "os_password": "p", "os_project_name": "s",
             "os_auth_url": "http://127.0.0.1:9"}
    state_of(zoo, tmp_path, service.url, Values(parameters(), given))
    environ = {"HA_RSCTMP": str(tmp_path), "OCF_RESOURCE_INSTANCE": zoo.place.name,
               "OCF_RESKEY_CRM_meta_interval": "30000", "OCF_RESKEY_url": service.url,
               **{"OCF_RESKEY_" + name: value for name, value in given.items()}}
    found = tops(crept_in(agent, environ, "monitor", 0))
    assert set() == found & {"psutil", "requests", "keystoneauth1", "subprocess", "logging",
                             "threading", "dataclasses", "concurrent", "asyncio", "http", "email",
                             "urllib", "re", "enum", "collections", "functools", "selectors"}
    assert ["/v2/images?limit=1"] == service.asked()


def test_import_does_nothing() -> None:
    """Importing the library opens, starts and asks nothing."""
    code = (
        "import sys\n"
        "events = []\n"
        "def hook(event, args):\n"
        "    if event.split('.')[0] in ('socket', 'subprocess', 'os', 'syslog') or (\n"
        "            event == 'open' and not str(args[0]).endswith(('.py', '.pyc'))\n"
        "            and 'pyc.' not in str(args[0])):\n"
        "        events.append((event, args[:1]))\n"
        "sys.dont_write_bytecode = True\n"
        "sys.addaudithook(hook)\n"
        "import agentlib.runtime, agentlib.api, agentlib.service\n"
        "print([e for e in events if e[0] not in ('os.listdir', 'os.scandir')])\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert "[]\n" == done.stdout
