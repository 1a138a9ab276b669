"""Whether a task's reports are those that were written: the chain, each report, the files beside it, signatures."""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from runner.errors import RunnerError
from runner.history.chain import Link, chain_after, settled_links
from runner.history.signing import Signed
from runner.history.standing import read_standing
from runner.history.started import read_start
from runner.history.state import StateDirectory
from runner.model.execution import Evidence, PreviousReport, Report
from runner.model.wire import decode_line
from runner.plan.file import PlanReader
from runner.report.evidence import file_digests, stored_roots
from runner.report.stored import PLAN_FILE, REPORT_FILE, SIGNATURE_FILE, stream_findings


class BreakKind(enum.StrEnum):
    """What was done to a chain; docs/evidence.md explains each."""

    ALTERED = "altered"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    SIGNATURE = "signature"


class Break(msgspec.Struct, frozen=True):
    """One place where the chain does not hold. `sequence` None = the execution has no place in the chain."""

    kind: BreakKind
    execution_id: str
    sequence: int | None
    message: str


class ChainVerdict(msgspec.Struct, frozen=True):
    """What became of a check. `breaks` in order of the chain; none = it holds.

    links       reports that the chain knows of
    checked     of these, reports that are there and were read
    retired     of these, reports that retention removed
    signed      of these, reports whose signature holds; None = signatures were not asked about
    unchained   reports that were written before the chain began
    head        the last report: its execution and SHA-256. Keep it elsewhere, and `--expect` it the next time
    """

    task: str
    holds: bool
    links: int
    checked: int
    retired: int
    signed: int | None
    unchained: int
    head: PreviousReport | None
    breaks: tuple[Break, ...]


class Witnesses(NamedTuple):
    """What others than the chain know. `history`: SHA-256 of report.json by execution, None where it was not noted.
    `expected`: a report's SHA-256 that the chain has to hold. `signature` tells of a report's bytes, its signature's file
    and when it ended whether it is signed; None = signatures do not matter. Breaks before execution `since` are left out
    (its id; one that the chain does not know leaves out none of the chain's).
    """

    history: Mapping[str, str | None] = {}
    expected: str | None = None
    signature: Callable[[bytes, str, str], Signed] | None = None
    since: str | None = None


def check_chain(state: StateDirectory, task: str, witnesses: Witnesses) -> ChainVerdict:
    """Read the chain and everything it vouches for. Nothing is written.

    Memory: the chain's lines, then one report at a time. Raises OSError, SigningError.
    """
    # In this order: a report that is seen has its line by the time the lines are read.
    folders = state.execution_ids()
    return _Check(state, task, witnesses, folders).verdict()


class _Slim(msgspec.Struct, frozen=True):
    """Whose report it is, of one that may be anything."""

    execution: _SlimExecution
    evidence: Evidence | None = None


class _SlimExecution(msgspec.Struct, frozen=True):
    task: str
    execution_id: str


