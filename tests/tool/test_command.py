"""The command as an operator meets it: help, usage, users; and which module imports which."""

from __future__ import annotations

import ast
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from agentlib.agent import VERSION
from openstack_ocf import agents
from tool.kit import ROOT, VERBS, argv, as_nobody, command

# from the bottom to the top: a module imports only from those before it
ORDER = ["words", "finding", "errors", "reading", "seconds", "run", "agents", "foreign", "keys",
         "description", "sample", "openrc", "vips", "haproxy", "names", "node", "cib", "configs",
         "ties", "idle", "validation", "reasons", "elements", "plan", "crm", "shapes", "difference",
         "survey", "behind", "draft", "init", "bundle", "held", "safety", "user", "ids", "merge",
         "pacemaker", "cluster", "transition", "saved", "change", "leaving", "apply", "lint",
         "line", "records", "metrics", "configured", "looking", "takeover", "daemons", "peers",
         "explain", "rows", "outdated", "oslo", "configuration", "subject", "servers",
         "listening", "identity", "access", "storage", "host", "compare", "nodecheck", "clients",
         "catalogue", "endpoints", "trips", "prove", "options", "cloudverbs", "answering",
         "crmscript", "clusterverbs", "nodeverbs", "command", "__main__"]
MODULES = {path.stem: ast.parse(path.read_text())
           for path in (ROOT / "openstack_ocf").glob("*.py") if path.stem != "__init__"}


def own(tree: ast.AST) -> set[str]:
    """Modules of the package that a module imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_every_module_has_its_place() -> None:
    """Imports only look downwards, and no module is without a place in the order."""
    assert sorted(ORDER) == sorted(MODULES)
    for name, tree in MODULES.items():
        assert own(tree) <= set(ORDER[:ORDER.index(name)]), name


def test_agentlib_does_not_know_the_command() -> None:
    """No module of agentlib and no agent imports openstack_ocf."""
    files = [*(ROOT / "agentlib").glob("*.py"), *(ROOT / "ocf" / name for name in agents.names())]

    assert [] == [path.name for path in files if "openstack_ocf" in path.read_text()]


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str) -> None:
    """Every verb has its help, with an example and the exit codes."""
    done = command(verb, "--help")

    assert (0, "") == (done.code, done.said)
    assert f"example:\n  openstack-ocf {verb}" in done.output
    assert "exit codes:" in done.output


@pytest.mark.parametrize(("words", "useless"), [
    ("init --bundle a --elsewhere", "--elsewhere"),
    ("check --facts --elsewhere", "--elsewhere"),
    ("check --facts --format json", "--format"),
    ("check --compare a b --quick --description c", "--description and --quick"),
    ("check --crm-script glance-api a --format json", "--format"),
    ("check --elsewhere --cib a --quick", "--cib and --quick"),
    ("undo --list --yes --wait 300", "--yes and --wait"),
    ("undo --list --allow-restart --discard", "--allow-restart and --discard"),
    ("lint --takeover --other a", "--other"),
    ("explain p --agent glance-api --cib a", "--cib"),
    ("clients --format json", "--format"),
    ("endpoints set --quick", "--quick"),
    ("endpoints show --yes", "--yes"),
    ("prove cinder --size 5", "--size"),
    ("prove --yes --cib a", "--cib and --yes"),
])
def test_what_has_no_effect(words: str, useless: str) -> None:
    """An option that would have no effect is refused, with what to leave out, before all else."""
    done = command(*words.split())

    assert (2, "") == (done.code, done.output)
    assert f": leave out {useless}\n" in done.said
    assert 1 == len(done.said.splitlines())


@pytest.mark.parametrize("words", [[], ["plann"], ["plan", "--as", "yaml"], ["lint", "a", "b"],
                                   ["explain", "p", "--watch", "soon"],
                                   ["check", "--facts", "--compare", "a", "b"],
                                   ["init", "--cib", "a", "--bundle", "b"],
                                   ["plan", "--as", "crm", "--diff", "live"],
                                   ["undo", "--to", "1", "--list"]])
def test_usage(words: list[str]) -> None:
    """A wrong command line is exit code 2, with one sentence on stderr, and a hint to --help."""
    done = command(*words)

    assert (2, "") == (done.code, done.output)
    _, example = done.said.splitlines()
    assert example.endswith(" --help shows an example")


def test_what_is_unknown_is_told_by_its_verb() -> None:
    """Words that a verb does not know are told with where that verb's help is."""
    done = command("plan", "glance")

    assert "openstack-ocf plan: unrecognized arguments: glance\n" in done.said
    assert done.said.endswith("openstack-ocf plan --help shows an example\n")


