"""Whether a host outside of the cluster has a virtual IP: before it is taken, and afterwards.

Called by `clusterverbs` for `check` and `apply`. IPaddr2 does not ask: two hosts would have the
address, and clients would reach one or the other. Two clusters cannot know of each other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .description import Address, Description
from .errors import CannotLookError
from .finding import ERROR, UNKNOWN, WARNING, Finding
from .node import Node
from .reading import reason
from .run import last_words, run
from .validation import Held
from .vips import places

_TWO = ("Find the host that is none of this cluster's (ip link shows the MAC addresses of a node). "
        "If it is of another cluster: openstack-ocf lint live --other FILE compares the two.")
WAIT = "2"
"""Seconds for an answer; one in the same network takes milliseconds."""


def answering(description: Description, node: Node, held: Held) -> Iterator[Finding]:
    """V4: an address that answers, though no resource holds it; an address that two hosts have.

    held: the addresses of the cluster's resources, None where it does not say.
    """
    yield from _free(description, node, held)
    yield from _alone(description, node, held)


def _free(description: Description, node: Node, held: Held) -> Iterator[Finding]:
    """V4 for each address that neither a resource of the cluster holds nor this node."""
    wanted = {}
    for place in places(description):
        for vip in place.vips:
            # Others are V2's and V3's.
            if node.network(vip.address) and not node.holds(vip.address):
                wanted[vip.address] = description.where(place.giver.section, "vip")
    resources = held() if wanted else None
    asked = [one for one in wanted if str(one) not in (resources or ())]
    with ThreadPoolExecutor(len(asked) or 1) as threads:
        found = list(threads.map(lambda one: _answers(one, node), asked))
    for one, answer in zip(asked, found):
        if isinstance(answer, CannotLookError):
            yield Finding("V4", UNKNOWN, wanted[one],
                          f"whether {one} answers already: {answer}", "Look on another node.")
        elif answer and resources is None:
            yield Finding("V4", UNKNOWN, wanted[one], f"{one} answers, and the cluster does not "
                          "say whether it holds it", "Look again on a node where the cluster runs.")
        elif answer:
            yield Finding("V4", ERROR, wanted[one], f"{one} answers already, and no resource of "
                          "the cluster holds it", "Take a free address, or stop the host that "
                          "has it (ip neigh shows its MAC address).")


def _answers(address: Address, node: Node) -> bool | CannotLookError:
    """Whether a host answers for an address: by ARP where that can be asked, else by ping."""
    try:
        if address.version == 4 and not os.geteuid():
            done = run(["arping", "-D", "-q", "-f", "-c", WAIT, "-w", WAIT,
                        "-I", _interface(address, node), str(address)])
            if done.code in (0, 1):
                return done.code == 1
        done = run(["ping", f"-{address.version}", "-n", "-q", "-c", "1", "-W", WAIT, str(address)])
    except CannotLookError as error:
        return error
    if done.code not in (0, 1):
        return CannotLookError(f"ping ended with {done.code}")
    return done.code == 0


def _alone(description: Description, node: Node, held: Held) -> Iterator[Finding]:
    """V4 for each address that the cluster holds: has a second host it, too? By ARP, as root."""
    if os.geteuid():
        return
    resources = set(held() or ())
    asked = {vip.address: description.where(place.giver.section, "vip")
             for place in places(description) for vip in place.vips
             if str(vip.address) in resources and vip.address.version == 4
             and node.network(vip.address)}
    with ThreadPoolExecutor(len(asked) or 1) as threads:
        found = list(threads.map(lambda one: _hosts(one, node), asked))
    for one, hosts in zip(asked, found):
        if isinstance(hosts, CannotLookError):
            yield Finding("V4", UNKNOWN, asked[one], f"whether another host has {one}, too: "
                          f"{hosts}", "Look on another node.")
        elif hosts and node.holds(one):
            yield Finding("V4", ERROR, asked[one], f"{one} is on this node, and on another host, "
                          f"too: {', '.join(hosts)}", _TWO)
        elif len(hosts) > 1:
            yield Finding("V4", WARNING, asked[one], f"several MAC addresses answer for {one}: "
                          f"{', '.join(hosts)}. These are two hosts, or one with two interfaces in "
                          "this network", _TWO)


def _hosts(address: Address, node: Node) -> list[str] | CannotLookError:
    """The MAC addresses that answer for an address, except those of this node."""
    own = node.holds(address)
    # A node with the address asks without a source address (-D): it does not receive its own.
    words = ["arping", "-D" if own else "-b", "-c", WAIT, "-w", WAIT,
             "-I", own or _interface(address, node), str(address)]
    try:
        done = run(words)
        mine = {one.read_text(encoding="ascii").strip().upper()
                for one in Path("/sys/class/net").glob("*/address")}
    except CannotLookError as error:
        return error
    except OSError as error:
        return CannotLookError(reason(error))
    if done.code not in (0, 1):
        return CannotLookError(f"arping: {last_words(done)}")
    return sorted({*re.findall(r"\[([0-9A-F:]{17})\]", done.output.upper())} - mine)


def _interface(address: Address, node: Node) -> str:
    """The interface in whose network an address is."""
    network = node.network(address)
    return next(one.name for one in node.interfaces if network in [own for _, own in one.addresses])
