"""A commented description, made from the tables of the keys."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from .keys import DEFAULT, DNS, HAPROXY, SERVICE, Key

_HEAD = """\
# What is to be highly available, for openstack-ocf: /etc/openstack-ocf.conf
# Made by: openstack-ocf sample
# Then: openstack-ocf check, and openstack-ocf plan --as crm (or pcs, or xml)
"""
_SERVICE = """\
# One section for each service. Its name is that of an agent, as [glance-api] or [heat-engine]
# (docs/agents.md has them all), or that of a project, for its API: [glance], [cinder], [nova].
# Beside these keys a section takes every parameter of its agent, as `config` or `server`.
"""
_WORKER = """\
# A worker has no virtual IP. It runs on all nodes as a clone, or on one at a time, as its agent
# says.
"""
_FOUNDATIONS = """\
# Database and RabbitMQ, each on one node at a time, on storage that all nodes reach, if they are to
# be under Pacemaker as well. They take the parameters of ocf:heartbeat:mysql and
# ocf:rabbitmq:rabbitmq-server. Best before the services: it is the order in which all are started.
"""

_BALANCED = """\
# haproxy at the virtual IP, and behind it the services with the same shared_vip_group whose mode is
# active-active, on all nodes. Beside these keys it takes the parameters of ocf:heartbeat:anything.
"""


def sample() -> str:
    """The text of the sample."""
    return "\n".join((
        _HEAD, "[DEFAULT]\n", *_keys(DEFAULT),
        _FOUNDATIONS, "#[mariadb]\n#vip = 10.0.0.14\n#datadir = /srv/mysql\n\n"
        "#[rabbitmq]\n#vip = 10.0.0.15\n#mnesia_base = /srv/rabbitmq\n",
        _SERVICE, "[glance]\n", *_keys(SERVICE),
        "#[cinder]\n#vip = 10.0.0.13\n", _WORKER, "#[heat-engine]\n#[cinder-volume]\n",
        "# For dns_ha.\n#[dns]\n", *_keys(DNS),
        _BALANCED, "#[haproxy]\n#vip = 10.0.0.12\n#shared_vip_group = controller\n",
        *_keys(HAPROXY)))


def _keys(keys: Iterable[Key]) -> Iterable[str]:
    for key in keys:
        choices = f" One of: {key.kind.replace('|', ', ')}." if "|" in key.kind else ""
        default = f" Default: {key.default}." if key.default else ""
        text = textwrap.wrap(f"{key.help}{choices}{default}", 96, break_on_hyphens=False)
        yield "".join(f"# {line}\n" for line in text) + f"#{key.name} = {key.example}\n"
