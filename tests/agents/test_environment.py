"""A strange environment changes nothing that Pacemaker sees: no code, no hang, no secret.

Each row of STRANGE is one strange way to call an agent, and every action is tested with it:
stopped, started, monitored with a new token and with the remembered one, reloaded, stopped.
Actions that cannot succeed there say why, and all others succeed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.ways import clog, listening_syslog, mounted, py, sh, with_devices, with_syslog
from harness import REASON, Result, expect
from lookalike.keystone import Keystone
from lookalike.service import MakeService, Service

pytestmark = pytest.mark.shared

SECRET = "s3kr1t-pa55"


# ---- ways to call an agent; {folder}, {trap} and {rsctmp} stand for folders of the service

FULL_PIPE = """
reader, writer = os.pipe()
os.set_inheritable(reader, True)
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b"." * 4096)
except BlockingIOError:
    os.set_blocking(writer, True)
os.dup2(writer, 2)
"""
"""stderr is a full pipe, which no process reads: its reader is the agent itself."""

TWICE = """
import ctypes
pairs = [b"=".join(pair) for pair in os.environb.items()] * 2 + [b"NONSENSE", b"=", b""]
libc = ctypes.CDLL(None)
vector = lambda words: (ctypes.c_char_p * (len(words) + 1))(*words, None)
words = [os.fsencode(word) for word in sys.argv[1:]]
libc.execve(words[0], vector(words), vector(pairs))
"""

NO_DEV_LOG = with_devices("null", "zero", "full", "random", "urandom")
NO_DEV_NULL = with_devices("zero", "full", "random", "urandom")

TMP_READ_ONLY = """
mount --bind /tmp /tmp
mount --bind {folder} {folder}
mount -o remount,bind,ro /tmp
"""
READ_ONLY = "mount --bind {folder} {folder}; mount -o remount,bind,ro /"
RSCTMP_READ_ONLY = "mount --bind {rsctmp} {rsctmp}; mount -o remount,bind,ro {rsctmp}"
NO_PROC = "mount -t tmpfs none /proc"


# ---- the table


@dataclass
class Strange:
    """One row: what is strange, and what it changes.

    environ, parameters: added; None takes a variable away.
    codes: of steps (STEPS) that cannot succeed there; words: of their exit reasons.
    tokens: how many Keystone is asked for, in two monitors.
    traps: whether the working folder is the one with the traps.
    mute: whether stdout or stderr do not come through to us.
    """

    name: str
    environ: dict[str, str | None] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    tokens: int = 1
    umask: int = 0o022
    traps: bool = False
    mute: bool = False


PROXY = "http://127.0.0.1:1/"
TIMEOUT = "OCF_RESKEY_CRM_meta_timeout"

# Variables that are ignored are tested together. Forms of the numbers that Pacemaker gives are
# in tests/unit/test_environment.py.
STRANGE = [
    # variables for shells and tools
    Strange("no-path", {"PATH": None}),
    Strange("empty-path", {"PATH": ""}),
    Strange("path-of-traps", {"PATH": "{trap}:/usr/bin:/bin"}),
    Strange("locale-nonsense", {"LANG": "xx_YY.KOI9", "LC_ALL": "nonsense"}),
    Strange("locale-c", {"LC_ALL": "C"}, parameters={"noise": "n\u00f6ise\u2603"}),
    Strange("locale-posix", {"LC_ALL": "POSIX"}, parameters={"os_region_name": "r\u00e9gion"}),
    Strange(
        "shell",
        {
            "HOME": "/nowhere", "TMPDIR": "/nowhere", "TZ": ":../../etc/passwd",
            "ENV": "{trap}/sh", "BASH_ENV": "{trap}/sh", "SHELLOPTS": "xtrace",
        },
    ),
    # variables for Python, its libraries and the dynamic linker
    Strange(
        "python",
        {
            "PYTHONPATH": "{trap}", "PYTHONSTARTUP": "{trap}/json.py", "PYTHONUSERBASE": "{trap}",
            "PYTHONINSPECT": "1", "PYTHONVERBOSE": "2", "PYTHONDEVMODE": "1",
            "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2",
            "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0",
        },
    ),
    Strange("pythonhome", {"PYTHONHOME": "{trap}"}),
    Strange("folder-of-traps", traps=True),
    Strange("ld-preload", {"LD_PRELOAD": "/nowhere/x.so", "LD_LIBRARY_PATH": "/nowhere"}),
    Strange("openssl", {"OPENSSL_CONF": "{trap}/json.py", "OPENSSL_MODULES": "/nowhere"}),
    # variables for HTTP clients
    Strange(
        "http-clients",
        {
            **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"), PROXY),
            **dict.fromkeys(
                ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
                "{trap}/json.py",
            ),
            "SSLKEYLOGFILE": "{trap}/keys", "RES_OPTIONS": "nonsense",
            "HOSTALIASES": "{trap}/json.py",
        },
    ),
    Strange("no-proxy-for-all", {"no_proxy": "*", "http_proxy": "nonsense://\a"}),
    Strange(
        "openrc",
        {
            "OS_USERNAME": "admin", "OS_PASSWORD": SECRET, "OS_AUTH_URL": PROXY, "OS_DEBUG": "1",
            "OS_PROJECT_NAME": "admin", "OS_TOKEN": SECRET, "OS_CACERT": "/nowhere",
            "OS_CLOUD": "x", "OS_ENDPOINT": PROXY, "OS_USER_DOMAIN_NAME": "x",
        },
    ),
    # variables of OCF and Pacemaker
    Strange(
        "ocf-says-nothing",
        dict.fromkeys(
            (
                "OCF_ROOT", "OCF_RA_VERSION_MAJOR", "OCF_RA_VERSION_MINOR", "OCF_RESOURCE_TYPE",
                "OCF_RESOURCE_PROVIDER", TIMEOUT,
            )
        ),
    ),
    Strange(
        "ocf-says-else",
        {
            "OCF_RA_VERSION_MINOR": "9", "OCF_RESOURCE_TYPE": "apache",
            "OCF_RESOURCE_PROVIDER": "heartbeat", "OPENSTACK_OCF_INSTANCE": "another:one",
            "OCF_TRACE_RA": "1", "OCF_TRACE_FILE": "{trap}/trace", "HA_debug": "1",
        },
    ),
    Strange(
        "ocf-says-nonsense",
        {
            "OCF_RA_VERSION_MINOR": "\a", "OCF_CHECK_LEVEL": "nonsense", TIMEOUT: "soon",
            "OCF_RESKEY_CRM_meta_interval": "nonsense",
        },
    ),
    Strange(
        "ocf-version-empty",
        {"OCF_RA_VERSION_MAJOR": "", "OCF_RA_VERSION_MINOR": "", "OCF_CHECK_LEVEL": ""},
    ),
    Strange("timeout-a-year", {TIMEOUT: "31536000000"}),
    Strange("numbers-endless", {TIMEOUT: "9" * 5000, "OCF_CHECK_LEVEL": "9" * 400}),
    # bytes, and many of them
    Strange(
        "not-utf-8",
        {"LANG": "\udcff", "\udcfe\udcff": "\udc80", "OCF_RESKEY_\udcff": "\udcff"},
        parameters={"os_region_name": "\udcff\udcfe", "client_binary": "\udcff"},
    ),
    Strange("huge-value", {"NOISE": "x" * 131_000}, parameters={"noise": "y" * 131_000}),
    Strange("many-variables", {f"NOISE_{number}": "x" * 50 for number in range(5000)}),
    Strange("twice", prefix=py(TWICE)),
    # logs
    Strange("no-log", {"HA_LOGFILE": None}),
    Strange("log-forbidden", {"HA_LOGFILE": "/nowhere/x"}),
    Strange("log-folder", {"HA_LOGFILE": "{trap}"}),
    Strange("log-device-full", {"HA_LOGFILE": "/dev/full"}),
    Strange("log-fifo", {"HA_LOGFILE": "{folder}/fifo"}),
    Strange("log-symlink", {"HA_LOGFILE": "{folder}/link"}),
    Strange("log-bytes", {"HA_LOGFILE": "/\udcff\n"}),
    Strange("facility-nonsense", {"HA_LOGFACILITY": "nonsense"}),
    Strange("no-dev-log", {"HA_LOGFACILITY": "daemon", "HA_LOGFILE": None}, NO_DEV_LOG),
    # descriptors
    Strange("stdin-closed", prefix=sh("exec <&-")),
    Strange("stdout-closed", prefix=sh("exec >&-"), mute=True),
    Strange("stderr-closed", prefix=sh("exec 2>&-"), mute=True),
    Strange("all-closed", prefix=sh("exec <&- >&- 2>&-"), mute=True),
    Strange("all-closed-no-log", {"HA_LOGFILE": None}, sh("exec <&- >&- 2>&-"), mute=True),
    Strange("stdout-full", prefix=sh("exec >/dev/full"), codes={"meta-data": 1}, mute=True),
    Strange("stderr-full", {"HA_LOGFILE": None}, sh("exec 2>/dev/full"), mute=True),
    Strange("stderr-not-read", prefix=py(FULL_PIPE), mute=True),
    Strange("stderr-not-read-no-log", {"HA_LOGFILE": None}, py(FULL_PIPE), mute=True),
    Strange(
        "stdout-broken-pipe",
        prefix=py("reader, writer = os.pipe()\nos.dup2(writer, 1)"),
        codes={"meta-data": 1},
        mute=True,
    ),
    Strange(
        "stderr-broken-pipe", {"HA_LOGFILE": None},
        py("reader, writer = os.pipe()\nos.dup2(writer, 2)"), mute=True,
    ),
    # limits
    Strange("64-descriptors", prefix=sh("ulimit -n 64")),
    Strange("20-descriptors", prefix=sh("ulimit -n 20")),
    Strange("512-mb", prefix=sh("ulimit -v 524288")),
    Strange("small-stack", prefix=sh("ulimit -s 256")),
    Strange("10-s-of-cpu", prefix=sh("ulimit -t 10")),
    # (At 19 it would get no CPU at all while other processes keep the machine busy.)
    Strange("nice", prefix=("/usr/bin/nice", "-n", "5")),
    Strange(
        "no-file-size", prefix=sh("ulimit -f 0"), codes={"start": 1},
        words=("File too large",), tokens=2,
    ),
    Strange(
        "no-process-for-the-user", prefix=sh("ulimit -p 0"), codes={"start": 1},
        words=("cannot run", "temporarily unavailable"),
    ),
    # signals, modes and folders
    Strange("sigchld-ignored", prefix=("/usr/bin/env", "--ignore-signal=CHLD")),
    Strange("all-ignored", prefix=("/usr/bin/env", "--ignore-signal")),
    Strange("all-blocked", prefix=("/usr/bin/env", "--block-signal")),
    Strange("sigpipe-default", prefix=("/usr/bin/env", "--default-signal=PIPE")),
    Strange("umask-000", umask=0o000),
    Strange("umask-077", umask=0o077),
    Strange("umask-777", umask=0o777),
    Strange("folder-gone", prefix=sh("mkdir {folder}/gone; cd {folder}/gone; rmdir ../gone")),
    Strange("tmp-read-only", prefix=mounted(TMP_READ_ONLY)),
    Strange("root-read-only", prefix=mounted(READ_ONLY)),
    Strange(
        "rsctmp-read-only", prefix=mounted(RSCTMP_READ_ONLY),
        codes={"start": 1, "start-started": 1}, words=("Read-only file system",), tokens=2,
    ),
    Strange("hidepid", prefix=mounted("mount -t proc -o hidepid=2 proc /proc")),
    Strange(
        "no-dev-null", prefix=NO_DEV_NULL,
        codes={"start": 5}, words=("/dev/null",),
    ),
    Strange("other-clock", prefix=("/usr/bin/unshare", "-T", "--fork", "--monotonic", "90000")),
]  # fmt: skip

# name, action, options, code
STEPS: list[tuple[str, str, dict[str, Any], int]] = [
    ("meta-data", "meta-data", {}, 0),
    ("validate", "validate-all", {}, 0),
    ("probe-stopped", "monitor", {}, 7),
    ("stop-stopped", "stop", {"timeout": 60}, 0),
    ("start", "start", {"timeout": 60}, 0),
    ("start-started", "start", {"timeout": 60}, 0),
    ("monitor", "monitor", {"interval": 30}, 0),
    ("monitor-token", "monitor", {"interval": 30}, 0),
    ("probe", "monitor", {}, 0),
    ("reload", "reload-agent", {}, 0),
    ("stop", "stop", {"timeout": 60}, 0),
    ("monitor-stopped", "monitor", {"interval": 30}, 7),
]


def lay_traps(folder: Path) -> Path:
    """A folder of programs and modules that must not be run."""
    trap = folder / "trap"
    trap.mkdir()
    for name in ("sh", "su", "curl", "python3", "env", "ps", "kill", "awk", "id"):
        program = trap / name
        program.write_text(f"#!/bin/sh\n: > {folder}/sprung\nexit 99\n", encoding="utf-8")
        program.chmod(0o755)
    code = f"open({str(folder / 'sprung')!r}, 'w')\nraise SystemExit(99)\n"
    for name in ("json", "subprocess", "psutil", "requests", "os", "agentlib/__init__",
                 "sitecustomize", "usercustomize"):  # fmt: skip
        module = trap / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text(code, encoding="utf-8")
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(trap / "json.py")
    return trap


class Caller:
    """Calls an agent in the strange way of a row."""

    def __init__(self, service: Service, case: Strange) -> None:
        self.service = service
        self.case = case
        self.trap = lay_traps(service.folder)
        places = {"folder": service.folder, "trap": self.trap, "rsctmp": service.rsctmp}

        def placed(text: str) -> str:
            for name, place in places.items():
                text = text.replace(f"{{{name}}}", str(place))
            return text

        self.options: dict[str, Any] = {
            "environ": {name: text and placed(text) for name, text in case.environ.items()},
            "parameters": case.parameters,
            "prefix": [placed(word) for word in case.prefix],
            "umask": case.umask,
            "cwd": self.trap if case.traps else None,
            "limit": 60,
        }

    def call(self, action: str, **options: Any) -> Result:
        result = self.service.call(action, **{**self.options, **options})
        assert SECRET not in result.stdout + result.stderr
        assert REASON not in result.stdout
        return result

    def expect(self, result: Result, code: int, *words: str) -> None:
        if self.case.mute and code not in (0, 7):
            assert not result.killed, f"not back in time: {result}"
            assert code == result.code, result
        else:
            expect(result, code, *words)


@pytest.mark.parametrize("case", STRANGE, ids=lambda case: case.name)
def test_strange(make_service: MakeService, case: Strange) -> None:
    """Every action gives its usual code, ends by itself, and runs no trap."""
    service = make_service(credentials=True, password=SECRET)
    caller = Caller(service, case)
    before = {path: path.stat().st_size for path in caller.trap.rglob("*")}
    document = service.call("meta-data").stdout
    for name, action, options, usual in STEPS:
        result = caller.call(action, **options)
        code = case.codes.get(name, usual)
        caller.expect(result, code, *(case.words if code != usual else ()))
        if action == "meta-data" and not case.mute:
            assert document == result.stdout
        if name == "start" and code:
            assert service.gone(), "a start that failed has left something"
            expect(service.start(), 0)
        if name == "monitor-token":
            assert case.tokens == service.asked()
        if name == "stop":
            assert not service.pids()
    assert not (service.folder / "sprung").exists(), "a trap was sprung"
    assert before == {path: path.stat().st_size for path in caller.trap.rglob("*")}
    if service.log.exists():
        assert SECRET not in service.log.read_text(encoding="utf-8")


# ---- failures are the usual ones

FAILING = [
    "path-of-traps", "locale-c", "locale-nonsense", "folder-of-traps", "no-log", "log-fifo",
    "log-folder", "no-dev-log", "stdout-closed", "stderr-closed", "all-closed", "stderr-full",
    "stderr-not-read", "stderr-not-read-no-log", "stderr-broken-pipe", "20-descriptors",
    "sigchld-ignored", "all-ignored", "all-blocked", "umask-777", "folder-gone",
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [case for case in STRANGE if case.name in FAILING], ids=lambda case: case.name
)
def test_strange_failure(make_service: MakeService, case: Strange) -> None:
    """A daemon that ends at start, and an unknown action, are reported as usual."""
    service = make_service(exit_at_once=3, last_words="n\u00f6 such table")
    caller = Caller(service, case)
    caller.expect(caller.call("start", timeout=20), 1, "ended with 3", "such table")
    assert service.gone()
    caller.expect(caller.call("nonsense"), 3)
    caller.expect(caller.call("validate-all", parameters={"config": "x"}), 6)


@pytest.mark.parametrize("name", ["not-utf-8", "locale-c"])
def test_password_that_is_no_text(make_service: MakeService, name: str) -> None:
    """Credentials that are not UTF-8 are refused by Keystone, and are no bug."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    caller = Caller(service, next(case for case in STRANGE if case.name == name))
    for parameter in ("os_password", "os_username"):
        result = caller.call("monitor", interval=30, parameters={parameter: "\udcff\udcfe"})
        expect(result, 190, "answers")


