"""openstack-ocf on a real cluster: from a description to services that answer, and back."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.kit import (
    LOGS,
    PATIENCE,
    VIPS,
    Group,
    addresses,
    await_end,
    timely,
    unharmed,
)
from lab.agents import Result
from lab.chaos import patience
from lab.client import Watch
from lab.cluster import Cluster
from lab.controller import COMMAND
from lab.openstack import ControlPlane

pytestmark = pytest.mark.real

SAVED = "/var/lib/pacemaker/openstack-ocf"
"""On the disk of the node, as all of its /var/lib/pacemaker."""
SECRETS = "/var/lib/pacemaker/lrm/secrets"
FIRST, SECOND, THIRD = VIPS["glance"], "10.99.0.103", "10.99.0.104"


class Operator:
    """An operator on node1, with a description."""

    def __init__(self, cluster: Cluster, cloud: ControlPlane, folder: Path) -> None:
        self.cluster = cluster
        self.path = folder / "d.conf"
        user = cloud.credentials
        self.openrc = folder / "monitor.openrc"
        self.openrc.write_text("".join(
            f"export {name}='{value}'\n" for name, value in {
                "OS_USERNAME": user.username, "OS_PASSWORD": user.password,
                "OS_PROJECT_NAME": user.project_name, "OS_AUTH_URL": user.auth_url}.items()))
        self.openrc.chmod(0o600)

    def describe(self, text: str) -> None:
        self.path.write_text(f"[DEFAULT]\ncredentials = {self.openrc}\n{text}")

    def argv(self, verb: str, *words: str) -> list[str]:
        described = ["--description", str(self.path)] if verb == "apply" else []
        return [*COMMAND, verb, *described, f"--saved={SAVED}", f"--wait={PATIENCE:.0f}", *words]

    def run(self, verb: str, *words: str, node: str = "node1") -> Result:
        done = self.cluster.exec(node, self.argv(verb, *words), timeout=2 * PATIENCE)
        assert "Traceback" not in done.stderr
        return done

    def answer(self, word: str, meanwhile: list[str]) -> tuple[int, str]:
        """Run apply at a terminal; meanwhile: a command that node2 runs before the answer."""
        ours, theirs = pty.openpty()
        command = self.cluster.argv("node1", self.argv("apply"))
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        said = b""
        try:
            while b"Change it? [y/N]" not in said:
                said += os.read(ours, 4096)
            self.cluster.exec("node2", meanwhile, check=True)
            os.write(ours, f"{word}\n".encode())
            while more := _read(ours):
                said += more
            return process.wait(), said.decode()
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # its other end is closed
        return b""


@pytest.fixture
def operator(
    pair: Cluster, groups: dict[str, Group], cloud: ControlPlane, tmp_path: Path
) -> Iterator[Operator]:
    """Nothing is configured, and no password is on the nodes."""
    def forget() -> None:
        pair.clear()
        for node in pair.nodes:
            # Pages of docs/ that have been run before have put passwords there, too.
            pair.exec(node, ["rm", "-rf", SAVED, SECRETS], check=True)

    forget()
    yield Operator(pair, cloud, tmp_path)
    forget()


def configuration(cluster: Cluster) -> str:
    """Resources and constraints as they are."""
    return "".join(
        cluster.exec("node1", ["cibadmin", "--query", f"--scope={scope}"], check=True).stdout
        for scope in ("resources", "constraints"))


def write_secret(cluster: Cluster, name: str, value: str) -> None:
    """Put a password on every node, as `cibsecret -C set` does it."""
    for node in cluster.nodes:
        folder = cluster.path(node, f"{SECRETS}/{name}")
        folder.mkdir(parents=True)
        sign = hashlib.md5(value.encode()).hexdigest()
        for file, text in (("os_password", value), ("os_password.sign", sign)):
            (folder / file).write_text(f"{text}\n")
            (folder / file).chmod(0o600)


def test_from_description_to_service_and_back(
    operator: Operator, groups: dict[str, Group], cloud: ControlPlane
) -> None:
    """A description becomes a service at both of its addresses; one changes, and changes back."""
    cluster, glance = operator.cluster, groups["glance"]
    config = cloud.twin("glance", "glance-wide", log_file=LOGS["glance"], bind_host="0.0.0.0")
    text = f"[glance]\nconfig = {config}\nstorage = shared-file\nvip = {FIRST} "

    # Without the password on the node a start would fail: nothing is started.
    operator.describe(f"{text}{SECOND}\n")
    empty = configuration(cluster)
    done = operator.run("apply", "--yes")
    assert 1 == done.code
    assert "\n  cibsecret -C set p_glance-api os_password\n" in done.stderr
    assert empty == configuration(cluster)

    # With it both addresses answer, and no password is shown.
    write_secret(cluster, "p_glance-api", cloud.credentials.password)
    done = operator.run("apply", "--yes")
    assert (0, "") == (done.code, done.stderr), done.stdout
    assert cloud.credentials.password not in done.stdout
    node = glance.await_settled()
    assert f"p_glance-api started on {node}\n" in done.stdout
    server = cloud.server("glance")
    for address in (FIRST, SECOND):
        assert 200 == replace(server, address=address).get(
            "/v2/images?limit=1", token=glance.token).status

    # A second time there is nothing to do, nor on the other node.
    applied, calm = configuration(cluster), unharmed(glance)
    for name in cluster.nodes:
        done = operator.run("apply", "--yes", node=name)
        assert (0, "Nothing to do: the cluster has this configuration.\n") == (
            done.code, done.stdout)
    assert applied == configuration(cluster)
    calm()

    # A changed address restarts the service: this is shown, and not done without the option.
    operator.describe(f"{text}{THIRD}\n")
    done = operator.run("apply", "--yes")
    assert 1 == done.code
    assert f"Clients: {SECOND} is gone for good; they have to use {THIRD}.\n" in done.stdout
    assert "Clients: glance-api gives no answer until it has started again.\n" in done.stdout
    assert "--allow-restart" in done.stderr
    assert applied == configuration(cluster)
    calm()

    old = glance.family()
    client = Watch({"glance": replace(server, address=FIRST)}, glance.token, patience=patience)
    with client.running():
        begin = time.time()
        client.await_served("glance", begin, PATIENCE)
        done = operator.run("apply", "--yes", "--allow-restart")
        client.await_served("glance", time.time(), PATIENCE)
    assert (0, "") == (done.code, done.stderr), done.stdout
    outages = client.outages("glance", begin)
    assert outages, "what was told"
    assert all(outage.over for outage in outages)
    print(f"{FIRST} was not served for {client.lost('glance', begin):.1f} s\n{done.stdout}")
    await_end(old)
    assert node == glance.await_settled()
    get = replace(server, address=THIRD).get("/v2/images?limit=1", token=glance.token)
    assert 200 == get.status
    for name in cluster.nodes:
        assert SECOND not in addresses(cluster, name)

    # And back.
    done = operator.run("undo", "--yes")
    assert 1 == done.code
    assert f"~ p_ip_public_glance-api param ip: {THIRD} -> {SECOND}\n" in done.stdout
    done = operator.run("undo", "--yes", "--allow-restart")
    assert (0, "") == (done.code, done.stderr), done.stdout
    glance.await_settled()
    assert applied == configuration(cluster)
    assert 200 == replace(server, address=SECOND).get(
        "/v2/images?limit=1", token=glance.token).status


GUIDE = """\
primitive vip ocf:heartbeat:IPaddr2 params ip="VIP" cidr_netmask="24" \\
  op monitor interval="30s"
