"""The verbs about the cluster: `sample`, `init`, `check`, `plan`, `apply`, `undo`, `lint`.

Imported by `command` when one of them is asked for.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from . import (
    apply,
    bundle,
    cib,
    compare,
    crmscript,
    description,
    difference,
    finding,
    init,
    merge,
    node,
    nodecheck,
    pacemaker,
    saved,
    shapes,
)
from .answering import answering
from .change import Manner
from .description import Description
from .errors import CannotLookError, DescriptionError, ToolError
from .finding import Finding
from .lint import lint
from .node import Node
from .openrc import credentials
from .options import formatted, of_a_cib, of_a_description, refuse
from .plan import Plan, plan
from .sample import sample
from .validation import Held, validate

WAIT = 300
"""Seconds in which a cluster is to settle."""


def add_sample(parser: argparse.ArgumentParser) -> None:
    """Its options: none."""
    parser.set_defaults(run=_sample)


def add_init(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    source = parser.add_mutually_exclusive_group()
    of_a_cib(source, "a CIB, as of cibadmin --query (default: live)")
    source.add_argument("--bundle", metavar="FILE",
                        help="a Juju bundle instead: its options and bindings")
    parser.add_argument("--elsewhere", action="store_true",
                        help="this machine is no node of the cluster: its configuration files do "
                        "not count")
    parser.set_defaults(run=_init)


def add_check(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    of_a_description(parser, elsewhere=True)
    formatted(parser)
    of_a_cib(parser, "the CIB of the cluster (default: live, where it answers)")
    parser.add_argument("--quick", action="store_true",
                        help="leave out what takes seconds or asks over the network: the "
                        "services' own options, database, Keystone, API, whether another host "
                        "has an address")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--facts", action="store_true",
                         help="print what is to be the same on all nodes, for --compare")
    instead.add_argument("--compare", metavar="FILE", nargs="+",
                         help="find where nodes differ, in their facts; looks at nothing else")
    instead.add_argument("--crm-script", metavar=("AGENT", "FILE"), nargs=2,
                         help="validate what a script of crmsh was given, instead of a "
                         "description; its first step does it")
    parser.set_defaults(run=_check)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    of_a_description(parser, elsewhere=True)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--as", choices=shapes.FORMS, default="crm", dest="form",
                         help="crm shell, pcs commands, a CIB, or haproxy's configuration "
                         "(default: crm)")
    instead.add_argument("--diff", metavar="FILE|live",
                         help="print what it would change in that CIB instead")
    parser.set_defaults(run=_plan)


def add_apply(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    of_a_description(parser, elsewhere=True)
    _changing(parser)
    parser.add_argument("--remove", metavar="RESOURCE|all", action="append", default=[],
                        help="take this service away, which the description does not have any "
                        "more, with the addresses that are for it alone; may be given several "
                        "times")
    parser.set_defaults(run=_apply)


def add_undo(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    _changing(parser)
    parser.add_argument("--discard", action="store_true",
                        help="even if others have changed something since: that is lost, too")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--to", metavar="NUMBER", type=_number,
                       help="go back to before this change (default: the last one)")
    steps.add_argument("--list", action="store_true", help="print the changes that are kept")
    parser.set_defaults(run=_undo)


def add_lint(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("cib", metavar="FILE|live", nargs="?", default=cib.LIVE,
                        help="a CIB, as of cibadmin --query (default: live)")
    parser.add_argument("--other", metavar="FILE", action="append", default=[],
                        help="the CIB of another cluster in the same networks: find addresses "
                        "and names that both have; may be given several times")
    parser.add_argument("--takeover", action="store_true",
                        help="say instead what becomes of each resource when our agents replace "
                        "older ones of the same names: taken over as it runs, or restarted and "
                        "why")
    formatted(parser)
    parser.set_defaults(run=_lint)


def _changing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it without a question")
    parser.add_argument("--allow-restart", action="store_true",
                        help="even if what runs is restarted, moved, stopped or deleted")
    parser.add_argument("--wait", metavar="SECONDS", type=_seconds,
                        help=f"for the cluster to settle; 0: do not wait (default: {WAIT})")
    parser.add_argument("--saved", metavar="FOLDER", default=saved.FOLDER,
                        help=f"where the CIBs before changes are (default: {saved.FOLDER})")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"no number of a change: {text}")
    return int(text)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise argparse.ArgumentTypeError(f"no number of seconds: {text}")
    return int(text)


# --- what they do ------------------------------------------------------------------------------


def _sample(options: argparse.Namespace) -> int:
    sys.stdout.write(sample())
    return 0


def _init(options: argparse.Namespace) -> int:
    if options.bundle:
        refuse("--bundle reads that file alone", {"--elsewhere": options.elsewhere})
    made = (bundle.draft(options.bundle) if options.bundle else
            init.draft(cib.load(options.cib), options.cib, here=not options.elsewhere))
    sys.stdout.write(made.text())
    return 0


def _check(options: argparse.Namespace) -> int:
    of_this_node = {"--cib": options.cib != cib.LIVE, "--quick": options.quick}
    if options.compare or options.crm_script:
        refuse("--compare looks at these files alone" if options.compare else
               "--crm-script looks at that file, and prints text", {
                   "--description": options.description != description.PATH,
                   "--elsewhere": options.elsewhere, **of_this_node,
                   "--format": options.crm_script and options.format != "text"})
    if options.facts:
        refuse("--facts prints those of this node, in a form of their own", {
            "--elsewhere": options.elsewhere, "--format": options.format != "text"})
    if options.elsewhere:
        refuse("--elsewhere looks at the description alone", of_this_node)
    if options.compare:
        return finding.show(compare.compare(options.compare), options.format)
    if options.crm_script:
        return _of_a_script(*options.crm_script)
    try:
        described = _description(options)
    except DescriptionError as error:
        # They are what check looks for: its result, in the form that was asked for.
        finding.show(error.findings, options.format)
        return error.code
    if options.elsewhere:
        found = validate(described, None, _nobody) if described else []
        return finding.show(found, options.format)
    there = nodecheck.root(options.cib)
    services = nodecheck.subjects(described, there, own=not options.quick)
    here = _look()
    around = nodecheck.surroundings(
        described, there, services, None if isinstance(here, CannotLookError) else here,
        _auth_url(described))
    if options.facts:
        sys.stdout.write(compare.facts(services, around))
        return 0

    def held() -> list[str] | None:
        return None if there is None else list(cib.virtual_ips(there).values())

    found = _findings(described, here, held, ask=not options.quick) if described else []
    found += nodecheck.look(services, around, there, quick=options.quick)
    return finding.show(found, options.format)


def _of_a_script(agent: str, path: str) -> int:
    """1 if what crmsh's script was given is wrong; all is said on stderr, which crmsh shows."""
    values = crmscript.given(agent, path)
    described = crmscript.described(agent, values)
    there = nodecheck.root(cib.LIVE)
    found = [crmscript.plain(one, described.path)
             for one in _findings(described, _look(), _held, ask=True)]
    found += crmscript.refused(agent, values, there)
    sys.stderr.write(finding.as_text(found))
    return int(finding.code(found) == 1)


