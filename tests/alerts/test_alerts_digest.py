"""The digest, and the command that sends it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from alerts_support import NOON, Receiver, make_task, receiver
from test_alerts_end_to_end import SECRET, Place, place  # noqa: F401

from runner.alerts.digest import digest_message, digest_period
from runner.history.records import HistoryRow, HistoryStatus
from runner.history.standing import BY_USER, Rest, Standing
from runner.model.automation import Automation, DigestSettings
from runner.model.execution import Counters
from runner.model.task import Configuration, Task

pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated and slated for removal:DeprecationWarning")

WEEK_AGO = NOON - timedelta(days=7)


def configuration(*tasks: Task) -> Configuration:
    return Configuration("/etc/sync.yaml", {}, {task.name: task for task in tasks}, "/none")


def row(task: str, status: HistoryStatus, size: int = 0, trigger: str = "schedule") -> HistoryRow:
    return HistoryRow(
        execution_id="6b0348f56ecc", task=task, trigger=trigger, status=status, started_at=NOON, host="h",
        config_file="c", config_digest="d", filter_digest="f", counters=Counters(bytes_transferred=size),
    )  # fmt: skip


def test_those_that_need_a_look_come_first() -> None:
    day = Automation(max_age_seconds=86_400.0)
    tasks = [
        make_task(name="well"),
        make_task(day, name="old"),
        make_task(name="failing"),
        make_task(name="new"),
        make_task(name="paused"),
        msgspec.structs.replace(make_task(name="off"), enabled=False),
    ]
    good = Standing("well", last_execution="x", last_success_at=NOON - timedelta(hours=2))
    standings = {
        "well": good,
        "old": msgspec.structs.replace(good, task="old", last_success_at=NOON - timedelta(days=3)),
        "failing": msgspec.structs.replace(
            good, task="failing", failures_in_a_row=3, last_summary="Disk \x1bfull."
        ),
        "paused": msgspec.structs.replace(good, task="paused", rest=Rest(BY_USER, NOON, "paused: new disk")),
    }
    rows = [
        row("well", HistoryStatus.SUCCESS, 1024),
        row("well", HistoryStatus.ERROR, 1024),
        row("well", HistoryStatus.RUNNING, 9999),
        row("well", HistoryStatus.ERROR, trigger="verify"),
    ]
    message = digest_message(configuration(*tasks), standings, rows, NOON, WEEK_AGO)
    assert message.subject.endswith(": 4 of 5 tasks need a look")
    assert message.body == (
        "2026-02-22 12:00:00 UTC to 2026-03-01 12:00:00 UTC, /etc/sync.yaml\n"
        "\n"
        "old: OVERDUE: it succeeded 3 d 0 h ago, more than 24 h\n"
        "  runs:         0\n"
        "  last success: 2026-02-26 12:00:00 UTC, 3 d 0 h ago (allowed: 24 h)\n"
        "\n"
        "failing: FAILING: the last 3 runs failed\n"
        "  runs:         0\n"
        "  last success: 2026-03-01 10:00:00 UTC, 2 h 0 min ago\n"
        "  last ending:  Disk \\x1bfull.\n"
        "\n"
        "new: it has never run\n"
        "  runs:         0\n"
        "  last success: never\n"
        "\n"
        "paused: RESTING: it is not started by its schedule\n"
        "  runs:         0\n"
        "  last success: 2026-03-01 10:00:00 UTC, 2 h 0 min ago\n"
        "  resting:      paused: new disk\n"
        "\n"
        "well: well\n"
        "  runs:         2, 1 failed, 2.0 KiB transferred\n"
        "  last success: 2026-03-01 10:00:00 UTC, 2 h 0 min ago"
    )


def test_without_history_it_says_so() -> None:
    standing = Standing("photos", last_execution="x", last_success_at=NOON)
    message = digest_message(configuration(make_task()), {"photos": standing}, None, NOON, WEEK_AGO)
    assert message.subject.endswith(": 1 task is well")
    assert "History could not be read: how often tasks ran and failed is not known.\n" in message.body
    assert "runs:" not in message.body


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        (None, timedelta(days=7)),
        ("0 8 * * mon", timedelta(days=7)),
        ("0 8 * * *", timedelta(days=1)),
        ("0 * * * *", timedelta(hours=1)),
        ("0 8 1 * *", timedelta(days=28)),
        ("0 8 1 1 *", timedelta(days=365)),
    ],
)
def test_it_looks_back_to_the_digest_before(cron: str | None, expected: timedelta) -> None:
    settings = None if cron is None else DigestSettings(("ops",), cron)
    assert (cron, digest_period(settings, NOON)) == (cron, expected)


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_shows_and_sends_it(place: Place) -> None:  # noqa: F811
    place.more["notifications"]["digest"] = {"to": ["ops"]}
    place.declare()
    assert place.call("run", "-q")[0] == 0
    code, shown, _ = place.call("notify", "digest", "--print")
    assert (code, place.service.requests) == (0, [])
    assert shown.splitlines()[0].endswith(": 1 task is well")
    assert "  runs:         1, 4 B transferred" in shown.splitlines()
    code, stdout, _ = place.call("notify", "digest", "--json")
    assert (code, json.loads(stdout)["results"]) == (0, [{"channel": "ops", "error": None}])
    assert place.service.requests[0].value["title"] == shown.splitlines()[0]


def test_a_database_that_is_down_costs_only_the_numbers(place: Place) -> None:  # noqa: F811
    place.call("run", "-q")
    (place.folder / ".sync-runner" / "history.sqlite").unlink(missing_ok=True)
    (place.folder / ".sync-runner" / "history.sqlite").mkdir()
    code, stdout, stderr = place.call("notify", "digest", "--print")
    assert (code, "History could not be read" in stdout) == (0, True)
    assert stderr.startswith("warning: ")


def test_channels_are_tried_out(place: Place) -> None:  # noqa: F811
    place.more["notifications"]["channels"]["none"] = "nosuchservice://x"
    place.declare()
    code, stdout, stderr = place.call("notify", "test")
    assert (code, stdout.splitlines(), stderr) == (
        4,
        ["ops: sent", "none: not sent: Apprise does not know such an address, or it lacks a part"],
        "",
    )
    assert place.service.requests[0].value["title"].startswith("[sync-runner] test of channel ops from ")
    assert place.call("notify", "test", "ops", "-q") == (0, "", "")
    assert SECRET not in stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("test", "nobody"), "there is no channel 'nobody' in sync.yaml"),
        (("digest",), "sync.yaml declares no digest, so nobody would get it"),
        (("test", "--print"), "--print is for the digest"),
    ],
)
def test_what_makes_no_sense_is_said(words: tuple[str, ...], said: str, place: Place) -> None:  # noqa: F811
    code, _, stderr = place.call("notify", *words)
    assert (code, said in stderr) == (2, True)


def test_without_channels_there_is_nothing_to_test(place: Place) -> None:  # noqa: F811
    place.more = {}
    place.declare()
    assert place.call("notify", "test")[0] == 2


def test_faulty_templates_are_told_by_validate_and_replaced_when_used(place: Place) -> None:  # noqa: F811
    (place.folder / "own").mkdir()
    (place.folder / "own" / "always.j2").write_text("{% if %}")
    place.more["notifications"]["templates"] = "./own"
    place.declare(notify=[{"to": "ops", "on": ["always"]}])
    code, _, stderr = place.call("validate")
    assert (code, stderr.splitlines()[0]) == (
        2,
        f"{place.folder}/own/always.j2:1:1: Expected an expression, got 'end of statement block'",
    )
    code, stdout, _ = place.call("validate", "--json")
    assert [one["file"] for one in json.loads(stdout)["diagnostics"]] == [f"{place.folder}/own/always.j2"]
    code, _, stderr = place.call("run", "-q")
    assert code == 0
    assert "own/always.j2 is faulty, the built-in one is used: line 1: " in stderr
    assert place.told()[0][0].endswith(": Done")


def test_a_receiver_is_a_receiver(tmp_path: Path) -> None:
    """Were the receiver deaf, every test that expects no message would pass."""
    with receiver() as running:
        assert isinstance(running, Receiver)
        assert running.port > 0
