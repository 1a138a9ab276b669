"""The plan file: JSON Lines, gzip when its name ends in .gz.

A header, then one action a line in the order of execution (stage by stage), then a trailer with totals and the
SHA-256 of everything before it: the rest of the trailer too, so that a guard accepted by hand shows. Nothing in
it is a time or random: the same state gives the same bytes.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, BinaryIO, cast

import msgspec

from runner.durable import write_whole
from runner.errors import PlanFileError, StateUnavailableError
from runner.model.action import Action, ActionKind, Stage
from runner.model.plan import PLAN_VERSION, PlanHeader, PlanTrailer
from runner.model.wire import decode_line, encode_line

PLAN_TYPE = "sync-runner plan"
SPOOL_BYTES = 32 << 20
GATHER_LINES = 512
WRITE_LINES = 1000
_PLACEHOLDER = b'{"id":0,'
_TAIL = b'"}'
_SHA256_DIGITS = 64


class _Format(msgspec.Struct, frozen=True):
    """What has to be known of a first line before the rest of it is believed."""

    type: str = ""
    version: int = 0


class PlanWriter:
    """Gathers actions by stage, in the order of the plan, and writes the file.

    What others decide (see divide.py) is put in its place later: `reserve` keeps a place in every stage, `fill`
    fills it. Memory: SPOOL_BYTES, then an unnamed file; a place for each slice of a stage.
    """

    def __init__(self) -> None:
        self._opened: IO[bytes] | None = None
        self._end = 0
        self._gathered: list[list[bytes]] = [[] for _ in Stage]
        # (offset, length) in the spool, or the number of a place that is not filled yet.
        self._slices: list[list[tuple[int, int] | int]] = [[] for _ in Stage]
        self._places = 0
        self._counts = [0 for _ in Stage]

    @property
    def _spool(self) -> IO[bytes]:
        """Made for the first action: most plans of a schedule have none."""
        if self._opened is None:
            from tempfile import SpooledTemporaryFile

            self._opened = SpooledTemporaryFile(max_size=SPOOL_BYTES, prefix="sync-runner-plan-")
        return self._opened

    def add(self, action: Action) -> None:
        """Append to the action's stage. Its id must be 0: ids are given when the file is written."""
        stage = action.stage
        gathered = self._gathered[stage]
        gathered.append(encode_line(action))
        if len(gathered) == GATHER_LINES:
            self._settle(stage)
        self._counts[stage] += 1

    def reserve(self) -> int:
        """A place in every stage for what follows here; its number is for `fill`."""
        number = self._places
        self._places += 1
        for stage in Stage:
            self._settle(stage)
            self._slices[stage].append(number)
        return number

    def fill(self, place: int, lines: Sequence[bytes], counts: Sequence[int]) -> None:
        """Put encoded actions into a reserved place: for each stage all its lines, and how many they are."""
        for stage in Stage:
            slices = self._slices[stage]
            slices[slices.index(place)] = self._store(lines[stage])
            self._counts[stage] += counts[stage]

    def clear(self) -> None:
        """Forget everything gathered and start anew."""
        self._spool.seek(0)
        self._spool.truncate()
        self._end = 0
        for stage in Stage:
            self._gathered[stage].clear()
            self._slices[stage].clear()
            self._counts[stage] = 0

    def withhold(self, stage: Stage, kinds: frozenset[ActionKind]) -> None:
        """Drop a stage's actions of these kinds. Memory: the lines that stay."""
        staying = [line for line in self.lines(stage) if decode_line(line, Action).kind not in kinds]
        self._slices[stage] = [self._store(b"".join(staying))]
        self._counts[stage] = len(staying)

    def lines(self, stage: Stage) -> Iterator[bytes]:
        """What a stage holds so far, before ids are given; every place must be filled."""
        self._settle(stage)
        for place in self._slices[stage]:
            assert not isinstance(place, int)
            self._spool.seek(place[0])
            yield from self._spool.read(place[1]).splitlines(keepends=True)

    def stage_lines(self, stage: Stage) -> bytes:
        """All of a stage in one piece."""
        return b"".join(self.lines(stage))

    def _settle(self, stage: Stage) -> None:
        gathered = self._gathered[stage]
        if gathered:
            gathered.append(b"")
            self._slices[stage].append(self._store(b"\n".join(gathered)))
            gathered.clear()

    def _store(self, lines: bytes) -> tuple[int, int]:
        offset = self._end
        self._spool.seek(offset)
        self._spool.write(lines)
        self._end += len(lines)
        return offset, len(lines)

    @property
    def counts(self) -> tuple[int, ...]:
        """Actions per stage."""
        return tuple(self._counts)

    def close(self) -> None:
        """Let go of the spool."""
        if self._opened is not None:
            self._opened.close()

    def write(self, output: BinaryIO, header: PlanHeader, trailer: PlanTrailer) -> PlanTrailer:
        """Write the whole file; returns the trailer with its digest."""
        import hashlib

        digest = hashlib.sha256()
        line = encode_line(header) + b"\n"
        digest.update(line)
        output.write(line)
        number = 0
        for stage in Stage:
            lines = self.lines(stage)
            while numbered := [
                b'{"id":%d,' % (number + count) + line[len(_PLACEHOLDER) :]
                for count, line in enumerate(itertools.islice(lines, WRITE_LINES), 1)
            ]:
                number += len(numbered)
                chunk = b"".join(numbered)
                digest.update(chunk)
                output.write(chunk)
        finished = msgspec.structs.replace(trailer, actions=number, stages=self.counts, digest="")
        head = encode_line(finished).removesuffix(_TAIL)
        digest.update(head)
        output.write(head + digest.hexdigest().encode("ascii") + _TAIL + b"\n")
        return msgspec.structs.replace(finished, digest=digest.hexdigest())


