"""The daemon that an agent manages: command line, user, log, environment."""

from __future__ import annotations

import errno
import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.daemon import Daemon
from agentlib.errors import (
    AgentError,
    ArgumentError,
    NotInstalledError,
    PermissionDeniedError,
)
from agentlib.log import Log
from agentlib.parameters import Values
from agentlib.process import Process, find
from agentlib.state import Store
from agentlib.tags import TAG
from looks import eventually
from unit.kit import NOBODY, PYTHON, ROOT, Zoo

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")

REPORT = f'''\
#!{PYTHON} -ES
"""Writes down what it was started with, and stays."""
import json, os, resource, signal, sys
umask = os.umask(0)
os.umask(umask)
with open("/proc/self/environ", "rb") as file:
    names = [field.decode("utf-8", "replace") for field in file.read().split(b"\\0") if field]
report = dict(
    argv=sys.argv, environ=names, cwd=os.getcwd(), uid=os.getuid(), euid=os.geteuid(),
    gid=os.getgid(), groups=sorted(os.getgroups()), pid=os.getpid(), sid=os.getsid(0), umask=umask,
    fds={{name: os.readlink("/proc/self/fd/" + name) for name in os.listdir("/proc/self/fd")
         if os.path.lexists("/proc/self/fd/" + name)}})
print("said on stdout", flush=True)
print("said on stderr", file=sys.stderr, flush=True)
path = sys.argv[sys.argv.index("--config-file") + 1]
with open(path + ".new", "w") as file:
    json.dump(report, file)
os.rename(path + ".new", path + ".report")
signal.pause()
'''


