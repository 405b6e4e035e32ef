"""`openstack-ocf explain`: its lines about services under real agents; it changes nothing."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness import Resource, eventually, expect
from lookalike.broker import Broker
from lookalike.service import MakeService, Service
from lookalike.worker import Worker
from looks import fields_of, killed
from openstack_ocf import agents
from openstack_ocf.explain import Wanted, look
from tool.kit import EMPTY, ROOT, Ended, argv, as_nobody, command, primitive, there

Said = list[tuple[str, str]]

PASSWORD = "swordfish & chips"


BOUNDS = ('<op id="s" name="start" interval="0" timeout="60s"/>'
          '<op id="e" name="stop" interval="0" timeout="60s"/>')


def a_cib(resource: Resource, *, more: str = "", around: tuple[str, str] = ("", ""),
          parameters: Mapping[str, object] | None = None, bounds: str = BOUNDS) -> Path:
    """A CIB file with the resource, as cibadmin would write it."""
    root = ET.fromstring(EMPTY)
    pairs = "".join(
        f'<nvpair id="{name}" name="{name}" value={quoted(str(value))}/>'
        for name, value in (parameters or resource.parameters).items())
    text = (f'<all>{around[0]}<primitive id={quoted(resource.name)} class="ocf" '
            f'provider="openstack" type="{resource.agent.name}">'
            f'<instance_attributes id="ia">{pairs}</instance_attributes>{more}'
            '<operations><op id="m0" name="monitor" interval="10s" timeout="30s"/>'
            '<op id="m10" name="monitor" interval="30s" timeout="8s"><instance_attributes id="l">'
            '<nvpair id="n" name="OCF_CHECK_LEVEL" value="10"/></instance_attributes></op>'
            f"{bounds}</operations></primitive>{around[1]}</all>")
    place = root.find("configuration/resources")
    assert place is not None
    place.extend(ET.fromstring(text))
    path = resource.rsctmp.parent / "cib.xml"
    path.write_bytes(ET.tostring(root))
    return path


def in_a_group(parameters: str = "") -> tuple[str, str]:
    """A group around a resource, in which p_ip is before it."""
    return f'<group id="g">{primitive("p_ip", "ocf:heartbeat:IPaddr2", parameters)}', "</group>"


def quoted(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'"{escaped}"'


def ran(resource: Resource, *words: str, cib: Path | None = None, name: str = "",
        prefix: Sequence[str] = ()) -> Ended:
    """Run explain; the CIB has the parameters."""
    return command("explain", name or resource.name, "--cib", cib or a_cib(resource), *words,
                   prefix=prefix, HA_RSCTMP=str(resource.rsctmp))


def explained(
    resource: Resource, code: int, *words: str, **options: Any,
) -> dict[str, Said]:
    """The output, by layer: verdict and text of each line."""
    done = ran(resource, "--format", "json", *words, **options)
    assert (code, "") == (done.code, done.said), done.output
    assert PASSWORD not in done.output
    said: dict[str, Said] = {}
    for line in json.loads(done.output)["lines"]:
        said.setdefault(line["layer"], []).append((line["verdict"], line["text"]))
    return said


def has(said: Said, verdict: str, *words: str) -> str:
    """The one line that has these words; it must have the verdict."""
    found = [(given, text) for given, text in said if all(word in text for word in words)]
    assert [verdict] == [given for given, _ in found], said
    return found[0][1]


def contents(folder: Path) -> dict[str, tuple[object, ...]]:
    """All files below a folder: type and mode, owner, time of change, and content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        text = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (status.st_ino, status.st_mode, status.st_uid, status.st_mtime_ns, text)
    return found


# --- a daemon's life ------------------------------------------------------------------------------


