"""The contract of an agent's actions with Pacemaker, crmsh, pcs and ocf-tester."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import INTERPRETERS, Resource, defaults, expect, installed
from lookalike.managed import USER
from lookalike.service import MakeService, Service
from looks import masters

Need = Callable[[str, str], str]


GUIDE = (
    "binary", "config", "user", "pid", "additional_parameters", "client_binary", "os_username",
    "os_password", "os_tenant_name", "os_auth_url", "keystone_get_token_url", "url",
)  # fmt: skip
"""Names of the HA guide's parameters; a CIB that has them must go on working."""

# Their defaults in the guide's agents. Not taken over: that of cinder-api's url (a /v1/ that
# Cinder no longer has, on an address where another node may answer).
GUIDE_DEFAULTS = {
    "glance-api": {
        "binary": "glance-api",
        "config": "/etc/glance/glance-api.conf",
        "user": "glance",
        "client_binary": "glance",
    },
    "cinder-api": {
        "binary": "cinder-api",
        "config": "/etc/cinder/cinder.conf",
        "user": "cinder",
        "keystone_get_token_url": "http://127.0.0.1:5000/v2.0/tokens",
    },
}

@pytest.fixture
def resource(agent: Path, folder: Path) -> Resource:
    """A resource without any parameter."""
    return Resource(agent, folder)


def document(agent: Path) -> str:
    """The agent's meta-data, from the agent itself."""
    return subprocess.run(
        [agent, "meta-data"], env={}, check=True, capture_output=True, text=True
    ).stdout


# ---- meta-data


@pytest.mark.parametrize("form", ["text", "html", "xml", "nonsense", ""])
@pytest.mark.shared
def test_output_format(resource: Resource, form: str) -> None:
    """meta-data is XML, the only format that the standard requires, whatever is asked for."""
    done = expect(resource.call("meta-data", environ={"OCF_OUTPUT_FORMAT": form}), 0)
    assert document(resource.agent) == done.stdout


def test_guide_parameters(agent: Path) -> None:
    """Every parameter of the HA guide is there, with the guide's default."""
    declared = defaults(agent)
    assert not set(GUIDE) - set(declared)
    expected = GUIDE_DEFAULTS.get(agent.name, {})
    assert expected == {name: declared[name] for name in expected}
    for name in {"os_username", "os_password", "os_tenant_name", "os_auth_url", "url", "pid"}:
        assert "" == declared[name]


# ---- the actions


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_state_sequence(service: Service) -> None:
    """Stopped, start, start, monitor in all its kinds, stop, stop, stopped."""
    expect(service.probe(), 7)
    expect(service.probe(interval=0), 7)
    assert [] == [*service.rsctmp.iterdir()]
    expect(service.monitor(), 7)
    expect(service.call("status", level=0), 7)
    expect(service.call("reload-agent"), 7)
    expect(service.call("validate-all"), 0)
    # a probe may say that a node lacks the binary; a recurring monitor says that nothing runs
    missing = {"binary": "/nowhere/server"}
    expect(service.probe(parameters=missing), 5, "binary=/nowhere/server")
    expect(service.monitor(parameters=missing), 7)
    expect(service.start(), 0)
    (before,) = masters(service.processes())
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    expect(service.monitor(level=0), 0)
    expect(service.probe(), 0)
    expect(service.call("status"), 0)
    expect(service.call("reload-agent"), 0)
    expect(service.call("validate-all"), 0)
    assert [before] == masters(service.pids())
    assert f"{before}\n" == service.pidfile.read_text(encoding="utf-8")
    expect(service.stop(), 0)
    assert not service.pids()
    assert not service.pidfile.exists()
    expect(service.stop(), 0)
    expect(service.monitor(), 7)
    expect(service.probe(), 7)


def test_left_after_stop(make_service: MakeService) -> None:
    """stop leaves only the empty lock, the last verdict of a monitor, for operators that ask why
    it was stopped, and the daemon's own log.

    If it removed the lock, two starts could run at once: one that waits for it, and one that
    makes it anew.
    """
    service = make_service(credentials=True)
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    there = {path for path in service.rsctmp.rglob("*") if not path.is_dir()}
    assert {service.state_file, service.pidfile} < there
    expect(service.stop(), 0)
    left = {path for path in service.rsctmp.rglob("*") if not path.is_dir()}
    lock, verdict = (service.state_file.with_suffix(end) for end in (".lock", ".10.last"))
    assert {lock, verdict} == left
    assert b"" == lock.read_bytes()


NOT_HERE = {
    "binary": "/nowhere/server", "config": "/nowhere/server.conf", "user": "not-here",
    "pid": "/nowhere/server.pid", "log_file": "/nowhere/server.log", "os_cacert": "/nowhere/ca.pem",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_HERE)
