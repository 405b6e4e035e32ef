"""Keys of a description that have no effect where they stand. Row V10.

Called by `validation`.
"""

from __future__ import annotations

from collections.abc import Iterator

from .description import Description, Service
from .finding import WARNING, Finding
from .vips import Place


def idle(description: Description, place: Place) -> Iterator[Finding]:
    """V10: what is said of virtual IPs beside another section's vip; a clone that is none."""
    for service in place.services:
        if service is not place.giver and place.vips:
            for key in _of_addresses(service):
                yield Finding(
                    "V10", WARNING, description.where(service.section, key),
                    f"it has no effect: vip is in [{place.giver.section}]",
                    f"Write it in [{place.giver.section}].")
        if service.given_clone and not service.agent.kind and not service.active_active:
            yield Finding(
                "V10", WARNING, description.where(service.section, "clone"),
                "it has no effect: the service runs on one node at a time",
                "Remove it, or set mode = active-active.")
        elif service.given_clone and service.agent.bundled:
            yield Finding(
                "V10", WARNING, description.where(service.section, "clone"),
                "it has no effect: a bundle is no clone", "Name the bundle by id.")


def _of_addresses(service: Service) -> Iterator[str]:
    """The keys that are there, of those that count only beside vip."""
    given = {"vip_iface": service.iface, "vip_cidr": service.cidr,
             "allow_unroutable_vip": service.unroutable, "vip_id": service.vip_ids}
    if not service.dns_ha:
        given.update({f"os_{face}_network": text for face, text in service.networks.items()})
    yield from (key for key, value in given.items() if value)