@pytest.fixture
def daemon(place: Path) -> Daemon:
    """A daemon whose defaults fit this machine."""
    binary = place / "unit-daemon"
    binary.write_text(REPORT)
    binary.chmod(0o755)
    config = place / "unit.conf"
    config.write_text("[DEFAULT]\n")
    return Daemon(project="unit", binary=str(binary), config=str(config), user="nobody",
                  log_folder=str(place / "log"), unused={"client_binary": "client"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "unit-daemon:p_unit", "p_unit", "")


def values_for(daemon: Daemon, **given: str) -> Values:
    return Values(daemon.parameters, given)


# --- what the parameters say --------------------------------------------------------------------


def test_parameters(daemon: Daemon) -> None:
    """The HA guide's parameters are there, and those that change the process are not reloadable."""
    reloadable = {p.name: p.reloadable for p in daemon.parameters}
    assert {
        "binary": False, "config": False, "user": False, "pid": False,
        "additional_parameters": False, "log_file": False, "shutdown_timeout": True,
        "client_binary": True,
    } == reloadable
    assert "client" == next(p.default for p in daemon.parameters if p.name == "client_binary")


def test_valid(daemon: Daemon) -> None:
    """The defaults are valid, here and everywhere."""
    daemon.validate(values_for(daemon))
    daemon.validate_host(values_for(daemon))


@given(name=st.sampled_from(["binary", "config", "user", "pid", "additional_parameters",
                             "log_file", "shutdown_timeout", "client_binary"]),
       value=st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_any_value(name: str, value: str) -> None:
    """Whatever is given: valid, or an error that names the parameter, on this node too."""
    daemon = Daemon(project="unit", binary="sh", config="/etc/passwd", user="nobody",
                    log_folder="/nonexistent")
    values = values_for(daemon, **{name: value})
    try:
        daemon.validate(values)
        daemon.validate_host(values)
    except AgentError as error:
        assert str(error).startswith(name)
        assert error.exit_code in (2, 5, 6)


def test_executable_by_name(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked for in the usual folders, whatever PATH the agent was given."""
    monkeypatch.setenv("PATH", "/nonexistent")
    path = daemon.executable(values_for(daemon, binary="env"))
    assert ("env", True) == (os.path.basename(path), os.access(path, os.X_OK))


def split_up(**options: object) -> Daemon:
    """A daemon whose newer releases have no binary of their own."""
    return Daemon(project="unit", binary="no-such-binary", without_binary="set server=uwsgi",
                  **options)  # type: ignore[arg-type]


def test_without_binary() -> None:
    """Where newer releases have no such binary, the reason says what to do instead."""
    with pytest.raises(NotInstalledError) as raised:
        split_up().executable(values_for(split_up()))
    assert "binary=no-such-binary is not on this node: set server=uwsgi" == str(raised.value)


def test_without_a_given_binary() -> None:
    """Where the operator's own path is missing, the reason does not advise uWSGI."""
    with pytest.raises(NotInstalledError) as raised:
        split_up().executable(values_for(split_up(), binary="/no/such"))
    assert "server=uwsgi" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "remarks"),
    [("", 1), ("host = storage\n", 0), ("backend_host = storage\n", 0), ("#host = x\n", 1)])
def test_host_options(tmp_path: Path, text: str, remarks: int) -> None:
    """A service that owns objects by its host's name gets a remark where no host is configured."""
    config = tmp_path / "unit.conf"
    config.write_text("[DEFAULT]\n" + text)
    daemon = Daemon(project="unit", binary="sh", config=str(config),
                    host_options=("host", "backend_host"))
    found = [*daemon.remarks(values_for(daemon))]
    assert remarks == len(found)
    assert all("config has neither host nor backend_host" in remark for remark in found)


@pytest.mark.parametrize(("text", "folder"), [
    ("", "/var/log/unit"), ("log_dir = /srv/log\n", "/srv/log"),
    ("state = /srv\nlog_dir = $state/log\n", "/srv/log"),
    ("log_file = /srv/log/a.log\n", "/srv/log"), ("log_file = a.log\n", "/var/log/unit"),
    ("log_dir = /srv\nlog_file = log/a.log\n", "/srv/log"), ("[", "/var/log/unit"),
])  # fmt: skip
def test_own_log_folder(tmp_path: Path, text: str, folder: str) -> None:
    """A service's own logs are where its configuration says, else where they usually are."""
    config = tmp_path / "unit.conf"
    config.write_text("[DEFAULT]\n" + text)
    daemon = Daemon(project="unit", binary="sh", config=str(config))
    assert folder == daemon.own_log_folder(values_for(daemon))


def test_executable_is_not_in_the_working_folder(
    daemon: Daemon, place: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name is not looked for in the working directory."""
    monkeypatch.chdir(place)
    with pytest.raises(NotInstalledError):
        daemon.executable(values_for(daemon, binary="unit-daemon"))


def test_owner(daemon: Daemon) -> None:
    """The user's id is that of the account, None where there is none."""
    assert NOBODY == daemon.owner(values_for(daemon))
    assert daemon.owner(values_for(daemon, user="no-such-user")) is None


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []), ("   ", []), ("--debug", ["--debug"]),
        ("-a  -b\t-c\n-d", ["-a", "-b", "-c", "-d"]),
        ("--x='a b' \"c d\"", ["--x=a b", "c d"]),
        ("''", [""]), ("a\\ b", ["a b"]), ('"\\"" "\\a"', ['"', "\\a"]),
        ("'it'\\''s'", ["it's"]),
        ("# no comment", ["#", "no", "comment"]),
        ("$(touch x) `touch y` $HOME ~", ["$(touch", "x)", "`touch", "y`", "$HOME", "~"]),
        ("a; b & c | d > e", ["a;", "b", "&", "c", "|", "d", ">", "e"]),
        ("*.conf {a,b} !!", ["*.conf", "{a,b}", "!!"]),
        ("M\u00e4rz \udcff", ["M\u00e4rz", "\udcff"]),
    ],
    ids=repr,
)
def test_command(daemon: Daemon, text: str, arguments: list[str]) -> None:
    """Further arguments are split as a shell splits them; other shell syntax stays text."""
    values = values_for(daemon, **({"additional_parameters": text} if text else {}))
    assert [values.text("binary"), "--config-file", values.text("config"), *arguments] == (
        daemon.command(values))


@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_any_arguments(arguments: list[str]) -> None:
    """Whatever arguments are quoted for a shell arrive as they were."""
    import shlex
    daemon = Daemon(project="unit", binary="sh", config="/c", user="nobody")
    text = shlex.join(arguments)
    values = values_for(daemon, **({"additional_parameters": text} if text else {}))
    assert arguments == daemon.command(values)[3:]


