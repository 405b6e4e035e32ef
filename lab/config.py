"""Configuration files: write those of a lab, and change an option later.

Called by `lab.openstack` and `lab.seed`. What is in the files is in `lab.specs`.
"""

from __future__ import annotations

import configparser
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lab.errors import LabError
from lab.settings import Settings
from lab.specs import SPECS


def write(settings: Settings) -> None:
    """Write the files of all projects of a lab, each readable for the project's own user."""
    for name in settings.every_project:
        spec = SPECS[name]
        folder = settings.own(Path("/etc", name))
        folder.mkdir(parents=True, exist_ok=True)
        for shipped in spec.shipped:
            _copy(settings.shipped(name, shipped), folder, name)
        for path, options in spec.options(settings).items():
            target = settings.own(Path(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            _save(_parser(options), target)
        if spec.policy:
            (folder / "policy.yaml").write_text(spec.policy)
        for each in (folder, *folder.rglob("*")):
            shutil.chown(each, "root", settings.users[name])
            each.chmod(0o750 if each.is_dir() else 0o640)


def _copy(shipped: Path, folder: Path, name: str) -> None:
    try:
        shutil.copy(shipped, folder)
    except FileNotFoundError:
        raise LabError(f"{name} has come without {shipped}: install it again") from None


def option(path: Path, section: str, name: str) -> str:
    """An option in a file; empty where the file does not have it."""
    return _load(path).get(section, name, fallback="")


def change(path: Path, section: str, option: str, value: str) -> None:
    """Set one option in a file; the file's owner and mode stay."""
    parser = _load(path)
    if not parser.has_section(section):
        parser.add_section(section)
    parser.set(section, option, value)
    _replace(path, parser, like=path)


def amend(path: Path, options: Mapping[str, Mapping[str, str]]) -> None:
    """Set some options in a file, which is made if there is none."""
    parser = _load(path) if path.exists() else _parser({})
    parser.read_dict(options)
    _save(parser, path)


def variant(original: Path, name: str, options: Mapping[str, Mapping[str, str]]) -> Path:
    """A copy of a file, beside it, with some options changed."""
    path = original.with_name(f"{name}.conf")
    parser = _load(original)
    parser.read_dict(options)
    _replace(path, parser, like=original)
    return path


def twin(original: Path, name: str, options: Mapping[str, Mapping[str, str]]) -> Path:
    """Like `variant`, but a copy of the whole folder, beside it; the file keeps its name."""
    folder = original.parent.with_name(name)
    shutil.copytree(original.parent, folder)
    for like in (original.parent, *original.parent.iterdir()):
        rights = like.stat()
        os.chown(folder / like.relative_to(original.parent), rights.st_uid, rights.st_gid)
    path = folder / original.name
    parser = _load(original)
    parser.read_dict(options)
    _replace(path, parser, like=original)
    return path


def _parser(options: Mapping[str, Mapping[str, str]]) -> configparser.RawConfigParser:
    # [DEFAULT] is a section like the others to oslo.config: nothing is inherited from it.
    parser = configparser.RawConfigParser(default_section="", delimiters="=", strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(options)
    return parser


def _load(path: Path) -> configparser.RawConfigParser:
    parser = _parser({})
    parser.read_string(path.read_text())
    return parser


def _save(parser: configparser.RawConfigParser, path: Path) -> None:
    with path.open("w") as file:
        parser.write(file)


def _replace(path: Path, parser: configparser.RawConfigParser, *, like: Path) -> None:
    # A daemon that starts meanwhile reads the old file or the new one, never half of it.
    rights = like.stat()
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    _save(parser, part)
    os.chown(part, rights.st_uid, rights.st_gid)
    part.chmod(rights.st_mode & 0o777)
    part.replace(path)