def test_running(make_service: MakeService) -> None:
    """For a daemon that serves explain shows parameters, pids, sockets, the monitor's request, the
    token's end, and the last verdicts; and neither password nor token."""
    service = make_service(credentials=True, password=PASSWORD)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    said = explained(service, 0)
    has(said["parameters"], "ok", f"config = {service.config.path}")
    has(said["parameters"], "ok", "keystone_failure = degraded (default)")
    has(said["parameters"], "ok", "os_password = ***")
    has(said["what is remembered"], "ok", str(service.state_file), f"pid {service.master()}")
    has(said["what is remembered"], "ok", str(service.pidfile), f"pid {service.master()}")
    has(said["processes"], "ok", f"master: pid {service.master()} ", "user nobody")
    workers = has(said["processes"], "ok", "workers")
    assert service.workers() == [int(pid) for pid in re.findall(r"\d+", workers)]
    has(said["sockets"], "ok", f"port {service.config.port} of 127.0.0.1")
    has(said["what a monitor asks"], "ok",
        f"GET http://127.0.0.1:{service.config.port}/v2/images?limit=1, as user monitor of")
    has(said["what a monitor asks"], "ok", "a token is remembered until 20")
    has(said["what monitors say"], "ok", "level 10: 0 (SUCCESS); runs and serves")
    has(said["what the cluster has"], "ok", "monitor every 30s: timeout 8s, level 10")
    for token in service.keystone.tokens_issued:
        assert token not in ran(service).output


def test_never_started_and_stopped(service: Service) -> None:
    """A resource that was never started can be explained; a stopped one has its last verdict."""
    said = explained(service, 0)
    has(said["processes"], "ok", "none of this resource on this node")
    has(said["what is remembered"], "ok", "nothing, as of a resource that is stopped")
    has(said["what monitors say"], "ok", "level 10: no monitor has left a verdict here")

    expect(service.start(), 0)
    service.config.set(public="500")
    expect(service.monitor(), 1)
    expect(service.stop(), 0)
    said = explained(service, 0)
    has(said["processes"], "ok", "none of this resource on this node")
    has(said["what monitors say"], "warning", "level 10: 1 (ERR_GENERIC): glance-api at",
        "answers 500", "since then the daemon has ended")


def test_url_below_a_path(service: Service) -> None:
    """Without credentials explain shows the root of the API, which the monitor asks as well."""
    service.parameters["url"] = "http://127.0.0.1:9/image/v2/images"
    has(explained(service, 0)["what a monitor asks"], "warning",
        "GET http://127.0.0.1:9/image/ alone: without credentials")


def test_url_of_keystone(tmp_path: Path) -> None:
    """For keystone, tokens come from the Keystone that is checked, whose address url may give."""
    done = command(
        "explain", "p_keystone", "--agent", "keystone", "--param", "url=http://10.0.0.11:5000/v3",
        "--param", "os_username=monitor", "--param", "os_project_name=service",
        HA_RSCTMP=str(tmp_path), OCF_RESKEY_os_password=PASSWORD)

    assert PASSWORD not in done.output
    assert "tokens come from Keystone at http://10.0.0.11:5000" in done.output
    assert "localhost" not in done.output


def test_orphaned(service: Service) -> None:
    """Workers without their master are wrong, with their pids."""
    expect(service.start(), 0)
    workers = service.orphan()
    said = explained(service, 1)
    text = has(said["processes"], "wrong", "the master process is gone", "stop ends them")
    assert workers == [int(pid) for pid in re.findall(r"\d+", text)]


def test_hung(service: Service) -> None:
    """A hung service is shown by the last monitor's verdict, and with --ask by a request now."""
    expect(service.start(), 0)
    service.config.set(public="hang")
    assert all(verdict != "wrong" for lines in explained(service, 0).values()
               for verdict, _ in lines)
    said = explained(service, 1, "--ask")
    has(said["what monitors say"], "wrong", "asked now: 1 (ERR_GENERIC)", "in time")
    expect(service.monitor(timeout=6), 1, "in time")
    has(explained(service, 1)["what monitors say"], "wrong", "level 10: 1", "in time")


def test_stopped_by_a_signal(service: Service) -> None:
    """A daemon that is stopped by a signal is named, with the command that continues it."""
    expect(service.start(), 0)
    os.kill(service.master(), signal.SIGSTOP)
    eventually(lambda: fields_of(service.master())[0] == "T")
    has(explained(service, 1)["processes"], "wrong", f"pid {service.master()} ", "kill -CONT")
    os.kill(service.master(), signal.SIGCONT)


