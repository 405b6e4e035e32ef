"""A service's options as oslo.config resolves them: a process of its own, run by `configuration`.

Beside the command rather than in it: it imports the service's own code, which takes seconds, says
things on stderr, and may be broken. It runs under the Python that the service's packages belong to.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

_LIBRARIES = ("oslo.", "keystonemiddleware.", "osprofiler", "cotyledon")
"""The names of libraries' options among the entry points oslo.config.opts."""
_FURTHER = {"cinder": ("castellan.config", "os_brick"), "glance": ("castellan.config",),
            "nova": ("castellan.config", "os_brick", "os_vif")}
_BUILT_IN = "oslo.config"
"""Of oslo.config itself, which registers them by itself."""


def main() -> None:
    """Answer one question, the JSON in argv, with one line of JSON on stdout."""
    question = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    # What the service's code prints is no part of the answer.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            answer = _answer(**question)
        except Exception as error:  # noqa: BLE001 - whatever the service's code raises
            answer = {"error": type(error).__name__}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    # Threads of the service's code have no say in when this ends.
    os._exit(0)


def _answer(project: str, files: list[str], folders: list[str],
            wanted: list[list[str]]) -> dict[str, Any]:
    from oslo_config import cfg  # type: ignore[import-not-found,unused-ignore]

    conf = cfg.ConfigOpts()
    known: dict[str, set[str]] = {}
    older: dict[str, dict[str, str]] = {}
    whole = True
    for group, options in _options(project):
        if options is None:
            whole = False
            continue
        for option in options:
            option.required = False  # Whether it is there is asked later, not by oslo.config.
            with contextlib.suppress(cfg.DuplicateOptError):
                conf.register_opt(option, group=None if group == "DEFAULT" else group)
            names = known.setdefault(group, set())
            names |= {option.name, option.dest}
            today = f"[{group}] {option.name}"
            if option.deprecated_for_removal:
                older.setdefault(group, {})[option.dest] = ""
            for one in option.deprecated_opts:
                # Without a group it is in that of the option; without a name it has its name.
                where, name = one.group or group, one.name or option.dest
                known.setdefault(where, set()).add(name)
                if (where, name.replace("-", "_")) != (group, option.dest):
                    older.setdefault(where, {})[name] = today
    words = [f"--config-file={path}" for path in files]
    words += [f"--config-dir={path}" for path in folders]
    conf(words, project=project, default_config_files=[], default_config_dirs=[])
    return {
        "values": {f"{section}/{name}": found for section, name in wanted
                   if (found := _value(conf, section, name)) is not None},
        "known": {group: sorted(names) for group, names in known.items()} if whole else {},
        "older": older,
    }


def _value(conf: Any, section: str, name: str) -> list[str] | None:
    """Text and file of a value, the latter empty for a default; None where there is no option."""
    try:
        group = None if section == "DEFAULT" else section
        value = getattr(conf, name) if group is None else getattr(getattr(conf, section), name)
        location = conf.get_location(name, group)
    except Exception:  # noqa: BLE001 - no such option, or a value that it cannot have
        return None
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    given = location is not None and location.location.name == "user"
    return ["" if value is None else text, location.detail if given else ""]


def _options(project: str) -> Iterator[tuple[str, Any]]:
    """Groups with their options; None for options where the code that has them does not load."""
    found = importlib.metadata.entry_points()
    name = "oslo.config.opts"
    # Before Python 3.10 it is a mapping.
    points = found.select(group=name) if hasattr(found, "select") else found.get(name, ())
    prefixes = (f"{project}.", f"{project}-")
    libraries = (*_LIBRARIES, *_FURTHER.get(project, ()))
    # The service's own code first: it expects to find libraries as they are without being used.
    every = sorted({one.name: one for one in points}.values(),
                   key=lambda one: not one.name.startswith(project))
    for point in every:
        own = point.name == project or point.name.startswith(prefixes)
        if point.name == _BUILT_IN or not (own or point.name.startswith(libraries)):
            continue
        try:
            groups = list(point.load()())
        except Exception:  # noqa: BLE001 - whatever it raises, it has no options to tell
            if own:
                yield "", None
            continue
        for group, options in groups:
            yield str(getattr(group, "name", group) or "DEFAULT"), list(options)