# ---- syslog


@pytest.fixture
def syslog(service: Service) -> Iterator[socket.socket]:
    with listening_syslog(service.folder) as log:
        yield log


def to_syslog(service: Service) -> dict[str, Any]:
    """Options of a call whose messages go to syslog only."""
    environ = {"HA_LOGFACILITY": "daemon", "HA_LOGFILE": None}
    return {"prefix": with_syslog(service.folder), "environ": environ}


@pytest.mark.own
def test_syslog(service: Service, syslog: socket.socket) -> None:
    """Actions and failures are in syslog, under the names of agent and instance."""
    options = to_syslog(service)
    started = expect(service.start(**options), 0)
    assert b"started, pid" in (line := syslog.recv(4096))
    assert f"{service.agent.name}({service.name})".encode() in line
    assert "" == started.stderr
    expect(service.stop(**options), 0)
    assert b"stopped" in syslog.recv(4096)
    expect(service.start(**options, parameters={"config": "/nowhere/x"}), 5)
    assert b"ERROR: config=/nowhere/x" in syslog.recv(4096)


def test_syslog_hangs(service: Service, syslog: socket.socket) -> None:
    """A syslog that takes no more messages (its daemon is stopped) does not delay an action."""
    options = to_syslog(service)
    clog(syslog)
    expect(service.start(timeout=20, **options), 0)
    expect(service.monitor(**options), 0)
    expect(service.stop(timeout=20, **options), 0)
    expect(service.start(**options, timeout=20, parameters={"config": "/nowhere/x"}), 5, "config")


