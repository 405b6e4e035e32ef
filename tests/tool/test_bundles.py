"""A CIB with bundles, as TripleO's: they stay as they are, and a plan counts on their haproxy."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from openstack_ocf import cib, configs, description
from openstack_ocf.difference import difference
from openstack_ocf.errors import RefusedError
from openstack_ocf.init import draft
from openstack_ocf.leaving import removed
from openstack_ocf.lint import lint
from openstack_ocf.listening import behind_haproxy
from openstack_ocf.merge import merge
from openstack_ocf.openrc import Credentials
from openstack_ocf.plan import Plan, plan
from openstack_ocf.subject import described
from openstack_ocf.takeover import STAYS, takeover
from tool import tripleo
from tool.kit import command, found, primitive
from tool.test_ties import PARALLEL, order, together

APIS = "".join(
    f'<clone id="cl_{name}"><meta_attributes id="cl_{name}-m"><nvpair id="cl_{name}-i" '
    f'name="interleave" value="true"/></meta_attributes>'
    f'{primitive(f"p_{name}", f"ocf:openstack:{name}")}</clone>'
    for name in ("keystone", "glance-api"))
NODES = " ".join(f"{name}=172.16.2.2{number}" for number, name in enumerate(tripleo.NODES))
IDS = [f"ip-{one}" for one in tripleo.VIPS]
SETS = order('kind="Optional"', (PARALLEL, " ".join(IDS)), ("", "haproxy-bundle")) + together(
    'score="INFINITY"', (PARALLEL, " ".join(IDS)), ("", "haproxy-bundle"))


def parsed(text: str) -> Element:
    return ElementTree.fromstring(text)


def said(text: str) -> str:
    """A description's comments as they would be without line breaks."""
    return " ".join(text.replace("\n# ", " ").split())


def planned(folder: Path, text: str) -> Plan:
    """The plan of a description in which each node has its address; it has no finding."""
    path = folder / "d.conf"
    if "\naddresses" not in text:
        text = text.replace("[haproxy]\n", f"[haproxy]\naddresses = {NODES}\n")
    assert [] == found(path, text)
    return plan(description.read(str(path)), Credentials("", {}))


def theirs(root: Element) -> list[str]:
    """What is TripleO's: bundles, addresses and constraints."""
    return [cib.plain(one) for one in root.iterfind("configuration/*/*")
            if one.tag == "bundle" or one.get("id") in IDS or str(one.tag).startswith("rsc_")]


def test_bundles_are_left_alone() -> None:
    """init names each bundle with what it runs, and says how haproxy and its addresses are told."""
    text = draft(parsed(tripleo.cib()), "it", here=False).text()

    assert (f"{IDS[0]} ({tripleo.VIPS[0]}), {IDS[1]} ({tripleo.VIPS[1]}): virtual IPs of "
            "haproxy-bundle, a haproxy with no service here behind it, as TripleO names them."
            ) in said(text)
    assert (f"it is [haproxy] with vip = {' '.join(tripleo.VIPS)}, vip_id = {' '.join(IDS)}, "
            "agent = bundle and id = haproxy-bundle;") in said(text)
    assert "galera-bundle (a bundle with galera, ocf:heartbeat:galera)" in said(text)
    assert "openstack-cinder-volume (a bundle)" in said(text)
    assert ["[DEFAULT]"] == [line for line in text.splitlines() if line.startswith("[")]