def test_version() -> None:
    """--version prints the release."""
    done = command("--version")

    assert (0, f"openstack-ocf {VERSION}\n", "") == (done.code, done.output, done.said)


def test_any_user(folder: Path) -> None:
    """A plan needs no root, no home folder and no folder that the user owns."""
    path = folder / "d.conf"
    path.write_text("[glance]\nvip = 10.0.0.12\n")
    for form, words in (("pcs", "group add g_glance-api"), ("xml", '<group id="g_glance-api">'),
                        ("crm", "group g_glance-api p_ip_glance-api")):
        done = as_nobody(folder, "plan", "--elsewhere", "--as", form, "--description", path)
        assert (0, "") == (done.code, done.said)
        assert words in done.output


def test_a_reader_that_has_enough() -> None:
    """Output into a pipe that is closed is no error."""
    done = command("sample", prefix=["bash", "-c", 'set -o pipefail; "$@" | true', "bash"])

    assert (0, "") == (done.code, done.said)


def test_progress(tmp_path: Path) -> None:
    """A wait of over a second is shown on a terminal, and is erased when it is over."""
    path, go = tmp_path / "d.conf", tmp_path / "go"
    path.write_text("[glance]\nvip = 10.0.0.12\n")
    slow = tmp_path / "bin" / "ip"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.1; done\nexec /usr/sbin/ip "$@"\n')
    slow.chmod(0o755)
    master, slave = pty.openpty()
    with subprocess.Popen(
            argv("plan", "--description", path), cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=slave, text=True,
            env={"PATH": f"{slow.parent}:{os.environ['PATH']}"}) as command_:
        os.close(slave)
        said = ""
        while not said.endswith("waiting for ip ..."):
            said += os.read(master, 1 << 16).decode()
        go.touch()
        output = command_.communicate()[0]
    try:
        while more := os.read(master, 1 << 16).decode():
            said += more
    except OSError:
        pass  # the end of a terminal that no process has open any more
    os.close(master)

    assert f"waiting for ip ...\r{' ' * 18}\r" in said
    assert "waiting" not in output


def test_every_finding_is_in_the_page() -> None:
    """The pages have a row for each id that the code gives, and for no other."""
    code = "".join(path.read_text() for path in (ROOT / "openstack_ocf").glob("*.py"))
    given = set(re.findall(r'"([A-Z]{1,2}\d+)"', code))
    page = "".join((ROOT / "docs" / f"{name}.md").read_text()
                   for name in ("openstack-ocf", "findings"))

    assert given == set(re.findall(r"(?m)^\| ([A-Z]{1,2}\d+) \|", page))


@pytest.mark.parametrize("name", agents.names())
def test_every_agent_can_be_described(name: str) -> None:
    """The meta-data of each agent says what a plan needs: timeouts, and where it may run."""
    agent = agents.get(name)

    assert agent
    assert agent.nodes in ("clone", "each", "one")
    assert agent.timeout("start") >= 20
    assert agent.gone or {("monitor", 10, "0"), ("monitor", 30, "10")} == {
        (one.name, one.interval, one.depth) for one in agent.operations if one.interval}


def test_what_the_meta_data_says_of_ours() -> None:
    """Ports and listening options are read from the text of the meta-data."""
    read = {name: agents.get(name) for name in ("glance-api", "cinder-api", "keystone",
                                                "heat-engine", "nova-compute", "cinder-volume")}

    assert [(9292, "bind_host", "clone"), (8776, "osapi_volume_listen", "clone"),
            (5000, "", "clone"), (0, "", "clone"), (0, "", "each"), (0, "", "one")] == [
        (one.port, one.listen, one.nodes) for one in read.values() if one]