# ---- settings for HTTP clients in the environment, or in root's home


class Attentive(Keystone):
    """A Keystone that remembers the headers of requests."""

    def __init__(self, **options: Any) -> None:
        self.headers: list[dict[str, str]] = []
        super().__init__(**options)

    def _well(self, request: Any) -> bytes:
        self.headers.append(request.headers)
        return super()._well(request)


def test_netrc(make_service: MakeService) -> None:
    """A .netrc of root's with Keystone's host in it does not change the user that asks."""
    service = make_service(credentials=True)
    netrc = service.folder / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login admin password {SECRET}\n", encoding="utf-8")
    netrc.chmod(0o600)
    environ = {"HOME": str(service.folder), "NETRC": str(netrc)}
    expect(service.start(environ=environ), 0)
    service.config.set(accept_tokens="any")
    keystone = Attentive(users=service.keystone.users)
    with keystone:
        service.parameters["os_auth_url"] = keystone.url
        expect(service.monitor(environ=environ), 0)
        assert keystone.headers
        assert not [headers for headers in keystone.headers if "authorization" in headers]


def test_openrc_is_not_credentials(service: Service) -> None:
    """OS_* variables, as an openrc file sets them, are no parameters: Keystone is not asked."""
    environ = {name.upper(): str(value) for name, value in service.credentials.items()}
    expect(service.start(environ=environ), 0)
    expect(service.monitor(environ=environ), 0)
    assert 0 == service.asked()
    assert not [name for name in service.config.report()["environ"] if name.startswith("OS_")]


