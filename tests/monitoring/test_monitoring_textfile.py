"""The text file that node_exporter reads."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from monitoring_support import NOW, configuration, live, receiver, succeeded, task
from prometheus_client.parser import text_string_to_metric_families

from runner.history.standing import update_standing
from runner.history.state import StateDirectory
from runner.monitoring.figures import figures_of
from runner.monitoring.textfile import export_metrics, write_metrics_file
from runner.testing.fake_clock import FakeClock

FIGURES = figures_of(configuration(task("mail")), [succeeded("mail")], NOW)


def families(path: Path) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = path.read_text("utf-8")
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_it_is_readable_for_others_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "sync.prom"
    before = os.umask(0o077)
    try:
        assert write_metrics_file(str(path), FIGURES) is None
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert families(path)["sync_runner_task_last_exit_code"] == [({"task": "mail"}, 0)]


def test_figures_of_the_service_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "sync.prom"
    figures = figures_of(configuration(task("mail")), [succeeded("mail")], NOW, live())
    assert write_metrics_file(str(path), figures) is None
    assert "sync_runner_build_info" not in families(path)


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "sync.prom"
    assert write_metrics_file(str(path), FIGURES) is None
    whole = path.read_bytes()
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(100):
        assert write_metrics_file(str(path), FIGURES) is None
    stop.set()
    thread.join()
    assert seen <= {whole}
    assert os.listdir(tmp_path) == ["sync.prom"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "sync.prom"
    path.symlink_to(victim)
    assert write_metrics_file(str(path), FIGURES) is None
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


@pytest.mark.parametrize("kind", ["missing folder", "a folder in its place"])
def test_what_cannot_be_written_is_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "nothing" / "sync.prom"
    if kind != "missing folder":
        path.mkdir(parents=True)
    warning = write_metrics_file(str(path), FIGURES)
    assert warning is not None
    assert warning.startswith(f"settings.monitoring.metrics_file {path} was not written: ")
    if path.parent.exists():
        assert os.listdir(path.parent) == ["sync.prom"]


def test_the_missing_extra_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    warning = write_metrics_file(str(tmp_path / "sync.prom"), FIGURES)
    assert warning is not None
    assert "sync-runner[monitoring]" in warning


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    warning = write_metrics_file(str(tmp_path / "sync.prom"), FIGURES)
    assert warning is not None
    assert warning.endswith("was not written: No space left on device")
    assert os.listdir(tmp_path) == []


def test_without_a_declared_file_nothing_is_done(tmp_path: Path) -> None:
    assert export_metrics(configuration(state=str(tmp_path / "state")), FakeClock()) is None
    assert os.listdir(tmp_path) == []


def test_it_holds_every_task_of_the_configuration(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path / "state"))
    state.prepare()
    update_standing(state, "mail", lambda before: succeeded("mail"))
    path = tmp_path / "sync.prom"
    declared = configuration(task("mail"), task("web"), state=state.path, metrics_file=str(path))
    assert export_metrics(declared, FakeClock(NOW)) is None
    found = families(path)
    assert {labels["task"] for labels, _ in found["sync_runner_task_enabled"]} == {"mail", "web"}
    assert found["sync_runner_task_transferred_bytes"] == [({"task": "mail"}, 40960), ({"task": "web"}, 0)]


# -- the real command ----------------------------------------------------------------------------------------


class Project:
    """A folder with a sync.yaml, and the command in it."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        (folder / "source").mkdir()
        (folder / "source" / "a").write_text("hello")
        (folder / "prom").mkdir()
        (folder / "sync.yaml").write_text(
            f"""version: 1
settings: {{monitoring: {{{settings}}}}}
locations:
  from: {{type: local, path: ./source}}
  to: {{type: local, path: ./target}}
tasks:
  mail: {{source: from, destination: to, max_age: 1h}}
"""
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )


def test_run_and_freshness_bring_it_up_to_date(tmp_path: Path) -> None:
    project = Project(tmp_path, "metrics_file: ./prom/sync.prom")
    path = tmp_path / "prom" / "sync.prom"
    assert project.command("freshness").returncode == 9
    assert families(path)["sync_runner_task_overdue"] == [({"task": "mail"}, 1)]
    ran = project.command("run", "mail", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    found = families(path)
    assert found["sync_runner_task_overdue"] == [({"task": "mail"}, 0)]
    assert found["sync_runner_task_last_transferred_bytes"] == [({"task": "mail"}, 5)]
    assert {labels["status"]: number for labels, number in found["sync_runner_task_executions"]} == {
        "SUCCESS": 1,
        "ERROR": 0,
        "CANCELLED": 0,
    }


def test_a_file_that_cannot_be_written_does_not_harm_the_run(tmp_path: Path) -> None:
    project = Project(tmp_path, "metrics_file: ./nowhere/sync.prom")
    ran = project.command("run", "mail", "--json")
    assert ran.returncode == 0
    assert "metrics_file" in ran.stderr
    assert json.loads(ran.stdout)["execution"]["status"] == "SUCCESS"
    assert (tmp_path / "target" / "a").read_text() == "hello"


def test_a_run_sends_its_trace_and_ends_well_without_a_receiver(tmp_path: Path) -> None:
    with receiver() as one:
        project = Project(tmp_path, f'traces_endpoint: "http://127.0.0.1:{one.port}/v1/traces"')
        ran = project.command("run", "mail", "--quiet")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert len(one.taken) == 1
        assert b"sync_runner.execution" in one.taken[0][2]
        one.status = 400
        refused = project.command("verify", "mail", "--quiet")
    assert refused.returncode == 0
    assert "was not taken: the endpoint answered with HTTP 400" in refused.stderr
