"""What an instance remembers: state file and pidfile."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.deadline import Deadline
from agentlib.errors import ConfigurationError, StateError
from agentlib.exitcode import ExitCode
from agentlib.state import LOG_LIMIT, PIDFILE_SIZE, State, Store, _parsed, keep_bounded, leave
from unit.kit import NOBODY, PYTHON, ROOT

FIELDS = ("pid", "start", "session", "uid", "log", "checks")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made(tmp_path)


def made(folder: Path, pidfile: str = "") -> Store:
    return Store(str(folder), "unit-api:p_unit", "p_unit", pidfile)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """os.umask, whose effect ends with the test."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


def filled(log: str = "") -> State:
    state = State()
    state.pid, state.start, state.session, state.uid = 4242, 123456789, 4242, 64
    state.log = log
    state.checks = {"address": {"url": "http://[::1]:9292", "inode": 7},
                    "api": {"token": "gAAAA", "seal": "salt:abc", "until": 1800000000.5}}
    return state


def record(state: State) -> dict[str, object]:
    return {name: getattr(state, name) for name in FIELDS}


NOTHING = record(State())


def state_file(folder: Path) -> Path:
    return folder / "openstack" / "unit-api:p_unit.json"


def put(folder: Path, content: bytes | str) -> Path:
    """Write a state file by hand, in a folder as the store makes it."""
    path = state_file(folder)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- the state file -----------------------------------------------------------------------------


def test_nothing_yet(store: Store, tmp_path: Path) -> None:
    """Without a state file the state is empty, and reading it makes no file."""
    assert NOTHING == record(store.read())
    assert [] == list(tmp_path.iterdir())


def test_round_trip(store: Store, tmp_path: Path) -> None:
    """A state is read as it was written, by this agent process and by the next."""
    store.write(filled(store.log))
    assert record(filled(store.log)) == record(store.read())
    assert record(filled(store.log)) == record(made(tmp_path).read())


def test_last_one_counts(store: Store) -> None:
    """A new state replaces the one before."""
    store.write(filled())
    state = State()
    state.pid = 5
    store.write(state)
    assert record(state) == record(store.read())


@given(text=st.text(st.characters(), max_size=200))
def test_any_text(text: str, tmp_path: Path) -> None:
    """Whatever text a check has stored, it is read as it was."""
    store = made(tmp_path)
    state = State()
    state.checks = {"api": {"token": text}}
    store.write(state)
    found = store.read().checks["api"]["token"]
    assert found.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


def test_instances_are_apart(tmp_path: Path) -> None:
    """Instances of one agent, and agents of one instance name, have files of their own."""
    made(tmp_path).write(filled())
    for tag, name in (("unit-api:p_other", "p_other"), ("other-api:p_unit", "p_unit")):
        assert NOTHING == record(Store(str(tmp_path), tag, name, "").read())


JUNK = {
    "empty": b"",
    "binary": bytes(range(256)),
    "a megabyte": b'{"pid": 4242, "start": 1, "x": "' + b"x" * (1 << 20) + b'"}',
    "a megabyte of zeros": bytes(1 << 20),
    "cut off": b'{"pid": 4242, "sta',
    "a list": b"[4242]",
    "a number": b"4242",
    "a text": b'"4242"',
    "null": b"null",
    "NaN": b"NaN",
    "nested": b"[" * 60000,
    "nested objects": b'{"pid":' * 9000,
    "nines": b"9" * 60000,
    "no UTF-8": b'{"pid": 4242, "url": "\xff\xfe"}',
    "UTF-16": '{"pid": 4242}'.encode("utf-16-be")[1:],
    "XML": b"<state/>",
    "a pidfile": b"4242\n",
    "checks that are none": b'{"checks": {"api": 1, "address": "http://[::1]:9292", "x": null}}',
}


@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
def test_junk(content: bytes, store: Store, tmp_path: Path) -> None:
    """A state file with any other content counts as empty, and can be written anew."""
    put(tmp_path, content)
    assert NOTHING == record(store.read())
    store.write(filled())
    assert record(filled()) == record(store.read())


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", ["true", "null", "[]", "{}", "[1]", '{"a": 1}', "false"])
def test_wrong_type(name: str, value: str, store: Store, tmp_path: Path) -> None:
    """A field of a wrong type is ignored."""
    put(tmp_path, f'{{"{name}": {value}}}')
    assert NOTHING == record(store.read())


