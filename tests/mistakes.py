"""Mistakes, one at a time: which tool finds each, in which time. Run by `make mistakes`.

    python3 tests/mistakes.py [--say] [--write] [ID...]    # IDs: only these

The mistakes are those of tests/tool, which name the id that ours has to find: in a CIB and in
glance-api.conf; and a few that are left to other tools, without an id. Another tool has found a
mistake when it says something that it does not say of the sound configuration; --say prints what.
--write makes docs/mistakes-by-tool.md anew. Exit code 1: ours has missed a mistake, or complains
about the sound configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from lab import apt  # noqa: E402 - it is found there
from tool import test_lint, test_nodecheck  # noqa: E402
from tool.kit import EMPTY  # noqa: E402

PAGE = ROOT / "docs" / "mistakes-by-tool.md"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
OURS, OSLO = "openstack-ocf", "oslo"
OF_A_CIB, OF_A_FILE = ("crmsh", "pcs", "Pacemaker", OURS), (OSLO, OURS)
TOOLS = ("crmsh", "pcs", "Pacemaker", OSLO, OURS)
PACKAGES = ("crmsh", "pcs", "pacemaker", "python3-oslo.config")
SOUND = "(the sound one)"
CIB, FILE = "in a CIB", "in glance-api.conf"
LEFT = "-"
"""The id of a mistake that ours leaves to other tools."""

INFORMATION = ("INFO", "WARNING:oslo_config.generator")
"""What lines begin with that are not about what a tool is given."""

# crmsh and pcs read the agents' meta-data: for this process the agents are where both look.
AGENTS = """
cp -r --no-dereference /usr/lib/ocf/resource.d "$0"/all; rm -rf "$0"/all/openstack
ln -s "$1" "$0"/all/openstack; mount --bind "$0"/all /usr/lib/ocf/resource.d; shift; exec "$@"
"""

# Two nodes that are up, with quorum; they are fenced by their watchdogs, which needs no agent.
NODES = "".join(f'<node id="{n}" uname="node{n}"/>' for n in (1, 2))
UP = "".join(
    f'<node_state id="{n}" uname="node{n}" in_ccm="true" crmd="online" join="member" '
    f'expected="member"><lrm id="{n}"><lrm_resources/></lrm></node_state>' for n in (1, 2))
CLUSTER = EMPTY.replace("<cib ", '<cib have-quorum="1" ').replace(
    "<nodes/>", f"<nodes>{NODES}</nodes>").replace("<status/>", f"<status>{UP}</status>")
FENCED = "have-watchdog=true stonith-watchdog-timeout=10"

ALONE = f"{test_lint.VIP}\n{test_lint.GLANCE}\n{test_lint.GROUP}\n"
"""A virtual IP and its API, without the cluster's properties."""

SERVED = ("glance.api", "glance.store", "glance.multi_store", "keystonemiddleware.auth_token",
          "oslo.concurrency", "oslo.db", "oslo.log", "oslo.messaging", "oslo.middleware",
          "oslo.policy")
"""The namespaces of glance-api.conf's options, for oslo-config-validator."""

LINTED = {
    ("L1", "p_glance-api"): "`start` has 20 s; its agent advertises 60 s",
    ("L2", "p_glance-api"): "no monitor of level 10, which asks the API",
    ("L3", "p_glance-api"): "no `migration-threshold`",
    ("L4", "p_glance-api"): "the monitor's user is admin",
    ("L5", "p_glance-api"): "the monitor's password is in the CIB",
    ("L6", "p_cinder"): "`url` of cinder-api ends in `/v1/`, which is gone",
    ("L7", "g"): "the virtual IP stands right of its API in the group",
    ("L8", "p_glance-api"): "no virtual IP is tied to the API",
    ("L9", "cl"): "a clone without `interleave`",
    ("L10", "cl"): "a clone listens on the virtual IP",
    ("L11", "g"): "one group of three services that do not need each other",
    ("L12", "stonith-enabled"): "`stonith-enabled=false`",
    ("L12", "no-quorum-policy"): "`no-quorum-policy=ignore`",
    ("L13", "p_v6"): "IPv6addr in the place of IPaddr2",
    ("L14", "p_glance-api"): "two resources with one configuration file",
    ("L15", "p_x"): "a misspelt agent: `glance-apy`",
    ("L17", "p_glance-api"): "a misspelt parameter: `os_usernam`",
    ("L19", "p_ip2"): "one address in two resources",
    ("L20", "cl"): "a clone of cinder-volume, of which there may be one",
    ("L23", "p_glance-api"): "`on-fail=ignore` of a start",
    ("L26", "p_conductor"): "nova-conductor, which ends without Placement, not ordered after it",
}
"""The words for a mistake in a CIB, by its id and place in tests/tool."""

