"""apply and undo on a CIB in a file: Pacemaker's own tools treat it as a cluster's."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from openstack_ocf import cib, pacemaker, transition
from tool.kit import Ended, as_nobody, command

TOOLS = ("cibadmin", "crm_diff", "crm_simulate", "crm_verify", "crm_mon", "crm_resource")

# The configuration of other administrators: a rule, a template, a tag, comments, sets, a topology.
THEIRS = """\
<cib crm_feature_set="3.6.0" validate-with="pacemaker-3.0"
  admin_epoch="0" epoch="5" num_updates="3">
  <configuration>
    <crm_config>
      <cluster_property_set id="options">
        <nvpair id="options-stonith" name="stonith-enabled" value="false"/>
      </cluster_property_set>
    </crm_config>
    <nodes><node id="1" uname="node1"/><node id="2" uname="node2"/></nodes>
    <resources>
      <!--# the whole of it is ours -->
      <template id="t" class="ocf" provider="heartbeat" type="Dummy">
        <operations><op id="t-monitor" name="monitor" interval="7s"/></operations>
      </template>
      <primitive id="p_theirs" template="t">
        <!-- no hash -->
        <instance_attributes id="p_theirs-here" score="2">
          <rule id="rule" score="0"><expression id="rule-e" attribute="#uname" operation="eq"
            value="node1"/></rule>
          <nvpair id="p_theirs-here-fake" name="fake" value="a &amp; &quot;b&quot;"/>
        </instance_attributes>
      </primitive>
      <primitive id="p_fence" class="stonith" type="fence_ipmilan">
        <instance_attributes id="p_fence-instance_attributes">
          <nvpair id="p_fence-passwd" name="passwd" value="hunter2"/>
        </instance_attributes>
      </primitive>
    </resources>
    <constraints>
      <rsc_colocation id="sets" score="INFINITY">
        <resource_set id="sets-1"><resource_ref id="p_theirs"/></resource_set>
        <resource_set id="sets-2"><resource_ref id="p_fence"/></resource_set>
      </rsc_colocation>
    </constraints>
    <tags><tag id="tag"><obj_ref id="p_theirs"/></tag></tags>
    <fencing-topology><fencing-level id="level" index="1" target="node1" devices="p_fence"/>
    </fencing-topology>
    <rsc_defaults><meta_attributes id="defaults"><nvpair id="defaults-stickiness"
      name="resource-stickiness" value="100"/></meta_attributes></rsc_defaults>
  </configuration>
  <status/>
