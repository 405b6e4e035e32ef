"""The service's own server: its binary, started with its configuration files.

A Standalone is what a Daemon asks for its command line, unless uWSGI serves it (`uwsgi`). Both
answer the same questions (`daemon.Server`).
"""
from __future__ import annotations

import os

from . import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .parameters import Values

_INTERPRETER = 4
"""Words at the start of a command line in which the binary stands: a script's first word is its
interpreter, which may have an option or two."""


class Standalone:
    """A binary that serves by itself.

    arguments: that it always gets, before those of the operator.
    """

    __slots__ = ("_arguments",)

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._arguments = tuple(arguments)

    def validate(self, values: Values) -> None:
        """There is nothing more to be wrong than `daemon` looks at."""

    def validate_host(self, values: Values, port: int) -> None:
        """There is nothing more to be missing than `daemon` looks at."""

    def remarks(self, values: Values, port: int) -> Iterable[str]:
        """There are none."""
        return ()

    def executable(self, values: Values) -> str:
        """The path of the binary; NotInstalledError if there is none on this node."""
        return program.binary(values.text("binary"))

    def command(
        self, values: Values, files: Sequence[str], further: Sequence[str], port: int,
    ) -> list[str]:
        """The command line: the configuration files in their order, the last one wins."""
        options = [word for path in files for word in ("--config-file", path)]
        return [self.executable(values), *options, *self._arguments, *further]

    def environment(self, values: Values, files: Sequence[str]) -> dict[str, str]:
        """It needs no variable."""
        return {}

    def resembles(self, arguments: Sequence[str], values: Values) -> bool:
        """Whether a command line is that of this binary with this configuration file."""
        config = values.text("config")
        names = [os.path.basename(argument) for argument in arguments[:_INTERPRETER]]
        return os.path.basename(values.text("binary")) in names and (
            config in arguments or f"--config-file={config}" in arguments)
