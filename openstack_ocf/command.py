"""The command line: verbs, what they print, and the exit code."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import (
    apply,
    bundle,
    cib,
    cloudverbs,
    compare,
    description,
    difference,
    finding,
    init,
    merge,
    metrics,
    node,
    nodecheck,
    pacemaker,
    records,
    saved,
    shapes,
)
from .answering import answering
from .change import Manner
from .description import Description, DescriptionError
from .errors import CannotLookError, ToolError, UsageError
from .explain import Wanted, explain
from .finding import Finding
from .lint import lint
from .openrc import credentials
from .plan import Plan, plan
from .sample import sample
from .validation import Held, validate

CODES = """\
exit codes:
  0  nothing wrong
  1  errors were found
  2  the command or the description is wrong
  3  something could not be looked at
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Nothing is raised but SystemExit, by argparse."""
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
        sys.stdout.flush()
    except ToolError as error:
        print(f"openstack-ocf: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        # Whoever reads has enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - no traceback for an operator
        frame = traceback.extract_tb(error.__traceback__)[-1]
        print(f"openstack-ocf: a mistake in this program, please report it: {error!r} at "
              f"{Path(frame.filename).name}:{frame.lineno}", file=sys.stderr)
        return 3
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\n{self.prog} --help shows an example", file=sys.stderr)
        raise SystemExit(2)


def _parser() -> _Parser:
    parser = _Parser(
        prog="openstack-ocf", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="From one description to a Pacemaker cluster that runs OpenStack. Only apply, "
        "undo, `endpoints set` and `prove` change anything.",
        epilog=f"example:\n  openstack-ocf sample > /etc/openstack-ocf.conf\n\n{CODES}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"example:\n  {example}\n\n{CODES}")

    one = verb("sample", "print a commented description", "openstack-ocf sample > new.conf")
    one.set_defaults(run=_sample)

    one = verb("init", "write a description of what is there: a cluster, or a Juju bundle",
               "openstack-ocf init > new.conf && openstack-ocf check --description new.conf")
    source = one.add_mutually_exclusive_group()
    source.add_argument("--cib", metavar="FILE|live", default=cib.LIVE,
                        help="a CIB, as of cibadmin --query (default: live)")
    source.add_argument("--bundle", metavar="FILE",
                        help="a Juju bundle instead: its options and bindings")
    one.add_argument("--elsewhere", action="store_true",
                     help="this machine is no node of the cluster: its configuration files do "
                     "not count")
    one.set_defaults(run=_init)

    one = verb("check", "validate the description, and look whether this node keeps to it",
               "openstack-ocf check --format json")
    _described(one)
    _formatted(one)
    one.add_argument("--cib", metavar="FILE|live", default=cib.LIVE,
                     help="the CIB of the cluster (default: live, where it answers)")
    one.add_argument("--quick", action="store_true",
                     help="leave out what takes seconds or asks over the network: the services' "
                     "own options, database, Keystone, API, who answers for an address")
    one.add_argument("--facts", action="store_true",
                     help="print what is to be the same on all nodes, for --compare")
    one.add_argument("--compare", metavar="FILE", nargs="+",
                     help="find where nodes differ, in their facts; looks at nothing else")
    one.set_defaults(run=_check)

    one = verb("plan", "print the Pacemaker configuration that the description asks for",
               "openstack-ocf plan --as crm > new.crm && crm configure load update new.crm")
    _described(one)
    one.add_argument("--as", choices=shapes.FORMS, default="crm", dest="form",
                     help="crm shell, pcs commands, or a CIB (default: crm)")
    one.add_argument("--diff", metavar="FILE|live",
                     help="print what it would change in that CIB instead")
    one.set_defaults(run=_plan)

    one = verb("apply", "change the running cluster into what the description asks for",
               "openstack-ocf apply")
    _described(one)
    _changing(one)
    one.set_defaults(run=_apply)

    one = verb("undo", "bring back what the last apply or undo on this node has changed",
               "openstack-ocf undo")
    _changing(one)
    one.add_argument("--discard", action="store_true",
                     help="even if others have changed something since: that is lost, too")
    one.set_defaults(run=_undo)

    cloudverbs.add(verb)

    one = verb("lint", "find what is unsafe, obsolete or misspelt in a CIB",
               "openstack-ocf lint live")
    one.add_argument("cib", metavar="FILE|live", nargs="?", default=cib.LIVE,
                     help="a CIB, as of cibadmin --query (default: live)")
    _formatted(one)
    one.set_defaults(run=_lint)

    one = verb("explain", "show what the agent sees of a resource on this node, and change nothing",
               "openstack-ocf explain p_glance-api --watch")
    one.add_argument("resource", metavar="RESOURCE",
                     help="id of a resource in the CIB, or of its instance or clone")
    one.add_argument("--cib", metavar="FILE|live", default=cib.LIVE,
                     help="a CIB, as of cibadmin --query (default: live)")
    one.add_argument("--agent", metavar="NAME", default="",
                     help="without a CIB: the resource is of this agent, as glance-api")
    one.add_argument("--param", metavar="NAME=VALUE", action="append", default=[],
                     help="with --agent: a parameter; a secret is taken from the environment, "
                     "OCF_RESKEY_os_password")
    one.add_argument("--ask", action="store_true",
                     help="also ask the service, as a monitor of level 10 does")
    one.add_argument("--watch", metavar="SECONDS", type=_pause, nargs="?", const=2.0,
                     help="look every SECONDS (default: 2), and print it again when it changes")
    _formatted(one)
    one.set_defaults(run=_explain)

    one = verb("metrics", "print what the monitors of this node have come to, for Prometheus",
               "openstack-ocf metrics --output "
               "/var/lib/prometheus/node-exporter/openstack-ocf.prom")
    one.add_argument("--output", metavar="FILE",
                     help="write it there, whole or not at all, for all to read")
    one.set_defaults(run=_metrics)
    return parser


def _described(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--description", metavar="FILE", default=description.PATH,
                        help=f"the description (default: {description.PATH})")
    parser.add_argument("--elsewhere", action="store_true",
                        help="this machine is no node of the cluster: its addresses do not count")


def _changing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it without a question")
    parser.add_argument("--allow-restart", action="store_true",
                        help="even if what runs is restarted, moved, stopped or deleted")
    parser.add_argument("--wait", metavar="SECONDS", type=_seconds, default=300,
                        help="for the cluster to settle; 0: do not wait (default: 300)")
    parser.add_argument("--saved", metavar="FOLDER", default=saved.FOLDER,
                        help=f"where the CIBs before changes are (default: {saved.FOLDER})")


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise argparse.ArgumentTypeError(f"no number of seconds: {text}")
    return int(text)


def _formatted(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="for people or for programs (default: text)")


# --- verbs ----------------------------------------------------------------------------------


def _sample(options: argparse.Namespace) -> int:
    sys.stdout.write(sample())
    return 0


def _init(options: argparse.Namespace) -> int:
    made = (bundle.draft(options.bundle) if options.bundle else
            init.draft(cib.load(options.cib), options.cib, here=not options.elsewhere))
    sys.stdout.write(made.text())
    return 0


def _check(options: argparse.Namespace) -> int:
    if options.compare:
        found = compare.compare(options.compare)
        _show(found, options.format)
        return finding.code(found)
    try:
        described = _description(options)
    except DescriptionError as error:
        _show(error.findings, options.format)
        return 2
    if options.elsewhere:
        if options.facts:
            raise UsageError("--facts is about this node: it does not go with --elsewhere")
        found = validate(described, None, _nobody) if described else []
        _show(found, options.format)
        return finding.code(found)
    there = nodecheck.root(options.cib)
    services = nodecheck.subjects(described, there, own=not options.quick)
    around = nodecheck.surroundings(described, there, _auth_url(described))
    if options.facts:
        sys.stdout.write(compare.facts(services, around))
        return 0

    def held() -> list[str] | None:
        return None if there is None else list(cib.virtual_ips(there).values())

    found = _findings(described, held, ask=not options.quick) if described else []
    found += nodecheck.look(services, around, there, quick=options.quick)
    _show(found, options.format)
    return finding.code(found)


def _description(options: argparse.Namespace) -> Description | None:
    """The description; None where there is none at the usual place, and none is named."""
    usual = options.description == description.PATH
    if usual and not options.elsewhere and not Path(description.PATH).exists():
        return None
    return description.read(options.description)


def _auth_url(described: Description | None) -> str:
    """Keystone's URL by the credentials; empty where these are no help, which others say."""
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

    ask: whether anybody answers for the addresses, too.
    """
    try:
        described = description.read(options.description)
    except DescriptionError as error:
        sys.stderr.write(finding.as_text(error.findings))
        return None, 2
    held = functools.cache(_held)
    found = (validate(described, None, held) if options.elsewhere else
             _findings(described, held, ask=ask))
    sys.stderr.write(finding.as_text(found))
    if finding.code(found) == 1:
        print("openstack-ocf: no plan: the errors above come first", file=sys.stderr)
        return None, 1
    return plan(described, credentials(described)), finding.code(found)


def _apply(options: argparse.Namespace) -> int:
    planned, code = _planned(options, ask=not pacemaker.outside_cluster())
    return code if planned is None else apply.apply(planned, _manner(options))


def _undo(options: argparse.Namespace) -> int:
    return apply.undo(_manner(options), discard=options.discard)


def _manner(options: argparse.Namespace) -> Manner:
    return Manner(options.yes, options.allow_restart, options.wait, options.saved)


def _lint(options: argparse.Namespace) -> int:
    found = lint(cib.load(options.cib))
    _show(found, options.format)
    return finding.code(found)


def _explain(options: argparse.Namespace) -> int:
    if options.param and not options.agent:
        raise UsageError("--param goes with --agent: otherwise the CIB has the parameters")
    wanted = Wanted(options.resource, options.cib, options.agent, options.param, options.ask)
    return explain(wanted, form=options.format, watch=options.watch)


def _pause(text: str) -> float:
    """Seconds between two looks, above zero."""
    try:
        pause = float(text)
    except ValueError:
        pause = 0.0
    if not 0 < pause < 86400:
        raise argparse.ArgumentTypeError(f"no number of seconds above zero: {text}")
    return pause


def _metrics(options: argparse.Namespace) -> int:
    text = metrics.metrics(records.instances())
    if options.output:
        metrics.write(text, options.output)
    else:
        sys.stdout.write(text)
    return 0


def _findings(described: Description, held: Held, *, ask: bool) -> list[Finding]:
    """What is wrong with a description on this node. ask: whether anybody answers, too."""
    try:
        here = node.look()
    except CannotLookError as error:
        return [*validate(described, None, held), Finding(
            "V2", finding.UNKNOWN, described.path, f"this node's addresses: {error}",
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
    """For who is elsewhere: the cluster is not asked."""


def _show(found: Sequence[Finding], form: str) -> None:
    sys.stdout.write(finding.as_json(found) if form == "json" else finding.as_text(found))
