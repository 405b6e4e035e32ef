"""`endpoints show` and `endpoints set`: Keystone's catalogue and the description's addresses.

set changes the URLs of endpoints, and makes one where an interface has none. It makes no service,
deletes nothing, and prints, before each change, the line that undoes it.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Iterator, Sequence

from .catalogue import KINDS, Beside, Change, Entry, entries, of_token, regions
from .clients import targets
from .description import Description
from .errors import CannotLookError, UsageError
from .finding import Finding
from .identity import Keystone, RefusedError, anonymous
from .words import shown

INTERFACES = ("public", "internal", "admin")


def beside(description: Description, there: Sequence[Entry], region: str, scheme: str = "",
           service: str = "") -> list[Beside]:
    """The services of a description that have an address, each beside the catalogue."""
    known = {name: one for name, one in targets(description).items() if name in KINDS}
    if not known:
        raise UsageError("the description has no service with an address that the catalogue has")
    at = region or description.region or _only(regions(there))
    return [Beside(one, there, at, scheme, service) for one in known.values()]


def read(keystone: Keystone) -> tuple[list[Entry], bool]:
    """The catalogue, and whether it is all of it.

    A user who may not list services gets the catalogue of every user: without disabled services.
    """
    try:
        return entries(keystone.all("services"), keystone.all("endpoints")), True
    except RefusedError:
        return of_token(keystone.catalog()), False


def listing(services: Sequence[Beside]) -> str:
    """What is there, and what it is to become."""
    return "".join(f"{line}\n" for one in services for line in _listed(one))


def findings(services: Sequence[Beside], cacert: str = "", *, quick: bool) -> list[Finding]:
    """E1 to E8; quick: without a request to the endpoints."""
    ask = None if quick else functools.partial(anonymous, cacert=cacert)
    return [each for one in services for each in one.findings(ask)]


def changes(services: Sequence[Beside]) -> list[Change]:
    """All changes; UsageError where it is not clear what is to be changed."""
    for one in services:
        kind = one.kind.types[0]
        if not one.found:
            raise UsageError(f"there is no service of the type {kind}: openstack service create "
                             f"--name {one.target.service.section} {kind}")
        if len(one.found) > 1:
            ids = ", ".join(f"{shown(each.name)} ({shown(each.id)})" for each in one.found[:5])
            raise UsageError(f"there are {len(one.found)} services of the type {kind}: {ids}; "
                             "delete all but one, or name one by --service")
        for interface in INTERFACES:
            if len(one.at(interface)) > 1:
                raise UsageError(
                    f"{kind} has {len(one.at(interface))} {interface} endpoints in "
                    f"{one.region}: delete all but one by openstack endpoint delete ID")
    return [change for one in services for change in one.changes()]


def describe(change: Change) -> str:
    """Before and after."""
    return (f"{shown(change.type)} {change.interface}: {shown(change.before) or '(none)'} -> "
            f"{change.after}")


def carry_out(keystone: Keystone, wanted: Sequence[Change], region: str) -> None:
    """Make the changes, one after the other; each prints first how it is undone."""
    for change in wanted:
        if change.id:
            print(f"undo: {undo(change)}", flush=True)
            keystone.change(change.id, change.after)
        else:
            made = keystone.create({"service_id": change.service, "interface": change.interface,
                                    "region_id": region, "url": change.after})
            print(f"undo: openstack endpoint delete {shown(made)}", flush=True)
        print(f"done: {describe(change)}", flush=True)


def undo(change: Change) -> str:
    """The line that gives an endpoint its URL back."""
    return f"openstack endpoint set --url {shlex.quote(change.before)} {shlex.quote(change.id)}"


def verify(keystone: Keystone, wanted: Sequence[Change]) -> None:
    """Look again; CannotLookError if it is not as it was made."""
    urls = {one.get("id"): one.get("url") for one in keystone.all("endpoints")}
    for change in wanted:
        if change.after not in ([urls.get(change.id)] if change.id else urls.values()):
            raise CannotLookError(f"Keystone took {describe(change)}, and does not show it")


def agreed(question: str = "Change them?", *, yes: bool) -> bool:
    """Whether the operator wants it; UsageError where there is no terminal to ask at."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nothing was done: say --yes, or run it where it can ask")
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _only(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    raise UsageError(f"there are {len(names)} regions ({', '.join(map(shown, names[:5]))}): set "
                     "region in the description, or say --region")


def _listed(one: Beside) -> Iterator[str]:
    for entry in one.found:
        yield f"{shown(entry.type)} {shown(entry.name)} ({shown(entry.id)}) in {shown(one.region)}"
        for interface in INTERFACES:
            there = [each for each in entry.endpoints if each.interface == interface
                     and each.region == one.region]
            wanted = one.wanted(interface) if one.entry() else ""
            for url in [each.url for each in there] or [""]:
                arrow = f"  ->  {wanted}" if wanted and wanted != url else ""
                yield f"  {interface:9} {shown(url) or '(none)'}{arrow}"


