"""Unusable files, secrets in wrong places, and callers that do not take the output.

Mistakes inside a description, a CIB or a catalogue are in the files about these.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tool.kit import EMPTY, ROOT, argv, command, primitive

GLANCE = "[glance]\nvip = 10.0.0.12\nstorage = rbd\n"
# Each file that a verb reads; GOOD is a description, BAD the unusable file.
READ = {
    "description": ("plan", "--elsewhere", "--description", "BAD"),
    "description of apply": ("apply", "--elsewhere", "--yes", "--description", "BAD"),
    "description of clients": ("clients", "--description", "BAD"),
    "description of endpoints": ("endpoints", "show", "--description", "BAD"),
    "description of prove": ("prove", "--description", "BAD"),
    "credentials": ("endpoints", "set", "--yes", "--description", "GOOD", "--credentials", "BAD"),
    "credentials of prove": ("prove", "--description", "GOOD", "--credentials", "BAD"),
    "client": ("clients", "--description", "GOOD", "BAD"),
    "cib of plan": ("plan", "--elsewhere", "--description", "GOOD", "--diff", "BAD"),
    "cib of check": ("check", "--quick", "--description", "GOOD", "--cib", "BAD"),
    "cib of init": ("init", "--elsewhere", "--cib", "BAD"),
    "cib of lint": ("lint", "BAD"),
    "cib of takeover": ("lint", "--takeover", "BAD"),
    "cib of explain": ("explain", "p_glance-api", "--cib", "BAD"),
    "cib of prove": ("prove", "--move", "--yes", "--description", "GOOD", "--cib", "BAD"),
    "facts": ("check", "--compare", "BAD", "BAD"),
    "crm script": ("check", "--crm-script", "glance-api", "BAD"),
    "saved": ("undo", "--list", "--saved", "BAD"),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A description with nothing wrong in it."""
    path = tmp_path / "good.conf"
    path.write_text(GLANCE)
    return path


@pytest.mark.parametrize("what", READ)
def test_binary(tmp_path: Path, good: Path, what: str) -> None:
    """In place of any file, a binary file is refused with its name, and without any more output."""
    bad = tmp_path / "nova.conf"
    bad.write_bytes(bytes(range(256)) * 40)
    names = {"GOOD": good, "BAD": bad}
    done = command(*(names.get(word, word) for word in READ[what]),
                   CIB_file=str(tmp_path / "none.xml"))

    if what == "client":  # for this verb, a bad file is a finding
        assert (1, "") == (done.code, done.said)
        assert f"error F3 {bad}" in done.output
        return
    assert (1 if what == "saved" else 2, "") == (done.code, done.output)
    assert str(bad) in done.said
    assert len(done.said.splitlines()) <= 2
    assert "mistake in this program" not in done.said


@pytest.mark.parametrize("what", ["description", "credentials", "cib of lint", "client"])
def test_a_fifo(tmp_path: Path, good: Path, what: str) -> None:
    """A FIFO that no process writes to is not waited for: it is an empty file."""
    fifo = tmp_path / "nova.conf"
    os.mkfifo(fifo)
    names = {"GOOD": good, "BAD": fifo}
    done = command(*(names.get(word, word) for word in READ[what]))

    assert done.code == (0 if what == "client" else 2)
    assert str(fifo) in done.output + done.said


def test_a_pipe(good: Path) -> None:
    """A pipe that another program writes to is read to its end."""
    done = subprocess.run(
        ["bash", "-c", '"$@" --description <(cat "$0")', good, *argv("plan", "--elsewhere")],
        cwd=ROOT, capture_output=True, text=True)

    assert (0, "") == (done.returncode, done.stderr)
    assert "primitive p_glance-api" in done.stdout


# --- output -------------------------------------------------------------------------------------


def into(redirection: str, *words: str | Path, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command, run by a shell with a redirection."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *argv(*words)], cwd=ROOT,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8",
        env={"PATH": os.environ["PATH"], **environment})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [("sample",), ("lint", "--help")], ids=["verb", "help"])
def test_a_full_disk(words: tuple[str, ...]) -> None:
    """If the output cannot be written, the command says so in one sentence: exit code 2."""
    assert (2, "", "openstack-ocf: standard output cannot be written: no space left on device\n") \
        == into(">/dev/full", *words)


def test_closed_streams(tmp_path: Path, good: Path) -> None:
    """A stream that the caller has closed changes neither the exit code nor the other streams."""
    none = tmp_path / "none.conf"
    for redirection in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        code, output, said = into(redirection, "plan", "--elsewhere", "--description", good)
        assert (0, "") == (code, said)
        assert (">&-" in redirection.split()) != ("p_glance-api" in output)
        code, output, said = into(redirection, "plan", "--elsewhere", "--description", none)
        assert (2, "") == (code, output)
        assert ("2>&-" in redirection) != ("cannot be read" in said)


