"""Does the harness notice? Runs that do it wrong in one way each, and the layer that has to find it.

    unshare -m python -m tests.faults mutants      needs root, for the power cuts

A line for each: `caught`, with what was seen, or `SURVIVED`. Exits with 0 only if all were caught.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import strace
from .disks import Cut, Form, missing_programs
from .lint import DESTINATION_TEMPORARY, broken_rules, traced_run
from .mutations import MUTATIONS, VARIABLE
from .power import PowerBench
from .scenes import SCENES, Scene
from .sweep import Bench, sample
from .zygote import ROOT

_CASES = 12
_SECONDS = 120.0


def _scene(mutant: str, durability: str) -> Scene:
    """All of it in Python, which is where mutants are put in."""
    scene = next(scene for scene in SCENES if scene.name == "python")
    return dataclasses.replace(
        scene,
        options={**scene.options, "durability": durability},
        environment={**scene.environment, **({VARIABLE: mutant} if mutant else {})},
    )


def by_lint(mutant: str, folder: Path) -> list[str]:
    trace, destination = traced_run(_scene(mutant, "full"), folder)
    return [str(one) for one in broken_rules(trace, destination, is_temporary=DESTINATION_TEMPORARY)]


def by_sweep(*faults: tuple[str, str]) -> Callable[[str, Path], list[str]]:
    """The sweep of a few calls and faults, until something is found."""

    def found(mutant: str, folder: Path) -> list[str]:
        with Bench(_scene(mutant, "none"), folder) as bench:
            cases = [case for case in bench.cases() if (case.call, case.effect) in faults]
            assert cases, faults
            for case in sample(cases, _CASES, seed=1):
                result = bench.try_case(case)
                if result.injected and result.faults:
                    return [f"{case}: {result.faults[0]}"]
        return []

    return found


def by_power(mutant: str, folder: Path) -> list[str]:
    with PowerBench(Cut("xfs", Form.JOURNAL_KEPT), _scene(mutant, "full"), folder) as bench:
        return list(bench.at_the_end().faults)


def by_command(*arguments: str) -> Callable[[str, Path], list[str]]:
    """A layer that does it all in its own process."""

    def found(mutant: str, folder: Path) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults", *arguments],
            cwd=ROOT,
            env={**os.environ, VARIABLE: mutant},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        *lines, last = done.stdout.splitlines() or [""]
        # It came to its end, and did not fall over.
        assert re.search(r"[1-9]\d* wrong|, 0 wrong", last), done.stdout + done.stderr
        return [" ".join(lines[:2])] if done.returncode else []

    return found


def by_seam(scene: str, *of: str) -> Callable[[str, Path], list[str]]:
    """The seam, of one operation and fault, or whatever else its command is told."""
    operation, *faults = of
    return by_command(
        "seam",
        "--scene",
        scene,
        "--operation",
        operation,
        *(word for fault in faults for word in ("--fault", fault)),
    )


def by_tests(*tests: str) -> Callable[[str, Path], list[str]]:
    """Tests whose very subject it is."""
    return _by_tests(tests, ("-p", "tests.faults.spoiled"), {})


def _by_tests(
    tests: Sequence[str], plugin: Sequence[str], environment: Mapping[str, str]
) -> Callable[[str, Path], list[str]]:
    def found(mutant: str, folder: Path) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "0", "-m", "", *plugin, "-rf", *tests],
            cwd=ROOT,
            env={**os.environ, **environment, VARIABLE: mutant, "SYNC_RUNNER_PURE_PYTHON": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
        # They ran, and it was they that failed.
        assert (done.returncode, bool(failed)) in ((0, False), (1, True)), done.stdout + done.stderr
        return failed

    return found


_SPOIL = os.path.join(os.path.dirname(__file__), "spoil")
_FULL_DESTINATION = "tests/execution/test_execution_stale.py::test_a_full_destination_stops_the_rest"
_LINK = "tests/local/test_local_links.py::test_a_destination_never_follows"
_SWAPPED_LINKS = (
    "tests/end_to_end/test_symlink_flips.py"
    "::test_nothing_outside_is_touched_while_the_destination_is_swapped[pure-remove]"
)
_SECOND_WRITER = "tests/history/test_history_lock.py::test_a_second_process_is_refused_and_told_who_holds_it"
_HISTORY = "tests/history/test_history_sqlite.py::test_durability_is_as_promised"
_EMPTY_SOURCE = "tests/plan/test_plan_guards.py::test_guards"


def by_tests_of_the_command(*tests: str) -> Callable[[str, Path], list[str]]:
    """As `by_tests`; spoiled is the command that they start, not they themselves."""
    return _by_tests(tests, (), {"PYTHONPATH": os.pathsep.join((_SPOIL, str(ROOT)))})


by_model = by_command("model", "--examples", "10", "--seed", "1", "--no-shrink")
by_states = by_command("states", "--scene", "full", "--sample", "3")

LAYERS: tuple[tuple[str, str, Callable[[str, Path], list[str]]], ...] = (
    ("no flush of files", "lint", by_lint),
    ("no flush of folders", "lint", by_lint),
    ("no flush of files", "power", by_power),
    ("removed before it is replaced", "sweep", by_sweep(("renameat", "KILL"))),
    ("state written in place", "sweep", by_sweep(("write", "KILL"), ("write", "ENOSPC+"))),
    ("success whatever failed", "sweep", by_sweep(("pwrite64", "EIO+"), ("linkat", "EIO+"))),
    ("removed before it is replaced", "seam", by_seam("none", "rename", "crash")),
    ("success whatever failed", "seam", by_seam("none", "scandir", "EIO")),
    ("written in place", "seam", by_seam("full", "pwrite", "crash")),
    ("short writes taken for whole", "seam", by_seam("file", "pwrite", "short")),
    ("no read-back", "seam", by_seam("full", "pwrite", "lie")),
    ("removed before something else takes its place", "seam", by_seam("full", "rename", "crash")),
    ("drafts with a name that tells nothing", "seam", by_seam("full", "rename", "crash")),
    ("names normalised", "seam", by_seam("full", "flock")),
    ("what cannot be listed is overlooked", "seam", by_seam("full", "scandir", "EIO")),
    ("removed before it is replaced", "model", by_model),
    ("no flush of files", "states", by_states),
    ("no flush of folders", "states", by_states),
    ("failed flushes ignored", "states", by_states),
    ("removed before the rest is there", "tests", by_tests(_FULL_DESTINATION)),
    ("links followed", "tests", by_tests(_LINK)),
    ("reached by whole paths", "tests", by_tests_of_the_command(_SWAPPED_LINKS)),
    ("locked by a file alone", "tests", by_tests(_SECOND_WRITER)),
    ("history not flushed", "tests", by_tests(_HISTORY)),
    ("an empty source is a success", "tests", by_tests(_EMPTY_SOURCE)),
)


def _once_each() -> list[tuple[str, Callable[[str, Path], list[str]]]]:
    """Each layer once, for what is right; the sweep's and the tests' own runs are that already."""
    return list({name: catch for _, name, catch in LAYERS if name not in ("sweep", "tests")}.items())


def main(arguments: Sequence[str]) -> int:
    if arguments:
        print(__doc__)
        return 2
    missing = missing_programs()
    if os.geteuid() != 0 or missing or not strace.AVAILABLE:
        print(f"needs root, strace and these packages: {', '.join(missing) or 'all there'}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-mutants-"))
    survived = 0
    try:
        for layer, catch in _once_each():
            if found := catch("", Path(tempfile.mkdtemp(dir=folder))):
                print(f"{layer}: it objects to what is right: {found[0]}")
                survived += 1
        for mutant, layer, catch in LAYERS:
            found = catch(mutant, Path(tempfile.mkdtemp(dir=folder)))
            survived += not found
            shown = f"caught: {found[0].splitlines()[0][:160]}" if found else "SURVIVED"
            print(f"{mutant}, {layer}: {shown}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    unwatched = sorted(set(MUTATIONS) - {mutant for mutant, _, _ in LAYERS})
    print(
        f"{len(LAYERS)} mutants, {survived} not caught{'; nobody watches ' if unwatched else ''}{unwatched or ''}"
    )
    return 1 if survived or unwatched else 0
