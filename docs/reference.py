"""The reference of the agents, from what their meta-data says: pages and man pages.

Run by `make docs`, `make man` and `make install`:

    python3 docs/reference.py markdown FOLDER    # agents.md, and AGENT.md for one of each kind
    python3 docs/reference.py man FOLDER         # ocf_openstack_AGENT.7

Needs nothing but Python, and writes nothing but those files.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

AGENTS = Path(__file__).resolve().parents[1] / "ocf"
PROJECT = "openstack-ocf-agents"
PROVIDER = "openstack"

PAGES = ("cinder-api", "glance-api", "heat-engine")
"""Agents with a page of their own; what others have beside these stands in the table."""

EXIT_CODES = (
    (0, "OCF_SUCCESS", "The action is done. Monitor: the server runs, and serves."),
    (
        1,
        "OCF_ERR_GENERIC",
        "The action failed. Monitor: the server runs and does not serve, or processes of it hold "
        "on without their master.",
    ),
    (2, "OCF_ERR_ARGS", "A parameter is wrong on this node: a file that cannot be used."),
    (
        3,
        "OCF_ERR_UNIMPLEMENTED",
        "There is no such action, or the cluster speaks another version of the OCF API.",
    ),
    (4, "OCF_ERR_PERM", "The action must be run as root."),
    (
        5,
        "OCF_ERR_INSTALLED",
        "Something is missing on this node: the server, its configuration, its user, or a Python "
        "package.",
    ),
    (6, "OCF_ERR_CONFIGURED", "A parameter is wrong, on this node and on every other."),
    (7, "OCF_NOT_RUNNING", "Nothing of the resource runs here."),
    (
        190,
        "OCF_DEGRADED",
        "Monitor: the server runs and answers, but something that it depends on, Keystone, is in "
        "trouble. Pacemaker leaves the resource alone and shows the reason.",
    ),
)
EXIT_REASON = (
    "Every exit code but 0 and 7 comes with an exit reason, the last line on stderr: what is "
    "wrong, and where. Pacemaker shows it (crm_mon) and logs it."
)


@dataclass(frozen=True)
class Parameter:
    """An instance parameter, as the meta-data has it."""

    name: str
    title: str
    text: str
    kind: str
    default: str
    reloadable: bool
    unique: bool

    @property
    def change(self) -> str:
        """What a change of its value comes to while the resource runs."""
        return "reload" if self.reloadable else "restart"


@dataclass(frozen=True)
class Action:
    """An advertised action; interval and depth are empty where it has none."""

    name: str
    timeout: str
    interval: str
    depth: str


@dataclass(frozen=True)
class Reference:
    """All that the pages tell about one agent."""

    name: str
    version: str
    title: str
    text: str
    parameters: tuple[Parameter, ...]
    actions: tuple[Action, ...]


def agents() -> list[Path]:
    """The agents: executable files in ocf/ without a suffix."""
    return sorted(
        path
        for path in AGENTS.iterdir()
        if path.is_file() and path.stat().st_mode & 0o100 and not set(path.name) & set(".~")
    )


def read(agent: Path) -> Reference:
    """What an agent says about itself."""
    command = [sys.executable, "-EsB", str(agent), "meta-data"]
    output = subprocess.run(command, stdout=subprocess.PIPE, env={}, check=True).stdout
    root = ET.fromstring(output)  # noqa: S314 - written by the agent itself
    return Reference(
        name=root.attrib["name"],
        version=root.attrib["version"],
        title=_text(root, "shortdesc"),
        text=_text(root, "longdesc"),
        parameters=tuple(_parameter(entry) for entry in root.iter("parameter")),
        actions=tuple(_action(entry) for entry in root.iter("action")),
    )


def _parameter(entry: ET.Element) -> Parameter:
    content = entry.find("content")
    assert content is not None, entry.attrib  # noqa: S101 - the DTD has it
    return Parameter(
        name=entry.attrib["name"],
        title=_text(entry, "shortdesc"),
        text=_text(entry, "longdesc"),
        kind=content.attrib["type"],
        default=content.get("default", ""),
        reloadable=entry.get("reloadable") == "1",
        unique=entry.get("unique") == "1",
    )


def _action(entry: ET.Element) -> Action:
    return Action(
        entry.attrib["name"],
        entry.get("timeout", ""),
        entry.get("interval", ""),
        entry.get("depth", ""),
    )


def _text(entry: ET.Element, name: str) -> str:
    return " ".join((entry.findtext(name) or "").split())


# --- Markdown -------------------------------------------------------------------------------


def markdown(agent: Reference) -> str:
    """The page docs/AGENT.md."""
    resource_type = f"ocf:{PROVIDER}:{agent.name}"
    lines = [
        f"<!-- Made by `make docs` from the meta-data of ocf/{agent.name}; change that. -->",
        f"# {resource_type}",
        "",
        *_paragraph(f"{agent.title}."),
        "",
        *_paragraph(agent.text),
        "",
        "## Parameters",
        "",
        "None is required. A change of a parameter marked *reload* takes effect while the server "
        "goes on;",
        "one marked *restart* makes Pacemaker restart it.",
        "",
        *_table(
            ("Parameter", "Type", "Default", "Change", "What it is"),
            [
                (
                    f"[`{p.name}`](#{p.name})",
                    p.kind,
                    _code(p.default),
                    p.change,
                    _escaped(p.title),
                )
                for p in agent.parameters
            ],
        ),
    ]
    for parameter in agent.parameters:
        unique = " Two resources must not have the same value." if parameter.unique else ""
        lines += ["", f"### {parameter.name}", "", *_paragraph(parameter.text + unique)]
    lines += [
        "",
        "## Actions",
        "",
        "The timeouts are the least to configure; depth is the check level (`OCF_CHECK_LEVEL`).",
        "",
        *_table(
            ("Action", "Timeout", "Interval", "Depth"),
            [(f"`{a.name}`", a.timeout, a.interval, a.depth) for a in agent.actions],
        ),
        "",
        "## Exit codes",
        "",
        *_table(
            ("Code", "Name", "Meaning"),
            [(str(code), f"`{name}`", meaning) for code, name, meaning in EXIT_CODES],
        ),
        "",
        *_paragraph(EXIT_REASON),
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [re.sub(r" +\|", " |", f"| {' | '.join(cells)} |") for cells in lines]


def _paragraph(text: str) -> list[str]:
    return _wrapped(_escaped(text), 99)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _escaped(text: str) -> str:
    """Prose as Markdown; what stands between backticks is left as it is."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*<|\[\]\\])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def overview(agents: Sequence[Reference]) -> str:
    """The page docs/agents.md: every agent, and what it has beside the one with a page."""
    pages = [agent for agent in agents if agent.name in PAGES]
    gone = [agent for agent in agents if "no such daemon" in agent.text]
    lines = [
        "<!-- Made by `make docs` from the meta-data of all files in ocf/; change those. -->",
        "# The agents",
        "",
        *_paragraph(
            "Every resource type of the provider, as in `ocf:openstack:glance-api`. An agent has "
            "the parameters of the page that its row names, with its own defaults, and those that "
            "stand beside it; what they mean says `crm ra info ocf:openstack:NAME`, or the man "
            "page `ocf_openstack_NAME`(7)."
        ),
        "",
        *_table(
            ("Agent", "Manages", "Runs on", "Configuration", "Parameters as", "and"),
            [
                (
                    f"`{agent.name}`",
                    _escaped(agent.title.removeprefix("Manages the OpenStack ")),
                    _nodes(agent),
                    _code(next(p.default for p in agent.parameters if p.name == "config")),
                    *_nearest(agent, pages),
                )
                for agent in agents
                if agent not in gone
            ],
        ),
        "",
        "## Check level 20",
        "",
        "What a monitor with `OCF_CHECK_LEVEL=20` makes, finds again and deletes:",
        "[verdicts](verdicts.md#level-20-made-found-and-deleted).",
        "",
        *_table(("Agent", "Makes", "Role of its user"), _makers(agents)),
        "",
        "## Gone",
        "",
        *_paragraph(
            "Daemons that OpenStack has no more. Start and a probe say 5, and what to use instead; "
            "a daemon of an older release that still runs is monitored by its process, and can be "
            "stopped."
        ),
        "",
        *_table(
            ("Agent", "Gone since"),
            [
                (f"`{agent.name}`", _escaped(re.sub(r".*daemon since (.*?)\. A resource.*",
                                                    r"\1", agent.text)))
                for agent in gone
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def _makers(agents: Sequence[Reference]) -> list[tuple[str, ...]]:
    """The agents that have a level 20: what it makes, and the role of its user."""
    sentence = r"OCF_CHECK_LEVEL=20 also makes (.*), looks for it .* needs the role (\w+)\."
    return [(f"`{agent.name}`", found[1], f"`{found[2]}`") for agent in agents
            if (found := re.search(sentence, agent.text))]


def _nodes(agent: Reference) -> str:
    """On how many nodes it may run, as its text says."""
    known = {"one node at a time: ": "one node", "once on each: ": "each node once"}
    for words, short in known.items():
        if words in agent.text:
            return f"{short}: {agent.text.partition(words)[2].rstrip('.')}"
    return "all nodes"


def _nearest(agent: Reference, pages: Sequence[Reference]) -> tuple[str, str]:
    """The page whose parameters an agent shares most of, and what it has besides."""
    own = [parameter.name for parameter in agent.parameters]
    page = max(pages, key=lambda page: len(
        {p.name for p in page.parameters} & set(own)) - len(
        {p.name for p in page.parameters} - set(own)) / 2)
    known = {parameter.name for parameter in page.parameters}
    besides = ", ".join(f"`{name}`" for name in own if name not in known)
    without = known - set(own)
    left = f"without {', '.join(f'`{name}`' for name in sorted(without))}" if without else ""
    return f"[{page.name}]({page.name}.md)", "; ".join(filter(None, (besides, left)))


# --- roff -----------------------------------------------------------------------------------


def man(agent: Reference) -> str:
    """The man page ocf_openstack_AGENT(7)."""
    page = f"ocf_{PROVIDER}_{agent.name}"
    # Status is monitor under another name, and actions stand here once for each depth.
    names = list(dict.fromkeys(action.name for action in agent.actions))
    lines = [
        f'.\\" Made by {PROJECT} from the meta-data of {agent.name}.',
        # No date: the same sources make the same page.
        f'.TH {page.upper()} 7 "" "{PROJECT} {agent.version}" "OCF resource agents"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{roff(page)} \\- {roff(agent.title[:1].lower() + agent.title[1:])}",
        ".SH SYNOPSIS",
        f".B {roff(agent.name)}",
        roff(f"[{' | '.join(names)} | usage]"),
        ".SH DESCRIPTION",
        *roff_text(agent.text),
        ".SH PARAMETERS",
        *roff_text(
            "None is required. A parameter that is marked reloadable can be changed while the "
            "server goes on; with the others Pacemaker restarts it."
        ),
    ]
    for parameter in agent.parameters:
        facts = [parameter.kind, "reloadable" if parameter.reloadable else ""]
        facts.append("unique" if parameter.unique else "")
        facts.append(f"default {parameter.default}" if parameter.default else "no default")
        lines += [
            ".TP",
            f".B {roff(parameter.name)}",
            f"({roff(', '.join(filter(None, facts)))})",
            ".br",
            *roff_text(parameter.text),
        ]
    lines += [
        ".SH ACTIONS",
        *roff_text("The timeouts are the least to configure; depth is the check level."),
    ]
    for action in agent.actions:
        facts = [f"timeout {action.timeout}"]
        facts.append(f"interval {action.interval}" if action.interval else "")
        facts.append(f"depth {action.depth}" if action.depth else "")
        lines += [".TP", f".B {roff(action.name)}", roff(", ".join(filter(None, facts)))]
    lines += [".SH EXIT STATUS"]
    for code, name, meaning in EXIT_CODES:
        lines += [".TP", f".B {code}", f"{roff(name)}.", *roff_text(meaning)]
    lines += [
        ".PP",
        *roff_text(EXIT_REASON),
        ".SH EXAMPLE",
        "A resource for the crm shell:",
        ".PP",
        ".RS 4",
        ".nf",
        f"primitive p_{roff(agent.name)} ocf:{PROVIDER}:{roff(agent.name)} \\e",
        *_operations(agent),
        ".fi",
        ".RE",
        ".PP",
        "By hand, as root:",
        ".PP",
        ".RS 4",
        ".nf",
        "OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=p_" + roff(agent.name) + " \\e",
        f"    /usr/lib/ocf/resource.d/{PROVIDER}/{roff(agent.name)} monitor; echo $?",
        ".fi",
        ".RE",
        ".SH SEE ALSO",
        ".BR crm (8),",
        ".BR crm_mon (8),",
        ".BR pacemaker\\-controld (7)",
    ]
    return "\n".join(lines) + "\n"


def _operations(agent: Reference) -> list[str]:
    """The operations of the example: what is advertised."""
    lines = []
    for action in agent.actions:
        if action.name in ("start", "stop"):
            lines.append(f"    op {action.name} timeout={action.timeout} interval=0")
        elif action.name == "monitor" and action.depth == "10":
            lines.append(f"    op monitor timeout={action.timeout} interval={action.interval}")
    return [*(line + " \\e" for line in lines[:-1]), *lines[-1:]]


def roff_text(text: str, width: int = 70) -> list[str]:
    """A paragraph; each sentence begins a line, as troff wants it."""
    sentences = re.split(r"(?<=[.;:]) (?=[A-Z])", " ".join(text.split()))
    return [roff(line) for sentence in sentences for line in _wrapped(sentence, width)]


def roff(text: str) -> str:
    """A line of text."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = text.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    # At the start of a line, a dot is a request.
    return f"\\&{text}" if text.startswith(".") else text


def main(arguments: Sequence[str]) -> int:
    """Write the pages of one form into a folder; an exit code."""
    try:
        form, folder = arguments
        render, name = {
            "markdown": (markdown, "{}.md"),
            "man": (man, f"ocf_{PROVIDER}_{{}}.7"),
        }[form]
    except (KeyError, ValueError):
        print("usage: reference.py markdown|man FOLDER", file=sys.stderr)
        return 64
    references = [read(agent) for agent in agents()]
    pages = {name.format(agent.name): render(agent) for agent in references
             if form == "man" or agent.name in PAGES}
    if form == "markdown":
        pages["agents.md"] = overview(references)
    for page, text in pages.items():
        path = Path(folder, page)
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
