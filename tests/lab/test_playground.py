"""The basis of the demo and of the benchmark of failovers: snippets, journal and client.

Nearly all of it is text or numbers. `make demo` runs the playground itself; its transcript is in
docs/.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.agents import execute
from lab.client import Asked, backed_off, outages
from lab.errors import LabError
from lab.journal import Follower, events
from lab.playground import edited, properties, short

ROOT = Path(__file__).parents[2]
SNIPPET = """# monitor: op monitor interval="1s"
primitive p_ip_x-api ocf:heartbeat:IPaddr2 \\
  params ip="10.0.0.12" \\
  op monitor interval="10s" timeout="20s"
primitive p_x-api ocf:openstack:x-api \\
  params config='/etc/x' \\
    os_password=SECRET \\
  meta migration-threshold="3" \\
  op monitor interval="30s" timeout="30s" OCF_CHECK_LEVEL="10" \\
  op monitor interval="10s" timeout="30s" OCF_CHECK_LEVEL="0"
group g_x-api p_ip_x-api p_x-api
"""
LOG = """\
Nov 20 06:59:52.603 node1 pacemaker-controld  [59] (log_executor_event) \tnotice: Result of \
monitor operation for p_x on node1: error (the master is gone (pid 3); stop) | CIB update 51, \
graph action unconfirmed; call=21 key=p_x_monitor_5000 rc=1
Nov 20 06:59:52.627 node1 pacemaker-controld  [59] (log_executor_event) \tinfo: Result of \
monitor operation for p_x on node1: Cancelled | graph action confirmed; call=21 \
key=p_x_monitor_5000
Nov 20 06:59:52.627 node1 pacemaker-execd     [56] (log_execute) \tinfo: executing - rsc:p_x \
action:stop call_id:23
Nov 20 06:59:52.715 node1 pacemaker-controld  [59] (log_executor_event) \tnotice: Result of stop \
operation for p_x on node1: ok | CIB update 56, graph action confirmed; call=23 key=p_x_stop_0 rc=0
Nov 20 06:59:53.000 node1 pacemaker-based     [54] (cib_perform_op) \tinfo: Diff: --- 0.7.36 2
Nov 20 06:59:54.000 node1 pacemaker-controld  [59] (update_peer_state_iter) \tnotice: Node node2 \
state is now lost | nodeid=2 previous=member source=crm_update_peer_proc
Nov 20 06:59:55.000 node1 pacemaker-controld  [59] (handle_fence_notification) \tnotice: Peer \
node2 was terminated (reboot) by node1 on behalf of pacemaker-controld.59@node1: OK | event=d7c75018
Nov 20 06:59:56.000 node1 pacemaker-controld  [59] (handle_fence_notification) \tnotice: Peer \
node2 was not terminated (reboot) by node1 on behalf of pacemaker-controld.59@node1: No
"""


def test_snippet_is_edited() -> None:
    """Parameters are replaced, quoted or not; a monitor's interval depends on its check level."""
    edits = {"p_ip_x-api": {"ip": "10.9.9.9"}, "p_x-api": {"config": "/c", "os_password": r"a\1"}}

    address, service, group = edited(SNIPPET, edits, short).splitlines()

    assert 'ip="10.9.9.9"' in address
    assert 'op monitor interval="3s" timeout="20s"' in address
    assert 'config="/c"' in service
    assert r'os_password="a\1"' in service
    assert 'meta migration-threshold="3"' in service
    assert 'op monitor interval="5s" timeout="30s" OCF_CHECK_LEVEL="10"' in service
    assert 'op monitor interval="3s" timeout="30s" OCF_CHECK_LEVEL="0"' in service
    assert "group g_x-api p_ip_x-api p_x-api" == group


def test_snippet_without_what_is_to_be_edited() -> None:
    """A primitive or a parameter that the snippet does not have is an error."""
    with pytest.raises(LabError, match="there is no os_username="):
        edited(SNIPPET, {"p_x-api": {"os_username": "monitor"}}, short)
    with pytest.raises(LabError, match="there is no primitive p_y-api"):
        edited(SNIPPET, {"p_y-api": {}}, short)


def test_properties() -> None:
    """The properties of crm/ enable fencing; without it all others stay."""
    assert 'stonith-enabled="true"' in properties()
    assert 'stonith-enabled="false"' in properties(fencing=False)
    assert 'resource-stickiness="100"' in properties(fencing=False)


