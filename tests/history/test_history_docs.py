"""What docs/history.md and docs/freshness.md say is what holds."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path

import yaml
from history_project import COMMAND, Project

from runner.errors import ExitCode
from runner.execution.notebook import CLOSE_SECONDS
from runner.history.freshness import CLOCK_TOLERANCE_SECONDS
from runner.history.postgres import CONNECT_SECONDS, STATEMENT_SECONDS
from runner.history.records import SlotOutcome
from runner.history.store import open_history
from runner.model.automation import Retention
from runner.model.execution import LISTED_AT_MOST

DOCS = Path(__file__).parents[2] / "docs"
HISTORY = (DOCS / "history.md").read_text("utf-8")
FRESHNESS = (DOCS / "freshness.md").read_text("utf-8")


def test_every_outcome_is_explained() -> None:
    assert re.findall(r"^\| `([A-Z_]+)` \|", HISTORY, re.MULTILINE) == [
        outcome.value for outcome in SlotOutcome
    ]


def test_the_figures_are_the_programs_own() -> None:
    lock_seconds = inspect.signature(open_history).parameters["busy_timeout_seconds"].default
    one_line = " ".join(HISTORY.split())
    for words in (
        f"It waits {CONNECT_SECONDS} s for a connection",
        f"{lock_seconds:g} s for a lock, and {STATEMENT_SECONDS} s for a statement",
        f"the execution waits for it, {CLOSE_SECONDS:g} s at most",
        f"each list up to {LISTED_AT_MOST:,} lines",
    ):
        assert words in one_line, words
    assert CLOCK_TOLERANCE_SECONDS == 300 and "more than five minutes" in FRESHNESS
    assert f"| {int(ExitCode.OVERDUE)} | at least one is overdue |" in FRESHNESS


def test_the_retention_shown_is_the_default() -> None:
    (block,) = re.findall(r"```yaml\n(settings:\n  retention.*?)```", HISTORY, re.DOTALL)
    shown = yaml.safe_load(block)["settings"]["retention"]
    assert shown == {"keep": f"{Retention().keep_days:g}d", "keep_last": Retention().keep_last}


def test_the_line_for_cron_speaks_only_when_something_is_overdue(tmp_path: Path) -> None:
    (line,) = re.findall(r"^\*/30 \* \* \* \*  (.*)$", FRESHNESS, re.MULTILINE)
    project = Project(tmp_path, None, max_age="26h")
    command = line.replace("/etc/sync-runner/sync.yaml", "sync.yaml").replace("sync-runner", COMMAND[0])

    def cron() -> str:
        return subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert "has never succeeded" in cron()
    assert project.run("run", "photos").code == 0
    assert cron() == ""
