"""Colocations and orders: sets count as the pairs that Pacemaker makes of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from openstack_ocf import cib, description
from openstack_ocf.configured import configured
from openstack_ocf.difference import difference
from openstack_ocf.init import draft
from openstack_ocf.leaving import removed, without
from openstack_ocf.lint import lint
from openstack_ocf.merge import merge
from openstack_ocf.openrc import Credentials
from openstack_ocf.plan import plan
from openstack_ocf.ties import ties
from tool.kit import loaded, primitive, there

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
STATE = ('<node_state id="1" uname="n" in_ccm="true" crmd="online" join="member" '
         'expected="member"><lrm id="1"><lrm_resources/></lrm></node_state>')
PARALLEL = 'sequential="false"'


def constraint(kind: str, attributes: str, *sets: tuple[str, str], name: str = "k") -> str:
    """A constraint of sets; each: its attributes, and its resources."""
    inner = "".join(
        f'<resource_set id="{name}-{number}" {said}>'
        + "".join(f'<resource_ref id="{one}"/>' for one in names.split()) + "</resource_set>"
        for number, (said, names) in enumerate(sets))
    return f'<{kind} id="{name}" {attributes}>{inner}</{kind}>'


def order(attributes: str, *sets: tuple[str, str], name: str = "o") -> str:
    return constraint("rsc_order", attributes, *sets, name=name)


def together(attributes: str, *sets: tuple[str, str], name: str = "t") -> str:
    return constraint("rsc_colocation", attributes, *sets, name=name)


def dummies(constraints: str, more: str = "") -> str:
    """A CIB of six resources and a node, as text. more: of the configuration."""
    found = there("".join(primitive(name, "ocf:pacemaker:Dummy") for name in "abcdef"), constraints)
    found.attrib.update({"have-quorum": "1", "dc-uuid": "1"})
    text = ElementTree.tostring(found, encoding="unicode")
    return text.replace("<nodes />", '<nodes><node id="1" uname="n"/></nodes>').replace(
        "<status />", f"<status>{STATE}</status>").replace(
        "<crm_config />", '<crm_config><cluster_property_set id="p"><nvpair id="s" '
        'name="stonith-enabled" value="false"/></cluster_property_set></crm_config>').replace(
        "</constraints>", f"</constraints>{more}")


ORDERS = [
    order("", ("", "a b c"), ("", "d e")),
    order("", ('sequential="true"', "a b"), ('sequential="true"', "c d")),
    order('kind="Optional"', (PARALLEL, "a b"), ('kind="Mandatory"', "c d")),
    order("", (f'{PARALLEL} require-all="false"', "a b"), ("", "c")),
    order('score="0"', (PARALLEL, "a b")),
    order("", ('action="stop"', "a b"), ('action="stop" sequential="true"', "c d")),
    order('symmetrical="false"', ('action="stop"', "a b c")),
    '<rsc_order id="k" first="a" then="b" first-action="stop"/>',
    '<rsc_order id="k" first="a" then="T"/>',
]
COLOCATIONS = [
    together('score="INFINITY"', ("", "a b c"), ("", "d e")),
    together('score="INFINITY"', (PARALLEL, "a b"), (PARALLEL, "c d"), ("", "e f")),
    together('score="-INFINITY"', ("", "a b"), ('score="5"', "c d")),
    together('score="7"', ("", "a b"), ('score="0"', "c d")),
    together("", ("", "a b"), ("", "c")),
    together('score="INFINITY"', ('ordering="listed"', "a b c")),
    together('score="INFINITY"', (PARALLEL, "a b")),
    '<rsc_colocation id="k" score="+100" rsc="a" with-rsc="T"/>',
    together('score="INFINITY"', ("", "a T")),
]
TAG = '<tags><tag id="T"><obj_ref id="b"/><obj_ref id="c"/></tag></tags>'


@pytest.mark.parametrize("text", ORDERS, ids=range(len(ORDERS)))
def test_orders_as_pacemaker_has_them(tmp_path: Path, text: str) -> None:
    """What starts after what is what crm_simulate orders, whatever the sets say."""
    whole = dummies(text, TAG)
    graph = tmp_path / "graph"
    subprocess.run(["crm_simulate", "--simulate", "--quiet", "--xml-pipe", "--save-dotfile", graph],
                   input=whole, text=True, check=True, capture_output=True, env={"PATH": PATH})
    pairs = set(re.findall(r'"(\w)_start_0 n" -> "(\w)_start_0 n"', graph.read_text()))

    assert pairs == {(one.other, one.one) for one in ties(ElementTree.fromstring(whole)).after}


@pytest.mark.parametrize("text", COLOCATIONS, ids=range(len(COLOCATIONS)))
def test_colocations_as_pacemaker_has_them(tmp_path: Path, text: str) -> None:
    """What goes where another is, and whether it must, is what crm_resource shows of it."""
    file = tmp_path / "cib.xml"
    file.write_text(dummies(text, TAG))
    pairs = set()
    for name in "abcd":
        done = subprocess.run(
            ["crm_resource", "--stack", "--resource", name, "--output-as=xml"], text=True,
            check=True, capture_output=True, env={"PATH": PATH, "CIB_file": str(file)})
        pairs |= set(re.findall(r'rsc="(\w)" with-rsc="(\w)" score="(\w+)"', done.stdout))

    assert {(one, other, score == "INFINITY") for one, other, score in pairs} == {
        (tie.one, tie.other, tie.firm) for tie in ties(cib.load(str(file))).together}


def test_what_is_no_tie() -> None:
    """Neither an order that either may begin, nor another attribute than the node's name, ties."""
    found = ties(there("", (
        '<rsc_order id="o" first="a" then="b" kind="Serialize"/>'
        '<rsc_colocation id="c" rsc="a" with-rsc="b" score="INFINITY" node-attribute="rack"/>'
        '<rsc_colocation id="d" rsc="a" rsc-role="Stopped" with-rsc="b" score="INFINITY"/>')))

    assert ([], []) == (found.together, found.after)


