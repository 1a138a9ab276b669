"""Every operation of a run fails once, and every change is once the last. All cases: `python -m tests.faults seam`."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .inprocess import SCENES, in_memory
from .scenes import Scene
from .seam import CRASH, INTERRUPT, LIE, SHORT, CrashError, Fault, Operation, Seam, effects_of
from .seam_cases import Case, Result, is_clean, sample, summary, try_cases


@pytest.fixture
def folder() -> Iterator[Path]:
    with in_memory() as made:
        yield made


def _wrong(results: list[Result]) -> str:
    return "\n".join(
        f"{result.case}\n    " + "\n    ".join(result.faults) for result in results if result.faults
    )


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_whichever_operation_fails_or_is_the_last_nothing_is_torn_or_hushed_up_and_the_next_run_ends_it(
    scene: Scene, folder: Path
) -> None:
    def wanted(cases: list[Case]) -> list[Case]:
        assert len(cases) > 1_500
        return random.Random(scene.name).sample(cases, 6)

    results = try_cases(folder, [scene], wanted)
    assert is_clean(results), _wrong(results)


@pytest.mark.slow
def test_a_sample_of_every_operation_and_fault(folder: Path) -> None:
    results = try_cases(folder, wanted=lambda cases: sample(cases, 130, seed=5))
    assert is_clean(results), _wrong(results)
    assert len(results) == 3 * 130
    struck = {result.case.effect for result in results}
    assert struck >= {"EIO", "EIO+", "ENOSPC", "ENOSPC+", "EPERM", "EACCES", CRASH, INTERRUPT, SHORT, LIE}


# -- the seam itself -----------------------------------------------------------------------------------------


def _write_a_file(root: Path) -> None:
    """Written, flushed and named, with a temporary file that is taken away whatever happens."""
    handle = os.open(root / "draft", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        written = os.write(handle, b"whole")
        if written < 5:
            os.write(handle, b"whole"[written:])
        os.fsync(handle)
        os.rename(root / "draft", root / "name")
    except BaseException:
        os.unlink(root / "draft")
        raise
    finally:
        os.close(handle)


NAMES = ["create", "write", "fsync", "rename", "close"]


def test_operations_are_counted_where_they_are_asked_about_and_nowhere_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    before = os.open, os.rename, open
    with Seam([str(inside)]) as seam:
        _write_a_file(inside)
        _write_a_file(outside)
        folder = os.open(inside, os.O_RDONLY)
        os.mkdir("made", dir_fd=folder)
        os.close(folder)
    path = str(inside)
    assert seam.operations == [
        Operation("create", f"{path}/draft"),
        *(Operation(name, f"{path}/draft") for name in ("write", "fsync")),
        Operation("rename", f"{path}/name"),
        Operation("close", f"{path}/draft"),
        Operation("open", path),
        Operation("mkdir", f"{path}/made"),
        Operation("close", path),
    ]
    assert (os.open, os.rename, open) == before


@pytest.mark.parametrize(
    ("number", "effect", "raised", "left"),
    [
        (1, "EIO", OSError, {}),
        (2, "ENOSPC", OSError, {}),
        (3, "EIO", OSError, {}),
        (4, "EIO", OSError, {}),
        (4, INTERRUPT, KeyboardInterrupt, {}),
        (5, "EIO", OSError, {"name": b"whole"}),
        (2, SHORT, None, {"name": b"whole"}),
        (2, LIE, None, {"name": b"wh"}),
        (1, CRASH, CrashError, {}),
        (2, CRASH, CrashError, {"draft": b""}),
        (4, CRASH, CrashError, {"draft": b"whole"}),
        (9, "EIO", None, {"name": b"whole"}),
    ],
)
def test_one_operation_fails_lies_or_is_the_last(
    tmp_path: Path, number: int, effect: str, raised: type[BaseException] | None, left: dict[str, bytes]
) -> None:
    with Seam([str(tmp_path)], Fault(number, effect)) as seam:
        error = _raised(lambda: _write_a_file(tmp_path))
    assert type(error) is (type(None) if raised is None else raised)
    assert (seam.happened and seam.happened.name) == (NAMES[number - 1] if number <= len(NAMES) else None)
    # After a draft that could not be made there is none to be taken away.
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left
    if isinstance(error, OSError) and number > 1:
        assert error.errno == getattr(errno, effect)


def _raised(act: Callable[[], Any]) -> BaseException | None:
    try:
        act()
    except BaseException as error:
        return error
    return None


def test_what_lasts_goes_on(tmp_path: Path) -> None:
    with Seam([str(tmp_path)], Fault(2, "EIO+")):
        error = _raised(lambda: _write_a_file(tmp_path))
    # Taking it away failed, too.
    assert isinstance(error, OSError)
    assert [path.name for path in tmp_path.iterdir()] == ["draft"]


def test_every_change_can_be_the_last_and_fail_for_good() -> None:
    for name in (
        "create",
        "write",
        "pwrite",
        "fsync",
        "rename",
        "link",
        "mkdir",
        "unlink",
        "rmdir",
        "renameat2",
    ):
        assert {"EIO", "EIO+", CRASH, INTERRUPT} <= set(effects_of(name)), name
    for name in ("stat", "pread", "listxattr", "readlink", "lseek"):
        assert effects_of(name) == ("EIO",)


RIGHT = Result(Case("none", 1, "EIO"), True, ())


@pytest.mark.parametrize(
    ("description", "results", "clean"),
    [
        ("all right", [RIGHT], True),
        ("a fault that did not happen proves nothing", [RIGHT, RIGHT._replace(injected=False)], False),
        ("one went wrong", [RIGHT, RIGHT._replace(faults=("torn",))], False),
        ("no cases", [], False),
    ],
)
def test_cases_are_clean_only_if_every_fault_happened_and_none_did_harm(
    description: str, results: list[Result], clean: bool
) -> None:
    assert is_clean(results) is clean, description


def test_the_last_line_counts() -> None:
    results = [RIGHT, RIGHT._replace(injected=False), RIGHT._replace(faults=("torn",))]
    assert summary(results) == "3 cases run, 2 faults injected, 1 wrong"
