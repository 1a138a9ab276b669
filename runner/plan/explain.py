"""Why is a path (not) copied? The planner itself answers: it runs as for a plan, and is watched at one path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from runner.filters.selection import Decision, Selection
from runner.locations.pair import Endpoints
from runner.model.action import Action, ActionKind, Stage
from runner.model.difference import Difference, Reason
from runner.model.entry import Entry, Kind, Problem
from runner.model.plan import ExplainStep, Explanation
from runner.model.task import DeletedFiles, Task
from runner.model.wire import decode_line, terminal_safe
from runner.plan.file import PlanWriter
from runner.plan.prepare import Circumstances, Found, Prepared, Taps, prepare

_VERBS = {
    ActionKind.CREATE_DIRECTORY: "The folder is created",
    ActionKind.COPY: "It is copied",
    ActionKind.REPLACE: "It is replaced",
    ActionKind.SET_ATTRIBUTES: "Its metadata is changed",
    ActionKind.LINK: "It is made a hard link",
    ActionKind.DELETE: "It is deleted",
    ActionKind.QUARANTINE: "It is moved to quarantine",
}
_REASONS = {
    Reason.MISSING: "it is missing at the destination",
    Reason.EXTRA: "the source has nothing at this path",
    Reason.EXCLUDED: "the filters exclude it and delete_excluded is set",
    Reason.KIND: "the destination has an entry of another kind",
    Reason.SIZE: "the sizes differ",
    Reason.MTIME: "the modification times differ",
    Reason.DIGEST: "the contents differ",
    Reason.LINK_TARGET: "the link targets differ",
    Reason.LINK_GROUP: "it has to share (or not share) a file with other names",
    Reason.ATTRIBUTES: "metadata differs",
    Reason.ALL: "transfer_mode: all copies everything",
    Reason.CONTENTS: "its times are restored after changes inside it",
}


class _Watch:
    """Remembers what passed at one path and above it."""

    def __init__(self, path: str, doubted: frozenset[str]) -> None:
        self._asked = path
        self.doubted = path in doubted
        self.path = path.removesuffix("/")
        self._names = (self.path, self.path + "/" if self.path else "")
        self._above = ["", *(path[: end + 1] for end, character in enumerate(self.path) if character == "/")]
        self.entries: dict[str, Entry] = {}
        self.problems: dict[str, Problem] = {}
        self.difference: Difference | None = None

    def rank(self, action: Action) -> tuple[bool, bool]:
        """How well an action answers the question; the greatest does best."""
        return not action.is_housekeeping, action.path == self._asked

    def is_it(self, path: str) -> bool:
        return path in self._names

    def tap(self, side: str, stream: Iterator[Found]) -> Iterator[Found]:
        for found in stream:
            if isinstance(found, Problem):
                if found.path in self._names or found.path in self._above:
                    self.problems.setdefault(side, found)
            elif found.path in self._names:
                self.entries[side] = found
            yield found

    def see(self, difference: Difference) -> None:
        if difference.path in self._names:
            self.difference = difference


def explain(
    task: Task, endpoints: Endpoints, selection: Selection, circumstances: Circumstances, path: str
) -> Explanation:
    """What the planner does about `path` (with or without a folder's slash), and which questions settled it.

    Costs as much as a plan, because it is one. Raises what `prepare` raises.
    """
    path = path.removeprefix("./").lstrip("/")
    path = "" if path == "." else path
    watch = _Watch(path, circumstances.doubted)
    taps = Taps(
        lambda stream: watch.tap("source", stream),
        lambda stream: watch.tap("destination", stream),
        watch.see,
    )
    with contextlib.closing(PlanWriter()) as writer:
        prepared = prepare(task, endpoints, selection, circumstances, writer, taps)
        action = _action_at(writer, watch)
    steps = list(_steps(task, selection, watch, prepared, action))
    problem = watch.problems.get("source") or watch.problems.get("destination")
    if problem is None:
        problem = next((found for found in prepared.trailer.problems if watch.is_it(found.path)), None)
    shown = watch.entries.get("source") or watch.entries.get("destination")
    return Explanation(
        task.name,
        shown.path if shown is not None else path,
        _verdict(watch, action, steps, problem),
        action,
        tuple(steps),
        problem,
    )


def _action_at(writer: PlanWriter, watch: _Watch) -> Action | None:
    """The action planned for the path: one that is not mere housekeeping, and of a file that takes a folder's
    place the one of the name that was asked for."""
    found: Action | None = None
    for stage in Stage:
        for line in writer.lines(stage):
            action = decode_line(line, Action)
            if watch.is_it(action.path) and (found is None or watch.rank(action) > watch.rank(found)):
                found = action
    return found


def _steps(
    task: Task, selection: Selection, watch: _Watch, prepared: Prepared, action: Action | None
) -> Iterator[ExplainStep]:
    source, destination = watch.entries.get("source"), watch.entries.get("destination")
    for side, entry in (("source", source), ("destination", destination)):
        problem = watch.problems.get(side)
        answer = _facts(entry) if entry is not None else "nothing there"
        if problem is not None:
            answer = f"unknown: {problem.message}"
        yield ExplainStep(f"What is at the {side}?", answer, problem is not None and action is None)
    subject = source or destination
    if subject is None:
        decision = selection.path_decision(watch.path)
        yield ExplainStep("Do the filters let it in?", _decided(decision), not decision.included)
        return
    decision = selection.decide(subject)
    excluded = not decision.included
    yield ExplainStep("Do the filters let it in?", _decided(decision), excluded and source is not None)
    if source is not None and not excluded:
        yield from _source_steps(task, watch, prepared, source, destination, action)
    elif source is None and destination is not None:
        yield from _extra_steps(task, selection, prepared, destination, action)


def _source_steps(
    task: Task,
    watch: _Watch,
    prepared: Prepared,
    source: Entry,
    destination: Entry | None,
    action: Action | None,
) -> Iterator[ExplainStep]:
    difference = watch.difference
    compared = "content: verification doubted it" if watch.doubted else task.options.compare.value
    question = f"Does it differ (compare: {compared})?"
    if difference is None or not difference.reasons:
        if destination is None:
            answer = "the task's options leave out entries of this kind"
            if "destination" in watch.problems:
                answer = "cannot be told: the destination could not be listed here"
            yield ExplainStep("Does this kind of entry take part?", f"{source.kind.value}: {answer}", True)
        else:
            yield ExplainStep(question, "no: everything that is compared is equal", True)
        return
    reasons = ", ".join(_REASONS[reason] for reason in difference.reasons)
    if difference.attributes:
        reasons += f" ({', '.join(difference.attributes)})"
    yield ExplainStep(question, reasons, action is not None)
    if action is None:
        noted = next((found for found in prepared.trailer.problems if watch.is_it(found.path)), None)
        answer = (
            noted.message
            if noted is not None
            else f"overwrite_mode: {task.options.overwrite_mode.value} keeps it"
        )
        yield ExplainStep("May it be written?", answer, True)


def _extra_steps(
    task: Task, selection: Selection, prepared: Prepared, destination: Entry, action: Action | None
) -> Iterator[ExplainStep]:
    mode = task.options.preserve_deleted_files
    question = "May what the source has not be removed?"
    if action is not None:
        yield ExplainStep(question, f"yes: preserve_deleted_files: {mode.value}", True)
        return
    may_delete = selection.may_delete(destination)
    if mode is DeletedFiles.PRESERVE:
        answer = "no: preserve_deleted_files: preserve"
    elif not may_delete.included:
        answer = f"no: {_decided(may_delete)}"
    elif not prepared.trailer.complete:
        answer = "not in this run: something could not be listed, so nothing is deleted"
    elif destination.kind is Kind.DIRECTORY:
        answer = "no: something inside it stays"
    else:
        answer = "no: the source's folder above it is unknown or kept"
    yield ExplainStep(question, answer, True)


def _decided(decision: Decision) -> str:
    answer = "yes" if decision.included else "no"
    where = f", on the folder {terminal_safe(decision.by_ancestor)}" if decision.by_ancestor else ""
    return f"{answer}: {decision.rule}{where}"


def _facts(entry: Entry) -> str:
    facts = [entry.kind.value.replace("_", " ")]
    if entry.size_bytes is not None:
        facts.append(f"{entry.size_bytes:,} bytes")
    if entry.mtime_ns is not None:
        facts.append(f"mtime {entry.mtime_ns / 1e9:.9f}")
    if entry.attributes is not None and entry.attributes.mode is not None:
        facts.append(f"mode {entry.attributes.mode:04o}")
    if entry.link_target is not None:
        facts.append(f"-> {terminal_safe(entry.link_target)}")
    return ", ".join(facts)


def _verdict(watch: _Watch, action: Action | None, steps: list[ExplainStep], problem: Problem | None) -> str:
    if action is not None and not action.is_housekeeping:
        reasons = ", ".join(_REASONS[reason] for reason in action.reasons)
        return f"{_VERBS[action.kind]}: {reasons}."
    if problem is not None:
        return f"It cannot be handled: {problem.message}."
    if not watch.entries:
        return "Nothing happens: neither side has an entry at this path that could be seen."
    decided = next((step for step in steps if step.decided), None)
    prefix = "Only its times are restored" if action is not None else "Nothing happens"
    return f"{prefix}: {decided.answer}." if decided is not None else f"{prefix}."
