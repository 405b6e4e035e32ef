"""The archive of `make dist`: sources, version, and the changelogs from CHANGELOG.md."""

from __future__ import annotations

import subprocess
import tarfile
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from agentlib.agent import VERSION
from harness import EVERY_AGENT
from lab.root import ENVIRON
from packages.kit import ROOT, dist, run
from release import sources


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    return dist(tmp_path_factory.mktemp("dist"))


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack the archive; return its top folder."""
    run("tar", "-xf", archive, "-C", folder)
    (top,) = folder.iterdir()
    return top


def test_the_same_bytes_twice(archive: Path, tmp_path: Path) -> None:
    """Two archives of the same sources are equal, whatever umask and time zone are."""
    command = 'umask 077; TZ=Asia/Tokyo make -s -C "$0" dist DIST="$1"'
    again = run("sh", "-c", command, ROOT, tmp_path)

    assert archive.name == Path(again.strip()).name
    assert archive.read_bytes() == (tmp_path / archive.name).read_bytes()


def test_an_archive_makes_itself(archive: Path, tmp_path: Path) -> None:
    """The unpacked sources make the same archive again, without git, in a folder with blanks."""
    (tmp_path / "ä b").mkdir()
    top = unpacked(archive, tmp_path / "ä b")

    run("make", "-s", "-C", top, "dist")

    assert archive.read_bytes() == (top / "dist" / archive.name).read_bytes()


def test_all_that_git_knows_is_in_it(archive: Path) -> None:
    """The archive has every file of the repository, and the two files that are made for it."""
    known = set(run("git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files").splitlines())
    with tarfile.open(archive) as tar:
        entries = {entry.name.partition("/")[2]: entry for entry in tar}

    made = {"debian/changelog", "openstack-resource-agents.spec"}
    assert {name for name in known if (ROOT / name).exists()} | made == set(entries)
    assert {("root", 0)} == {(entry.uname, entry.uid) for entry in entries.values()}
    assert {0o755} == {entries[f"ocf/{agent.name}"].mode for agent in EVERY_AGENT}
    assert entries["ocf/agentlib"].issym()


def test_debian_changelog(archive: Path, tmp_path: Path) -> None:
    """dpkg reads the changelog without a warning; its newest version is that of the agents."""
    changelog = unpacked(archive, tmp_path) / "debian/changelog"
    shown = subprocess.run(
        ["dpkg-parsechangelog", "--all", "-l", changelog], env=ENVIRON, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    lines = shown.stdout.splitlines()
    fields = dict(line.split(": ", 1) for line in lines if line[:1].isalpha() and ": " in line)

    assert not shown.stderr
    assert "openstack-resource-agents" == fields["Source"]
    assert fields["Version"].startswith(f"1:{VERSION}")
    assert f"_{'-'.join(archive.name.split('-')[3:])}" == f"_{fields['Version'][2:]}.tar.gz"
    assert sources.epoch() == parsedate_to_datetime(fields["Date"]).timestamp()


def test_every_entry_is_in_the_debian_changelog() -> None:
    """Each entry of CHANGELOG.md is in debian/changelog, word for word except for links."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = [entry for release in sources.history() for _, found in release.sections
               for entry in found]
    made = " ".join(sources.debian_changelog().split())

    assert sum(line.startswith("- ") for line in text.splitlines()) == len(entries)
    assert [] == [entry for entry in entries if f" * {entry}" not in made]


def test_a_release_has_its_day() -> None:
    """A dated heading gives the release its version, without a suffix, and its date."""
    text = "# Changes\n\n## 1.2.3 - 2027-01-31\n\n### Added\n\n- A [b](c)\n  d.\n"
    (release,) = sources.releases(text)

    assert ("1.2.3", "2027-01-31", (("Added", ("A b d.",)),)) == (
        release.version, release.date, release.sections)


@pytest.mark.parametrize("heading", ["1.2.3", "Unreleased", "1.2.3 (2027-01-31)"])
def test_a_heading_that_cannot_be_read(heading: str) -> None:
    """A heading of CHANGELOG.md in another form is refused; the message has the valid forms."""
    with pytest.raises(sources.ReleaseError, match="is neither"):
        sources.releases(f"## {heading}\n\n### Added\n")


def test_two_versions(archive: Path, tmp_path: Path) -> None:
    """If the versions of CHANGELOG.md and the agents differ, no archive is made."""
    top = unpacked(archive, tmp_path)
    (top / "CHANGELOG.md").write_text("## Unreleased (9.9.9)\n")

    done = subprocess.run(
        ["make", "-s", "-C", top, "dist"], env=ENVIRON, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "CHANGELOG.md begins with 9.9.9, agentlib/agent.py says" in done.stderr
    assert not list((top / "dist").iterdir())


def test_every_entry_is_in_the_spec(archive: Path, tmp_path: Path) -> None:
    """rpm reads the spec, which has each entry of CHANGELOG.md and the agents' version."""
    spec = unpacked(archive, tmp_path) / "openstack-resource-agents.spec"
    form = "%{version}\\n[%{changelogtext}\\n]"
    said = run("rpmspec", "--query", "--srpm", "--queryformat", form, spec, HOME=str(tmp_path))
    entries = [entry for release in sources.history() for _, found in release.sections
               for entry in found]

    assert said.startswith(VERSION)
    assert [] == [entry for entry in entries if f"- {entry}" not in " ".join(said.split())]