@pytest.fixture
def with_tls(make_service: MakeService, certificate: Path) -> Iterator[Service]:
    """A service with an https url, and an https Keystone."""
    service = make_service(credentials=True, tls=certificate)
    with Keystone(users=service.keystone.users, certfile=str(certificate)) as keystone:
        service.config.set(accept_tokens="any")
        service.parameters["url"] = f"https://localhost:{service.config.port}"
        service.parameters["os_auth_url"] = keystone.url.replace("127.0.0.1", "localhost")
        yield service


def test_key_log(with_tls: Service, certificate: Path) -> None:
    """No keys of TLS connections, by which the password can be read, are written to any file."""
    keys = with_tls.folder / "keys"
    environ = {"SSLKEYLOGFILE": str(keys)}
    with_tls.parameters["os_cacert"] = certificate
    expect(with_tls.start(environ=environ), 0)
    expect(with_tls.monitor(environ=environ), 0)
    expect(with_tls.monitor(environ=environ), 0)
    assert not keys.exists()


def test_ca_variables(with_tls: Service, certificate: Path) -> None:
    """Only parameters say which CA to trust: a variable neither adds a CA nor takes one away."""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    trusted = {"os_cacert": certificate}
    expect(with_tls.start(parameters=trusted), 0)
    for path in (None, str(certificate)):
        environ = dict.fromkeys(names, path)
        expect(with_tls.monitor(environ=environ), 1, "certificate")
    traps = {**dict.fromkeys(names, "/nowhere"), "SSL_CERT_DIR": "/nowhere"}
    expect(with_tls.monitor(environ=traps, parameters=trusted), 0)