</cib>
"""
GLANCE = "[glance]\nvip = 10.0.0.12\n"


class File:
    """A CIB in a file, a description, and a folder where changes are saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "cib.xml"
        self.saved = folder / "saved"
        self.description = folder / "d.conf"
        self.write(THEIRS)
        self.description.write_text(GLANCE)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def apply(self, *words: str, **environment: str) -> Ended:
        return command("apply", "--elsewhere", "--description", self.description, "--saved",
                       self.saved, *(words or ("--yes",)), CIB_file=str(self.path), **environment)

    def undo(self, *words: str, **environment: str) -> Ended:
        return command("undo", "--saved", self.saved, *(words or ("--yes",)),
                       CIB_file=str(self.path), **environment)

    def change(self, *words: str) -> None:
        """Change the CIB, as another administrator does."""
        subprocess.run(["/usr/sbin/cibadmin", *words], check=True,
                       env={"CIB_file": str(self.path)})

    def configuration(self) -> str:
        return cib.canonical(cib.load(str(self.path), exact=True))

    def root(self) -> ElementTree.Element:
        return cib.load(str(self.path), exact=True)

    def shims(self, script: str) -> str:
        """A PATH on which each of Pacemaker's tools is a script, which ends with the real tool."""
        bin_ = self.folder / "bin"
        bin_.mkdir(exist_ok=True)
        for name in TOOLS:
            path = bin_ / name
            path.write_text(f'#!/bin/sh\nname={name} folder={self.folder}\n'
                            f'real() {{ /usr/sbin/{name} "$@"; }}\n{script}\n')
            path.chmod(0o755)
        return f"{bin_}:{os.environ['PATH']}"


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A CIB in which other administrators have configured much, and nothing is ours."""
    return File(tmp_path)


def without(root: ElementTree.Element, *names: str) -> str:
    """A CIB as text, without these resources."""
    resources = cib.section(root, "resources")
    for name in names:
        resources.remove(next(one for one in resources if one.get("id") == name))
    return cib.canonical(root)


# --- apply --------------------------------------------------------------------------------------


def test_what_is_not_ours_stays(file: File) -> None:
    """A plan is added; the configuration of others stays as it is, comments included."""
    before = file.configuration()
    done = file.apply()

    assert (0, "") == (done.code, done.said)
    assert "+ g_glance-api (group)\n" in done.output
    group = file.root().find("configuration/resources/group")
    assert group is not None
    assert ["p_ip_glance-api", "p_glance-api"] == [one.get("id") for one in group if one.get("id")]
    assert before == without(file.root(), "g_glance-api")
    assert "hunter2" not in done.output + done.said


# Elements that Pacemaker knows and a plan does not: each kind that is in Pacemaker's test cases.
ZOO = {
    "</nodes>": """<node id="3" type="remote" uname="node3"><utilization id="n3-u">
      <nvpair id="n3-cpu" name="cpu" value="4"/></utilization></node></nodes>""",
    "</resources>": """
      <bundle id="b"><podman image="a:1" replicas="2" run-command="/x"/>
        <network ip-range-start="10.0.0.40"><port-mapping id="b-p" port="80"/></network>
        <storage><storage-mapping id="b-s" source-dir="/a" target-dir="/b" options="rw"/></storage>
        <primitive id="b-r" class="ocf" provider="heartbeat" type="Dummy"/></bundle>
      <clone id="c"><meta_attributes id="c-m"><nvpair id="c-m-p" name="promotable" value="true"/>
        </meta_attributes><group id="c-g"><primitive id="c-g-r" class="ocf" provider="pacemaker"
        type="Stateful"><instance_attributes id="c-g-i" score="3"><rule id="c-g-rule"
        score="INFINITY" boolean-op="or"><date_expression id="c-g-d" operation="date_spec">
        <date_spec id="c-g-ds" hours="9-16" weekdays="1-5"/></date_expression></rule>
        <nvpair id="c-g-i-s" name="state" value="a &lt;b&gt; &amp; \u00e4"/></instance_attributes>
        <instance_attributes id-ref="p_theirs-here"/><!-- one --><!-- two -->
        <operations><op id="c-g-op" name="monitor" interval="10s" role="Promoted" on-fail="block">
        <meta_attributes id="c-g-om"><nvpair id="c-g-omi" name="interval-origin" value="00:05"/>
        </meta_attributes></op></operations><utilization id="c-g-u"><nvpair id="c-g-u-c"
        name="cpu" value="1"/></utilization></primitive></group></clone>
      </resources>""",
    "</constraints>": """
      <rsc_location id="l" rsc-pattern="p_th(.*)" resource-discovery="never"><rule id="l-r"
        score-attribute="prio" boolean-op="and"><expression id="l-e" attribute="#kind"
        operation="ne" value="remote"/><rule id="l-rr" score="0"><date_expression id="l-d"
        operation="in_range" start="2026-01-01"><duration id="l-du" months="3"/></date_expression>
        </rule></rule></rsc_location>
      <rsc_ticket id="t1" rsc="c" ticket="T" loss-policy="demote" rsc-role="Promoted"/>
      <rsc_order id="o" kind="Serialize" symmetrical="false"><resource_set id="o-s"
        require-all="false" sequential="false" action="promote" role="Promoted"><resource_ref
        id="c"/></resource_set></rsc_order></constraints>""",
    "</configuration>": """
      <op_defaults><meta_attributes id="od"><rule id="od-r" boolean-op="and" score="INFINITY">
        <rsc_expression id="od-x" class="ocf" provider="heartbeat" type="Dummy"/><op_expression
        id="od-o" name="monitor"/></rule><nvpair id="od-t" name="timeout" value="9s"/>
        </meta_attributes></op_defaults>
      <acls><acl_role id="r"><acl_permission id="r-1" kind="deny" xpath="//nvpair[@name='passwd']"
        /></acl_role><acl_target id="eve"><role id="r"/></acl_target></acls>
      <alerts><alert id="a" path="/x"><select><select_nodes/></select><recipient id="a-r" value="y"
        /></alert></alerts></configuration>""",
}


def test_all_that_pacemaker_knows_stays(file: File) -> None:
    """Bundles, rules, tickets, utilization, ACLs, alerts and the like stay as they are, for a plan
    in a file and for one that changes the cluster; `undo` leaves them as well."""
    text = THEIRS.replace("pacemaker-3.0", "pacemaker-3.9")
    for end, more in ZOO.items():
        text = text.replace(end, more + ("" if end in more else end))
    file.write(text)
    before = file.configuration()
    subprocess.run(["/usr/sbin/crm_verify", "--xml-file", file.path], check=True)

    for words in (("init", "--elsewhere", "--cib"), ("lint",), ("lint", "--takeover"),
                  ("explain", "p_glance-api", "--cib"),
                  ("plan", "--elsewhere", "--description", file.description, "--diff")):
        assert "mistake in this program" not in command(*words, file.path).said
    assert 0 == file.apply().code
    assert before == without(file.root(), "g_glance-api")
    assert 0 == file.undo().code
    assert before == file.configuration()


@pytest.mark.parametrize(("old", "new", "code", "said"), [
    ("3.6.0", "9.9.9", 1, "of a later Pacemaker than this node's (crm_feature_set 9.9.9)"),
    ('epoch="5"', 'epoch="x"', 3, "CIB_file is set; crm_verify --verbose --xml-file"),
    ("<tags>", "<wonders/><tags>", 3, "CIB_file is set; crm_verify --verbose --xml-file"),
    ('validate-with="pacemaker-3.0"', 'validate-with="none"', 0, ""),
    ("pacemaker-3.0", "pacemaker-2.10", 0, ""),
], ids=["feature set", "no version", "unknown element", "no schema", "older schema"])
def test_another_pacemaker(file: File, old: str, new: str, code: int, said: str) -> None:
    """A CIB that this Pacemaker does not accept is left as it is, with the reason; an older CIB,
    and a CIB without a schema, are changed."""
    file.write(THEIRS.replace(old, new, 1))
    before = file.path.read_bytes()
    done = file.apply()

    assert (code, True) == (done.code, said in done.said), done.said
    assert ("Changed." in done.output, before != file.path.read_bytes()) == (not code, not code)


def test_the_second_apply_has_nothing_to_do(file: File) -> None:
    """Applied again, a plan changes nothing and says so; nothing is saved either."""
    file.apply()
    content = file.path.read_bytes()
    kept = sorted(file.saved.iterdir())
    done = file.apply()

    assert (0, "Nothing to do: the cluster has this configuration.\n", "") == (
        done.code, done.output, done.said)
    assert content == file.path.read_bytes()
    assert kept == sorted(file.saved.iterdir())


def test_diff_says_what_apply_does(file: File) -> None:
    """What `plan --diff` prints is what `apply` prints first, and is empty afterwards."""
    planned = command("plan", "--elsewhere", "--description", file.description, "--diff",
                      file.path).output

    assert planned
    assert file.apply().output.startswith(f"{planned}\n")
    assert "" == command("plan", "--elsewhere", "--description", file.description, "--diff",
                         file.path).output


def test_what_is_not_described_any_more(file: File) -> None:
    """A service and an address that have left the description are mentioned, and stay."""
    file.description.write_text("[glance]\nvip = 10.0.0.12 10.0.0.13\n[heat-engine]\n")
    file.apply()
    before = file.configuration()
    file.description.write_text(GLANCE)
    done = file.apply()

    assert (0, "Nothing to do: the cluster has this configuration.\n"
            "p_ip_public_glance-api is not in the description; it is left as it is (apply --remove "
            "p_ip_public_glance-api takes it away).\n"
            "p_heat-engine is not in the description; it is left as it is (apply --remove "
            "p_heat-engine takes it away).\n") == (done.code, done.output)
    assert before == file.configuration()


WHOLE = """\
[glance]
vip = 10.0.0.12 10.0.0.13
[cinder]
vip = 10.0.0.14
[heat-engine]
[nova]
vip = 10.0.0.15
shared_vip_group = rest
[neutron]
vip = 10.0.0.15
shared_vip_group = rest
"""


def ids(file: File) -> set[str]:
    """The ids of the primitives that are ours."""
    return {one.get("id", "") for one in cib.resources(file.root())} - {"p_theirs", "p_fence"}


def test_remove(file: File) -> None:
    """Services that left the description are removed, with their addresses; undo restores all."""
    file.description.write_text(WHOLE)
    file.apply()
    whole, everything = file.configuration(), ids(file)
    file.description.write_text(WHOLE.replace(" 10.0.0.13", "").partition("[cinder]")[0] + (
        "[nova]\nvip = 10.0.0.15\nshared_vip_group = rest\n"))

    done = file.apply("--yes", "--remove", "p_cinder-api", "--remove", "p_neutron-server")
    assert (0, "") == (done.code, done.said)
    assert everything - ids(file) == {"p_cinder-api", "p_ip_cinder-api", "p_neutron-server"}
    assert "- g_cinder-api (group)\n" in done.output
    assert "p_heat-engine is not in the description" in done.output
    assert "neutron" not in file.configuration()
    assert "p_theirs" in file.configuration()

    done = file.apply("--yes", "--remove", "all")
    assert {"p_glance-api", "p_ip_glance-api", "p_nova-api", "p_ip_rest"} == ids(file)
    assert "cl_heat-engine" not in file.configuration()
    assert "Nothing to do" in file.apply("--yes", "--remove", "all").output

    assert 0 == file.undo("--yes", "--to", "2").code
    assert whole == file.configuration()


def test_remove_the_last_of_an_address(file: File) -> None:
    """An address that several services share stays until the last of them is removed."""
    file.description.write_text(WHOLE)
    file.apply()
    file.description.write_text(GLANCE.replace("10.0.0.12", "10.0.0.12 10.0.0.13"))

    assert 0 == file.apply("--yes", "--remove", "p_nova-api").code
    assert "p_ip_rest" in ids(file)
    assert 0 == file.apply("--yes", "--remove", "p_neutron-server").code
    assert "p_ip_rest" not in ids(file)


def test_what_cannot_be_removed(file: File) -> None:
    """A resource that is in the description, is not ours, or is named by a tag, is not removed."""
    file.description.write_text(f"{GLANCE}[heat-engine]\n")
    file.apply()
    before = file.configuration()
    for name in ("p_glance-api", "p_theirs", "p_nothing"):
        done = file.apply("--yes", "--remove", name)
        assert (2, "") == (done.code, done.output)
        assert f"--remove {name}: what the description has not any more" in done.said
    file.description.write_text(GLANCE)
    file.write(file.path.read_text().replace(
        '<obj_ref id="p_theirs"/>', '<obj_ref id="p_theirs"/><obj_ref id="p_heat-engine"/>'))
    tagged = file.configuration()

    done = file.apply("--yes", "--remove", "p_heat-engine")
    assert 1 == done.code
    assert "tag tag names p_heat-engine; take it out there first" in done.said
    assert tagged == file.configuration() != before


def test_what_runs_is_not_removed_unasked(file: File) -> None:
    """A running resource is stopped only with --allow-restart; the effect on clients is shown."""
    file.description.write_text(f"{GLANCE}[heat-engine]\n[cinder]\nvip = 10.0.0.14\n")
    file.apply()
    runs = "".join(
        operation(name, agent, "start", 0).replace('rc-code="0"', 'rc-code="0" exec-time="1"')
        for name, agent in (("p_ip_cinder-api", "ocf:heartbeat:IPaddr2"),
                            ("p_cinder-api", "ocf:openstack:cinder-api")))
    state = NODES.splitlines()[1].strip()[:-len("/>")]
    file.write(file.path.read_text().replace("<cib ", '<cib have-quorum="1" dc-uuid="1" ').replace(
        "<status/>", NODES.replace(
            f"{state}/>", f'{state}><lrm id="1"><lrm_resources>{runs}</lrm_resources></lrm>'
            "</node_state>")))
    path = file.shims("""\
        [ $name = crm_resource ] && exit 0
        CIB_file=$folder/cib.xml
        export CIB_file
        real "$@" """)
    file.description.write_text(GLANCE)
    before = file.configuration()

    done = apply_to_cluster(file, path, "--remove", "p_cinder-api")
    assert 1 == done.code
    assert "p_cinder-api stops on node1" in done.output
    assert "Clients: 10.0.0.14 is gone for good." in done.output
    assert "--allow-restart" in done.said
    assert before == file.configuration()

    apply_to_cluster(file, path, "--remove", "p_cinder-api", "--allow-restart")
    assert "cinder" not in file.configuration()


def test_no_terminal(file: File) -> None:
    """Without a terminal and without --yes the change is shown, and not made."""
    before = file.path.read_bytes()
    done = file.apply("--wait=0")

    assert 2 == done.code
    assert "+ p_glance-api (ocf:openstack:glance-api)\n" in done.output
    assert "--yes does it without a question" in done.said
    assert before == file.path.read_bytes()
    assert not file.saved.exists()


def test_an_error_of_crm_verify(file: File) -> None:
    """An error of crm_verify about the new CIB is shown, and nothing is changed."""
    fence = 'class="stonith" type="fence_ipmilan"'
    file.write(THEIRS.replace('value="false"', 'value="true"').replace(
        fence, 'class="ocf" provider="heartbeat" type="Dummy"'))
    before = file.path.read_bytes()
    done = file.apply()

    assert 1 == done.code
    assert "crm_verify says of the new CIB (and of the CIB as it is): " in done.said
    assert "Resource start-up disabled since no STONITH resources have been defined" in done.said
    assert before == file.path.read_bytes()


def test_a_schema_that_is_not_known(file: File) -> None:
    """A CIB of a later Pacemaker is left alone."""
    file.write(THEIRS.replace("pacemaker-3.0", "pacemaker-9.0"))
    before = file.path.read_bytes()
    done = file.apply()

    assert done.code in (1, 3)
    assert "openstack-ocf: " in done.said
    assert before == file.path.read_bytes()


def test_an_id_that_is_taken(file: File) -> None:
    """An id that another element has is an error before any change."""
    file.write(THEIRS.replace('id="tag"', 'id="g_glance-api"'))
    done = file.apply()

    assert (1, "openstack-ocf: the CIB has something else with the id g_glance-api; rename it "
               "first\n") == (done.code, done.said)


def test_another_administrator(file: File) -> None:
    """A change that another administrator makes meanwhile stays, and is shown; ours is not made."""
    theirs = "<primitive id='p_new' class='ocf' provider='heartbeat' type='Dummy'/>"
    path = file.shims(f"""\
        [ "$name $1" = "cibadmin --patch" ] && [ ! -e $folder/done ] && {{
            touch $folder/done
            /usr/sbin/cibadmin --create --scope=resources --xml-text="{theirs}"
        }}
        real "$@" """)
    done = file.apply(PATH=path)

    assert 1 == done.code
    assert "has changed the CIB, by " in done.output
    assert "+ p_new (ocf:heartbeat:Dummy)\n" in done.output
    assert "theirs is there; begin anew" in done.said
    assert "p_new" in file.configuration()
    assert "glance" not in file.configuration()

    assert 0 == file.apply().code
    assert "p_new" in file.configuration()
    assert "g_glance-api" in file.configuration()


def test_the_result_of_a_monitor_meanwhile(file: File) -> None:
    """A result that the cluster itself writes to the CIB meanwhile does not prevent the change."""
    path = file.shims("""\
        [ "$name $1" = "cibadmin --patch" ] && [ ! -e $folder/done ] && {
            touch $folder/done
            sed -i 's/num_updates="3"/num_updates="4"/' "$CIB_file"
        }
        real "$@" """)
    done = file.apply(PATH=path)

    assert (0, "") == (done.code, done.said)
    assert (file.folder / "done").exists()
    assert "g_glance-api" in file.configuration()


def test_a_tool_that_fails(file: File) -> None:
    """A tool of Pacemaker's that fails is named, and nothing is changed."""
    before = file.path.read_bytes()
    for name in TOOLS[1:4]:
        path = file.shims(f'[ $name = {name} ] && {{ echo no way >&2; exit 4; }}\nreal "$@"')
        done = file.apply(PATH=path)

        assert done.code in (1, 3)
        assert "no way" in done.said
        assert name in done.said
        assert before == file.path.read_bytes()


