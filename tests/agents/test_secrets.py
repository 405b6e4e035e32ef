"""A password of any characters works, and is seen nowhere; nor is a token."""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from agents.ways import listening_syslog, sh, with_syslog
from harness import FOREIGN, Running, expect
from lookalike.keystone import Keystone, wire
from lookalike.managed import USER
from lookalike.service import MakeService, Service
from looks import environ_of, eventually

pytestmark = pytest.mark.shared

MARK = "Xy7q"
"""In every password, and nowhere else on the machine."""

PASSWORDS = {
    "plain": f"{MARK}plain",
    "single-quote": f"{MARK}a'b",
    "double-quote": f'{MARK}a"b',
    "backslash": f"{MARK}a\\b\\n\\",
    "spaces": f"  {MARK}a  b  ",
    "command": f"{MARK}$(id)`id`${{HOME}}",
    "percent": f"{MARK}%s%d%%%(x)s",
    "newline": f"{MARK}a\nb\n",
    "tab": f"{MARK}\ta\r\x1b",
    "non-ascii": f"{MARK}p\u00e4ssw\u00f6rd\u2603\U0001f511",
    "json": f'{MARK}"}}, {{"a": [',
    "xml": f"{MARK}<&>]]>",
    "url": f"{MARK}:@/?#&=+",
    "dash": f"--{MARK}",
    "option": f"-p{MARK}",
    "nul-like": f"{MARK}\\0\\x00%00\u2400",
    "blanks": f" \t{MARK}\u00a0\n",
    "template": f"{MARK}{{}}{{0}}${{x}}{{{{x}}}}",
    "encoded": f"{MARK}%24%28id%29+a&amp;b",
    "controls": f"{MARK}\x01\x07\x7f\x85",
    "assignment": f"{MARK}=b; OCF_RESKEY_os_password=x",
    "long": MARK * 2500,
}


def seen_in_arguments(running: Running, mark: str) -> list[str]:
    """Argument lists of the machine that hold the mark while an action runs."""
    found = []
    while running.process.poll() is None:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    words = Path("/proc", entry, "cmdline").read_bytes()
                except OSError:
                    continue
                if mark.encode() in words:
                    found.append(f"{entry}: {words!r}")
    return found


def readable_by_all(folder: Path) -> list[Path]:
    """Regular files that anybody can read."""
    return [
        path
        for path in folder.rglob("*")
        if stat.S_ISREG(path.lstat().st_mode)
        and path.lstat().st_mode & 0o004
        and all(up.stat().st_mode & 0o001 for up in path.parents)
    ]


def holding(service: Service, secret: str) -> set[Path]:
    """Files of the service that hold a secret, without the look-alike Keystone's own file."""
    files = [path for path in service.folder.rglob("*") if path.is_file()]
    holders = {path for path in files if secret.encode() in path.read_bytes()}
    return holders - {service.folder / "tokens"}


def logged(service: Service) -> str:
    """What is in the agents' log."""
    return service.log.read_text(encoding="utf-8") if service.log.exists() else ""


WAYS = [("debian", "C"), ("pypi", "C.UTF-8")]


@pytest.mark.parametrize(
    ("kind", "interpreter", "locale"),
    [(kind, *WAYS[not FOREIGN and number % 2]) for number, kind in enumerate(PASSWORDS)],
)
def test_password(make_service: MakeService, kind: str, interpreter: str, locale: str) -> None:
    """A password of any characters gets a token, in any locale, and is seen nowhere."""
    service = make_service(credentials=True, password=PASSWORDS[kind])
    environ = {"LC_ALL": locale}
    started = expect(service.start(environ=environ), 0)
    monitored = expect(service.monitor(environ=environ), 0)
    assert 1 == service.asked() == len(service.keystone.tokens_issued)
    assert MARK not in started.stderr + started.stdout + monitored.stderr + monitored.stdout
    assert not holding(service, MARK)
    for pid in service.pids():
        assert MARK.encode() not in b"\0".join(environ_of(pid))
    expect(service.stop(environ=environ), 0)
    assert not holding(service, MARK)


@pytest.mark.parametrize("locale", [None, "", "C", "POSIX", "C.UTF-8", "xx_YY.KOI9"])
def test_password_in_any_locale(make_service: MakeService, locale: str | None) -> None:
    """A non-ASCII password is sent unchanged in every locale, and without one."""
    service = make_service(credentials=True, password=PASSWORDS["non-ascii"])
    environ = {"LANG": locale, "LC_ALL": locale, "LC_CTYPE": locale}
    expect(service.start(environ=environ), 0)
    expect(service.monitor(environ=environ), 0)


