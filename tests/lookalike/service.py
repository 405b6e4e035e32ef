"""A look-alike service under an agent: resource, daemon and Keystone, wired. For tests/agents.

with Service(agent, folder) as service:
    expect(service.start(), 0)
    service.config.set(api="hang")      # the daemon misbehaves
    service.keystone.mode = "dead"      # Keystone does
    expect(service.monitor(), 1)
# no process of it is left
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from harness import FOREIGN

from .config import DAEMON, DaemonConfig
from .keystone import Keystone
from .managed import Managed

# how the look-alike daemon has to behave to be like the daemon that an agent manages
STYLES: dict[str, dict[str, object]] = {
    "glance-api": {"style": "glance"},
    "cinder-api": {"style": "cinder", "port_taken": "exit", "hup": "keep", "term_grace": 60},
}


class Service(Managed):
    """A resource whose daemon is a look-alike of an API, with a look-alike Keystone.

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
        super().__init__(
            agent, folder, DAEMON, DaemonConfig, interpreter=interpreter, name=name, prefix=prefix
        )
        self.config.set(**{**STYLES.get(agent.name, {}), **behaviour})
        self.password = password
        self.keystone = Keystone(users={"monitor": password})
        # the catalog leads a client to this daemon
        here = f"http://{self.config.host}:{self.config.port}"
        self.keystone.catalog = self.keystone.catalog_of(here, here)
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
        if FOREIGN:  # parameters as in the HA guide, and a Keystone that still knows v2.0
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


MakeService = Callable[..., Service]
"""The type of the fixture make_service; the options are Service's."""
