"""The layers of `explain` about the daemon itself: parameters, what is remembered, processes."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agentlib import process
from agentlib.errors import AgentError
from agentlib.instance import Status
from agentlib.parameters import Parameter
from agentlib.process import Process
from agentlib.resource import Resource
from agentlib.secrets import scrubbed
from agentlib.start import validate_host

from .agents import UNUSED
from .configured import Configured
from .line import OK, UNKNOWN, WARNING, WRONG, Line
from .words import hidden as without
from .words import nearest, shown

PARAMETERS, STATE, PROCESSES = "parameters", "what is remembered", "processes"

MANY = 6
"""At most so many pids are named."""


def parameters(
    resource: Resource, known: Sequence[Parameter], given: Configured,
) -> Iterator[Line]:
    """The parameters as they count here, and what validation says of them.

    known: those that the agent declares.
    """
    declared = {one.name: one for one in known}
    for verdict, text in given.remarks:
        yield Line(PARAMETERS, verdict, text)
    hidden = [given.parameters[name] for name in given.parameters if _secret(name, given)]
    for name, parameter in declared.items():
        value = resource.values.text(name)
        unused = UNUSED in parameter.shortdesc
        if not value or (unused and not resource.values.given(name)):
            continue
        text = "***" if _secret(name, given) else without(scrubbed(value, *hidden))
        mark = "" if resource.values.given(name) else " (default)"
        yield Line(PARAMETERS, OK, f"{name} = {text}{mark}{' ' + UNUSED if unused else ''}")
    for name in sorted({*given.parameters} - {*declared}):
        near = nearest(name, declared)
        yield Line(PARAMETERS, WARNING, f"{resource.name} has no parameter {shown(name)}"
                   + (f"; the nearest is {near}" if near else ""))
    yield from _validation(resource)


def _secret(name: str, given: Configured) -> bool:
    return (name in given.hidden or name == "os_token"
            or any(word in name for word in ("password", "secret", "credential")))


def _validation(resource: Resource) -> Iterator[Line]:
    """What validate-all would say."""
    try:
        resource.validate()
        validate_host(resource)
        remarks = [*resource.daemon.remarks(resource.values)]
        for check in resource.checks:
            remarks += check.remarks(resource.values)
    except AgentError as error:
        yield Line(PARAMETERS, WRONG, str(error))
        return
    for remark in remarks:
        yield Line(PARAMETERS, WARNING, remark)
    yield Line(PARAMETERS, OK, "nothing is wrong with them on this node")


# --- state and pidfile ----------------------------------------------------------------------


def remembered(resource: Resource) -> Iterator[Line]:
    """The files of the instance."""
    store = resource.store
    state, pid = store.read(), store.read_pidfile()
    if state.pid:
        yield Line(STATE, OK, f"{store.path}: pid {state.pid}")
    elif os.path.lexists(store.path):
        yield Line(STATE, WARNING, f"{store.path} is nothing that the agent takes: it counts as "
                   "missing")
    else:
        yield Line(STATE, OK, f"{store.path}: nothing, as of a resource that is stopped")
    trouble = store.pidfile_trouble() if resource.values.given("pid") else ""
    if trouble:
        yield Line(STATE, WRONG, trouble)
    elif pid and state.pid and pid != state.pid:
        yield Line(STATE, WARNING, f"pidfile {store.pidfile}: pid {pid}, not the remembered one")
    elif pid and not process.find(pid):
        yield Line(STATE, WARNING, f"pidfile {store.pidfile}: pid {pid}, which is no process")
    elif pid:
        yield Line(STATE, OK, f"pidfile {store.pidfile}: pid {pid}")
    elif os.path.lexists(store.pidfile):
        yield Line(STATE, WARNING, f"pidfile {store.pidfile} holds no pid")
    else:
        yield Line(STATE, OK, f"pidfile {store.pidfile}: none")
    holder = _lock_holder(store.path.removesuffix(".json") + ".lock")
    if holder:
        yield Line(STATE, WARNING, f"a start or stop of it is at work: pid {holder} has the lock")


def _lock_holder(path: str) -> int:
    """The pid that has locked a file (flock), 0 if none is seen. The lock itself is not touched."""
    try:
        status = os.stat(path)
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 0
    device = status.st_dev
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}"
    for words in map(str.split, locks):
        # `1: FLOCK ADVISORY WRITE PID PLACE 0 EOF`; one that waits has an arrow behind the number.
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == place:
            return max(0, int(words[4]))
    return 0


# --- processes ------------------------------------------------------------------------------


def processes(resource: Resource, status: Status, *, known: bool) -> Iterator[Line]:
    """The master, its workers, and what has no master any more.

    known: whether the master was remembered.
    """
    if status.orphans:
        yield Line(PROCESSES, WRONG, f"the master process is gone, and {_pids(status.orphans)} "
                   "hold on without it; stop ends them")
        return
    master = status.master
    if master is None:
        yield Line(PROCESSES, OK, "none of this resource on this node")
        return
    yield Line(PROCESSES, OK, f"master: pid {master.pid} ({master.name}), user {_user(master)}",
               f"since {_clock(time.time() - process.age(master))}, state {master.state}")
    if not known:
        yield Line(PROCESSES, WARNING, "it is not remembered: the next action of the agent takes "
                   "it over as it runs")
    owner = resource.daemon.owner(resource.values)
    if owner not in (None, master.real_owner()):
        yield Line(PROCESSES, WARNING, f"it does not run as user={resource.values.text('user')}: "
                   "a restart would change that")
    yield from _workers(resource, master)
    yield from _changed(resource, master)


def _workers(resource: Resource, master: Process) -> Iterator[Line]:
    """Its workers, what has lost its parent, and what is stopped by a signal."""
    tree = process.tree(master)
    workers = tree[1:]
    if workers:
        yield Line(PROCESSES, OK, f"workers: {_pids(workers)}")
    stopped = [one for one in tree if one.state in "Tt"]
    if stopped:
        yield Line(PROCESSES, WRONG, f"{_pids(stopped)}: stopped by a signal; kill -CONT lets them "
                   "go on")
    inside = {one.pid for one in tree}
    try:
        strays = [one for one in resource.instance.family() if one.pid not in inside]
    except AgentError as error:
        yield Line(PROCESSES, UNKNOWN, str(error))
        return
    strays = process.living(strays)
    if strays:
        yield Line(PROCESSES, WARNING, f"{_pids(strays)}: of this resource, and no descendants of "
                   "the master; stop ends them, too")


def _changed(resource: Resource, master: Process) -> Iterator[Line]:
    """Configuration files that are newer than the process that has read them."""
    started = time.time() - process.age(master)
    try:
        files = resource.daemon.files(resource.values)
    except AgentError:
        return  # Validation has said it.
    for path in files:
        try:
            changed = Path(path).stat().st_mtime
        except OSError:
            continue
        if changed > started + 1:
            yield Line(PROCESSES, WARNING, f"{path} has changed since it was started: a restart "
                       "may be needed")


def _pids(some: Sequence[Process]) -> str:
    named = ", ".join(str(one.pid) for one in some[:MANY])
    more = f" and {len(some) - MANY} more" if len(some) > MANY else ""
    return f"pid {named}{more} ({some[0].name})"


def _user(member: Process) -> str:
    try:
        return pwd.getpwuid(member.real_owner()).pw_name
    except KeyError:
        return str(member.real_owner())


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
