"""What is measured: our actions, the floors beneath them, and the alternatives.

Called by `bench.__main__` with resources of a control plane. Nothing secret is in an argument.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from bench.measure import Candidate
from bench.share import first_answer, last_breath
from lab import process
from lab.agents import Resource
from lab.errors import LabError
from lab.settings import write_private

PYTHON = "/usr/bin/python3"
HERE = Path(__file__).parent
PATH = "/v2/images?limit=1"

BARE = "`python3 -Es -c pass`"
CURL = "curl, GET with a ready token"
GET = "http.client, GET with a ready token"
META_DATA = "meta-data"
PROBE = "probe, nothing there"
PROCESS = "monitor, depth 0"
REMEMBERED = "monitor, depth 10, remembered token"
FETCHED = "monitor, depth 10, token to be fetched"
TRIP = "monitor, depth 20, remembered token"
START, STOP = "start, own share", "stop, own share"
SESSION = "keystoneauth1, a new session"
TWO_CURLS = "two curls: a new token, a GET"
GLANCE = "`glance image-list --limit 1`"
CINDER = "`openstack volume list --limit 1`"
SHELL_META_DATA = "a shell agent's meta-data"
SHELL_PROCESS = "a shell agent's look at the process"


class Bench:
    """All candidates: for a Glance that runs under our agent, and a Cinder that runs at times."""

    def __init__(self, glance: Resource, cinder: Resource) -> None:
        self.glance, self.cinder = glance, cinder
        act(glance, "start")
        admin = glance.cloud.admin
        self.maker = {"os_username": admin.username, "os_password": admin.password,
                      "os_project_name": admin.project_name}
        self.makers_state = self.remembered(self.maker)
        self.state = self.remembered({})

    def remembered(self, user: Mapping[str, str]) -> str:
        """What Glance's agent remembers, a token included, with the parameters of this user."""
        act(self.glance, "monitor", user)
        return state_file(self.glance).read_text()

    @cached_property
    def candidates(self) -> list[Candidate]:
        """All of them, in the order of the table."""
        return [*self.floors(), *self.ours(), *self.checks(), *self.shell()]

    def floors(self) -> list[Candidate]:
        """The floors: no check can be quicker."""
        cloud = self.glance.cloud
        server, token = cloud.server("glance"), cloud.token()
        headers = self.glance.folder / "headers"
        write_private(headers, f"X-Auth-Token: {token}\n")
        get = [PYTHON, "-Es", str(HERE / "get.py"), server.address, str(server.port), PATH]
        curl = ["/usr/bin/curl", "--silent", "--fail", "--header", f"@{headers}", f"{server}{PATH}"]
        return [
            Candidate(BARE, [PYTHON, "-Es", "-c", "pass"]),
            Candidate(CURL, curl),
            Candidate(GET, get, {"TOKEN": token}),
        ]

    def ours(self) -> list[Candidate]:
        """The agents' actions, as Pacemaker calls them."""
        agent = str(self.glance.agent)
        empty = json.loads(self.state)
        empty["checks"]["api"] = {}
        absent = {**environment(self.glance, 0), "OCF_RESOURCE_INSTANCE": "p_absent"}
        return [
            Candidate(META_DATA, [agent, "meta-data"], {"OCF_ROOT": "/usr/lib/ocf"}),
            Candidate(PROBE, [agent, "monitor"], absent, code=7),
            self.monitor(PROCESS, 0, self.state),
            self.monitor(REMEMBERED, 10, self.state),
            self.monitor(FETCHED, 10, json.dumps(empty)),
            self.monitor(TRIP, 20, self.makers_state, self.maker),
            self.action(START, "start", self.stopped, lambda: birth(self.cinder)),
            self.action(STOP, "stop", self.running, lambda: death(self.cinder)),
        ]

    def monitor(
        self, name: str, level: int, state: str, user: Mapping[str, str] | None = None
    ) -> Candidate:
        """A monitor of Glance that begins with this state file. user: not the monitoring user."""
        command = [str(self.glance.agent), "monitor"]

        def remember() -> None:
            write_private(state_file(self.glance), state)

        variables = environment(self.glance, 30, level, user)
        return Candidate(name, command, variables, before=remember)

    def action(
        self, name: str, action: str, before: Callable[[], None],
        daemon: Callable[[], Callable[[], float]],
    ) -> Candidate:
        """A start or stop of Cinder."""
        command = [str(self.cinder.agent), action]
        return Candidate(
            name, command, environment(self.cinder, 0), before=before, daemon=daemon)

    def checks(self) -> list[Candidate]:
        """Alternatives that do the same check."""
        user = self.glance.cloud.credentials.environment()
        url = f"{self.glance.cloud.server('glance')}{PATH}"
        home = {**user, "HOME": "/root"}
        volumes = ["/usr/bin/openstack", "volume", "list", "--limit", "1"]
        return [
            Candidate(SESSION, [PYTHON, "-Es", str(HERE / "session.py"), url], user),
            Candidate(TWO_CURLS, ["/bin/sh", str(HERE / "curl.sh"), url], user),
            Candidate(GLANCE, ["/usr/bin/glance", "image-list", "--limit", "1"], home),
            Candidate(CINDER, volumes, home, before=self.running),
        ]

    def shell(self) -> list[Candidate]:
        """A shell agent, where it sends no request."""
        agent = ["/bin/sh", str(HERE / "shell-agent")]
        variables = {"OCF_ROOT": "/usr/lib/ocf", "OCF_RESKEY_pid": str(self.glance.pidfile)}
        return [
            Candidate(SHELL_META_DATA, [*agent, "meta-data"], variables),
            Candidate(SHELL_PROCESS, [*agent, "monitor"], variables),
        ]

    def running(self) -> None:
        """Start Cinder unless it runs."""
        if not self.cinder.pids():
            act(self.cinder, "start")

    def stopped(self) -> None:
        """Stop Cinder if it runs."""
        if self.cinder.pids():
            act(self.cinder, "stop")


def environment(
    resource: Resource, interval: float, level: int | None = None,
    changed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment that Pacemaker would set. changed: parameters."""
    values = {**resource.parameters, **(changed or {})}
    return resource.environment(60 if not interval else 30, interval, level, values)


def state_file(resource: Resource) -> Path:
    """The file of what the agent remembers of the resource."""
    return resource.folder / "openstack" / f"{resource.agent.name}:{resource.name}.json"


def act(resource: Resource, action: str, changed: Mapping[str, str] | None = None) -> None:
    """Run an action; LabError if it fails. changed: parameters."""
    result = resource.run(action, parameters=changed)
    if result.code != 0:
        raise LabError(f"{action} of {resource.name} gives {result.code}: {result.reason}")


def birth(resource: Resource) -> Callable[[], float]:
    """What a daemon needs to start: from the start of its process to its first answer."""
    beside = ThreadPoolExecutor(1)
    answered = beside.submit(first_answer, resource.cloud.server(resource.service))

    def seconds() -> float:
        born = resource.processes()[0].birth / os.sysconf("SC_CLK_TCK")
        beside.shutdown()
        return answered.result() - born

    return seconds


def death(resource: Resource) -> Callable[[], float]:
    """What a daemon needs to stop: from TERM until nothing of it is left.

    The master process is stopped (SIGSTOP) before: the agent sends CONT just before TERM, and that
    shows the moment.
    """
    family = resource.processes()
    process.freeze(family[:1])
    beside = ThreadPoolExecutor(1)
    end = beside.submit(last_breath, family)

    def seconds() -> float:
        beside.shutdown()
        return end.result()

    return seconds
