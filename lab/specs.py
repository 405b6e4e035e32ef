"""The projects of a whole control plane beyond Keystone, Glance and Cinder's API: one Spec each.

Called by `lab.openstack` and `lab.seed`. A lab has the projects that it is initialised with, and
with any of them a RabbitMQ. The daemons' names, ports and files are those that the agents declare
(`lab.declared`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import config, declared
from lab.config import Options
from lab.errors import LabError
from lab.packages import MACHINE, OPENVSWITCH, PACKAGES, RABBITMQ
from lab.settings import DAEMONS, LOOPBACK, Settings
from lab.web import Server

HOST = "node"
"""The name by which all services know their host, on whatever machine."""


@dataclass(frozen=True)
class Spec:
    """A project: its configuration, its databases and its place in the catalogue.

    options: the content of each of its files, by the path of the file in Debian.
    shipped: files of the package that are needed beside them, in the same folder.
    databases: their names; only the project's user may use them.
    schema: command lines that make the tables; {etc} is the lab's own /etc.
    endpoint: name and type of the service in the catalogue, and the path of its URL.
    api: the agent of the daemon whose port the endpoint has.
    roles: its own roles that are needed for reading; the lab's monitoring user has them.
    policy: the rules of its policy.yaml, where the role "reader" may not read by default.
    domain: a domain in Keystone for users that it makes; NAME_domain_admin administers it, with
        the project's password.
    """

    options: Callable[[Settings], Mapping[str, Options]]
    databases: tuple[str, ...] = ()
    schema: tuple[tuple[str, ...], ...] = ()
    shipped: tuple[str, ...] = ()
    endpoint: tuple[str, str, str] | None = None
    api: str = ""
    roles: tuple[str, ...] = ()
    policy: str = ""
    domain: str = ""


def write(settings: Settings) -> None:
    """Write the files of the lab's projects, readable for the project's own user."""
    for name in settings.projects:
        spec = SPECS[name]
        files = {Path(path): options for path, options in spec.options(settings).items()}
        for path, options in files.items():
            target = settings.own(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            config.amend(target, options)
        for shipped in spec.shipped:
            try:
                shutil.copy(f"/etc/{name}/{shipped}", settings.own(Path("/etc", name)))
            except FileNotFoundError:
                raise LabError(f"{name} has come without {shipped}: install it again") from None
        folder = settings.own(Path("/etc", name))
        if spec.policy:
            (folder / "policy.yaml").write_text(spec.policy)
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "root", name)
            path.chmod(0o750 if path.is_dir() else 0o640)


def packages(projects: Sequence[str]) -> tuple[str, ...]:
    """The Debian packages of some projects."""
    if not projects:
        return ()
    found = {PACKAGES[daemon] for name in projects for daemon in DAEMONS[name]}
    if "neutron" in projects:
        found |= {OPENVSWITCH, *MACHINE}
    return (RABBITMQ, "uwsgi-plugin-python3", *sorted(found))


def databases(projects: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The databases of some projects, by their user."""
    return {name: SPECS[name].databases for name in projects if SPECS[name].databases}


def reader_roles(projects: Sequence[str]) -> tuple[str, ...]:
    """The roles beside "reader" with which some projects' APIs may be read."""
    return tuple(role for name in projects for role in SPECS[name].roles)


def schema(settings: Settings, name: str) -> list[list[str]]:
    """The command lines that make a project's tables."""
    etc = str(settings.own(Path("/etc")))
    return [[word.replace("{etc}", etc) for word in command] for command in SPECS[name].schema]


def endpoint(settings: Settings, name: str) -> tuple[str, str, str] | None:
    """Name, type and URL of a project's service."""
    spec = SPECS[name]
    if not spec.endpoint:
        return None
    service, kind, path = spec.endpoint
    server = Server(settings.called_at(name), declared.daemon(spec.api).port)
    return service, kind, f"{server}{path}"


# ---- the content of their files


def _rabbit(settings: Settings) -> str:
    return f"rabbit://guest:guest@{str(settings.rabbit).partition('//')[2]}/"


