"""What the benchmark of failovers has measured so far, kept in a JSON file after each run.

Written and read by `bench.failover`; `bench.failover_page` makes the page of it. A run that is
killed leaves a file that is whole, and loses at most the one fault that was under way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError

FORMAT = 1


@dataclass(frozen=True)
class Split:
    """One failover, in seconds.

    detection: from the fault until Pacemaker acts, or knows that the node is lost. stop: from then
    until the first start begins, or until the lost node is fenced. start: until the service
    is started. answer: until the client is served. total: all of it. lost: the time in which the
    client was not served. daemon: from the start of the new daemon's process until it serves; 0
    where none was started.
    """

    detection: float
    stop: float
    start: float
    answer: float
    total: float
    lost: float
    daemon: float


@dataclass
class Row:
    """A fault of a service under one kind of monitor, and the results, run by run.

    service: a name of `bench.targets`. interval: of the monitor, in seconds. level: its check
    level. failed: why runs failed.
    """

    service: str
    fault: str
    interval: int
    level: int
    splits: list[Split] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def seconds(self, name: str) -> list[float]:
        """One part of all runs."""
        return [getattr(split, name) for split in self.splits]


@dataclass
class Blind:
    """After how many seconds a monitor found that a service does not serve; None: not found."""

    fault: str
    interval: int
    level: int
    found: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Own:
    """Seconds of an action of the agent, and the part that the daemon itself needed."""

    what: str
    action: Sequence[float]
    daemon: Sequence[float]

    @property
    def shares(self) -> list[float]:
        """What the agent added, in each run."""
        return [action - daemon for action, daemon in zip(self.action, self.daemon)]


@dataclass
class Sitting:
    """One start of the benchmark: the date, the command, the machine.

    runs: of each row. before, after: the load average of the machine. quiet: whether it was low
    enough at the beginning.
    """

    date: str
    command: str
    runs: int
    machine: str
    versions: list[str]
    before: float
    quiet: bool
    after: float = 0.0


@dataclass
class Outcome:
    """All results. file: where they are kept."""

    file: Path
    sittings: list[Sitting] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    blind: list[Blind] = field(default_factory=list)
    own: list[Own] = field(default_factory=list)

    def row(self, service: str, fault: str, interval: int, level: int) -> Row:
        """The row of a fault; it is made where there is none yet."""
        for row in self.rows:
            if (row.service, row.fault, row.interval, row.level) == (
                service, fault, interval, level):
                return row
        self.rows.append(Row(service, fault, interval, level))
        return self.rows[-1]

    def blindness(self, fault: str, interval: int, level: int) -> Blind:
        """The same for a `Blind`."""
        for row in self.blind:
            if (row.fault, row.interval, row.level) == (fault, interval, level):
                return row
        self.blind.append(Blind(fault, interval, level))
        return self.blind[-1]

    def keep(self) -> None:
        """Write the file, whole or not at all."""
        if self.sittings:
            self.sittings[-1].after = os.getloadavg()[0]
        found = {**asdict(self), "format": FORMAT}
        del found["file"]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_name(f"{self.file.name}.part")
        part.write_text(json.dumps(found, indent=1) + "\n")
        part.rename(self.file)


def read(file: Path) -> Outcome:
    """The results in a file; none where there is no file. LabError for one that is not ours."""
    try:
        found = json.loads(file.read_text())
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, and not {FORMAT}")
        return _outcome(file, found)
    except FileNotFoundError:
        return Outcome(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{file} cannot be read: {error}; remove it, or name another with "
                       "--results") from None


def _outcome(file: Path, found: dict[str, Any]) -> Outcome:
    rows = [Row(**{**row, "splits": [Split(**split) for split in row["splits"]]})
            for row in found["rows"]]
    return Outcome(
        file,
        sittings=[Sitting(**one) for one in found["sittings"]],
        rows=rows,
        blind=[Blind(**one) for one in found["blind"]],
        own=[Own(**one) for one in found["own"]],
    )
