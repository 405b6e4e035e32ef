"""A worker that needs its connections to RabbitMQ: from start to stop, and the faults of both.

Its states: stopped, connecting, connected, apart from its broker, hung, orphaned.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import EVERY_AGENT, OCF, SHORT, expect, stops
from kinds.kit import LONG, agent_of, checks_of, remembers
from lookalike.broker import Broker
from lookalike.worker import MakeWorker, Worker, bytes_waiting, unread
from looks import eventually, killed, words_of

BARBICAN = agent_of("barbican-worker")
HEAT = agent_of("heat-engine")
WORKERS = [agent for agent in EVERY_AGENT if "Broker" in checks_of(agent)]
ALONE = [agent for agent in WORKERS if checks_of(agent) == ["Broker"]]
"""Agents with no other check, whose workers start in less than two seconds."""


@pytest.fixture
def worker(make_worker: MakeWorker) -> Worker:
    """A heat-engine, stopped."""
    return make_worker(HEAT)


@pytest.fixture
def running(worker: Worker, broker: Broker) -> Worker:
    """A heat-engine with two processes, connected."""
    expect(worker.start(), 0)
    eventually(lambda: len(worker.pids()) == 3 and broker.greeted() == 2)
    return worker


# ---- stopped, started, connected


def test_life_cycle(worker: Worker, broker: Broker) -> None:
    """start is 0 when the worker is connected, and 0 again when it runs; stop ends all of it."""
    expect(worker.call("validate-all"), 0)
    expect(worker.probe(), 7)
    expect(worker.monitor(), 7)
    expect(worker.stop(), 0)
    expect(worker.start(), 0)
    assert broker.connections()
    before = worker.master()
    expect(worker.start(), 0)
    assert before == worker.master()
    expect(worker.probe(), 0)
    expect(worker.monitor(), 0)
    expect(worker.monitor(level=0), 0)
    expect(worker.call("reload-agent"), 0)
    stops(worker)
    assert not worker.pids()


@pytest.mark.parametrize("agent", [one for one in WORKERS if one != HEAT], ids=lambda one: one.name)
def test_every_worker(make_worker: MakeWorker, agent: Path, folder: Path) -> None:
    """Each worker starts, is healthy, and stops."""
    path = folder / "metadata_proxy"
    served = {"unix": path} if "UnixSocket" in checks_of(agent) else {}
    os.chmod(folder, 0o777)
    worker = make_worker(agent, **served)
    worker.config.say("DEFAULT", metadata_proxy_socket=path)
    expect(worker.start(), 0)
    expect(worker.monitor(), 0)
    expect(worker.stop(), 0)
    assert not worker.pids()


def test_start_waits_for_the_connection(worker: Worker, broker: Broker) -> None:
    """A start does not end before the worker is connected."""
    worker.config.set(connect=None)
    starting = worker.begin("start", timeout=LONG)
    eventually(lambda: len(worker.pids()) == 3)
    assert starting.process.poll() is None
    assert not broker.connections()
    worker.config.set(connect=broker.address)
    expect(starting.wait(), 0)
    assert broker.connections()


@pytest.mark.parametrize("mode", ["refuses", "silent"])
def test_start_without_broker(worker: Worker, broker: Broker, mode: str) -> None:
    """A worker that waits for its broker counts as started; it is 190 until the broker is back."""
    trouble = {"refuses": "refuses connections", "silent": "does not answer in time"}[mode]
    reason = f"RabbitMQ at {broker.address} {trouble}"
    broker.mode = mode
    worker.config.set(connect=None)
    expect(worker.start(), 0)
    assert f"heat-engine runs; {reason}" in worker.log.read_text(encoding="utf-8")
    expect(worker.monitor(), 190, f"heat-engine runs; {reason}")
    expect(worker.probe(), 0)
    broker.mode = "fine"
    worker.config.set(connect=broker.address)
    eventually(lambda: broker.connections() == 2)
    expect(worker.monitor(), 0)


def test_start_denied(worker: Worker, broker: Broker) -> None:
    """A broker that denies access accepts connections for a moment: the start fails."""
    broker.mode = "denies"
    before = broker.asked()
    expect(
        worker.start(timeout=SHORT), 1, "heat-engine did not get ready", "not connected to RabbitMQ"
    )
    assert broker.asked() > before
    assert not worker.pids()
    expect(worker.probe(), 7)


@pytest.mark.parametrize(("words", "said"), {
    "amqp.exceptions.AccessRefused: (0, 0): (403) ACCESS_REFUSED - Login was refused using "
    "authentication mechanism AMQPLAIN. For details see the broker logfile.":
        "RabbitMQ refuses user or password of transport_url (ACCESS_REFUSED)",
    "amqp.exceptions.NotAllowed: Connection.open: (530) NOT_ALLOWED - vhost x not found":
        "RabbitMQ refuses the virtual host of transport_url (NOT_ALLOWED: not found)",
    "amqp.exceptions.NotAllowed: Connection.open: (530) NOT_ALLOWED - access to vhost 'x' refused":
        "RabbitMQ refuses the virtual host of transport_url (NOT_ALLOWED)",
}.items(), ids=["user", "no virtual host", "virtual host"])  # fmt: skip
def test_start_refused(worker: Worker, words: str, said: str) -> None:
    """A worker that RabbitMQ refuses ends at start, and the reason names the wrong option."""
    worker.config.set(connect=None, last_words=words, exit_after=0.1)
    expect(worker.start(), 1, said)
    assert not worker.pids()


@pytest.mark.parametrize("words", ["", "the words that it ends with"])
def test_start_never_connected(worker: Worker, broker: Broker, words: str) -> None:
    """While the broker answers, the start of a worker that does not connect fails, and ends it."""
    worker.config.set(connect=None, last_words=words)
    seen = words or "is not connected to RabbitMQ"
    expect(worker.start(timeout=SHORT), 1, "heat-engine did not get ready", seen)
    assert not worker.pids()
    expect(worker.probe(), 7)


def test_start_ends_early(worker: Worker) -> None:
    """If the worker ends at start, the start fails at once, with the worker's last words."""
    worker.config.set(connect=None, last_words="no such plugin", exit_after=0.1)
    expect(worker.start(), 1, "heat-engine ended", "no such plugin")
    assert not worker.pids()


