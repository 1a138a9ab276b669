"""docs/reports.md knows every file, format, column, state and verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.model.task import ReportFormat
from runner.report.as_csv import COLUMNS
from runner.report.page_rows import ROWS_AT_MOST
from runner.report.render import FILE_NAMES
from runner.report.rows import RowState
from runner.report.stored import FINDINGS_FILE, OUTCOMES_FILE, PROBLEMS_FILE
from runner.report.words import VERDICT_MEANINGS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
NAMED = [
    *COLUMNS,
    *RowState,
    *ReportFormat,
    *FILE_NAMES.values(),
    OUTCOMES_FILE,
    FINDINGS_FILE,
    PROBLEMS_FILE,
]


@pytest.mark.parametrize("name", NAMED)
def test_it_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCUMENT


def test_the_verdicts_are_the_codes_own() -> None:
    rows = [
        f"| `{verdict}` | {meaning} | {remedy} |" for verdict, (meaning, remedy) in VERDICT_MEANINGS.items()
    ]
    assert DOCUMENT.endswith("\n".join(rows) + "\n")


def test_the_page_s_bound_is_the_one_documented() -> None:
    assert f"{ROWS_AT_MOST:,} rows" in DOCUMENT
