"""Builds the packages for the tests, and makes a Debian root in which they are installed.

    with Root(base, folder) as root:
        root.run("dpkg", "--install", package)
    # all its processes have ended, and its mounts are gone

How a root is made and entered: lab/root.py.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentlib.agent import VERSION
from harness import eventually
from lab import root as lab_root
from lab.errors import LabError
from lab.root import ENVIRON, Kept

ROOT = Path(__file__).resolve().parents[2]
AGENTS = "/usr/lib/ocf/resource.d/openstack"
LIB = "/usr/lib/ocf/lib"
PACKAGES = ("openstack-resource-agents", "openstack-ocf")
"""The agents, and the operator's command: as deb and as rpm."""
ODD = "ä b"
"""The folder in which `make` makes packages."""
DAEMON = """#!/usr/bin/python3
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"versions": []}'
        self.send_response(300)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 9292), Handler).serve_forever()
"""
PARAMETERS = {
    "OCF_ROOT": "/usr/lib/ocf", "OCF_RA_VERSION_MAJOR": "1", "OCF_RESOURCE_INSTANCE": "p",
    "OCF_RESKEY_binary": "/usr/local/bin/daemon", "OCF_RESKEY_config": "/etc/daemon.conf",
    "OCF_RESKEY_user": "root", "OCF_RESKEY_CRM_meta_timeout": "60000",
}  # fmt: skip
MONITOR = {**PARAMETERS, "OCF_RESKEY_CRM_meta_interval": "10000"}
WAITING = """#!/usr/bin/python3
import os, time
open("/root/begun", "w").close()
while not os.path.exists("/root/go"):
    time.sleep(0.05)
"""
"""The beginning of a daemon that waits before it serves."""
CALLS = "rename,renameat,renameat2,unlink,unlinkat,symlink,symlinkat"
"""The system calls by which a file appears or goes."""
LOOPS = f"""
for loop in 1 2 3; do
    while [ ! -e /root/enough ]; do
        said=$({AGENTS}/glance-api monitor 2>&1); code=$?
        echo "$code $said"
    done &
done
wait
"""


def run(*command: str | Path, cwd: str | Path = "/", **environ: str) -> str:
    """Run a command that must succeed; return its output."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env={**ENVIRON, **environ}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make(target: str, folder: Path, *variables: str) -> str:
    """Have make make packages in a folder; what it says.

    It holds what nobody should rely on: the sources cannot be written (a mount: modes stop no
    root), the umask is 077, and the folder has a path with a blank and a letter of no ASCII.
    """
    script = 'mount --bind -o ro "$0" "$0"; umask 077; cd /; exec make -s -C "$0" "$@"'
    return run("unshare", "--mount", "sh", "-euc", script, ROOT, target, f"DIST={folder / ODD}",
               *variables)  # fmt: skip


def dist(folder: Path, root: Path = ROOT) -> Path:
    """Make the source archive in a folder; return its path."""
    return Path(run("make", "-s", "-C", root, "dist", f"DIST={folder}").strip())


def older(folder: Path) -> Path:
    """The source archive of an older version, whose modules do not work with today's."""
    run("tar", "-xf", dist(folder), "-C", folder)
    (top,) = (path for path in folder.iterdir() if path.is_dir())
    for path in [*top.glob("agentlib/*.py"), *top.glob("openstack_ocf/*.py"),
                 *top.glob("ocf/[a-z]*-*"), top / "ocf/keystone"]:
        text = re.sub(r"\bmanages\b", "governs", path.read_text())
        path.write_text(re.sub(r"\.exitcode\b", ".codes", text))
    (top / "agentlib/exitcode.py").rename(top / "agentlib/codes.py")
    agent = top / "agentlib/agent.py"
    agent.write_text(agent.read_text().replace(f'VERSION = "{VERSION}"', 'VERSION = "0.0.9"'))
    (top / "CHANGELOG.md").write_text("## 0.0.9 - 2026-01-02\n\n### Added\n\n- All.\n")
    return dist(folder, top)


def debs(archive: Path, folder: Path) -> None:
    """Make the Debian packages of a source archive in a new folder; return them by name."""
    folder.mkdir()
    run("tar", "-xf", archive, "-C", folder)
    (top,) = folder.iterdir()
    run("dpkg-buildpackage", "--build=binary", "--no-sign", cwd=top)


def made_debs(factory: pytest.TempPathFactory) -> list[Path]:
    """The Debian packages that `make deb` makes: agents, and the command."""

    made = _once(factory, "deb", lambda folder: make("deb", folder)) / ODD
    return [next(made.glob(f"{name}_*_all.deb")) for name in PACKAGES]


def older_debs(factory: pytest.TempPathFactory) -> list[Path]:
    """Those of an older version, which goes with ours in nothing."""

    made = _once(factory, "older", lambda folder: debs(older(folder), folder / "deb")) / "deb"
    return [next(made.glob(f"{name}_*_all.deb")) for name in PACKAGES]


