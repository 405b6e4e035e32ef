"""Descriptions, and the command as a process; a node as `ip -json` has described one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from openstack_ocf import description, node
from openstack_ocf.finding import Finding
from openstack_ocf.node import Node
from openstack_ocf.validation import validate
from unit.kit import PYTHON

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"

VERBS = ("sample", "init", "check", "plan", "apply", "undo", "lint", "explain", "metrics",
         "clients", "endpoints", "prove")

# pcs works on no file without a feature set; an older one than its own is fine.
EMPTY = ('<cib crm_feature_set="3.6.0" validate-with="pacemaker-3.0" admin_epoch="0" epoch="1" '
         'num_updates="0">'
         "<configuration><crm_config/><nodes/><resources/><constraints/></configuration>"
         "<status/></cib>")

LINKS = [
    {"ifname": "lo", "flags": ["LOOPBACK", "UP"], "addr_info": [
        {"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "eth0", "flags": ["BROADCAST", "UP", "LOWER_UP"], "addr_info": [
        {"family": "inet", "local": "10.0.0.21", "prefixlen": 24, "scope": "global"},
        {"family": "inet6", "local": "2001:db8::21", "prefixlen": 64, "scope": "global"}]},
    {"ifname": "eth1", "flags": ["BROADCAST"], "addr_info": [
        {"family": "inet", "local": "192.0.2.21", "prefixlen": 24, "scope": "global"}]},
]
ROUTES = [{"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"}]


def a_node() -> Node:
    """Two interfaces; eth1 is down."""
    links: list[dict[str, Any]] = json.loads(json.dumps(LINKS))
    return node.node(links, ROUTES)


def found(
    path: Path, text: str, here: Node | None = None, held: Sequence[str] | None = ()
) -> list[Finding]:
    """What validation finds in a description of this text."""
    path.write_text(text)
    return validate(description.read(str(path)), here, lambda: held)


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    output: str
    said: str


def argv(*words: str | Path) -> list[str]:
    """The operator's command with its arguments, for a process whose folder is ROOT."""
    return [sys.executable, "-B", "-m", "openstack_ocf", *map(str, words)]


def command(*words: str | Path, prefix: Sequence[str | Path] = (), **environment: str) -> Ended:
    """Run the operator's command from the source tree; prefix: runs it, as nsenter does."""
    return _ended([*prefix, *argv(*words)], ROOT, environment)


def as_nobody(
    folder: Path, *words: str | Path, prefix: Sequence[str | Path] = (), **environment: str
) -> Ended:
    """Run a copy of the operator's command as a user without rights, for whom the folder is open.

    A copy, since a checkout may be below a folder that only its owner can enter.
    """
    home = folder / "openstack-ocf"
    if not home.exists():
        for name in ("agentlib", "bin", "ocf", "openstack_ocf"):
            shutil.copytree(ROOT / name, home / name, symlinks=True,
                            ignore=shutil.ignore_patterns("__pycache__"))
        for path in (home, *home.rglob("*")):
            path.chmod(0o755)
    own = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PYTHON, "-BEs",
           str(home / "bin" / "openstack-ocf")]
    return _ended([*prefix, *own, *words], Path("/"), {"PATH": "/usr/bin:/bin", **environment})


def _ended(words: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> Ended:
    done = subprocess.run(
        words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], **environment})
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def there(resources: str, constraints: str = "") -> Element:
    """A CIB with these resources and constraints."""
    return ElementTree.fromstring(
        EMPTY.replace("<resources/>", f"<resources>{resources}</resources>").replace(
            "<constraints/>", f"<constraints>{constraints}</constraints>"),
        ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True)))


def primitive(name: str, agent: str, parameters: str = "", more: str = "") -> str:
    """A primitive; parameters as `ip=10.0.0.12 nic=eth0`."""
    kind, provider, type_ = agent.split(":")
    pairs = [one.partition("=") for one in parameters.split()]
    inner = "".join(f'<nvpair id="{name}-{key}" name="{key}" value="{value}"/>'
                    for key, _, value in pairs)
    section = f'<instance_attributes id="{name}-a">{inner}</instance_attributes>' if inner else ""
    return (f'<primitive id="{name}" class="{kind}" provider="{provider}" type="{type_}">{section}'
            f"{more}</primitive>")


def crm(cib: Path, *files: Path) -> Element:
    """Load crm snippets into a CIB file with crmsh; return the CIB."""
    cib.write_text(EMPTY)
    for file in files:
        # crmsh misses meta-data and fencing in a file, and complains; only what it wrote counts.
        subprocess.run(
            ["/usr/sbin/crm", "--force", "configure", "load", "update", str(file)],
            stdin=subprocess.DEVNULL, capture_output=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CIB_file": str(cib),
                 "HOME": str(cib.parent)})
    return ElementTree.parse(cib).getroot()


def loaded(folder: Path, text: str) -> Element:
    """Load a text into cib.xml in a folder with crmsh; return the CIB."""
    snippet = folder / "some.crm"
    snippet.write_text(text)
    return crm(folder / "cib.xml", snippet)


def pcs(cib: Path, script: str) -> Element:
    """Run a script of pcs commands on cib.xml in the folder of a CIB file.

    pcs reads the agents' meta-data: for this process alone they are mounted where Pacemaker looks.
    """
    cib.write_text(EMPTY)
    agents = shutil.copytree("/usr/lib/ocf", cib.parent / "ocf", symlinks=True)
    ours = agents / "resource.d" / "openstack"
    if ours.is_symlink():
        ours.unlink()
    shutil.rmtree(ours, ignore_errors=True)
    ours.symlink_to(ROOT / "ocf")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f"mount --bind ocf /usr/lib/ocf\n{script}"],
        stdin=subprocess.DEVNULL, cwd=cib.parent, capture_output=True, text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    assert done.returncode == 0, done.stderr
    return ElementTree.parse(cib).getroot()
