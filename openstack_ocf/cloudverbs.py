"""The verbs about the cloud around the cluster: `clients`, `endpoints`, `prove`.

Imported by `command` when one of them is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from . import cib, clients, description, endpoints, finding, identity, prove, trips
from .catalogue import Beside
from .description import Description
from .errors import CannotLookError, UsageError
from .finding import Finding
from .keys import FACES
from .openrc import credentials, password
from .options import formatted, of_a_cib, of_a_description, refuse

SIZE = 1024
"""KiB of an image."""


def add_clients(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    of_a_description(parser)
    formatted(parser)
    parser.add_argument("--interface", choices=FACES, default=FACES[0],
                        help="the endpoint that they are to use (default: internal)")
    parser.add_argument("files", metavar="FILE", nargs="*",
                        help="nova.conf, cinder.conf or glance-api.conf; without one, print")
    parser.add_argument("--ask", action="store_true",
                        help="ask Keystone for its catalogue, with the credentials of the "
                        "description: are types and names in these files those that it has?")
    parser.add_argument("--credentials", metavar="FILE", default="",
                        help="an openrc file to ask with; it implies --ask")
    parser.set_defaults(run=_clients)


def add_endpoints(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("action", choices=("show", "set"), help="set changes; show does not")
    of_a_description(parser)
    formatted(parser)
    parser.add_argument("--credentials", metavar="FILE", default="",
                        help="an openrc file; set needs an administrator's (default: credentials "
                        "of the description)")
    parser.add_argument("--region", metavar="NAME", default="",
                        help="the region (default: the description's)")
    parser.add_argument("--scheme", choices=("http", "https"), default="",
                        help="of the endpoints (default: what each has; http for a new one)")
    parser.add_argument("--service", metavar="ID", default="",
                        help="the id or name of the service, where there are several of a type")
    parser.add_argument("--quick", action="store_true", help="do not ask the endpoints themselves")
    parser.add_argument("--yes", action="store_true", help="set without a question")
    parser.set_defaults(run=_endpoints)


def add_prove(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("service", choices=("glance", "cinder"), nargs="?", default="glance",
                        help="whose: an image of Glance or a volume of Cinder (default: glance)")
    of_a_description(parser)
    formatted(parser)
    parser.add_argument("--credentials", metavar="FILE", default="",
                        help="an openrc file of a user with the role member (default: credentials "
                        "of the description)")
    parser.add_argument("--interface", choices=FACES, default=FACES[0],
                        help="whose address is taken (default: internal)")
    parser.add_argument("--scheme", choices=("http", "https"), default="http",
                        help="of the API (default: http)")
    parser.add_argument("--size", metavar="KIB", type=_kib, default=SIZE,
                        help=f"of the image, up to 1048576 (default: {SIZE}); a volume has 1 GiB")
    parser.add_argument("--move", action="store_true",
                        help="move the API, and cinder-volume, to another node in between, and "
                        "look there, too")
    parser.add_argument("--wait", metavar="SECONDS", type=_seconds, default=120,
                        help="until a move is over, or a volume is made, or gone (default: 120)")
    parser.add_argument("--yes", action="store_true", help="move without a question")
    of_a_cib(parser, "with --move: the CIB that has the API's group (default: live)")
    parser.set_defaults(run=_prove)


def _kib(text: str) -> int:
    return _number(text, 1 << 20)


def _seconds(text: str) -> int:
    return _number(text, 3600)


def _number(text: str, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 0 < number <= most:
        raise argparse.ArgumentTypeError(f"no number from 1 to {most}")
    return number


def _clients(options: argparse.Namespace) -> int:
    if not options.files:
        if options.ask or options.credentials:
            raise UsageError("--ask and --credentials are for files: name those to look at, as "
                             "/etc/nova/nova.conf")
        refuse("without a file, sections for these are printed, as text",
               {"--format": options.format != "text"})
        sys.stdout.write(clients.sections(
            description.read(options.description), options.interface))
        return 0
    described = description.read(options.description)
    names: dict[str, set[str]] | None = None
    if options.ask or options.credentials:
        user, _ = _user(described, options.credentials)
        names = {}
        with identity.in_time():
            for one in endpoints.read(identity.Keystone(user))[0]:
                names.setdefault(one.type, set()).add(one.name)
    found = clients.check(described, options.files, options.interface, names)
    return finding.show(found, options.format)


def _endpoints(options: argparse.Namespace) -> int:
    if options.action == "set":
        refuse("set says what it does line by line, and does not ask the endpoints", {
            "--format json": options.format != "text", "--quick": options.quick})
    else:
        refuse("show changes nothing", {"--yes": options.yes})
    described = description.read(options.description)
    user, at = _user(described, options.credentials)
    with identity.in_time():
        keystone = identity.Keystone(user)
        there, whole = endpoints.read(keystone)
    services = endpoints.beside(
        described, there, options.region or at, options.scheme, options.service)
    if options.action == "set":
        return _set(keystone, services, whole=whole, yes=options.yes)
    if options.format == "text":
        sys.stdout.write(endpoints.listing(services))
    found = endpoints.findings(services, user.cacert, quick=options.quick)
    return finding.show(found, options.format)


def _set(keystone: identity.Keystone, services: Sequence[Beside], *, whole: bool,
         yes: bool) -> int:
    if not whole:
        raise CannotLookError("nothing was changed: this user may not list endpoints; name an "
                              "administrator's openrc file by --credentials")
    wanted = endpoints.changes(services)
    for change in wanted:
        print(endpoints.describe(change))
    if not wanted or not endpoints.agreed(yes=yes):
        print("nothing to change" if not wanted else "nothing was changed")
        return 0
    with identity.in_time():
        endpoints.carry_out(keystone, wanted, services[0].region)
        endpoints.verify(keystone, wanted)
    return 0


def _prove(options: argparse.Namespace) -> int:
    if options.service == "cinder":
        refuse("a volume has 1 GiB", {"--size": options.size != SIZE})
    if not options.move:
        refuse("nothing is moved without --move",
               {"--cib": options.cib != cib.LIVE, "--yes": options.yes})
    described = description.read(options.description)
    target = clients.targets(described).get(f"{options.service}-api")
    if target is None:
        raise UsageError(f"the description has no address of {options.service.capitalize()}")
    moved = prove.movable(cib.load(options.cib), options.service) if options.move else []
    if moved:
        print(f"{' and '.join(moved)}: moved to another node; the API does not answer meanwhile.",
              file=sys.stderr)
        if not endpoints.agreed("Move?", yes=options.yes):
            print("nothing was done")
            return 0
    user, _ = _user(described, options.credentials)
    with identity.in_time():
        keystone = identity.Keystone(user)
        token = keystone.token()
        project = keystone.project()
    url = target.url(options.interface, scheme=options.scheme)
    trip: trips.Trip = (
        trips.Volumes(url, token, user.cacert, project=project, wait=options.wait)
        if options.service == "cinder"
        else trips.Images(url, token, user.cacert, size=options.size << 10))
    found = []
    try:
        with closing(prove.prove(trip, moved, options.wait)) as steps:
            for one in steps:
                if isinstance(one, Finding):
                    found.append(one)
                elif options.format == "text":
                    print(one, flush=True)
    finally:
        # What was found until then counts, whatever ended it.
        code = finding.show(found, options.format)
    return code


def _user(described: Description, path: str) -> tuple[identity.User, str]:
    """The user of the description, or of another openrc file; and its region."""
    if path:
        described = replace(described, credentials=path)
    known = credentials(described)
    if not known.path:
        raise UsageError("Keystone is asked with credentials: set them in [DEFAULT] of the "
                         "description, or say --credentials FILE")
    return (identity.user(known.parameters, password(known.path)),
            known.parameters.get("os_region_name", ""))
