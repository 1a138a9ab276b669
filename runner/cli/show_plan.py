"""A plan, a check and an explanation as text for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from runner.cli.text import (
    Page,
    Style,
    advice,
    cell_width,
    counted,
    number,
    padded,
    safe,
    shortened,
    wrapped,
)
from runner.model.action import SYMBOLS, Action, ActionKind
from runner.model.difference import Reason
from runner.model.entry import Problem
from runner.model.execution import EndpointSummary, GuardVerdict
from runner.model.plan import ActionTotals, Explanation, PlanSummary
from runner.units import format_size

FIRST_SHOWN = 20
LARGEST_SHOWN = 5
PROBLEMS_SHOWN = 10

SYMBOL_STYLES = {"+": Style.GOOD, "~": Style.CHANGE, "m": Style.CHANGE, "-": Style.BAD}

REASON_WORDS: dict[Reason, str] = {
    Reason.MISSING: "not at the destination",
    Reason.EXTRA: "not at the source",
    Reason.KIND: "another kind",
    Reason.SIZE: "size differs",
    Reason.MTIME: "time differs",
    Reason.DIGEST: "content differs",
    Reason.LINK_TARGET: "link target differs",
    Reason.LINK_GROUP: "hard links differ",
    Reason.ATTRIBUTES: "metadata differs",
    Reason.ALL: "transfer_mode: all",
    Reason.CONTENTS: "contents change",
}


def plan_text(summary: PlanSummary, page: Page, *, config_flag: str = "") -> list[str]:
    """The whole of `plan`: what was compared, what would be done and why, and how to do it.

    `config_flag` (" -c FILE" or empty) goes into the commands that are suggested.
    """
    lines = [*_head(summary, page, "Plan for"), ""]
    lines += _body(summary, page)
    lines += ["", *_how_to_go_on(summary, page, config_flag)]
    return lines


def check_text(summary: PlanSummary, page: Page, *, config_flag: str = "") -> list[str]:
    """The whole of `check`: the same comparison, as a finding about the destination."""
    lines = [*_head(summary, page, "Check of"), "", *_body(summary, page)]
    if summary.trailer.totals.changes:
        command = f"sync-runner plan {shlex.quote(safe(summary.header.task))}{config_flag}"
        lines += ["", f"To see every step: {page.paint(command, Style.COMMAND)}"]
    return lines


def explanation_text(explanation: Explanation, page: Page) -> list[str]:
    """The verdict first, then each question with its answer, then what a run would do."""
    lines = [page.paint(safe(explanation.path) or "(the root)", Style.HEADING)]
    lines += wrapped(safe(explanation.verdict), page, first="  ", rest="  ")
    if explanation.steps:
        lines += ["", "Why:"]
    width = min(44, max((cell_width(safe(step.question)) for step in explanation.steps), default=0))
    for step in explanation.steps:
        mark = page.paint(">", Style.GOOD, Style.HEADING) if step.decided else " "
        question = padded(safe(step.question), width)
        lines += _hanging(f"{mark} {question}  ", safe(step.answer), page, indent=2 + width + 2)
    if explanation.problem is not None:
        lines += ["", *problem_lines([explanation.problem], 1, page)]
    lines += ["", "A run would do:"]
    if explanation.action is None:
        lines.append(f"  {page.paint('=', Style.DIM)} nothing")
    else:
        lines += _action_rows([explanation.action], page)
    return lines


def totals_sentence(totals: ActionTotals) -> str:
    """'12 to copy (3.1 GiB), 2 to replace (1.0 KiB), 4 to delete (120.0 MiB)'; empty when nothing changes."""
    pieces = []
    if totals.folders_to_create:
        pieces.append(counted(totals.folders_to_create, "folder") + " to create")
    if totals.to_copy:
        pieces.append(f"{number(totals.to_copy)} to copy ({format_size(totals.bytes_to_copy)})")
    if totals.to_replace:
        pieces.append(f"{number(totals.to_replace)} to replace ({format_size(totals.bytes_to_replace)})")
    if totals.to_link:
        pieces.append(f"{number(totals.to_link)} to link")
    if totals.to_change_metadata:
        pieces.append(f"{number(totals.to_change_metadata)} to change metadata")
    removed = f" ({format_size(totals.bytes_to_delete)})" if totals.bytes_to_delete else ""
    if totals.to_delete:
        pieces.append(f"{number(totals.to_delete)} to delete{removed}")
        removed = ""
    if totals.to_quarantine:
        pieces.append(f"{number(totals.to_quarantine)} to quarantine{removed}")
    return ", ".join(pieces)


def problem_lines(
    problems: Sequence[Problem], total: int, page: Page, shown: int = PROBLEMS_SHOWN
) -> list[str]:
    """The first problems, each with its code and message."""
    lines = []
    for problem in problems[:shown]:
        place = f" ({safe(problem.side)})" if problem.side else ""
        lines.append(
            f"  {page.paint('!', Style.BAD)} {safe(problem.path) or '(the root)'}{place} "
            + page.paint(f"[{problem.code.value}]", Style.BAD)
        )
        message = safe(problem.message)
        lines += wrapped(message, page, first="      ", rest="      ")
    if total > len(problems[:shown]):
        lines.append(f"    and {number(total - len(problems[:shown]))} more")
    return lines


def guard_lines(verdicts: Sequence[GuardVerdict], page: Page) -> list[str]:
    """Each guard that refuses with the command that goes on, then the accepted ones."""
    lines = []
    for verdict in verdicts:
        mark, said = ("=", "accepted") if verdict.accepted else ("!", "refuses")
        style = Style.DIM if verdict.accepted else Style.BAD
        head = f"  {page.paint(mark, style)} {page.paint(f'guard {safe(verdict.guard)} {said}:', style)} "
        lines += _hanging(head, safe(verdict.message), page, indent=4)
        if not verdict.accepted and verdict.remedy:
            lines += advice(safe(verdict.remedy), page, first="    -> ", rest="       ")
    return lines


def endpoint(summary: EndpointSummary) -> str:
    """'photos (/srv/photos)'."""
    return (
        f"{safe(summary.name)} ({safe(summary.description)})" if summary.description else safe(summary.name)
    )


def _head(summary: PlanSummary, page: Page, words: str) -> list[str]:
    header = summary.header
    title = page.paint(f"{words} {safe(header.task)}:", Style.HEADING)
    lines = [f"{title} {endpoint(header.source)} -> {endpoint(header.destination)}"]
    for loss in summary.trailer.losses:
        lines += _hanging(page.paint("  note: ", Style.DIM), safe(loss), page, indent=8)
    return lines


def _body(summary: PlanSummary, page: Page) -> Iterator[str]:
    trailer = summary.trailer
    yield from _outcome(summary, page)
    if trailer.problems_total:
        yield ""
        yield page.paint(f"{counted(trailer.problems_total, 'problem')}:", Style.BAD, Style.HEADING)
        yield from problem_lines(trailer.problems, trailer.problems_total, page)
        if trailer.totals.deletions_withheld:
            yield (
                f"  {counted(trailer.totals.deletions_withheld, 'deletion')} withheld: "
                "nothing is deleted while something could not be listed."
            )
    if trailer.guards:
        yield ""
        yield from guard_lines(trailer.guards, page)
    if summary.first:
        yield ""
        shown = summary.first[:FIRST_SHOWN]
        yield from _action_rows(shown, page)
        rest = trailer.totals.changes - len(shown)
        if rest > 0:
            yield f"    and {number(rest)} more"
    yield from _largest(summary, page)


def _outcome(summary: PlanSummary, page: Page) -> Iterator[str]:
    trailer = summary.trailer
    totals = totals_sentence(trailer.totals)
    if totals:
        yield from (page.paint(line, Style.HEADING) for line in wrapped(f"{totals}.", page))
    elif trailer.complete and not trailer.problems_total:
        yield page.paint("In sync: nothing to do.", Style.GOOD, Style.HEADING)
    else:
        yield page.paint("Nothing to do in what could be listed.", Style.CHANGE, Style.HEADING)
    same = trailer.counters.skipped
    pieces = [
        f"{counted(trailer.counters.listed.files, 'file')} and "
        f"{counted(trailer.counters.listed.folders, 'folder')} listed "
        f"({format_size(trailer.counters.bytes_listed)})"
    ]
    if same.files or same.folders:
        left = counted(same.files + same.folders, "entry", "entries")
        pieces.append(f"{left} left as they are")
    excluded = trailer.counters.excluded
    if excluded.files or excluded.folders:
        pieces.append(f"{number(excluded.files + excluded.folders)} excluded")
    if trailer.totals.extras_kept:
        pieces.append(f"{counted(trailer.totals.extras_kept, 'extra')} kept at the destination")
    yield from (page.paint(line, Style.DIM) for line in wrapped("; ".join(pieces) + ".", page))


def _largest(summary: PlanSummary, page: Page) -> Iterator[str]:
    largest = [action for action in summary.largest if action.size_bytes][:LARGEST_SHOWN]
    listed = {action.id for action in summary.first[:FIRST_SHOWN]}
    if all(action.id in listed for action in largest):
        return
    yield ""
    yield "Largest:"
    yield from _action_rows(largest, page)


def _action_rows(actions: Sequence[Action], page: Page) -> list[str]:
    """`+ 12.0 KiB  path  (why)`, the columns aligned, the path shortened before the reason."""
    sizes = [_size_of(action) for action in actions]
    size_width = max(map(len, sizes), default=0)
    room = page.width - 4 - (size_width + 2 if size_width else 0)
    lines = []
    for action, size in zip(actions, sizes, strict=True):
        symbol = SYMBOLS[action.kind]
        why = f"  ({reason_of(action)})"
        path = shortened(safe(action.path) or "(the root)", max(16, room - cell_width(why)))
        column = padded(size, size_width, right=True) + "  " if size_width else ""
        lines.append(
            f"  {page.paint(symbol, SYMBOL_STYLES[symbol])} {column}{path}{page.paint(why, Style.DIM)}"
        )
    return lines


def reason_of(action: Action) -> str:
    """Why an action is in the plan, in words: 'size differs, time differs'."""
    words = [REASON_WORDS[reason] for reason in action.reasons if reason is not Reason.ATTRIBUTES]
    if Reason.ATTRIBUTES in action.reasons or (
        action.attributes and action.kind is ActionKind.SET_ATTRIBUTES
    ):
        fields = ", ".join(safe(field) for field in action.attributes)
        words.append(
            f"{fields} differ{'' if len(action.attributes) > 1 else 's'}" if fields else "metadata differs"
        )
    if action.kind is ActionKind.LINK and action.link_to is not None:
        words.append(f"hard link to {safe(action.link_to)}")
    if action.kind is ActionKind.QUARANTINE:
        words.append("to quarantine")
    return ", ".join(words)


def _size_of(action: Action) -> str:
    if action.is_directory or action.kind in (ActionKind.SET_ATTRIBUTES, ActionKind.LINK):
        return ""
    return format_size(action.size_bytes)


def _how_to_go_on(summary: PlanSummary, page: Page, config_flag: str) -> Iterator[str]:
    task = shlex.quote(safe(summary.header.task))
    if not summary.trailer.totals.changes:
        if summary.file is not None:
            yield f"Plan written to {safe(summary.file)}."
        elif not summary.trailer.complete:
            yield "Remove the cause of the problems, then plan again."
        else:
            command = f"sync-runner verify {task}{config_flag}"
            yield f"To compare contents byte by byte: {page.paint(command, Style.COMMAND)}"
        return
    if summary.file is None and summary.refused:
        yield "A run would refuse, too, until the guard is satisfied or accepted."
        return
    if summary.file is None:
        command = f"sync-runner plan {task}{config_flag} -o {task}.plan.jsonl"
        yield f"To do this now: {page.paint(f'sync-runner run {task}{config_flag}', Style.COMMAND)}"
        yield f"To keep exactly this plan: {page.paint(command, Style.COMMAND)}"
        return
    command = f"sync-runner apply {shlex.quote(safe(summary.file))}{config_flag}"
    accepted = "".join(f" --accept {shlex.quote(safe(verdict.guard))}" for verdict in summary.refused)
    words = "To apply exactly this in spite of the guards:" if accepted else "To apply exactly this:"
    yield f"{words} {page.paint(command + accepted, Style.COMMAND)}"


def _hanging(head: str, text: str, page: Page, *, indent: int) -> list[str]:
    """`head` and `text` as one paragraph, whose further lines start at `indent`. `head` may hold colours."""
    room = Page(width=page.width, colour=False)
    blank = " " * indent
    plain_head = _without_colours(head)
    lines = wrapped(text, room, first=plain_head, rest=blank)
    if lines and lines[0].startswith(plain_head.rstrip()):
        lines[0] = head + lines[0][len(plain_head) :]
    return [line.rstrip() for line in lines]


def _without_colours(text: str) -> str:
    pieces = text.split("\x1b[")
    return pieces[0] + "".join(piece.split("m", 1)[1] for piece in pieces[1:])
