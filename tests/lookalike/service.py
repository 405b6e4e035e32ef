"""A look-alike service under an agent: resource, daemon and Keystone, wired. For tests/agents.

with Service(agent, folder) as service:
    expect(service.start(), 0)
    service.config.set(api="hang")      # the daemon misbehaves
    service.keystone.mode = "dead"      # Keystone does
    expect(service.monitor(), 1)
# no process of it is left
"""

from __future__ import annotations

import os
import pwd
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness import FOREIGN, Resource, defaults, masters

from .config import DAEMON, DaemonConfig
from .keystone import Keystone

USER = "nobody"

# how the look-alike daemon has to behave to resemble the one that an agent manages
STYLES: dict[str, dict[str, object]] = {
    "glance-api": {"style": "glance"},
    "cinder-api": {"style": "cinder", "port_taken": "exit", "hup": "keep", "term_grace": 60},
}


class Service(Resource):
    """A resource whose daemon is a look-alike, run as an unprivileged user.

    folder: of this service alone; every user can enter it.
    credentials: whether the monitor has them (it asks Keystone then).
    behaviour: options of the look-alike daemon.
    """

    def __init__(
        self,
        agent: Path,
        folder: Path,
        *,
        credentials: bool = False,
        interpreter: str = "debian",
        name: str = "",
        password: str = "correct horse",
        prefix: Sequence[str] = (),
        **behaviour: object,
    ) -> None:
        self.folder = folder
        self.user = USER
        account = pwd.getpwnam(USER)
        for part in ("bin", "etc", "log"):
            (folder / part).mkdir()
        for part in ("etc", "log"):  # the daemon writes its report beside its configuration
            os.chown(folder / part, account.pw_uid, account.pw_gid)
        # under the binary's own name, which is how it is known when it is taken over
        self.binary = folder / "bin" / defaults(agent)["binary"]
        shutil.copyfile(DAEMON, self.binary)
        self.binary.chmod(0o755)
        self.config = DaemonConfig(folder / "etc")
        self.config.set(**{**STYLES.get(agent.name, {}), **behaviour})
        self.password = password
        self.keystone = Keystone(users={"monitor": password})
        # a client that follows the catalog comes to this daemon
        here = f"http://{self.config.host}:{self.config.port}"
        self.keystone.catalog = self.keystone.catalog_of(here, here)
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
        if credentials:
            self.parameters.update(self.credentials)
        self.well: dict[str, object] = {}  # how the daemon behaves before a test changes it
        self._stack = ExitStack()

    def __enter__(self) -> Service:
        with ExitStack() as stack:
            stack.callback(self.end)
            stack.enter_context(self.config)
            stack.enter_context(self.keystone)
            self._stack = stack.pop_all()
        tokens = self.folder / "tokens"
        self.keystone.write_tokens(tokens)
        self.config.set(accept_tokens=tokens)
        self.well = dict(self.config.behaviour)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def credentials(self) -> dict[str, object]:
        """The parameters of a monitor that asks Keystone."""
        given: dict[str, object] = {
            "os_username": "monitor",
            "os_password": self.password,
            "os_project_name": "service",
            "os_auth_url": self.keystone.url,
        }
        if FOREIGN:  # what the HA guide has, and a Keystone that still understands it
            self.keystone.v2 = True
            given["os_tenant_name"] = given["os_project_name"]
            given["os_auth_url"] = f"{self.keystone.url}/v2.0/"
            given["keystone_get_token_url"] = f"{self.keystone.url}/v2.0/tokens"
            given["url"] = f"http://{self.config.host}:{self.config.port}/v1/"
        return given

    def asked(self) -> int:
        """How many token requests Keystone has seen."""
        return sum(
            method == "POST" and path.partition("?")[0] == "/v3/auth/tokens"
            for method, path in self.keystone.requests
        )

    def pids(self) -> list[int]:
        """The daemon's processes, whoever started it: master, workers, orphans."""
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
        master = self.master()
        return [pid for pid in self.pids() if pid != master]

    def gone(self) -> bool:
        """Whether no process of the daemon is left (waits a moment for the killed to go)."""
        until = time.monotonic() + 30
        while self.pids():
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True
