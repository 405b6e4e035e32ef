"""A CIB, from a file or from the cluster: found elements, values, times."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from .errors import CannotLookError, UsageError
from .reading import whole
from .run import last_words, run
from .words import path as path_
from .words import shown

LIVE = "live"
ADDRESSES = ("IPaddr2", "IPaddr", "IPv6addr")
"""Types whose resources are virtual IPs."""
NAMERS = {"ocf:heartbeat:dnsupdate": "hostname", "ocf:maas:dns": "fqdn"}
"""Agents that change a DNS name, and the parameter that says which."""
RESOURCES = ("primitive", "group", "clone", "master", "bundle", "template")
"""Elements that are resources, or stand for one."""
TRUE = ("true", "yes", "on", "1", "y")
FALSE = ("false", "no", "off", "0", "n")
"""As Pacemaker reads a boolean."""
LRM = "lrm://"
"""Stands in a CIB for what cibsecret keeps."""
SECRETS = "/var/lib/pacemaker/lrm/secrets"
"""Where cibsecret keeps it, on each node: RESOURCE/PARAMETER, with the MD5 of it in .sign."""
LIMIT = 64 << 20
"""Bytes of a CIB; Pacemaker's own are far below."""
DEPTH = 256
"""Levels of a CIB: those that libxml2 reads for Pacemaker. Its own has about 10."""


def load(source: str, *, exact: bool = False) -> ET.Element:
    """The CIB of a file, or of the running cluster where source is `live`.

    exact: with its comments, so that it can be changed and written back.
    """
    return _parsed(_live() if source == LIVE else whole(source, LIMIT), source, exact=exact)


def text(cib: ET.Element) -> str:
    """A CIB as text, for a file or for a program."""
    return ET.tostring(cib, encoding="unicode") + "\n"


def canonical(cib: ET.Element, *sections: str, comments: bool = True) -> str:
    """Sections of the configuration, however they are written; default: all."""
    wanted = [f"configuration/{name}" for name in sections] or ["configuration"]
    return "".join(plain(element, comments=comments)
                   for path in wanted for element in cib.iterfind(path))


def plain(element: ET.Element, *, comments: bool = True) -> str:
    """An element, however it is written."""
    return ET.canonicalize(ET.tostring(element, encoding="unicode"), with_comments=comments,
                           strip_text=True)


def section(cib: ET.Element, name: str) -> ET.Element:
    """A section of the configuration; made if it is not there."""
    configuration = cib.find("configuration")
    if configuration is None:
        raise UsageError("the CIB has no configuration")
    found = configuration.find(name)
    return ET.SubElement(configuration, name) if found is None else found


def _live() -> bytes:
    done = run(["cibadmin", "--query"], timeout=20)
    if done.code:
        file = os.environ.get("CIB_file")  # noqa: SIM112 - Pacemaker's name for it
        remedy = (f"CIB_file is set; crm_verify --verbose --xml-file {path_(file)} says more"
                  if file else "is Pacemaker running on this node?")
        if os.geteuid() and not file:
            remedy += " It shows it to root and to the group haclient"
        raise CannotLookError(f"the cluster does not show its CIB: {last_words(done)}; {remedy}")
    return done.output.encode()


class _Builder(ET.TreeBuilder):
    """Refuses what declares a document type, in whatever encoding: a CIB has no entities."""

    def doctype(self, *_: object) -> None:
        raise UsageError("it declares a document type")


def _parsed(content: bytes, source: str, *, exact: bool) -> ET.Element:
    builder = _Builder(insert_comments=exact, insert_pis=exact)
    try:
        # ElementTree loads nothing from elsewhere.
        root = ET.fromstring(content, ET.XMLParser(target=builder))  # noqa: S314 - see _Builder
        _shallow(root)
    except UsageError as error:
        raise UsageError(f"{path_(source)} is no CIB: {error}") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        if source == LIVE:
            raise CannotLookError(f"what cibadmin --query says is no XML: {error}") from error
        raise UsageError(f"{path_(source)} is no XML: {error}") from error
    if root.tag != "cib" or root.find("configuration") is None:
        what = f"is <{shown(root.tag)}>" if root.tag != "cib" else "has no configuration"
        raise UsageError(f"{path_(source)} is no CIB: it {what}; get one by: "
                         "cibadmin --query > cib.xml")
    return root


def _shallow(root: ET.Element) -> None:
    """UsageError for more levels than Pacemaker's own parser takes; ours would not end."""
    level = [root]
    for _ in range(DEPTH):
        level = [child for element in level for child in element]
    if level:
        raise UsageError(f"it has more than {DEPTH} levels")


