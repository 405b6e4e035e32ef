"""crm/*.crm and docs/pcs.md are what `make crm` makes of the descriptions in crm/."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tool.kit import ROOT, command

CRM = ROOT / "crm"
DESCRIPTIONS = sorted(CRM.glob("*.conf"))
BY_HAND = {"properties.crm"}


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the generator on a copy of what it reads."""
    return subprocess.run(
        ["/usr/bin/python3", "-B", str(ROOT / "docs" / "snippets.py"), str(folder)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The descriptions and the page, without the snippets."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "crm").mkdir()
    for path in DESCRIPTIONS:
        shutil.copy(path, tmp_path / "crm")
    page = (ROOT / "docs" / "pcs.md").read_text()
    page = re.sub(r"(?s)(<!-- twin: (?!properties)\S+ -->\n```sh\n).*?(```\n)", r"\1\2", page)
    assert "os_username" not in page
    (tmp_path / "docs" / "pcs.md").write_text(page)
    return tmp_path


def test_they_are_current(tree: Path) -> None:
    """`make crm` changes nothing: who changes the generator or a description runs it."""
    done = make(tree)

    assert (0, "") == (done.returncode, done.stderr)
    assert (ROOT / "docs" / "pcs.md").read_text() == (tree / "docs" / "pcs.md").read_text()
    made = {path.name: path.read_text() for path in (tree / "crm").glob("*.crm")}
    assert made == {path.name: path.read_text() for path in CRM.glob("*.crm")
                    if path.name not in BY_HAND}


def test_a_snippet_without_its_commands(tree: Path) -> None:
    """A description that docs/pcs.md has no place for is told, with the mark to add."""
    (tree / "crm" / "new.conf").write_text("[heat-engine]\n")
    done = make(tree)

    assert 1 == done.returncode
    assert "add one with the mark <!-- twin: new.crm -->" in done.stderr


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=[path.name for path in DESCRIPTIONS])
def test_the_descriptions_are_sound(path: Path) -> None:
    """check finds nothing in the descriptions, so that they are examples as well."""
    done = command("check", "--elsewhere", "--description", path)

    assert (0, "", "") == (done.code, done.output, done.said)


@pytest.mark.parametrize("path", sorted(CRM.glob("*.crm")), ids=lambda path: str(path.name))
def test_they_can_be_read(path: Path) -> None:
    """Lines of a snippet fit a terminal, and no virtual IP has what IPaddr2 finds by itself."""
    lines = path.read_text().splitlines()

    assert [] == [line for line in lines if len(line) > 100]
    assert [] == [line for line in lines if "cidr_netmask=" in line]
    assert lines[0].startswith("# ")