CHECKED = {
    ("B1", "10.0.0.21, and the virtual IP is 10.0.0.12"):
        "`bind_host` is the node's address, not the virtual IP",
    ("B1", "the port is 9191"): "`bind_port` is another one than clients are sent to",
    ("DB1", "localhost is this node"): "the database is on localhost",
    ("DB3", "max_retries is 10"): "no `[database] max_retries = -1`",
    ("MQ1", "node2 is one node"): "RabbitMQ is that of one node",
    ("N1", "the driver is empty"): "no driver for notifications",
    ("N2", "and no transport_url"): "notifications, but no `transport_url`",
    ("A1", "not set"): "`[keystone_authtoken]` without `auth_type`",
    ("A2", "not set"): "`[keystone_authtoken]` without `password`",
    ("A3", "v2.0"): "`identity_uri`, which was for Identity v2.0",
    ("A5", "node1 is one node"): "Keystone is that of one node",
    ("P1", "not set"): "no `[paste_deploy] flavor`: everybody is served",
    ("K1", "not set"): "an image cache without a folder",
    ("S3", "/nowhere/ceph.conf is not on this node"): "a `ceph.conf` that is not there",
    ("F1", "no glance-registry any more"): "`registry_host`, of a service that is gone",
}
"""The words for a mistake in glance-api.conf, by its id and what is seen."""

Said = dict[str, tuple[set[str], float]]
"""By tool: what it has said, line by line (of ours: the ids), and seconds."""


@dataclass
class Mistake:
    """A mistake, or a sound configuration, whose id is empty.

    where: CIB or FILE. given: what crmsh is given, or a text of glance-api.conf and another for it.
    """

    id: str
    words: str
    where: str
    given: tuple[str, ...]

    def looked_at(self, folder: Path) -> Said:
        """What each tool says of it."""
        if self.where == CIB:
            return of_a_cib(self.given[0], folder)
        return of_a_file(self.given, folder)


@dataclass
class Row:
    """A mistake and what came of it, by tool: the new words, and seconds; none where not asked."""

    mistake: Mistake
    new: Mapping[str, set[str]]
    seconds: Mapping[str, float]
    right: bool

    def cell(self, tool: str) -> str:
        """A cell of the table."""
        if tool not in self.new:
            return "-"
        if not self.mistake.id:
            return "says" if self.new[tool] else "no"
        return f"{self.seconds[tool]:.1f} s" if self.new[tool] else "no"


def run(*words: str | Path, **environment: str) -> tuple[set[str], float]:
    """What a program says, but for mere information, and the seconds that it takes."""
    begin = time.monotonic()
    done = subprocess.run(
        [str(one) for one in words], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, env={"PATH": PATH, "LC_ALL": "C.UTF-8", **environment})
    seconds = time.monotonic() - begin
    plain = re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)
    lines = {re.sub(r"\d+:|0x\w+|/tmp/\S+", "", line).strip() for line in plain.splitlines()}
    return {line for line in lines if line and not line.startswith(INFORMATION)}, seconds


