"""status, history, --slots, --failed, --since, --prune and compare on both databases; the whole tour with the
installed command."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from history_backends import Backend, opened
from history_project import Project
from history_support import make_report
from servers.serve_postgres import PASSWORD, USER, Postgres

from runner.cli.show_history import slot_lines
from runner.cli.text import Page
from runner.clock import SystemClock
from runner.history.records import SlotOutcome, SlotRecord
from runner.model.entry import Phase
from runner.testing.fake_clock import START


@pytest.fixture
def project(backend: Backend, tmp_path: Path) -> Project:
    url = backend.url if "://" in backend.url else f"sqlite:///{backend.url}"
    return Project(tmp_path, url, max_age="1d")


def slots(backend: Backend) -> list[SlotRecord]:
    """One of each outcome, an hour apart, the last one an hour ago."""
    now = SystemClock().now().replace(microsecond=0)
    outcomes = list(SlotOutcome)
    records = [
        SlotRecord(
            task="photos" if number < 4 else "music",
            slot=now - timedelta(hours=len(outcomes) - number),
            outcome=outcome,
            reason=f"reason {number}",
            execution_id="65a000000001" if outcome is SlotOutcome.RAN else None,
            decided_at=now,
        )
        for number, outcome in enumerate(outcomes)
    ]
    history = opened(backend, SystemClock())
    history.record_slots(records)
    history.close()
    return records


@pytest.mark.slow
def test_the_whole_tour(project: Project, backend: Backend) -> None:
    assert project.command("status").code == 0
    assert project.command("run", "photos").code == 0
    shutil.rmtree(project.folder / "src")
    assert project.command("run", "photos").code == 7
    status = project.command("status", "--json")
    assert (status.code, status.json["tasks"][0]["last"]["exit_code"]) == (0, 7)
    assert [row[1] for row in project.executions()] == ["ERROR", "SUCCESS"]
    failed = project.command("history", "--failed", "--since", "7d", "--json")
    assert (failed.code, [row["exit_code"] for row in failed.json["executions"]]) == (0, [7])
    assert project.command("history", "photos", "--since", "2999-01-01", "--json").json == {"executions": []}
    (newer, _), (older, _) = project.executions()
    compared = project.command("history", "compare", older, newer)
    assert (compared.code, "Problems that are new: 1" in compared.out) == (0, True)
    assert project.command("freshness").code == 0
    assert backend.execute("SELECT count(*) FROM executions") == [(2,)]
    pruned = project.command("history", "--prune", "--json")
    assert (pruned.code, pruned.json) == (0, {"forgotten": []})


def test_scheduled_times_are_listed(project: Project, backend: Backend) -> None:
    records = slots(backend)
    everything = project.run("history", "--slots", "--json")
    assert everything.code == 0
    listed = everything.json["slots"]
    assert [one["outcome"] for one in listed] == [record.outcome.value for record in reversed(records)]
    assert [one["execution_id"] for one in listed].count("65a000000001") == 1
    mine = project.run("history", "photos", "--slots", "--json").json["slots"]
    assert {one["task"] for one in mine} == {"photos"}
    unmet = project.run("history", "--slots", "--failed", "--json").json["slots"]
    assert [one["outcome"] for one in unmet] == ["INTERRUPTED", "MISSED", "SKIPPED"]
    late = project.run("history", "--slots", "--since", "150m", "--json").json["slots"]
    assert [one["reason"] for one in late] == ["reason 5", "reason 4"]
    text = project.run("history", "--slots", "--limit", "1")
    assert text.out.splitlines()[0].split() == ["task", "scheduled", "outcome", "execution", "reason"]
    assert text.out.splitlines()[-1] == "There are more: --limit NUMBER shows them."
    assert project.run("history", "nosuch", "--slots").code == 2
    assert project.run("history", "photos", "--slots", "--prune").code == 2


def test_failed_ones_of_other_hosts_are_listed_too(project: Project, backend: Backend) -> None:
    history = opened(backend, SystemClock())
    for number, status in enumerate((Phase.SUCCESS, Phase.ERROR, Phase.CANCELLED), 1):
        history.record_end(make_report(f"65a00000000{number}", status=status), "/elsewhere")
    history.close()
    rows = project.run("history", "--failed", "--json").json["executions"]
    assert [row["execution_id"] for row in rows] == ["65a000000003", "65a000000002"]


def test_a_line_for_every_outcome() -> None:
    records = [
        SlotRecord(task="t", slot=START, outcome=outcome, reason="r\x1b", decided_at=START)
        for outcome in SlotOutcome
    ]
    lines = slot_lines(records, Page(colour=True), more=False)
    assert len(lines) == 1 + len(SlotOutcome)
    assert "caught up" in "\n".join(lines) and "r\x1b" not in "\n".join(lines)
    assert slot_lines([], Page(), more=False) == ["No scheduled time yet."]


@pytest.mark.servers
@pytest.mark.parametrize("how", ["secret_file", "passfile"])
def test_the_ways_to_give_a_password_that_the_page_names(
    postgres: Postgres, tmp_path: Path, how: str
) -> None:
    """The password has in it everything that a URL reads otherwise."""
    database = postgres.new_database()
    project = Project(tmp_path, None)
    secret = tmp_path / "secret"
    place = f"127.0.0.1:{postgres.port}/{database}"
    if how == "secret_file":
        secret.write_text(PASSWORD + "\n")
        url = f"postgresql+psycopg://{USER}:{{{{ secret_file('secret') | urlencode }}}}@{place}"
    else:
        escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        secret.write_text(f"127.0.0.1:{postgres.port}:*:{USER}:{escaped}\n")
        url = f"postgresql+psycopg://{USER}@{place}?passfile={secret}"
    secret.chmod(0o600)
    project.configure({"history": url})
    assert project.run("run", "photos").code == 0
    assert postgres.execute(database, "SELECT status FROM executions") == [("SUCCESS",)]
    postgres.drop(database)
