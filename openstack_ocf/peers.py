"""The layers of `explain` about what a daemon serves and what it depends on.

Where it listens, which node has that address, what a monitor asks and with which token; the
connections of a worker. All is read from this node's own tables: no request is sent.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from agentlib import credentials, endpoints, examination, keystone, listening, process, sockets
from agentlib.api import Api
from agentlib.broker import RETRANSMITS, Broker
from agentlib.check import Subject
from agentlib.configfile import option
from agentlib.database import Database
from agentlib.deadline import Deadline
from agentlib.errors import AgentError
from agentlib.instance import Status
from agentlib.port import Port
from agentlib.resource import Resource
from agentlib.sockets import ANY, ANY6, Listener
from agentlib.unixsocket import UnixSocket
from agentlib.unixsocket import listening as listening_at
from agentlib.url import split

from . import node
from .agents import Agent
from .configured import Configured
from .description import Address
from .errors import CannotLookError
from .line import OK, UNKNOWN, WARNING, WRONG, Line
from .words import shown

SOCKETS, ADDRESSES, ASKED, SERVERS = ("sockets", "virtual IPs", "what a monitor asks",
                                      "what it depends on")

Addresses = Mapping[Address, str]


def served(resource: Resource, status: Status, given: Configured,
           agent: Agent | None) -> Iterator[Line]:
    """All of it. agent: which one it is of, with the option that says where the daemon listens."""
    subject = resource.subject(status.state, status.master or cast(Any, None))
    runs = status.master is not None
    here: Addresses | None = None
    lines = []
    try:
        here = node.addresses()
    except CannotLookError as error:
        if given.vips:
            lines.append(Line(ADDRESSES, UNKNOWN, str(error)))
    found: list[Listener] = []
    for check in resource.checks:
        try:
            if isinstance(check, (Api, Port)):
                if runs:
                    there, rivals = listening.search(subject, resource.daemon.port)
                    found = list(there.values())
                    yield from _sockets(subject, here, there, rivals)
                else:
                    yield from _configured(subject, given, agent, here)
            elif isinstance(check, UnixSocket):
                yield from _unix(check, subject, runs=runs)
        except AgentError as error:
            yield Line(SOCKETS, UNKNOWN, str(error))
    yield from lines
    yield from _virtual_ips(given, here, found, runs=runs)
    for check in resource.checks:
        if isinstance(check, Api):
            yield from _asked(check, subject, next((one.url for one in found), ""))
    for check in resource.checks:
        if isinstance(check, (Broker, Database)):
            yield from _servers(check, subject, runs=runs)


# --- where it listens -----------------------------------------------------------------------


def _sockets(
    subject: Subject, here: Addresses | None, found: Mapping[str, Listener],
    rivals: Iterable[Listener],
) -> Iterator[Line]:
    """found: its own listeners by URL. rivals: others' at the same port."""
    deadline = Deadline(node.HOLDER)
    if not found:
        waits = listening.waiting(subject, subject.daemon.port, deadline)
        yield Line(SOCKETS, WRONG, f"it {waits}")
    for url, listener in found.items():
        yield Line(SOCKETS, *_place(listener.address, here, f"port {listener.port} of "))
        for rival in rivals:
            if rival.port == listener.port:
                yield Line(SOCKETS, WRONG, f"{url} is shared with "
                           f"{sockets.holder(rival, deadline)}, which is not of this resource")
    known = listening.known(subject)
    if found and known and known not in found:
        yield Line(SOCKETS, WARNING, f"remembered was {known}; the next monitor learns the new one")


def _place(address: str, here: Addresses | None, what: str) -> tuple[str, str]:
    """Verdict and text on an address that something listens on."""
    if address in (ANY, ANY6):
        return OK, f"{what}all addresses of this node ({address})"
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return OK, f"{what}{shown(address)}"  # A name.
    if wanted.is_loopback:
        return OK, f"{what}{address}, for this node alone"
    if here is None:
        return UNKNOWN, f"{what}{address}; whether this node has it, ip does not say"
    if wanted in here:
        return OK, f"{what}{address}, which this node has ({here[wanted]})"
    return WRONG, f"{what}{address}, which this node does not have: no client comes here"


def _configured(
    subject: Subject, given: Configured, agent: Agent | None, here: Addresses | None,
) -> Iterator[Line]:
    """Where a daemon that does not run would listen; and what has its port meanwhile."""
    listen = agent.listen if agent else ""
    address = option(_files(subject), agent.listen_section, listen) if agent and listen else ""
    if address:
        verdict, text = _place(address, here, f"{listen} is ")
        if verdict == WRONG:
            # As it should be, where it is a virtual IP: this node does not have its turn.
            tied = address in given.vips.values()
            verdict = OK if tied else WARNING
            text = (f"{listen} is {address}, " + (
                "a virtual IP that is not on this node" if tied else
                "which this node does not have: it could not start here"))
        yield Line(SOCKETS, verdict, text)
    port = subject.daemon.port
    others = sockets.listeners(port)
    if others:
        holder = sockets.holder(others[0], Deadline(node.HOLDER))
        yield Line(SOCKETS, WARNING, f"port {port} is held by {holder}")


