"""What `make install`, `make uninstall` and `pip install` leave on a machine."""

from __future__ import annotations

import marshal
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
AGENTS = subprocess.run(
    ["make", "--silent", "-C", str(ROOT), "agents"],
    env={"PATH": PATH},
    capture_output=True,
    text=True,
    check=True,
).stdout.split()

RESOURCES = "usr/lib/ocf/resource.d/openstack"
LIBRARY = "usr/lib/ocf/lib/openstack/agentlib"
MAN = "usr/share/man/man7"
MAN_OF_COMMAND = "usr/share/man/man8/openstack-ocf.8"
COMPLETION = "usr/share/bash-completion/completions/openstack-ocf"
SCRIPTS = [f"usr/share/crmsh/scripts/openstack-{name}/main.yml"
           for name in ("cinder-api", "glance-api")]
TOOL = "usr/lib/ocf/lib/openstack/openstack_ocf"
COMMAND = "usr/sbin/openstack-ocf"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that are installed, and of the Makefile and others for that."""
    copy = tmp_path_factory.mktemp("clone")
    for name in ("agentlib", "bin", "crm", "docs", "ocf", "openstack_ocf"):
        shutil.copytree(
            ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("Makefile", "LICENSE", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install` leaves under an empty DESTDIR, for tests that only look at it."""
    destdir = tmp_path_factory.mktemp("new") / "installed"
    destdir.parent.joinpath("before").touch()
    make(source, "install", destdir)
    return destdir


@pytest.fixture
def root(installed: Path, tmp_path: Path) -> Path:
    """A DESTDIR in which all is installed, for tests that change it."""
    return shutil.copytree(installed, tmp_path / "root", symlinks=True)


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command with PATH alone in its environment, and without stdin."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [str(word) for word in command],
        env={"PATH": PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **options,
    )


