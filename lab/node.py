"""One node of a cluster: namespaces of its own, and a disk that is kept at a loss of power.

Called by `lab.cluster`, and by `lab.fencing` when a node is fenced. The first process of a node is
`lab.inside`. A node is that process, known by its pid and start time: when it is killed, the kernel
kills all other processes of the node, whatever they do, and removes the node's network.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import cib, corosync, process, switch
from lab.errors import LabError
from lab.process import Process

ROOT = Path(__file__).parents[1]
PYTHON = "/usr/bin/python3"
AGENTS = "agents"  # beside the nodes' folders: what all of them see as ocf:openstack
RECORD = "init.json"
LOCK = "power.lock"
HELD = "held"
DARK = "dark"  # the time of this file is when the node lost its power
NOTICED = 1.0  # seconds that Pacemaker takes to tell the others, after those that corosync takes
CUT = "cut"
BOOT = 120.0  # seconds; a loaded machine is slow to start Python
GONE = 60.0

PRIVATE = (
    "/etc/corosync",
    "/var/lib/corosync",
    "/var/lib/pacemaker",
    "/var/lib/pcsd",
    "/var/log",
    "/usr/local/etc",
)
"""Folders that every node has for itself; the daemons need their usual owners and modes."""

HOME = "/run/home"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": HOME,  # crmsh and Python keep files there, which must not end up on the host
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True)
class Node:
    """A node, running or not. folder: its disk, its log and the record of its first process."""

    number: int
    folder: Path
    switch: str

    @property
    def name(self) -> str:
        """Its host name."""
        return name_of(self.number)

    @property
    def port(self) -> str:
        """Its port of the switch."""
        return f"v{self.number}"

    @property
    def disk(self) -> Path:
        """Its files, as seen from outside: `disk / "var/log"` is its /var/log."""
        return self.folder / "disk"

    def process(self) -> Process | None:
        """Its first process; None if it does not run."""
        return recorded(self.folder / RECORD)

    def running(self) -> bool:
        """Whether it has power, and a cable: a node that was left half-started has no cable."""
        return self.process() is not None and switch.plugged(self.switch, self.port)

    def argv(self, command: Sequence[str], folder: str = "/") -> list[str]:
        """The command line that runs a command in the node, with nothing of our environment."""
        first = self.process()
        if first is None:
            raise LabError(f"{self.name} is off; run: python3 -m lab.cluster start {self.name}")
        enter = ["nsenter", f"--target={first.pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        clean = ["env", "-i", *(f"{key}={value}" for key, value in ENVIRONMENT.items())]
        return [*enter, f"--wdns={folder}", "--", *clean, *command]

    # Its power. A caller that turns it off or on is in `switching`.

    @contextmanager
    def switching(self) -> Iterator[None]:
        """Lock its power, which fencing and commands turn off and on."""
        if not self.folder.exists():  # it was never made: there is nothing to turn on
            yield
            return
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @property
    def held(self) -> bool:
        """Whether it was turned off by hand: then it stays off, even if it is fenced."""
        return (self.folder / HELD).exists()

    def hold(self) -> None:
        """Keep it off until `release`."""
        (self.folder / HELD).touch()

    def release(self) -> None:
        """Undo `hold`."""
        (self.folder / HELD).unlink(missing_ok=True)

    def boot(self) -> None:
        """Turn it on; the caller waits for its daemons. A cable that was cut stays cut."""
        (self.folder / RECORD).unlink(missing_ok=True)
        switch.unplug(self.switch, self.port)
        self._await_noticed()
        log = self.folder / "init.log"
        process.spawn(
            [
                *("unshare", "--fork", "--mount", "--pid", "--ipc", "--uts", "--net", "--"),
                *(PYTHON, "-m", "lab.inside", str(self.folder), str(self.number)),
            ],
            user="root",
            home=ROOT,
            log=log,
            environment={},
        )
        deadline = time.monotonic() + BOOT
        while (first := self.process()) is None:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} has no first process after {BOOT:.0f} s", log=log)
            time.sleep(0.01)
        switch.plug(self.switch, self.port, first.pid)
        if (self.folder / CUT).exists():
            switch.await_carrier(self.switch, self.port)  # the carrier undoes an earlier cut
            switch.cut(self.switch, self.port)

    def kill(self) -> None:
        """Turn the power off. A node that is off stays off."""
        first = self.process()
        if first:
            if switch.plugged(self.switch, self.port):
                switch.cut(self.switch, self.port)  # it sends no last packets
            first.send(signal.SIGKILL)
            self._await_end(first, GONE)
            (self.folder / DARK).touch()
        switch.unplug(self.switch, self.port)
        (self.folder / RECORD).unlink(missing_ok=True)

    def shut_down(self, seconds: float) -> None:
        """Shut it down cleanly: its resources move away first. `kill` does the rest."""
        first = self.process()
        if first:
            first.send(signal.SIGTERM)
            self._await_end(first, seconds)

    def restart_pacemaker(self) -> None:
        """Ask for Pacemaker to be stopped and started again; the node itself stays on."""
        first = self.process()
        if first is None:
            raise LabError(f"{self.name} is off")
        first.send(signal.SIGHUP)

    def cut(self) -> None:
        """Cut it off: no packet reaches or leaves it, also after a reboot."""
        (self.folder / CUT).touch()
        switch.cut(self.switch, self.port)

    def heal(self) -> None:
        """Undo `cut`, also for a node without power."""
        (self.folder / CUT).unlink(missing_ok=True)
        if switch.plugged(self.switch, self.port):
            switch.heal(self.switch, self.port)

    def log(self) -> Path:
        """The log that most likely says why it does not work: the one that was written last."""
        logs = [
            self.folder / "init.log",
            self.disk / "var/log/corosync/corosync.log",
            self.disk / "var/log/pacemaker/pacemaker.log",
        ]
        written = [log for log in logs if log.exists() and log.stat().st_size]
        return max(written, key=lambda log: log.stat().st_mtime, default=logs[0])

    def _await_noticed(self) -> None:
        """Wait until the others must have noticed its loss: no real machine boots in a second.

        A node that did would be notified of its own fencing, as soon as corosync has agreed on the
        members; and its Pacemaker would end for good.
        """
        try:
            since = (self.folder / DARK).stat().st_mtime
        except FileNotFoundError:
            return
        text = (self.disk / "etc/corosync/corosync.conf").read_text()
        longest = corosync.noticed(text) + NOTICED
        time.sleep(min(longest, max(0.0, since + longest - time.time())))

    def _await_end(self, first: Process, seconds: float) -> None:
        if not process.await_end(lambda: [first] if first.alive() else [], seconds):
            raise LabError(f"{self.name} still runs after {seconds:.0f} s", log=self.log())


def name_of(number: int) -> str:
    """The host name of a node."""
    return f"node{number}"


def nodes_of(directory: Path, switch_name: str, count: int) -> list[Node]:
    """The nodes of a cluster, with their switch and the directory of their folders."""
    numbers = range(1, count + 1)
    return [Node(number, directory / name_of(number), switch_name) for number in numbers]


def recorded(file: Path) -> Process | None:
    """The process that `record` has written to a file; None if there is none, or it has ended."""
    try:
        record = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise LabError(f"{file} is damaged: {error}") from None
    found = Process.at(record["pid"])
    return found if found and found.birth == record["birth"] else None


def record(file: Path) -> None:
    """Write this process to a file, by its pid on the machine: /proc is still the machine's."""
    own = Process.at(int(os.readlink("/proc/self")))
    if own is None:
        raise LabError("/proc is not that of the host")
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps({"pid": own.pid, "birth": own.birth}))
    part.rename(file)


