"""A declaration as XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.metadata import HEAD, Action, document
from agentlib.parameters import Parameter

# what XML can carry at all; a lone \r would come back as \n
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff",
                             include_characters="\n\t<>&\"']"))
LINE = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff",
                             include_characters="<>&\"']"))


def parsed(*parameters: Parameter, actions: tuple[Action, ...] = ()) -> ElementTree.Element:
    text = document("unit-api", "1.2.3", "Title", "Text", parameters, actions)
    return ElementTree.fromstring(text)


def test_head() -> None:
    """The document begins with its declaration, and that of the additions of OCF 1.1."""
    text = document("unit-api", "1", "", "", (), ())
    assert text.startswith('<?xml version="1.0"?>\n<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd"')
    assert text.startswith(HEAD)
    assert text.endswith("</resource-agent>\n")


def test_standard() -> None:
    """The meta-data is an OCF 1.1 document, with the agent's own version in an attribute."""
    root = parsed()
    assert ("resource-agent", {"name": "unit-api", "version": "1.2.3"}) == (root.tag, root.attrib)
    assert "1.1" == root.findtext("version")


@pytest.mark.parametrize(
    ("parameter", "attributes", "content"),
    [
        pytest.param(
            Parameter("x", "", ""),
            {"name": "x", "required": "0", "reloadable": "0"}, {"type": "string"}, id="plain"),
        pytest.param(
            Parameter("x", "", "", default="d"),
            {"name": "x", "required": "0", "reloadable": "0"},
            {"type": "string", "default": "d"}, id="default"),
        pytest.param(
            Parameter("x", "", "", kind="boolean", default="false", reloadable=True),
            {"name": "x", "required": "0", "reloadable": "1"},
            {"type": "boolean", "default": "false"}, id="reloadable boolean"),
        pytest.param(
            Parameter("x", "", "", kind="integer", unique=True),
            {"name": "x", "required": "0", "reloadable": "0", "unique": "1",
             "unique-group": "x"}, {"type": "integer"}, id="unique integer"),
    ],
)
def test_parameter(
    parameter: Parameter, attributes: dict[str, str], content: dict[str, str],
) -> None:
    """A parameter's properties are attributes; without a default there is no such attribute."""
    element = parsed(parameter).find("parameters/parameter")
    assert element is not None
    assert attributes == element.attrib
    inner = element.find("content")
    assert inner is not None
    assert content == inner.attrib


@pytest.mark.parametrize(
    ("action", "attributes"),
    [
        (Action("start", 60), {"name": "start", "timeout": "60s"}),
        (Action("monitor", 30, interval=30, depth=10),
         {"name": "monitor", "timeout": "30s", "interval": "30s", "depth": "10"}),
        (Action("monitor", 30, interval=0, depth=0),
         {"name": "monitor", "timeout": "30s", "interval": "0s", "depth": "0"}),
    ],
    ids=["timeout", "all", "zeros"],
)
def test_action(action: Action, attributes: dict[str, str]) -> None:
    """An action's properties are attributes, zeros too."""
    element = parsed(actions=(action,)).find("actions/action")
    assert element is not None
    assert attributes == element.attrib


def test_order() -> None:
    """Parameters and actions come in the order of their declaration."""
    root = parsed(Parameter("b", "", ""), Parameter("a", "", ""),
                  actions=(Action("stop", 1), Action("start", 2)))
    assert ["b", "a"] == [p.get("name") for p in root.iterfind("parameters/parameter")]
    assert ["stop", "start"] == [a.get("name") for a in root.iterfind("actions/action")]


@given(title=TEXT, text=TEXT, shortdesc=TEXT, longdesc=TEXT, default=LINE)
def test_any_text(title: str, text: str, shortdesc: str, longdesc: str, default: str) -> None:
    """Whatever the texts are, the XML is well-formed and has exactly them."""
    parameter = Parameter("x", shortdesc, longdesc, default=default)
    root = ElementTree.fromstring(document("unit-api", "1", title, text, (parameter,), ()))
    assert f"\n{text}\n" == root.findtext("longdesc")
    assert title == (root.findtext("shortdesc") or "")
    assert f"\n{longdesc}\n" == root.findtext("parameters/parameter/longdesc")
    assert shortdesc == (root.findtext("parameters/parameter/shortdesc") or "")
    content = root.find("parameters/parameter/content")
    assert content is not None
    assert default == content.get("default", "")


@given(name=LINE, version=LINE)
def test_any_name(name: str, version: str) -> None:
    """Names and versions are attributes, and quotes do not end them."""
    root = ElementTree.fromstring(document(name, version, "", "", (), ()))
    assert {"name": name, "version": version} == root.attrib


def test_nobody_is_told_to_quote() -> None:
    """No raw quote, bracket or ampersand is left in a default."""
    text = document("n", "1", "", "", (Parameter("x", "", "", default='<&">'),), ())
    assert re.search(r'default="&lt;&amp;&quot;&gt;"', text)