# ---- the clock


@pytest.mark.own
@pytest.mark.parametrize("step", [86400, -86400], ids=["forward", "back"])
@pytest.mark.parametrize("revoked", [False, True], ids=["token-good", "token-expired"])
def test_clock_stepped(make_service: MakeService, step: int, revoked: bool) -> None:
    """A clock that was set by a day costs one token at most, and changes no verdict.

    Instead of the clock, the test changes the end of the remembered token.
    """
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    state = json.loads(service.state_file.read_text(encoding="utf-8"))
    state["checks"]["api"]["until"] -= step
    service.state_file.write_text(json.dumps(state), encoding="utf-8")
    if revoked:
        service.keystone.revoke()
    for _ in range(2):
        expect(service.monitor(), 0)
    assert service.asked() == (2 if revoked or step > 0 else 1)


# ---- the name of the instance


def test_no_instance(service: Service) -> None:
    """Without OCF_RESOURCE_INSTANCE nothing fails, and no other instance's daemon is touched."""
    expect(service.start(), 0)
    before = service.pids()
    environ = {"OCF_RESOURCE_INSTANCE": None, "HA_RSCTMP": str(service.folder / "other")}
    expect(service.probe(environ=environ), 7)
    expect(service.monitor(environ=environ), 7)
    expect(service.call("reload-agent", environ=environ), 7)
    expect(service.call("validate-all", environ=environ), 0)
    expect(service.stop(environ=environ), 0)
    assert before == service.pids()


