"""Every command in the guides for operators is run, in the order of the page, or marked why not.

The addresses and passwords of a page are replaced by those of the lab. The nodes have no sshd:
an ssh and an scp of the tests work on the disk of the other node.
"""

from __future__ import annotations

import configparser
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cluster import docs_catalogue
from cluster.docs_cib import meaning
from cluster.docs_page import DOCS, KINDS, ROOT, Block, blocks, matches, shows
from cluster.kit import PATIENCE, TOKEN
from lab.agents import Result
from lab.cluster import SWITCH, Cluster
from lab.openstack import ControlPlane
from lab.process import rest

pytestmark = pytest.mark.real

PAGES = ("ha-image-api.md", "ha-block-storage-api.md", "mistakes.md", "pcs.md", "uwsgi.md")
VIPS = {"glance": "10.99.0.101", "cinder": "10.99.0.102"}
PUBLIC = {"glance": "10.99.0.104", "cinder": "10.99.0.105"}
OLD = "10.99.0.9"
"""The services' address in the catalogue when a page begins: no host has it."""
TYPES = {"image": "glance", "volumev3": "cinder"}
EVERY = "every node"
CLIENT = "client"
SHOWN = PATIENCE
"""Seconds; only a busy machine needs them: a start may take 60 s of them."""
SSH = """#!/bin/sh
# ssh [-o OPTION] NODE -- COMMAND, on that node's disk
while [ "$1" = -o ]; do shift 2; done
node=$1; shift 2
sh -c "$(echo "$*" | sed "s|/var/lib/pacemaker|{cluster}/$node/disk/var/lib/pacemaker|g")"
"""
SCP = """#!/bin/sh
# scp -pqr [-o OPTION] FILE... NODE:FOLDER
shift
while [ "$1" = -o ]; do shift 2; done
files=
while [ $# -gt 1 ]; do files="$files $1"; shift; done
cp -pr $files "{cluster}/${{1%%:*}}/disk${{1#*:}}"
"""


@pytest.fixture(scope="module")
def docs_pair() -> Iterator[Cluster]:
    """Two nodes."""
    with Cluster.temporary(token=TOKEN) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def docs_cloud(docs_pair: Cluster) -> Iterator[ControlPlane]:
    """Keystone at the switch; the nodes have the configuration of the services in /etc."""
    bind = {"keystone": docs_pair.address, **VIPS}
    old = {"keystone": docs_pair.address, **dict.fromkeys(VIPS, OLD)}
    with ControlPlane.temporary(netns=docs_pair.outside, bind=bind, endpoint=old) as cloud:
        cloud.up("keystone")
        for service in VIPS:
            folder = str(cloud.config(service).parent)
            shutil.copy(f"/etc/{service}/{service}-api-uwsgi.ini", folder)
            for node in docs_pair.nodes:
                command = ["mount", "--bind", folder, f"/etc/{service}"]
                docs_pair.exec(node, command, check=True)
        yield cloud
        docs_pair.clear()


