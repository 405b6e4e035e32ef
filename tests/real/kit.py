"""A resource of a real daemon, with looks at it and faults for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from harness import Resource, Result, Running, eventually, expect
from lab import agents, identity
from lab.openstack import ControlPlane
from lab.process import Process
from lab.settings import NEWEST_ENVIRONMENT
from lab.web import Answer

MakeReal = Callable[..., "Real"]
PATIENCE = 300.0
"""Seconds that a test waits for what must come; only a busy machine needs them."""
SHORT = 10.0
"""Seconds for a monitor while something hangs: it takes them all."""
FACES = ("public", "internal", "admin")
DEBIANS_INI = {service: f"/etc/{service}/{service}-api-uwsgi.ini" for service in agents.SERVICES}


def also(*further: str) -> pytest.MarkDecorator:
    """Runs a test with both agents' standalone servers, and with these as well."""
    return pytest.mark.parametrize("real", [*agents.SERVICES, *further], indirect=True)


def served_by(server: str, service: str) -> dict[str, object]:
    """The parameters of a server: standalone, uwsgi, debian (uwsgi as Debian has it), newest."""
    if server == "newest":
        environment = f"--virtualenv={NEWEST_ENVIRONMENT}"
        return {"server": "uwsgi", "additional_parameters": environment}
    if server == "debian":  # it has 8 processes, each of which loads all of OpenStack
        return {"server": "uwsgi", "uwsgi_ini": DEBIANS_INI[service], "processes": 2}
    return {} if server == "standalone" else {"server": server}


class Patient(Resource):
    """A resource whose actions have much time, unless a test says otherwise.

    On a busy machine the first request to a worker takes many seconds: it asks Keystone, whose
    workers may be new as well; a daemon has not even loaded after 30 s, and twenty agents that
    run at once have not loaded when Pacemaker's 20 s are over. To an agent a late daemon is at
    fault, so tests must give it enough time.
    """

    def begin(self, action: str = "monitor", *arguments: str, **options: Any) -> Running:
        return super().begin(action, *arguments, **{"timeout": PATIENCE, **options})

    def start(self, **options: Any) -> Result:
        return super().start(**{"timeout": PATIENCE, **options})

    def monitor(self, **options: Any) -> Result:
        return super().monitor(**{"timeout": 120, **options})


@dataclass
class Real:
    """A resource and the lab that it is in. server: as for served_by()."""

    resource: Resource
    cloud: ControlPlane
    service: str
    server: str = "standalone"

    def family(self) -> list[Process]:
        """The daemon's processes, the master first."""
        found = [Process.at(pid) for pid in self.resource.processes()]
        family = [member for member in found if member]
        pids = {member.pid for member in family}
        return sorted(family, key=lambda member: member.parent in pids)

    def pids(self) -> list[int]:
        return [member.pid for member in self.family()]

    def master(self) -> Process:
        return self.family()[0]

    def get(self, path: str = "/", token: str = "") -> Answer:
        return self.cloud.server(self.service).get(path, token=token)

    def serves(self) -> bool:
        """Whether it answers a request without a token."""
        try:
            return self.get().status == 300
        except (OSError, HTTPException):
            return False

    def refused(self) -> bool:
        """Whether no process listens on the daemon's port."""
        return not agents.listens(self.cloud, self.service)

    def start(self) -> Real:
        expect(self.resource.start(), 0)
        return self

    def have_loaded(self) -> Real:
        """Give uWSGI one worker only, which has loaded when start is over.

        Workers that still load miss a signal, and uWSGI waits a minute for them.
        """
        self.resource.parameters["processes"] = 1
        return self

    def meet_workers(self) -> None:
        """Let each worker verify the token that the agent remembers."""
        def met() -> None:
            eventually(lambda: self.resource.monitor().code == 0, PATIENCE)

        agents.each_worker(self.family(), met)

    def verdict(self, **options: Any) -> Result:
        """The first monitor that is not 190, while only the daemon is in trouble.

        If the daemon does not answer Keystone is asked, which may be late on a busy machine.
        """
        def found() -> Result | None:
            result = self.resource.monitor(**options)
            return None if result.code == 190 else result

        result = eventually(found, PATIENCE)
        assert result
        return result

    def signal_master(self, signum: int) -> None:
        """Send a signal to the master once it waits for its workers.

        Glance's workers serve before that. At a HUP meanwhile its master ends, or ignores this one
        and all after it; at a TERM some of the workers are left. Once it waits, eventlet looks
        after them a hundred times a second.
        """
        status = Path(f"/proc/{self.master().pid}/status")

        def switches() -> int:
            text = status.read_text()
            return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

        before = switches()
        if self.server == "standalone":
            eventually(lambda: switches() > before + 100, PATIENCE)
        self.master().send(signum)

    def kill_master(self) -> None:
        master = self.master()
        master.send(signal.SIGKILL)
        eventually(lambda: not master.alive(), PATIENCE)

    def state(self) -> dict[str, Any]:
        """The agent's state."""
        content: dict[str, Any] = json.loads(self.resource.state_file.read_text())
        return content

    def forget_token(self) -> None:
        """Remove the token from the agent's state."""
        self._change_token(token="", seal="", until=0)

    def new_token(self) -> None:
        """Put a good token that no worker has seen into the agent's state."""
        self._change_token(token=self.cloud.token())

    def _change_token(self, **changes: object) -> None:
        state = self.state()
        state["checks"].setdefault("api", {}).update(changes)
        self.resource.state_file.write_text(json.dumps(state))

    def running(self) -> set[str]:
        """The programs that its processes run, by name."""
        return {Path(f"/proc/{pid}/exe").resolve().name for pid in self.pids()}

    def listeners(self) -> set[int]:
        """The ports on which the daemon's own processes have a listening socket."""
        ports = {}
        family = self.pids()
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{family[0]}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    ports[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
        held = set()
        for pid in family:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):  # it has closed that one meanwhile
                    held.add(os.readlink(link))
        return {port for socket, port in ports.items() if socket in held}


