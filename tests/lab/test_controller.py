"""The lab of a whole controller, without running it: its description, its command.

Tests that run it are in tests/cluster.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

from lab import controller
from lab.openstack import ControlPlane

ROOT = Path(__file__).parents[2]


def lab(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line, with the system's Python."""
    command = ["/usr/bin/python3", "-B", "-m", "lab.controller", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def planned(folder: Path, layout: str) -> ElementTree.Element:
    """What openstack-ocf plans for a controller of two nodes."""
    cloud = ControlPlane(folder, **controller.plane("none"))
    openrc = folder / "openrc-monitor"
    openrc.write_text(
        "OS_USERNAME=u\nOS_PASSWORD=p\nOS_PROJECT_NAME=s\nOS_AUTH_URL=http://10.99.0.110:5000/v3\n"
    )
    text = folder / "d.conf"
    text.write_text(controller.described(cloud, ["node1", "node2"], layout))
    command = ["/usr/bin/python3", "-B", "-m", "openstack_ocf", "plan", "--elsewhere", "--as"]
    done = subprocess.run(
        [*command, "xml", "--description", text], cwd=ROOT, capture_output=True, text=True
    )

    assert (0, "") == (done.returncode, done.stderr)
    return ElementTree.fromstring(done.stdout)


def mandatory(plan: ElementTree.Element) -> list[tuple[str | None, str | None]]:
    """The orders by which a restart of the first restarts the other one as well."""
    return [(one.get("first"), one.get("then")) for one in plan.iter("rsc_order")
            if one.get("kind") == "Mandatory"]


def test_one_description_makes_all_of_it(folder: Path) -> None:
    """All daemons are planned; a group has an address and its server; no other order is mandatory.

    A service has to be after its address only: a restart of the database restarts no other.
    """
    plan = planned(folder, controller.PASSIVE)
    primitives = {one.get("id") for one in plan.iter("primitive")}
    wanted = {f"p_{name}" for name in ("mariadb", "rabbitmq", *controller.PARTS)}
    addresses = {"p_ip_mariadb", "p_ip_rabbitmq", "p_ip_controller"}
    assert wanted | addresses == primitives
    groups = [[one.get("id") for one in group] for group in plan.iter("group")]
    assert [["p_ip_mariadb", "p_mariadb"], ["p_ip_rabbitmq", "p_rabbitmq"]] == [
        [name for name in group if name] for group in groups
    ]
    assert {"p_ip_controller"} == {first for first, _ in mandatory(plan)}
    assert {"p_ip_controller"} == {one.get("with-rsc") for one in plan.iter("rsc_colocation")}


def test_the_other_layout(folder: Path) -> None:
    """Every API is a clone, and only haproxy is tied to the address that they share."""
    plan = planned(folder, controller.ACTIVE)

    cloned = {one.get("id") for clone in plan.iter("clone") for one in clone.iter("primitive")}
    assert {f"p_{name}" for name in controller.PARTS} - cloned == {"p_cinder-volume"}
    assert [("p_haproxy", "p_ip_controller")] == [
        (one.get("rsc"), one.get("with-rsc")) for one in plan.iter("rsc_colocation")
    ]
    assert [("p_ip_controller", "p_haproxy")] == mandatory(plan)


def test_a_layout_stays(folder: Path) -> None:
    """A controller that was made in one layout is not brought up in the other."""
    place = folder / "c"
    (place / "openstack").mkdir(parents=True)
    (place / "openstack" / "openstack-ocf.conf").write_text("[DEFAULT]\nmode = active-active\n")

    done = lab("up", "--dir", place, "--layout", "active-passive")

    assert 1 == done.returncode
    assert f"the controller in {place} is active-active; take it down first" in done.stderr


def test_nothing_there(folder: Path) -> None:
    """Without a controller status is 3, as for a daemon that does not run; down is 0."""
    status, down = lab("status", "--dir", folder / "c"), lab("down", "--dir", folder / "c")

    said = f"There is no controller in {folder / 'c'}.\n"
    assert (3, said) == (status.returncode, status.stdout)
    assert (0, "There is no controller to take down.\n") == (down.returncode, down.stdout)


def test_half_made(folder: Path) -> None:
    """A controller whose `up` was killed early is removed like a complete one."""
    place = folder / "c"
    (place / "openstack" / "db").mkdir(parents=True)
    (place / "cluster").mkdir()

    status, down = lab("status", "--dir", place), lab("down", "--dir", place)

    assert 3 == status.returncode
    assert (0, "") == (down.returncode, down.stderr)
    assert not place.exists()