def comment(element: ET.Element) -> bool:
    """Whether it is a comment: ElementTree gives these a function for a tag."""
    tag: object = element.tag
    return not isinstance(tag, str)


def comments(element: ET.Element) -> list[str]:
    """The comments that stand in an element, each one line."""
    return [(child.text or "").rstrip() for child in element if comment(child)]


def pairs(element: ET.Element | None, section: str) -> dict[str, str]:
    """Names and values of the nvpairs in the sections of a name, whatever rules they have."""
    found = element.iterfind(f"{section}/nvpair") if element is not None else ()
    return {pair.get("name", ""): pair.get("value", "") for pair in found}


def parameters(primitive: ET.Element) -> dict[str, str]:
    """The instance parameters of a primitive but those that a rule has for one node."""
    return {pair.get("name", ""): pair.get("value", "")
            for section in primitive.iterfind("instance_attributes") if not ruled(section)
            for pair in section.iterfind("nvpair")}


def by_node(primitive: ET.Element) -> dict[str, dict[str, str]]:
    """The instance parameters that differ by node."""
    return {ruled(section): {pair.get("name", ""): pair.get("value", "")
                             for pair in section.iterfind("nvpair")}
            for section in primitive.iterfind("instance_attributes") if ruled(section)}


def ruled(section: ET.Element) -> str:
    """The node that a section of parameters is for; empty where no rule says one.

    Only the simplest rule is known: #uname eq NODE.
    """
    expressions = section.findall("rule/*")
    if len(expressions) == 1 and expressions[0].tag == "expression":
        found = expressions[0]
        if found.get("attribute") == "#uname" and found.get("operation") == "eq":
            return found.get("value", "")
    return ""


def agent(primitive: ET.Element) -> str:
    """What a primitive is of, as `ocf:openstack:glance-api`."""
    words = (primitive.get("class"), primitive.get("provider"), primitive.get("type"))
    return ":".join(filter(None, words))


def level(operation: ET.Element) -> str:
    """The check level of an operation."""
    return pairs(operation, "instance_attributes").get(
        "OCF_CHECK_LEVEL", operation.get("OCF_CHECK_LEVEL", ""))


def resources(cib: ET.Element) -> Iterator[ET.Element]:
    """All primitives, in groups and clones too."""
    section = cib.find("configuration/resources")
    return section.iter("primitive") if section is not None else iter(())


def contained(cib: ET.Element) -> set[ET.Element]:
    """The primitives of bundles: they run in containers, where our agents are not."""
    return {*cib.iterfind("configuration/resources/bundle/primitive")}


def by_id(cib: ET.Element, name: str) -> ET.Element | None:
    """The resource of an id, wherever it stands."""
    return next((one for one in cib.iterfind("configuration/resources//*[@id]")
                 if one.get("id") == name and one.tag in RESOURCES), None)


def parents(cib: ET.Element) -> dict[ET.Element, ET.Element]:
    """What each element stands in."""
    return {child: parent for parent in cib.iter() for child in parent}


def above(element: ET.Element, parents: Mapping[ET.Element, ET.Element]) -> Iterator[ET.Element]:
    """The groups and clones that a resource stands in, the nearest first."""
    parent = parents.get(element)
    while parent is not None and parent.tag in ("group", "clone", "master"):
        yield parent
        parent = parents.get(parent)


def members(cib: ET.Element, name: str) -> list[str]:
    """The ids of the primitives of a group; none if it is no group."""
    group = by_id(cib, name) if name else None
    return [one.get("id", "") for one in group.iterfind("primitive")] if (
        group is not None and group.tag == "group") else []


def score(element: ET.Element, default: str = "0") -> float:
    """The score of a constraint or a section; 0 if it is none."""
    text = element.get("score", default).lstrip("+").replace("INFINITY", "inf")
    try:
        return float(text)
    except ValueError:
        return 0.0


def virtual_ips(cib: ET.Element) -> dict[str, str]:
    """Ids of the primitives that hold an address, each with the address."""
    found = {}
    for primitive in resources(cib):
        given = parameters(primitive)
        if primitive.get("type") in ADDRESSES:
            found[primitive.get("id", "")] = given.get("ip") or given.get("ipv6addr", "")
    return found


def names(cib: ET.Element) -> dict[str, str]:
    """Ids of the primitives that hold a DNS name, each with the name."""
    return {primitive.get("id", ""): parameters(primitive).get(NAMERS[agent(primitive)], "")
            for primitive in resources(cib) if agent(primitive) in NAMERS}


def holders(cib: ET.Element) -> dict[str, str]:
    """Ids of the primitives that hold what clients look for, each with its address or name."""
    return {**virtual_ips(cib), **names(cib)}
