"""The HTML report's file table: gathered in one pass over the rows, kept as JSON lines until written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO

import msgspec
from markupsafe import Markup

from runner.model.action import ActionKind, Outcome
from runner.model.execution import Report
from runner.model.wire import terminal_safe
from runner.report.rows import Piece, Row, RowState
from runner.report.statistics import seconds_since_epoch

ROWS_AT_MOST = 200_000
STATIC_ROWS = 200
SPOOL_BYTES = 8 << 20
_BATCH = 1000

# Enum members hash in Python code; their identities do not, and this is asked once a row.
_STATE_INDEX = {id(state): index for index, state in enumerate(RowState)}
_KIND_INDEX = {id(kind): index for index, kind in enumerate(ActionKind)}
_ENCODER = msgspec.json.Encoder()
_Cells = list[str | int | float]


def severity(row: Row) -> int:
    """Sort key: what needs attention most comes first."""
    return _STATE_INDEX[id(row.state)]


class RowTable:
    """The rows of one page, at most `at_most`: all that need attention, then as many done ones as fit.

    Holds up to SPOOL_BYTES and STATIC_ROWS rows of each of the two sorts; more goes into unnamed files, until
    the table is left as a context manager.
    """

    def __init__(self, report: Report, at_most: int = ROWS_AT_MOST) -> None:
        self._at_most = at_most
        origin = seconds_since_epoch(report.execution.started_at)
        self._origin_ms = round(origin * 1000)
        self._attention = _Spool(at_most, origin)
        self._done = _Spool(at_most, origin)

    def __enter__(self) -> RowTable:
        return self

    def __exit__(self, *exception: object) -> None:
        self._attention.close()
        self._done.close()

    def gather(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Hands every piece through and keeps what the page needs of it."""
        for piece in pieces:
            if not isinstance(piece, Row):
                self._done.add_done(piece)
            elif piece.state is RowState.DONE:
                self._done.add(piece)
            else:
                self._attention.add(piece)
            yield piece

    @property
    def shown(self) -> int:
        """How many rows `lines` gives."""
        return min(self._attention.count + self._done.count, self._at_most)

    @property
    def static_rows(self) -> list[Row]:
        """The first STATIC_ROWS of the page, the worst first."""
        return (sorted(self._attention.first, key=severity) + self._done.first)[:STATIC_ROWS]

    def words(self) -> Markup:
        """What the numbers in the rows stand for, as JSON."""
        return _embedded(
            _ENCODER.encode(
                {"states": list(RowState), "kinds": list(ActionKind), "origin_ms": self._origin_ms}
            )
        )

    def lines(self) -> Iterator[Markup]:
        """The JSON arrays of all rows with commas between them, some hundred at a time. Can be read once.

        A row is [characters shared with the path before, the rest of the path, state, kind (-1 = no action),
        bytes, milliseconds, start in milliseconds after the execution's, attempts, digest, code, message,
        agent]; empty cells at the end are left out. Sharing the folder with the row before halves the page.
        """
        separator = b""
        room = self._at_most
        for spool in (self._attention, self._done):
            for batch in spool.batches(room):
                yield _embedded(separator + batch)
                separator = b",\n"
            room = max(0, room - spool.count)


