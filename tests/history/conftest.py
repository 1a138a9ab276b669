"""A state folder, and a history: whatever speaks SQL is tested with SQLite and, marked `servers`, with PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from history_backends import Backend, PostgresBackend, SqliteBackend, opened
from history_support import MakesReport, make_report

from runner.history.state import StateDirectory
from runner.history.store import History
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


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def backend(request: pytest.FixtureRequest, state: StateDirectory) -> Iterator[Backend]:
    """An empty database; the server starts when the first test wants it."""
    if request.param == "sqlite":
        yield SqliteBackend(state.history_file)
    else:
        backend = PostgresBackend(request.getfixturevalue("postgres"))
        yield backend
        backend.drop()


@pytest.fixture
def history(backend: Backend, clock: FakeClock) -> Iterator[History]:
    history = opened(backend, clock)
    yield history
    history.close()


@pytest.fixture
def file_history(state: StateDirectory, clock: FakeClock) -> Iterator[History]:
    """One in a SQLite file, for what files alone do."""
    history = opened(SqliteBackend(state.history_file), clock)
    yield history
    history.close()
