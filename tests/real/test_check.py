"""`openstack-ocf check` where the services are installed: their own options, a real Keystone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.openstack import ControlPlane
from lab.settings import USERS

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]


def check(cloud: ControlPlane, folder: Path, config: Path) -> list[tuple[str, str, str]]:
    """Id, place and words of what is found about Glance with a configuration file."""
    (folder / "d.conf").write_text(
        f"[DEFAULT]\nnodes = node1\n[glance]\nvip = 127.0.0.12\nuser = {USERS['glance']}\n"
        f"config = {config}\nadditional_parameters = --config-dir={config.parent}/more\n")
    command = [sys.executable, "-B", "-m", "openstack_ocf", "check", "--format", "json",
               "--description", str(folder / "d.conf")]
    done = subprocess.run(cloud.argv(command), cwd=ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.stderr == ""
    assert not any(one in done.stdout for one in cloud.settings.passwords.values())
    return [(one["id"], one["where"].rpartition(":")[2], one["seen"])
            for one in json.loads(done.stdout)]


def ids(found: list[tuple[str, str, str]]) -> set[str]:
    return {id_ for id_, _, _ in found}


def test_the_services_own_options(cloud: ControlPlane, tmp_path: Path) -> None:
    """Glance's own code tells what is unknown, what is an older name, and what counts; its user
    gets a token from Keystone."""
    config = cloud.twin("glance", "glance-check", regitsry_host="10.0.0.1")
    more = config.parent / "more"
    more.mkdir()
    # A later file counts, and an older name as well as today's.
    (more / "a.conf").write_text("[DEFAULT]\nsql_max_retries = 7\nnotification_driver = noop\n"
                                 "[paste_deploy]\nflavor = caching\n")
    found = check(cloud, tmp_path, config)

    seen = {(id_, where): said for id_, where, said in found}
    assert "there is no option regitsry_host" in seen["F1", "DEFAULT/regitsry_host"]
    assert "SQLite" in seen["DB1", "database/connection"]
    assert "N1" not in ids(found)
    assert "flavor is caching" in seen["P1", "paste_deploy/flavor"]
    assert "A4" not in ids(found)
    # The lab's own file has no option that Glance does not know.
    assert {"DEFAULT/regitsry_host", "DEFAULT/sql_max_retries", "DEFAULT/notification_driver"} == {
        where for id_, where, _ in found if id_ == "F1"}


def test_a_wrong_password(cloud: ControlPlane, tmp_path: Path) -> None:
    """A4: Keystone refuses the service's own user."""
    config = cloud.twin("glance", "glance-refused")
    (config.parent / "more").mkdir()
    text = config.read_text().replace(cloud.settings.passwords["glance"], "geheim")
    config.write_text(text)
    [seen] = [said for id_, _, said in check(cloud, tmp_path, config) if id_ == "A4"]

    assert "refuses the user glance" in seen
    assert "geheim" not in seen
