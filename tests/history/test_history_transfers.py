"""Whatever becomes of the database, a transfer ends as it would have, says so loudly, and is recorded later."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from history_backends import Backend
from history_project import Project
from servers.process import free_port
from servers.serve_postgres import PASSWORD, Postgres, children, serve_postgres

from runner.execution import notebook
from runner.execution.context import Context
from runner.execution.notebook import Notebook
from runner.history.records import HistoryUnavailable
from runner.locations.registry import Registry
from runner.model.task import Configuration
from runner.testing.fake_clock import FakeClock

CANARY = "canary-4711"
LATER = "the next command that reaches history records it"
LIMIT = 1 << 18


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server that tests may stop and kill."""
    with serve_postgres() as server:
        yield server


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it never came about")


def slow_project(folder: Path, history: str) -> Project:
    """One whose run takes about four seconds, for the limit allows no more."""
    project = Project(folder, history, options={"bandwidth": f"{LIMIT // 1024}KiB/s"})
    (folder / "src" / "big").write_bytes(os.urandom(LIMIT * 4))
    return project


def test_a_run_is_in_the_database_when_it_ends(backend: Backend, tmp_path: Path) -> None:
    url = backend.url if "://" in backend.url else f"sqlite:///{backend.url}"
    project = Project(tmp_path, url)
    ran = project.command("run", "photos")
    assert (ran.code, ran.err.count("warning")) == (0, 0), ran.err
    told = backend.execute("SELECT task, status, exit_code FROM executions")
    assert told == [("photos", "SUCCESS", 0)]


def test_a_database_that_is_down_costs_a_warning_and_is_told_later(tmp_path: Path) -> None:
    nobody = f"postgresql+psycopg://user:{CANARY}@127.0.0.1:{free_port()}/history"
    project = Project(tmp_path, nobody)
    ran = project.command("run", "photos")
    assert ran.code == 0
    assert (tmp_path / "dst" / "a").read_bytes() == b"a" * 1000
    assert ran.err.count("warning: history was not written") == 1
    assert "refused" in ran.err and LATER in ran.err and CANARY not in ran.err
    looked = project.run("history")
    assert looked.code == 7
    assert CANARY not in looked.err + looked.out
    project.history = f"sqlite:///{tmp_path}/later.sqlite"
    assert [status for _, status in project.executions()] == ["SUCCESS"]


def test_the_exit_code_is_the_transfers_own(tmp_path: Path) -> None:
    project = Project(tmp_path, f"postgresql+psycopg://user:{CANARY}@127.0.0.1:{free_port()}/history")
    (tmp_path / "src" / "a").unlink()
    (tmp_path / "src").rmdir()
    ran = project.run("run", "photos")
    assert (ran.code, "history was not written" in ran.err) == (7, True)