DEBUG: dict[str, str | None] = dict.fromkeys(
    (
        "OS_DEBUG", "DEBUG", "PYTHONVERBOSE", "PYTHONDEVMODE", "PYTHONDEBUG", "PYTHONTRACEMALLOC",
        "PYTHONFAULTHANDLER", "PYTHONINSPECT", "HA_debug", "HA_DEBUGLOG", "OCF_TRACE_RA",
        "OCF_TRACE_FILE", "PCMK_debug", "PCMK_trace_files", "REQUESTS_DEBUG", "URLLIB3_DEBUG",
        "KEYSTONEAUTH_DEBUG", "HTTPLIB_DEBUG", "TRACE", "VERBOSE",
    ),
    "1",
)  # fmt: skip
"""Variables that turn on debug output of one program or another."""


@pytest.mark.parametrize("environ", [{}, DEBUG], ids=["usual", "debug"])
def test_not_in_arguments(make_service: MakeService, environ: dict[str, str | None]) -> None:
    """While an action runs, password and token are in no list of processes and no output."""
    service = make_service(credentials=True, password=MARK * 3, api_slow=0.3, public_slow=0.2)
    service.keystone.delay = 0.5
    for action in ("validate-all", "start", "monitor", "monitor", "reload-agent", "stop"):
        interval = 30 if action == "monitor" else None
        running = service.begin(action, timeout=60, interval=interval, environ=environ)
        assert [] == seen_in_arguments(running, MARK)
        result = expect(running.wait(), 0)
        for secret in (MARK, *service.keystone.tokens_issued):
            assert secret not in result.stdout + result.stderr
            assert holding(service, secret) <= {service.state_file}
    assert 1 == len(service.keystone.tokens_issued)


@pytest.mark.own
def test_token_only_in_state(make_service: MakeService) -> None:
    """The token is in the state, which is root's, and nowhere else."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    (token,) = service.keystone.tokens_issued
    assert {service.state_file} == holding(service, token)
    expect(service.stop(), 0)
    assert set() == holding(service, token)


@pytest.mark.own
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_modes(make_service: MakeService, umask: int) -> None:
    """State and token are root's alone whatever the umask; the pidfile can be read by all."""
    service = make_service(credentials=True, name="")
    service.rsctmp.rmdir()
    expect(service.start(umask=umask), 0)
    expect(service.monitor(umask=umask), 0)
    assert 0o700 == stat.S_IMODE(service.state_folder.stat().st_mode)
    for path in service.state_folder.iterdir():
        assert (0, 0) == (stat.S_IMODE(path.stat().st_mode) & ~0o600, path.stat().st_uid), path
    assert 0o644 == stat.S_IMODE(service.pidfile.stat().st_mode)
    assert not stat.S_IMODE(service.rsctmp.stat().st_mode) & 0o022
    assert not stat.S_IMODE(service.log_file.stat().st_mode) & 0o007
    assert "0022" == service.config.report()["umask"]
    expect(service.stop(umask=umask), 0)


def test_no_world_readable_secret(make_service: MakeService) -> None:
    """No file that all users can read holds password or token, even if the umask is 000."""
    service = make_service(credentials=True, password=MARK * 3)
    expect(service.start(umask=0), 0)
    expect(service.monitor(umask=0), 0)
    (token,) = service.keystone.tokens_issued
    for path in readable_by_all(service.folder):
        text = path.read_bytes()
        assert MARK.encode() not in text, path
        assert token.encode() not in text or path.name == "tokens", path


@pytest.mark.own
def test_state_folder_mode_is_mended(make_service: MakeService) -> None:
    """A state folder of root's that others can read is closed before a token is put there."""
    service = make_service(credentials=True)
    service.state_folder.mkdir()
    service.state_folder.chmod(0o755)
    expect(service.start(), 0)
    assert 0o700 == stat.S_IMODE(service.state_folder.stat().st_mode)


REFUSED = [
    ({"os_password": MARK}, {}, 190),
    ({"os_username": "nobody-knows", "os_password": MARK}, {}, 190),
    ({"os_password": MARK}, {"public": "500"}, 1),
    ({"os_password": MARK, "os_project_name": "gone"}, {}, 190),
]


