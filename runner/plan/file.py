"""The plan file: JSON Lines, gzip when its name ends in .gz.

A header, then one action a line in the order of execution (stage by stage), then a trailer with totals and the
SHA-256 of everything before it. Nothing in it is a time or random: the same state gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

import msgspec

from runner.errors import PlanFileError
from runner.model.action import Action, ActionKind, Stage
from runner.model.plan import PLAN_VERSION, PlanHeader, PlanTrailer
from runner.model.wire import decode_line, encode_line

SPOOL_BYTES = 8 << 20
_PLACEHOLDER = b'{"id":0,'


class PlanWriter:
    """Gathers actions by stage (in memory up to SPOOL_BYTES a stage, then in unnamed files) and writes the file."""

    def __init__(self) -> None:
        self._spools: list[IO[bytes]] = [
            tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, prefix="sync-runner-plan-") for _ in Stage
        ]
        self._counts = [0 for _ in Stage]

    def add(self, action: Action) -> None:
        """Append to the action's stage. Its id must be 0: ids are given when the file is written."""
        self._spools[action.stage].write(encode_line(action) + b"\n")
        self._counts[action.stage] += 1

    def withhold(self, stage: Stage, kinds: frozenset[ActionKind]) -> None:
        """Drop a stage's actions of these kinds. Memory: the lines that stay."""
        staying = [line for line in self.lines(stage) if decode_line(line, Action).kind not in kinds]
        spool = self._spools[stage]
        spool.seek(0)
        spool.truncate()
        spool.writelines(staying)
        self._counts[stage] = len(staying)

    def lines(self, stage: Stage) -> Iterator[bytes]:
        """What a stage holds so far, before ids are given."""
        spool = self._spools[stage]
        spool.seek(0)
        yield from spool
        spool.seek(0, os.SEEK_END)

    @property
    def counts(self) -> tuple[int, ...]:
        """Actions per stage."""
        return tuple(self._counts)

    def close(self) -> None:
        """Forget everything gathered."""
        for spool in self._spools:
            spool.close()

    def write(self, output: BinaryIO, header: PlanHeader, trailer: PlanTrailer) -> PlanTrailer:
        """Write the whole file; returns the trailer with its digest."""
        digest = hashlib.sha256()
        line = encode_line(header) + b"\n"
        digest.update(line)
        output.write(line)
        number = 0
        for spool in self._spools:
            spool.seek(0)
            gathered: list[bytes] = []
            for line in spool:
                number += 1
                gathered.append(b'{"id":%d,' % number + line[len(_PLACEHOLDER) :])
                if len(gathered) == 1000:
                    chunk = b"".join(gathered)
                    digest.update(chunk)
                    output.write(chunk)
                    gathered = []
            chunk = b"".join(gathered)
            digest.update(chunk)
            output.write(chunk)
        finished = msgspec.structs.replace(trailer, actions=number, digest=digest.hexdigest())
        output.write(encode_line(finished) + b"\n")
        return finished


def write_plan_file(path: str, writer: PlanWriter, header: PlanHeader, trailer: PlanTrailer) -> PlanTrailer:
    """Write to a temporary name beside `path`, then rename: a plan file is whole or absent. Mode 0600."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(prefix=".sync-runner-plan-", dir=folder)
    except OSError as error:
        raise PlanFileError(f"cannot write the plan file {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb", buffering=1 << 20) as raw:
            if path.endswith(".gz"):
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                    finished = writer.write(packed, header, trailer)  # type: ignore[arg-type]
            else:
                finished = writer.write(raw, header, trailer)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return finished


class PlanReader:
    """A plan file, checked whole (format, version, digest) before the first action is handed out.

    Raises PlanFileError when it is damaged, cut short, or of another version. Memory: one line.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.header, self.trailer = self._check()

    def lines(self) -> Iterator[bytes]:
        """The action lines, as stored, in order of execution."""
        with self._open() as stream:
            next(stream)
            for line in stream:
                if line.startswith(b'{"id":'):
                    yield line

    def actions(self) -> Iterator[Action]:
        for line in self.lines():
            yield decode_line(line, Action)

    def copy_to(self, path: str) -> None:
        """The same plan at another place, unpacked."""
        with self._open() as stream, open(path, "xb", opener=_private) as output:
            shutil.copyfileobj(stream, output, 1 << 20)

    def _open(self) -> IO[bytes]:
        try:
            if self.path.endswith(".gz"):
                return cast(IO[bytes], gzip.open(self.path, "rb"))
            return open(self.path, "rb", buffering=1 << 20)
        except OSError as error:
            raise PlanFileError(
                f"cannot read the plan file {self.path}: {error.strerror}",
                remedy="Make one: sync-runner plan TASK -o " + self.path,
            ) from error

    def _check(self) -> tuple[PlanHeader, PlanTrailer]:
        remedy = "Make a new plan: sync-runner plan TASK -o " + self.path
        try:
            with self._open() as stream:
                first = stream.readline()
                header = decode_line(first, PlanHeader)
                if header.type != PlanHeader.__struct_defaults__[0]:
                    raise PlanFileError(f"{self.path} is not a plan file", remedy=remedy)
                if header.version != PLAN_VERSION:
                    raise PlanFileError(
                        f"{self.path} has plan format {header.version}; this version reads {PLAN_VERSION}",
                        remedy=remedy,
                    )
                digest = hashlib.sha256(first)
                last = b""
                for line in stream:
                    if last:
                        digest.update(last)
                    last = line
                trailer = decode_line(last, PlanTrailer)
        except (OSError, EOFError, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise PlanFileError(
                f"{self.path} is not a whole plan file: {error}", remedy=remedy
            ) from error
        if trailer.digest != digest.hexdigest():
            raise PlanFileError(
                f"{self.path} was changed after it was made: its content has not the digest it names",
                remedy=remedy,
            )
        return header, trailer


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