def test_wrong_password(make_service: MakeService) -> None:
    """A password that Keystone refuses is a warning with --ask, and is not noticed without it."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    service.parameters["os_password"] = PASSWORD
    explained(service, 0)
    assert 0 == service.asked()
    said = explained(service, 0, "--ask")
    has(said["what monitors say"], "warning", "asked now: 190 (DEGRADED)", "refuses user monitor")


@pytest.fixture
def namespace(need: Callable[[str, str], str]) -> Iterator[str]:
    """A network namespace with a loopback interface and an address, 192.0.2.7."""
    ip, name = need("ip", "iproute2"), f"explain-{uuid.uuid4().hex[:8]}"
    subprocess.run([ip, "netns", "add", name], check=True)
    try:
        for words in (["link", "set", "lo", "up"],
                      ["address", "add", "192.0.2.7/24", "dev", "lo"]):
            subprocess.run([ip, "-n", name, *words], check=True)
        yield name
    finally:
        subprocess.run([ip, "netns", "delete", name], check=True)


def test_not_on_this_address(make_service: MakeService, namespace: str) -> None:
    """A daemon that listens on an address is wrong once the node has lost that address."""
    inside = ("ip", "netns", "exec", namespace)
    service = make_service(prefix=inside)
    service.config.default["bind_host"] = "192.0.2.7"
    service.config.set()
    cib = a_cib(service, around=in_a_group("ip=192.0.2.7"))

    def seen(code: int) -> dict[str, Said]:
        return explained(service, code, cib=cib, prefix=inside)

    expect(service.start(), 0)
    said = seen(0)
    has(said["sockets"], "ok", "192.0.2.7, which this node has (lo)")
    has(said["virtual IPs"], "ok", "p_ip: 192.0.2.7 is on this node (lo)")
    subprocess.run(["ip", "-n", namespace, "address", "del", "192.0.2.7/24", "dev", "lo"],
                   check=True)
    said = seen(1)
    has(said["sockets"], "wrong", "192.0.2.7, which this node does not have")
    has(said["virtual IPs"], "warning", "p_ip: 192.0.2.7 is not on this node")
    expect(service.stop(), 0)
    said = seen(0)
    has(said["virtual IPs"], "ok", "p_ip: 192.0.2.7 is not on this node")
    has(said["sockets"], "ok", "bind_host is 192.0.2.7, a virtual IP that is not on this node")


def test_where_it_would_listen(tmp_path: Path) -> None:
    """For a daemon that does not run, its configured address is shown, from its own section."""
    config = tmp_path / "heat.conf"
    config.write_text("[heat_api]\nbind_host = 127.0.0.1\n")
    done = command("explain", "p_heat-api", "--agent", "heat-api", "--param", f"config={config}",
                   HA_RSCTMP=str(tmp_path))

    assert "bind_host is 127.0.0.1, for this node alone" in done.output


def test_listens_beside_the_virtual_ip(service: Service) -> None:
    """A virtual IP on this node that the daemon does not listen on is wrong."""
    expect(service.start(), 0)
    said = explained(service, 1, cib=a_cib(service, around=in_a_group("ip=::1")))
    has(said["virtual IPs"], "wrong", "p_ip: ::1", "does not listen there")


# --- it changes nothing -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["never started", "running", "not remembered", "orphaned",
                                  "stopped", "asked"])
def test_nothing_is_changed(make_service: MakeService, kind: str) -> None:
    """No file is written or removed; without --ask neither service nor Keystone is asked."""
    service = make_service(credentials=True)
    cib = a_cib(service)
    if kind != "never started":
        expect(service.start(), 0)
    if kind in ("running", "stopped"):
        expect(service.monitor(), 0)
    if kind == "not remembered":
        service.state_file.unlink()
        service.pidfile.unlink()
    if kind == "orphaned":
        killed(service.master())
    if kind == "stopped":
        expect(service.stop(), 0)
    before = contents(service.rsctmp), service.log.read_bytes() if service.log.exists() else b""
    asked = service.asked(), len(service.config.requests())
    pids = service.pids()
    explained(service, int(kind == "orphaned"), *(["--ask"] if kind == "asked" else []), cib=cib)
    assert before == (contents(service.rsctmp),
                      service.log.read_bytes() if service.log.exists() else b"")
    assert pids == service.pids()
    assert (kind == "asked") == (asked != (service.asked(), len(service.config.requests())))


def test_what_is_not_remembered(service: Service) -> None:
    """A daemon that runs and is not remembered is a warning: the next action takes it over."""
    expect(service.start(), 0)
    service.state_file.unlink()
    said = explained(service, 0)
    has(said["processes"], "ok", f"master: pid {service.master()} ")
    has(said["processes"], "warning", "it is not remembered")
    service.state_file.write_text("junk")
    has(explained(service, 0)["what is remembered"], "warning", "counts as missing")


# --- where the parameters come from -------------------------------------------------------------


def test_clone_template_and_rules(service: Service) -> None:
    """A clone's name stands for its primitive; values of a template and of a rule about this node's
    name count, and a rule that only Pacemaker can evaluate is unknown."""
    here = os.uname().nodename
    more = (
        '<instance_attributes id="here" score="5"><rule id="r1" score="INFINITY"><expression '
        f'id="e1" attribute="#uname" operation="eq" value={quoted(here)}/></rule>'
        '<nvpair id="h" name="shutdown_timeout" value="11"/></instance_attributes>'
        '<instance_attributes id="there" score="9"><rule id="r2" score="INFINITY"><expression '
        f'id="e2" attribute="#uname" operation="ne" value={quoted(here)}/></rule>'
        '<nvpair id="t" name="shutdown_timeout" value="22"/></instance_attributes>'
        '<instance_attributes id="then" score="7"><rule id="r3" score="INFINITY"><expression '
        'id="e3" attribute="rack" operation="eq" value="7"/></rule>'
        '<nvpair id="x" name="shutdown_timeout" value="33"/></instance_attributes>')
    cib = a_cib(service, more=more, around=(
        '<template id="tpl" class="ocf" provider="openstack" type="glance-api">'
        '<instance_attributes id="ti"><nvpair id="tn" name="os_region_name" value="there"/>'
        '<nvpair id="tu" name="user" value="daemon"/></instance_attributes></template>'
        '<clone id="c">', "</clone>"))
    cib.write_text(cib.read_text().replace('provider="openstack" type="glance-api"><instance_'
                                           'attributes id="ia">', 'template="tpl">'
                                           '<instance_attributes id="ia">').replace(
        f'id="{service.name}" class="ocf" ', f'id="{service.name}" '))
    said = explained(service, 3, cib=cib, name="c")["parameters"]
    has(said, "ok", "shutdown_timeout = 11")
    has(said, "ok", "os_region_name = there")
    has(said, "ok", "user = nobody")
    has(said, "unknown", "only Pacemaker can tell", "then", "shutdown_timeout")


def test_without_a_cib(make_service: MakeService) -> None:
    """With --agent the parameters are given as arguments, and a password in the environment."""
    service = make_service(credentials=True, password=PASSWORD)
    expect(service.start(), 0)
    words = [word for name, value in service.parameters.items() if name != "os_password"
             for word in ("--param", f"{name}={value}")]
    done = command("explain", service.name, "--agent", "glance-api", *words, "--ask",
                   HA_RSCTMP=str(service.rsctmp), OCF_RESKEY_os_password=PASSWORD)
    assert (0, "") == (done.code, done.said)
    assert "asked now: 0 (SUCCESS)" in done.output and PASSWORD not in done.output
    assert re.search(r"(?m)^processes\n  ok +master: pid \d+", done.output)


def test_secrets_of_a_node(make_service: MakeService, folder: Path) -> None:
    """A value that cibsecret keeps is used and not shown; one that is missing is wrong."""
    service = make_service(credentials=True, password=PASSWORD)
    expect(service.start(), 0)
    cib = a_cib(service, parameters={**service.parameters, "os_password": "lrm://"})
    has(explained(service, 1, cib=cib)["parameters"], "wrong", "os_password", "cibsecret sync")

    place = folder / "pacemaker" / "lrm" / "secrets" / service.name
    place.mkdir(parents=True)
    (place / "os_password").write_text(PASSWORD)
    (place / "os_password.sign").write_text(md5(PASSWORD.encode()).hexdigest() + "  -\n")
    done = ran(service, "--ask", cib=cib, prefix=[
        "unshare", "--mount", "sh", "-ec",
        f'mount --bind {folder}/pacemaker /var/lib/pacemaker; exec "$@"', "sh"])
    assert (0, "") == (done.code, done.said), done.output
    assert "os_password = ***\n" in done.output and PASSWORD not in done.output
    assert "asked now: 0 (SUCCESS)" in done.output


def test_live(service: Service) -> None:
    """By default the CIB is the cluster's, and a cluster that does not answer is exit code 3."""
    cib = a_cib(service)
    done = command("explain", service.name, HA_RSCTMP=str(service.rsctmp), CIB_file=str(cib))
    assert (0, "") == (done.code, done.said)
    assert f"config = {service.config.path}" in done.output
    done = command("explain", service.name, CIB_file=str(cib.with_suffix(".no")))
    assert (3, "") == (done.code, done.output)
    assert "without a cluster say --cib FILE" in done.said