def test_no_cluster(file: File) -> None:
    """Without a running cluster the message says so."""
    done = command("apply", "--elsewhere", "--description", file.description)

    assert 3 == done.code
    assert "is Pacemaker running on this node?" in done.said


def test_saved_by_root(folder: Path) -> None:
    """A user who is not root is told that the saved changes, and perhaps the CIB, are root's."""
    (folder / "saved").mkdir(mode=0o700)
    done = as_nobody(folder, "undo", "--list", "--saved", folder / "saved")
    assert (2, f"openstack-ocf: {folder}/saved is root's alone; run it as root\n") == (
        done.code, done.said)
    done = as_nobody(folder, "lint", "live")
    assert (3, True) == (done.code, "to root and to the group haclient" in done.said)


@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_not_root(folder: Path, verb: str) -> None:
    """A user who is not root is told that root is needed."""
    path = folder / "d.conf"
    path.write_text(GLANCE)
    words = ["apply", "--elsewhere", "--description", str(path)] if verb == "apply" else ["undo"]
    done = as_nobody(folder, *words)

    assert (2, "") == (done.code, done.output)
    assert f"{verb} needs root" in done.said


# --- the cluster --------------------------------------------------------------------------------

NODES = """\
<status>
  <node_state id="1" uname="node1" in_ccm="true" crmd="online" join="member" expected="member"/>
  <node_state id="2" uname="node2" in_ccm="true" crmd="online" join="member" expected="member"/>
</status>"""


