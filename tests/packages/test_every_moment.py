"""An upgrade is stopped after each file that it has named or removed, and agents are run there.

Left for make check-nightly: each has some hundred steps.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import EVERY_AGENT
from lab.root import ENVIRON
from packages.kit import (
    AGENTS,
    CALLS,
    MONITOR,
    ROOT,
    Root,
    made_debs,
    made_rpms,
    older_debs,
    older_rpms,
    run,
    started,
)

OCF = "/usr/lib/ocf/"
NAMES = sorted(agent.name for agent in EVERY_AGENT)
ANSWERS = f"""
while read -r agent; do
    said=$({AGENTS}/glance-api monitor 2>&1); code=$?
    also=$({AGENTS}/$agent meta-data 2>&1 >/dev/null); echo $code $? $said $also
done </root/ask >/root/told
"""
"""What a monitor and the meta-data of an agent come to, each time that a name is asked for."""
UNDER_A_SHELL = ("sh", "-c", '"$@"; exit $?', "sh")
"""nsenter, who would stop with its child and continue it, has a child that is never stopped."""


@contextmanager
def asked(root: Root) -> Iterator[Callable[[str], str]]:
    """A question that can be asked in a root: what a monitor, and an agent, come to."""
    places = [root.path / "root" / name for name in ("ask", "told")]
    for place in places:
        os.mkfifo(place)
    with root.begin("sh", "-c", ANSWERS, environ=MONITOR), open(places[0], "w") as ask, open(
        places[1]
    ) as told:

        def question(agent: str) -> str:
            print(agent, file=ask, flush=True)
            return told.readline().strip()

        yield question


def steps(command: list[str], log: Path) -> Iterator[str]:
    """Run a command, which is stopped after each of the calls; what it has called."""
    read, write = os.pipe()
    strace = ["strace", "-f", "-qq", "-y", "-o", f"/proc/self/fd/{write}", f"--trace={CALLS}",
             f"--inject={CALLS}:signal=STOP"]  # fmt: skip
    with log.open("w") as said, subprocess.Popen(
        [*strace, *command], env=ENVIRON, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        pass_fds=[write],
    ) as process:  # fmt: skip
        os.close(write)
        try:
            with open(read) as trace:
                yield from _calls(trace)
        except BaseException:
            process.kill()  # it would be waited for, and what it has stopped ends with the root
            raise
    assert process.returncode == 0, log.read_text()


def _calls(trace: Iterable[str]) -> Iterator[str]:
    """What strace tells of each call; the process goes on when the next one is asked for."""
    calls: dict[str, str] = {}
    for line in trace:
        pid, event = line.strip().split(maxsplit=1)
        if "--- stopped by SIGSTOP" in event:
            yield calls.pop(pid, "")
            os.kill(int(pid), signal.SIGCONT)
        elif event.startswith("<..."):
            calls[pid] = calls.get(pid, "") + event
        elif not event.startswith(("---", "+++")):
            calls[pid] = event


def unharmed(root: Root, command: list[str], log: Path) -> int:
    """Run a command; at each step monitor and meta-data are well. How many steps there were."""
    broken, count = [], 0
    with asked(root) as ask:
        for step in steps(command, log):
            if OCF in step:
                count += 1
                named = re.search(rf"{AGENTS}[^a-z]+([a-z-]+)", step)
                answer = ask(named[1] if named and named[1] in NAMES else NAMES[count % len(NAMES)])
                if answer != "0 0":
                    broken.append(f"{step}: {answer}")
    assert [] == broken
    return count


def test_deb(root: Root, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The Debian package: from the version before."""
    root.run("dpkg", "--install", *map(root.bring, older_debs(tmp_path_factory)))
    started(root)
    packages = [root.bring(package) for package in made_debs(tmp_path_factory)]
    dpkg = root.command(*UNDER_A_SHELL, "dpkg", "--install", *packages)

    assert unharmed(root, dpkg, tmp_path / "log") > 2 * len(NAMES)


def test_deb_over_make_install(
    root: Root, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The Debian package, over what make install has installed."""
    run("make", "-C", ROOT, "install", f"DESTDIR={root.path}")
    started(root)
    packages = [root.bring(package) for package in made_debs(tmp_path_factory)]
    dpkg = root.command(*UNDER_A_SHELL, "dpkg", "--install", *packages)

    assert unharmed(root, dpkg, tmp_path / "log") > 2 * len(NAMES)


def test_rpm(root: Root, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The rpm package: from the version before."""
    rpm = ("rpm", "--root", root.merged, "--dbpath", "/var/lib/rpm", "--upgrade", "--nodeps")
    run(*root.outside(*rpm, *older_rpms(tmp_path_factory)))
    started(root)
    upgrade = root.outside(*UNDER_A_SHELL, *rpm, *made_rpms(tmp_path_factory))

    assert unharmed(root, upgrade, tmp_path / "log") > 2 * len(NAMES)