def made_rpms(factory: pytest.TempPathFactory) -> list[Path]:
    """The packages that `make rpm` makes: agents, and the command."""
    made = _once(factory, "rpm", lambda folder: make("rpm", folder)) / ODD
    return [next(made.glob(f"{name}-[0-9]*.noarch.rpm")) for name in PACKAGES]


def older_rpms(factory: pytest.TempPathFactory) -> list[Path]:
    """Those of an older version, which goes with ours in nothing."""

    def build(folder: Path) -> None:
        run("rpmbuild", "-tb", "--nodeps", "--define", f"_topdir {folder}", older(folder),
            HOME=str(folder))  # fmt: skip

    made = _once(factory, "older-rpm", build) / "RPMS/noarch"
    return [next(made.glob(f"{name}-[0-9]*.rpm")) for name in PACKAGES]


def _once(
    factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]
) -> Path:
    """A folder that one of the workers of this run has filled, and all of them use."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, part = shared / name, shared / f"{name}.part"
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            fill(part)
            part.rename(folder)
    return folder


# --- a root ---------------------------------------------------------------------------------


def base_root(suite: str | None) -> Kept:
    """The root of a Debian release (None: this machine's), with what our packages need."""
    try:
        return lab_root.release(suite)
    except LabError as error:
        pytest.fail(str(error), pytrace=False)


class Root(lab_root.Root):
    """A Debian root: changes are written to `folder`, and the base stays as it is."""

    def __init__(self, base: Kept, folder: Path) -> None:
        super().__init__([base], folder)

    def __enter__(self) -> Root:
        return self

    def begin(
        self, *words: str | Path, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command in it; stdout and stderr are one stream."""
        return subprocess.Popen(
            self.command(*words), env={**ENVIRON, **(environ or {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(
        self, *words: str | Path, environ: Mapping[str, str] | None = None, code: int = 0
    ) -> str:
        """Run a command in it that must end with this code; return its output."""
        process = self.begin(*words, environ=environ)
        said = process.communicate()[0]
        assert process.returncode == code, f"{words}: {process.returncode}\n{said}"
        return said

    def run_badly(self, *words: str | Path) -> str:
        """Run a command in it with a umask of 077, and a /tmp where nothing can be executed."""
        script = 'mount -o remount,bind,noexec /tmp; umask 077; exec "$@"'
        return self.run("sh", "-euc", script, "sh", *words)

    def bring(self, path: Path) -> str:
        """Copy a file into its /root; return the path there."""
        shutil.copy(path, self.path / "root")
        return f"/root/{path.name}"

    def tree(self) -> dict[str, str]:
        """All files, folders and links in it, without the records of dpkg, rpm and apt."""
        own = ("root", "var/cache", "var/lib/apt", "var/lib/dpkg", "var/lib/rpm",
               "var/log/dpkg.log")  # fmt: skip
        skipped = [word for path in own for word in ("-path", f"./{path}", "-prune", "-o")]
        listing = self.run("find", ".", "-xdev", *skipped, "-printf", r"%p\t%M %u %l\n")
        return dict(line.split("\t", 1) for line in listing.splitlines())


def fill(file: Path, left: int) -> None:
    """Fill the disk that a file is on with it, but for so many bytes."""
    with file.open("wb") as opened:
        free = os.fstatvfs(opened.fileno())
        os.posix_fallocate(opened.fileno(), 0, free.f_bavail * free.f_bsize - left)


# --- agents in a root -----------------------------------------------------------------------


def started(root: Root) -> None:
    """Start the daemon by the agent."""
    root.run(f"{AGENTS}/glance-api", "start", environ=PARAMETERS)


@contextmanager
def begun(root: Root) -> Iterator[subprocess.Popen[str]]:
    """Have the agent begin to start the daemon, which is not ready before there is a /root/go."""
    daemon = root.path / "usr/local/bin/daemon"
    daemon.write_text(WAITING + daemon.read_text().partition("\n")[2])
    with root.begin(f"{AGENTS}/glance-api", "start", environ=PARAMETERS) as start:
        eventually((root.path / "root/begun").exists, 180)
        yield start


def monitored(root: Root, command: list[str]) -> tuple[str, str]:
    """Run a command on the host while monitors run in the root all the time.

    Return its output, and exit code and reason of each monitor, a line each.
    """
    (root.path / "root/enough").unlink(missing_ok=True)
    with root.begin("sh", "-c", LOOPS, environ=MONITOR) as loops:
        try:
            assert loops.stdout
            first = [loops.stdout.readline() for _ in range(3)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)  # fmt: skip
        finally:
            (root.path / "root/enough").touch()
        rest = loops.communicate()[0]
    assert done.returncode == 0, done.stdout
    return done.stdout, "".join([*first, rest])


def slowly(*words: str) -> list[str]:
    """The command under strace: each creation or removal of a file takes 10 ms longer."""
    options = ["--seccomp-bpf", "-f", "-qq", "-o", "/dev/null", f"--trace={CALLS}"]
    return ["strace", *options, f"--inject={CALLS}:delay_exit=10000", *words]