def clustered(file: File, old: str = "\0", new: str = "", wait: int = 0) -> str:
    """A PATH whose tools treat the CIB in the file as that of a cluster with two nodes."""
    file.write(THEIRS.replace("<cib ", '<cib have-quorum="1" dc-uuid="1" ').replace(
        "<status/>", NODES).replace(old, new))
    return file.shims(f"""\
        [ $name = crm_resource ] && exit {wait}
        CIB_file=$folder/cib.xml
        export CIB_file
        real "$@" """)


def apply_to_cluster(file: File, path: str, *words: str) -> Ended:
    return command("apply", "--elsewhere", "--yes", "--description", file.description, "--saved",
                   file.saved, *words, PATH=path)


@pytest.mark.parametrize(("old", "new", "code", "said"), [
    ('have-quorum="1"', 'have-quorum="0"', 1, "this part of the cluster has no quorum"),
    ('name="stonith-enabled" value="false"', 'name="stonith-enabled" value="true"', 1,
     "node2 is unclean"),
    ('dc-uuid="1"', "", 3, "no node decides for the cluster at present"),
], ids=["quorum", "unclean", "dc"])
def test_a_cluster_that_a_change_would_be_lost_in(
    file: File, old: str, new: str, code: int, said: str
) -> None:
    """Without quorum, with an unclean node, or without a DC nothing is changed, with the reason."""
    path = clustered(file, old, new)
    file.write(file.path.read_text().replace(
        'uname="node2" in_ccm="true" crmd="online" join="member"',
        'uname="node2" in_ccm="false" crmd="offline" join="down"'))
    before = file.configuration()
    done = apply_to_cluster(file, path)

    assert code == done.code
    assert said in done.said
    assert before == file.configuration()
    assert not file.saved.exists()