def ours(*words: str | Path) -> tuple[set[str], float]:
    """The ids that our command finds; what it says of this machine is left out."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-B", "-m", "openstack_ocf", *map(str, words), "--format", "json"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"]})
    found = {one["id"] for one in json.loads(done.stdout)} - {"V2", "V3", "T1", "B3"}
    return found, time.monotonic() - begin


def by_pcs(cib: Path) -> tuple[set[str], float]:
    """What pcs says when it makes the same resources and properties, and of the whole."""
    again = cib.with_name("again.xml")
    again.write_text(CLUSTER)
    root = ET.parse(cib).getroot()
    told = [run("pcs", "-f", again, "resource", "create", "--no-default-ops", *created(one))
            for one in root.iter("primitive")]
    properties = pairs(root.iterfind(".//cluster_property_set/nvpair"))
    if new := [one for one in properties if one not in f"{test_lint.SOUND} {FENCED}".split()]:
        told.append(run("pcs", "-f", again, "property", "set", *new))
    told.append(run("pcs", "cluster", "verify", "--full", "-f", cib))
    return set().union(*(said for said, _ in told)), sum(seconds for _, seconds in told)


def created(primitive: ET.Element) -> Iterator[str]:
    """The arguments with which pcs makes a resource."""
    yield primitive.get("id", "")
    yield ":".join(primitive.get(key, "") for key in ("class", "provider", "type"))
    yield from pairs(primitive.iterfind("instance_attributes/nvpair"))
    for operation in primitive.iterfind("operations/op"):
        yield from ("op", operation.get("name", ""))
        yield from (f"{key}={operation.get(key)}" for key in ("interval", "timeout", "on-fail")
                    if operation.get(key))
        yield from pairs(operation.iterfind("instance_attributes/nvpair"))
    if meta := [*pairs(primitive.iterfind("meta_attributes/nvpair"))]:
        yield from ("meta", *meta)


def pairs(found: Iterable[ET.Element]) -> Iterator[str]:
    """The pairs of a set of attributes, as pcs takes them."""
    return (f"{one.get('name')}={one.get('value')}" for one in found)


def of_a_cib(text: str, folder: Path) -> Said:
    """What each tool says of a CIB, made from the text that an operator gives to crmsh."""
    (folder / "some.crm").write_text(text)
    cib = folder / "cib.xml"
    cib.write_text(CLUSTER)
    return {
        "crmsh": run("crm", "--force", "configure", "load", "update", folder / "some.crm",
                     CIB_file=str(cib), HOME=str(folder)),
        "pcs": by_pcs(cib),
        "Pacemaker": run("crm_verify", "-VV", f"--xml-file={cib}"),
        OURS: ours("lint", cib),
    }


def of_a_file(change: Sequence[str], folder: Path) -> Said:
    """What each tool says of glance-api.conf with one text replaced by another."""
    (folder / "bin").mkdir()
    host = test_nodecheck.Host(folder)
    host.program("systemctl", "echo disabled; exit 1")
    for name, text in (
        ("glance-api.conf", test_nodecheck.GLANCE.format(folder=folder)),
        ("cinder.conf", test_nodecheck.CINDER), ("keyring", ""),
        ("ceph.conf", f"[client.glance]\nkeyring = {folder}/keyring\n"),
        ("d.conf", test_nodecheck.DESCRIPTION.format(folder=folder)),
        ("cib.xml", test_nodecheck.CIB.replace("GROUP", "")),
    ):
        host.write(name, text)
    if change:
        old, new = change
        host.edit("glance-api.conf", old.format(folder=folder), new)
    os.environ["PATH"] = f"{folder}/bin:{PATH}"
    namespaces = [word for one in SERVED for word in ("--namespace", one)]
    return {
        # The groups of stores have names of the operator's choice.
        OSLO: run("oslo-config-validator", *namespaces, "--exclude-group", "ceph",
                  "--input-file", folder / "glance-api.conf"),
        OURS: ours("check", "--quick", "--description", folder / "d.conf",
                   "--cib", folder / "cib.xml"),
    }


def mistakes() -> Iterator[Mistake]:
    """All of them; the sound configuration comes before its mistakes."""
    lint = test_lint
    frame = f"{lint.SOUND} {FENCED}\n"
    yield Mistake("", "CIB", CIB, (f"{ALONE}{frame}",))
    texts = {(row, where): f"{lint.VIP}\n{text}\n{lint.GROUP}\n{frame}"
             for row, where, text in reversed(lint.ROWS)}
    texts.update({(row, where): f"{text}\n{frame}" for row, where, text in reversed(lint.WHOLE)})
    texts["L26", "p_conductor"] = f"{lint.UNORDERED}\n{frame}"
    for where, old, new in (("stonith-enabled", "=true", "=false"),
                            ("no-quorum-policy", "=stop", "=ignore")):
        texts["L12", where] = f"{ALONE}{frame}".replace(where + old, where + new)
    for (row, where), words in LINTED.items():
        yield Mistake(row, words, CIB, (texts[row, where],))
    yield Mistake("L2", "an invalid interval: `30x`", CIB,
                  (f"{ALONE}{frame}".replace('interval="30s"', 'interval="30x"'),))
    for row, words, old, new in (
        ("L25", "a misspelt property: `stonith-enable`", "stonith-enabled", "stonith-enable"),
        ("L25", "a misspelt value: `no-quorum-policy=stopp`", "policy=stop", "policy=stopp"),
        (LEFT, "a misspelt parameter of IPaddr2: `ipp`", "params ip=", "params ipp="),
    ):
        yield Mistake(row, words, CIB, (f"{ALONE}{frame}".replace(old, new),))

    yield Mistake("", "glance-api.conf", FILE, ())
    changes = {(row, seen): (old, new)
               for row, _, _, seen, old, new in reversed(test_nodecheck.GLANCE_MISTAKES)}
    for (row, seen), words in CHECKED.items():
        yield Mistake(row, words, FILE, changes[row, seen])
    yield Mistake(LEFT, "a misspelt option: `bind_hosts` (F1 of `check` without `--quick`)", FILE,
                  ("[DEFAULT]", "[DEFAULT]\nbind_hosts = 10.0.0.12"))


def rows(only: Sequence[str]) -> Iterator[Row]:
    """Look at each, or at these ids."""
    sound: Said = {}
    for mistake in mistakes():
        if mistake.id and only and mistake.id not in only:
            continue
        with tempfile.TemporaryDirectory(prefix="openstack-ocf-") as folder:
            said = mistake.looked_at(Path(folder))
        if not mistake.id:
            sound = said
        # A line that is also said of the sound configuration is not about the mistake.
        new = {tool: lines - (sound[tool][0] if mistake.id else set())
               for tool, (lines, _) in said.items()}
        wanted = {mistake.id} - {"", LEFT}
        yield Row(mistake, new, {tool: seconds for tool, (_, seconds) in said.items()},
                  right=new[OURS] == wanted)


def table(only: Sequence[str], *, say: bool, write: bool) -> int:
    """Print a line for each; the exit code."""
    print(f"{'id':4} {'mistake':58} " + " ".join(f"{one:>9}" for one in TOOLS), flush=True)
    found = []
    for row in rows(only):
        words = row.mistake.words if row.mistake.id else f"{SOUND} {row.mistake.words}"
        cells = " ".join(f"{row.cell(one):>9}" for one in TOOLS)
        print(f"{row.mistake.id:4} {words[:58]:58} {cells}"
              + ("" if row.right else "  <- ours is wrong"), flush=True)
        for tool, lines in row.new.items() if say else ():
            print("".join(f"     {tool}: {line}\n" for line in sorted(lines)), end="")
        found.append(row)
    wrong = [row for row in found if not row.right]
    count = sum(row.mistake.id not in ("", LEFT) for row in found)
    print(f"{count} mistakes; ours is wrong about {len(wrong)} rows. A time: it says something of "
          "it; no: it says nothing; -: not asked.")
    if write and not wrong and not only:
        part = PAGE.with_name(f"{PAGE.name}.part")
        part.write_text(page(found), encoding="utf-8")
        part.replace(PAGE)
        print(f"written: docs/{PAGE.name}")
    return int(bool(wrong))


def page(found: Sequence[Row]) -> str:
    """The page of docs/."""
    versions = ", ".join(f"{name} {version}" for name, version in apt.versions(PACKAGES).items())
    debian = Path("/etc/debian_version").read_text(encoding="ascii").strip()
    text = f"""\
