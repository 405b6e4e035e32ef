"""Files that others have written: read up to a limit, and taken apart as oslo.config does it.

Called by all that reads descriptions, CIBs and the services' configuration.
"""

from __future__ import annotations

import configparser
import io
import os
import re

from .errors import CannotLookError, UsageError
from .words import path as path_


def whole(path: str, limit: int) -> bytes:
    """A file that the command was given; CannotLookError, or UsageError above limit bytes."""
    try:
        return content(path, limit)
    except OSError as error:
        raise CannotLookError(f"{path_(path)} cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise UsageError(f"{path_(path)} cannot be read: {error}") from error


def content(path: str, limit: int) -> bytes:
    """What is in a file, or comes out of a pipe; OSError, or ValueError above limit bytes.

    A FIFO that no process writes to is empty.
    """
    with open(path, "rb", opener=_at_once) as file:
        found = file.read(limit + 1)
    if len(found) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    return found


def _at_once(path: str, flags: int) -> int:
    """Open a file: of a FIFO it would else wait until a process opens the other end."""
    file = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(file, True)
    return file


def reason(error: OSError) -> str:
    """Why something cannot be read, for the middle of a sentence."""
    return (error.strerror or str(error)).lower()


def parsed(text: bytes, *, strict: bool) -> dict[str, dict[str, str]]:
    """The sections of a file in oslo.config's syntax; ValueError says what is wrong with it.

    strict: a section or key that stands there twice is wrong. oslo.config takes the last.
    """
    parser = configparser.RawConfigParser(
        # Nothing is inherited by one section from another.
        default_section="\0", strict=strict,
        comment_prefixes=("#", ";"), delimiters=("=", ":"), empty_lines_in_values=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    # What stands behind a [section] would else be left out without a word.
    parser.SECTCRE = re.compile(r"\[(?P<header>.+)\]\s*$")
    try:
        # With any end of line, as oslo.config has it.
        parser.read_file(io.StringIO(text.decode("utf-8-sig"), newline=None))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from error
    except configparser.DuplicateSectionError as error:
        raise ValueError(f"section [{error.section}] stands in it twice; the second time in line "
                         f"{error.lineno}") from error
    except configparser.DuplicateOptionError as error:
        raise ValueError(f"{error.section}/{error.option} stands in it twice; the second time in "
                         f"line {error.lineno}") from error
    except configparser.MissingSectionHeaderError as error:
        what = ("has something behind a [section]" if error.line.startswith("[") else
                "stands before the first [section]")
        raise ValueError(f"line {error.lineno} {what}") from error
    except configparser.ParsingError as error:
        line = error.errors[0][0] if error.errors else 0
        raise ValueError(f"line {line} is no `key = value`") from error
    except (ValueError, configparser.Error) as error:
        raise ValueError("a line in it is no `key = value`") from error
    return {section: dict(parser.items(section)) for section in parser.sections()}


def unquoted(value: str) -> str:
    """As oslo.config takes a value: in one pair of quotes, or without."""
    value = " ".join(value.split("\n")).strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] in "\"'" else value