def test_start_with_another_kind(worker: Worker) -> None:
    """With a broker other than RabbitMQ, a worker that has lived for a while has started."""
    worker.config.say("DEFAULT", transport_url="kafka://10.0.0.1:9092/")
    worker.config.set(connect=None)
    expect(worker.start(), 0)
    expect(worker.monitor(), 0)


def test_without_rabbitmq(make_worker: MakeWorker) -> None:
    """A worker that is configured without RabbitMQ is not checked for connections."""
    worker = make_worker(OCF / "ironic-conductor")
    worker.config.say("DEFAULT", rpc_transport="json-rpc")
    worker.config.set(connect=None)
    expect(worker.start(), 0)
    expect(worker.monitor(), 0)


# ---- apart from its broker


def test_broker_goes_and_comes(running: Worker, broker: Broker) -> None:
    """A worker without connections is 190 while the broker fails, and the reason says how."""
    for mode, trouble in {
        "refuses": "refuses connections",
        "closes": "closes the connection without an answer",
        "silent": "does not answer in time",
    }.items():
        running.config.set(connect=None)
        broker.mode = mode
        broker.drop()
        eventually(lambda: not broker.connections())
        expect(running.monitor(), 190, f"RabbitMQ at {broker.address} {trouble}")
        broker.mode = "fine"
        running.config.set(connect=broker.address)
        eventually(lambda: broker.connections() == 2)
        expect(running.monitor(), 0)


def test_silent_broker_with_connections(running: Worker, broker: Broker) -> None:
    """While the worker is connected the broker is not asked, and its silence does not matter."""
    broker.mode = "silent"
    before = broker.asked()
    expect(running.monitor(), 0)
    assert before == broker.asked()


def test_not_connected(running: Worker, broker: Broker) -> None:
    """A worker that is not connected to a broker that answers is 190, and 1 after 40 s.

    The time is remembered from one monitor to the next.
    """
    trouble = f"is not connected to RabbitMQ at {broker.address}, which answers"
    running.config.set(connect=None)
    broker.drop()
    expect(running.monitor(timeout=SHORT), 190, trouble)
    was_apart_for(running, 20)
    expect(running.monitor(timeout=SHORT), 190, trouble)
    was_apart_for(running, 40)
    since = remembers(running)
    # after that the code is 1 at once, even with the shortest timeout
    expect(running.monitor(timeout=SHORT), 1, trouble)
    assert since == remembers(running)
    running.config.set(connect=broker.address)
    eventually(lambda: broker.connections() == 2)
    expect(running.monitor(), 0)
    assert since != remembers(running)