@pytest.mark.parametrize("ties", [None, SETS], ids=["pairs", "sets"])
def test_services_behind_a_bundle(tmp_path: Path, ties: str | None) -> None:
    """APIs before which haproxy runs in a bundle: the plan touches nothing of TripleO's.

    Put into the CIB it leads to the same description, and that to the same plan.
    """
    root = parsed(tripleo.cib(APIS, ties))
    text = draft(root, "it", here=False).text()

    assert (f"vip = {' '.join(tripleo.VIPS)}\nvip_id = {' '.join(IDS)}\nvip_cidr = 32\n"
            f"id = haproxy-bundle\nagent = bundle\nconfig = {configs.HAPROXY[1]}\n") in text
    assert 3 == text.count(f"shared_vip_group = {IDS[0]}\n")
    assert "The plan leaves the bundle as it is" in said(text)
    first = planned(tmp_path, text)
    new = merge(first.cib, root)
    assert theirs(root) == theirs(new)
    assert not [line for line in difference(new, root).splitlines()
                if not line.startswith(("~ p_keystone ", "~ p_glance-api "))]
    again = planned(tmp_path, draft(new, "it", here=False).text())
    assert cib.canonical(first.cib) == cib.canonical(again.cib)
    assert cib.canonical(new) == cib.canonical(merge(again.cib, new))


def test_an_address_that_nothing_ties_to_a_bundle(tmp_path: Path) -> None:
    """L21 finds an address that may be where no haproxy is; the plan adds that tie alone."""
    alone = tripleo.constraints().replace(
        f'<rsc_colocation id="colocation-{IDS[1]}-haproxy-bundle-INFINITY" rsc="{IDS[1]}" '
        'with-rsc="haproxy-bundle" score="INFINITY"/>', "")
    root = parsed(tripleo.cib(APIS, alone))
    text = draft(parsed(tripleo.cib(APIS)), "it", here=False).text()

    for ties, lines in ((None, []), (SETS, []), (alone, [IDS[1]])):
        assert lines == [one.where for one in lint(parsed(tripleo.cib(ties=ties)))
                         if one.id == "L21"]
    assert [f"+ c_{IDS[1]} (rsc_colocation)"] == [
        line for line in difference(merge(planned(tmp_path, text).cib, root), root).splitlines()
        if not line.startswith(("~ p_keystone ", "~ p_glance-api "))]


def test_what_the_containers_haproxy_has(tmp_path: Path) -> None:
    """On a node the configuration of the container says what is behind it, where, at which VIPs."""
    config = tmp_path / "haproxy.cfg"
    servers = "".join(f"  server {one.replace('=', '.internalapi.example.org ')}:5000 check\n"
                      for one in NODES.split())
    config.write_text(f"listen keystone_public\n  bind {tripleo.VIPS[1]}:13000 ssl crt /a.pem\n"
                      f"  bind {tripleo.VIPS[0]}:5000 transparent\n{servers}"
                      "listen redis\n  bind 172.16.2.9:6379 transparent\n")
    redis = ('<rsc_colocation id="r" score="INFINITY" rsc="ip-172.16.2.9" '
             'with-rsc="haproxy-bundle"/>')
    text = tripleo.cib(tripleo.vip("172.16.2.9"), tripleo.constraints() + redis)
    for usual, here in (("/var/lib/config-data/puppet-generated/haproxy/", str(tmp_path)),
                          ("/var/lib/kolla/config_files/src", "/etc/haproxy")):
        text = text.replace(usual, here, 1)
    made = draft(parsed(text), "it", here=True).text()

    assert f"config = {config}\naddresses = {NODES}\n" in made
    assert f"[keystone]\nshared_vip_group = {IDS[0]}\nmode = active-active\n" in made
    assert "as Juju's charms and TripleO have it" in said(made)
    assert f"\nvip = {' '.join(tripleo.VIPS)}\n" in made
    assert "ip-172.16.2.9 (172.16.2.9): a virtual IP that no service here is tied to" in said(made)
    assert "[glance]" not in made
    # Where the port is missing, the remedy does not write over TripleO's file.
    services = planned(tmp_path, made + f"[placement]\nshared_vip_group = {IDS[0]}\n"
                       "mode = active-active\n")
    assert services.notes[-2].startswith("haproxy runs in the bundle haproxy-bundle")
    subjects = described(description.read(str(tmp_path / "d.conf")), None, own=False)
    assert {("B4", "Add it where the configuration of the containers is made.")} == {
        (one.id, one.remedy) for subject in subjects for one in behind_haproxy(subject)}


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    """A plan that counts on a bundle is not put into a CIB without it."""
    text = draft(parsed(tripleo.cib(APIS)), "it", here=False).text()
    root = parsed(tripleo.cib(APIS, ""))
    resources = cib.section(root, "resources")
    resources.remove(next(one for one in resources if one.get("id") == "haproxy-bundle"))

    with pytest.raises(RefusedError, match="the CIB has no haproxy-bundle, which the plan counts"):
        merge(planned(tmp_path, text).cib, root)


