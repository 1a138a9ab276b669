"""A sample of the sweep: one system call of a real run fails, lies or kills. All of it: `python -m tests.faults`."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers.process import program

from .sweep import EFFECTS, KILL, Case, Result, all_cases, is_clean, sample, summary, sweep

CASES = 190
"""More than one for each call and fault that there is."""

CALLS_THAT_COUNT = (
    "write",
    "copy_file_range",
    "read",
    "openat",
    "fsync",
    "renameat",
    "mkdir",
    "unlinkat",
    "linkat",
    "symlinkat",
    "fchmod",
    "utimensat",
    "getdents64",
)


@pytest.mark.slow
def test_whichever_call_fails_or_kills_nothing_is_torn_nothing_is_hushed_up_and_the_next_run_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program("strace", "apt-get install strace")
    everything = all_cases(tmp_path)
    chosen = sample(everything, CASES, seed=1)
    results = sweep(chosen, tmp_path, jobs=2)
    with capsys.disabled():
        print(f"\nsweep: {summary(chosen, results)}, of {len(everything)}")
    wrong = [f"{result.case}\n    " + "\n    ".join(result.faults) for result in results if result.faults]
    assert not wrong, "\n".join(wrong)
    assert is_clean(chosen, results)
    assert len(everything) >= 2000
    assert {case.call for case in chosen} >= set(CALLS_THAT_COUNT)
    assert {case.call for case in chosen if case.effect == KILL} >= set(CALLS_THAT_COUNT) - {
        "read",
        "getdents64",
    }
    assert {(case.call, case.effect) for case in everything} == {(case.call, case.effect) for case in chosen}


RIGHT = Result(Case("new", "write", 1, "EIO"), True, ())


@pytest.mark.parametrize(
    ("description", "results", "clean"),
    [
        ("all right", [RIGHT, RIGHT], True),
        ("one was not run", [RIGHT], False),
        ("a fault that did not happen proves nothing", [RIGHT, RIGHT._replace(injected=False)], False),
        ("one went wrong", [RIGHT, RIGHT._replace(faults=("torn",))], False),
    ],
)
def test_a_sweep_is_clean_only_if_every_fault_happened_and_none_did_harm(
    description: str, results: list[Result], clean: bool
) -> None:
    assert is_clean([RIGHT.case, RIGHT.case], results) is clean, description


def test_a_sweep_of_nothing_is_not_clean() -> None:
    assert not is_clean([], [])


def test_a_sample_has_some_of_every_call_and_fault() -> None:
    everything = [
        Case("new", call, number, effect)
        for call, effects in EFFECTS.items()
        for effect in effects
        for number in range(1, 30)
    ]
    kinds = {(case.call, case.effect) for case in everything}
    chosen = sample(everything, len(kinds) + 5, seed=3)
    assert len(chosen) == len(set(chosen)) == len(kinds) + 5
    assert {(case.call, case.effect) for case in chosen} == kinds


@pytest.mark.parametrize(
    ("case", "injection"),
    [
        (Case("new", "write", 3, "EIO"), "inject=write:error=EIO:when=3"),
        (Case("new", "write", 3, "ENOSPC+"), "inject=write:error=ENOSPC:when=3+"),
        (Case("new", "pwrite64", 2, "=100"), "inject=pwrite64:retval=100:when=2"),
        (Case("new", "fsync", 1, KILL), "inject=fsync:signal=KILL:when=1"),
    ],
)
def test_a_fault_as_strace_takes_it(case: Case, injection: str) -> None:
    assert case.injection == injection