@pytest.mark.parametrize("name", ["pid", "start", "session", "uid"])
@pytest.mark.parametrize("value", ["1.0", "NaN", "Infinity", "-Infinity", "1e400", '"4242"'])
def test_no_whole_number(name: str, value: str, store: Store, tmp_path: Path) -> None:
    """A value that is no whole number, where one belongs, is ignored."""
    put(tmp_path, f'{{"{name}": {value}}}')
    assert NOTHING == record(store.read())


@pytest.mark.parametrize("name", ["log", "checks"])
def test_number_for_text(name: str, store: Store, tmp_path: Path) -> None:
    """A number, where something else belongs, is ignored."""
    put(tmp_path, f'{{"{name}": 1}}')
    assert NOTHING == record(store.read())


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", "[[]]", "null", '"\\ud800"'])
def test_what_checks_have_learned(value: str, store: Store, tmp_path: Path) -> None:
    """The store does not judge what a check has stored: it is read, and can be written again."""
    put(tmp_path, f'{{"pid": 4242, "checks": {{"api": {{"token": {value}}}, "other": {{}}}}}}')
    state = store.read()
    assert {"api", "other"} == set(state.checks)
    assert repr(json.loads(value)) == repr(state.checks["api"]["token"])
    store.write(state)
    assert repr(record(state)) == repr(record(store.read()))


@pytest.mark.parametrize(
    "pid", [0, 1, -1, -4242, 2**22, 2**22 + 1, 2**31, 2**32 + 5, 2**63, 2**64, 10**4000])
def test_no_pid(pid: int, store: Store, tmp_path: Path) -> None:
    """A pid that no daemon can have is ignored: neither init nor a process group."""
    put(tmp_path, f'{{"pid": {pid}, "start": 5}}')
    assert 0 == store.read().pid


@pytest.mark.parametrize("pid", [2, 4242, 2**22 - 1])
def test_pid(pid: int, store: Store, tmp_path: Path) -> None:
    """Every pid that a daemon can have is remembered."""
    put(tmp_path, f'{{"pid": {pid}, "start": 5}}')
    assert pid == store.read().pid


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner)))
def test_any_json(tmp_path: Path, value: object) -> None:
    """Whatever JSON is in the file, the fields of the state have the right types."""
    put(tmp_path, json.dumps(value))
    state = made(tmp_path).read()
    assert state.pid == 0 or 1 < state.pid < 2**22
    for name, default in NOTHING.items():
        found = getattr(state, name)
        assert isinstance(found, type(default))
        assert not isinstance(found, bool)
    assert all(isinstance(learned, dict) for learned in state.checks.values())


@given(st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    """Whatever bytes are in the file, reading them does not fail."""
    put(tmp_path, content)
    assert isinstance(made(tmp_path).read(), State)


@pytest.mark.parametrize("kind", ["folder", "fifo", "symlink", "dangling", "full folder"])
def test_no_file(kind: str, store: Store, tmp_path: Path) -> None:
    """Anything but a regular file, in place of the state file, is not followed, and replaced."""
    path = state_file(tmp_path)
    path.parent.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    text = json.dumps(record(filled()))
    if kind in ("folder", "full folder"):
        path.mkdir()
        if kind == "full folder":
            (path / "somebody's").write_text("precious")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(victim)
        if kind == "symlink":
            victim.write_text(text)
    assert NOTHING == record(store.read())
    state = State()
    state.pid = 77
    store.write(state)
    assert 77 == store.read().pid
    assert (text if kind == "symlink" else None) == (
        victim.read_text() if victim.exists() else None)
    if kind == "full folder":
        assert ["precious"] == [p.read_text() for p in path.parent.rglob("somebody's")]


# --- the folder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_modes(mask: int, store: Store, tmp_path: Path, umask: Callable[[int], int]) -> None:
    """Whatever the umask, folder and state are root's alone, and the pidfile is readable."""
    umask(mask)
    store.write(filled())
    store.write_pidfile(4242)
    with store.lock(Deadline(10)):
        pass
    os.close(store.open_log())
    umask(0o022)
    assert 0o700 == stat.S_IMODE((tmp_path / "logs").stat().st_mode)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode)
             for path in (tmp_path, *tmp_path.rglob("*"))[1:]}
    assert modes.pop("p_unit.pid") == 0o644
    assert modes.pop("openstack") == modes.pop("logs") == 0o700
    assert {"unit-api:p_unit.json", "unit-api:p_unit.lock", "unit-api:p_unit.log"} == set(modes)
    assert not [name for name, mode in modes.items() if mode & 0o077]