# --- one cluster, written in several ways -------------------------------------------------------

VIPS = {"p_ip_a": "10.0.0.11", "p_ip_b": "10.0.0.12"}
RESOURCES = "".join((
    *(primitive(name, "ocf:heartbeat:IPaddr2", f"ip={address}") for name, address in VIPS.items()),
    *(primitive(f"p_{name}", f"ocf:openstack:{name}") for name in
      ("keystone", "glance-api", "cinder-api")),
))


def pair(one: str, other: str, name: str) -> str:
    """One is where the other is, and after it."""
    return (f'<rsc_colocation id="c_{name}" score="INFINITY" rsc="{one}" with-rsc="{other}"/>'
            f'<rsc_order id="o_{name}" kind="Mandatory" first="{other}" then="{one}"/>')


def twice(*sets: str) -> str:
    """Resources in the order in which they start, as orders and as colocations write sets of them.

    What is in brackets starts in any order. A chain of a colocation is one set, and what is in
    brackets is a set before that.
    """
    after: list[tuple[str, str]] = []
    beside: list[tuple[str, str]] = []
    for one in sets:
        parallel = PARALLEL if one.startswith("(") else 'sequential="true"'
        after.append((parallel, one.strip("()")))
        beside.insert(0, after[-1])
    return order("", *after, name="theirs-o") + together('score="INFINITY"', *beside,
                                                         name="theirs-c")


SAME = {
    "all at one": (
        pair("p_keystone", "p_ip_a", "keystone") + pair("p_glance-api", "p_ip_a", "glance-api")
        + pair("p_cinder-api", "p_ip_a", "cinder-api"),
        twice("p_ip_a", "(p_keystone p_glance-api p_cinder-api)")),
    "a chain": (
        pair("p_keystone", "p_ip_a", "keystone") + pair("p_glance-api", "p_keystone", "other"),
        twice("p_ip_a p_keystone p_glance-api")),
    "two addresses": (
        "".join(pair(f"p_{name}", vip, f"{name}-{vip}") for name in ("keystone", "glance-api")
                for vip in ("p_ip_a", "p_ip_b")),
        twice("(p_ip_a p_ip_b)", "(p_keystone p_glance-api)")),
    "two chains": (
        pair("p_keystone", "p_ip_a", "keystone") + pair("p_glance-api", "p_ip_b", "glance-api"),
        twice("p_ip_a p_keystone") + twice("p_ip_b", "p_glance-api").replace("theirs", "more")),
    "apart": (
        '<rsc_colocation id="c" score="-INFINITY" rsc="p_keystone" with-rsc="p_ip_a"/>'
        '<rsc_order id="o" kind="Mandatory" first="p_ip_a" then="p_keystone"/>',
        together('score="-INFINITY"', ("", "p_ip_a p_keystone"), name="c")
        + order("", ("", "p_ip_a p_keystone"), name="o")),
    "no order": (
        '<rsc_colocation id="c" score="INFINITY" rsc="p_keystone" with-rsc="p_ip_a"/>',
        together('score="INFINITY"', ("", "p_keystone"), ("", "p_ip_a"), name="c")
        + order("", (PARALLEL, "p_ip_a p_keystone"), name="o")),
    "address after it": (
        '<rsc_colocation id="c" score="INFINITY" rsc="p_ip_a" with-rsc="p_keystone"/>'
        '<rsc_order id="o" kind="Mandatory" first="p_ip_a" then="p_keystone"/>',
        together('score="INFINITY"', ("", "p_keystone p_ip_a"), name="c")
        + order("", ("", "p_ip_a p_keystone"), name="o")),
}


def planned(folder: Path, text: str) -> Element:
    """The plan of a description."""
    path = folder / "d.conf"
    path.write_text(text)
    return plan(description.read(str(path)), Credentials("", {})).cib


def added(plan: Element, root: Element) -> list[str]:
    """The constraints that a plan adds to a CIB, in which no other has been touched."""
    new = merge(plan, root)
    assert cib.canonical(new) == cib.canonical(merge(plan, new))
    kept = {cib.plain(one) for one in new.iterfind("configuration/constraints/*")}
    assert kept >= {cib.plain(one) for one in root.iterfind("configuration/constraints/*")}
    return [line for line in difference(new, root).splitlines() if "(rsc_" in line]


