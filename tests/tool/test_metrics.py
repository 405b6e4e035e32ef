"""`openstack-ocf metrics`: the monitors' last verdicts, Prometheus's metrics, rules, dashboard."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import eventually, expect
from lookalike.service import MakeService, Service
from openstack_ocf import metrics
from openstack_ocf.records import Instance, Verdict
from tool.kit import ROOT, Ended, as_nobody, command

NAMES = set(metrics.HELP)
RULES = ROOT / "docs" / "openstack-ocf.rules.yml"
DASHBOARD = ROOT / "docs" / "openstack-ocf.dashboard.json"


def promtool(need: Callable[[str, str], str], *words: str, text: str = "") -> None:
    """Run promtool; it must find nothing wrong."""
    done = subprocess.run([need("promtool", "prometheus"), *words], input=text,
                          capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "" == done.stderr


def printed(service: Service, *words: str) -> Ended:
    return command("metrics", *words, HA_RSCTMP=str(service.rsctmp))


def samples(service: Service) -> dict[str, float]:
    """All samples of a service, by `name level`."""
    done = printed(service)
    assert (0, "") == (done.code, done.said)
    found = {}
    for line in done.output.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name, labels = series.rstrip("}").split("{")
            given = dict(re.findall(r'(\w+)="(.*?)"', labels))
            assert ("glance-api", service.name) == (given["agent"], given["resource"])
            found[f"{name} {given.get('level', '')}".strip()] = float(value)
    return found


def test_life(service: Service, need: Callable[[str, str], str]) -> None:
    """From start to stop: whether the daemon runs; each level's last verdict, time, duration."""
    expect(service.probe(), 7)
    assert {} == samples(service)
    expect(service.start(), 0)
    assert {metrics.RUNNING: 1} == samples(service)

    begin = time.time()
    expect(service.monitor(level=0), 0)
    service.config.set(public="500")
    expect(service.monitor(), 1)
    found = samples(service)
    assert {metrics.RUNNING, *(f"{name} {level}" for name in NAMES - {metrics.RUNNING}
                               for level in (0, 10))} == set(found)
    assert (1, 0, 1) == (found[metrics.RUNNING], found[f"{metrics.CODE} 0"],
                         found[f"{metrics.CODE} 10"])
    for level in (0, 10):
        assert begin - 1 < found[f"{metrics.TIME} {level}"] < time.time() + 1
        assert 0 < found[f"{metrics.DURATION} {level}"] < time.time() - begin + 1
    promtool(need, "check", "metrics", text=printed(service).output)

    expect(service.stop(), 0)
    assert {**found, metrics.RUNNING: 0} == samples(service)


def test_a_probe_leaves_nothing(service: Service) -> None:
    """A probe, and any action but a recurring monitor, writes no verdict."""
    expect(service.start(), 0)
    expect(service.probe(), 0)
    expect(service.call("validate-all"), 0)
    assert [] == [*service.state_folder.glob("*.last")]


def test_a_daemon_that_has_ended(service: Service) -> None:
    """A daemon that was killed does not run, whatever its last verdict."""
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    for pid in service.pids():
        os.kill(pid, signal.SIGKILL)
    assert service.gone()
    assert 0 == samples(service)[metrics.RUNNING]
    expect(service.monitor(level=0), 7)
    assert 7 == samples(service)[f"{metrics.CODE} 0"]


def test_what_is_raised_is_left(service: Service) -> None:
    """A monitor that ends by an error writes its code, too."""
    expect(service.start(), 0)
    no_proc = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    expect(service.monitor(level=0, prefix=no_proc), 1, "/proc")
    assert 1 == samples(service)[f"{metrics.CODE} 0"]


def test_no_secret_is_left(make_service: MakeService) -> None:
    """Neither password nor token is in a monitor's verdict file, which only root may read."""
    service = make_service(credentials=True, password="swordfish")
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    service.parameters["os_password"] = "mackerel"
    expect(service.monitor(), 190, "refuses")
    (left,) = service.state_folder.glob("*.last")
    text = left.read_text(encoding="utf-8")
    assert "refuses user monitor" in text
    secrets = ["swordfish", "mackerel", *service.keystone.tokens_issued]
    assert [] == [secret for secret in secrets if secret in text]
    assert 0o600 == stat.S_IMODE(left.stat().st_mode)


def test_output(service: Service, folder: Path) -> None:
    """--output replaces the file with a whole new one that every user can read."""
    expect(service.start(), 0)
    expect(service.monitor(), 0)
    file, precious = folder / "ours.prom", folder / "precious"
    precious.write_text("precious")
    file.symlink_to(precious)
    done = printed(service, "--output", str(file))
    assert (0, "", "") == (done.code, done.output, done.said)
    assert (False, 0o644) == (file.is_symlink(), stat.S_IMODE(file.stat().st_mode))
    assert printed(service).output == file.read_text()
    assert "precious" == precious.read_text()
    assert {"ours.prom", "precious"} == {path.name for path in folder.iterdir() if path.is_file()}


def test_output_nowhere(folder: Path) -> None:
    """A file that cannot be written is one sentence, and exit code 2."""
    done = command("metrics", "--output", str(folder / "no" / "a.prom"), HA_RSCTMP=str(folder))
    assert (2, "") == (done.code, done.output)
    assert "--output" in done.said and "no such file or directory" in done.said