class Reader:
    """Runs the blocks of a page, as an operator would."""

    def __init__(self, cluster: Cluster, cloud: ControlPlane, folder: Path) -> None:
        self.cluster = cluster
        self.cloud = cloud
        self.folder = folder
        self.said = ""
        for snippet in (ROOT / "crm").glob("*.crm"):
            (folder / snippet.name).write_text(self.here(snippet.read_text()))
        (folder / "bin").mkdir()
        for name, text in (("ssh", SSH), ("scp", SCP)):
            program = folder / "bin" / name
            program.write_text(text.format(cluster=cluster.directory))
            program.chmod(0o755)

    def here(self, text: str) -> str:
        """A text with the addresses and passwords of the lab."""
        known = {
            "10.0.0.11": self.cluster.address,
            "10.0.0.12": VIPS["glance"],
            "10.0.0.13": VIPS["cinder"],
            "10.0.0.14": PUBLIC["glance"],
            "10.0.0.15": PUBLIC["cinder"],
            "10.0.0.9:": f"{OLD}:",
            "SECRET": self.cloud.credentials.password,
        }
        for old, new in known.items():
            text = text.replace(old, new)
        return text

    def follow(self, block: Block) -> None:
        """Run a block, or compare its text with what there is."""
        text = self.here(block.text)
        if block.kind in ("run", "given"):
            self.run(block, text)
        elif block.kind in ("output", "found"):
            said = self.here(self.said)  # agents give the addresses of this page as examples
            assert matches(said, text), f"{block.where}: what was said is\n{self.said}"
            if block.kind == "found":
                found = self.catalogue(block.argument)
                assert matches("\n".join(found), text), f"{block.where}: clients find {found}"
        elif block.kind == "set":
            self.set(block.argument, text)
        elif block.kind == "shown":
            self.await_shown(block, text)

    def run(self, block: Block, text: str) -> None:
        places = self.cluster.nodes if block.place == EVERY else [block.place]
        for place in places:
            done = self.shell(place, text, block.edit)
            assert done.code == block.code, f"{block.where}: {done}"
            self.said = "\n".join(
                line
                for line in (done.stdout + done.stderr).splitlines()
                if "Blind faith" not in line  # a warning, as the lab has no fencing
            )

    def shell(self, place: str, text: str, edit: str = "") -> Result:
        """Run a script on a node, or where the clients are."""
        lines = [f"cd {self.folder}", "set -e"]
        if place == CLIENT:
            variables = self.cloud.admin.environment().items()
            lines += [f"export {name}='{value}'" for name, value in variables]
            place = SWITCH
        else:
            lines += [f"export PATH={self.folder}/bin:$PATH"]
        if edit:
            editor, typed = self.folder / "bin" / "editor", self.folder / "typed"
            editor.write_text(f"#!/bin/sh\nexec sed -i '{edit}' \"$1\"\n")
            editor.chmod(0o755)
            typed.write_text(text)
            # crmsh opens an editor on a terminal only.
            text = 'script --quiet --return --command "sh -e typed" /dev/null'
            lines += [f"export EDITOR={editor}"]
        script = "\n".join([*lines, text])
        return self.cluster.exec(place, ["sh", "-c", script], timeout=2 * PATIENCE)

    def catalogue(self, kind: str) -> list[str]:
        """Where a client finds a service of this type, at each of several times."""
        variables = [f"{name}={value}" for name, value in self.cloud.admin.environment().items()]

        def say(command: Sequence[str]) -> str:
            done = self.cluster.exec(SWITCH, ["env", *variables, *command], check=True)
            return done.stdout

        return docs_catalogue.listing(say, kind, self.cloud.settings.region)

    def set(self, service: str, text: str) -> None:
        parser = configparser.RawConfigParser(default_section="")
        parser.read_string(text)
        for section in parser.sections():
            for option, value in parser.items(section):
                self.cloud.set(service, section, option, value)

    def await_shown(self, block: Block, text: str) -> None:
        deadline = time.monotonic() + SHOWN
        while True:
            since = time.monotonic()
            said = self.shell("node1", "crm_mon --one-shot --inactive --failcounts").stdout
            if shows(said, text):
                return
            assert time.monotonic() < deadline, f"{block.where}: crm_mon says\n{said}"
            rest(since)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_mark(page: str) -> None:
    """The mark of a block says whether it is run, and if not, why."""
    for block in blocks(DOCS / page):
        assert block.kind in KINDS, f"{block.where}: no mark"
        assert block.kind == "output" or block.argument, f"{block.where}: a mark without more"


PCS = blocks(DOCS / "pcs.md")
LIKE = [block for block in PCS if block.kind == "like"]


@pytest.mark.parametrize("like", LIKE, ids=[one.argument for one in LIKE])
def test_pcs_is_like_the_page(docs_pair: Cluster, folder: Path, like: Block) -> None:
    """Commands of pcs make the same CIB as those of crmsh on another page."""
    page, _, snippet = like.argument.partition(", ")
    (before,) = [block for block in PCS if (block.kind, block.argument) == ("twin", snippet)]
    (crm,) = [
        block for block in blocks(DOCS / page) if block.kind == "run" and "modgroup" in block.text
    ]
    there = re.search(r"crm configure <<END\n.*?\nEND\n", crm.text, re.DOTALL)
    assert there
    by_pcs, by_crmsh = (folder / name for name in ("pcs", "crmsh"))
    saved = docs_pair.exec("node1", ["pcs", "cluster", "cib"], check=True).stdout
    for place, text in ((by_pcs, like.text), (by_crmsh, there[0])):
        place.mkdir()
        (place / "cib.xml").write_text(saved)
        file = f"CIB_file={place}/cib.xml"  # crmsh changes this file, and not the cluster
        script = f"cd {place} && set -e\n{before.text}\nexport {file}\n{text}"
        docs_pair.exec("node1", ["sh", "-c", script], check=True)

    found = [ElementTree.parse(place / "cib.xml").getroot() for place in (by_pcs, by_crmsh)]
    assert meaning(found[0]) == meaning(found[1])
    (members,) = meaning(found[0])["groups"].values()
    assert 3 == len(members)


@pytest.mark.parametrize("page", PAGES)
def test_page(docs_pair: Cluster, docs_cloud: ControlPlane, folder: Path, page: str) -> None:
    """The blocks of the page, run in their order, have the output that the page shows."""
    docs_pair.clear()
    files = {docs_cloud.config(service): "" for service in VIPS}
    files = {path: path.read_text() for path in files}
    reader = Reader(docs_pair, docs_cloud, folder)
    before = {kind: reader.catalogue(kind) for kind in TYPES}
    wrong: list[str] = []
    way_back = [block for block in blocks(DOCS / page) if block.kind == "undo"]
    try:
        for block in blocks(DOCS / page):
            try:
                reader.follow(block)
            except AssertionError as error:
                wrong.append(str(error))
    finally:
        for path, text in files.items():
            path.write_text(text)
        docs_pair.clear()
        for block in reversed(way_back):
            reader.run(block, reader.here(block.text))
    assert not wrong, "\n\n".join(wrong)
    assert before == {kind: reader.catalogue(kind) for kind in TYPES}
