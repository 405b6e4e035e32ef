"""crm/*.crm, crm/scripts, docs/pcs.md are current: `make crm` makes them from crm/*.conf."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from openstack_ocf.difference import difference
from tool.kit import EMPTY, ROOT, command, loaded

CRM = ROOT / "crm"
DESCRIPTIONS = sorted(CRM.glob("*.conf"))
BY_HAND = {"properties.crm"}
SCRIPTS = {path.parent.name: path.read_text() for path in (CRM / "scripts").glob("*/main.yml")}
# The agents of this tree are mounted where Pacemaker looks; crmsh loads scripts from
# XDG_CONFIG_HOME.
VERIFY = """
cp -r --no-dereference /usr/lib/ocf/resource.d all; rm -rf all/openstack; ln -s "$0" all/openstack
mount --bind all /usr/lib/ocf/resource.d
exec crm script verify "$@"
"""


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the generator on a copy of its input."""
    return subprocess.run(
        ["/usr/bin/python3", "-B", str(ROOT / "docs" / "snippets.py"), str(folder)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The descriptions and the page, without the snippets."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "crm").mkdir()
    for path in DESCRIPTIONS:
        shutil.copy(path, tmp_path / "crm")
    page = (ROOT / "docs" / "pcs.md").read_text()
    page = re.sub(r"(?s)(<!-- twin: (?!properties)\S+ -->\n```sh\n).*?(```\n)", r"\1\2", page)
    assert "os_username" not in page
    (tmp_path / "docs" / "pcs.md").write_text(page)
    return tmp_path


def test_they_are_current(tree: Path) -> None:
    """`make crm` changes nothing: it was run after the last change of generator or description."""
    done = make(tree)

    assert (0, "") == (done.returncode, done.stderr)
    assert (ROOT / "docs" / "pcs.md").read_text() == (tree / "docs" / "pcs.md").read_text()
    made = {path.name: path.read_text() for path in (tree / "crm").glob("*.crm")}
    assert made == {path.name: path.read_text() for path in CRM.glob("*.crm")
                    if path.name not in BY_HAND}
    assert SCRIPTS == {path.parent.name: path.read_text()
                       for path in (tree / "crm" / "scripts").glob("*/main.yml")}


def test_a_snippet_without_its_commands(tree: Path) -> None:
    """A description without a place in docs/pcs.md is an error, with the mark to add."""
    (tree / "crm" / "new.conf").write_text("[heat-engine]\n")
    done = make(tree)

    assert 1 == done.returncode
    assert "add one with the mark <!-- twin: new.crm -->" in done.stderr


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=[path.name for path in DESCRIPTIONS])
def test_the_descriptions_are_sound(path: Path) -> None:
    """check finds nothing in the descriptions, so that they are examples as well."""
    done = command("check", "--elsewhere", "--description", path)

    assert (0, "", "") == (done.code, done.output, done.said)


@pytest.mark.parametrize("path", sorted(CRM.glob("*.crm")), ids=lambda path: str(path.name))
def test_they_can_be_read(path: Path) -> None:
    """Lines of a snippet fit a terminal, and no virtual IP has a netmask, which IPaddr2 finds."""
    lines = path.read_text().splitlines()

    assert [] == [line for line in lines if len(line) > 100]
    assert [] == [line for line in lines if "cidr_netmask=" in line]
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("faces", [1, 2])
@pytest.mark.parametrize("agent", ["cinder-api", "glance-api"])
def test_a_script_makes_what_the_plan_makes(tmp_path: Path, agent: str, faces: int) -> None:
    """crmsh configures by a script the same as openstack-ocf plans, id by id."""
    shutil.copytree(CRM / "scripts", tmp_path / "crm" / "scripts")
    vips = ["10.0.0.12", "192.0.2.12"][:faces]
    words = [f"openstack-{agent}", f"vip={vips[0]}", *(f"public_vip={one}" for one in vips[1:])]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", VERIFY, str(ROOT / "ocf"), *words], cwd=tmp_path,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_CONFIG_HOME": str(tmp_path),
            "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("2. ")
    description = tmp_path / "d.conf"
    description.write_text(f"[{agent}]\nvip = {' '.join(vips)}\n")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    lines = [line.strip() for line in rest.splitlines()[1:] if line.strip()]
    text = re.sub(r"\n(?!primitive|group)", " ", "\n".join(lines))
    plan = command("plan", "--elsewhere", "--description", description).output

    assert first.startswith("1. Validate what was given")
    script, planned = loaded(tmp_path / "one", f"{text}\n"), loaded(tmp_path / "two", plan)
    assert ["primitive"] * (faces + 1) == [one.tag for one in planned.iter("primitive")]
    # The plan also writes parameters that have their defaults; a script leaves them out.
    assert [f'~ p_{agent} param config: /etc/{agent.partition("-")[0]}/'] == [
        line[:len(f'~ p_{agent} param config: /etc/{agent.partition("-")[0]}/')]
        for line in difference(script, planned).splitlines()]


def refusals(folder: Path, agent: str, **given: str) -> tuple[int, list[str]]:
    """The exit code, and id and place of each finding about a script's input."""
    state = folder / "script.input"
    state.write_text(json.dumps([{"id": f"p_{agent}", **given, "dry_run": False, "nodes": []}]))
    cib = folder / "cib.xml"
    if not cib.exists():
        cib.write_text(EMPTY)
    done = command("check", "--crm-script", agent, state, CIB_file=str(cib))
    assert "" == done.output
    assert "hunter2" not in done.said
    return done.code, [" ".join(line.split(":")[0].split()[1:]) for line in done.said.splitlines()
                       if not line.startswith(" ")]


def test_what_a_script_was_given(tmp_path: Path) -> None:
    """A wrong address, a readable password, a wrong parameter, and an id in use are found."""
    config = tmp_path / "some.conf"
    config.write_text("")
    vip = {"vip": "198.51.100.7", "config": str(config), "user": "root", "binary": "/bin/true"}

    assert (1, ["V2 glance-api/vip"]) == refusals(tmp_path, "glance-api", **vip)
    assert ["I6 glance-api"] == refusals(
        tmp_path, "glance-api", **vip, allow_anonymous="perhaps")[1][1:]
    user = {"os_username": "monitor", "os_project_name": "service", "os_auth_url": "http://k:5000"}
    assert ["I5 glance-api/os_password"] == refusals(
        tmp_path, "glance-api", **vip, **user, os_password="hunter2")[1][1:]
    assert ["I5 glance-api/os_password"] == refusals(
        tmp_path, "glance-api", **vip, **user, os_password="lrm://")[1][1:]
    assert (1, ["V1 glance-api/vip"]) == refusals(tmp_path, "glance-api", vip="none")
    loaded(tmp_path, "primitive p_glance-api ocf:heartbeat:Dummy\n")
    assert ["I4 glance-api/id"] == refusals(tmp_path, "glance-api", **vip)[1][1:]


@pytest.mark.parametrize(("agent", "content"), [
    ("glance-api", b""), ("glance-api", b"[]"), ("glance-api", b"{}"), ("glance-api", b"\xff"),
    ("glance-apy", b"[{}]"), ("glance-api", b'[{"vip": "1.2.3.4\\n[x]"}]')])
def test_what_no_script_gives(tmp_path: Path, agent: str, content: bytes) -> None:
    """Input that crmsh does not write is refused in one line."""
    (tmp_path / "script.input").write_bytes(content)
    done = command("check", "--crm-script", agent, tmp_path / "script.input")

    assert (2, "", 1) == (done.code, done.output, done.said.count("\n"))
