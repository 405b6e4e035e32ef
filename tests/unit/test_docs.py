"""The pages that are made from the agents' meta-data."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentlib.exitcode import ExitCode

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference.py"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
AGENTS = sorted(path.name for path in runpy.run_path(str(REFERENCE))["agents"]())


def made(form: str, folder: Path) -> dict[str, str]:
    """What the generator makes now, by file name."""
    command = [sys.executable, "-B", str(REFERENCE), form, str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_pages_are_up_to_date(tmp_path: Path) -> None:
    """The pages of the agents say what the agents say; if not: make docs."""
    pages = made("markdown", tmp_path)
    there = {name: (ROOT / "docs" / name).read_text() for name in pages}

    assert {"agents.md", "glance-api.md", "heat-engine.md"} <= set(pages)
    assert pages == there
    assert set() == {agent for agent in AGENTS if f"`{agent}`" not in pages["agents.md"]}


def headings(page: Path) -> set[str]:
    """The names by which a link finds the headings of a page, as GitHub and GitLab make them."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
    found = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page leads to a file, and a heading in it, that exist."""
    wrong = []
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        if "://" not in link and (
            not target.exists() or (heading and heading not in headings(target))
        ):
            wrong.append(link)

    assert [] == wrong


def test_exit_codes_have_their_names() -> None:
    """The exit codes of the pages are those of agentlib."""
    codes = runpy.run_path(str(REFERENCE))["EXIT_CODES"]

    assert [f"OCF_{ExitCode(code).name}" for code, _, _ in codes] == [name for _, name, _ in codes]


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff (groff-base)")
def test_man_pages_are_sound(tmp_path: Path) -> None:
    """Groff gives no warning for the man pages, and they show every parameter."""
    made("man", tmp_path)
    reference = runpy.run_path(str(REFERENCE))
    for path in reference["agents"]():
        agent = path.name
        page = subprocess.run(
            ["groff", "-man", "-Tascii", "-P-cbou", "-ww", f"ocf_openstack_{agent}.7"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

        assert not page.stderr
        parameters = [parameter.name for parameter in reference["read"](path).parameters]
        for name in ("NAME", "OCF_DEGRADED", *parameters):
            assert name in page.stdout, (agent, name)
        if agent == "glance-api":
            assert {"additional_parameters", "keystone_failure"} <= set(parameters)


def test_tests_of_the_standard_exist() -> None:
    """Each row of docs/ocf.md names tests that exist, or has a dash where there is none."""
    page = (ROOT / "docs" / "ocf.md").read_text()
    table, why, _ = page.partition("\n## Why")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0] not in ("---", "the standard asks")]
    assert why and len(rows) > 40
    for row in rows:
        assert len(row) == 3, row
        tests = re.sub(r"`\w+/test_\w+\.py::test_\w+`", "TEST", row[2])
        assert re.fullmatch("–|TEST(, TEST)*", tests), row

    named = set(re.findall(r"`(\w+/\w+\.py)::(\w+)`", page))
    there = {(file, name) for file in {file for file, _ in named}
             for name in functions(ROOT / "tests" / file)}
    assert set() == named - there


def functions(path: Path) -> set[str]:
    """The functions of a module, by its text: to import it would need all that it needs."""
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
