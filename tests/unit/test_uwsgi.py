"""uWSGI: its command line, its address, and contradictions in its ini file."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import program, uwsgi
from agentlib.daemon import Daemon
from agentlib.errors import ArgumentError, ConfigurationError, NotInstalledError
from agentlib.parameters import Values
from agentlib.uwsgi import FORBIDDEN, INSISTED, SOCKETS, SOUND, Uwsgi

LISTEN = ("bind_host", "bind_port")
PORT = 8776


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found; uwsgi_python3 is in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(program, "PATH", str(folder))
    executable(folder / "uwsgi_python3")
    return folder


@pytest.fixture
def app() -> Uwsgi:
    """An application that looks for its configuration in its arguments, as Cinder."""
    return Uwsgi(script="unit-wsgi", module="unit.wsgi:application", listen=LISTEN)


@pytest.fixture
def finder() -> Uwsgi:
    """An application that looks for its configuration in a folder, as Glance."""
    return Uwsgi(script="unit-wsgi", module="unit.wsgi:application", listen=LISTEN,
                 config_dir_variable="OS_UNIT_CONFIG_DIR", config_name="unit.conf")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "unit.conf"
    path.write_text("[DEFAULT]\n")
    return path


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    path.chmod(0o755)
    return path


def values_for(app: Uwsgi, **values: object) -> Values:
    daemon = Daemon(project="unit", binary="unit-api", user="nobody", uwsgi=app)
    return Values(daemon.parameters, {
        "server": "uwsgi", **{name: str(value) for name, value in values.items()}})


def command_of(app: Uwsgi, values: Values, *further: str) -> list[str]:
    """The command line of a daemon with one configuration file."""
    return app.command(values, [values.text("config")], further, PORT)


def ini_at(folder: Path, text: str) -> Path:
    path = folder / "uwsgi.ini"
    path.write_text(text)
    return path


def option(command: list[str], name: str) -> list[str]:
    """The values that an option has in a command line."""
    return [word.partition("=")[2] for word in command if word.partition("=")[0] == f"--{name}"]


# --- the command line ---------------------------------------------------------------------------


def test_command(app: Uwsgi, bin_folder: Path, config: Path) -> None:
    """Without an ini file: sound defaults, options that are insisted on, address, application."""
    command = command_of(app, values_for(app, config=config), "--further", "x y")
    assert str(bin_folder / "uwsgi_python3") == command[0]
    assert ["--further", "x y"] == command[-2:]
    assert {"--master", "--no-orphans", "--die-on-term", "--need-app"} <= set(command)
    assert "--set=exit-on-reload=false" in command
    assert not any(word.startswith("--exit-on-reload") for word in command)
    assert [":8776"] == option(command, "http-socket")
    assert [f"--config-file {config}"] == option(command, "pyargv")
    assert ["unit.wsgi:application"] == option(command, "module")
    assert all(any(word.startswith(f"--{name}") for word in command) for name in SOUND)
    assert not option(command, "ini")
    assert 1 <= int(option(command, "processes")[0]) <= uwsgi.PROCESSES
    assert [str(uwsgi.THREADS)] == option(command, "threads")


def test_command_lets_requests_finish(app: Uwsgi, bin_folder: Path, config: Path) -> None:
    """TERM ends uWSGI gracefully, with an ini file and without."""
    for more in ({}, {"uwsgi_ini": ini_at(config.parent, "[uwsgi]\n")}):
        command = command_of(app, values_for(app, config=config, **more))
        assert ["unix_signal:15 gracefully_kill_them_all"] == option(command, "hook-master-start")


def test_command_with_ini(app: Uwsgi, bin_folder: Path, config: Path) -> None:
    """An ini file comes first; only options that are insisted on, or not in it, follow."""
    ini = ini_at(config.parent, "[uwsgi]\nprocesses = 5\n")
    command = command_of(app, values_for(app, config=config, uwsgi_ini=ini))
    assert f"--ini={ini}" == command[1]
    assert not any(word.partition("=")[0] in {f"--{name}" for name in SOUND} for word in command)
    assert [] == option(command, "processes") == option(command, "threads")
    assert {"--master", "--set=exit-on-reload=false"} <= set(command)
    assert [":8776"] == option(command, "http-socket")
    assert ["unit.wsgi:application"] == option(command, "module")


@pytest.mark.parametrize("ini", [None, "[uwsgi]\nprocesses = 5\nthreads = 6\n"])
def test_numbers(app: Uwsgi, bin_folder: Path, config: Path, ini: str | None) -> None:
    """The parameters processes and threads count, whatever the ini file says."""
    more: dict[str, object] = {"uwsgi_ini": ini_at(config.parent, ini)} if ini else {}
    command = command_of(app, values_for(app, config=config, processes=3, threads=70, **more))
    assert ["3"] == option(command, "processes")
    assert ["70"] == option(command, "threads")


@pytest.mark.parametrize("name", SOCKETS)
def test_socket_of_ini(app: Uwsgi, bin_folder: Path, config: Path, name: str) -> None:
    """If the ini file names a socket, the agent names no other."""
    ini = ini_at(config.parent, f"[uwsgi]\n{name} = :1234\n")
    command = command_of(app, values_for(app, config=config, uwsgi_ini=ini))
    assert [] == option(command, "http-socket")


@pytest.mark.parametrize("name", uwsgi.APPLICATIONS)
def test_application_of_ini(app: Uwsgi, bin_folder: Path, config: Path, name: str) -> None:
    """If the ini file names an application, the agent names no other."""
    ini = ini_at(config.parent, f"[uwsgi]\n{name} = x\n")
    command = command_of(app, values_for(app, config=config, uwsgi_ini=ini))
    assert [] == option(command, "module") == option(command, "wsgi-file")


def test_configuration_by_folder(finder: Uwsgi, bin_folder: Path, config: Path) -> None:
    """An application that finds its configuration by a folder gets that, and no arguments."""
    values = values_for(finder, config=config)
    assert [] == option(command_of(finder, values), "pyargv")
    assert {"OS_UNIT_CONFIG_DIR": str(config.parent)} == finder.environment(values, [str(config)])


def test_configuration_by_argument(app: Uwsgi, config: Path) -> None:
    """An application that reads its arguments gets no environment variable."""
    assert {} == app.environment(values_for(app, config=config), [str(config)])


def test_continued_option(app: Uwsgi, bin_folder: Path, config: Path) -> None:
    """In the service's configuration an indented line continues the value above it."""
    config.write_text("[DEFAULT]\ntransport_url = a,\n  bind_port = 1\n")
    command = command_of(app, values_for(app, config=config))
    assert [":8776"] == option(command, "http-socket")


