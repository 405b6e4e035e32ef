"""`openstack-ocf check` where the services are installed: their own options, a real Keystone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from lab.openstack import ControlPlane
from openstack_ocf import clients, configuration, description
from tool.kit import command

pytestmark = pytest.mark.real


def check(cloud: ControlPlane, folder: Path, config: Path) -> list[tuple[str, str, str]]:
    """Id, place and words of each finding about Glance with a configuration file."""
    (folder / "d.conf").write_text(
        f"[DEFAULT]\nnodes = node1\n[glance]\nvip = 127.0.0.12\nuser = glance\n"
        f"config = {config}\nadditional_parameters = --config-dir={config.parent}/more\n")
    done = command("check", "--format", "json", "--description", folder / "d.conf",
                   prefix=cloud.argv(()))
    assert done.said == ""
    assert not any(one in done.output for one in cloud.settings.passwords.values())
    return [(one["id"], one["where"].rpartition(":")[2], one["seen"])
            for one in json.loads(done.output)]


def ids(found: list[tuple[str, str, str]]) -> set[str]:
    return {id_ for id_, _, _ in found}


def test_the_services_own_options(cloud: ControlPlane, tmp_path: Path) -> None:
    """Glance's own code tells unknown options, older names, and which value counts; its user gets a
    token from Keystone."""
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
    """A4: a service's own user that Keystone refuses is found."""
    config = cloud.twin("glance", "glance-refused")
    (config.parent / "more").mkdir()
    text = config.read_text().replace(cloud.settings.passwords["glance"], "geheim")
    config.write_text(text)
    [seen] = [said for id_, _, said in check(cloud, tmp_path, config) if id_ == "A4"]

    assert "refuses the user glance" in seen
    assert "geheim" not in seen


@pytest.mark.parametrize("client", ["nova", "cinder", "glance"])
def test_the_options_of_the_clients(tmp_path: Path, client: str) -> None:
    """The service itself knows each option that `clients` prints, also in comments."""
    (tmp_path / "d.conf").write_text(
        "[DEFAULT]\nregion = R\n[glance]\nvip = 10.0.0.12\n[cinder]\nvip = 10.0.0.13\n")
    text = clients.sections(description.read(str(tmp_path / "d.conf")))
    [mine] = [part for part in re.split(r"(?m)^# (?=\w+(?:-api)?\.conf,)", text)
              if part.startswith(client)]
    lines = mine.partition("\n")[2].replace("[NAME_OF_THE_STORE]", "[cinder]")
    path = tmp_path / f"{client}.conf"
    path.write_text(re.sub(r"(?m)^# (without the catalogue: )?(?=\w+ = )", "", lines))
    config = configuration.read(client, [str(path)])

    assert config.raw
    assert [] == [name for name in config.raw if name[1] not in config.known.get(name[0], ())]


OLDER = """
import pymysql
database = pymysql.connect(user="glance", password={password!r}, unix_socket={socket!r},
                           database="glance", autocommit=True)
database.cursor().execute("update alembic_version set version_num = 'mitaka01'")
"""


def test_the_schema(tmp_path: Path) -> None:
    """DB2: an older schema is found by Glance's own tool, a current one is not."""
    with ControlPlane.temporary(db="mysql", workers=1) as cloud:
        cloud.up("db", "keystone")
        config = cloud.config("glance")
        (config.parent / "more").mkdir()
        assert "DB2" not in ids(check(cloud, tmp_path, config))

        script = OLDER.format(password=cloud.settings.passwords["db"],
                              socket=str(cloud.settings.socket))
        subprocess.run(["/usr/bin/python3", "-"], input=script, text=True, check=True)
        [seen] = [said for id_, _, said in check(cloud, tmp_path, config) if id_ == "DB2"]
        assert seen == "glance-manage db check says that the schema is not current"
