"""The lock of an instance: two starts or stops of one resource do not run at the same time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agentlib.deadline import Deadline
from agentlib.errors import AgentError, StateError
from agentlib.state import Store
from unit.kit import ROOT, Zoo, await_that


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
    await_that(held.exists, "the other agent has the lock")
    return child


def test_lock(store: Store) -> None:
    """A lock that was let go of can be had again."""
    for _ in range(3):
        with store.lock(Deadline(0)):
            pass


def test_second_fails_in_time(store: Store, tmp_path: Path, zoo: Zoo) -> None:
    """Who cannot have the lock in time is told who has it."""
    hold(zoo, tmp_path)
    with pytest.raises(AgentError, match="another start or stop of this resource"):
        store.lock(Deadline(0.2))


def test_second_waits(store: Store, tmp_path: Path, zoo: Zoo) -> None:
    """Who waits gets the lock when its holder dies, even by SIGKILL."""
    child = hold(zoo, tmp_path)
    taken = threading.Event()

    def take() -> None:
        with store.lock(Deadline(60)):
            taken.set()

    waiter = threading.Thread(target=take)
    waiter.start()
    assert not taken.wait(0.3)
    child.send_signal(signal.SIGKILL)
    waiter.join()
    assert taken.is_set()


def test_locks_are_apart(tmp_path: Path, zoo: Zoo) -> None:
    """Another instance has another lock."""
    hold(zoo, tmp_path)
    with Store(str(tmp_path), "unit-api:p_other", "p_other", "").lock(Deadline(0)):
        pass


def test_lock_is_not_inherited(store: Store, zoo: Zoo) -> None:
    """A daemon that was started under the lock does not hold it."""
    with store.lock(Deadline(10)):
        zoo.sleeper()
    with store.lock(Deadline(0)):
        pass


def test_lock_is_freed_by_a_failure(store: Store) -> None:
    """Who fails under the lock lets go of it."""
    with pytest.raises(ValueError, match="x"), store.lock(Deadline(10)):
        raise ValueError("x")
    with store.lock(Deadline(0)):
        pass


@pytest.mark.parametrize("kind", ["symlink", "folder"])
def test_lock_follows_nothing(kind: str, store: Store, tmp_path: Path) -> None:
    """What stands in the lock's place is not followed."""
    path = tmp_path / "openstack" / "unit-api:p_unit.lock"
    path.parent.mkdir(mode=0o700)
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "victim")
    with pytest.raises(StateError, match="cannot use"):
        store.lock(Deadline(1))
    assert not (tmp_path / "victim").exists()
