"""The power goes at every moment of a run, on paper: each state that the disk may be in is held against the promises.

    python -m tests.faults states                  every state, each with the run after it; many minutes
    python -m tests.faults states --sample 300     all states, 300 of each job with the run after it

Needs Linux and nothing else, neither root nor a disk. Prints what was found wrong and, at the end, how many states there
were, after how many the next run was made, and how many were wrong. Exits with 0 only if none was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.testing.manifest import Row

from . import judge
from .crash_states import Recorder, State, states_of
from .inprocess import CODES, SCENES, Workshop, in_memory
from .scenes import Scene, remove_tree
from .seam import Fault

FOLDERS = ("dst", "state")
_PROMISES_NAMES = ("file", "full")


class Recorded(NamedTuple):
    """One run: its exit code, and what it did."""

    code: int
    events: int
    recorder: Recorder


class Finding(NamedTuple):
    """What is wrong with a state."""

    scene: str
    cut: int
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join([f"{self.scene}, {self.cut} changes", *self.faults])


def recorded(workshop: Workshop, fault: Fault | None = None) -> Recorded:
    """A run from the beginning."""
    workshop.place.make(fresh_source=False)
    with Recorder(workshop.place.folder, FOLDERS) as recorder:
        ended = workshop.run(fault, recorder.done)
    final = State(0, recorder.inodes, recorder.names, recorder.top)
    for folder in FOLDERS:
        # What was written down is what there is; else all that follows is about nothing.
        there = judge.rows_of(workshop.place.folder / folder)
        written = final.rows(folder)
        assert all(judge.same_thing(there.get(path), written.get(path)) for path in {*there, *written})
    return Recorded(ended.code, len(recorder.events), recorder)


def broken_promises(state: State, workshop: Workshop, run: Recorded) -> list[str]:
    """What is wrong with a state as it is found."""
    durability = workshop.scene.options["durability"]
    faults = [f"{path} is not whole" for path in _half_written(state)]
    if faults or durability not in _PROMISES_NAMES:
        return faults
    rows = _outside_drafts(state.rows("dst"))
    faults = judge.torn(rows, workshop.old, workshop.new)
    if workshop.scene.quarantines:
        faults += judge.lost(rows, workshop.old, workshop.new)
    if durability == "full":
        faults += [f"told as done: {one}" for one in _not_done(state, rows, workshop)]
        if run.code == 0 and state.cut == run.events:
            faults += [f"after exit 0: {one}" for one in _unequal(rows, workshop)]
            if not any(path.endswith("report.json") for path in state.paths("state")):
                faults.append("after exit 0: there is no report")
    return faults


def _half_written(state: State) -> Iterator[str]:
    """Files of the state folder that have to be whole wherever they are."""
    for path, inode in state.paths("state").items():
        if path.endswith("/report.json") or (path.startswith("tasks/") and path.endswith(".json")):
            try:
                json.loads(state.inodes[inode].content)
            except ValueError:
                yield path


def _outside_drafts(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Without what is in a folder that has no name of its own yet."""
    return {
        path: row
        for path, row in rows.items()
        if not any(judge.is_temporary(part) for part in path.split(b"/")[:-1])
    }


def _not_done(state: State, rows: dict[bytes, Row], workshop: Workshop) -> Iterator[str]:
    """What the journal, or the report, says of this execution and the destination does not bear out."""
    for path, inode in state.paths("state").items():
        content = state.inodes[inode].content
        if path.endswith("/outcomes.jsonl"):
            yield from _journalled(content, rows, workshop)
        elif path.endswith("/report.json") and json.loads(content)["execution"]["exit_code"] == 0:
            yield from _unequal(rows, workshop)


def _journalled(content: bytes, rows: dict[bytes, Row], workshop: Workshop) -> Iterator[str]:
    for line in content.split(b"\n")[:-1]:
        try:
            outcome = json.loads(line)
        except ValueError:
            # Not there yet: zeros stand in its place.
            continue
        path = os.fsencode(outcome["path"].rstrip("/"))
        there, was, wanted = rows.get(path), workshop.old.get(path), workshop.new.get(path)
        if outcome["kind"] in ("delete", "quarantine"):
            # Something else may have its place already, or not yet.
            is_done = there is None or not judge.same_thing(there, was)
        else:
            is_done = judge.same_thing(there, wanted)
        if outcome["status"] == "done" and not is_done:
            yield f"{outcome['kind']} {outcome['path']}"


