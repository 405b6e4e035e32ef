"""The first process of a node: sets up its mounts and network, and supervises its daemons.

Started by `lab.node` in new namespaces, as `python3 -m lab.inside FOLDER NUMBER`. It does the part
of systemd's work that a node needs: it starts corosync, and Pacemaker when corosync answers, starts
Pacemaker again when it died, and reaps orphaned processes.

From outside: SIGTERM is an orderly shutdown, SIGHUP an orderly restart of Pacemaker, SIGKILL the
loss of power.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lab import fencing, switch
from lab.errors import LabError
from lab.node import AGENTS, ENVIRONMENT, HOME, PRIVATE, RECORD, name_of, record

RESOURCE_AGENTS = "/usr/lib/ocf/resource.d"
PROVIDER = "openstack"
SBIN = "/usr/sbin"
FENCE_AGENTS = "/run/fence-agents"
SYSTEMCTL = """#!/bin/sh
# The only part of systemctl that the node needs: whether a daemon runs.
case "$*" in
"is-active pacemaker.service") daemon=pacemakerd ;;
"is-active corosync.service") daemon=corosync ;;
*) echo "this node has not been booted with systemd" >&2; exit 1 ;;
esac
if pidof $daemon >/dev/null; then echo active; else echo inactive; exit 3; fi
"""
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)
POLL = 0.02
CABLE = 120.0  # seconds; a loaded machine is slow to plug it in
COROSYNC_END = 5.0
LAST_RESPAWN = (0, 100)  # ended on request; not to be restarted, by Pacemaker's systemd unit

# As in the systemd unit. There is no /dev/log: messages of agents go to the file.
PACEMAKER = {
    **ENVIRONMENT,
    "PCMK_logfacility": "none",
    "PCMK_logfile": "/var/log/pacemaker/pacemaker.log",
}


def main() -> None:
    """Run as a node until it is shut down or killed."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    # Blocked signals are kept for sigwait, also for the first process of a namespace.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    record(folder / RECORD)
    os.chdir("/")
    socket.sethostname(name_of(number))
    protect_the_host()
    mount_disk(folder / "disk")
    mount_agents(folder.parent / AGENTS, folder / "ocf")
    mount_run()
    mount_systemctl()
    mount_fencing(folder.parent / fencing.FOLDER)
    await_cable()
    switch.configure_device(number)
    daemons = Daemons()
    daemons.start_corosync()
    daemons.start_pacemaker()
    daemons.mind()


def protect_the_host() -> None:
    """Cover what belongs to the host, so that the node cannot change it for all."""
    # A namespace that is mounted here would exist for as long as this process.
    with suppress(subprocess.CalledProcessError):
        run("umount", "--recursive", "--lazy", "--quiet", "/run/netns")
    mount("--types=proc", "proc", "/proc")
    mount("--types=sysfs", "sysfs", "/sys")
    # A Pacemaker that panics writes there, which would reboot the whole machine.
    for device in (Path("/proc/sysrq-trigger"), *Path("/dev").glob("watchdog*")):
        if device.exists():
            mount("--bind", "/dev/null", str(device))
    mount("--bind", "/proc/sys/kernel", "/proc/sys/kernel")
    mount("--options=remount,bind,ro", "/proc/sys/kernel")


def mount_disk(disk: Path) -> None:
    """Put the node's own folders and files in the place of the host's."""
    for path in (*PRIVATE, "/etc/hosts", "/etc/hostname"):
        own = disk / path.lstrip("/")
        if not own.exists():  # the disk was made before nodes had this folder
            own.mkdir(parents=True)
        mount("--bind", str(own), path)
    # libqb's buffers: those of another node must not be taken for ours.
    mount("--types=tmpfs", "--options=mode=1777,size=256m", "tmpfs", "/dev/shm")  # noqa: S108


def mount_agents(agents: Path, folder: Path) -> None:
    """Add our agents to those of the host, whose folder may have no place for them.

    The folder, made anew by every boot, has a mount point for each provider; what is mounted on
    them is seen in this node alone.
    """
    shutil.rmtree(folder, ignore_errors=True)
    providers = {entry.name: entry for entry in Path(RESOURCE_AGENTS).iterdir() if entry.is_dir()}
    for provider, source in {**providers, PROVIDER: agents}.items():
        (folder / provider).mkdir(parents=True)
        mount("--bind", str(source), str(folder / provider))
    mount("--rbind", str(folder), RESOURCE_AGENTS)


def mount_run() -> None:
    """An empty /run, with what packages would have made at boot."""
    mount("--types=tmpfs", "--options=mode=755,size=64m", "tmpfs", "/run")
    for path, mode in (("/run/lock", 0o1777), ("/run/resource-agents", 0o1755), (HOME, 0o700)):
        os.mkdir(path)
        os.chmod(path, mode)
    os.mkdir("/run/crm")
    os.chmod("/run/crm", 0o750)
    shutil.chown("/run/crm", "hacluster", "haclient")