# --- which application, which uWSGI -------------------------------------------------------------


def test_script_before_module(app: Uwsgi, bin_folder: Path, config: Path) -> None:
    """If there is the script of an older release, that is served."""
    script = executable(bin_folder / "unit-wsgi")
    command = command_of(app, values_for(app, config=config))
    assert [str(script)] == option(command, "wsgi-file")
    assert [] == option(command, "module")


@pytest.mark.parametrize("home", ["--virtualenv", "--venv", "--home", "--pyhome", "-H"])
@pytest.mark.parametrize("form", ["{}={}", "{} {}"])
@pytest.mark.parametrize("has_script", [True, False])
def test_virtual_environment(
    app: Uwsgi, bin_folder: Path, config: Path, home: str, form: str, has_script: bool
) -> None:
    """In a virtual environment its own script counts, never the system's."""
    executable(bin_folder / "unit-wsgi")
    venv = config.parent / "venv"
    script = venv / "bin" / "unit-wsgi"
    if has_script:
        executable(script)
    command = command_of(app, values_for(app, config=config), *form.format(home, venv).split())
    assert ([str(script)] if has_script else []) == option(command, "wsgi-file")
    assert ([] if has_script else ["unit.wsgi:application"]) == option(command, "module")


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["uwsgi"], "uwsgi"),
        (["uwsgi", "uwsgi_python311"], "uwsgi_python311"),
        (["uwsgi_python39", "uwsgi_python313"], "uwsgi_python313"),
        (["uwsgi", "uwsgi_python3", "uwsgi_python311"], "uwsgi_python3"),
    ],
)
def test_executable(app: Uwsgi, bin_folder: Path, there: list[str], found: str) -> None:
    """The system's uWSGI is found, a binary that embeds Python before one that needs plugins."""
    (bin_folder / "uwsgi_python3").unlink()
    for name in there:
        executable(bin_folder / name)
    assert str(bin_folder / found) == app.executable(values_for(app))


def test_executable_missing(app: Uwsgi, bin_folder: Path) -> None:
    """Without uWSGI the reason names the package; a file that cannot be run does not count."""
    (bin_folder / "uwsgi_python3").chmod(0o644)
    (bin_folder / "uwsgi").mkdir()
    with pytest.raises(NotInstalledError, match="uwsgi-plugin-python3"):
        app.executable(values_for(app))


