"""A plan merged into a CIB: resources there keep their ids, their order and unplanned settings."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from openstack_ocf import cib, description
from openstack_ocf.difference import difference
from openstack_ocf.errors import RefusedError
from openstack_ocf.merge import merge
from openstack_ocf.openrc import Credentials
from openstack_ocf.plan import plan
from tool.kit import primitive, there

USER = {"os_username": "monitor", "os_project_name": "service",
        "os_auth_url": "http://10.0.0.11:5000/v3"}


def planned(folder: Path, text: str, user: dict[str, str] | None = None) -> Element:
    """The plan of a description."""
    path = folder / "d.conf"
    path.write_text(text)
    return plan(description.read(str(path)), Credentials("", user or {})).cib


def vip(name: str, address: str) -> str:
    return primitive(name, "ocf:heartbeat:IPaddr2", f"ip={address} cidr_netmask=24")


def glance(name: str = "p_glance-api", parameters: str = "", more: str = "") -> str:
    return primitive(name, "ocf:openstack:glance-api",
                     f"config=/etc/glance/glance-api.conf {parameters}", more)


def test_names_that_begin_alike(tmp_path: Path) -> None:
    """heat-api-cfn is not renamed with heat-api, nor is a value that equals the name."""
    old = there("".join(
        f'<group id="g{number}">{vip(f"v{number}", address)}'
        f'{primitive(f"r{number}", f"ocf:openstack:{agent}")}</group>'
        for number, agent, address in (
            (1, "heat-api", "10.0.0.1"), (2, "heat-api-cfn", "10.0.0.2"))))
    text = "[heat-api]\nvip = 10.0.0.1\n[heat-api-cfn]\nvip = 10.0.0.2\n"
    assert [] == [line for line in lines(planned(tmp_path, text), old) if line[0] != "~"]

    old = there(primitive("p_glance-api", "ocf:openstack:glance-api"))
    new = merge(planned(tmp_path, "[glance]\nid = glance-api\nvip = 10.0.0.1\n"), old)
    assert ["glance-api"] == [one.get("type") for one in cib.resources(new)
                              if one.get("provider") == "openstack"]


def lines(plan: Element, old: Element) -> list[str]:
    """The changes of a merge; a second merge must change nothing."""
    new = merge(plan, old)
    assert cib.canonical(new) == cib.canonical(merge(plan, new))
    ids = [one.get("id") for one in new.iterfind("configuration//*[@id]")]
    assert len(ids) == len(set(ids))
    return difference(new, old).splitlines()


GLANCE = "[glance]\nvip = 10.0.0.12\n"


def test_the_guide(tmp_path: Path) -> None:
    """Primitives without a group are put into one, with their ids and parameters."""
    old = there(vip("vip", "10.0.0.12") + glance(
        parameters="os_password=x os_username=monitor os_tenant_name=service "
        "os_auth_url=http://10.0.0.11:5000/v2.0/"))
    found = lines(planned(tmp_path, GLANCE, USER), old)

    assert "+ g_glance-api (group)" in found
    assert "~ vip in: none -> g_glance-api" in found
    assert "~ p_glance-api in: none -> g_glance-api" in found
    assert ["~ p_glance-api param os_password: (a secret) -> lrm://"] == [
        line for line in found if " param " in line]
    assert not [line for line in found if line.startswith("-")]


def test_the_same_as_an_older_parameter(tmp_path: Path) -> None:
    """A URL under its older name counts; a URL of another server is changed."""
    for url, expected in (("http://10.0.0.11:5000/v2.0/tokens", 0), ("http://10.9.9.9:5000/", 1)):
        old = there(glance(parameters=f"keystone_get_token_url={url}"))
        found = lines(planned(tmp_path, GLANCE, USER), old)
        assert expected == len([line for line in found if "param os_auth_url" in line])


def test_the_names_of_others(tmp_path: Path) -> None:
    """Address, service and group keep the ids that the charm gave them."""
    old = there(f'<group id="grp_glance_vips">{vip("res_glance_vip", "10.0.0.12")}'
                f'{glance("res_glance")}</group>')
    found = lines(planned(tmp_path, GLANCE), old)

    assert not [line for line in found if line[0] in "+-" or " in: " in line]
    assert not [line for line in found if "p_glance" in line or "p_ip_" in line]


def test_an_address_that_changes_keeps_its_id(tmp_path: Path) -> None:
    """A group's address that is no longer planned is changed to the new one, also in comments."""
    comment = "<!--# bind_host is the virtual IP, 10.0.0.99.-->"
    old = there(f'<group id="g">{vip("v", "10.0.0.99")}{glance(more=comment)}</group>')
    found = lines(planned(tmp_path, GLANCE), old)

    assert "~ v param ip: 10.0.0.99 -> 10.0.0.12" in found
    assert not [line for line in found if line[0] in "+-"]
    assert "# bind_host is the virtual IP, 10.0.0.12." in cib.canonical(
        merge(planned(tmp_path, GLANCE), old))