def make_disk(
    node: Node, count: int, token: int, properties: Mapping[str, str], *, fencing: bool
) -> None:
    """Make the disk of one of `count` nodes. An existing disk stays: it is complete."""
    if node.disk.exists():
        return
    part = node.disk.with_name("disk.part")
    shutil.rmtree(part, ignore_errors=True)
    node.folder.mkdir(exist_ok=True)
    part.mkdir()
    for folder in PRIVATE:
        _copy_folders(Path(folder), part)
    numbers = range(1, count + 1)
    hosts = {switch.address(number): name_of(number) for number in numbers}
    hosts = {"127.0.0.1": "localhost", **hosts, switch.address(switch.NUMBER): "switch"}
    (part / "etc/hosts").write_text("".join(f"{ip} {host}\n" for ip, host in hosts.items()))
    (part / "etc/hostname").write_text(f"{node.name}\n")
    (part / "etc/corosync/corosync.conf").write_text(
        corosync.configuration(
            {number: name_of(number) for number in numbers},
            {number: switch.address(number) for number in numbers},
            token,
        )
    )
    first_cib = part / "var/lib/pacemaker/cib/cib.xml"
    names = [name_of(number) for number in numbers] if fencing else []
    first_cib.write_text(cib.seed(properties, names))
    first_cib.chmod(0o600)
    shutil.chown(first_cib, "hacluster", "haclient")
    part.rename(node.disk)


def _copy_folders(original: Path, disk: Path) -> None:
    """Copy the folders of the original, with their owners and modes, but without files."""
    for found, _, _ in os.walk(original):
        there = os.stat(found)
        copy = disk / found.lstrip("/")
        copy.mkdir(parents=True, exist_ok=True)
        os.chown(copy, there.st_uid, there.st_gid)
        copy.chmod(stat.S_IMODE(there.st_mode))