@pytest.mark.slow
def test_a_black_hole_delays_a_run_by_a_few_seconds_at_most(tmp_path: Path) -> None:
    """The kernel takes the connection, and nobody ever says a word."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as hole:
        port = hole.getsockname()[1]
        project = Project(tmp_path, f"postgresql+psycopg://user:{CANARY}@127.0.0.1:{port}/history")
        (tmp_path / "without").mkdir()
        usual = Project(tmp_path / "without", None).command("run", "photos")
        ran = project.command("run", "photos")
    assert (usual.code, ran.code) == (0, 0)
    assert "history was not written" in ran.err and CANARY not in ran.err
    assert ran.seconds - usual.seconds < notebook.CLOSE_SECONDS + 3


@pytest.mark.servers
@pytest.mark.slow
def test_a_server_killed_in_the_middle_is_told_when_it_is_back(
    own_postgres: Postgres, tmp_path: Path
) -> None:
    database = own_postgres.new_database()
    project = slow_project(tmp_path, own_postgres.url(database))
    # The tables are there, as on every day but the first.
    assert project.run("history").code == 0
    process = project.start("run", "photos")
    wait_for(lambda: own_postgres.execute(database, "SELECT 1 FROM executions"))
    own_postgres.kill()
    assert process.poll() is None
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "history was not written" in err and PASSWORD not in err
    own_postgres.start()
    told = "SELECT status FROM executions"
    assert own_postgres.execute(database, told) == [("RUNNING",)]
    assert project.run("status").code == 0
    assert own_postgres.execute(database, told) == [("SUCCESS",)]
    assert [status for _, status in project.executions()] == ["SUCCESS"]


@pytest.mark.servers
@pytest.mark.slow
def test_a_server_that_stands_still_does_not_hold_the_end_up(own_postgres: Postgres, tmp_path: Path) -> None:
    database = own_postgres.new_database()
    project = slow_project(tmp_path, own_postgres.url(database))
    assert project.run("history").code == 0
    process = project.start("run", "photos")
    wait_for(lambda: own_postgres.execute(database, "SELECT 1 FROM executions"))
    frozen = [own_postgres.process.pid, *children(own_postgres.process.pid)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        for pid in reversed(frozen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert (process.returncode, "history was not written" in err) == (0, True)
    wait_for(lambda: own_postgres.execute(database, "SELECT 1"))
    assert [status for _, status in project.executions()] == ["SUCCESS"]


@pytest.mark.servers
def test_a_refused_password_is_never_shown(postgres: Postgres, tmp_path: Path) -> None:
    database = postgres.new_database()
    project = Project(tmp_path, postgres.url(database, password=CANARY))
    for words in (["run", "photos", "-vv"], ["history", "-vv"], ["status", "--json"], ["run", "--json"]):
        ran = project.command(*words)
        assert CANARY not in ran.out + ran.err
        assert "password authentication failed" in ran.err + ran.out
        assert ran.code == (0 if "run" in words else 7)
    project.history = postgres.url(database)
    assert len(project.executions()) == 2
    for file in (tmp_path / ".sync-runner").rglob("*"):
        assert file.is_dir() or CANARY.encode() not in file.read_bytes()
    postgres.drop(database)


# -- the notebook itself -------------------------------------------------------------------------------------


def notebook_with(url: str, state: str) -> Notebook:
    configuration = Configuration("sync.yaml", {}, {}, state, history_url=url)
    return Notebook(Context(configuration, Registry(()), FakeClock()))


class FakeHistory:
    """A history whose notes do what the test says."""

    warnings = ("it was damaged",)

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def note_in(book: Notebook, *notes: Callable[[Any], object]) -> None:
    for note in notes:
        book._notes.put(note)


@pytest.fixture
def fake_history(monkeypatch: pytest.MonkeyPatch) -> FakeHistory:
    history = FakeHistory()
    monkeypatch.setattr("runner.history.store.open_history", lambda url, clock: history)
    return history


def test_notes_go_on_after_one_that_failed_while_the_execution_runs(
    fake_history: FakeHistory, tmp_path: Path
) -> None:
    book = notebook_with("x://", str(tmp_path))
    written: list[str] = []
    failed, last = threading.Event(), threading.Event()

    def fail(history: Any) -> None:
        failed.set()
        raise HistoryUnavailable("the server restarts")

    note_in(book, fail)
    book.begin()
    assert failed.wait(10)
    # Handled, and not only raised: the one behind it is asked for in its turn.
    note_in(book, lambda history: (written.append("second"), last.set()))
    assert last.wait(10)
    note_in(book, lambda history: written.append("third"))
    assert book.close() == [
        f"history was not written: the server restarts. {notebook.LATER}",
        "it was damaged",
    ]
    assert (written, fake_history.closed) == (["second", "third"], True)


def test_what_fails_at_the_end_is_tried_and_told_once(fake_history: FakeHistory, tmp_path: Path) -> None:
    book = notebook_with("x://", str(tmp_path))
    tried: list[int] = []

    def fail(history: Any) -> None:
        assert book._closing.wait(10)
        tried.append(1)
        raise HistoryUnavailable("no route.")

    note_in(book, fail, fail, fail)
    assert book.close() == [f"history was not written: no route. {notebook.LATER}", "it was damaged"]
    assert (tried, fake_history.closed) == ([1], True)


def test_a_defect_of_history_is_a_warning(fake_history: FakeHistory, tmp_path: Path) -> None:
    book = notebook_with("x://", str(tmp_path))
    note_in(book, lambda history: [][0])
    assert book.close()[0].startswith("history was not written: IndexError: list index out of range. Nothing")


def test_one_that_never_answers_is_left_behind(
    fake_history: FakeHistory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notebook, "CLOSE_SECONDS", 0.1)
    book = notebook_with("x://", str(tmp_path))
    answer = threading.Event()
    note_in(book, lambda history: answer.wait(60))
    assert book.close() == [f"history was not written: it did not answer for 0.1 s. {notebook.LATER}"]
    answer.set()
    assert book._thread is not None
    book._thread.join()


@pytest.mark.parametrize("url", ["mysql://user:canary@host/db", "postgresql://user:canary@host/db"])
def test_a_history_that_cannot_be_opened_is_a_warning(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A kind of database that is none, or whose package is not installed."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    book = notebook_with(url, str(tmp_path))
    note_in(book, lambda history: history.list())
    (warning,) = book.close()
    assert warning.startswith("history was not written: ") and "canary" not in warning