def test_executable_named(app: Uwsgi, bin_folder: Path, tmp_path: Path) -> None:
    """binary names the uWSGI, by a name or a path, and nothing else is taken."""
    own = executable(tmp_path / "venv/bin/uwsgi")
    named = executable(bin_folder / "uwsgi_custom")
    assert str(own) == app.executable(values_for(app, binary=own))
    assert str(named) == app.executable(values_for(app, binary="uwsgi_custom"))
    with pytest.raises(NotInstalledError, match="^binary=/no/uwsgi"):
        app.executable(values_for(app, binary="/no/uwsgi"))


# --- where it listens ---------------------------------------------------------------------------

WHERE = [
    pytest.param({}, "", ":8776", id="nothing"),
    pytest.param({"bind_host": "10.0.0.11"}, "", "10.0.0.11:8776", id="host"),
    pytest.param({"bind_port": "99"}, "", ":99", id="port"),
    pytest.param({"bind_host": "10.0.0.11", "bind_port": "99"}, "", "10.0.0.11:99", id="both"),
    pytest.param({"bind_host": "vip.example.org"}, "", "vip.example.org:8776", id="name"),
    pytest.param({"bind_host": "::1"}, "", "[::1]:8776", id="ipv6"),
    pytest.param({"bind_host": "::"}, "", "[::]:8776", id="ipv6-all"),
    pytest.param({"bind_host": "$my_ip", "my_ip": "10.0.0.5"}, "", "10.0.0.5:8776", id="my-ip"),
    pytest.param({"bind_host": "${my_ip}", "my_ip": "fd00::5"}, "", "[fd00::5]:8776", id="braces"),
    pytest.param({}, "10.0.0.1:5", "10.0.0.1:5", id="bind"),
    pytest.param({}, ":5", ":5", id="bind-port"),
    pytest.param({}, "[::1]:5", "[::1]:5", id="bind-ipv6"),
    pytest.param({"bind_host": "10.0.0.11"}, "10.0.0.1:5", "10.0.0.11:5", id="host-and-bind"),
    pytest.param({"bind_port": "99"}, "10.0.0.1:5", "10.0.0.1:99", id="port-and-bind"),
    pytest.param({"bind_host": "h", "bind_port": "9"}, "10.0.0.1:5", "h:9", id="both-and-bind"),
    pytest.param({"bind_host": "", "bind_port": ""}, "", ":8776", id="empty"),
    pytest.param({"Bind_Host": "h"}, "", "h:8776", id="upper-case"),
]


@pytest.mark.parametrize(("options", "bind", "expected"), WHERE)
def test_where(
    app: Uwsgi, bin_folder: Path, config: Path, options: dict[str, str], bind: str, expected: str
) -> None:
    """The configuration's address and port count; the parameter bind gives those not in it."""
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    config.write_text(f"[DEFAULT]\n{lines}[database]\nbind_port = 1\n")
    values = values_for(app, config=config, **({"bind": bind} if bind else {}))
    assert [expected] == option(command_of(app, values), "http-socket")
    app.validate_host(values, PORT)


NOWHERE = [
    pytest.param("bind_port = many", "^bind_port=many in config", id="port"),
    pytest.param("bind_port = 0", "^bind_port=0 in config", id="zero"),
    pytest.param("bind_port = 65536", "^bind_port=65536 in config", id="too-high"),
    pytest.param("bind_port = -1", "^bind_port=-1 in config", id="negative"),
    pytest.param("bind_port = \u0663", "^bind_port=.* in config", id="foreign-digits"),
    pytest.param("bind_host = $my_ip", r"^bind_host=\$my_ip in config", id="dangling"),
    pytest.param("bind_host = a b", "^bind_host=a b in config", id="blank"),
    pytest.param("bind_host = a,b", "^bind_host=a,b in config", id="list"),
    pytest.param("bind_host = $a\na = $b\nb = 1", r"^bind_host=\$b in config", id="chain"),
]


@pytest.mark.parametrize(("text", "reason"), NOWHERE)
def test_nowhere(app: Uwsgi, config: Path, text: str, reason: str) -> None:
    """Nonsense in the configuration is refused on this node, with the option's name."""
    config.write_text(f"[DEFAULT]\n{text}\n")
    with pytest.raises(ArgumentError, match=reason):
        app.validate_host(values_for(app, config=config), PORT)


