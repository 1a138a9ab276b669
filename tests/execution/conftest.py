from __future__ import annotations

from collections.abc import Callable

import pytest

import runner.execution.record as record
from runner.execution.notebook import Notebook


class QuietNotebook:
    """History is another part's; here it would only cost a database for each of thousands of executions."""

    def __init__(self, context: object) -> None:
        self.context = context

    def close(self) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Callable[..., None]:
        assert callable(getattr(Notebook, name))
        return lambda *arguments: None


@pytest.fixture(autouse=True)
def quiet_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "Notebook", QuietNotebook)