def test_rsctmp_is_made(tmp_path: Path, umask: Callable[[int], int]) -> None:
    """A folder for running resources that is not there yet is made, not writable by others."""
    umask(0o000)
    made(tmp_path / "a" / "b").write(filled())
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        assert not path.stat().st_mode & 0o022, path


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_folder_of_others(mode: int, store: Store, tmp_path: Path) -> None:
    """In a folder that other users can write, nothing is read, and nothing is written."""
    path = put(tmp_path, json.dumps(record(filled())))
    path.parent.chmod(mode)
    assert NOTHING == record(store.read())
    pattern = f"cannot write state in {path.parent}: it is not root's alone"
    with pytest.raises(StateError, match=pattern):
        store.write(State())
    with pytest.raises(StateError, match=f"cannot use {path.parent}: it is not root's alone"):
        store.lock(Deadline(1))
    assert json.dumps(record(filled())) == path.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user(store: Store, tmp_path: Path) -> None:
    """A folder that belongs to another user is not used, whatever its mode."""
    path = put(tmp_path, json.dumps(record(filled())))
    os.chown(path.parent, NOBODY, NOBODY)
    assert NOTHING == record(store.read())
    with pytest.raises(StateError, match="it is not root's alone"):
        store.write(State())


def test_folder_becomes_private(store: Store, tmp_path: Path) -> None:
    """A folder of ours that other users could read is closed to them."""
    (tmp_path / "openstack").mkdir(mode=0o755)
    store.write(filled())
    assert 0o700 == stat.S_IMODE((tmp_path / "openstack").stat().st_mode)


@pytest.mark.parametrize("kind", ["symlink", "dangling", "file"])
def test_no_folder(kind: str, store: Store, tmp_path: Path) -> None:
    """A symlink or file in place of the folder is not followed, and the message names it."""
    path, victim = tmp_path / "openstack", tmp_path / "victim"
    if kind == "file":
        path.write_text("x")
    else:
        path.symlink_to(victim)
        if kind == "symlink":
            victim.mkdir(mode=0o700)
            (victim / "unit-api:p_unit.json").write_text(json.dumps(record(filled())))
    assert NOTHING == record(store.read())
    with pytest.raises(StateError, match=f"cannot write state in {path}: "):
        store.write(State())
    assert kind != "dangling" or not victim.exists()


@pytest.mark.parametrize("tag", ["a:b/c", "a:../b", "a:b\nc", "a:b\0c", "a:\x7f"],
                         ids=lambda tag: ascii(tag[:12]))
def test_no_name(tag: str, tmp_path: Path) -> None:
    """An instance name that could lead out of the folder is refused."""
    with pytest.raises(ConfigurationError, match="OCF_RESOURCE_INSTANCE"):
        Store(str(tmp_path), tag, tag[2:], "")


def test_long_name(tmp_path: Path) -> None:
    """A name that is too long for a file name has files all the same, and of its own."""
    stores = [Store(str(tmp_path), f"a:{name}", name, "") for name in ("x" * 300, "x" * 301)]
    for pid, store in enumerate(stores, 100):
        state = State()
        state.pid = pid
        store.write(state)
        store.write_pidfile(pid)
        with store.lock(Deadline(10)):
            pass
        os.close(store.open_log())
    assert [100, 101] == [store.read().pid for store in stores]
    assert [100, 101] == [store.read_pidfile() for store in stores]
    stores[0].forget()
    assert [0, 101] == [store.read().pid for store in stores]