def test_two_addresses_that_change_places(tmp_path: Path) -> None:
    """Two addresses that change places keep their ids."""
    old = merge(planned(tmp_path, "[glance]\nvip = 10.0.0.12 10.0.0.13\n"), there(""))
    found = lines(planned(tmp_path, "[glance]\nvip = 10.0.0.13 10.0.0.12\n"), old)

    assert not [line for line in found if " param " in line or line[0] in "+-"]


def test_a_member_of_others_stays_where_it_is(tmp_path: Path) -> None:
    """A second address comes before the service; foreign members of the group keep their places."""
    dummy = primitive("d", "ocf:heartbeat:Dummy")
    old = there(f'<group id="g_glance-api">{dummy}{vip("p_ip_glance-api", "10.0.0.12")}{glance()}'
                "</group>")
    found = lines(planned(tmp_path, "[glance]\nvip = 10.0.0.12 10.0.0.13\n"), old)

    assert ("~ g_glance-api members: d p_ip_glance-api p_glance-api -> "
            "d p_ip_glance-api p_ip_public_glance-api p_glance-api") in found


def test_a_service_left_of_its_address(tmp_path: Path) -> None:
    """The order of a group becomes that of the plan."""
    old = there(f'<group id="g_glance-api">{glance()}{vip("p_ip_glance-api", "10.0.0.12")}</group>')

    assert ("~ g_glance-api members: p_glance-api p_ip_glance-api -> p_ip_glance-api p_glance-api"
            ) in lines(planned(tmp_path, GLANCE), old)


def test_one_group_of_all(tmp_path: Path) -> None:
    """Two services that share a group with their addresses stay in it."""
    cinder = primitive("p_cinder-api", "ocf:openstack:cinder-api")
    old = there(f'<group id="all">{vip("a", "10.0.0.12")}{glance()}{vip("b", "10.0.0.13")}{cinder}'
                "</group>")
    found = lines(planned(tmp_path, f"{GLANCE}[cinder]\nvip = 10.0.0.13\n"), old)

    assert not [line for line in found if line[0] in "+-" or "members" in line]


def test_operations(tmp_path: Path) -> None:
    """Planned operations get the plan's values; their other settings and other operations stay."""
    ops = ('<operations><op id="m" name="monitor" interval="30" timeout="20" on-fail="restart"/>'
           '<op id="m2" name="monitor" interval="60s"/><op id="r" name="reload" interval="0"/>'
           "</operations>")
    old = there(f'<group id="g_glance-api">{vip("p_ip_glance-api", "10.0.0.12")}{glance(more=ops)}'
                "</group>")
    new = merge(planned(tmp_path, GLANCE), old)
    found = {one.get("id"): one for one in new.iterfind(".//primitive[@id='p_glance-api']//op")}

    assert ("30", "30s", "restart", "10") == (
        found["m"].get("interval"), found["m"].get("timeout"), found["m"].get("on-fail"),
        cib.level(found["m"]))
    assert "m2" not in found
    assert {"r", "p_glance-api-start-0", "p_glance-api-monitor-10s"} <= {*found}
    assert lines(planned(tmp_path, GLANCE), old)


