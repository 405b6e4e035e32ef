"""Neutron, Designate and Octavia."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lab import declared
from lab.specs.spec import Options, Spec, amended, authtoken, common, host

if TYPE_CHECKING:
    from lab.settings import Settings


def _neutron(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/neutron"))
    options = amended(
        common(settings, "neutron"),
        **host(settings),
        bind_host=settings.listens_at("neutron"),
        core_plugin="ml2",
        service_plugins="router",
        auth_strategy="keystone",
        api_workers="1",
        rpc_workers="1",
        api_paste_config=f"{folder}/api-paste.ini",
        notify_nova_on_port_status_changes="false",
        notify_nova_on_port_data_changes="false",
        interface_driver="openvswitch",
    )
    rootwrap = "/etc/neutron/rootwrap.conf"  # the path in Debian's sudoers file
    options["agent"] = {
        "root_helper": f"sudo neutron-rootwrap {rootwrap}",
        "root_helper_daemon": f"sudo neutron-rootwrap-daemon {rootwrap}",
    }
    return {
        "/etc/neutron/neutron.conf": options,
        "/etc/neutron/plugins/ml2/ml2_conf.ini": {
            "ml2": {
                "type_drivers": "flat,local",
                "tenant_network_types": "local",
                "mechanism_drivers": "openvswitch",
            }
        },
        "/etc/neutron/plugins/ml2/openvswitch_agent.ini": {
            "ovs": {"datapath_type": "netdev", "bridge_mappings": ""},
            "agent": {"tunnel_types": ""},
            "securitygroup": {"firewall_driver": "noop", "enable_security_group": "false"},
        },
        "/etc/neutron/dhcp_agent.ini": {"DEFAULT": {"enable_isolated_metadata": "true"}},
        "/etc/neutron/l3_agent.ini": {"DEFAULT": {}},
        "/etc/neutron/metadata_agent.ini": {
            "DEFAULT": {"nova_metadata_host": "127.0.0.1", "metadata_workers": "1"}
        },
    }


def _designate(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/designate"))
    where = f"{settings.listens_at('designate')}:{declared.daemon('designate-api').port}"
    options = common(settings, "designate", database="storage:sqlalchemy")
    return {
        "/etc/designate/designate.conf": {
            **amended(options, **host(settings)),
            "service:api": {
                "listen": where,
                "api_base_uri": f"http://{where}/",
                "auth_strategy": "keystone",
                "enable_api_v2": "true",
                "workers": "1",
                "api_paste_config": f"{folder}/api-paste.ini",
            },
            "service:central": {"workers": "1"},
        }
    }


def _octavia(settings: Settings) -> Mapping[str, Options]:
    # It makes nothing: no machines, no networks, no load balancers.
    return {
        "/etc/octavia/octavia.conf": {
            **amended(common(settings, "octavia"), **host(settings)),
            "service_auth": authtoken(settings, "octavia"),
            "api_settings": {
                "auth_strategy": "keystone",
                "bind_host": settings.listens_at("octavia"),
                "enabled_provider_drivers": "noop_driver: none, octavia: none",
                "default_provider_driver": "noop_driver",
            },
            "controller_worker": {
                "workers": "1",
                "amphora_driver": "amphora_noop_driver",
                "compute_driver": "compute_noop_driver",
                "network_driver": "network_noop_driver",
            },
            "health_manager": {
                "bind_ip": settings.listens_at("octavia"),
                "heartbeat_key": settings.passwords["octavia"],
                "health_update_threads": "1",
                "stats_update_threads": "1",
            },
            "oslo_messaging": {"topic": "octavia_provisioning_v2"},
        }
    }


SPECS = {
    "neutron": Spec(
        options=_neutron,
        daemons=(
            "neutron-rpc-server",
            "neutron-server",
            "neutron-ovs-agent",
            "neutron-dhcp-agent",
            "neutron-l3-agent",
            "neutron-metadata-agent",
        ),
        api="neutron-server",
        databases=("neutron",),
        schema=(
            (
                "neutron-db-manage",
                "--config-file={etc}/neutron/neutron.conf",
                "--config-file={etc}/neutron/plugins/ml2/ml2_conf.ini",
                "upgrade",
                "heads",
            ),
        ),
        shipped=("api-paste.ini",),
        others_read=True,  # dnsmasq reads its hosts there, as nobody
        endpoint=("neutron", "network", ""),
    ),
    "designate": Spec(
        options=_designate,
        daemons=(
            "designate-central",
            "designate-api",
            "designate-producer",
            "designate-worker",
            "designate-mdns",
            "designate-sink",
        ),
        api="designate-api",
        databases=("designate",),
        schema=(
            (
                "designate-manage",
                "--config-file={etc}/designate/designate.conf",
                "database",
                "sync",
            ),
        ),
        shipped=("api-paste.ini",),
        endpoint=("designate", "dns", ""),
    ),
    "octavia": Spec(
        options=_octavia,
        daemons=("octavia-worker", "octavia-health-manager", "octavia-housekeeping", "octavia-api"),
        api="octavia-api",
        databases=("octavia",),
        schema=(
            ("octavia-db-manage", "--config-file={etc}/octavia/octavia.conf", "upgrade", "head"),
        ),
        endpoint=("octavia", "load-balancer", ""),
        roles=("load-balancer_observer",),
    ),
}
