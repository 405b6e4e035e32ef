"""What is measured: our actions, the floors beneath them, and the alternatives.

Called by `bench.__main__` with a resource that runs. Nothing secret is in an argument.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from bench.measure import Candidate
from lab.agents import Resource
from lab.errors import LabError
from lab.settings import write_private

PYTHON = "/usr/bin/python3"
HERE = Path(__file__).parent
PATH = "/v2/images?limit=1"

BARE = "`python3 -Es -c pass`"
GET = "http.client, GET with a ready token"
META_DATA = "meta-data"
REMEMBERED = "monitor, remembered token"


def candidates(resource: Resource) -> list[Candidate]:
    """All of them, in the order of the table."""
    return [*floors(resource), *ours(resource), *alternatives(resource)]


def floors(resource: Resource) -> list[Candidate]:
    """What nobody can be quicker than."""
    server, token = resource.cloud.server(resource.service), resource.cloud.token()
    headers = resource.folder / "headers"
    write_private(headers, f"X-Auth-Token: {token}\n")
    get = [PYTHON, "-Es", str(HERE / "get.py"), server.address, str(server.port), PATH]
    curl = ["/usr/bin/curl", "--silent", "--fail", "--header", f"@{headers}", f"{server}{PATH}"]
    return [
        Candidate(BARE, [PYTHON, "-Es", "-c", "pass"]),
        Candidate("curl, GET with a ready token", curl),
        Candidate(GET, get, {"TOKEN": token}),
    ]


def ours(resource: Resource) -> list[Candidate]:
    """The agent's actions, as Pacemaker calls them."""
    agent = str(resource.agent)
    fetch_token(resource)
    state = state_file(resource).read_text()
    empty = {**json.loads(state), "token": "", "token_key": "", "token_until": 0}
    stopped = resource.environment(30, 0, None, resource.parameters)
    stopped["OCF_RESOURCE_INSTANCE"] = f"{resource.name}-stopped"

    def monitor(name: str, level: int, content: str) -> Candidate:
        environment = resource.environment(30, 30, level, resource.parameters)
        before = remember(state_file(resource), content)
        return Candidate(name, [agent, "monitor"], environment, before=before)

    return [
        Candidate(META_DATA, [agent, "meta-data"], {"OCF_ROOT": "/usr/lib/ocf"}),
        Candidate("probe, nothing there", [agent, "monitor"], stopped, code=7),
        monitor("monitor, level 0", 0, state),
        monitor(REMEMBERED, 10, state),
        monitor("monitor, token to be fetched", 10, json.dumps(empty)),
    ]


def alternatives(resource: Resource) -> list[Candidate]:
    """What else would do the same check."""
    user = resource.cloud.credentials.environment()
    url = f"{resource.cloud.server(resource.service)}{PATH}"
    session = [PYTHON, "-Es", str(HERE / "session.py"), url]
    client = ["/usr/bin/glance", "image-list", "--limit", "1"]
    return [
        Candidate("keystoneauth1, a new session", session, user),
        Candidate("`glance image-list --limit 1`", client, {**user, "HOME": "/root"}),
    ]


def state_file(resource: Resource) -> Path:
    """What the agent remembers of the resource."""
    return resource.folder / "openstack" / f"{resource.agent.name}:{resource.name}.json"


def remember(file: Path, content: str) -> Callable[[], None]:
    """Put the agent's memory back to what it was."""

    def write() -> None:
        write_private(file, content)

    return write


def fetch_token(resource: Resource) -> None:
    """Have the agent fetch its token."""
    result = resource.run("monitor")
    if result.code != 0:
        raise LabError(f"monitor gives {result.code}: {result.reason}")
