"""Ceilometer, Aodh and Gnocchi."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lab.specs.spec import Options, Spec, amended, authtoken, common, host

if TYPE_CHECKING:
    from lab.settings import Settings


def _ceilometer(settings: Settings) -> Mapping[str, Options]:
    options = common(settings, "ceilometer")
    del options["database"]
    return {
        "/etc/ceilometer/ceilometer.conf": {
            **options,
            "service_credentials": authtoken(settings, "ceilometer"),
        }
    }


def _aodh(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/aodh"))
    return {
        "/etc/aodh/aodh.conf": {
            **amended(common(settings, "aodh"), **host(settings)),
            "api": {"auth_mode": "keystone", "paste_config": f"{folder}/api-paste.ini"},
            "service_credentials": authtoken(settings, "aodh"),
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
            "indexer": {"url": settings.connection("gnocchi")},
            "storage": {"driver": "file", "file_basepath": str(measures)},
            "metricd": {"workers": "1"},
            "keystone_authtoken": authtoken(settings, "gnocchi"),
        }
    }


SPECS = {
    "ceilometer": Spec(
        options=_ceilometer,
        daemons=("ceilometer-agent-central", "ceilometer-agent-notification"),
    ),
    "aodh": Spec(
        options=_aodh,
        daemons=("aodh-evaluator", "aodh-listener", "aodh-notifier", "aodh-api"),
        api="aodh-api",
        databases=("aodh",),
        schema=(("aodh-dbsync", "--config-file={etc}/aodh/aodh.conf"),),
        shipped=("api-paste.ini",),
        endpoint=("aodh", "alarming", ""),
    ),
    "gnocchi": Spec(
        options=_gnocchi,
        daemons=("gnocchi-metricd", "gnocchi-api"),
        api="gnocchi-api",
        keeps_files=True,
        databases=("gnocchi",),
        schema=(
            ("gnocchi-upgrade", "--config-file={etc}/gnocchi/gnocchi.conf", "--sacks-number=4"),
        ),
        shipped=("api-paste.ini",),
        endpoint=("gnocchi", "metric", ""),
    ),
}
