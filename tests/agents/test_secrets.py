"""A password of any characters works, and is seen nowhere; nor is a token."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Running, environ_of, expect
from lookalike.service import USER, Service

MakeService = Callable[..., Service]

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
    "long": MARK * 1000,
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
    """Files of the service that hold a secret; where the look-alike Keystone has it is left out."""
    files = [path for path in service.folder.rglob("*") if path.is_file()]
    holders = {path for path in files if secret.encode() in path.read_bytes()}
    return holders - {service.folder / "tokens"}


@pytest.mark.parametrize(("interpreter", "locale"), [("debian", "C"), ("pypi", "C.UTF-8")])
@pytest.mark.parametrize("kind", PASSWORDS)
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


def test_not_in_arguments(make_service: MakeService) -> None:
    """Nobody sees password or token in a list of processes while an action runs."""
    service = make_service(credentials=True, password=MARK * 3, api_slow=0.3, public_slow=0.2)
    service.keystone.delay = 0.5
    for action in ("validate-all", "start", "monitor", "monitor", "reload-agent", "stop"):
        running = service.begin(action, timeout=60, interval=30 if action == "monitor" else None)
        assert [] == seen_in_arguments(running, MARK)
        expect(running.wait(), 0)
    assert 1 == len(service.keystone.tokens_issued)


def test_token_only_in_state(make_service: MakeService) -> None:
    """The token stands in the state, which is root's, and nowhere else."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    (token,) = service.keystone.tokens_issued
    assert {service.state_file} == holding(service, token)
    expect(service.stop(), 0)
    assert set() == holding(service, token)


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
    """No file that all can read holds password or token, though the umask is 000."""
    service = make_service(credentials=True, password=MARK * 3)
    expect(service.start(umask=0), 0)
    expect(service.monitor(umask=0), 0)
    (token,) = service.keystone.tokens_issued
    for path in readable_by_all(service.folder):
        text = path.read_bytes()
        assert MARK.encode() not in text, path
        assert token.encode() not in text or path.name == "tokens", path


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
    """A password that Keystone refuses stands in no exit reason and no log."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    service.config.set(**behaviour)
    result = expect(service.monitor(parameters=parameters), code, "refuses")
    assert MARK not in result.stderr + result.stdout
    assert not holding(service, MARK)


WORDS = [
    f"cannot connect to mysql+pymysql://glance:{MARK}@10.0.0.1/glance",
    f"authentication of monitor with {MARK} failed",
]


@pytest.mark.parametrize("words", WORDS)
def test_last_words(make_service: MakeService, words: str) -> None:
    """A daemon's last words become an exit reason without the passwords in them."""
    service = make_service(credentials=True, password=MARK, exit_at_once=1, last_words=words)
    result = expect(service.start(), 1, words[:12])
    assert MARK not in result.stderr
    assert MARK not in service.log.read_text(encoding="utf-8")


def test_cib_secret_missing(make_service: MakeService) -> None:
    """stop works when Pacemaker's executor could not resolve the password."""
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.stop(parameters={"os_password": "lrm://"}), 0)
    assert not service.pids()


def test_daemon_environment(make_service: MakeService) -> None:
    """The daemon's environment holds the tag, what a login would, and nothing of the agent's."""
    service = make_service(credentials=True, password=MARK)
    expect(service.start(environ={"OS_PASSWORD": MARK, "http_proxy": "http://x"}), 0)
    environ = service.config.report()["environ"]
    allowed = {"PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "OPENSTACK_OCF_INSTANCE"}
    assert set() == set(environ) - allowed
    assert service.tag == environ["OPENSTACK_OCF_INSTANCE"]
    assert USER == environ["USER"]


# ---- the daemon's log file, in a folder that the daemon's user can write


def plant(service: Service, attack: str) -> Path:
    """Prepare an attack by the daemon's user; the file that must not change."""
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
    """The daemon's user cannot make root write, or wait, anywhere by means of the log file."""
    precious = plant(service, attack)
    before = precious.stat()
    expect(service.start(), 2, "log_file")
    assert not service.pids()
    assert "precious\n" == precious.read_text(encoding="utf-8")
    after = precious.stat()
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)
    assert not (service.folder / "new").exists()


def test_log_by_default(service: Service) -> None:
    """Where the service's own log folder cannot be written, the log is beside the state."""
    del service.parameters["log_file"]
    expect(service.start(), 0)
    log = service.state_folder / f"{service.tag}.log"
    assert "listening" in log.read_text(encoding="utf-8")
    assert 0o600 == stat.S_IMODE(log.stat().st_mode)
    expect(service.stop(), 0)


@pytest.mark.parametrize("name", ["daemon.log", "{instance}.log"])
def test_log_is_appended(service: Service, name: str) -> None:
    """The log is the daemon's own file, and a restart keeps what stands in it."""
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
