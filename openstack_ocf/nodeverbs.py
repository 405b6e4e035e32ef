"""The verbs about what runs on this node: `explain` and `metrics`.

Imported by `command` when one of them is asked for. A timer runs `metrics` every minute: each
imports what it needs, and no more.
"""

from __future__ import annotations

import argparse
import sys


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    from .options import formatted, of_a_cib

    parser.add_argument("resource", metavar="RESOURCE",
                        help="id of a resource in the CIB, of its instance or clone, or of a "
                        "group that has one of ours")
    of_a_cib(parser, "a CIB, as of cibadmin --query (default: live)")
    parser.add_argument("--agent", metavar="NAME", default="",
                        help="without a CIB: the resource is of this agent, as glance-api")
    parser.add_argument("--param", metavar="NAME=VALUE", action="append", default=[],
                        help="with --agent: a parameter; a secret is taken from the environment, "
                        "OCF_RESKEY_os_password")
    parser.add_argument("--ask", action="store_true",
                        help="also ask the service, as a monitor of level 10 does")
    parser.add_argument("--watch", metavar="SECONDS", type=_pause, nargs="?", const=2.0,
                        help="look every SECONDS (default: 2), and print it again when it changes")
    formatted(parser)
    parser.set_defaults(run=_explain)


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--output", metavar="FILE",
                        help="write it there, whole or not at all, for all to read")
    parser.set_defaults(run=_metrics)


def _pause(text: str) -> float:
    """Seconds between two looks, above zero."""
    try:
        pause = float(text)
    except ValueError:
        pause = 0.0
    if not 0 < pause < 86400:
        raise argparse.ArgumentTypeError(f"no number of seconds above zero: {text}")
    return pause


def _explain(options: argparse.Namespace) -> int:
    from .errors import UsageError
    from .explain import Wanted, explain

    if options.param and not options.agent:
        raise UsageError("--param goes with --agent: otherwise the CIB has the parameters")
    if options.agent:
        from . import cib
        from .options import refuse

        refuse("--agent is for where there is no CIB", {"--cib": options.cib != cib.LIVE})
    wanted = Wanted(options.resource, options.cib, options.agent, options.param, options.ask)
    return explain(wanted, form=options.format, watch=options.watch)


def _metrics(options: argparse.Namespace) -> int:
    from . import metrics, records

    text = metrics.metrics(records.instances())
    if options.output:
        metrics.write(text, options.output)
    else:
        sys.stdout.write(text)
    return 0
