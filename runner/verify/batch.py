"""Re-reading in a worker: bytes in, bytes out, like transfer batches.

verify_actions   a request is, per action, its plan line and then its outcome line: what was transferred is checked
                 against the digest taken while the source was read
verify_pairs     a request is one Pair a line: both sides are read now
An answer is a VerifySummary line; it holds every finding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import msgspec

from runner.errors import EntryCode, EntryError
from runner.inventory.content import digester
from runner.locations.protocol import ChecksQuickly, Location, QuickExpected, Throttle
from runner.model.action import Action, ActionKind, Finding, Outcome, OutcomeStatus, Verdict
from runner.model.entry import Entry, Kind
from runner.model.execution import Counts
from runner.model.task import DigestAlgorithm
from runner.model.wire import decode_line, decoder_of, encode_line
from runner.transfer.expect import is_as_expected
from runner.transfer.quickly import AT_ONCE, of_one_folder
from runner.verify.judge import added, judge_digest, judge_facts


class Pair(msgspec.Struct, frozen=True, omit_defaults=True):
    """One path to be read on both sides. `facts` is what the metadata showed already."""

    expected: Entry
    actual: Entry
    facts: Finding | None = None


class VerifySummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one batch saw."""

    verified: Counts = Counts()
    failed: Counts = Counts()
    bytes: int = 0
    findings: tuple[Finding, ...] = ()


_UNREADABLE = {
    EntryCode.LOCKED: Verdict.LOCKED,
    EntryCode.CHANGED_DURING_TRANSFER: Verdict.CHANGED_DURING_TRANSFER,
    EntryCode.STALE: Verdict.CHANGED_DURING_TRANSFER,
    EntryCode.CHECKSUM_FAILURE: Verdict.CHECKSUM_FAILURE,
}


class VerifySettings(msgspec.Struct, frozen=True):
    """How to check: modification times closer than `mtime_tolerance_ns` are equal."""

    algorithm: DigestAlgorithm
    mtime_tolerance_ns: int
    agent: str


_WRITES_CONTENT = frozenset({ActionKind.COPY, ActionKind.REPLACE})