def _description(options: argparse.Namespace) -> Description | None:
    """The description; None where there is none at the usual place, and none is named."""
    usual = options.description == description.PATH
    if usual and not options.elsewhere and not Path(description.PATH).exists():
        return None
    return description.read(options.description)


def _auth_url(described: Description | None) -> str:
    """Keystone's URL by the credentials; empty where these are unusable: other checks say so."""
    try:
        return credentials(described).parameters.get("os_auth_url", "") if described else ""
    except ToolError:
        return ""


def _plan(options: argparse.Namespace) -> int:
    planned, code = _planned(options)
    if planned is None:
        return code
    if not options.diff:
        sys.stdout.write(shapes.shape(planned, options.form))
        return code
    there = cib.load(options.diff, exact=True)
    sys.stdout.write(difference.difference(merge.merge(planned.cib, there), there))
    return code


def _planned(options: argparse.Namespace, *, ask: bool = False) -> tuple[Plan | None, int]:
    """The plan, and the exit code of what was found; no plan where there are errors.

    ask: check whether a host answers for the addresses, too.
    """
    described = description.read(options.description)
    held = functools.cache(_held)
    found = (validate(described, None, held) if options.elsewhere else
             _findings(described, _look(), held, ask=ask))
    sys.stderr.write(finding.as_text(found))
    if finding.code(found) == 1:
        print("openstack-ocf: no plan: the errors above come first", file=sys.stderr)
        return None, 1
    return plan(described, credentials(described)), finding.code(found)


def _apply(options: argparse.Namespace) -> int:
    planned, code = _planned(options, ask=not pacemaker.outside_cluster())
    return code if planned is None else apply.apply(
        planned, _manner(options), options.remove)


def _undo(options: argparse.Namespace) -> int:
    if options.list:
        refuse("--list prints the changes, and makes none", {
            "--yes": options.yes, "--allow-restart": options.allow_restart,
            "--discard": options.discard, "--wait": options.wait is not None})
        return apply.history(options.saved)
    return apply.undo(_manner(options), discard=options.discard, to=options.to)


def _manner(options: argparse.Namespace) -> Manner:
    wait = WAIT if options.wait is None else options.wait
    return Manner(options.yes, options.allow_restart, wait, options.saved)


def _lint(options: argparse.Namespace) -> int:
    if options.takeover:
        # It needs agentlib, which the other verbs do without.
        from . import takeover

        refuse("--takeover is about one cluster", {"--other": options.other})
        return takeover.show(takeover.takeover(cib.load(options.cib)), options.format)
    others = [(path, cib.load(path)) for path in options.other]
    return finding.show(lint(cib.load(options.cib), others), options.format)


def _look() -> Node | CannotLookError:
    """This node, or why it does not show itself."""
    try:
        return node.look()
    except CannotLookError as error:
        return error


def _findings(described: Description, here: Node | CannotLookError, held: Held, *,
              ask: bool) -> list[Finding]:
    """What is wrong with a description on this node. ask: check for other hosts, too."""
    if isinstance(here, CannotLookError):
        return [*validate(described, None, held), Finding(
            "V2", finding.UNKNOWN, described.path, f"this node's addresses: {here}",
            "Say --elsewhere if this machine is no node of the cluster.")]
    found = validate(described, here, held)
    return [*found, *answering(described, here, held)] if ask else found


def _held() -> list[str] | None:
    """The addresses that the running cluster holds; None if it does not answer."""
    try:
        return list(cib.virtual_ips(cib.load(cib.LIVE)).values())
    except ToolError:
        return None


def _nobody() -> None:
    """The addresses held, for --elsewhere: the cluster is not asked."""
