"""What the monitors of this node have come to, for Prometheus, in its text format.

Made for node_exporter's textfile collector. No agent is run and no request is sent: all is read
from the files that the monitors leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentlib.safefile import replace

from .errors import UsageError
from .records import Instance
from .words import shown

RUNNING = "openstack_ocf_running"
CODE = "openstack_ocf_monitor_code"
DURATION = "openstack_ocf_monitor_duration_seconds"
TIME = "openstack_ocf_monitor_timestamp_seconds"

HELP = {
    RUNNING: "Whether the master process of the resource runs on this node (1) or not (0).",
    CODE: "Exit code of the last recurring monitor: 0 serves, 190 degraded, 1 fails, 7 not there.",
    DURATION: "Seconds that the last recurring monitor took.",
    TIME: "When the last recurring monitor ended, in seconds since the epoch.",
}
"""The metrics, all of them gauges."""


def metrics(instances: Iterable[Instance]) -> str:
    """The metrics of instances, in Prometheus' text format 0.0.4."""
    found = list(instances)
    samples: dict[str, list[str]] = {name: [] for name in HELP}
    for one in found:
        labels = f'agent="{_escaped(one.agent)}",resource="{_escaped(one.resource)}"'
        samples[RUNNING].append(f"{{{labels}}} {int(one.running)}")
        for verdict in one.verdicts:
            of_level = f'{{{labels},level="{verdict.level}"}}'
            samples[CODE].append(f"{of_level} {verdict.code}")
            samples[DURATION].append(f"{of_level} {verdict.seconds:.3f}")
            samples[TIME].append(f"{of_level} {verdict.time:.3f}")
    return "".join(_family(samples))


def write(text: str, path: str) -> None:
    """Write a file whole or not at all, for all to read; UsageError if that cannot be."""
    try:
        replace(path, text, 0o644)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--output {shown(path)} cannot be written: {what.lower()}") from error


def _family(samples: dict[str, list[str]]) -> Iterator[str]:
    for name, lines in samples.items():
        if lines:
            yield f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n"
            yield from (f"{name}{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
