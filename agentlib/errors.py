"""Failures of an action: each class carries the exit code that it ends in.

Raised anywhere in agentlib, caught in one place (`runtime.run`), which turns the class into an
exit code and the message into the exit reason. A message therefore names what is wrong, its
value (never a secret) and the remedy, in one line.
"""
from __future__ import annotations

from .exitcode import ExitCode


class AgentError(Exception):
    """The action failed: 1."""

    exit_code = ExitCode.ERR_GENERIC


class StateError(AgentError):
    """The folder of the state cannot be used; stop does without: 1."""


class ArgumentError(AgentError):
    """A parameter does not fit this node; another node may do better: 2."""

    exit_code = ExitCode.ERR_ARGS


class UnimplementedError(AgentError):
    """An action that the agent does not know: 3."""

    exit_code = ExitCode.ERR_UNIMPLEMENTED


class PermissionDeniedError(AgentError):
    """The agent needs root and is not: 4."""

    exit_code = ExitCode.ERR_PERM


class NotInstalledError(AgentError):
    """Software, a configuration file or an account is missing on this node: 5."""

    exit_code = ExitCode.ERR_INSTALLED


class ConfigurationError(AgentError):
    """A parameter that is wrong on every node, so that none should try: 6."""

    exit_code = ExitCode.ERR_CONFIGURED