@pytest.mark.parametrize(
    ("arguments", "alike"),
    [
        (["{binary}", "--config-file", "{config}"], True),
        (["{binary}", "--config-file={config}"], True),
        ([PYTHON, "-Es", "{binary}", "--config-file", "{config}", "--debug"], True),
        (["/elsewhere/unit-daemon", "--config-file", "{config}"], True),
        (["{binary}", "--config-file", "/other.conf"], False),
        (["{binary}", "--config-file", "{config}.bak"], False),
        (["{binary}"], False),
        (["vi", "{config}"], False),
        (["{binary}-wrapper", "--config-file", "{config}"], False),
        (["a", "b", "c", "d", "{binary}", "{config}"], False),
        # Process titles of neutron and cotyledon; some of the latter are cut off.
        (["unit-daemon (/usr/bin/python3 {binary} --config-file {config})"], True),
        (["unit-daemon (/usr/bin/python3 {binary} --config-file={config} --x)"], True),
        (["unit-daemon: master process [{binary} --config-file={config}]"], True),
        (["unit-daemon: master process [{binary} --config-file={config_cut}"], True),
        (["unit-daemon: master process [{binary} --config-file=/other.co"], False),
        (["unit-daemon: master process [/bin/other --config-file={config}]"], False),
        (["unit-daemon: master process ["], False),
        (["unit-daemon: AgentManager worker(0)"], False),
        ([""], False),
    ],
)
def test_resembles(
    daemon: Daemon, arguments: list[str], alike: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process is like the daemon if it runs this binary with this configuration."""
    values = values_for(daemon)
    config = values.text("config")
    words = [word.format(binary=values.text("binary"), config=config, config_cut=config[:-3])
             for word in arguments]
    candidate = find(os.getpid())
    assert candidate is not None
    monkeypatch.setattr(Process, "arguments", lambda self: words)
    assert alike is daemon.resembles(values)(candidate)


# --- spawn --------------------------------------------------------------------------------------


@pytest.fixture
def output(place: Path) -> int:
    """Where a daemon's output goes."""
    return os.open(place / "output.log", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


Spawn = Callable[..., "dict[str, object]"]


@pytest.fixture
def spawned(daemon: Daemon, zoo: Zoo, place: Path, output: int) -> Spawn:
    """Starts the daemon as a process, and returns its report of itself."""
    def spawn(**given: str) -> dict[str, object]:
        place.chmod(0o777)
        child = daemon.spawn(values_for(daemon, **given), "unit-daemon:p_unit", output)
        zoo._children.append(child)
        report = place / "unit.conf.report"
        eventually(report.exists)
        found: dict[str, object] = json.loads(report.read_text())
        assert child.pid == found["pid"]
        return found

    return spawn


SPAWN = """
import sys
from agentlib.daemon import Daemon
from agentlib.parameters import Values
daemon = Daemon(project="unit", binary=sys.argv[1], config="/etc/passwd", user="nobody")
daemon.spawn(Values(daemon.parameters, {}), "a:b", 1).wait()
"""


@ROOT_ONLY
def test_spawn_with_groups(place: Path) -> None:
    """The daemon has its user's supplementary groups, such as one that may read certificates."""
    groups = place / "group"
    groups.write_text(f"{Path('/etc/group').read_text()}unit-tls:x:4242:nobody\n")
    binary = place / "unit-daemon"
    binary.write_text("#!/bin/sh\nexec id -G\n")
    binary.chmod(0o755)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/group && exec "$@"',
         str(groups), sys.executable, "-c", SPAWN, str(binary)],
        cwd=ROOT, capture_output=True, text=True, check=False)
    expected = {pwd.getpwnam("nobody").pw_gid, 4242}
    assert expected == set(map(int, done.stdout.split())), done.stderr


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), NotInstalledError,
         "Permission denied"),
        (OSError(errno.ENOEXEC, "Exec format error"), NotInstalledError, "Exec format error"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), NotInstalledError,
         "No such file"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), AgentError,
         "Resource temporarily unavailable"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), AgentError, "Cannot allocate memory"),
    ],
    ids=["not allowed", "no program", "no interpreter", "too many processes", "no memory"],
)
def test_spawn_fails(
    daemon: Daemon, output: int, monkeypatch: pytest.MonkeyPatch, error: OSError,
    kind: type[AgentError], said: str,
) -> None:
    """A binary that cannot be run counts as missing on this node; a full process table does not."""
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", fail)
    values = values_for(daemon)
    with pytest.raises(AgentError, match=said) as caught:
        daemon.spawn(values, "unit-daemon:p_unit", output)
    assert kind.exit_code == caught.value.exit_code
    assert values.text("binary")[:40] in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"), [("#!/no/such/interpreter\n", "No such file"), ("\x7fELF", "Exec format")])
