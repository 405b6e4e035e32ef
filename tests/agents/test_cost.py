"""What an action costs, counted: modules loaded, files opened, processes and connections made.

No clock is used: a new module, file or process is found by its name. The list of what each action
may do is in tests/golden/cost.json, the same for every agent; `make golden` (RECORD_COST=1)
records it anew. How long an action takes is measured by bench/.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT, Result, declaration, expect, installed
from lookalike.service import MakeService, Service

GOLDEN = ROOT / "tests" / "golden" / "cost.json"
RECORDED_WITH = (3, 11)  # in another Python, a module may import others

# This runs the agent, in a bare interpreter: modules that `site` loads on some machines only
# would hide what the agent itself loads. Debian's packages are found all the same.
RECORDER = """
import os, sys
out, agent = sys.argv[1:3]
sys.argv[:] = sys.argv[2:]
sys.path[0] = os.path.dirname(agent)
sys.path.append("/usr/lib/python3/dist-packages")
known, events, end = set(sys.modules), [], os._exit

def hook(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "os.posix_spawn",
                 "os.fork", "os.forkpty", "os.system", "os.exec", "socket.connect"):
        what = arguments[0] if arguments else ""
        events.append((event, os.fsdecode(what) if isinstance(what, (str, bytes)) else repr(what)))

def leave(code):
    seen = sys.version_info[:2], os.getpid(), sorted(set(sys.modules) - known), list(events)
    with open(out, "w") as file:
        file.write(repr(seen))
    end(code)

os._exit = leave
with open(agent) as source:
    code = compile(source.read(), agent, "exec")