# Which tool finds which mistake

Made by `make mistakes ARGS=--write`: Debian {debian}, {os.cpu_count()} CPUs, {versions}.

Each mistake is made by itself, in a configuration that is sound otherwise. Nothing is started. What
the agents say of a wrong value, before a start and after it, is in [Mistakes](mistakes.md).

- a time: the tool says something of the mistake, and takes so long
- no: it says nothing that it does not say of the sound configuration, too
- crmsh: `crm configure load update`
- pcs: `resource create`, `property set`, `cluster verify --full`; the time is of all of them
- Pacemaker: `crm_verify -VV`
- oslo: `oslo-config-validator`, with the namespaces that glance-api has; it looks at names alone
- openstack-ocf: `lint` of a CIB, `check --quick` of a node's files, which sends no request. Its ids
  are those of [a CIB](openstack-ocf.md#findings) and of [a node](findings.md)
"""
    for where, tools in ((CIB, OF_A_CIB), (FILE, OF_A_FILE)):
        chosen = [row for row in found if row.mistake.where == where and row.mistake.id]
        ids = [row for row in chosen if row.mistake.id != LEFT]
        text += f"\n## A mistake {where}\n\n| id | mistake | {' | '.join(tools)} |\n"
        text += "| --- | --- |" + " ---: |" * len(tools) + "\n"
        for row in chosen:
            cells = [row.mistake.id, row.mistake.words, *map(row.cell, tools)]
            text += f"| {' | '.join(cells)} |\n"
        counts = ", ".join(f"{tool} {sum(bool(row.new[tool]) for row in ids)}" for tool in tools)
        text += f"\nOf the {len(ids)} mistakes with an id, found: {counts}.\n"
    return text + """
A mistake without an id is left to the tools that find it.
"""


def main(words: Sequence[str]) -> int:
    """Print the table, with the agents mounted where crmsh looks for them."""
    parser = argparse.ArgumentParser(prog="make mistakes", description="Which tool finds which.")
    parser.add_argument("--say", action="store_true", help="print what each tool says of it")
    parser.add_argument("--write", action="store_true", help=f"make docs/{PAGE.name} anew")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    options = parser.parse_args(words)
    if options.inside:
        return table(options.ids, say=options.say, write=options.write)
    if os.geteuid():
        print("make mistakes: this needs root: it mounts the agents where crmsh looks for them",
              file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="openstack-ocf-") as folder:
        return subprocess.run(
            ["unshare", "--mount", "sh", "-ec", AGENTS, folder, ROOT / "ocf", sys.executable, "-B",
             __file__, "--inside", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
