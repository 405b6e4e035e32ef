"""The verbs about the cloud around the cluster: `clients` and `endpoints`. Called by `command`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from . import clients, description, endpoints, finding, identity
from .catalogue import Beside
from .description import DescriptionError
from .errors import CannotLookError, UsageError
from .finding import Finding
from .keys import FACES
from .openrc import credentials, password

Verb = Callable[[str, str, str], argparse.ArgumentParser]
"""Makes the parser of a verb, from its name, what it does, and an example."""


def add(verb: Verb) -> None:
    """Add the verbs to the command line."""
    one = verb("clients", "print what Nova, Cinder and Glance need to use the virtual IPs, or find "
               "in their files what they lack", "openstack-ocf clients /etc/nova/nova.conf")
    _common(one)
    one.add_argument("--interface", choices=FACES, default=FACES[0],
                     help="the endpoint that they are to use (default: internal)")
    one.add_argument("files", metavar="FILE", nargs="*",
                     help="nova.conf, cinder.conf or glance-api.conf; without one, print")
    one.set_defaults(run=_clients)

    one = verb("endpoints", "compare Keystone's catalogue with the description, or set the "
               "endpoints of the services that it has", "openstack-ocf endpoints show")
    one.add_argument("action", choices=("show", "set"), help="set changes; show does not")
    _common(one)
    one.add_argument("--credentials", metavar="FILE", default="",
                     help="an openrc file; set needs an administrator's (default: credentials of "
                     "the description)")
    one.add_argument("--region", default="", help="the region (default: the description's)")
    one.add_argument("--scheme", choices=("http", "https"), default="",
                     help="of the endpoints (default: what each has; http for a new one)")
    one.add_argument("--service", metavar="ID", default="",
                     help="the id or name of the service, where there are several of a type")
    one.add_argument("--quick", action="store_true", help="do not ask the endpoints themselves")
    one.add_argument("--yes", action="store_true", help="set without a question")
    one.set_defaults(run=_endpoints)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--description", metavar="FILE", default=description.PATH,
                        help=f"the description (default: {description.PATH})")
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="for people or for programs (default: text)")


def _clients(options: argparse.Namespace) -> int:
    try:
        described = description.read(options.description)
    except DescriptionError as error:
        return _wrong(error)
    if not options.files:
        sys.stdout.write(clients.sections(described, options.interface))
        return 0
    return _end(clients.check(described, options.files, options.interface), options.format)


def _endpoints(options: argparse.Namespace) -> int:
    try:
        described = description.read(options.description)
    except DescriptionError as error:
        return _wrong(error)
    if options.credentials:
        described = replace(described, credentials=options.credentials)
    known = credentials(described)
    if not known.path:
        raise UsageError("Keystone is asked with credentials: set them in [DEFAULT] of the "
                         "description, or say --credentials FILE")
    user = identity.user(known.parameters, password(known.path))
    with identity.in_time():
        keystone = identity.Keystone(user)
        there, whole = endpoints.read(keystone)
    region = options.region or known.parameters.get("os_region_name", "")
    services = endpoints.beside(described, there, region, options.scheme, options.service)
    if options.action == "set":
        return _set(keystone, services, whole=whole, yes=options.yes)
    if options.format == "text":
        sys.stdout.write(endpoints.listing(services))
    return _end(endpoints.findings(services, user.cacert, quick=options.quick), options.format)


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


def _end(found: Sequence[Finding], form: str) -> int:
    sys.stdout.write(finding.as_json(found) if form == "json" else finding.as_text(found))
    return finding.code(found)


def _wrong(error: DescriptionError) -> int:
    sys.stderr.write(finding.as_text(error.findings))
    return 2
