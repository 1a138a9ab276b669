"""Every operation of a run fails once, and every change is once the last: what SQLite does to its own I/O, done to ours.

    python -m tests.faults seam                       every case
    python -m tests.faults seam --sample 300          some of them, of every operation and fault
    python -m tests.faults seam --case full:120:EIO   one case again

Needs Linux and nothing else. Prints each case that went wrong and, at the end, how many were run, in how many the fault was
seen to happen, and how many went wrong. Exits with 0 only if every fault happened and nothing went wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .inprocess import SCENES, Workshop, chained, in_memory
from .scenes import Scene
from .seam import INTERRUPT, LIE, Fault, effects_of


class Case(NamedTuple):
    """One fault in one run: what happens at operation `number`, which is `operation`."""

    scene: str
    number: int
    effect: str
    operation: str = ""

    def __str__(self) -> str:
        return f"{self.scene}:{self.number}:{self.effect} {self.operation}".rstrip()


class Result(NamedTuple):
    """`injected`: whether the fault was seen to happen. `faults`: what must not be, and is."""

    case: Case
    injected: bool
    faults: tuple[str, ...]


def parse_case(text: str) -> Case:
    scene, number, effect = text.split(":")
    return Case(scene, int(number), effect)


def cases_of(workshop: Workshop) -> list[Case]:
    """Every case of the scene, from one run that goes well."""
    workshop.place.make(fresh_source=False)
    ended = workshop.run()
    return [
        Case(workshop.scene.name, number, effect, operation.name)
        for number, operation in enumerate(ended.operations, 1)
        for effect in effects_of(operation.name)
    ]


def try_case(workshop: Workshop, case: Case) -> Result:
    workshop.place.make(fresh_source=False)
    ended = workshop.run(Fault(case.number, case.effect))
    if ended.struck is None or case.operation not in ("", ended.struck.name):
        return Result(case, False, ())
    if case.effect == LIE and workshop.scene.options.get("integrity") == "size" and ended.code == 5:
        # Nothing is read back before it is published there: verification has found it and told.
        return Result(case, True, ())
    faults = workshop.faults_of(ended)
    if case.effect == INTERRUPT and ended.code == 0:
        faults.append("interrupted, but exit 0")
    return Result(case, True, (*faults, *workshop.faults_after(chained=chained(ended))))


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """About so many cases, of every scene, operation and effect some."""
    groups: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.scene, case.operation, case.effect), []).append(case)
    chance = random.Random(seed)
    ordered = list(groups.values())
    chance.shuffle(ordered)
    for group in ordered:
        chance.shuffle(group)
    chosen: list[Case] = []
    while len(chosen) < min(count, len(cases)):
        for group in ordered:
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return sorted(chosen)


def try_cases(
    folder: Path,
    scenes: Iterable[Scene] = SCENES,
    wanted: Callable[[list[Case]], list[Case]] = lambda cases: cases,
    tell: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """The results of all cases, or of those that are `wanted` of a scene's."""
    results = []
    for scene in scenes:
        workshop = Workshop(scene, folder / scene.name)
        ended = workshop.run()
        if faults := [*([] if ended.code == 0 else [ended.said]), *workshop.faults_of(ended)]:
            # What is wrong without any fault needs none.
            results.append(Result(Case(scene.name, 0, "nothing"), True, tuple(faults)))
            tell(results[-1])
            continue
        for case in wanted(cases_of(workshop)):
            results.append(try_case(workshop, case))
            tell(results[-1])
    return results


def is_clean(results: Sequence[Result]) -> bool:
    """Whether every fault happened and nothing went wrong. No cases prove nothing."""
    return bool(results) and all(result.injected and not result.faults for result in results)


def summary(results: Sequence[Result]) -> str:
    injected = sum(result.injected for result in results)
    wrong = sum(bool(result.faults) for result in results)
    return f"{len(results)} cases run, {injected} faults injected, {wrong} wrong"


def told(result: Result) -> None:
    """Print what went wrong, at once."""
    if not result.injected:
        print(f"{result.case}\n    the fault did not happen", flush=True)
    elif result.faults:
        print("\n    ".join([str(result.case), *result.faults]), flush=True)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults seam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [scene.name for scene in SCENES]
    parser.add_argument("--scene", action="append", default=[], choices=names)
    parser.add_argument("--sample", type=int, metavar="N", help="about so many cases of each scene, not all")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: 1)")
    parser.add_argument("--operation", action="append", default=[], help="only faults of this operation")
    parser.add_argument("--fault", action="append", default=[], help="only this fault, such as EIO or crash")
    parser.add_argument("--case", action="append", default=[], type=parse_case, help="exactly this case")
    asked = parser.parse_args(arguments)

    def wanted(cases: list[Case]) -> list[Case]:
        if asked.case:
            return [case for case in asked.case if case.scene == cases[0].scene]
        chosen = [
            case
            for case in cases
            if (not asked.operation or case.operation in asked.operation)
            and (not asked.fault or case.effect in asked.fault)
        ]
        return chosen if asked.sample is None else sample(chosen, asked.sample, asked.seed)

    chosen = asked.scene or [case.scene for case in asked.case] or names
    began = time.monotonic()
    with in_memory() as folder:
        results = try_cases(folder, [scene for scene in SCENES if scene.name in chosen], wanted, told)
    print(f"{summary(results)}, {time.monotonic() - began:.0f} s")
    return 0 if is_clean(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
