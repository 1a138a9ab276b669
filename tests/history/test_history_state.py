"""The state folder: private, safe against foreign input, ids that are unique and sort by start."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.history.state import StateDirectory
from runner.testing.fake_clock import FakeClock


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(str(tmp_path / "state"))


def modes_below(folder: Path) -> dict[str, int]:
    found = {".": stat.S_IMODE(folder.stat().st_mode)}
    for path in folder.rglob("*"):
        found[str(path.relative_to(folder))] = stat.S_IMODE(path.stat().st_mode)
    return found


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path / "deep" / "state"))
    old = os.umask(0)
    try:
        state.execution_folder("0123456789ab", create=True)
    finally:
        os.umask(old)
    assert modes_below(Path(state.path)) == {
        ".": 0o700,
        ".gitignore": 0o600,
        "cache": 0o700,
        "executions": 0o700,
        "executions/0123456789ab": 0o700,
        "locks": 0o700,
        "tasks": 0o700,
    }


def test_an_existing_folder_open_to_others_is_closed(state: StateDirectory) -> None:
    os.mkdir(state.path)
    os.chmod(state.path, 0o777)
    state.prepare()
    assert stat.S_IMODE(os.stat(state.path).st_mode) == 0o700


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_another_users_folder_is_refused(state: StateDirectory) -> None:
    os.mkdir(state.path)
    os.chown(state.path, 65534, 65534)
    with pytest.raises(UsageError, match="belongs to another user"):
        state.prepare()


def test_a_file_in_the_way_is_named(state: StateDirectory) -> None:
    Path(state.path).write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        state.prepare()


def test_new_ids_have_their_folder_and_sort_by_start(state: StateDirectory) -> None:
    clock = FakeClock()
    ids = [state.new_execution_id(clock) for _ in range(5)]
    clock.advance(1)
    ids += [state.new_execution_id(clock) for _ in range(5)]
    assert ids == sorted(set(ids))
    assert state.execution_ids() == ids
    assert [one[:8] for one in ids] == [f"{int(clock.now().timestamp()) - 1:08x}"] * 5 + [
        f"{int(clock.now().timestamp()):08x}"
    ] * 5


def test_a_taken_number_is_tried_again(state: StateDirectory) -> None:
    """Another process may make the folder between looking and making: mkdir decides."""
    clock = FakeClock()
    second = f"{int(clock.now().timestamp()):08x}"
    numbers = iter([7, 8])

    def random_number(below: int) -> int:
        number = next(numbers)
        if number == 7:
            os.mkdir(state.execution_folder(f"{second}0007"))
        return number if number == 7 else 0

    racing = StateDirectory(state.path, random_number=random_number)
    assert racing.new_execution_id(clock) == f"{second}0008"
    assert next(numbers, None) is None


def test_a_second_without_free_numbers_is_waited_out(state: StateDirectory) -> None:
    clock = FakeClock()
    second = f"{int(clock.now().timestamp()):08x}"
    state.execution_folder(f"{second}ffff", create=True)
    assert state.new_execution_id(clock)[:8] == f"{int(second, 16) + 1:08x}"
    assert clock.sleeps == [1.0]


def _make_ids(path: str, count: int) -> list[str]:
    state = StateDirectory(path)
    clock = FakeClock()
    return [state.new_execution_id(clock) for _ in range(count)]


def test_processes_never_share_an_id(state: StateDirectory) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        made = pool.starmap(_make_ids, [(state.path, 20), (state.path, 20)])
    assert sorted(made[0] + made[1]) == state.execution_ids()
    assert len(set(made[0] + made[1])) == 40


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "../../x",
        "0123456789a",
        "0123456789abc",
        "0123456789AB",
        "0123456789ab\n",
        "0123456789/b",
    ],
)
def test_what_is_not_an_id_never_becomes_a_path(state: StateDirectory, text: str) -> None:
    with pytest.raises(UsageError, match="is not an execution id"):
        state.execution_folder(text)


def test_an_execution_is_found_by_id_prefix_or_latest(state: StateDirectory) -> None:
    for one in ("65a000000001", "65a000000002", "65b000000001"):
        state.execution_folder(one, create=True)
    os.mkdir(os.path.join(state.executions_folder, "not-an-id"))
    assert state.execution_ids() == ["65a000000001", "65a000000002", "65b000000001"]
    assert state.resolve_execution("65a000000001") == "65a000000001"
    assert state.resolve_execution("65b") == "65b000000001"
    assert state.resolve_execution("latest") == "65b000000001"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("65a", "2 executions start with '65a': 65a000000001, 65a000000002"),
        ("65a000000003", "there is no execution '65a000000003'\nDid you mean 65a00000000"),
        ("lastest", "there is no execution 'lastest'\nDid you mean latest?"),
        ("", "there is no execution ''\nTo see all: sync-runner history"),
        ("../..", "there is no execution '../..'"),
    ],
)
def test_what_means_no_single_execution_is_refused(state: StateDirectory, text: str, message: str) -> None:
    for one in ("65a000000001", "65a000000002", "65b000000001"):
        state.execution_folder(one, create=True)
    with pytest.raises(UsageError) as caught:
        state.resolve_execution(text)
    assert message in str(caught.value)


def test_without_executions_the_remedy_starts_one(state: StateDirectory) -> None:
    with pytest.raises(UsageError, match="sync-runner run"):
        state.resolve_execution("latest")
    assert not os.path.exists(state.path)


def test_discarding_removes_the_folder_and_follows_no_link(state: StateDirectory, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    folder = state.execution_folder("0123456789ab", create=True)
    os.symlink(outside, os.path.join(folder, "link"))
    state.discard_execution("0123456789ab")
    state.discard_execution("0123456789ab")
    assert state.execution_ids() == []
    assert (outside / "kept").read_text() == "x"


def test_state_and_lock_load_no_sql() -> None:
    code = "import sys, runner.history.state, runner.history.lock, runner.history.records\n"
    code += "print(sorted({'sqlalchemy', 'sqlite3', 'rich', 'jinja2'} & set(sys.modules)))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == "[]\n"
