"""The man page and the completion have the verbs and options of --help."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from openstack_ocf.keys import DEFAULT, DNS, HAPROXY, SERVICE
from tool.kit import ROOT, VERBS, command


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The folder with both."""
    subprocess.run(["/usr/bin/python3", "-EsB", str(ROOT / "docs" / "command.py"), str(tmp_path)],
                   stdin=subprocess.DEVNULL, check=True, capture_output=True)
    return tmp_path


def complete(made: Path, *words: str) -> list[str]:
    """The words that bash offers at the end of such a line."""
    script = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _openstack_ocf; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(
        ["bash", "-c", script, str(made / "openstack-ocf.bash"), "openstack-ocf", *words],
        cwd=made, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


def test_verbs() -> None:
    """The help names the verbs of these tests, and no other."""
    said = re.findall(r"(?m)^    ([a-z]+)(?:  |$)", command("--help").output)
    assert sorted(VERBS) == sorted(said)


def test_the_man_page_is_sound(made: Path) -> None:
    """Groff gives no warning for it; every verb, option and key is in it."""
    page = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", "-ww", "openstack-ocf.8"],
        cwd=made, capture_output=True, text=True, check=True)

    assert not page.stderr
    for verb in VERBS:
        options = re.findall(r"(?m)^  (--[a-z-]+)", command(verb, "--help").output)
        for word in (f"openstack-ocf {verb}", *options):
            assert word in page.stdout, (verb, word)
    for key in (*DEFAULT, *SERVICE, *HAPROXY, *DNS):
        assert re.search(rf"(?m)^ +{key.name}\b", page.stdout), key.name
    said = " ".join(page.stdout.split())
    assert "Something could not be looked at: a file, the cluster, a program." in said
    for written in ("[--compare FILE [FILE ...]]", "[--crm-script AGENT FILE]", "[FILE ...]",
                    "RESOURCE [--cib", "[--watch [SECONDS]]", "show|set [--"):
        assert written in said, written


def test_the_completion_knows_every_verb_and_option(made: Path) -> None:
    """Bash offers the verbs, and the options of each; an unknown verb gives no error."""
    assert sorted([*VERBS, "--help", "--version"]) == sorted(complete(made, ""))
    for verb in VERBS:
        options = re.findall(r"(?m)^  (?:-\w, )?(--[a-z-]+)", command(verb, "--help").output)
        assert set(options) <= set(complete(made, verb, "--")), verb
    assert [] == complete(made, "nothing", "")


def test_the_completion_knows_values(made: Path) -> None:
    """Choices and file names are offered where an option takes them."""
    (made / "some file.conf").write_text("")

    assert ["crm"] == complete(made, "plan", "--as", "c")
    assert ["live"] == complete(made, "plan", "--diff", "li")
    assert ["some", "file.conf"] == complete(made, "check", "--description", "some")
    assert ["live"] == complete(made, "lint", "liv")
