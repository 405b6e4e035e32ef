"""Whether somebody has a virtual IP already, who is not the cluster.

Called by `command` for `check` and `apply`. IPaddr2 does not ask: two hosts would have the address,
and clients would reach one or the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from .description import Address, Description
from .errors import CannotLookError
from .finding import ERROR, UNKNOWN, Finding
from .node import Node
from .run import run
from .validation import Held
from .vips import places

WAIT = "2"
"""Seconds for an answer; one in the same network takes milliseconds."""


def answering(description: Description, node: Node, held: Held) -> Iterator[Finding]:
    """V4, of each address that no resource of the cluster holds, nor this node.

    held: the addresses of the cluster's resources, None where it does not say.
    """
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
                          "the cluster holds it", "Take an address that nobody has, or stop "
                          "whoever has it (ip neigh shows its MAC address).")


def _answers(address: Address, node: Node) -> bool | CannotLookError:
    """Whether somebody answers for an address: by ARP where that can be asked, else by ping."""
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


def _interface(address: Address, node: Node) -> str:
    """The interface in whose network an address is."""
    network = node.network(address)
    return next(one.name for one in node.interfaces if network in [own for _, own in one.addresses])
