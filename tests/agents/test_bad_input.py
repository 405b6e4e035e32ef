"""Bad input: every parameter wrong in every way.

The codes follow one rule: a value that is wrong on every node is 6, a file or user that another
node may have is 2 or 5, and parameters of the monitor must not stop a healthy service: 190.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import defaults, expect
from lookalike.service import MakeService, Service

pytestmark = pytest.mark.shared

SECRET = "s3kr1t-pa55"

# used by the monitor alone: while the service runs, wrong values give nothing worse than 190
MONITOR_ONLY = {
    "os_username", "os_password", "os_project_name", "os_tenant_name", "os_auth_url",
    "keystone_get_token_url", "os_user_domain_name", "os_project_domain_name", "os_region_name",
    "os_cacert", "os_insecure", "keystone_failure", "url", "shutdown_timeout", "client_binary",
}  # fmt: skip


@dataclass
class Bad:
    """Bad parameters, the code of start and validate-all, and what the reason must contain.

    credentials: whether a monitor's credentials are given as well. {folder} in a value means
    the service's folder. None takes a parameter away.
    """

    name: str
    parameters: dict[str, str | None]
    code: int
    words: tuple[str, ...]
    credentials: bool = False

    def given(self, service: Service) -> dict[str, str | None]:
        return {
            name: value and value.replace("{folder}", str(service.folder))
            for name, value in self.parameters.items()
        }

    @property
    def running(self) -> int:
        """The code of a recurring monitor."""
        return 190 if self.code == 6 and set(self.parameters) & CHECKED else 0


# used by the recurring monitor itself
CHECKED = MONITOR_ONLY - {"shutdown_timeout", "client_binary"}

FULL = {
    "os_username": "monitor",
    "os_password": SECRET,
    "os_project_name": "service",
    "os_auth_url": "http://127.0.0.1:5000",
}


def without(name: str) -> dict[str, str | None]:
    return {**FULL, name: None}


def path(name: str) -> list[Bad]:
    """Wrong values of a parameter that is a path."""
    return [
        Bad(f"{name}-relative", {name: "here/it.is"}, 6, (name, "absolute path")),
        Bad(f"{name}-bell", {name: "/tmp/\a"}, 6, (name,)),
        Bad(f"{name}-newline", {name: "/tmp/a\nocf-exit-reason:b"}, 6, (name,)),
        Bad(f"{name}-escape", {name: "\x1b[2J"}, 6, (name,)),
        Bad(f"{name}-not-utf-8", {name: "/tmp/\udcff"}, 6, (name,)),
    ]


def url(name: str) -> list[Bad]:
    """Wrong values of a parameter that is a URL."""
    bad = {
        "word": "nonsense",
        "ftp": "ftp://127.0.0.1/",
        "file": "file:///etc/passwd",
        "no-host": "http://",
        "slashes": "http:/127.0.0.1",
        "port": "http://127.0.0.1:port/",
        "port-0": "http://127.0.0.1:0/",
        "port-huge": "http://127.0.0.1:99999/",
        "blank": "http://127.0.0.1/ x",
        "newline": "http://127.0.0.1/\r\nX-Evil: 1",
        "bracket": "http://[::1/",
        "non-ascii": "http://127.0.0.1/\u00e4",
        "bell": "http://127.0.0.1/\a",
        "not-utf-8": "http://127.0.0.1/\udcff",
    }
    password = f"http://monitor:{SECRET}@127.0.0.1:5000/"
    return [
        *(Bad(f"{name}-{kind}", {**FULL, name: value}, 6, (name,)) for kind, value in bad.items()),
        Bad(f"{name}-password", {**FULL, name: password}, 6, (name, "take it out")),
        Bad(f"{name}-user", {**FULL, name: "http://me@127.0.0.1/"}, 6, (name, "take it out")),
    ]


BAD = [
    *path("config"),
    *path("pid"),
    *path("log_file"),
    *path("os_cacert"),
    *url("url"),
    *url("os_auth_url"),
    Bad("binary-relative", {"binary": "bin/x"}, 6, ("binary", "absolute path")),
    Bad("binary-bell", {"binary": "glance\a"}, 6, ("binary",)),
    Bad("binary-not-utf-8", {"binary": "\udcff"}, 6, ("binary",)),
    Bad("binary-option", {"binary": "-x"}, 6, ("binary",)),
    Bad("binary-missing", {"binary": "/nowhere/x"}, 5, ("binary=/nowhere/x", "installed")),
    Bad("binary-unknown", {"binary": "no-such-daemon"}, 5, ("binary=no-such-daemon",)),
    Bad("binary-folder", {"binary": "{folder}"}, 5, ("binary",)),
    Bad("binary-no-program", {"binary": "/etc/passwd"}, 5, ("binary=/etc/passwd", "executable")),
    Bad("binary-arguments", {"binary": "/bin/sh -c id"}, 5, ("binary",)),
    Bad("binary-long", {"binary": "/" + "x" * 5000}, 5, ("binary",)),
    Bad("config-missing", {"config": "/nowhere/x"}, 5, ("config=/nowhere/x", "does not exist")),
    Bad("config-folder", {"config": "{folder}"}, 2, ("config", "not a file")),
    Bad("config-long", {"config": "/" + "x" * 5000}, 5, ("config",)),
    Bad("user-missing", {"user": "no-such-user"}, 5, ("user=no-such-user", "does not exist")),
    Bad("user-number", {"user": "4294967296"}, 5, ("user",)),
    Bad("user-long", {"user": "x" * 5000}, 5, ("user=xxx", "does not exist")),
    Bad("user-bell", {"user": "no\abody"}, 6, ("user",)),
    Bad("user-not-utf-8", {"user": "\udcff"}, 6, ("user",)),
    Bad("user-option", {"user": "-x"}, 6, ("user",)),
    Bad("user-non-ascii", {"user": "n\u00f6body"}, 5, ("user",)),
    Bad("pid-folder-missing", {"pid": "/nowhere/x.pid"}, 2, ("pid", "/nowhere")),
    Bad("pid-is-folder", {"pid": "{folder}"}, 2, ("pid", "folder")),
    Bad("log-folder-missing", {"log_file": "/nowhere/x.log"}, 2, ("log_file", "/nowhere")),
    Bad("log-is-folder", {"log_file": "{folder}"}, 2, ("log_file", "folder")),
    Bad("log-forbidden", {"log_file": "{folder}/x.log"}, 2, ("log_file", "cannot be written")),
    Bad("log-device", {"log_file": "/dev/zero"}, 2, ("log_file",)),
    Bad("pid-device", {"pid": "/dev/null"}, 2, ("pid=/dev/null", "not a regular file")),
    Bad("pid-is-config", {"pid": "{folder}/etc/daemon.conf"}, 2, ("pid=", "something else")),
    Bad("arguments-quote", {"additional_parameters": "--a 'b"}, 6, ("additional_parameters",)),
    Bad("arguments-escape", {"additional_parameters": "--a \\"}, 6, ("additional_parameters",)),
    Bad("arguments-nul", {"additional_parameters": "--a \\0 '"}, 6, ("additional_parameters",)),
    Bad("shutdown-word", {"shutdown_timeout": "soon"}, 6, ("shutdown_timeout", "time")),
    Bad("shutdown-zero", {"shutdown_timeout": "0"}, 6, ("shutdown_timeout",)),
    Bad("shutdown-negative", {"shutdown_timeout": "-1"}, 6, ("shutdown_timeout",)),
    Bad("shutdown-fraction", {"shutdown_timeout": "1.5"}, 6, ("shutdown_timeout",)),
    Bad("shutdown-unit", {"shutdown_timeout": "5 days"}, 6, ("shutdown_timeout",)),
    Bad("shutdown-huge", {"shutdown_timeout": "9" * 5000}, 6, ("shutdown_timeout",)),
    Bad("shutdown-digits", {"shutdown_timeout": "\u0663"}, 6, ("shutdown_timeout",)),
    Bad("insecure", {"os_insecure": "maybe"}, 6, ("os_insecure=maybe", "true or false")),
    Bad("failure", {"keystone_failure": "panic"}, 6, ("keystone_failure=panic", "degraded")),
    Bad("failure-case", {"keystone_failure": "Degraded"}, 6, ("keystone_failure",)),
    Bad("failure-bell", {"keystone_failure": "\a\n"}, 6, ("keystone_failure",)),
    Bad("cacert-missing", {"os_cacert": "/nowhere/ca"}, 5, ("os_cacert=/nowhere/ca",)),
    Bad("no-username", without("os_username"), 6, ("os_username missing",)),
    Bad("no-password", without("os_password"), 6, ("os_password missing",)),
    Bad("no-project", without("os_project_name"), 6, ("os_project_name missing",)),
    Bad("username-alone", {"os_username": "monitor"}, 6, ("os_password", "missing")),
    Bad("password-alone", {"os_password": SECRET}, 6, ("os_username", "missing")),
    Bad("auth-url-alone", {"os_auth_url": FULL["os_auth_url"]}, 6, ("os_username", "missing")),
    Bad("password-empty", {**FULL, "os_password": ""}, 6, ("os_password missing",)),
    Bad("projects", {**FULL, "os_tenant_name": "admin"}, 6, ("os_tenant_name", "differ")),
    Bad(
        "keystones", {**FULL, "keystone_get_token_url": "http://127.0.0.2:5000/v2.0/tokens"}, 6,
        ("os_auth_url", "keystone_get_token_url", "different"),
    ),
]  # fmt: skip

bad = pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)


@bad
def test_refused(service: Service, case: Bad) -> None:
    """start and validate-all name the parameter, and run nothing; stop is 0 all the same."""
    given = case.given(service)
    for action in ("start", "validate-all"):
        if case.name == "log-forbidden" and action == "validate-all":
            continue  # only start opens it
        result = expect(service.call(action, parameters=given), case.code, *case.words)
        assert SECRET not in result.stdout + result.stderr
    if case.code == 6:
        expect(service.call("validate-all", level=0, parameters=given), 6, *case.words)
    assert not service.pids()
    expect(service.stop(parameters=given), 0)
    if service.log.exists():
        assert SECRET not in service.log.read_text(encoding="utf-8")


def test_running_goes_on(service: Service) -> None:
    """A running service is left alone, whatever its parameters have become; the monitor says so.

    A 6 would stop it on all nodes, and a 5 move it away, for a typing mistake.
    """
    expect(service.start(), 0)
    before = service.master()
    wrong = []
    for case in BAD:
        given = case.given(service)
        for action, options, code in (
            ("monitor", {"interval": 30}, case.running),
            ("monitor", {"interval": 30, "level": 0}, 0),
            ("monitor", {}, 0),
        ):
            result = service.call(action, parameters=given, **options)
            try:
                expect(result, code, *(case.words[:1] if code == 190 else ()))
                assert SECRET not in result.stderr
            except AssertionError as error:
                wrong.append(f"{case.name}, {options}: {str(error).splitlines()[0]}")
    assert [] == wrong
    assert before == service.master()


def test_running_reloads(service: Service) -> None:
    """reload-agent is 0 even for wrong parameters, and logs them: any other code ends the service.

    (Pacemaker records the result as that of a start. The monitor that follows is 190.)
    """
    expect(service.start(), 0)
    before = service.master()
    for case in BAD:
        if set(case.parameters) <= MONITOR_ONLY and case.code == 6:
            service.log.unlink(missing_ok=True)
            expect(service.call("reload-agent", parameters=case.given(service)), 0)
            log = service.log.read_text(encoding="utf-8")
            assert "WARNING" in log and case.words[0] in log, case.name
            assert SECRET not in log
    assert before == service.master()


@pytest.mark.parametrize("kind", ["pid-kept", "pid-changed"])
def test_stops_whatever_the_parameters(service: Service, kind: str) -> None:
    """stop ends a running daemon though every parameter has become nonsense."""
    expect(service.start(), 0)
    pid = service.pidfile
    nonsense = dict.fromkeys(defaults(service.agent), "\x07 nonsense")
    if kind == "pid-kept":
        nonsense["pid"] = str(pid)
    expect(service.stop(parameters=nonsense), 0)
    assert not service.pids()


def test_missing_auth_url(make_service: MakeService) -> None:
    """Credentials without Keystone's URL are incomplete, unless the URL has a default."""
    service = make_service()
    code = 0 if defaults(service.agent)["keystone_get_token_url"] else 6
    result = service.call("validate-all", parameters=without("os_auth_url"))
    expect(result, code, *(["os_auth_url missing"] if code else []))


def test_cacert_lost_while_running(make_service: MakeService, certificate: Path) -> None:
    """A CA file that is gone is a fault of the monitor, not of the service: degraded."""
    service = make_service(credentials=True, tls=certificate)
    service.parameters["url"] = f"https://localhost:{service.config.port}"
    service.parameters["os_cacert"] = certificate
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    expect(service.monitor(parameters={"os_cacert": "/nowhere/ca"}), 190, "os_cacert")


def test_empty_is_default(service: Service) -> None:
    """An empty parameter counts as not given."""
    empty = {name: "" for name in defaults(service.agent) if name not in service.parameters}
    expect(service.start(parameters=empty), 0)
    expect(service.monitor(parameters=empty), 0)
    expect(service.stop(parameters=empty), 0)


def test_unknown_parameters(service: Service) -> None:
    """Unknown parameters are ignored."""
    strange = {"": "x", "crm_feature_set": "x", "nonsense": "\a", "OS_PASSWORD": "x"}
    expect(service.start(parameters=strange), 0)
    expect(service.monitor(parameters=strange), 0)
