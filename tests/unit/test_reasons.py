"""docs/reasons.md, as far as it can be told without the run that makes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

import reasons
from harness import ROOT

PAGE = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")


def those_run() -> Iterator[ast.FunctionDef]:
    """The tests that `make reasons` runs."""
    for folder in ("agents", "kinds"):
        for file in (ROOT / "tests" / folder).glob("test_*.py"):
            if file.name not in reasons.LEFT_OUT:
                for node in ast.parse(file.read_text(encoding="utf-8")).body:
                    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                        yield node


def test_page_is_as_made() -> None:
    """The page's head, order and cells are those that `make reasons` writes, and nothing varies."""
    rows = reasons.read(PAGE)

    assert PAGE == reasons.written(rows)
    assert [] == [reason for _, _, reason in rows if reason != reasons.plain(reason)]


def test_situations_are_sentences_of_tests() -> None:
    """Each situation on the page is the first line of a test that is there: run `make reasons`."""
    sentences = {(ast.get_docstring(test) or "").partition("\n")[0] for test in those_run()}

    assert set() == set(reasons.read(PAGE).values()) - sentences


def test_left_out_files_are_there() -> None:
    """What is left out by the name of its file is a file of tests."""
    there = {file.name for file in (ROOT / "tests" / "agents").glob("test_*.py")}

    assert {*reasons.LEFT_OUT} <= there


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("pid 4123 (glance-api, state R) is here", "pid N (glance-api, state S) is here"),
        ("cinder-api answers 503 to GET /v3/volumes at http://127.0.0.1:41234",
         "glance-api answers NNN to GET /v2/images at http://127.0.0.1:PORT"),
        ("config='/tmp/x y' is not a file", "config=... is not a file"),
        ("config=/tmp/x: under uWSGI its name has to be api.conf",
         "config=PATH: under uWSGI its name has to be api.conf"),
        ("os_password, os_auth_url missing: give all of the credentials, or none",
         "... missing: give all of the credentials, or none"),
    ],
)
def test_parts_that_vary(reason: str, shown: str) -> None:
    """Of a reason that several runs or agents give in several ways, the page has one."""
    assert shown == reasons.plain(reason, "cinder-api")