@pytest.mark.parametrize(("old", "new", "said"), [
    ('<node id="2" uname="node2"/>', '<node id="2" uname="node2"><instance_attributes id="i2">'
     '<nvpair id="standby" name="standby" value="on"/></instance_attributes></node>',
     "node2 is standby: nothing starts there."),
    ('uname="node2" in_ccm="true" crmd="online" join="member" expected="member"',
     'uname="node2" in_ccm="false" crmd="offline" join="down" expected="down"',
     "node2 is offline: nothing starts there."),
    ('<nvpair id="options-stonith"', '<nvpair id="m" name="maintenance-mode" value="true"/>'
     '<nvpair id="options-stonith"', "The cluster is in maintenance"),
], ids=["standby", "offline", "maintenance"])
def test_a_cluster_that_does_not_work_in_full(
    file: File, old: str, new: str, said: str
) -> None:
    """A node that runs nothing, and maintenance, are mentioned, and count for the forecast."""
    done = apply_to_cluster(file, clustered(file, old, new))

    assert said in done.output
    assert "p_glance-api starts on node" in done.output
    assert "g_glance-api" in file.configuration()


def test_what_does_not_run_afterwards(file: File) -> None:
    """A resource that should start and does not is an error; so is a cluster not idle in time."""
    done = apply_to_cluster(file, clustered(file))

    assert 1 == done.code
    assert "p_glance-api stopped\n" in done.output
    assert "openstack-ocf undo" in done.said

    done = apply_to_cluster(file, clustered(file, wait=124), "--wait=7")
    assert 1 == done.code
    assert "has not settled within 7 s" in done.said


