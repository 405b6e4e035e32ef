"""Several configuration files, each named by a parameter (neutron-server's plugin_config)."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import defaults, expect, installed
from kinds.kit import agent_of
from lookalike.service import Service

NEUTRON = agent_of("neutron-server")
DEFAULT = defaults(NEUTRON)["plugin_config"]


@pytest.fixture
def plugin(folder: Path) -> Path:
    """The path of the further file, which is the default in a copy of the agent."""
    return folder / "ml2_conf.ini"


@pytest.fixture
def agent(folder: Path, plugin: Path) -> Path:
    """neutron-server with another default, as this machine may have /etc/neutron or not."""
    copy = installed(NEUTRON, folder)
    text = copy.read_text(encoding="utf-8")
    assert 1 == text.count(f'"{DEFAULT}"')
    copy.write_text(text.replace(f'"{DEFAULT}"', f'"{plugin}"'), encoding="utf-8")
    return copy


def files(service: Service) -> list[str]:
    """The configuration files on the daemon's command line, and what follows them."""
    return [str(word) for word in service.config.report()["argv"][1:] if word != "--config-file"]


def test_default_is_missing(service: Service) -> None:
    """A default that is not on the node is left out."""
    expect(service.call("validate-all"), 0)
    expect(service.start(), 0)
    assert [str(service.config.path)] == files(service)
    expect(service.monitor(), 0)


def test_default_is_there(service: Service, plugin: Path) -> None:
    """A default that is there is given after config, and before the operator's arguments."""
    plugin.touch()
    service.parameters["additional_parameters"] = "--debug"
    expect(service.start(), 0)
    assert [str(service.config.path), str(plugin), "--debug"] == files(service)
    expect(service.monitor(), 0)


def test_given(service: Service, plugin: Path, folder: Path) -> None:
    """A file that is given replaces the default."""
    plugin.touch()
    other = folder / "other plugin.ini"
    other.touch()
    service.parameters["plugin_config"] = other
    expect(service.call("validate-all"), 0)
    expect(service.start(), 0)
    assert [str(service.config.path), str(other)] == files(service)
    expect(service.monitor(), 0)
    expect(service.stop(), 0)


def test_given_and_missing(service: Service, folder: Path) -> None:
    """A given file that does not exist is 5 (not installed), a folder in its place 2."""
    service.parameters["plugin_config"] = folder / "missing.ini"
    for action in ("start", "validate-all"):
        expect(service.call(action), 5, "plugin_config=", "does not exist on this node")
    assert not service.pids()
    service.parameters["plugin_config"] = folder
    expect(service.start(), 2, "plugin_config=", "is not a file")
    service.parameters["plugin_config"] = "etc/ml2.ini"
    expect(service.start(), 6, "plugin_config=", "not an absolute path")


def test_missing_later(service: Service, plugin: Path) -> None:
    """A file that is removed later does not matter to monitor and stop."""
    plugin.touch()
    service.parameters["plugin_config"] = plugin
    expect(service.start(), 0)
    plugin.unlink()
    expect(service.monitor(), 0)
    expect(service.probe(), 0)
    expect(service.stop(), 0)
    assert not service.pids()