INSTANCES = ["a/b", "../../etc/x", "a\nb", "a\x1bb", "\udcff"]


@pytest.mark.parametrize("name", INSTANCES, ids=lambda name: ascii(name)[1:20])
def test_instance_name(service: Service, name: str) -> None:
    """A text that cannot be the name of a resource makes no file anywhere."""
    before = sorted(service.folder.rglob("*"))
    environ = {"OCF_RESOURCE_INSTANCE": name}
    expect(service.start(environ=environ), 6, "OCF_RESOURCE_INSTANCE")
    expect(service.monitor(environ=environ), 6, "OCF_RESOURCE_INSTANCE")
    assert set(service.folder.rglob("*")) - {service.log} == set(before)


# ---- descriptors that the daemon inherits


@pytest.mark.parametrize("script", ["exec <&-", "exec >&-", "exec 2>&-", "exec <&- >&- 2>&-",
                                    "exec 7</etc/passwd 9>/dev/null"])  # fmt: skip
def test_inherited_descriptors(service: Service, script: str) -> None:
    """Whatever Pacemaker has open or closed, the daemon has 0, 1 and 2, and nothing else."""
    expect(service.start(prefix=sh(script)), 0)
    assert {"0", "1", "2"} == set(service.config.report()["fds"])


# ---- HA_RSCTMP