class _Check:
    """One pass: the lines, each line's report, then what is there and has no line."""

    def __init__(self, state: StateDirectory, task: str, witnesses: Witnesses, folders: list[str]) -> None:
        self._state = state
        self._task = task
        self._witnesses = witnesses
        self._breaks: list[Break] = []
        self._after_a_gap: set[int] = set()
        self._checked = self._signed = 0
        lines = settled_links(state, task)
        self._links = [link for link, _ in lines if link.report]
        self._known = {link.execution_id: link for link in self._links}
        self._retired = _retired(lines)
        self._strangers = dict(self._without_a_line(folders))
        self._lines = self._in_line(lines)

    def verdict(self) -> ChainVerdict:
        head: PreviousReport | None = None
        before: str | None = None
        previous: Link | None = None
        # The chain as the reports themselves tell it: where they agree among each other, only one place is broken.
        told: str | None = None
        for link, line in self._lines:
            if link.report:
                head = PreviousReport(link.execution_id, link.report)
                report = self._report_of(link)
                evidence = None if report is None else report.evidence
                # What a report tells of one whose line is gone adds nothing.
                if evidence is not None and link.sequence not in self._after_a_gap:
                    self._check_place(link, previous, evidence, (before, told))
                told = told if evidence is None or evidence.sequence is None else evidence.chain
                previous = link
            told = chain_after(told, line)
            before = link.chain
        unchained = self._check_strangers()
        self._check_witnesses()
        breaks = self._breaks
        if self._witnesses.since is not None:
            breaks = list(filter(_since(self._witnesses.since, self._links), breaks))
        return ChainVerdict(
            self._task,
            not breaks,
            len(self._links),
            self._checked,
            len(self._retired & self._known.keys()),
            None if self._witnesses.signature is None else self._signed,
            unchained,
            head,
            tuple(sorted(breaks, key=_in_order)),
        )

    # -- the chain file itself -----------------------------------------------------------------------------

    def _in_line(self, lines: list[tuple[Link, bytes]]) -> list[tuple[Link, bytes]]:
        """The lines that count, in the order of their numbers; each that is out of place, missing or changed is noted."""
        for place, (link, _) in enumerate(lines, 1):
            if link.sequence == 0:
                self._breaks.append(Break(BreakKind.ALTERED, "", place, f"line {place} of the chain is none"))
        lines = [(link, line) for link, line in lines if link.sequence]
        if sorted(link.sequence for link, _ in lines) == list(range(1, len(lines) + 1)):
            for place, (link, _) in enumerate(lines, 1):
                if link.sequence != place:
                    self._find(BreakKind.REORDERED, link, f"its line stands in place {place} of the chain")
            lines = sorted(lines, key=lambda one: one[0].sequence)
        kept: list[tuple[Link, bytes]] = []
        last, chain = 0, None
        for link, line in lines:
            if link.sequence <= last:
                self._find(
                    BreakKind.INSERTED, link, f"the chain has a line {link.sequence} twice or out of place"
                )
                continue
            if link.sequence > last + 1:
                self._missing(range(last + 1, link.sequence), link)
            elif chain_after(chain, line) != link.chain:
                self._find(BreakKind.ALTERED, link, "its line in the chain was changed")
            kept.append((link, line))
            last, chain = link.sequence, link.chain
        return kept

    def _missing(self, numbers: range, following: Link) -> None:
        """Lines are gone. Their reports may be there still, and say which they were."""
        for execution_id, found in self._strangers.items():
            sequence = None if found.evidence is None else found.evidence.sequence
            if sequence in numbers:
                text = "its line in the chain is gone"
                self._breaks.append(Break(BreakKind.REMOVED, execution_id, sequence, text))
        if not any(one.kind is BreakKind.REMOVED and one.sequence in numbers for one in self._breaks):
            gone = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
            self._find(BreakKind.REMOVED, following, f"line {gone} of the chain, before it, is gone")
        self._after_a_gap.add(following.sequence)

    # -- one report ----------------------------------------------------------------------------------------

    def _content(self, execution_id: str) -> bytes | None:
        try:
            with open(os.path.join(self._state.execution_folder(execution_id), REPORT_FILE), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError, RunnerError):
            return None

    def _report_of(self, link: Link) -> Report | None:
        """The report of a line, checked as far as it can be by itself; None when it is not the one that was written."""
        content = self._content(link.execution_id)
        if content is None:
            if link.execution_id not in self._retired and not self._retired_meanwhile(link.execution_id):
                self._find(BreakKind.REMOVED, link, "its report is gone, and no retention removed it")
            return None
        self._checked += 1
        self._check_signature(link, content)
        try:
            report = decode_line(content, Report)
        except (msgspec.MsgspecError, ValueError):
            self._find(BreakKind.ALTERED, link, "its report.json is not readable")
            return None
        if report.execution.execution_id != link.execution_id or report.execution.task != self._task:
            other = f"{report.execution.execution_id} of task {report.execution.task}"
            self._find(BreakKind.REORDERED, link, f"the report of execution {other} stands in its place")
            return None
        if hashlib.sha256(content).hexdigest() != link.report:
            self._find(BreakKind.ALTERED, link, "its report.json is not the one that was written")
            return None
        fault = None if report.evidence is None else self._fault_beside(link, report, report.evidence)
        if fault is not None:
            self._find(BreakKind.ALTERED, link, fault)
        return report

    def _check_place(
        self, link: Link, previous: Link | None, evidence: Evidence, chains: tuple[str | None, str | None]
    ) -> None:
        """Whether a report stands where it says. What it tells of those before it speaks against them, not against it."""
        before = None if previous is None else PreviousReport(previous.execution_id, previous.report)
        if evidence.sequence != link.sequence:
            text = f"its report says that it is link {evidence.sequence} of a chain"
            self._find(BreakKind.REORDERED, link, text)
        elif evidence.previous == before and evidence.chain in chains:
            return
        elif previous is not None and (
            evidence.previous is None or evidence.previous.execution_id != previous.execution_id
        ):
            self._find(
                BreakKind.REORDERED, link, f"its report does not follow execution {previous.execution_id}"
            )
        else:
            text = f"the report of execution {link.execution_id}, after it, tells of another one"
            self._find(BreakKind.ALTERED, previous or link, text)

    def _fault_beside(self, link: Link, report: Report, evidence: Evidence) -> str | None:
        """What is wrong with the files beside a report."""
        folder = self._state.execution_folder(link.execution_id)
        found = file_digests(folder)
        for name in sorted(evidence.files.keys() | found.keys()):
            if name not in found:
                return f"its {name} is gone"
            if evidence.files.get(name) != found[name]:
                return f"its {name} is not the one that was written"
        try:
            if evidence.source is not None:
                roots = stored_roots(folder, stream_findings(folder, report))
                if roots != (evidence.source, evidence.destination):
                    return "its Merkle roots are not those of its outcomes"
            if report.execution.plan_digest is not None:
                plan = PlanReader(os.path.join(folder, PLAN_FILE))
                if plan.trailer.digest != report.execution.plan_digest:
                    return f"its {PLAN_FILE} is another plan than the one that was carried out"
        except RunnerError as error:
            return error.message
        except (msgspec.MsgspecError, ValueError) as error:
            return f"its files are not readable: {error}"
        return None

    def _check_signature(self, link: Link, content: bytes) -> None:
        """Once a report is signed, all that follow are: an earlier one is covered by the first that is."""
        check = self._witnesses.signature
        if check is None:
            return
        path = os.path.join(self._state.execution_folder(link.execution_id), SIGNATURE_FILE)
        if not os.path.exists(path):
            if self._signed:
                self._find(BreakKind.SIGNATURE, link, "its report is not signed, and earlier ones are")
            return
        signed = check(content, path, link.at)
        if signed.fault is None:
            self._signed += 1
        else:
            self._find(BreakKind.SIGNATURE, link, signed.fault)

    # -- what the chain does not know ----------------------------------------------------------------------

    def _without_a_line(self, folders: list[str]) -> Iterator[tuple[str, _Slim]]:
        """Reports of the task that no line tells of."""
        for execution_id in folders:
            content = None if execution_id in self._known else self._content(execution_id)
            if content is None:
                continue
            try:
                found = decode_line(content, _Slim)
            except (msgspec.MsgspecError, ValueError):
                started = read_start(self._state.execution_folder(execution_id))
                if started is None:
                    continue
                found = _Slim(_SlimExecution(started.task, execution_id))
            if found.execution.task == self._task:
                yield execution_id, found

    def _check_strangers(self) -> int:
        """Reports without a line. Returns how many are from before there were chains."""
        first = min(self._known, default="")
        last = max((link.sequence for link, _ in self._lines), default=0)
        unchained = 0
        for execution_id, found in self._strangers.items():
            claimed = None if found.evidence is None else found.evidence.sequence
            if found.evidence is None and (not first or execution_id < first):
                unchained += 1
            elif claimed is not None and claimed > last:
                text = f"its report is link {claimed}, and the chain ends with {last}"
                self._lost(BreakKind.TRUNCATED, execution_id, text)
            else:
                self._lost(BreakKind.INSERTED, execution_id, "its report is not part of the chain")
        return unchained

    def _check_witnesses(self) -> None:
        first = min(self._known, default="")
        for execution_id, digest in sorted(self._witnesses.history.items()):
            link = self._known.get(execution_id)
            if link is None and digest is not None and execution_id >= first:
                self._lost(BreakKind.TRUNCATED, execution_id, "history knows its report, the chain does not")
            elif link is not None and digest not in (None, link.report):
                self._find(BreakKind.ALTERED, link, "history was told of another report than the chain holds")
        last = read_standing(self._state, self._task).last_execution
        if last is not None and self._known and first < last and last not in self._known:
            text = "the task's last execution by its standing, unknown to the chain"
            self._lost(BreakKind.TRUNCATED, last, text)
        if self._witnesses.signature is not None and self._links and not self._signed:
            self._find(BreakKind.SIGNATURE, self._links[-1], "no report of the chain is signed")
        expected = self._witnesses.expected
        if expected is not None and expected not in {link.report for link in self._links}:
            text = f"no report has the SHA-256 {expected} that was expected"
            self._breaks.append(Break(BreakKind.TRUNCATED, "", None, text))

    # -- parts ---------------------------------------------------------------------------------------------

    def _retired_meanwhile(self, execution_id: str) -> bool:
        return execution_id in _retired(settled_links(self._state, self._task))

    def _find(self, kind: BreakKind, link: Link, message: str) -> None:
        """What speaks against a line that was found wrong already adds nothing."""
        if all((one.kind, one.sequence) != (kind, link.sequence) for one in self._breaks):
            self._breaks.append(Break(kind, link.execution_id, link.sequence, message))

    def _lost(self, kind: BreakKind, execution_id: str, message: str) -> None:
        if all(one.execution_id != execution_id for one in self._breaks):
            self._breaks.append(Break(kind, execution_id, None, message))


def _retired(lines: list[tuple[Link, bytes]]) -> set[str]:
    return {execution_id for link, _ in lines for execution_id in link.retired}


def _since(execution_id: str, links: list[Link]) -> Callable[[Break], bool]:
    """Whether a break is not before that execution: in the chain, or in time where it has no place there."""
    start = next((link.sequence for link in links if link.execution_id == execution_id), 0)
    return lambda one: one.execution_id >= execution_id if one.sequence is None else one.sequence >= start


def _in_order(one: Break) -> tuple[bool, int, str]:
    return one.sequence is None, one.sequence or 0, one.execution_id