def test_a_bundle_is_no_clone(tmp_path: Path) -> None:
    """V10: `clone` has no effect where haproxy is a bundle."""
    findings = found(tmp_path / "d.conf", f"""\
[haproxy]
vip = 10.0.0.12
agent = bundle
clone = haproxy-clone
addresses = {NODES}
shared_vip_group = x
[glance]
mode = active-active
shared_vip_group = x
""")

    assert [("V10", "Name the bundle by id.")] == [(one.id, one.remedy) for one in findings]


def test_takeover_of_bundles() -> None:
    """Of each bundle, with an agent in it or without, it is said that it stays, and why."""
    rows = {one.resource: one for one in takeover(parsed(tripleo.cib()))}

    assert {STAYS} == {one.becomes for one in rows.values()}
    assert "of galera-bundle, which has no agent of ours" in rows["galera"].why[0]
    assert ["It runs in containers, by no agent."] == rows["haproxy-bundle"].why
    assert "ocf:openstack:cinder-volume on the node itself" in (
        rows["openstack-cinder-volume"].why[-1])


def test_an_agent_of_ours_in_a_bundle(tmp_path: Path) -> None:
    """A resource of our type in a container is none of a description's; a plan makes its own."""
    inside = tripleo.bundle("glance-bundle", "glance", primitive("x", "ocf:openstack:glance-api"))
    root = parsed(tripleo.cib(inside))
    text = draft(root, "it", here=False).text()
    lines = difference(merge(planned(tmp_path, "[glance]\nvip = 172.16.2.9\n").cib, root), root)

    assert "glance-bundle (a bundle with x, ocf:openstack:glance-api)" in said(text)
    assert "\n[glance]" not in text
    assert "L8" not in [one.id for one in lint(root)]
    assert "+ p_glance-api (ocf:openstack:glance-api)" in lines
    assert not [line for line in lines.splitlines() if line.startswith("~")]


def test_an_address_of_a_bundle_stays(tmp_path: Path) -> None:
    """An address of a bundle's haproxy does not go with the last of our services at it."""
    root = parsed(tripleo.cib(
        primitive("p_cinder-api", "ocf:openstack:cinder-api"), tripleo.constraints()
        + f'<rsc_colocation id="c" score="INFINITY" rsc="p_cinder-api" with-rsc="{IDS[0]}"/>'))

    assert ["p_cinder-api"] == removed(
        planned(tmp_path, "[glance]\nvip = 172.16.2.9\n").cib, root, ["all"])


def test_apply_beside_bundles(tmp_path: Path) -> None:
    """apply foretells and makes the change beside bundles; once more there is nothing to do."""
    path, live = tmp_path / "d.conf", tripleo.write(tmp_path / "cib.xml", tripleo.cib(APIS))
    planned(tmp_path, draft(parsed(tripleo.cib(APIS)), "it", here=False).text())
    before = theirs(cib.load(str(live)))
    words: list[str | Path] = ["apply", "--elsewhere", "--description", path, "--yes", "--saved",
                               tmp_path / "saved"]
    done = command(*words, CIB_file=str(live))

    assert (0, "") == (done.code, done.said)
    foretold = done.output.partition("What follows:")[2].partition("\n\n")[0]
    assert "\n  Nothing starts, stops or moves." == foretold
    assert before == theirs(cib.load(str(live)))
    assert "Nothing to do" in command(*words, CIB_file=str(live)).output
