"""The agents, installed and run as Pacemaker runs them, against a lab's control plane.

Called by the demo, the benchmark and the tests with real daemons. A Resource is what Pacemaker
calls a resource: an agent, an instance name and parameters.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import declared, netns, process, specs
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.process import Process

ROOT = Path(__file__).parents[1]
SERVICES = ("glance", "cinder")
TIMEOUT = 60.0  # seconds, of start and stop; a monitor's is 30
INTERVAL = 30.0
REASON = "ocf-exit-reason:"
CODES = {
    0: "OCF_SUCCESS",
    1: "OCF_ERR_GENERIC",
    2: "OCF_ERR_ARGS",
    3: "OCF_ERR_UNIMPLEMENTED",
    4: "OCF_ERR_PERM",
    5: "OCF_ERR_INSTALLED",
    6: "OCF_ERR_CONFIGURED",
    7: "OCF_NOT_RUNNING",
    190: "OCF_DEGRADED",
}


@dataclass(frozen=True)
class Result:
    """The result of one invocation of an agent."""

    code: int
    seconds: float
    stdout: str
    stderr: str

    @property
    def name(self) -> str:
        """The exit code as OCF calls it."""
        return CODES.get(self.code, "killed by the timeout" if self.code < 0 else "?")

    @property
    def reason(self) -> str:
        """The exit reason, as Pacemaker finds it: the last one."""
        lines = [line for line in self.stderr.splitlines() if line.startswith(REASON)]
        return lines[-1][len(REASON) :] if lines else ""


@dataclass
class Resource:
    """An instance of an agent in a lab.

    agent: path of the executable. folder: HA_RSCTMP. interpreter: the command that runs the agent;
    empty: as its first line says.
    """

    cloud: ControlPlane
    service: str
    agent: Path
    name: str
    folder: Path
    parameters: dict[str, str] = field(default_factory=dict)
    interpreter: Sequence[str] = ()

    def run(
        self,
        action: str,
        *,
        timeout: float = 0.0,
        interval: float | None = None,
        level: int | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Result:
        """Run one action; `parameters` are changed for this action only.

        A monitor without an interval is a recurring one; with 0 it is a probe.
        """
        repeated = INTERVAL if interval is None and action == "monitor" else interval or 0.0
        timeout = timeout or (30.0 if action == "monitor" else TIMEOUT)
        values = {**self.parameters, **(parameters or {})}
        environment = self.environment(timeout, repeated, level, values)
        return execute(
            [*self.interpreter, str(self.agent), action],
            environment,
            timeout,
            self.cloud.namespace,
        )

    def environment(
        self,
        timeout: float,
        interval: float,
        level: int | None,
        parameters: Mapping[str, str],
    ) -> dict[str, str]:
        """What Pacemaker puts into an agent's environment."""
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HA_RSCTMP": str(self.folder),
            "OCF_ROOT": str(self.agent.parents[2]),
            "OCF_RA_VERSION_MAJOR": "1",
            "OCF_RA_VERSION_MINOR": "1",
            "OCF_RESOURCE_INSTANCE": self.name,
            "OCF_RESOURCE_PROVIDER": "openstack",
            "OCF_RESOURCE_TYPE": self.agent.name,
            "OCF_RESKEY_CRM_meta_timeout": str(int(timeout * 1000)),
            "OCF_RESKEY_CRM_meta_interval": str(int(interval * 1000)),
            **({} if level is None else {"OCF_CHECK_LEVEL": str(level)}),
            **{f"OCF_RESKEY_{name}": value for name, value in parameters.items()},
        }

    @property
    def pidfile(self) -> Path:
        """The file with the pid of the master process."""
        return self.folder / f"{self.name}.pid"

    def processes(self) -> list[Process]:
        """The daemon's processes, its master first: the pidfile's process, and its session."""
        try:
            master = Process.at(int(self.pidfile.read_text()))
        except (FileNotFoundError, ValueError):
            return []
        return process.session(master.pid, master.birth) if master else []

    def pids(self) -> list[int]:
        """The pids of the daemon's processes, its master's first."""
        return [member.pid for member in self.processes()]