@pytest.mark.parametrize(
    "bind", ["9292", "10.0.0.1", "10.0.0.1:", "h:0", "h:65536", "h:http", "::1:80x", "a b:80",
             "::1:80", "[::1]80", "http://h:80", "h:80,i:81", "h:+80", "\u00e4:80", "h\n:80",
             "[:80", "$HOME:80", "/run/x.sock"],
)
def test_bad_bind(app: Uwsgi, bind: str) -> None:
    """A bind that is not ADDRESS:PORT is refused on every node."""
    with pytest.raises(ConfigurationError, match="^bind="):
        app.validate(values_for(app, bind=bind))


@given(text=st.text(max_size=30) | st.text(alphabet="0123456789.:[]h%$ ", max_size=30))
def test_any_bind(text: str) -> None:
    """Every text is an address and a port, or refused; no other error is raised."""
    try:
        host, port = uwsgi._address("bind", text)
    except ConfigurationError as error:
        assert str(error).startswith("bind=")
    else:
        assert not text or 0 < int(port) < 65536
        assert not set(host) - set(string.ascii_letters + string.digits + ".:-_%")


# --- what the ini file says ---------------------------------------------------------------------

@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden(app: Uwsgi, config: Path, name: str) -> None:
    """Settings by which another process would serve are refused, by name."""
    ini = ini_at(config.parent, f"[uwsgi]\n{name} = /x\n")
    with pytest.raises(ArgumentError, match=f"take {name} out of it"):
        app.validate_host(values_for(app, config=config, uwsgi_ini=ini), PORT)


def test_ini_missing(app: Uwsgi, config: Path) -> None:
    """An ini file that does not exist, or is a folder, counts as missing on this node."""
    for path in ("/no/x.ini", "/etc"):
        with pytest.raises(NotInstalledError, match=f"^uwsgi_ini={path} "):
            app.validate_host(values_for(app, config=config, uwsgi_ini=path), PORT)


@pytest.mark.parametrize("name", SOCKETS)
def test_bind_and_socket(app: Uwsgi, config: Path, name: str) -> None:
    """bind beside a socket of the ini file is refused: one of them would not count."""
    ini = ini_at(config.parent, f"[uwsgi]\n{name} = :1\n")
    with pytest.raises(ArgumentError, match=f"^bind, and {name} in uwsgi_ini"):
        app.validate_host(values_for(app, config=config, uwsgi_ini=ini, bind=":2"), PORT)


CONTRADICTIONS = [
    pytest.param(name, text, remarked, id=f"{name}={text}")
    for name, value in INSISTED.items()
    for text, remarked in [
        ("true", not value), ("1", not value), ("", not value),
        ("false", value), ("0", value), ("no", value), ("off", value), ("False ", value),
    ]
]


@pytest.mark.parametrize(("name", "text", "remarked"), CONTRADICTIONS)
def test_contradictions(
    app: Uwsgi, config: Path, name: str, text: str, remarked: bool
) -> None:
    """An option that contradicts those that are insisted on gets a remark, and no other does."""
    ini = ini_at(config.parent, f"[uwsgi]\n{name} = {text}\n")
    remarks = list(app.remarks(values_for(app, config=config, uwsgi_ini=ini), PORT))
    assert bool(remarked) == bool(remarks)
    assert all(f"uwsgi_ini: {name}=" in remark for remark in remarks)
    app.validate_host(values_for(app, config=config, uwsgi_ini=ini), PORT)


def test_remarks(app: Uwsgi, config: Path) -> None:
    """A pidfile of uWSGI's, and a bind that does not count, get a remark; nothing else does."""
    assert [] == list(app.remarks(values_for(app, config=config, bind=":5"), PORT))
    ini = ini_at(config.parent, "[uwsgi]\npidfile = /x\npidfile2 = /y\nsafe-pidfile = /z\n")
    remarks = list(app.remarks(values_for(app, config=config, uwsgi_ini=ini), PORT))
    assert ["pidfile", "pidfile2", "safe-pidfile"] == [r.split()[1] for r in remarks]
    config.write_text("[DEFAULT]\nbind_host = 10.0.0.1\n")
    (remark,) = app.remarks(values_for(app, config=config, bind="10.0.0.2:5"), PORT)
    assert "bind=10.0.0.2:5 does not count" in remark


# --- the parameters alone -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("binary", "/bin/true"), ("binary", "unit-api"), ("binary", "/usr/lib/uwsgi/python"),
        ("uwsgi_ini", "x.ini"), ("uwsgi_ini", "/x\n"), ("processes", "0"), ("processes", "-1"),
        ("processes", "all"), ("threads", "1.5"), ("threads", "9" * 10), ("bind", "x"),
        ("config", "/etc/a b"),
    ],
)
def test_wrong_everywhere(app: Uwsgi, name: str, value: str) -> None:
    """A value that no node could use is refused, with the parameter's name."""
    with pytest.raises(ConfigurationError, match=f"^{name}"):
        app.validate(values_for(app, **{name: value}))