@pytest.mark.parametrize(("parameters", "behaviour", "code"), REFUSED)
def test_refused_password(
    make_service: MakeService,
    parameters: dict[str, str],
    behaviour: dict[str, object],
    code: int,
) -> None:
    """A password that Keystone refuses is in no exit reason and no log."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    service.config.set(**behaviour)
    result = expect(service.monitor(parameters=parameters), code, "refuses")
    assert MARK not in result.stderr + result.stdout
    assert not holding(service, MARK)


class Echo(Keystone):
    """A Keystone whose answer repeats the request, as with debug on."""

    status = 401

    def _well(self, request: Any) -> bytes:
        if request.method != "POST":
            return super()._well(request)
        said = request.body.decode("ascii", "replace")
        header = f"X-Debug: {said}"
        location = f"Location: {self.url}/v3/auth/tokens?password={MARK}"
        body = json.dumps({"error": {"code": self.status, "message": said, "title": said}})
        answer: bytes = wire.compose(request, self.status, body.encode(), header, location)
        return answer


@pytest.mark.parametrize("status", [200, 201, 300, 302, 400, 401, 403, 404, 413, 500, 503])
def test_keystone_echoes(make_service: MakeService, status: int) -> None:
    """The request in Keystone's answer is not passed on, whatever the status."""
    service = make_service(credentials=True, password=MARK)
    expect(service.start(), 0)
    keystone = Echo(users={"monitor": MARK})
    keystone.status = status
    with keystone:
        given = {"os_auth_url": keystone.url}
        result = expect(service.monitor(parameters=given, environ=DEBUG), 190, "Keystone")
        assert keystone.requests
    assert MARK not in result.stderr + result.stdout
    assert not holding(service, MARK)


@pytest.mark.own
def test_not_in_syslog(make_service: MakeService) -> None:
    """Failures, also those that a monitor does not report, are logged without the password."""
    service = make_service(credentials=True, password=MARK)
    service.keystone.users["monitor"] = "another"
    calls: list[tuple[str, dict[str, object], int]] = [
        ("start", {}, 0),
        ("monitor", {}, 190),
        ("monitor", {"os_auth_url": f"http://monitor:{MARK}@127.0.0.1:5000"}, 190),
        ("reload-agent", {"os_project_name": "", "os_tenant_name": ""}, 0),
        ("stop", {}, 0),
    ]
    with listening_syslog(service.folder) as log:
        for action, parameters, code in calls:
            result = service.call(
                action, interval=30, timeout=60, parameters=parameters,
                prefix=with_syslog(service.folder), environ={"HA_LOGFACILITY": "daemon", **DEBUG},
            )  # fmt: skip
            expect(result, code)
            said = log.recv(65536)
            assert MARK.encode() not in said, action
    assert not holding(service, MARK)


def test_core(make_service: MakeService) -> None:
    """A core file of a monitor is where the kernel puts it, for root alone, and not in the state.

    The working folder is then Pacemaker's folder of core files, which only root can enter.
    """
    service = make_service(credentials=True, password=MARK)
    expect(service.start(), 0)
    service.keystone.mode = "hang"
    cores = service.folder / "cores"
    cores.mkdir()
    before = service.asked()
    prefix = sh("ulimit -c $(ulimit -H -c)")  # more than that is not for every root
    monitor = service.begin("monitor", interval=30, timeout=60, cwd=cores, prefix=prefix, umask=0)
    eventually(lambda: service.asked() > before)
    monitor.process.send_signal(signal.SIGSEGV)
    assert -signal.SIGSEGV == monitor.wait().code
    for path in holding(service, MARK):
        assert cores == path.parent
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    service.keystone.mode = "fine"
    expect(service.monitor(), 0)


AWKWARD = f"{MARK}/a'b\"c\\d \u00e4%s"

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "python": repr,
    "json": json.dumps,
    "url": quote_plus,
    "url-path": lambda text: quote(text, safe=""),
    "shell": shlex.quote,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_last_words_in_any_form(make_service: MakeService, form: str) -> None:
    """A daemon's last words lose the password in every form that programs write it in."""
    words = FORMS[form](AWKWARD)
    service = make_service(
        credentials=True, password=AWKWARD, exit_at_once=1, last_words=f"login as {words} failed"
    )
    result = expect(service.start(), 1, "login as")
    for part in (words[:12], words[4:16]):
        assert part not in result.stderr + logged(service)


