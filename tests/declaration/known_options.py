"""Prints the options of a release: section, name and default of each, as JSON.

Run by test_newest.py with the Python of the virtual environment that has the release:
`python known_options.py DISTRIBUTION [MODULE ...]`. Options are taken from the lists of which the
release's sample file is made, and from those that a module registers when it is imported.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution


def listed(name: str) -> Iterable[tuple[str, str, str]]:
    """The options in the lists of a distribution."""
    for entry in distribution(name).entry_points:
        if entry.group != "oslo.config.opts":
            continue
        try:
            groups = entry.load()()
        except ImportError as error:  # a driver's library is missing, or the list itself
            print(f"{entry.name}: {error}", file=sys.stderr)
            continue
        for group, options in groups:
            section = getattr(group, "name", group) or "DEFAULT"
            yield from ((section, option.dest, str(option.default)) for option in options)


def registered(modules: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    """The options of [DEFAULT] that modules register."""
    for module in modules:
        importlib.import_module(module)
    options = importlib.import_module("oslo_config.cfg").CONF
    options([], default_config_files=[])
    yield from (("DEFAULT", name, str(options[name])) for name in options)


def main(name: str, *modules: str) -> None:
    """Print the options of a distribution, and of the libraries that it requires."""
    found: list[tuple[str, str, str]] = []
    required = (re.split(r"[^\w.-]", wanted)[0] for wanted in distribution(name).requires or ())
    for each in dict.fromkeys([name, *required]):
        try:
            found += listed(each)
        except PackageNotFoundError:  # a requirement of an extra
            pass
    if modules:
        found += registered(modules)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
