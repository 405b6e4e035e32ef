"""A resource whose daemon is a look-alike: what Service and Worker have in common. For tests.

The daemon is a copy of a program of this folder, under the name that the agent's own binary has;
its configuration, log and program are in a folder that the daemon's unprivileged user can enter.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import Resource, defaults
from looks import eventually, masters

from .config import DaemonConfig

USER = "nobody"
"""The user that runs the look-alike daemons."""


class Managed(Resource):
    """A resource whose daemon is a look-alike, run as an unprivileged user.

    folder: of this resource alone; every user can enter it.
    program: the file that is copied, and run as the daemon.
    make_config: makes its configuration in a folder.
    """

    config: DaemonConfig

    def __init__(
        self,
        agent: Path,
        folder: Path,
        program: Path,
        make_config: Callable[[Path], DaemonConfig],
        *,
        interpreter: str = "debian",
        name: str = "",
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.user = USER
        account = pwd.getpwnam(USER)
        for part in ("bin", "etc", "log"):
            (folder / part).mkdir()
        for part in ("etc", "log"):  # the daemon writes its report beside its configuration
            os.chown(folder / part, account.pw_uid, account.pw_gid)
        # under the binary's own name, by which it is recognised when it is taken over
        self.binary = folder / "bin" / defaults(agent)["binary"]
        shutil.copyfile(program, self.binary)
        self.binary.chmod(0o755)
        self.config = make_config(folder / "etc")
        self.log_file = folder / "log" / "daemon.log"
        super().__init__(
            agent,
            folder,
            {
                "binary": self.binary,
                "config": self.config.path,
                "user": USER,
                "log_file": self.log_file,
            },
            name=name,
            interpreter=interpreter,
            prefix=prefix,
        )

    def __exit__(self, *_: object) -> None:
        self.end()
        self.config.kill()

    def pids(self) -> list[int]:
        """The daemon's processes, by whatever it was started: master, workers, orphans."""
        return self.config.pids()

    def master(self) -> int:
        """The pid of the daemon's one master process."""
        (pid,) = masters(self.pids())
        return pid

    def master_or_none(self) -> int | None:
        """The pid of the daemon's master process, None before it is there."""
        found = masters(self.pids())
        return found[0] if len(found) == 1 else None

    def workers(self) -> list[int]:
        """The pids of all but the master."""
        pids = self.pids()
        (master,) = masters(pids)
        return [pid for pid in pids if pid != master]

    def all_workers(self, count: int = 2) -> list[int]:
        """The pids of all but the master, once there are so many."""
        return eventually(
            lambda: found
            if self.master_or_none() and len(found := self.workers()) == count
            else []
        )

    def orphan(self) -> list[int]:
        """KILL the master; return the pids of its two workers, once they alone are left."""
        workers = self.all_workers()
        os.kill(self.master(), signal.SIGKILL)
        eventually(lambda: self.pids() == workers)
        return workers

    def gone(self) -> bool:
        """Wait until no process of the daemon is left: True, or the test fails."""
        return eventually(lambda: not self.pids())