def mount_systemctl() -> None:
    """Make systemctl know the node's daemons: crmsh may ask it whether there is a DC to wait for.

    (It does before it deletes what runs.) On a host without systemctl, crmsh does not ask.
    """
    place = shutil.which("systemctl", path=ENVIRONMENT["PATH"])
    if place:
        ours = Path("/run/systemctl")
        ours.write_text(SYSTEMCTL)
        ours.chmod(0o755)
        mount("--bind", str(ours), place)


def mount_fencing(socket_folder: Path) -> None:
    """Add the lab's fence agent to those of the host, and the socket of the power switch.

    Pacemaker looks for fence agents in one folder of the host, which is not changed itself. A
    cluster without fencing has no folder for the socket.
    """
    if not socket_folder.is_dir():
        return
    place = Path(fencing.PLACE)
    place.mkdir(mode=0o700)
    mount("--bind", str(socket_folder), str(place))
    ours = Path(FENCE_AGENTS)
    ours.mkdir()
    shutil.copy(fencing.AGENT, ours)
    (ours / fencing.AGENT.name).chmod(0o755)
    lower = f"--options=lowerdir={ours}:{SBIN}"
    mount("--types=overlay", lower, "overlay", SBIN)


def await_cable() -> None:
    """Wait until the node's cable is plugged in, by the process that booted the node."""
    deadline = time.monotonic() + CABLE
    while not Path(f"/sys/class/net/{switch.DEVICE}").exists():
        if time.monotonic() > deadline:
            raise LabError(f"no {switch.DEVICE} after {CABLE:.0f} s")
        time.sleep(POLL)


class Daemons:
    """corosync and pacemakerd, and the orphaned processes of the node."""

    def __init__(self) -> None:
        self.corosync = 0
        self.pacemaker = 0

    def start_corosync(self) -> None:
        """Start corosync, and wait until it answers: Pacemaker would wait for seconds."""
        log = "/var/log/corosync/stdout.log"
        self.corosync = start(["corosync", "-f"], ENVIRONMENT, log)
        while self.corosync and not answers():
            time.sleep(POLL)
            self.reap()
        if not self.corosync:
            raise LabError("corosync has ended", log=Path(log))

    def start_pacemaker(self) -> None:
        """Start Pacemaker; it starts its own daemons."""
        self.pacemaker = start(["pacemakerd"], PACEMAKER, "/var/log/pacemaker/stdout.log")

    def mind(self) -> None:
        """Wait for signals; return after SIGTERM, when all is shut down."""
        while True:
            code = self.reap()
            # When corosync dies, Pacemaker ends with it; systemd would not restart it either.
            if code not in (None, *LAST_RESPAWN) and self.corosync:
                time.sleep(0.1)
                self.start_pacemaker()
            received = signal.sigwait(SIGNALS)
            if received == signal.SIGHUP:
                self.stop_pacemaker()
                self.start_pacemaker()
            elif received == signal.SIGTERM:
                self.stop_pacemaker()
                self.stop_corosync()
                return

    def reap(self) -> int | None:
        """Reap the processes that have ended; the exit code of Pacemaker, if it is among them."""
        code = None
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                if pid == self.pacemaker:
                    self.pacemaker, code = 0, os.waitstatus_to_exitcode(status)
                elif pid == self.corosync:
                    self.corosync = 0
        return code

    def stop_pacemaker(self) -> None:
        """Ask Pacemaker to end: it stops its resources first, and there is no time limit."""
        if self.pacemaker:
            os.kill(self.pacemaker, signal.SIGTERM)
        while self.pacemaker:
            self.reap()
            time.sleep(POLL)

    def stop_corosync(self) -> None:
        """Ask corosync to end: it leaves the cluster first."""
        if self.corosync:
            os.kill(self.corosync, signal.SIGTERM)
        deadline = time.monotonic() + COROSYNC_END
        while self.corosync and time.monotonic() < deadline:
            self.reap()
            time.sleep(POLL)


def start(command: list[str], environment: Mapping[str, str], log: str) -> int:
    """Start a daemon; its pid."""
    with open(log, "ab") as output:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=unblock,  # noqa: PLW1509 - there are no threads
        )
    # Python must not wait for this child itself: `reap` does.
    daemon.returncode = 0
    return daemon.pid


def unblock() -> None:
    """In a child, unblock the signals that this process has blocked."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def answers() -> bool:
    """Whether corosync answers."""
    asked = subprocess.run(
        ["corosync-cfgtool", "-s"], env=ENVIRONMENT, capture_output=True, check=False
    )
    return asked.returncode == 0


def mount(*arguments: str) -> None:
    """Run mount, in this node alone."""
    run("mount", *arguments)


def run(*command: str) -> None:
    """Run a command; CalledProcessError if it fails."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    try:
        main()
    except (LabError, OSError, subprocess.CalledProcessError) as failure:
        print(f"{sys.argv[1:]}: {failure}", file=sys.stderr, flush=True)
        sys.exit(1)