def test_what_is_stopped_on_purpose(file: File) -> None:
    """A resource whose group has target-role=Stopped may be stopped afterwards."""
    file.apply()
    group = '<group id="g_glance-api">'
    stopped = file.path.read_text().replace(group, (
        f'{group}<meta_attributes id="off"><nvpair id="off-role" name="target-role" '
        'value="Stopped"/></meta_attributes>'))
    assert group + "<meta" in stopped
    path = clustered(file)
    file.write(stopped.replace("<cib ", '<cib have-quorum="1" dc-uuid="1" ').replace(
        "<status/>", NODES))
    file.description.write_text(GLANCE.replace("10.0.0.12", "10.0.0.13"))
    done = apply_to_cluster(file, path)

    assert (0, "") == (done.code, done.said)
    assert "p_glance-api stopped\n" in done.output


def test_what_is_fenced(file: File) -> None:
    """A fencing that Pacemaker plans is recognised in crm_simulate's output."""
    clustered(file, 'name="stonith-enabled" value="false"', 'name="stonith-enabled" value="true"')
    file.write(file.path.read_text().replace(
        'crmd="online" join="member" expected="member"/>\n</status>',
        'crmd="offline" join="down" expected="member"/>\n</status>'))
    found = transition.foretell(cib.load(str(file.path)), file.root())
    assert [] == list(found.actions)
    fenced = [one for one in pacemaker.simulate(file.root()).actions if one.resource == "node2"]
    assert ["fence"] == [one.what for one in fenced]


def operation(name: str, agent: str, what: str, code: int) -> str:
    """A past operation of node1 whose code is not the expected one."""
    transition = f"1:1:{7 if what == 'monitor' else 0}:d4c997d4-94d7-4517-b472-eed1f544dba1"
    _, provider, type_ = agent.split(":")
    return (f'<lrm_resource id="{name}" type="{type_}" class="ocf" provider="{provider}">'
            f'<lrm_rsc_op id="{name}_last_0" operation_key="{name}_{what}_0" operation="{what}" '
            f'crm_feature_set="3.6.0" call-id="5" rc-code="{code}" op-status="0" interval="0" '
            f'transition-key="{transition}" transition-magic="0:{code};{transition}" '
            'on_node="node1" last-rc-change="1795820401"/></lrm_resource>')


def test_what_has_failed_can_be_mended(file: File) -> None:
    """Warnings of crm_verify (2.1.5) do not matter; the failure that prevents a start is shown."""
    state = NODES.splitlines()[1].strip()[:-len("/>")]
    past = (operation("p_glance-api", "ocf:openstack:glance-api", "monitor", 5)
            + operation("p_ip_glance-api", "ocf:heartbeat:IPaddr2", "start", 1))
    path = clustered(file, f"{state}/>", f'{state}><lrm id="1"><lrm_resources>{past}'
                     "</lrm_resources></lrm></node_state>")
    done = apply_to_cluster(file, path)

    assert "Changed." in done.output
    assert "p_glance-api stopped\n    probe on node1: not installed\n" in done.output
    assert 0 == command("undo", "--yes", "--allow-restart", "--saved", file.saved,
                        PATH=path).code
    assert "glance" not in file.configuration()


