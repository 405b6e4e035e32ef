"""Options in a service's configuration, and in an ini file of uWSGI."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.configfile import option, options, settings
from agentlib.errors import ArgumentError

INIS = [
    pytest.param("", {}, id="empty"),
    pytest.param("# c\n[uwsgi]\n; c\n#a = 1\nb = 2\n", {"b": "2"}, id="comments"),
    pytest.param("[uwsgi]\na = 1\na = 2\n", {"a": "2"}, id="twice"),
    pytest.param("[uwsgi]\na = 1\n[uwsgi]\nb = 2\n", {"a": "1", "b": "2"}, id="section-twice"),
    pytest.param("[uwsgi]\nmaster\nmule =\n", {"master": "", "mule": ""}, id="no-value"),
    pytest.param("[uwsgi]\na = %d/%(b) $(HOME)\n", {"a": "%d/%(b) $(HOME)"}, id="placeholders"),
    pytest.param("[uwsgi]\na = 1\n  daemonize = /x\n\tb = 2\n",
                 {"a": "1", "daemonize": "/x", "b": "2"}, id="indented"),
    pytest.param("[other]\na = 1\n", {}, id="other-section"),
    pytest.param("[DEFAULT]\na = 1\n", {}, id="default-section"),
    pytest.param("[uwsgi]\nadd-header = Connection: close\n", {"add-header": "Connection: close"},
                 id="colon"),
    pytest.param("[uwsgi]\na = 1\n" + "# x\n" * (1 << 18), {"a": "1"}, id="megabyte"),
    pytest.param("[uwsgi]\na = \udcff\n", {"a": "\ufffd"}, id="not-utf-8"),
]


@pytest.mark.parametrize(("text", "found"), INIS)
def test_settings(tmp_path: Path, text: str, found: dict[str, str]) -> None:
    """The options of the section uwsgi, as uWSGI reads them: of several with one name the last."""
    path = tmp_path / "uwsgi.ini"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert found == dict(settings(str(path)))


def test_no_settings() -> None:
    """Without an ini file there are no settings."""
    assert {} == settings("")


@pytest.mark.parametrize("what", ["binary", "no-section", "folder", "missing"])
def test_unreadable(tmp_path: Path, what: str) -> None:
    """A file that cannot be read or parsed is named in the error, for both files."""
    path = tmp_path / "bad"
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes(bytes(range(256)) if what == "binary" else b"a = 1\n")
    for name, read in (("uwsgi_ini", settings), ("config", options)):
        with pytest.raises(ArgumentError, match=f"^{name}=/.* cannot be read: "):
            read(str(path))


@given(junk=st.binary(max_size=200))
def test_any_file(tmp_path: Path, junk: bytes) -> None:
    """Whatever is in a file: settings, or an error that names it."""
    path = tmp_path / "junk"
    path.write_bytes(junk)
    try:
        settings(str(path))
    except ArgumentError as error:
        assert str(error).startswith("uwsgi_ini=")


REFERENCES = [
    pytest.param("a = $b", "1", id="whole"),
    pytest.param("a = x@$b:5/${c}", "x@1:5/2", id="within"),
    pytest.param("a = $d", "3", id="of-DEFAULT"),
    pytest.param("a = $e", "4", id="of-another-file"),
    pytest.param("a = $none/${none}", "$none/${none}", id="of-nothing"),
    pytest.param("a = p$$b\\$c", "p$b$c", id="escaped"),
    pytest.param("a = $", "$", id="alone"),
]


@pytest.mark.parametrize(("line", "value"), REFERENCES)
def test_references(tmp_path: Path, line: str, value: str) -> None:
    """References are replaced by options of this section or DEFAULT, from any file."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(f"[DEFAULT]\nb = 7\nd = 3\n[s]\nb = 1\nc = 2\n{line}\n", encoding="utf-8")
    second.write_text("[s]\ne = 4\n", encoding="utf-8")
    assert value == option([str(first), str(second)], "s", "a")


def test_continues_nothing(tmp_path: Path) -> None:
    """A continuation of an option without a value is an error of the file, not a bug of ours."""
    path = tmp_path / "junk"
    path.write_text("[DEFAULT]\nnothing\n  and more of it\n", encoding="utf-8")
    with pytest.raises(ArgumentError, match="cannot be read: "):
        option([str(path)], "DEFAULT", "nothing")