def write_plan_file(path: str, writer: PlanWriter, header: PlanHeader, trailer: PlanTrailer) -> PlanTrailer:
    """A plan file is whole or absent. Mode 0600. Raises PlanFileError."""

    def write(output: BinaryIO) -> PlanTrailer:
        if not path.endswith(".gz"):
            return writer.write(output, header, trailer)
        import gzip

        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=output, mtime=0) as packed:
            return writer.write(packed, header, trailer)  # type: ignore[arg-type]

    try:
        return write_whole(path, write, durable=False)
    except OSError as error:
        raise PlanFileError(f"cannot write the plan file {path}: {error.strerror}") from error


class PlanReader:
    """A plan file, checked whole (format, version, digest) before the first action is handed out.

    Raises PlanFileError when it is damaged, cut short, or of another version. Memory: one line.
    """

    def __init__(self, path: str, known: tuple[PlanHeader, PlanTrailer] | None = None) -> None:
        """`known` header and trailer of a file that this very process has just written: it is not checked."""
        self.path = path
        self.header, self.trailer = known if known is not None else self._check()

    def lines(self) -> Iterator[bytes]:
        """The action lines, as stored, in order of execution. Raises StateUnavailableError when not all are there."""
        count = 0
        reason = "it ends too early"
        try:
            with self._open() as stream:
                for line in stream:
                    if line.startswith(b'{"id":'):
                        count += 1
                        yield line
        except (OSError, EOFError, zlib.error) as error:
            reason = str(error)
        if count != self.trailer.actions:
            raise StateUnavailableError(
                f"the plan file {self.path} could not be read to its end: {reason}",
                remedy="What was done is whole. Run again: it is not done twice.",
            )

    def actions(self) -> Iterator[Action]:
        for line in self.lines():
            yield decode_line(line, Action)

    def copy_to(self, path: str) -> None:
        """The same plan at another place, unpacked."""
        import shutil

        with self._open() as stream, open(path, "xb", opener=_private) as output:
            shutil.copyfileobj(stream, output, 1 << 20)

    def _open(self) -> IO[bytes]:
        try:
            if self.path.endswith(".gz"):
                import gzip

                return cast(IO[bytes], gzip.open(self.path, "rb"))
            return open(self.path, "rb", buffering=1 << 20)
        except OSError as error:
            raise PlanFileError(
                f"cannot read the plan file {self.path}: {error.strerror}",
                remedy="Make one: sync-runner plan TASK -o " + self.path,
            ) from error

    def _check(self) -> tuple[PlanHeader, PlanTrailer]:
        import hashlib

        remedy = "Make a new plan: sync-runner plan TASK -o " + self.path
        try:
            with self._open() as stream:
                first = stream.readline()
                found = decode_line(first, _Format)
                if found.type != PLAN_TYPE:
                    raise PlanFileError(f"{self.path} is not a plan file", remedy=remedy)
                if found.version != PLAN_VERSION:
                    raise PlanFileError(
                        f"{self.path} has plan format {found.version}; this version reads {PLAN_VERSION}",
                        remedy=remedy,
                    )
                header = decode_line(first, PlanHeader)
                digest = hashlib.sha256(first)
                last = b""
                for line in stream:
                    if last:
                        digest.update(last)
                    last = line
                trailer = decode_line(last, PlanTrailer)
        except (OSError, EOFError, zlib.error, msgspec.DecodeError, ValueError) as error:
            raise PlanFileError(f"{self.path} is not a whole plan file: {error}", remedy=remedy) from error
        digest.update(last.removesuffix(b"\n").removesuffix(_TAIL)[:-_SHA256_DIGITS])
        if trailer.digest != digest.hexdigest():
            raise PlanFileError(
                f"{self.path} was changed after it was made: its content has not the digest it names",
                remedy=remedy,
            )
        return header, trailer


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
