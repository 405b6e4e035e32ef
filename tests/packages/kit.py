"""The packages as the tests make them, from what is in the tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}


def run(*command: str | Path, cwd: str | Path = "/", **environ: str) -> str:
    """A command that must succeed; what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env={**ENVIRON, **environ}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def dist(folder: Path, root: Path = ROOT) -> Path:
    """Make the source archive in a folder; its path."""
    return Path(run("make", "-s", "-C", root, "dist", f"DIST={folder}").strip())