def test_spawn_what_cannot_run(
    daemon: Daemon, place: Path, output: int, content: str, said: str,
) -> None:
    """For a file that the kernel cannot run, the reason has the kernel's message."""
    (place / "unit-daemon").write_text(content)
    with pytest.raises(NotInstalledError, match=f"cannot run .*{said}"):
        daemon.spawn(values_for(daemon), "unit-daemon:p_unit", output)


def test_environment(spawned: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon gets nothing of the agent's environment and no secret, but the tag."""
    monkeypatch.setenv("OCF_RESKEY_os_password", "a-secret")
    monkeypatch.setenv("OCF_RESOURCE_INSTANCE", "p_unit")
    monkeypatch.setenv("PCMK_anything", "a-secret")
    monkeypatch.setenv("PYTHONPATH", "/a-secret")
    report = spawned()
    environ = dict(line.split("=", 1) for line in report["environ"])  # type: ignore[attr-defined]
    account = pwd.getpwnam("nobody")
    assert {"PATH", "LANG", "HOME", "USER", "LOGNAME", TAG} == set(environ)
    assert ("unit-daemon:p_unit", "nobody", account.pw_dir) == (
        environ[TAG], environ["USER"], environ["HOME"])
    assert "a-secret" not in json.dumps(report)


def test_output(spawned: Spawn, place: Path) -> None:
    """The daemon's output is appended to the log."""
    (place / "output.log").write_text("before\n")
    spawned()
    assert ["before", "said on stdout", "said on stderr"] == (
        (place / "output.log").read_text().splitlines())


AS_NOBODY = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from agentlib.daemon import Daemon
from agentlib.errors import AgentError
from agentlib.parameters import Values
daemon = Daemon(project="unit", binary="sh", config="/etc/passwd", user="daemon")
try:
    daemon.spawn(Values(daemon.parameters, {}), "a:b", 1)
except AgentError as error:
    print(int(error.exit_code), error)
"""


@ROOT_ONLY
def test_spawn_needs_root(place: Path) -> None:
    """Only root can run the daemon as another user, and the message says so."""
    (place / "agentlib").mkdir()
    for path in (ROOT / "agentlib").glob("*.py"):
        (place / "agentlib" / path.name).write_bytes(path.read_bytes())
    done = subprocess.run([PYTHON, "-c", AS_NOBODY], cwd=place, capture_output=True, text=True,
                          env={"PYTHONDONTWRITEBYTECODE": "1"}, check=False)
    assert "4 must be root to run as user daemon\n" == done.stdout, done.stderr
    assert 4 == PermissionDeniedError.exit_code


# --- the log ------------------------------------------------------------------------------------


@ROOT_ONLY
def test_open_log(daemon: Daemon, place: Path, store: Store, log: Log) -> None:
    """The log is in the service's own folder, and belongs to the daemon's user."""
    folder = place / "log"
    folder.mkdir()
    os.chown(folder, NOBODY, -1)
    output, path = daemon.open_log(values_for(daemon), "p_unit", store, log)
    os.close(output)
    status = os.stat(path)
    assert (str(folder / "p_unit.log"), NOBODY, 0o640) == (
        path, status.st_uid, stat.S_IMODE(status.st_mode))


@ROOT_ONLY
def test_open_log_leaves_no_trace_on_the_agent(
    daemon: Daemon, place: Path, store: Store, log: Log,
) -> None:
    """After it has opened the log as the user, the agent is root again, with its own umask."""
    umask = os.umask(0o077)
    os.umask(umask)
    before = (os.geteuid(), os.getegid(), os.getgroups(), umask)
    (place / "log").mkdir()
    os.close(daemon.open_log(values_for(daemon), "p_unit", store, log)[0])
    umask = os.umask(umask)
    assert before == (os.geteuid(), os.getegid(), os.getgroups(), umask)


def test_open_log_appends(daemon: Daemon, place: Path, store: Store, log: Log) -> None:
    """The content of the log is kept, and the descriptor blocks, as a daemon expects."""
    path = place / "own.log"
    path.write_text("before\n")
    path.chmod(0o666)
    output, name = daemon.open_log(values_for(daemon, log_file=str(path)), "p_unit", store, log)
    os.write(output, b"after\n")
    assert os.get_blocking(output)
    os.close(output)
    assert (str(path), "before\nafter\n") == (name, path.read_text())


def trap(kind: str, folder: Path) -> Path:
    """A log file that must not be opened."""
    folder.chmod(0o777)
    path, victim = folder / "trap.log", folder / "victim"
    victim.write_text("precious\n")
    if kind == "symlink":
        victim.chmod(0o666)
        path.symlink_to(victim)
    elif kind == "dangling symlink":
        path.symlink_to(folder / "fresh")
    elif kind == "fifo":
        os.mkfifo(path)
        path.chmod(0o666)
    elif kind == "folder":
        path.mkdir(mode=0o777)
    elif kind == "no folder":
        path = folder / "missing" / "x.log"
    elif kind == "root's file":
        path.write_text("precious\n")
        path.chmod(0o644)
    elif kind == "root's folder":
        folder.chmod(0o755)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "hard link to root's file":
        victim.chmod(0o600)
        os.link(victim, path)
    return path


TRAPS = ["symlink", "dangling symlink", "fifo", "folder", "no folder", "root's file",
         "root's folder", "device", "hard link to root's file"]


@ROOT_ONLY
@pytest.mark.parametrize("kind", TRAPS)
def test_given_log_file_cannot_be_opened(
    daemon: Daemon, place: Path, store: Store, log: Log, kind: str,
) -> None:
    """A log_file that the daemon's user may not write, or that is no file, is refused by name."""
    path = trap(kind, place)
    with pytest.raises(ArgumentError) as caught:
        daemon.open_log(values_for(daemon, log_file=str(path)), "p_unit", store, log)
    assert str(caught.value).startswith(f"log_file={str(path)[:40]}")
    assert "cannot be written: " in str(caught.value)
    assert "precious\n" == (place / "victim").read_text()
    assert not (place / "fresh").exists()
    assert 0 == os.geteuid()


@ROOT_ONLY
@pytest.mark.parametrize("kind", [kind for kind in TRAPS if kind not in ("no folder", "device")])
def test_default_log_file_cannot_be_opened(
    daemon: Daemon, place: Path, store: Store, log: Log, logged: Callable[[], str], kind: str,
) -> None:
    """Where the default log cannot be written, the bounded log is used, with a warning."""
    folder = place / "log"
    folder.mkdir()
    path = trap(kind, folder)
    if kind != "root's folder":
        path.rename(folder / "p_unit.log")
    output, name = daemon.open_log(values_for(daemon), "p_unit", store, log)
    os.write(output, b"a word\n")
    os.close(output)
    assert (store.log, "a word\n") == (name, Path(store.log).read_text())
    assert "WARNING: log_file=" in logged()
    assert f"using {store.log}" in logged()
    assert "precious\n" == (folder / "victim").read_text()


@ROOT_ONLY
def test_output_to_nowhere(daemon: Daemon, place: Path, store: Store, log: Log) -> None:
    """/dev/null may be given as the log_file: the daemon's output is thrown away."""
    values = values_for(daemon, log_file="/dev/null")
    output, name = daemon.open_log(values, "p_unit", store, log)
    os.write(output, b"a word\n")
    os.close(output)
    assert "/dev/null" == name
    assert Path(name).is_char_device()


def test_no_log_at_all(
    daemon: Daemon, store: Store, log: Log, logged: Callable[[], str], tmp_path: Path,
) -> None:
    """Where no log can be written the daemon starts all the same, with a warning."""
    Path(store.log).parent.write_text("a file in the folder's place")
    output, name = daemon.open_log(values_for(daemon), "p_unit", store, log)
    os.close(output)
    assert "/dev/null" == name
    assert "using /dev/null" in logged()


def test_no_log_folder(
    daemon: Daemon, store: Store, log: Log, logged: Callable[[], str],
) -> None:
    """A service without a log folder has the bounded log."""
    output, name = daemon.open_log(values_for(daemon), "p_unit", store, log)
    os.close(output)
    assert store.log == name
    assert "No such file or directory" in logged()


def test_python_is_there() -> None:
    """The interpreter of these tests can be run by every user."""
    subprocess.run([PYTHON, "-ESs", "-c", ""], check=True, cwd="/", user=NOBODY, extra_groups=[])