def test_a_configuration_that_is_no_file(folder: Path) -> None:
    """A FIFO in the place of a configuration is not waited for."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    for name in ("glance-api", "heat-engine", "neutron-metadata-agent"):
        resource = Resource(ROOT / "ocf" / name, folder, {"config": fifo, "binary": "/bin/true",
                                                          "user": "nobody"})
        has(explained(resource, 1)["parameters"], "wrong", f"config={str(fifo)[:40]}", "not a file")


def test_while_it_starts(make_service: MakeService) -> None:
    """A start that is running is shown, with its pid."""
    service = make_service(never_listen="yes")
    starting = service.begin("start", timeout=60)
    cib = a_cib(service)
    eventually(lambda: f"pid {starting.process.pid} has the lock" in ran(service, cib=cib).output)
    starting.kill()
    starting.wait()


def test_what_lint_finds(service: Service) -> None:
    """Findings of lint are shown with the resource's operations, and a misspelt parameter."""
    service.parameters["os_projekt_name"] = "service"
    said = explained(service, 1, cib=a_cib(service, bounds=""))
    has(said["parameters"], "warning", "os_projekt_name", "the nearest is os_project_name")
    has(said["what the cluster has"], "wrong", "L1: no stop operation")
    has(said["what the cluster has"], "warning", "L1: monitor 30s has 8 s")


