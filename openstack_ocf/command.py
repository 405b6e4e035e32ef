"""The command line: the verbs, what they say in --help, and the exit code.

What a verb takes and does is in a module of its own, which is imported when the verb is asked for:
`metrics` is run by a timer.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from .errors import DescriptionError, ToolError
from .words import path

VERBS = (
    ("sample", "clusterverbs", "print a commented description", "openstack-ocf sample > new.conf"),
    ("init", "clusterverbs", "write a description of what is there: a cluster, or a Juju bundle",
     "openstack-ocf init > new.conf && openstack-ocf check --description new.conf"),
    ("check", "clusterverbs", "validate the description, and look whether this node keeps to it",
     "openstack-ocf check --format json"),
    ("plan", "clusterverbs", "print the Pacemaker configuration that the description asks for",
     "openstack-ocf plan --as crm > new.crm && crm configure load update new.crm"),
    ("apply", "clusterverbs", "change the running cluster into what the description asks for",
     "openstack-ocf apply"),
    ("undo", "clusterverbs", "bring back what the last apply or undo on this node has changed",
     "openstack-ocf undo"),
    ("clients", "cloudverbs", "print what Nova, Cinder and Glance need to use the virtual IPs, or "
     "find in their files what they lack", "openstack-ocf clients /etc/nova/nova.conf"),
    ("endpoints", "cloudverbs", "compare Keystone's catalogue with the description, or set the "
     "endpoints of the services that it has", "openstack-ocf endpoints show"),
    ("prove", "cloudverbs", "send a random image, or a volume, through the virtual IP and back, "
     "compare it, delete it", "openstack-ocf prove --move --credentials member.openrc"),
    ("lint", "clusterverbs", "find what is unsafe, obsolete or misspelt in a CIB",
     "openstack-ocf lint live"),
    ("explain", "nodeverbs", "show what the agent sees of a resource on this node, and change "
     "nothing", "openstack-ocf explain p_glance-api --watch"),
    ("metrics", "nodeverbs", "print what the monitors of this node have come to, for Prometheus",
     "openstack-ocf metrics --output /var/lib/prometheus/node-exporter/openstack-ocf.prom"),
)
"""Name, the module that has it as add_NAME, what it does, and an example."""

CODES = """\
exit codes:
  0  nothing wrong; there may be warnings
  1  errors were found; apply, undo: refused, or something does not run now
  2  the command or the description is wrong; apply, undo: nobody to ask
  3  something could not be looked at: a file, the cluster, a program
"""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why a file, or a terminal, takes no more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Nothing is raised but SystemExit, by argparse."""
    _streams()
    try:
        options = parser().parse_args(arguments)
        code: int = options.run(options)
        sys.stdout.flush()
    except DescriptionError as error:
        from . import finding

        sys.stderr.write(finding.as_text(error.findings))
        return error.code
    except ToolError as error:
        _say(str(error))
        return error.code
    except BrokenPipeError:
        # The reader has closed the pipe.
        _no_output()
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - no traceback for an operator
        if isinstance(error, OSError) and error.errno in _FULL and not error.filename:
            from .reading import reason

            _no_output()
            _say(f"standard output cannot be written: {reason(error)}")
            return 2
        return _unforeseen(error)
    return code


def _streams() -> None:
    """Make the standard streams take any text, whatever the caller's locale and open files are.

    What is read is UTF-8, and so is what is written, whatever the locale: crm, pcs and `check`
    read it again. A stream that the caller has closed becomes the null device; else the next file
    that is opened would take its place.
    """
    while os.open(os.devnull, os.O_RDWR) < 3:
        pass
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _no_output() -> None:
    """Let nothing be written any more: Python would complain when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    """A message for the operator; its lines are ours; what others have named is made visible."""
    lines = [path(line) for line in f"openstack-ocf: {text}".split("\n")]
    print("\n".join(lines), file=sys.stderr)


def _unforeseen(error: Exception) -> int:
    """Say what has ended the command, without the words of the error: they may hold a secret."""
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    _say(f"a mistake in this program, please report it: {type(error).__name__} at "
         f"{os.path.basename(frame.filename)}:{frame.lineno}")
    return 3


class _Parser(argparse.ArgumentParser):
    """The parser of the command, or of a verb; a verb's gets its options when it is used."""

    verb = ""
    room = ""

    def fill(self) -> None:
        """Add the options of the verb."""
        if self.room:
            room, self.room = self.room, ""
            getattr(import_module(f".{room}", __package__), f"add_{self.verb}")(self)

    def parse_known_args(self, *arguments: Any, **more: Any) -> Any:
        self.fill()
        found, rest = super().parse_known_args(*arguments, **more)
        if self.verb and rest:
            # Said here, so that it is this verb's --help that is named.
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stdout.flush()  # the help; an error counts
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {path(message)}\n{self.prog} --help shows an example", file=sys.stderr)
        raise SystemExit(2)


class _Version(argparse.Action):
    """Prints it; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from agentlib.agent import VERSION

        print(f"{parser.prog} {VERSION}")
        parser.exit()


def parser(*, whole: bool = False) -> argparse.ArgumentParser:
    """The parser of the command. whole: with the options of all verbs, as for the man page."""
    made = _Parser(
        prog="openstack-ocf", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="From one description to a Pacemaker cluster that runs OpenStack.\n"
        "Only apply, undo, `endpoints set` and `prove` change anything.",
        epilog=f"example:\n  openstack-ocf sample > /etc/openstack-ocf.conf\n\n{CODES}")
    made.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = made.add_subparsers(metavar="VERB", required=True)
    for name, room, text, example in VERBS:
        one = verbs.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"example:\n  {example}\n\n{CODES}")
        one.verb, one.room = name, room
        if whole:
            one.fill()
    return made