def _common(settings: Settings, name: str, *, database: str = "database") -> Options:
    home = settings.home(name)
    return {
        "DEFAULT": {
            "log_dir": str(settings.log(name).parent),
            "transport_url": _rabbit(settings),
            "state_path": str(home),
        },
        database: {"connection": config.connection(settings, name)},
        "keystone_authtoken": config.authtoken(settings, name),
        "oslo_concurrency": {"lock_path": f"{home}/lock"},
        "oslo_messaging_notifications": {"driver": "messagingv2"},
    }


def _host(settings: Settings) -> dict[str, str]:
    """The host name that a daemon uses: the name of its own node, where there are several."""
    return {} if settings.several else {"host": HOST}


def _with(options: Options, **default: str) -> Options:
    options["DEFAULT"].update(default)
    return options


def _placement(settings: Settings) -> Mapping[str, Options]:
    options = _common(settings, "placement", database="placement_database")
    return {"/etc/placement/placement.conf": {**options, "api": {"auth_strategy": "keystone"}}}


def _nova(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/nova"))
    anywhere = "0.0.0.0" if settings.several else LOOPBACK
    options = _with(
        _common(settings, "nova"),
        **_host(settings),
        my_ip=settings.listens_at("nova"),
        enabled_apis="osapi_compute",
        osapi_compute_listen=settings.listens_at("nova"),
        osapi_compute_workers="1",
        metadata_listen=settings.listens_at("nova"),
    )
    return {
        "/etc/nova/nova.conf": {
            **options,
            "api_database": {"connection": config.connection(settings, "nova", "nova_api")},
            "api": {"auth_strategy": "keystone"},
            "wsgi": {"api_paste_config": f"{folder}/api-paste.ini"},
            "conductor": {"workers": "2"},
            "scheduler": {"workers": "1"},
            "placement": config.authtoken(settings, "placement"),
            # One of either is on each node.
            "vnc": {"novncproxy_host": anywhere},
            "serial_console": {"serialproxy_host": anywhere},
        },
        "/etc/nova/nova-compute.conf": {"DEFAULT": {"compute_driver": "fake.FakeDriver"}},
    }


def _neutron(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/neutron"))
    options = _with(
        _common(settings, "neutron"),
        **_host(settings),
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


def _heat(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/heat"))
    options = _with(
        _common(settings, "heat"),
        **_host(settings),
        num_engine_workers="1",
        auth_encryption_key=settings.passwords["heat"][:16] * 2,
    )
    return {
        "/etc/heat/heat.conf": {
            **options,
            "heat_api": {"bind_host": settings.listens_at("heat"), "workers": "1"},
            "heat_api_cfn": {"bind_host": settings.listens_at("heat"), "workers": "1"},
            "paste_deploy": {"api_paste_config": f"{folder}/api-paste.ini"},
            # Each stack has a trust, even one without resources; a trust has no project.
            "trustee": {key: value for key, value in config.authtoken(settings, "heat").items()
                        if key in ("auth_type", "auth_url", "username", "password",
                                   "user_domain_name")},
        }
    }


def _cinder(settings: Settings) -> Mapping[str, Options]:
    # Its API has no use for a back end. This one has no target and leaves nothing on the disk.
    driver = "cinder.tests.fake_driver.FakeLoggingVolumeDriver"
    return {
        "/etc/cinder/cinder.conf": {
            "DEFAULT": {
                **_host(settings),
                "transport_url": _rabbit(settings),
                "enabled_backends": "fake",
                "rootwrap_config": "/etc/cinder/rootwrap.conf",
            },
            "fake": {
                "volume_driver": driver,
                "volume_backend_name": "fake",
                # The volumes belong to whichever node cinder-volume runs on.
                **({"backend_host": HOST} if settings.several else {}),
            },
        }
    }


def _ceilometer(settings: Settings) -> Mapping[str, Options]:
    options = _common(settings, "ceilometer")
    del options["database"]
    return {
        "/etc/ceilometer/ceilometer.conf": {
            **options,
            "service_credentials": config.authtoken(settings, "ceilometer"),
        }
    }


def _manila(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/manila"))
    options = _with(
        _common(settings, "manila"),
        osapi_share_listen=settings.listens_at("manila"),
        osapi_share_workers="1",
        api_paste_config=f"{folder}/api-paste.ini",
        auth_strategy="keystone",
        enabled_share_backends="dummy",
        **_host(settings),
    )
    return {
        "/etc/manila/manila.conf": {
            **options,
            # It comes with Manila's own tests, and shares nothing.
            "dummy": {
                "share_driver": "manila.tests.share.drivers.dummy.DummyDriver",
                "driver_handles_share_servers": "false",
                "share_backend_name": "dummy",
            },
        }
    }


def _designate(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/designate"))
    where = f"{settings.listens_at('designate')}:{declared.daemon('designate-api').port}"
    common = _common(settings, "designate", database="storage:sqlalchemy")
    options = _with(common, **_host(settings))
    return {
        "/etc/designate/designate.conf": {
            **options,
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


def _barbican(settings: Settings) -> Mapping[str, Options]:
    # The option for its database has a name of its own in this release, the usual one in later.
    options = _common(settings, "barbican")
    options = _with(
        options,
        **_host(settings),
        sql_connection=options["database"]["connection"],
        host_href="",
        db_auto_create="false",
    )
    return {
        "/etc/barbican/barbican.conf": {
            **options,
            "queue": {"enable": "true", "asynchronous_workers": "1"},
        }
    }


def _aodh(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/aodh"))
    return {
        "/etc/aodh/aodh.conf": {
            **_with(_common(settings, "aodh"), **_host(settings)),
            "api": {"auth_mode": "keystone", "paste_config": f"{folder}/api-paste.ini"},
            "service_credentials": config.authtoken(settings, "aodh"),
        }
    }


def _octavia(settings: Settings) -> Mapping[str, Options]:
    # It makes nothing: no machines, no networks, no load balancers.
    return {
        "/etc/octavia/octavia.conf": {
            **_with(_common(settings, "octavia"), **_host(settings)),
            "service_auth": config.authtoken(settings, "octavia"),
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


def _ironic(settings: Settings) -> Mapping[str, Options]:
    interfaces = ("boot", "deploy", "management", "power")
    options = _with(
        _common(settings, "ironic"),
        **_host(settings),
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


def _magnum(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/magnum"))
    return {
        "/etc/magnum/magnum.conf": {
            **_with(_common(settings, "magnum"), **_host(settings)),
            "api": {
                "host": settings.listens_at("magnum"),
                # A worker serves one request at a time: a single one would make "/" wait, too, for
                # a conductor that hangs.
                "workers": "4",
                "api_paste_config": f"{folder}/api-paste.ini",
            },
            "conductor": {"workers": "1"},
            "certificates": {"cert_manager_type": "x509keypair"},
            # Each request asks Keystone which domain this is.
            "trust": {
                "trustee_domain_name": "magnum",
                "trustee_domain_admin_name": "magnum_domain_admin",
                "trustee_domain_admin_password": settings.passwords["magnum"],
            },
        }
    }


def _gnocchi(settings: Settings) -> Mapping[str, Options]:
    # It has its measures where the databases are: what makes its tables makes their folders, too.
    measures = settings.database_files / "gnocchi"
    return {
        "/etc/gnocchi/gnocchi.conf": {
            "DEFAULT": {
                "log_dir": str(settings.log("gnocchi").parent),
                "parallel_operations": "1",
            },
            "api": {
                "auth_mode": "keystone",
                "host": settings.listens_at("gnocchi"),
            },
            "indexer": {"url": config.connection(settings, "gnocchi")},
            "storage": {"driver": "file", "file_basepath": str(measures)},
            "metricd": {"workers": "1"},
            "keystone_authtoken": config.authtoken(settings, "gnocchi"),
        }
    }


def _masakari(settings: Settings) -> Mapping[str, Options]:
    options = _with(
        _common(settings, "masakari"),
        **_host(settings),
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
        databases=("placement",),
        schema=(
            ("placement-manage", "--config-file={etc}/placement/placement.conf", "db", "sync"),
        ),
        endpoint=("placement", "placement", ""),
        api="placement-api",
    ),
    "nova": Spec(
        options=_nova,
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
        api="nova-api",
    ),
    "neutron": Spec(
        options=_neutron,
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
        endpoint=("neutron", "network", ""),
        api="neutron-server",
    ),
    "heat": Spec(
        options=_heat,
        databases=("heat",),
        schema=(("heat-manage", "--config-file={etc}/heat/heat.conf", "db_sync"),),
        shipped=("api-paste.ini",),
        endpoint=("heat", "orchestration", "/v1/%(project_id)s"),
        api="heat-api",
    ),
    # Its API, database and endpoint are there in every lab.
    "cinder": Spec(options=_cinder),
    "ceilometer": Spec(options=_ceilometer),
    "manila": Spec(
        options=_manila,
        databases=("manila",),
        schema=(("manila-manage", "--config-file={etc}/manila/manila.conf", "db", "sync"),),
        shipped=("api-paste.ini",),
        endpoint=("manilav2", "sharev2", "/v2"),
        api="manila-api",
    ),
    "designate": Spec(
        options=_designate,
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
        api="designate-api",
    ),
    "barbican": Spec(
        options=_barbican,
        databases=("barbican",),
        # It accepts --config-file, but uses the database in the file at the usual place.
        schema=(("barbican-manage", "db", "upgrade"),),
        shipped=("barbican-api-paste.ini",),
        endpoint=("barbican", "key-manager", ""),
        api="barbican-api",
        roles=("observer",),
    ),
    "aodh": Spec(
        options=_aodh,
        databases=("aodh",),
        schema=(("aodh-dbsync", "--config-file={etc}/aodh/aodh.conf"),),
        shipped=("api-paste.ini",),
        endpoint=("aodh", "alarming", ""),
        api="aodh-api",
    ),
    "octavia": Spec(
        options=_octavia,
        databases=("octavia",),
        schema=(
            ("octavia-db-manage", "--config-file={etc}/octavia/octavia.conf", "upgrade", "head"),
        ),
        endpoint=("octavia", "load-balancer", ""),
        api="octavia-api",
        roles=("load-balancer_observer",),
    ),
    "ironic": Spec(
        options=_ironic,
        databases=("ironic",),
        # In an empty database it makes the tables of today at once, without migrations.
        schema=(("ironic-dbsync", "--config-file={etc}/ironic/ironic.conf", "create_schema"),),
        endpoint=("ironic", "baremetal", ""),
        api="ironic-api",
    ),
    "magnum": Spec(
        options=_magnum,
        databases=("magnum",),
        schema=(("magnum-db-manage", "--config-file={etc}/magnum/magnum.conf", "upgrade"),),
        shipped=("api-paste.ini",),
        endpoint=("magnum", "container-infra", "/v1"),
        api="magnum-api",
        domain="magnum",
    ),
    "gnocchi": Spec(
        options=_gnocchi,
        databases=("gnocchi",),
        schema=(
            ("gnocchi-upgrade", "--config-file={etc}/gnocchi/gnocchi.conf", "--sacks-number=4"),
        ),
        shipped=("api-paste.ini",),
        endpoint=("gnocchi", "metric", ""),
        api="gnocchi-api",
    ),
    "masakari": Spec(
        options=_masakari,
        databases=("masakari",),
        schema=(("masakari-manage", "--config-file={etc}/masakari/masakari.conf", "db", "sync"),),
        shipped=("api-paste.ini",),
        endpoint=("masakari", "instance-ha", "/v1/%(project_id)s"),
        api="masakari-api",
        policy='"os_masakari_api:segments:index": "rule:admin_api or role:reader"\n',
    ),
}
