"""The man page openstack-ocf(8) and the completion for bash, from the command's own --help.

Run by `make man` and `make install`:

    python3 docs/command.py FOLDER    # FOLDER/openstack-ocf.8, FOLDER/openstack-ocf.bash

A verb, an option or a key of the description stands once, in the code. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentlib.agent import VERSION
from docs.reference import PROJECT, roff, roff_text
from openstack_ocf import command, description, keys, saved

NAME = "openstack-ocf"
NAMED = "from one description to a Pacemaker cluster that runs OpenStack"
EXAMPLE = """\
[DEFAULT]
credentials = /root/monitor.openrc

[glance]
vip = 10.0.0.12 192.0.2.12
os_public_network = 192.0.2.0/24
storage = rbd

[heat-engine]
"""


def verbs() -> dict[str, argparse.ArgumentParser]:
    """The verbs of the command, each with its parser."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in command.parser(whole=True)._actions:
        if isinstance(action.choices, dict):
            found.update(action.choices)
    return found


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a verb takes, but --help."""
    return [one for one in parser._actions if one.dest != "help"]


def value(action: argparse.Action) -> str:
    """What is written for the value of an option or argument; empty where it has none."""
    if action.nargs == 0:
        return ""
    if action.choices:
        return "|".join(map(str, action.choices))
    words = action.metavar or action.dest
    return words if isinstance(words, str) else " ".join(words)


def values(action: argparse.Action) -> str:
    """The same with what may be left out, or be there several times."""
    one = value(action)
    return {"+": f"{one} [{one} ...]", "*": f"[{one} ...]", "?": f"[{one}]"}.get(
        str(action.nargs), one) if one else ""


# --- the man page -----------------------------------------------------------------------------


def man() -> str:
    """The page openstack-ocf(8)."""
    top = command.parser()
    lines = [
        f'.\\" Made by {PROJECT} from openstack-ocf --help.',
        # No date: the same sources make the same page.
        f'.TH {NAME.upper()} 8 "" "{PROJECT} {VERSION}" "System administration"',
        ".nh", ".ad l",
        ".SH NAME", f"{roff(NAME)} \\- {roff(NAMED)}",
        ".SH SYNOPSIS", f".B {roff(NAME)}", ".I VERB", "[options]",
        ".br", f".B {roff(NAME)}", ".I VERB", roff("--help"),
        ".br", f".B {roff(NAME)}", roff("--version"),
        ".SH DESCRIPTION", *paragraph(top.description or ""),
        ".SH VERBS",
    ]
    for name, parser in verbs().items():
        lines += [f".SS {roff(name)}", *synopsis(name, parser), ".PP",
                  *paragraph(parser.description or "")]
        for action in options(parser):
            lines += option(action)
        for example in examples(parser):
            lines += [".PP", "Example:", ".PP", *literal(example)]
    lines += [
        ".SH THE DESCRIPTION",
        *paragraph(f"{description.PATH}, in the syntax of oslo.config. A section is named after an "
                   "agent, as [heat-engine], or after a project, for its API: [glance]. Beside "
                   "the keys below it takes every parameter of its agent, as config or server."),
        ".PP", *literal(EXAMPLE),
        ".SS [DEFAULT]", *table(keys.DEFAULT),
        ".SS A service", *table(keys.SERVICE),
        ".SS [mariadb], [rabbitmq]",
        *paragraph("They have these keys of a service: " + ", ".join(keys.OF_OTHERS)
                   + "; and the parameters of their agents, ocf:heartbeat:mysql and "
                   "ocf:rabbitmq:rabbitmq-server."),
        ".SS [haproxy]",
        *paragraph("It has the same keys but port, the parameters of ocf:heartbeat:anything, and:"),
        *table(keys.HAPROXY),
        ".SS [dns]", *table(keys.DNS),
        ".SH EXIT STATUS",
    ]
    for line in command.CODES.splitlines()[1:]:
        code, _, meaning = line.strip().partition("  ")
        lines += [".TP", f".B {code}", f"{roff(meaning.strip().capitalize())}."]
    lines += [
        ".SH ENVIRONMENT",
        ".TP", ".B CIB_file", *paragraph("As for Pacemaker's own tools: the file that stands for "
                                         "the running cluster, where `live` is meant."),
        ".TP", ".B OCF_RESKEY_os_password", *paragraph("The password for explain --agent."),
        ".TP", ".B NO_COLOR", *paragraph("If it is set, explain uses no colours."),
        ".SH FILES", ".TP", f".I {roff(description.PATH)}", "The description.",
        ".TP", f".I {roff(saved.FOLDER)}",
        *paragraph("The CIBs before and after the last changes that apply and undo have made on "
                   "this node; root's alone."),
        ".SH SEE ALSO", ".BR ocf_openstack_glance\\-api (7),", ".BR crm (8),", ".BR pcs (8),",
        ".BR cibadmin (8)",
    ]
    return "\n".join(lines) + "\n"


def synopsis(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """How a verb is written."""
    words = [f"{NAME} {name}"]
    for action in options(parser):
        written = " ".join(filter(None, (*action.option_strings[-1:], values(action))))
        words.append(f"[{written}]" if action.option_strings else written)
    yield f".B {roff(words[0])}"
    yield from [roff(" ".join(words[1:]))] if words[1:] else []


def option(action: argparse.Action) -> list[str]:
    """An option with what it means."""
    head = ", ".join(action.option_strings) or value(action)
    written = f"{head} {values(action)}" if action.option_strings and value(action) else head
    return [".TP", f".B {roff(written)}", *paragraph((action.help or "").replace("%%", "%"))]


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The examples that stand under a verb's --help."""
    found = re.search(r"examples?:\n((?:  .*\n)+)", parser.epilog or "")
    return [textwrap.dedent(found[1])] if found else []


