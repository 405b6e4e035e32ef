"""A hypervisor that only looks like one, outside of a controller, and what a server is made of.

Called by `lab.chaos`; the data plane's tests have hosts discovered. Nova's own fake driver has no
machine to run: a server that it has spawned is a record of Nova's, an allocation of Placement's,
and a message from the API to here and back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from agentlib.check import Record
from lab import config, netns, process
from lab.controller import Controller
from lab.errors import LabError
from lab.openstack import ControlPlane
from lab.records import Records
from lab.specs.spec import authtoken

HOST = "hypervisor"
VERSION = {"X-OpenStack-Nova-API-Version": "2.37"}
"""From this one on a server needs no network."""
MANAGE = "/usr/bin/nova-manage"
PATIENCE = 600.0  # seconds, for what takes ten on an idle machine
PLENTY = 1000
POLL = 1.0
UNLIMITED = -1
QUOTAS = {
    "cinder-api": ("/v3/{project}/os-quota-sets/{project}", {"quota_set": {
        "volumes": UNLIMITED, "gigabytes": UNLIMITED}}),
    "nova-api": ("/v2.1/os-quota-sets/{project}", {"quota_set": {
        "instances": PLENTY, "cores": PLENTY, "ram": PLENTY * 1000}}),
}
"""A fault may leave records that cannot be deleted for a while, or are never made."""


@contextmanager
def running(here: Controller) -> Iterator[None]:
    """Run the hypervisor at the switch for a while, where clients are; its files are the lab's."""
    settings = here.cloud.settings
    home, log = settings.home("nova"), settings.log("nova-compute")
    own = settings.config("nova-api").with_name("hypervisor.conf")
    own.unlink(missing_ok=True)
    config.amend(own, {
        "DEFAULT": {"compute_driver": "fake.FakeDriver", "host": HOST, "log_dir": str(log.parent)},
        "oslo_concurrency": {"lock_path": f"{home}/lock"},
        "neutron": authtoken(settings, "neutron"),
    })
    shutil.chown(own, "root", "nova")
    own.chmod(0o640)  # there is a password in it
    files = [f"--config-file={settings.config('nova-api')}", f"--config-file={own}"]
    with netns.inside(settings.namespace):
        daemon = process.spawn(
            ["/usr/bin/nova-compute", *files], user="nova", home=home, log=log, environment={})
    try:
        _discover(here, files)
        yield
    finally:
        if not process.end(lambda: process.session(daemon.pid, daemon.birth)):
            raise LabError("nova-compute survives SIGKILL", log=log)


def _discover(here: Controller, files: list[str]) -> None:
    """Wait until Nova knows the hypervisor, and have it used."""
    deadline = time.monotonic() + PATIENCE
    while not any(one["hypervisor_hostname"] == HOST for one in _hypervisors(here)):
        if time.monotonic() > deadline:
            raise LabError(f"Nova does not know its hypervisor after {PATIENCE:.0f} s",
                           log=here.cloud.settings.log("nova-compute"))
        discover_hosts(here.cloud, files)
        time.sleep(POLL)


def discover_hosts(
    cloud: ControlPlane, files: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Have Nova look for hosts of nova-compute. files: options that name its configuration."""
    files = files or [f"--config-file={cloud.config('nova-api')}"]
    with netns.inside(cloud.namespace):
        return subprocess.run(
            [MANAGE, *files, "cell_v2", "discover_hosts"], env=process.ENVIRONMENT, cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, check=False, **process.as_user("nova"))


def _hypervisors(here: Controller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _asked(here, "nova-api", "/v2.1/os-hypervisors")["hypervisors"]
    return found


def servers(here: Controller) -> Records:
    """Records of servers; makes the flavor and the image that they need, and room for records."""
    for name, (path, body) in QUOTAS.items():
        _asked(here, name, path, "PUT", body)
    size = {"name": "smallest", "vcpus": 1, "ram": 1, "disk": 0}
    flavor = _asked(here, "nova-api", "/v2.1/flavors", "POST", {"flavor": size})["flavor"]["id"]
    image = _asked(here, "glance-api", "/v2/images", "POST", {
        "name": "smallest", "disk_format": "raw", "container_format": "bare"})["id"]
    here.server("glance-api").request(
        "PUT", f"/v2/images/{image}/file", data=os.urandom(512), token=here.token())
    record = Record(
        "server", "/v2.1/servers", {"flavorRef": flavor, "imageRef": image, "networks": "none"},
        query="/detail?limit=100", status=("status", "ACTIVE"), passing=("BUILD",),
        behind="nova-conductor, nova-scheduler, nova-compute")
    return Records(here.server("nova-api"), record, headers=VERSION)


def _asked(
    here: Controller, name: str, path: str, method: str = "GET", body: Any = None
) -> dict[str, Any]:
    """The answer to an administrator's request, repeated while the machine is too busy for it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = here.ask(name, path, token=here.token(), method=method, body=body,
                              timeout=PATIENCE)
            if answer.status < 300:
                found: dict[str, Any] = answer.json()
                return found
            said = f"{answer.status} {answer.body[:200]!r}"
        except (OSError, HTTPException, LabError) as error:
            said = str(error)
        if time.monotonic() > deadline:
            raise LabError(f"{name}: {method} {path}: {said}")
        time.sleep(POLL)


