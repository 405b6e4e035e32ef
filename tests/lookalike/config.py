"""The configuration of a look-alike daemon, by which all its processes are found. For tests.

with DaemonConfig(tmp_path, api="hang") as config:
    ... start `daemon --config-file config.path`, by hand or through an agent ...
    config.set(api="503")           # at once, for the next request
    config.requests()               # the requests so far
# every process that was started with this file is gone
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from looks import end_all, every_pid, words_of

from .ports import free_port

DAEMON = Path(__file__).with_name("daemon")


class DaemonConfig:
    """One file, one daemon: every process of the daemon has the path in its argument list, and is
    known by it, whatever its parent is now."""

    def __init__(self, folder: Path, *, port: int = 0, workers: int = 2, **behaviour: object):
        self.path = folder / "daemon.conf"
        self.report_path = folder / "report.json"
        self.log_path = folder / "requests.log"
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self.default: dict[str, object] = {
            "bind_host": self.host,
            "bind_port": self.port,
            "workers": workers,
        }
        self.behaviour: dict[str, object] = {
            "report": self.report_path,
            "request_log": self.log_path,
        }
        self.sections: dict[str, dict[str, object]] = {}  # further ones
        self.set(**behaviour)

    def __enter__(self) -> DaemonConfig:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def command(self) -> list[str]:
        return [str(DAEMON), "--config-file", str(self.path)]

    def set(self, **behaviour: object) -> None:
        """Change options of [behaviour]; None takes one away."""
        self.behaviour.update(behaviour)
        lines = []
        sections = {"DEFAULT": self.default, "behaviour": self.behaviour, **self.sections}
        for name, options in sections.items():
            lines += [f"[{name}]", *(f"{option} = {value}" for option, value in options.items()
                                     if value is not None)]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join([*lines, ""]), encoding="utf-8")
        fresh.rename(self.path)

    def report(self) -> dict[str, Any]:
        """The daemon's report of itself, from its start."""
        report: dict[str, Any] = json.loads(self.report_path.read_text(encoding="utf-8"))
        return report

    def requests(self) -> list[tuple[str, str, str]]:
        """Method, path and token:HASH (token:- without one) of each request so far."""
        if not self.log_path.exists():
            return []
        found = []
        for line in self.log_path.read_text(encoding="utf-8").splitlines():
            method, path, token = line.split(" ")
            found.append((method, path, token))
        return found

    def pids(self) -> list[int]:
        """The living processes of this daemon: master, workers, orphans; no zombies."""
        mark = str(self.path)
        # an agent may have the file in its environment, but only a daemon in its arguments
        wanted = {mark, f"--config-file={mark}"}
        return [
            pid
            for pid in every_pid()
            if pid != os.getpid() and not wanted.isdisjoint(words_of(pid))
        ]

    def kill(self) -> None:
        """KILL every process, and wait until they are gone."""
        end_all(self.pids)
