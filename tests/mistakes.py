"""Thirty mistakes, one at a time: which tool finds each, in which time. Run by `make mistakes`.

    python3 tests/mistakes.py [ID...]    # only these ids

The mistakes are those of tests/tool, which name the id that ours has to find: half of them in a
CIB, half in glance-api.conf. Another tool has found a mistake when it says something that it does
not say of the sound configuration. Exit code 1: ours has missed a mistake, or complains about the
sound configuration.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tool import test_lint, test_nodecheck  # noqa: E402 - it is found there
from tool.kit import EMPTY  # noqa: E402

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
COUNT = 15
"""Of each kind."""
TOOLS = ("crmsh", "pcs", "Pacemaker", "oslo", "ours")
SOUND = "(the sound one)"
# crmsh and pcs read the agents' meta-data: for this process the agents are where both look.
AGENTS = """
cp -r --no-dereference /usr/lib/ocf/resource.d "$0"/all; rm -rf "$0"/all/openstack
ln -s "$1" "$0"/all/openstack; mount --bind "$0"/all /usr/lib/ocf/resource.d; shift; exec "$@"
"""

Said = dict[str, tuple[set[str], float]]
"""By tool: what it has said, line by line, and seconds."""


def run(*words: str | Path, **environment: str) -> tuple[set[str], float]:
    """What a program says, and the seconds that it takes."""
    begin = time.monotonic()
    done = subprocess.run(
        [str(one) for one in words], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, env={"PATH": PATH, "LC_ALL": "C.UTF-8", **environment})
    lines = {re.sub(r"\d+:|0x\w+|/tmp/\S+", "", line) for line in
             (done.stdout + done.stderr).splitlines() if line.strip()}
    return lines, time.monotonic() - begin


def ours(*words: str | Path) -> tuple[set[str], float]:
    """The ids that our command finds; what it says of this machine is left out."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-B", "-m", "openstack_ocf", *map(str, words), "--format", "json"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"]})
    found = {one["id"] for one in json.loads(done.stdout)} - {"V2", "V3", "T1", "B3"}
    return found, time.monotonic() - begin


def of_a_cib(text: str, folder: Path) -> Said:
    """What each tool says of a CIB, made from the text that an operator gives to crmsh."""
    (folder / "some.crm").write_text(text)
    cib = folder / "cib.xml"
    cib.write_text(EMPTY)
    return {
        "crmsh": run("crm", "--force", "configure", "load", "update", folder / "some.crm",
                     CIB_file=str(cib), HOME=str(folder)),
        "pcs": run("pcs", "cluster", "verify", "--full", cib),
        "Pacemaker": run("crm_verify", "-VV", f"--xml-file={cib}"),
        "ours": ours("lint", cib),
    }


def of_a_file(change: tuple[str, str], folder: Path) -> Said:
    """What each tool says of glance-api.conf with one text replaced by another."""
    (folder / "bin").mkdir()
    host = test_nodecheck.Host(folder)
    host.program("systemctl", "echo disabled; exit 1")
    for name, text in (
        ("glance-api.conf", test_nodecheck.GLANCE.format(folder=folder)),
        ("cinder.conf", test_nodecheck.CINDER), ("keyring", ""),
        ("ceph.conf", f"[client.glance]\nkeyring = {folder}/keyring\n"),
        ("d.conf", test_nodecheck.DESCRIPTION.format(folder=folder)),
        ("cib.xml", test_nodecheck.CIB.replace("GROUP", "")),
    ):
        host.write(name, text)
    old, new = change
    if old:
        host.edit("glance-api.conf", old.format(folder=folder), new)
    os.environ["PATH"] = f"{folder}/bin:{PATH}"
    return {
        "oslo": run("oslo-config-validator", "--namespace", "glance.api",
                    "--input-file", folder / "glance-api.conf"),
        "ours": ours("check", "--quick", "--description", folder / "d.conf",
                     "--cib", folder / "cib.xml"),
    }


def mistakes() -> Iterator[tuple[str, str, Callable[[Path], Said]]]:
    """The id, a few words, and what looks at it; an empty id is the sound configuration."""
    frame = f"{test_lint.GROUP}\n{test_lint.SOUND}\n"
    text = f"{test_lint.VIP}\n{test_lint.GLANCE}\n{frame}"
    yield "", "CIB", lambda folder: of_a_cib(text, folder)
    rows = [(row, f"{test_lint.VIP}\n{one}\n{frame}") for row, _, one in test_lint.ROWS]
    rows += [(row, f"{test_lint.SOUND}\n{one}\n") for row, where, one in test_lint.WHOLE
             if where not in ("stonith-enabled", "no-quorum-policy")]
    seen: set[str] = set()
    for row, wrong in rows:
        if row not in seen and len(seen) < COUNT:
            seen.add(row)
            yield row, about(row), lambda folder, wrong=wrong: of_a_cib(wrong, folder)  # type: ignore[misc]
    yield "", "glance-api.conf", lambda folder: of_a_file(("", ""), folder)
    for row, _, where, seen_, old, new in test_nodecheck.GLANCE_MISTAKES[::2][:COUNT]:
        yield row, f"{where}: {seen_}", lambda folder, one=(old, new): of_a_file(one, folder)  # type: ignore[misc]


def about(row: str) -> str:
    """What docs/openstack-ocf.md says of an id of lint."""
    page = (ROOT / "docs" / "openstack-ocf.md").read_text(encoding="utf-8")
    match = re.search(rf"(?m)^\| {row} \| (.*?)[;,.|]", page)
    return match[1].strip() if match else row


def table(only: Sequence[str]) -> int:
    """Look at each, or at these ids, and print a line for it; the exit code."""
    print(f"{'id':4} {'mistake':58} " + " ".join(f"{one:>9}" for one in TOOLS), flush=True)
    missed = count = 0
    sound: Said = {}
    for row, text, look in mistakes():
        if row and only and row not in only:
            continue
        words = text if row else f"{SOUND} {text}"
        with tempfile.TemporaryDirectory(prefix="openstack-ocf-") as folder:
            said = look(Path(folder))
        cells = []
        if not row:
            sound = said
        for tool in TOOLS:
            if tool not in said:
                cells.append("-")
                continue
            lines, seconds = said[tool]
            # A line that is also said of the sound configuration is not about the mistake.
            new = row in lines if tool == "ours" and row else lines - (
                sound[tool][0] if row else set())
            cells.append(f"{seconds:.1f} s" if new and row else "no" if row else "")
        right = row in said["ours"][0] if row else not said["ours"][0]
        missed += not right
        count += bool(row)
        print(f"{row:4} {words[:58]:58} " + " ".join(f"{one:>9}" for one in cells)
              + ("" if right else "  <- ours is wrong"), flush=True)
    print(f"{count} mistakes; ours missed {missed}. A time: it says something of it; "
          "no: it says nothing; -: not asked.")
    return int(missed > 0)


def main(words: Sequence[str]) -> int:
    """Print the table, with the agents mounted where crmsh looks for them."""
    if words[:1] == ["inside"]:
        return table(words[1:])
    if os.geteuid():
        print("make mistakes: this needs root: it mounts the agents where crmsh looks for them",
              file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="openstack-ocf-") as folder:
        return subprocess.run(
            ["unshare", "--mount", "sh", "-ec", AGENTS, folder, ROOT / "ocf", sys.executable, "-B",
             __file__, "inside", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
