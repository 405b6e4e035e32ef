"""corosync.conf of a small cluster.

Called by `lab.node` when a node's disk is made, and before a lost node boots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

TOKEN = 1000  # ms without a packet until a node counts as lost; corosync's default is 3000


def noticed(text: str) -> float:
    """Seconds until the other nodes take a silent node for lost, by their corosync.conf.

    After the token's timeout they need 1.2 times that to agree, corosync's default of `consensus`.
    """
    found = re.search(r"(?m)^\s*token: (\d+)$", text)
    return 2.2 * int(found[1]) / 1000 if found else 0.0


def configuration(nodes: Mapping[int, str], addresses: Mapping[int, str], token: int) -> str:
    """The file for these nodes: names and addresses by number."""
    members = "".join(
        f"""    node {{
        name: {name}
        nodeid: {number}
        ring0_addr: {addresses[number]}
    }}
"""
        for number, name in nodes.items()
    )
    two = "    two_node: 1\n" if len(nodes) == 2 else ""
    return f"""totem {{
    version: 2
    cluster_name: openstack-ocf-lab
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: {token}
    # Otherwise every node beyond the second adds to it.
    token_coefficient: 0
    join: 50
}}
logging {{
    to_stderr: no
    to_syslog: no
    to_logfile: yes
    logfile: /var/log/corosync/corosync.log
    timestamp: hires
}}
quorum {{
    provider: corosync_votequorum
{two}}}
nodelist {{
{members}}}
"""
