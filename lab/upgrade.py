"""Replace the agents of a cluster under running monitors, as a package manager does it.

Called by `lab.faults`. Each file is written beside the old one and renamed: the library first, then
the agents; bytecode comes last. Agents that run are not waited for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.node import PYTHON

LIBRARY = "agentlib"
NEW = ".new"


def replace(agents: Path, mark: str) -> None:
    """Install all agents of a folder, and their library, once more; mark: written into each."""
    library = agents / LIBRARY
    for module in sorted(library.glob("*.py")):
        _renew(module, mark)
    for agent in sorted(agents.iterdir()):
        if agent.is_file() and not agent.name.endswith(NEW):
            _renew(agent, mark)
    compiled = [PYTHON, "-Es", "-m", "compileall", "-qf", str(library)]
    subprocess.run(compiled, check=True, stdin=subprocess.DEVNULL)


def _renew(file: Path, mark: str) -> None:
    """Replace a file by one of the same content, but with another last line."""
    new = file.with_name(f"{file.name}{NEW}")
    text = file.read_text().partition("\n# installed again: ")[0].rstrip("\n")
    new.write_text(f"{text}\n\n# installed again: {mark}\n")
    shutil.copystat(file, new)
    os.utime(new)
    new.replace(file)