def was_apart_for(worker: Worker, seconds: float) -> None:
    """Change the state: the first monitor without a connection was so many seconds ago."""
    state = json.loads(worker.state_file.read_text())
    state["checks"]["broker"]["apart"] = time.clock_gettime(time.CLOCK_BOOTTIME) - seconds
    worker.state_file.write_text(json.dumps(state))


def test_connects_while_it_is_looked_at(running: Worker, broker: Broker) -> None:
    """The monitor waits for a worker that is about to connect: 0."""
    running.config.set(connect=None)
    broker.drop()
    before = broker.asked()
    looking = running.begin("monitor", interval=30, timeout=LONG)
    eventually(lambda: broker.accepted > before)  # the monitor has asked whether the broker answers
    assert looking.process.poll() is None
    running.config.set(connect=broker.address)
    expect(looking.wait(), 0)


# ---- hung


def test_hung_process(running: Worker) -> None:
    """A process that is stopped does not read any of its connections: 1, and its pid is named.

    With too little time to be sure of it the monitor is 190.
    """
    pid = running.workers()[1]
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: unread(pid))
    expect(running.monitor(timeout=SHORT), 190, f"pid {pid} has unread bytes", "timeout of 15 s")
    expect(running.monitor(timeout=LONG), 1, f"pid {pid} does not read what RabbitMQ sends")
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: not unread(pid))
    expect(running.monitor(), 0)


def test_deaf_process(make_worker: MakeWorker) -> None:
    """A process that runs and does not read is hung, too; stop ends it even after a SIGSTOP."""
    worker = make_worker(ALONE[0], processes=1, connections=3, deaf="all")
    expect(worker.start(), 0)
    (pid,) = worker.workers()
    eventually(lambda: unread(pid))
    expect(worker.monitor(timeout=LONG), 1, f"pid {pid} does not read")
    os.kill(pid, signal.SIGSTOP)
    stops(worker)


def test_continued_in_time(running: Worker) -> None:
    """A process that was stopped for a moment, during a monitor, is 0."""
    pid = running.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: unread(pid))
    looking = running.begin("monitor", interval=30, timeout=LONG)
    place = Path(f"/proc/{looking.process.pid}/task")
    eventually(lambda: len(list(place.iterdir())) > 1)  # the agent's imports are over
    assert looking.process.poll() is None
    os.kill(pid, signal.SIGCONT)
    expect(looking.wait(), 0)


def test_one_connection_unread(make_worker: MakeWorker) -> None:
    """A process that reads one of its connections is healthy: it may only write to others."""
    worker = make_worker(ALONE[0], processes=1, connections=3, deaf=2)
    expect(worker.start(), 0)
    (pid,) = worker.workers()
    eventually(lambda: sum(map(bool, bytes_waiting(pid))) == 2)
    expect(worker.monitor(timeout=LONG), 0)


# ---- ended


def test_master_killed(running: Worker) -> None:
    """A worker without its master is 1, whichever processes live, until stop has ended them."""
    workers = running.workers()
    killed(running.master())
    for look in (running.monitor, running.probe):
        expect(look(), 1, "master process is gone", "2 of its processes")
    assert workers == running.pids()
    stops(running)
    assert not running.pids()


def test_all_killed(running: Worker) -> None:
    """A worker whose processes were all killed is 7, and can be started."""
    killed(*running.pids())
    expect(running.monitor(), 7)
    expect(running.probe(), 7)
    expect(running.start(), 0)
    expect(running.monitor(), 0)


def test_stop_needs_nothing(running: Worker, broker: Broker) -> None:
    """stop needs neither the configuration nor the broker."""
    running.config.path.unlink()
    broker.mode = "refuses"
    expect(running.stop(), 0)
    assert not running.pids()


def test_deaf_to_term(make_worker: MakeWorker) -> None:
    """A worker that ignores TERM is killed when its time is over."""
    worker = make_worker(ALONE[0], ignore_term="yes", connections=2)
    worker.parameters["shutdown_timeout"] = 1
    expect(worker.start(), 0)
    assert len(worker.pids()) == 3
    stops(worker)
    assert not worker.pids()


