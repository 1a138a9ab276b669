"""The chain of a task's reports: continued by whoever ends next, whole after every crash, told of what retention removes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.history.chain import (
    ChainDamagedError,
    Link,
    chain_after,
    chain_file,
    extended,
    read_links,
    retire,
    settled_links,
)
from runner.history.state import StateDirectory
from runner.model.execution import PreviousReport

AT = "2026-11-22T17:03:00.000Z"


def publish(state: StateDirectory, execution_id: str, content: bytes = b"{}") -> str:
    """What the end of an execution does; returns the report's digest."""
    folder = Path(state.execution_folder(execution_id, create=True))
    with extended(state, "photos") as chain:
        chain.publish(
            execution_id, content, AT, lambda: (folder / "report.json").write_bytes(content) and None
        )
    return hashlib.sha256(content).hexdigest()


def links(state: StateDirectory) -> list[Link]:
    return list(read_links(chain_file(state, "photos")))


def number(value: int) -> str:
    return f"65a0000{value:05x}"


def test_each_line_follows_from_the_one_before(state: StateDirectory) -> None:
    first, second = publish(state, number(1), b"one"), publish(state, number(2), b"two")
    path = chain_file(state, "photos")
    lines = Path(path).read_bytes().splitlines(keepends=True)
    heads = [line.rpartition(b',"chain":"')[0] for line in lines]
    chain_1 = hashlib.sha256(b"\x02" + bytes(32) + heads[0]).digest()
    chain_2 = hashlib.sha256(b"\x02" + chain_1 + heads[1]).digest()
    assert [json.loads(line) for line in lines] == [
        {"sequence": 1, "at": AT, "execution_id": number(1), "report": first, "chain": chain_1.hex()},
        {"sequence": 2, "at": AT, "execution_id": number(2), "report": second, "chain": chain_2.hex()},
    ]
    with extended(state, "photos") as chain:
        place = chain.place
    assert (place.sequence, place.previous, place.chain) == (
        3,
        PreviousReport(number(2), second),
        chain_2.hex(),
    )
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert [chain_after(None, lines[0]), chain_after(chain_1.hex(), lines[1])] == [
        chain_1.hex(),
        chain_2.hex(),
    ]


def test_tasks_have_chains_of_their_own(state: StateDirectory) -> None:
    publish(state, number(1))
    with extended(state, "music") as chain:
        assert (chain.place.sequence, chain.place.previous, chain.place.chain) == (1, None, None)


class Killed(BaseException):
    """A kill leaves everything as it is."""


@pytest.mark.parametrize("moment", ["before", "half written", "after", "half a line", "line and pending"])
def test_a_crash_at_any_moment_costs_no_link(
    state: StateDirectory, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(state, number(1), b"one")
    folder = Path(state.execution_folder(number(2), create=True))
    before = Path(chain_file(state, "photos")).read_bytes()

    def write() -> None:
        # What comes last, when the line is there, is the end of the pending one.
        monkeypatch.setattr(os, "unlink", lambda path: (_ for _ in ()).throw(Killed))
        if moment == "before":
            raise Killed
        (folder / "report.json").write_bytes(b"tw" if moment == "half written" else b"two")
        if moment in ("half written", "after"):
            raise Killed

    with pytest.raises(Killed), extended(state, "photos") as chain:
        chain.publish(number(2), b"two", AT, write)
    monkeypatch.undo()
    path = Path(chain_file(state, "photos"))
    if moment == "half a line":
        path.write_bytes(path.read_bytes()[:-30])
    is_published = moment not in ("before", "half written")
    expected = [number(1), number(2)] if is_published else [number(1)]
    assert [link.execution_id for link, _ in settled_links(state, "photos")] == expected
    publish(state, number(3), b"three")
    assert [link.execution_id for link in links(state)] == [*expected, number(3)]
    assert [link.sequence for link in links(state)] == list(range(1, len(expected) + 2))
    assert path.read_bytes().startswith(before)
    assert not os.path.exists(f"{path}.pending")


def test_a_line_that_is_none_is_not_continued(state: StateDirectory) -> None:
    publish(state, number(1))
    with open(chain_file(state, "photos"), "ab") as file:
        file.write(b"garbage\n")
    with pytest.raises(ChainDamagedError, match="not readable"), extended(state, "photos"):
        raise AssertionError("not reached")
    with pytest.raises(ChainDamagedError):
        retire(state, "photos", [number(1)], "rule", AT)
    assert [link.sequence for link, _ in settled_links(state, "photos")] == [1, 0]


def test_what_retention_removes_is_told_once_and_only_what_the_chain_knows(state: StateDirectory) -> None:
    reports = [publish(state, number(value), str(value).encode()) for value in range(250)]
    gone = [number(value) for value in range(240)]
    retire(state, "photos", [*gone, "ffffffffffff"], "keep 90d", AT)
    told = [link for link in links(state) if link.retired]
    assert [len(link.retired) for link in told] == [100, 100, 40]
    assert [one for link in told for one in link.retired] == gone
    assert {(link.rule, link.at) for link in told} == {("keep 90d", AT)}
    retire(state, "photos", gone, "keep 90d", AT)
    retire(state, "music", gone, "keep 90d", AT)
    assert [link.sequence for link in links(state)] == list(range(1, 254))
    with extended(state, "photos") as chain:
        # The last report stands far behind the lines of retention.
        assert (chain.place.sequence, chain.place.previous) == (254, PreviousReport(number(249), reports[-1]))
    assert not os.path.exists(chain_file(state, "music"))


def _end(folder: str, first: int) -> None:
    state = StateDirectory(folder)
    for value in range(first, first + 20):
        publish(state, number(value), str(value).encode())


def test_executions_that_end_at_once_are_linked_one_after_another(state: StateDirectory) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_end, args=(state.path, first)) for first in (0, 100, 200)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = links(state)
    assert [link.sequence for link in found] == list(range(1, 61))
    assert sorted(link.execution_id for link in found) == [
        number(first + value) for first in (0, 100, 200) for value in range(20)
    ]


def test_a_copy_on_a_medium_that_is_read_only_is_read(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(state, number(1))
    path = chain_file(state, "photos")
    os.unlink(path + ".lock")
    monkeypatch.setattr(
        "runner.history.chain.fcntl.flock", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no"))
    )
    assert [link.execution_id for link, _ in settled_links(state, "photos")] == [number(1)]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=8))
def test_the_end_of_a_chain_of_any_length_is_found(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    """Lines longer than what is read at once, and files that end within one."""
    state = StateDirectory(str(tmp_path_factory.mktemp("state")))
    known: list[str] = []
    for value, size in enumerate(sizes, 1):
        known.append(publish(state, number(value), str(value).encode()))
        for _ in range(size - 1):
            retire(state, "photos", [number(value)], "r" * 5000, AT)
    with extended(state, "photos") as chain:
        assert chain.place.previous == PreviousReport(number(len(sizes)), known[-1])
        assert chain.place.chain == links(state)[-1].chain
