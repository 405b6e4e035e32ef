"""Whether the lab takes a process for alive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness import eventually
from lab.process import Process

FIRST_THREAD_ENDS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_first_thread_ends_before_the_others() -> None:
    """A process is alive as long as one of its threads is; a zombie without threads is not."""
    command = [sys.executable, "-c", FIRST_THREAD_ENDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin
        eventually(lambda: state(child.pid) == "Z")
        found = Process.at(child.pid)
        assert found and found.alive()

        child.stdin.close()

        eventually(lambda: not found.alive())
        assert "Z" == state(child.pid)
    assert not found.alive()
