"""Parameters, and the values that an operator gives them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.errors import ConfigurationError
from agentlib.parameters import Parameter, Values, shown
from agentlib.reason import one_line
from unit.kit import values_of

WORD = Parameter("word", "A word", "A word.", default="default")
FLAG = Parameter("flag", "A flag", "A flag.", kind="boolean", default="false")
TIME = Parameter("time", "A time", "A time.", kind="integer")
PATH = Parameter("path", "A path", "A path.", default="/etc/default")
EVERY = (WORD, FLAG, TIME, PATH)

# what execve lets through: everything but NUL, also bytes that are no UTF-8
ANYTHING = st.text(st.characters(exclude_characters="\0"))
NEARLY = st.text("0123456789smecinhru /.-+_\n\u0663yestruoffa", min_size=1, max_size=14)


def test_default() -> None:
    """A parameter without a value has its default, and counts as not given."""
    values = values_of(*EVERY)
    assert ("default", "/etc/default", False) == (
        values.text("word"), values.path("path"), values.given("word"))


def test_given() -> None:
    """A given value is returned unchanged."""
    values = values_of(*EVERY, word=" a  b ")
    assert (" a  b ", True) == (values.text("word"), values.given("word"))


def test_unknown_parameters_are_ignored() -> None:
    """A parameter that was not declared is no failure: Pacemaker adds some of its own."""
    values = Values([WORD], {"crm_feature_set": "3.16", "word": "x"})
    assert "x" == values.text("word")
    assert not values.given("crm_feature_set")


@pytest.mark.parametrize("value", ["yes", "true", "1", "YES", "TRUE", "True", "ja", "on", "ON"])
def test_true(value: str) -> None:
    """Every word that OCF takes for true is true."""
    assert values_of(FLAG, flag=value).boolean("flag") is True


@pytest.mark.parametrize("value", ["no", "false", "0", "NO", "FALSE", "False", "nein", "off",
                                   "OFF"])
def test_false(value: str) -> None:
    """Every word that OCF takes for false is false."""
    assert values_of(FLAG, flag=value).boolean("flag") is False


def test_boolean_default() -> None:
    """An empty boolean has its default."""
    assert values_of(FLAG).boolean("flag") is False


@pytest.mark.parametrize("value", ["2", "maybe", "yes please", " true", "true\n", "-1", "\u0661",
                                   "none"])
def test_no_boolean(value: str) -> None:
    """Anything else is an error that says what to write."""
    with pytest.raises(ConfigurationError, match=r"^flag=.* is not a boolean: say true or false$"):
        values_of(FLAG, flag=value).boolean("flag")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("20", 20), ("20s", 20), ("20sec", 20), ("1500ms", 1.5), ("2m", 120), ("2min", 120),
     ("007", 7), ("999999999", 999999999)],
)
def test_seconds(value: str, seconds: float) -> None:
    """A time is seconds, or a number with one of OCF's units."""
    assert seconds == values_of(TIME, time=value).seconds("time")


def test_no_seconds() -> None:
    """An empty time is None."""
    assert values_of(TIME).seconds("time") is None


@pytest.mark.parametrize(
    "value",
    ["0", "0s", "000", "-1", "+1", "1.5", "1,5", "ten", "s", "ms", "20 s", " 20", "20\n", "1e3",
     "0x10", "20ss", "20x", "1_0", "\u0663", "\u00b2", "9" * 10, "9" * 9999, "inf", "nan"],
    ids=lambda value: ascii(value[:12]),
)
def test_no_time(value: str) -> None:
    """Anything else is an error that says what to write."""
    with pytest.raises(ConfigurationError, match=r"^time=.* is not a time: say seconds, as in 20$"):
        values_of(TIME, time=value).seconds("time")


def test_choice() -> None:
    """One of the choices is returned unchanged."""
    assert "a" == values_of(WORD, word="a").choice("word", ("a", "b"))


@pytest.mark.parametrize("value", ["A", "ab", "a ", "a, b", "", "\n"], ids=ascii)
def test_no_choice(value: str) -> None:
    """Anything else is an error that names the choices."""
    values = Values([WORD], {"word": value})
    with pytest.raises(ConfigurationError, match=r"^word=.* is not one of a, b$"):
        values.choice("word", ("a", "b"))


@pytest.mark.parametrize("value", ["/", "/etc/x", "/with blank", "/with'quote", "/m\u00e4rz"])
def test_path(value: str) -> None:
    """An absolute path is returned unchanged."""
    assert value == values_of(PATH, path=value).path("path")


def test_no_path() -> None:
    """A path without a value is empty."""
    assert "" == values_of(TIME).path("time")


@pytest.mark.parametrize("value", ["x", "./x", "../x", "~/x", " /x", "/x\n", "/a\tb", "/\udcff",
                                   "file:///x", "-"], ids=ascii)
def test_not_a_path(value: str) -> None:
    """A relative path, or one with invisible characters, is an error."""
    with pytest.raises(ConfigurationError, match=r"^path=.* is not an absolute path$"):
        values_of(PATH, path=value).path("path")


@pytest.mark.parametrize("kind", ["boolean", "seconds", "choice", "path"])
@given(value=ANYTHING | NEARLY)
def test_a_value_or_an_error(kind: str, value: str) -> None:
    """Whatever is given: a value, or an error of one line that names the parameter."""
    values = Values([WORD], {"word": value} if value else {})
    try:
        if kind == "choice":
            values.choice("word", ("a", "b"))
        else:
            getattr(values, kind)("word")
    except ConfigurationError as error:
        message = str(error)
        assert message.startswith("word=")
        assert one_line(message) == message
        assert len(message) <= 119, "the remedy would be cut off"
        assert 6 == error.exit_code


@given(st.integers(1, 999_999_999), st.sampled_from(["", "s", "sec", "ms", "m", "min"]))
def test_every_time(number: int, unit: str) -> None:
    """A time of a number and a unit is that many seconds, and above zero."""
    seconds = values_of(TIME, time=f"{number}{unit}").seconds("time")
    factor = {"ms": 0.001, "m": 60, "min": 60}.get(unit, 1)
    assert seconds == pytest.approx(number * factor)


@given(ANYTHING)
def test_shown(value: str) -> None:
    """A value in a message is short, printable and on one line, so that the remedy fits too."""
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 60
