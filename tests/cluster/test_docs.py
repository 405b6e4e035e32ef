"""Every command in the guides for operators is run, in the order of the page, or says why not.

The addresses and passwords of a page are replaced by those of the lab. The nodes have no sshd:
there are an ssh and an scp of our own, which work on the disk of the other node.
"""

from __future__ import annotations

import configparser
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.docs_page import DOCS, KINDS, ROOT, Block, blocks, matches, shows
from lab.agents import Result
from lab.cluster import SWITCH, Cluster
from lab.openstack import ControlPlane

pytestmark = pytest.mark.real

PAGES = ("ha-image-api.md", "ha-block-storage-api.md", "mistakes.md", "pcs.md", "uwsgi.md")
VIPS = {"glance": "10.99.0.101", "cinder": "10.99.0.102"}
EVERY = "every node"
CLIENT = "client"
SHOWN = 60.0
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
    with Cluster.temporary() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def docs_cloud(docs_pair: Cluster) -> Iterator[ControlPlane]:
    """Keystone at the switch; the nodes have the configuration of the services in /etc."""
    bind = {"keystone": docs_pair.address, **VIPS}
    with ControlPlane.temporary(netns=docs_pair.outside, bind=bind) as cloud:
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
    """Somebody who does what a page says."""

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
            "10.0.0.14": "10.99.0.104",
            "SECRET": self.cloud.credentials.password,
        }
        for old, new in known.items():
            text = text.replace(old, new)
        return text

    def follow(self, block: Block) -> None:
        """Do what a block says, or compare what it shows."""
        text = self.here(block.text)
        if block.kind == "run":
            self.run(block, text)
        elif block.kind == "output":
            said = self.here(self.said)  # agents give the addresses of this page as examples
            assert matches(said, text), f"{block.where}: what was said is\n{self.said}"
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
                if "Blind faith" not in line  # that the lab does without fencing
            )

    def shell(self, place: str, text: str, edit: str = "") -> Result:
        """Run a script in a node, or where the clients are."""
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
        return self.cluster.exec(place, ["sh", "-c", "\n".join([*lines, text])], timeout=150)

    def set(self, service: str, text: str) -> None:
        parser = configparser.RawConfigParser(default_section="")
        parser.read_string(text)
        for section in parser.sections():
            for option, value in parser.items(section):
                self.cloud.set(service, section, option, value)

    def await_shown(self, block: Block, text: str) -> None:
        deadline = time.monotonic() + SHOWN
        while True:
            said = self.shell("node1", "crm_mon --one-shot --inactive --failcounts").stdout
            if shows(said, text):
                return
            assert time.monotonic() < deadline, f"{block.where}: crm_mon says\n{said}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_mark(page: str) -> None:
    """A block says whether it is run; one that is not says why."""
    for block in blocks(DOCS / page):
        assert block.kind in KINDS, f"{block.where}: no mark"
        assert block.kind == "output" or block.argument, f"{block.where}: a mark without more"


@pytest.mark.parametrize("page", PAGES)
def test_page(docs_pair: Cluster, docs_cloud: ControlPlane, folder: Path, page: str) -> None:
    """Who does what the page says, in its order, sees what the page shows."""
    docs_pair.clear()
    files = {docs_cloud.config(service): "" for service in VIPS}
    files = {path: path.read_text() for path in files}
    reader = Reader(docs_pair, docs_cloud, folder)
    wrong: list[str] = []
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
    assert not wrong, "\n\n".join(wrong)
