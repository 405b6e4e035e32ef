"""The CIB of controllers as TripleO's puppet made it: services in bundles, VIPs beside haproxy."""

from __future__ import annotations

from pathlib import Path

NODES = ("controller-0", "controller-1", "controller-2")
VIPS = ("172.16.2.5", "10.0.0.5")
"""The internal one and the public one."""
BUNDLES = ("galera-bundle", "rabbitmq-bundle", "redis-bundle", "haproxy-bundle",
           "openstack-cinder-volume")

_MAPPING = ('<storage-mapping id="{name}-{number}" options="ro" source-dir="{source}" '
            'target-dir="{target}"/>')


def _storage(name: str) -> str:
    """As puppet-tripleo maps the configuration that it makes."""
    kolla = "/var/lib/kolla/config_files"
    pairs = ((f"{kolla}/{name}.json", f"{kolla}/config.json"),
             (f"/var/lib/config-data/puppet-generated/{name}/", f"{kolla}/src"))
    return "".join(_MAPPING.format(name=name, number=number, source=source, target=target)
                   for number, (source, target) in enumerate(pairs))


def bundle(name: str, image: str, inside: str = "", port: str = "", replicas: int = 3) -> str:
    """A <bundle> of podman containers."""
    control = f'<network control-port="{port}"/>' if port else ""
    return (f'<bundle id="{name}"><podman image="cluster.common.tag/{image}:pcmklatest" '
            f'network="host" options="--user=root" replicas="{replicas}" '
            f'run-command="/bin/bash /usr/local/bin/kolla_start"/>{control}'
            f"<storage>{_storage(image)}</storage>{inside}</bundle>")


def _agent(name: str, type_: str, meta: str) -> str:
    pairs = "".join(f'<nvpair id="{name}-{key}" name="{key}" value="{value}"/>' for key, value in
                    (("container-attribute-target", "host"), (meta, "true")))
    return (f'<primitive id="{name}" class="ocf" provider="heartbeat" type="{type_}">'
            f'<meta_attributes id="{name}-meta">{pairs}</meta_attributes><operations>'
            f'<op id="{name}-monitor" name="monitor" interval="10" timeout="40"/></operations>'
            "</primitive>")


def vip(address: str) -> str:
    """A virtual IP under TripleO's name, with its operations."""
    name = f"ip-{address}"
    return (f'<primitive id="{name}" class="ocf" provider="heartbeat" type="IPaddr2">'
            f'<instance_attributes id="{name}-a"><nvpair id="{name}-p" name="cidr_netmask" '
            f'value="32"/><nvpair id="{name}-i" name="ip" value="{address}"/></instance_attributes>'
            f'<meta_attributes id="{name}-m"><nvpair id="{name}-s" name="resource-stickiness" '
            f'value="INFINITY"/></meta_attributes><operations>'
            f'<op id="{name}-monitor" name="monitor" interval="10s" timeout="20s"/>'
            f'<op id="{name}-start" name="start" interval="0s" timeout="20s"/>'
            f'<op id="{name}-stop" name="stop" interval="0s" timeout="20s"/></operations>'
            "</primitive>")


def constraints() -> str:
    """What puppet-tripleo ties to haproxy, and where the bundles run."""
    rules = "".join(
        f'<rsc_location id="location-{name}" rsc="{name}" resource-discovery="exclusive"><rule '
        f'id="location-{name}-rule" score="0"><expression id="location-{name}-expr" '
        'attribute="haproxy-role" operation="eq" value="true"/></rule></rsc_location>'
        for name in ("haproxy-bundle", *(f"ip-{one}" for one in VIPS)))
    return rules + "".join(
        f'<rsc_order id="order-ip-{one}-haproxy-bundle-Optional" first="ip-{one}" '
        'first-action="start" then="haproxy-bundle" then-action="start" kind="Optional"/>'
        f'<rsc_colocation id="colocation-ip-{one}-haproxy-bundle-INFINITY" rsc="ip-{one}" '
        'with-rsc="haproxy-bundle" score="INFINITY"/>' for one in VIPS)


def cib(more: str = "", ties: str | None = None) -> str:
    """The whole of it. more: resources beside. ties: the constraints; default: TripleO's own."""
    nodes = "".join(
        f'<node id="{number}" uname="{name}"><instance_attributes id="nodes-{number}"><nvpair '
        f'id="nodes-{number}-role" name="haproxy-role" value="true"/></instance_attributes></node>'
        for number, name in enumerate(NODES, 1))
    states = "".join(
        f'<node_state id="{number}" uname="{name}" in_ccm="true" crmd="online" join="member" '
        f'expected="member"><lrm id="{number}"><lrm_resources/></lrm></node_state>'
        for number, name in enumerate(NODES, 1))
    resources = "".join((
        *map(vip, VIPS),
        bundle("haproxy-bundle", "haproxy"),
        bundle("galera-bundle", "mariadb", _agent("galera", "galera", "ordered"), "3123"),
        bundle("rabbitmq-bundle", "rabbitmq",
               _agent("rabbitmq", "rabbitmq-cluster", "notify"), "3122"),
        bundle("redis-bundle", "redis", _agent("redis", "redis", "notify"), "3124"),
        bundle("openstack-cinder-volume", "cinder-volume", replicas=1), more))
    return ('<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" admin_epoch="0" epoch="9" '
            'num_updates="0" have-quorum="1" dc-uuid="1"><configuration><crm_config>'
            '<cluster_property_set id="cib-bootstrap-options"><nvpair id="stonith" '
            'name="stonith-enabled" value="false"/></cluster_property_set></crm_config>'
            f"<nodes>{nodes}</nodes><resources>{resources}</resources>"
            f"<constraints>{constraints() if ties is None else ties}</constraints>"
            f"</configuration><status>{states}</status></cib>")


def write(path: Path, text: str) -> Path:
    """A CIB as a file."""
    path.write_text(text)
    return path
