"""V4: whether a host has a virtual IP already, in two network namespaces and a wire between."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tool.kit import EMPTY, Ended, as_nobody, command, loaded

OTHERS = """
unshare --net sleep 3600 & other=$!
trap 'kill $other' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
inside() { nsenter --target $other --net "$@"; }
ip link add eth9 type veth peer name eth8
ip link set eth8 netns $other
ip addr add 10.9.0.1/24 dev eth9
ip addr add fd00:9::1/64 dev eth9 nodad
ip link set eth9 up
for address in 10.9.0.7/24 10.9.0.9/24 10.9.0.10/24; do inside ip addr add $address dev eth8; done
inside ip addr add fd00:9::7/64 dev eth8 nodad
inside ip link set eth8 up
ip addr add 10.9.0.10/24 dev eth9
"$@"
"""
"""Makes a host with the addresses that end in 7, 9 and 10, beside a node that runs the check.

The node itself has the last address, too.
"""


def rows(folder: Path, cib: str, run: Callable[..., Ended] = command) -> list[tuple[str, str, str]]:
    """Severity, section and address of each V4; cib: as CIB_file; empty for no cluster."""
    path = folder / "d.conf"
    path.write_text("".join(
        f"[{section}]\nconfig = /nonexistent\nvip = {address}\n" for section, address in (
            ("heat", "10.9.0.7"), ("nova", "10.9.0.8"), ("neutron", "10.9.0.9"),
            ("placement", "fd00:9::7"), ("manila", "fd00:9::8"), ("magnum", "10.9.0.10"))))
    path.chmod(0o644)
    done = run("check", "--format", "json", "--description", path,
               prefix=["unshare", "--net", "sh", "-ec", OTHERS, "sh"],
               PATH="/usr/sbin:/usr/bin:/sbin:/bin", **({"CIB_file": cib} if cib else {}))
    assert done.output, done.said
    return [(one["severity"], one["where"].split(":")[1].split("/")[0], one["seen"].split()[0])
            for one in json.loads(done.output) if one["id"] == "V4"]


def test_somebody_answers(tmp_path: Path) -> None:
    """An address that answers ARP or ping, and is no resource of the cluster, is an error."""
    loaded(tmp_path, "primitive p_ip ocf:heartbeat:IPaddr2 params ip=10.9.0.9 "
           "op monitor interval=10s\n")

    assert [("error", "heat", "10.9.0.7"), ("error", "placement", "fd00:9::7")] == rows(
        tmp_path, str(tmp_path / "cib.xml"))


def test_two_clusters_have_one_address(tmp_path: Path) -> None:
    """An address of a resource on this node is an error if another host has it as well."""
    loaded(tmp_path, "".join(
        f"primitive p{last} ocf:heartbeat:IPaddr2 params ip=10.9.0.{last} op monitor interval=10s\n"
        for last in (7, 8, 9, 10)))

    assert [("error", "placement", "fd00:9::7"), ("error", "magnum", "10.9.0.10")] == rows(
        tmp_path, str(tmp_path / "cib.xml"))


def test_nobody_knows_whose_it_is(tmp_path: Path) -> None:
    """Without a cluster, an address that answers is unknown: it may be the cluster's own."""
    assert {"10.9.0.7", "10.9.0.9", "fd00:9::7"} == {
        address for severity, _, address in rows(tmp_path, "") if severity == "unknown"}


def test_without_root(folder: Path) -> None:
    """A user who may not use ARP gets the same findings by ping."""
    cib = folder / "cib.xml"
    cib.write_text(EMPTY)
    cib.chmod(0o644)

    assert ["10.9.0.7", "10.9.0.9", "fd00:9::7"] == [
        address for _, _, address in rows(folder, str(cib), partial(as_nobody, folder))]
