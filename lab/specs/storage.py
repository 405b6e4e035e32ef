"""What keeps data beside Glance and Cinder: Manila shares, Barbican secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lab.specs.spec import Options, Spec, amended, common, host

if TYPE_CHECKING:
    from lab.settings import Settings


def _manila(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/manila"))
    options = amended(
        common(settings, "manila"),
        osapi_share_listen=settings.listens_at("manila"),
        osapi_share_workers="1",
        api_paste_config=f"{folder}/api-paste.ini",
        auth_strategy="keystone",
        enabled_share_backends="dummy",
        **host(settings),
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


def _barbican(settings: Settings) -> Mapping[str, Options]:
    # The option for its database has a name of its own in this release, the usual one in later.
    options = common(settings, "barbican")
    options = amended(
        options,
        **host(settings),
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


SPECS = {
    "manila": Spec(
        options=_manila,
        daemons=("manila-scheduler", "manila-api", "manila-share", "manila-data"),
        api="manila-api",
        databases=("manila",),
        schema=(("manila-manage", "--config-file={etc}/manila/manila.conf", "db", "sync"),),
        shipped=("api-paste.ini",),
        endpoint=("manilav2", "sharev2", "/v2"),
    ),
    "barbican": Spec(
        options=_barbican,
        daemons=("barbican-worker", "barbican-api"),
        api="barbican-api",
        databases=("barbican",),
        # It accepts --config-file, but uses the database in the file at the usual place.
        schema=(("barbican-manage", "db", "upgrade"),),
        shipped=("barbican-api-paste.ini",),
        endpoint=("barbican", "key-manager", ""),
        roles=("observer",),
    ),
}