def test_no_start_without_the_password(file: File) -> None:
    """A service whose password is not on the node is not configured; the command is shown."""
    path = clustered(file)
    openrc = file.folder / "openrc"
    openrc.write_text("".join(f"OS_{name}=hunter2\n" for name in (
        "USERNAME", "PASSWORD", "PROJECT_NAME", "AUTH_URL")))
    file.description.write_text(f"[DEFAULT]\ncredentials = {openrc}\n{GLANCE}")
    before = file.configuration()
    done = apply_to_cluster(file, path)

    assert 1 == done.code
    assert "\n  cibsecret -C set p_glance-api os_password\n" in done.said
    assert before == file.configuration()


def test_no_name_without_its_key(file: File) -> None:
    """Without MAAS's key no name is planned; the message says where to write their addresses."""
    file.description.write_text(
        "[glance]\ndns_ha = true\nos_internal_hostname = images.example.org\n"
        "[dns]\nagent = maas\nmaas_url = http://10.0.0.9/MAAS\n")
    path = clustered(file)
    before = file.configuration()
    done = apply_to_cluster(file, path)

    assert 1 == done.code
    assert " maas_credentials\n" in done.said
    assert before == file.configuration()

    done = file.apply()
    assert 0 == done.code
    assert "/etc/maas_dns/" in done.output


# --- what is saved ------------------------------------------------------------------------------


def test_saved_is_for_root_alone(file: File) -> None:
    """The CIBs before and after a change are complete files that only root can read."""
    before = file.configuration()
    for number in range(3):
        file.description.write_text(GLANCE.replace(".12", f".{number + 12}"))
        assert 0 == file.apply().code

    names = sorted(path.name for path in file.saved.iterdir())
    assert 0o700 == stat.S_IMODE(file.saved.stat().st_mode)
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in file.saved.iterdir()}
    assert ["after", "before"] * 3 == [name.split(".")[1] for name in names]
    assert before == cib.canonical(cib.load(str(file.saved / names[1]), exact=True))


def test_the_last_changes_are_kept(file: File) -> None:
    """Twenty changes are kept; old files of a killed command are removed, foreign files are not."""
    file.apply()
    for path in list(file.saved.iterdir()):
        for number in range(2, 31):
            shutil.copy(path, path.with_name(path.name.replace("000001", f"{number:06d}")))
    old, new, theirs = (file.saved / name for name in (
        ".000031-20261127T000000Z-1.before.xml.part", ".000032-20261127T000000Z-1.before.xml.part",
        "notes.xml"))
    for path in (old, new, theirs):
        path.touch()
        os.utime(path, None if path == new else (1, 1))

    file.description.write_text(GLANCE.replace(".12", ".13"))
    assert 0 == file.apply().code

    kept = sorted(path.name for path in file.saved.glob("0*.xml"))
    assert sorted([*range(12, 32)] * 2) == [int(name.split("-")[0]) for name in kept]
    assert (False, True, True) == (old.exists(), new.exists(), theirs.exists())


def test_a_folder_that_others_may_write(file: File) -> None:
    """In a folder that other users could write no CIB is saved, and the cluster is not changed."""
    before = file.path.read_bytes()
    file.saved.mkdir(mode=0o755)
    done = file.apply()

    assert 1 == done.code
    assert f"chmod 700 {file.saved}" in done.said
    assert before == file.path.read_bytes()
    file.saved.rmdir()
    elsewhere = file.folder / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    file.saved.symlink_to(elsewhere)
    assert 1 == file.apply().code
    assert [] == list(elsewhere.iterdir())
    for done in (file.apply("--yes", "--saved", str(file.path)),
                 file.undo("--yes", "--saved", str(file.path))):
        assert (1, f"openstack-ocf: {file.path} is no folder; name another by --saved\n") == (
            done.code, done.said)
    assert before == file.path.read_bytes()


# --- undo ---------------------------------------------------------------------------------------


def test_undo_and_its_undo(file: File) -> None:
    """undo restores the CIB before apply; a second undo restores the CIB after apply."""
    before = file.configuration()
    file.apply()
    after = file.configuration()

    done = file.undo()
    assert (0, "") == (done.code, done.said)
    assert "- g_glance-api (group)\n" in done.output
    assert before == file.configuration()
    assert 0 == file.undo().code
    assert after == file.configuration()
    assert 0 == file.undo().code
    assert before == file.configuration()