def listens(cloud: ControlPlane, service: str) -> bool:
    """Whether connections are accepted at the address in a service's configuration."""
    server = cloud.server(service)
    with netns.inside(cloud.namespace):
        try:
            socket.create_connection((server.address, server.port), timeout=5.0).close()
        except ConnectionRefusedError:
            return False
    return True


def each_worker(family: Sequence[Process], ask: Callable[[], object]) -> None:
    """Make each worker of a daemon answer once: meanwhile the other workers are stopped.

    A worker caches a token for itself alone, for five minutes.
    """
    workers = family[1:]
    for worker in workers:
        others = [other for other in workers if other is not worker]
        try:
            process.freeze(others)
            ask()
        finally:
            for other in others:
                other.send(signal.SIGCONT)


@contextmanager
def installed() -> Iterator[Path]:
    """The agents, installed and byte-compiled in a scratch OCF root, as operators get them."""
    with TemporaryDirectory(prefix="openstack-ocf-root-") as scratch:
        root = Path(scratch)
        root.chmod(0o755)  # meta-data is asked for by a user without rights
        yield install(root)


def install(root: Path) -> Path:
    """Install the agents in an OCF root; the folder that they are in.

    openstack-ocf and all else is there as well: what this machine has of it stays as it is.
    """
    # The settings of an outer make must not reach this one.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    places = (f"OCF_ROOT={root}", f"MANDIR={root}/man", f"SBINDIR={root}/sbin",
              f"COMPLETIONDIR={root}/completions", f"CRMSHDIR={root}/crmsh")
    command = ["make", "install", *places, "DESTDIR=", "PYTHON=/usr/bin/python3"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return root / "resource.d" / "openstack"


def resource(
    cloud: ControlPlane, agents: Path, service: str, folder: Path, name: str = ""
) -> Resource:
    """A resource with the lab's configuration file and its monitoring user."""
    user = cloud.credentials
    # The agents find processes by the resource's name, on the whole machine: it must be unique.
    name = name or f"p_{service}-api-{os.getpid()}"
    parameters = {
        "config": str(cloud.config(service)),
        "log_file": str(cloud.log(service).with_name(f"{name}.log")),
        "os_auth_url": user.auth_url,
        "os_username": user.username,
        "os_password": user.password,
        "os_project_name": user.project_name,
    }
    return Resource(cloud, service, agents / f"{service}-api", name, folder, parameters)


def parameters(cloud: ControlPlane, agent: str, name: str) -> dict[str, str]:
    """The lab's configuration for a daemon of any project, and the monitoring user's credentials
    where the agent takes them. agent: its name. name: of the resource."""
    user, known = cloud.credentials, declared.defaults(agent)
    identity = {
        "os_auth_url": user.auth_url,
        "os_username": user.username,
        "os_password": user.password,
        "os_project_name": user.project_name,
    }
    log = cloud.log(cloud.settings.project(specs.service(agent)))
    return {
        **cloud.settings.parameters(agent),
        "log_file": str(log.with_name(f"{name}.log")),
        **(identity if "os_username" in known else {}),
        **({"processes": "1"} if "processes" in known else {}),
    }


def execute(
    command: Sequence[str], environment: Mapping[str, str], timeout: float, namespace: str | None
) -> Result:
    """Run a command in a namespace; after the timeout its whole process group is killed."""
    begin = time.monotonic()
    with netns.inside(namespace):
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd="/",
            text=True,
            start_new_session=True,
        )
    try:
        out, err = child.communicate(timeout=timeout)
    except BaseException as error:
        # At an interrupt a short command has often ended already, and its group with it.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    return Result(child.returncode, time.monotonic() - begin, out, err)
