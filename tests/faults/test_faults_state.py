"""Files of the state folder are whole or not there, whatever stops whoever writes them."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from runner import durable
from runner.durable import append_whole, write_whole
from runner.errors import StateUnavailableError
from runner.execution.journal import Journal, JournalReader
from runner.history.state import StateDirectory
from runner.report.evidence import Slice, evidence_of, file_digests
from runner.testing.fake_clock import FakeClock

OLD = b"old\n" * 10_000
NEW = b"the new one\n" * 20_000


@pytest.fixture(params=["unnamed", "named"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with old content, where files without a name can be and where they cannot."""
    if request.param == "named":
        opened = os.open

        def refusing(name: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            return opened(name, flags, *more, **named)

        monkeypatch.setattr(os, "open", refusing)
    file = tmp_path / "state.json"
    file.write_bytes(OLD)
    return file


def test_a_file_is_replaced_privately_and_what_was_returned_is_returned(path: Path) -> None:
    assert write_whole(str(path), lambda output: output.write(NEW)) == len(NEW)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["state.json"]


def test_a_file_that_is_not_there_yet_gets_the_longest_name_there_is(tmp_path: Path) -> None:
    name = "n" * 255
    write_whole(str(tmp_path / name), lambda output: output.write(OLD))
    write_whole(str(tmp_path / name), lambda output: output.write(NEW))
    assert (os.listdir(tmp_path), (tmp_path / name).read_bytes()) == ([name], NEW)


def test_what_is_raised_midway_leaves_the_old_and_nothing_beside_it(path: Path) -> None:
    def write(output: Any) -> None:
        output.write(NEW)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(str(path), write)
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["state.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_call_that_fails_leaves_the_old_and_nothing_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "scripted")

    with monkeypatch.context() as patched:
        patched.setattr(durable.os, call, failing)
        with pytest.raises(OSError, match="scripted"):
            write_whole(str(path), lambda output: output.write(NEW))
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["state.json"]


def test_what_did_not_arrive_is_found_before_it_takes_the_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(output: Any) -> None:
        output.write(NEW)
        output.flush()
        os.ftruncate(output.fileno(), len(NEW) // 2)

    with pytest.raises(OSError, match="bytes arrived of"):
        write_whole(str(path), write)
    assert path.read_bytes() == OLD


def test_what_a_kill_left_is_taken_away_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(OLD)

    def dying() -> None:
        os.replace = lambda *_, **__: os._exit(0)  # type: ignore[assignment]
        write_whole(str(path), lambda output: output.write(NEW))
        os._exit(1)

    child = multiprocessing.get_context("fork").Process(target=dying)
    child.start()
    child.join(20)
    assert (child.exitcode, path.read_bytes()) == (0, OLD)
    assert sorted(os.listdir(tmp_path)) == [".state.json.part", "state.json"]
    write_whole(str(path), lambda output: output.write(b"third"))
    assert (os.listdir(tmp_path), path.read_bytes()) == (["state.json"], b"third")


def test_writers_of_one_file_at_once_leave_what_one_of_them_wrote(path: Path) -> None:
    contents = [bytes([letter]) * 50_000 for letter in b"abcd"]
    failures: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(40):
                write_whole(str(path), lambda output: output.write(content), durable=False)
                assert len(set(path.read_bytes())) == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_bytes() in contents
    assert os.listdir(path.parent) == ["state.json"]


def test_a_journal_is_private_and_holds_what_was_flushed(tmp_path: Path) -> None:
    path = str(tmp_path / "outcomes.jsonl")
    with Journal(path, durable=True) as journal:
        journal.write(b"one\n")
        journal.write(b"two\n")
        journal.flush()
        assert Path(path).read_bytes() == b"one\ntwo\n"
        journal.write(b"three\n")
    assert Path(path).read_bytes() == b"one\ntwo\nthree\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with JournalReader(path) as reader:
        assert reader.piece(4, 10) == b"two\nthree\n"
        with pytest.raises(StateUnavailableError, match="shorter than what was written"):
            reader.piece(4, 11)


@pytest.mark.parametrize("call", ["write", "fsync", "close"])
def test_a_journal_that_cannot_be_written_stops_the_execution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = str(tmp_path / "outcomes.jsonl")
    with (
        pytest.raises(StateUnavailableError, match="No space left on device"),
        Journal(path, durable=True) as journal,
    ):
        journal.write(b"one\n")
        monkeypatch.setattr(os, call, failing)


def test_a_journal_goes_on_after_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    path = tmp_path / "outcomes.jsonl"
    with Journal(str(path), durable=False) as journal:
        monkeypatch.setattr(os, "write", lambda handle, content: write(handle, bytes(content[:3])))
        journal.write(b"one\ntwo\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_journal_that_somebody_else_began_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(b"before\n")
    with pytest.raises(StateUnavailableError, match="File exists"):
        Journal(str(path), durable=False)
    assert path.read_bytes() == b"before\n"


def test_bytes_that_the_kernel_took_and_lost_are_missed_before_the_name_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, content: write(handle, bytes(content)[3:]) + 3)
        with pytest.raises(OSError, match="bytes arrived of"):
            write_whole(str(path), lambda output: output.write(NEW))
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["state.json"]


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_line_that_cannot_be_added_is_not_there_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "chain.jsonl"
    append_whole(str(path), b"one\n")
    write = os.write

    def half(handle: int, content: Any) -> int:
        return write(handle, bytes(content)[:2]) + 2

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "scripted: bytes arrived of")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, half if call == "write" else failing)
        with pytest.raises(OSError, match="bytes arrived of"):
            append_whole(str(path), b"two\n")
    assert path.read_bytes() == b"one\n"
    append_whole(str(path), b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_executions_that_cannot_be_listed_are_not_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateDirectory(str(tmp_path / "state"))
    state.new_execution_id(FakeClock())

    def failing(_: str) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(StateUnavailableError, match="Too many open files"):
        state.execution_ids()


def test_evidence_is_not_made_of_files_that_end_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outcomes.jsonl").write_bytes(b"{}\n" * 10)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="shorter than what was written"):
        patched.setattr(os, "pread", lambda *_: b"")
        evidence_of(str(tmp_path), [Slice(0, 0, 30)], [])
    with monkeypatch.context() as patched, pytest.raises(OSError, match="could not be read to its end"):
        patched.setattr(hashlib, "file_digest", lambda file, name: hashlib.new(name, file.read(3)))
        file_digests(str(tmp_path))
