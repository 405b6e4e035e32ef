"""crm/*.crm and the commands in docs/pcs.md, from the descriptions in crm/*.conf.

Run by `make crm`:

    python3 docs/snippets.py [FOLDER]    # the source tree, by default this one

The first comment of a description is the head of its snippet. Everything else is what openstack-ocf
plans, but the password: an operator edits a snippet, so that SECRET stands there. properties.crm,
which is about the cluster and not about a service, is written by hand, and so are its commands.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from openstack_ocf import crm, description, shapes  # noqa: E402 - it is found there
from openstack_ocf.openrc import Credentials  # noqa: E402
from openstack_ocf.plan import Plan, plan  # noqa: E402

EXPLAINED = ("cinder-api", "glance-api", "worker-clone")
"""Snippets with the reasons of their numbers, and those called after them; others name these."""
USER = {"os_username": "monitor", "os_project_name": "service"}
TWIN = re.compile(r"(?m)^<!-- twin: (\S+)\.crm -->\n```sh\n(.*?)^```\n", re.DOTALL)


def planned(path: Path, *, numbers: bool) -> Plan:
    """What a description asks for; its monitors have a user with the password SECRET."""
    described = description.read(str(path))
    user = {**USER, "os_auth_url": described.auth_url} if described.auth_url else {}
    return plan(described, Credentials("", user), numbers=numbers)


def head(text: str) -> str:
    """The first comment of a description."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def snippet(path: Path) -> str:
    """The snippet of a description."""
    numbers = path.stem.startswith(EXPLAINED) and not path.stem.endswith("-public")
    text = crm.statements(planned(path, numbers=numbers).cib)
    made = (f"# Made from {path.name} (make crm). From a description of your own: openstack-ocf "
            "plan.\n")
    between = "#\n" if text.startswith("#") else ""
    return f"{head(path.read_text())}{made}{between}{_with_password(text)}"


def commands(path: Path) -> str:
    """The same for pcs; the reasons stand in the snippet."""
    text = shapes.commands(planned(path, numbers=False).cib)
    return "".join(f"{line}\n" for line in _with_password(text).splitlines()
                   if not line.startswith("#"))


def page(text: str, folder: Path) -> str:
    """docs/pcs.md with the commands of each snippet in its place."""
    def block(match: re.Match[str]) -> str:
        path = folder / f"{match[1]}.conf"
        made = commands(path) if path.exists() else match[2]
        return f"<!-- twin: {match[1]}.crm -->\n```sh\n{made}```\n"

    return TWIN.sub(block, text)


def _with_password(text: str) -> str:
    return text.replace("lrm://", "SECRET")


def main(arguments: Sequence[str]) -> int:
    """Write them; an exit code."""
    root = Path(arguments[0]) if arguments else ROOT
    twins = root / "docs" / "pcs.md"
    text = twins.read_text(encoding="utf-8")
    written = page(text, root / "crm")
    for path in sorted((root / "crm").glob("*.conf")):
        made = path.with_suffix(".crm")
        made.write_text(snippet(path), encoding="utf-8")
        print(made)
        if f"<!-- twin: {made.name} -->" not in text:
            print(f"{twins} has no block for {made.name}: add one with the mark "
                  f"<!-- twin: {made.name} -->", file=sys.stderr)
            return 1
    twins.write_text(written, encoding="utf-8")
    print(twins)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
