"""Options that several verbs have.

Called by the modules of the verbs: `clusterverbs`, `cloudverbs`, `nodeverbs`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from . import cib, description
from .errors import UsageError


def of_a_description(parser: argparse.ArgumentParser, *, elsewhere: bool = False) -> None:
    """Which description. elsewhere: a verb that also looks at this node."""
    parser.add_argument("--description", metavar="FILE", default=description.PATH,
                        help=f"the description (default: {description.PATH})")
    if elsewhere:
        parser.add_argument(
            "--elsewhere", action="store_true",
            help="this machine is no node of the cluster: its addresses do not count")


def formatted(parser: argparse.ArgumentParser) -> None:
    """How the result is printed."""
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="for people or for programs (default: text)")


def refuse(why: str, given: Mapping[str, object]) -> None:
    """UsageError if an option is given that would have no effect, in silence.

    why: what the command does instead. given: by option, what is true where it is given.
    """
    useless = [name for name, value in given.items() if value]
    if useless:
        raise UsageError(f"{why}: leave out {' and '.join(useless)}")


def of_a_cib(parser: argparse._ActionsContainer, text: str) -> None:
    """Which CIB. text: the help."""
    parser.add_argument("--cib", metavar="FILE|live", default=cib.LIVE, help=text)