def test_a_locale_without_these_letters(tmp_path: Path) -> None:
    """Output is UTF-8, as input is, whatever the caller's locale."""
    path = tmp_path / "dä.conf"
    path.write_text(f"{GLANCE}additional_parameters = --title Zürich\n", encoding="utf-8")
    for words in (["plan", "--elsewhere"], ["check", "--elsewhere"]):
        code, output, said = into("", *words, "--description", path, PYTHONIOENCODING="ascii")
        assert (0, "") == (code, said)
        assert ("Zürich" in output) == (words[0] == "plan")
    path.unlink()
    assert str(path) in into("", "check", "--description", path, PYTHONIOENCODING="ascii")[1]


def test_what_a_terminal_would_obey(tmp_path: Path) -> None:
    """Control characters in names of files and in a CIB are shown, not sent to the terminal."""
    path = tmp_path / "a\x1b[31m\nb"
    break_ = "a&#10;&#155;31m"
    path.write_text(EMPTY.replace("<resources/>", "<resources>" + primitive(
        break_, "ocf:openstack:glance-api", f"config={break_}") + "</resources>").replace(
        "<constraints/>", f'<constraints><rsc_order id="{break_}" first="{break_}" then="x"/>'
        "</constraints>"))
    good = tmp_path / "d.conf"
    good.write_text(GLANCE.replace("[glance]", "[glance]\nid = p_new"))
    for words in (["lint", path], ["lint", "--takeover", path], ["check", "--description", path],
                  ["plan", "--elsewhere", "--description", path],
                  ["plan", "--elsewhere", "--description", good, "--diff", path],
                  ["explain", "--cib", path, "a\x1b[31m"], ["pl\x1b[31m"]):
        done = command(*words)
        assert {*done.output + done.said} & {*map(chr, range(32)), "\x9b"} == {"\n"}, words


# --- secrets ------------------------------------------------------------------------------------

ODD = {
    "url": "http://monitor:hunter2@10.0.0.12:9292",
    "additional_parameters": "--debug --os-password hunter2 --x=mysql://a:hunter2@b/c",
}


@pytest.mark.parametrize("key", ODD)
def test_a_secret_in_a_parameter(tmp_path: Path, key: str) -> None:
    """I5, L5: a password inside a value is found and not shown, and init leaves it out."""
    path, cib = tmp_path / "d.conf", tmp_path / "cib.xml"
    path.write_text(f"{GLANCE}{key} = {ODD[key]}\n")
    done = command("check", "--elsewhere", "--description", path)
    assert (2, "") == (done.code, done.said)
    assert f"error I5 {path}:glance/{key}: a secret stands in the description: " in done.output
    assert "hunter2" not in done.output

    cib.write_text(EMPTY.replace("<resources/>", "<resources>" + primitive(
        "p_glance-api", "ocf:openstack:glance-api", f"{key}=VALUE").replace("VALUE", ODD[key])
        + "</resources>"))
    done = command("lint", cib)
    assert f"warning L5 p_glance-api: {key} has a password in it: " in done.output
    assert "hunter2" not in done.output
    done = command("init", "--elsewhere", "--cib", cib)
    assert f"# {key} has a password in it" in done.output
    assert "hunter2" not in done.output


def test_a_secret_in_the_identity_url(tmp_path: Path) -> None:
    """A user in the Identity URL is refused, as the agents refuse it, and is not shown."""
    path, openrc, cib = tmp_path / "d.conf", tmp_path / "openrc", tmp_path / "cib.xml"
    url = "http://monitor:hunter2@127.0.0.1:1/v3"
    openrc.write_text("OS_USERNAME=m\nOS_PASSWORD=p\nOS_PROJECT_NAME=s\nOS_AUTH_URL=" + url)
    path.write_text(f"[DEFAULT]\ncredentials = {openrc}\n{GLANCE}")
    for words in (("plan", "--elsewhere"), ("endpoints", "set", "--yes"), ("prove",)):
        done = command(*words, "--description", path)
        assert (2, "") == (done.code, done.output)
        assert "OS_AUTH_URL has a user or a password in it (http://***@127.0.0.1:1/v3)" in done.said

    path.write_text(f"[DEFAULT]\nauth_url = {url}\n{GLANCE}")
    done = command("plan", "--elsewhere", "--description", path)
    assert f"error I5 {path}:DEFAULT/auth_url" in done.said
    path.write_text(GLANCE)
    cib.write_text(EMPTY.replace("<resources/>", "<resources>" + primitive(
        "p_glance-api", "ocf:openstack:glance-api", f"os_username=m os_auth_url={url}") + primitive(
        "p_dns", "ocf:maas:dns", f"fqdn=a.example.org maas_url={url}") + "</resources>"))
    init = command("init", "--elsewhere", "--cib", cib)
    assert "# auth_url has a password in it where this is from; it is left out." in init.output
    assert "hunter2" not in done.said + init.output
    other = tmp_path / "other.xml"
    other.write_text(cib.read_text().replace("hunter2", "geheim"))
    assert "hunter2" not in command("lint", cib, "--other", other).output