def test_cheap(tmp_path: Path) -> None:
    """metrics, which a timer runs, loads no module that it does not need."""
    code = ("import sys; from openstack_ocf.command import main; assert main(['metrics']) == 0\n"
            "print(*sorted(name for name in sys.modules if name.startswith('openstack_ocf.')))\n"
            "print(*sorted({'xml', 'subprocess', 'configparser', 'http'} & {*sys.modules}))")
    done = subprocess.run(
        ["/usr/bin/python3", "-BEsc", code], cwd=ROOT, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "HA_RSCTMP": str(tmp_path)})
    assert (0, "") == (done.returncode, done.stderr)
    modules, dear = done.stdout.splitlines()
    assert ["command", "errors", "metrics", "nodeverbs", "records", "words"] == [
        name.partition(".")[2] for name in modules.split()]
    assert "" == dear


def test_not_root(service: Service, folder: Path) -> None:
    """A user who may not read the agents' folder is told so; exit code 3."""
    expect(service.start(), 0)
    done = as_nobody(folder, "metrics", HA_RSCTMP=str(service.rsctmp))
    assert (3, "") == (done.code, done.output)
    assert "only root may read it" in done.said


@pytest.mark.parametrize("junk", [b"", b"\0" * 9999, b"tag a:b\nlevel ten\n", b"[" * 9999,
                                  b'{"tag": 7}', b'{"tag": "a:../../b"}', b"\xff\xfe"])
def test_junk(folder: Path, junk: bytes) -> None:
    """A file that is no state and no verdict is ignored."""
    place = folder / "openstack"
    place.mkdir(mode=0o700)
    for name in ("a:b.json", "a:b.10.last", "a:b.0.last", "a:b.lock", ".a:b.json.12"):
        (place / name).write_bytes(junk)
    done = command("metrics", HA_RSCTMP=str(folder))
    assert (0, "", "") == (done.code, done.output, done.said)


def test_labels() -> None:
    """Characters that would end a label's value are escaped."""
    text = metrics.metrics([Instance("a", 'p"\\', False, (Verdict("a:p", 0, 0, "", 0.1, 5.0),))])
    assert 'openstack_ocf_running{agent="a",resource="p\\"\\\\"} 0\n' in text


def test_alert_rules(need: Callable[[str, str], str]) -> None:
    """The alert rules are valid, and about existing metrics."""
    promtool(need, "check", "rules", str(RULES))
    assert NAMES == used(RULES.read_text())


ALERTS = """
rule_files: [RULES]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'openstack_ocf_running{agent="a", resource="p", instance="one"}'
        values: '0x30'
      - series: 'openstack_ocf_running{agent="a", resource="p", instance="two"}'
        values: '1x9 0x20'
      - series: 'openstack_ocf_monitor_code{agent="a", resource="p", level="10", instance="one"}'
        values: '1x30'
      - series: 'openstack_ocf_monitor_code{agent="a", resource="p", level="10", instance="two"}'
        values: '0 1x30'
    alert_rule_test:
      - {eval_time: 4m, alertname: OpenStackResourceRunsNowhere}
      - eval_time: 4m
        alertname: OpenStackMonitorFails
        exp_alerts:
          - exp_labels: {agent: a, resource: p, level: "10", instance: two, severity: critical}
            exp_annotations: {summary: p runs on two and does not serve,
                              description: "On that node: openstack-ocf explain p"}
      - eval_time: 15m
        alertname: OpenStackResourceRunsNowhere
        exp_alerts:
          - exp_labels: {agent: a, resource: p, severity: critical}
            exp_annotations: {summary: p runs on no node,
                              description: "On its node: openstack-ocf explain p"}
      - {eval_time: 15m, alertname: OpenStackMonitorFails}
"""


def test_alerts(need: Callable[[str, str], str], tmp_path: Path) -> None:
    """The old verdict of a node that a resource has left raises no alert; a resource without a
    node, or one that does not serve, raises one."""
    file = tmp_path / "test.yml"
    file.write_text(ALERTS.replace("RULES", str(RULES)))
    promtool(need, "test", "rules", str(file))


def test_dashboard() -> None:
    """The dashboard is JSON, and shows each of the metrics, and no unknown one."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    assert NAMES == used(shown)
    assert len(panels) == len({panel["id"] for panel in panels})
    assert NAMES == used(DASHBOARD.read_text())


def used(text: str) -> set[str]:
    """The metrics that a text names."""
    return set(re.findall(r"openstack_ocf_\w+", text))


def test_kept_while_it_is_read(service: Service) -> None:
    """Monitors may end while the metrics are read: their files are replaced whole."""
    expect(service.start(), 0)
    expect(service.monitor(level=0), 0)
    running = [service.begin("monitor", interval=10, level=0) for _ in range(4)]
    while any(one.process.poll() is None for one in running):
        assert {f"{metrics.CODE} 0", metrics.RUNNING} <= set(samples(service))
    assert [0, 0, 0, 0] == [one.wait().code for one in running]
    eventually(lambda: not [*service.state_folder.glob(".*")])