def make(source: Path, target: str, destdir: Path, *variables: str) -> str:
    """Run make; return its output."""
    done = run("make", "-C", source, target, f"DESTDIR={destdir}", *variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def metadata(agent: Path) -> str:
    """The meta-data of an agent, with an empty environment, from the root folder."""
    done = subprocess.run(
        ["env", "-i", agent, "meta-data"], cwd="/", capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout


@cache
def expected(agent: str) -> str:
    """The meta-data of the agent in the source tree."""
    return run("/usr/bin/python3", "-EsB", ROOT / "ocf" / agent, "meta-data").stdout


def tree(folder: Path) -> dict[str, str]:
    """All paths in a folder, with modes as ls shows them."""
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in sorted(folder.rglob("*"))
    }


def put(path: Path, text: str) -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- make install ---------------------------------------------------------------------------


def test_there_are_agents() -> None:
    """The Makefile finds the agents, and neither the link nor anything with a suffix."""
    assert {"cinder-api", "glance-api"} <= set(AGENTS)
    assert not {"agentlib", "__pycache__"} & set(AGENTS)


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_umask(source: Path, installed: Path, tmp_path: Path, umask: int) -> None:
    """Whatever the umask, the same files are installed, with the same modes."""
    destdir = tmp_path / "root"
    previous = os.umask(umask)
    try:
        make(source, "install", destdir)
    finally:
        os.umask(previous)

    assert tree(installed) == tree(destdir)


def test_modes(installed: Path) -> None:
    """Everybody can read what is installed, and only root write it."""
    modules = [path.name for path in (ROOT / "agentlib").glob("*.py")]
    wanted = dict.fromkeys((f"{RESOURCES}/{name}" for name in AGENTS), "-rwxr-xr-x")
    wanted[f"{RESOURCES}/agentlib"] = "lrwxrwxrwx"
    wanted.update({f"{LIBRARY}/{name}": "-rw-r--r--" for name in modules})
    wanted.update({cache_from_source(f"{LIBRARY}/{name}"): "-rw-r--r--" for name in modules})
    tool = [f"{TOOL}/{path.name}" for path in (ROOT / "openstack_ocf").glob("*.py")]
    wanted.update(dict.fromkeys((*tool, *map(cache_from_source, tool)), "-rw-r--r--"))
    wanted[COMMAND] = "-rwxr-xr-x"
    wanted.update({f"{MAN}/ocf_openstack_{name}.7": "-rw-r--r--" for name in AGENTS})
    wanted.update(dict.fromkeys((MAN_OF_COMMAND, COMPLETION, *SCRIPTS), "-rw-r--r--"))
    for path in list(wanted):
        wanted.update({str(f): "drwxr-xr-x" for f in list(Path(path).parents)[:-1]})
    assert dict(sorted(wanted.items())) == dict(sorted(tree(installed).items()))


def test_interpreter_and_link(installed: Path) -> None:
    """Agents run under the system's Python and find the library by a relative link."""
    for agent in AGENTS:
        first = (installed / RESOURCES / agent).read_text().splitlines()[0]
        assert first == "#!/usr/bin/python3 -ESs"
    assert os.readlink(installed / RESOURCES / "agentlib") == "../../lib/openstack/agentlib"


def test_agents_run(installed: Path) -> None:
    """Each installed agent gives its meta-data with an empty environment from any folder."""
    said = {agent: metadata(installed / RESOURCES / agent) for agent in AGENTS}
    assert {agent: expected(agent) for agent in AGENTS} == said


def test_bytecode(installed: Path) -> None:
    """The bytecode belongs to the modules beside it, and names them without DESTDIR."""
    modules = list((installed / LIBRARY).glob("*.py"))
    assert modules
    for module in modules:
        compiled = Path(cache_from_source(str(module))).read_bytes()
        changed = int(module.stat().st_mtime).to_bytes(4, "little")
        size = module.stat().st_size.to_bytes(4, "little")
        assert compiled[4:16] == bytes(4) + changed + size
        code = marshal.loads(compiled[16:])
        assert isinstance(code, CodeType)
        assert code.co_filename == f"/{LIBRARY}/{module.name}"


def test_bytecode_is_used(installed: Path) -> None:
    """Running an agent compiles nothing, and so writes nothing."""
    before = {path: path.stat().st_mtime_ns for path in installed.rglob("*.pyc")}

    metadata(installed / RESOURCES / AGENTS[0])

    assert before == {path: path.stat().st_mtime_ns for path in installed.rglob("*.pyc")}


def test_again(source: Path, root: Path) -> None:
    """A second install leaves what the first one left.

    A module that the new release does not have is removed, with its bytecode; a process that has
    a file open while it is replaced still reads the whole old file.
    """
    first = tree(root)
    gone = put(root / LIBRARY / "gone.py", "")
    put(Path(cache_from_source(str(gone))), "")
    paths = (root / RESOURCES / AGENTS[0], root / LIBRARY / "agent.py")
    for path in paths:
        path.write_text("old")
    with paths[0].open() as agent, paths[1].open() as module:
        make(source, "install", root)

        for file in (agent, module):
            assert file.read() == "old"
            assert os.fstat(file.fileno()).st_nlink == 0
    assert first == tree(root)


def test_agents_run_during_install(source: Path, root: Path) -> None:
    """At any moment of an install a monitor finds an agent that works."""
    agent = root / RESOURCES / AGENTS[0]
    wanted = expected(AGENTS[0])
    command = f"for i in 1 2 3; do make install DESTDIR='{root}' || exit 1; done"
    with subprocess.Popen(
        ["sh", "-c", command], cwd=source, env={"PATH": PATH}, stdout=subprocess.DEVNULL
    ) as install:
        while install.poll() is None:
            assert metadata(agent) == wanted
    assert install.returncode == 0


def test_source_tree_stays_as_it_is(source: Path, installed: Path) -> None:
    """Nothing is written to the source tree."""
    begin = installed.with_name("before").stat().st_mtime_ns
    assert [] == [path for path in source.rglob("*") if path.lstat().st_mtime_ns > begin]


def test_two_at_once(source: Path, installed: Path, tmp_path: Path) -> None:
    """Two installs at once run one after the other, completely; the second says that it waits."""
    script = (
        'mkdir -p "$1/usr/lib/ocf/lib/openstack"; exec 8<"$1/usr/lib/ocf/lib/openstack"; flock 8; '
        'for i in 1 2; do make --no-print-directory -C "$0" install DESTDIR="$1" 8<&- & done | { '
        'read -r first; read -r second; echo "$first"; echo "$second"; flock --unlock 8; cat; }; '
        "wait"
    )
    done = run("bash", "-euo", "pipefail", "-c", script, source, tmp_path)

    assert (0, "") == (done.returncode, done.stderr)
    waiting, also, *last = done.stdout.splitlines()
    assert waiting == also
    assert waiting == f"make install: waiting for another one in {tmp_path}/{LIBRARY[:-9]}"
    assert 2 == len([line for line in last if line.startswith("installed in ")])
    assert tree(installed) == tree(tmp_path)


def test_every_file_is_renamed_to_its_place(
    source: Path, tmp_path: Path, need: Callable[[str, str], str]
) -> None:
    """No file is written where it is to be: another install may be writing there at that moment.

    The lock is that of a library, and two libraries have one command, man pages and scripts.
    """
    seen, root = tmp_path / "seen", tmp_path / "root"
    run(need("strace", "strace"), "-f", "-qq", "-y", "-e", "trace=open,openat,creat", "-o", seen,
        "make", "-C", source, "install", f"DESTDIR={root}")

    created = [line for line in seen.read_text(errors="replace").splitlines()
               if "O_CREAT" in line and str(root) in line]
    assert len(created) > len(AGENTS)
    assert [] == [line for line in created if "/.new." not in line]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts")
def test_full_disk(source: Path, tmp_path: Path) -> None:
    """If the disk is full nothing is replaced: the files installed before are there, and work."""
    script = (
        'mount -t tmpfs -o size=24m tmpfs "$1"; make -C "$0" install DESTDIR="$1" >&2; cd "$1"; '
        'sums() { find . -type f ! -name fill -exec sha256sum {} + | sort; }; '
        'fallocate -l $(($(df --output=avail -B1 . | tail -1) - 600000)) fill; '
        'for agent in usr/lib/ocf/resource.d/openstack/*-*; do echo "# old" >>$agent; done; '
        'before=$(sums); '
        'if make -C "$0" install DESTDIR="$1" >&2; then exit 1; fi; '
        '[ "$before" = "$(sums)" ] && ls -A usr/lib/ocf/lib/openstack && env -i "$2" meta-data'
    )
    done = run("unshare", "--mount", "bash", "-euo", "pipefail", "-c", script, source, tmp_path,
               tmp_path / RESOURCES / AGENTS[0])

    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stderr
    assert f"agentlib\nopenstack_ocf\n{expected(AGENTS[0])}" == done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts")
def test_read_only_source_tree(source: Path, tmp_path: Path) -> None:
    """A read-only source tree is enough (a mount: modes do not stop root), and a /tmp where nothing
    can be executed.
    """
    script = (
        'mount --bind /tmp /tmp && mount -o remount,bind,noexec /tmp '
        '&& mount --bind -o ro "$0" "$0" && ! touch "$0/Makefile" 2>/dev/null '
        '&& make -C "$0" install DESTDIR="$1"'
    )
    done = run("unshare", "--mount", "sh", "-euc", script, source, tmp_path)

    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert metadata(tmp_path / RESOURCES / AGENTS[0]) == expected(AGENTS[0])


def test_another_interpreter(source: Path, tmp_path: Path) -> None:
    """PYTHON becomes the agents' interpreter, with the same options as the usual one."""
    python = os.path.realpath(sys.executable)
    make(source, "install", tmp_path, f"PYTHON={python}")

    agent = tmp_path / RESOURCES / AGENTS[0]
    assert agent.read_text().splitlines()[0] == f"#!{python} -ESs"
    assert metadata(agent) == expected(AGENTS[0])


def test_interpreter_of_another_machine(source: Path, tmp_path: Path) -> None:
    """A PYTHON that this machine does not have is allowed, for packages; there is no bytecode."""
    said = make(source, "install", tmp_path, "PYTHON=/opt/python/bin/python3")

    agent = tmp_path / RESOURCES / AGENTS[0]
    assert "no bytecode" in said
    assert agent.read_text().splitlines()[0] == "#!/opt/python/bin/python3 -ESs"
    assert (tmp_path / MAN / f"ocf_openstack_{AGENTS[0]}.7").exists()


@pytest.mark.parametrize(
    "variable", ["PYTHON=python3", "PYTHON=/usr/bin/env python3", "PYTHON=", "OCF_ROOT=ocf"]
)
def test_wrong_variable(source: Path, tmp_path: Path, variable: str) -> None:
    """A path with which no agent could run is refused before anything is installed."""
    done = run("make", "-C", source, "install", f"DESTDIR={tmp_path}", variable)

    assert done.returncode != 0
    assert f"make install: {variable} is" in done.stderr
    assert {} == tree(tmp_path)


def test_another_root_and_blanks(source: Path, tmp_path: Path) -> None:
    """OCF_ROOT is the cluster stack's folder; DESTDIR may have blanks, quotes and other letters
    in it.
    """
    destdir = tmp_path / "a b'ä\"*"
    make(source, "install", destdir, "OCF_ROOT=/opt/ocf", "MANDIR=/opt/man",
         "SBINDIR=/opt/sbin", "COMPLETIONDIR=/opt/completions", "CRMSHDIR=/opt/crmsh")

    agent = destdir / "opt/ocf/resource.d/openstack" / AGENTS[0]
    assert metadata(agent) == expected(AGENTS[0])
    assert ["opt"] == [path.name for path in destdir.iterdir()]

    make(source, "uninstall", destdir, "OCF_ROOT=/opt/ocf", "MANDIR=/opt/man",
         "SBINDIR=/opt/sbin", "COMPLETIONDIR=/opt/completions", "CRMSHDIR=/opt/crmsh")

    assert [] == [path for path in destdir.rglob("*") if not path.is_dir()]


def test_library_of_pip(source: Path, tmp_path: Path) -> None:
    """If pip's folder is in the place of the link, nothing is done."""
    put(tmp_path / RESOURCES / "agentlib/__init__.py", "")
    before = tree(tmp_path)
    done = run("make", "-C", source, "install", f"DESTDIR={tmp_path}")

    assert done.returncode != 0
    assert "pip uninstall" in done.stderr
    assert before == tree(tmp_path)


def test_command_without_its_library(source: Path, tmp_path: Path) -> None:
    """A command that does not find its library says so, without a traceback: 3."""
    make(source, "install", tmp_path, "OCF_ROOT=/nowhere/ocf")
    done = subprocess.run([tmp_path / "usr/sbin/openstack-ocf", "sample"], capture_output=True,
                          text=True, check=False)
    assert (3, "") == (done.returncode, done.stdout)
    assert "run make install" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_runs(source: Path, tmp_path: Path) -> None:
    """The installed command finds its library by itself, and the agents beside it."""
    folders = [f"{name}={tmp_path}/{name}" for name in (
        "OCF_ROOT", "MANDIR", "SBINDIR", "COMPLETIONDIR", "CRMSHDIR")]
    make(source, "install", tmp_path, *folders, "DESTDIR=")
    description = put(tmp_path / "new.conf", "[heat-engine]\n[glanze]\n")

    done = run(tmp_path / "SBINDIR/openstack-ocf", "check", "--description", description, cwd="/")

    assert (2, "") == (done.returncode, done.stderr)
    assert f"error I2 {description}:glanze: " in done.stdout
    assert "The nearest is [glance]." in done.stdout


# --- make uninstall -------------------------------------------------------------------------


def test_uninstall(source: Path, root: Path, tmp_path: Path) -> None:
    """Uninstall removes all files of this project, and no others."""
    for path in (
        f"{RESOURCES}/nova-of-theirs",
        "usr/lib/ocf/resource.d/heartbeat/Dummy",
        "usr/lib/ocf/lib/heartbeat/ocf-shellfuncs",
        "usr/lib/ocf/lib/openstack/theirs",
        f"{MAN}/ocf_heartbeat_Dummy.7",
        "usr/share/man/man8/theirs.8",
        "usr/share/bash-completion/completions/theirs",
        "usr/share/crmsh/scripts/theirs/main.yml",
        "usr/sbin/theirs",
    ):
        put(root / path, "theirs")
        put(tmp_path / "theirs" / path, "theirs")
    metadata(root / RESOURCES / AGENTS[0])

    make(source, "uninstall", root)

    assert tree(tmp_path / "theirs") == tree(root)


def test_uninstall_twice(source: Path, root: Path) -> None:
    """No file of the provider is left, and a missing file is no error."""
    make(source, "uninstall", root)
    make(source, "uninstall", root)

    assert not (root / RESOURCES).exists()
    assert not (root / LIBRARY).parent.exists()
    assert [] == [path for path in root.rglob("*") if not path.is_dir()]


def test_agents_of_others_stay(source: Path, tmp_path: Path) -> None:
    """Files of the same names that come from other projects are left alone."""
    put(tmp_path / RESOURCES / AGENTS[0], "#!/bin/sh\n. ${OCF_FUNCTIONS_DIR}/ocf-shellfuncs\n")
    for page in (f"{MAN}/ocf_openstack_{AGENTS[0]}.7", MAN_OF_COMMAND, COMPLETION, SCRIPTS[0]):
        put(tmp_path / page, ".TH\n")
    before = tree(tmp_path)

    make(source, "uninstall", tmp_path)

    assert before == tree(tmp_path)


# --- pip install ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prefix(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix into which pip has installed the source tree."""
    prefix = tmp_path_factory.mktemp("prefix")
    copy = shutil.copytree(source, tmp_path_factory.mktemp("pip") / "source", symlinks=True)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-input")
    done = run(sys.executable, "-m", "pip", "install", *options, "--prefix", prefix, copy)
    assert done.returncode == 0, done.stderr
    return prefix


def test_pip_installs_the_same_agents(prefix: Path) -> None:
    """Pip puts all agents into make's folder, executable, with the library beside them."""
    modules = {path.name for path in (ROOT / "agentlib").glob("*.py")}
    folder = prefix / "lib/ocf/resource.d/openstack"

    assert sorted([*AGENTS, "agentlib"]) == sorted(path.name for path in folder.iterdir())
    assert {"-rwxr-xr-x"} == {stat.filemode((folder / name).stat().st_mode) for name in AGENTS}
    assert modules == {path.name for path in (folder / "agentlib").glob("*.py")}


def test_agents_of_pip_run(prefix: Path) -> None:
    """Each agent that pip has installed gives its meta-data with an empty environment."""
    folder = prefix / "lib/ocf/resource.d/openstack"
    said = {agent: metadata(folder / agent) for agent in AGENTS}
    assert {agent: expected(agent) for agent in AGENTS} == said


def test_command_of_pip_runs(prefix: Path, tmp_path: Path) -> None:
    """The command that pip has installed finds its library and the agents, from anywhere."""
    command = prefix / "bin" / "openstack-ocf"
    description = put(tmp_path / "new.conf", "[glance]\nvip = 10.0.0.12\nstorage = rbd\n")

    for words in (["sample"], ["plan", "--elsewhere", "--description", description]):
        done = run(command, *words, cwd="/")
        assert (0, "") == (done.returncode, done.stderr)
        assert "glance" in done.stdout
    assert {path.name for path in (ROOT / "openstack_ocf").glob("*.py")} == {
        path.name for path in (prefix / "lib/ocf/lib/openstack/openstack_ocf").glob("*.py")}


def test_pip_leaves_no_module_behind(prefix: Path) -> None:
    """Site-packages gets only the record of the package, and no `agentlib`."""
    packages = list(prefix.glob("lib/python*/site-packages/*"))

    assert ["openstack_ocf_agents"] == [path.name.partition("-")[0] for path in packages]
