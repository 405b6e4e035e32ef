"""The Debian package of each agent's daemon, and what these packages need; listed only here.

`python3 -m lab.packages` prints them for the Makefile, which installs them. Used by the tests that
compare the agents with the packages, and by `lab.specs` for the control plane's daemons.
"""

from __future__ import annotations

PACKAGES = {
    "aodh-api": "aodh-api",
    "aodh-evaluator": "aodh-evaluator",
    "aodh-listener": "aodh-listener",
    "aodh-notifier": "aodh-notifier",
    "barbican-api": "barbican-api",
    "barbican-worker": "barbican-worker",
    "ceilometer-agent-central": "ceilometer-agent-central",
    "ceilometer-agent-notification": "ceilometer-agent-notification",
    "cinder-api": "cinder-api",
    "cinder-backup": "cinder-backup",
    "cinder-schedule": "cinder-scheduler",
    "cinder-scheduler": "cinder-scheduler",
    "cinder-volume": "cinder-volume",
    "designate-api": "designate-api",
    "designate-central": "designate-central",
    "designate-mdns": "designate-mdns",
    "designate-producer": "designate-producer",
    "designate-sink": "designate-sink",
    "designate-worker": "designate-worker",
    "glance-api": "glance-api",
    "gnocchi-api": "gnocchi-api",
    "gnocchi-metricd": "gnocchi-metricd",
    "heat-api": "heat-api",
    "heat-api-cfn": "heat-api-cfn",
    "heat-engine": "heat-engine",
    "ironic-api": "ironic-api",
    "ironic-conductor": "ironic-conductor",
    "keystone": "keystone",
    "magnum-api": "magnum-api",
    "magnum-conductor": "magnum-conductor",
    "manila-api": "manila-api",
    "manila-data": "manila-data",
    "manila-scheduler": "manila-scheduler",
    "manila-share": "manila-share",
    "masakari-api": "masakari-api",
    "masakari-engine": "masakari-engine",
    "neutron-agent-dhcp": "neutron-dhcp-agent",
    "neutron-agent-l3": "neutron-l3-agent",
    "neutron-dhcp-agent": "neutron-dhcp-agent",
    "neutron-l3-agent": "neutron-l3-agent",
    "neutron-metadata-agent": "neutron-metadata-agent",
    "neutron-ovs-agent": "neutron-openvswitch-agent",
    "neutron-rpc-server": "neutron-rpc-server",
    # The package neutron-server is empty: it depends on this one and on neutron-rpc-server.
    "neutron-server": "neutron-api",
    "nova-api": "nova-api",
    "nova-api-metadata": "nova-api",
    "nova-compute": "nova-compute",
    "nova-conductor": "nova-conductor",
    "nova-novnc": "nova-consoleproxy",
    "nova-scheduler": "nova-scheduler",
    "nova-serialproxy": "nova-consoleproxy",
    "octavia-api": "octavia-api",
    "octavia-health-manager": "octavia-health-manager",
    "octavia-housekeeping": "octavia-housekeeping",
    "octavia-worker": "octavia-worker",
    "placement-api": "placement-api",
}
"""Agent and package."""

NOT_PACKAGED = {
    "neutron-periodic-workers": "of Neutron 25; until then neutron-server does this work",
}
"""Agents whose daemon Debian 12 does not have, with the reason. (Agents whose daemon no release has
any more are in neither table.)"""


RABBITMQ = "rabbitmq-server"
MARIADB_CLIENT = "mariadb-client-core"
"""The client that MariaDB's agent checks tables with, where MariaDB is under Pacemaker."""
HAPROXY = "haproxy"
"""The load balancer of the APIs, where they run on all nodes of a controller."""
OPENVSWITCH = "openvswitch-switch"
MACHINE = ("busybox", "iputils-ping")
"""What a machine in a network of the lab needs: a DHCP client, and ping."""


def every() -> list[str]:
    """All packages, in order."""
    return sorted({RABBITMQ, MARIADB_CLIENT, HAPROXY, OPENVSWITCH, *MACHINE, *PACKAGES.values()})


if __name__ == "__main__":
    print(*every())