sys.addaudithook(hook)
exec(code, {"__name__": "__main__"})
"""

# All that the modules of the list import in this Python, if it has them.
BROUGHT = """
import importlib, sys
sys.path.append("/usr/lib/python3/dist-packages")
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print(*sys.modules)
"""

Cost = dict[str, list[str]]


@dataclass(frozen=True)
class Action:
    """One row of the list. waits: whether the action waits for something, and so looks more often
    or less: the files that it opens are recorded without a number."""

    name: str
    prepare: Callable[[Service], object] = lambda service: None
    action: str = "monitor"
    interval: float | None = None
    level: int | None = None
    code: int = 0
    waits: bool = False
    credentials: bool = False

    def __str__(self) -> str:
        return self.name


def started(service: Service) -> None:
    expect(service.start(), 0)


def with_token(service: Service) -> None:
    started(service)
    expect(service.monitor(), 0)
    assert service.asked() == 1


ACTIONS = (
    Action("meta-data", action="meta-data"),
    Action("usage", action="usage"),
    Action("probe, nothing there", code=7),
    Action("probe, it runs", started),
    Action("monitor, depth 0", started, interval=10, level=0),
    Action("monitor, depth 10, no credentials", started, interval=30),
    Action("monitor, depth 10, remembered token", with_token, interval=30, credentials=True),
    Action("start", action="start", waits=True),
    Action("stop", started, action="stop", waits=True),
)


def record(service: Service, row: Action, agent: Path) -> tuple[Result, Cost]:
    """Run an action, and record what it does."""
    out = service.folder / "cost"
    family = set(service.pids())
    result = service.call(
        row.action, interval=row.interval, level=row.level, timeout=60,
        prefix=("/usr/bin/python3", "-EsS", "-c", RECORDER, str(out)),
    )  # fmt: skip
    version, own, modules, events = ast.literal_eval(out.read_text(encoding="utf-8"))
    if version != RECORDED_WITH:
        assert not os.environ.get("RECORD_COST"), f"{GOLDEN.name} is of Python {RECORDED_WITH}"
        modules = [*without_brought(modules, recorded().get(row.name, {}).get("modules", []))]
    owners = {**dict.fromkeys(family | set(service.pids()), "ITS"), own: "SELF"}
    return result, {
        "modules": modules,
        **sorted_out(events, owners, service, agent.parent, numbered=not row.waits),
    }


def without_brought(modules: Iterable[str], listed: list[str]) -> set[str]:
    """The listed modules, and those of an action that none of the listed imports."""
    libraries = [name for name in listed if name.partition(".")[0] != "agentlib"]
    brought = subprocess.run(["/usr/bin/python3", "-EsS", "-c", BROUGHT, *libraries],
                             capture_output=True, text=True, check=True).stdout.split()
    ours = {*listed} - {*libraries}
    return {*libraries, *ours.intersection(modules)} | {*modules} - {*brought} - ours


def sorted_out(
    events: Iterable[tuple[str, str]], owners: dict[int, str], service: Service, home: Path, *,
    numbered: bool,
) -> Cost:
    """The events under names that are the same on every machine, with their number."""
    counts: dict[str, Counter[str]] = {"files": Counter(), "processes": Counter(),
                                       "connections": Counter()}
    others = set()
    for event, what in events:
        if event == "socket.connect":
            counts["connections"]["TCP"] += 1
        elif not event.startswith(("open", "os.listdir", "os.scandir")):
            counts["processes"][named(what, owners, service)] += 1
        elif not is_of_import(what, home):
            name = named(what, owners, service)
            # The number of other processes, and whether new ones come meanwhile (then the list is
            # read again), depends on the machine; the files that are read of them do not.
            if name == "/proc" or name.startswith("/proc/OTHER"):
                # Whether some are of the daemon's user, of which more files are read, does as well.
                if not name.endswith(("/status", "/environ", "/cmdline")):
                    others.add(name)
            else:
                counts["files"][name] += 1
    return {
        kind: sorted([f"{name} x{n}" if numbered else name for name, n in counter.items()]
                     + (sorted(others) if kind == "files" else []))
        for kind, counter in counts.items()
    }


def is_of_import(path: str, home: Path) -> bool:
    """Whether a path is opened or listed to import a module: that is in the list of modules."""
    return (path.startswith(("/usr/lib/python", "/usr/local/lib/python", str(home),
                             str(ROOT / "agentlib")))
            or path.endswith((".py", ".pyc", ".so")))


def named(path: str, owners: dict[int, str], service: Service) -> str:
    """A path without the parts that depend on machine, moment and agent."""
    path = re.sub(
        r"^/proc/(\d+)", lambda match: f"/proc/{owners.get(int(match[1]), 'OTHER')}", path)
    for found, name in ((declaration(service.agent).manages.daemon.log_folder, "LOGS"),
                        (str(service.folder), "FOLDER"),
                        (service.name, "INSTANCE"), (service.agent.name, "AGENT"),
                        (service.binary.name, "BINARY")):
        path = path.replace(found, name)
    return re.sub(r"\.\d+$", ".PID", path)


def differences(expected: Cost, actual: Cost) -> list[str]:
    """What is new and what is gone, by name."""
    lines = []
    for kind in sorted({*expected, *actual}):
        before, now = set(expected.get(kind, ())), set(actual.get(kind, ()))
        lines += [f"new in {kind}: {name}" for name in sorted(now - before)]
        lines += [f"gone from {kind}: {name}" for name in sorted(before - now)]
    return lines


def recorded() -> dict[str, Cost]:
    """The list; without one, actions may do nothing."""
    listed: Any = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    return dict(listed)


@pytest.mark.own
@pytest.mark.parametrize("row", ACTIONS, ids=str)
def test_cost(agent: Path, make_service: MakeService, row: Action) -> None:
    """An action loads, opens and starts exactly what is on its list."""
    service = make_service(credentials=row.credentials)
    row.prepare(service)
    result, cost = record(service, row, agent)
    expect(result, row.code)
    if os.environ.get("RECORD_COST"):
        listed = {**recorded(), row.name: cost}
        ordered = {known.name: listed[known.name] for known in ACTIONS if known.name in listed}
        GOLDEN.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    changed = differences(recorded().get(row.name, {}), cost)
    assert not changed, (
        f"{agent.name}, {row.name}: " + "; ".join(changed)
        + ". If that is meant, and worth its cost several times a minute: make golden"
    )


CREPT_IN = {
    "module": ("import os\n", "import os, ssl\n", "new in modules: ssl"),
    "file": ("import os\n", "import os\nopen('/etc/hostname').close()\n",
             "new in files: /etc/hostname x1"),
    "process": ("import os\n", "import os\nos.system('true')\n", "new in processes: true x1"),
}


@pytest.mark.own
@pytest.mark.shared
@pytest.mark.parametrize("kind", CREPT_IN)
def test_what_creeps_in_is_named(
    agent: Path, make_service: MakeService, kind: str,
) -> None:
    """A new module, file or process of an agent is found, by its name."""
    before, after, complaint = CREPT_IN[kind]
    row = ACTIONS[0]
    service = make_service()
    service.agent = installed(agent, service.folder)
    module = service.folder / "agentlib" / "log.py"
    module.write_text(module.read_text(encoding="utf-8").replace(before, after, 1),
                      encoding="utf-8")
    _, cost = record(service, row, service.agent)
    assert complaint in differences(recorded()[row.name], cost)
