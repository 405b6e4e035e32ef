"""The lab's control plane itself, on which the agents' tests rely."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import looks
from lab import netns, process, seed
from lab.errors import LabError
from lab.openstack import ControlPlane, strangers, sweep
from lab.packages import every
from lab.services import running
from lab.settings import CACHE, per_service

ROOT = Path(__file__).parents[2]
IMAGES, VOLUMES = "/v2/images?limit=1", "/v3/volumes?limit=1"

eventually = partial(looks.eventually, patience=180.0)
pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _prerequisites(need_packages: Callable[[Iterable[str], str], None]) -> None:
    need_packages(seed.packages("mysql"), "python3 -m lab.openstack install --db mysql")


@pytest.fixture(scope="module")
def cloud() -> Iterator[ControlPlane]:
    """A whole control plane, on SQLite."""
    with ControlPlane.temporary() as cloud:
        cloud.up()
        yield cloud


@pytest.fixture
def empty() -> Iterator[ControlPlane]:
    """An initialised lab in which nothing runs yet."""
    with ControlPlane.temporary() as cloud:
        yield cloud


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, with the system's Python."""
    command = ["/usr/bin/python3", "-m", "lab.openstack", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def namespace_holds(name: str | None) -> list[int]:
    """The processes in a namespace, even if its name is removed already."""
    assert name is not None
    return [member.pid for member in netns.members(name)]


def test_monitoring_user_may_read_images_and_volumes(cloud: ControlPlane) -> None:
    """The monitoring user's token is accepted for the requests of the agents."""
    token = cloud.token()

    assert 200 == cloud.server("glance").get(IMAGES, token=token).status
    assert 200 == cloud.server("cinder").get(VOLUMES, token=token).status
    assert 401 == cloud.server("glance").get(IMAGES, token="wrong").status


def test_no_password_on_a_command_line(cloud: ControlPlane) -> None:
    """No password of the lab is on the command line or in the environment of a process."""
    shown = ""
    for service in ("keystone", "glance", "cinder"):
        for pid in cloud.pids(service):
            for name in ("cmdline", "environ"):
                shown += Path(f"/proc/{pid}/{name}").read_text(errors="replace")

    assert "glance-api" in shown
    assert [] == [name for name, word in cloud.settings.passwords.items() if word in shown]


def test_secrets_are_for_root_and_their_service(cloud: ControlPlane) -> None:
    """Files with a password of the lab are not readable by other users."""
    words = [word.encode() for word in cloud.settings.passwords.values()]
    found = {}
    for folder in (cloud.directory, CACHE):
        for place, _, names in os.walk(folder):
            for path in (Path(place, name) for name in names):
                with suppress(FileNotFoundError):  # other tests make and remove things in CACHE
                    if path.is_file() and any(word in path.read_bytes() for word in words):
                        found[path] = path.stat().st_mode

    assert cloud.config("glance") in found
    assert [] == [path for path, mode in found.items() if mode & 0o007]


def test_second_lab_beside_the_first(cloud: ControlPlane, empty: ControlPlane) -> None:
    """A second lab runs beside the first, with the same ports, and its end leaves the first."""
    empty.up("glance")
    assert str(cloud.server("glance")) == str(empty.server("glance"))

    empty.destroy()

    assert 200 == cloud.server("glance").get("/healthcheck").status


WITHOUT = """
mount -t tmpfs -o ro none /etc/keystone
exec /usr/bin/python3 -c '
from lab.openstack import ControlPlane
with ControlPlane.temporary() as cloud:
    cloud.up("keystone")
    print(cloud.server("keystone").get("/v3").status)
'
"""


def test_nothing_of_the_machine(cloud: ControlPlane) -> None:
    """A lab reads and writes nothing in /etc/keystone, which belongs to the machine."""
    del cloud  # the databases are made
    command = ["unshare", "--mount", "sh", "-ec", WITHOUT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "200" in done.stdout.split()


def test_second_up_changes_nothing(cloud: ControlPlane) -> None:
    """Up does nothing for services that run already."""
    before = cloud.pids("keystone") + cloud.pids("glance")

    cloud.up("keystone", "glance")

    assert before == cloud.pids("keystone") + cloud.pids("glance")


def test_database_of_one_service_fails(cloud: ControlPlane) -> None:
    """Without its database Glance answers 500, and recovers; Cinder answers as before."""
    token = cloud.token()
    with cloud.without_database("glance"):
        assert 500 == cloud.server("glance").get(IMAGES, token=token).status
        assert 200 == cloud.server("cinder").get(VOLUMES, token=token).status

    assert 200 == cloud.server("glance").get(IMAGES, token=token).status


def test_frozen_keystone_does_not_answer(cloud: ControlPlane) -> None:
    """A frozen service accepts the connection and does not answer, until it is thawed."""
    with cloud.frozen("keystone"), pytest.raises(TimeoutError):
        cloud.server("keystone").get("/v3", timeout=0.5)

    assert 200 == cloud.server("keystone").get("/v3").status


def test_further_projects_want_mysql(tmp_path: Path) -> None:
    """A lab of further projects without mysql, or of an unknown project, is refused."""
    with pytest.raises(LabError, match="mysql"):
        ControlPlane(tmp_path / "lab", projects=["heat"])
    with pytest.raises(LabError, match="no such project: head"):
        ControlPlane(tmp_path / "lab", db="mysql", projects=["head"])


def listens(cloud: ControlPlane, port: int) -> bool:
    """Whether a port of the lab is taken."""
    with netns.inside(cloud.namespace), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_rabbitmq_goes_as_it_came(
    need_packages: Callable[[Iterable[str], str], None]
) -> None:
    """RabbitMQ comes up again after it was killed, and down leaves no process of it."""
    need_packages(every(), "make control-plane")
    with ControlPlane.temporary(db="mysql", workers=1, projects=["cinder"]) as cloud:
        cloud.up("rabbit")
        for member in running(cloud.settings, "rabbit"):
            member.send(signal.SIGKILL)  # some end with the process before
        cloud.down("rabbit")
        # Its last processes may hold the port for a moment after KILL.
        eventually(lambda: not listens(cloud, 5672))
        cloud.up("rabbit")

        cloud.down("rabbit")

        eventually(lambda: not namespace_holds(cloud.namespace))


def test_down_leaves_no_process_and_no_namespace(empty: ControlPlane) -> None:
    """Down also ends other processes in the namespace, and can be called again."""
    empty.up("glance")
    daemon = subprocess.Popen(empty.argv(["sleep", "600"]), start_new_session=True)
    name = empty.namespace
    eventually(lambda: daemon.pid in namespace_holds(name))
    assert [daemon.pid] == [stranger.pid for stranger in strangers(empty)]

    empty.down("glance")
    assert [daemon.pid] == namespace_holds(name)

    empty.down()
    empty.down()

    assert -signal.SIGTERM == daemon.wait()
    assert name is not None
    assert not netns.exists(name)
    assert [] == empty.pids("glance")


def test_down_ends_stopped_workers_without_master(empty: ControlPlane) -> None:
    """Glance's workers, stopped and without their master, are found and ended."""
    empty.up("glance")
    master, *workers = running(empty.settings, "glance")
    process.freeze(workers)
    master.send(signal.SIGKILL)
    pids = [worker.pid for worker in workers]  # their parent is another process now
    eventually(lambda: [one.pid for one in running(empty.settings, "glance")] == pids)

    empty.down("glance")

    assert [] == [worker for worker in workers if worker.alive()]


def test_up_after_a_killed_lab(empty: ControlPlane) -> None:
    """After an `up` that was killed half-way, the next `up` works."""
    record = empty.settings.record("keystone")
    killed = subprocess.Popen(
        [sys.executable, "-m", "lab.openstack", "up", "--dir", str(empty.directory)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    eventually(record.exists)
    killed.kill()
    killed.wait()

    empty.up("keystone")

    assert 200 == empty.server("keystone").get("/v3").status


def test_temporary_lab_of_a_killed_owner_is_swept() -> None:
    """A temporary lab whose owner was killed is destroyed by the next one."""
    code = """if True:
        from lab.openstack import ControlPlane
        with ControlPlane.temporary() as cloud:
            cloud.up("glance")
            print(cloud.directory, flush=True)
            input()
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    said = next(line for line in owner.stdout if line.startswith("/"))
    orphan = ControlPlane(said.strip())
    workers = running(orphan.settings, "glance")
    assert workers
    owner.kill()
    owner.communicate()

    sweep()

    assert [] == [worker for worker in workers if worker.alive()]
    assert not orphan.directory.exists()


def test_taken_port_is_refused(empty: ControlPlane) -> None:
    """Up refuses a port on which another service listens; that service runs on."""
    empty.up("glance")
    path = empty.variant("glance", "second", bind_port="9393")
    assert "bind_port = 9393" in path.read_text()
    empty.set("cinder", "DEFAULT", "osapi_volume_listen_port", "9292")

    with pytest.raises(LabError, match="cinder: port 9292 is already taken in namespace"):
        empty.up("cinder")

    assert [] == empty.pids("cinder")
    assert empty.pids("glance")


def test_service_that_dies_is_reported_with_its_last_words(empty: ControlPlane) -> None:
    """One message of the command line has the dead service, its log and its last lines."""
    empty.set("cinder", "DEFAULT", "api_paste_config", "/nowhere/api-paste.ini")

    failed = lab("up", "--dir", str(empty.directory), "--only", "cinder")

    assert 1 == failed.returncode
    assert failed.stderr.startswith("lab: cinder ended before it served (see ")
    assert "/nowhere/api-paste.ini" in failed.stderr
    assert "Traceback" not in failed.stderr.splitlines()[0]
    assert empty.namespace is not None
    assert not netns.exists(empty.namespace)


def test_mariadb_without_its_files(folder: Path) -> None:
    """A missing file of MariaDB is reported in one line, with the remedy."""
    # Hidden from this command only; the seeds that were made with these files as well.
    hidden = [place for place in (*seed.MARIADB_FOLDERS, CACHE, Path("/run")) if place.exists()]
    mounts = [f"mount --types=tmpfs tmpfs {place}" for place in hidden]
    init = f"/usr/bin/python3 -m lab.openstack init --db mysql --dir {folder}/lab"
    failed = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-ec", "\n".join([*mounts, init])],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == failed.returncode
    (line,) = failed.stderr.splitlines()
    assert line.startswith("lab: there is no mariadb_system_tables.sql")
    assert line.endswith("; run: apt-get install --reinstall mariadb-server-core")
    assert not (folder / "lab").exists()


def test_mariadb_serves_and_hangs() -> None:
    """With MariaDB a service reads its database, and does not answer while MariaDB hangs."""
    with ControlPlane.temporary(db="mysql") as cloud:
        cloud.up("db", "keystone", "glance")
        glance, token = cloud.server("glance"), cloud.token()
        assert 200 == glance.get(IMAGES, token=token).status

        with cloud.frozen("db"), pytest.raises(TimeoutError):
            glance.get(IMAGES, token=token, timeout=1.0)

        assert 200 == glance.get(IMAGES, token=token).status


def test_catalogue_has_the_addresses_of_the_lab() -> None:
    """Labs that differ only in addresses share a seed; each catalogue has its lab's addresses."""
    endpoint = {"glance": "192.0.2.7", "cinder": "2001:db8::7"}
    with ControlPlane.temporary(db="mysql", endpoint=endpoint, workers=1) as cloud:
        usual = replace(cloud.settings, endpoint=per_service("127.0.0.1"))
        assert seed.find(usual) == seed.find(cloud.settings)
        cloud.up("db", "keystone")
        answer = cloud.server("keystone").get("/v3/endpoints", token=cloud.admin_token())

        urls = {endpoint["url"] for endpoint in answer.json()["endpoints"]}
        assert urls == {
            "http://127.0.0.1:5000/v3/",
            "http://192.0.2.7:9292",
            "http://[2001:db8::7]:8776/v3/%(project_id)s",
        }


def test_command_line_from_nothing_to_nothing() -> None:
    """Init, up, status, run and destroy work from the command line, each with its exit code."""
    folder = Path(f"/var/lib/openstack-ocf-lab.test-{os.getpid()}")
    directory = ("--dir", str(folder))
    try:
        assert 0 == lab("init", *directory).returncode
        assert 3 == lab("status", *directory).returncode
        assert "glance serves" in lab("up", *directory, "--only", "glance").stdout
        assert 0 == lab("status", *directory, "--only", "glance").returncode
        listening = lab("run", *directory, "--", "cat", "/proc/net/tcp").stdout
        assert f"0100007F:{9292:04X} 00000000:0000 0A" in listening
    finally:
        assert 0 == lab("destroy", *directory).returncode
    assert not folder.exists()
