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


def option(paths: Iterable[str], section: str, name: str, *older: str) -> str:
    """The value of an option in a service's files, of which the last one counts; else empty.

    older: names that it had before, in the same section; they count where it is not set.
    """
    files = [*paths]
    found = _merged(files, section)
    name = next((one for one in (name, *older) if found.get(one)), name)
    if section != "DEFAULT" and "$" in found.get(name, ""):
        found = {**_merged(files, "DEFAULT"), **found}
    return expanded(found, name)


def expanded(found: Mapping[str, str], name: str) -> str:
    """The value of an option, with those that it refers to in their places, as $my_ip.

    What is not there stays as it is, and so do references in what is referred to.
    """
    value = found.get(name, "").strip()
    if "$" not in value:
        return value
    import re

    def referred(match: re.Match[str]) -> str:
        other = match[1] or match[2]
        return found.get(other, match[0]).strip() if other else "$"

    return re.sub(r"[$\\]\$|\$(?:(\w+)|\{(\w+)\})", referred, value)


def _merged(paths: Iterable[str], section: str) -> dict[str, str]:
    return {name: value for path in paths for name, value in options(path, section).items()}


def _parsed(name: str, path: str, section: str, *, strip: bool) -> Mapping[str, str]:
    import configparser

    # The one section is taken as the parser's default section: nothing is inherited by it.
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, allow_no_value=True, default_section=section)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            # For uWSGI an indented line is a setting, for oslo.config it continues a value.
            parser.read_file(map(str.strip, file) if strip else file)
    except (OSError, AttributeError, configparser.Error) as error:
        # AttributeError: what continues an option without a value, before Python 3.13.
        said = getattr(error, "strerror", "") or type(error).__name__
        raise ArgumentError(f"{name}={shown(path)} cannot be read: {said}") from error
    return {key: value or "" for key, value in parser.defaults().items()}
