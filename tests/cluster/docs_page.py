"""Pages of docs/, for tests that run them: their fenced blocks, each with its mark.

A mark is an HTML comment on the line before a block. Readers do not see it; it tells a test what to
do with the block:

    run: node1               a shell script, run on that node; or on `every node`, or as `client`
    run: node1, exit 1       the same, and its exit code
    run: node1, edit: s/a/b/ the same, where the operator's editor makes this change
    output                   the output of the block before; `...` stands for anything
    found: image             the same, and where clients find such a service in the catalogue
    set: glance              options of a service's configuration file, set for what follows
    checked: glance          the same, not set: tests/real/test_guides.py asks the service's code
    shown: crm_mon           what crm_mon shows at this place, sooner or later
    twin: glance-api.crm     pcs commands that do what the snippet does
    like: PAGE, SNIPPET      pcs commands that change the snippet's CIB as the page does
    undo: client             undoes the page, run at its end
    case: no service         run as client, but in this case only, by tests/real/test_guides.py
    not run: why             it is not run, and why

One mark stands without a block: `given: node1, COMMAND` is what the reader's cluster has already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MARK = re.compile(r"<!-- (.*) -->")
GIVEN = re.compile(r"<!-- given: (\w+), (.*) -->")
HEADING = re.compile(r"#+ (.*)")
FENCE = re.compile(r"```(\w*)")
# Pacemaker 3's name of each exit code, and Pacemaker 2's, which the pages have.
CALLED = {
    "OK": "ok",
    "Error occurred": "error",
    "Invalid parameter": "invalid parameter",
    "Insufficient privileges": "insufficient privileges",
    "Not installed": "not installed",
    "Not configured": "not configured",
    "Not running": "not running",
    "Service is active but might fail soon": "OCF_DEGRADED",
}
RETURNED = re.compile(rf"(returned (?:'|\d+ \())({'|'.join(CALLED)})\b")
KINDS = (
    *("run", "output", "found", "set", "checked", "shown", "twin", "like", "undo", "case"),
    *("given", "not run"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block. where: page and line. kind, argument: its mark, in two.

    section: the heading that it is under.
    """

    where: str
    kind: str
    argument: str
    text: str
    section: str = ""

    @property
    def place(self) -> str:
        """Where it is run: node1, every node, client."""
        return self.argument.partition(",")[0]

    @property
    def code(self) -> int:
        """The exit code that it ends with."""
        found = re.search(r", exit (\d+)", self.argument)
        return int(found[1]) if found else 0

    @property
    def edit(self) -> str:
        """What the operator changes in the editor, for sed."""
        return self.argument.partition(", edit: ")[2]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in its order; one without a mark has no kind."""
    found = []
    mark, begin, fence, section = "", 0, "", ""
    text: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if fence:
            if line == fence:
                kind, _, argument = mark.partition(": ")
                content = "\n".join(text) + "\n"
                found.append(Block(f"{page.name}:{begin}", kind, argument, content, section))
                mark, fence = "", ""
            else:
                text.append(line)
        elif FENCE.fullmatch(line):
            begin, fence, text = number, "```", []
        elif given := GIVEN.fullmatch(line):
            found.append(Block(f"{page.name}:{number}", "given", given[1], given[2], section))
        elif comment := MARK.fullmatch(line):
            mark = comment[1]
        elif heading := HEADING.fullmatch(line):
            section, mark = heading[1], ""
        else:
            mark = ""
    assert not fence, f"{page.name}:{begin}: a block without an end"
    return found


def matches(said: str, wanted: str) -> bool:
    """Whether an output is the wanted one, where `...` stands for anything."""
    pattern = ".*".join(map(re.escape, re.split(r" ?\.{3} ?", _plain(wanted))))
    return re.fullmatch(pattern, _plain(said), re.DOTALL) is not None


def shows(said: str, wanted: str) -> bool:
    """Whether the wanted text is somewhere in an output."""
    return matches(said, f"...{wanted}...")


def _plain(text: str) -> str:
    """Without colours, with one blank for many, and one name for an exit code."""
    text = re.sub(r"\s+", " ", re.sub(r"\033\[[0-9;]*m", "", text)).strip()
    return RETURNED.sub(lambda found: found[1] + CALLED[found[2]], text)
