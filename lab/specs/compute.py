"""Placement, Nova, Ironic and Masakari."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lab.specs.spec import Options, Spec, amended, authtoken, common, host
from lab.web import LOOPBACK

if TYPE_CHECKING:
    from lab.settings import Settings


def _placement(settings: Settings) -> Mapping[str, Options]:
    options = common(settings, "placement", database="placement_database")
    return {"/etc/placement/placement.conf": {**options, "api": {"auth_strategy": "keystone"}}}


def _nova(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/nova"))
    anywhere = "0.0.0.0" if settings.several else LOOPBACK
    options = amended(
        common(settings, "nova"),
        **host(settings),
        my_ip=settings.listens_at("nova"),
        enabled_apis="osapi_compute",
        osapi_compute_listen=settings.listens_at("nova"),
        osapi_compute_workers="1",
        metadata_listen=settings.listens_at("nova"),
    )
    return {
        "/etc/nova/nova.conf": {
            **options,
            "api_database": {"connection": settings.connection("nova", "nova_api")},
            "api": {"auth_strategy": "keystone"},
            "wsgi": {"api_paste_config": f"{folder}/api-paste.ini"},
            "conductor": {"workers": "2"},
            "scheduler": {"workers": "1"},
            "placement": authtoken(settings, "placement"),
            # One of either is on each node.
            "vnc": {"novncproxy_host": anywhere},
            "serial_console": {"serialproxy_host": anywhere},
        },
        "/etc/nova/nova-compute.conf": {"DEFAULT": {"compute_driver": "fake.FakeDriver"}},
    }


def _ironic(settings: Settings) -> Mapping[str, Options]:
    interfaces = ("boot", "deploy", "management", "power")
    options = amended(
        common(settings, "ironic"),
        **host(settings),
        my_ip=settings.listens_at("ironic"),
        auth_strategy="keystone",
        enabled_hardware_types="fake-hardware",
        enabled_network_interfaces="noop",
        default_network_interface="noop",
        **{f"enabled_{interface}_interfaces": "fake" for interface in interfaces},
    )
    return {
        "/etc/ironic/ironic.conf": {
            **options,
            "api": {"host_ip": settings.listens_at("ironic"), "api_workers": "1"},
            "conductor": {"workers_pool_size": "10"},
        }
    }


def _masakari(settings: Settings) -> Mapping[str, Options]:
    options = amended(
        common(settings, "masakari"),
        **host(settings),
        masakari_api_listen=settings.listens_at("masakari"),
        masakari_api_workers="1",
        auth_strategy="keystone",
    )
    return {"/etc/masakari/masakari.conf": options}


# What nova-manage keeps of these is templates, which nova.conf fills in.
_CELL0 = "{scheme}://{username}:{password}@{hostname}/nova_cell0?{query}"
_CELL1 = "{scheme}://{username}:{password}@{hostname}/nova?{query}"
_CELL1_RABBIT = "{scheme}://{username}:{password}@{hostname}:{port}/"

SPECS = {
    "placement": Spec(
        options=_placement,
        daemons=("placement-api",),
        api="placement-api",
        databases=("placement",),
        schema=(
            ("placement-manage", "--config-file={etc}/placement/placement.conf", "db", "sync"),
        ),
        endpoint=("placement", "placement", ""),
    ),
    "nova": Spec(
        options=_nova,
        daemons=(
            "nova-conductor",
            "nova-scheduler",
            "nova-api",
            "nova-api-metadata",
            "nova-novnc",
            "nova-serialproxy",
            "nova-compute",
        ),
        wsgi_only=("nova-api-metadata",),
        api="nova-api",
        databases=("nova", "nova_api", "nova_cell0"),
        schema=tuple(
            ("nova-manage", "--config-file={etc}/nova/nova.conf", *words)
            for words in (
                ("api_db", "sync"),
                ("cell_v2", "map_cell0", f"--database_connection={_CELL0}"),
                (
                    "cell_v2",
                    "create_cell",
                    "--name=cell1",
                    f"--database_connection={_CELL1}",
                    f"--transport-url={_CELL1_RABBIT}",
                ),
                ("db", "sync"),
            )
        ),
        shipped=("api-paste.ini",),
        endpoint=("nova", "compute", "/v2.1"),
    ),
    "ironic": Spec(
        options=_ironic,
        daemons=("ironic-conductor", "ironic-api"),
        api="ironic-api",
        databases=("ironic",),
        # In an empty database it makes the tables of today at once, without migrations.
        schema=(("ironic-dbsync", "--config-file={etc}/ironic/ironic.conf", "create_schema"),),
        endpoint=("ironic", "baremetal", ""),
    ),
    "masakari": Spec(
        options=_masakari,
        daemons=("masakari-engine", "masakari-api"),
        api="masakari-api",
        databases=("masakari",),
        schema=(("masakari-manage", "--config-file={etc}/masakari/masakari.conf", "db", "sync"),),
        shipped=("api-paste.ini",),
        endpoint=("masakari", "instance-ha", "/v1/%(project_id)s"),
        policy='"os_masakari_api:segments:index": "rule:admin_api or role:reader"\n',
    ),
}
