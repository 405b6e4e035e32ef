"""Exit codes, and the errors that end in them."""

from __future__ import annotations

import inspect

import pytest

from agentlib import errors
from agentlib.errors import AgentError
from agentlib.exitcode import NAMES, ExitCode

# OCF 1.1, "Exit Status Codes"
NUMBERS = {
    "SUCCESS": 0, "ERR_GENERIC": 1, "ERR_ARGS": 2, "ERR_UNIMPLEMENTED": 3, "ERR_PERM": 4,
    "ERR_INSTALLED": 5, "ERR_CONFIGURED": 6, "NOT_RUNNING": 7, "RUNNING_PROMOTED": 8,
    "FAILED_PROMOTED": 9, "DEGRADED": 190, "DEGRADED_PROMOTED": 191,
}

ENDS_IN = {
    "AgentError": 1, "StateError": 1, "ArgumentError": 2, "UnimplementedError": 3,
    "PermissionDeniedError": 4, "NotInstalledError": 5, "ConfigurationError": 6,
}


def test_numbers() -> None:
    """The codes are those that Pacemaker knows, all of them and no others."""
    assert NUMBERS == {name: int(getattr(ExitCode, name)) for name in NAMES.values()}
    assert NUMBERS == {ExitCode(number).name: number for number in NAMES}


def test_every_error_is_listed() -> None:
    """Every error class is in the table of this file."""
    classes = {name for name, thing in inspect.getmembers(errors, inspect.isclass)
               if issubclass(thing, Exception)}
    assert set(ENDS_IN) == classes


@pytest.mark.parametrize(("name", "code"), ENDS_IN.items())
def test_error(name: str, code: int) -> None:
    """Every error is an AgentError, carries its exit code and keeps its message."""
    error = getattr(errors, name)("a message")
    assert isinstance(error, AgentError)
    assert (code, "a message") == (error.exit_code, str(error))


def test_exit_code_is_a_number() -> None:
    """A code can be handed to os._exit as it is."""
    assert isinstance(ExitCode.DEGRADED, int)
    assert 190 == ExitCode.DEGRADED
