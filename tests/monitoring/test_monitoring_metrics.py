"""Figures, the text they become, and a parser that was written by others."""

from __future__ import annotations

import importlib.util
import re
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitoring_support import NOW, configuration, live, succeeded, task
from prometheus_client.parser import text_string_to_metric_families

from runner.errors import MissingExtraError
from runner.history.standing import BY_SERVICE, BY_USER, Moved, Rest, Standing
from runner.history.state import StateDirectory
from runner.model.automation import ServiceSettings
from runner.model.entry import Phase
from runner.model.task import BandwidthWindow, Configuration
from runner.monitoring import scrape as scrape_module
from runner.monitoring.figures import Figures, LiveState, RunningFigures, figures_of
from runner.monitoring.metrics import metrics_text, require_prometheus
from runner.monitoring.names import METRICS, MetricKind, Scope
from runner.monitoring.scrape import KnownStandings, MetricsPage
from runner.testing.fake_clock import FakeClock

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: bytes) -> Samples:
    """Every sample by name and labels; fails where one comes twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode("utf-8")):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"sync_runner_{name}", tuple(sorted(labels.items()))))


def shown(declared: Configuration, *standings: Standing, live_state: LiveState | None = None) -> Samples:
    return parsed(metrics_text(figures_of(declared, standings, NOW, live_state)))


def test_what_a_success_looks_like() -> None:
    samples = shown(configuration(task("mail")), succeeded("mail"))
    stamp = NOW.timestamp()
    expected = {
        ("task_enabled", ()): 1,
        ("task_paused", ()): 0,
        ("task_disabled", ()): 0,
        ("task_last_status", (("status", "SUCCESS"),)): 1,
        ("task_last_status", (("status", "ERROR"),)): 0,
        ("task_last_status", (("status", "CANCELLED"),)): 0,
        ("task_last_exit_code", ()): 0,
        ("task_last_duration_seconds", ()): 12.5,
        ("task_last_end_timestamp_seconds", ()): stamp,
        ("task_last_success_timestamp_seconds", ()): stamp,
        ("task_last_files", (("outcome", "transferred"),)): 3,
        ("task_last_files", (("outcome", "deleted"),)): 1,
        ("task_last_files", (("outcome", "failed"),)): 0,
        ("task_last_transferred_bytes", ()): 4096,
        ("task_failures_in_a_row", ()): 0,
        ("task_executions_total", (("status", "SUCCESS"),)): 5,
        ("task_executions_total", (("status", "ERROR"),)): 2,
        ("task_executions_total", (("status", "CANCELLED"),)): 0,
        ("task_files_total", (("outcome", "transferred"),)): 30,
        ("task_files_total", (("outcome", "deleted"),)): 4,
        ("task_files_total", (("outcome", "failed"),)): 2,
        ("task_transferred_bytes_total", ()): 40960,
    }
    assert samples == {
        (f"sync_runner_{name}", tuple(sorted((*labels, ("task", "mail"))))): number
        for (name, labels), number in expected.items()
    }


def test_what_is_not_known_is_not_shown() -> None:
    samples = shown(configuration(task("new")))
    names = {name for name, _ in samples}
    assert "sync_runner_task_last_success_timestamp_seconds" not in names
    assert "sync_runner_task_last_status" not in names
    assert "sync_runner_task_overdue" not in names
    assert value(samples, "task_executions_total", task="new", status="SUCCESS") == 0


def test_tasks_that_left_the_configuration_vanish() -> None:
    samples = shown(configuration(task("kept")), succeeded("kept"), succeeded("gone"))
    assert {dict(labels).get("task") for _, labels in samples} == {"kept"}


@pytest.mark.parametrize(
    ("description", "age_seconds", "max_age_seconds", "enabled", "expected"),
    [
        ("fresh", 60, 3600, True, 0),
        ("too old", 3700, 3600, True, 1),
        ("never", None, 3600, True, 1),
        ("nobody watches", 10**9, None, True, None),
        ("not enabled", 3700, 3600, False, None),
    ],
)
def test_overdue(
    description: str,
    age_seconds: float | None,
    max_age_seconds: float | None,
    enabled: bool,
    expected: int | None,
) -> None:
    declared = configuration(task("mail", max_age_seconds=max_age_seconds, enabled=enabled))
    standing = Standing("mail")
    if age_seconds is not None:
        standing = succeeded("mail", NOW - timedelta(seconds=age_seconds))
    samples = shown(declared, standing)
    assert value(samples, "task_overdue", task="mail") == expected
    assert value(samples, "task_max_age_seconds", task="mail") == max_age_seconds
    assert value(samples, "task_enabled", task="mail") == enabled


@pytest.mark.parametrize(
    ("rest", "paused", "disabled"),
    [
        (None, 0, 0),
        (Rest(BY_USER, NOW, "paused"), 1, 0),
        (Rest(BY_USER, NOW, "paused", NOW + timedelta(hours=1)), 1, 0),
        (Rest(BY_USER, NOW, "paused", NOW), 0, 0),
        (Rest(BY_SERVICE, NOW, "disabled"), 0, 1),
    ],
)
def test_rests(rest: Rest | None, paused: int, disabled: int) -> None:
    samples = shown(configuration(task("mail")), Standing("mail", rest=rest))
    assert value(samples, "task_paused", task="mail") == paused
    assert value(samples, "task_disabled", task="mail") == disabled


def test_what_only_the_service_knows() -> None:
    running = RunningFigures(
        task="mail", started_at=NOW, execution_id="6b0000000001", phase=Phase.TRANSFERRING,
        actions_done=2, actions_total=5, bytes_done=100, bytes_total=900,
    )  # fmt: skip
    declared = msgspec.structs.replace(
        configuration(task("mail"), task("web")),
        service=ServiceSettings(executions=3),
        bandwidth=(BandwidthWindow(limit_bytes_per_second=5_000_000),),
    )
    state = live(running, queued=("web", "web"))
    samples = shown(declared, live_state=state)
    assert value(samples, "executions_running") == 1
    assert value(samples, "executions_limit") == 3
    assert value(samples, "queue_length") == 2
    assert value(samples, "bandwidth_limit_bytes_per_second") == 5_000_000
    assert value(samples, "configuration_ok") == 1
    assert value(samples, "history_reachable") == 1
    assert value(samples, "draining") == 0
    assert value(samples, "slots_total", outcome="RAN") == 7
    assert value(samples, "task_running", task="mail") == 1
    assert value(samples, "task_running", task="web") == 0
    assert value(samples, "task_queued", task="web") == 2
    assert value(samples, "task_next_start_timestamp_seconds", task="mail") == NOW.timestamp()
    assert value(samples, "task_next_start_timestamp_seconds", task="web") is None
    assert value(samples, "execution_phase", task="mail", phase="TRANSFERRING") == 1
    assert value(samples, "execution_phase", task="mail", phase="VERIFYING") == 0
    assert value(samples, "execution_done_bytes", task="mail") == 100
    assert value(samples, "execution_planned_bytes", task="mail") == 900
    assert value(samples, "execution_actions_done", task="mail") == 2
    assert "6b0000000001" not in str(samples)
    # Everything in the table is shown when all of it is known.
    complete = figures_of(declared, [succeeded("mail"), succeeded("web")], NOW, state)
    everything = {name for name, _ in parsed(metrics_text(complete))}
    watched = {"sync_runner_task_overdue", "sync_runner_task_max_age_seconds"}
    assert everything | watched == {metric.name for metric in METRICS}


def test_what_is_wrong_with_the_service() -> None:
    state = msgspec.structs.replace(
        live(), configuration_error="line 3", history_trouble="down", draining=True
    )
    samples = shown(configuration(), live_state=state)
    assert [value(samples, name) for name in ("configuration_ok", "history_reachable", "draining")] == [
        0,
        0,
        1,
    ]
    assert value(samples, "bandwidth_limit_bytes_per_second") is None


def test_without_a_service_only_what_is_so_without_one() -> None:
    figures = figures_of(configuration(task("mail", max_age_seconds=60)), [succeeded("mail")], NOW)
    names = {name for name, _ in parsed(metrics_text(figures))}
    assert names == {metric.name for metric in METRICS if not metric.live}


def test_names_say_what_they_hold() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"sync_runner_[a-z][a-z_]*[a-z]", metric.name)
        assert metric.name.endswith("_total") is (metric.kind is MetricKind.COUNTER), metric.name
        assert set(metric.labels) <= {"task", "status", "phase", "outcome", "version"}, metric.name
        assert (metric.scope is Scope.SERVICE) is ("task" not in metric.labels)
        assert metric.help.endswith((".", "enabled: false.")), metric.name
        # Base units at the end, before _total.
        for unit in ("milliseconds", "minutes", "kilobytes", "percent"):
            assert unit not in metric.name
        for word in ("timestamp", "duration", "age"):
            if f"_{word}" in metric.name:
                assert metric.name.endswith("_seconds"), metric.name


@given(st.text(max_size=30))
def test_no_task_name_breaks_the_text(name: str) -> None:
    samples = shown(configuration(task(name)), succeeded(name))
    assert {dict(labels).get("task") for _, labels in samples} == {name}


# -- the page ------------------------------------------------------------------------------------------------


def write(state: StateDirectory, standing: Standing) -> None:
    from runner.history.standing import update_standing

    update_standing(state, standing.task, lambda before: standing)


def test_standings_are_read_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDirectory(str(tmp_path))
    state.prepare()
    read: list[str] = []
    real = scrape_module.read_standing

    def counting(where: StateDirectory, name: str) -> Standing:
        read.append(name)
        return real(where, name)

    monkeypatch.setattr(scrape_module, "read_standing", counting)
    known = KnownStandings(state)
    assert known.of(["mail", "web"]) == [Standing("mail"), Standing("web")]
    write(state, succeeded("mail"))
    assert known.of(["mail", "web"]) == [succeeded("mail"), Standing("web")]
    assert known.of(["mail"]) == [succeeded("mail")]
    assert read == ["mail"]
    write(state, succeeded("mail", NOW + timedelta(hours=1)))
    assert known.of(["mail"]) == [succeeded("mail", NOW + timedelta(hours=1))]
    assert read == ["mail", "mail"]


def test_counters_never_fall_while_executions_end(tmp_path: Path) -> None:
    """What the page tells of a task only rises, as each execution adds to its standing."""
    state = StateDirectory(str(tmp_path))
    state.prepare()
    clock = FakeClock(NOW)
    declared = configuration(task("mail"), state=str(tmp_path))
    page = MetricsPage(state, clock, lambda: (declared, live()))
    counters = {metric.name for metric in METRICS if metric.kind is MetricKind.COUNTER}
    before: Samples = {}
    standing = Standing("mail")
    for status in (Phase.SUCCESS, Phase.ERROR, Phase.CANCELLED, Phase.SUCCESS):
        moved = Moved(1, 2, 3, 4)
        standing = msgspec.structs.replace(
            standing,
            last_status=status,
            ended={**standing.ended, status: standing.ended.get(status, 0) + 1},
            moved=standing.moved + moved,
        )
        write(state, standing)
        clock.advance(2)
        now = parsed(page()[0])
        for key, number in before.items():
            if key[0] in counters:
                assert now[key] >= number, key
        before = now
    assert value(before, "task_executions_total", task="mail", status="SUCCESS") == 2
    assert value(before, "task_transferred_bytes_total", task="mail") == 16


def test_the_page_is_made_once_a_second_however_often_it_is_asked_for(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path))
    clock = FakeClock(NOW)
    asked = []

    def state_of_things() -> tuple[Configuration, LiveState]:
        asked.append(clock.now())
        return configuration(task("mail")), live()

    page = MetricsPage(state, clock, state_of_things)
    first = page()
    assert [page() for _ in range(50)] == [first] * 50
    assert len(asked) == 1
    clock.advance(1)
    page()
    assert len(asked) == 2


def test_without_prometheus_client_it_is_said_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="prometheus-client") as caught:
        require_prometheus()
    assert caught.value.remedy == "Install the extra: pip install 'sync-runner[monitoring]'"
    with pytest.raises(MissingExtraError):
        metrics_text(Figures(()))
