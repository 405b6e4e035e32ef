"""A lab's own configuration where a daemon looks for it: some daemons take no other path.

The WSGI applications of Barbican and Aodh take no path: the lab's folder is mounted over the
machine's, in a mount namespace of the daemon's own. Called by `lab.services` and `lab.seed`, and by
tests for the agents of these daemons.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab import declared, process
from lab.settings import Settings

SCRIPT = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def argv(
    settings: Settings, service: str, command: Sequence[str], user: str = "root"
) -> list[str]:
    """The command line, for root, that runs a command where a service finds its configuration."""
    if not (fixed := declared.fixed_config(service)):
        return [*command]
    there = Path(fixed).parent
    become = []
    if user != "root":
        account = process.as_user(user)
        become = ["setpriv", f"--reuid={account['user']}", f"--regid={account['group']}"]
        become += ["--clear-groups", "--"]
    return [
        *("unshare", "--mount", "--propagation=private", "--", "sh", "-c", SCRIPT, "sh"),
        *(str(settings.own(there)), str(there)),
        *become,
        *command,
    ]


def needed(service: str) -> bool:
    """Whether a service finds its configuration only this way."""
    return bool(service and declared.fixed_config(service))