primitive p_cinder-api ocf:openstack:cinder-api \\
  params config="CONFIG" \\
  os_password="PASSWORD" \\
  os_username="USER" os_tenant_name="PROJECT" \\
  keystone_get_token_url="KEYSTONE/v2.0/tokens" \\
  op monitor interval="30s" timeout="30s" op start interval=0 timeout=90s
colocation cinder-with-vip inf: p_cinder-api vip
order cinder-after-vip Mandatory: vip p_cinder-api
"""


def test_from_the_guide(
    operator: Operator, groups: dict[str, Group], cloud: ControlPlane
) -> None:
    """The service of the guide's primitives runs on while these are changed to the plan's."""
    cluster, user = operator.cluster, cloud.credentials
    cinder = groups["cinder"]
    text = GUIDE
    for word, value in {"CONFIG": cinder.config, "PASSWORD": user.password, "USER": user.username,
                        "PROJECT": user.project_name, "VIP": VIPS["cinder"],
                        "KEYSTONE": user.auth_url.partition("/v3")[0]}.items():
        text = text.replace(word, str(value))
    cluster.configure(text)
    cluster.until(lambda status: status.where("p_cinder-api"), timeout=PATIENCE)
    cinder.await_served()
    cluster.wait()
    node = cluster.status().where("p_cinder-api")
    family = cinder.family(node)
    assert family
    before = configuration(cluster)

    operator.describe(f"[cinder]\nconfig = {cinder.config}\nvip = {VIPS['cinder']}\n")
    done = operator.run("apply", "--yes")

    assert (0, "") == (done.code, done.stderr), done.stdout
    assert "  Nothing starts, stops or moves.\n" in done.stdout
    assert "cibsecret stash p_cinder-api os_password" in done.stdout
    assert user.password not in done.stdout
    cluster.wait()
    assert family == cinder.family(node)
    assert [] == timely(cluster.status().failures)
    assert {"vip", "p_cinder-api"} == {*cluster.status().resources}
    assert [0, 0] == [cluster.crm("configure", "show", name).code
                      for name in ("g_cinder-api", "cinder-with-vip")]

    assert 0 == operator.run("undo", "--yes").code
    cluster.wait()
    assert before == configuration(cluster)
    assert family == cinder.family(node)


def test_two_administrators(
    operator: Operator, groups: dict[str, Group], cloud: ControlPlane
) -> None:
    """A change that another administrator makes during the question stays, and is shown."""
    cluster = operator.cluster
    config = groups["cinder"].config
    operator.describe(f"[cinder]\nconfig = {config}\nvip = {VIPS['cinder']}\n")
    write_secret(cluster, "p_cinder-api", cloud.credentials.password)
    theirs = ["cibadmin", "--create", "--scope=resources", "--xml-text=<primitive id='p_new' "
              "class='ocf' provider='pacemaker' type='Dummy'/>"]

    code, said = operator.answer("y", theirs)

    assert 1 == code
    # Pacemaker 3.0 does not write down which tool it was.
    assert re.search(r"Meanwhile root has changed the CIB(, by cibadmin)? on node2:", said), said
    assert "+ p_new (ocf:pacemaker:Dummy)" in said
    assert "p_new" in configuration(cluster)
    assert "cinder" not in configuration(cluster)

    # In maintenance mode a change is made, but nothing starts.
    code, said = operator.answer("n", ["crm_attribute", "--name=maintenance-mode", "--update=true"])
    assert 1 == code
    assert "nothing was changed" in said
    done = operator.run("apply", "--yes")
    assert (0, "") == (done.code, done.stderr), done.stdout
    assert "When maintenance ends:\n  vip" not in done.stdout
    assert "p_cinder-api starts on node" in done.stdout
    assert "in maintenance: nothing starts or stops before it ends" in done.stdout
    assert "" == cluster.status().where("p_cinder-api")
    done = operator.run("undo", "--yes")
    assert (0, "") == (done.code, done.stderr), done.stdout
    assert "p_new" in configuration(cluster)
    assert "cinder" not in configuration(cluster)
    cluster.exec("node1", ["crm_attribute", "--name=maintenance-mode", "--delete"], check=True)
    cluster.wait()

    # A resource that does not start is shown with its reason; undo removes it.
    operator.describe(f"[cinder]\nconfig = /etc/none.conf\nvip = {VIPS['cinder']}\n")
    done = operator.run("apply", "--yes")
    assert 1 == done.code
    assert "\np_cinder-api stopped" in done.stdout
    assert "start failed on node1: " in done.stdout
    assert "/etc/none.conf" in done.stdout
    assert "openstack-ocf undo" in done.stderr
    done = operator.run("undo", "--yes", "--allow-restart")
    assert (0, "") == (done.code, done.stderr), done.stdout
    assert "cinder" not in configuration(cluster)