WORDS = [
    f"cannot connect to mysql+pymysql://glance:{MARK}@10.0.0.1/glance",
    f"authentication of monitor with {MARK} failed",
]


@pytest.mark.parametrize("words", WORDS)
def test_last_words(make_service: MakeService, words: str) -> None:
    """A daemon's last words become an exit reason without the passwords in them."""
    service = make_service(credentials=True, password=MARK, exit_at_once=1, last_words=words)
    result = expect(service.start(), 1, words[:12])
    assert MARK not in result.stderr + logged(service)


def test_cib_secret_missing(make_service: MakeService) -> None:
    """stop works even if Pacemaker's executor could not resolve the password."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.stop(parameters={"os_password": "lrm://"}), 0)
    assert not service.pids()


def test_daemon_environment(make_service: MakeService) -> None:
    """The daemon's environment has the tag, the variables of a login, and none of the agent's."""
    service = make_service(credentials=True, password=MARK)
    expect(service.start(environ={"OS_PASSWORD": MARK, "http_proxy": "http://x"}), 0)
    environ = service.config.report()["environ"]
    allowed = {"PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "OPENSTACK_OCF_INSTANCE"}
    assert set() == set(environ) - allowed
    assert service.tag == environ["OPENSTACK_OCF_INSTANCE"]
    assert USER == environ["USER"]


# ---- the daemon's log file, in a folder that the daemon's user can write


def plant(service: Service, attack: str) -> Path:
    """Prepare an attack by the daemon's user; return the file that must not change."""
    precious = service.folder / "precious"
    precious.write_text("precious\n", encoding="utf-8")
    precious.chmod(0o600)
    log = service.log_file
    if attack == "symlink":
        log.symlink_to(precious)
    elif attack == "hard-link":
        os.link(precious, log)
    elif attack == "dangling":
        log.symlink_to(service.folder / "new")
    elif attack == "folder":
        closed = service.folder / "closed"
        closed.mkdir(mode=0o700)
        (closed / log.name).write_text("precious\n", encoding="utf-8")
        log.parent.rmdir()
        log.parent.symlink_to(closed)
        return closed / log.name
    elif attack == "fifo":
        os.mkfifo(log)
        os.chmod(log, 0o666)
    return precious


ATTACKS = ["symlink", "hard-link", "dangling", "folder", "fifo"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_log_attack(service: Service, attack: str) -> None:
    """By means of the log file the daemon's user cannot make root write elsewhere, or wait."""
    precious = plant(service, attack)
    before = precious.stat()
    expect(service.start(), 2, "log_file")
    assert not service.pids()
    assert "precious\n" == precious.read_text(encoding="utf-8")
    after = precious.stat()
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)
    assert not (service.folder / "new").exists()


@pytest.mark.own
def test_log_by_default(service: Service) -> None:
    """Where the service's log folder cannot be written, root's own is used, which is on disk."""
    del service.parameters["log_file"]
    log = Path("/var/log/openstack-ocf") / f"{service.tag}.log"
    try:
        expect(service.start(), 0)
        assert "listening" in log.read_text(encoding="utf-8")
        assert 0o600 == stat.S_IMODE(log.stat().st_mode)
        assert {"json", "lock"} == {
            path.name.rpartition(".")[2] for path in service.state_folder.iterdir()
        }
        expect(service.stop(), 0)
    finally:
        log.unlink(missing_ok=True)


def test_output_to_nowhere(service: Service) -> None:
    """log_file=/dev/null throws the output away, and every action accepts it."""
    service.parameters["log_file"] = "/dev/null"
    expect(service.call("validate-all"), 0)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    expect(service.stop(), 0)
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("name", ["daemon.log", "{instance}.log"])
def test_log_is_appended(service: Service, name: str) -> None:
    """The log belongs to the daemon's user, and a restart keeps its content."""
    log = service.log_file.with_name(name.format(instance=service.name))
    service.parameters["log_file"] = log
    for _ in range(2):
        expect(service.start(), 0)
        expect(service.stop(), 0)
    assert 2 == log.read_text(encoding="utf-8").count("starting")
    assert USER == log.owner()


def test_agents_log_attack(service: Service) -> None:
    """HA_LOGFILE is not written through a symlink."""
    precious = service.folder / "precious"
    precious.write_text("precious\n", encoding="utf-8")
    service.log.symlink_to(precious)
    expect(service.start(), 0)
    expect(service.stop(), 0)
    assert "precious\n" == precious.read_text(encoding="utf-8")
