"""Alarms and the dashboard: they name metrics that exist, and the alarms come when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers.process import missing

from runner.monitoring.names import METRICS

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "packaging" / "prometheus-rules.yaml"
CASES = Path(__file__).with_name("prometheus-rules.test.yaml")
DASHBOARD = json.loads((ROOT / "packaging" / "grafana-dashboard.json").read_text("utf-8"))
LABELS = {metric.name: set(metric.labels) for metric in METRICS}


def promtool() -> str:
    cached = ROOT / ".ci-cache" / "promtool" / "promtool"
    found = str(cached) if cached.exists() else shutil.which("promtool")
    if found is None:
        missing("promtool", "tests/servers/install_promtool.sh")
    assert found is not None
    return found


def alarms() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def expressions() -> list[tuple[str, str]]:
    found = [(rule["alert"], rule["expr"]) for rule in alarms()]
    for panel in DASHBOARD["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found.append((variable["name"], variable["query"]["query"]))
    return found


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=[where for where, _ in expressions()])
def test_metrics_that_are_asked_for_exist(where: str, expression: str) -> None:
    named = set(re.findall(r"\bsync_runner_[a-z_]+", expression))
    assert named or 'up{job="sync-runner"}' in expression
    assert named - set(LABELS) == set()
    for name, matchers in re.findall(r"\b(sync_runner_[a-z_]+)\{([^}]*)\}", expression):
        asked = set(re.findall(r"(\w+)=~?\"", matchers))
        assert asked - LABELS[name] - {"instance", "job"} == set(), name


def test_every_alarm_says_what_to_do_and_is_tried_out() -> None:
    tried = {
        case["alertname"]
        for test in yaml.safe_load(CASES.read_text("utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert {rule["alert"] for rule in alarms()} == tried
    for rule in alarms():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_commands_that_alarms_name_exist() -> None:
    from runner.cli.parser import parse

    for rule in alarms():
        text = re.sub(r"\{\{.*?\}\}", "mail", rule["annotations"]["description"])
        for command in re.findall(r"sync-runner ([a-z]+[^,.]*)", text):
            parse(command.split(), {})


@pytest.mark.servers
def test_the_alarms_come_when_they_should(tmp_path: Path) -> None:
    shutil.copy2(RULES, tmp_path)
    shutil.copy2(CASES, tmp_path)
    tool = promtool()
    for arguments in (["check", "rules", RULES.name], ["test", "rules", CASES.name]):
        checked = subprocess.run([tool, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert panel["datasource"]["uid"] == "${datasource}"
    assert {one["name"] for one in DASHBOARD["templating"]["list"]} == {"datasource", "instance", "task"}
