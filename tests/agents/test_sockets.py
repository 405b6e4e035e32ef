"""Which socket answers, where the daemon listens, and a node without ports or IPv6.

A token is sent to the instance's own processes alone; another process that listens at the port is
not our daemon, even if it answers. A shortage of this node is no fault of the service.
"""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from agents.kit import Network
from harness import AGENTS, defaults, expect, stops
from lookalike.service import MakeService, Service
from lookalike.strangers import Strangers, sister_daemon
from looks import eventually, signal_all

pytestmark = pytest.mark.shared


def anywhere(service: Service) -> None:
    """Have the daemon listen on all addresses."""
    service.config.default["bind_host"] = "0.0.0.0"
    service.config.set()


# ---- other processes that listen at the port


def test_narrower_address_at_start(
    make_service: MakeService, stranger: Strangers, folder: Path
) -> None:
    """Another daemon on the port, at a narrower address, takes requests: start fails."""
    service = make_service(reuse_port="yes")
    anywhere(service)
    other = sister_daemon(folder, port=service.config.port, reuse_port="yes")
    stranger(service.binary, "--config-file", other.path)
    eventually(lambda: len(other.pids()) == 3)
    expect(service.start(), 1, "shared with pid")
    assert service.gone()
    stops(service)
    assert 3 == len(other.pids())


def test_narrower_address_later(
    make_service: MakeService, stranger: Strangers, folder: Path
) -> None:
    """While another daemon takes its requests, a daemon that serves is degraded; if it hangs: 1.

    No token is sent to the other daemon.
    """
    service = make_service(credentials=True, reuse_port="yes")
    anywhere(service)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    other = sister_daemon(folder, port=service.config.port, reuse_port="yes")
    stranger(service.binary, "--config-file", other.path)
    eventually(lambda: len(other.pids()) == 3)
    expect(service.monitor(), 190, "shared with pid", "not of this resource")
    signal_all(service.pids(), signal.SIGSTOP)
    expect(service.monitor(timeout=8), 1, "does not answer in time")
    signal_all(service.pids(), signal.SIGCONT)
    assert {token for _, _, token in other.requests()} <= {"token:-"}
    assert 3 == len(other.pids())


def test_second_resource_on_the_port(
    make_service: MakeService, stranger: Strangers, folder: Path
) -> None:
    """If another daemon shares address and port, the first one is degraded, and goes on."""
    service = make_service(credentials=True, reuse_port="yes")
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    other = sister_daemon(folder, port=service.config.port, reuse_port="yes")
    stranger(service.binary, "--config-file", other.path)
    eventually(lambda: len(other.pids()) == 3)
    expect(service.monitor(), 190, "shared with pid", "not of this resource")
    assert {token for _, _, token in other.requests()} <= {"token:-"}


@pytest.mark.own
@pytest.mark.parametrize("inode", [None, 0, 1], ids=["as-it-was", "unknown", "of-another"])
def test_remembered_address_is_anothers(
    make_service: MakeService, stranger: Strangers, folder: Path, inode: int | None
) -> None:
    """A process at an address that the daemon has left gets no token; ours is found anew."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    other = sister_daemon(folder)
    stranger(service.binary, "--config-file", other.path)
    eventually(lambda: len(other.pids()) == 3)
    state = json.loads(service.state_file.read_text(encoding="utf-8"))
    address = state["checks"]["address"]
    address["url"] = f"http://127.0.0.1:{other.port}"
    address["inode"] = address["inode"] if inode is None else inode
    service.state_file.write_text(json.dumps(state), encoding="utf-8")
    expect(service.monitor(), 0)
    assert not other.requests()
    state = json.loads(service.state_file.read_text(encoding="utf-8"))
    assert f"http://127.0.0.1:{service.config.port}" == state["checks"]["address"]["url"]
    assert 3 == len(other.pids())


def test_listens_nowhere(
    make_service: MakeService, stranger: Strangers, folder: Path
) -> None:
    """A daemon without a socket is at fault, and the remembered address is not asked."""
    service = make_service(credentials=True, never_listen="yes")
    starting = service.begin("start", timeout=60)
    eventually(lambda: service.state_file.exists() and service.config.report_path.exists())
    starting.kill()
    starting.wait()
    other = sister_daemon(folder)
    stranger(service.binary, "--config-file", other.path)
    eventually(lambda: len(other.pids()) == 3)

    state = json.loads(service.state_file.read_text(encoding="utf-8"))
    url = f"http://127.0.0.1:{other.port}"
    state["checks"]["address"] = {"url": url, "inode": 1, "descriptor": 3}
    service.state_file.write_text(json.dumps(state), encoding="utf-8")

    expect(service.monitor(), 1, "on no TCP port")
    assert not other.requests()
    stops(service)


# ---- the addresses of this node


def test_no_ipv6_loopback(make_service: MakeService) -> None:
    """A daemon on :: is asked via IPv4 where the node has no ::1."""
    with Network("sysctl -qw net.ipv6.conf.lo.disable_ipv6=1") as network:
        service = make_service(credentials=False, prefix=network.prefix)
        service.config.default["bind_host"] = "::"
        service.config.set()
        expect(service.start(), 0)
        expect(service.monitor(), 0)
        stops(service)


def test_link_local(make_service: MakeService) -> None:
    """A daemon on a link-local address is asked there, on its interface."""
    with Network(
        "ip link add lab0 type veth peer name lab1; ip link set lab0 up; ip link set lab1 up;"
        "ip address add fe80::7/64 dev lab0 nodad"
    ) as network:
        service = make_service(credentials=False, prefix=network.prefix)
        service.config.default["bind_host"] = "fe80::7%lab0"
        service.config.set()
        expect(service.start(), 0)
        expect(service.monitor(), 0)
        stops(service)


# ---- the ports of this node

TAKE_ALL = """\
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))  # takes a port, too
taken = []
while True:
    client = socket.socket()
    try:
        if sys.argv[1] == "bound":
            client.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
    except OSError:
        break
    taken.append(client)
