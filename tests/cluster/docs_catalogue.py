"""Where a client finds a service: the URL that keystoneauth1 chooses from the catalogue.

Every OpenStack service and the openstack client use keystoneauth1. It is asked several times, with
the agents' own Python, where the clients are, and with the administrator's OS_ variables. Called by
tests/cluster/test_docs.py and tests/real/test_guides.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

INTERFACES = ("admin", "internal", "public")
TIMES = 6
PYTHON = "/usr/bin/python3"
# Each time a new token, and with it a new catalogue.
SCRIPT = """
import json, os, sys
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

kind, region, times, *interfaces = sys.argv[1:]
names = "auth_url username password project_name user_domain_name project_domain_name".split()
found = {}
for _ in range(int(times)):
    session = Session(v3.Password(**{name: os.environ["OS_" + name.upper()] for name in names}))
    for interface in interfaces:
        url = session.get_endpoint(service_type=kind, interface=interface, region_name=region)
        url = str(url).replace(session.get_project_id(), "%(project_id)s")
        found.setdefault(interface, []).append(url)
print(json.dumps(found))
"""


def listing(say: Callable[[Sequence[str]], str], kind: str, region: str) -> list[str]:
    """A line for each interface, with the URL that is found for it; "or" between several URLs.

    say: runs a command, and returns its output. kind: a type of service.
    """
    said = say([PYTHON, "-c", SCRIPT, kind, region, str(TIMES), *INTERFACES])
    found: dict[str, list[str]] = json.loads(said)
    assert all(TIMES == len(urls) for urls in found.values())
    return [f"{interface} {' or '.join(sorted({*found[interface]}))}" for interface in INTERFACES]