def test_several_steps(file: File) -> None:
    """undo --list shows the changes, --to goes back to before one; undo reverts that as well."""
    states = [file.configuration()]
    for number in range(3):
        file.description.write_text(GLANCE.replace(".12", f".{20 + number}"))
        assert 0 == file.apply().code
        states.append(file.configuration())

    listed = file.undo("--list")
    assert (0, "") == (listed.code, listed.said)
    assert ["3", "2", "1"] == [line.split()[0] for line in listed.output.splitlines()
                               if not line.startswith(" ")]
    assert "\n    ~ p_ip_glance-api param ip: 10.0.0.20 -> 10.0.0.21\n" in listed.output
    assert "hunter2" not in listed.output

    for to, state in (("2", 1), ("3", 2), ("1", 0), ("4", 3)):
        assert 0 == file.undo("--yes", "--to", to).code
        assert states[state] == file.configuration()
    assert "Nothing to do" in file.undo("--yes", "--to", "4").output

    before = file.configuration()
    done = file.undo("--yes", "--to", "99")
    assert (2, True) == (done.code, "undo --list shows them" in done.said)
    file.change("--create", "--scope=resources", "--xml-text=<primitive id='p_new' class='ocf' "
                "provider='heartbeat' type='Dummy'/>")
    assert 1 == file.undo("--yes", "--to", "1").code
    assert before != file.configuration()
    assert "p_new" in file.configuration()


def test_nothing_to_undo(file: File) -> None:
    """Without a saved change undo says that there is nothing to undo."""
    done = file.undo()

    assert (1, "") == (done.code, done.output)
    assert f"nothing to undo: there is no saved change in {file.saved}" in done.said


def test_others_have_changed_something_since(file: File) -> None:
    """Later changes of others prevent undo, are shown, and are lost with --discard."""
    before = file.configuration()
    file.apply()
    file.change("--create", "--scope=resources", "--xml-text=<primitive id='p_new' class='ocf' "
                "provider='heartbeat' type='Dummy'/>")
    theirs = file.configuration()

    done = file.undo()
    assert 1 == done.code
    assert "+ p_new (ocf:heartbeat:Dummy)\n" in done.output
    assert "--discard" in done.said
    assert theirs == file.configuration()

    assert 0 == file.undo("--yes", "--discard").code
    assert before == file.configuration()


def test_others_have_changed_what_has_no_line(file: File) -> None:
    """A change of a template is no change of comments."""
    file.apply()
    file.write(file.path.read_text().replace('interval="7s"', 'interval="8s"'))

    done = file.undo()
    assert 1 == done.code
    assert "templates" in done.output
    assert "Comments alone" not in done.output


def test_undo_leaves_defaults_alone(file: File) -> None:
    """A later change of the resource defaults by others does not prevent undo, and stays."""
    file.apply()
    file.change("--modify", "--scope=rsc_defaults", "--xml-text=<rsc_defaults><meta_attributes "
                "id='defaults'><nvpair id='defaults-stickiness' name='resource-stickiness' "
                "value='5'/></meta_attributes></rsc_defaults>")

    assert 0 == file.undo().code
    assert 'value="5"' in file.configuration()
    assert "glance" not in file.configuration()


# --- killed -------------------------------------------------------------------------------------

CALLS = ("cibadmin", "crm_verify", "crm_simulate", "crm_simulate", "cibadmin", "crm_diff",
         "cibadmin")


def test_calls(file: File) -> None:
    """apply calls exactly the tools at which the next test kills it."""
    path = file.shims('echo $name >>$folder/calls\nreal "$@"')
    assert 0 == file.apply(PATH=path).code

    assert list(CALLS) == (file.folder / "calls").read_text().split()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, len(CALLS) + 1))
def test_killed(file: File, number: int, when: str) -> None:
    """Killed at any call of a tool, apply leaves the old or the new CIB, and can be repeated."""
    old = file.configuration()
    kill = "kill -KILL $PPID"
    path = file.shims(f"""\
        echo >>$folder/calls
        now=$(wc -l <$folder/calls)
        [ "$now {when}" = "{number} before" ] && {{ {kill}; exit 1; }}
        real "$@"
        code=$?
        [ "$now {when}" = "{number} after" ] && {kill}
        exit $code""")
    done = file.apply(PATH=path)

    assert -9 == done.code
    changed = (number, when) == (len(CALLS), "after")
    assert ("g_glance-api" in file.configuration()) == changed
    if not changed:
        assert old == file.configuration()
    new = file.apply()
    assert 0 == new.code
    assert changed == ("Nothing to do" in new.output)
    assert 0 == file.undo().code
    assert old == file.configuration()


def test_killed_while_it_saves(file: File) -> None:
    """Files that a killed command has left beside the saved CIBs do not prevent undo."""
    file.apply()
    before = file.configuration()
    name = "000002-20261127T000000Z-1"
    (file.saved / f".{name}.before.xml.part").write_text("<cib")
    shutil.copy(next(file.saved.glob("*.after.xml")), file.saved / f"{name}.after.xml")

    assert 0 == file.undo().code
    assert "glance" not in file.configuration()
    assert 0 == file.undo().code
    assert before == file.configuration()
