"""What Pacemaker says, as agentlib.environment understands it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.deadline import Deadline
from agentlib.environment import RSCTMP, Environment

NUMBERS = [
    pytest.param(None, None, id="not set"),
    pytest.param("", None, id="empty"),
    pytest.param("nonsense", None, id="nonsense"),
    pytest.param("-1", None, id="negative"),
    pytest.param("+1", None, id="signed"),
    pytest.param("1.5", None, id="fraction"),
    pytest.param("1e3", None, id="exponent"),
    pytest.param("1_0", None, id="underscore"),
    pytest.param(" 10", None, id="blank"),
    pytest.param("10\n", None, id="newline"),
    pytest.param("\u0663", None, id="digit of another script"),
    pytest.param("\u00b2", None, id="superscript digit"),
    pytest.param("20s", None, id="unit"),
    pytest.param("9" * 19, None, id="more than any clock has"),
    pytest.param("9" * 100_000, None, id="hundred thousand nines"),
    pytest.param("0", 0, id="zero"),
    pytest.param("1", 1, id="one"),
    pytest.param("007", 7, id="leading zeros"),
    pytest.param("30000", 30000, id="usual"),
]


def made(action: str = "monitor", environ: dict[str, str] | None = None) -> Environment:
    return Environment(action, "glance-api", environ or {})


def with_value(name: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {name: value}


@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_timeout(value: str | None, number: int | None) -> None:
    """The timeout comes from Pacemaker, in milliseconds; nonsense and zero count as not set."""
    environment = made(environ=with_value("OCF_RESKEY_CRM_meta_timeout", value))
    assert (number / 1000 if number else None) == environment.timeout


def test_shortest_timeout() -> None:
    """A timeout of one millisecond counts as a timeout."""
    assert 0.001 == made(environ={"OCF_RESKEY_CRM_meta_timeout": "1"}).timeout


@pytest.mark.parametrize("value", ["9" * 12, "9" * 18])
def test_longest_timeout(value: str) -> None:
    """A timeout beyond what the operating system can wait for is a long one, not a failure."""
    timeout = made(environ={"OCF_RESKEY_CRM_meta_timeout": value}).timeout
    assert timeout is not None
    assert 86400 <= timeout
    assert 7 == Deadline(timeout).within(lambda: 7)


@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_check_level(value: str | None, number: int | None) -> None:
    """The check level is a number, or None where it is nonsense."""
    assert number == made(environ=with_value("OCF_CHECK_LEVEL", value)).check_level


@pytest.mark.parametrize(
    ("action", "interval", "probe"),
    [
        ("monitor", "0", True),
        ("monitor", "00", True),
        ("monitor", "30000", False),
        ("monitor", "", False),
        ("monitor", None, False),
        ("monitor", "nonsense", False),
        ("status", "0", False),
        ("start", "0", False),
        ("stop", "0", False),
        ("validate-all", "0", False),
    ],
)
def test_probe(action: str, interval: str | None, probe: bool) -> None:
    """A probe is a monitor with interval 0, and nothing else is."""
    environ = with_value("OCF_RESKEY_CRM_meta_interval", interval)
    assert probe is made(action, environ).probe


@pytest.mark.parametrize(
    ("action", "interval", "probe"),
    [("monitor", None, True), ("monitor", "0", True), ("monitor", "30000", False),
     ("status", None, False), ("start", None, False)],
)
def test_probe_by_pacemaker(action: str, interval: str | None, probe: bool) -> None:
    """Pacemaker, which always says a timeout, leaves the interval of a probe out."""
    environ = with_value("OCF_RESKEY_CRM_meta_interval", interval)
    assert probe is made(action, {**environ, "OCF_RESKEY_CRM_meta_timeout": "30000"}).probe


@pytest.mark.parametrize(
    ("said", "meant"),
    [("status", "monitor"), ("monitor", "monitor"), ("start", "start"), ("", ""),
     ("Status", "Status")],
)
def test_status_is_monitor(said: str, meant: str) -> None:
    """Status is monitor under another name; every other action stays what it is."""
    assert meant == made(said).action


@pytest.mark.parametrize(
    ("environ", "parameters"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"OCF_RESKEY_config": "/etc/x"}, {"config": "/etc/x"}, id="one"),
        pytest.param({"OCF_RESKEY_config": ""}, {}, id="empty means the default"),
        pytest.param({"OCF_RESKEY_config": " "}, {"config": " "}, id="a blank is a value"),
        pytest.param({"OCF_RESKEY_CRM_meta_timeout": "1", "OCF_RESKEY_CRM_meta_name": "monitor"},
                     {}, id="meta attributes"),
        pytest.param({"OCF_RESKEY_crm_feature_set": "3.16"}, {"crm_feature_set": "3.16"},
                     id="feature set"),
        pytest.param({"config": "/etc/x", "OCF_ROOT": "/usr/lib/ocf", "ocf_reskey_user": "x"},
                     {}, id="other variables"),
        pytest.param({"OCF_RESKEY_a=b": "c=d"}, {"a=b": "c=d"}, id="odd names"),
    ],
)
def test_parameters(environ: dict[str, str], parameters: dict[str, str]) -> None:
    """The instance parameters are the variables OCF_RESKEY_*, except Pacemaker's own."""
    assert parameters == made(environ=environ).parameters


@pytest.mark.parametrize(
    ("environ", "instance"),
    [({}, "glance-api"), ({"OCF_RESOURCE_INSTANCE": ""}, "glance-api"),
     ({"OCF_RESOURCE_INSTANCE": "p_glance-api:0"}, "p_glance-api:0")],
    ids=["by hand", "empty", "clone"],
)
def test_instance(environ: dict[str, str], instance: str) -> None:
    """By hand, where no instance is named, the instance has the agent's name."""
    assert instance == made(environ=environ).instance


@pytest.mark.parametrize(
    ("environ", "folder"),
    [({}, RSCTMP), ({"HA_RSCTMP": ""}, RSCTMP), ({"HA_RSCTMP": "/tmp/x"}, "/tmp/x")],
    ids=["Pacemaker does not set it", "empty", "given"],
)
def test_rsctmp(environ: dict[str, str], folder: str) -> None:
    """Without HA_RSCTMP, the files go where ocf-directories has them."""
    assert folder == made(environ=environ).rsctmp
    assert "/run/resource-agents" == RSCTMP


@pytest.mark.parametrize(
    ("environ", "log"),
    [
        ({}, {}),
        ({"HA_LOGFILE": "/x", "HA_logfacility": "daemon", "HOME": "/root"},
         {"HA_LOGFILE": "/x", "HA_logfacility": "daemon"}),
        ({"HA_LOGFACILITY": "none", "HA_LOGFILE": ""}, {}),
    ],
    ids=["nothing", "given", "none"],
)
def test_log_settings(environ: dict[str, str], log: dict[str, str]) -> None:
    """Of the settings for logs, `none` and empty ones count as not given."""
    assert log == made(environ=environ).log


@given(st.dictionaries(
    st.sampled_from(["OCF_RESKEY_CRM_meta_timeout", "OCF_RESKEY_CRM_meta_interval",
                     "OCF_CHECK_LEVEL", "OCF_RESOURCE_INSTANCE", "HA_RSCTMP", "OCF_RESKEY_x"]),
    st.text(st.characters(exclude_characters="\0"))))
def test_any_environment(environ: dict[str, str]) -> None:
    """Whatever the variables hold, they make an Environment with sound numbers."""
    environment = made(environ=environ)
    assert environment.timeout is None or environment.timeout > 0
    assert environment.check_level is None or environment.check_level >= 0
