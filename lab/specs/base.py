"""Keystone, Glance and Cinder: their APIs are in every lab.

Options of a usual installation are set as there: the agents read these files. The files are as
short as possible otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab import declared
from lab.specs.spec import HOST, Options, Spec, authtoken, host, rabbit
from lab.web import Server, reachable

if TYPE_CHECKING:
    from lab.settings import Settings


def _default(settings: Settings, service: str) -> dict[str, str]:
    # No RabbitMQ: an API that only reads sends no messages.
    log = settings.log(service).with_name(f"{settings.config(service).stem}.log")
    return {"log_file": str(log), "transport_url": "fake://"}


def _keystone(settings: Settings) -> Mapping[str, Options]:
    home = settings.home("keystone")
    return {
        "/etc/keystone/keystone.conf": {
            "DEFAULT": _default(settings, "keystone"),
            "database": {"connection": settings.connection("keystone")},
            "fernet_tokens": {"key_repository": f"{home}/fernet-keys"},
            # By default they are in /etc/keystone, which is the machine's.
            "fernet_receipts": {"key_repository": f"{home}/fernet-keys"},
            "credential": {"key_repository": f"{home}/credential-keys"},
            "identity": {"password_hash_rounds": str(settings.hash_rounds)},
            "token": {"provider": "fernet", "expiration": "3600"},
        }
    }


def _glance(settings: Settings) -> Mapping[str, Options]:
    home = settings.home("glance")
    return {
        "/etc/glance/glance-api.conf": {
            "DEFAULT": {
                **_default(settings, "glance"),
                "bind_host": settings.bind["glance"],
                "bind_port": str(declared.daemon("glance-api").port),
                "workers": str(settings.workers),
                "image_cache_dir": f"{home}/image-cache/",
                "enabled_backends": "fs:file",
            },
            "database": {"connection": settings.connection("glance")},
            "glance_store": {"default_backend": "fs"},
            "fs": {"filesystem_store_datadir": f"{home}/images"},
            "os_glance_staging_store": {"filesystem_store_datadir": f"{home}/staging"},
            "os_glance_tasks_store": {"filesystem_store_datadir": f"{home}/tasks"},
            "paste_deploy": {
                "flavor": "keystone",
                "config_file": f"{settings.config('glance').parent}/glance-api-paste.ini",
            },
            "oslo_concurrency": {"lock_path": f"{home}/lock"},
            "keystone_authtoken": authtoken(settings, "glance"),
        }
    }


def _cinder(settings: Settings) -> Mapping[str, Options]:
    home, folder = settings.home("cinder"), settings.config("cinder").parent
    images = Server(settings.endpoint["glance"], declared.daemon("glance-api").port)
    options: Options = {
        "DEFAULT": {
            **_default(settings, "cinder"),
            "osapi_volume_listen": settings.bind["cinder"],
            "osapi_volume_listen_port": str(declared.daemon("cinder-api").port),
            "osapi_volume_workers": str(settings.workers),
            "api_paste_config": f"{folder}/api-paste.ini",
            "resource_query_filters_file": f"{folder}/resource_filters.json",
            "auth_strategy": "keystone",
            "glance_api_servers": str(images),
            "my_ip": reachable(settings.bind["cinder"]),
            "state_path": str(home),
            "enabled_backends": "",
        },
        "database": {"connection": settings.connection("cinder")},
        "oslo_concurrency": {"lock_path": f"{home}/lock"},
        "keystone_authtoken": authtoken(settings, "cinder"),
    }
    if "cinder" in settings.projects:  # its workers, too
        options["DEFAULT"].update(
            **host(settings),
            transport_url=rabbit(settings),
            enabled_backends="fake",
            rootwrap_config="/etc/cinder/rootwrap.conf",
        )
        options["fake"] = {
            # It has no target, and leaves nothing on the disk.
            "volume_driver": "cinder.tests.fake_driver.FakeLoggingVolumeDriver",
            "volume_backend_name": "fake",
            # The volumes belong to whichever node cinder-volume runs on.
            **({"backend_host": HOST} if settings.several else {}),
        }
    return {"/etc/cinder/cinder.conf": options}


SPECS = {
    "keystone": Spec(
        options=_keystone,
        api="keystone",
        ready="/v3",
        folders=(),
        keeps_files=True,
        databases=("keystone",),
        schema=(("keystone-manage", "--config-file={etc}/keystone/keystone.conf", "db_sync"),),
        endpoint=("keystone", "identity", "/v3/"),
    ),
    "glance": Spec(
        options=_glance,
        api="glance-api",
        ready="/healthcheck",
        newest=True,
        shipped=("glance-api-paste.ini",),
        folders=("images", "staging", "tasks", "lock"),
        keeps_files=True,
        databases=("glance",),
        schema=(("glance-manage", "--config-file={etc}/glance/glance-api.conf", "db_sync"),),
        endpoint=("glance", "image", ""),
    ),
    # Its API is there in every lab, its workers when it is asked for as a further project.
    "cinder": Spec(
        options=_cinder,
        daemons=("cinder-scheduler", "cinder-volume", "cinder-backup"),
        api="cinder-api",
        ready="/healthcheck",
        newest=True,
        shipped=("api-paste.ini", "resource_filters.json"),
        keeps_files=True,
        databases=("cinder",),
        schema=(("cinder-manage", "--config-file={etc}/cinder/cinder.conf", "db", "sync"),),
        endpoint=("cinderv3", "volumev3", "/v3/%(project_id)s"),
    ),
}