def test_journal() -> None:
    """Operations and lost nodes are read, with reasons and times; cancelled monitors are not."""
    found = list(events(LOG, 0))

    assert [
        ("monitor", "p_x", "error", "the master is gone (pid 3); stop", 5.0),
        ("stop", "p_x", "", "", 0.0),
        ("stop", "p_x", "ok", "", 0.0),
        ("lost", "node2", "", "", 0.0),
        ("fenced", "node2", "", "", 0.0),
    ] == [(e.what, e.resource, e.result, e.reason, e.interval) for e in found]
    assert 0.088 == pytest.approx(found[2].seconds, abs=0.001)
    assert [] == list(events(LOG, time.time() + 366 * 86400))


def test_journal_that_grows(tmp_path: Path) -> None:
    """A log that is read in parts, cut anywhere, gives the same events as when read at once."""
    log = tmp_path / "pacemaker.log"
    cluster: Any = SimpleNamespace(nodes=["node1"], path=lambda node, path: log)
    following = Follower(cluster)
    assert [] == following.events(0)

    for end in range(0, len(LOG) + 60, 60):
        log.write_text(LOG[:end])
        following.events(0)

    assert list(events(LOG, 0)) == following.events(0)
    assert [] == following.events(time.time() + 366 * 86400)


def test_journal_of_a_pacemaker_with_other_words() -> None:
    """The result of an operation is read from its exit code: Pacemaker 3 has other words."""
    done = (
        "Nov 20 06:59:52.{at} node1 pacemaker-controld  [57] (log_executor_event) \tnotice: Result "
        "of monitor operation for p_x on node1: {said} | graph action unconfirmed; call=20 "
        "key=p_x_monitor_5000{code}\n"
    )
    said = {
        "OK": 0,
        "Error occurred (no answer (yet))": 1,
        "Not running": 7,
        "Service is active but might fail soon (Keystone is down)": 190,
    }
    lines = [done.format(at=600 + c, said=text, code=f" rc={c}") for text, c in said.items()]
    lines.append(done.format(at=999, said="Timed out after 2s (no result)", code=""))

    found = [(event.result, event.reason) for event in events("".join(lines), 0)]

    assert [
        ("ok", ""),
        ("error", "no answer (yet)"),
        ("not running", ""),
        ("OCF_DEGRADED", "Keystone is down"),
        ("Timed out after 2s", "no result"),
    ] == found


def test_outages() -> None:
    """A failure, or 2 s without an answer, is an outage, from the last answer to the next."""
    def asked(sent: float, served: bool = True) -> Asked:
        return Asked(sent, sent + 0.01, served)

    refused = [asked(1.0), asked(1.2, False), asked(1.4, False), asked(1.6), asked(1.8)]
    assert [(1.01, 1.61, True)] == [(o.begin, o.end, o.over) for o in outages(refused, 1.0, 1.9)]

    silent = [asked(1.0), asked(4.0)]
    assert [(1.01, 4.01, True)] == [(o.begin, o.end, o.over) for o in outages(silent, 1.0, 4.1)]

    gone = [asked(1.0), asked(1.2, False)]
    assert [(1.01, 2.0, False)] == [(o.begin, o.end, o.over) for o in outages(gone, 1.0, 2.0)]
    assert [] == outages([asked(1.0), asked(1.2)], 1.0, 1.3)


def test_client_that_backs_off() -> None:
    """A client doubles its pause after each late answer in a row, up to 16 s; then as before."""
    fine, late = Asked(1.0, 1.1, True), Asked(1.0, 3.0, False, late=True)
    refused = Asked(1.0, 1.1, False)

    assert [0.2, 0.2, 0.2, 0.4, 0.8, 16.0, 0.2] == [
        backed_off(asked, 0.2)
        for asked in ([], [fine], [late, refused], [fine, late], [late] * 2, [late] * 99,
                      [late] * 9 + [fine])
    ]


def test_interrupted_command_has_ended() -> None:
    """An interrupt raises KeyboardInterrupt, even if the command ends before it is killed."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            # subprocess itself gives the command a moment to end.
            execute(["sleep", "0.2"], {"PATH": "/usr/bin:/bin"}, 60, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