def test_missing_on_this_node(service: Service) -> None:
    """A file that is missing on this node is wrong, in the words of validate-all."""
    service.parameters["config"] = service.folder / "no.conf"
    has(explained(service, 1)["parameters"], "wrong", "no.conf does not exist on this node")


def test_what_pacemaker_is_told(service: Service) -> None:
    """target-role=Stopped, is-managed=false and a failure that Pacemaker remembers are shown."""
    cib = a_cib(service, more='<meta_attributes id="m"><nvpair id="tr" name="target-role" '
                'value="Stopped"/><nvpair id="im" name="is-managed" value="false"/>'
                "</meta_attributes>")
    text = cib.read_text().replace("<status />", (
        f'<status><node_state id="1" uname={quoted(os.uname().nodename)}><lrm id="1">'
        f'<lrm_resources><lrm_resource id="{service.name}"><lrm_rsc_op operation="start" '
        f'id="{service.name}_last_failure_0" rc-code="1" exit-reason="it said no"/>'
        "</lrm_resource></lrm_resources></lrm></node_state></status>"))
    cib.write_text(text)
    said = explained(service, 0, cib=cib)
    has(said["resource"], "warning", "target-role=Stopped")
    has(said["resource"], "warning", "leave it alone")
    has(said["what the cluster has"], "warning", "start was 1, it said no")


def test_a_group(service: Service, tmp_path: Path) -> None:
    """A group stands for its one resource of ours; of several the names are told."""
    service.name = "p_glance"
    done = ran(service, cib=a_cib(service, around=in_a_group()), name="g")
    assert "p_glance, ocf:openstack:" in done.output

    cib = tmp_path / "two.xml"
    cib.write_bytes(ET.tostring(there(in_a_group()[0] + "".join(
        primitive(name, "ocf:openstack:heat-engine") for name in ("p_a", "p_b")) + "</group>")))
    done = command("explain", "g", "--cib", cib)
    assert (2, "") == (done.code, done.output)
    assert "g is a group of several: name one of p_a, p_b\n" in done.said


@pytest.mark.parametrize(("name", "words"), [
    ("p_glanze", "the nearest is p_glance"), ("p_ip", "none of our agents"),
    ("p_glance:x", "has no resource"),
])
def test_no_resource_of_ours(service: Service, name: str, words: str) -> None:
    """An unknown resource, or one that is not ours, is exit code 2, with the nearest name."""
    service.name = "p_glance"
    done = ran(service, cib=a_cib(service, around=in_a_group()), name=name)
    assert (2, "") == (done.code, done.output)
    assert words in done.said


@pytest.mark.parametrize(("words", "said"), [
    (["p", "--param", "a=b"], "--param goes with --agent"),
    (["p", "--agent", "glance-api", "--param", "config"], "say NAME=VALUE"),
    (["p", "--agent", "glance-api", "--param", "os_password=x"], "OCF_RESKEY_os_password"),
    (["p", "--agent", "glanze-api"], "the nearest is glance-api"),
    (["a/../b", "--agent", "glance-api"], "no name of a resource"),
    (["p", "--watch", "0"], "--help shows an example"),
    (["p", "--cib", "/etc/passwd"], "is no XML"),
])
def test_usage(words: list[str], said: str) -> None:
    """A wrong command is exit code 2, and says what is right."""
    done = command("explain", *words)
    assert (2, "") == (done.code, done.output)
    assert said in done.said