def test_values_that_a_rule_chooses_stay(tmp_path: Path) -> None:
    """A parameter with a value for each node stays as it is; so does an unplanned one."""
    ruled = ('<instance_attributes id="r" score="2"><rule id="rr" score="0"><expression id="re" '
             'attribute="#uname" operation="eq" value="node1"/></rule><nvpair id="rc" '
             'name="config" value="/etc/other.conf"/></instance_attributes>'
             '<meta_attributes id="m"><nvpair id="mf" name="failure-timeout" value="3min"/>'
             '<nvpair id="mp" name="priority" value="7"/></meta_attributes>')
    old = there(primitive("p_glance-api", "ocf:openstack:glance-api", "log_file=/x", ruled))
    found = [line for line in lines(planned(tmp_path, GLANCE), old) if "~ p_glance-api" in line]

    assert not [line for line in found if "param" in line or "failure-timeout" in line
                or "priority" in line]
    assert "~ p_glance-api meta migration-threshold: none -> 3" in found


def test_a_template(tmp_path: Path) -> None:
    """A resource made of a template keeps the template and its settings."""
    old = there('<template id="t" class="ocf" provider="openstack" type="glance-api">'
                '<meta_attributes id="tm"><nvpair id="tmm" name="migration-threshold" value="3"/>'
                '</meta_attributes></template><primitive id="p_glance-api" template="t"/>')
    new = merge(planned(tmp_path, GLANCE), old)
    found = new.find(".//primitive[@id='p_glance-api']")

    assert found is not None
    assert {"id": "p_glance-api", "template": "t"} == found.attrib
    assert ["failure-timeout"] == [
        pair.get("name") for pair in found.iterfind("meta_attributes/nvpair")]


def test_constraints(tmp_path: Path) -> None:
    """A constraint with the same meaning under another id is not added again."""
    text = ("[glance]\nshared_vip_group = c\nvip = 10.0.0.12\n"
            "[cinder]\nshared_vip_group = c\n")
    old = there(vip("p_ip_c", "10.0.0.12") + glance(),
                '<rsc_colocation id="theirs" rsc="p_glance-api" with-rsc="p_ip_c" score="500"/>')
    found = [line for line in lines(planned(tmp_path, text), old) if "(rsc_" in line]

    assert ["+ o_glance-api (rsc_order)", "+ c_cinder-api (rsc_colocation)",
            "+ o_cinder-api (rsc_order)"] == found


def test_a_clone_keeps_its_id(tmp_path: Path) -> None:
    """A clone is recognised by its member, and keeps its id."""
    heat = primitive("h", "ocf:openstack:heat-engine")
    old = there(f'<clone id="h-clone">{heat}</clone>')
    found = lines(planned(tmp_path, "[heat-engine]\n"), old)

    assert "~ h-clone meta interleave: none -> true" in found
    assert not [line for line in found if line[0] in "+-"]


@pytest.mark.parametrize(("resources", "said"), [
    ('<clone id="g_glance-api"><primitive id="x" class="ocf" provider="heartbeat" type="Dummy"/>'
     "</clone>", "the CIB has a clone g_glance-api"),
    (f'<bundle id="b"><docker id="bd" image="i"/>{glance()}</bundle>', "stands in the bundle b"),
])
def test_what_cannot_be_merged(tmp_path: Path, resources: str, said: str) -> None:
    """A foreign element with an id of the plan, and a bundle, are refused with their ids."""
    with pytest.raises(RefusedError, match=said):
        merge(planned(tmp_path, GLANCE), there(resources))
