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
        words = _command_in_title(arguments[0]) if len(arguments) == 1 else arguments
        names = [os.path.basename(word) for word in words[:_INTERPRETER]]
        if os.path.basename(values.text("binary")) not in names:
            return False
        config = values.text("config")
        option = f"--config-file={config}"
        # A title that does not fit is cut off.
        cut = words is not arguments and words[-1].startswith("--config-file=/")
        return config in words or option in words or (cut and option.startswith(words[-1]))


def _command_in_title(title: str) -> list[str]:
    """The command line that a process with a title of its own has put into it.

    Neutron's agents and those that use cotyledon (ceilometer, aodh) have such titles:
    `neutron-dhcp-agent (COMMAND)`, `ceilometer-polling: master process [COMMAND]`.
    """
    for opening in (" (", " ["):
        _, found, command = title.partition(opening)
        if found:
            return command.rstrip(")]").split() or [title]
    return [title]