def _files(subject: Subject) -> list[str]:
    """The daemon's configuration files; AgentError where one is none, as a FIFO, or missing."""
    files = subject.daemon.read_files(subject.values)
    wrong = next((path for path in files if not os.path.isfile(path)), None)
    if wrong is not None:
        raise AgentError(f"{shown(wrong)} is not a file")
    return files


def _unix(check: UnixSocket, subject: Subject, *, runs: bool) -> Iterator[Line]:
    _files(subject)
    path = check.path(subject)
    there = listening_at(path)
    if not runs:
        if there:
            yield Line(SOCKETS, WARNING, f"{path} has a listener that is not of this resource")
        return
    own = sockets.held(process.tree(subject.master))
    if any(inode in own for inode in there):
        yield Line(SOCKETS, OK, f"listens at {path}")
    else:
        yield Line(SOCKETS, WRONG, f"does not listen at {path}")


def _virtual_ips(
    given: Configured, here: Addresses | None, found: list[Listener], *, runs: bool,
) -> Iterator[Line]:
    """The virtual IPs that the CIB ties to it: are they here, and does it listen there?"""
    for name, address in given.vips.items():
        try:
            wanted: Address | None = ipaddress.ip_address(address)
        except ValueError:
            wanted = None
        if wanted is None or here is None:
            yield Line(ADDRESSES, UNKNOWN, f"{shown(name)}: {shown(address) or 'no address'}")
        elif wanted not in here:
            away = runs and not given.spread
            yield Line(ADDRESSES, WARNING if away else OK, f"{name}: {address} is not on this node"
                       + (", and this resource is" if away else ""))
        elif runs and found and not any(one.rank(address) for one in found):
            yield Line(ADDRESSES, WRONG, f"{name}: {address} is on this node ({here[wanted]}), and "
                       "the daemon does not listen there: clients are refused")
        else:
            yield Line(ADDRESSES, OK, f"{name}: {address} is on this node ({here[wanted]})")


# --- what is asked --------------------------------------------------------------------------


def _asked(api: Api, subject: Subject, seen: str) -> Iterator[Line]:
    """seen: where it listens, as far as that is seen."""
    url = listening.known(subject) or seen
    where = url or "http://WHERE-IT-LISTENS"
    try:
        asked = examination.Examination(api, subject).asked(where)
        identity = credentials.identity(subject.values, api.own(split(asked)[0]))
    except AgentError as error:
        yield Line(ASKED, WRONG, str(error))
        return
    if identity is None:
        yield Line(ASKED, WARNING, f"GET {split(asked)[0]}/ alone: without credentials "
                   "(os_username, ...) it does not show whether the database answers")
        return
    yield Line(ASKED, OK, f"GET {asked}, as user {identity.user} of project {identity.project}")
    yield Line(ASKED, OK, f"tokens come from Keystone at {identity.url}")
    memory = subject.memory(examination.MEMORY)
    token = keystone.kept(memory, identity)
    if token:
        until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(token.until))
        yield Line(ASKED, OK, f"a token is remembered until {until}")
    elif memory.get("token"):
        yield Line(ASKED, WARNING, "the remembered token is over, or of other credentials: the "
                   "next monitor asks Keystone for one")
    else:
        yield Line(ASKED, OK, "no token is remembered: the next monitor asks Keystone for one")
    if memory.get("anonymous") == examination.SERVED:
        yield Line(ASKED, WARNING, "it has served a request without a token: set "
                   + (api.authentication or "authentication in its configuration"))


# --- what it depends on ---------------------------------------------------------------------


def _servers(check: Broker | Database, subject: Subject, *, runs: bool) -> Iterator[Line]:
    what = "RabbitMQ" if isinstance(check, Broker) else "the database"
    try:
        check.validate(subject.values)
        _files(subject)
        servers = check.servers(subject)
        if servers is None:
            yield Line(SERVERS, OK, f"{what} is of a kind that is not looked at")
            return
        named = ", ".join(map(endpoints.shown, servers))
        if not runs:
            yield Line(SERVERS, OK, f"{what} at {named}")
            return
        seen = endpoints.connections(subject, servers)
    except AgentError as error:
        yield Line(SERVERS, UNKNOWN, f"{what}: {error}")
        return
    if not seen:
        # A worker that is idle has none to its database.
        yield Line(SERVERS, WARNING if isinstance(check, Broker) else OK,
                   f"no connection to {what} at {named}")
        return
    yield Line(SERVERS, OK, f"connected to {what} at {named}", f"{len(seen)} connections")
    stuck = [one for _, one in seen if one.unsent and one.retransmits >= RETRANSMITS]
    if stuck:
        yield Line(SERVERS, WARNING, f"{what} does not take what it sends",
                   f"{len(stuck)} connections")
    if isinstance(check, Broker):
        for pid in sorted({pid for pid, _ in seen}):
            if all(one.unread for holder, one in seen if holder == pid):
                yield Line(SERVERS, WARNING, f"pid {pid} has unread bytes in all its connections: "
                           "a monitor looks for 10 s whether it hangs")
