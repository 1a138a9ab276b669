from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

import runner.execution.record as record


class QuietNotebook:
    """History is another part's; here it would only cost a database for each of thousands of executions."""

    def __init__(self, context: object) -> None:
        self.context = context

    def started(self, execution_id: str, task: object, trigger: object, started_at: datetime) -> None:
        return

    def ended(self, report: object, folder: str) -> None:
        return

    def close(self) -> list[str]:
        return []


@pytest.fixture(autouse=True)
def quiet_history(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook: Callable[[Any], QuietNotebook] = QuietNotebook
    monkeypatch.setattr(record, "Notebook", notebook)