@pytest.mark.shared
def test_validate_all_elsewhere(make_service: MakeService, name: str) -> None:
    """validate-all of level 0 does not depend on the node; level 10 checks the node."""
    service = make_service(credentials=True)
    expect(service.call("validate-all", level=0, parameters=NOT_HERE), 0)
    for level in (10, None):
        expect(service.call("validate-all", level=level), 0)
        wrong = {name: NOT_HERE[name]}
        result = service.call("validate-all", level=level, parameters=wrong)
        assert result.code in (2, 5), result
        assert f"{name}=" in result.reason or f"{name}:" in result.reason, result
    assert not service.state_folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="none"),
        pytest.param(("",), id="empty"),
        pytest.param(("restart",), id="unknown"),
        pytest.param(("promote",), id="promote"),
        pytest.param(("notify",), id="notify"),
        pytest.param(("migrate_to",), id="migrate"),
        pytest.param(("reload",), id="reload"),
        pytest.param(("Start",), id="case"),
        pytest.param(("monitor\n",), id="newline"),
        pytest.param(("monito",), id="part"),
        pytest.param(("start stop",), id="substring"),
        pytest.param(("", "start"), id="second"),
        pytest.param(("restart", "stop"), id="unknown-and-known"),
        pytest.param(("\x1b[31m\udcff",), id="nonsense"),
        pytest.param(("monitor ",), id="blank"),
        pytest.param(("--version",), id="option"),
        pytest.param(("__class__",), id="attribute"),
        pytest.param(("x" * 10_000,), id="long"),
    ],
)
@pytest.mark.shared
def test_unknown_action(resource: Resource, arguments: tuple[str, ...]) -> None:
    """An unknown action, or none, is 3, before any parameter, folder or user is checked."""
    bad = {"config": "\x07", "url": "no"}
    done = resource.call("", *arguments, parameters=bad, environ={"HA_RSCTMP": "/nowhere"})
    words = "has no action" if "".join(arguments[:1]) else "wants an action: start, stop"
    assert "" == expect(done, 3, words).stdout


def test_more_arguments(service: Service) -> None:
    """Words after the action are ignored: they are reserved for extensions of the standard."""
    more = ("stop", "", "--force", "\udcff")
    expect(service.call("monitor", *more), 7)
    expect(service.call("start", *more), 0)
    expect(service.call("validate-all", *more), 0)
    expect(service.call("reload-agent", *more), 0)
    expect(service.call("monitor", *more), 0)
    assert service.call("meta-data", *more).stdout == document(service.agent)
    expect(service.call("stop", "start"), 0)
    assert not service.pids()


@pytest.mark.parametrize(
    "version", ["2", "0", "10", "1.1", "01", "-1", "\x1b[31m\udcff", "9" * 999], ids=ascii
)
@pytest.mark.shared
def test_foreign_api(service: Service, version: str) -> None:
    """Another major version of the API is refused, and nothing is done, except by stop."""
    foreign = {"OCF_RA_VERSION_MAJOR": version}
    refused = ("start", "monitor", "status", "reload-agent", "validate-all")
    for action in refused:
        expect(service.call(action, environ=foreign), 3, "OCF API", "install agents")
    assert not service.pids()
    assert not service.state_folder.exists()
    expect(service.start(), 0)
    there = service.pids()
    for action in refused:
        expect(service.call(action, environ=foreign), 3)
    expect(service.monitor(environ=foreign), 3)
    assert there == service.pids()
    assert service.call("meta-data", environ=foreign).stdout == document(service.agent)
    expect(service.call("usage", environ=foreign), 0)
    expect(service.call("promote", environ=foreign), 3, "no action")
    expect(service.stop(environ=foreign), 0)
    assert not service.pids()
    if version == "2":
        assert "the cluster speaks 2" in service.log.read_text(encoding="utf-8")


PLANS = {
    # operation=code: what Pacemaker plans after it
    "monitor_0=3": ["Recover", "node1 -> node2"],
    "monitor_0=1": ["Recover", "node1"],
    "monitor_0=2": ["Start", "node2"],
    "monitor_0=4": ["Recover", "node1 -> node2"],
    "monitor_0=5": ["Start", "node2"],
    "monitor_0=6": ["Stop", "node1"],
    "monitor_30000=3": ["Recover", "node1"],
    "start_0=2": ["Recover", "node1 -> node2"],
    "start_0=3": ["Recover", "node1 -> node2"],
    "start_0=5": ["Recover", "node1 -> node2"],
}


