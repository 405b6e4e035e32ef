"""A release's version, changelogs and source archive; all of it from two files.

Run by `make dist`, `make deb` and `make rpm`, and by nothing that is installed:

    python3 release/sources.py version          # 0.1.0, or 0.1.0~dev20261127225419
    python3 release/sources.py epoch            # seconds since 1970 that all files get
    python3 release/sources.py dist FOLDER      # FOLDER/openstack-ocf-agents-VERSION.tar.gz

The version is in agentlib/agent.py, what has changed in CHANGELOG.md. Between two releases the
first heading there says "Unreleased": the version is then older than the release's for dpkg and
rpm ("~"), and has the time of the last commit in it, so that one build after another upgrades.

The archive holds the files that git tracks, as they are in the tree, and two that are made here:
debian/changelog and openstack-resource-agents.spec. Same files and same commit: same bytes.
Needs Python, and git where the tree is a checkout.
"""

from __future__ import annotations

import calendar
import functools
import gzip
import io
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "openstack-ocf-agents"
PACKAGE = "openstack-resource-agents"

EPOCH = 1
"""Debian's and rpm's epoch: distributions had the shell agents under the package's name, with
years for versions (2015.2), and apt would take ours for older."""

LEFT_OUT = {".git", ".venv", "build", "dist", "__pycache__"}
"""Folders that are no source, in a tree that is not a checkout."""


class ReleaseError(Exception):
    """The tree is not fit for a release; says why, and the remedy."""


@dataclass(frozen=True)
class Release:
    """A part of CHANGELOG.md.

    date: YYYY-MM-DD; empty while it is not released. sections: headings, each with its entries.
    """

    version: str
    date: str
    sections: tuple[tuple[str, tuple[str, ...]], ...]


# --- what the two files say -----------------------------------------------------------------


def declared() -> str:
    """The version in agentlib/agent.py."""
    text = (ROOT / "agentlib/agent.py").read_text(encoding="utf-8")
    found = re.search(r'^VERSION = "(\d+\.\d+\.\d+)"$', text, re.MULTILINE)
    if not found:
        raise ReleaseError('agentlib/agent.py has no line VERSION = "X.Y.Z"')
    return found[1]


def releases(text: str) -> list[Release]:
    """All releases in the text of CHANGELOG.md, the newest first."""
    found = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        match = re.fullmatch(r"Unreleased \((\S+)\)|(\d\S*) - (\d{4}-\d\d-\d\d)", heading.strip())
        if not match:
            raise ReleaseError(f'CHANGELOG.md: "## {heading}" is neither "## Unreleased (X.Y.Z)" '
                               'nor "## X.Y.Z - YYYY-MM-DD"')
        found.append(Release(match[1] or match[2], match[3] or "", tuple(_sections(body))))
    if not found:
        raise ReleaseError("CHANGELOG.md has no release")
    return found