def test_rsctmp_is_a_file(service: Service) -> None:
    """An HA_RSCTMP that is no folder is reported by start; stop does not need it."""
    file = service.folder / "file"
    file.write_text("", encoding="utf-8")
    environ = {"HA_RSCTMP": str(file)}
    expect(service.probe(environ=environ), 7)
    expect(service.start(environ=environ), 1, "file")
    assert not service.pids()
    expect(service.stop(environ=environ), 0)


# ---- no time


@pytest.mark.parametrize("action", ["start", "stop", "monitor", "reload-agent", "validate-all"])
@pytest.mark.parametrize("milliseconds", ["1", "100"])
def test_no_time(service: Service, action: str, milliseconds: str) -> None:
    """With hardly any time an action ends soon, with one reason or with success."""
    if action != "start":
        expect(service.start(), 0)
    environ = {TIMEOUT: milliseconds}
    result = service.call(action, timeout=None, limit=20, interval=30, environ=environ)
    assert result.code in (0, 1)
    expect(result, result.code)
    # A killed process may end after the agent's last look: 1 says that it was still there.
    assert action != "stop" or result.code or not service.pids()
    expect(service.stop(), 0)
    assert not service.pids()


def test_no_bytecode(service: Service) -> None:
    """Running an agent leaves nothing beside it in ocf/."""
    expect(service.probe(), 7)
    assert "__pycache__" not in os.listdir(service.agent.parent)


# ---- /proc, without which no agent can tell what runs


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_no_proc(service: Service, running: bool) -> None:
    """Without /proc nothing is certain: every action is 1, and no process is touched."""
    if running:
        expect(service.start(), 0)
    before = service.pids()
    prefix = mounted(NO_PROC)
    for result in (
        service.probe(prefix=prefix),
        service.monitor(prefix=prefix),
        service.monitor(prefix=prefix, level=0),
        service.call("reload-agent", prefix=prefix),
        service.start(prefix=prefix, timeout=10),
        service.stop(prefix=prefix, timeout=10),
    ):
        expect(result, 1, "/proc")
    assert before == service.pids()
    expect(service.probe(), 0 if running else 7)


NO_PTRACE = ("/usr/bin/setpriv", "--bounding-set", "-sys_ptrace")


def test_no_ptrace(make_service: MakeService) -> None:
    """Without CAP_SYS_PTRACE (as in containers) start says so; what runs is known by its state.

    There an agent cannot see which process has a socket.
    """
    service = make_service(credentials=True)
    expect(service.start(prefix=NO_PTRACE, timeout=10), 4, "CAP_SYS_PTRACE")
    assert service.gone()
    expect(service.start(), 0)
    expect(service.probe(prefix=NO_PTRACE), 0)
    expect(service.monitor(prefix=NO_PTRACE), 0)
    service.state_file.unlink()
    expect(service.monitor(prefix=NO_PTRACE), 190, "CAP_SYS_PTRACE")
    expect(service.stop(prefix=NO_PTRACE), 0)
    assert service.gone()


# ---- memory


GIVEN_UP = (-signal.SIGABRT, -signal.SIGKILL)
"""Failures to Pacemaker: the interpreter has aborted, or did not end until it was killed."""


def test_little_memory(make_service: MakeService) -> None:
    """With too little memory no action says 7 while the daemon runs, nor 0 if it was not stopped.

    Python 3.13 itself may fail then: it may corrupt its memory, or loop without end.
    """
    service = make_service(credentials=True)
    tried = 0
    for megabytes in (12, 16, 20, 24, 32, 48, 64, 96, 128, 192):
        prefix = sh(f"ulimit -v {megabytes * 1024}")
        if service.call("meta-data", prefix=prefix).code:
            continue  # not even Python starts
        tried += 1
        expect(service.start(), 0)
        for result in (service.monitor(prefix=prefix), service.probe(prefix=prefix)):
            assert result.code in (0, 1, 190, *GIVEN_UP), f"{megabytes} MB: {result}"
            assert "Traceback" not in result.stderr
        result = service.stop(prefix=prefix)
        assert result.code in (0, 1, *GIVEN_UP), f"{megabytes} MB: {result}"
        assert result.code or not service.pids(), f"{megabytes} MB: {result}"
    assert tried > 5
