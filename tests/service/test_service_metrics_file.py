"""Metrics where there is more, or less, than a scrape: the text file, and a machine without prometheus_client."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers.process import free_port
from serving import Serving

pytestmark = pytest.mark.slow


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_service_keeps_the_text_file_of_all_tasks(serving: Serving) -> None:
    serving.fill(2, 500)
    serving.configure(
        "  a: {source: source, destination: one, schedule: {every: 1s}}\n  b: {source: source, destination: two}\n"
    )
    sync_yaml = serving.folder / "sync.yaml"
    sync_yaml.write_text(
        sync_yaml.read_text().replace("settings: {", "settings: {monitoring: {metrics_file: ./sync.prom}, ")
    )
    path = serving.folder / "sync.prom"

    def transferred() -> dict[str, float]:
        if not path.exists():
            return {}
        return {
            sample.labels["task"]: sample.value
            for family in text_string_to_metric_families(path.read_text())
            for sample in family.samples
            if sample.name == "sync_runner_task_transferred_bytes_total"
        }

    serving.start()
    serving.until(lambda: transferred() == {"a": 1000, "b": 0})
    assert serving.command("run", "b", "--quiet").returncode == 0
    serving.until(lambda: transferred() == {"a": 1000, "b": 1000})
    assert serving.stop() == 0


def test_without_prometheus_client_only_metrics_are_missing(serving: Serving) -> None:
    hidden = serving.folder / "hidden"
    hidden.mkdir()
    # Where the interpreter starts, the package is hidden, as if it were not installed.
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['prometheus_client'] = None\n")
    serving.environment["PYTHONPATH"] = str(hidden)
    serving.fill(1, 100)
    serving.configure("  a: {source: source, destination: one, schedule: {every: 1s}}\n")
    sync_yaml = serving.folder / "sync.yaml"
    port = free_port()
    sync_yaml.write_text(sync_yaml.read_text().replace('http: "off"', f'http: "127.0.0.1:{port}"'))
    serving.start()
    serving.until(lambda: (serving.folder / "one" / "f00000").exists())
    for _ in range(3):
        status, text = get(port, "/metrics")
        assert status == 503
        assert "pip install 'sync-runner[monitoring]'" in text
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/readyz")[0] == 200
    assert serving.stop() == 0
    assert len(re.findall("prometheus-client", serving.log.read_text())) == 1


def test_a_scrape_while_it_runs_tells_the_phase_and_counters_only_rise(serving: Serving) -> None:
    serving.fill(20, 50_000)
    serving.configure("  a: {source: source, destination: one, options: {bandwidth: 200KiB/s}}\n")
    sync_yaml = serving.folder / "sync.yaml"
    port = free_port()
    sync_yaml.write_text(sync_yaml.read_text().replace('http: "off"', f'http: "127.0.0.1:{port}"'))

    def scrape() -> dict[str, float]:
        return {
            json.dumps([sample.name, sample.labels]): sample.value
            for family in text_string_to_metric_families(get(port, "/metrics")[1])
            for sample in family.samples
        }

    def running_phase() -> bool:
        wanted = json.dumps(["sync_runner_execution_phase", {"phase": "TRANSFERRING", "task": "a"}])
        return scrape().get(wanted) == 1

    serving.start()
    before = scrape()
    run = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "a", "--quiet"],
        cwd=serving.folder,
        env=serving.environment,
    )
    serving.until(running_phase)
    during = scrape()
    assert during[json.dumps(["sync_runner_executions_running", {}])] == 1
    assert during[json.dumps(["sync_runner_task_running", {"task": "a"}])] == 1
    assert run.wait(60) == 0
    serving.until(
        lambda: scrape()[json.dumps(["sync_runner_task_transferred_bytes_total", {"task": "a"}])] == 1_000_000
    )
    after = scrape()
    for earlier, later in ((before, during), (during, after)):
        for key, number in earlier.items():
            if json.loads(key)[0].endswith("_total"):
                assert later[key] >= number, key
    assert json.dumps(["sync_runner_execution_start_timestamp_seconds", {"task": "a"}]) not in after
    assert serving.stop() == 0