def _sections(body: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The headings in a part of the changelog; entries without links and line breaks."""
    for section in re.split(r"^### ", body, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        entries = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
        yield heading, tuple(
            re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(entry.split())) for entry in entries)


@functools.cache
def history() -> list[Release]:
    """All releases; ReleaseError if the newest has another version than the agents."""
    found = releases((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if found[0].version != declared():
        raise ReleaseError(f"CHANGELOG.md begins with {found[0].version}, agentlib/agent.py says "
                           f"{declared()}: they must be the same")
    return found


@functools.cache
def epoch() -> int:
    """The time of this release, in seconds since 1970."""
    newest = history()[0]
    if newest.date:
        return _noon(newest.date)
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    if (ROOT / ".git").exists():
        return int(_git("log", "-1", "--format=%ct"))
    made = re.search(r"~dev(\d{14})\)", _made_changelog())
    if made:
        return _seconds(made[1], "%Y%m%d%H%M%S")
    raise ReleaseError("no git checkout, and no release: set SOURCE_DATE_EPOCH")


def version() -> str:
    """The version in the form that packages have."""
    if history()[0].date:
        return declared()
    return declared() + time.strftime("~dev%Y%m%d%H%M%S", time.gmtime(epoch()))


def maintainer() -> str:
    """Name and address, from debian/control."""
    text = (ROOT / "debian/control").read_text(encoding="utf-8")
    found = re.search(r"^Maintainer: (.*)$", text, re.MULTILINE)
    if not found:
        raise ReleaseError("debian/control has no Maintainer")
    return found[1]


def _made_changelog() -> str:
    """The debian/changelog of a tree that was unpacked from an archive; empty in a checkout."""
    path = ROOT / "debian/changelog"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _noon(date: str) -> int:
    return _seconds(f"{date}12", "%Y-%m-%d%H")


def _seconds(text: str, form: str) -> int:
    return calendar.timegm(time.strptime(text, form))


# --- changelogs -----------------------------------------------------------------------------


def debian_changelog() -> str:
    """CHANGELOG.md as debian/changelog (deb-changelog(5))."""
    parts = []
    for release, name, when in _dated():
        lines = [f"{PACKAGE} ({EPOCH}:{name}) {'unstable' if release.date else 'UNRELEASED'}; "
                 "urgency=medium", ""]
        for heading, entries in release.sections:
            lines += [*_wrapped(f"[ {heading} ]", "  "), *_entries(entries, "  * ", "    "), ""]
        stamp = time.strftime("%a, %d %b %Y %H:%M:%S +0000", when)
        parts.append("\n".join([*lines, f" -- {maintainer()}  {stamp}\n"]))
    return "\n".join(parts)


def rpm_changelog() -> str:
    """CHANGELOG.md as what follows %changelog in a spec."""
    parts = []
    for release, name, when in _dated():
        entries = [entry.replace("%", "%%") for _, found in release.sections for entry in found]
        head = f"* {time.strftime('%a %b %d %Y', when)} {maintainer()} - {EPOCH}:{name}-1"
        parts.append("\n".join([head, *_entries(entries, "- ", "  "), ""]))
    return "\n".join(parts)


def _dated() -> Iterator[tuple[Release, str, time.struct_time]]:
    """Each release with its version for packages, and its time."""
    for place, release in enumerate(history()):
        if place == 0:
            yield release, version(), time.gmtime(epoch())
        elif release.date:
            yield release, release.version, time.gmtime(_noon(release.date))
        else:
            raise ReleaseError(f"CHANGELOG.md: {release.version} is unreleased, and not the newest")


def _entries(entries: Sequence[str], first: str, other: str) -> list[str]:
    return [line for entry in entries for line in _wrapped(entry, first, other)]


def _wrapped(text: str, first: str, other: str = "    ") -> list[str]:
    return textwrap.wrap(text, 78, initial_indent=first, subsequent_indent=other,
                         break_long_words=False, break_on_hyphens=False)


def spec() -> str:
    """The spec for rpm, complete."""
    text = (ROOT / f"release/{PACKAGE}.spec.in").read_text(encoding="utf-8")
    values = {"@VERSION@": version(), "@EPOCH@": str(EPOCH), "@CHANGELOG@": rpm_changelog()}
    for name, value in values.items():
        text = text.replace(name, value)
    return text


# --- the archive ----------------------------------------------------------------------------


def dist(folder: Path) -> Path:
    """Write the source archive into a folder; its path."""
    top, when = f"{NAME}-{version()}", epoch()
    made = {"debian/changelog": debian_changelog(), f"{PACKAGE}.spec": spec()}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted({*_files(), *made}):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.mtime, entry.mode, entry.uname, entry.gname = when, 0o644, "root", "root"
            path, content = ROOT / name, b""
            if name in made:
                content = made[name].encode()
            elif path.is_symlink():
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
            else:
                content = path.read_bytes()
                entry.mode |= 0o111 if path.stat().st_mode & 0o100 else 0
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, packed, mtime=when) as compressed:
        compressed.write(archive.getvalue())
    target = folder / f"{top}.tar.gz"
    write(target, packed.getvalue())
    return target


def write(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file, whole or not at all. mode: by the umask if not given."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        if mode is not None:
            unfinished.chmod(mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _files() -> list[str]:
    """The paths of all sources, files and links, from the top of the tree."""
    if not (ROOT / ".git").exists():
        paths = (path for path in ROOT.rglob("*") if path.is_symlink() or path.is_file())
        names = (path.relative_to(ROOT) for path in paths)
        return [str(name) for name in names if not LEFT_OUT.intersection(name.parts)]
    unknown = _listed("--others", "--exclude-standard")
    if unknown:
        print(f"make dist: left out, since git does not know them: {' '.join(unknown)}",
              file=sys.stderr)
    return [name for name in _listed("--cached") if os.path.lexists(ROOT / name)]


def _listed(*options: str) -> list[str]:
    return [name for name in _git("ls-files", "-z", *options).split("\0") if name]


def _git(*arguments: str) -> str:
    # The tree may belong to another user: with these options git runs nothing from it.
    command = ["git", "-c", f"safe.directory={ROOT}", "-c", "core.fsmonitor=false", "-C", str(ROOT)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run([*command, *arguments], env=environ, capture_output=True, text=True)
    except FileNotFoundError:
        raise ReleaseError("git is missing, and this is a checkout") from None
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; an exit code."""
    try:
        if arguments == ["version"]:
            print(version())
        elif arguments == ["epoch"]:
            print(epoch())
        elif len(arguments) == 2 and arguments[0] == "dist":
            print(dist(Path(arguments[1])))
        else:
            print("usage: sources.py version|epoch|dist FOLDER", file=sys.stderr)
            return 64
    except (ReleaseError, OSError, ValueError) as error:
        print(f"make dist: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
