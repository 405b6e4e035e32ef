"""What the agents have left on this node: what each instance remembers, and the last verdicts.

Called by `metrics` and `explain`. Nothing is written. The folder is root's alone, and so is what is
read here; junk counts as nothing. A timer runs `metrics`: dataclasses and pathlib would cost it as
much as all the rest of this module.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import NamedTuple

from agentlib import process
from agentlib.call import PROCESS, ROUND_TRIP, SERVES
from agentlib.environment import RSCTMP
from agentlib.errors import AgentError
from agentlib.exitcode import NAMES
from agentlib.safefile import contents
from agentlib.state import FOLDER, STATE_SIZE, Store, file_name, last, open_folder

from .errors import CannotLookError

LEVELS = (PROCESS, SERVES, ROUND_TRIP)
RECORD_SIZE = 4096
"""Bytes that a last verdict has at most."""


class Verdict(NamedTuple):
    """What the last monitor of a level has come to.

    code: the exit code. reason: its exit reason, empty for a good one. seconds: that it took.
    time: when it ended, in seconds since the epoch, by the clock of this node.
    """

    tag: str
    level: int
    code: int
    reason: str
    seconds: float
    time: float


class Instance(NamedTuple):
    """An instance that has run on this node since it was booted.

    running: whether the master process that it remembers lives, which is the first look of every
    monitor, and nearly always the only one.
    """

    agent: str
    resource: str
    running: bool
    verdicts: tuple[Verdict, ...]


def rsctmp() -> str:
    """The folder in which agents keep the files of what runs."""
    return os.environ.get("HA_RSCTMP") or RSCTMP


def instances() -> list[Instance]:
    """All instances of this node, by name. CannotLookError where the folder cannot be read."""
    found = []
    for tag in sorted(set(_tags())):
        agent, _, resource = tag.partition(":")
        try:
            state = Store(rsctmp(), tag, resource, "").read()
        except AgentError:
            continue  # Not a name of a resource.
        running = bool(state.pid and process.find(state.pid, state.start))
        found.append(Instance(agent, resource, running, tuple(verdicts(tag))))
    return found


def verdicts(tag: str) -> Iterator[Verdict]:
    """The last verdicts of an instance, as far as there are any; tag: `agent:instance`."""
    folder = _folder()
    if folder is None:
        return
    try:
        found = [_parsed(contents(file_name(tag) + last(level), RECORD_SIZE, folder))
                 for level in LEVELS]
    finally:
        os.close(folder)
    yield from (one for one in found if one and one.tag == tag)


def _tags() -> Iterator[str]:
    """The tags of all files; that of one and the same instance may come several times."""
    folder = _folder()
    if folder is None:
        return
    try:
        for name in os.listdir(folder):
            if name.startswith("."):
                continue
            if name.endswith(".json"):
                yield from _tag_of_state(contents(name, STATE_SIZE, folder))
            elif name.endswith(tuple(map(last, LEVELS))):
                verdict = _parsed(contents(name, RECORD_SIZE, folder))
                if verdict:
                    yield verdict.tag
    finally:
        os.close(folder)


def _folder() -> int | None:
    """A descriptor of the agents' folder; None where there is none yet."""
    path = os.path.join(rsctmp(), FOLDER)
    try:
        return open_folder(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = "only root may read it" if os.geteuid() else (error.strerror or str(error)).lower()
        raise CannotLookError(f"{path}: {why}") from error


def _tag_of_state(text: bytes | None) -> Iterator[str]:
    try:
        record = json.loads(text or b"")
    except (ValueError, RecursionError):
        return
    tag = record.get("tag") if isinstance(record, dict) else None
    if isinstance(tag, str) and ":" in tag:
        yield tag


def _parsed(text: bytes | None) -> Verdict | None:
    """A last verdict, as agentlib.state has written it; None if it is something else."""
    lines = (text or b"").decode("utf-8", "replace").splitlines()
    fields = dict(line.partition(" ")[::2] for line in lines)
    try:
        verdict = Verdict(fields["tag"], int(fields["level"]), int(fields["code"]),
                          fields["reason"], float(fields["seconds"]), float(fields["time"]))
    except (KeyError, ValueError):
        return None
    sound = (":" in verdict.tag and verdict.code in NAMES and 0 <= verdict.seconds < 1e6
             and 0 <= verdict.time < 1e11)
    return verdict if sound else None