# --- whole or not at all ------------------------------------------------------------------------


def test_readers_never_see_half(store: Store, tmp_path: Path) -> None:
    """A reader during a write sees the old state or the new one, never half of one."""
    long, short = filled(), filled()
    long.checks, long.pid = {"api": {"token": "x" * 30000}}, 1111
    short.checks, short.pid = {"api": {"token": "y"}}, 2222
    store.write(long)
    wrong: list[tuple[int, int]] = []
    over = threading.Event()

    def read() -> None:
        own = made(tmp_path)
        while not over.is_set():
            state = own.read()
            length = len(state.checks.get("api", {}).get("token", ""))
            if (state.pid, length) not in ((1111, 30000), (2222, 1)):
                wrong.append((state.pid, length))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(200):
            store.write(long if number % 2 else short)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert [] == wrong


@pytest.mark.parametrize("what", ["state", "pidfile"])
def test_disk_full(what: str, tmp_path: Path) -> None:
    """If a file cannot be written whole, the old one stays, and an error is raised."""
    script = (
        "import resource, signal, sys\n"
        "from agentlib.errors import AgentError\n"
        "from agentlib.state import State, Store\n"
        f"store = Store({str(tmp_path)!r}, 'unit-api:p_unit', 'p_unit', '')\n"
        "state = State()\n"
        "state.pid = 4242\n"
        "store.write(state)\n"
        "store.write_pidfile(4242)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))\n"
        "state.pid = 555555\n"
        "try:\n"
        f"    store.write(state) if {what == 'state'} else store.write_pidfile(555555)\n"
        "except AgentError as error:\n"
        "    print(error)\n"
        "else:\n"
        "    print('nothing')\n")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    store = made(tmp_path)
    found = store.read().pid if what == "state" else store.read_pidfile()
    assert (4242, True) == (found, done.stdout.startswith("cannot write")), done.stdout
    assert [] == [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_left_over(store: Store, tmp_path: Path) -> None:
    """A temporary file that a killed agent has left does not stop the next one."""
    path = put(tmp_path, "")
    left = path.with_name(f".{path.name}.{os.getpid()}")
    left.symlink_to(tmp_path / "victim")
    store.write(filled())
    assert 4242 == store.read().pid
    assert not (tmp_path / "victim").exists()
    assert not left.is_symlink()


# --- the pidfile --------------------------------------------------------------------------------


def test_pidfile(store: Store, tmp_path: Path) -> None:
    """The pidfile is where the HA guide's agents have it, and has the pid alone."""
    store.write_pidfile(4242)
    assert "4242\n" == (tmp_path / "p_unit.pid").read_text()
    assert 4242 == store.read_pidfile()


def test_given_pidfile(tmp_path: Path) -> None:
    """The parameter pid says where the pidfile is."""
    store = made(tmp_path, str(tmp_path / "other.pid"))
    store.write_pidfile(4242)
    assert ["other.pid"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("content", "pid"),
    [
        (b"4242", 4242), (b"4242\n", 4242), (b" 4242 \n\n", 4242), (b"2\n", 2),
        (b"", 0), (b"\n", 0), (b"0\n", 0), (b"1\n", 0), (b"-1\n", 0), (b"-4242\n", 0),
        (b"+4242\n", 0), (b"4242 4243\n", 0), (b"4242\n4243\n", 0), (b"4194304\n", 0),
        (b"4194305\n", 0), (b"99999999999999999999\n", 0), (b"0x1092\n", 0), (b"4_242\n", 0),
        (b"4242.0\n", 0), (b"pid 4242\n", 0), (b"true\n", 0), (b'{"pid": 4242}', 0),
        (b"\xff\xfe", 0), (b"4242\0", 0), ("\u0664\u0662".encode(), 0),
        (b"4" * (1 << 20), 0), (b"4242" + b" " * PIDFILE_SIZE, 0),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_pidfile_contents(content: bytes, pid: int, store: Store) -> None:
    """Only a number that can be a daemon's pid is read as a pid."""
    Path(store.pidfile).write_bytes(content)
    assert pid == store.read_pidfile()


@given(st.binary(max_size=80) | st.from_regex(rb"[ 0-9+-]{0,9}\n?", fullmatch=True))
def test_any_pidfile(tmp_path: Path, content: bytes) -> None:
    """Whatever the pidfile holds: no pid, or the number in it, if a daemon can have it."""
    store = made(tmp_path)
    Path(store.pidfile).write_bytes(content)
    pid = store.read_pidfile()
    assert pid == 0 or (1 < pid < 2**22 and int(content.strip()) == pid)


@pytest.mark.parametrize("kind", ["symlink", "dangling", "folder", "fifo", "missing folder"])
def test_no_pidfile(kind: str, tmp_path: Path) -> None:
    """In place of a pidfile, anything but a regular file has no pid, and is not followed."""
    path, victim = tmp_path / "p_unit.pid", tmp_path / "victim"
    if kind in ("symlink", "dangling"):
        path.symlink_to(victim)
        if kind == "symlink":
            victim.write_text("4242\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = tmp_path / "missing" / "x.pid"
    store = made(tmp_path, str(path))
    assert 0 == store.read_pidfile()
    if kind == "missing folder":
        with pytest.raises(StateError, match=f"cannot write pid={path}: No such file"):
            store.write_pidfile(77)
    elif kind in ("folder", "fifo"):
        with pytest.raises(StateError, match=r"^pid=.* is not a regular file: name another$"):
            store.write_pidfile(77)
    else:
        store.write_pidfile(77)
        assert 77 == store.read_pidfile()
    assert ("4242\n" if kind == "symlink" else None) == (
        victim.read_text() if victim.exists() else None)


def test_pid_parameter_names_a_folder(tmp_path: Path) -> None:
    """A folder that the parameter pid names by mistake is not replaced."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").write_text("x")
    with pytest.raises(StateError, match="is not a regular file"):
        made(tmp_path, str(folder)).write_pidfile(4242)
    assert (folder / "file").exists()



# --- last verdicts --------------------------------------------------------------------------------


LAST = "unit-api:p_unit.10.last"


def left(folder: Path, tag: str = "unit-api:p_unit", reason: str = "does not answer") -> None:
    leave(str(folder), tag, 10, ExitCode.ERR_GENERIC, reason, 0.25)


def test_leave(store: Store, tmp_path: Path) -> None:
    """A verdict is a few lines in a file of its own, root's alone; the next one replaces it."""
    store.write(State())
    left(tmp_path)
    left(tmp_path, reason="cannot\nbe reached" + "!" * 5000)
    path = tmp_path / "openstack" / LAST
    lines = dict(line.split(" ", 1) for line in path.read_text().splitlines())
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert ["tag", "level", "code", "seconds", "time", "reason"] == [*lines]
    assert ("unit-api:p_unit", "10", "1", "0.250") == tuple(lines.values())[:4]
    assert lines["reason"].startswith("cannot be reached!!") and len(lines["reason"]) < 120
    assert {LAST, state_file(tmp_path).name} == set(os.listdir(path.parent))


@pytest.mark.parametrize("tag", ["unit-api:p/../../p", "unit-api:p\n", "unit-api:\udc80"])
def test_leave_of_no_name(store: Store, tmp_path: Path, tag: str) -> None:
    """A text that cannot be the name of a resource makes no file."""
    store.write(State())
    left(tmp_path, tag)
    assert [state_file(tmp_path).name] == os.listdir(tmp_path / "openstack")


@pytest.mark.parametrize("kind", ["none", "open", "link"])
def test_leave_in_a_folder_of_others(kind: str, tmp_path: Path) -> None:
    """In a folder that other users could write, no verdict is written, and nothing is raised."""
    folder, elsewhere = tmp_path / "openstack", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "link":
        folder.symlink_to(elsewhere)
    left(tmp_path)
    assert [] == [*elsewhere.iterdir()]
    assert kind != "none" or not folder.exists()
    assert kind != "open" or [] == [*folder.iterdir()]


def test_leave_on_a_full_disk(store: Store, tmp_path: Path) -> None:
    """A verdict that cannot be written whole is not written; the one before stays."""
    store.write(State())
    left(tmp_path)
    before = (tmp_path / "openstack" / LAST).read_bytes()
    script = ("import resource\n"
              "from agentlib.state import leave\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))\n"
              f"leave({str(tmp_path)!r}, 'unit-api:p_unit', 10, 0, '', 0.5)\n")
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    assert before == (tmp_path / "openstack" / LAST).read_bytes()
    assert {LAST, state_file(tmp_path).name} == set(os.listdir(tmp_path / "openstack"))


def test_leave_through_a_link(store: Store, tmp_path: Path) -> None:
    """A symlink in place of a verdict is replaced, never written to."""
    store.write(State())
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = tmp_path / "openstack" / LAST
    path.symlink_to(precious)
    left(tmp_path)
    assert "precious" == precious.read_text()
    assert not path.is_symlink() and path.read_text().startswith("tag ")


def test_what_is_half_left_is_swept(store: Store, tmp_path: Path) -> None:
    """forget() removes temporary files of a killed monitor, not last verdicts or others' files."""
    store.write(State())
    left(tmp_path)
    folder = tmp_path / "openstack"
    (folder / f".{LAST}.4242").touch()
    (folder / ".unit-api:p_unit.10.last.10.last.4242").touch()
    store.forget()
    assert {LAST, ".unit-api:p_unit.10.last.10.last.4242"} == set(os.listdir(folder))

# --- forget -------------------------------------------------------------------------------------


def test_forget(store: Store, tmp_path: Path) -> None:
    """forget() removes state, token and pidfile."""
    store.write(filled())
    store.write_pidfile(4242)
    store.forget()
    assert NOTHING == record(store.read())
    assert ["openstack"] == [path.name for path in tmp_path.iterdir()]
    assert [] == list((tmp_path / "openstack").iterdir())


def test_forget_nothing(store: Store, tmp_path: Path) -> None:
    """forget() does no harm where there is nothing, even twice."""
    store.forget()
    store.forget()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"precious\n", b"[DEFAULT]\n", b"0\n", b"1 2\n"])
def test_forget_leaves_what_is_no_pidfile(content: bytes, tmp_path: Path) -> None:
    """A file that the parameter pid names by mistake stays."""
    path = tmp_path / "glance-api.conf"
    path.write_bytes(content)
    made(tmp_path, str(path)).forget()
    assert content == path.read_bytes()


@pytest.mark.parametrize(
    ("remembered", "ended", "gone"),
    [(4242, [], True), (0, [4242], True), (0, [], False), (77, [78], False)])
def test_forget_a_pidfile_of_ours(
    remembered: int, ended: list[int], gone: bool, tmp_path: Path,
) -> None:
    """A pidfile that the operator has named is removed only if it has a pid of this instance."""
    path = tmp_path / "counter"
    path.write_text("4242\n")
    store = made(tmp_path, str(path))
    state = State()
    state.pid = remembered
    store.write(state)
    remark = store.forget(ended)
    assert gone is not path.exists()
    assert gone is (remark == "")
    assert gone or str(path)[:40] in remark


@pytest.mark.parametrize(
    ("content", "fine"),
    [(b"", True), (b"4242\n", True), (b"4242", True), (b"[DEFAULT]\n", False), (b"12 x\n", False),
     (b"1" * 100, False)])
def test_what_a_pidfile_may_replace(content: bytes, fine: bool, tmp_path: Path) -> None:
    """Where the operator has named the pidfile, only a file that may be one is replaced."""
    path = tmp_path / "x"
    path.write_bytes(content)
    store = made(tmp_path, str(path))
    if fine:
        store.write_pidfile(77)
        assert 77 == store.read_pidfile()
    else:
        assert "holds something else" in store.pidfile_trouble()
        with pytest.raises(StateError, match="holds something else"):
            store.write_pidfile(77)
        assert content == path.read_bytes()


@pytest.mark.parametrize("kind", ["symlink", "folder"])
def test_forget_follows_nothing(kind: str, store: Store, tmp_path: Path) -> None:
    """Neither the target of a symlink nor a folder is removed."""
    path, victim = Path(store.pidfile), tmp_path / "victim"
    victim.write_text("4242\n")
    if kind == "symlink":
        path.symlink_to(victim)
    else:
        path.mkdir()
    store.forget()
    assert victim.exists()


# --- the bounded log --------------------------------------------------------------------------


def test_log(store: Store, tmp_path: Path) -> None:
    """The bounded log is appended to, and its path known; it is not in the tmpfs of the state."""
    for word in (b"one ", b"two"):
        descriptor = store.open_log()
        os.write(descriptor, word)
        os.close(descriptor)
    assert str(tmp_path / "logs" / "unit-api:p_unit.log") == store.log
    assert not (tmp_path / "openstack").exists()
    assert b"one two" == Path(store.log).read_bytes()


@pytest.mark.parametrize("kind", ["symlink", "folder"])
def test_no_log(kind: str, store: Store, tmp_path: Path) -> None:
    """A symlink or folder in place of the log is not followed."""
    path, victim = Path(store.log), tmp_path / "victim"
    path.parent.mkdir(mode=0o700)
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(victim)
    with pytest.raises(StateError, match="cannot use"):
        store.open_log()
    assert not victim.exists()


@pytest.mark.parametrize(("size", "left"), [(0, 0), (LOG_LIMIT, LOG_LIMIT), (LOG_LIMIT + 1, 0)])
def test_keep_bounded(tmp_path: Path, size: int, left: int) -> None:
    """The bounded log is emptied when it is too large, and not before."""
    path = tmp_path / "x.log"
    path.write_bytes(b"x" * size)
    keep_bounded(str(path))
    assert left == path.stat().st_size


def test_keep_bounded_while_written(tmp_path: Path) -> None:
    """A daemon that appends goes on at the beginning of the emptied log, without a hole."""
    path = tmp_path / "x.log"
    with path.open("ab", buffering=0) as file:
        file.write(b"x" * (LOG_LIMIT + 1))
        keep_bounded(str(path))
        file.write(b"next\n")
    assert b"next\n" == path.read_bytes()


@pytest.mark.parametrize("kind", ["missing", "folder", "symlink"])
def test_keep_bounded_is_careful(tmp_path: Path, kind: str) -> None:
    """A path that is no log of ours is left alone, and is no failure."""
    path, victim = tmp_path / "x.log", tmp_path / "victim"
    victim.write_bytes(b"x" * (LOG_LIMIT + 1))
    if kind == "folder":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to(victim)
    keep_bounded(str(path))
    assert LOG_LIMIT + 1 == victim.stat().st_size


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10**18, 10**18) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12)


