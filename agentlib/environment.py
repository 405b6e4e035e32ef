"""What Pacemaker said: the action, the instance and its parameters, the time there is.

Made once by `runtime.run` from argv and the environment (OCF 1.1, "Parameter Passing"; the
CRM_meta_* names are Pacemaker's). Nothing else in agentlib reads os.environ.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RSCTMP = "/run/resource-agents"
"""Where agents keep their files; Pacemaker does not set HA_RSCTMP, ocf-directories has this."""

LOGS = "/var/log/openstack-ocf"
"""Folder of the logs of daemons whose service has no log folder: on disk, for it may be much."""

LONGEST = 86400.0
"""Seconds; a timeout above a day is none, and more than the system's clocks can wait for."""

PARAMETER_PREFIX = "OCF_RESKEY_"
META_PREFIX = "OCF_RESKEY_CRM_meta_"

API_MAJOR = "1"
"""The major version of the resource agent API that the agents keep to."""


class Environment:
    """One invocation.

    action: the action's name; status is monitor under another name.
    api_major: major version of the API that the caller keeps to (OCF_RA_VERSION_MAJOR), as it
        stands; by hand it is unset, and the agents' own.
    instance: name of the resource instance (OCF_RESOURCE_INSTANCE), `p_glance-api` or `p:0`.
    parameters: instance parameters by name; the empty ones are left out, since for Pacemaker
        an empty value means the default.
    timeout: seconds until Pacemaker kills the agent, None if that is not said.
    probe: a monitor without an interval, by which Pacemaker asks what is there.
    check_level: OCF_CHECK_LEVEL, None where it is not a number or not given.
    rsctmp: folder for the files of a running resource.
    """

    __slots__ = ("action", "api_major", "check_level", "instance", "log", "parameters", "probe",
                 "rsctmp", "timeout")

    def __init__(self, action: str, default_instance: str, environ: Mapping[str, str]) -> None:
        self.action = "monitor" if action == "status" else action
        self.api_major = environ.get("OCF_RA_VERSION_MAJOR") or API_MAJOR
        self.instance = environ.get("OCF_RESOURCE_INSTANCE") or default_instance
        self.parameters = {
            name[len(PARAMETER_PREFIX):]: value
            for name, value in environ.items()
            if value and name.startswith(PARAMETER_PREFIX) and not name.startswith(META_PREFIX)
        }
        milliseconds = whole(environ.get(META_PREFIX + "timeout"))
        self.timeout = min(milliseconds / 1000, LONGEST) if milliseconds else None
        # Pacemaker leaves the interval of a probe out, ocf-tester says 0. By hand there is
        # neither it nor a timeout, and a monitor by hand is meant to be the whole check.
        unsaid = "0" if milliseconds else None
        interval = whole(environ.get(META_PREFIX + "interval", unsaid))
        self.probe = action == "monitor" and interval == 0
        self.check_level = whole(environ.get("OCF_CHECK_LEVEL"))
        self.rsctmp = environ.get("HA_RSCTMP") or RSCTMP
        self.log = {
            name: value
            for name in ("HA_LOGFILE", "HA_logfile", "HA_LOGFACILITY", "HA_logfacility",
                         "HA_debug")
            if (value := environ.get(name)) and value != "none"
        }


def whole(text: str | None, digits: int = 18) -> int | None:
    """A number of ASCII digits, or None: int() also takes '1_0', '٣' and a megabyte of nines."""
    if text and len(text) <= digits and text.isascii() and text.isdigit():
        return int(text)
    return None