class Verifier:
    """Checks entries between two open locations. One thread; holds nothing between batches."""

    def __init__(
        self,
        source: Location,
        destination: Location,
        settings: VerifySettings,
        throttle: Throttle,
        stopping: Callable[[], bool],
        mapped: Callable[[Entry], Entry] | None = None,
    ) -> None:
        """`mapped` turns a source entry into the one that is to be at the destination (owner maps)."""
        self._source = source
        self._mapped = mapped
        self._destination = destination
        self._source_digest = digester(source)
        self._destination_digest = digester(destination)
        self._at_once = AT_ONCE
        self._quick_check = destination.quick_check() if isinstance(destination, ChecksQuickly) else None
        self._algorithm = settings.algorithm
        self._throttle = throttle
        self._stopping = stopping
        self._agent = settings.agent
        self._tolerance = settings.mtime_tolerance_ns

    def verify_actions(self, request: bytes) -> bytes:
        return self._answer(self._checked(list(_carried_out(request))))

    def verify_pairs(self, request: bytes) -> bytes:
        pairs = (decode_line(line, Pair) for line in request.splitlines())
        return self._answer(
            (pair.expected.path, self._check_pair(pair), pair.expected.size_bytes or 0) for pair in pairs
        )

    def _answer(self, checks: Iterable[tuple[str, Finding | None, int]]) -> bytes:
        verified, failed = [0, 0], [0, 0]
        findings: list[Finding] = []
        size = 0
        for path, finding, size_bytes in self._until_stopped(checks):
            is_folder = path == "" or path.endswith("/")
            size += size_bytes
            if finding is None:
                verified[is_folder] += 1
            else:
                failed[is_folder] += 1
                findings.append(finding)
        summary = VerifySummary(Counts(*verified), Counts(*failed), size, tuple(findings))
        return encode_line(summary)

    def _until_stopped(
        self, checks: Iterable[tuple[str, Finding | None, int]]
    ) -> Iterator[tuple[str, Finding | None, int]]:
        try:
            for row in checks:
                yield row
                if self._stopping():
                    return
        except EntryError as error:
            if error.entry_code is not EntryCode.CANCELLED:
                raise

    def _checked(self, done: list[tuple[Action, Outcome]]) -> Iterator[tuple[str, Finding | None, int]]:
        place = 0
        while place < len(done):
            found = self._quickly_found(done, place)
            for action, _ in done[place : place + found]:
                yield action.path, None, action.size_bytes
            place += found
            if not found:
                action, outcome = done[place]
                yield action.path, self._check_action(action, outcome), action.size_bytes
                place += 1

    def _check_action(self, action: Action, outcome: Outcome) -> Finding | None:
        try:
            actual = self._destination.stat(action.path)
            if action.kind in (ActionKind.DELETE, ActionKind.QUARANTINE):
                # A folder in a file's place is another entry: its path has a slash.
                if actual is None or actual.path != action.path:
                    return None
                return added(actual, self._agent)
            assert action.source is not None
            facts = judge_facts(action.source, actual, self._tolerance, self._agent)
            if facts is not None and outcome.attempts > 1:
                facts = self._judged_anew(action.source, actual, facts)
            if actual is None or actual.kind is not Kind.FILE or action.kind not in _WRITES_CONTENT:
                return facts
            if outcome.digest is None:
                # Blocks were shared, copied by the kernel, or there already: the source was not read by us.
                present = self._source.stat(action.path) if outcome.attempts > 1 else None
                expected = present or action.source
                if expected.size_bytes != actual.size_bytes:
                    return facts
                return self._check_pair(Pair(expected, actual, facts))
            algorithm = DigestAlgorithm(outcome.digest.partition(":")[0])
            digest = self._destination_digest(actual, algorithm, self._throttle)
            return judge_digest(action.source, outcome.digest, digest, facts, self._agent)
        except EntryError as error:
            return self._unreadable(action.path, error)

    def _quickly_found(self, done: list[tuple[Action, Outcome]], place: int) -> int:
        """How many files of one folder, from that place on, stand there exactly as they were written, at the first
        attempt."""
        if self._quick_check is None:
            return 0
        files = of_one_folder(_written(itertools.islice(done, place, place + self._at_once)))
        if not files:
            return 0
        found = self._quick_check(files, self._tolerance, self._throttle)
        # Where files are not for this, no more than one is tried in vain.
        self._at_once = min(AT_ONCE, 2 * self._at_once) if found else 1
        return found

    def _judged_anew(self, planned: Entry, actual: Entry | None, facts: Finding) -> Finding | None:
        """An entry that was still being written while a run copied it was taken as it was then, not as it was
        planned: it is compared with the source as it is now."""
        now = self._source.stat(planned.path)
        if now is None or now.kind is not planned.kind or is_as_expected(planned, now):
            return facts
        expected = now if self._mapped is None else self._mapped(now)
        anew = judge_facts(expected, actual, self._tolerance, self._agent)
        if anew is None or actual is None or actual.kind is not planned.kind:
            return anew
        return msgspec.structs.replace(
            anew,
            verdict=Verdict.CHANGED_DURING_TRANSFER,
            message="the source changed again after it was copied",
        )

    def _check_pair(self, pair: Pair) -> Finding | None:
        if pair.expected.kind is not Kind.FILE or pair.actual.kind is not Kind.FILE:
            return pair.facts
        try:
            expected = self._source_digest(pair.expected, self._algorithm, self._throttle)
            actual = self._destination_digest(pair.actual, self._algorithm, self._throttle)
        except EntryError as error:
            return self._unreadable(pair.expected.path, error)
        return judge_digest(pair.expected, expected, actual, pair.facts, self._agent)

    def _unreadable(self, path: str, error: EntryError) -> Finding:
        if error.entry_code is EntryCode.CANCELLED:
            raise error
        verdict = _UNREADABLE.get(error.entry_code, Verdict.UNREADABLE)
        return Finding(path, verdict, checked_by=self._agent, message=error.message)


def lost_actions(request: bytes) -> VerifySummary:
    """What is known when the worker that had this request of `verify_actions` died: nothing was checked."""
    return _lost(action.path for action, _ in _carried_out(request))


def lost_pairs(request: bytes) -> VerifySummary:
    """The same for a request of `verify_pairs`."""
    return _lost(decode_line(line, Pair).expected.path for line in request.splitlines())


def _lost(paths: Iterable[str]) -> VerifySummary:
    message = "not checked: the worker process that had it ended unexpectedly (out of memory?)"
    findings = tuple(Finding(path, Verdict.UNREADABLE, message=message) for path in paths)
    folders = sum(1 for finding in findings if finding.path == "" or finding.path.endswith("/"))
    return VerifySummary(failed=Counts(len(findings) - folders, folders), findings=findings)


def _carried_out(request: bytes) -> Iterator[tuple[Action, Outcome]]:
    """What was done, with its outcome. A folder is checked once, where its own metadata is set at the end."""
    lines = iter(request.splitlines())
    decode_action, decode_outcome = decoder_of(request, Action), decoder_of(request, Outcome)
    for line in lines:
        action, outcome = decode_action(line), decode_outcome(next(lines))
        if outcome.status is OutcomeStatus.DONE and action.kind is not ActionKind.CREATE_DIRECTORY:
            yield action, outcome


def _written(done: Iterable[tuple[Action, Outcome]]) -> Iterator[tuple[str, int, QuickExpected]]:
    """Files whose content was written at the first attempt, up to the first action that is something else."""
    for action, outcome in done:
        digest = outcome.digest
        if (
            digest is None
            or outcome.attempts != 1
            or action.source is None
            or action.kind not in _WRITES_CONTENT
        ):
            return
        yield action.path, action.size_bytes, (action.source, digest)
