"""`prove`: an image or a volume through the virtual IP and back; with --move, on another node, too.

Rows R. What is made is deleted however this ends, and what a killed run has left is swept by the
next one. Called by `cloudverbs`.
"""

from __future__ import annotations

import re
import signal
import time
import xml.etree.ElementTree as ET
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from . import cib
from .errors import CannotLookError
from .finding import Finding
from .run import last_words, run
from .trips import Steps, Trip, UnexpectedError
from .words import shown


def prove(trip: Trip, resources: Sequence[str], wait: int) -> Generator[Finding | str, None, None]:
    """Do it: lines to show, and findings.

    resources: what is moved in between. wait: seconds that a move may take, and the API after it.

    CannotLookError where quota, policy or the cluster do not let it.
    """
    with _told(trip.url), _ends_orderly():
        left = trip.left()
        for id_ in left:
            done = "swept" if trip.delete(id_) else "cannot be swept, its state does not let it"
            yield f"{done}: {shown(id_)}, which an earlier run has left"
        yield from _free(resources, wait, killed=bool(left))
        wrong = False
        try:
            for part in (trip.make, trip.same):
                for step in part():
                    wrong = wrong or isinstance(step, Finding)
                    yield step
                if wrong:
                    break
            if resources and not wrong:
                yield from _moved(trip, resources, wait)
        finally:
            if resources and trip.id:
                # A move may still be under way; an interrupt does not undo it.
                _await(trip, wait)
            for id_ in trip.own():
                trip.delete(id_)
        yield from trip.deleted()


def movable(root: ET.Element, service: str) -> list[str]:
    """The ids of what is moved: the group of a service's API, or its resource.

    With cinder-api also cinder-volume where it runs on one node. CannotLookError.
    """
    api = f"{service}-api"
    alone = {one.get("id") for one in cib.resources(root)} - {
        one.get("id") for tag in ("clone", "master") for outer in root.iter(tag)
        for one in outer.iter("primitive")}
    ids: list[str] = []
    for name in (api, "cinder-volume") if service == "cinder" else (api,):
        for one in cib.resources(root):
            if (one.get("id") in alone and one.get("type") == name
                    and one.get("provider") == "openstack"):
                group = next((group for group in root.iter("group") if one in group), one)
                ids.append(group.get("id", ""))
                break
        else:
            if name == api:
                raise CannotLookError(f"the cluster has no {api} that runs on one node: there is "
                                      "nothing to move")
    return list(dict.fromkeys(ids))


# --- steps --------------------------------------------------------------------------------------


def _free(resources: Sequence[str], wait: int, *, killed: bool) -> Steps:
    """Clear the constraint of an earlier move: with ours, the resource would run nowhere.

    killed: an earlier run has left what it made, so the constraint is its as well. CannotLookError
    for one of an operator's.
    """
    for resource in resources:
        done = run(["crm_resource", "--resource", resource, "--constraints"], timeout=30)
        ids = sorted(set(re.findall(rf"\bcli-(?:ban|prefer)-{re.escape(resource)}\b[\w.-]*",
                                    done.output)))
        if ids and not killed:
            raise CannotLookError(
                f"{shown(resource)} was moved by hand: with its constraint {shown(ids[0])} it "
                f"cannot be moved. If it is not wanted any more: crm_resource --resource "
                f"{shown(resource)} --clear")
        if ids:
            _crm_resource(wait, "--resource", resource, "--clear")
            _crm_resource(wait, "--wait")
            yield f"swept: {shown(ids[0])}, which an earlier run has left"


def _moved(trip: Trip, resources: Sequence[str], wait: int) -> Steps:
    with ExitStack() as stack:
        before = {resource: _located(resource) for resource in resources}
        for resource in resources:
            # The move is a constraint, which would stay.
            stack.callback(_crm_resource, wait, "--resource", resource, "--clear")
            _crm_resource(wait, "--resource", resource, "--move")
        _crm_resource(wait, "--wait")
        for resource, first in before.items():
            after = _located(resource)
            if after == first:
                raise CannotLookError(f"{shown(resource)} is on {shown(first)} as before: nothing "
                                      "is proved")
            yield f"moved: {shown(resource)} from {shown(first)} to {shown(after)}"
        trip.moved = True
        _await(trip, wait)
        yield from trip.same()


def _located(resource: str) -> str:
    done = run(["crm_resource", "--resource", resource, "--locate"], timeout=30)
    found_ = [line.rpartition(": ")[2].split() for line in done.output.splitlines()
              if "is running on" in line]
    if not found_ or not found_[0]:
        raise CannotLookError(f"{shown(resource)} does not run: {last_words(done)}")
    return found_[0][0]


def _crm_resource(wait: int, *words: str) -> None:
    done = run(["crm_resource", *words], timeout=wait)
    if done.code:
        raise CannotLookError(f"crm_resource {' '.join(words)}: {last_words(done)}")


def _await(trip: Trip, wait: int) -> None:
    """Wait until the API answers at all, after a move."""
    end = time.monotonic() + wait
    while True:
        try:
            trip.show()
            return
        except UnexpectedError as error:
            if error.status < 500:
                return
        except OSError:
            pass  # All of requests' own are.
        if time.monotonic() > end:
            raise CannotLookError(f"{trip.url} does not answer after the move")
        time.sleep(1)


# --- how it ends --------------------------------------------------------------------------------


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except UnexpectedError as error:
        why = {401: "the token is not accepted", 403: "the user may not do this: it needs the role "
               "member", 413: "a quota is used up"}.get(error.status, str(error))
        raise CannotLookError(f"{shown(url)}: {why}") from error
    except OSError as error:  # as all of requests' own are
        raise CannotLookError(f"{shown(url)} does not answer ({type(error).__name__})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotLookError(f"{shown(url)}: the answer makes no sense") from error


@contextmanager
def _ends_orderly() -> Iterator[None]:
    """TERM and HUP end it as Ctrl-C does: what was made is deleted first."""
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
