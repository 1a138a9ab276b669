"""The whole of the fault harness, from a clone of the repository.

    python -m tests.faults                           every case of the sweep, more than an hour
    python -m tests.faults --sample 200 --seed 3     some of them, of every call and fault
    python -m tests.faults --case full:fsync:7:EIO   one case again
    python -m tests.faults seam --help               every operation, in this process; minutes
    python -m tests.faults states --help             power cuts on paper, with every state they may leave; minutes
    python -m tests.faults model --help              edits and faults made up by Hypothesis; as long as you like
    python -m tests.faults power --help              power cuts; needs root
    python -m tests.faults mutants                   whether all this notices what is done wrong; needs root

The sweep needs strace. Prints each case that went wrong and, at the end, how many were run, in how many the fault was
seen to happen, and how many went wrong. Exits with 0 only if every fault happened and nothing went wrong.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import model, mutants, power, power_states, seam_cases, strace
from .scenes import SCENES
from .sweep import Case, Result, all_cases, is_clean, parse_case, sample, summary, sweep

_TOLD_EVERY = 200


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["seam"]:
        return seam_cases.main(arguments[1:])
    if arguments[:1] == ["states"]:
        return power_states.main(arguments[1:])
    if arguments[:1] == ["model"]:
        return model.main(arguments[1:])
    if arguments[:1] == ["power"]:
        return power.main(arguments[1:])
    if arguments[:1] == ["mutants"]:
        return mutants.main(arguments[1:])
    return _sweep(arguments)


def _sweep(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sample", type=int, metavar="N", help="about so many cases, not all")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: 1)")
    parser.add_argument("--scene", action="append", default=[], choices=[scene.name for scene in SCENES])
    parser.add_argument("--call", action="append", default=[], help="only faults of this system call")
    parser.add_argument("--fault", action="append", default=[], help="only this fault, such as EIO or KILL")
    parser.add_argument("--case", action="append", default=[], type=parse_case, help="exactly this case")
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time (default: 1)")
    asked = parser.parse_args(arguments)
    if not strace.AVAILABLE:
        print(strace.MISSING, file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-sweep-"))
    try:
        cases = asked.case or all_cases(folder, asked.scene)
        cases = [
            case
            for case in cases
            if (not asked.call or case.call in asked.call) and (not asked.fault or case.effect in asked.fault)
        ]
        if asked.sample is not None:
            cases = sample(cases, asked.sample, asked.seed)
        results = sweep(cases, folder, asked.jobs, _Teller(cases))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(summary(cases, results))
    return 0 if is_clean(cases, results) else 1


class _Teller:
    """Prints what went wrong at once, and now and then how far it is."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._results: list[Result] = []

    def __call__(self, result: Result) -> None:
        self._results.append(result)
        if result.faults:
            print(result.case)
            for fault in result.faults:
                print(f"    {fault}")
        if len(self._results) % _TOLD_EVERY == 0:
            print(f"so far: {summary(self._cases, self._results)}, of {len(self._cases)}", file=sys.stderr)
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