@pytest.mark.parametrize("case", SAME)
def test_the_same_by_pairs_and_by_sets(tmp_path: Path, case: str) -> None:
    """A cluster has one description, one plan and the same findings, however its ties are written.

    No tie is added that is there; no set is changed.
    """
    pairs, sets = (there(RESOURCES, text) for text in SAME[case])
    one, other = (draft(root, "it", here=False).text() for root in (pairs, sets))

    assert one == other
    assert [(found.id, found.where, found.seen) for found in lint(pairs)] == [
        (found.id, found.where, found.seen) for found in lint(sets)]
    assert added(planned(tmp_path, one), pairs) == added(planned(tmp_path, one), sets)
    for name in ("p_keystone", "p_glance-api"):
        assert configured(pairs, name, "n").vips == configured(sets, name, "n").vips


@pytest.mark.parametrize("case", ["all at one", "a chain", "two addresses", "two chains"])
def test_nothing_is_added_to_sets(tmp_path: Path, case: str) -> None:
    """Where sets tie services to their addresses, init finds these, and the plan adds no tie."""
    root = there(RESOURCES, SAME[case][1])
    text = draft(root, "it", here=False).text()

    assert "vip = 10.0.0.11" in text
    assert ("shared_vip_group = a\n" in text) == (case != "two chains")
    # A service and its address are a group in the plan, which ties them as well.
    assert [] == added(planned(tmp_path, text), root)
    assert not [one for one in lint(root) if one.id == "L8" and one.where != "p_cinder-api"]


def test_a_set_under_an_id_of_the_plan(tmp_path: Path) -> None:
    """A set that says something else under an id of the plan is not rewritten, but refused."""
    wanted = "[keystone]\nshared_vip_group = x\nvip = 10.0.0.11\n[glance]\nshared_vip_group = x\n"
    theirs = together('score="INFINITY"', ("", "p_cinder-api p_ip_b"), name="c_keystone")

    with pytest.raises(Exception, match="something else with the id c_keystone"):
        merge(planned(tmp_path, wanted), there(RESOURCES, theirs))


def test_what_one_of_a_set_is_enough_for(tmp_path: Path) -> None:
    """To start after any one of a set is not to start after its address: L8; the plan adds that."""
    root = there(RESOURCES, (
        '<rsc_colocation id="c" score="INFINITY" rsc="p_keystone" with-rsc="p_ip_a"/>'
        + order("", (f'{PARALLEL} require-all="false"', "p_ip_a p_ip_b"), ("", "p_keystone"))))

    assert ["it is where p_ip_a is, but not after it"] == [
        one.seen for one in lint(root) if (one.id, one.where) == ("L8", "p_keystone")]
    assert "+ o_keystone (rsc_order)" in added(planned(
        tmp_path, "[keystone]\nshared_vip_group = a\nvip = 10.0.0.11\n"
        "[glance]\nshared_vip_group = a\n"), root)


def test_a_set_that_names_nothing() -> None:
    """L16: a set with a resource that there is not is found, with the nearest name."""
    root = there(RESOURCES, order("", ("", "p_ip_a p_keystone p_glance_api")))
    [one] = [one for one in lint(root) if one.id == "L16"]

    assert ("o", "The nearest is p_glance-api.") == (one.where, one.remedy)


def test_removed_from_a_set(tmp_path: Path) -> None:
    """An address in a set goes with the last service that it is for; what is left stays a set."""
    root = there(RESOURCES, twice("p_ip_a p_keystone p_glance-api p_cinder-api"))
    keystone = planned(tmp_path, "[keystone]\nvip = 10.0.0.13\n")
    nova = planned(tmp_path, "[nova]\nvip = 10.0.0.13\n")

    assert ["p_glance-api"] == removed(keystone, root, ["p_glance-api"])
    assert ["p_keystone", "p_glance-api", "p_cinder-api", "p_ip_a"] == removed(nova, root, ["all"])
    lines = difference(without(root, ["p_glance-api"]), root).splitlines()
    assert ("~ theirs-o set 1: p_ip_a p_keystone p_glance-api p_cinder-api sequential=true -> "
            "p_ip_a p_keystone p_cinder-api sequential=true") in lines


def test_sets_of_crmsh(tmp_path: Path) -> None:
    """What an operator writes for crmsh with brackets, or in a row, is read as crmsh means it."""
    names: Iterable[str] = ("vip", "one", "two", "last")
    text = "\n".join(f"primitive {name} ocf:pacemaker:Dummy" for name in names)
    found = ties(loaded(tmp_path, f"{text}\norder o Mandatory: vip ( one two ) last\n"
                        "colocation c inf: ( one two ) vip\ncolocation d 50: vip one last\n"))

    assert {("one", "vip"), ("two", "vip"), ("last", "one"), ("last", "two")} == {
        (tie.one, tie.other) for tie in found.after}
    assert {("one", "vip", True), ("two", "vip", True), ("one", "vip", False),
            ("last", "one", False)} == {(tie.one, tie.other, tie.firm) for tie in found.together}