def test_not_root(folder: Path) -> None:
    """A user who is not root is told that root is needed; exit code 3."""
    done = as_nobody(folder, "explain", "p", "--agent", "glance-api")
    assert (3, "") == (done.code, done.output)
    assert "must be run as root" in done.said


# --- other kinds --------------------------------------------------------------------------------


def test_a_daemon_that_is_gone(folder: Path) -> None:
    """For an agent whose daemon no longer exists, explain says what has replaced it."""
    resource = Resource(ROOT / "ocf" / "nova-consoleauth", folder)
    said = explained(resource, 1, "--ask")
    has(said["resource"], "wrong", "is gone since Train")
    has(said["processes"], "ok", "none of this resource")


@pytest.mark.parametrize("name", agents.names())
def test_every_agent(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each agent can be explained where its daemon does not run, installed or not."""
    monkeypatch.setenv("HA_RSCTMP", str(folder))
    head, lines = look(Wanted(f"p_{uuid.uuid4().hex}", agent=name))
    assert name == head["agent"]
    assert {"resource", "parameters", "what is remembered", "processes", "what monitors say"} <= {
        line.layer for line in lines}
    assert [] == [*folder.iterdir()]


def test_a_worker(folder: Path) -> None:
    """For a worker explain shows its connections to RabbitMQ, or their lack; not its password."""
    with Broker(password=PASSWORD.replace(" ", "")) as broker, \
            Worker(ROOT / "ocf" / "heat-engine", folder, broker) as worker:
        expect(worker.start(timeout=60), 0)
        there = f"RabbitMQ at 127.0.0.1:{broker.port}"
        has(explained(worker, 0)["what it depends on"], "ok", f"connected to {there}")
        broker.mode = "refuses"
        done = ran(worker)
        assert PASSWORD.replace(" ", "") not in done.output
        eventually(lambda: f"no connection to {there}" in ran(worker).output)


# --- how it is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize(("environment", "coloured"), [
    ({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False),
])
def test_colour(service: Service, environment: dict[str, str], coloured: bool) -> None:
    """Verdicts have colours on a terminal, unless NO_COLOR is set, or the terminal has none."""
    cib = a_cib(service)
    master, slave = pty.openpty()
    try:
        subprocess.run(
            argv("explain", service.name, "--cib", cib), cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=slave, check=False,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "HA_RSCTMP": str(service.rsctmp),
                 **environment})
        text = os.read(master, 1 << 16).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert coloured == ("\033[32mok" in text)
    assert coloured == ("\033" in text)
    assert "\033" not in ran(service, cib=cib).output


def test_what_a_terminal_would_obey(service: Service) -> None:
    """A value with control characters is shown without their effect."""
    service.parameters["os_region_name"] = "\u009b31mred"
    done = ran(service)
    assert "os_region_name = ?31mred" in done.output


def test_watch(service: Service) -> None:
    """--watch prints again when something changes, and only then; Ctrl-C ends it."""
    expect(service.start(), 0)
    cib = a_cib(service)
    watching = subprocess.Popen(
        ["env", "--default-signal=INT", *argv("explain", service.name, "--cib", cib, "--watch",
                                              "0.05", "--format", "json")], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "HA_RSCTMP": str(service.rsctmp)})
    try:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        expect(service.monitor(level=0), 0)
        second = json.loads(watching.stdout.readline())
        expect(service.monitor(level=0), 0)  # The same verdict, at another time.
        expect(service.stop(), 0)
        looks = [first, second]
        while not any(line["text"].startswith("none of this resource")
                      for line in looks[-1]["lines"]):
            looks.append(json.loads(watching.stdout.readline()))
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert (130, "") == (watching.returncode, said)
    texts = [[(line["verdict"], line["text"]) for line in look["lines"]] for look in looks]
    assert all(before != after for before, after in zip(texts, texts[1:]))
    assert ("ok", "level 0: no monitor has left a verdict here") in texts[0]
    assert any("level 0: 0 (SUCCESS)" in text for _, text in texts[1])