@pytest.mark.own
@pytest.mark.parametrize("ended", PLANS)
def test_pacemaker_on_codes(ended: str, tmp_path: Path, need: Need) -> None:
    """Pacemaker reacts to the codes in the way for which 3 was chosen for a foreign API."""
    need("crm_simulate", "pacemaker")
    action, _, code = ended.partition("=")
    operations = [("monitor_0", 7), ("start_0", 0), ("monitor_30000", 0)]
    before = operations[: [name for name, _ in operations].index(action)]
    cib = tmp_path / "cib.xml"
    cib.write_text(history([*before, (action, int(code))]), encoding="utf-8")
    run = subprocess.run(
        ["crm_simulate", "--xml-file", str(cib), "--run"], env={"PATH": os.environ["PATH"]},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    _, _, summary = run.stdout.partition("Transition Summary:")
    (plan,) = re.findall(r"\* (\w+) +p +\( (\S+(?: -> \S+)?) \)", summary)
    assert PLANS[ended] == list(plan), run.stdout


def history(operations: list[tuple[str, int]]) -> str:
    """A CIB of two nodes, and on the first of them a resource with these results."""

    def of_node(name: str, results: list[tuple[str, int]]) -> str:
        entries = []
        for call, (operation, code) in enumerate(results, 1):
            action, _, interval = operation.partition("_")
            key = f"{call}:1:{7 if operation == 'monitor_0' else 0}:{uuid.UUID(int=1)}"
            entries.append(
                f'<lrm_rsc_op id="p_{call}" operation_key="p_{operation}" operation="{action}"'
                f' interval="{interval}" transition-key="{key}" transition-magic="0:{code};{key}"'
                f' call-id="{call}" rc-code="{code}" op-status="0"'
                f' last-rc-change="{1700000000 + call}" on_node="{name}"/>'
            )
        return (
            f'<node_state id="{name}" uname="{name}" in_ccm="true" crmd="online" join="member"'
            f' expected="member"><lrm id="{name}"><lrm_resources>'
            '<lrm_resource id="p" class="ocf" provider="pacemaker" type="Dummy">'
            f'{"".join(entries)}</lrm_resource></lrm_resources></lrm></node_state>'
        )

    return (
        '<cib crm_feature_set="3.16.2" validate-with="pacemaker-3.9" epoch="1" num_updates="0"'
        ' admin_epoch="0" have-quorum="1" dc-uuid="node1"><configuration><crm_config>'
        '<cluster_property_set id="o"><nvpair id="s" name="stonith-enabled" value="false"/>'
        '</cluster_property_set></crm_config><nodes><node id="node1" uname="node1"/>'
        '<node id="node2" uname="node2"/></nodes><resources>'
        '<primitive id="p" class="ocf" provider="pacemaker" type="Dummy"><operations>'
        '<op id="m" name="monitor" interval="30s"/></operations></primitive></resources>'
        f'<constraints/></configuration><status>{of_node("node1", operations)}'
        f'{of_node("node2", [("monitor_0", 7)])}</status></cib>'
    )


@pytest.mark.parametrize("action", ["meta-data", "usage", "help", "--help", "-h"])
@pytest.mark.shared
def test_talk(resource: Resource, action: str) -> None:
    """meta-data and usage write to stdout, and nothing to stderr."""
    result = expect(resource.call(action), 0)
    assert result.stdout
    assert "" == result.stderr


def test_usage_names_the_actions(resource: Resource) -> None:
    """usage names every action, and how to call one by hand."""
    usage = resource.call("usage").stdout
    for word in ("start", "stop", "monitor", "reload-agent", "validate-all", "OCF_RESKEY_"):
        assert word in usage


# ---- the environment

# default instance, default folder: only actions that change nothing
EMPTY = {"meta-data": 0, "usage": 0, "monitor": 7, "": 3, "promote": 3}


@pytest.mark.parametrize("action", EMPTY, ids=lambda action: action or "none")
@pytest.mark.shared
def test_empty_environment(resource: Resource, action: str) -> None:
    """With an empty environment (env -i) each action does what is possible."""
    expect(resource.call(action, prefix=["/usr/bin/env", "-i"]), EMPTY[action])


UNPRIVILEGED = {
    "meta-data": 0, "usage": 0, "validate-all": 0, "start": 4, "stop": 4, "monitor": 4,
    "reload-agent": 4, "status": 4, "promote": 3,
}  # fmt: skip


@pytest.mark.parametrize("action", UNPRIVILEGED)
@pytest.mark.shared
def test_nobody(agent: Path, folder: Path, action: str) -> None:
    """Every user may call meta-data and usage; actions that need root say so, and do nothing."""
    resource = Resource(installed(agent, folder), folder)
    code = UNPRIVILEGED[action]
    words = ["must be run as root"] if code == 4 else []
    expect(resource.call(action, user=USER, level=0), code, *words)
    assert not resource.state_folder.exists()
    actions = resource.call("usage").stdout.partition("(")[2].partition(")")[0].split("|")
    assert {*UNPRIVILEGED} - {"promote"} == {*actions}


def test_nobody_sees_the_same_metadata(agent: Path, folder: Path) -> None:
    """Pacemaker asks for the meta-data as hacluster, from its folder of core files."""
    resource = Resource(installed(agent, folder), folder)
    assert document(agent) == resource.call("meta-data", user=USER, cwd=Path("/tmp")).stdout


SOMEWHERE_ELSE = {
    "elsewhere": ["/usr/bin/env", "-C", "/usr"],
    "gone": ["/bin/sh", "-c", 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"'],
}


@pytest.mark.parametrize("where", SOMEWHERE_ELSE)
def test_working_folder(service: Service, where: str) -> None:
    """The working folder does not matter to the agent, nor whether it exists."""
    prefix = SOMEWHERE_ELSE[where]
    if where == "gone":
        prefix = [*prefix, str(service.folder / "gone")]
    assert service.call("meta-data", prefix=prefix).stdout == document(service.agent)
    expect(service.probe(prefix=prefix), 7)
    expect(service.start(prefix=prefix), 0)
    expect(service.monitor(prefix=prefix), 0)
    assert "/" == service.config.report()["cwd"]
    expect(service.stop(prefix=prefix), 0)


NAKED: dict[str, str | None] = dict.fromkeys(
    (
        "OCF_ROOT", "OCF_RA_VERSION_MAJOR", "OCF_RA_VERSION_MINOR", "OCF_RESOURCE_PROVIDER",
        "OCF_RESOURCE_TYPE", "PATH", "PCMK_service", "HA_LOGFACILITY", "HA_LOGFILE", "HA_debug",
    )
)  # fmt: skip


def test_bare_environment(service: Service) -> None:
    """Instance, parameters and folder are all the variables that an agent needs."""
    expect(service.start(environ=NAKED, timeout=None), 0)
    expect(service.call("monitor", environ=NAKED, timeout=None), 0)
    expect(service.stop(environ=NAKED, timeout=None), 0)


def test_daemon_environment(service: Service) -> None:
    """The daemon gets a session, environment, descriptors and signals of its own, and its user."""
    expect(service.start(prefix=("/usr/bin/nohup",)), 0)  # which ignores HUP
    report = service.config.report()
    assert report["pid"] == report["sid"] == report["pgid"]
    assert {USER} == {Path("/proc", str(pid)).owner() for pid in service.pids()}
    assert {"0", "1", "2"} == set(report["fds"])
    assert {"/dev/null", str(service.log_file)} == set(report["fds"].values())
    assert ("/", "0022") == (report["cwd"], report["umask"])
    account = pwd.getpwnam(USER)
    groups = sorted(os.getgrouplist(USER, account.pw_gid))
    # the real, the effective and the saved one: no privilege of root's is left
    assert ({account.pw_uid}, {account.pw_gid}) == ({*report["uid"]}, {*report["gid"]})
    assert groups == report["groups"]
    assert not [name for name in report["environ"] if name.startswith(("OCF_", "HA_", "PCMK_"))]
    assert 0 == int(report["signals_blocked"], 16)
    # SIGPIPE and SIGXFSZ are ignored by the look-alike itself, as by any Python; 32 and 33 are
    # glibc's own, which no program can set.
    assert not int(report["signals_ignored"], 16) & ~0x1_8100_1000
    expect(service.stop(), 0)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("--verbose", ["--verbose"]),
        ("--name 'two words' \"a \\\"b\"", ["--name", "two words", 'a "b']),
        ("--x=$(touch /tmp/x) `id` ; reboot & > f *", None),
        ("--text '#no comment'", ["--text", "#no comment"]),
    ],
)
@pytest.mark.shared
def test_additional_parameters(service: Service, text: str, arguments: list[str] | None) -> None:
    """additional_parameters are split as by a shell, but no shell runs them."""
    expect(service.start(parameters={"additional_parameters": text}), 0)
    assert (arguments or text.split()) == service.config.report()["argv"][3:]
    expect(service.stop(), 0)


# ---- the stock test


def test_ocf_tester(make_service: MakeService, need: Need) -> None:
    """The stock ocf-tester passes, with the credentials of the API check."""
    tester = need("/usr/sbin/ocf-tester", "resource-agents")
    need("xmllint", "libxml2-utils")
    service = make_service(credentials=True)
    agent = installed(service.agent, service.folder)
    options = ["-o", "CRM_meta_timeout=300000"]  # ms; its own is 20 s, which a busy machine exceeds
    for name, value in service.parameters.items():
        options += ["-o", f"{name}={value}"]
    run = subprocess.run(
        [tester, "-n", service.name, *options, str(agent)],
        env={"PATH": os.environ["PATH"], "HA_RSCTMP": str(service.rsctmp)},
        text=True,
        capture_output=True,
        timeout=3000,
    )
    assert 0 == run.returncode, run.stdout + run.stderr
    assert "passed all tests" in run.stdout
    assert service.asked(), "the API check was made"
    assert service.gone()