class _Spool:
    """The first `at_most` rows of one sort as JSON lines; paths lean on the row before in the same spool."""

    def __init__(self, at_most: int, origin_seconds: float) -> None:
        self.count = 0
        self.first: list[Row] = []
        self._at_most = at_most
        self._origin_seconds = origin_seconds
        self._folder = ""
        self._pending: list[_Cells] = []
        # Closed by the table that owns the spool.
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(SPOOL_BYTES, prefix="sync-runner-")

    def add(self, row: Row) -> None:
        if self.count >= self._at_most:
            return
        self.count += 1
        if len(self.first) < STATIC_ROWS:
            self.first.append(row)
        path = terminal_safe(row.path) or "/"
        shared = self._shared_with_previous(path)
        outcome = row.outcome
        state = _STATE_INDEX[id(row.state)]
        if outcome is None:
            cells: _Cells = [shared, path[shared:], state, -1, 0, 0, 0, 0, ""]
        else:
            digest = terminal_safe(outcome.digest or "")
            cells = [shared, path[shared:], state, *self._measures([outcome])[0], digest]
        agent = "" if outcome is None or outcome.agent is None else outcome.agent
        cells += (row.code, terminal_safe(row.message), terminal_safe(agent))
        self._pending.append(_without_end(cells))
        if len(self._pending) >= _BATCH:
            self._flush()

    def add_done(self, outcomes: list[Outcome]) -> None:
        """Rows of outcomes of which there is nothing to say but that they went well."""
        outcomes = outcomes[: max(0, self._at_most - self.count)]
        self.count += len(outcomes)
        if (room := STATIC_ROWS - len(self.first)) > 0:
            self.first += [Row(one.path, RowState.DONE, one, None, None) for one in outcomes[:room]]
        state = _STATE_INDEX[id(RowState.DONE)]
        paths = _all_safe([outcome.path for outcome in outcomes])
        digests = _all_safe([outcome.digest or "" for outcome in outcomes])
        agents = _all_safe([outcome.agent or "" for outcome in outcomes])
        folder = None
        rows = zip(paths, self._measures(outcomes), digests, agents, strict=True)
        for path, measures, digest, agent in rows:
            path = path or "/"
            cut = path.rfind("/") + 1
            if path[:cut] == folder:
                shared = cut
            else:
                shared = self._shared_with_previous(path)
                folder = path[:cut] if path[:cut].isascii() else None
            if agent:
                self._pending.append([shared, path[shared:], state, *measures, digest, "", "", agent])
            elif digest:
                self._pending.append([shared, path[shared:], state, *measures, digest])
            else:
                self._pending.append([shared, path[shared:], state, *measures])
        self._flush()

    def _measures(self, outcomes: list[Outcome]) -> list[tuple[int, int, float, int, int]]:
        """Of each: kind, bytes, milliseconds, start in milliseconds after the execution's (0 = unknown), attempts."""
        origin = self._origin_seconds
        return [
            (
                _KIND_INDEX[id(outcome.kind)],
                outcome.bytes,
                int(outcome.duration_seconds * 10_000 + 0.5)
                / 10,  # round() to one digit takes six times as long
                round((outcome.started_at - origin) * 1000) if outcome.started_at else 0,
                outcome.attempts,
            )
            for outcome in outcomes
        ]

    def batches(self, at_most: int) -> Iterator[bytes]:
        """The first `at_most` rows, joined by commas, _BATCH at a time."""
        self._flush()
        self._file.seek(0)
        left = min(at_most, self.count)
        while left > 0:
            lines = list(islice(self._file, min(_BATCH, left)))
            left -= len(lines)
            # Line ends stand between rows only: JSON escapes those inside text.
            yield b"".join(lines).rstrip(b"\n").replace(b"\n", b",\n")

    def close(self) -> None:
        self._file.close()

    def _shared_with_previous(self, path: str) -> int:
        """How many characters of its folder the path shares with the row before."""
        before = self._folder
        cut = path.rfind("/") + 1
        if cut == len(before) and path.startswith(before) and before.isascii():
            return cut
        self._folder = path[:cut]
        # Whole ASCII folders only: JavaScript counts UTF-16 units where Python counts code points.
        while cut > 0 and not (before.startswith(path[:cut]) and path[:cut].isascii()):
            cut = path.rfind("/", 0, cut - 1) + 1
        return cut

    def _flush(self) -> None:
        self._file.write(_ENCODER.encode_lines(self._pending))
        self._pending.clear()


def _without_end(cells: _Cells) -> _Cells:
    """Without the empty cells at the end."""
    while cells[-1] == "":
        cells.pop()
    return cells


def _all_safe(texts: list[str]) -> list[str]:
    """Each made fit to be shown; where there is nothing to do, which is nearly always, that is seen at once."""
    together = "".join(texts)
    return texts if together.isascii() and together.isprintable() else [terminal_safe(text) for text in texts]


def _embedded(content: bytes) -> Markup:
    """JSON for a script element: without `<` nothing can end it, or open a comment in it (HTML, 4.12.1.3)."""
    text = content.decode().replace("<", "\\u003c")
    return Markup(text)  # noqa: S704 - the one character that matters was just replaced
