"""What the tests of all kinds share: agents by name, and looks at processes.

    expect(worker.start(timeout=LONG), 0)
    remembers(worker)["broker"]     # what a check has stored in the state
"""

from __future__ import annotations

import json
from pathlib import Path

from harness import OCF, Resource, declaration
from looks import environ_of, every_pid, words_of

LONG = 60
"""Seconds for an action that ends by itself."""


def agent_of(name: str) -> Path:
    """An agent by its name."""
    return OCF / name


def checks_of(agent: Path) -> list[str]:
    """The names of the checks that an agent declares."""
    manages = declaration(agent).manages
    return [type(check).__name__ for check in getattr(manages, "checks", ())]


def running(program: Path) -> list[int]:
    """The processes whose first word is this program."""
    return [pid for pid in every_pid() if words_of(pid)[:1] == [str(program)]]


def program(folder: Path, name: str) -> Path:
    """A program of this name that does nothing for an hour (with 3600)."""
    made = folder / name
    made.symlink_to("/bin/sleep")
    return made


def tagged(pid: int, resource: Resource) -> bool:
    """Whether a process has the tag of the resource in its environment."""
    return any(field.endswith(b"=" + resource.tag.encode()) for field in environ_of(pid))


def remembers(resource: Resource) -> dict[str, object]:
    """What the checks have stored in the state."""
    state: dict[str, dict[str, object]] = json.loads(resource.state_file.read_text("utf-8"))
    return state["checks"]
