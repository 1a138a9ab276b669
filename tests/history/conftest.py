"""A state folder and a history in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from history_support import MakesReport, make_report

from runner.history.state import StateDirectory
from runner.history.store import History, open_history
from runner.testing.fake_clock import FakeClock


@pytest.fixture
def report_of() -> MakesReport:
    return make_report


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    state = StateDirectory(str(tmp_path / "state"))
    state.prepare()
    return state


@pytest.fixture
def history(state: StateDirectory, clock: FakeClock) -> Iterator[History]:
    opened = open_history(state.history_file, clock, busy_timeout_seconds=0.05)
    yield opened
    opened.close()