def test_right(app: Uwsgi, finder: Uwsgi) -> None:
    """The defaults, and every parameter with a good value, are accepted."""
    for one in (app, finder):
        one.validate(values_for(one))
        one.validate(values_for(
            one, binary="/opt/uwsgi_python3.12", uwsgi_ini="/x.ini", processes=1, threads=1,
            bind="[::1]:1", config="/x/unit.conf"))


def test_config_name(app: Uwsgi, finder: Uwsgi) -> None:
    """An application that gets a folder accepts one file name only; blanks in it do no harm."""
    finder.validate(values_for(finder, config="/a b/unit.conf"))
    with pytest.raises(ConfigurationError, match="has to be unit.conf"):
        finder.validate(values_for(finder, config="/etc/other.conf"))
    app.validate(values_for(app, config="/etc/other.conf"))


# --- an instance's process ----------------------------------------------------------------------

CONFIG, INI = "/etc/unit/unit.conf", "/etc/unit/uwsgi.ini"
RESEMBLANCE: list[Any] = [
    pytest.param(["/usr/bin/uwsgi_python3", f"--ini={INI}"], True, id="ours"),
    pytest.param(["uwsgi", "--ini", INI, "--http-socket", ":1"], True, id="init-script"),
    pytest.param(["/usr/bin/uwsgi-core", "--pyargv", f"--config-file {CONFIG}"], True, id="pyargv"),
    pytest.param(["/usr/bin/uwsgi_python3", "--ini=/etc/unit/other.ini"], False, id="other-ini"),
    pytest.param(["/usr/bin/python3", "unit-api", f"--config-file={CONFIG}"], False, id="daemon"),
    pytest.param(["/bin/sleep", INI], False, id="no-uwsgi"),
    pytest.param(["/bin/cat", "a", "b", "c", "/etc/uwsgi.log", INI], False, id="uwsgi-far-behind"),
    pytest.param(["vi", INI], False, id="editor"),
    pytest.param(["uwsgi", f"--ini={INI}.bak"], False, id="longer-name"),
    pytest.param(["uwsgi", "--ini", f"/srv{INI}"], False, id="other-root"),
    pytest.param(["uwsgi", f"--pyargv=--config-file={CONFIG}"], True, id="pyargv-with-equals"),
    pytest.param([""], False, id="nothing"),
]


@pytest.mark.parametrize(("arguments", "same"), RESEMBLANCE)
def test_resembles(app: Uwsgi, arguments: list[str], same: bool) -> None:
    """A uWSGI with this instance's ini file or configuration is recognised, no other process is."""
    assert same == app.resembles(arguments, values_for(app, uwsgi_ini=INI))


@pytest.mark.parametrize("server", ["standalone", "uwsgi"])
def test_advice(app: Uwsgi, server: str) -> None:
    """Last words that say there is no standalone server get an advice, unless uWSGI is used."""
    daemon = Daemon(project="unit", binary="unit-api", uwsgi=app)
    values = Values(daemon.parameters, {"server": server})
    for words in ("Standalone unit-api is no longer supported", "STANDALONE is No Longer here"):
        assert ("server=uwsgi" in daemon.advice(values, words)) == (server == "standalone")
    for words in ("", "no such table", "no longer supported", "standalone"):
        assert "" == daemon.advice(values, words)


def test_advice_without_application() -> None:
    """Where there is no application to serve, there is no advice."""
    daemon = Daemon(project="unit", binary="unit-api")
    values = Values(daemon.parameters, {})
    assert "" == daemon.advice(values, "Standalone unit-api is no longer supported")


@given(value=st.booleans() | st.integers() | st.text(max_size=20))
def test_option(value: object) -> None:
    """A setting is one word that begins with the option."""
    word = uwsgi._option("name", value)
    assert word.startswith("--name") or word == "--set=name=false"


def test_programs_are_newest_first() -> None:
    """Of several Pythons the newest is tried first; plain uwsgi, which needs a plugin, last."""
    assert ("uwsgi_python3", "uwsgi_python319") == uwsgi.PROGRAMS[:2]
    assert ("uwsgi_python39", "uwsgi") == uwsgi.PROGRAMS[-2:]
    assert os.path.basename(uwsgi.PROGRAMS[0]) == "uwsgi_python3"
