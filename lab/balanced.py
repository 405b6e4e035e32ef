"""What a controller needs besides where every API runs on all nodes, behind haproxy.

Called by `lab.controller` for the layout active-active. The nodes share one configuration of each
service. So each node has a second file of its own, with the address that its APIs listen on. (An
API under uWSGI gets its address from openstack-ocf, by Pacemaker's configuration.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import config, declared, specs, switch
from lab.packages import HAPROXY
from lab.specs.spec import Options

OWN = "/usr/local/etc/openstack.conf"  # on the node's own disk
PACKAGES = (HAPROXY,)


def addresses(nodes: Iterable[str]) -> dict[str, str]:
    """The addresses of a cluster's nodes, by their names."""
    return {name: switch.address(number) for number, name in enumerate(nodes, 1)}


def listens(name: str) -> tuple[str, str] | None:
    """Section and option that set the address an API listens on; None if there are none."""
    uwsgi = declared.daemon(name).uwsgi
    return (uwsgi.listen_section, uwsgi.listen[0]) if uwsgi and uwsgi.listen else None


def parameters(name: str) -> dict[str, str]:
    """The parameters of an agent that make its daemon read the node's own file as well."""
    return {"additional_parameters": f"--config-file={OWN}"} if listens(name) else {}


def write(file: Path, apis: Iterable[str], address: str) -> None:
    """Write a node's own file, seen from outside: the APIs of that node listen on its address."""
    images = f"http://{address}:{specs.port('glance')}"
    options: Options = {"DEFAULT": {"worker_self_reference_url": images}}
    for section, option in filter(None, map(listens, apis)):
        options.setdefault(section, {})[option] = address
    file.unlink(missing_ok=True)
    config.amend(file, options)
    file.chmod(0o644)


def section(vip: str, group: str, file: Path, nodes: Iterable[str]) -> Mapping[str, str]:
    """haproxy's section of the description. file: haproxy's configuration, shared by all nodes."""
    there = addresses(nodes)
    return {
        "vip": vip,
        "shared_vip_group": group,
        "config": str(file),
        "addresses": " ".join(f"{name}={address}" for name, address in there.items()),
    }
