"""Agents in one file each: `make single`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import EVERY_AGENT, ROOT, eventually, expect
from lab.root import ENVIRON
from lookalike.service import Service
from packages.kit import ODD, make, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make single` has filled."""
    folder = tmp_path_factory.mktemp("single")
    make("single", folder)
    return folder / ODD


def test_all_agents(made: Path, tmp_path: Path) -> None:
    """Each file works alone in a folder: it prints the meta-data of its agent."""
    assert {agent.name for agent in EVERY_AGENT} | {"SHA256SUMS"} == set(os.listdir(made))
    for agent in EVERY_AGENT:
        single = Path(shutil.copy(made / agent.name, tmp_path))
        said = run("env", "-i", single, "meta-data")
        assert run("/usr/bin/python3", "-EsB", agent, "meta-data") == said
        single.unlink()
    assert [] == list(tmp_path.iterdir())


def test_checksums(made: Path) -> None:
    """SHA256SUMS has the checksum of each file, in sha256sum's format."""
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=made)
    lines = (made / "SHA256SUMS").read_text().splitlines()
    assert {agent.name for agent in EVERY_AGENT} == {line.split("  ")[1] for line in lines}


def test_the_same_bytes_twice(made: Path, tmp_path: Path) -> None:
    """The same sources and the same Python make the same files."""
    run("make", "-s", "-C", ROOT, "single", f"DIST={tmp_path}")

    assert (made / "SHA256SUMS").read_bytes() == (tmp_path / "SHA256SUMS").read_bytes()
    content = (tmp_path / "glance-api").read_bytes()
    assert hashlib.sha256(content).hexdigest() in (made / "SHA256SUMS").read_text()


def test_signature(tmp_path: Path) -> None:
    """With a key, the checksums are signed with it; gpg verifies them."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    environ = {"GNUPGHOME": str(home)}
    run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "a@b.example", "ed25519",
        "sign", **environ)  # fmt: skip
    try:
        run("make", "-s", "-C", ROOT, "single", f"DIST={tmp_path / 'dist'}", "SIGN_KEY=a@b.example",
            **environ)  # fmt: skip
        run("gpg", "--batch", "--verify", "SHA256SUMS.asc", "SHA256SUMS", cwd=tmp_path / "dist",
            **environ)  # fmt: skip
    finally:
        run("gpgconf", "--kill", "all", **environ)


def test_another_python(made: Path, folder: Path) -> None:
    """A Python of another version than the bytecode's compiles the sources in the file."""
    text = (made / "glance-api").read_text()
    magic = next(line for line in text.splitlines() if line.startswith("    b"))
    other = folder / "glance-api"
    other.write_text(text.replace(magic, "    b'none',", 1))
    other.chmod(0o755)

    assert magic not in other.read_text()
    assert run(made / "glance-api", "meta-data") == run(other, "meta-data")
    with Service(other, _place(folder), credentials=True) as service:
        expect(service.start(), 0)
        expect(service.monitor(), 0)


def test_replaced_while_it_runs(made: Path, folder: Path) -> None:
    """A file that is replaced while its agent runs does not change this run."""
    agent = Path(shutil.copy(made / "glance-api", folder))
    with Service(agent, _place(folder), credentials=True) as service:
        expect(service.start(), 0)
        service.config.set(api="hang")
        asked = len(service.config.requests())
        monitor = service.begin("monitor", interval=30, timeout=15)
        eventually(lambda: len(service.config.requests()) > asked)
        agent.write_text("no agent at all")
        expect(monitor.wait(), 1, "glance-api")


def _place(folder: Path) -> Path:
    place = folder / "service"
    place.mkdir()
    return place


def test_contract(made: Path) -> None:
    """The tests of tests/agents/test_contract.py for start, stop, monitor and reload pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "tests/agents/test_contract.py", "-k", "start or stop or monitor or reload"],
        cwd=ROOT, env={**ENVIRON, "FAULTS_AGENT": str(made / "glance-api")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