def _unequal(rows: dict[bytes, Row], workshop: Workshop) -> list[str]:
    def bare(those: dict[bytes, Row]) -> dict[bytes, Row]:
        return {path: dataclasses.replace(row, hard_link_of=None) for path, row in those.items()}

    return judge.unequal(bare(judge.content_rows(rows)), bare(dict(workshop.new)))


def after_it(state: State, workshop: Workshop) -> list[str]:
    """Put a state on the disk and run again: what is wrong then."""
    place = workshop.place
    for folder in (place.destination, place.state):
        remove_tree(folder)
    state.make(place.folder, FOLDERS)
    if workshop.scene.options["durability"] in _PROMISES_NAMES:
        return workshop.faults_after()
    again = workshop.run()
    faults = [] if again.code in CODES else [f"run again: exit {again.code}: {again.said[-600:]}"]
    if "Traceback" in again.said:
        faults.append(f"run again: a traceback: {again.said[-1500:]}")
    if judge.rows_of(place.source) != workshop.new:
        faults.append("the source was touched")
    return faults


def after_failed_flushes(workshop: Workshop) -> tuple[int, list[Finding]]:
    """Each flush of a run fails once, and the power goes when the run has ended: (how many, what is wrong then)."""
    workshop.place.make(fresh_source=False)
    operations = workshop.run().operations
    numbers = [number for number, one in enumerate(operations, 1) if one.name in ("fsync", "fdatasync")]
    findings = []
    for number in numbers:
        run = recorded(workshop, Fault(number, "EIO"))
        for state in states_of(run.recorder, FOLDERS, from_cut=run.events):
            if faults := broken_promises(state, workshop, run):
                text = f"flush {number} ({operations[number - 1]}) failed, exit {run.code}"
                findings.append(Finding(workshop.scene.name, state.cut, (text, *faults)))
    return len(numbers), findings


class Summary(NamedTuple):
    states: int
    run_again: int
    failed_flushes: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return (
            f"{self.states} states, the next run made after {self.run_again} of them, {self.failed_flushes} runs with a"
            f" flush that failed, {len(self.findings)} wrong"
        )


def try_states(
    folder: Path,
    scenes: Iterable[Scene] = SCENES,
    again: Callable[[list[State]], list[State]] = lambda states: states,
    tell: Callable[[Finding], None] = lambda finding: None,
) -> Summary:
    """Every state of a run without faults is looked at; after those that `again` picks, the command runs again."""
    count = run_again = flushes = 0
    findings: list[Finding] = []

    def note(state: State, scene: Scene, faults: list[str]) -> None:
        if faults:
            findings.append(Finding(scene.name, state.cut, tuple(faults)))
            tell(findings[-1])

    for scene in scenes:
        workshop = Workshop(scene, folder / scene.name)
        run = recorded(workshop)
        assert run.code == 0
        states = list(states_of(run.recorder, FOLDERS))
        count += len(states)
        for state in states:
            note(state, scene, broken_promises(state, workshop, run))
        for state in again(states):
            run_again += 1
            note(state, scene, after_it(state, workshop))
        if scene.options["durability"] in _PROMISES_NAMES:
            number, found = after_failed_flushes(workshop)
            flushes += number
            findings += found
            for finding in found:
                tell(finding)
    return Summary(count, run_again, flushes, tuple(findings))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults states",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [scene.name for scene in SCENES]
    parser.add_argument("--scene", action="append", default=[], choices=names)
    parser.add_argument(
        "--sample", type=int, metavar="N", help="the next run after so many of each scene, not all"
    )
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: 1)")
    asked = parser.parse_args(arguments)

    def again(states: list[State]) -> list[State]:
        if asked.sample is None or asked.sample >= len(states):
            return states
        return random.Random(asked.seed).sample(states, asked.sample)

    began = time.monotonic()
    with in_memory() as folder:
        chosen = [scene for scene in SCENES if not asked.scene or scene.name in asked.scene]
        summary = try_states(folder, chosen, again, lambda finding: print(finding, flush=True))
    print(f"{summary}, {time.monotonic() - began:.0f} s")
    return 0 if summary.states and not summary.findings else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
