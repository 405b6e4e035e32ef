"""The lock of an instance: two starts or stops of one resource do not run at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentlib.deadline import Deadline
from agentlib.state import Store
from looks import eventually
from unit.kit import ROOT, Zoo


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "unit-api:p_unit", "p_unit", "")


HOLDER = """
import sys, time
from agentlib.deadline import Deadline
from agentlib.state import Store
with Store(sys.argv[1], "unit-api:p_unit", "p_unit", "").lock(Deadline(60)):
    open(sys.argv[2], "w").close()
    time.sleep(3600)
"""


def hold(zoo: Zoo, folder: Path) -> subprocess.Popen[bytes]:
    """Another agent that has the lock."""
    held = zoo.place / "held"
    child = zoo.run([sys.executable, "-c", HOLDER, str(folder), str(held)],
                    env={"PYTHONPATH": str(ROOT)})
    eventually(held.exists)
    return child


def test_lock(store: Store) -> None:
    """A lock that was released can be taken again."""
    for _ in range(3):
        with store.lock(Deadline(0)):
            pass


def test_locks_are_apart(tmp_path: Path, zoo: Zoo) -> None:
    """Another instance has another lock."""
    hold(zoo, tmp_path)
    with Store(str(tmp_path), "unit-api:p_other", "p_other", "").lock(Deadline(0)):
        pass


def test_lock_is_freed_by_a_failure(store: Store) -> None:
    """A failure under the lock releases it."""
    with pytest.raises(ValueError, match="x"), store.lock(Deadline(10)):
        raise ValueError("x")
    with store.lock(Deadline(0)):
        pass