print("ready", flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize(("how", "code"), [("connected", 0), ("bound", 190)])
def test_no_ephemeral_port(make_service: MakeService, how: str, code: int) -> None:
    """If other processes have used up the node's ports, it is no fault of the service.

    A port of a connection can be used again, for another destination; a port of a bound socket
    cannot, and then the monitor says that it could not ask.
    """
    with Network("sysctl -qw 'net.ipv4.ip_local_port_range=20000 20009'") as network:
        service = make_service(credentials=False, prefix=network.prefix)
        expect(service.start(), 0)
        holder = subprocess.Popen(
            [*network.prefix, "/usr/bin/python3", "-c", TAKE_ALL, how], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout
            assert b"ready\n" == holder.stdout.readline()
            expect(service.monitor(), code, *(["this node is short"] if code else []))
        finally:
            holder.kill()
            holder.communicate()
        expect(service.monitor(), 0)


# ---- a default URL of Keystone


KEYSTONE = """\
import http.server, sys
class Thief(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open(sys.argv[1], "ab").write(body)
        self.send_error(401)
http.server.HTTPServer(("127.0.0.1", 5000), Thief).serve_forever()
"""


DEFAULTED = [agent for agent in AGENTS if defaults(agent).get("keystone_get_token_url")]
"""The agents for which the guide has a default."""


@pytest.mark.own
@pytest.mark.parametrize("agent", DEFAULTED, ids=lambda agent: agent.name)
@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_default_keystone(
    make_service: MakeService, agent: Path, folder: Path, user: str
) -> None:
    """The guide's default URL gets the password only if a system user's service listens there."""
    with Network() as network:
        service = make_service(credentials=True, prefix=network.prefix)
        del service.parameters["os_auth_url"]
        seen = folder / "seen"
        seen.touch()
        seen.chmod(0o666)
        expect(service.start(), 0)
        expect(service.monitor(), 190, "port 5000", "give os_auth_url")
        thief = subprocess.Popen(
            [
                *network.prefix, "/usr/bin/setpriv", f"--reuid={user}", "--clear-groups",
                "/usr/bin/python3", "-c", KEYSTONE, seen,
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            eventually(lambda: ":5000" in network.run("ss", "-Hltn"))
            if user == "nobody":  # no system user
                expect(service.monitor(), 190, "port 5000", "give os_auth_url")
                assert "" == seen.read_text(encoding="utf-8")
            else:
                expect(service.monitor(), 190, "refuses user monitor")
                assert service.password in seen.read_text(encoding="utf-8")
        finally:
            thief.kill()
            thief.wait()


@pytest.mark.own
@pytest.mark.parametrize("agent", DEFAULTED, ids=lambda agent: agent.name)
def test_default_keystone_is_told(make_service: MakeService, agent: Path) -> None:
    """validate-all advises to give the URL if the default would be used."""
    service = make_service(credentials=True)
    del service.parameters["os_auth_url"]
    expect(service.call("validate-all"), 0)
    assert "give os_auth_url" in service.log.read_text(encoding="utf-8")
