"""Options in a service's configuration, and settings in an ini file of uWSGI.

Called by `uwsgi` (where to listen), and by the checks of workers (`broker`, `database`), which
remember what they have read. oslo.config itself would cost a monitor 200 ms to import.
"""
from __future__ import annotations

from .errors import ArgumentError
from .parameters import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def options(path: str, section: str = "DEFAULT", *, parameter: str = "config") -> Mapping[str, str]:
    """The options of a section; of several of one name the last. ArgumentError if unreadable.

    parameter: the one that names the file.
    """
    return _parsed(parameter, path, section, strip=False)


def settings(path: str) -> Mapping[str, str]:
    """The settings of uWSGI in an ini file, none without a file; ArgumentError if unreadable."""
    return _parsed("uwsgi_ini", path, "uwsgi", strip=True) if path else {}


def option(paths: Iterable[str], section: str, name: str) -> str:
    """The value of an option in a service's files, of which the last one counts; else empty."""
    found = ""
    for path in paths:
        here = options(path, section)
        if name in here:
            found = expanded(here, name)
            if found.startswith("$") and section != "DEFAULT":
                found = options(path).get(found[1:].strip("{}"), found)
    return found


def expanded(found: Mapping[str, str], name: str) -> str:
    """The value of an option, and of the one that it refers to, as $my_ip."""
    value = found.get(name, "").strip()
    if value.startswith("$"):
        value = found.get(value[1:].strip("{}"), value).strip()
    return value


def _parsed(name: str, path: str, section: str, *, strip: bool) -> Mapping[str, str]:
    import configparser

    # The one section is taken as the parser's default section: nothing is inherited by it.
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, allow_no_value=True, default_section=section)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            # For uWSGI an indented line is a setting, for oslo.config it continues a value.
            parser.read_file(map(str.strip, file) if strip else file)
    except (OSError, configparser.Error) as error:
        said = getattr(error, "strerror", "") or type(error).__name__
        raise ArgumentError(f"{name}={shown(path)} cannot be read: {said}") from error
    return {key: value or "" for key, value in parser.defaults().items()}
