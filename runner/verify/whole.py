"""Both trees, everything: what point_in_time_consistent and `sync-runner verify` check.

The listings are merged as for a plan; content is read on both sides by workers. A folder whose only difference is
its time is not reported when something directly inside it is: the time follows from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from runner.model.action import Finding
from runner.model.difference import Difference, Reason
from runner.model.entry import Entry, Kind, parent_path
from runner.model.execution import Counts
from runner.model.wire import decode_line, encode_line
from runner.transfer.coordinate import Workers
from runner.verify.batch import Pair, VerifySummary, lost_actions, lost_pairs
from runner.verify.judge import added, judge_facts, not_linked

PAIRS_PER_BATCH = 256
BYTES_PER_BATCH = 64 << 20
CHECKED_BY = "listing"


class Verified(msgspec.Struct, frozen=True):
    """The end of a verification. `findings` in order of path. `kept` extras the task's options allow."""

    verified: Counts
    failed: Counts
    bytes: int
    findings: tuple[Finding, ...]
    kept: int = 0


class WholeTree:
    """Compares two listings completely. `allows_extras`: extras at the destination are not findings."""

    def __init__(
        self,
        differences: Iterator[Difference],
        mtime_tolerance_ns: int,
        allows_extras: bool,
        may_be_extra: Callable[[Entry], bool] | None,
        can_be_there: Callable[[Entry], bool] | None = None,
        pairs_at_once: int = PAIRS_PER_BATCH,
    ) -> None:
        """`differences` come from a merge that reports equal entries too. `may_be_extra` tells whether an extra is
        in the task's scope; None = all are. `can_be_there` tells whether the destination can hold an entry of the
        source at all; what it cannot is a problem of planning, not a finding; None = it holds everything."""
        self._can_be_there = can_be_there
        self._pairs_at_once = pairs_at_once
        self._differences = differences
        self._tolerance = mtime_tolerance_ns
        self._allows_extras = allows_extras
        self._may_be_extra = may_be_extra
        self._findings: list[Finding] = []
        self._failed_folders = self._failed_files = 0
        self._folder_times: list[Finding] = []
        self._verified_folders = self._verified_files = 0
        self._kept = 0

    def run(self, workers: Workers, on_batch: Callable[[VerifySummary], None]) -> Verified:
        """Read everything; memory: the findings, and the pairs in flight."""
        verified = failed = Counts()
        size = 0
        for summary in _answered(workers, "verify_pairs", self._requests(), lost_pairs):
            verified, failed, size = (
                verified + summary.verified,
                failed + summary.failed,
                size + summary.bytes,
            )
            self._findings.extend(summary.findings)
            on_batch(summary)
        self._settle_folder_times()
        findings = sorted(self._findings, key=lambda finding: finding.path.encode("utf-8", "surrogateescape"))
        return Verified(
            verified + Counts(self._verified_files, self._verified_folders),
            failed + Counts(self._failed_files, self._failed_folders),
            size,
            tuple(findings),
            self._kept,
        )

    def _settle_folder_times(self) -> None:
        touched = {parent_path(finding.path) for finding in self._findings}
        for finding in self._folder_times:
            if finding.path in touched:
                self._verified_folders += 1
            else:
                self._find(finding)

    def _find(self, finding: Finding) -> None:
        """A finding of the listing's own; those of workers come counted."""
        self._findings.append(finding)
        if finding.path == "" or finding.path.endswith("/"):
            self._failed_folders += 1
        else:
            self._failed_files += 1

    def _requests(self) -> Iterator[bytes]:
        gathered: list[bytes] = []
        size = 0
        for pair in self._content_pairs():
            gathered.append(encode_line(pair))
            size += pair.expected.size_bytes or 0
            if len(gathered) >= self._pairs_at_once or size >= BYTES_PER_BATCH:
                yield b"\n".join(gathered)
                gathered, size = [], 0
        if gathered:
            yield b"\n".join(gathered)

    def _content_pairs(self) -> Iterator[Pair]:
        for difference in self._differences:
            expected, actual = difference.source, difference.destination
            if expected is None:
                assert actual is not None
                self._extra(actual)
                continue
            is_there = actual is not None and actual.kind is expected.kind
            if not is_there and self._can_be_there is not None and not self._can_be_there(expected):
                continue
            facts = judge_facts(expected, actual, self._tolerance, CHECKED_BY)
            if facts is None and Reason.LINK_GROUP in difference.reasons:
                facts = not_linked(expected, difference.link_to, CHECKED_BY)
            if (
                actual is not None
                and expected.kind is Kind.FILE
                and actual.kind is Kind.FILE
                and expected.size_bytes == actual.size_bytes
            ):
                yield Pair(expected, actual, facts)
            elif facts is None:
                if expected.kind is Kind.DIRECTORY:
                    self._verified_folders += 1
                else:
                    self._verified_files += 1
            elif expected.kind is Kind.DIRECTORY and facts.fields == ("mtime",):
                self._folder_times.append(facts)
            else:
                self._find(facts)

    def _extra(self, actual: Entry) -> None:
        inside = self._may_be_extra is None or self._may_be_extra(actual)
        if self._allows_extras or not inside:
            self._kept += 1
        else:
            self._find(added(actual, CHECKED_BY))


def verify_transferred(
    workers: Workers, requests: Iterable[bytes], on_batch: Callable[[VerifySummary], None]
) -> Verified:
    """Check what was transferred: requests as `Verifier.verify_actions` takes them."""
    verified = failed = Counts()
    size = 0
    findings: list[Finding] = []
    for summary in _answered(workers, "verify_actions", requests, lost_actions):
        verified, failed, size = verified + summary.verified, failed + summary.failed, size + summary.bytes
        findings.extend(summary.findings)
        on_batch(summary)
    return Verified(verified, failed, size, tuple(findings))


def _answered(
    workers: Workers, job: str, requests: Iterable[bytes], lost: Callable[[bytes], VerifySummary]
) -> Iterator[VerifySummary]:
    """A summary for every request. Memory: the requests in flight, for a worker that dies takes its answer along."""
    in_flight: dict[int, bytes] = {}

    def remembered() -> Iterator[bytes]:
        for number, request in enumerate(requests):
            in_flight[number] = request
            yield request

    for number, answer in workers.run(job, remembered()):
        request = in_flight.pop(number)
        yield decode_line(answer, VerifySummary) if answer else lost(request)
