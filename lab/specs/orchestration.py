"""Heat and Magnum: what makes stacks and clusters out of the other services."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lab.specs.spec import Options, Spec, amended, authtoken, common, host

if TYPE_CHECKING:
    from lab.settings import Settings


def _heat(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/heat"))
    options = amended(
        common(settings, "heat"),
        **host(settings),
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
            "trustee": {key: value for key, value in authtoken(settings, "heat").items()
                        if key in ("auth_type", "auth_url", "username", "password",
                                   "user_domain_name")},
        }
    }


def _magnum(settings: Settings) -> Mapping[str, Options]:
    folder = settings.own(Path("/etc/magnum"))
    return {
        "/etc/magnum/magnum.conf": {
            **amended(common(settings, "magnum"), **host(settings)),
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


SPECS = {
    "heat": Spec(
        options=_heat,
        daemons=("heat-engine", "heat-api", "heat-api-cfn"),
        api="heat-api",
        databases=("heat",),
        schema=(("heat-manage", "--config-file={etc}/heat/heat.conf", "db_sync"),),
        shipped=("api-paste.ini",),
        endpoint=("heat", "orchestration", "/v1/%(project_id)s"),
    ),
    "magnum": Spec(
        options=_magnum,
        daemons=("magnum-conductor", "magnum-api"),
        api="magnum-api",
        databases=("magnum",),
        schema=(("magnum-db-manage", "--config-file={etc}/magnum/magnum.conf", "upgrade"),),
        shipped=("api-paste.ini",),
        endpoint=("magnum", "container-infra", "/v1"),
        domain="magnum",
    ),
}