def one_with(cloud: ControlPlane, role: str) -> dict[str, object]:
    """A new user who has this role in the project of the monitoring user: its parameters.

    Named as the role, with that as its password.
    """
    admin = identity.Administrator(cloud.server("keystone"), cloud.admin.password)
    user = admin.create("user", name=role, domain_id="default", password=role)
    (project,) = admin.call("GET", f"/projects?name={cloud.credentials.project_name}")["projects"]
    found = admin.call("GET", f"/roles?name={role}")["roles"]
    id_ = found[0]["id"] if found else admin.create("role", name=role)
    admin.call("PUT", f"/projects/{project['id']}/users/{user}/roles/{id_}")
    return {"os_username": role, "os_password": role}


class Catalogue:
    """Keystone's catalogue in a lab, as its administrator sees and changes it.

    kind: a type of service. region: by default the lab's.
    """

    def __init__(self, cloud: ControlPlane) -> None:
        self.cloud = cloud
        self.region = cloud.settings.region
        self.admin = identity.Administrator(cloud.server("keystone"), cloud.admin.password)

    def services(self, kind: str) -> list[str]:
        """The ids of the services of a type."""
        return [one["id"] for one in self.admin.call("GET", f"/services?type={kind}")["services"]]

    def endpoints(self, kind: str, region: str = "") -> dict[str, str]:
        """The ids of the endpoints of all services of a type in a region, by interface."""
        return {face: one["id"] for face, one in self._endpoints(kind, region).items()}

    def urls(self, kind: str) -> list[str]:
        """The URLs of FACES."""
        found = self._endpoints(kind)
        return [found[face]["url"] for face in FACES]

    def _endpoints(self, kind: str, region: str = "") -> dict[str, dict[str, Any]]:
        return {
            one["interface"]: one
            for service in self.services(kind)
            for one in self.admin.call("GET", f"/endpoints?service_id={service}")["endpoints"]
            if one["region_id"] == (region or self.region)
        }

    def remove(self, kind: str) -> None:
        """Delete all services of this type, and so their endpoints."""
        for service in self.services(kind):
            self.admin.call("DELETE", f"/services/{service}")

    def create(self, kind: str, name: str, url: str) -> None:
        """Add a service, with its endpoints."""
        self.extend(self.admin.create("service", name=name, type=kind), url)

    def extend(self, service: str, url: str, region: str = "") -> None:
        """Add endpoints in one more region."""
        region = region or self.region
        if region not in [one["id"] for one in self.admin.call("GET", "/regions")["regions"]]:
            self.admin.call("PUT", f"/regions/{region}", {"region": {}})
        for face in FACES:
            self.admin.create(
                "endpoint", service_id=service, interface=face, region_id=region, url=url
            )

    def put(self, kind: str, face: str, url: str) -> None:
        """Give an endpoint another URL."""
        endpoint = self.endpoints(kind)[face]
        self.admin.call("PATCH", f"/endpoints/{endpoint}", {"endpoint": {"url": url}})


def ocf_tester(real: Real, need: Callable[[str, str], str]) -> None:
    """Let the stock ocf-tester start, monitor and stop a daemon, and assert that all tests pass."""
    tester = need("/usr/sbin/ocf-tester", "resource-agents")
    need("xmllint", "libxml2-utils")
    resource = real.resource
    given = [f"{name}={value}" for name, value in resource.parameters.items()]
    given.append(f"CRM_meta_timeout={PATIENCE * 1000:.0f}")  # its own is 20 s, for any action
    options = [word for value in given for word in ("-o", value)]
    done = subprocess.run(
        [*resource.prefix, tester, "-n", resource.name, *options, str(resource.agent)],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OCF_ROOT": str(resource.agent.parents[2]),
            "HA_RSCTMP": str(resource.rsctmp),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "passed all tests" in done.stdout
    assert [] == [line for line in done.stdout.splitlines() if line.startswith("* rc=")]
    assert [] == real.pids()
    assert real.refused()
