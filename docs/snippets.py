"""crm/*.crm, the commands in docs/pcs.md and crm/scripts, from the descriptions in crm/*.conf.

Run by `make crm`:

    python3 docs/snippets.py [FOLDER]    # the source tree, by default this one

The first comment of a description is the head of its snippet. Everything else is what openstack-ocf
plans, but the password: an operator edits a snippet, so that SECRET stands there. properties.crm,
which is about the cluster and not about a service, is written by hand, and so are its commands.

crm/scripts/NAME/main.yml is for `crm script run NAME` (and for Hawk, which shows the same scripts
as wizards): the agent's parameters come from its meta-data, the operations from the plan.
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


SCRIPTS = {
    "glance-api": ("glance-api.conf", "Image API with its virtual IP"),
    "cinder-api": ("cinder-api.conf", "Block Storage API with its virtual IP"),
}
"""Agents with a script, the description that it is made from, and its title."""

SCRIPT = """\
# Made by make crm. Run it: crm script run openstack-{agent} vip=10.0.0.12
version: 2.2
category: OpenStack
shortdesc: {title}
longdesc: |
  A group of one or two virtual IPs and the API ({agent}), on one node at a time.

  The first step is openstack-ocf's: it looks at the addresses beside this node's networks, asks
  whether anybody answers for them, and has the agent look at its parameters. If something is wrong,
  nothing is configured. With two addresses the server has to listen on all.

  The monitor's password is in no command line: say os_password=lrm://, and before that
  cibsecret -C set p_{agent} os_password
include:
  - agent: ocf:openstack:{agent}
    name: openstack-{agent}
    parameters:
      - name: id
        shortdesc: Id of the API
        value: p_{agent}
{parameters}
    ops: |
{api}
parameters:
  - name: vip
    shortdesc: Virtual IP, of the internal endpoint
    type: ip_address
    required: true
  - name: public_vip
    shortdesc: Virtual IP of the public endpoint, if it has one of its own
    type: ip_address
    required: false
actions:
  - call: openstack-ocf check --crm-script {agent} script.input
    shortdesc: Validate what was given
    nodes: local
  - include: openstack-{agent}
  - cib: |
      primitive p_ip_{agent} ocf:heartbeat:IPaddr2
        params ip="{{{{vip}}}}"
{vip}
      {{{{#public_vip}}}}
      primitive p_ip_public_{agent} ocf:heartbeat:IPaddr2
        params ip="{{{{public_vip}}}}"
{vip}
      group g_{agent} p_ip_{agent} p_ip_public_{agent} {{{{id}}}}
      {{{{/public_vip}}}}
      {{{{^public_vip}}}}
      group g_{agent} p_ip_{agent} {{{{id}}}}
      {{{{/public_vip}}}}
"""
ASKED = ("config", "os_username", "os_password", "os_project_name", "os_auth_url")
"""Parameters of the agent that nearly everybody gives; crmsh calls the others advanced."""


def script(agent: str, folder: Path) -> str:
    """The script of crmsh for an API."""
    name, title = SCRIPTS[agent]
    text = crm.statements(planned(folder / name, numbers=False).cib)
    of = {match[1]: match[2] for match in re.finditer(
        r"(?m)^primitive (\S+) .*\n((?:  .*\n)+)", text)}

    def lines(primitive: str, indent: int) -> str:
        return "\n".join(f"{' ' * indent}{line.strip().removesuffix(' ' + chr(92))}"
                         for line in of[primitive].splitlines()
                         if line.split()[0] in ("op", "meta"))

    return SCRIPT.format(
        agent=agent, title=title, api=lines(f"p_{agent}", 6), vip=lines(f"p_ip_{agent}", 8),
        parameters="\n".join(f"      - name: {one}" for one in ASKED))


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
    for agent in SCRIPTS:
        path = root / "crm" / "scripts" / f"openstack-{agent}" / "main.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script(agent, root / "crm"), encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
