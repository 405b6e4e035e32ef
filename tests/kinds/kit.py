"""What the tests of all kinds share: agents by name, and looks at processes.

    expect(worker.start(timeout=LONG), 0)
    held = unread(pid)              # bytes that a process has not read
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from harness import OCF, Resource, declaration, environ_of, eventually, expect

LONG = 60
"""Seconds for an action that comes to its end by itself."""

SHORT = 6
"""Seconds for an action that cannot succeed, and is to say so before they are over."""


def agent_of(name: str) -> Path:
    """An agent by its name."""
    return OCF / name


def checks_of(agent: Path) -> list[str]:
    """The names of the checks that an agent declares."""
    manages = declaration(agent).manages
    return [type(check).__name__ for check in getattr(manages, "checks", ())]


def ends(resource: Resource) -> None:
    """Stop is 0, and both monitors say so."""
    expect(resource.stop(), 0)
    assert not resource.processes()
    expect(resource.probe(), 7)
    expect(resource.monitor(), 7)


def killed(*pids: int) -> None:
    """KILL them, and see them gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(map(lives, pids)))


def lives(pid: int) -> bool:
    """Whether there is such a process, and no zombie."""
    return bool(words_of(pid))


def words_of(pid: int) -> list[str]:
    """A process's command line; empty for zombies and the gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return os.fsdecode(words).split("\0")[:-1]


def running(program: Path) -> list[int]:
    """The processes whose first word is this program."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if words_of(pid)[:1] == [str(program)]]


def program(folder: Path, name: str) -> Path:
    """A program of this name that does nothing for an hour (with 3600)."""
    made = folder / name
    made.symlink_to("/bin/sleep")
    return made


def tagged(pid: int, resource: Resource) -> bool:
    """Whether a process has the tag of the resource in its environment."""
    return any(field.endswith(b"=" + resource.tag.encode()) for field in environ_of(pid))


def remembers(resource: Resource) -> dict[str, object]:
    """What the checks have left in the state."""
    state: dict[str, dict[str, object]] = json.loads(resource.state_file.read_text("utf-8"))
    return state["checks"]