# ---- what the configuration says


class Idle:
    """A heat-engine that runs without a connection to its broker, for many monitors."""

    def __init__(self, worker: Worker, broker: Broker) -> None:
        self.worker = worker
        self.broker = broker
        self.well = dict(worker.config.default)

    def refused(self, *addresses: str, **parameters: object) -> None:
        """The monitor's reason says that the last of these addresses refuses connections."""
        for address in addresses[-1:]:
            reason = f"RabbitMQ at {address} refuses connections"
            expect(self.worker.monitor(parameters=parameters), 190, reason)


@pytest.fixture(scope="module")
def idle_worker() -> Iterator[Idle]:
    """One worker for all tests of this file, since each monitor reads its configuration anew."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="agents-"))
        os.chmod(folder, 0o755)
        broker = stack.enter_context(Broker())
        worker = stack.enter_context(Worker(HEAT, Path(folder), broker))
        expect(worker.start(), 0)
        worker.config.set(connect=None)
        eventually(lambda: not broker.connections())
        broker.mode = "refuses"
        yield Idle(worker, broker)


@pytest.fixture
def idle(idle_worker: Idle) -> Iterator[Idle]:
    """The worker without connections; its configuration is restored after the test."""
    yield idle_worker
    config = idle_worker.worker.config
    config.default.clear()
    config.sections.clear()
    idle_worker.broker.mode = "refuses"
    config.say("DEFAULT", **idle_worker.well)


URLS = {
    "one host": ("rabbit://u:p@{host}:{port}/", "{host}:{port}"),
    "a path": ("rabbit://u:p@{host}:{port}/heat", "{host}:{port}"),
    "a query": ("rabbit://u:p@{host}:{port}/?ssl=1", "{host}:{port}"),
    "several hosts": ("rabbit://u:p@{host}:1,u:p@{host}:{port}/", "{host}:{port}"),
    "no password": ("rabbit://{host}:{port}", "{host}:{port}"),
    "IPv6": ("rabbit://u:p@[::1]:{port}/", "[::1]:{port}"),
    "no port": ("rabbit://u:p@{host}/", "{host}:{amqp}"),
    "IPv6, no port": ("rabbit://u:p@[::1]/", "[::1]:{amqp}"),
    "a reference": ("rabbit://u:p@$my_ip:{port}/", "{host}:{port}"),
    "a reference in braces": ("rabbit://u:p@${{my_ip}}:{port}/", "{host}:{port}"),
    "all by reference": ("$rabbit", "{host}:{port}"),
    "a dollar": ("rabbit://u:p$$w@{host}:{port}/", "{host}:{port}"),
    "kombu": ("kombu+memory://{host}:{port}/", "{host}:{port}"),
}


@pytest.mark.parametrize("kind", URLS)
def test_transport_url(idle: Idle, kind: str) -> None:
    """Host and port are those of transport_url, however it is written; amqp_server_port counts
    where it names none."""
    url, shown = URLS[kind]
    places = {"host": idle.broker.host, "port": idle.broker.port, "amqp": 3}
    idle.worker.config.say(
        "DEFAULT",
        transport_url=url.format(**places),
        my_ip=idle.broker.host,
        rabbit=idle.broker.url,
    )
    idle.refused(shown.format(**places), amqp_server_port=3)


def test_no_transport_url(idle: Idle) -> None:
    """Without transport_url it is the default of oslo.messaging: this host, and the usual port."""
    idle.worker.config.say("DEFAULT", transport_url=None)
    idle.refused("localhost:3", amqp_server_port=3)


@pytest.mark.parametrize("form", ["--config-file {}", "--config-file={}", "--config-dir {}",
                                  "--config-dir={}"])  # fmt: skip
def test_second_file(idle: Idle, folder: Path, form: str) -> None:
    """An option in a file of additional_parameters counts more than in config."""
    path = folder / "more.conf"
    path.write_text("[DEFAULT]\ntransport_url = rabbit://u:p@127.0.0.1:5/\n", encoding="utf-8")
    (folder / "more.txt").write_text("[DEFAULT]\ntransport_url = rabbit://other/", encoding="utf-8")
    named = form.format(folder if "dir" in form else path)
    idle.refused("127.0.0.1:5", additional_parameters=f"--debug {named}")


TLS = {
    "an option": ("{url}", {"ssl": "True"}),
    "its older name": ("{url}", {"rabbit_use_ssl": "1"}),
    "a query": ("{url}?ssl=yes", {}),
    "a query that counts more": ("{url}?heartbeat_rate=3&ssl=on", {"ssl": "false"}),
}


@pytest.mark.parametrize("kind", TLS)
def test_tls(idle: Idle, kind: str) -> None:
    """If TLS is configured RabbitMQ is asked by TLS: one that accepts no plain text answers."""
    url, options = TLS[kind]
    idle.broker.mode = "tls"
    refused = f"RabbitMQ at {idle.broker.address} closes the connection without an answer"
    expect(idle.worker.monitor(timeout=SHORT), 190, refused)
    idle.worker.config.say("DEFAULT", transport_url=url.format(url=idle.broker.url))
    idle.worker.config.say("oslo_messaging_rabbit", **options)
    answers = f"is not connected to RabbitMQ at {idle.broker.address}, which answers"
    expect(idle.worker.monitor(timeout=SHORT), 190, answers)


@pytest.mark.parametrize("url", ["kafka://10.0.0.1:9092/", "fake:/", "rabbit://"])
def test_another_kind_of_broker(idle: Idle, url: str) -> None:
    """A broker other than RabbitMQ is not checked: only the process is looked at."""
    idle.worker.config.say("DEFAULT", transport_url=url)
    expect(idle.worker.monitor(), 0)


def test_configuration_changed(idle: Idle) -> None:
    """A configuration that has changed is read anew, and its former options are forgotten."""
    for port in (5, 6, 7):
        idle.worker.config.say("DEFAULT", transport_url=f"rabbit://u:p@127.0.0.1:{port}/")
        idle.refused(f"127.0.0.1:{port}")
        idle.refused(f"127.0.0.1:{port}")


GARBAGE = {
    "no section": b"transport_url = rabbit://u:p@127.0.0.1/\n",
    "no text": bytes(range(256)) * 10,
    "a section cut off": b"[DEFAULT\ntransport_url",
    "continued": b"[DEFAULT]\nnothing\n  and more of it\n",
    "no name": b"[DEFAULT]\n= = =\n",
}


@pytest.mark.parametrize("kind", [*GARBAGE, "missing", "folder"])
def test_configuration_unreadable(idle: Idle, kind: str) -> None:
    """A worker whose configuration cannot be read is not checked: 190."""
    path = idle.worker.config.path
    before = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(GARBAGE[kind])
    try:
        expect(idle.worker.monitor(), 190, "heat-engine runs; not checked: conf")
        expect(idle.worker.probe(), 0)
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(before)


def test_arguments_unreadable(idle: Idle) -> None:
    """A worker whose further arguments cannot be split is not checked either: 190."""
    given = {"additional_parameters": "--config-file 'etc"}
    expect(idle.worker.monitor(parameters=given), 190, "not checked: additional_parameters")


HOSTS = {
    "a name without an address": "rabbit.invalid",
    "no name": "rabbit..example",
    "too long a name": "r" * 70,
    "no port": "127.0.0.1:99999",
    "no ASCII": "räbbit.invalid",
    "a tab": "a\tb",
}


@pytest.mark.parametrize("kind", HOSTS)
def test_host_unknown(idle: Idle, kind: str) -> None:
    """An invalid host name is no fault of the worker: 190."""
    idle.worker.config.say("DEFAULT", transport_url=f"rabbit://u:p@{HOSTS[kind]}/")
    expect(idle.worker.monitor(), 190, "heat-engine runs; RabbitMQ at ")


@pytest.mark.parametrize("value", ["0", "65536", "x"])
def test_port_unsound(idle: Idle, value: str) -> None:
    """A wrong parameter is 190 for a worker that runs, and 6 for validate-all."""
    given = {"amqp_server_port": value}
    expect(idle.worker.monitor(parameters=given), 190, "not checked: amqp_server_port")
    expect(idle.worker.call("validate-all", parameters=given), 6, "amqp_server_port")
    expect(idle.worker.call("reload-agent", parameters=given), 0)


# ---- secrets


def test_password(make_worker: MakeWorker) -> None:
    """The password in transport_url is in no output, no log, no state file and no argument.

    This is so even if it is in the worker's own last words.
    """
    said = []
    with Broker(password="hor%2Fse-battery") as broker:
        worker = make_worker(HEAT, broker)
        worker.config.say("database", connection="mysql://heat:hor%2Fse-battery@127.0.0.1:3/heat")
        expect(worker.start(), 0)
        said.append(expect(worker.monitor(), 190, "the database at 127.0.0.1:3"))
        assert 0o600 == worker.state_file.stat().st_mode & 0o777
        assert all(broker.password not in word for pid in worker.pids() for word in words_of(pid))
        files = [path for path in worker.rsctmp.rglob("*") if path.is_file()]
        assert worker.state_file in files
        texts = [path.read_bytes() for path in files]
        worker.config.set(connect=None)
        broker.mode = "refuses"
        said.append(expect(worker.monitor(), 190, "RabbitMQ at "))
        said.append(expect(worker.stop(), 0))
        worker.config.set(last_words=f"cannot reach {broker.url}, giving up", exit_after=0.1)
        said.append(expect(worker.start(), 1, "cannot reach", "giving up"))
        texts += [path.read_bytes() for path in [*files, worker.log] if path.exists()]
        texts += [str(result).encode() for result in said]
        assert all(broker.password.encode() not in text for text in texts)


# ---- the database beside it


def test_database_refuses(idle: Idle) -> None:
    """A database that refuses connections is 190, whatever form its URL has."""
    idle.worker.config.say("DEFAULT", transport_url="kafka://10.0.0.1/")
    for url, shown in {
        "mysql+pymysql://heat:p@127.0.0.1:3/heat?charset=utf8": "127.0.0.1:3",
        "postgresql://heat:p@[::1]:3/heat": "[::1]:3",
        "mysql://heat:p@127.0.0.1/heat": "127.0.0.1:4",
    }.items():
        idle.worker.config.say("database", connection=url)
        result = idle.worker.monitor(parameters={"database_server_port": 4})
        expect(result, 190, f"heat-engine runs; the database at {shown} refuses connections")


def test_database_by_its_older_name(make_worker: MakeWorker) -> None:
    """If an option has a new name, the older name counts while the new one is not there."""
    worker = make_worker(BARBICAN)
    expect(worker.start(), 0)
    worker.config.say("DEFAULT", sql_connection="mysql://barbican:p@127.0.0.1:3/barbican")
    expect(worker.monitor(), 190, "the database at 127.0.0.1:3 refuses connections")
    worker.config.say("database", connection="mysql://barbican:p@127.0.0.1:4/barbican")
    expect(worker.monitor(), 190, "the database at 127.0.0.1:4 refuses connections")


def test_database_of_another_kind(idle: Idle) -> None:
    """A database in a file, or none at all, is not asked."""
    idle.worker.config.say("DEFAULT", transport_url="kafka://10.0.0.1/")
    for url in ("sqlite:////var/lib/heat/heat.sqlite", "sqlite://", None):
        idle.worker.config.say("database", connection=url)
        expect(idle.worker.monitor(), 0)


def test_database_at_a_socket(idle: Idle, folder: Path) -> None:
    """A database that is named by its UNIX socket is asked there."""
    path = folder / "mysqld.sock"
    idle.worker.config.say("DEFAULT", transport_url="kafka://10.0.0.1/")
    idle.worker.config.say(
        "database", connection=f"mysql+pymysql://heat:p@localhost/heat?unix_socket={path}&charset=x"
    )
    expect(idle.worker.monitor(), 190, f"the database at {path} cannot be reached")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        expect(idle.worker.monitor(), 190, f"the database at {path} refuses connections")
        server.listen()
        expect(idle.worker.monitor(), 0)


def test_database_is_spared(running: Worker) -> None:
    """A worker with a connection to its database is 0, and the monitor does not ask it."""
    with Broker() as database:
        url = f"mysql+pymysql://heat:p@{database.address}/heat"
        running.config.say("database", connection=url)
        before = database.asked()
        expect(running.monitor(), 0)
        assert before + 1 == database.asked()
        running.config.set(database=database.address)
        eventually(lambda: database.connections() == 2)
        before = database.asked()
        expect(running.monitor(), 0)
        assert before == database.asked()


def test_both_are_down(idle: Idle) -> None:
    """If broker and database are down the broker is named, and the code is 190."""
    idle.worker.config.say("database", connection="mysql://heat:p@127.0.0.1:3/heat")
    expect(idle.worker.monitor(), 190, "RabbitMQ at ")
