"""The power switch of a cluster: a fence agent asks it to end a node, and to start it again.

Started by `lab.cluster` as a daemon outside of the nodes: `python3 -m lab.fencing FOLDER SWITCH
NODES`. The nodes find its socket in PLACE; only root gets to it. lab/fence_lab in a node sends one
line, an action and the name of a node, and gets one line back.

The power switch does one request after the other. The request of a node that lost its power while
it waited is dropped: of two nodes that fence each other one goes on. A node that is cut off cannot
reach the power switch, which is behind the network switch of the nodes. Fencing a node that was
turned off by hand succeeds at once, and the node stays off.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from lab import process, switch
from lab.errors import LabError
from lab.node import PYTHON, ROOT, Node, nodes_of, record, recorded
from lab.process import POLL

AGENT = ROOT / "lab/fence_lab"
PLACE = "/run/fencing"  # the path of FOLDER in a node
FOLDER = "fencing"  # in the cluster's own folder, like the others
SOCKET = "socket"
RECORD = "fencing.json"
LOG = "fencing.log"
BROKEN = "fencing.broken"
BEGIN = 120.0  # seconds; a loaded machine is slow to start Python
ASKED = 5.0  # for a request of one line
WATCH = 2.0  # between two checks that the power switch is still wanted
ENDING = ("off", "reboot")

Answer = Callable[[str], None]


# From outside


def start(directory: Path, switch_name: str, count: int) -> None:
    """Start the power switch of a cluster, unless it runs, and wait until it answers."""
    if recorded(directory / RECORD):
        return
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    (directory / RECORD).unlink(missing_ok=True)
    log = directory / LOG
    process.spawn(
        [PYTHON, "-m", "lab.fencing", str(directory), switch_name, str(count)],
        user="root",
        home=ROOT,
        log=log,
        environment={},
    )
    deadline = time.monotonic() + BEGIN
    while not recorded(directory / RECORD):
        if time.monotonic() > deadline:
            raise LabError(f"no power switch after {BEGIN:.0f} s", log=log)
        time.sleep(POLL)


def end(directory: Path, nodes: Sequence[Node]) -> None:
    """End the power switch, but not while it turns one of these nodes on."""
    with ExitStack() as still:
        for node in nodes:
            still.enter_context(node.switching())
        found = recorded(directory / RECORD)
        if found:
            found.send(signal.SIGKILL)
            if not process.await_end(lambda: [found] if found.alive() else [], BEGIN):
                raise LabError(f"the power switch (pid {found.pid}) survives SIGKILL")


def set_broken(directory: Path, broken: bool) -> None:
    """Make the power switch refuse to turn any node off or on, or make it work again."""
    if broken:
        (directory / BROKEN).touch()
    else:
        (directory / BROKEN).unlink(missing_ok=True)


def ended(directory: Path) -> list[str]:
    """The nodes that the power switch has ended, in this order."""
    try:
        lines = (directory / LOG).read_text().splitlines()
    except FileNotFoundError:
        return []
    done = [line.split() for line in lines if line.endswith(": ok")]
    return [words[3].rstrip(":") for words in done if words[2] in ENDING]


# The daemon


def main() -> None:
    """Run the power switch until it is killed, or its cluster has gone."""
    directory, switch_name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    nodes = nodes_of(directory, switch_name, count)
    os.chdir(directory / FOLDER)  # the name of a socket is short, a path may not be
    with suppress(FileNotFoundError):
        os.unlink(SOCKET)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
        listener.listen()
        record(directory / RECORD)
        own = recorded(directory / RECORD)
        while recorded(directory / RECORD) == own:
            if select.select([listener], (), (), WATCH)[0]:
                connection, _ = listener.accept()
                with connection:
                    serve(connection, directory, nodes)


def serve(connection: socket.socket, directory: Path, nodes: Sequence[Node]) -> None:
    """Do what one fence agent asks for."""
    connection.settimeout(ASKED)
    try:
        with connection.makefile() as lines:
            action, name = [*lines.readline().split(), "", ""][:2]
    except (OSError, UnicodeDecodeError):
        return
    asker = asking(connection, nodes)
    if asker is None:
        return

    def answer(said: str) -> None:
        print(f"{time.strftime('%T')} {asker.name} {action} {name}: {said}", flush=True)
        with suppress(OSError):  # a node that fences itself cannot read it any more
            connection.sendall(f"{said}\n".encode())

    try:
        if switch.state(asker.switch, asker.port) != switch.FORWARDING:
            raise LabError(f"{asker.name} is cut off from the power switch")
        act(action, name, nodes, (directory / BROKEN).exists(), answer)
    except LabError as error:
        answer(f"error {error.message}")


def act(action: str, name: str, nodes: Sequence[Node], broken: bool, answer: Answer) -> None:
    """Do one action and answer; LabError says why it cannot be done."""
    if action == "monitor":
        answer("ok")
        return
    if action == "list":
        answer(f"ok {' '.join(node.name for node in nodes)}")
        return
    node = next((node for node in nodes if node.name == name), None)
    if node is None or action not in (*ENDING, "on", "status"):
        raise LabError(f"there is no such action, or no such node: {action} {name}")
    if action == "status":
        answer("ok" if node.running() else "off")
        return
    if broken:
        raise LabError("the power switch is broken")
    with node.switching():
        if action in ENDING:
            node.kill()
        elif node.held:
            raise LabError(f"{name} was turned off by hand")
        answer("ok")  # a boot is not waited for
        if action == "off" or node.held or node.running():
            return
        try:
            node.kill()
            node.boot()
        except LabError as error:
            # The node is off, and fencing needs no more.
            print(f"{name} does not come up: {error}", flush=True)


def asking(connection: socket.socket, nodes: Sequence[Node]) -> Node | None:
    """The node that sent the request; None if it was ended meanwhile, or the sender is no node."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = struct.unpack("3i", peer)[0]
    for node in nodes:
        first = node.process()
        with suppress(OSError):
            if first and _network(first.pid) == _network(pid):
                return node
    return None


def _network(pid: int) -> tuple[int, int]:
    found = os.stat(f"/proc/{pid}/ns/net")
    return found.st_dev, found.st_ino


if __name__ == "__main__":
    try:
        main()
    except (LabError, OSError) as failure:
        print(f"{sys.argv[1:]}: {failure}", file=sys.stderr, flush=True)
        sys.exit(1)