def table(known: Sequence[keys.Key]) -> Iterator[str]:
    """Keys of the description with what they mean."""
    for key in known:
        facts = [key.kind.replace("|", ", "), f"default {key.default}" if key.default else ""]
        yield from (".TP", f".B {roff(key.name)}", f"({roff('; '.join(filter(None, facts)))})",
                    ".br", *paragraph(f"{key.help} As in: {key.example}"))


def literal(text: str) -> list[str]:
    """Lines as they are."""
    return [".RS 4", ".nf", *map(roff, text.rstrip("\n").splitlines()), ".fi", ".RE"]


def paragraph(text: str) -> list[str]:
    """A paragraph."""
    return roff_text(text, 90)


# --- the completion ---------------------------------------------------------------------------

COMPLETION = """\
# Completion of openstack-ocf for bash. Made by openstack-ocf-agents from openstack-ocf --help.

_openstack_ocf() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local verb=${{COMP_WORDS[1]}} options= values= files= ids=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "{verbs} --help --version" -- "$word")
        return
    fi
    case $verb in
{cases}
    esac
    case $verb$before in
{values}
    *)
        case $verb in
{arguments}
        esac
        [[ $word != -* ]] || values=$options files= ids= ;;
    esac
    if [ "$ids" ]; then
        # compgen expands its words: what is no part of an id goes.
        values="$values $(crm_resource --list-raw 2>/dev/null | tr -cd '[:alnum:]_.:\\n-')"
    fi
    mapfile -t COMPREPLY < <(
        compgen -W "$values" -- "$word"
        [ ! "$files" ] || compgen -f -- "$word"
    )
    [ ! "$files" ] || compopt -o filenames 2>/dev/null
}}
complete -F _openstack_ocf openstack-ocf
"""


def completion() -> str:
    """The completion: verbs, options, and the values of options."""
    known = verbs()
    cases, values, arguments = [], [], []
    for name, parser in known.items():
        words = [word for action in options(parser) for word in action.option_strings]
        cases.append(f'    {name}) options="{" ".join((*words, "--help"))}" ;;')
        for action in options(parser):
            if action.option_strings and value(action):
                pattern = "|".join(f"{name}{word}" for word in action.option_strings)
                values.append(f"    {pattern}) {offered(action)} ;;")
            elif not action.option_strings:
                arguments.append(f"        {name}) {offered(action)} ;;")
        if not any(not action.option_strings for action in options(parser)):
            arguments.append(f"        {name}) values=$options ;;")
    return COMPLETION.format(verbs=" ".join(known), cases="\n".join(cases),
                             values="\n".join(values), arguments="\n".join(arguments))


def offered(action: argparse.Action) -> str:
    """What is offered for the value of an option or argument, as an assignment of the shell."""
    if action.choices:
        return f'values="{" ".join(map(str, action.choices))}"'
    words = value(action).split("|")
    found = [word for word in words if word.islower()]
    parts = [f'values="{" ".join(found)}"'] if found else []
    parts += ["files=1"] if {"FILE", "FOLDER", "PATH"} & set(words) else []
    parts += ["ids=1"] if "RESOURCE" in words else []
    return " ".join(parts) or ":"


def main(arguments: Sequence[str]) -> int:
    """Write both into a folder; an exit code."""
    if len(arguments) != 1:
        print("usage: command.py FOLDER", file=sys.stderr)
        return 64
    for name, text in ((f"{NAME}.8", man()), (f"{NAME}.bash", completion())):
        path = Path(arguments[0], name)
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