@given(value=JSON)
def test_parsed_as_json(value: object) -> None:
    """A state is read as the json module reads it."""
    text = json.dumps(value).encode()
    assert repr(json.loads(text)) == repr(_parsed(b" " + text + b"\n"))


@given(text=st.binary(max_size=30) | st.text(alphabet='{}[]":,0123456789.eE+-nulltrefasI ',
                                              max_size=30).map(str.encode))
def test_parsed_junk(text: bytes) -> None:
    """A text that the json module refuses is refused, with no other exception."""
    try:
        wanted = repr(json.loads(text.decode()))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - of any kind
            _parsed(text)
    else:
        assert wanted == repr(_parsed(text))


def test_parsed_alone() -> None:
    """A text that is cut off is refused also without the json module, as in a monitor."""
    whole = json.dumps({"pid": 17, "checks": {"a": [1.5, "x", None, True]}})
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from agentlib.state import _parsed\n"
        f"whole = {whole!r}.encode()\n"
        "assert _parsed(whole)['pid'] == 17\n"
        "for cut in [*range(len(whole))]:\n"
        "    try:\n"
        "        _parsed(whole[:cut])\n"
        "    except ValueError:\n"
        "        continue\n"
        "    raise SystemExit(f'taken: {whole[:cut]}')\n"
        "assert 'json.decoder' not in sys.modules or sys.version_info >= (3, 13)\n")
    done = subprocess.run([PYTHON, "-ESs", "-c", code], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
